"""Exercise `update`: a step of gradient descent in place, which the books know of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, near, plain, shown, untouched
from ..mistakes import then

__all__ = ["EXERCISE"]

Update = Callable[[list[Tensor], float], Any]


def _parameter(numbers: Any, grad: Any, asks: bool = True) -> Tensor:
    made = torch.as_tensor(numbers, dtype=torch.get_default_dtype()).clone().requires_grad_(asks)
    made.grad = None if grad is None else torch.as_tensor(grad, dtype=made.dtype).clone()
    return made


def _cases() -> list[tuple[list[Tensor], float]]:
    w = [[0.7, -1.3, 2.1], [0.4, 0.9, -0.2]]
    idle, frozen = _parameter([5.0], None), _parameter([[2.0]], None, asks=False)
    return [
        ([_parameter([1.5], [2.0])], 0.1),
        ([_parameter([1.5], [2.0]), _parameter(w, [[3.0, 0.0, 1.0], [2.0, -1.0, 7.0]])], 0.3),
        ([idle, _parameter([1.5, -0.5], [2.0, 11.0]), frozen], 1e-3),
        ([], 0.1),
    ]


def check_update(update: Update) -> None:
    """`update(parameters, lr)` is a step of gradient descent, in place, unrecorded and counted."""
    for parameters, lr in _cases():
        _judge(update, parameters, lr, "")
    draw = drawn()
    parameters = [_parameter(draw.normal(*s), draw.normal(*s)) for s in ((), (2,), (3, 1, 2))]
    _judge(update, parameters, float(draw.uniform(1, low=0.1)), f" ({draw})")


def _judge(update: Update, parameters: list[Tensor], lr: float, source: str) -> None:
    given = list(parameters)
    before = [p.detach().clone() for p in given]
    grads = [p.grad for p in given]
    flags, places = [p.requires_grad for p in given], [p.data_ptr() for p in given]
    graphs = [(p * p).sum() for p in given if p.grad is not None]
    with untouched(**{f"grad_{i}": g for i, g in enumerate(grads) if g is not None}):
        update(parameters, lr)
    same = len(parameters) == len(given) and all(
        one is two for one, two in zip(parameters, given, strict=True)
    )
    expect(
        same,
        f"The list holds other tensors after your update{source}.",
        "`p = p - …` and `parameters[i] = …` give a name to a new tensor: the model knows nothing of that one.",
    )
    expect(
        places == [p.data_ptr() for p in given],
        f"A parameter has other memory after your update{source}.",
        "Views of it, and whoever else shares its memory, keep the old numbers: write into what is there.",
    )
    for p, was, grad, asks in zip(given, before, grads, flags, strict=True):
        _judge_one(p, was, grad, asks, lr, source)
    for graph in graphs:
        _noticed(graph)


def _judge_one(
    p: Tensor, was: Tensor, grad: Tensor | None, asks: bool, lr: float, source: str
) -> None:
    expect(
        p.is_leaf and p.requires_grad == asks,
        "A parameter is no longer a leaf that asks for gradients."
        if asks
        else "A tensor that did not ask does now.",
        "The write must not be recorded, and the flag stays as it was.",
    )
    expect(
        p.grad is grad,
        f"A parameter's .grad is {shown(p.grad)} after your update; it was {shown(grad)}.",
        "The next backward adds to it, or somebody else clears it: here it stays.",
    )
    if grad is None:
        expect(
            near(p, was),
            f"A parameter without a gradient was {shown(was)}, and is {shown(p)} now.",
            "Where .grad is None there is no step to take.",
        )
        return
    expect(
        not near(p, was),
        f"The parameter is {shown(p)} as before, with lr = {lr:.3g} and a gradient of {shown(grad)}{source}.",
        "Write into the tensor; an assignment only gives its name to another one.",
    )
    right = was - lr * grad
    expect(
        near(p, right),
        f"From {shown(was)}, with lr = {lr:.3g} and a gradient of {shown(grad)}, yours goes to {shown(p)}{source}.",
        "w - lr * w.grad, element by element, and nothing else: no decay, no momentum.",
    )


def _noticed(graph: Tensor) -> None:
    try:
        graph.backward()
    except RuntimeError:
        return
    expect(
        False,
        "A graph that had saved the old parameter did not notice the write.",
        "The write went past the version counter: which ways of writing does PyTorch count?",
    )


# ---- answers ----


def stepped(
    parameters: list[Tensor],
    lr: float,
    step: Callable[[Tensor, Tensor, float], Any] = lambda p, grad, lr: p.sub_(grad, alpha=lr),
    idle: Callable[[Tensor], Any] = lambda p: None,
    after: Callable[[Tensor], Any] = lambda p: None,
) -> None:
    """The solution with its usual mistakes as switches."""
    with torch.no_grad():
        for p in parameters:
            if p.grad is None:
                idle(p)
            else:
                step(p, p.grad, lr)
                after(p)


def _assigned(parameters: list[Tensor], lr: float) -> None:
    for i, p in enumerate(parameters):
        if p.grad is not None:
            parameters[i] = p - lr * p.grad


def _renamed(parameters: list[Tensor], lr: float) -> None:
    for p in parameters:
        if p.grad is not None:
            p = p - lr * p.grad


def _through_data(parameters: list[Tensor], lr: float) -> None:
    for p in parameters:
        if p.grad is not None:
            p.data.sub_(lr * p.grad)


def _new_data(parameters: list[Tensor], lr: float) -> None:
    for p in parameters:
        if p.grad is not None:
            p.data = p.data - lr * p.grad


def _in_the_open(parameters: list[Tensor], lr: float) -> None:
    for p in parameters:
        if p.grad is not None:
            p -= lr * p.grad


def _never_back(parameters: list[Tensor], lr: float) -> None:
    torch.set_grad_enabled(False)
    for p in parameters:
        if p.grad is not None:
            p -= lr * p.grad


def _not_all(parameters: list[Tensor], lr: float) -> None:
    with torch.no_grad():
        for p in parameters:
            if p.grad is None:
                return
            p -= lr * p.grad


def _foreach(parameters: list[Tensor], lr: float) -> None:
    moving = [p for p in parameters if p.grad is not None]
    if moving:
        with torch.no_grad():
            torch._foreach_add_(moving, [p.grad for p in moving], alpha=-lr)


def _by_the_optimizer(parameters: list[Tensor], lr: float) -> None:
    if parameters:
        torch.optim.SGD(list(parameters), lr=lr).step()


def _through_detach(parameters: list[Tensor], lr: float) -> None:
    """`detach` shares the memory and the version counter."""
    for p in parameters:
        if p.grad is not None:
            p.detach().copy_(p.detach() - lr * p.grad)


def updated(update: Update) -> Any:
    """The oracle: all about the parameters afterwards, and whether graphs notice."""
    cases = _cases()
    draw = Drawn(3)
    for shape in ((), (0,), (1,), (7, 3)):
        for scale in (1e-8, 1.0, 1e8):
            grad = draw.normal(*shape) * scale
            cases.append(([_parameter(draw.normal(*shape), grad)], 0.03))
    found: list[Any] = []
    for parameters, lr in cases:
        given, places = list(parameters), [p.data_ptr() for p in parameters]
        graphs = [p * p for p in parameters if p.grad is not None]
        grads = [p.grad for p in given]
        try:
            update(parameters, lr)
            told: list[Any] = [torch.is_grad_enabled()]
        except Exception as error:
            told = [type(error).__name__]
        torch.set_grad_enabled(True)
        told.append([one is two for one, two in zip(parameters, given, strict=False)])
        told += [
            [plain(p, asks=True), p.is_leaf, p.grad is g, plain(g), p.data_ptr() == place]
            for p, g, place in zip(given, grads, places, strict=True)
        ]
        told += [_gets_through(graph) for graph in graphs]
        found.append(told)
    return found


def _gets_through(graph: Tensor) -> bool:
    try:
        graph.sum().backward()
    except RuntimeError:
        return False
    return True


EXERCISE = Exercise(
    "update",
    "In place, unrecorded, and counted.",
    check_update,
    (
        Wrong("a new tensor in the list", _assigned, "holds other tensors"),
        Wrong("a name for a new tensor", _renamed, "The parameter is [1.5] as before"),
        Wrong("through .data", _through_data, "did not notice the write"),
        Wrong("recorded", _in_the_open, "a leaf Variable that requires grad"),
        Wrong("gradients left off", _never_back, "gradients, which are switched on"),
        Wrong(
            "uphill",
            lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.add_(lr * g)),
            "yours goes to [1.7]",
        ),
        Wrong(
            "the sign of the gradient",
            lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.sub_(lr * g.sign())),
            "yours goes to [1.4]",
        ),
        Wrong(
            "without lr",
            lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.sub_(g)),
            "yours goes to [-0.5]",
        ),
        Wrong(
            "with decay",
            lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.sub_(lr * (g + 0.1 * p))),
            "yours goes to [1.285]",
        ),
        Wrong(
            "the gradient scaled in place",
            lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.sub_(g.mul_(lr))),
            "leave alone: grad_0",
        ),
        Wrong(
            "the gradient cleared",
            lambda ps, lr: stepped(ps, lr, after=lambda p: setattr(p, "grad", None)),
            ".grad is None after your update",
        ),
        Wrong(
            "the gradient zeroed",
            lambda ps, lr: stepped(ps, lr, after=lambda p: p.grad.zero_()),
            "leave alone: grad_0",
        ),
        Wrong(
            "the flag switched off",
            lambda ps, lr: stepped(ps, lr, after=lambda p: p.requires_grad_(False)),
            "no longer a leaf that asks",
        ),
        Wrong(
            "idle ones zeroed",
            lambda ps, lr: stepped(ps, lr, idle=lambda p: p.zero_()),
            "without a gradient was [5]",
        ),
        Wrong("ends at one without a gradient", _not_all, "The parameter is [1.5, -0.5] as before"),
        Wrong("the list emptied", then(stepped, lambda ps, lr: ps.clear()), "holds other tensors"),
        Wrong("other data", _new_data, "has other memory"),
        Wrong(
            "other memory",
            lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.set_(p - lr * g)),
            "has other memory",
        ),
    ),
    right=(
        Right("the optimizer's step", _by_the_optimizer),
        Right("all at once", _foreach),
        Right("through detach", _through_detach),
        Right("sub_ with alpha", stepped),
        Right("copied in", lambda ps, lr: stepped(ps, lr, lambda p, g, lr: p.copy_(p - lr * g))),
    ),
    may_change=(0,),
    oracle=updated,
    allows={"returns its argument": "what the function returns is asked nowhere"},
)
