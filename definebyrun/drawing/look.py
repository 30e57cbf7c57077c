"""How the user wants a picture to look: which way it runs, how wide it may be, what is left out of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DIRECTIONS", "PLAIN", "Look"]

DIRECTIONS = ("down", "right")
"""Which way data flows in a picture."""


@dataclass(frozen=True)
class Look:
    """The wishes for a picture; without any it runs down, and holds everything.

    `width` is in points, which a page shows as CSS pixels; None says that the picture is made to fit a page.
    """

    direction: str = "down"
    width: float | None = None
    hidden: tuple[str, ...] = ()


PLAIN = Look()
"""No wishes."""
