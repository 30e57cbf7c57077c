"""A recording and `__torch_dispatch__`: neither sees the other's calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import definebyrun as dbr


class Log(TorchDispatchMode):
    """Calls what it is given, and notes it; adds up what it sees by an operation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.seen.append(str(func))
        torch.ones(2).add(1)
        return func(*args, **(kwargs or {}))


SEEN: list[str] = []


class Wrapper(torch.Tensor):
    """Its numbers lie in a tensor of its own."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        wrapper: Wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        SEEN.append(str(func))
        inside = [each.inner if isinstance(each, Wrapper) else each for each in args]
        result = func(*inside, **(kwargs or {}))
        return Wrapper(result) if isinstance(result, torch.Tensor) else result


class Logging(torch.Tensor):
    """A tensor with numbers, whose class sees what is called on it."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        SEEN.append(str(func))
        return super().__torch_dispatch__(func, types, args, kwargs or {})


def trained(w: torch.Tensor) -> None:
    w.requires_grad_()
    y = (w * 2).sum()
    y.backward()
    assert w.grad is not None
    with torch.no_grad():
        w.mul_(w.grad)


def test_a_mode_sees_the_same_calls_with_a_recording_as_without() -> None:
    seen = []
    for region in (nullcontext(), dbr.record()):
        w = torch.ones(2)
        with region, Log() as log:
            trained(w)
        seen.append(log.seen)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", [Wrapper, lambda inner: inner.as_subclass(Logging)])
@pytest.mark.parametrize("size", [2, 30, 5000])
def test_a_class_of_tensors_sees_the_same_calls_with_a_recording(kind: Any, size: int) -> None:
    seen = []
    for region in (nullcontext(), dbr.record()):
        SEEN.clear()
        with region:
            trained(kind(torch.ones(size)))
        seen.append(list(SEEN))
    assert seen[0] == seen[1]


def test_the_numbers_of_such_tensors_are_shown_where_they_have_memory() -> None:
    with dbr.record() as tape:
        trained(torch.ones(2, dtype=torch.float16).as_subclass(Logging))
        Wrapper(torch.ones(2)) * 2
    assert [tape.tensors[op.outputs[0]].value.data for op in tape.ops if op.name == "mul"] == [
        *((2.0, 2.0), None)
    ]


@pytest.mark.parametrize("mode", [lambda: FlopCounterMode(display=False), Log])
def test_what_a_mode_calls_in_a_backward_pass_is_no_operation_of_the_program(mode: Any) -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape, mode():
        (w * 2).sum().backward()
    assert [op.name for op in tape.ops] == ["mul", "sum"]


def test_what_a_hook_calls_under_a_mode_is_an_operation_of_the_program() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape, Log():
        y = w * 2
        y.register_hook(lambda grad: torch.ops.aten.mul.Tensor(grad, 3))
        y.sum().backward()
    assert [(op.name, op.during) for op in tape.ops][2:] == [("aten::mul", "backward")]


def test_no_warning_comes_from_a_recording_under_a_mode_with_tensors_of_its_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dbr.record() as tape, FakeTensorMode():
            model, x = nn.Linear(2, 2), torch.ones(3, 2)
            model(x).sum().backward()
            torch.optim.SGD(model.parameters(), 0.1).step()
    assert tape.ops[-1].name == "SGD.step"
