"""A picture as an SVG of its own goes in, the bytes of a PDF come out: a page of its size, with words to search for.

svglib reads the SVG and reportlab writes the PDF; the font is that which matplotlib brings along. All three are
imported when the first PDF is asked for.
"""

from __future__ import annotations

import io
import re
from typing import Any

from .fonts import FAMILY, font_files

__all__ = ["MISSING", "pdf"]

MISSING = (
    "A PDF is written by svglib, in a font of matplotlib's: run `pip install svglib matplotlib`, "
    "or save an SVG."
)
_FAMILIES = re.compile(r' font-family="[^"]*"')


def pdf(svg: str) -> bytes:
    """Write the SVG that `standalone_svg` gives; raises `RuntimeError` where svglib or matplotlib is not installed.

    The bytes hold no date: the same picture gives the same bytes.

    >>> pdf('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="4"/>')[:5]
    b'%PDF-'
    """
    try:
        from reportlab.graphics import renderPDF
        from reportlab.pdfgen.canvas import Canvas
        from svglib.svglib import register_font, svg2rlg
    except ImportError:
        raise RuntimeError(MISSING) from None
    fonts = font_files()
    if not fonts:
        raise RuntimeError(MISSING)
    for (weight, style), file in fonts.items():
        register_font(FAMILY, file, weight=weight, style=style)
    plain = _FAMILIES.sub(f' font-family="{FAMILY}"', svg).replace(
        '-weight="700"', '-weight="bold"'
    )
    drawing: Any = svg2rlg(io.StringIO(plain))
    page: Any = io.BytesIO()
    canvas = Canvas(page, pagesize=(drawing.width, drawing.height), invariant=1)
    renderPDF.draw(drawing, canvas, 0, 0)
    canvas.showPage()
    canvas.save()
    written: bytes = page.getvalue()
    return written
