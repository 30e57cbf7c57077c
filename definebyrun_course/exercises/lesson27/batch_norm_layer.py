"""Exercise `batch_norm_layer`: batch normalisation, forward and backward, in training and in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
)
from ..measures import Work, by_hand

__all__ = ["EXERCISE"]

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Buffers = tuple[Tensor, Tensor, Tensor]
NAMES = ("x", "weight", "bias")
PATHS = "In training, every x of a column changes its mean and its variance: three paths lead to x."
FIXED = "In evaluation mode the statistics are constants: one path leads to x."
SHARE = "The new statistic counts by momentum, the old one by the rest; PyTorch keeps the unbiased variance."
AVERAGE = "Without a momentum every batch so far counts alike: write down the buffers after one batch, and after two."
COUNTED = (
    "Every batch in training mode counts once, whatever momentum is; the count is written in place."
)
KERNELS = ("batch_norm", "layer_norm", "group_norm")
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def inputs(draw: Drawn, rows: int, columns: int, dtype: torch.dtype = torch.float64) -> Inputs:
    """x, weight, bias, and two buffers."""
    x = draw.normal(rows, columns) * 2 + 1
    rest = (
        draw.normal(columns) + 2,
        draw.normal(columns),
        draw.normal(columns),
        draw.uniform(columns, low=0.5, high=2.0),
    )
    return tuple(t.to(dtype) for t in (x, *rest))  # type: ignore[return-value]


def check_batch_norm(forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
    """`forward` gives y and a cache, and writes three buffers; `backward` gives three gradients."""
    for training in (True, False):
        for dtype in (torch.float64, torch.float32):
            for rows, columns in ((2, 1), (3, 2), (2, 3), (3, 3), (5, 4)):
                mode = "training" if training else "evaluation"
                where = f"in {mode} mode, for x of shape ({rows}, {columns})"
                given = inputs(Drawn(rows), rows, columns, dtype)
                _judge(forward, backward, given, training, 0.1, 1e-5, where)
    four = inputs(Drawn(3), 4, 2)
    for training, mode in ((True, "training"), (False, "evaluation")):
        where = f"in {mode} mode, with momentum 0.7 and eps 0.5"
        _judge(forward, backward, four, training, 0.7, 0.5, where)
    flat = (torch.full((3, 2), 2.0, dtype=torch.float64), *inputs(Drawn(3), 3, 2)[1:])
    where = "in training mode, for columns of equal numbers"
    _judge(forward, backward, flat, True, 0.1, 1e-5, where)
    where = "in evaluation mode, for one row"
    _judge(forward, backward, inputs(Drawn(3), 1, 2), False, 0.1, 1e-5, where)
    where = "in training mode, with momentum 0"
    _judge(forward, backward, four, True, 0.0, 1e-5, where)
    _judge_average(forward, backward)
    _judge_one_row(forward)
    draw = drawn()
    for momentum in (0.1, None):
        given = inputs(draw, draw.whole(2, 6), draw.whole(1, 4))
        count = draw.whole(0, 9)
        where = (
            f"in training mode, with momentum {momentum}, {counted(count, 'batch')} before ({draw})"
        )
        _judge(forward, backward, given, True, momentum, 1e-5, where, count)


def _judge_average(forward: Any, backward: Any) -> None:
    """Batch after batch with momentum None, one of them in evaluation mode; then a count that does not begin at 0."""
    draw = Drawn(3)
    buffers: tuple[Tensor, Tensor] | None = None
    count = 0
    for training in (True, True, False, True):
        given = inputs(draw, 3, 1)
        given = given if buffers is None else (*given[:3], *buffers)
        where = f"with momentum None, {counted(count, 'batch', 'batches')} before"
        where = f"in {'training' if training else 'evaluation'} mode, {where}"
        buffers = _judge(forward, backward, given, training, None, 1e-5, where, count)
        count += training
    where = "in training mode, with momentum None, 9 batches before"
    _judge(forward, backward, inputs(draw, 2, 2, torch.float32), True, None, 1e-5, where, 9)


def _judge(
    forward: Any,
    backward: Any,
    given: Inputs,
    training: bool,
    momentum: float | None,
    eps: float,
    where: str,
    count: int = 0,
) -> tuple[Tensor, Tensor]:
    """One forward and two backward passes after `count` batches; returns the first two buffers."""
    x, weight, bias = (t.clone() for t in given[:3])
    buffers = _buffers(given, count)
    asking = [t.clone().requires_grad_() for t in given[:3]]
    norm = nn.BatchNorm1d(x.shape[1], eps, momentum, dtype=x.dtype).train(training)
    norm.load_state_dict(dict(zip(BUFFERS, buffers, strict=True)), strict=False)
    del norm.weight, norm.bias
    norm.weight, norm.bias = asking[1:]  # type: ignore[assignment]
    want = norm(asking[0])
    with by_hand("The forward pass") as work:
        pair = forward(x, weight, bias, buffers, training, momentum, eps)
    _no_kernel(work, "forward")
    y, cache = forms.sequence(pair, "y and the cache", 2)
    y = forms.tensor(y, "forward", tuple(x.shape))
    rtol = 1e-8 if x.dtype == torch.float64 else 2e-4
    texts = apart(y[0].tolist(), want[0].tolist())
    expect(
        near(y, want, rtol, 1e-6) and y.dtype == want.dtype,
        f"The first row of y is {texts[0]}; it should be {texts[1]}, {where}.",
        "A column is normalised by its own mean and its biased variance, eps under the root.",
    )
    _judge_buffers(buffers, _buffers(given, count), norm, where)
    _judge_gradients(backward, cache, want, asking, where, training)
    return buffers[:2]


def _no_kernel(work: Work, what: str) -> None:
    """A normalisation of PyTorch's own is not by hand, whatever it saves."""
    for name in work.counts:
        expect(
            not any(kernel in name for kernel in KERNELS),
            f"{what} calls PyTorch's {name}, and is asked for by hand.",
            "Means, differences, products, a root: write the formula.",
        )


def _buffers(given: Inputs, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Running mean and variance, and how many batches they are made of; fresh ones at each call."""
    return given[3].clone(), given[4].clone(), torch.tensor(count)


def _judge_gradients(
    backward: Any, cache: Any, want: Tensor, asking: list[Tensor], where: str, training: bool
) -> None:
    count, dtype = want.numel(), want.dtype
    rtol, atol = (1e-8, 1e-9) if dtype == torch.float64 else (2e-4, 3e-5)
    for upstream in (
        torch.arange(1.0, 1 + count, dtype=dtype).reshape(want.shape).sin(),
        torch.ones_like(want),
    ):
        wanted = torch.autograd.grad(want, asking, upstream, retain_graph=True)
        with by_hand("The backward pass") as work:
            grads = backward(upstream, cache)
        _no_kernel(work, "backward")
        for name, found, right in zip(
            NAMES, forms.sequence(grads, "The gradients of x, weight, bias", 3), wanted, strict=True
        ):
            grad = forms.tensor(found, f"The gradient of {name}", tuple(right.shape))
            expect(
                near(grad, right, rtol, atol) and grad.dtype == right.dtype,
                f"The gradient of {name} is {shown(grad)}; it should be {shown(right)}, {where}.",
                (PATHS if training else FIXED)
                if name == "x"
                else "Sums over the rows: each row uses the same numbers.",
            )


def _judge_buffers(buffers: Buffers, before: Buffers, norm: nn.BatchNorm1d, where: str) -> None:
    for name, found, old in zip(BUFFERS, buffers, before, strict=True):
        want = norm.get_buffer(name)
        texts = apart(found.tolist(), want.tolist())
        told = f"{name} is {texts[0]} afterwards; it should be {texts[1]}, {where}."
        if not norm.training:
            expect(
                torch.equal(found, old),
                f"{name} was written, {where}.",
                "In evaluation mode the buffers are read only.",
            )
        elif name == "num_batches_tracked":
            expect(torch.equal(found, want), told, COUNTED)
        elif norm.momentum is None:
            expect(near(found, want, 1e-5), told, AVERAGE)
        elif torch.equal(found, old) and not torch.equal(old, want):
            raise Mistake(
                f"{name} is as before, {where}.",
                "The buffers are written in place: their names stay with the caller.",
            )
        else:
            expect(near(found, want, 1e-5), told, SHARE)


def _judge_one_row(forward: Any) -> None:
    given = inputs(Drawn(1), 1, 3)
    buffers = _buffers(given, 2)
    try:
        forward(*given[:3], buffers, True, 0.1, 1e-5)
    except ValueError:
        for name, found, old in zip(BUFFERS, buffers, _buffers(given, 2), strict=True):
            expect(
                torch.equal(found, old),
                f"For one row in training mode {name} was written.",
                "Look first, then write.",
            )
        return
    raise Mistake(
        "One row in training mode is normalised; a ValueError is asked for.",
        "What is the variance of one number, and what becomes of y?",
    )


# ---- right answers ----


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    buffers: Buffers,
    training: bool,
    momentum: float | None,
    eps: float,
) -> Any:
    running_mean, running_var, num_batches_tracked = buffers
    if training and len(x) < 2:
        raise ValueError("one row has no variance")
    if training:
        num_batches_tracked.add_(1)
        if momentum is None:
            momentum = 1 / int(num_batches_tracked)
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(x.var(0), momentum)
    else:
        mean, var = running_mean.clone(), running_var.clone()
    rstd = (var + eps).rsqrt()
    xhat = (x - mean) * rstd
    return xhat * weight + bias, (xhat, rstd, weight.clone(), training)


def backward(grad: Tensor, cache: Any) -> Any:
    xhat, rstd, weight, training = cache
    dxhat = grad * weight
    if training:
        dxhat = dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)
    return dxhat * rstd, (grad * xhat).sum(0), grad.sum(0)


def stepwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    buffers: Buffers,
    training: bool,
    momentum: float | None,
    eps: float,
) -> Any:
    """Every intermediate by name."""
    running_mean, running_var, count = buffers
    rows = x.shape[0]
    if not training:
        centred, std = x - running_mean, torch.sqrt(running_var + eps)
    elif rows == 1:
        raise ValueError("more rows, please")
    else:
        mean = x.sum(dim=0) / rows
        centred = x - mean
        var = centred.square().sum(dim=0) / rows
        share = 1 / (count + 1) if momentum is None else momentum
        running_mean.mul_(1 - share).add_(mean * share)
        running_var.mul_(1 - share).add_(var * rows / (rows - 1) * share)
        count += 1
        std = torch.sqrt(var + eps)
    return weight * (centred / std) + bias, [centred, std, weight * 1, training]


def backward_stepwise(grad: Tensor, cache: Any) -> Any:
    """One path after the other."""
    centred, std, weight, training = cache
    direct = grad * weight / std
    dweight = torch.einsum("ij,ij->j", grad, centred / std)
    dbias = torch.einsum("ij->j", grad)
    if not training:
        return direct, dweight, dbias
    rows = len(grad)
    dvar = -(grad * weight * centred).sum(dim=0) / (2 * std**3)
    dx = direct + 2 * dvar * centred / rows
    return dx - direct.sum(dim=0) / rows, dweight, dbias


# ---- wrong answers ----


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    buffers: Buffers,
    training: bool,
    momentum: float | None,
    eps: float,
    mistake: str = "",
) -> Any:
    running_mean, running_var, count = buffers
    if mistake == "counted before it looks" and training:
        count.add_(1)
    if training and len(x) < 2 and mistake != "one row":
        raise ValueError
    share = _share(count, training, momentum, mistake)
    axis = int(mistake == "rows" and x.shape[0] == x.shape[1])
    if mistake == "eps 1e-5":
        eps = 1e-5
    if training:
        mean, var = x.mean(axis), x.var(axis, correction=int(mistake == "unbiased"))
        kept = (
            x.var(0, correction=0) if mistake == "biased" else x.var(0, correction=int(len(x) > 1))
        )
        if mistake == "new buffers":
            running_mean = running_mean.lerp(mean, share)
        else:
            running_mean.lerp_(x.mean(0), share)
            running_var.lerp_(kept, share)
    else:
        mean, var = running_mean.clone(), running_var.clone()
        if mistake == "writes":
            running_mean.lerp_(x.mean(0), share)
        if mistake == "batch in evaluation":
            mean, var = x.mean(0), x.var(0, correction=0)
    if mistake == "running":
        mean, var = running_mean.clone(), running_var.clone()
    rstd = 1 / (var.sqrt() + eps) if mistake == "eps" else (var + eps).rsqrt()
    xhat = (x - mean.unsqueeze(axis)) * rstd.unsqueeze(axis)
    return xhat * weight + bias, (xhat, rstd, weight.clone(), training)


def _share(count: Tensor, training: bool, momentum: float | None, mistake: str) -> float:
    """The share of the new statistic; the batch is counted."""
    if mistake == "counted for None only" and momentum is not None:
        return momentum
    if mistake == "a count of its own":
        count = count + 1
    elif (training and mistake != "counted before it looks") or mistake == "counts in evaluation":
        count.add_(1)
    if mistake == "None as 0.1" and momentum is None:
        return 0.1
    if mistake == "None as 0" and momentum is None:
        return 0.0
    if mistake == "0 as None" and not momentum:
        momentum = None
    if momentum is not None:
        return 1 - momentum if mistake == "momentum" else momentum
    if mistake == "counted afterwards":
        return float(1 / (count - 1))
    return float(1 / (count + (mistake == "one batch more")))


def _backward(grad: Tensor, cache: Any, mistake: str = "") -> Any:
    xhat, rstd, weight, training = cache
    dxhat = grad * (1 if mistake == "no weight" else weight)
    if mistake == "through the mean only":
        dxhat = dxhat - dxhat.mean(0)
    elif (training and mistake != "detached") or mistake == "three paths in evaluation":
        dxhat = dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)
    bias = grad.mean(0) if mistake == "a mean" else grad.sum(0)
    return dxhat * rstd, (grad * xhat).sum(0), bias


def _by_autograd(*given: Any) -> Any:
    x, weight, bias, (mean, var, count), training, momentum, eps = given
    asking = [t.clone().requires_grad_() for t in (x, weight, bias)]
    if training and len(x) < 2:
        raise ValueError
    count += int(training)
    share = 1 / max(int(count), 1) if momentum is None else momentum
    y = functional.batch_norm(asking[0], mean, var, asking[1], asking[2], training, share, eps)
    return y.detach(), (y, asking)


def _by_kernel(*given: Any, layer: bool = False) -> Any:
    """PyTorch's own value: as a batch, or its columns as layers."""
    y, cache = forward(*given)
    x, weight, bias, (mean, var, _), training, _, eps = given
    if not layer:
        y = functional.batch_norm(x, mean.clone(), var.clone(), weight, bias, training, 0.1, eps)
    elif training:
        y = functional.layer_norm(x.T, (len(x),), eps=eps).T * weight + bias
    return y, cache


def _for_kernel(*given: Any) -> Any:
    """By hand; the cache holds what PyTorch's backward pass asks for."""
    x, weight, _, (mean, var, _), training, _, eps = given
    kept = [t.clone() for t in (x, weight, mean, var, x.mean(0))]
    rstd = (x.var(0, correction=0) + eps).rsqrt()
    return forward(*given)[0], (*kept, rstd, training, eps)


def _backward_by_kernel(grad: Tensor, cache: Any) -> Any:
    return torch.ops.aten.native_batch_norm_backward(grad, *cache, [True] * 3)


def oracle(forward: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    """y, buffers and gradients of many inputs."""

    def told(
        rows: int,
        columns: int,
        dtype: torch.dtype,
        training: bool,
        momentum: float | None,
        eps: float,
    ) -> Any:
        given = [t.clone() for t in inputs(Drawn(rows + 10 * columns), rows, columns, dtype)]
        buffers = (*given[3:], torch.tensor(rows - 1))
        with by_hand("It") as work:
            y, cache = forward(*given[:3], buffers, training, momentum, eps)
            upstream = torch.linspace(-1, 2, y.numel(), dtype=dtype).reshape(y.shape)
            grads = list(backward(upstream, cache))
        _no_kernel(work, "it")
        rounded = [
            torch.round(t.double(), decimals=2) + 0.0 for t in (y, *grads, *given, buffers[2])
        ]
        return [rounded, [str(t.dtype) for t in (y, *grads)]]

    def one_row() -> Any:
        given, count = inputs(Drawn(1), 1, 2), torch.tensor(3)
        try:
            forward(*given[:3], (*given[3:], count), True, 0.1, 1e-5)
        except ValueError:
            return ["refused", [t.tolist() for t in (*given[3:], count)]]
        return ["normalised"]

    wide = [
        (r, c, d, t, m, e)
        for r, c in ((1, 2), (2, 1), (2, 3), (3, 3), (7, 4))
        for d in (torch.float64, torch.float32)
        for t in (True, False)
        for m, e in ((0.1, 1e-5), (0.6, 0.3), (1.0, 1e-2), (0.0, 1e-5), (None, 1e-5))
    ]
    return [*(tried(told, *each) for each in wide), tried(one_row)]


def _with(mistake: str, back: str = "") -> tuple[Any, Any]:
    return partial(_forward, mistake=mistake), partial(_backward, mistake=back)


EXERCISE = Exercise(
    "batch_norm_layer",
    "Three paths to x in training, one in evaluation, and buffers as PyTorch keeps them.",
    check_batch_norm,
    (
        Wrong("statistics detached", None, "is [[2.296],", _with("", "detached")),
        Wrong("through the mean only", None, "is [[-0.09254],", _with("", "through the mean only")),
        Wrong(
            "three paths in evaluation",
            None,
            "is [[-0.2638],",
            _with("", "three paths in evaluation"),
        ),
        Wrong("the weight forgotten", None, "is [[-1.452e-06],", _with("", "no weight")),
        Wrong("a mean for the bias", None, "is [0.8754];", _with("", "a mean")),
        Wrong("momentum reversed", None, "is [1.156]", _with("momentum")),
        Wrong("a biased running variance", None, "running_var is", _with("biased")),
        Wrong("an unbiased variance", None, "is [-0.01675];", _with("unbiased")),
        Wrong("rows where it fits", None, "is [3.32,", _with("rows")),
        Wrong("eps outside the root", None, "is [0.475435];", _with("eps")),
        Wrong("eps fixed", None, "is [1.431,", _with("eps 1e-5")),
        Wrong("running values in training", None, "is [0.2689];", _with("running")),
        Wrong("batch values in evaluation", None, "is [0.4754];", _with("batch in evaluation")),
        Wrong("writes in evaluation", None, "running_mean was", _with("writes")),
        Wrong("new buffers", None, "as before,", _with("new buffers")),
        Wrong("None as 0.1", None, "is [-1.06]", _with("None as 0.1")),
        Wrong("None as 0", None, "is [-1.368]", _with("None as 0")),
        Wrong("0 as None", None, "is [1.638,", _with("0 as None")),
        Wrong("counted afterwards", None, "[inf]", _with("counted afterwards")),
        Wrong("one batch more", None, "is [0.1716]", _with("one batch more")),
        Wrong(
            "counts in evaluation",
            None,
            "num_batches_tracked was written, in",
            _with("counts in evaluation"),
        ),
        Wrong("a count of its own", None, "num_batches_tracked is", _with("a count of its own")),
        Wrong(
            "counted for None only", None, "num_batches_tracked is", _with("counted for None only")
        ),
        Wrong(
            "counted before it looks",
            None,
            "mode num_batches_tracked was",
            _with("counted before it looks"),
        ),
        Wrong("one row goes through", None, "One row in training mode", _with("one row")),
        Wrong(
            "autograd inside",
            None,
            "autograd was used",
            (_by_autograd, lambda g, c: torch.autograd.grad(*c, g, retain_graph=True)),
        ),
        Wrong(
            "a kernel", None, "forward calls PyTorch's native_batch_norm,", (_by_kernel, backward)
        ),
        Wrong("a kernel, backward", None, "backward calls", (_for_kernel, _backward_by_kernel)),
        Wrong("as layers", None, "native_layer_norm", (partial(_by_kernel, layer=True), backward)),
    ),
    right=(
        Right("one formula", answers=(forward, backward)),
        Right("path by path", answers=(stepwise, backward_stepwise)),
    ),
    may_change=(3,),
    oracle=oracle,
)
