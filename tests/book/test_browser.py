"""The built pages in Chromium: silent, self-contained, readable in both themes, and alive.

A server on this machine serves a fresh build. Without a Chromium these tests are skipped with one
line; with `CI=true` in the environment that is a failure instead. They need the packages playwright
and axe-playwright-python.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    TimeoutError,
    expect,
)

import definebyrun as dbr
from tests.book.built_book import MOVED, PAGES, built_once, serve
from tests.book.chromium import ABSENT, DESKTOP, EXECUTABLE, PHONE, Player, skip_without_browser

pytestmark = pytest.mark.slow
PLAYING = ["index.html", "notebooks/01-your-first-graph.html"]
AXE = {
    "resultTypes": ["violations"],
    "preload": False,
    # `faint_text.js` measures the contrast of every text, in both themes and in a fifth of the time
    "rules": {"color-contrast": {"enabled": False}},
}
skip_without_browser()

Opener = Callable[[str], "Watched"]
Looker = Callable[[str], "Facts"]


def test_a_browser_is_there_where_it_must_be() -> None:
    assert EXECUTABLE or os.environ.get("CI") != "true", ABSENT


@pytest.fixture(scope="module")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    book = built_once(tmp_path_factory)
    if book.status:
        pytest.fail("the book does not build: test_book.py says why", pytrace=False)
    with serve(book.html) as base:
        yield base


@dataclass
class Watched:
    """A page, with what it asked other hosts for and what it complained about."""

    page: Page
    away: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def watch(
    browser: Browser, address: str, name: str, theme: str = "light", motion: str = "reduce"
) -> Watched:
    """Open a page of the book at desktop size in a fresh profile.

    Motion is reduced unless a test is about motion, or axe would measure text while it fades in.
    """
    context = browser.new_context(viewport=DESKTOP, color_scheme=theme, reduced_motion=motion)
    seen = Watched(context.new_page())

    def asked(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            seen.away.append(request.url)

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            seen.complaints.append(message.text)

    seen.page.on("request", asked)
    seen.page.on("console", said)
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.goto(address + name)
    return seen


@pytest.fixture
def show(browser: Browser, address: str) -> Iterator[Opener]:
    """Opens pages to work with, and closes them after the test."""
    opened = []

    def opener(name: str) -> Watched:
        opened.append(watch(browser, address, name))
        return opened[-1]

    yield opener
    for seen in opened:
        seen.page.context.close()


# Every page, looked at once, in both themes, and measured in all ways.


@dataclass(frozen=True)
class Facts:
    """What one look at a page gave; what depends on the theme, for light and for dark."""

    theme: list[str]
    background: list[str]
    away: list[str]
    complaints: list[str]
    faint: list[list[str]]
    serious: list[str]
    tex: int
    phone_width: int


@pytest.fixture(scope="module")
def look(browser: Browser, address: str) -> Looker:
    @functools.cache
    def facts(name: str) -> Facts:
        seen = watch(browser, address, name)
        page = seen.page
        page.wait_for_load_state("networkidle")
        page.evaluate(
            "document.querySelectorAll('article details').forEach(d => { d.open = true })"
        )
        theme, background, faint = [], [], []
        for scheme in THEMES:
            page.emulate_media(color_scheme=scheme)
            with suppress(TimeoutError):  # what is there then is told below
                page.wait_for_function(
                    "theme => document.documentElement.dataset.theme === theme", arg=scheme
                )
            theme.append(page.evaluate("document.documentElement.dataset.theme"))
            background.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            faint.append(page.evaluate(FAINT_TEXT))
        measured = Facts(
            theme=theme,
            background=background,
            away=seen.away,
            complaints=seen.complaints,
            faint=faint,
            serious=serious(Axe().run(page, options=AXE).response),
            tex=page.locator(TEX).count(),
            phone_width=narrow(page),
        )
        page.context.close()
        return measured

    return facts


def serious(response: dict) -> list[str]:
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def narrow(page: Page) -> int:
    """How wide the page is on a phone."""
    page.set_viewport_size(PHONE)
    return page.evaluate("document.documentElement.scrollWidth")


TEX = ".katex-error, article .math:not(:has(.katex))"
"""Formulas that are not drawn."""

# Every visible text whose contrast with what lies behind it is below AA: 4.5, or 3 for large text.
FAINT_TEXT = (Path(__file__).parent / "faint_text.js").read_text("utf-8")


THEMES: list[Literal["light", "dark"]] = ["light", "dark"]


@pytest.mark.parametrize("name", PAGES)
class TestEveryPage:
    """Each test is one fact about one page."""

    def test_asks_no_other_host(self, look: Looker, name: str) -> None:
        assert look(name).away == []

    def test_logs_no_error(self, look: Looker, name: str) -> None:
        assert look(name).complaints == []

    def test_follows_the_theme_of_the_reader(self, look: Looker, name: str) -> None:
        facts = look(name)
        assert facts.theme == THEMES
        light, dark = facts.background
        assert light == "rgb(255, 255, 255)" != dark

    def test_is_readable_in_light_and_dark(self, look: Looker, name: str) -> None:
        assert look(name).faint == [[], []]

    def test_gives_axe_nothing_serious_to_find(self, look: Looker, name: str) -> None:
        assert look(name).serious == []

    def test_leaves_no_formula_as_tex(self, look: Looker, name: str) -> None:
        assert look(name).tex == 0

    def test_fits_a_phone(self, look: Looker, name: str) -> None:
        assert look(name).phone_width <= PHONE["width"]


def test_formulas_are_drawn(show: Opener) -> None:
    page = show("chapters/glossary.html").page
    formulas, drawn = page.locator("article .math").count(), page.locator("article .katex").count()
    assert drawn == formulas > 0
    assert page.locator(".katex-error").count() == 0
    assert page.evaluate("document.fonts.check('16px KaTeX_Math')")


def test_search_finds_the_leaf(show: Opener) -> None:
    seen = show("index.html")
    seen.page.get_by_role("button", name="Search").first.click()
    field = seen.page.get_by_placeholder("Search this book...")
    field.fill("leaf")
    field.press("Enter")
    results = seen.page.locator("#search-results ul.search li a")
    expect(results.first).to_be_visible()
    assert any(
        "glossary" in link for link in results.evaluate_all("links => links.map(a => a.href)")
    )
    assert seen.complaints == []


FIRST_HITS = """queries => queries.map(text => Search._performSearch(...Search._parseQuery(text))
    .reverse().slice(0, 3).map(([page, title, anchor]) => page + anchor))"""
"""What the book's search finds first, for each of these; its list of hits ends with the best."""
SUBJECTS = [
    *("static vs dynamic graph", "dynamic versus static", "advantages of dynamic graphs"),
    *("benefits", "cost of autograd"),
]


def test_search_finds_each_message_by_the_whole_and_by_its_first_words(show: Opener) -> None:
    """Each message that a lesson provokes has a section of its own, among the first three that are found."""
    page = show("chapters/what-pytorch-says.html").page
    sections = page.locator("article section section").evaluate_all(
        "all => all.map(one => [one.id, one.querySelector('h2').firstChild.textContent])"
    )
    assert len(sections) >= 8
    page = show("search.html?q=leaf").page
    expect(page.locator("#search-results ul.search li a").first).to_be_visible()
    for anchor, message in sections:
        asked = [message, " ".join(message.split()[:6])]
        for query, hits in zip(asked, page.evaluate(FIRST_HITS, asked), strict=True):
            alike = {  # the whole is one message; its first words may begin others, too
                f"chapters/what-pytorch-says#{other}"
                for other, text in sections
                if text == message or (query != message and text.startswith(query))
            }
            assert f"chapters/what-pytorch-says#{anchor}" in alike
            assert alike & set(hits), query


def test_search_finds_what_people_ask_about_dynamic_graphs(show: Opener) -> None:
    page = show("search.html?q=leaf").page
    expect(page.locator("#search-results ul.search li a").first).to_be_visible()
    for query, hits in zip(SUBJECTS, page.evaluate(FIRST_HITS, SUBJECTS), strict=True):
        assert any(hit.startswith("chapters/part-2#") for hit in hits), (query, hits)


ASKED = {
    "what is a dynamic computation graph": "dynamic-graph",
    "什么是动态计算图": "dynamic-graph",
    "与静态计算图有何区别": "dynamic-or-static",
    "在 PyTorch 中如何构建动态图": "build-and-change",
    "动态图有哪些优势和劣势": "gains-and-costs",
}


SET = {
    "实现一个简单的动态神经网络": "",
    "实现一个动态的梯度检查": "",
    "动态调整学习率": "",
    "network whose depth depends on its input": "#a-network-whose-depth-depends-on-its-input",
    "gradient check that can be trusted": "#a-gradient-check-that-can-be-trusted",
    "learning rate that reacts to the loss": "#a-learning-rate-that-reacts-to-the-loss",
}
"""The article's three problems, by its words and by ours, and where they stand in the notebook of problems."""


def test_search_finds_a_coding_problem_by_its_words(show: Opener) -> None:
    page = show("search.html?q=leaf").page
    expect(page.locator("#search-results ul.search li a").first).to_be_visible()
    found = page.evaluate(FIRST_HITS, list(SET))
    for (query, anchor), hits in zip(SET.items(), found, strict=True):
        assert f"notebooks/26-problems-the-backward-pass{anchor}" in hits, query
        assert not anchor or hits[0].endswith(anchor), "a title comes before pages with its words"


def test_search_finds_a_question_of_an_interview_by_its_words(show: Opener) -> None:
    page = show("search.html?q=leaf").page
    expect(page.locator("#search-results ul.search li a").first).to_be_visible()
    for (query, anchor), hits in zip(
        ASKED.items(), page.evaluate(FIRST_HITS, list(ASKED)), strict=True
    ):
        assert f"chapters/25-questions#{anchor}" in hits, query


def test_the_front_page_leads_to_the_questions_and_to_a_plan_for_an_interview(
    show: Opener,
) -> None:
    page = show("index.html").page
    door = page.locator("ul.cards li", has_text="I have an interview on Thursday")
    links = door.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert links == ["chapters/part-4.html", "chapters/25-questions.html"]


def test_the_course_fits_on_two_pages_of_paper(show: Opener) -> None:
    page = show("chapters/summary.html").page
    page.wait_for_load_state("networkidle")
    paper = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 2


def test_code_can_be_copied(show: Opener) -> None:
    page = show("chapters/how-to-run.html").page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    block = page.locator("div.highlight", has_text="make lab").first
    block.hover()
    block.get_by_role("button").click()
    assert "make lab" in page.evaluate("navigator.clipboard.readText()")


def test_an_answer_stays_folded_until_it_is_asked_for(show: Opener) -> None:
    page = show("notebooks/01-your-first-graph.html").page
    fold = page.locator("details.hide", has_text="Show the answer").first
    expect(fold.locator(".cell_output")).to_be_hidden()
    fold.get_by_text("Show the answer").click()
    expect(fold.locator(".cell_output")).to_be_visible()


@pytest.fixture(params=PLAYING)
def player(show: Opener, request: pytest.FixtureRequest) -> Iterator[Player]:
    """A player at its first step; when the test is over, nothing has complained."""
    seen = show(request.param)
    player = Player(seen.page.locator(".dbr-player[data-steps]").first)
    player.slider.press("Home")
    yield player
    assert seen.complaints == []


def test_the_player_steps_by_its_buttons(player: Player) -> None:
    first, said = player.step, player.sentence
    player.press("next")
    assert player.step == first + 1
    assert player.sentence != said
    player.press("next")
    player.press("prev")
    assert player.step == first + 1
    player.press("prev")
    assert (player.step, player.sentence) == (first, said)


def test_the_player_steps_by_its_slider(player: Player) -> None:
    first, said = player.step, player.sentence
    player.slider.press("End")
    last = player.step
    assert last - first >= int(player.root.get_attribute("data-steps")) - 1
    assert player.sentence != said
    player.slider.press("ArrowLeft")
    assert player.step == last - 1
    player.slider.press("Home")
    assert (player.step, player.sentence) == (first, said)


def test_the_player_steps_by_the_arrow_keys(player: Player) -> None:
    first = player.step
    player.root.locator("[data-act=next]").first.focus()
    keyboard = player.root.page.keyboard
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    assert player.step == first + 2
    keyboard.press("ArrowLeft")
    assert player.step == first + 1


def test_the_player_plays_and_pauses(player: Player) -> None:
    first = player.step
    player.press("play")
    expect(player.root).not_to_have_attribute("data-step", str(first))
    player.press("play")
    stopped = player.step
    player.root.page.wait_for_timeout(2500)
    assert player.step == stopped


def test_a_click_on_a_card_or_a_line_goes_to_its_step(player: Player) -> None:
    player.root.locator("[data-c]", has_text="loss = sum").first.click()
    assert "sum makes loss" in player.sentence
    player.root.locator("[data-c]", has_text="loss = sum").first.click()
    assert "SumBackward0 receives 1" in player.sentence
    player.root.locator("li[data-s]", has_text="s = y + b").first.click()
    assert "add makes s from y and b" in player.sentence


def test_a_step_shows_what_has_happened_by_then_and_nothing_later(player: Player) -> None:
    words = """[...document.querySelector('.dbr-player').querySelectorAll('text')]
        .filter(text => text.checkVisibility()).map(text => text.textContent)"""
    page = player.root.page
    assert ".grad [1, 0, 3]" not in page.evaluate(words)
    assert player.root.locator(".dbr-todo[data-c]").count() == 4
    player.slider.press("End")
    assert ".grad [1, 0, 3]" in page.evaluate(words)
    assert player.root.locator(".dbr-todo").count() == 0


def open_answers(page: Page) -> None:
    """Players in answers that are closed cannot be clicked."""
    page.evaluate(
        "document.querySelectorAll('details.hide').forEach(fold => { fold.open = true; })"
    )


def test_players_of_one_page_do_not_disturb_each_other(show: Opener) -> None:
    seen = show("notebooks/01-your-first-graph.html")
    open_answers(seen.page)
    players = [Player(root) for root in seen.page.locator(".dbr-player[data-steps]").all()]
    assert len(players) >= 2
    rest = [(other.step, other.sentence) for other in players[1:]]
    players[0].press("next")
    players[0].slider.press("End")
    assert players[0].step == int(players[0].root.get_attribute("data-steps"))
    assert [(other.step, other.sentence) for other in players[1:]] == rest
    players[1].press("next")
    assert players[1].step == rest[0][0] + 1
    assert players[0].step == int(players[0].root.get_attribute("data-steps"))
    assert seen.page.locator(".dbr-player .dbr-on").count() == 2 * len(players)
    assert seen.complaints == []


def test_the_same_player_may_stand_on_a_page_twice(show: Opener) -> None:
    """Ids come from the run's text, so a cell shown in two places is one id: still two players."""
    page = show("notebooks/01-your-first-graph.html").page
    html = page.locator(".dbr-player").first.evaluate("player => player.outerHTML")
    fresh = re.sub(r' data-ready="1"', "", html)
    page.set_content(f"<!doctype html><body>{fresh}{fresh}</body>")
    first, second = (Player(root) for root in page.locator(".dbr-player").all())
    expect(first.root).to_have_attribute("data-ready", "1")
    expect(second.root).to_have_attribute("data-ready", "1")
    first.slider.press("End")
    assert (first.step > 0, second.step) == (True, 0)


# Links to a step, and to where a lesson was.


def test_an_old_address_leads_to_the_same_place_of_the_lesson(show: Opener) -> None:
    old, new = next(iter(MOVED.items()))
    seen = show(f"{old}?from=afar#exercises")
    seen.page.wait_for_url(f"**/{new}?from=afar#exercises")
    assert seen.page.locator("#exercises").is_visible()
    assert seen.complaints == []


LESSON = "notebooks/01-your-first-graph.html"


def follow(browser: Browser, address: str, name: str, viewport: dict = DESKTOP) -> Page:
    context = browser.new_context(viewport=viewport, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address + name)
    page.wait_for_load_state("load")
    return page


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_link_to_a_step_opens_that_step_of_that_player(
    browser: Browser, address: str, number: int, viewport: dict
) -> None:
    page = follow(browser, address, f"{LESSON}#dbr-{number}-step-2", viewport)
    players = page.locator(".dbr-player")
    expect(players.nth(number - 1)).to_have_attribute("data-step", "2")
    others = [players.nth(n).get_attribute("data-step") for n in range(players.count())]
    assert others.count("2") == 1
    expect(players.nth(number - 1)).to_be_focused()
    top = players.nth(number - 1).bounding_box()["y"]
    assert 0 <= top <= viewport["height"] / 3
    page.keyboard.press("ArrowRight")
    expect(players.nth(number - 1)).to_have_attribute("data-step", "3")
    page.context.close()


def test_a_link_to_a_step_unfolds_what_the_player_is_folded_into(
    browser: Browser, address: str
) -> None:
    page = follow(browser, address, LESSON)
    player = page.locator(".dbr-player").first
    player.evaluate(
        """player => {
            const fold = document.createElement("details");
            player.replaceWith(fold);
            fold.append(player);
        }"""
    )
    expect(player).to_be_hidden()
    page.evaluate("location.hash = '#dbr-1-step-4'")
    expect(player).to_be_visible()
    expect(player).to_have_attribute("data-step", "4")
    page.context.close()


def test_the_step_that_is_shown_can_be_copied_as_a_link(browser: Browser, address: str) -> None:
    page = follow(browser, address, LESSON)
    open_answers(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    player = Player(page.locator(".dbr-player").nth(1))
    before = page.evaluate("history.length")
    player.press("next")
    player.press("next")
    assert page.url == address + LESSON  # stepping leaves the address alone
    link = player.root.get_by_role("link", name="Link to this step")
    link.click()
    expect(player.root.get_by_role("link")).to_have_text("Link copied")
    wanted = f"{address}{LESSON}#dbr-2-step-2"
    assert page.evaluate("navigator.clipboard.readText()") == page.url == wanted
    assert page.evaluate("history.length") == before
    player.press("next")
    expect(link).to_have_attribute("href", "#dbr-2-step-3")
    page.context.close()


def test_a_link_to_no_step_and_the_books_own_anchors_leave_players_alone(
    browser: Browser, address: str
) -> None:
    for anchor in ("exercises", "dbr-99-step-1", "dbr-0-step-1", "dbr-1-step-"):
        page = follow(browser, address, f"{LESSON}#{anchor}")
        steps = page.locator(".dbr-player").evaluate_all("all => all.map(p => p.dataset.step)")
        assert set(steps) == {"0"}, anchor
        assert (page.evaluate("scrollY") > 0) == (anchor == "exercises")
        page.context.close()


def test_a_link_to_a_step_of_the_front_page_stays_there(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport=DESKTOP, reduced_motion="no-preference")
    page = context.new_page()
    page.goto(f"{address}index.html#dbr-1-step-3")
    page.wait_for_timeout(3500)
    assert page.locator(".dbr-player").first.get_attribute("data-step") == "3"
    context.close()


# On paper.


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_paper_shows_the_end_of_the_run_in_light_colours_and_no_controls(
    browser: Browser, address: str, theme: str
) -> None:
    seen = watch(browser, address, LESSON, theme)
    page, root = seen.page, seen.page.locator(".dbr-player").first
    Player(root).slider.press("Home")
    Player(root).press("next")
    page.emulate_media(media="print")
    words = root.evaluate(
        "root => [...root.querySelectorAll('.dbr-svg text')].filter(t => t.checkVisibility()).map(t => t.textContent)"
    )
    assert {".grad [1, 0, 3]", "freed"} <= set(words)
    assert not [word for word in words if "not yet" in word]
    for part in (".dbr-bar", ".dbr-now", ".dbr-text"):
        expect(root.locator(part)).to_be_hidden()
    looks = root.evaluate(
        """root => [...root.querySelectorAll('.dbr-c, .dbr-e')].map(e => getComputedStyle(e).opacity)"""
    )
    assert set(looks) == {"1"}
    assert root.evaluate("r => getComputedStyle(r).backgroundColor") == "rgb(255, 255, 255)"
    ink = "r => getComputedStyle(r.querySelector('.dbr-c text')).fill"
    assert root.evaluate(ink) == "rgb(28, 39, 51)"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_shows_a_comparison_in_light_colours_too(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    def run(x: float) -> dbr.Tape:
        w = torch.tensor(x, requires_grad=True)
        with dbr.record() as tape:
            (w * 2 if w > 0 else w.exp()).backward()
        return tape

    dbr.compare(run(1.0), run(-1.0)).save(tmp_path / "both.html")
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto((tmp_path / "both.html").as_uri())
    looks = """() => [...document.querySelectorAll('.dbr-c, .dbr-e')].flatMap(
        group => [...group.querySelectorAll('rect, path, polygon, text')].map(shape => {
            const style = getComputedStyle(shape);
            return [shape.getAttribute('fill'), shape.getAttribute('stroke'), style.fill, style.stroke].join(' ');
        }))"""
    shown = page.evaluate(looks)
    page.emulate_media(media="print")
    printed = page.evaluate(looks)
    assert (shown == printed) == (scheme == "light")
    page.emulate_media(media="screen")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert printed == page.evaluate(looks)
    assert page.locator("text", has_text="only A").count() == 1
    context.close()


def test_paper_cuts_nothing_off(browser: Browser, address: str) -> None:
    """At the width of a sheet, every picture lies inside its frame, as wide and as tall as it may be."""
    context = browser.new_context(viewport={"width": 680, "height": 980})
    page = context.new_page()
    page.goto(address + LESSON)
    page.emulate_media(media="print")
    for graph in page.locator(".dbr-graph:visible").all():
        frame, picture = graph.bounding_box(), graph.locator(".dbr-svg").bounding_box()
        assert picture["x"] >= frame["x"]
        assert picture["x"] + picture["width"] <= frame["x"] + frame["width"]
        assert picture["height"] <= frame["height"] <= 980
    long = page.locator(".dbr-code li").first
    long.evaluate("line => line.append(' + one_more_term'.repeat(20))")
    assert long.bounding_box()["width"] <= 680
    context.close()


def test_the_front_page_plays_by_itself_until_it_is_paused(browser: Browser, address: str) -> None:
    seen = watch(browser, address, "index.html", motion="no-preference")
    player = Player(seen.page.locator(".dbr-player").first)
    expect(player.root).to_have_attribute("data-step", "2", timeout=10_000)
    player.press("play")
    stopped = player.step
    seen.page.wait_for_timeout(2500)
    assert player.step == stopped
    seen.page.context.close()


def test_nothing_plays_by_itself_where_motion_is_reduced(show: Opener) -> None:
    player = Player(show("index.html").page.locator(".dbr-player").first)
    player.root.page.wait_for_timeout(3500)
    assert player.step == 0


def test_a_gradient_travels_along_its_edge(browser: Browser, address: str) -> None:
    seen = watch(browser, address, "notebooks/01-your-first-graph.html", motion="no-preference")
    player = Player(seen.page.locator(".dbr-player").first)
    for _ in range(6):
        player.press("next")
    assert player.root.locator(".dbr-flow").count() == 1
    assert player.root.locator(".dbr-dot").count() == 1
    expect(player.root.locator(".dbr-dot")).to_have_count(0, timeout=3_000)
    assert seen.complaints == []
    seen.page.context.close()


@pytest.mark.parametrize("name", PLAYING)
def test_without_scripts_the_whole_picture_is_there(
    browser: Browser, address: str, name: str
) -> None:
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    page = context.new_page()
    page.goto(address + name)
    picture = page.locator(".dbr-player svg").first.bounding_box()
    expect(page.locator(".dbr-bar").first).to_be_hidden()  # buttons that would do nothing
    context.close()
    assert picture["width"] > 200
    assert picture["height"] > 50


def test_a_lesson_gives_the_player_room(show: Opener) -> None:
    page = show("notebooks/01-your-first-graph.html").page
    assert page.locator(".dbr-player").first.bounding_box()["width"] >= 760


def test_the_theme_is_switched_by_its_button_and_remembered(show: Opener) -> None:
    page = show("index.html").page
    theme = page.locator("html")
    for _ in range(3):
        if theme.get_attribute("data-theme") == "dark":
            break
        page.get_by_role("button", name="Color mode").click()
    expect(theme).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(theme).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_a_saved_page_is_as_dark_as_the_system(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"], dark: bool
) -> None:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        (w * w).backward()
    tape.save(tmp_path / "square.html")
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto((tmp_path / "square.html").as_uri())
    paper, ink = (
        page.locator(".dbr").evaluate(f"box => getComputedStyle(box).{which}")
        for which in ("backgroundColor", "color")
    )
    bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]
    assert (bright[0] < bright[1]) == dark
    context.close()
