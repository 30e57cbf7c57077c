"""Formulas drawn in the browser by KaTeX, from files that the book carries.

In come the math nodes of a page, out go elements with their TeX inside. Scripts, styles and fonts
lie in `_assets/katex`, are copied into the book, and are loaded on pages with a formula only.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number

ASSETS = Path(__file__).resolve().parent.parent / "_assets"


def visit_inline(translator, node: nodes.math) -> None:
    attributes = {"class": "math", "data-display": "false"}
    translator.body.append(translator.starttag(node, "span", "", **attributes))
    translator.body.append(translator.encode(node.astext()) + "</span>")
    raise nodes.SkipNode


def visit_display(translator, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="formula"))
    translator.body.append('<div class="math" data-display="true">')
    translator.body.append(translator.encode(node.astext()) + "</div>")
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def ship_assets(app: Sphinx, config) -> None:
    config.html_static_path = [*config.html_static_path, str(ASSETS)]


def load_where_needed(app: Sphinx, pagename, templatename, context, doctree) -> None:
    if doctree is None or not any(
        isinstance(node, nodes.math | nodes.math_block) for node in doctree.findall()
    ):
        return
    app.add_css_file("katex/katex.min.css")
    app.add_js_file("katex/katex.min.js", loading_method="defer")
    app.add_js_file("katex/render.js", loading_method="defer")


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer(
        "local_katex", inline_renderers=(visit_inline, None), block_renderers=(visit_display, None)
    )
    app.connect("config-inited", ship_assets)
    app.connect("html-page-context", load_where_needed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
