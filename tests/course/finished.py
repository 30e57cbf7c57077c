"""The lessons that have the new bones, by number; `test_form` holds the others to the older rules."""

from __future__ import annotations

__all__ = ["FINISHED", "PROBLEMS"]

FINISHED: tuple[str, ...] = (
    *("01", "02", "03", "04", "05", "06", "07"),
    *("08", "09", "10", "11", "12", "13", "14", "15"),
    *("16", "17", "18", "19", "20", "21", "22"),
    *("23", "24"),
)

PROBLEMS: tuple[str, ...] = ("26", "27", "28")
"""The notebooks of coding problems, by number; `test_problems` holds them to bones of their own."""
