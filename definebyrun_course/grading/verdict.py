"""What an exercise answers: a `Verdict` with a status, a sentence that says what was found, and a hint."""

from __future__ import annotations

import html
from dataclasses import dataclass

__all__ = ["CORRECT", "NOT_ATTEMPTED", "NOT_YET", "Mistake", "Verdict", "expect"]

NOT_ATTEMPTED, CORRECT, NOT_YET = "not attempted yet", "correct", "not yet"
MARKS = {NOT_ATTEMPTED: "○", CORRECT: "✓", NOT_YET: "✗"}
COLOURS = {NOT_ATTEMPTED: "#6b7280", CORRECT: "#15803d", NOT_YET: "#b45309"}


class Mistake(Exception):
    """What is wrong with an answer, in one sentence, and a hint that does not give the solution away.

    `picture` is HTML that is shown below them, such as the graph of the answer beside the one that it should have.
    """

    def __init__(self, message: str, hint: str = "", picture: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.picture = message, hint, picture


def expect(condition: object, message: str, hint: str = "") -> None:
    """Raise `Mistake(message, hint)` unless the condition holds; tensors are reduced with `bool`.

    >>> expect(2 > 1, "Two is more than one.")
    >>> expect(2 > 3, "Two is not more than three.")
    Traceback (most recent call last):
    definebyrun_course.grading.verdict.Mistake: Two is not more than three.
    """
    if not bool(condition):
        raise Mistake(message, hint)


@dataclass(frozen=True)
class Verdict:
    """What an exercise answers.

    `status` is `correct`, `not yet` or `not attempted yet`. A verdict holds no time and no address, so the same answer
    gets the same text in every run.
    """

    exercise: str
    status: str
    message: str = ""
    hint: str = ""
    picture: str = ""

    def __repr__(self) -> str:
        """The verdict as a few lines of text, which is also what nbval compares."""
        lines = [f"{MARKS[self.status]} Exercise {self.exercise}: {self.status}"]
        lines += [self.message] if self.message else []
        lines += [f"Hint: {self.hint}"] if self.hint else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        colour = COLOURS[self.status]
        head, *rest = (html.escape(line) for line in repr(self).split("\n"))
        body = "".join(
            f'<div style="margin-top:.25em;white-space:pre-wrap">{line}</div>' for line in rest
        )
        body += f'<div style="margin-top:.5em">{self.picture}</div>' if self.picture else ""
        style = f"border-left:4px solid {colour};padding:.4em .8em;margin:.3em 0"
        return f'<div class="dbr-verdict" role="status" style="{style}"><b>{head}</b>{body}</div>'
