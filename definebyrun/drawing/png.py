"""A picture as an SVG of its own goes in, the bytes of a PNG come out: the same shapes at the same positions.

Read is only what `standalone` writes: rectangles, paths, polygons and words, with their looks as attributes of
themselves or of the groups around them. matplotlib draws them with the font that it brings along, Pillow packs them;
both are imported when the first PNG is asked for.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from .geometry import CORNER_HANDLE
from .metrics import TEXT_SIZE

if TYPE_CHECKING:
    from matplotlib.path import Path

__all__ = ["MISSING", "png"]

SCALE = 2.0
"""Pixels of the PNG for each pixel of the picture, for sharp screens."""
MAX_PIXELS = 60_000_000
"""A picture that would have more pixels is drawn at a smaller scale."""
MAX_MIXED_COLOURS = 48
"""So many colours between those that are drawn with, for the edges of letters."""
MISSING = (
    "A PNG is drawn by matplotlib, which was not found: run `pip install matplotlib`, or use SVG."
)
INHERITED = (
    *("fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray"),
    *("font-size", "font-style", "font-weight"),
)
"""The attributes that SVG gives on from a group to what is in it, of those that are written."""
_COMMAND = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_COLOUR = re.compile(r"#([0-9a-f]{6})\b")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SETTINGS: Any = {
    "text.hinting": "none",
    "text.antialiased": True,
    "path.sketch": None,
    "path.effects": [],
}

Look = dict[str, str]
"""The attributes that hold for a shape: its own and inherited ones."""


def png(svg: str) -> bytes:
    """Draw the SVG that `standalone_svg` gives; raises `RuntimeError` where matplotlib is not installed.

    The bytes hold no date and no name of a program: the same picture gives the same bytes on one machine.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends import backend_agg
        from PIL import Image
    except ImportError:
        raise RuntimeError(MISSING) from None
    root = ElementTree.fromstring(svg)
    left, top, width, height = (float(n) for n in _NUMBER.findall(root.get("viewBox") or ""))
    scale = min(SCALE, sqrt(MAX_PIXELS / (width * height)))
    make: Any = backend_agg.RendererAgg  # its annotations are incomplete
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older matplotlib warns of letters that its font lacks
        canvas = make(round(width * scale), round(height * scale), 72 * scale)
        for element, look in _shapes(root):
            _draw(canvas, element, look, (left, top), scale)
    size = int(canvas.width), int(canvas.height)
    picture = Image.frombytes("RGBA", size, bytes(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    mixed = picture.quantize(MAX_MIXED_COLOURS, Image.Quantize.MEDIANCUT).getpalette() or []
    drawn = [bytes.fromhex(c) for c in ["ffffff", *sorted(set(_COLOUR.findall(svg)))]]
    triples = zip(*[iter(mixed)] * 3, strict=True)
    between = [c for c in triples if not any(_near(c, d) for d in drawn)]
    palette = Image.new("P", (1, 1))  # what is drawn keeps its colour, which the legend explains
    palette.putpalette([part for colour in [*drawn, *between][:256] for part in colour])
    few = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


def _near(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether Pillow may take one colour for the other when it looks for the nearest."""
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= 8


def _shapes(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, Look]]:
    """Every element in the order in which it is drawn, with its look."""
    todo: list[tuple[ElementTree.Element, Look]] = [(root, {})]
    while todo:
        element, around = todo.pop()
        look = around | {name: element.attrib[name] for name in INHERITED if name in element.attrib}
        yield element, look
        todo += [(child, look) for child in reversed(element)]


def _draw(
    canvas: Any, element: ElementTree.Element, look: Look, corner: tuple[float, float], scale: float
) -> None:
    """Draw one shape; `corner` is the point of the picture that lies in the upper left corner of the canvas."""
    tag = element.tag.rpartition("}")[2]
    if tag == "text":
        _write(canvas, element, look, corner, scale)
        return
    if tag == "rect":
        path = _rect(element, canvas.width / scale, canvas.height / scale)
    elif tag == "polygon":
        path = _path("M" + (element.get("points") or "").replace(" ", "L") + "Z")
    elif tag == "path":
        path = _path(element.get("d") or "")
    else:
        return
    from matplotlib.colors import to_rgba
    from matplotlib.transforms import Affine2D

    pen = canvas.new_gc()
    pen.set_snap(False)
    pen.set_linewidth(0)
    stroke = look.get("stroke", "none")
    if stroke != "none":
        pen.set_foreground(to_rgba(stroke, float(look.get("stroke-opacity", 1))), isRGBA=True)
        pen.set_linewidth(float(look.get("stroke-width", 1)))
        pen.set_joinstyle("miter")
    dashes = [float(n) for n in _NUMBER.findall(look.get("stroke-dasharray", ""))]
    if dashes:
        pen.set_dashes(0, dashes)
        pen.set_capstyle("butt")
    fill = look.get("fill", "none")
    inside = to_rgba(fill, float(look.get("fill-opacity", 1))) if fill != "none" else None
    transform = Affine2D().translate(-corner[0], -corner[1]).scale(scale, -scale)
    canvas.draw_path(pen, path, transform.translate(0, canvas.height), inside)


def _write(
    canvas: Any, element: ElementTree.Element, look: Look, corner: tuple[float, float], scale: float
) -> None:
    """Draw a text."""
    from matplotlib.colors import to_rgba
    from matplotlib.font_manager import FontProperties

    words = element.text or ""
    font = FontProperties(
        family="DejaVu Sans Mono",
        size=float(look.get("font-size", TEXT_SIZE)),
        weight=int(look.get("font-weight", 400)),
        style="oblique" if "font-style" in look else "normal",
    )
    pen = canvas.new_gc()
    pen.set_foreground(to_rgba(look.get("fill", "black")), isRGBA=True)
    x, y = (float(element.get(name) or 0) for name in ("x", "y"))
    before = {"end": 1.0, "middle": 0.5}.get(element.get("text-anchor", ""), 0.0)
    width = canvas.get_text_width_height_descent(words, font, False)[0] if before else 0.0
    left, base = (x - corner[0]) * scale - before * width, (y - corner[1]) * scale
    canvas.draw_text(pen, left, base, words, font, 0)


def _rect(element: ElementTree.Element, full_width: float, full_height: float) -> Path:
    """A rectangle as a path; its corners are quarter circles."""

    def length(name: str, full: float = 0) -> float:
        text = element.get(name) or "0"
        return full if text == "100%" else float(text)

    x, y = length("x"), length("y")
    w, h = length("width", full_width), length("height", full_height)
    r = min(length("rx"), w / 2, h / 2)
    k = r * CORNER_HANDLE
    return _path(
        f"M{x + r} {y}L{x + w - r} {y}C{x + w - k} {y} {x + w} {y + k} {x + w} {y + r}"
        f"L{x + w} {y + h - r}C{x + w} {y + h - k} {x + w - k} {y + h} {x + w - r} {y + h}"
        f"L{x + r} {y + h}C{x + k} {y + h} {x} {y + h - k} {x} {y + h - r}"
        f"L{x} {y + r}C{x} {y + k} {x + k} {y} {x + r} {y}Z"
    )


def _path(commands: str) -> Path:
    """A path's commands (M, L, C, Z; h and v relative to where it is) as matplotlib's path."""
    from matplotlib.path import Path

    corners: list[tuple[float, float]] = []
    codes: list[Any] = []
    for command, text in _COMMAND.findall(commands):
        numbers = [float(n) for n in _NUMBER.findall(text)]
        if command == "h":
            numbers = [corners[-1][0] + numbers[0], corners[-1][1]]
        elif command == "v":
            numbers = [corners[-1][0], corners[-1][1] + numbers[0]]
        points = list(zip(numbers[::2], numbers[1::2], strict=True)) or [corners[0]]
        code = {"M": Path.MOVETO, "C": Path.CURVE4, "Z": Path.CLOSEPOLY}.get(command, Path.LINETO)
        corners += points
        codes += [code] * len(points)
    return Path(corners, codes)
