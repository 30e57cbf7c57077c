"""Chapters as data: what a lesson's text file says, as a notebook and as exercises.

In goes `chapters/NN-slug.md`, out comes the notebook that it describes, with fixed cell ids and nothing executed; and
back again. The tools and the tests all read chapters through this module. Nothing here runs a cell.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from tools import ROOT

__all__ = [
    "METADATA",
    "OPEN",
    "SETUP",
    "ChapterError",
    "Exercise",
    "Lesson",
    "back",
    "exercises",
    "exercises_in",
    "find",
    "lessons",
    "notebook",
    "repository",
]

FENCE = re.compile(r"^(`{3,}|~{3,})\{code-cell\}", re.MULTILINE)
FRONT = re.compile(r"\A---\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
SOLUTION = re.compile(
    r"<details>\s*<summary>Solution</summary>\s*\n```python\n(.*?)\n```", re.DOTALL
)
CHECK = re.compile(r"""^(?:\w+\s*=\s*)?(?:dbr\.)?check\(\s*["']([a-z]\w*)["']""", re.MULTILINE)
BADGE = re.compile(r"\n*^\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)[ \t]*$", re.MULTILINE)
OPENING = r"^```\{code-cell\}[^\n]*\n((?:^:\w+: .*\n)*)\n?"
SETUP, OPEN = "setup", "open-answers"
STAND_OPEN = (
    "Run a cell to see its answer. Jupyter and Colab keep answers closed until then; VS Code cannot, so there they "
    "stand open: cover them, and predict first."
)
"""In notebooks, under the title; the book closes its answers and leaves it out."""
SETUP_TITLE = "Install the packages of this course where they are missing"
NOT_INSTALLED = "Not installed: this needs git and a network."
CLOSED = {"tags": ["remove-cell"], "jupyter": {"source_hidden": True}, "cellView": "form"}
"""Left out of the book, closed in JupyterLab and Notebook 7, closed in Colab."""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}


class ChapterError(ValueError):
    """What is wrong with a chapter or its name, in one sentence that says what to do."""


@dataclass(frozen=True)
class Lesson:
    """A chapter that holds code: its name (`01-your-first-graph`), and the root of the repository it lies in."""

    name: str
    root: Path = ROOT

    @property
    def chapter(self) -> Path:
        return self.root / "chapters" / f"{self.name}.md"

    @property
    def notebook(self) -> Path:
        return self.root / "notebooks" / f"{self.name}.ipynb"


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter: its name, the stub as it is given, and the folded solution followed by the check."""

    id: str
    setup: str
    stub: str
    solution: str


def lessons(root: Path = ROOT) -> list[Lesson]:
    """The chapters that hold code cells, by name; chapters of prose alone are not lessons."""
    paths = sorted((root / "chapters").glob("*.md"))
    return [
        Lesson(path.stem, root) for path in paths if FENCE.search(path.read_text(encoding="utf-8"))
    ]


def find(name: str, root: Path = ROOT) -> Lesson:
    """The lesson with this name; its number, or the path of its chapter or notebook, does as well."""
    known = {lesson.name: lesson for lesson in lessons(root)}
    wanted = re.sub(r"\.(md|ipynb)$", "", name.replace("\\", "/").rpartition("/")[2])
    same = [lesson for key, lesson in known.items() if wanted in (key, key.partition("-")[0])]
    if same:
        return same[0]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    every = f"there are {', '.join(known)}." if known else "there are none yet."
    hint = f"did you mean {' or '.join(near)}?" if near else every
    raise ChapterError(f"There is no lesson {name!r}: {hint}")


def repository(root: Path = ROOT) -> tuple[str, str]:
    """The address of the repository and its branch, from `_config.yml`, the one place where they stand."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].rstrip("/"), config["repository"]["branch"]


def badge(lesson: Lesson) -> str:
    """The Markdown line that opens this lesson's notebook in Colab; the picture is a file of the book itself."""
    url, branch = repository(lesson.root)
    place = f"{url.removeprefix('https://github.com/')}/blob/{branch}/notebooks/{lesson.name}.ipynb"
    return f"[![Open in Colab](../_static/colab-badge.svg)](https://colab.research.google.com/github/{place})"


def setup_source(lesson: Lesson) -> str:
    """Lines that install the course's packages where one is missing and do nothing where both are there.

    A folder that is named like a package but is none, such as a clone of the repository, has no `origin`. pip is
    silent and one sentence stands for what it would say.
    """
    url, branch = repository(lesson.root)
    return (
        f"# @title {SETUP_TITLE}\n"
        "import importlib.util\n"
        f'url = "git+{url}@{branch}"\n'
        'found = map(importlib.util.find_spec, ("definebyrun", "definebyrun_course"))\n'
        'if not all(getattr(package, "origin", None) for package in found):\n'
        "    %pip install -qqq {url} {url}#subdirectory=definebyrun_course "
        f'|| echo "{NOT_INSTALLED}"'
    )


def front_matter(lesson: Lesson) -> tuple[str, str]:
    """The chapter's front matter (with its fences) and the text below it; `ChapterError` when it cannot be read."""
    text = lesson.chapter.read_text(encoding="utf-8").replace("\r\n", "\n")
    where = f"chapters/{lesson.chapter.name}"
    found = FRONT.match(text)
    if not found:
        problem = (
            "its opening --- is never closed"
            if text.startswith("---")
            else "the first line is not ---"
        )
        raise ChapterError(f"{where} has broken front matter: {problem}.")
    try:
        data = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 2}: " if mark else ""
        raise ChapterError(
            f"{where} has broken front matter: {line}{getattr(error, 'problem', error)}."
        ) from error
    data = data if isinstance(data, dict) else {}
    jupytext_part = data.get("jupytext")
    style = (
        (jupytext_part.get("text_representation") or {}) if isinstance(jupytext_part, dict) else {}
    )
    if not isinstance(style, dict) or style.get("format_name") != "myst":
        raise ChapterError(
            f"{where} has broken front matter: "
            "a chapter with code needs jupytext: text_representation: format_name: myst."
        )
    return found[0], text[found.end() :]


def notebook(lesson: Lesson) -> NotebookNode:
    """The notebook that the chapter describes: badge, setup cell and fixed ids in place, no outputs."""
    head, body = front_matter(lesson)
    where = f"chapters/{lesson.chapter.name}"
    try:
        book = jupytext.reads(head + body, fmt="md:myst")
    except Exception as error:
        raise ChapterError(
            f"{where} cannot be read as MyST Markdown: {' '.join(str(error).split())}."
        ) from error
    first = book.cells[0]
    if first.cell_type != "markdown" or not first.source.lstrip().startswith("# "):
        raise ChapterError(
            f"{where} must open with a Markdown title, such as '# Your first graph'."
        )
    title, _, rest = first.source.lstrip().partition("\n")
    first.source = "\n\n".join(part for part in (title, badge(lesson), rest.strip("\n")) if part)
    names = [
        str(cell.metadata.get("name") or f"cell-{position:02}")
        for position, cell in enumerate(book.cells, start=1)
    ]
    for name in names:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            raise ChapterError(
                f"{where} names a cell {name!r}: a name is letters, digits, - and _, at most 64."
            )
        if names.count(name) > 1 or name in (SETUP, OPEN):
            raise ChapterError(f"{where} has more than one cell named {name!r}.")
    cells = [hidden(plain_cell(cell, name)) for cell, name in zip(book.cells, names, strict=True)]
    cells.insert(1, nbformat.v4.new_code_cell(setup_source(lesson), id=SETUP, metadata=CLOSED))
    if any(cell.metadata.get("jupyter", {}).get("outputs_hidden") for cell in cells):
        told = nbformat.v4.new_markdown_cell(
            STAND_OPEN, id=OPEN, metadata={"tags": ["remove-cell"]}
        )
        cells.insert(1, told)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA, nbformat_minor=5)


def plain_cell(cell: NotebookNode, name: str) -> NotebookNode:
    """The cell with this id, its tags and its name, and nothing else."""
    new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    kept = {key: cell.metadata[key] for key in ("tags", "name") if cell.metadata.get(key)}
    return new(cell.source, id=name, metadata=kept)


def hidden(cell: NotebookNode) -> NotebookNode:
    """The same cell, closed in JupyterLab, Notebook 7 and Colab as its tags close it in the book.

    An output that is hidden opens when its cell is run. VS Code keeps nothing of that kind in a file.
    """
    tags = cell.metadata.get("tags", [])
    closed = {}
    if {"hide-input", "hide-cell"} & set(tags):
        closed["source_hidden"] = True
        cell.metadata["cellView"] = "form"
    if {"hide-output", "hide-cell"} & set(tags):
        closed["outputs_hidden"] = True
    if closed:
        cell.metadata["jupyter"] = closed
    return cell


def back(lesson: Lesson, book: NotebookNode) -> str:
    """The chapter's text for a notebook that was edited: badge, setup cell, ids and outputs taken out again."""
    head, _ = front_matter(lesson)
    cells = [
        plain_cell(cell, f"cell-{position}")
        for position, cell in enumerate(book.cells)
        if cell.get("id") not in (SETUP, OPEN)
        and (cell.cell_type == "markdown" or cell.source.strip())
    ]
    if cells and cells[0].cell_type == "markdown":
        cells[0].source = BADGE.sub("", cells[0].source, count=1)
    text = jupytext.writes(nbformat.v4.new_notebook(cells=cells), fmt="md:myst")
    body = FRONT.sub("", text, count=1)
    body = re.sub(OPENING, lambda found: f"```{{code-cell}}\n{found[1]}", body, flags=re.MULTILINE)
    return head + "\n" + body.strip("\n") + "\n"


def exercises(lesson: Lesson) -> list[Exercise]:
    """The chapter's exercises in order, read from the text: stub, folded solution, and the cells they rest on."""
    return exercises_in(notebook(lesson).cells, f"chapters/{lesson.chapter.name}")


def exercises_in(cells: list[NotebookNode], chapter: str) -> list[Exercise]:
    """The exercises in cells; `chapter` says where these are from when they are not complete."""
    rests = "\n".join(c.source for c in cells if "exercise-setup" in c.metadata.get("tags", []))
    found = []
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if "exercise" not in cell.metadata.get("tags", []):
            continue
        check = CHECK.search(cell.source)
        solution = (
            SOLUTION.search(following.source)
            if following and following.cell_type == "markdown"
            else None
        )
        where = f"{chapter}, exercise cell {cell.id}"
        if not check:
            raise ChapterError(
                f'{where}: its last line must be a check such as dbr.check("node_counts", answer).'
            )
        if not solution:
            raise ChapterError(f"{where}: a Markdown cell with the folded solution must follow it.")
        found.append(
            Exercise(check[1], rests, cell.source, f"{solution[1]}\n{cell.source[check.start() :]}")
        )
    return found
