"""What an exercise is made of: its check, right answers, wrong answers with the words of their verdicts, an oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Exercise", "Right", "Wrong"]


class _Answered:
    """What an answer to an exercise has: itself, or several where the exercise takes several."""

    answer: Any
    answers: tuple[Any, ...] | None

    @property
    def given(self) -> tuple[Any, ...]:
        """What is handed to `check` after the exercise's id."""
        return (self.answer,) if self.answers is None else self.answers


@dataclass(frozen=True)
class Right(_Answered):
    """A right answer beside the published one, found in another way; `answers` where the exercise takes several."""

    name: str
    answer: Any = None
    answers: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Wrong(_Answered):
    """A wrong answer that learners give, and words that the verdict on it must contain."""

    name: str
    answer: Any
    says: str
    answers: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name, which is its module's too, a title that says what a right answer shows, a check.

    `check` takes the learner's answers and raises `Mistake` (mostly by `expect`) for a wrong one; it tries the smallest
    cases first. `may_change` are the positions of the arguments that an answer may change, where the statement asks for
    that; `...` in it stands for all. `oracle` runs an answer on wide inputs and gives back what it did, as plain data:
    two answers that it cannot tell apart are the same answer. By it, mutants of right answers are told from wrong ones.
    `allows` names kinds of sabotage (`tests/course/saboteurs.py`) that make no answer wrong here, each with its reason.
    """

    id: str
    title: str
    check: Callable[..., None]
    wrong: tuple[Wrong, ...]
    right: tuple[Right, ...] = ()
    may_change: tuple[Any, ...] = ()
    oracle: Callable[..., Any] | None = None
    allows: Mapping[str, str] = field(default_factory=dict)
