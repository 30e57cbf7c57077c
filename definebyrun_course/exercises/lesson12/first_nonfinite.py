"""Exercise `first_nonfinite`: the first module whose output is not finite."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect
from ...grading.forms import said

__all__ = ["EXERCISE"]

KINDS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
INF, NAN = float("inf"), float("nan")


class Chain(nn.Sequential):
    """Modules in a row; counts its runs, and may add something to the result of the last one."""

    def __init__(self, *modules: nn.Module, added: float = 0.0) -> None:
        super().__init__(*modules)
        self.added, self.runs = added, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(x) + self.added


class Spoil(nn.Module):
    """Puts a number at the last entry of what comes."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x.view(-1)[-1] = self.number
        return x


class Heal(nn.Module):
    """Makes everything finite again."""

    def forward(self, x: Tensor) -> Tensor:
        return x.nan_to_num(0.0, 1.0, -1.0)


class HealInPlace(nn.Module):
    """Makes everything finite again, in the tensor that comes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.nan_to_num_(0.0, 1.0, -1.0)


class Huge(nn.Module):
    """Puts out the largest number of the dtype everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x, torch.finfo(x.dtype).max)


class Fail(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ArithmeticError("this module always fails")


class Crossed(nn.Module):
    """The module that is registered last runs first; both give a nan."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early, self.runs = Spoil(NAN), Spoil(NAN), 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.late(self.early(x))


@dataclass
class Case:
    """A model in words, the model, the right answer, and what to look at where the answer is another."""

    words: str
    model: Any
    want: str | None
    hint: str
    shape: tuple[int, ...] = (2, 3)


def cases() -> list[Case]:
    """From the smallest up."""
    same = nn.Identity
    twice = same()
    return [
        Case("a model of one healthy module", Chain(same()), None,
             "Which of the numbers that come out is not finite?", (1, 1)),
        Case("a model whose module '1' puts out one infinity, and whose module '2' makes it finite",
             Chain(same(), Spoil(INF), Heal(), same()), "1",
             "A hook is called with a module's output, after its forward; infinity is not finite either.", (1, 1)),
        Case("a model whose module '0' puts out a single nan", Chain(Spoil(NAN)), "0",
             "The module finishes before the model that holds it.", (1, 1)),
        Case("a model whose module '0' puts out one nan beside good numbers", Chain(Spoil(NAN)), "0",
             "One bad number is enough."),
        Case("a model whose module '0' puts out -inf, and whose end is finite again",
             Chain(Spoil(-INF), Heal()), "0", "The result does not show what happened inside.", (4, 1)),
        Case("a model whose finite numbers have a sum beyond the largest number",
             Chain(Huge()), None, "Each number counts for itself.", (2, 2)),
        Case("a model in which the nan is born in the module '1.1', inside of '1'",
             Chain(same(), Chain(same(), Spoil(NAN), same())), "1.1",
             "The module '1' contains the culprit, and finishes after it."),
        Case("a model that adds an infinity to the result of its healthy modules",
             Chain(same(), same(), added=INF), "", "named_modules() gives the model itself too."),
        Case("a model whose inner block '0' adds an infinity to the result of its own modules",
             Chain(Chain(same(), added=INF), Heal()), "0", "A module with children can be the one."),
        Case("a model that registers `late` before `early` and runs `early` before `late`, both with a nan",
             Crossed(), "early", "What counts is the order in which the modules finish.", (3, 1, 2)),
        Case("a model that runs its module '0' before and after its module '1', which puts out a nan",
             Chain(twice, Spoil(NAN), twice), "1",
             "A module may run more than once: which output was the first bad one?"),
        Case("a model whose module '1' makes the nan of '0' finite in place", Chain(Spoil(NAN), HealInPlace()), "0",
             "Look at an output when its module finishes; later it may hold other numbers."),
    ]  # fmt: skip


def check_first_nonfinite(first_nonfinite: Callable[[nn.Module, Tensor], Any]) -> None:
    """`first_nonfinite(model, x)` names the module where it begins, or gives None."""
    for dtype in (torch.float32, torch.float64):
        for case in cases():
            _ask(first_nonfinite, case, dtype)
    failing = Chain(nn.Identity(), Fail())
    with suppress(ArithmeticError):
        first_nonfinite(failing, torch.ones(2, 3))
    expect(
        not _hooks(failing) and not getattr(first_nonfinite, "left", []),
        "A module of the model raises an error, and after it your hooks are still there.",
        "What has to be done in any case stands in a finally.",
    )
    draw = drawn()
    for _ in range(5):
        _ask(first_nonfinite, _drawn_case(draw), torch.float64, f" ({draw})")


def _ask(
    first_nonfinite: Callable[..., Any], case: Case, dtype: torch.dtype, seed: str = ""
) -> None:
    # a hook of somebody else: it stays
    next(iter(case.model.children())).register_forward_hook(lambda *_: None)
    x = torch.linspace(-1, 1, torch.Size(case.shape).numel(), dtype=dtype).reshape(case.shape)
    found = first_nonfinite(case.model, x)
    expect(
        case.model.runs == 1,
        f"Your function ran {case.words} {case.model.runs} times instead of once{seed}.",
        "Everything that is needed can be noted during one model(x).",
    )
    expect(
        found is None or isinstance(found, str),
        f"The answer is a name or None; yours is {said(found)}.",
        "named_modules() gives pairs: a name and a module.",
    )
    expect(
        found == case.want,
        f"For {case.words} the answer is {case.want!r}; yours is {found!r}{seed}.",
        case.hint,
    )


def _drawn_case(draw: Drawn) -> Case:
    """Modules in modules; one of them spoils one number."""
    model: nn.Module = Spoil((INF, -INF, NAN)[draw.whole(0, 2)])
    name = []
    for _ in range(draw.whole(1, 3)):
        before, after = draw.whole(0, 2), draw.whole(0, 2)
        name.insert(0, str(before))
        around = [nn.Identity() for _ in range(before + after)]
        model = Chain(*around[:before], model, *around[before:])
    model = Chain(model, Heal())
    wanted = ".".join(["0", *name])
    words = f"a model with a bad number born in the module {wanted!r}, inside of others"
    return Case(words, model, wanted, "The innermost of those that hold it finishes first.")


def _hooks(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if any(getattr(m, kind) for kind in KINDS)]


# ---- right answers, found in other ways ----


def by_global_hook(model: nn.Module, x: Tensor) -> str | None:
    names = {module: name for name, module in model.named_modules()}
    bad = []
    handle = register_module_forward_hook(
        lambda module, args, out: bad.append(module) if not out.isfinite().all() else None
    )
    try:
        model(x)
    finally:
        handle.remove()
    return names[bad[0]] if bad else None


def by_wrapped_forward(model: nn.Module, x: Tensor) -> str | None:
    found = None

    def wrap(name: str, forward: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            nonlocal found
            out = forward(*args)
            if found is None and (out.isnan() | out.isinf()).any():
                found = name
            return out

        return wrapped

    with ExitStack() as undo:
        for name, module in model.named_modules():
            module.forward = wrap(name, module.forward)
            undo.callback(delattr, module, "forward")
        model(x)
    return found


# ---- wrong answers ----


def _bad(out: Tensor) -> bool:
    return not bool(out.isfinite().all())


def _first(model: nn.Module, x: Tensor, bad: Any = _bad, pick: Any = None, keep: bool = False,
           foreign: bool = False, leaves: bool = False, runs: int = 1, inputs: bool = False,
           name_of: Any = None, safe: bool = True) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    finished: list[Any] = []
    handles = []
    for name, module in model.named_modules():
        if leaves and [*module.children()]:
            continue

        def look(module: nn.Module, args: Any, out: Tensor, name: str = name) -> None:
            if bad(args[0] if inputs else out):
                finished.append(name if name_of is None else name_of(module))

        handles.append(module.register_forward_hook(look))
    try:
        for _ in range(runs):
            model(x)
    except ArithmeticError:
        handles = handles if safe else []
        raise
    finally:
        for handle in [] if keep else handles:
            handle.remove()
        for module in model.modules() if foreign else ():
            module._forward_hooks.clear()
    return (pick or (lambda found: found[0]))(finished) if finished else None


def _last_name(model: nn.Module, x: Tensor) -> str | None:
    """A function made in a loop sees the loop's last value."""
    bad: list[str] = []
    handles = []
    for name, module in model.named_modules():
        look = lambda m, args, out: bad.append(name) if _bad(out) else None  # noqa: B023, E731
        handles.append(module.register_forward_hook(look))
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else None


def _registered_first(model: nn.Module, x: Tensor) -> Any:
    order = [name for name, _ in model.named_modules()]
    inner_first = lambda found: min(found, key=lambda n: (-n.count("."), n == "", order.index(n)))  # noqa: E731
    return _first(model, x, pick=inner_first)


def _by_hand(model: nn.Module, x: Tensor) -> str | None:
    """Runs the children itself, one after the other."""
    for name, module in model.named_children():
        x = module(x)
        if _bad(x):
            return name
    return None


def _outputs(model: nn.Module, x: Tensor, last: bool = False) -> str | None:
    """Looks at the outputs after the run: all that there were, or each module's last."""
    outs: list[tuple[str, Tensor]] = []
    handles = [
        m.register_forward_hook(
            lambda m, args, out, name=name: outs.append((name, out.clone() if last else out))
        )
        for name, m in model.named_modules()
    ]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    kept = dict(outs).items() if last else outs
    return next((name for name, out in kept if not out.isfinite().all()), None)


WRONG = {
    "each module's last output": (partial(_outputs, last=True), "before and after its module '1'"),
    "looks after the run": (_outputs, "finite in place the answer is '0'; yours is None"),
    "only nan": (partial(_first, bad=lambda out: out.isnan().any()), "it finite the answer is '1'; yours is None"),
    "only infinity": (partial(_first, bad=lambda out: out.isinf().any()), "single nan the answer is '0'; yours is No"),
    "not the negative infinity": (
        partial(_first, bad=lambda out: (out.isnan() | (out == INF)).any()), "-inf"),
    "the sum": (partial(_first, bad=lambda out: not out.sum().isfinite()), "beyond the largest number"),
    "all numbers bad": (partial(_first, bad=lambda out: not out.isfinite().any()), "beside good numbers"),
    "the outermost": (partial(_first, pick=lambda found: found[-1]), "yours is ''."),
    "modules without children": (partial(_first, leaves=True), "the result of its healthy modules"),
    "what goes in": (partial(_first, inputs=True), "yours is '2'"),
    "the module itself": (partial(_first, name_of=lambda module: module), "is a name or None"),
    "the class": (partial(_first, name_of=lambda m: type(m).__name__), "yours is 'Spoil'"),
    "the order of registration": (_registered_first, "`late` before `early`"),
    "the loop's last name": (_last_name, "yours is '3'"),
    "two runs": (partial(_first, runs=2), "2 times"),
    "children run by hand": (_by_hand, "0 times"),
    "hooks stay": (partial(_first, keep=True), "one is left behind"),
    "the hooks of others taken away": (partial(_first, foreign=True), "one is gone"),
    "no finally": (partial(_first, safe=False), "raises an error"),
}  # fmt: skip


def oracle(first_nonfinite: Callable[..., Any]) -> Any:
    """The names for many models, how often each was run, and which hooks are left, after an error too."""
    told = []
    draws = [_drawn_case(Drawn(seed)) for seed in range(30)]
    for case in [*cases(), *draws, Case("", Chain(nn.Identity(), Fail()), None, "")]:
        for shape in (case.shape, (0, 3), (1,), (2, 3, 2)):
            if torch.Size(shape).numel() == 0 and case.want is not None:
                continue
            case.model.runs = 0
            next(iter(case.model.children())).register_forward_hook(lambda *_: None)
            try:
                found = first_nonfinite(case.model, torch.ones(shape))
            except Exception as error:
                found = type(error).__name__
            hooks = [len(module._forward_hooks) for module in case.model.modules()]
            told.append((repr(found), case.model.runs, hooks))
    return told


EXERCISE = Exercise(
    "first_nonfinite",
    "The first to finish with a bad number, and no hook left.",
    check_first_nonfinite,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    (Right("a hook for every module", by_global_hook), Right("wrapped forwards", by_wrapped_forward)),
    oracle=oracle,
)  # fmt: skip
