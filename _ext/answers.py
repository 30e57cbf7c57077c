"""Folded outputs that invite: a cell tagged `hide-output` asks the reader to predict, so its fold says so.

In comes a page's finished body, out goes the same body with "Show the answer" on such folds, and without the
label that hides those words from screen readers.
"""

from __future__ import annotations

from sphinx.application import Sphinx

WORDING = {
    ' aria-label="Toggle hidden content"': "",
    ">Show the output</p>": ">Show the answer</p>",
    ">Hide the output</p>": ">Hide the answer</p>",
}


def reword(app: Sphinx, pagename, templatename, context, doctree) -> None:
    body = context.get("body")
    if body:
        for old, new in WORDING.items():
            body = body.replace(old, new)
        context["body"] = body


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", reword)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
