"""The frame of exercises: what never ends is stopped, what is changed is put back, whatever an answer does."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from definebyrun_course.grading import (
    Exercise,
    Mistake,
    Verdict,
    apart,
    closed_by,
    drawn,
    expect,
    judge,
    near,
    plain,
    shown,
    tried,
    untouched,
)
from definebyrun_course.grading.forms import collection, said, sequence
from definebyrun_course.grading.limit import Stopped, limited
from definebyrun_course.grading.surroundings import STATES, Surroundings

LIMIT_SECONDS = 0.3
"""Short here; a learner's answer has much more."""


def asked(check: Callable[..., None], answer: Any, **more: Any) -> Verdict:
    return judge(Exercise("99.1", "fine", check, (), **more), (answer,), LIMIT_SECONDS)


# ---- answers that never end ----


def one_line() -> None:
    while True: pass  # fmt: skip # noqa: E701


def bare_except() -> None:
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def handler_that_goes_on() -> None:
    while True:
        try:
            sum(range(20_000))
        except BaseException:
            continue


def endless_finally() -> None:
    while True:
        try:
            pass
        finally:
            while True:
                pass


def endless_generator() -> None:
    def numbers() -> Any:
        while True:
            yield 1

    for _ in numbers():
        pass


def context_that_swallows() -> None:
    class Swallow:
        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> bool:
            return True

    while True:
        with Swallow():
            while True:
                pass


def growing_graph() -> None:
    x = torch.ones(2, requires_grad=True)
    while True:
        x = x * 1.0


class Endless(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        while True:
            grad = grad * 1


def endless_backward() -> None:
    Endless.apply(torch.ones(2, requires_grad=True)).sum().backward()


def endless_backward_in_except() -> None:
    while True:
        try:  # noqa: SIM105
            endless_backward()
        except:  # noqa: E722
            pass


ENDLESS = (
    one_line,
    bare_except,
    handler_that_goes_on,
    endless_finally,
    endless_generator,
    context_that_swallows,
    growing_graph,
    endless_backward,
    endless_backward_in_except,
)


def stopped_after(answer: Callable[[], None]) -> float:
    """The seconds until an answer is stopped, of its thread's processor: a busy machine does not count; it must be."""
    start = time.thread_time()
    with pytest.raises(Stopped):
        limited(answer, LIMIT_SECONDS)
    return time.thread_time() - start


@pytest.mark.parametrize("answer", ENDLESS, ids=lambda answer: answer.__name__)
def test_an_answer_that_never_ends_is_stopped_in_any_thread_and_nothing_goes_on(
    answer: Callable[[], None],
) -> None:
    before = threading.active_count()
    seconds = [stopped_after(answer)]
    thread = threading.Thread(target=lambda: seconds.append(stopped_after(answer)))
    thread.start()
    thread.join()
    assert len(seconds) == 2
    assert max(seconds) < 3 + LIMIT_SECONDS
    deadline = time.monotonic() + 2
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert sum(range(1000)) == 499_500  # nothing is pending


def test_honest_answers_near_the_limit_are_never_cut_on_a_loaded_machine() -> None:
    """A thousand of them with `ALL=1`; some systems tell processor time in steps of 10 ms."""
    answers, seconds = (1000, 0.03) if os.environ.get("ALL") else (60, 0.02)
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            sum(range(1000))

    def honest() -> int:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            sum(range(100))
        return 1

    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    busy = [threading.Thread(target=load) for _ in range(2)]
    for thread in busy:
        thread.start()
    try:
        assert sum(limited(honest, 3 * seconds) for _ in range(answers)) == answers
    finally:
        over.set()
        sys.setswitchinterval(pause)
        for thread in busy:
            thread.join()


UNDER_A_TRACER = """
import sys
from definebyrun_course.grading.limit import Stopped, limited

def traced():
    lines = []
    def trace(frame, event, _):
        lines.append(event)
        return trace
    sys.settrace(trace)
    try:
        for _ in range(3):
            sum(i for i in range(5))
    finally:
        sys.settrace(None)
    return len(lines)

def endless():
    while True:
        pass

limited(traced)
print(limited(traced) > 5)
try:
    limited(endless, 0.1)
except Stopped:
    print(limited(traced) > 5, traced() > 5)
"""


def test_a_debugger_or_coverage_goes_on_after_a_limit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_TRACER], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def endless_finalizers() -> None:
    class Slow:
        def __del__(self) -> None:
            sum(range(1000))

    while True:
        Slow()


def test_what_strikes_in_a_finalizer_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook
    stopped_after(endless_finalizers)
    assert sys.unraisablehook is before
    assert "Exception ignored" not in capsys.readouterr().err


def test_an_exception_of_the_answer_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        limited(lambda: sys.exit(2))


def test_the_verdict_names_the_loop_and_no_seconds() -> None:
    def walk(n: int) -> int:
        waiting = [n]
        while waiting:
            waiting.append(waiting.pop())
        return n

    verdict = asked(lambda answer: answer(3), walk)
    assert verdict.status == "not yet"
    assert "`while waiting:`" in verdict.message
    assert "was stopped" in verdict.message
    assert "second" not in repr(verdict)
    assert verdict == asked(lambda answer: answer(3), walk)


# ---- what all cells share ----


def leave_hooks(_: Any) -> None:
    torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t).__enter__()


def leave_module_hook(_: Any) -> None:
    nn.modules.module.register_module_forward_hook(lambda *_: None)


LEFT: dict[str, Callable[[Any], Any]] = {
    "gradients": lambda _: torch.set_grad_enabled(False),
    "default dtype": lambda _: torch.set_default_dtype(torch.float64),
    "recursion limit": lambda _: sys.setrecursionlimit(4321),
    "NumPy's error handling": lambda _: np.seterr(all="raise"),
    "working folder": lambda _: os.chdir(os.sep),
    "hooks on saved tensors": leave_hooks,
    "hooks that hold for every module": leave_module_hook,
    "anomaly mode": lambda _: torch.autograd.set_detect_anomaly(True),
    "a transform of torch.func": lambda _: torch._C._functorch._grad_increment_nesting(),
    "a level of forward mode": lambda _: torch.autograd.forward_ad.enter_dual_level(),
    "a mode of torch functions": lambda _: torch.device("meta").__enter__(),
    "a mode of dispatch": lambda _: TorchDispatchMode().__enter__() and None,
    "autocast": lambda _: torch.set_autocast_enabled("cpu", True),
    "filters of warnings": lambda _: warnings.simplefilter("ignore"),
}


@pytest.mark.parametrize("named", LEFT)
def test_what_an_answer_leaves_changed_is_named_and_put_back(named: str) -> None:
    before = [state.read() for state in STATES]
    verdict = asked(lambda answer: answer(1), LEFT[named])
    assert verdict.status == "not yet"
    assert named in verdict.message
    Surroundings()  # every state can be read
    for state, was in zip(STATES, before, strict=True):
        now = state.read()
        assert torch.equal(now, was) if isinstance(now, torch.Tensor) else repr(now) == repr(was)


def test_a_filter_of_warnings_that_a_library_puts_in_at_its_first_call_is_no_mistake() -> None:
    class LibrarysOwnWarning(DeprecationWarning):
        pass

    def answer(_: Any) -> int:
        warnings.simplefilter("once", LibrarysOwnWarning)
        return 1

    before = list(warnings.filters)
    assert asked(lambda answer: answer(1), answer).status == "correct"
    assert list(warnings.filters) == before


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # PyTorch's generators
def test_what_is_cut_inside_a_transform_leaves_none_of_it_behind() -> None:
    def transformed(x: torch.Tensor) -> torch.Tensor:
        return torch.func.jacrev(torch.func.jacfwd(lambda x: torch.vmap(torch.sin)(x)))(x)

    def endless(x: torch.Tensor) -> None:
        while True:
            try:  # noqa: SIM105
                transformed(x)
            except:  # noqa: E722
                pass

    transformed(torch.ones(2))  # the first call imports a library, which must not be cut
    depth = torch._C._functorch.get_dynamic_layer_stack_depth
    for _ in range(5):
        verdict = asked(lambda answer: answer(torch.ones(2)), endless)
        assert "was stopped" in verdict.message
        assert (depth(), torch.autograd.forward_ad._current_level) == (0, -1)


def half_out_of_a_level(_: Any) -> None:
    torch.autograd.forward_ad.enter_dual_level()
    torch._C._exit_dual_level(0)


def half_in_a_level(_: Any) -> None:
    torch._C._enter_dual_level()


def half_out_of_jvp(_: Any) -> None:
    torch._functorch.eager_transforms.JVP_NESTING += 1


@pytest.mark.parametrize("answer", [half_out_of_a_level, half_in_a_level, half_out_of_jvp])
def test_forward_mode_works_after_an_answer_that_was_cut_on_its_way_in_or_out(answer: Any) -> None:
    verdict = asked(lambda answer: answer(1), answer)
    assert "a level of forward mode" in verdict.message
    x = torch.ones(2)
    assert torch.func.jvp(torch.sin, (x,), (x,))[1].tolist() == x.cos().tolist()


def test_tensors_are_loaded_whole_after_an_answer_that_was_cut_while_pytorch_compiled_it() -> None:
    def half_out_of_a_compilation(_: Any) -> int:
        context = torch._guards.TracingContext(FakeTensorMode())
        torch._guards._TLS.tracing_context = context
        return 1

    assert asked(lambda answer: answer(1), half_out_of_a_compilation).status == "correct"
    file = io.BytesIO()
    torch.save(torch.ones(2), file)
    file.seek(0)
    assert torch.load(file).tolist() == [1, 1]


def test_random_states_and_output_are_put_back_without_a_word() -> None:
    def draws(_: Any) -> float:
        sys.stdout = None  # type: ignore[assignment]
        return torch.rand(()).item() + np.random.rand() + random.random()

    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = torch.rand(3).tolist(), np.random.rand(), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    assert asked(lambda answer: expect(answer(1) < 9, "no"), draws).status == "correct"
    assert (torch.rand(3).tolist(), np.random.rand(), random.random()) == expected


def test_a_level_of_vmap_that_a_stopped_answer_has_not_left_is_left() -> None:
    def stays_inside(_: Any) -> None:
        torch._C._functorch._vmap_increment_nesting(3, "error")

    asked(lambda answer: answer(1), stays_inside)
    assert torch.rand(2).shape == (2,)


def test_an_answer_that_prints_without_end_shows_a_hundred_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loud(_: Any) -> int:
        for _ in range(5000):
            print("again")
        return 1

    assert asked(lambda answer: expect(answer(1) == 1, "no"), loud).status == "correct"
    said = capsys.readouterr().out
    assert said.count("again") == 100
    assert "more" in said


# ---- arguments ----


def writes(x: Any) -> Any:
    x[0] = 7
    return x * 1 if isinstance(x, (torch.Tensor, np.ndarray)) else x


def flag_off(x: torch.Tensor) -> torch.Tensor:
    return x.requires_grad_(False) * 2


def fills_grad(x: torch.Tensor) -> torch.Tensor:
    (x * 2).sum().backward()
    return x.detach()


@pytest.mark.parametrize(
    ("answer", "given", "named"),
    [
        (writes, torch.zeros(3), "x is not what it was"),
        (writes, np.zeros(3), "x is not what it was"),
        (writes, [1, 2], "x is not what it was"),
        (lambda x: x[1].mul_(2), (1, torch.ones(2)), "x[1]"),
        (lambda x: x["w"].zero_(), {"w": torch.ones(2)}, "x['w']"),
        (flag_off, torch.ones(2, requires_grad=True), "its requires_grad"),
        (fills_grad, torch.ones(2, requires_grad=True), "its .grad"),
        (lambda x: x.register_hook(abs), torch.ones(2, requires_grad=True), "its hooks"),
        (lambda x: x.eval(), nn.Linear(2, 2), "its mode"),
        (lambda x: x.register_forward_hook(print), nn.Linear(2, 2), "its hooks"),
    ],
)
def test_an_argument_that_was_changed_is_named(answer: Any, given: Any, named: str) -> None:
    verdict = asked(lambda function: function(given), answer)
    assert "changed what it was given" in verdict.message
    assert named in verdict.message
    assert asked(lambda function: function(given), answer, may_change=(0,)).status == "correct"


def test_what_an_answer_reaches_without_being_given_it_is_watched_too() -> None:
    w = torch.ones(2, requires_grad=True)

    def check(answer: Callable[[], Any]) -> None:
        with untouched(w=w, layer=nn.Linear(1, 1)):
            answer()

    verdict = asked(check, lambda: (w * 2).sum().backward())
    assert "should leave alone: w, its .grad, is not what it was" in verdict.message
    assert "backward() adds" in verdict.hint
    assert w.grad is None
    assert asked(check, lambda: torch.autograd.grad(w.sum(), w)).status == "correct"


def test_a_deep_argument_is_looked_through_in_no_time_and_its_path_is_cut() -> None:
    leaf = torch.ones(2)
    tree: Any = leaf
    for _ in range(20_000):
        tree = (tree, 1)
    start = time.process_time()
    verdict = asked(lambda function: function(tree), lambda tree: leaf.zero_())
    assert time.process_time() - start < 2
    assert len(verdict.message) < 200
    assert "tree[0][0]" in verdict.message


@pytest.mark.parametrize("way", [torch.func.vmap, torch.func.grad], ids=["vmap", "grad"])
def test_arguments_are_watched_inside_a_transform_of_torch_func(way: Any) -> None:
    def check(function: Any) -> None:
        way(function)(torch.ones(3))

    assert asked(check, lambda x: (x * 2).sum()).status == "correct"
    verdict = asked(check, lambda x: (x.detach().mul_(2) + x).sum())
    assert "changed what it was given: x is not" in verdict.message


def test_nan_in_an_argument_is_no_change() -> None:
    given = torch.tensor([float("nan"), 1.0])
    assert asked(lambda function: function(given), lambda x: x * 2).status == "correct"


# ---- whose error ----


def test_an_error_of_the_learners_code_is_told_with_its_line() -> None:
    def answer(x: Any) -> Any:
        return x.nothing

    verdict = asked(lambda function: function(3), answer)
    assert "Your code stopped with AttributeError" in verdict.message
    assert "`return x.nothing`" in verdict.message


def test_an_error_of_the_learners_code_is_told_without_a_line_where_there_is_none() -> None:
    verdict = asked(lambda function: function(3), len)
    assert verdict.message == (
        "Your code stopped with TypeError: object of type 'int' has no len()."
    )


def test_the_check_stopped_when_it_is_the_check_although_an_answer_stopped_before() -> None:
    def check(function: Callable[[int], Any]) -> None:
        for x in (0, 2):
            try:
                found = function(x)
            except ZeroDivisionError:
                continue
            expect(found.shape, "no")

    verdict = asked(check, lambda x: 1 / x)
    assert "cannot use what your function returned: 0.5" in verdict.message


def test_a_result_that_a_check_cannot_use_is_not_called_an_error_of_the_code() -> None:
    def forgets(x: int) -> None:
        x * 2

    verdict = asked(lambda function: function(3).shape, forgets)
    assert "cannot use what your function returned: None" in verdict.message
    assert "`return`" in verdict.message


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, RecursionError, MemoryError])
def test_no_exception_of_an_answer_leaves_the_check(error: type[BaseException]) -> None:
    def answer(_: Any) -> None:
        raise error("so")

    assert error.__name__ in asked(lambda function: function(1), answer).message


def test_the_stop_button_is_not_caught() -> None:
    def answer(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(lambda function: function(1), answer)


def test_the_function_itself_is_asked_for_and_the_number_of_answers_is_said() -> None:
    def check(double: Callable[..., Any]) -> None:
        expect(double(2) == 4, "no")

    exercise = Exercise("99.1", "fine", check, ())
    assert "without brackets" in judge(exercise, (4,)).hint
    assert "takes one answer, double" in judge(exercise, (1, 2)).message
    assert "you handed over none" in judge(exercise, ()).message


class Odd:
    def __eq__(self, other: object) -> bool:
        raise ValueError("never")

    def __repr__(self) -> str:
        raise ValueError("never")

    __hash__ = None  # type: ignore[assignment]

    @property
    def __code__(self) -> Any:
        raise ValueError("never")


def test_a_thing_is_told_without_its_address_so_that_a_verdict_is_the_same_in_every_run() -> None:
    assert said([object(), Exercise]).startswith("[<object object>, <class")
    assert collection({3}) == sequence((3,)) == [3]


def test_a_function_that_is_watched_is_told_as_itself() -> None:
    verdict = asked(lambda answer: expect(answer == 3, f"This is {said(answer)}."), writes)
    assert verdict.message == "This is <function writes>."


def test_numbers_are_near_by_shape_and_value_and_told_apart_by_their_digits() -> None:
    third = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    assert near(third.float(), third)
    assert not near(third.half(), third)
    assert not near(third.reshape(3, 2), third)
    assert near([float("nan")], torch.tensor([float("nan")]))
    assert not near(None, third)
    assert apart([1.00001, 2.0], [1.00002, 2.0]) == ("[1.00001, 2]", "[1.00002, 2]")
    assert shown(torch.ones(4, 1)) == "a tensor of shape (4, 1)"


def test_a_single_number_can_be_drawn() -> None:
    assert drawn().normal().shape == drawn().uniform().shape == ()


def test_an_oracle_tells_what_a_call_returns_leaves_and_raises() -> None:
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)

    def writes_grad(x: torch.Tensor) -> torch.Tensor:
        x.sum().backward()
        torch.set_default_dtype(torch.float16)
        return x.detach() * 2

    told = tried(writes_grad, x)
    assert told["returns"] == {"shape": [2], "numbers": [2.0, 2.0]}
    assert told["left"] == ["the default dtype"]
    assert told["arguments"][0]["grad"]["numbers"] == [1.0, 1.0]
    assert tried(lambda x: 1 / x, 0)["raises"] == "ZeroDivisionError"
    assert plain({"a": (x, nn.Flatten())}, dtypes=True, asks=True) == {
        "a": [
            {"shape": [2], "numbers": [1.0, 1.0], "dtype": "torch.float64", "asks": True},
            {"training": True},
        ]
    }


def test_a_check_never_raises_whatever_an_answer_is() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for answer in (Odd(), loop, deep, Odd, print, (i for i in iter(int, 1))):
        verdict = asked(lambda a: expect(a == 3, "That is no three."), answer)
        assert verdict.status in ("not yet", "not attempted yet")
    with pytest.raises(Mistake):
        expect(False, "so")


def test_what_a_check_has_opened_is_closed_also_when_the_limit_strikes() -> None:
    closed = []

    def check(answer: Callable[..., Any]) -> None:
        with closed_by(lambda: closed.append("closed")):
            answer()

    def endless() -> None:
        while True:
            pass

    verdict = judge(Exercise("99.1", "closed", check, ()), (endless,), limit_seconds=0.1)
    assert "was stopped" in verdict.message
    assert "closed" in closed
    closed.clear()
    assert judge(Exercise("99.1", "closed", check, ()), (lambda: 1,)).status == "correct"
    assert closed == ["closed"], "once, where nothing strikes"
