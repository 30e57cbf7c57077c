"""A drawing that is larger than its page, in Chromium: where it begins, fit, zoom and pan by mouse, touch and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import definebyrun as dbr
from definebyrun.player import page as as_page
from tests.book.chromium import DESKTOP, PHONE, skip_without_browser

pytestmark = pytest.mark.slow
skip_without_browser()

Opener = Callable[..., Page]
FORMS = {"still": lambda tape: tape._repr_html_(), "player": lambda tape: tape.html()}


def narrow() -> dbr.Tape:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        (w * w).sum().backward()
    return tape


def wide() -> dbr.Tape:
    """Many leaves that stand beside each other, and the first operation in the middle of them."""
    ws = [torch.tensor([float(i), 2.0], requires_grad=True) for i in range(14)]
    with dbr.record() as tape:
        torch.stack(ws).sum(0).exp().sum().backward()
    return tape.unfolded()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Opens a page with a drawing in a column; when the test is over, nothing has complained."""
    opened, complaints = [], []

    def opener(html: str, viewport: Any = DESKTOP, **more: Any) -> Page:
        column = f'<main style="max-width:884px;margin:0 auto"><h1>Run</h1>{html}</main>'
        (tmp_path / "run.html").write_text(as_page("run", column), "utf-8")
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **more)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto((tmp_path / "run.html").as_uri())
        return page

    yield opener
    for context in opened:
        context.close()
    assert complaints == []


def scale(page: Page) -> float:
    return page.locator(".dbr-svg").evaluate(
        "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    )


def scrolled(page: Page) -> tuple[float, float]:
    return tuple(page.locator(".dbr-graph").evaluate("b => [b.scrollLeft, b.scrollTop]"))


def in_view(page: Page, query: str) -> bool:
    return page.locator(query).evaluate(
        """part => {
            const [a, b] = [part, part.closest(".dbr-graph")].map(p => p.getBoundingClientRect());
            return a.left >= b.left && a.right <= b.right;
        }"""
    )


def ready(page: Page) -> None:
    page.wait_for_selector(".dbr-graph[data-ready]")
    page.wait_for_timeout(100)


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_that_fits_is_full_size_and_has_no_buttons(show: Opener, form: str) -> None:
    page = show(FORMS[form](narrow()))
    ready(page)
    assert scale(page) == pytest.approx(1, abs=0.01)
    expect(page.locator(".dbr-zoom")).to_be_hidden()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("form", FORMS)
def test_letters_are_never_below_ten_pixels_and_the_first_operation_is_in_view(
    show: Opener, form: str, viewport: Any
) -> None:
    page = show(FORMS[form](wide()), viewport)
    ready(page)
    assert 12 * scale(page) == pytest.approx(10, abs=0.05)
    assert scrolled(page)[0] > 0
    first = page.locator(".dbr-graph").get_attribute("data-first")
    assert "stack" in page.locator(f'[data-c="{first}"]').text_content()
    assert in_view(page, f'[data-c="{first}"]')
    expect(page.locator("[data-zoom=full]")).to_have_text("83 %")


@pytest.mark.parametrize("form", FORMS)
def test_without_scripts_the_picture_is_there_and_scrolls(show: Opener, form: str) -> None:
    page = show(FORMS[form](wide()), java_script_enabled=False)
    expect(page.locator(".dbr-svg")).to_be_visible()
    expect(page.locator(".dbr-zoom")).to_be_hidden()
    expect(page.locator(".dbr-graph")).to_have_css("overflow-x", "auto")


@pytest.mark.parametrize("form", FORMS)
def test_buttons_fit_zoom_in_and_out_and_show_full_size(show: Opener, form: str) -> None:
    page = show(FORMS[form](wide()))
    ready(page)
    page.locator("[data-zoom=fit]").click()
    assert not page.locator(".dbr-graph").evaluate("b => b.scrollWidth > b.clientWidth + 1")
    small = scale(page)
    page.locator("[data-zoom=in]").click()
    assert scale(page) == pytest.approx(small * 1.25, rel=0.02)
    page.locator("[data-zoom=out]").click()
    assert scale(page) == pytest.approx(small, rel=0.02)
    page.locator("[data-zoom=full]").click()
    assert scale(page) == pytest.approx(1, abs=0.01)
    expect(page.locator("[data-zoom=full]")).to_have_text("100 %")


@pytest.mark.parametrize("form", FORMS)
def test_keys_zoom_and_fit_and_go_no_further(show: Opener, form: str) -> None:
    page = show(FORMS[form](narrow()))
    ready(page)
    page.evaluate("document.addEventListener('keydown', event => { document.title += event.key; })")
    page.locator(".dbr-graph").focus()
    page.keyboard.press("+")
    assert scale(page) == pytest.approx(1.25, abs=0.02)
    expect(page.locator(".dbr-zoom")).to_be_visible()
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert scale(page) == pytest.approx(0.8, abs=0.02)
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(1, abs=0.02)
    assert page.title() == "run"


def test_zooming_keeps_the_middle_where_it_is(show: Opener) -> None:
    page = show(FORMS["still"](wide()))
    ready(page)
    middle = """b => (b.scrollLeft + b.clientWidth / 2) / b.scrollWidth"""
    before = page.locator(".dbr-graph").evaluate(middle)
    for _ in range(3):
        page.locator("[data-zoom=in]").click()
    assert page.locator(".dbr-graph").evaluate(middle) == pytest.approx(before, abs=0.02)


def test_the_mouse_drags_and_a_drag_is_no_click(show: Opener) -> None:
    page = show(FORMS["player"](wide()))
    ready(page)
    first = page.locator(".dbr-graph").get_attribute("data-first")
    box = page.locator(f'[data-c="{first}"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 10
    left, _ = scrolled(page)
    step = page.locator(".dbr-player").get_attribute("data-step")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.mouse.up()
    assert scrolled(page)[0] == pytest.approx(left + 60, abs=2)
    assert page.locator(".dbr-player").get_attribute("data-step") == step
    page.mouse.click(x - 60, y)
    assert page.locator(".dbr-player").get_attribute("data-step") != step


def test_the_wheel_with_ctrl_zooms_where_the_pointer_is(show: Opener) -> None:
    page = show(FORMS["still"](wide()))
    ready(page)
    first = f'[data-c="{page.locator(".dbr-graph").get_attribute("data-first")}"]'
    box = page.locator(first).bounding_box()
    x, y = box["x"] + 5, box["y"] + 5
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("parseFloat(document.querySelector('.dbr-svg').style.width) > 0")
    after = page.locator(first).bounding_box()
    assert scale(page) > 1
    assert abs(after["x"] - box["x"]) < 6


def test_two_fingers_zoom(show: Opener) -> None:
    page = show(FORMS["still"](wide()), PHONE, has_touch=True)
    ready(page)
    before = scale(page)
    page.locator(".dbr-graph").evaluate(
        """box => {
            const b = box.getBoundingClientRect();
            const at = (id, x) => new Touch({ identifier: id, target: box, clientX: b.left + x, clientY: b.top + 50 });
            const send = (kind, ...xs) => box.dispatchEvent(new TouchEvent(kind, {
                touches: xs.map((x, id) => at(id, x)), bubbles: true, cancelable: true }));
            send("touchstart", 100, 150);
            send("touchmove", 75, 175);
            send("touchend");
        }"""
    )
    assert scale(page) == pytest.approx(2 * before, rel=0.02)


def test_a_drawing_that_appears_later_begins_at_its_first_operation_too(show: Opener) -> None:
    page = show(f"<details><summary>more</summary>{FORMS['still'](wide())}</details>")
    page.locator("details:not(.dbr-text) > summary").click()
    ready(page)
    first = page.locator(".dbr-graph").get_attribute("data-first")
    assert in_view(page, f'[data-c="{first}"]')


def test_on_paper_the_whole_picture_is_there_whatever_its_zoom(show: Opener) -> None:
    page = show(FORMS["still"](wide()))
    ready(page)
    page.locator("[data-zoom=full]").click()
    page.emulate_media(media="print")
    expect(page.locator(".dbr-zoom")).to_be_hidden()
    assert page.locator(".dbr-svg").evaluate(
        "svg => svg.getBoundingClientRect().width <= svg.closest('.dbr').getBoundingClientRect().width"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("form", FORMS)
def test_axe_finds_nothing_serious(show: Opener, form: str, dark: bool) -> None:
    page = show(FORMS[form](wide()), color_scheme="dark" if dark else "light")
    ready(page)
    found = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
