"""The last touch to a page's finished body: words that invite, roles that screen readers know, no picture twice.

A cell tagged `hide-output` or `hide-cell` answers a prediction, so its fold says "Show the answer". Labels and
roles that Jupyter Book writes and that hide these words, or break a list, are taken out; and so are
the images that stand in for drawings where a notebook viewer strips their styles, which a book never does.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

REPAIRS = {
    ' aria-label="Toggle hidden content"': "",
    ">Show the output</p>": ">Show the answer</p>",
    ">Hide the output</p>": ">Hide the answer</p>",
    ">Show the content</p>": ">Show the answer</p>",
    ">Hide the content</p>": ">Hide the answer</p>",
    # A list whose entries have the role doc-biblioentry is a list without items.
    ' role="list" class="citation-list"': ' class="citation-list"',
    ' class="docutils citation-list" role="list"': ' class="docutils citation-list"',
}
STAND_IN = re.compile(r'<img class="dbr-bare"[^>]*>')


def finish(app: Sphinx, pagename, templatename, context, doctree) -> None:
    body = context.get("body")
    if body:
        for old, new in REPAIRS.items():
            body = body.replace(old, new)
        context["body"] = STAND_IN.sub("", body)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
