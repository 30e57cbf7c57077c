"""The launch menu of a notebook page: Colab and Binder by the theme, your own JupyterLab by us.

In comes the theme's list of header buttons, out goes the same list with one more entry, which leads
to the page that says how to run a notebook at home.
"""

from __future__ import annotations

from sphinx.application import Sphinx

HOME = "chapters/how-to-run"
LABELS = {"Binder": "Binder (JupyterLab)"}


def extend_menu(app: Sphinx, pagename, templatename, context, doctree) -> None:
    for group in context.get("header_buttons", []):
        if group.get("label") != "launch-buttons":
            continue
        for button in group["buttons"]:
            button["text"] = LABELS.get(button["text"], button["text"])
        group["buttons"].append(
            {
                "type": "link",
                "text": "Your JupyterLab",
                "tooltip": "Run it in your own JupyterLab",
                "icon": "fas fa-laptop",
                "url": app.builder.get_relative_uri(pagename, HOME) + "#jupyterlab",
            }
        )


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", extend_menu, priority=900)  # after the theme made its buttons
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
