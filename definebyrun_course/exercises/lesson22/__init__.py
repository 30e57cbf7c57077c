"""Exercises of lesson 22, Learning-rate decay: warm up, react to the loss, order two steps, resume, part groups."""

from __future__ import annotations

from . import plateau, resume, two_bugs, two_speeds, warm_cosine

__all__ = ["EXERCISES"]

EXERCISES = (
    warm_cosine.EXERCISE,
    plateau.EXERCISE,
    two_bugs.EXERCISE,
    resume.EXERCISE,
    two_speeds.EXERCISE,
)
