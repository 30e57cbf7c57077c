"""The Markdown of a lesson's notebook, for pages that are made of it."""

from __future__ import annotations

import re

from nbformat import NotebookNode

__all__ = ["without_code"]


def without_code(cell: NotebookNode) -> str:
    """The text of a Markdown cell without its blocks of code: what looks like a heading in it is one."""
    return re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE)
