"""A finished picture goes in, the same picture as an image of its own comes out: SVG that needs no page around it.

What is not shown at the end of the run, and what only a page's style and script read, is left out.
"""

from __future__ import annotations

from base64 import b64encode
from xml.etree import ElementTree

from .palette import PAPER
from .svg import Picture

__all__ = ["MARGIN", "data_uri", "standalone_svg"]

MARGIN = 8
"""Pixels of paper around the picture."""
_NAMESPACE = "http://www.w3.org/2000/svg"


def standalone_svg(picture: Picture) -> str:
    """The picture at the end of the run as one SVG document: on white paper, light, without states and ids."""
    root = ElementTree.fromstring(picture.svg)
    _strip(root)
    left, top, *_ = (float(number) - MARGIN for number in root.get("viewBox", "").split())
    width, height = picture.width + 2 * MARGIN, picture.height + 2 * MARGIN
    root.set("viewBox", f"{left:g} {top:g} {width:g} {height:g}")
    root.set("width", f"{width:g}")
    root.set("height", f"{height:g}")
    paper = {"x": f"{left:g}", "y": f"{top:g}", "width": "100%", "height": "100%"}
    root.insert(0, ElementTree.Element(f"{{{_NAMESPACE}}}rect", {**paper, "fill": PAPER.light}))
    ElementTree.register_namespace("", _NAMESPACE)
    return ElementTree.tostring(root, "unicode").replace(" />", "/>")


def data_uri(picture: Picture) -> str:
    """The picture as the address of an `<img>`."""
    return f"data:image/svg+xml;base64,{b64encode(standalone_svg(picture).encode()).decode()}"


def _strip(root: ElementTree.Element) -> None:
    """Take out what is off, groups of nothing else, and attributes that only a page reads."""
    todo = [root]
    while todo:
        element = todo.pop()
        for name in list(element.attrib):
            if name in ("class", "translate") or name.startswith("data-"):
                del element.attrib[name]
        for child in list(element):
            if child.get("display") == "none" or (
                len(child) and all(part.get("display") == "none" for part in child)
            ):
                element.remove(child)
        todo += element
