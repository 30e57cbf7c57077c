"""Exercises of lesson 09, Beyond first gradients: accumulation, a Function, a penalty, a step, norms per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, func, nn
from torch.autograd import Function, grad

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]

DOUBLE = torch.float64


# ---- 09.1: x.grad after backward through x.grad ----


def check_number(number: Any) -> None:
    """The answer is the number in `x.grad`: the first derivative and the second, added."""
    plain = isinstance(number, (int, float)) and not isinstance(number, bool)
    expect(plain, f"The answer is one number, not {number!r:.40}.")
    said = {
        48: ("48 is the second derivative alone.", "What does backward do with what is in .grad?"),
        32: ("32 is the first derivative alone.", "x.grad.backward() reaches the leaf x too."),
        64: (
            "That is the first derivative twice.",
            "The second pass starts from x.grad, not from y.",
        ),
    }
    expect(number not in said, *said.get(number, ("", "")))
    expect(number == 80, f"{number} is not it.", "Write down y' and y'' at 2; then what adds up?")


# ---- 09.2: SiLU, differentiable twice ----


def check_silu(silu: Any) -> None:
    """`Silu` is a Function: value, first and second derivative are those of SiLU, and one tensor is saved."""
    is_function = isinstance(silu, type) and issubclass(silu, Function)
    expect(is_function, "Silu is not a torch.autograd.Function.", "class Silu(Function): …")
    for shape in ((1,), (5,), (2, 3)):
        x = torch.linspace(-3, 2, torch.Size(shape).numel(), dtype=DOUBLE).reshape(shape)
        x.requires_grad_()
        y, want = silu.apply(x), nn.functional.silu(x)
        saved = y.grad_fn.saved_tensors
        expect(torch.allclose(y, want), "The value is not x * sigmoid(x).")
        expect(
            len(saved) == 1,
            f"{len(saved)} tensors are saved with save_for_backward, not one.",
            "From which one can backward compute all that it needs?",
        )
        weight = torch.linspace(1, 2, x.numel(), dtype=DOUBLE).reshape(shape).requires_grad_()
        first, wanted = (grad((weight * z).sum(), x, create_graph=True)[0] for z in (y, want))
        expect(
            torch.allclose(first, wanted),
            "The first derivative is wrong.",
            "Product rule; and the whole is multiplied by grad_output, which need not be 1.",
        )
        found, right = (
            grad(g.sum(), x, allow_unused=True)[0] if g.requires_grad else None
            for g in (first, wanted)
        )
        expect(
            found is not None and torch.allclose(found, right),
            "The first derivative is right, and the second is not.",
            "In backward, everything must be computed from a saved input by recorded operations.",
        )


# ---- 09.3: a penalty on a whole Jacobian ----


def check_contraction(contraction: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """`contraction(encoder, x)` is a mean over samples, differentiable by the encoder's parameters."""
    for seed, (n, d, k) in enumerate([(1, 2, 2), (4, 3, 2), (9, 2, 5)]):
        encoder, x = _net(seed, d, k), _normal(seed + 10, n, d)
        before = x.clone()
        found = contraction(encoder, x)
        one = isinstance(found, Tensor) and found.numel() == 1
        expect(one, "The penalty is one number, a tensor.")
        expect(not x.requires_grad, "x asks for gradients now.", "Work on x.detach().")
        expect(torch.equal(x, before) and x.grad is None, "x has changed, or has a .grad.")
        jacobians = func.vmap(func.jacrev(encoder))(x)
        right = jacobians.square().sum((1, 2)).mean()
        expect(
            not torch.allclose(found, jacobians.sum(1).square().sum(1).mean()),
            "That is the gradient of the sum of the outputs, squared.",
            "The entries of the Jacobian are squared one by one: a backward pass for each output.",
        )
        expect(
            n == 1 or not torch.allclose(found, right * n),
            "That is the sum over the samples, not the mean.",
        )
        expect(
            torch.allclose(found, right), f"The penalty is {found:.4f}; it should be {right:.4f}."
        )
        expect(
            found.requires_grad,
            "The penalty has no graph: it cannot train the encoder.",
            "The derivatives have to be recorded while they are computed.",
        )
        weight = next(encoder.parameters())
        ours, theirs = (grad(p, weight, allow_unused=True)[0] for p in (found, right))
        near = ours is not None and torch.allclose(ours, theirs)
        expect(near, "The gradient by the encoder's weights is wrong.")


# ---- 09.4: through a step of gradient descent ----


def check_meta(meta_gradient: Callable[..., Tensor]) -> None:
    """`meta_gradient(inner, outer, w, lr)` holds the Hessian of the inner loss."""
    for seed, n in enumerate((1, 3, 6)):
        w, target = _normal(seed, n), _normal(seed + 5, n)
        inner = lambda w: (w.sin() * w).sum() + w.prod()  # noqa: E731
        outer = lambda w, target=target: ((w - target) ** 4).sum()  # noqa: E731
        for lr in (0.0, 0.1):
            found = meta_gradient(inner, outer, w, lr)
            slope = func.grad(inner)(w)
            plain = func.grad(outer)(w - lr * slope)
            right = plain - lr * func.hessian(inner)(w) @ plain
            expect(
                isinstance(found, Tensor) and found.shape == w.shape,
                "The gradient has the shape of w.",
            )
            expect(
                lr == 0 or not torch.allclose(found, plain),
                "That is the gradient of outer after the step, with the step taken as a constant.",
                "The step depends on w as well: keep the graph of g.",
            )
            expect(
                lr == 0 or not torch.allclose(found, func.grad(outer)(w)),
                "That is the gradient of outer without the step.",
            )
            expect(torch.allclose(found, right), f"For lr = {lr} the gradient is wrong.")
        expect(not w.requires_grad and w.grad is None, "w asks for gradients now, or has a .grad.")


# ---- 09.5: gradient norms, one a sample ----


def check_norms(gradient_norms: Callable[..., Tensor]) -> None:
    """`gradient_norms(model, x, y)` has shape (n,), and the parameters' `.grad` stays as it was."""
    for seed, (n, d, classes) in enumerate([(1, 2, 2), (5, 3, 4), (12, 4, 3)]):
        model, x = _net(seed, d, classes), _normal(seed + 3, n, d)
        y = torch.arange(n) % classes
        parameters = list(model.parameters())
        parameters[0].grad = torch.ones_like(parameters[0])
        found = gradient_norms(model, x, y)
        expect(
            isinstance(found, Tensor) and tuple(found.shape) == (n,),
            f"For {n} samples the shape is {tuple(getattr(found, 'shape', ()))}; it should be ({n},).",
        )
        right, total = _norms_by_loop(model, parameters, x, y)
        expect(
            n == 1 or not torch.allclose(found, total.expand(n)),
            "All samples have the norm of the batch's gradient.",
        )
        expect(
            n == 1 or not torch.allclose(found * n, right),
            "Each norm is too small by the batch size.",
            "cross_entropy takes the mean over the batch.",
        )
        expect(
            torch.allclose(found, right),
            "The norms are wrong.",
            "All parameters of a sample count together: the root of the sum of all squares.",
        )
        left = parameters[0].grad
        kept = left is not None and bool((left == 1).all()) and parameters[1].grad is None
        expect(
            kept, "The parameters' .grad has changed.", "autograd.grad and func.grad write none."
        )


def _norms_by_loop(model: Any, parameters: list[Tensor], x: Tensor, y: Tensor) -> Any:
    loss = nn.functional.cross_entropy
    every = [grad(loss(model(x[i : i + 1]), y[i : i + 1]), parameters) for i in range(len(x))]
    batch = grad(loss(model(x), y), parameters)
    length = lambda grads: torch.cat([g.flatten() for g in grads]).norm()  # noqa: E731
    return torch.stack([length(grads) for grads in every]), length(batch)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def _net(seed: int, inputs: int, outputs: int) -> nn.Module:
    """A small tanh network in float64, without touching the learner's random state."""
    net = nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs)).to(DOUBLE)
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            parameter.copy_(_normal(100 * seed + i, *parameter.shape))
    return net


# ---- what learners write instead ----


class _SavesSigmoid(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        ctx.save_for_backward(s + x * s * (1 - s))
        return x * s

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * ctx.saved_tensors[0]


class _SavesTwo(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        x, s = ctx.saved_tensors
        return grad_output * (s + x * s * (1 - s))


def _contracted(graph: bool, each: bool, mean: bool = True) -> Any:
    def contraction(encoder: nn.Module, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        outputs = encoder(x).sum(0) if each else [encoder(x).sum()]
        rows = [grad(y, x, create_graph=graph, retain_graph=True)[0] for y in outputs]
        squares = torch.stack(rows).square().sum((0, 2))
        return squares.mean() if mean else squares.sum()

    return contraction


def _first_order(inner: Any, outer: Any, w: Tensor, lr: float) -> Tensor:
    w = w.detach().requires_grad_()
    (g,) = grad(inner(w), w)
    return grad(outer(w - lr * g), w)[0]


def _no_step(inner: Any, outer: Any, w: Tensor, lr: float) -> Tensor:
    return func.grad(outer)(w)


def _of_batch(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    grads = grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))
    return torch.cat([g.flatten() for g in grads]).norm().expand(len(x))


def _in_grad(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    norms = []
    for i in range(len(x)):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    return torch.stack(norms)


EXERCISES = (
    Exercise(
        "09.1",
        "What is in x.grad?",
        check_number,
        (
            Wrong("the second derivative", 48.0, "second derivative alone"),
            Wrong("the first derivative", 32.0, "first derivative alone"),
            Wrong("the first one twice", 64.0, "first derivative twice"),
        ),
    ),
    Exercise(
        "09.2",
        "A Function to differentiate twice",
        check_silu,
        (
            Wrong("saves the slope", _SavesSigmoid, "the second is not"),
            Wrong("saves x and the sigmoid", _SavesTwo, "2 tensors are saved"),
        ),
    ),
    Exercise(
        "09.3",
        "A penalty on a whole Jacobian",
        check_contraction,
        (
            Wrong("no create_graph", _contracted(False, True), "no graph"),
            Wrong("the outputs summed", _contracted(True, False), "sum of the outputs"),
            Wrong("no mean", _contracted(True, True, mean=False), "not the mean"),
        ),
    ),
    Exercise(
        "09.4",
        "The gradient through a step",
        check_meta,
        (
            Wrong("the step is a constant", _first_order, "taken as a constant"),
            Wrong("no step", _no_step, "without the step"),
        ),
    ),
    Exercise(
        "09.5",
        "The largest gradient in the batch",
        check_norms,
        (
            Wrong("the batch's norm", _of_batch, "norm of the batch's gradient"),
            Wrong("through .grad", _in_grad, ".grad has changed"),
        ),
    ),
)
