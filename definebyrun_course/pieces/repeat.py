"""A function made repeatable: the same values in give the same numbers out, and nothing outside is changed.

Borrows a function, its inputs and its module for the time of a `with` block: float64 where it can be, one seed for
every run, buffers as they were before each run, fresh copies of every input. What was borrowed goes back as it came.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Repeatable", "Slot", "alike", "first_line", "flat", "pairs", "widened"]

WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}


@dataclass(frozen=True)
class Slot:
    """A tensor under check: an input by its place, or a parameter by its name."""

    name: str
    shape: tuple[int, ...]
    place: int | None
    parameter: Tensor | None


def is_number(value: Any) -> bool:
    """Whether a value is a tensor that can ask for a gradient."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def pairs(value: Tensor) -> Tensor:
    """A complex tensor as pairs of real numbers; a real one as it is."""
    return torch.view_as_real(value) if value.is_complex() else value


def flat(value: Tensor) -> Tensor:
    """All real numbers of a tensor in one row."""
    return pairs(value.resolve_conj()).reshape(-1)


def widened(results: Any, dtype: torch.dtype | None) -> list[Tensor]:
    """The tensors in a function's result, however nested, that can have a gradient; `dtype` widens them."""
    if isinstance(results, Tensor):
        return [wide(results) if dtype else results] if is_number(results) else []
    if isinstance(results, dict):
        results = list(results.values())
    if isinstance(results, (list, tuple)):
        return [tensor for part in results for tensor in widened(part, dtype)]
    return []


def wide(value: Any) -> Any:
    """A tensor in double precision; anything else as it is."""
    return value.to(WIDE.get(value.dtype, value.dtype)) if is_number(value) else value


class Repeatable:
    """`with Repeatable(f, inputs, module, seed) as run`, then `run(values)` as often as you like."""

    def __init__(
        self, function: Callable[..., Any], inputs: Iterable[Any], parameters: Any, seed: int
    ) -> None:
        self.function, self.inputs, self.seed = function, list(inputs), seed
        parameters = (
            function if parameters is None and isinstance(function, nn.Module) else parameters
        )
        self.module = parameters if isinstance(parameters, nn.Module) else None
        named = dict(self.module.named_parameters()) if self.module else dict(parameters or {})
        self.parameters: dict[str, Tensor] = named
        self.slots = [
            Slot(f"input {place}", tuple(x.shape), place, None)
            for place, x in enumerate(self.inputs)
            if is_number(x) and x.requires_grad
        ] + [Slot(name, tuple(p.shape), None, p) for name, p in named.items() if p.requires_grad]
        self.notes: list[str] = []
        self.eps, self.wrote = 0.0, False

    def __enter__(self) -> Repeatable:
        self.kept = [(p, p.data, p.grad) for p in self.parameters.values()]
        self.buffers = [
            (owner, name, buffer)
            for owner in (self.module.modules() if self.module else ())
            for name, buffer in owner._buffers.items()
            if buffer is not None
        ]
        self.states = torch.get_rng_state(), random.getstate(), np.random.get_state()
        try:
            self.prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        for parameter, data, grad in self.kept:
            parameter.data, parameter.grad = data, grad
        for owner, name, buffer in self.buffers:
            owner._buffers[name] = buffer
        torch.set_rng_state(self.states[0])
        random.setstate(self.states[1])
        np.random.set_state(self.states[2])

    def prepare(self) -> None:
        """Choose the precision: float64 if the function runs in it, else its own."""
        for self.change in (wide, lambda value: value):
            self.constants = [self.change(x.detach()) if is_number(x) else x for x in self.inputs]
            for parameter, data, _ in self.kept:
                parameter.data = self.change(data)
            self.values = [
                self.constants[slot.place] if slot.parameter is None else slot.parameter.data
                for slot in self.slots
            ]
            try:
                outputs = self(self.values)
            except (RuntimeError, TypeError) as error:
                if self.change is not wide or not any(
                    is_number(x) and x.dtype in WIDE for x in self.own()
                ):
                    raise
                self.notes.append(
                    f"not run in float64 ({first_line(error)}); pass modules as parameters="
                )
                continue
            if not outputs:
                raise ValueError(
                    "The function returns no floating-point tensor, so it has no gradient to check."
                )
            self.eps = max(torch.finfo(t.dtype).eps for t in [*outputs, *self.values])
            break
        if not alike(outputs, self(self.values, self.seed + 1), 0.0):
            self.notes.append("random: every evaluation ran under one seed")

    def own(self) -> list[Any]:
        """The inputs, parameters and buffers as they were lent."""
        return [*self.inputs, *(data for _, data, _ in self.kept), *(b for _, _, b in self.buffers)]

    def __call__(self, values: list[Tensor], seed: int | None = None) -> list[Tensor]:
        """The outputs at these values, each evaluation from the same start."""
        return self.record(values, seed)[1]

    def record(
        self, values: list[Tensor], seed: int | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The leaves and the outputs of one evaluation, connected by its graph."""
        seed = self.seed if seed is None else seed
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        for owner, name, buffer in self.buffers:
            owner._buffers[name] = self.change(buffer).clone()
        arguments = [x.clone() if isinstance(x, Tensor) else x for x in self.constants]
        leaves = []
        for slot, value in zip(self.slots, values, strict=True):
            if slot.parameter is not None:
                slot.parameter.data = value.detach().clone()
                leaves.append(slot.parameter)
            else:
                leaves.append(
                    value.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
                )
                arguments[slot.place] = leaves[-1].clone()  # the function may write into its input
        with torch.enable_grad():
            return leaves, widened(self.function(*arguments), None)

    def gradients(self, values: list[Tensor], weights: list[Tensor]) -> tuple[list[Tensor], str]:
        """Autograd's claims for these output weights, and a complaint if the backward is broken as such."""
        leaves, outputs = self.record(values)
        try:
            first = self.pull(leaves, outputs, weights)
            again = self.pull(leaves, outputs, weights)
        except RuntimeError as error:
            return [], f"the backward raises {type(error).__name__}: {first_line(error)}"
        if self.wrote:
            return first, "the backward writes into the gradient that it is given"
        if not alike(first, again):
            return first, "a second backward through the same graph gives other numbers"
        return first, self.stale(values, weights, first)

    def stale(self, values: list[Tensor], weights: list[Tensor], first: list[Tensor]) -> str:
        """Whether a forward somewhere else, before the backward, changes what the backward says."""
        leaves, outputs = self.record(values)
        lent = [leaf.data for leaf in leaves]
        try:
            self([value * 0.9 + 0.05 for value in values])
        except (RuntimeError, ValueError, ArithmeticError):
            return ""  # not defined over there
        for leaf, data in zip(leaves, lent, strict=True):
            leaf.data = data
        try:
            same = alike(first, self.pull(leaves, outputs, weights))
        except RuntimeError as error:
            return f"another forward before the backward breaks it: {first_line(error)}"
        words = "another forward before the backward changes the gradient: a stale saved tensor"
        return "" if same else words

    def pull(
        self, leaves: list[Tensor], outputs: list[Tensor], weights: list[Tensor]
    ) -> list[Tensor]:
        """One backward pass; a leaf that nothing leads to has the gradient zero."""
        lead = []
        for output, weight in zip(outputs, weights, strict=True):
            shaped = weight.to(pairs(output.detach())).reshape(pairs(output.detach()).shape)
            lead.append(torch.view_as_complex(shaped) if output.is_complex() else shaped)
        live = [(y, v) for y, v in zip(outputs, lead, strict=True) if y.requires_grad]
        if not live:
            return [torch.zeros_like(leaf) for leaf in leaves]
        ys, vs = zip(*live, strict=True)
        given = [v.clone() for v in vs]
        found = torch.autograd.grad(ys, leaves, vs, retain_graph=True, allow_unused=True)
        if not alike(given, list(vs), 0.0):
            self.wrote = True
        return [
            torch.zeros_like(leaf) if g is None else g.detach().clone()
            for g, leaf in zip(found, leaves, strict=True)
        ]


def alike(one: list[Tensor], other: list[Tensor], tolerance: float = 1e-6) -> bool:
    """Whether two lists hold the same numbers, nan included."""
    return [t.shape for t in one] == [t.shape for t in other] and all(
        torch.allclose(a, b, rtol=tolerance, atol=0, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


def first_line(error: Exception) -> str:
    """What an error says, up to its first line break."""
    return (str(error).splitlines() or [""])[0]
