"""A picture as an SVG of its own goes in, the bytes of a PNG come out: the same shapes at the same places.

Read is only what `alone` writes: rectangles, paths, polygons and words, with their looks as attributes. matplotlib
draws them with the font that it brings along, Pillow packs them; both are imported when the first PNG is asked for.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path

__all__ = ["MISSING", "png"]

SCALE = 2.0
"""Pixels of the PNG for each pixel of the picture, for sharp screens."""
MOST_PIXELS = 60_000_000
"""A picture that would have more pixels is drawn at a smaller scale."""
COLOURS = 48
"""So many colours between those that are drawn with, for the edges of letters."""
MISSING = (
    "A PNG is drawn by matplotlib, which was not found: run `pip install matplotlib`, or use SVG."
)
_COMMAND = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_COLOUR = re.compile(r"#([0-9a-f]{6})\b")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LOOK = {"text.hinting": "none", "text.antialiased": True, "path.sketch": None, "path.effects": []}


def png(svg: str) -> bytes:
    """Draw the SVG that `alone` gives; raises `RuntimeError` where matplotlib is not installed.

    The bytes hold no date and no name of a program: the same picture gives the same bytes on one machine.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import RendererAgg
        from PIL import Image
    except ImportError:
        raise RuntimeError(MISSING) from None
    root = ElementTree.fromstring(svg)
    left, top, width, height = (float(n) for n in _NUMBER.findall(root.get("viewBox") or ""))
    scale = min(SCALE, sqrt(MOST_PIXELS / (width * height)))
    with mpl.rc_context(_LOOK), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older matplotlib warns of letters that its font lacks
        canvas = RendererAgg(round(width * scale), round(height * scale), 72 * scale)
        for element, x, y in _shapes(root):
            _draw(canvas, element, x - left, y - top, scale)
    size = int(canvas.width), int(canvas.height)
    picture = Image.frombytes("RGBA", size, bytes(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    mixed = picture.quantize(COLOURS, Image.Quantize.MEDIANCUT).getpalette() or []
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


def _shapes(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, float, float]]:
    """Every shape in the order in which it is drawn, and how far its groups move it."""
    todo = [(root, 0.0, 0.0)]
    while todo:
        element, x, y = todo.pop()
        yield element, x, y
        move = [float(n) for n in _NUMBER.findall(element.get("transform") or "0 0")]
        todo += [(child, x + move[0], y + move[1]) for child in reversed(element)]


def _draw(
    canvas: RendererAgg, element: ElementTree.Element, x: float, y: float, scale: float
) -> None:
    tag = element.tag.rpartition("}")[2]
    if tag == "text":
        _write(canvas, element, x, y, scale)
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

    look = canvas.new_gc()
    look.set_snap(False)
    look.set_linewidth(0)
    stroke = element.get("stroke")
    if stroke:
        opacity = float(element.get("stroke-opacity") or 1)
        look.set_foreground((*to_rgba(stroke)[:3], opacity), isRGBA=True)
        look.set_linewidth(float(element.get("stroke-width") or 1))
        look.set_joinstyle("miter")
    dashes = [float(n) for n in _NUMBER.findall(element.get("stroke-dasharray") or "")]
    if dashes:
        look.set_dashes(0, dashes)
        look.set_capstyle("butt")
    fill = element.get("fill") or "none"
    place = Affine2D().translate(x, y).scale(scale, -scale).translate(0, canvas.height)
    inside = to_rgba(fill, float(element.get("fill-opacity") or 1)) if fill != "none" else None
    canvas.draw_path(look, path, place, inside)


def _write(
    canvas: RendererAgg, element: ElementTree.Element, x: float, y: float, scale: float
) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.font_manager import FontProperties

    words = element.text or ""
    font = FontProperties(
        family="DejaVu Sans Mono",
        size=float(element.get("font-size") or 12),
        weight=int(element.get("font-weight") or 400),
        style="oblique" if element.get("font-style") else "normal",
    )
    look = canvas.new_gc()
    look.set_foreground(to_rgba(element.get("fill") or "black"), isRGBA=True)
    across = (x + float(element.get("x") or 0)) * scale
    if element.get("text-anchor") == "end":
        across -= canvas.get_text_width_height_descent(words, font, False)[0]
    canvas.draw_text(look, across, (y + float(element.get("y") or 0)) * scale, words, font, 0)


def _rect(element: ElementTree.Element, full_width: float, full_height: float) -> Path:
    """A rectangle as a path; its corners are quarter circles, near enough."""

    def length(name: str, full: float = 0) -> float:
        text = element.get(name) or "0"
        return full if text == "100%" else float(text)

    x, y = length("x"), length("y")
    w, h = length("width", full_width), length("height", full_height)
    r = min(length("rx"), w / 2, h / 2)
    k = r * 0.4477  # where the handles of a quarter circle lie, from the corner
    return _path(
        f"M{x + r} {y}L{x + w - r} {y}C{x + w - k} {y} {x + w} {y + k} {x + w} {y + r}"
        f"L{x + w} {y + h - r}C{x + w} {y + h - k} {x + w - k} {y + h} {x + w - r} {y + h}"
        f"L{x + r} {y + h}C{x + k} {y + h} {x} {y + h - k} {x} {y + h - r}"
        f"L{x} {y + r}C{x} {y + k} {x + k} {y} {x + r} {y}Z"
    )


def _path(commands: str) -> Path:
    """A path's commands (M, L, C, Z, and h relative to where it is) as matplotlib's path."""
    from matplotlib.path import Path

    corners: list[tuple[float, float]] = []
    codes: list[Any] = []
    for command, text in _COMMAND.findall(commands):
        numbers = [float(n) for n in _NUMBER.findall(text)]
        if command == "h":
            numbers = [corners[-1][0] + numbers[0], corners[-1][1]]
        points = list(zip(numbers[::2], numbers[1::2], strict=True)) or [corners[0]]
        code = {"M": Path.MOVETO, "C": Path.CURVE4, "Z": Path.CLOSEPOLY}.get(command, Path.LINETO)
        corners += points
        codes += [code] * len(points)
    return Path(corners, codes)
