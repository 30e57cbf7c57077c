"""The frame of every exercise: answers go in, a `Verdict` comes out; what an answer does stays without consequences."""

from .afterwards import closed_by
from .digits import expect_digits, has_digits
from .drawn import Drawn, drawn, seeded
from .exercise import Exercise, Right, Wrong
from .guard import untouched
from .judge import judge
from .near import apart, counted, near, shown
from .plain import plain, tried
from .stub import is_stub
from .verdict import CORRECT, NOT_ATTEMPTED, NOT_YET, Mistake, Verdict, expect

__all__ = [
    "CORRECT",
    "NOT_ATTEMPTED",
    "NOT_YET",
    "Drawn",
    "Exercise",
    "Mistake",
    "Right",
    "Verdict",
    "Wrong",
    "apart",
    "closed_by",
    "counted",
    "drawn",
    "expect",
    "expect_digits",
    "has_digits",
    "is_stub",
    "judge",
    "near",
    "plain",
    "seeded",
    "shown",
    "tried",
    "untouched",
]
