"""The `{plan}` directive: of each lesson its times, what it builds on, what one can do after it, what can be skipped.

Everything stands in the lessons themselves; in come the stored notebooks, out goes one section for each.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from docutils import nodes
from lesson_text import without_code
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TIME = re.compile(
    r"^\*\*Time:\*\* (.*?) · \*\*Builds on:\*\* (.*?)(?=\n\n)", re.MULTILINE | re.DOTALL
)
OBJECTIVES = re.compile(
    r"\*\*After this lesson you can\*\*\n\n((?:[-*] .*\n?(?:  .*\n?)*)+)", re.MULTILINE
)
DEEPER = "Going deeper"


def elsewhere(text: str) -> str:
    """Markdown of a notebook, with its links as they are seen from a page of prose."""
    return re.sub(r"\]\((\d\d-[^)]*\.ipynb)", r"](../notebooks/\1", text)


def deeper(texts: list[str]) -> list[str]:
    """The headings of what goes deeper than the main path."""
    section, found = "", []
    for level, heading in re.findall(r"^(#{2,3}) +(.*?)\s*$", "\n\n".join(texts), re.MULTILINE):
        if level == "##":
            section = heading
        elif section == DEEPER:
            found.append(heading)
    return found


class Plan(SphinxDirective):
    """`{plan} 01 07` shows the lessons from 01 to 07."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        first, last = self.arguments
        folder = Path(self.env.srcdir) / "notebooks"
        paths = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
        return [self.section(path) for path in paths if first <= path.stem[:2] <= last]

    def section(self, path: Path) -> nodes.section:
        self.env.note_dependency(str(path))
        cells = nbformat.read(path, as_version=4).cells
        texts = [without_code(cell) for cell in cells if cell.cell_type == "markdown"]
        head, _, _ = texts[0].partition("\n")
        title = f"{path.stem[:2]} {head.removeprefix('# ')}"
        times, needs = (" ".join(part.split()) for part in TIME.search(texts[0]).groups())
        lines = [
            f"{times[0].upper()}{times[1:]}. Builds on {needs.rstrip('.')}. "
            f"[Open the lesson.]({path.stem}.ipynb)\n",
        ]
        lines += OBJECTIVES.findall(texts[0])  # problems have none
        skipped = deeper(texts)
        if skipped:
            lines += ["", f"Can be skipped: {'; '.join(skipped)}."]
        found = nodes.section(names=[nodes.fully_normalize_name(title)])
        self.state.document.note_implicit_target(found, found)
        found += nodes.title("", title)
        found += self.parse_text_to_nodes("\n".join(map(elsewhere, lines)))
        return found


def setup(app: Sphinx) -> dict:
    app.add_directive("plan", Plan)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
