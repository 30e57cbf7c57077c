"""The name under which a link finds a heading: as in JupyterLab, so that one link works in the book and in a notebook.

`[…](#One-leaf,-two-edges)` leads to the heading "One leaf, two edges"; Jupyter puts hyphens for spaces and changes
nothing else. In the book's own addresses ids stay as Sphinx makes them.
"""

from __future__ import annotations

__all__ = ["as_jupyter"]


def as_jupyter(title: str) -> str:
    """The id that JupyterLab gives to a heading of these words."""
    return title.replace(" ", "-")
