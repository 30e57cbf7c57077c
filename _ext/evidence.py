"""The `{evidence}` directive: what a notebook printed or drew, shown in a page of prose.

In come a notebook's name and a cell's id, out goes that cell's stored output; nothing is executed.
A notebook, cell, output or line that is not there is a warning, which the book's build makes an error.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from lesson_text import heading_above
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

IMAGES = ("image/svg+xml", "image/png")


class Evidence(SphinxDirective):
    """`{evidence} NOTEBOOK CELL`, with an `:alt:` text where the output is an image that comes without words.

    `:class: dbr-autoplay` lets a player begin by itself when it comes into view. `:code:` shows the program above what
    it gave. `:lines: 1 3-5` shows these lines of what was printed, and no pictures.
    """

    required_arguments = 2
    option_spec: ClassVar = {
        "alt": directives.unchanged_required,
        "class": directives.class_option,
        "code": directives.flag,
        "lines": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        name, cell_id = self.arguments
        path = Path(self.env.srcdir) / "notebooks" / f"{name}.ipynb"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return self.refuse(f"there is no notebook notebooks/{name}.ipynb")
        notebook = nbformat.read(path, as_version=4)
        cell = next((cell for cell in notebook.cells if cell.get("id") == cell_id), None)
        if cell is None:
            return self.refuse(f"notebooks/{name}.ipynb has no cell with the id {cell_id!r}")
        outputs = cell.get("outputs", [])
        if "lines" in self.options:
            shown = self.some_lines(outputs)
        else:
            shown = [node for output in outputs for node in self.show(output)]
        if not shown:
            return self.refuse(f"cell {cell_id!r} of notebooks/{name}.ipynb has no stored output")
        if "code" in self.options:
            shown.insert(0, nodes.literal_block(cell.source, cell.source, language="python"))
        classes = ["evidence", *self.options.get("class", [])]
        whence = (name, heading_above(notebook, cell_id))
        return [nodes.container("", *shown, classes=classes, whence=whence)]

    def some_lines(self, outputs: list[dict]) -> list[nodes.Node]:
        """The lines that `:lines:` names, counted from 1, of all that was printed."""
        lines = "".join(output.get("text", "") for output in outputs).splitlines()
        chosen: list[str] = []
        for numbers in self.options["lines"].split():
            first, _, last = numbers.partition("-")
            found = lines[int(first) - 1 : int(last or first)]
            if len(found) != int(last or first) - int(first) + 1:
                what = f"cell {self.arguments[1]!r} printed {len(lines)} lines, not {numbers}"
                return self.refuse(what)
            chosen += found
        return [nodes.literal_block("\n".join(chosen), "\n".join(chosen), language="none")]

    def show(self, output: dict) -> list[nodes.Node]:
        """The richest form of one output: HTML, else an image, else text."""
        data = output.get("data", {})
        if "text/html" in data:
            return [nodes.raw("", data["text/html"], format="html")]
        for kind in IMAGES:
            if kind in data:
                return self.picture(kind, data[kind], data.get("text/plain", ""))
        text = data.get("text/plain") or output.get("text")
        if output.get("output_type") == "error":
            text = f"{output['ename']}: {output['evalue']}"
        return [nodes.literal_block(text, text, language="none")] if text else []

    def picture(self, kind: str, content: str, words: str) -> list[nodes.Node]:
        alt = self.options.get("alt") or ("" if words.startswith("<") else " ".join(words.split()))
        if not alt:
            return self.refuse(f"the image of cell {self.arguments[1]!r} needs an :alt: text")
        if kind == "image/svg+xml":
            content = base64.b64encode(content.encode()).decode()
        source = f"data:{kind};base64,{''.join(content.split())}"
        return [nodes.raw("", f'<img src="{source}" alt="{escape(alt)}">', format="html")]

    def refuse(self, reason: str) -> list[nodes.Node]:
        return [self.state.document.reporter.warning(f"evidence: {reason}.", line=self.lineno)]


def setup(app: Sphinx) -> dict:
    app.add_directive("evidence", Evidence)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
