"""The head of every page: a description for search engines and the colours of the browser's bars.

In comes a page's context before it is written, out goes the same context with two kinds of meta
elements. The description is the front matter's, else the page's first paragraph.
"""

from __future__ import annotations

from html import escape

from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 160
FALLBACK = "Define by Run: PyTorch's dynamic graphs, built step by step, with executed evidence."


def description(doctree: nodes.document | None) -> str:
    """The first paragraph of running text, cut at a word to the length that search engines show."""
    if doctree is None:
        return FALLBACK
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) > 40:
            return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + "…"
    return FALLBACK


def complete_head(app: Sphinx, pagename, templatename, context, doctree) -> None:
    tags = context.get("metatags", "")
    if 'name="description"' not in tags:
        tags += f'\n<meta name="description" content="{escape(description(doctree))}" />'
    for scheme, colour in (("light", "#ffffff"), ("dark", "#14181e")):
        media = f"(prefers-color-scheme: {scheme})"
        tags += f'\n<meta name="theme-color" media="{media}" content="{colour}" />'
    context["metatags"] = tags


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", complete_head)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
