"""Kinds of notebooks by their numbers: lessons, and problems of the interview; each kind has bones of its own."""

from __future__ import annotations

from tools import chapters

__all__ = ["LESSONS", "PROBLEMS"]

NUMBERS = [lesson.name[:2] for lesson in chapters.lessons() if lesson.name[:2].isdigit()]
PROBLEMS: tuple[str, ...] = ("26", "27", "28")
"""Notebooks of coding problems: `test_problems`."""
LESSONS: tuple[str, ...] = tuple(number for number in NUMBERS if number < "25")
"""Parts I to III: `test_bones`."""
