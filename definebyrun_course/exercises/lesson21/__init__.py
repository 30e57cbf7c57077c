"""Exercises of lesson 21, Convicting a backward: convict one of three, check along directions, find a wrong entry."""

from __future__ import annotations

from . import along, convict, wrong_entry
from .convict import suspects
from .wrong_entry import suspicious_network

__all__ = ["EXERCISES", "suspects", "suspicious_network"]

EXERCISES = (
    convict.EXERCISE,
    along.EXERCISE,
    wrong_entry.EXERCISE,
)
