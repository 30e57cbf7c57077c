"""Lesson 11: what its stored times say, its counts by Dynamo, and its guards, without a C++ compiler."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
import torch

from definebyrun_course.exercises.lesson11.centred_mean import Old
from definebyrun_course.measured import stored
from experiments import compile_times
from tests.course.lesson_code import cells
from tools import ROOT, chapters

SEVEN = [name for name in compile_times.PROGRAMS if "gelu" not in name]
PAY = {"chain of small operations", "recurrent network"}
ROUNDS = 24
"""At least so many rounds stand behind each difference."""


@pytest.fixture(autouse=True)
def what_captures_leave_behind() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dynamo hides what it provokes, unless warnings are errors
        yield
    torch._logging.set_logs()
    torch.compiler.reset()


def text() -> str:
    return " ".join(chapters.find("11").chapter.read_text("utf8").split())


def printed(name: str) -> str:
    book = nbformat.read(chapters.find("11").notebook, as_version=4)
    cell = next(cell for cell in book.cells if cell.get("id") == name)
    return "".join(out.text for out in cell.outputs if out.output_type == "stream")


def saving(one: dict[str, Any]) -> tuple[float, float]:
    """Mean of the paired differences, and two standard errors."""
    pairs = [e - c for e, c in zip(one["eager"], one["compiled"], strict=True)]
    return statistics.fmean(pairs), 2 * statistics.stdev(pairs) / len(pairs) ** 0.5


# ---- what the stored times say ----


def test_each_difference_has_enough_rounds_and_its_conditions() -> None:
    times = stored("compile_times")
    assert list(times["programs"]) == list(compile_times.PROGRAMS)
    for name, one in times["programs"].items():
        assert len(one["eager"]) == len(one["compiled"]) >= ROUNDS, name
    assert {"torch", "python", "processor"} <= set(times["conditions"])
    assert times["threads"] == 1


def test_of_the_seven_programs_two_pay_and_five_never_do() -> None:
    programs = stored("compile_times")["programs"]
    assert {name for name in SEVEN if saving(programs[name])[0] > saving(programs[name])[1]} == PAY
    for name in set(SEVEN) - PAY - {"wide MLP"}:
        mean, error = saving(programs[name])
        assert mean < -error, f"the text says that a compiled {name} is slower: {mean} ± {error}"
    mean, error = saving(programs["wide MLP"])
    assert abs(mean) < error, "no difference can be shown"
    assert abs(mean) + error < 0.04 * statistics.fmean(programs["wide MLP"]["eager"])


def test_the_text_speaks_of_the_times_that_are_stored() -> None:
    times = stored("compile_times")
    programs, middle = times["programs"], statistics.median
    share = {n: saving(programs[n])[0] / statistics.fmean(programs[n]["eager"]) for n in SEVEN}
    assert 0.55 < share["chain of small operations"] < 0.75, "about two thirds"
    assert 0.25 < share["recurrent network"] < 0.45, "a third"
    assert max(share, key=lambda name: share[name]) == "chain of small operations"
    one = programs["one operation"]
    assert 15 < middle(one["compiled"]) - middle(one["eager"]) < 25, "twenty microseconds"
    for size in (10, 1000):
        for way in ("eager", "compiled"):
            assert 15 < middle(programs[f"gelu of {size}"][way]) < 27, "about twenty microseconds"
    million = programs["gelu of 1000000"]
    assert 2.5 < middle(million["eager"]) / middle(million["compiled"]) < 4, "about a third"
    for size, calls in ((1_000_000, 220), (10_000, 80_000)):
        one = programs[f"gelu of {size}"]
        exact = one["first call"] * 1e6 / saving(one)[0]
        assert 0.9 < exact / calls < 1.1, f"the text says some {calls}, it is {exact:.0f}"
        assert f"some {calls:,}" in text()
    pieces = {way: middle(took) for way, took in times["pieces"].items()}
    assert 0.18 < pieces["one graph"] / pieces["eager"] < 0.3, "a quarter"
    assert pieces["ten graphs"] >= pieces["eager"], "no less than eager code"
    sizes = [middle(one["compiled"]) for one in times["sizes"].values()]
    assert max(sizes) < 1.1 * min(sizes), "no difference"
    spent = times["telling"]["printed inside"]
    assert spent["compiled"][2] > 0.97 * spent["compiled"][-1], "nine compilations, then nothing"
    assert spent["compiled"][-1] > 100 * spent["eager"][-1]
    outside = times["telling"]["printed outside"]
    assert outside["compiled"][-1] > outside["eager"][-1], "two hundred calls are too few"


def test_the_belief_is_true_for_one_program_and_then_for_three() -> None:
    rows = [line.split()[-2:] for line in printed("belief").splitlines()[2:]]
    few, many = zip(*((float(a), float(b)) for a, b in rows), strict=True)
    assert len(rows) == 8
    assert sum(one < 1 for one in few) == 1
    assert sum(one < 1 for one in many) == 3
    assert 25 < few[SEVEN.index("small MLP")] < 30, "more than twenty-five times as long"


def test_the_numbers_of_inductor_are_as_told() -> None:
    numbers = stored("compile_times")["numbers"]
    assert not numbers["equal"]
    assert 0.9 < numbers["error compiled"] / numbers["error eager"] < 1.1
    assert not numbers["dropout equal"]
    assert numbers["dropout equal, fallback_random"]


def test_nothing_reaches_stderr_in_the_stored_notebook() -> None:
    book = nbformat.read(chapters.find("11").notebook, as_version=4)
    for cell in book.cells:
        assert all(out.get("name") != "stderr" for out in cell.get("outputs", [])), cell.id


# ---- a small part of the experiment, again ----


@pytest.mark.parametrize(
    "name", ["one operation", "small MLP", "transformer layer", "gelu of 1000"]
)
def test_each_program_is_one_graph_and_gives_equal_results(name: str) -> None:
    function, make, trains = compile_times.PROGRAMS[name]
    torch._dynamo.utils.counters.clear()
    inputs = make()
    seconds, call = compile_times.first_call(function, inputs, trains, "aot_eager")
    assert seconds > 0
    call()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    compiled = torch.compile(function, backend="aot_eager", dynamic=False)
    assert torch.allclose(compiled(*inputs), function(*inputs), atol=1e-5)


def test_ten_times_is_one_graph_and_the_network_that_prints_is_nine() -> None:
    counters = torch._dynamo.utils.counters
    counters.clear()
    torch.compile(compile_times.ten_times, backend="eager")(torch.ones(3))
    assert counters["stats"]["unique_graphs"] == 1
    for prints, graphs in ((True, 9), (False, 1)):
        torch.compiler.reset()
        counters.clear()
        torch.manual_seed(0)
        net = torch.compile(compile_times.Telling(prints), backend="aot_eager")
        for x in torch.randn(12, 32, 8):
            net(x)
        assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.skipif("ALL" not in os.environ, reason="the real compiler takes half a minute: ALL=1")
def test_the_real_compiler_still_pays_for_large_tensors_alone() -> None:
    """One small and one large `gelu`, by Inductor, in a process of its own that may use the compiler."""
    program = (
        "import json, sys, torch; from experiments import compile_times as c; torch.set_num_threads(1)\n"
        "c.ROUNDS, found = 9, {}\n"
        "for name in ('gelu of 10', 'gelu of 1000000'):\n"
        "    function, make, trains = c.PROGRAMS[name]\n"
        "    _, call = c.first_call(function, make(), trains, 'inductor')\n"
        "    found[name] = c.rounds(c.caller(function, make(), trains), call)\n"
        "print(json.dumps(found))"
    )
    free = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=free,
        capture_output=True,
        text=True,
        check=False,
    )
    if "InvalidCxxCompiler" in ran.stderr:
        pytest.skip("there is no C++ compiler here")
    small, large = json.loads(ran.stdout.splitlines()[-1]).values()
    assert statistics.median(small["compiled"]) > 0.7 * statistics.median(small["eager"])
    assert statistics.median(large["compiled"]) < 0.7 * statistics.median(large["eager"])


# ---- what the text says beside its outputs ----


def test_the_limit_of_recompiles_is_the_default_that_the_text_names() -> None:
    assert torch._dynamo.config.recompile_limit == 8
    assert "`torch._dynamo.config.recompile_limit`" in text()
    assert torch._dynamo.config.skip_nnmodule_hook_guards is True


def test_an_int_of_a_module_becomes_a_symbol_when_that_is_allowed() -> None:
    lesson = cells("11", "imports", "kinds")
    counters = torch._dynamo.utils.counters
    counters.clear()
    with torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True):
        compiled = torch.compile(lesson["Counter"](0), backend="eager")
        for _ in range(20):
            compiled(torch.ones(2), 0)
    assert counters["stats"]["unique_graphs"] == 2


def test_the_counts_of_the_first_exercise_are_those_of_dynamo() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    counters = torch._dynamo.utils.counters
    torch.compiler.reset()
    counters.clear()
    compiled, counts = torch.compile(net, backend="eager"), []
    for rows, training, grad in [
        (16, 1, 1),
        (16, 1, 1),
        (10, 1, 1),
        (7, 1, 1),
        (16, 0, 1),
        (7, 0, 0),
        (3, 1, 1),
    ]:
        net.train(bool(training))
        with torch.set_grad_enabled(bool(grad)):
            compiled(torch.randn(rows, 4))
        counts.append(counters["stats"]["unique_graphs"])
    assert counts == [1, 1, 2, 2, 3, 4, 4]


def test_the_layer_of_the_diagnosis_is_captured_at_each_call() -> None:
    counters = torch._dynamo.utils.counters
    torch.compiler.reset()
    counters.clear()
    compiled = torch.compile(Old(), backend="aot_eager")
    torch._logging.set_logs(all=40)
    for nr in range(12):
        compiled(torch.tensor([1.0, nr]))
    assert counters["stats"]["unique_graphs"] == 16
    assert "each of the first eight calls" in text()
