"""Mutants of right answers: which are made, what becomes of each, and that checks of the lessons refuse a sample."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from hashlib import sha256
from types import CodeType
from typing import Any

import pytest

from definebyrun_course.exercises import Exercise
from definebyrun_course.grading import expect, tried
from tools.mutants.answers import Answers, Source, exercises, sources, written
from tools.mutants.checks import Checks, Judge
from tools.mutants.field import of_answers
from tools.mutants.operators import Mutant, mutants_of

SLOW = ("order", "tree", "graph_sizes", "shrink", "warm_up")
"""Deep graphs, and what is compiled or exported: `make mutants PART=checks` tries them."""
SOURCES, MUTANTS, SEED = 16, 3, 0


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in mutants_of("a.py", textwrap.dedent(source), of_answers)]


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("each_value.sum(0)", "each_value.sum → each_value.mean"),
        ("each_value.sum(1)", "1 → 0 in each_value.sum(1)"),
        ("x.sum(0, keepdim=True)", "x.sum(0, keepdim=True) → x.sum(0)"),
        ("values.detach()", "values.detach() → values"),
        ("some_weights.T", "some_weights.T → some_weights"),
        ("weights @ inputs", "weights @ inputs → inputs @ weights"),
        ("loss_of_all.backward()", "loss_of_all.backward() → pass"),
        (
            "loss_of_all.backward()",
            "loss_of_all.backward() → loss_of_all.backward(retain_graph=True)",
        ),
        ("network.eval()", "network.eval → network.train"),
        ("torch.float64", "torch.float64 → torch.float32"),
        ("with torch.no_grad():\n    y", "with torch.no_grad() → if True"),
        ("@torch.no_grad()\ndef f(): x", "@torch.no_grad() → def f()"),
        ("total_of_all += x", "total_of_all += x → total_of_all = x"),
        ("all_results[0]", "all_results[0] → all_results[-1]"),
        ("range(count_of)", "range(count_of) → range(count_of - 1)"),
        ("one_number ** 2", "one_number ** 2 → one_number * 2"),
        ("one_number * x", "one_number * x → one_number / x"),
        ("f(0.5)", "0.5 → 1.0 in f(0.5)"),
        ("if x > 0: y", "if x > 0 → if False"),
    ],
)
def test_a_fault_is_one_of_the_field(source: str, change: str) -> None:
    assert change in changes(source)


# ---- what becomes of a mutant ----

TEXT = """
def halved(numbers):
    found = []
    for number in numbers:
        while number % 2 == 0:
            number = number // 2
        found.append(number)
    return found[0:2] + found[2:]
"""


def check_halved(halved: Callable[[list[int]], list[int]]) -> None:
    """A weak check: it never tries a list of three numbers."""
    expect(halved([]) == [], "An empty list stays empty.")
    expect(halved([5, 12]) == [5, 3], "12 is 2 * 2 * 3.")


def oracle(halved: Callable[[list[int]], list[int]]) -> Any:
    return [tried(halved, numbers) for numbers in ([], [7], [8, 20], [6, 1, 4])]


def made(text: str = TEXT) -> Source:
    def run(code: CodeType) -> Answers:
        names: dict[str, Any] = {}
        exec(code, names)
        return {"published": (names["halved"],)}

    exercise = Exercise("99.1", "fine", check_halved, (), oracle=oracle)
    span = ((1, 0), (len(text.splitlines()), 99))
    return Source(exercise, "halved published", "<made>", text, {"published": (span,)}, run)


def test_a_mutant_is_killed_cut_the_same_or_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in ("MIN_LIMIT_SECONDS", "SURE_SECONDS"):
        monkeypatch.setattr(f"tools.mutants.checks.{seconds}", 0.1)
    source = made()
    judge = Judge(source)
    found = {mutant.change: mutant for mutant in source.mutants()}
    outcomes = {
        change: judge.verdict(found[change]).outcome
        for change in (
            "found.append(number) → pass",
            "number = number // 2 → pass",
            "number // 2 → number * 2 in number = number // 2",
            "0 → 1 in 0:2",
            "2 → 4 in 0:2",
            "2 → 3 in 2",
            "return found[0:2] + found[2:] → return None",
        )
    }
    judge.expect_right()
    assert list(outcomes.values()) == ["killed", "hung", "hung", "killed", "hole", "hole", "killed"]
    assert judge.verdict(found["0 → 1 in number % 2 == 0"]).outcome == "killed"


def test_a_mutant_that_no_input_tells_from_the_right_answer_is_the_same() -> None:
    source = made(TEXT.replace("found[0:2] + found[2:]", "found[:100]"))
    judge = Judge(source)
    (larger,) = (mutant for mutant in source.mutants() if mutant.change.startswith("100 → 101"))
    assert judge.verdict(larger).outcome == "same"


def test_a_right_answer_that_is_refused_is_no_ground_for_mutants() -> None:
    with pytest.raises(RuntimeError, match="a right answer is refused"):
        Judge(made(TEXT.replace("% 2", "% 3")))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_mutant_that_ends_the_process_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = made("def halved(numbers):\n    return [n // 4 if n == 12 else n for n in numbers]\n")
    checks = Checks(lambda words: None)
    monkeypatch.setattr(Checks, "sources", {source.file: source})
    real = Judge.verdict

    def fatal(self: Judge, mutant: Mutant) -> Any:
        if mutant.number == 3:
            os._exit(1)
        return real(self, mutant)

    monkeypatch.setattr(Judge, "verdict", fatal)
    found = {verdict.mutant.number: verdict.outcome for verdict in checks.run(source.mutants())}
    assert found[3] == "crashed"
    assert [number for number, outcome in found.items() if outcome == "crashed"] == [3]
    assert len(found) == len(source.mutants())


# ---- in the lessons ----


def rank(name: str) -> str:
    return sha256(f"{SEED} {name}".encode()).hexdigest()


def sampled() -> list[Source]:
    every = [
        s
        for e in exercises()
        if e.id not in SLOW and callable(e.wrong[0].answer)
        for s in sources(e)
    ]
    return sorted(every, key=lambda source: rank(source.file))[:SOURCES]


@pytest.mark.parametrize("source", sampled(), ids=lambda source: source.file)
def test_a_check_refuses_a_sample_of_mutants(source: Source) -> None:
    """Where one passes that is not the same: add the case that shows it to the check, with words of its own."""
    judge = Judge(source)
    chosen = sorted(source.mutants(), key=lambda mutant: mutant.rank(SEED))[:MUTANTS]
    verdicts = [judge.verdict(mutant) for mutant in chosen]
    assert [v.mutant.name for v in verdicts if v.outcome not in ("killed", "hung", "same")] == []


def test_every_right_answer_that_is_a_function_is_mutated() -> None:
    for exercise in exercises():
        if not any(map(callable, exercise.right[0].given)):
            continue
        names = {right.name for right in exercise.right if any(map(callable, right.given))}
        found = {name for source in sources(exercise) for name in source.spans}
        assert names <= found, exercise.id
        assert written(exercise.id).solution


def test_a_method_that_is_called_like_the_script_is_not_part_of_an_answer() -> None:
    """`rewritten` calls `model.train(…)`; the module's own `train` is what it is judged against."""
    (exercise,) = (each for each in exercises() if each.id == "four_bugs")
    scopes = {mutant.scope for source in sources(exercise)[1:] for mutant in source.mutants()}
    assert scopes == {"rewritten"}
