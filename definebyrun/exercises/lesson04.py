"""Exercises of lesson 04, What the graph remembers: bytes, an update in place, saved-tensor hooks, a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ..packed import packed_by
from ..walk import Graph
from .core import Exercise, Wrong, expect

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


# ---- 04.4: activations in 16 bits ----


def check_half(half_activations: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """`half_activations(model, x)` keeps activations in bfloat16, and parameters as they are."""
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
    y.sum().backward()
    near = all(
        torch.allclose(p.grad, g, rtol=0.05, atol=0.05)
        for p, g in zip(model.parameters(), want, strict=True)
    )
    expect(near, "The gradients are far off.", "unpack has to give the same dtype back.")
    low = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    half_activations(torch.exp, low).sum().backward()
    whole = half_activations(lambda x: x.double().exp(), x.detach().requires_grad_())
    expect(
        [t.dtype for t in _kept(whole)] == [torch.float64],
        "A float64 tensor was not kept as it is.",
    )


def _kept(tensor: Tensor) -> list[Tensor]:
    """The tensors that the nodes of a graph keep behind hooks."""
    return [kept for node in Graph().add([tensor.grad_fn]) for _, kept in packed_by(node)[0]]


# ---- 04.5: a checkpoint ----


def check_recompute(recompute: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> None:
    """`recompute(function, x)` keeps x alone between the passes."""
    calls: list[bool] = []

    def function(x: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return (x.exp().sin() * x).tanh()

    x = torch.linspace(-1, 1, 5, requires_grad=True)
    want = autograd.grad(function(x).square().sum(), x)[0]
    calls.clear()
    saved: list[Tensor] = []
    with hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = recompute(function, x)
    expect(torch.allclose(y, function(x)), "The value is not that of function(x).")
    calls.pop()
    expect(y.requires_grad, "The result does not ask for gradients.", "Use Function.apply.")
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


def _not_at_all(model: Any, x: Tensor) -> Tensor:
    with hooks(lambda t: t, lambda t: t):
        return model(x)


def _ones(function: Any, x: Tensor) -> Tensor:
    class Recompute(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return function(x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            with torch.enable_grad():
                x = ctx.saved_tensors[0].detach().requires_grad_()
                return autograd.grad(function(x).sum(), x)[0]

    return Recompute.apply(x)


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
        "Activations in 16 bits, weights as they are.",
        check_half,
        (
            Wrong("weights too", _all_in_half, "A weight was copied"),
            Wrong("nothing packed", _not_at_all, "No activation"),
        ),
    ),
    Exercise(
        "04.5",
        "x alone, and the way there a second time.",
        check_recompute,
        (
            Wrong("the plain function", lambda f, x: f(x), "tensors besides x"),
            Wrong("detached", lambda f, x: f(x.detach()), "does not ask"),
            Wrong("the gradient of the sum", _ones, "is not that of function"),
        ),
    ),
)
