"""A picture as an SVG of its own goes in, the bytes of a PNG come out.

It is drawn by resvg, a renderer of static SVG, with the font that matplotlib brings along where that is installed, so
that the same picture gives the same bytes whatever fonts a machine has; else with those of the system.
"""

from __future__ import annotations

import re
from math import sqrt

from .fonts import FAMILY, font_files
from .palette import PAPER

__all__ = ["MISSING", "png"]

SCALE = 2.0
"""Pixels of the PNG for each pixel of the picture, for sharp screens."""
MAX_PIXELS = 60_000_000
"""A picture that would have more pixels is drawn at a smaller scale."""
MISSING = (
    "A PNG is drawn by resvg, which was not found: run `pip install resvg-py`, or save an SVG."
)
_SIZE = re.compile(r' width="([\d.]+)" height="([\d.]+)"')


def png(svg: str) -> bytes:
    """Draw the SVG that `standalone_svg` gives; raises `RuntimeError` where `resvg-py` is not installed.

    >>> png('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="4"/>')[:4]
    b'\\x89PNG'
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise RuntimeError(MISSING) from None
    size = _SIZE.search(svg)
    width, height = (float(side) for side in size.groups()) if size else (1.0, 1.0)
    scale = min(SCALE, sqrt(MAX_PIXELS / (width * height)))
    fonts = list(font_files().values())
    drawn: bytes = svg_to_bytes(
        svg_string=svg,
        width=round(width * scale),
        height=round(height * scale),
        font_files=fonts,
        skip_system_fonts=bool(fonts),
        monospace_family=FAMILY if fonts else None,
        background=PAPER.light,
    )
    return drawn
