"""The form of the notebooks: a lesson has all its bones, cells are short, and nothing of the machine is stored.

Reads chapters and stored notebooks; runs nothing. That the outputs are true is nbval's business.
"""

from __future__ import annotations

import re
from itertools import pairwise

import nbformat
import pytest
from nbformat import NotebookNode

from definebyrun_course.exercises import of_lesson
from tests.course import kinds
from tools import ROOT, chapters, style
from tools.chapters import Lesson

CODE = chapters.lessons()
LESSONS = [lesson for lesson in CODE if lesson.name[:2] in kinds.LESSONS]
TAGS = {
    "exercise",
    "exercise-setup",
    "hide-cell",
    "hide-input",
    "hide-output",
    "nbval-ignore-output",
    "remove-cell",
}
EXEMPT = "nbval-ignore-output"
MOST_EXEMPT_HERE, MOST_EXEMPT = 2, 10
LONGEST = 15
SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
MACHINE = {
    "an absolute path": r"(?<![\w.:/])/(?:root|home|Users|tmp|work|usr|var|opt)/\w|\b[A-Z]:\\+\w|site-packages",
    "a process id": r"ipykernel_\d",
    "the address of an object": r"\b0x[0-9a-f]{8,}\b",
    "a timing": r"iopub\.|shell\.execute_reply|\bWall time\b|\bCPU times\b",
}
MYST = {
    "a colon fence": r"^:{3,}",
    "a role": r"\{[a-z][\w:-]*\}`",
    "a label": r"^\([\w-]+\)=\s*$",
    "a GitHub alert": r"^>\s*\[!",
    "a comment or block break of MyST": r"^(?:%|\+\+\+)\s",
}

each = pytest.mark.parametrize("lesson", CODE, ids=lambda lesson: lesson.name)
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def stored(lesson: Lesson) -> NotebookNode:
    return nbformat.read(lesson.notebook, as_version=4)


def code(book: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(book: NotebookNode) -> list[str]:
    """The Markdown of each cell without its code fences and code spans."""
    texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    return [re.sub(r"```.*?```|`[^`\n]*`", "`code`", text, flags=re.DOTALL) for text in texts]


def without_code(text: str) -> str:
    """Markdown without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def section(book: NotebookNode, heading: str) -> str:
    """The text under the first second-level heading that matches, up to the next one."""
    text = without_code(
        "\n\n".join(c.source if c.cell_type == "markdown" else "" for c in book.cells)
    )
    found = re.search(
        rf"^## [^\n]*{heading}[^\n]*\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE | re.I
    )
    assert found, f"there is no section '## … {heading} …'"
    return found[1]


def test_there_are_lessons_and_each_has_one_notebook() -> None:
    assert LESSONS
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == {
        lesson.name for lesson in CODE
    }


@each
def test_chapter_and_notebook_are_in_step(lesson: Lesson) -> None:
    fresh = [
        (c.cell_type, c.id, c.source, dict(c.metadata)) for c in chapters.notebook(lesson).cells
    ]
    old = [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in stored(lesson).cells]
    assert old == fresh, "run make notebooks"


@each
def test_a_chapter_survives_the_way_to_jupyter_and_back(lesson: Lesson) -> None:
    assert chapters.back(lesson, chapters.notebook(lesson)) == lesson.chapter.read_text(
        encoding="utf-8"
    )


@each
def test_every_cell_ran_in_order_without_an_error(lesson: Lesson) -> None:
    cells = code(stored(lesson))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {(output.output_type, output.get("name")) for cell in cells for output in cell.outputs}
    assert not kinds & {("error", None), ("stream", "stderr")}


@each
def test_nothing_of_the_machine_is_stored(lesson: Lesson) -> None:
    book = stored(lesson)
    assert book.metadata == nbformat.from_dict(chapters.METADATA)
    text = SVG.sub("<svg/>", nbformat.writes(book).replace('\\"', "'").replace("\\n", "\n"))
    for what, pattern in MACHINE.items():
        found = re.search(pattern, text)
        assert not found, f"{what}: {text[max(found.start() - 60, 0) : found.end() + 60]}"


@each
def test_cells_are_short_and_their_tags_are_known(lesson: Lesson) -> None:
    for cell in code(stored(lesson)):
        if lesson.name[:2] not in (*kinds.LESSONS, *kinds.PROBLEMS):
            assert len(cell.source.splitlines()) <= LONGEST, f"cell {cell.id} is too long: split it"
        assert set(tags(cell)) <= TAGS, f"cell {cell.id}"
        assert not cell.source.rstrip().endswith(";"), f"cell {cell.id}: nbval shows what ; hides"


def test_few_cells_are_exempt_from_comparison_and_each_says_why() -> None:
    counts = {}
    for lesson in CODE:
        exempt = [cell for cell in code(stored(lesson)) if EXEMPT in tags(cell)]
        for cell in exempt:
            reason = cell.source.splitlines()[0]
            assert re.match(r"# Not compared: .{10,}", reason), f"{lesson.name}, cell {cell.id}"
        counts[lesson.name] = len(exempt)
    assert max(counts.values()) <= MOST_EXEMPT_HERE, counts
    assert sum(counts.values()) <= MOST_EXEMPT, counts


@each
def test_markdown_reads_well_everywhere(lesson: Lesson) -> None:
    """CommonMark, `$`, tables and `<details>`: what Jupyter, Colab, GitHub and the book all show."""
    for cell in stored(lesson).cells:
        fence = re.search(r"^(?:`{3,}|~{3,}|:{3,})\s*\{.*", cell.source, re.MULTILINE)
        assert not fence, f"a directive of MyST: {fence[0]}"
    for text in prose(stored(lesson)):
        for what, pattern in MYST.items():
            found = re.search(pattern, text, re.MULTILINE)
            assert not found, f"{what} of MyST: {text[found.start() : found.start() + 60]}"
        opened = len(re.findall(r"<details", text))
        assert opened == len(re.findall(r"</summary>[ \t]*\n[ \t]*\n", text)), (
            "a blank line after </summary>"
        )
        assert opened == len(re.findall(r"\n[ \t]*\n[ \t]*</details>", text)), (
            "a blank line before </details>"
        )


@each
def test_code_is_laid_out_as_ruff_does(lesson: Lesson) -> None:
    assert style.complaints(lesson) == []


@each
def test_headings_are_one_title_and_no_level_is_left_out(lesson: Lesson) -> None:
    levels = [
        len(m) for text in prose(stored(lesson)) for m in re.findall(r"^(#+) ", text, re.MULTILINE)
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    for above, level in pairwise(levels):
        assert level <= above + 1


@each
def test_links_to_files_lead_somewhere(lesson: Lesson) -> None:
    for text in prose(stored(lesson)):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", target):
                assert (lesson.notebook.parent / target).is_file(), target


@each
def test_links_within_a_lesson_lead_to_a_heading_as_jupyter_names_it(lesson: Lesson) -> None:
    cells = stored(lesson).cells
    texts = [without_code(cell.source) for cell in cells if cell.cell_type == "markdown"]
    headings = {
        re.sub("[`*]", "", heading).replace(" ", "-")
        for text in texts
        for heading in re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE)
    }
    links = [link for text in texts for link in re.findall(r"\]\(#([^\s)]+)\)", text)]
    assert [link for link in links if link not in headings] == []


@each
def test_badge_and_setup_cell_come_from_the_one_address(lesson: Lesson) -> None:
    url, branch = chapters.repository()
    book = stored(lesson)
    assert (
        f"{url.removeprefix('https://')}/blob/{branch}/notebooks/{lesson.name}.ipynb".replace(
            "github.com/", "colab.research.google.com/github/", 1
        )
        in book.cells[0].source
    )
    (setup,) = (cell for cell in book.cells if cell.id == chapters.SETUP)
    assert (setup.id, setup.metadata) == ("setup", chapters.CLOSED)
    assert len(setup.source.splitlines()) <= 6
    assert f'"git+{url}@{branch}"' in setup.source
    assert not re.search("torch|numpy", setup.source)


@each_lesson
def test_a_lesson_executes_a_wrong_belief(lesson: Lesson) -> None:
    assert section(stored(lesson), "wrong belief").strip()


@each_lesson
def test_a_lesson_has_three_exercises_numbered_in_order(lesson: Lesson) -> None:
    section(stored(lesson), "Exercises")
    found = re.findall(r"^### (\d\d\.\d) ", "\n".join(prose(stored(lesson))), re.MULTILINE)
    assert len(found) >= 3
    assert found == [f"{lesson.name[:2]}.{i}" for i in range(1, len(found) + 1)]
    names = [exercise.id for exercise in chapters.exercises(lesson)]
    assert names == [exercise.id for exercise in of_lesson(lesson.name[:2])]
    assert len(names) == len(found)
