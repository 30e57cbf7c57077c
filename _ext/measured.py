"""The `{measured}` directive: a table or plot of the bench, made from `bench/numbers.json` when the page is built.

In comes the name of a part, out goes its HTML. No number of the page is written by hand, so none can be out of date.
An unknown name, or no saved result, is a warning, which the book's build makes an error.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bench import tables
from bench.tables import PLACE, SHOWN, load


class Measured(SphinxDirective):
    """`{measured} PART`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        for source in (PLACE, tables.__file__):  # the numbers, and how they are shown
            self.env.note_dependency(str(source))
        if name not in SHOWN:
            return self.refuse(f"there is no part {name!r}; there are {', '.join(SHOWN)}")
        if not PLACE.is_file():
            return self.refuse("nothing is saved yet: run make bench SAVE=1")
        return [nodes.raw("", SHOWN[name](load()), format="html")]

    def refuse(self, reason: str) -> list[nodes.Node]:
        return [self.state.document.reporter.warning(f"measured: {reason}.", line=self.lineno)]


def setup(app: Sphinx) -> dict:
    app.add_directive("measured", Measured)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
