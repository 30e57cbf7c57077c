"""A finished picture goes in, the same picture as an image of its own comes out: SVG that needs no page around it.

In a page, styles colour the picture and switch its states. Here every state but the last is left out, and what
the style says in the light theme is written into each shape, so that any program shows the end of the run.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from xml.etree import ElementTree

from ..assets import asset
from .svg import Picture

__all__ = ["data_uri", "standalone_svg"]

_SVG = "{http://www.w3.org/2000/svg}"
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_COMPOUND = re.compile(r"([a-z]*)((?:\.[\w-]+)*)")
_DRAWN = (
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "stroke-opacity",
    "stroke-dasharray",
    "opacity",
)
_WRITTEN = ("fill", "font-size", "font-weight", "font-style")
STYLES = ("drawing.css", "frames.css", "generations.css")
MARKS = frozenset({"dbr-tab", "dbr-tab-t", "dbr-bar-only", "dbr-m"})
"""The marks of a comparison; they, and the arrows of one run alone, carry their light colours already."""
MARGIN = 8
"""Room around the picture, in pixels."""


@dataclass(frozen=True)
class _Rule:
    """What a selector says of the elements that it selects; `weight` is how many classes it names."""

    ancestors: frozenset[str]
    tag: str
    classes: frozenset[str]
    weight: int
    says: dict[str, str]


def standalone_svg(picture: Picture) -> str:
    """The picture at the end of the run as one SVG document: white, light, without styles and without ids."""
    root = ElementTree.fromstring(picture.svg)
    rules, paper = _rules("".join(map(asset, STYLES)))
    todo = [(root, frozenset({"dbr"}))]
    while todo:
        element, around = todo.pop()
        names = frozenset((element.get("class") or "").split())
        for child in list(element):
            if "dbr-off" in (child.get("class") or "").split():
                element.remove(child)
        _say(element, names, around, rules)
        todo += [(child, around | names) for child in element]
    left, top, *_ = (float(number) for number in root.get("viewBox", "").split())
    left, top = left - MARGIN, top - MARGIN
    width, height = picture.width + 2 * MARGIN, picture.height + 2 * MARGIN
    root.set("viewBox", f"{left:g} {top:g} {width:g} {height:g}")
    root.set("width", f"{width:g}")
    root.set("height", f"{height:g}")
    ground = {"x": f"{left:g}", "y": f"{top:g}", "width": "100%", "height": "100%"}
    root.insert(0, ElementTree.Element(f"{_SVG}rect", {**ground, "fill": paper}))
    ElementTree.register_namespace("", _SVG[1:-1])
    return ElementTree.tostring(root, "unicode").replace(" />", "/>").replace('.0"', '"')


def data_uri(picture: Picture) -> str:
    """The picture as the address of an `<img>`."""
    return f"data:image/svg+xml;base64,{b64encode(standalone_svg(picture).encode()).decode()}"


def _say(
    element: ElementTree.Element, names: frozenset[str], around: frozenset[str], rules: list[_Rule]
) -> None:
    """Write the style into the element, and take out what only a page needs."""
    tag = element.tag.removeprefix(_SVG)
    wanted = _WRITTEN if tag == "text" else _DRAWN
    for rule in rules:
        if names & MARKS or ("dbr-e" in around and around & {"dbr-onlyA", "dbr-onlyB"}):
            break
        fits = rule.tag in ("", tag) and rule.classes <= names and rule.ancestors <= around
        if fits and tag not in ("svg", "g"):
            for name, value in rule.says.items():
                if name in wanted:
                    element.set(name, value.removesuffix("px"))
    for name in list(element.attrib):
        if name in ("class", "style") or name.startswith("data-"):
            del element.attrib[name]


def _rules(css: str) -> tuple[list[_Rule], str]:
    """The rules for shapes and words, weakest first, in the light theme's colours; and the colour of the paper.

    A selector that asks for more than tags and classes is about pages, and left out.
    """
    found = _RULE.findall(css)
    light = ";".join(body for selector, body in found if selector.strip() == ".dbr")
    colours = dict(re.findall(r"--([\w-]+):([^;]+)", light))
    rules = []
    for selectors, body in found:
        body = re.sub(r"var\(--([\w-]+)\)", lambda name: colours[name[1]], body)
        says = dict(re.findall(r"(?<![\w-])([a-z-]+):([^;]+)", body))
        for selector in selectors.split(","):
            plain = re.sub(r":where\(([^)]*)\)", r"\1", selector)
            parts = [_COMPOUND.fullmatch(part) for part in plain.split()]
            if all(parts) and parts:
                weight = re.sub(r":where\([^)]*\)", "", selector).count(".")
                *before, (tag, names) = [part.groups() for part in parts if part]
                ancestors = frozenset(n for _, ns in before for n in ns.split(".") if n)
                classes = frozenset(name for name in names.split(".") if name)
                rules.append(_Rule(ancestors, tag, classes, weight, says))
    return sorted(rules, key=lambda rule: rule.weight), colours["bg"]
