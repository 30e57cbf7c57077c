"""Where the letters of images come from: the font that matplotlib brings along, found without importing it."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["FAMILY", "font_files"]

FAMILY = "DejaVu Sans Mono"
FILES = {
    ("normal", "normal"): "DejaVuSansMono.ttf",
    ("bold", "normal"): "DejaVuSansMono-Bold.ttf",
    ("normal", "italic"): "DejaVuSansMono-Oblique.ttf",
    ("bold", "italic"): "DejaVuSansMono-BoldOblique.ttf",
}
"""By weight and style."""


@cache
def font_files() -> dict[tuple[str, str], str]:
    """By weight and style, as SVG calls them: the file; empty where matplotlib is not installed.

    >>> sorted(font_files()) in ([], sorted(FILES))
    True
    """
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return {}
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    there = {look: folder / name for look, name in FILES.items()}
    return {look: str(path) for look, path in there.items() if path.is_file()}
