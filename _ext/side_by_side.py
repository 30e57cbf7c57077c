"""The `{side_by_side}` directive: the models of the zoo as five tools draw them.

All of it was saved by `make bench PART=pictures SAVE=1`. In comes the name of a part, out goes its HTML; the pictures
are copied beside the page when the book is written. An unknown name, or nothing saved, is a warning, which the book's
build makes an error.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bench import gallery
from bench.gallery import (
    FACTS,
    FOLDER,
    VERDICTS,
    load_pictures,
    load_verdicts,
    machine_words,
    models_html,
    totals,
)

PLACE = "_images/drawn"
PARTS = {
    "machine": lambda data, _: f"<p>{machine_words(data)}</p>",
    "totals": lambda data, verdicts: totals(data, verdicts).html(),
    "models": lambda data, verdicts: models_html(data, verdicts, f"../{PLACE}"),
}


class SideBySide(SphinxDirective):
    """`{side_by_side} PART`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        for source in (FACTS, VERDICTS, gallery.__file__):
            self.env.note_dependency(str(source))
        if name not in PARTS:
            return self.refuse(f"there is no part {name!r}; there are {', '.join(PARTS)}")
        if not FACTS.is_file():
            return self.refuse("nothing is saved yet: run make bench PART=pictures SAVE=1")
        return [nodes.raw("", PARTS[name](load_pictures(), load_verdicts()), format="html")]

    def refuse(self, reason: str) -> list[nodes.Node]:
        return [self.state.document.reporter.warning(f"side_by_side: {reason}.", line=self.lineno)]


def copy(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html" and FOLDER.is_dir():
        shutil.copytree(FOLDER, Path(app.outdir, PLACE), dirs_exist_ok=True)


def setup(app: Sphinx) -> dict:
    app.add_directive("side_by_side", SideBySide)
    app.connect("build-finished", copy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
