"""What is folded is opened in a page, in Chromium: by click and by keys, with the way back, and stepped in a player."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from definebyrun.player import page as as_page
from tests.book.chromium import DESKTOP, PHONE, skip_without_browser
from tests.package.test_inside import run

pytestmark = pytest.mark.slow
skip_without_browser()

Opener = Callable[..., Page]
FORMS = {"still": lambda tape: tape._repr_html_(), "player": lambda tape: tape.html()}


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Opens a page with a folded drawing in a column; when the test is over, nothing has complained."""
    opened, complaints = [], []

    def opener(form: str, viewport: Any = DESKTOP, **more: Any) -> Page:
        html = FORMS[form](run().fold(0))
        column = f'<main style="max-width:884px;margin:0 auto"><h1>Run</h1>{html}</main>'
        (tmp_path / "run.html").write_text(as_page("run", column), "utf-8")
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **more)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto((tmp_path / "run.html").as_uri())
        if more.get("java_script_enabled", True):
            page.wait_for_selector(".dbr-graph[data-opens]")
        return page

    yield opener
    for context in opened:
        context.close()
    assert complaints == []


def door(page: Page, title: str) -> Any:
    return page.locator(".dbr-opens:visible", has_text=re.compile(title))


def way(page: Page) -> list[str]:
    return page.locator(".dbr-path > *").all_inner_texts()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("form", FORMS)
def test_a_click_opens_a_card_and_the_way_back_is_shown(
    show: Opener, form: str, viewport: Any
) -> None:
    page = show(form, viewport)
    expect(page.locator(".dbr-path")).to_be_hidden()
    door(page, "net").click()
    assert way(page) == ["whole graph", "net (Net)"]
    door(page, r"net\.blocks").click()
    assert way(page) == ["whole graph", "net (Net)", "net.blocks (Sequential)"]
    expect(page.locator(".dbr-svg:visible")).to_have_count(1)
    expect(page.locator(".dbr-svg:visible")).to_contain_text("net.blocks.1")
    page.locator(".dbr-path button", has_text="net (Net)").click()
    assert way(page) == ["whole graph", "net (Net)"]
    page.locator(".dbr-path button", has_text="whole graph").click()
    expect(page.locator(".dbr-path")).to_be_hidden()
    expect(page.locator(".dbr-svg:visible")).to_contain_text("loss = mean")


@pytest.mark.parametrize("form", FORMS)
def test_enter_opens_a_card_and_escape_closes_it_where_the_focus_was(
    show: Opener, form: str
) -> None:
    page = show(form)
    card = door(page, "net")
    expect(card).to_have_attribute("aria-label", "Open net (Net)")
    expect(card).to_have_attribute("role", "button")
    card.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".dbr-graph")).to_be_focused()
    expect(page.locator(".dbr-graph")).to_have_attribute("aria-label", "Inside of net (Net)")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert len(way(page)) == 3
    page.keyboard.press("Escape")
    expect(door(page, r"net\.blocks")).to_be_focused()
    page.keyboard.press("Escape")
    expect(card).to_be_focused()
    expect(page.locator(".dbr-graph")).to_have_attribute("aria-label", "Graph")


def test_a_player_steps_the_inside_and_is_where_it_was_on_the_way_back(show: Opener) -> None:
    page = show("player")
    player, slider = page.locator(".dbr-player"), page.locator(".dbr-player input")
    page.locator("[data-act=next]").click()
    door(page, "net").click()
    expect(player).to_have_attribute("data-step", "1")  # of the whole run: links name it
    expect(page.locator(".dbr-now")).to_contain_text("Start of net (Net).")
    steps = int(slider.get_attribute("max"))
    assert page.locator(".dbr-ticks i").count() == steps + 1
    seen = []
    for _ in range(steps):
        page.locator("[data-act=next]").click()
        assert page.locator(".dbr-view .dbr-at").count() >= 1
        seen.append(page.locator(".dbr-now b").inner_text())
    assert seen == sorted(seen, key=lambda said: said.startswith("Backward"))
    expect(page.locator("[data-act=next]")).to_have_attribute("aria-disabled", "true")
    assert page.locator(".dbr-view .dbr-todo").count() == 0
    page.keyboard.press("Home")
    assert page.locator(".dbr-view .dbr-todo").count() > 0
    page.locator(".dbr-path button").first.click()
    expect(slider).to_have_js_property("value", "1")
    assert page.locator(".dbr-ticks i").count() == int(slider.get_attribute("max")) + 1
    page.locator("[data-act=next]").click()
    expect(player).to_have_attribute("data-step", "2")


def test_a_player_that_is_at_its_end_opens_at_the_end(show: Opener) -> None:
    page = show("player")
    page.locator(".dbr-player").focus()
    page.keyboard.press("End")
    door(page, "net").click()
    slider = page.locator(".dbr-player input")
    assert slider.input_value() == slider.get_attribute("max")


def test_a_line_of_code_leads_to_its_first_step_inside(show: Opener) -> None:
    page = show("player")
    door(page, "net").click()
    page.locator("li[data-s]", has_text="self.head").click()
    expect(page.locator(".dbr-at")).to_have_count(1)
    expect(page.locator(".dbr-here,.dbr-via", has_text="self.head")).to_have_count(1)
    assert int(page.locator(".dbr-player input").input_value()) == 1


@pytest.mark.parametrize("form", FORMS)
def test_without_scripts_nothing_opens_and_nothing_more_is_seen(show: Opener, form: str) -> None:
    page = show(form, java_script_enabled=False)
    expect(page.locator(".dbr-svg")).to_have_count(1)
    expect(page.locator(".dbr-opens")).to_have_count(0)
    expect(page.locator(".dbr-path")).to_be_hidden()
    assert "net.blocks.1" not in page.locator(".dbr-frame").inner_text()


def test_on_paper_the_whole_graph_is_there_whatever_is_open(show: Opener) -> None:
    page = show("still")
    door(page, "net").click()
    page.emulate_media(media="print")
    expect(page.locator(".dbr-in")).to_be_visible()
    expect(page.locator(".dbr-view")).to_be_hidden()
    expect(page.locator(".dbr-path")).to_be_hidden()


def test_an_inside_that_is_wider_than_its_frame_begins_at_its_first_operation(show: Opener) -> None:
    page = show("still", {"width": 330, "height": 800})
    door(page, "net").click()
    door(page, r"net\.blocks").click()
    door(page, r"net\.blocks\.1").click()
    assert page.locator(".dbr-graph").evaluate(
        """box => {
            const cards = [...box.querySelectorAll(".dbr-view [data-c]")].filter(card => +card.dataset.b);
            cards.sort((a, b) => a.dataset.b - b.dataset.b);
            const [a, b] = [cards[0], box].map(part => part.getBoundingClientRect());
            return a.left >= b.left && a.right <= b.right;
        }"""
    )


@pytest.mark.parametrize("form", FORMS)
def test_an_inside_zooms_like_the_whole(show: Opener, form: str) -> None:
    page = show(form)
    door(page, "net").click()
    before = page.locator(".dbr-view svg").bounding_box()["width"]
    page.locator("[data-zoom=in]").click()
    after = page.locator(".dbr-view svg").bounding_box()["width"]
    assert after == pytest.approx(1.25 * before, rel=0.02)
    door(page, r"net\.head").click()
    expect(page.locator("[data-zoom=full]")).to_have_text(re.compile(r"^(8[3-9]|9\d|100) %$"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("form", FORMS)
def test_axe_finds_nothing_serious_outside_and_inside(show: Opener, form: str, dark: bool) -> None:
    page = show(form, color_scheme="dark" if dark else "light")
    for _ in range(2):
        found = Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        door(page, "net").first.click()
