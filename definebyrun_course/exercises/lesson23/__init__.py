"""Exercises of lesson 23, Schedulers: warm up, order two steps, resume, part groups."""

from __future__ import annotations

from . import resume, two_bugs, two_speeds, warm_cosine

__all__ = ["EXERCISES"]

EXERCISES = (
    warm_cosine.EXERCISE,
    two_bugs.EXERCISE,
    resume.EXERCISE,
    two_speeds.EXERCISE,
)
