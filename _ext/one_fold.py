"""An answer and its explanation open together: what stands in `<details>` below a hidden output goes into its fold.

In a notebook the output is closed by itself and the explanation has a fold of its own, `<details><summary>Explanation`,
because no program there can close both at once. In the book they are one.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

OPENING = "<details><summary>Explanation</summary>"
CLOSING = "</details>"
ANSWERS = {"tag_hide-output", "tag_hide-cell"}


def following(node: nodes.Element) -> Iterator[nodes.Node]:
    """What stands after a node, in the same parent."""
    parent = node.parent
    yield from parent.children[parent.index(node) + 1 :]


def is_answer(node: nodes.Node) -> bool:
    """Whether a node is a code cell whose output is closed."""
    return (
        isinstance(node, nodes.container)
        and node.get("nb_element") == "cell_code"
        and not ANSWERS.isdisjoint(node["classes"])
    )


def html_of(node: nodes.Node) -> str:
    """The text of raw HTML; nothing for any other node."""
    return node.astext().strip() if isinstance(node, nodes.raw) else ""


def explanation(cell: nodes.Element) -> list[nodes.Node]:
    """The explanation right below a cell, from its opening to its closing; empty where there is none."""
    found: list[nodes.Node] = []
    for node in following(cell):
        text = html_of(node)
        if not found and text != OPENING:
            return []
        found.append(node)
        if text == CLOSING:
            return found
    return []


class OneFold(SphinxPostTransform):
    """Moves explanations into the folds of their answers, after MyST-NB has made those."""

    default_priority = 200
    formats = ("html",)

    def run(self, **_: object) -> None:
        for cell in list(self.document.findall(is_answer)):
            fold = next(iter(cell.findall(HideCodeCellNode)), None)
            parts = explanation(cell)
            if fold is None or not parts:
                continue
            for node in parts:
                cell.parent.remove(node)
            fold += nodes.container("", *parts[1:-1], classes=["explanation"])


def setup(app: Sphinx) -> dict:
    app.add_post_transform(OneFold)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
