"""The `{summary}` directive: what the lessons and the questions come down to, made when the book is built.

`{summary} rules` gives of each lesson's cheat sheet a rule and a call: the first ones, or those that begin with the
words that the directive names, `16: Zeros` and `16 call: nn.Linear`. `{summary} answers` gives of each question the
answer in one breath, `{summary} sheets` the cheat sheets as they are. In come the stored notebooks and the page of
questions. A lesson without a cheat sheet is left out; words that its sheet does not have are a warning, which the
book's build makes an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from docutils import nodes
from lesson_text import part
from questions import PAGE, read
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SHEET = "Cheat sheet"
BULLET = re.compile(r"^(?:-|\d+\.) +(.*(?:\n +.*)*)", re.MULTILINE)
CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHOICE = re.compile(r"^(\d\d)( call)?: (.+)$")
TABLE = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)
CELL = re.compile(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)")
CALL = re.compile(r"`[^`]*\([^`]*`")
NOT_CALLS = ("PyTorch says", "NumPy says", "message", "symptom")
PLAIN = (
    "",
    "you get",
    "what it does",
    "does",
    "because",
    "it sends",
    "run",
    "Call",
    "here",
    "take",
    "do",
    "how",
)
"""Heads of columns that need not be said."""
PLACE = re.compile(r" ?\(\[[^]]*\]\(#[^\s]*\)(?:, \[[^]]*\]\(#[^\s]*\))*\)|\[([^]]*)\]\([^\s]*?\)")
STYLES = {"chapters/summary": ["summary", "two-pages"], "chapters/all-cheat-sheets": ["summary"]}
"""The style sheets of the pages that are made to be printed."""


def sheets(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Of each lesson that has a cheat sheet: its name, its title and the sheet, as Markdown."""
    for path in sorted(folder.glob("[0-9][0-9]-*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        title = notebook.cells[0].source.partition("\n")[0].removeprefix("# ")
        if found := part(notebook, SHEET):
            yield path.stem, title, found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in CELL.split(line.strip().removeprefix("|").removesuffix("|"))]


def rows(sheet: str) -> Iterator[tuple[str, str]]:
    """The rows of the tables of a sheet that do not explain messages: the first cell, and what the others say of it."""
    for table in TABLE.findall(sheet):
        head, _, *lines = map(cells, table.strip().splitlines())
        if head[0] in NOT_CALLS:
            continue
        for first, *others in lines:
            named = zip(head[1:], others, strict=False)
            said = [cell if name in PLAIN else f"{name} {cell}" for name, cell in named if cell]
            yield first, "; ".join(said)


def rule(sheet: str) -> str:
    """The first bullet of a sheet, or the first row of a table that begins with no call where that says more."""
    bullet = BULLET.search(TABLE.sub("", sheet))
    if bullet and not CALL.match(bullet[1]):
        return without_links(" ".join(bullet[1].split()))
    plain = ((first, said) for first, said in rows(sheet) if not CALL.search(first))
    return without_links(": ".join(next(plain))) + "."


def call(sheet: str) -> str:
    """The first row of a table with a call in it; empty where none is."""
    for first, said in rows(sheet):
        if CALL.search(first) or CALL.match(said):
            return without_links(f"{first}: {said}.")
    return ""


def chosen(sheet: str, words: str) -> str:
    """The bullet, the row or the line of code that begins with these words; empty where none does."""
    candidates = [" ".join(bullet.split()) for bullet in BULLET.findall(TABLE.sub("", sheet))]
    candidates += [f"{first}: {said}." for first, said in rows(sheet)]
    lines = "".join(CODE.findall(sheet)).splitlines()
    candidates += [f"`{line.partition('  #')[0].strip()}`." for line in lines]
    begins = (text for text in candidates if re.sub("[`*]", "", text).startswith(words))
    return without_links(next(begins, ""))


def without_links(text: str) -> str:
    text = re.sub(r": (?:\[[^]]*\]\(#[^\s]*\)(?:, )?)+\.$", ".", text)
    return PLACE.sub(lambda found: found[1] or "", text)


def elsewhere(sheet: str, lesson: str) -> str:
    """A sheet with its links as they are seen from a page of prose."""
    sheet = re.sub(r"\]\(#", f"](../notebooks/{lesson}.ipynb#", sheet)
    return re.sub(r"\]\((\d\d-[^)]*\.ipynb)", r"](../notebooks/\1", sheet)


def choice(line: str) -> tuple[str, str]:
    """A line of the directive, as the lesson (and ` call`) and the words that are looked for."""
    lesson, kind, words = CHOICE.match(line).groups()
    return lesson + (kind or ""), words


class Summary(SphinxDirective):
    """`{summary} rules`, `{summary} answers` or `{summary} sheets`."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        makers = {"rules": self.rules, "answers": self.answers, "sheets": self.sheets}
        kind = self.arguments[0]
        if kind not in makers:
            return self.refuse(f"there is no {kind!r}; there are {', '.join(makers)}")
        for name in (__file__, *map(str, self.notebooks.glob("[0-9][0-9]-*.ipynb"))):
            self.env.note_dependency(name)
        return makers[kind]()

    @property
    def notebooks(self) -> Path:
        return Path(self.env.srcdir) / "notebooks"

    def rules(self) -> list[nodes.Node]:
        if unread := [line for line in self.content if not CHOICE.match(line)]:
            return self.refuse(f"write '16: words' or '16 call: words', not {unread[0]!r}")
        choices = dict(map(choice, self.content))
        lines = []
        for name, title, sheet in sheets(self.notebooks):
            said = []
            for kind, first in (("", rule), (" call", call)):
                words = choices.get(name[:2] + kind)
                said.append(chosen(sheet, words) if words else first(sheet))
                if words and not said[-1]:
                    return self.refuse(
                        f"nothing in the cheat sheet of {name} begins with {words!r}"
                    )
            lines.append(f"- **[{name[:2]} {title}](../notebooks/{name}.ipynb).** {' '.join(said)}")
        return self.parse_text_to_nodes("\n".join(lines))

    def refuse(self, reason: str) -> list[nodes.Node]:
        return [self.state.document.reporter.warning(f"summary: {reason}.", line=self.lineno)]

    def answers(self) -> list[nodes.Node]:
        page = Path(self.env.srcdir, f"{PAGE}.md")
        self.env.note_dependency(str(page))
        lines = [
            f"{number}. **{one.text}** {' '.join(one.breath.split())}"
            for number, one in enumerate(read(page), start=1)
        ]
        return self.parse_text_to_nodes("\n".join(lines))

    def sheets(self) -> list[nodes.Node]:
        return [self.section(*found) for found in sheets(self.notebooks)]

    def section(self, name: str, title: str, sheet: str) -> nodes.section:
        title = f"{name[:2]} {title}"
        found = nodes.section(names=[nodes.fully_normalize_name(title)])
        self.state.document.note_implicit_target(found, found)
        found += nodes.title("", title)
        found += self.parse_text_to_nodes(elsewhere(sheet, name))
        return found


def load_where_needed(app: Sphinx, pagename, templatename, context, doctree) -> None:
    for name in STYLES.get(pagename, []):
        app.add_css_file(f"quiz/{name}.css")


def setup(app: Sphinx) -> dict:
    app.add_directive("summary", Summary)
    app.connect("html-page-context", load_where_needed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
