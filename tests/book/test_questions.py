"""The questions of an interview: whole, true to their notebooks, and a quiz that works by keyboard and loses nothing.

The page is built as a small book of its own, with the notebooks that it shows; what is true of every page of the book
(contrast, both themes, a phone) is in test_browser.py. The quiz is looked at in Chromium, where there is one.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from tests.book.built_book import serve
from tests.book.chromium import DESKTOP
from tools import ROOT

sys.path.insert(0, str(ROOT / "_ext"))
import questions
import summary

SOURCE = ROOT / f"{questions.PAGE}.md"
ALL = questions.read(SOURCE)
EVIDENCE = re.compile(r"^```\{evidence\} (\S+) (\S+)$((?:\n:.*$)*)", re.MULTILINE)
EXTENSIONS = ["myst_parser", "local_katex", "evidence", "questions"]
LONGEST_BREATH = 40

each = pytest.mark.parametrize("question", ALL, ids=lambda question: question.id)


# The source.


def test_there_are_at_least_forty_five_questions_and_no_two_alike() -> None:
    assert len(ALL) >= 45
    assert len({question.id for question in ALL}) == len({q.text for q in ALL}) == len(ALL)


def test_the_first_four_are_those_of_the_article_in_both_languages() -> None:
    first = {question.id: question.chinese for question in ALL if question.chinese}
    assert list(first) == [question.id for question in ALL[:4]]
    asked = ("什么是动态计算图", "静态", "构建", "优势和劣势")
    assert all(words in said for words, said in zip(asked, first.values(), strict=True))


@each
def test_a_question_has_all_its_parts(question: questions.Question) -> None:
    assert 10 <= len(question.breath.split()) <= LONGEST_BREATH, "one breath"
    assert "\n\n" not in question.breath
    assert EVIDENCE.search(question.depth), "the deep answer shows what a lesson printed"
    assert question.follow_up[0].endswith(("?", "it?"))
    assert len(question.follow_up[1].split()) >= 8
    assert question.wrong[0].startswith("“")
    assert question.wrong[1]


def test_nearly_every_wrong_answer_is_run() -> None:
    told = [question.id for question in ALL if not EVIDENCE.search(question.wrong[1])]
    assert set(told) <= {"gains-and-costs", "ddp"}, "these two point at the evidence above them"


def test_every_topic_and_every_level_has_questions() -> None:
    assert {question.topic for question in ALL} == set(questions.TOPICS)
    assert {question.level for question in ALL} == {1, 2, 3}


def test_the_cards_are_tab_separated_as_anki_reads_them() -> None:
    head, rows = [], []
    for line in questions.cards(ALL).splitlines():
        (head if line.startswith("#") else rows).append(line)
    assert head == ["#separator:tab", "#html:true", "#columns:Front\tBack\tTags", "#tags column:3"]
    assert len(rows) == len(ALL)
    for row, question in zip(rows, ALL, strict=True):
        front, back, tags = row.split("\t")
        assert question.chinese in front
        assert "```" not in back
        assert question.topic in tags.split()


# The page, as a small book.


class Book:
    """The page of questions, or one question of it, with copies of the notebooks that it shows."""

    def __init__(self, folder: Path, only: str = "") -> None:
        self.folder, self.html = folder, folder / "out"
        self.source = folder / f"{questions.PAGE}.md"
        (folder / "chapters").mkdir()
        (folder / "notebooks").mkdir()
        text = SOURCE.read_text("utf-8")
        if only:
            blocks = (found[0] for found in questions.BLOCK.finditer(text))
            (block,) = (block for block in blocks if f":id: {only}\n" in block)
            text = f"# Questions\n\n## One\n\n{block}\n"
        self.source.write_text(text, "utf-8")
        (folder / "index.md").write_text(f"# Book\n\n```{{toctree}}\n{questions.PAGE}\n```\n")
        for name in {name for name, *_ in EVIDENCE.findall(text)}:
            shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder / "notebooks")

    def build(self) -> str:
        """Build the page; the warnings that are not about links to what is not here."""
        said = io.StringIO()
        with docutils_namespace():
            Sphinx(
                srcdir=self.folder,
                confdir=None,
                outdir=self.html,
                doctreedir=self.folder / "trees",
                buildername="html",
                confoverrides={
                    "extensions": EXTENSIONS,
                    "exclude_patterns": ["notebooks", "out"],
                    "html_favicon": str(ROOT / "_static" / "logo.svg"),
                    "html_math_renderer": "local_katex",
                    "myst_enable_extensions": ["dollarmath"],
                    "suppress_warnings": ["myst.xref_missing"],
                },
                status=None,
                warning=said,
            ).build()
        return said.getvalue()

    @property
    def page(self) -> BeautifulSoup:
        text = (self.html / f"{questions.PAGE}.html").read_text("utf-8")
        return BeautifulSoup(text, "html.parser")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    book = Book(tmp_path_factory.mktemp("questions"))
    warnings = book.build()
    assert warnings == ""
    return book


def test_every_answer_is_in_the_page_and_in_a_fold_that_needs_no_script(book: Book) -> None:
    sections = book.page.select("section.question")
    assert [section["id"] for section in sections] == [question.id for question in ALL]
    for section in sections:
        folds = section.find_all("details", recursive=False)
        assert [fold["class"] for fold in folds] == [["breath"], ["depth"], ["wrong"], ["next"]]
        assert all(fold.summary.get_text(strip=True) for fold in folds)


def test_the_chinese_wording_is_marked_as_chinese(book: Book) -> None:
    said = [p.get_text() for p in book.page.select('section.question > p[lang="zh"]')]
    assert said == [question.chinese for question in ALL[:4]]


def test_each_piece_of_evidence_says_which_lesson_it_is_from(book: Book) -> None:
    shown = book.page.select("section.question .evidence")
    assert len(shown) == len(EVIDENCE.findall(SOURCE.read_text("utf-8"))) >= 100
    assert all(re.match(r"From lesson \d\d, \S", e.select(".whence")[-1].get_text()) for e in shown)


def test_a_number_that_changes_in_a_notebook_changes_on_the_page(tmp_path: Path) -> None:
    book = Book(tmp_path, only="checkpointing")
    book.build()
    place = tmp_path / "notebooks" / "29-answers-that-do-not-work.ipynb"
    assert "compared: 2 of 10" in book.page.get_text()
    notebook = nbformat.read(place, as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.get("id") == "checkpoint-test")
    cell.outputs[0]["text"] = cell.outputs[0]["text"].replace("2 of 10", "3 of 11")
    nbformat.write(notebook, place)
    assert book.build() == ""
    text = book.page.get_text()
    assert "compared: 3 of 11" in text
    assert "compared: 2 of 10" not in text


def test_a_question_without_one_of_its_parts_is_a_warning(tmp_path: Path) -> None:
    book = Book(tmp_path, only="ddp")
    text = book.source.read_text("utf-8").replace("### In depth", "### Deeper")
    book.source.write_text(text, "utf-8")
    assert "has no 'In depth'" in book.build()


# The summary.


def test_the_summary_has_a_rule_for_every_lesson_that_has_a_cheat_sheet() -> None:
    found = list(summary.sheets(ROOT / "notebooks"))
    assert len(found) >= 18
    for name, _, sheet in found:
        rule = summary.rule(sheet)
        assert 5 <= len(rule.split()) <= 60, name
        assert "](#" not in rule + summary.call(sheet), name


def test_the_words_that_choose_a_rule_or_a_call_are_in_its_cheat_sheet() -> None:
    page = (ROOT / "chapters" / "summary.md").read_text("utf-8")
    lines = page.partition("{summary} rules\n")[2].partition("```")[0].splitlines()
    texts = {name[:2]: sheet for name, _, sheet in summary.sheets(ROOT / "notebooks")}
    assert lines
    for lesson, words in map(summary.choice, lines):
        assert summary.chosen(texts[lesson[:2]], words), (lesson, words)


# The quiz, in Chromium.

Opener = Callable[..., "Seen"]
NO_STORAGE = (
    """Object.defineProperty(window, 'localStorage', {get() { throw new Error('no storage'); }})"""
)
MONDAY = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Seen:
    """A page, with what it complained about and what it asked other hosts for."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    @property
    def bar(self) -> str:
        return self.page.locator(".quiz-bar [role=status]").inner_text()

    @property
    def url(self) -> str:
        """The address as the page has it: Playwright's own `page.url` learns of a change a moment later."""
        return self.page.evaluate("location.href")

    @property
    def card(self) -> str | None:
        """The question that is asked."""
        return self.page.locator(".question.now").get_attribute("id")

    @property
    def asked(self) -> str:
        return self.page.locator(".quiz-panel p").inner_text()

    def shown(self) -> list[str]:
        every = self.page.locator("section.question").all()
        return [one.get_attribute("id") for one in every if one.is_visible()]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def address(book: Book) -> Iterator[str]:
    with serve(book.html) as base:
        yield base


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce", accept_downloads=True)
    context.clock.set_fixed_time(MONDAY)
    yield context
    context.close()


@pytest.fixture
def show(context: BrowserContext, address: str) -> Iterator[Opener]:
    """Opens the page; when the test is over, nothing has complained and no other host was asked."""
    complaints: list[str] = []

    def opener(query: str = "", page: Page | None = None) -> Seen:
        page = page or context.new_page()
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                asked.url.startswith((address, "blob:", "data:")) or complaints.append(asked.url)
            ),
        )
        page.goto(f"{address}{questions.PAGE}.html{query}")
        return Seen(page, complaints)

    yield opener
    assert complaints == []


def start(seen: Seen) -> None:
    """Begin the quiz as somebody does who has no mouse."""
    seen.page.get_by_role("button", name="Quiz me").focus()
    seen.press("Enter")


def test_a_fold_opens_and_closes_by_keyboard(show: Opener) -> None:
    seen = show()
    fold = seen.page.locator("#dynamic-graph details.breath")
    fold.locator("summary").focus()
    seen.press("Enter")
    expect(fold.locator("p").first).to_be_visible()
    seen.press("Space")
    expect(fold.locator("p").first).to_be_hidden()


def test_a_filter_is_in_the_address_and_survives_a_reload(show: Opener) -> None:
    seen = show()
    seen.page.get_by_label("memory").check()
    memory = [question.id for question in ALL if question.topic == "memory"]
    assert seen.shown() == memory
    assert seen.url.endswith("?topic=memory")
    seen.page.get_by_label("hard").focus()
    seen.press("Space")
    hard = [question.id for question in ALL if (question.topic, question.level) == ("memory", 3)]
    assert seen.shown() == hard
    assert seen.url.endswith("?topic=memory&level=3")
    seen.page.reload()
    assert seen.shown() == hard
    assert seen.page.get_by_label("memory").is_checked()


def test_a_link_may_name_several_topics_and_a_group_without_questions_is_hidden(
    show: Opener,
) -> None:
    seen = show("?topic=processes,functions")
    wanted = [question.id for question in ALL if question.topic in ("processes", "functions")]
    assert seen.shown() == wanted
    assert seen.page.get_by_role("heading", name="The four that began it").is_hidden()
    assert seen.bar == f"{len(wanted)} of {len(ALL)} questions"


def test_the_quiz_asks_before_it_shows_and_what_was_missed_comes_back(show: Opener) -> None:
    seen = show("?topic=functions")
    first, *others = [question.id for question in ALL if question.topic == "functions"]
    start(seen)
    assert seen.card == first
    assert seen.shown() == [first]
    assert seen.page.locator(f"#{first} details").first.is_hidden(), "recall comes first"
    seen.press("1")
    assert "You were sure" in seen.asked
    for kind in ("breath", "wrong"):
        expect(seen.page.locator(f"#{first} details.{kind} > *").nth(1)).to_be_visible()
    seen.press("3")
    for other in others:
        assert seen.card == other
        seen.press("2", "1")
    assert seen.card == first, "it was missed"
    seen.press("1", "1")
    assert seen.page.locator(".question.now").count() == 0
    assert "All 4 known" in seen.bar
    assert len(seen.shown()) == 4


def test_what_was_known_rests_and_is_due_again_later(show: Opener, context: BrowserContext) -> None:
    seen = show("?topic=processes")
    start(seen)
    seen.press("1", "1")
    assert "due again" not in seen.bar
    context.clock.set_fixed_time(MONDAY + timedelta(days=1))
    seen.page.reload()
    assert "1 due again" in seen.bar
    start(seen)
    seen.press("1", "1")
    context.clock.set_fixed_time(MONDAY + timedelta(days=3))
    seen.page.reload()
    assert "due again" not in seen.bar, "five days, the second time"
    context.clock.set_fixed_time(MONDAY + timedelta(days=6))
    seen.page.reload()
    assert "1 due again" in seen.bar


def test_nothing_is_lost_on_reload_in_the_middle_of_a_card(show: Opener) -> None:
    seen = show("?topic=memory")
    start(seen)
    seen.press("1", "1", "2")
    first, second = [question.id for question in ALL if question.topic == "memory"][:2]
    assert (seen.card, "You were not sure" in seen.asked) == (second, True)
    seen.page.reload()
    assert (seen.card, "You were not sure" in seen.asked) == (second, True)
    seen.press("1")
    kept = json.loads(seen.page.evaluate("localStorage.getItem('define-by-run-questions')"))
    assert list(kept) == [first, second]


def test_escape_leaves_the_quiz_and_the_focus_is_where_it_began(show: Opener) -> None:
    seen = show()
    start(seen)
    assert "quiz=1" in seen.url
    seen.press("Escape")
    assert len(seen.shown()) == len(ALL)
    assert "quiz" not in seen.url
    expect(seen.page.get_by_role("button", name="Quiz me")).to_be_focused()


def test_keys_are_left_alone_outside_the_quiz_and_with_a_modifier(show: Opener) -> None:
    seen = show()
    seen.press("1", "Escape")
    assert len(seen.shown()) == len(ALL)
    start(seen)
    seen.press("Control+1", "3", "x")
    assert "How sure" in seen.asked, "3 is no answer to this"


def test_the_cards_are_saved_with_what_is_known_of_them(show: Opener) -> None:
    seen = show("?topic=processes,memory")
    start(seen)
    seen.press("1", "1", "Escape")
    with seen.page.expect_download() as saving:
        seen.page.get_by_role("button", name="Save these cards for Anki").click()
    lines = Path(saving.value.path()).read_text("utf-8").splitlines()
    assert lines[:4] == questions.cards(ALL).splitlines()[:4]
    rows = [line.split("\t") for line in lines[4:]]
    assert len(rows) == len(seen.shown())
    assert all(len(row) == 3 for row in rows)
    assert [row[2].split()[-1] for row in rows] == ["box-1"] + ["new"] * (len(rows) - 1)
    assert saving.value.suggested_filename.endswith(".txt")


def test_the_page_works_where_nothing_can_be_kept_and_says_so(
    show: Opener, context: BrowserContext
) -> None:
    context.add_init_script(NO_STORAGE)
    seen = show("?topic=processes")
    assert "keeps nothing" in seen.bar
    start(seen)
    seen.press("1", "1")
    assert "All 1 known" in seen.bar
    assert set(seen.complaints) == {"no storage"}, "by the scripts of Sphinx"
    seen.complaints.clear()


def test_forgetting_forgets(show: Opener) -> None:
    seen = show("?topic=processes")
    start(seen)
    seen.press("2", "2")
    kept = "localStorage.getItem('define-by-run-questions')"
    for agrees in (False, True):
        seen.page.once(
            "dialog", lambda asked, yes=agrees: asked.accept() if yes else asked.dismiss()
        )
        seen.page.get_by_role("button", name="Forget what I know").click()
        assert (seen.page.evaluate(kept) == "{}") == agrees


def test_the_page_is_whole_without_scripts(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}{questions.PAGE}.html")
    assert page.locator(".quiz-bar").count() == 0
    fold = page.locator("#ddp details.breath")
    fold.locator("summary").click()
    expect(fold.locator("p").first).to_be_visible()
    context.close()


def test_axe_finds_nothing_in_the_bar_nor_in_a_card(show: Opener) -> None:
    seen = show("?topic=processes&quiz=1")
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(seen.page, context=".body", options=options).response["violations"]
    assert [(rule["id"], node["html"][:100]) for rule in found for node in rule["nodes"]] == []
