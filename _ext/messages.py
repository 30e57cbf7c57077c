"""The `{messages}` directive: every message of PyTorch that the lessons provoke, with one heading for each.

In come the stored outputs of the notebooks, in their order; out go sections with the message as its
title, the program that provokes it, and the place of the lesson that explains it. The whole message and its first six
words are entries of the index, which the search of the book finds before any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

import nbformat
from docutils import nodes
from lesson_text import HEADING, link, without_code
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

SAID = re.compile(
    r"^(\w*(?:Error|Exception|Warning)|Unsupported|GuardOnDataDependentSymNode|InvalidCxxCompiler"
    r"|FailOnRecompileLimitHit): (\S.*)$",
    re.MULTILINE,
)
FIRST_WORDS, MAX_ID_WORDS = 6, 9


@dataclass
class Message:
    """What was said, by which class of errors or warnings, by which program, and where."""

    kind: str
    text: str
    program: str
    places: list[tuple[str, str]] = field(default_factory=list)
    """Name of the notebook, and heading above the cell."""


def said_in(cell: nbformat.NotebookNode) -> Iterator[tuple[str, str]]:
    """Class and text of each message in the outputs of a cell."""
    for output in cell.get("outputs", []):
        if output["output_type"] == "error":
            yield output["ename"], output["evalue"].partition("\n")[0]
        elif output["output_type"] == "stream":
            yield from SAID.findall(output["text"])


def collect(notebooks: list[Path]) -> list[Message]:
    """The messages of these notebooks, in order; what is said twice has two places."""
    found: dict[str, Message] = {}
    for path in notebooks:
        heading = ""
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                heading = (HEADING.findall(without_code(cell)) or [heading])[-1]
                continue
            for kind, text in said_in(cell):
                message = found.setdefault(text, Message(kind, text, cell.source))
                if (path.stem, heading) not in message.places:
                    message.places.append((path.stem, heading))
    return list(found.values())


def body(message: Message) -> str:
    """What stands under one message, as Markdown."""
    where = ", and ".join(link(*place) for place in message.places)
    return (
        f"`{message.kind}`, explained in {where}. This program provokes it:\n\n"
        f"```python\n{message.program}\n```\n"
    )


def index_entries(message: Message, target: str) -> addnodes.index:
    """What the search finds: the message, with and without its class, and the first words of both."""
    whole = (message.text, f"{message.kind}: {message.text}")
    first = (" ".join(text.split()[:FIRST_WORDS]) for text in whole)
    texts = dict.fromkeys(text.replace(";", ",") for text in (*whole, *first))
    return addnodes.index(entries=[("single", text, target, "main", None) for text in texts])


class Messages(SphinxDirective):
    """`{messages}`, without arguments."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / "notebooks"
        notebooks = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
        for path in notebooks:
            self.env.note_dependency(str(path))
        return [self.section(message) for message in collect(notebooks)]

    def section(self, message: Message) -> nodes.section:
        """One message, with what the search finds it by."""
        short = nodes.make_id(" ".join(message.text.split()[:MAX_ID_WORDS]))
        taken = self.state.document.ids
        numbered = (f"{short}-{number}" for number in count(2))
        target = next(name for name in chain([short], numbered) if name not in taken)
        name = nodes.fully_normalize_name(message.text)
        found = nodes.section(ids=[target], names=[name])
        self.state.document.note_implicit_target(found, found)
        title = nodes.title("", message.text)
        title["support_smartquotes"] = False  # a quotation mark stays the one that people type
        found += title
        found += index_entries(message, target)
        found += self.parse_text_to_nodes(body(message))
        return found


class Wrapped(SphinxTransform):
    """An output that holds a message is wrapped on the page: the message is whole, however long it is."""

    default_priority = 700

    def apply(self, **_: object) -> None:
        for block in self.document.findall(nodes.literal_block):
            if SAID.search(block.astext()):
                block["classes"].append("says")


def setup(app: Sphinx) -> dict:
    app.add_transform(Wrapped)
    app.add_directive("messages", Messages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
