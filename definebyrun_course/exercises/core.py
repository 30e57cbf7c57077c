"""The frame of every exercise: an answer goes in, a `Verdict` comes out, and nothing is ever raised.

A lesson's module lists its exercises with `Exercise`, each with the check and with the wrong answers that
the check must catch. What an exercise asks and how it is solved stands in the lesson's chapter, not here.
"""

from __future__ import annotations

import dis
import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Exercise", "Mistake", "Verdict", "Wrong", "expect", "judge"]

NOT_ATTEMPTED, CORRECT, NOT_YET = "not attempted yet", "correct", "not yet"
MARKS = {NOT_ATTEMPTED: "○", CORRECT: "✓", NOT_YET: "✗"}
COLOURS = {NOT_ATTEMPTED: "#6b7280", CORRECT: "#15803d", NOT_YET: "#b45309"}
IDLE_OPCODES = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "COPY_FREE_VARS"}


class Mistake(Exception):
    """What is wrong with an answer, in one sentence, and a hint that does not give the solution away."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def expect(condition: object, message: str, hint: str = "") -> None:
    """Raise `Mistake(message, hint)` unless the condition holds; tensors are reduced with `bool`."""
    if not bool(condition):
        raise Mistake(message, hint)


@dataclass(frozen=True)
class Wrong:
    """A wrong answer that learners give, and words that the verdict on it must contain."""

    name: str
    answer: Any
    says: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: its id as the lesson writes it (`"01.2"`), its check and its known wrong answers."""

    id: str
    title: str
    check: Callable[..., None]
    wrong: tuple[Wrong, ...]


@dataclass(frozen=True)
class Verdict:
    """What an exercise answers: a status, a sentence that says what was found, and a hint."""

    exercise: str
    status: str
    message: str = ""
    hint: str = ""

    def __repr__(self) -> str:
        """The verdict as one to three lines of text, which is also what nbval compares."""
        lines = [f"{MARKS[self.status]} Exercise {self.exercise}: {self.status}"]
        lines += [self.message] if self.message else []
        lines += [f"Hint: {self.hint}"] if self.hint else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        colour = COLOURS[self.status]
        head, *rest = (html.escape(line) for line in repr(self).split("\n"))
        body = "".join(f'<div style="margin-top:.25em">{line}</div>' for line in rest)
        style = f"border-left:4px solid {colour};padding:.4em .8em;margin:.3em 0"
        return f'<div class="dbr-verdict" role="status" style="{style}"><b>{head}</b>{body}</div>'


def judge(exercise: Exercise, answers: tuple[Any, ...]) -> Verdict:
    """Run an exercise's check on what the learner wrote; whatever happens becomes a `Verdict`."""
    if any(is_stub(answer) for answer in answers):
        return Verdict(
            exercise.id,
            NOT_ATTEMPTED,
            "Replace the dots (...) with your own code, then run the cell again.",
        )
    try:
        with torch.enable_grad():  # and back to what it was, whatever the answer does to it
            exercise.check(*answers)
    except Mistake as mistake:
        return Verdict(exercise.id, NOT_YET, mistake.message, mistake.hint)
    except Exception as error:
        if "ellipsis" in str(error).lower():
            return Verdict(
                exercise.id,
                NOT_ATTEMPTED,
                "Your code still holds dots (...): replace every one of them.",
            )
        words = " ".join(str(error).split())
        return Verdict(
            exercise.id,
            NOT_YET,
            f"Your code stopped with {type(error).__name__}: {words[:300]}",
            "Run your code by hand on a small example, outside the check, and look at the shapes.",
        )
    return Verdict(exercise.id, CORRECT, exercise.title)


def is_stub(answer: Any) -> bool:
    """Whether an answer is still the stub: dots, something that holds dots, or a function with an empty body.

    >>> is_stub(...), is_stub([1, ...]), is_stub(3)
    (True, True, False)
    >>> def empty(x): ...
    >>> is_stub(empty), is_stub(lambda x: x + 1)
    (True, False)
    """
    if answer is Ellipsis:
        return True
    if isinstance(answer, (list, tuple, set)):
        return any(is_stub(part) for part in answer)
    if isinstance(answer, dict):
        return any(is_stub(part) for part in answer.values())
    if isinstance(answer, type):
        # a static method holds its function
        parts = [getattr(part, "__func__", part) for part in vars(answer).values()]
        own = [part for part in parts if hasattr(part, "__code__")]
        return bool(own) and all(is_stub(part) for part in own)
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    return all(
        step.opname in IDLE_OPCODES for step in dis.get_instructions(code)
    ) and _returns_nothing(code)


def _returns_nothing(code: Any) -> bool:
    """A function of idle opcodes returns a constant: it is a stub when that is None or the dots."""
    returned = [
        s.argval for s in dis.get_instructions(code) if s.opname in ("LOAD_CONST", "RETURN_CONST")
    ]
    return not returned or returned[-1] is None or returned[-1] is Ellipsis
