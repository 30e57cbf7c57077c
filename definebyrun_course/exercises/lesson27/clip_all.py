"""Exercise `clip_all`: a hook on the optimizer that clips by the global norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    drawn,
    expect,
    forms,
    near,
    tried,
)

__all__ = ["EXERCISE"]

Grads = list[list[float] | None]
Case = tuple[str, list[Grads], float, str]
JOINT = "One norm for all gradients of all groups: the root of the sum of all squares."
CASES: tuple[Case, ...] = (
    (
        "one number above the limit",
        [[[-4.0]]],
        2.0,
        "Times the limit, divided by the norm; the sign stays.",
    ),
    (
        "one number below the limit",
        [[[1.5]]],
        2.0,
        "A norm below the limit changes nothing, to the last bit.",
    ),
    ("a norm that is just the limit", [[[3.0, 4.0]]], 5.0, "Not above the limit: nothing changes."),
    ("zeros", [[[0.0, 0.0]]], 1.0, "Is something divided by the norm?"),
    ("two tensors of one group", [[[3.0], [4.0]]], 1.0, JOINT),
    ("two groups", [[[3.0]], [[4.0]]], 1.0, JOINT),
    (
        "a parameter without a gradient",
        [[None, [6.0, 8.0]]],
        5.0,
        "None is no gradient, and stays None.",
    ),
    ("no gradient at all", [[None]], 5.0, "The norm of nothing is 0."),
)


def made(groups: list[Grads]) -> tuple[Optimizer, list[list[Tensor]]]:
    """An optimizer with a rate of 1, and its parameters, which hold these gradients."""
    params = [[_param(g) for g in group] for group in groups]
    optimizer = SGD([{"params": group} for group in params], lr=1.0)
    return optimizer, params


def _param(grad: list[float] | None) -> Tensor:
    size = 2 if grad is None else len(grad)
    parameter = nn.Parameter(torch.zeros(size, dtype=torch.float64))
    parameter.grad = None if grad is None else torch.tensor(grad, dtype=torch.float64)
    return parameter


def joint(groups: list[Grads]) -> float:
    return math.sqrt(sum(x * x for group in groups for g in group if g is not None for x in g))


def hooks_of(optimizer: Optimizer) -> int:
    """The hooks on an optimizer and on its parameters."""
    names = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    on_params = [
        len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ())
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    return sum(len(getattr(optimizer, name)) for name in names) + sum(on_params)


def check_clip_all(clip_all: Callable[..., Any]) -> None:
    """Within `clip_all(optimizer, max_norm)` each step first clips the joint norm of all gradients."""
    for case in CASES:
        _judge(clip_all, *case)
    for test in TESTS:
        test(clip_all)
    draw = drawn()
    groups: list[Grads] = [
        [draw.normal(draw.whole(1, 4)).tolist() for _ in range(draw.whole(1, 3))] for _ in range(2)
    ]
    _judge(clip_all, f"gradients {draw}", groups, draw.whole(1, 30) / 10, JOINT)


def _judge(clip_all: Any, words: str, groups: list[Grads], limit: float, hint: str) -> None:
    optimizer, params = made(groups)
    with clip_all(optimizer, limit) as norms:
        for nth in (1, 2):
            for group, given in zip(params, groups, strict=True):
                for p, g in zip(group, given, strict=True):
                    p.grad = None if g is None else torch.tensor(g, dtype=torch.float64) * nth
            before = [p.detach().clone() for group in params for p in group]
            optimizer.step()
            total = joint(groups) * nth
            factor = limit / total if total > limit else 1.0
            flat = [
                (p, g)
                for group, given in zip(params, groups, strict=True)
                for p, g in zip(group, given, strict=True)
            ]
            for i, ((p, g), old) in enumerate(zip(flat, before, strict=True)):
                _judge_one(
                    p,
                    g,
                    old,
                    factor * nth,
                    f"for {words}, limit {limit:g}, gradient {i}, step {nth}",
                    hint,
                )
            listed = forms.numbers(list(norms), "The list of norms")
            expect(
                len(listed) == nth and near(listed[-1], total, 1e-5),
                f"The norms are {[round(n, 4) for n in listed]} after "
                f"step {nth} for {words}, limit {limit:g}; the last one is "
                f"{total:.4g} before it is clipped.",
                "One number for each step: how long the gradient was before it was clipped.",
            )


def _judge_one(
    p: Tensor, g: list[float] | None, old: Tensor, factor: float, where: str, hint: str
) -> None:
    if g is None:
        expect(p.grad is None, f"A gradient of None has become {p.grad}, {where}.", hint)
        return
    want = torch.tensor(g, dtype=torch.float64) * factor
    found = torch.zeros_like(want) if p.grad is None else p.grad
    texts = apart(found.tolist(), want.tolist())
    expect(
        near(found, want, 1e-5, 0.0),
        f"The gradient is {texts[0]}; it should be {texts[1]}, {where}.",
        hint,
    )
    expect(
        near(old - p.detach(), want, 1e-5, 1e-9),
        f"The step did not use the clipped gradient, {where}.",
        "Before the step, not after it.",
    )


def _judge_bits(clip_all: Any) -> None:
    optimizer, [[p]] = made([[[0.1, 0.7]]])
    before = p.grad.clone()  # type: ignore[union-attr]
    with clip_all(optimizer, 10.0):
        optimizer.step()
    expect(
        torch.equal(p.grad, before),
        "A gradient below the limit differs in its last bits.",
        "Nothing is multiplied, not even by 1 - 1e-6.",
    )  # type: ignore[arg-type]


def _judge_sums(clip_all: Any) -> None:
    """Two backward passes before a step: their sum is clipped, once."""
    optimizer, [[p]] = made([[None]])
    with clip_all(optimizer, 5.0) as norms:
        (p * torch.tensor([6.0, 0.0])).sum().backward()
        (p * torch.tensor([0.0, 8.0])).sum().backward()
        expect(
            p.grad is not None and near(p.grad, [6.0, 8.0]),
            f"After two backward passes and before the step, .grad is {p.grad}.",
            "Pieces are summed first; who clips while they come clips each of them.",
        )
        optimizer.step()
    expect(
        near(p.grad, [3.0, 4.0]),
        f"[6, 0] and [0, 8] have come, the limit is 5: .grad is {p.grad} after the step.",
        JOINT,
    )
    expect(
        near(forms.numbers(list(norms), "The list of norms"), [10.0]),
        f"Two passes and one step list the norms {list(norms)}.",
        "A norm for each step.",
    )


def _judge_tied(clip_all: Any) -> None:
    p = _param([3.0, 4.0])
    optimizer = SGD([{"params": [p]}, {"params": [_param([0.0])]}], lr=1.0)
    optimizer.param_groups[1]["params"].append(p)
    with clip_all(optimizer, 2.5) as norms:
        optimizer.step()
    expect(
        near(list(norms), [5.0]) and near(p.grad, [1.5, 2.0]),
        f"A weight that is in two groups, with the gradient [3, 4], "
        f"gives the norm {list(norms)} and the gradient {p.grad}; "
        "its norm is 5, and the limit 2.5.",
        "A tensor that is met twice has one gradient: it is measured once and scaled once.",
    )


def _judge_when(clip_all: Any) -> None:
    """A step before the region is entered; then a group that comes inside it."""
    optimizer, [[p]] = made([[[3.0]]])
    region = clip_all(optimizer, 1.0)
    optimizer.step()
    expect(
        near(p.grad, [3.0]),
        f"A step between clip_all(optimizer, 1) and its with makes {p.grad} of the gradient [3].",
        "The region begins where it is entered.",
    )
    with region as norms:
        optimizer.add_param_group({"params": [late := _param([4.0])]})
        optimizer.step()
    expect(
        near(list(norms), [5.0]) and near(late.grad, [0.8]),
        f"[3] is there, a group with [4] is added inside the region, the limit is 1: the norms are {list(norms)}, "
        f"and the gradients {p.grad} and {late.grad}; the joint norm is 5.",
        "Whose gradients does this step use?",
    )


def _judge_nan(clip_all: Any) -> None:
    for bad in (math.nan, math.inf):
        optimizer, params = made([[[3.0], [bad]], [[4.0]]])
        flat = [p for group in params for p in group]
        before = [p.detach().clone() for p in flat]
        region, norms = clip_all(optimizer, 1.0), []
        try:
            with region as norms:
                optimizer.step()
        except (ValueError, ArithmeticError, RuntimeError):
            pass
        else:
            raise Mistake(
                f"A gradient that holds {bad} goes through; an error is asked for.",
                "What does a norm of nan make of all others?",
            )
        grads = [float(p.grad) for p in flat]  # type: ignore[arg-type]
        expect(
            grads[0] == 3 and grads[2] == 4 and all(map(torch.equal, before, flat)),
            f"When a gradient holds {bad}, the others have become {grads[::2]}.",
            "Look at the norm before you multiply by it.",
        )
        expect(
            not list(norms),
            f"When a gradient holds {bad}, the norms are {list(norms)} after the error; no step was made.",
            "Look at the norm before you list it.",
        )
        expect(
            hooks_of(optimizer) == 0,
            "After the error, a hook is left.",
            "try … finally, around the yield.",
        )


def _judge_end(clip_all: Any) -> None:
    optimizer, [[p]] = made([[[3.0, 4.0]]])
    seen: list[int] = []
    handle = optimizer.register_step_post_hook(lambda *_: seen.append(1))
    with clip_all(optimizer, 1.0):
        optimizer.step()
    p.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    optimizer.step()
    expect(
        near(p.grad, [3.0, 4.0]),
        f"A step after the region still clips: .grad is {p.grad}.",
        "The hook goes with the region.",
    )
    expect(
        len(seen) == 2,
        "A hook that was on the optimizer before is gone.",
        "Remove your own, by its handle.",
    )
    handle.remove()
    expect(
        hooks_of(optimizer) == 0,
        "After the region a hook is left.",
        "Registering gives a handle; call its remove().",
    )
    with clip_all(optimizer, 1.0), clip_all(optimizer, 0.5):
        p.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
        optimizer.step()
    expect(
        near(p.grad, [0.3, 0.4]),
        f"In two regions, limits 1 and 0.5, [3, 4] becomes {p.grad}.",
        "Each region has a hook and a limit of its own.",
    )
    try:
        with clip_all(optimizer, 1.0):
            raise KeyError("the caller's own error")
    except KeyError:
        pass
    else:
        raise Mistake("An error inside the region is swallowed.", "try … finally, and no except.")
    expect(
        hooks_of(optimizer) == 0,
        "After an error in the region, a hook is left.",
        "try … finally, around the yield.",
    )


TESTS = (_judge_bits, _judge_sums, _judge_tied, _judge_when, _judge_nan, _judge_end)

# ---- right answers ----


class clip_by_class:
    """A context manager as a class."""

    def __init__(self, optimizer: Optimizer, max_norm: float) -> None:
        self.optimizer, self.max_norm, self.norms = optimizer, max_norm, []  # type: ignore[var-annotated]

    def __enter__(self) -> list[float]:
        self.handle = self.optimizer.register_step_pre_hook(self._clip)
        return self.norms

    def __exit__(self, *error: Any) -> None:
        self.handle.remove()

    def _clip(self, optimizer: Optimizer, *_: Any) -> None:
        params = {id(p): p for group in optimizer.param_groups for p in group["params"]}
        grads = [p.grad for p in params.values() if p.grad is not None]
        norm = sum(float(g.square().sum()) for g in grads) ** 0.5
        if not math.isfinite(norm):
            raise ValueError(f"the norm is {norm}")
        self.norms.append(norm)
        for g in grads:
            if norm > self.max_norm:
                g *= self.max_norm / norm


def clip_by_function(optimizer: Optimizer, max_norm: float) -> Any:
    """PyTorch's own norm and clipping in a hook, in a generator."""
    import contextlib

    @contextlib.contextmanager
    def region() -> Any:
        norms: list[float] = []

        def hook(*_: Any) -> None:
            params = list(
                dict.fromkeys(p for group in optimizer.param_groups for p in group["params"])
            )
            total = nn.utils.get_total_norm(
                [p.grad for p in params if p.grad is not None], error_if_nonfinite=True
            )
            norms.append(total.item())
            if total > max_norm:
                nn.utils.clip_grads_with_norm_(params, max_norm, total)

        handle = optimizer.register_step_pre_hook(hook)
        try:
            yield norms
        finally:
            handle.remove()

    return region()


# ---- wrong answers ----


class _Clip:
    def __init__(self, optimizer: Optimizer, max_norm: float, mistake: str) -> None:
        self.optimizer, self.limit, self.mistake = optimizer, max_norm, mistake
        self.norms: list[Any] = []
        self.handles: list[Any] = []
        if mistake == "set at the call":
            self.handles.append(optimizer.register_step_pre_hook(self._hook))

    def __enter__(self) -> Any:
        o, m = self.optimizer, self.mistake
        params = [p for group in o.param_groups for p in group["params"]]
        self.kept = (p for p in params) if m == "a generator used up" else params
        if m in ("value hooks", "pieces", "the first to come"):
            self.handles = [p.register_hook(self._piece) for p in params]
        if m in ("value hooks", "set at the call"):
            return self.norms
        register = o.register_step_post_hook if m == "after the step" else o.register_step_pre_hook
        self.handles.append(register(self._hook))
        return self.norms

    def _piece(self, grad: Tensor) -> Any:
        if self.mistake == "value hooks":
            return grad.clamp(-self.limit, self.limit)
        return grad * (self.limit / grad.norm()).clamp(max=1)

    def _hook(self, optimizer: Optimizer, *_: Any) -> None:
        m = self.mistake
        params = [p for group in optimizer.param_groups for p in group["params"]]
        params = list(self.kept) if m in ("a generator used up", "listed on entry") else params
        params = params if m == "counted twice" else list(dict.fromkeys(params))
        if m == "the first group":
            params = optimizer.param_groups[0]["params"]
        if m == "dies on None":
            grads = [p.grad.detach() for p in params]
        else:
            grads = [p.grad for p in params if p.grad is not None]
        norm = sum(float(g.square().sum()) for g in grads) ** 0.5
        if m == "largest norm":
            norm = max([float(g.norm()) for g in grads], default=0.0)
        if m == "sum of norms":
            norm = sum(float(g.norm()) for g in grads)
        if m == "nan is listed" and not math.isfinite(norm):
            self.norms.append(norm)
        if not math.isfinite(norm) and m != "nan spreads":
            raise ValueError("not finite")
        factor = (
            self.limit / (norm + 1e-6)
            if m == "always"
            else self.limit / norm
            if norm > self.limit
            else 1.0
        )
        if m == "nan spreads" and not math.isfinite(norm):
            factor = self.limit / norm
        if m == "always":
            factor = min(factor, 1 - 1e-9)
        for g in grads:
            own = float(g.norm())
            g.mul_(
                factor if m != "each on its own" else self.limit / own if own > self.limit else 1.0
            )
            if m == "a thousandth" and norm > self.limit:
                g.mul_(1e-3)
        if m == "None filled":
            for p in params:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if m != "no norms":
            self.norms.append(norm * factor if m == "the clipped norm" else norm)

    def __exit__(self, kind: Any, *error: Any) -> Any:
        if self.mistake == "hooks left" or (
            self.mistake == "left after an error" and kind is not None
        ):
            return None
        if self.mistake == "all hooks removed":
            self.optimizer._optimizer_step_pre_hooks.clear()
            self.optimizer._optimizer_step_post_hooks.clear()
        for handle in self.handles:
            handle.remove()
        return True if self.mistake == "swallows" and kind is KeyError else None


SAYS = {
    "each on its own": "[1]; it should be [0.6], for two tensors",
    "the first group": "groups, limit",
    "largest norm": "is [0.75];",
    "sum of norms": "is [0.4286];",
    "value hooks": "is [-4];",
    "pieces": "After two",
    "after the step": "The step",
    "a generator used up": "is [-8];",
    "counted twice": "A weight",
    "dies on None": "The check",
    "None filled": "gradient of",
    "always": "gradient below",
    "nan spreads": "gradient that",
    "a thousandth": "is [-0.002];",
    "the clipped norm": "are [2.0]",
    "no norms": "[] after",
    "hooks left": "After the",
    "left after an error": "After the",
    "all hooks removed": "hook that",
    "swallows": "An error",
    "set at the call": "A step between",
    "listed on entry": "the norms are [3.0], and",
    "nan is listed": "the norms are [nan] after",
}


def oracle(clip_all: Callable[..., Any]) -> Any:
    """Gradients, parameters, norms and hooks after some steps."""

    def told(groups: list[Grads], limit: float) -> Any:
        optimizer, params = made(groups)
        with clip_all(optimizer, limit) as norms:
            optimizer.step()
            for group in params:
                for p in group:
                    if p.grad is not None:
                        p.grad = p.grad * 3 + 1
            optimizer.step()
            told = [round(float(n), 3) for n in norms]
        flat = [p for group in params for p in group]
        return [
            [None if p.grad is None else torch.round(p.grad, decimals=3) + 0.0 for p in flat],
            [torch.round(p.detach(), decimals=3) + 0.0 for p in flat],
            told,
            hooks_of(optimizer),
        ]

    draw = Drawn(0)
    wide: list[Any] = [(groups, limit * k) for _, groups, limit, _ in CASES for k in (1, 0.3)]
    wide += [
        ([[draw.normal(3).tolist(), None], [draw.normal(2).tolist()]], limit)
        for limit in (0.1, 1.0, 2.0, 9.0)
    ]
    found: list[Any] = [tried(told, *each) for each in wide]
    for test in TESTS:
        found.append(tried(lambda test=test: test(clip_all)))
    return found


EXERCISE = Exercise(
    "clip_all",
    "One norm for all, before the step, and no hook left.",
    check_clip_all,
    tuple(Wrong(name, partial(_Clip, mistake=name), says) for name, says in SAYS.items()),
    right=(
        Right("a class", clip_by_class),
        Right("PyTorch's clipping in a hook", clip_by_function),
    ),
    may_change=(0,),
    oracle=oracle,
)
