"""Exercise `half`: activations in 16 bits, each once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, plain, untouched
from ..graphs import passed
from ..live import Live
from ..models import filled
from .half_answers import (
    BF16,
    F32,
    Packed,
    all_held,
    by_key,
    exists,
    forgetful,
    nothing,
    numbered,
    packing,
    unpacked_by_a_function,
    view,
    whole_model,
)

__all__ = ["EXERCISE"]

Half = Callable[[Any, Tensor], Any]
BACK = "unpack has to give back what pack was given, in the same dtype and the same shape."


def check_half(half_activations: Half) -> None:
    """`half_activations(model, x)` keeps one bfloat16 copy of each activation, and parameters as they are."""
    _judge_network(half_activations, Drawn(1), (5, 6, 7, 3), "")
    _judge_other_dtypes(half_activations)
    _judge_same_place(half_activations)
    draw = drawn()
    sizes = tuple(draw.whole(2, 9) for _ in range(4))
    _judge_network(half_activations, draw, sizes, f" ({draw})")


def _network(draw: Drawn, sizes: tuple[int, ...]) -> tuple[nn.Sequential, Tensor, int]:
    """Two layers with tanh, an input, and the bytes of its activations in 16 bits: the input and two results."""
    rows, first, second, third = sizes
    layers = nn.Linear(first, second, dtype=F32), nn.Linear(second, third, dtype=F32)
    model = filled(draw, nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh()))
    return model, draw.normal(rows, first, dtype=F32), 2 * rows * (first + second + third)


def _judge_network(
    half_activations: Half, draw: Drawn, sizes: tuple[int, ...], source: str
) -> None:
    model, x, want = _network(draw, sizes)
    output = model(x).detach()
    with untouched(model=model), Live(model.parameters()) as live:
        y = half_activations(model, x)
    y = forms.tensor(y, "half_activations", tuple(output.shape))
    expect(
        near(y, output),
        f"The result is not model(x){source}.",
        "The forward pass itself runs in float32: only what the graph keeps of it is smaller.",
    )
    expect(
        y.requires_grad,
        "The result has no graph.",
        "Gradients are to flow: only what is kept changes.",
    )
    _judge_kept(live, y, x, want, source)
    _judge_gradients(half_activations, model, x, y, source)


def _judge_kept(live: Live, y: Tensor, x: Tensor, want: int, source: str) -> None:
    pieces = live.held(y, x)
    whole = sum(p.bytes for p in pieces if p.dtype == F32)
    expect(
        not whole,
        f"After the forward pass {whole} bytes of its float32 results are still held, besides the output{source}.",
        "The graph holds what pack returns. Does anything else hold the tensors themselves?",
    )
    weights = sum(p.bytes for p in pieces if p.of_a_parameter)
    expect(
        not weights,
        f"{weights} bytes are copies of weights, which exist anyway{source}.",
        "A layer saves its weight transposed: a view. What is the _base of a view?",
    )
    kept = sum(p.bytes for p in pieces)
    expect(
        kept == want,
        f"The graph of a network of two layers keeps {kept} bytes besides weights; the input and the results of both "
        f"tanh take {want} in 16 bits{source}.",
        "tanh keeps its result, and the next layer the same memory: which copy does each get? The input is saved, too.",
    )


def _judge_gradients(
    half_activations: Half, model: nn.Module, x: Tensor, y: Tensor, source: str
) -> None:
    parameters = list(model.parameters())
    wanted = autograd.grad(packing(model, x).square().sum(), parameters)
    found = passed(
        lambda: autograd.grad(y.square().sum(), parameters), "a network of two layers", BACK
    )
    expect(
        all(near(one, two, rtol=1e-3, atol=1e-4) for one, two in zip(found, wanted, strict=True)),
        f"The gradients are not those of activations that were rounded to bfloat16{source}.",
        BACK,
    )


@dataclass(frozen=True)
class _Program:
    """A function of one tensor, its input, what it shows; its gradient is as near to the right one as `rtol`."""

    what: str
    function: Callable[[Tensor], Tensor]
    x: Tensor
    rtol: float
    hint: str


def _programs() -> list[_Program]:
    x = torch.linspace(0.1, 1.7, 64, dtype=F32)
    index = torch.arange(300, 364)
    table = torch.linspace(-1, 1, 400, dtype=F32)
    as_it_is = (
        "What is not float32 is kept as it is: what does unpack have to know to give it back?"
    )
    whole = "A saved tensor of whole numbers was rounded: bfloat16 has 8 bits for them."
    views = "Two views of one memory are two tensors: where they begin and how they step tells them apart."

    def halves(x: Tensor) -> Tensor:
        h = x.exp()
        return h[:32] * h[32:]

    def square(x: Tensor) -> Tensor:
        h = x.exp().reshape(8, 8)
        return h @ h.T

    return [
        _Program("x.exp() in bfloat16", torch.exp, x.to(BF16), 1e-6, as_it_is),
        _Program("x.double().exp()", lambda x: x.double().exp(), x, 1e-6, as_it_is),
        _Program(
            "table[i], with whole numbers i up to 363",
            lambda t: t.gather(0, index),
            table,
            1e-6,
            whole,
        ),
        _Program("h[:32] * h[32:], where h = x.exp()", halves, x, 2e-2, views),
        _Program("h @ h.T, where h = x.exp().reshape(8, 8)", square, x, 2e-2, views),
    ]


def _judge_other_dtypes(half_activations: Half) -> None:
    for program in _programs():
        x = program.x.clone().requires_grad_()
        want = autograd.grad(program.function(x).sum(), x)[0]
        y = forms.tensor(half_activations(program.function, x), "half_activations")
        [found] = passed(partial(autograd.grad, y.sum(), x), program.what, program.hint)
        expect(
            found.dtype == want.dtype and near(found, want, rtol=program.rtol),
            f"For {program.what} the gradient is not right.",
            program.hint,
        )


def _judge_same_place(half_activations: Half) -> None:
    """Two tensors one after the other at one address, and one tensor before and after a write."""
    place, held = bytearray(4 * 64), []

    def moved_in(x: Tensor) -> Tensor:
        total: Any = 0
        for number in (1.0, 2.0):
            place[:] = torch.full((64,), number, dtype=F32).numpy().tobytes()
            factor = torch.frombuffer(place, dtype=F32)
            total = total + x * factor
            storage = weakref.ref(factor.untyped_storage())
            del factor
            held.append(storage() is not None)
        return total

    def written(x: Tensor) -> Tensor:
        factor = torch.ones(64, dtype=F32)
        first = x * factor
        return first + x * factor.add_(1)

    for function, why in (
        (moved_in, "A tensor at the address of one that is gone got the copy of that one."),
        (written, "A tensor that was written to got the copy made before."),
    ):
        x = torch.ones(64, dtype=F32, requires_grad=True)
        [grad] = passed(
            partial(autograd.grad, half_activations(function, x).sum(), x), "x * d", BACK
        )
        expect(
            not any(held),
            "A tensor that the forward pass was through with was still held, in 32 bits.",
            "Hold the copy, and what tells tensors apart, but not the tensor: a weak key.",
        )
        hint = "What tells two tensors apart: their storage, and how often it was written to."
        expect(near(grad, torch.full_like(grad, 3.0)), why, hint)


def told(half_activations: Half) -> Any:
    """The oracle: what is held, output and gradients, for networks and for single functions."""
    found: list[Any] = []
    for seed, sizes in enumerate(((1, 1, 1, 1), (2, 3, 1, 5), (7, 4, 6, 2))):
        model, x, _ = _network(Drawn(seed), sizes)
        try:
            with Live(model.parameters()) as live:
                y = half_activations(model, x)
            held = sorted((str(p.dtype), p.bytes, p.of_a_parameter) for p in live.held(y, x))
            grads = autograd.grad(y.square().sum(), list(model.parameters()))
            found.append([held, plain(y), plain(grads), plain(model), plain(x)])
        except Exception as error:
            found.append(type(error).__name__)
    for program in _programs():
        x = program.x.clone().requires_grad_()
        try:
            [grad] = autograd.grad(half_activations(program.function, x).sum(), x)
            found.append([str(grad.dtype), plain(grad)])
        except Exception as error:
            found.append(type(error).__name__)
    try:
        _judge_same_place(half_activations)
    except Exception as error:
        found.append(str(error))
    while torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        found.append("hooks left")
        torch._C._autograd._pop_saved_tensors_default_hooks()
    return found


def _with(**switches: Any) -> Half:
    return lambda model, x: packing(model, x, **switches)


EXERCISE = Exercise(
    "half",
    "One copy of each activation, in 16 bits; weights as they are.",
    check_half,
    (
        Wrong("nothing packed", nothing, "bytes of its float32 results are still held"),
        Wrong("weights too", _with(skips=lambda t: t.dtype != F32), "are copies of weights"),
        Wrong(
            "views of weights too",
            _with(skips=lambda t: t.dtype != F32 or (t.is_leaf and t.requires_grad)),
            "are copies of weights",
        ),
        Wrong("a copy each time", _with(part=lambda t: object()), "keeps 230 bytes"),
        Wrong(
            "the input as it is",
            _with(skips=lambda t: t.dtype != F32 or exists(t) or t.is_leaf),
            "keeps 100 bytes",
        ),
        Wrong(
            "by address",
            lambda m, x: by_key(m, x, lambda t: (t.data_ptr(), *view(t))),
            "at the address of one that is gone",
        ),
        Wrong(
            "every tensor held",
            all_held,
            "bytes of its float32 results are still held",
        ),
        Wrong(
            "the writes forgotten",
            _with(part=lambda t: view(t)[1:]),
            "was written to got the copy",
        ),
        Wrong(
            "views forgotten",
            _with(part=lambda t: t._version),
            "h[:32] * h[32:], where h = x.exp() the backward",
        ),
        Wrong("steps forgotten", _with(part=lambda t: view(t)[:3]), "h @ h.T, where"),
        Wrong("whatever its dtype", _with(skips=exists), "x.double().exp() the gradient"),
        Wrong(
            "back to float32, always",
            _with(wrap=lambda t, dtype: (t, F32)),
            "up to 363 the backward pass stops",
        ),
        Wrong("not back at all", _with(back=lambda t, dtype: t), "float != c10::BFloat16"),
        Wrong(
            "in float16",
            _with(smaller=lambda t: t.half()),
            "are not those of activations that were rounded to bf",
        ),
        Wrong(
            "zeros",
            _with(smaller=lambda t: torch.zeros_like(t, dtype=BF16)),
            "are not those of activations that were rounded to bf",
        ),
        Wrong("the model in bfloat16", whole_model, "The result is not model(x)"),
        Wrong("without a graph", lambda m, x: m(x).detach(), "The result has no graph"),
        Wrong("return forgotten", forgetful, "Is a `return` missing"),
    ),
    right=(
        Right("a number, the key of a table", numbered),
        Right("a function", unpacked_by_a_function),
        Right("an object of a class", lambda m, x: packing(m, x, wrap=Packed, unwrap=Packed.parts)),
    ),
    oracle=told,
)
