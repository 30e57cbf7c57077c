"""The mutants of right answers to exercises, and what the exercises' checks say of each.

A mutant is killed when its check refuses it, and hung when it is cut at the limit. One that passes is the same answer
when the exercise's oracle cannot tell it from the right one; else the check has a hole.
"""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from definebyrun_course.grading import CORRECT, judge, seeded
from definebyrun_course.grading import Verdict as VerdictOnAnswer
from definebyrun_course.grading.limit import Stopped, limited
from definebyrun_course.grading.surroundings import Surroundings
from tools.mutants.answers import Answers, Source, exercises, sources
from tools.mutants.forks import Crash, Hang, Task, run_all
from tools.mutants.operators import Mutant
from tools.mutants.package import Verdict

__all__ = ["Checks", "Judge"]

SEED = 1
"""Of what checks draw: the same at every run."""
MIN_LIMIT_SECONDS, LIMIT_FACTOR = 0.3, 4.0
"""A mutant is cut when it takes so many times what the slowest right answer takes."""
SURE_SECONDS = 2.0
"""It is tried once more with so much time: something else may have taken what it had."""
CUT = "was stopped"
"""Said by a verdict on an answer that was cut."""
SLOW_SECONDS = 600.0
"""A process may take so long: the machine may be busy."""
CHUNK = 40
"""So many mutants share a process; when it does not come back, each half gets one of its own."""
IMPORTED = ("torch._dynamo", "torch.export", "torch.func", "torch.optim", "torch.utils.data")
"""What some checks import at a first call, for a second or more."""


class Judge:
    """The checks of one source's mutants, in this process."""

    def __init__(self, source: Source) -> None:
        self.source, self.exercise = source, source.exercise
        self._limit_seconds = 60.0
        right = source.answers()
        spent = [self._seconds(given) for given in [*right.values(), *right.values()]]
        self._limit_seconds = max(MIN_LIMIT_SECONDS, LIMIT_FACTOR * max(spent[len(right) :]))
        self._right = right

    def verdict(self, mutant: Mutant) -> Verdict:
        """What becomes of a mutant; of one that is in several right answers, the worst."""
        around = Surroundings()
        try:
            made = self._limited(partial(self.source.answers, mutant))
            said = [self._outcome(name, given) for name, given in made.items()]
        except Stopped:
            said = [("hung", "where it is defined")]
        except Exception as error:
            said = [("killed", f"it cannot be defined: {type(error).__name__}")]
        finally:
            around.put_back()
        order = ("hole", "killed", "hung", "same")
        outcome, why = min(said, key=lambda each: order.index(each[0]))
        return Verdict(mutant, outcome, why)

    def expect_right(self) -> None:
        """Raise `RuntimeError` when a right answer is refused: something that a mutant did has stayed."""
        for name, given in self._right.items():
            verdict = self._judged(given)
            if verdict.status != CORRECT:
                raise RuntimeError(f"{self.source.file}, {name}: {verdict!r}")

    def _outcome(self, name: str, given: tuple[Any, ...]) -> tuple[str, str]:
        verdict = self._judged(given)
        if CUT in verdict.message and self._limit_seconds < SURE_SECONDS:
            verdict = self._judged(given, SURE_SECONDS)
        if verdict.status != CORRECT:
            return "hung" if CUT in verdict.message else "killed", verdict.message
        told = self._told(given)
        return (
            ("same", "the oracle sees no difference")
            if told == self._wanted[name]
            else (
                "hole",
                f"{name} of {self.exercise.id}",
            )
        )

    @cached_property
    def _wanted(self) -> Answers:
        """What the oracle says of the right answers."""
        return {name: self._told(given) for name, given in self._right.items()}

    def _told(self, given: tuple[Any, ...]) -> Any:
        """What the oracle says; for an answer that is no function, the answer itself."""
        if self.exercise.oracle is None:
            return repr(given)
        around = Surroundings()
        try:
            with torch.enable_grad():
                return self._limited(partial(self.exercise.oracle, *given), 10)
        except Exception as error:  # and Stopped
            return type(error)
        finally:
            around.put_back()

    def _judged(
        self, given: tuple[Any, ...], limit_seconds: float | None = None
    ) -> VerdictOnAnswer:
        with seeded(SEED):
            return judge(self.exercise, given, limit_seconds or self._limit_seconds)

    def _limited(self, call: Callable[[], Any], times: float = 1.0) -> Any:
        return limited(call, times * self._limit_seconds)

    def _seconds(self, given: tuple[Any, ...]) -> float:
        start = time.thread_time()
        verdict = self._judged(given)
        if verdict.status != CORRECT:
            raise RuntimeError(f"{self.source.file}: a right answer is refused: {verdict!r}")
        return time.thread_time() - start


@dataclass(frozen=True)
class Checks:
    """All exercises with more than one right answer."""

    say: Callable[[str], None]
    workers: int = 2
    outcomes: tuple[str, ...] = ("killed", "hung", "same", "equivalent", "hole", "crashed")
    count: int | None = None

    @cached_property
    def sources(self) -> dict[str, Source]:
        return {each.file: each for exercise in exercises() for each in sources(exercise)}

    def mutants(self) -> list[Mutant]:
        return [mutant for source in self.sources.values() for mutant in source.mutants()]

    def run(self, mutants: Sequence[Mutant]) -> list[Verdict]:
        for name in IMPORTED:
            importlib.import_module(name)
        by_source: dict[str, list[Mutant]] = defaultdict(list)
        for mutant in mutants:
            by_source[mutant.file].append(mutant)
        self.say(f"Trying {len(mutants)} mutants of the answers to {len(by_source)} sources")
        waiting = [
            (file, tuple(own[start : start + CHUNK]))
            for file, own in by_source.items()
            for start in range(0, len(own), CHUNK)
        ]
        verdicts: list[Verdict] = []
        while waiting:
            tasks = [Task(each, partial(self._chunk, *each), SLOW_SECONDS) for each in waiting]
            waiting = []
            for (file, chunk), found in run_all(iter(tasks), self.workers):
                if isinstance(found, list):
                    verdicts += found
                elif len(chunk) == 1:
                    verdicts.append(_lost(chunk[0], found))
                else:
                    half = len(chunk) // 2
                    waiting += [(file, chunk[:half]), (file, chunk[half:])]
        return verdicts

    def _chunk(self, file: str, mutants: Sequence[Mutant]) -> list[Verdict]:
        judge = Judge(self.sources[file])
        verdicts = [judge.verdict(mutant) for mutant in mutants]
        if len(mutants) > 1:
            judge.expect_right()
        return verdicts


def _lost(mutant: Mutant, found: Hang | Crash) -> Verdict:
    """A mutant whose process has not come back."""
    if isinstance(found, Hang):
        return Verdict(mutant, "hung", "its process did not come back")
    return Verdict(mutant, "crashed", found.reason)
