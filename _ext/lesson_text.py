"""The Markdown of a lesson's notebook, for pages that are made of it."""

from __future__ import annotations

import re

from heading_ids import as_jupyter
from nbformat import NotebookNode

__all__ = ["HEADING", "heading_above", "link", "part", "without_code"]

HEADING = re.compile(r"^#{1,4} +(.*?)\s*$", re.MULTILINE)


def without_code(cell: NotebookNode) -> str:
    """The text of a Markdown cell without its blocks of code: what looks like a heading in it is one."""
    return re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE)


def heading_above(notebook: NotebookNode, cell_id: str) -> str:
    """The last heading above the cell with this id."""
    heading = ""
    for cell in notebook.cells:
        if cell.get("id") == cell_id:
            break
        if cell.cell_type == "markdown":
            heading = (HEADING.findall(without_code(cell)) or [heading])[-1]
    return heading


def link(notebook: str, heading: str) -> str:
    """A link to a section of a lesson, named by the lesson's number and its heading."""
    anchor = as_jupyter(re.sub("[`*]", "", heading)).replace("(", "%28").replace(")", "%29")
    return f"[lesson {notebook[:2]}, {heading}](../notebooks/{notebook}.ipynb#{anchor})"


def part(notebook: NotebookNode, title: str) -> str:
    """The Markdown below the second-level heading of this name, up to the next one; empty without such a heading."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    pattern = rf"^## {re.escape(title)}\s*$(.*?)(?=^## |\Z)"
    found = re.search(pattern, "\n\n".join(texts), re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""
