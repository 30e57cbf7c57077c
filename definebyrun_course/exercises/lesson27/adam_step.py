"""Exercise `adam_step`: Adam and AdamW, one step at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.utils._pytree import tree_leaves

from ...grading import Drawn, Exercise, Right, Wrong, apart, drawn, expect, near, tried
from ..measures import Held

__all__ = ["EXERCISE"]

DEFAULTS = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
Case = tuple[str, dict[str, Any], str]
CASES: tuple[Case, ...] = (
    (
        "Adam",
        {},
        "Write down m, v and both corrections for the first step: the step is the rate times the sign.",
    ),
    ("another rate", {"lr": 0.3}, "The rate stands once, in front."),
    (
        "other betas",
        {"betas": (0.5, 0.9)},
        "Each mean has a beta of its own, in its update and in its correction.",
    ),
    (
        "eps of 0.1",
        {"eps": 0.1},
        "eps is added to the root, not under it, and after the correction.",
    ),
    (
        "weight decay",
        {"weight_decay": 0.1},
        "Coupled: it is a part of the gradient, from the beginning.",
    ),
    (
        "decoupled weight decay",
        {"weight_decay": 0.1, "decoupled": True},
        "Decoupled: the weights shrink by lr times decay; m and v know nothing of it.",
    ),
    (
        "everything at once",
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2, "decoupled": True},
        "Shrink first, then step.",
    ),
)
TIME = (
    "Steps are counted for each parameter, and only where a gradient "
    "came: the correction is for as many means as there were."
)

MANY, ENTRIES, STEPS = 32, 64, 4
"""Memory is measured with so many parameters of so many entries, over so many steps."""


def start(draw: Drawn, dtype: torch.dtype) -> list[Tensor]:
    """Three parameters; the last one has a single number."""
    return [draw.normal(*shape).to(dtype).requires_grad_() for shape in ((2, 3), (4,), ())]


def gradients(draw: Drawn, params: list[Tensor], nth: int) -> list[Tensor | None]:
    """Gradients of very different sizes; the second parameter gets none in every third step, nor in the first."""
    found: list[Tensor | None] = [
        draw.normal(*p.shape).to(p.dtype) * 10.0 ** (i * 2 - 2) for i, p in enumerate(params)
    ]
    if nth % 3 == 0:
        found[1] = None
    return found


def of_pytorch(params: list[Tensor], settings: dict[str, Any]) -> Optimizer:
    settings = dict(settings)
    kind = AdamW if settings.pop("decoupled") else Adam
    return kind([{"params": [p]} for p in params], foreach=False, **settings)


def check_adam_step(adam_step: Callable[..., Any]) -> None:
    """`adam_step(params, grads, state, …)` writes one step into the parameters, and what it remembers into `state`."""
    for words, changed, hint in CASES:
        for dtype in (torch.float64, torch.float32):
            _judge(
                adam_step, Drawn(3), f"{words} in {dtype}", dict(DEFAULTS) | changed, dtype, 5, hint
            )
    _judge(adam_step, Drawn(4), "twenty steps of Adam", dict(DEFAULTS), torch.float64, 20, TIME)
    _judge_memory(adam_step)
    _judge_changing(adam_step)
    _judge_resume(adam_step)
    draw = drawn()
    betas = draw.whole(0, 9) / 10, draw.whole(5, 9) / 10
    settings = dict(DEFAULTS) | {"lr": draw.whole(1, 9) / 100, "betas": betas, "weight_decay": 0.01}
    _judge(adam_step, draw, f"betas {betas} ({draw})", settings, torch.float64, 6, TIME)


def _call(
    adam_step: Any,
    params: list[Tensor],
    grads: list[Tensor | None],
    state: Any,
    settings: dict[str, Any],
) -> None:
    s = settings
    adam_step(
        params, grads, state, s["lr"], s["betas"], s["eps"], s["weight_decay"], s["decoupled"]
    )


def _judge(
    adam_step: Any,
    draw: Drawn,
    words: str,
    settings: dict[str, Any],
    dtype: torch.dtype,
    steps: int,
    hint: str,
) -> None:
    params = start(draw, dtype)
    twins = [p.detach().clone().requires_grad_() for p in params]
    optimizer, same, state = of_pytorch(twins, settings), list(params), {}  # type: ignore[var-annotated]
    for nth in range(steps):
        grads = gradients(draw, params, nth)
        before = [None if g is None else g.clone() for g in grads]
        for twin, grad in zip(twins, grads, strict=True):
            twin.grad = None if grad is None else grad.clone()
        optimizer.step()
        _call(adam_step, params, grads, state, settings)
        _judge_step(params, twins, same, grads, before, f"for {words}, after step {nth + 1}", hint)


def _judge_step(
    params: list[Tensor],
    twins: list[Tensor],
    same: list[Tensor],
    grads: list[Any],
    before: list[Any],
    where: str,
    hint: str,
) -> None:
    expect(
        len(params) == len(same) and all(a is b for a, b in zip(params, same, strict=True)),
        f"The list holds other tensors than before, {where}.",
        "The model has the old ones: write into them, in place.",
    )
    expect(
        all(p.is_leaf and p.requires_grad and p.grad is None for p in params),
        f"A parameter is no leaf that asks any more, or has a .grad, {where}.",
        "A step is no part of a graph: torch.no_grad() around it.",
    )
    unchanged = all(b is None or torch.equal(g, b) for g, b in zip(grads, before, strict=True))
    expect(unchanged, f"A gradient was changed, {where}.", "The gradients are the caller's.")
    for i, (found, want) in enumerate(zip(params, twins, strict=True)):
        rtol, atol = (1e-9, 1e-12) if want.dtype == torch.float64 else (1e-4, 1e-5)
        if not near(found, want, rtol, atol):
            one, two = found.detach().flatten()[0].item(), want.detach().flatten()[0].item()
            texts = apart(one, two)
            got = " in which no gradient came for it" if before[i] is None else ""
            expect(
                False,
                f"Parameter {i} begins with {texts[0]}; PyTorch's with {texts[1]}, {where}{got}.",
                TIME if i == 1 else hint,
            )


def _judge_memory(adam_step: Any) -> None:
    """What is remembered is as large after the last step as before it, and no second copy stands beside it."""
    for decoupled in (False, True):
        graphs, more, beside = _memory(adam_step, decoupled)
        where = f"With {MANY} parameters of {ENTRIES} numbers each, decoupled={decoupled}"
        expect(
            not graphs,
            f"{where}, a tensor in state has a grad_fn after step {STEPS}: {', '.join(graphs)}.",
            "It keeps alive what it was computed from, in all the steps before: who needs that graph?",
        )
        expect(
            more < 1,
            f"{where}, step {STEPS} leaves {more:.0f} more tensors of that size than there were before it.",
            "What does the next step have to know of all the steps before? It is as much after a thousand steps.",
        )
        # PyTorch's own step holds 3, and one with foreach=True 32; where each intermediate has a name it is 18
        expect(
            beside < 2 * MANY or not decoupled,
            f"{where}, a step holds up to {beside:.0f} tensors of that size at once, beside what it remembers.",
            f"{2 * MANY} are a second copy of all that it remembers. Which ones does the next parameter need?",
        )


def _memory(adam_step: Any, decoupled: bool) -> tuple[list[str], float, float]:
    """Of the last step: graphs in state; what it leaves, and what it holds at most, in sizes of a parameter."""
    draw, held = Drawn(5), Held()
    settings = DEFAULTS | {"weight_decay": 0.1, "decoupled": decoupled}
    params = [draw.normal(ENTRIES).requires_grad_() for _ in range(MANY)]
    state: dict[Any, Any] = {}
    before = 0
    for _ in range(STEPS):
        # one tensor for all of them: what notes the arguments of a call copies it once, inside of what is measured
        grads: list[Tensor | None] = [draw.normal(ENTRIES)] * MANY
        before = held.peak_nbytes = held.nbytes
        with held:
            _call(adam_step, params, grads, state, settings)
    tensors = [each for each in tree_leaves(state) if isinstance(each, Tensor)]
    graphs = sorted({each.grad_fn.name() for each in tensors if each.grad_fn is not None})
    size = params[0].nbytes
    return graphs, (held.nbytes - before) / size, (held.peak_nbytes - before) / size


def _judge_changing(adam_step: Any) -> None:
    """The rate and the betas change between two calls, as they do under a scheduler."""
    draw = Drawn(6)
    params = start(draw, torch.float64)
    twins = [p.detach().clone().requires_grad_() for p in params]
    optimizer, state = of_pytorch(twins, DEFAULTS), {}  # type: ignore[var-annotated]
    for nth, rate in enumerate((0.1, 0.02, 0.5), start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate
        grads = gradients(draw, params, nth)
        for twin, grad in zip(twins, grads, strict=True):
            twin.grad = grad
        optimizer.step()
        _call(adam_step, params, grads, state, DEFAULTS | {"lr": rate})
        expect(
            all(near(a, b, 1e-9) for a, b in zip(params, twins, strict=True)),
            f"When the rate changes from call to call, the parameters differ from PyTorch's after step {nth}.",
            "The rate of a call is the one that is handed over.",
        )


def _judge_resume(adam_step: Any) -> None:
    """A copy of the state goes on like the original, and two models do not share anything."""
    draw = Drawn(8)
    params = start(draw, torch.float64)
    state: dict[Any, Any] = {}
    for nth in range(3):
        _call(adam_step, params, gradients(draw, params, nth), state, DEFAULTS)
    again, saved = [p.detach().clone().requires_grad_() for p in params], copy.deepcopy(state)
    for nth in range(3):
        grads = gradients(draw, params, nth)
        _call(adam_step, params, grads, state, DEFAULTS)
        _call(adam_step, again, grads, saved, DEFAULTS)
    expect(
        all(near(a, b, 1e-9) for a, b in zip(params, again, strict=True)),
        "A copy of parameters and state, made after three steps, goes on in another way than the original.",
        "All that a step remembers is in state, by position: the copies are other tensors, with other ids.",
    )


# ---- right answers ----


def by_formula(
    params: list[Tensor],
    grads: list[Any],
    state: dict[Any, Any],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    with torch.no_grad():
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            if g is None:
                continue
            t, m, v = state.get(i, (0, torch.zeros_like(p), torch.zeros_like(p)))
            if decoupled:
                p.mul_(1 - lr * weight_decay)
            else:
                g = g + weight_decay * p
            t, m, v = t + 1, m.lerp(g, 1 - betas[0]), v.lerp(g * g, 1 - betas[1])
            state[i] = t, m, v
            p -= lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)


def in_place(
    params: list[Tensor],
    grads: list[Any],
    state: dict[Any, Any],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """The products of the betas are remembered instead of the number of steps; everything is written in place."""
    one, two = betas
    for place, grad in enumerate(grads):
        if grad is None:
            continue
        data = params[place].detach()
        if place not in state:
            state[place] = {"m": data * 0, "v": data * 0, "one": 1.0, "two": 1.0}
        s = state[place]
        if not decoupled:
            grad = grad.add(data, alpha=weight_decay)
        s["m"].mul_(one).add_(grad, alpha=1 - one)
        s["v"].mul_(two).addcmul_(grad, grad, value=1 - two)
        s["one"], s["two"] = s["one"] * one, s["two"] * two
        root = s["v"].sqrt().div((1 - s["two"]) ** 0.5).add(eps)
        shrunk = data * (lr * weight_decay) if decoupled else 0
        data.sub_(s["m"] / root * (lr / (1 - s["one"])) + shrunk)


# ---- wrong answers ----


def _adam(
    params: list[Tensor],
    grads: list[Any],
    state: dict[Any, Any],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    mistake: str = "",
) -> None:
    one, two = (0.9, 0.999) if mistake == "betas ignored" else betas
    one, two = (two, one) if mistake == "betas exchanged" else (one, two)
    eps = 1e-8 if mistake == "eps fixed" else eps
    lr = state.setdefault("lr", lr) if mistake == "the first rate" else lr
    state["t"] = state.get("t", 0) + 1
    decoupled = False if mistake == "L2 for AdamW" else decoupled
    with torch.set_grad_enabled(mistake == "a graph in state"):
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            if g is None:
                if mistake == "None as zero":
                    g = torch.zeros_like(p)
                elif mistake != "dies on None":
                    continue
            key = id(p) if mistake == "by id" else i
            if mistake == "one state for all":
                key = 0 if p.dim() == 0 else i
            t, m, v = state.get(key, (0, torch.zeros_like(p), torch.zeros_like(p)))
            t = state["t"] if mistake == "one t for all" else t + 1
            if not decoupled:
                g = g + weight_decay * p
            if mistake == "decay in m only":
                m = one * m + (1 - one) * g
                v = (
                    two * v + (1 - two) * (g - weight_decay * p) ** 2
                    if not decoupled
                    else two * v + (1 - two) * g * g
                )
            else:
                m, v = one * m + (1 - one) * g, two * v + (1 - two) * g * g
            if mistake == "v overwritten":
                v = (1 - two) * g * g
            state[key] = t, m, v
            a, b = 1 - one**t, 1 - two**t
            if mistake == "no correction":
                a = b = 1.0
            if mistake == "corrected by the square":
                a, b = 1 - one**2, 1 - two**2
            root = (v / b + eps).sqrt() if mistake == "eps under the root" else (v / b).sqrt() + eps
            root = v / b + eps if mistake == "no root" else root
            if mistake == "eps before the correction":
                root = (v.sqrt() + eps) / b**0.5
            shrink = 1 - lr * weight_decay if decoupled else 1
            if mistake == "shrinks by the decay alone" and decoupled:
                shrink = 1 - weight_decay
            if mistake == "gradient written" and not decoupled:
                grads[i].add_(weight_decay * p + 1e-9)
            if mistake == "new tensors":
                params[i] = (p * shrink - lr * (m / a) / root).requires_grad_()
                continue
            p.detach().copy_(
                (p - lr * (m / a) / root) * shrink
                if mistake == "shrinks last"
                else p * shrink - lr * (m / a) / root
            )


def _with_a_graph(
    params: list[Tensor], grads: list[Any], state: dict[Any, Any], lr: float, *rest: Any
) -> None:
    by_formula(params, grads, state, lr, *rest)
    for p in params:
        p.grad = torch.zeros_like(p)


def _new_means_for_all(
    params: list[Tensor], grads: list[Any], state: dict[Any, Any], lr: float, *rest: Any
) -> None:
    """The old means stay where they are until all new ones have been made."""
    new = dict(state)
    by_formula(params, grads, new, lr, *rest)
    state.update(new)


def _joined(
    params: list[Tensor],
    grads: list[Any],
    state: dict[Any, Any],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """One long tensor of all parameters that have a gradient, one of their gradients, and so on."""
    found = [(i, p, g) for i, (p, g) in enumerate(zip(params, grads, strict=True)) if g is not None]
    none = {i: torch.zeros(3, p.numel(), dtype=p.dtype) for i, p, _ in found}
    t, m, v = torch.cat([state.get(i, none[i]) for i, _, _ in found], 1)
    p = torch.cat([p.detach().flatten() for _, p, _ in found])
    g = torch.cat([g.flatten() for _, _, g in found])
    g = g if decoupled else g + weight_decay * p
    t, m, v = t + 1, m.lerp(g, 1 - betas[0]), v.lerp(g * g, 1 - betas[1])
    p = p * (1 - lr * weight_decay) if decoupled else p
    p = p - lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)
    sizes = [old.numel() for _, old, _ in found]
    states = torch.stack([t, m, v]).split(sizes, 1)
    for (i, old, _), new, means in zip(found, p.split(sizes), states, strict=True):
        old.detach().copy_(new.view_as(old))
        state[i] = means


def _every_gradient_kept(
    params: list[Tensor], grads: list[Any], state: dict[Any, Any], lr: float, *rest: Any
) -> None:
    """The means need their last values only, and all gradients are kept beside them."""
    by_formula(params, grads, state.setdefault("means", {}), lr, *rest)
    state.setdefault("gradients", []).append([None if g is None else g.clone() for g in grads])


SAYS = {
    "no correction": "with 0.7717;",
    "corrected by the square": "with 0.7958;",
    "eps under the root": "with 0.7932764;",
    "eps before the correction": "with 0.7932763;",
    "no root": "with -0.00448;",
    "betas ignored": "with 0.7837;",
    "betas exchanged": "with 0.7834;",
    "eps fixed": "with 0.8022,",
    "v overwritten": "with 0.7747;",
    "L2 for AdamW": "0.7933; PyTorch's with 0.7925,",
    "shrinks by the decay alone": "with 0.7129;",
    "shrinks last": "with 0.79248;",
    "decay in m only": "with 0.7284;",
    "one t for all": "Parameter 1",
    "None as zero": "Parameter 1",
    "dies on None": "Your code",
    "by id": "of parameters",
    "new tensors": "The list",
    "gradient written": "Your function",
    "the first rate": "When the",
    "a graph in state": "has a grad_fn",
}


def oracle(adam_step: Callable[..., Any]) -> Any:
    """Parameters after some steps, with many settings, and what a step holds."""

    def told(changed: dict[str, Any], dtype: torch.dtype, steps: int) -> Any:
        draw, settings, state = Drawn(steps), dict(DEFAULTS) | changed, {}  # type: ignore[var-annotated]
        params = start(draw, dtype)
        same, found = list(params), []
        for nth in range(steps):
            if nth == 2:
                settings["lr"] = settings["lr"] / 2
                params, state = copy.deepcopy([params, state])
                same = list(params)
            grads = gradients(draw, params, nth)
            kept = copy.deepcopy(grads)
            _call(adam_step, params, grads, state, settings)
            same_grads = [a is None or torch.equal(a, b) for a, b in zip(kept, grads, strict=True)]  # type: ignore[arg-type]
            found.append(
                [[torch.round(p.detach().double(), decimals=4) + 0.0 for p in params], same_grads]
            )
        return [
            found,
            [a is b and a.is_leaf and a.grad is None for a, b in zip(same, params, strict=True)],
        ]

    def held(decoupled: bool) -> list[bool]:
        graphs, more, beside = _memory(adam_step, decoupled)
        return [bool(graphs), more >= 1, decoupled and beside >= 2 * MANY]

    wide = [
        (changed, d, n)
        for _, changed, _ in CASES
        for d in (torch.float64, torch.float32)
        for n in (1, 5)
    ]
    wide += [
        ({"betas": (0.0, 0.5), "weight_decay": w, "decoupled": d}, torch.float64, 5)
        for w in (0.0, 0.5)
        for d in (True, False)
    ]
    return [*(tried(told, *each) for each in wide), *(tried(held, d) for d in (True, False))]


EXERCISE = Exercise(
    "adam_step",
    "Two means, two corrections, one step for each gradient that came.",
    check_adam_step,
    (
        *(Wrong(name, partial(_adam, mistake=name), says) for name, says in SAYS.items()),
        Wrong("a .grad written", _with_a_graph, "or has a .grad"),
        Wrong("new means for all", _new_means_for_all, "holds up to"),
        Wrong("all parameters joined", _joined, "holds up to"),
        Wrong("every gradient kept", _every_gradient_kept, "more tensors"),
    ),
    right=(Right("by the formula", by_formula), Right("in place", in_place)),
    may_change=(0, 2),
    oracle=oracle,
    allows={"returns its argument": "what adam_step returns is free: the parameters are written"},
)
