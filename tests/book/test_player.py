"""The step player on a page of its own, in Chromium: its keys, its timeline, full screen and a reader's own colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

import definebyrun as dbr
from tests.book.chromium import DESKTOP, PHONE, Player, skip_without_browser

pytestmark = pytest.mark.slow
skip_without_browser()

Opener = Callable[..., Player]


def short() -> dbr.Tape:
    """Three steps."""
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        (w * w).backward(torch.ones(2))
    return tape


def long() -> dbr.Tape:
    """A graph that is taller than its frame, and wants to be scrolled."""
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h = w.exp()
        for function in (torch.sin, torch.cos, torch.tanh, torch.sigmoid) * 2:
            h = function(h)
        h.backward()
    return tape


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Opens a saved tape; when the test is over, nothing has complained."""
    opened, complaints = [], []

    def opener(tape: dbr.Tape, viewport: Any = DESKTOP, **more: Any) -> Player:
        tape.save(tmp_path / "run.html")
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **more)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto((tmp_path / "run.html").as_uri())
        return Player(page.locator(".dbr-player"))

    yield opener
    for context in opened:
        context.close()
    assert complaints == []


def page_of(player: Player) -> Page:
    return player.root.page


def test_keys_live_on_at_both_ends(show: Opener) -> None:
    """A button at its end keeps the focus: else the next arrow key would go to the page."""
    player = show(short())
    page = page_of(player)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('p'), {style: 'height:3000px'}))"
    )
    page.evaluate("scrollTo(0, 40)")
    forward = player.root.locator("[data-act=next]")
    last = int(player.root.get_attribute("data-steps"))
    for _ in range(last):
        player.press("next")
    assert player.step == last
    expect(forward).to_be_focused()
    expect(forward).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("ArrowLeft")
    assert player.step == last - 1
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert player.step == 0
    assert page.evaluate("scrollY") == 40
    player.press("next")
    player.press("prev")
    expect(player.root.locator("[data-act=prev]")).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert player.step == 1


@pytest.mark.parametrize("key", ["ArrowDown", "ArrowUp"])
def test_up_and_down_in_a_graph_that_has_no_more_to_show_are_steps(show: Opener, key: str) -> None:
    player = show(short())
    player.press("next")
    player.root.locator(".dbr-graph").focus()
    page_of(player).keyboard.press(key)
    assert player.step == (2 if key == "ArrowDown" else 0)


def test_up_and_down_in_a_tall_graph_scroll_it_and_move_nothing_around_it(show: Opener) -> None:
    player = show(long(), {"width": 1000, "height": 500})
    page = page_of(player)
    page.evaluate("document.addEventListener('keydown', event => { document.title = event.key; })")
    graph = player.root.locator(".dbr-graph")
    graph.evaluate("graph => graph.scrollTo(0, 0)")
    graph.click(position={"x": 4, "y": 4})
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('.dbr-graph').scrollTop > 0")
    assert player.step == 0
    assert page.title() != "ArrowDown"


def test_the_slider_goes_the_same_way_by_all_its_keys(show: Opener) -> None:
    player = show(long())
    for forward, back in (
        ("ArrowDown", "ArrowUp"),
        ("ArrowRight", "ArrowLeft"),
        ("PageDown", "PageUp"),
    ):
        player.slider.press(forward)
        there = player.step
        assert there > 0
        player.slider.press(back)
        assert player.step == 0


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("run", [short, long])
def test_ticks_and_bars_stand_under_the_thumb(show: Opener, run: Any, viewport: Any) -> None:
    player = show(run(), viewport)
    last = int(player.root.get_attribute("data-steps"))
    slider = player.slider.bounding_box()
    thumb = 16
    for step in range(last + 1):
        wanted = slider["x"] + thumb / 2 + (slider["width"] - thumb) * step / last
        for row in (".dbr-ticks", ".dbr-mem"):
            box = player.root.locator(f"{row} i").nth(step).bounding_box()
            assert box["x"] + box["width"] / 2 == pytest.approx(wanted, abs=1)
    assert page_of(player).evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_full_screen_enlarges_words_and_graph_and_all_of_it_fits(show: Opener) -> None:
    player = show(long(), {"width": 1920, "height": 1080})
    words = player.root.locator(".dbr-now")
    before = words.evaluate("words => words.getBoundingClientRect().height")
    player.press("full")
    page_of(player).wait_for_function("document.fullscreenElement")
    assert words.evaluate("words => words.getBoundingClientRect().height") > 1.5 * before
    bar, graph = (player.root.locator(part).bounding_box() for part in (".dbr-bar", ".dbr-graph"))
    assert bar["y"] + bar["height"] <= 1080
    assert graph["height"] > 500


def test_a_readers_own_colours_keep_apart_what_ours_did(show: Opener) -> None:
    player = show(long(), forced_colors="active")
    player.press("next")
    player.press("next")

    def ground(part: str, pseudo: str) -> str:
        look = f"part => getComputedStyle(part, '{pseudo}').backgroundColor"
        return player.root.locator(part).first.evaluate(look)

    paper = page_of(player).evaluate(
        "getComputedStyle(document.querySelector('.dbr')).backgroundColor"
    )
    assert ground(".dbr-ticks i:nth-child(2)", "::after") != paper
    assert ground(".dbr-ticks i.b", "::after") == paper  # hollow
    assert ground(".dbr-mem i:not(.dbr-on)", "::after") != paper
    assert ground(".dbr-mem .dbr-on", "::after") != ground(".dbr-mem i:not(.dbr-on)", "::after")
    lines = player.root.locator(".dbr-code li")
    edges = lines.evaluate_all("all => all.map(line => getComputedStyle(line).borderLeftColor)")
    here = lines.evaluate_all("all => all.map(line => line.classList.contains('dbr-here'))")
    assert [edge != paper for edge in edges] == here
    assert here.count(True) == 1 < len(here)


def test_lines_are_numbered_from_one_and_a_copy_of_the_code_has_no_numbers(show: Opener) -> None:
    player = show(short())
    first = player.root.locator(".dbr-code li").first
    assert (
        first.evaluate("line => getComputedStyle(line, '::before').content") == "counter(list-item)"
    )
    assert first.inner_text().startswith("(w * w)")
