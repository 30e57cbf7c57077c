"""A learner's answers go in, a `Verdict` comes out: nothing is raised and nothing stays changed, whatever they do.

Functions are watched call by call (`guard`), classes as a whole; the check has a limit (`limit`), what all cells share
is put back (`surroundings`), and an error is told apart by whose code raised it (`blame`). Only `KeyboardInterrupt`
passes through: that is the learner's own stop button.
"""

from __future__ import annotations

import functools
import gc
import inspect
import io
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, TextIO

import torch

from .afterwards import close_all
from .blame import learners_line, loop_around
from .exercise import Exercise
from .forms import said
from .guard import NOTHING, Guarded, expect_nothing_left
from .limit import LIMIT_SECONDS, Stopped, limited
from .stub import is_stub
from .surroundings import Surroundings
from .verdict import CORRECT, NOT_ATTEMPTED, NOT_YET, Mistake, Verdict

__all__ = ["judge"]

FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, functools.partial)
MAX_ERROR_CHARS = 300
MAX_PRINTED_LINES = 100
DOTS = "Replace the dots (...) with your own code, then run the cell again."


def judge(
    exercise: Exercise, answers: tuple[Any, ...], limit_seconds: float = LIMIT_SECONDS
) -> Verdict:
    """Run an exercise's check on what the learner wrote; whatever happens becomes a `Verdict`."""
    around = Surroundings()
    cut: list[str] = []
    try:
        return _judged(exercise, answers, limit_seconds, cut)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a check never raises
        return Verdict(exercise.id, NOT_YET, f"The check stopped with {_words(error)}.")
    finally:
        if cut:
            _end_generators()
        close_all()
        around.put_back()


def _end_generators() -> None:
    """What the limit has struck in ends now; in a later cell, as garbage, it would put back what is long gone."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook


def _judged(
    exercise: Exercise, answers: tuple[Any, ...], limit_seconds: float, cut: list[str]
) -> Verdict:
    """`cut` gets an entry when the limit strikes."""
    if any(map(is_stub, answers)):
        return Verdict(exercise.id, NOT_ATTEMPTED, DOTS)
    wanted = list(inspect.signature(exercise.check).parameters.values())
    refused = _handed_over(exercise.id, wanted, answers)
    if refused is not None:
        return refused
    given = [
        Guarded(answer, exercise.may_change) if isinstance(answer, FUNCTIONS) else answer
        for answer in answers
    ]
    sys.stdout, sys.stderr = _Quiet(sys.stdout), _Quiet(sys.stderr)
    try:
        with torch.enable_grad():
            inside = Surroundings(silent=False)
            limited(lambda: exercise.check(*given), limit_seconds)
            expect_nothing_left(inside.put_back())
    except Mistake as mistake:
        return Verdict(exercise.id, NOT_YET, mistake.message, mistake.hint, mistake.picture)
    except Stopped as stopped:
        cut.append(stopped.reason)
        return _still_running(exercise, stopped)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _raised(exercise, error, given)
    return Verdict(exercise.id, CORRECT, exercise.title)


def _handed_over(
    number: str, wanted: list[inspect.Parameter], answers: tuple[Any, ...]
) -> Verdict | None:
    """A verdict for too few or too many answers, and for a result where the function itself is asked for."""
    needed = [each for each in wanted if each.default is inspect.Parameter.empty]
    if not len(needed) <= len(answers) <= len(wanted):
        names = ", ".join(each.name for each in wanted)
        asked = "one answer" if len(wanted) == 1 else f"{len(wanted)} answers"
        handed = "none" if not answers else str(len(answers))
        return Verdict(
            number,
            NOT_YET,
            f'This exercise takes {asked}, {names}: `dbr.check("{number}", {names})`; you handed over {handed}.',
        )
    for each, answer in zip(wanted, answers, strict=False):
        if str(each.annotation).startswith("Callable") and not callable(answer):
            return Verdict(
                number,
                NOT_YET,
                f"{each.name} is asked for as a function; this is {said(answer)}.",
                "Hand over the function itself: its name, without brackets behind it.",
            )
    return None


def _still_running(exercise: Exercise, stopped: Stopped) -> Verdict:
    line = learners_line(stopped.where, _code(exercise))
    if stopped.reason == "memory":
        text = "Your code took more and more memory, so it was stopped"
        hint = "What does it keep in every round that no later round needs?"
    else:
        text = "Your code was still running after the time that a hundred right answers need, so it was stopped"
        hint = "What makes the loop end? Print what its condition looks at, and see whether it changes."
    where = "." if line is None else f", in {loop_around(line)}"
    return Verdict(exercise.id, NOT_YET, f"{text}{where}", hint)


def _raised(exercise: Exercise, error: BaseException, given: list[Any]) -> Verdict:
    """An exception: the learner's code stopped, or the check could not use what it was given."""
    words, number = _words(error), exercise.id
    if "ellipsis" in words.lower():
        message = "Your code still holds dots (...): replace every one of them."
        return Verdict(number, NOT_ATTEMPTED, message)
    line = learners_line(error.__traceback__, _code(exercise))
    if line is not None:
        return Verdict(
            number, NOT_YET, f"Your code stopped with {words}, in {line}", _advice(error)
        )
    if any(isinstance(g, Guarded) and g.raised is error for g in given):
        return Verdict(number, NOT_YET, f"Your code stopped with {words}.", _advice(error))
    returned = [g.returned for g in given if isinstance(g, Guarded) and g.returned is not NOTHING]
    if returned:
        missing = " Is a `return` missing?" if returned[-1] is None else ""
        return Verdict(
            number,
            NOT_YET,
            f"The check cannot use what your function returned: {said(returned[-1])}.{missing}",
            f"It stopped with {words}. Compare with what the exercise asks your function to return.",
        )
    handed = ", ".join(said(getattr(answer, "__wrapped__", answer)) for answer in given)
    return Verdict(
        number, NOT_YET, f"The check cannot use this answer: {handed}.", f"It stopped with {words}."
    )


def _code(exercise: Exercise) -> CodeType | None:
    return getattr(exercise.check, "__code__", None)


def _advice(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return (
            "Every call goes one level deeper, and Python allows about a thousand. "
            "A list of what is still to be visited has no such limit."
        )
    if isinstance(error, (IndexError, KeyError)):
        return "Look at what is in it just before that line, and for the smallest case: nothing, or one."
    if isinstance(error, (AttributeError, TypeError)):
        return "Look at the type of what stands in that line: is it what you think it is?"
    return "Run that line by hand on a small example, outside the check, and look at shapes and dtypes."


def _words(error: BaseException) -> str:
    """An exception as `type: message`, also where its message cannot be made."""
    try:
        message = " ".join(str(error).split())
    except BaseException:
        message = ""
    message = message if len(message) <= MAX_ERROR_CHARS else f"{message[:MAX_ERROR_CHARS]}…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class _Quiet(io.TextIOBase):
    """A stream that passes on what is printed up to a number of lines, then says so once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._left = stream, MAX_PRINTED_LINES

    def write(self, text: str) -> int:
        if self._left > 0:
            lines = text.split("\n")
            self._stream.write("\n".join(lines[: self._left + 1]))
            self._left -= len(lines) - 1
            if self._left <= 0:
                self._stream.write("\n… and more, which is not shown\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
