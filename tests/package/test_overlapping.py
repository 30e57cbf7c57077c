"""Recordings that overlap, in threads, generators or by hand, end in any order and leave torch as it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack

import definebyrun as dbr


def state_of_torch() -> list[Any]:
    from torch._dynamo import eval_frame

    return [
        torch.autograd._engine_run_backward,  # type: ignore[attr-defined]
        torch.overrides.has_torch_function,
        torch.compile,
        torch._higher_order_ops.utils._set_compilation_env,
        eval_frame._stance.stance,
        list(_get_current_function_mode_stack()),
    ]


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    before = state_of_torch()
    yield
    assert state_of_torch() == before


def recorded(tapes: list[dbr.Tape]) -> Iterator[None]:
    """Records from one `next` to the next."""
    with dbr.record() as tape:
        tapes.append(tape)
        yield
    yield


def pass_with_hook(w: torch.Tensor) -> None:
    y = w * 2
    y.register_hook(lambda grad: grad * 3)
    y.sum().backward()


def test_recordings_in_two_threads_end_in_the_order_in_which_they_began() -> None:
    first_on, second_on, first_off = Event(), Event(), Event()
    tapes: dict[str, dbr.Tape] = {}

    def first() -> None:
        with dbr.record() as tapes["first"]:
            first_on.set()
            second_on.wait(20)
            pass_with_hook(torch.ones(2, requires_grad=True))
        first_off.set()

    def second() -> None:
        first_on.wait(20)
        with dbr.record() as tapes["second"]:
            second_on.set()
            first_off.wait(20)
            pass_with_hook(torch.ones(2, requires_grad=True))

    threads = [Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for tape in tapes.values():
        assert [(op.name, op.during) for op in tape.ops if op.name == "mul"] == [
            *(("mul", ""), ("mul", "backward"))
        ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_recordings_of_one_thread_end_in_any_order(order: tuple[int, ...]) -> None:
    tapes: list[dbr.Tape] = []
    running = [recorded(tapes) for _ in range(3)]
    x = torch.ones(2)
    for each in running:
        next(each)
    for i in order:
        x = torch.tanh(x)
        next(running[i])
    assert [[op.name for op in tape.ops].count("tanh") for tape in tapes] == [
        order.index(i) + 1 for i in range(3)
    ]


def test_the_recording_that_goes_on_sees_what_hooks_do() -> None:
    tapes: list[dbr.Tape] = []
    first, second = recorded(tapes), recorded(tapes)
    next(first)
    next(second)
    next(first)
    pass_with_hook(torch.ones(2, requires_grad=True))
    next(second)
    assert [op.during for op in tapes[1].ops if op.name == "mul"] == ["", "backward"]


def test_a_mode_of_the_users_stays_on_when_a_recording_below_it_ends() -> None:
    class Mode(torch.overrides.TorchFunctionMode):
        seen = 0

        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.seen += 1
            return func(*args, **(kwargs or {}))

    running = recorded([])
    next(running)
    with Mode() as mode:
        next(running)
        torch.ones(2)
    assert mode.seen == 1


def test_a_recording_may_end_in_a_hook_of_a_pass() -> None:
    tapes: list[dbr.Tape] = []
    running = recorded(tapes)
    w = torch.ones(2, requires_grad=True)
    next(running)
    y = w * 2
    y.register_hook(lambda grad: next(running))
    y.sum().backward()  # PyTorch puts the mode back on the stack when this call returns
    assert w.grad is not None
    assert w.grad.tolist() == [2.0, 2.0]
    with dbr.record():
        pass


def test_who_stands_before_the_engine_too_stays_there() -> None:
    w = torch.ones(2, requires_grad=True)
    passes = []
    running = recorded([])
    next(running)
    before = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

    def counted(*args: Any, **kwargs: Any) -> Any:
        passes.append(1)
        return before(*args, **kwargs)

    torch.autograd._engine_run_backward = counted  # type: ignore[attr-defined]
    try:
        next(running)
        w.sum().backward()
        with dbr.record() as tape:
            w.sum().backward()
        assert len(passes) == 2
        assert tape.nodes[0].order is not None
    finally:
        torch.autograd._engine_run_backward = before  # type: ignore[attr-defined]
    with dbr.record():
        w.sum().backward()
