"""Exercises of lesson 21, Convicting a backward: convict one of three, check along directions, find a wrong entry."""

from __future__ import annotations

from . import along, convict
from .convict import suspects

__all__ = ["EXERCISES", "suspects"]

EXERCISES = (
    convict.EXERCISE,
    along.EXERCISE,
)
