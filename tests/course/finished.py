"""The lessons that have the new bones, by number: `test_bones` holds them to these, `test_form` the others to the older rules."""

from __future__ import annotations

__all__ = ["FINISHED"]

FINISHED: tuple[str, ...] = ()
