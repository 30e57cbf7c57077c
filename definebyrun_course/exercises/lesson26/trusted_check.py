"""Exercise `trusted_check`: a gradient check that finds what is wrong, accuses nothing else, and leaves no trace."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, drawn, expect, forms, near
from ...grading.forms import said
from ..models import filled
from .trusted_check_models import guilty, innocent

__all__ = ["EXERCISE"]

Found = list[tuple[str, tuple[int, ...], float, float]]


def check_trusted_check(wrong_entries: Callable[[nn.Module, Tensor], Any]) -> None:
    """`wrong_entries(model, x)` lists the entries of gradients that measured slopes contradict."""
    for words, model, x in innocent(Drawn(1)):
        found = _asked(wrong_entries, model, x, words)
        expect(
            not found,
            f"Autograd's gradient is right for {words}, and {_told(found)} is listed as wrong.",
            "How large is the difference beside the slope, and beside what rounding leaves of two outputs?",
        )
    draw = drawn()
    cases = [*guilty(Drawn(2)), *((f"{w} ({draw})", *rest) for w, *rest in guilty(draw))]
    for words, model, x, want, ratio in cases:
        _convicts(_asked(wrong_entries, model, x, words), words, want, ratio)
    _refuses_float32(wrong_entries)
    _after_an_error(wrong_entries)


def _told(found: Found) -> str:
    if not found:
        return "nothing"
    name, index, *_ = found[0]
    return f"{name}[{', '.join(map(str, index))}]"


def _asked(wrong_entries: Callable[..., Any], model: nn.Module, x: Tensor, words: str) -> Found:
    """What is listed, read in any form; that nothing stays changed, and how often the model was called."""
    calls: list[None] = []
    inner = model.forward

    def counting(*args: Any) -> Any:
        calls.append(None)
        return inner(*args)

    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    model.forward = counting  # type: ignore[method-assign]
    state = torch.get_rng_state()
    with torch.set_grad_enabled(words != "gradients switched off"):
        listed = wrong_entries(model, x)
    del model.forward
    expect(
        torch.equal(state, torch.get_rng_state()),
        f"PyTorch's random state is another one after the check of {words}.",
        "torch.get_rng_state and torch.set_rng_state: every call draws the same numbers, and so does the caller.",
    )
    entries = x.numel() + sum(p.numel() for p in model.parameters())
    tensors = 1 + len(list(model.parameters()))
    most = 2 * entries + 2 * tensors + 4
    expect(
        len(calls) <= most,
        f"The model was called {len(calls)} times for {words}, which has {entries} entries.",
        "Two calls for each entry, and a few: what can be computed once?",
    )
    return [_entry(part) for part in forms.sequence(listed, "The list of wrong entries")]


def _entry(part: Any) -> tuple[str, tuple[int, ...], float, float]:
    fields = forms.sequence(part, "An entry of the list", 4)
    expect(
        isinstance(fields[0], str),
        f"An entry of the list begins with a name; this one with {said(fields[0])}.",
        'The names of named_parameters(), and "x" for the input.',
    )
    index = tuple(forms.wholes(fields[1], "The index"))
    return (
        fields[0],
        index,
        forms.number(fields[2], "Autograd's number"),
        forms.number(fields[3], "The measured slope"),
    )


def _convicts(
    found: Found, words: str, want: dict[str, list[tuple[int, ...]]], ratio: float | None
) -> None:
    listed = {(name, index) for name, index, *_ in found}
    wanted = {(name, index) for name, places in want.items() for index in places}
    missing, more = sorted(wanted - listed), sorted(listed - wanted)
    if missing:
        name, index = missing[0]
        where = f"{name}[{', '.join(map(str, index))}]"
        raise Mistake(
            f"{where} is missing in the list for {words}: {len(missing)} of {len(wanted)} wrong entries are.",
            "Which weights does your check give to the outputs, and which tensors and entries does it move?",
        )
    if more:
        name, index = more[0]
        raise Mistake(
            f"{name}[{', '.join(map(str, index))}] is right for {words}, and is listed.",
            "Each entry is judged by its own slope.",
        )
    for name, index, autograd, measured in found:
        expect(
            math.isfinite(measured),
            f"The measured slope of {name}{list(index)} is {measured} for {words}.",
            "The slope is a quotient of finite numbers.",
        )
        expect(
            autograd != measured,
            f"For {words} you report {autograd:.5g} twice for {name}{list(index)}: then nothing is wrong.",
            "First autograd's number, then the slope that was measured.",
        )
        if ratio is not None:
            expect(
                near(autograd, ratio * measured, rtol=1e-4),
                f"For {words} you report {autograd:.5g} by autograd and {measured:.5g} as measured; the first should "
                f"be {ratio:g} times the second.",
                "First autograd's number, then the slope that was measured.",
            )


def _refuses_float32(wrong_entries: Callable[..., Any]) -> None:
    for model, x in (
        (nn.Linear(2, 1), torch.ones(1, 2)),
        (nn.Linear(2, 1, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float32)),
    ):
        model = filled(Drawn(1), model.float() if x.dtype != torch.float32 else model)
        try:
            wrong_entries(model, x)
        except (ValueError, TypeError):
            continue
        except RuntimeError as error:
            raise Mistake(
                f"A float32 {'input' if x.dtype == torch.float32 else 'model'} stops with PyTorch's words: {error}",
                "Look at the dtypes first, and say in a ValueError what is asked for.",
            ) from error
        raise Mistake(
            "A model in float32 is answered with a list; a ValueError is asked for.",
            "What does rounding leave of a difference of two float32 numbers?",
        )


def _after_an_error(wrong_entries: Callable[..., Any]) -> None:
    """The model raises at its fifth call: nothing may stay changed then, either."""
    model = filled(
        Drawn(3), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).double()
    )
    x, calls = Drawn(4).normal(4, 2), []
    inner = model.forward

    def failing(*args: Any) -> Any:
        calls.append(None)
        if len(calls) == 5:
            raise ArithmeticError("the model's own error")
        return inner(*args)

    before = {name: t.detach().clone() for name, t in (*model.state_dict().items(), ("x", x))}
    state = torch.get_rng_state()
    model.forward = failing  # type: ignore[method-assign]
    try:
        wrong_entries(model, x)
    except ArithmeticError:
        pass
    else:
        raise Mistake(
            "The model's own error is swallowed.",
            "What the caller does not hear of, he cannot mend.",
        )
    changed = [
        n for n, t in (*model.state_dict().items(), ("x", x)) if not torch.equal(t, before[n])
    ]
    grads = [n for n, p in model.named_parameters() if p.grad is not None]
    expect(
        not changed and not grads,
        f"When the model raises, {(changed or grads)[:1]} is not what it was before.",
        "try … finally: what is put back, is put back on every way out.",
    )
    expect(
        torch.equal(state, torch.get_rng_state()),
        "When the model raises, the random state is not put back.",
        "try … finally: what is put back, is put back on every way out.",
    )


# ---- right answers ----

STEP = 1e-6


@contextlib.contextmanager
def kept(model: nn.Module) -> Iterator[Callable[[], None]]:
    """What the model and PyTorch's generator hold, put back by a call and at the end."""
    random = torch.get_rng_state()
    buffers = [(b, b.clone()) for b in model.buffers()]

    def back() -> None:
        torch.set_rng_state(random)
        for buffer, before in buffers:
            buffer.copy_(before)

    try:
        yield back
    finally:
        back()


def bound(a: float, left: float, right: float, noise: float) -> bool:
    """Whether a number lies between the slopes from the left and from the right, but for rounding."""
    slack = 1e-3 * max(abs(a), abs(left), abs(right)) + noise
    return min(left, right) - slack <= a <= max(left, right) + slack


def entry_by_entry(model: nn.Module, x: Tensor) -> Found:
    """Moves each entry in place, two calls each."""
    if any(t.dtype != torch.float64 for t in (x, *model.parameters())):
        raise ValueError("only float64 can be checked")
    parts = [("x", x), *model.named_parameters()]
    ask = x.detach().clone().requires_grad_()
    found: Found = []
    with kept(model) as back:
        with torch.enable_grad():
            out = model(ask)
        weights = torch.randn(
            out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(3)
        )
        grads = torch.autograd.grad(out, [ask, *model.parameters()], weights, allow_unused=True)
        terms = out.detach() * weights
        noise = 1e-14 * float(terms.abs().sum()) / STEP
        for (name, tensor), grad in zip(parts, grads, strict=True):
            for index in _places(tensor):
                a = 0.0 if grad is None else float(grad[index])
                ends = []
                before = tensor.detach()[index].item()
                for step in (-STEP, STEP):
                    back()
                    try:
                        tensor.detach()[index] = before + step
                        with torch.no_grad():
                            ends.append(float((model(x.detach()) * weights - terms).sum()) / step)
                    finally:
                        tensor.detach()[index] = before
                if not bound(a, *ends, noise):
                    found.append((name, index, a, sum(ends) / 2))
    return found


def _places(tensor: Tensor) -> list[tuple[int, ...]]:
    return [tuple(int(i) for i in row) for row in torch.ones(tensor.shape).nonzero()]


def with_copies(model: nn.Module, x: Tensor) -> Found:
    """Calls the model with other tensors in the place of its own, which are never touched."""
    own = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    if {t.dtype for t in (x, *own.values())} != {torch.float64}:
        raise ValueError("float64, please")

    def run(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            anew = {name: b.clone() for name, b in buffers.items()}
            return functional_call(model, {**parameters, **anew}, (x,))

    leaves = {"x": x.detach().clone().requires_grad_()}
    leaves |= {name: p.clone().requires_grad_() for name, p in own.items()}
    with torch.enable_grad():
        out = run(leaves["x"], {name: leaves[name] for name in own})
    upstream = torch.linspace(-1, 1.3, max(out.numel(), 1), dtype=out.dtype).sin()[: out.numel()]
    upstream = (upstream + 2).reshape(out.shape)
    upstream = upstream * torch.tensor([1.0, -1.0], dtype=out.dtype).repeat(out.numel())[
        : out.numel()
    ].reshape(out.shape)
    grads = torch.autograd.grad(out, list(leaves.values()), upstream, allow_unused=True)
    middle, found = out.detach(), []
    noise = 1e-14 * float((middle * upstream).abs().sum()) / STEP
    with torch.no_grad():
        for (name, leaf), grad in zip(leaves.items(), grads, strict=True):
            for place in range(leaf.numel()):
                slopes = []
                for step in (STEP, -STEP):
                    moved = {n: t.detach() for n, t in leaves.items()}
                    other = leaf.detach().clone()
                    other.view(-1)[place] += step
                    moved[name] = other
                    end = run(moved["x"], {n: moved[n] for n in own})
                    slopes.append(float(((end - middle) * upstream).sum()) / step)
                index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), leaf.shape))
                a = 0.0 if grad is None else float(grad.reshape(-1)[place])
                if not bound(a, min(slopes), max(slopes), noise):
                    found.append((name, index, a, sum(slopes) / 2))
    return found


# ---- wrong answers ----


def _checked(
    model: nn.Module,
    x: Tensor,
    upstream: str = "random",
    only: str = "",
    step: float = STEP,
    rule: Callable[[float, float, float, float], bool] = bound,
    put_back: bool = True,
    dtypes: bool = True,
    leaves_moved: bool = False,
    evaluates: bool = False,
    grad_field: bool = False,
    swapped: bool = False,
    forgets_random: bool = False,
    forward_only: bool = False,
    again: int = 1,
) -> Any:
    """The solution with its usual mistakes as switches."""
    if dtypes and any(t.dtype != torch.float64 for t in (x, *model.parameters())):
        raise ValueError("float64")
    mode = model.training
    model.train(mode and not evaluates)
    parts = [("x", x), *model.named_parameters()]
    ask = x.detach().clone().requires_grad_()
    found = []
    with kept(model) if put_back else contextlib.nullcontext(lambda: None) as back:
        with torch.enable_grad():
            out = model(ask)
        weights = (
            torch.ones_like(out)
            if upstream == "ones"
            else torch.linspace(1, 2, max(out.numel(), 1)).to(out)[: out.numel()].reshape(out.shape)
        )
        if grad_field:
            (out * weights).sum().backward()
            grads: Any = [ask.grad, *(p.grad for p in model.parameters())]
        else:
            grads = torch.autograd.grad(out, [ask, *model.parameters()], weights, allow_unused=True)
        terms = (out * weights).detach()
        noise = 1e-14 * float(terms.abs().sum()) / step
        for (name, tensor), grad in zip(parts, grads, strict=True):
            if only and only != ("x" if name == "x" else "parameters"):
                continue
            for index in _places(tensor):
                a = 0.0 if grad is None else float(grad[index])
                before, ends = tensor.detach()[index].item(), []
                for move in (-step, step) * again:
                    back()
                    if forgets_random:
                        torch.seed()
                    tensor.detach()[index] = before + move
                    try:
                        with torch.no_grad():
                            ends.append(float((model(x.detach()) * weights - terms).sum()) / move)
                    finally:
                        tensor.detach()[index] = before + (move if leaves_moved else 0)
                        model.train(mode and not evaluates)
                left, right = (ends[1], ends[1]) if forward_only else ends[:2]
                if not rule(a, left, right, noise):
                    pair = ((left + right) / 2, a) if swapped else (a, (left + right) / 2)
                    found.append((name, index, *pair))
    model.train(mode)
    return found


def _absolute(a: float, left: float, right: float, noise: float) -> bool:
    return abs(a - (left + right) / 2) < 1e-7


def _relative(a: float, left: float, right: float, noise: float) -> bool:
    m = (left + right) / 2
    return abs(a - m) / max(abs(a) + abs(m), 1e-300) < 1e-7


def _central(a: float, left: float, right: float, noise: float) -> bool:
    m = (left + right) / 2
    return abs(a - m) <= 1e-3 * max(abs(a), abs(m)) + noise


def _nan_passes(a: float, left: float, right: float, noise: float) -> bool:
    return not abs(a - (left + right) / 2) > 1e-3 * max(
        abs(a), abs(left), abs(right)
    ) + noise + abs(left - right)


def _generous(a: float, left: float, right: float, noise: float) -> bool:
    return abs(a - (left + right) / 2) <= 0.2 * max(abs(a), abs(left)) + noise + abs(left - right)


def _quotient(model: nn.Module, x: Tensor) -> Any:
    """One quotient of norms for all entries together."""
    every = _checked(model, x, rule=lambda *_: False)
    a = torch.tensor([e[2] for e in every], dtype=torch.float64)
    m = torch.tensor([e[3] for e in every], dtype=torch.float64)
    return every if float((a - m).norm()) > 1e-7 * float(a.norm() + m.norm()) + 1e-9 else []


def _by_autograd_twice(model: nn.Module, x: Tensor) -> Any:
    """Autograd against autograd: a Jacobian from as many backward passes."""
    if x.dtype != torch.float64 or any(p.dtype != torch.float64 for p in model.parameters()):
        raise ValueError("float64")
    with kept(model) as back, torch.enable_grad():
        names = [n for n, _ in model.named_parameters()]
        leaves = [x.detach().clone().requires_grad_(), *model.parameters()]
        out = model(leaves[0])
        weights = (
            torch.linspace(1, 2, max(out.numel(), 1)).to(out)[: out.numel()].reshape(out.shape)
        )
        one = torch.autograd.grad(out, leaves, weights, allow_unused=True)
        back()
        two = torch.autograd.grad((model(leaves[0]) * weights).sum(), leaves, allow_unused=True)
    return [
        (name, (0,), 0.0, 0.0)
        for name, a, b in zip(["x", *names], one, two, strict=True)
        if a is not None and not torch.allclose(a, b, equal_nan=True)
    ]


def oracle(wrong_entries: Callable[..., Any]) -> Any:
    """Which entries are listed for many models, and what stays changed."""
    told: list[Any] = []
    found: list[Any]
    for seed in (11, 12):
        cases = [(*each, None, None) for each in innocent(Drawn(seed))] + guilty(Drawn(seed))
        for words, model, x, _, ratio in cases:
            state, random = (
                {k: v.clone() for k, v in model.state_dict().items()},
                torch.get_rng_state(),
            )
            try:
                listed = _asked(wrong_entries, model, x.clone(), words)
                found = [sorted((n, tuple(i)) for n, i, *_ in listed)]
                found.append([round(a / m, 2) + 0.0 for _, _, a, m in listed if ratio is not None])
            except Exception as error:
                found = [type(error).__name__]
            same = all(
                torch.equal(torch.nan_to_num(v), torch.nan_to_num(state[k]))
                for k, v in model.state_dict().items()
            )
            grads = [p.grad is not None and bool((p.grad == 0.5).all()) for p in model.parameters()]
            told.append(
                [
                    words,
                    found,
                    same,
                    grads,
                    torch.equal(random, torch.get_rng_state()),
                    model.training,
                ]
            )
            torch.set_rng_state(random)
    for test in (_refuses_float32, _after_an_error):
        try:
            told.append(test(wrong_entries))
        except Exception as error:
            told.append(str(error))
    return told


def _with(**switches: Any) -> Callable[..., Any]:
    return partial(_checked, **switches)


WRONG = {
    "an absolute 1e-7": (_with(rule=_absolute), "cubes of large numbers"),
    "a relative 1e-7, no floor": (_with(rule=_relative), "right for a saturated tanh"),
    "a step of 1e-12": (_with(step=1e-12), "you report 3.419 by autograd and 1.7093"),
    "a forward difference, tight": (
        _with(forward_only=True, rule=lambda a, l, r, n: abs(a - r) <= 1e-7 * abs(r) + n),
        "right for one number, squared",
    ),
    "kinks accused": (_with(rule=_central), "right for a kink of relu"),
    "a quotient of norms": (_quotient, "right for a kink of relu"),
    "upstream of ones": (_with(upstream="ones"), "a softmax whose gradient is always 0: 6"),
    "inputs only": (_with(only="x"), "a bias whose gradient is doubled: 2 of"),
    "parameters only": (
        _with(only="parameters"),
        "list for the opposite sign in one number: 1 of 1",
    ),
    "autograd against itself": (
        _by_autograd_twice,
        "list for the opposite sign in one number: 1 of 1",
    ),
    "nan passes": (_with(rule=_nan_passes), "a gradient of nan: 2 of"),
    "a fifth is near enough": (_with(rule=_generous), "0.9 times the slope: 6 of"),
    "entries left moved": (_with(leaves_moved=True), "x is not what it was before the call"),
    "nothing put back": (_with(put_back=False), "is another one after the check"),
    "in evaluation mode": (_with(evaluates=True), "in training mode only"),
    "backward() into .grad": (_with(grad_field=True), ".grad"),
    "both numbers swapped": (_with(swapped=True), "1.7095 by autograd and 3.419"),
    "another mask each time": (_with(forgets_random=True), "right for dropout"),
    "float32 as well": (_with(dtypes=False), "A model in float32"),
    "every slope twice": (_with(again=2), "times for"),
}

EXERCISE = Exercise(
    "trusted_check",
    "It convicts the wrong, acquits the right, and leaves everything as it was.",
    check_trusted_check,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("entry by entry, in place", entry_by_entry), Right("with copies", with_copies)),
    oracle=oracle,
)
