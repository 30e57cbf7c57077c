"""The `{evidence}` directive: what a notebook printed or drew, shown in a page of prose.

In come a notebook's name and a cell's id, out goes that cell's stored output; nothing is executed.
A notebook, cell or output that is not there is a warning, which the book's build makes an error.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

IMAGES = ("image/svg+xml", "image/png")


class Evidence(SphinxDirective):
    """`{evidence} NOTEBOOK CELL`, with an `:alt:` text where the output is an image.

    `:class: dbr-autoplay` lets a player begin by itself when it comes into view.
    """

    required_arguments = 2
    option_spec: ClassVar = {
        "alt": directives.unchanged_required,
        "class": directives.class_option,
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
        shown = [node for output in cell.get("outputs", []) for node in self.show(output)]
        if not shown:
            return self.refuse(f"cell {cell_id!r} of notebooks/{name}.ipynb has no stored output")
        return [nodes.container("", *shown, classes=["evidence", *self.options.get("class", [])])]

    def show(self, output: dict) -> list[nodes.Node]:
        """The richest form of one output: HTML, else an image, else text."""
        data = output.get("data", {})
        if "text/html" in data:
            return [nodes.raw("", data["text/html"], format="html")]
        for kind in IMAGES:
            if kind in data:
                return self.picture(kind, data[kind])
        text = data.get("text/plain") or output.get("text")
        if output.get("output_type") == "error":
            text = f"{output['ename']}: {output['evalue']}"
        return [nodes.literal_block(text, text, language="none")] if text else []

    def picture(self, kind: str, content: str) -> list[nodes.Node]:
        alt = self.options.get("alt")
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
