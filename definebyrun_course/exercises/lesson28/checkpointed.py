"""Exercise `checkpointed`: compute again instead of remembering."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    counted,
    drawn,
    expect,
    near,
    tried,
)
from ..live import Live
from ..networks import linear

__all__ = ["EXERCISE"]

TWICE = "The second run has to be the first one again: which random numbers did that draw?"
NONE = (
    "A gradient of None is no gradient: the parameters are "
    "inputs of the segment, too, although nobody hands them over."
)


class Segment(nn.Module):
    """Layers that note how often they ran; with dropout, batch normalisation, two inputs or two outputs."""

    def __init__(self, draw: Drawn, kind: str = "") -> None:
        super().__init__()
        self.first, self.last, self.kind = linear(draw, 3, 5), linear(draw, 5, 3), kind
        self.norm = nn.BatchNorm1d(5).double()
        self.runs = 0

    def forward(self, x: Tensor, other: Any = None, power: int = 1) -> Any:
        self.runs += 1
        h = torch.tanh(self.first(x))
        h = self.norm(h) if self.kind == "batch normalisation" else h
        h = torch.dropout(h, 0.5, True) if self.kind == "dropout" else h
        y = torch.tanh(self.last(h)) ** power
        if other is not None:
            y = y * other
        return (y, h.sum(1)) if self.kind == "two outputs" else y


Case = tuple[str, str, bool, bool, int]
CASES: tuple[Case, ...] = (
    ("one input", "", True, False, 1),
    ("an input that asks for nothing", "", False, False, 1),
    ("two inputs", "", True, True, 1),
    ("an argument that is no tensor", "", True, False, 2),
    ("dropout", "dropout", True, False, 1),
    ("batch normalisation", "batch normalisation", True, False, 1),
    ("two outputs", "two outputs", True, False, 1),
)


def check_checkpointed(checkpointed: Callable[..., Any]) -> None:
    """`checkpointed(function, *args)` keeps the arguments only, and runs the function again in the backward pass."""
    for case in CASES:
        _judge(checkpointed, Drawn(3), *case)
    _judge_memory(checkpointed)
    _judge_unused(checkpointed)
    _judge_part(checkpointed)
    _judge_no_grad(checkpointed)
    _judge_nested(checkpointed)
    _judge_two_calls(checkpointed)
    draw = drawn()
    _judge(checkpointed, draw, f"dropout ({draw})", "dropout", True, False, 1)


def _run(call: Callable[..., Any], model: Segment, args: tuple[Any, ...]) -> dict[str, Any]:
    """One pass, forward and backward: outputs, gradients, buffers, the random state afterwards."""
    torch.manual_seed(11)
    given = call(model, *args)
    outputs = given if isinstance(given, tuple) else (given,)
    after = torch.get_rng_state()
    torch.rand(3)
    state = torch.get_rng_state()
    loss = sum(
        (o * torch.linspace(1, 2, o.numel(), dtype=o.dtype).reshape(o.shape)).sum() for o in outputs
    )
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Mistake(
            "The result has no graph.",
            "The backward pass is to reach what the function was given, and its parameters.",
        )
    asking = {
        n: t
        for n, t in (
            ("x", args[0]),
            ("other", args[1] if len(args) > 1 else None),
            *model.named_parameters(),
        )
        if isinstance(t, Tensor) and t.requires_grad
    }
    for t in asking.values():
        t.grad = None
    loss.backward()
    grads = {n: t.grad for n, t in asking.items()}
    same = torch.equal(state, torch.get_rng_state())
    return {
        "outputs": [o.detach() for o in outputs],
        "grads": grads,
        "after": after,
        "state kept": same,
        "buffers": [b.clone() for b in model.buffers()],
        "runs": model.runs,
    }


def _inputs(
    draw: Drawn, kind: str, asks: bool, second: bool, power: int
) -> tuple[Segment, tuple[Any, ...]]:
    model = Segment(draw, kind)
    x = draw.normal(4, 3).requires_grad_(asks)
    other = draw.normal(4, 3).requires_grad_() if second else None
    return model, (x, other, power) if second or power != 1 else (x,)


def _judge(
    checkpointed: Any, draw: Drawn, words: str, kind: str, asks: bool, second: bool, power: int
) -> None:
    model, args = _inputs(draw, kind, asks, second, power)
    twin = Segment(Drawn(0), kind)
    twin.load_state_dict(model.state_dict())
    want = _run(lambda f, *a: f(*a), twin, args)
    found = _run(checkpointed, model, args)
    where = f"for {words}"
    expect(
        len(found["outputs"]) == len(want["outputs"])
        and all(map(near, found["outputs"], want["outputs"])),
        f"The result is not that of the plain run, {where}.",
        "The forward pass itself is the same.",
    )
    expect(
        torch.equal(found["after"], want["after"]),
        f"After the forward pass the random state is not that of the plain run, {where}.",
        "Draw as often as the plain run does, no more.",
    )
    for name, right in want["grads"].items():
        if right is None:  # batch normalisation that does not take part
            continue
        grad = found["grads"].get(name)
        expect(
            grad is not None, f"{name} gets no gradient, {where}; in the plain run it does.", NONE
        )
        expect(
            near(grad, right, 1e-9),
            f"The gradient of {name} is not that of the plain run, {where}.",
            TWICE
            if kind == "dropout"
            else "Backward through the second run, with what has come from above.",
        )
    expect(
        found["state kept"],
        f"After the backward pass the random state has moved, {where}.",
        "Put it back when the second run is over.",
    )
    expect(
        all(map(near, found["buffers"], want["buffers"])),
        f"The running statistics are not those of one run, {where}.",
        "The function runs twice; what it writes is to be written once.",
    )
    expect(
        found["runs"] == 2,
        f"The function ran {counted(found['runs'], 'time')}, {where}.",
        "Once forward, and once more in the backward pass.",
    )


def _judge_memory(checkpointed: Any) -> None:
    model, x = Segment(Drawn(1)), Drawn(2).normal(50, 3).requires_grad_()
    with Live(model.parameters()) as live:
        y = checkpointed(model, x)
    kept = sum(piece.bytes for piece in live.held(y, x))
    expect(
        kept <= 512,
        f"Between forward and backward {kept:,} bytes of intermediate results are held; x has {50 * 3 * 8:,}.",
        "Nothing that was computed inside has to survive the forward pass.",
    )
    y.sum().backward()
    model.zero_grad()
    before = len(live.held(y, x))
    del y
    expect(
        before <= 6,
        f"After the backward pass {counted(before, 'intermediate result')} are still held.",
        "Who holds the second run's graph?",
    )


def _judge_unused(checkpointed: Any) -> None:
    """One of two outputs is not used."""
    for which in (0, 1):
        model = Segment(Drawn(1), "two outputs")
        x = Drawn(2).normal(4, 3).requires_grad_()
        (want,) = torch.autograd.grad(model(x)[which].sum(), x)
        try:
            checkpointed(model, x)[which].sum().backward()
        except (RuntimeError, TypeError) as error:
            raise Mistake(
                f"When output {1 - which} of two is not used, the backward pass stops "
                f"with {type(error).__name__}: {' '.join(str(error).split())[:100]}",
                "What comes from above for an output that nobody used?",
            ) from error
        expect(
            x.grad is not None and near(x.grad, want, 1e-9),
            f"When output {1 - which} of two is not used, the gradient of x is not right.",
            "Only what was used has a gradient.",
        )


def _judge_part(checkpointed: Any) -> None:
    """autograd.grad for one parameter leaves all .grad alone."""
    model, x = Segment(Drawn(1)), Drawn(2).normal(4, 3).requires_grad_()
    (want,) = torch.autograd.grad(model(x).sum(), model.first.weight)
    model.zero_grad()
    try:
        (found,) = torch.autograd.grad(
            checkpointed(model, x).sum(), model.first.weight, allow_unused=True
        )
    except RuntimeError as error:
        raise Mistake(
            f"autograd.grad with respect to one parameter stops: {' '.join(str(error).split())[:120]}",
            NONE,
        ) from error
    expect(
        found is not None and near(found, want, 1e-9),
        "autograd.grad with respect to one parameter does not give its gradient.",
        NONE,
    )
    expect(
        x.grad is None and all(p.grad is None for p in model.parameters()),
        "autograd.grad was asked, and a .grad was written.",
        "backward() inside a backward pass adds to every leaf: give gradients back instead.",
    )


def _judge_no_grad(checkpointed: Any) -> None:
    model, x = Segment(Drawn(1)), Drawn(2).normal(4, 3)
    with torch.no_grad():
        y = checkpointed(model, x)
    expect(
        not y.requires_grad and near(y, model(x)),
        "Under no_grad the result is not the plain one, without a graph.",
        "Nothing is asked for, so there is nothing to remember.",
    )


def _judge_nested(checkpointed: Any) -> None:
    model, x = Segment(Drawn(1)), Drawn(2).normal(4, 3).requires_grad_()
    want = torch.autograd.grad(model(model(x)).sum(), [x, *model.first.parameters()])

    def outer(x: Tensor) -> Tensor:
        return model(checkpointed(model, x))  # type: ignore[no-any-return]

    model.zero_grad()
    checkpointed(outer, x).sum().backward()
    found = [x.grad, *(p.grad for p in model.first.parameters())]
    expect(
        all(a is not None and near(a, b, 1e-9) for a, b in zip(found, want, strict=True)),
        "One checkpoint inside another gives other gradients.",
        NONE,
    )


def _judge_two_calls(checkpointed: Any) -> None:
    """Two batches through the same module before one backward pass: both are in its statistics."""
    model = Segment(Drawn(1), "batch normalisation")
    twin = Segment(Drawn(0), "batch normalisation")
    twin.load_state_dict(model.state_dict())
    batches = [Drawn(n).normal(4, 3).requires_grad_() for n in (2, 3)]
    sum(checkpointed(model, x).sum() for x in batches).backward()
    for x in batches:
        twin(x)
    expect(
        all(map(near, model.buffers(), twin.buffers())),
        "After two calls and one backward pass, the running statistics are not those of both batches.",
        "The backward pass leaves them as it finds them: what has been written since the first run?",
    )


# ---- right answers ----


def with_hooks(function: Callable[..., Any], *args: Any) -> Any:
    """Every saved tensor is replaced by its number; the first one that is asked for brings all of them back."""
    random, kept, count = torch.get_rng_state(), [], [0]  # type: ignore[var-annotated]
    buffers = dict(function.named_buffers()) if isinstance(function, nn.Module) else {}
    before = {name: b.clone() for name, b in buffers.items()}

    def pack(tensor: Tensor) -> int:
        count[0] += 1
        return count[0] - 1

    def again() -> None:
        now, written = torch.get_rng_state(), {name: b.clone() for name, b in buffers.items()}
        torch.set_rng_state(random)
        for name, b in buffers.items():
            b.copy_(before[name])
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(
                lambda t: kept.append(t.detach()), lambda _: None
            ),
        ):
            function(*args)
        torch.set_rng_state(now)
        for name, b in buffers.items():
            b.copy_(written[name])

    def unpack(number: int) -> Tensor:
        if not kept:
            again()
        return kept[number]  # type: ignore[no-any-return]

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return function(*args)


def of_pytorch(function: Callable[..., Any], *args: Any) -> Any:
    """PyTorch's own, which writes statistics twice: they are put back around the second run."""
    if not isinstance(function, nn.Module) or not list(function.buffers()):
        return checkpoint(function, *args, use_reentrant=False)
    runs: list[list[Tensor]] = []

    def once(*args: Any) -> Any:
        now = [b.clone() for b in function.buffers()]
        runs.append(now)
        for b, first in zip(function.buffers(), runs[0], strict=True):
            b.copy_(first)
        y = function(*args)
        if len(runs) > 1:
            for b, written in zip(function.buffers(), now, strict=True):
                b.copy_(written)
        return y

    return checkpoint(once, *args, use_reentrant=False, early_stop=False)


# ---- wrong answers ----


class _Of(torch.autograd.Function):
    """The Function that is published again and again, with its faults as switches."""

    @staticmethod
    def forward(ctx: Any, function: Any, mistake: str, count: int, *args: Any) -> Any:
        ctx.function, ctx.mistake, ctx.count = function, mistake, count
        ctx.args = args
        ctx.random = torch.get_rng_state()
        if mistake == "draws once more":
            torch.rand(1)
        with torch.no_grad():
            return function(*args[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        m = ctx.mistake
        inputs = [
            a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a
            for a in ctx.args[: ctx.count]
        ]
        now = torch.get_rng_state()
        if m != "another mask":
            torch.set_rng_state(ctx.random)
        with torch.no_grad() if m == "no_grad" else torch.enable_grad():
            y = ctx.function(*inputs)
        if m not in ("random state moved", "another mask"):
            torch.set_rng_state(now)
        outputs = y if isinstance(y, tuple) else (y,)
        parameters = list(ctx.args[ctx.count :])
        asking = [t for t in [*inputs, *parameters] if isinstance(t, Tensor) and t.requires_grad]
        pairs = [
            (o, g) for o, g in zip(outputs, grads, strict=True) if g is not None and o.requires_grad
        ]
        if m == "ones from above":
            pairs = [(o, torch.ones_like(g)) for o, g in pairs]
        if m == "backward inside":
            torch.autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
            return (
                None,
                None,
                None,
                *(a.grad if isinstance(a, Tensor) else None for a in inputs),
                *(None for _ in parameters),
            )
        if m == "the first output only":
            pairs = pairs[:1]
        found = dict(
            zip(
                map(id, asking),
                torch.autograd.grad(
                    [o for o, _ in pairs], asking, [g for _, g in pairs], allow_unused=True
                ),
                strict=True,
            )
        )
        return None, None, None, *(found.get(id(t)) for t in [*inputs, *parameters])


def _published(function: Any, *args: Any, mistake: str = "") -> Any:
    parameters = (
        list(function.parameters())
        if isinstance(function, nn.Module) and mistake not in ("inputs only", "backward inside")
        else []
    )
    return _Of.apply(function, mistake, len(args), *args, *parameters)


def _kept(function: Any, *args: Any) -> Any:
    y = function(*args)
    function(*args)
    return y


def _plain_hooks(function: Any, *args: Any, mistake: str = "") -> Any:
    if mistake == "statistics twice":
        return checkpoint(function, *args, use_reentrant=False, early_stop=False)
    if mistake == "those of the first run":
        return _statistics_of_the_first(function, *args)
    if mistake == "without random numbers":
        return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    if mistake == "reentrant":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return checkpoint(function, *args, use_reentrant=True)
    return function(*args)


def _statistics_of_the_first(function: Any, *args: Any) -> Any:
    """After the second run, what the first one had left is written, whatever has come since."""
    buffers = list(function.buffers()) if isinstance(function, nn.Module) else []
    left: list[Tensor] = []

    def run(*args: Any) -> Any:
        y = function(*args)
        for b, value in zip(buffers, left, strict=False):
            b.copy_(value)
        left[:] = [b.clone() for b in buffers]
        return y

    return checkpoint(run, *args, use_reentrant=False, early_stop=False)


SAYS = {
    "inputs only": "first.weight gets",
    "backward inside": "The result",
    "another mask": "x is not that of the plain run, for dropout.",
    "random state moved": "state has",
    "draws once more": "state is not that of the plain run, for one",
    "ones from above": "x is not that of the plain run, for one",
    "no_grad": "x gets no",
    "the first output only": "The running",
    "the published Function": "The running",
}
ALSO = {
    "statistics twice": "The running",
    "those of the first run": "After two calls",
    "without random numbers": "x is not that of the plain run, for dropout.",
    "reentrant": "The result",
    "everything kept": "function ran",
}


def oracle(checkpointed: Callable[..., Any]) -> Any:
    """Outputs, gradients, buffers, random states and runs, and the other properties."""

    def told(kind: str, asks: bool, second: bool, power: int) -> Any:
        model, args = _inputs(Drawn(8), kind, asks, second, power)
        found = _run(checkpointed, model, args)
        found["after"] = int(found["after"].sum())
        return {
            k: [
                None if t is None else torch.round(t.double(), decimals=5) + 0.0
                for t in (v.values() if isinstance(v, dict) else v)
            ]
            if isinstance(v, (list, dict))
            else v
            for k, v in found.items()
        }

    found: list[Any] = [tried(told, *case[1:]) for case in CASES]
    for test in (
        _judge_memory,
        _judge_unused,
        _judge_part,
        _judge_no_grad,
        _judge_nested,
        _judge_two_calls,
    ):
        found.append(tried(lambda test=test: test(checkpointed)))
    return found


EXERCISE = Exercise(
    "checkpointed",
    "Two runs, one set of random numbers, every gradient, and no intermediate result in between.",
    check_checkpointed,
    (
        *(Wrong(name, partial(_published, mistake=name), says) for name, says in SAYS.items()),
        *(Wrong(name, partial(_plain_hooks, mistake=name), says) for name, says in ALSO.items()),
        Wrong(
            "runs twice, keeps everything",
            _kept,
            "state is not that of the plain run, for dropout.",
        ),
    ),
    right=(
        Right("hooks on what is saved", with_hooks),
        Right("PyTorch's, with its statistics put back", of_pytorch),
    ),
    may_change=(...,),
    oracle=oracle,
)
