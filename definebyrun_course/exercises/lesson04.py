"""Exercises of lesson 04, What the graph remembers: bytes, an update in place, saved-tensor hooks, a checkpoint."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from definebyrun.recorder.saved_tensor_hooks import kept_behind_hooks
from definebyrun.recorder.walk import NodeIndex

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]

hooks = autograd.graph.saved_tensors_hooks


# ---- 04.1: the bytes of ((w + x).exp() * x).sum() ----


def check_kept(kept: Any) -> None:
    """The answer is a whole number of bytes."""
    expect(isinstance(kept, int), f"The answer is a whole number of bytes; this is {kept!r:.40}.")
    said = {
        4000: ("That is one piece.", "exp keeps something, and the product keeps something else."),
        12000: ("That is three pieces.", "The factor x asks for nothing: what is not kept then?"),
        16000: ("That counts every tensor in the line.", "A sum has the derivative 1."),
        2000: ("Those are numbers, not bytes.", "A float32 has four bytes."),
    }
    expect(kept not in said, *said.get(kept, ("", "")))
    expect(kept == 8000, f"{kept} is not it.", "Go through add, exp, mul and sum one by one.")


# ---- 04.2: an update in place ----


def check_update(update: Callable[[list[Tensor], float], Any]) -> None:
    """`update(parameters, lr)` is a step of gradient descent, in place, unrecorded and counted."""
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    idle = torch.tensor([5.0], requires_grad=True)
    w.grad = torch.tensor([10.0, 20.0])
    parameters, memory = [w, idle], w.data_ptr()
    graph = (w * w).sum()
    update(parameters, 0.1)
    expect(
        parameters[0] is w and w.data_ptr() == memory and w.tolist() != [1.0, 2.0],
        "The parameter itself has not changed.",
        "Write into the tensor; an assignment only gives the name to another one.",
    )
    expect(w.requires_grad and w.is_leaf, "The parameter is no longer a leaf that asks.")
    near = torch.allclose(w.detach(), torch.tensor([0.0, 0.0]))
    expect(near, f"[1, 2] - 0.1 * [10, 20] is [0, 0]; w is {w.tolist()}.")
    expect(idle.tolist() == [5.0], "A parameter without a gradient has moved.")
    expect(w.grad is not None and w.grad.tolist() == [10.0, 20.0], "w.grad has changed.")
    try:
        graph.backward()
    except RuntimeError:
        return
    expect(
        False,
        "A graph that had saved the old weight did not notice.",
        "The write went past the version counter.",
    )


# ---- 04.3: bytes by hooks ----


def check_saved_bytes(saved_bytes: Callable[..., int]) -> None:
    """`saved_bytes(function, *inputs)` counts each storage once, and no parameters."""
    x = torch.rand(100, dtype=torch.float32, requires_grad=True)
    again = "Two saved tensors may show the same memory: remember which you have seen."
    _count(saved_bytes, 400, "exp(x) of 100 numbers", "", torch.exp, x)
    _count(saved_bytes, 0, "x + 1", "", lambda x: x + 1, x)
    _count(saved_bytes, 400, "h * h with h = x.exp()", again, lambda x: (h := x.exp()) * h, x)
    _count(
        saved_bytes,
        800,
        "two exponentials",
        "Memory that is freed may be used again at the same address: hold what you count.",
        lambda x: x.exp().neg().exp(),
        x,
    )
    layer = nn.Linear(100, 50, dtype=torch.float32)
    _count(
        saved_bytes,
        3 * 400 + 3 * 200,
        "a linear layer and a tanh, on 3 × 100 numbers",
        "A weight is a leaf that asks for gradients; a layer saves a view of it, whose _base it is.",
        lambda x: layer(x * 1.5).tanh(),
        torch.rand(3, 100, dtype=torch.float32, requires_grad=True),
    )


def _count(saved_bytes: Any, want: int, what: str, hint: str, function: Any, x: Tensor) -> None:
    found = saved_bytes(function, x)
    scalar = 8 if what.startswith("a linear") else 0  # the 1.5 is saved as a tensor, too
    expect(
        found in (want, want + scalar),
        f"For {what} you counted {found} bytes; {want} are saved.",
        hint,
    )


# ---- 04.4: activations in 16 bits, each once ----


def check_half(half_activations: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """`half_activations(model, x)` keeps one bfloat16 copy of each activation, and parameters as they are."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()).float()
    x = torch.randn(8, 16, dtype=torch.float32)
    plain = model(x)
    plain.sum().backward()
    want = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    y = half_activations(model, x)
    expect(isinstance(y, Tensor) and torch.equal(y, plain), "The output is not model(x).")
    kept = _kept(y)
    expect(
        any(t.dtype == torch.bfloat16 for t in kept),
        "No activation is kept in bfloat16.",
        "saved_tensors_hooks(pack, unpack), around the forward pass.",
    )
    expect(
        sum(t.dtype == torch.bfloat16 and t.shape == (16, 16) for t in kept) == 0,
        "A weight was copied to bfloat16; it exists anyway.",
        "A layer saves its weight transposed: a view. What is the _base of a view?",
    )
    ours = {t.untyped_storage().data_ptr(): t.nbytes for t in kept if t.shape != (16, 16)}
    expect(
        sum(ours.values()) == 768,
        f"The graph keeps {sum(ours.values())} bytes besides weights; half of the plain run is 768.",
        "tanh keeps its result and the next layer the same tensor: give both the same copy.",
    )
    y.sum().backward()
    near = all(
        torch.allclose(p.grad, g, rtol=0.05, atol=0.05)
        for p, g in zip(model.parameters(), want, strict=True)
    )
    expect(near, "The gradients are far off.", "unpack has to give the same dtype back.")
    _same_place(half_activations)
    low = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    half_activations(torch.exp, low).sum().backward()
    whole = half_activations(lambda x: x.double().exp(), x.detach().requires_grad_())
    expect(
        [t.dtype for t in _kept(whole)] == [torch.float64],
        "A float64 tensor was not kept as it is.",
    )


def _same_place(half_activations: Any) -> None:
    """Two tensors one after the other at one address, and one tensor before and after a write."""
    place, held = bytearray(4 * 64), []

    def moved_in(x: Tensor) -> Tensor:
        total: Any = 0
        for number in (1.0, 2.0):
            place[:] = torch.full((64,), number).numpy().tobytes()
            factor = torch.frombuffer(place, dtype=torch.float32)
            total = total + x * factor
            storage = weakref.ref(factor.untyped_storage())
            del factor
            held.append(storage() is not None)
        return total

    def written(x: Tensor) -> Tensor:
        factor = torch.ones(64, dtype=torch.float32)
        first = x * factor
        return first + x * factor.add_(1)

    for function, why in (
        (moved_in, "A tensor at the address of one that is gone got the copy of that one."),
        (written, "A tensor that was written to got the copy made before."),
    ):
        x = torch.ones(64, dtype=torch.float32, requires_grad=True)
        half_activations(function, x).sum().backward()
        expect(
            not any(held),
            "A tensor that the forward pass was through with was still held, in 32 bits.",
            "Hold the copy, and what tells tensors apart, but not the tensor: a weak key.",
        )
        hint = "What tells two tensors apart: their storage, and how often it was written to."
        expect(x.grad.unique().tolist() == [3.0], why, hint)


def _kept(tensor: Tensor) -> list[Tensor]:
    """The tensors that the nodes of a graph keep behind hooks."""
    return [
        kept for node in NodeIndex().add([tensor.grad_fn]) for _, kept in kept_behind_hooks(node)[0]
    ]


# ---- 04.5: a checkpoint ----


def check_recompute(recompute: type[autograd.Function]) -> None:
    """`Recompute.apply(function, x)` keeps x alone between the passes."""
    is_function = isinstance(recompute, type) and issubclass(recompute, autograd.Function)
    expect(is_function, "The answer is the class Recompute, a torch.autograd.Function.")
    calls: list[bool] = []

    def function(x: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return (x.exp().sin() * x).tanh()

    x = torch.linspace(-1, 1, 5, requires_grad=True)
    want = autograd.grad(function(x).square().sum(), x)[0]
    calls.clear()
    saved: list[Tensor] = []
    with hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = recompute.apply(function, x)
    expect(isinstance(y, Tensor), f"forward returned {y!r:.40}, not function(x).")
    expect(torch.allclose(y, function(x)), "The value is not that of function(x).")
    calls.pop()
    expect(y.requires_grad, "The result does not ask for gradients.")
    kept = [t for t in saved if t.data_ptr() != x.data_ptr()]
    expect(
        len(kept) == 0,
        f"The forward pass saved {len(kept)} tensors besides x.",
        "Inside Function.forward grad mode is off, and nothing is saved but what you save.",
    )
    found = autograd.grad(y.square().sum(), x)[0]
    expect(len(calls) == 2, f"function ran {len(calls)} times; a checkpoint runs it twice.")
    expect(
        torch.allclose(found, want),
        "The gradient is not that of function.",
        "backward gets grad_output: the second graph's pass has to begin with it.",
    )
    expect(x.grad is None, "x.grad was written.", "autograd.grad instead of backward.")


# ---- what learners write instead ----


def _assigned(parameters: list[Tensor], lr: float) -> None:
    for i, parameter in enumerate(parameters):
        if parameter.grad is not None:
            parameters[i] = parameter - lr * parameter.grad


def _by_data(parameters: list[Tensor], lr: float) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.data.sub_(lr * parameter.grad)


def _in_the_open(parameters: list[Tensor], lr: float) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            parameter -= lr * parameter.grad


def _counting(once: bool, hold: bool, weights: bool) -> Callable[..., int]:
    def saved_bytes(function: Any, *inputs: Tensor) -> int:
        seen: dict[int, int] = {}
        every: list[int] = []
        held: list[Any] = []

        def pack(t: Tensor) -> Tensor:
            base = t if t._base is None else t._base
            if weights or not (base.is_leaf and base.requires_grad):
                every.append(t.untyped_storage().nbytes())
                seen[t.untyped_storage().data_ptr()] = every[-1]
                held.append(t)
            return t

        with hooks(pack, lambda t: t):
            function(*inputs)
        return sum(seen.values() if once else every)

    return saved_bytes


def _all_in_half(model: Any, x: Tensor) -> Tensor:
    with hooks(lambda t: t.bfloat16(), lambda t: t.float()):
        return model(x)


def _each_time(model: Any, x: Tensor) -> Tensor:
    return _once(model, x, lambda t: object())


def _by_address(model: Any, x: Tensor) -> Tensor:
    return _once(model, x, lambda t: (t.data_ptr(), t._version))


def _all_held(model: Any, x: Tensor) -> Tensor:
    held: list[Tensor] = []  # so that no address is used twice
    return _once(model, x, lambda t: held.append(t) or (t.data_ptr(), t._version))


def _unversioned(model: Any, x: Tensor) -> Tensor:
    return _once(model, x, lambda t: t.untyped_storage(), weakref.WeakKeyDictionary())


def _once(model: Any, x: Tensor, key_of: Callable[[Tensor], Any], copies: Any = None) -> Tensor:
    copies = {} if copies is None else copies

    def pack(t: Tensor) -> Tensor:
        base = t if t._base is None else t._base
        if t.dtype != torch.float32 or (base.is_leaf and base.requires_grad):
            return t
        return copies.setdefault(key_of(t), t.bfloat16())

    with hooks(pack, lambda t: t.float() if t.dtype == torch.bfloat16 else t):
        return model(x)


def _not_at_all(model: Any, x: Tensor) -> Tensor:
    with hooks(lambda t: t, lambda t: t):
        return model(x)


class _Ones(autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x)
        return function(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return None, autograd.grad(ctx.function(x).sum(), x)[0]


class _Whole(_Ones):
    """Builds the graph on the way there, and keeps it."""

    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.y = function(ctx.x)
        return ctx.y.detach()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return None, autograd.grad(ctx.y, ctx.x, grad_output)[0]


class _Unrecorded(_Ones):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        return None, autograd.grad(ctx.function(x), x, grad_output)[0]


EXERCISES = (
    Exercise(
        "04.1",
        "The result of exp, and the factor x.",
        check_kept,
        (
            Wrong("numbers, not bytes", 2000, "not bytes"),
            Wrong("both factors", 12000, "three pieces"),
            Wrong("every tensor", 16000, "every tensor"),
        ),
    ),
    Exercise(
        "04.2",
        "In place, unrecorded, and counted.",
        check_update,
        (
            Wrong("a new tensor", _assigned, "itself has not changed"),
            Wrong("through .data", _by_data, "did not notice"),
            Wrong("recorded", _in_the_open, "a leaf Variable that requires grad"),
        ),
    ),
    Exercise(
        "04.3",
        "Each piece of memory once, and no weights.",
        check_saved_bytes,
        (
            Wrong("counted twice", _counting(False, True, False), "h * h"),
            Wrong("with the weights", _counting(True, True, True), "a linear layer"),
        ),
    ),
    Exercise(
        "04.4",
        "One copy of each activation, in 16 bits; weights as they are.",
        check_half,
        (
            Wrong("weights too", _all_in_half, "A weight was copied"),
            Wrong("nothing packed", _not_at_all, "No activation"),
            Wrong("a copy for each node", _each_time, "besides weights"),
            Wrong("by address", _by_address, "one that is gone"),
            Wrong("every tensor held", _all_held, "still held"),
            Wrong("version forgotten", _unversioned, "that was written to"),
        ),
    ),
    Exercise(
        "04.5",
        "x alone, and the way there a second time.",
        check_recompute,
        (
            Wrong("a plain function", lambda f, x: f(x), "The answer is the class"),
            Wrong("the graph kept", _Whole, "tensors besides x"),
            Wrong("grad mode off", _Unrecorded, "does not require grad"),
            Wrong("the gradient of the sum", _Ones, "is not that of function"),
        ),
    ),
)
