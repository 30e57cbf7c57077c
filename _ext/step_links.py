"""Links to a step of a player: the script that makes and opens them, on pages that have a player.

In comes a page's finished body, out goes the page with or without `_assets/steps/step-links.js`. It belongs to
the book and not to the player: only a page of its own has an address that others can open.
"""

from __future__ import annotations

from sphinx.application import Sphinx


def load_where_needed(app: Sphinx, pagename, templatename, context, doctree) -> None:
    if '<div class="dbr dbr-player"' in context.get("body", ""):
        app.add_js_file("steps/step-links.js", loading_method="defer")


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", load_where_needed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
