"""Exercise `own_slopes`: the derivative of each output by its own input, in a network that mixes its samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, func, nn
from torch.autograd import grad

from ...grading import Drawn, Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ..models import filled
from ..networks import linear, mlp

__all__ = ["EXERCISE"]

Slopes = Callable[[nn.Module, Tensor], Any]
MIXED = "Write down the Jacobian of the outputs by the inputs. Which of its entries are asked for?"
RECORDED = "A loss is made of these slopes: the passes that compute them have to be recorded."


class Mixed(nn.Module):
    """Each output is its input times the mean of all, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, t: Tensor) -> Tensor:
        return self.scale * t * t.mean()


class Anchored(nn.Module):
    """The first output depends on no input, as a condition that is put in by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([[1.5]], dtype=torch.float64))

    def forward(self, t: Tensor) -> Tensor:
        return torch.cat([self.first, self.first * t[1:] ** 3])


class Running(nn.Module):
    """Each output is the sum of the squares of all inputs up to its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, t: Tensor) -> Tensor:
        return self.scale * t.square().cumsum(0)


def normed(draw: Drawn, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Linear, batch norm of this batch, tanh, linear."""
    norm = filled(draw, nn.BatchNorm1d(3, track_running_stats=False, dtype=dtype))
    return nn.Sequential(linear(draw, 1, 3, dtype), norm, nn.Tanh(), linear(draw, 3, 1, dtype))


def reference(net: nn.Module, t: Tensor) -> Tensor:
    """The diagonal of the whole Jacobian `(n, 1)`, with its graph."""
    jacobian = func.jacrev(lambda t: net(t)[:, 0])(t)
    return torch.diagonal(jacobian[..., 0])[:, None]


def cases() -> list[tuple[str, nn.Module, Tensor]]:
    draw, single = Drawn(8), torch.float32
    return [
        ("a plain network, one sample", mlp(draw, 1, 3, 1), draw.normal(1, 1)),
        ("a plain network, three samples", mlp(draw, 1, 4, 1), draw.normal(3, 1)),
        ("net(t) = 2 t mean(t)", Mixed(), torch.tensor([[1.0], [3.0]]).double()),
        ("net(t) = cumsum(t²) / 2", Running(), torch.tensor([[1.0], [-2.0], [3.0]]).double()),
        ("batch norm", normed(draw), draw.normal(4, 1)),
        ("a first output that no input changes", Anchored(), draw.normal(3, 1)),
        ("batch norm in float32", normed(draw, single), draw.normal(5, 1).to(single)),
    ]


def check_own_slopes(slopes: Slopes) -> None:
    """`slopes(net, t)` is the diagonal of the Jacobian, and can be differentiated by the parameters."""
    for words, net, t in cases():
        _judge(slopes, f"for {words}", net, t)
        for parameter in net.parameters():  # once more, where there are gradients already
            parameter.grad = torch.full_like(parameter, 0.5)
        _judge(slopes, f"for {words}, whose parameters have a .grad", net, t)
    draw = drawn()
    n = draw.whole(3, 6)
    _judge(slopes, f"for batch norm, {n} samples ({draw})", normed(draw), draw.normal(n, 1))


def _judge(slopes: Slopes, where: str, net: nn.Module, t: Tensor) -> None:
    found = forms.tensor(slopes(net, t), "slopes", tuple(t.shape))
    want = reference(net, t)
    jacobian = func.jacrev(lambda t: net(t)[:, 0])(t)[..., 0].detach()
    if not near(found.detach(), want.detach(), atol=1e-6):
        known = [
            (jacobian.sum(0), "how all outputs together change with each input", MIXED),
            (jacobian.sum(1), "how each output changes when all inputs move", MIXED),
        ]
        for value, words, hint in known:
            expect(
                not near(found.detach()[:, 0], value, atol=1e-6),
                f"Yours is {words}, {where}.",
                hint,
            )
    texts = apart(found.detach()[:, 0], want.detach()[:, 0])
    expect(
        near(found.detach(), want.detach(), atol=1e-6),
        f"The slopes are {texts[1]}; yours are {texts[0]}, {where}.",
        MIXED,
    )
    expect(found.requires_grad, f"The slopes are right, and have no graph, {where}.", RECORDED)
    weights = torch.arange(1.0, len(t) + 1, dtype=t.dtype)[:, None].sin()
    parameters = dict(net.named_parameters())
    ours, theirs = (
        grad((weights * each).sum(), [*parameters.values()], materialize_grads=True)
        for each in (found, want)
    )
    for name, one, two in zip(parameters, ours, theirs, strict=True):
        expect(
            near(one, two, rtol=1e-4, atol=1e-5),
            f"The slopes are right; their gradient by {name} is not, {where}.",
            RECORDED,
        )


# ---- right answers, found in other ways ----


def _by_masks(net: nn.Module, t: Tensor) -> Tensor:
    """One backward pass for each output, begun with a 1 there; what it sends to other inputs is dropped."""
    t = t.detach().requires_grad_()
    u, eye = net(t), torch.eye(len(t), dtype=t.dtype)
    return sum(  # type: ignore[return-value]  # the sum of tensors is one, there is at least one sample
        grad(u, t, each[:, None], create_graph=True)[0] * each[:, None] for each in eye
    )


def _rows(net: nn.Module, t: Tensor, graph: bool = True, at: Any = None) -> Tensor:
    """One backward pass for each output; `at` chooses the entry of its row."""
    t = t.detach().requires_grad_()
    u = net(t)[:, 0]
    rows = [grad(each, t, create_graph=graph, retain_graph=True)[0] for each in u]
    return torch.stack([row[i] if at is None else at(row, i) for i, row in enumerate(rows)])


# ---- wrong answers ----


def _trick(net: nn.Module, t: Tensor, graph: bool = True) -> Tensor:
    t = t.detach().requires_grad_()
    return grad(net(t).sum(), t, create_graph=graph)[0]


def _forward_mode(net: nn.Module, t: Tensor) -> Tensor:
    """Right slopes. Batch norm's forward mode takes mean and deviation for constants when it is differentiated."""
    eye = torch.eye(len(t), dtype=t.dtype)
    columns = [func.jvp(net, (t,), (eye[:, i : i + 1],))[1][i] for i in range(len(t))]
    return torch.stack(columns)


def _one_by_one(net: nn.Module, t: Tensor) -> Tensor:
    """A batch of one for each sample: nothing is mixed any more."""
    return torch.cat([_trick(net, each[None]) for each in t])


def _differences(net: nn.Module, t: Tensor, h: float = 1e-6) -> Tensor:
    eye = torch.eye(len(t), dtype=t.dtype)[..., None]
    found = [((net(t + h * e) - net(t - h * e)) / (2 * h))[i] for i, e in enumerate(eye)]
    return torch.stack(found).detach()


def _in_evaluation(net: nn.Module, t: Tensor) -> Tensor:
    """Switches to evaluation, and leaves it on."""
    net.eval()
    return _rows(net, t)


def _leaves_gradients(net: nn.Module, t: Tensor) -> Tensor:
    found = _rows(net, t)
    found.sum().backward(retain_graph=True)
    return found


def _asks(net: nn.Module, t: Tensor) -> Tensor:
    return _rows(net, t.requires_grad_())


def oracle(slopes: Slopes) -> Any:
    """Slopes and their gradients by the parameters, for networks of many kinds."""

    def told(net: nn.Module, t: Tensor) -> Any:
        found = slopes(net, t)
        untouched = all(p.grad is None for p in net.parameters())
        if not isinstance(found, Tensor) or not found.requires_grad:
            return [found, False, untouched]
        weights = torch.arange(1.0, found.numel() + 1, dtype=t.dtype).cos().reshape(found.shape)
        parameters = [*net.parameters()]
        slopes_of = grad((weights * found).sum(), parameters, materialize_grads=True)
        rounded = [(g * 1e4).round() for g in slopes_of]  # behind a norm some are rounding alone
        return [found, untouched, rounded]

    draw = Drawn(9)
    wide = [(net, t) for _, net, t in cases()]
    wide += [
        (net, draw.normal(n, 1)) for n in (1, 2, 7) for net in (Mixed(), Running(), Anchored())
    ]
    wide += [(normed(draw), draw.normal(6, 1)[::2]), (mlp(draw, 1, 5, 1), draw.normal(3, 1) * 1e3)]
    return [tried(told, net, t) for net, t in wide]


EXERCISE = Exercise(
    "own_slopes",
    "The diagonal of the Jacobian, whatever the network does with its batch.",
    check_own_slopes,
    (
        Wrong("the trick", _trick, "all outputs together change with each input, for net(t) = 2 t mean(t)"),
        Wrong("rows added", partial(_rows, at=lambda row, i: row.sum(0)), "when all inputs move"),
        Wrong("one by one", _one_by_one, "yours are [4, 12]"),
        Wrong("the first column", partial(_rows, at=lambda row, i: row[0]), "yours are [-1.888, 0, 0]"),
        Wrong("no graph", partial(_rows, graph=False), "have no graph"),
        Wrong("differences", _differences, "have no graph"),
        Wrong("forward mode", _forward_mode, "their gradient by 0.weight is not, for batch norm"),
        Wrong("in evaluation", _in_evaluation, "its mode"),
        Wrong("gradients left", _leaves_gradients, "its .grad"),
        Wrong("t asks", _asks, "its requires_grad"),
        Wrong("flat", lambda net, t: _rows(net, t)[:, 0], "yours returned (1,)"),
    ),
    right=(
        Right("one row after the other", _by_masks),
        Right("the diagonal of a Jacobian", reference),
    ),
    oracle=oracle,
)  # fmt: skip
