"""Exercise `centred_mean`: a layer whose running mean is a Python number, so that each call compiles, is repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Exercise, Mistake, Right, Wrong, drawn, expect, forms, near, shown
from ..compiles import captures, counted
from ..lesson10.exports import require_module_class

__all__ = ["EXERCISE"]

CALLS, LIMIT = 5, 3
ATOL = 1e-5
PLACE = "Which tensors of a module are saved with it?"


class Old(nn.Module):
    """The layer of the statement."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean().item()
        return x - self.mean


def check_centred_mean(module: type[nn.Module]) -> None:
    """The module gives the old numbers and gradients, is one graph for each mode, and saves its mean."""
    require_module_class(module, "Centred")
    first = torch.tensor([1.0, 3.0], dtype=torch.float32)
    for who in ("a module", "a second module"):
        _same(module(), [first, -first * 2], who)
    _same(module(), [torch.arange(6, dtype=torch.float32).reshape(2, 3)] * 3, "a module")
    _same(module(), [torch.tensor(5.0, dtype=torch.float32)] * 2, "a module")
    _modes(module)
    _saved(module, first)
    _graphs(module)
    draw = drawn()
    shape = draw.whole(2, 4), 3
    batches = [draw.normal(*shape, dtype=torch.float32) * 3 for _ in range(3)]
    _same(module(), batches, f"a module ({draw})")


def _same(mine: nn.Module, batches: list[Tensor], who: str) -> None:
    """Call by call, the old layer beside the new one."""
    old = Old()
    for nr, numbers in enumerate(batches, 1):
        x = numbers.clone().requires_grad_()
        want = old(numbers)
        found = forms.tensor(mine(x), who, tuple(x.shape))
        said = f"In call {nr}, in training mode, {who} makes {shown(found)} of {shown(numbers)}"
        expect(torch.equal(x.detach(), numbers), f"{said}, and changes its input.", "x stays.")
        expect(
            near(found, want, atol=ATOL),
            f"{said}; the old layer makes {shown(want)}.",
            "Each module has a mean of its own, which starts at 0. In training mode nine tenths of it stay, before the "
            "subtraction.",
        )
        expect(found.requires_grad, f"{said}, without a graph.", "Gradients flow to x.")
        weights = torch.arange(1, 1 + x.numel(), dtype=x.dtype).reshape(x.shape)
        [grad] = autograd.grad(found, x, weights)
        expect(
            near(grad, weights, atol=ATOL),
            f"{said}; the value is right, and for the gradient {shown(weights)} of the result that of x is "
            f"{shown(grad)}.",
            "item() gave a number without a graph: the mean was a constant for autograd.",
        )


def _modes(module: type[nn.Module]) -> None:
    mine, x = module(), torch.tensor([2.0, 6.0], dtype=torch.float32)
    mine(x)
    mine.eval()
    for _ in range(2):
        found = forms.tensor(mine(x), "the module", (2,))
        expect(
            near(found, x - 0.4, atol=ATOL),
            f"After one call on [2, 6] in training mode it makes {shown(found)} of [2, 6] in evaluation mode; the old "
            "layer makes [1.6, 5.6].",
            "In evaluation mode the mean is subtracted and stays as it is.",
        )


def _saved(module: type[nn.Module], x: Tensor) -> None:
    mine, fresh = module(), module()
    mine(x)
    state = {name: value.clone() for name, value in mine.state_dict().items()}
    fresh.load_state_dict(state)
    found = forms.tensor(fresh.eval()(x), "the module", tuple(x.shape))
    expect(
        near(found, x - 0.2, atol=ATOL),
        f"The state_dict after one call on [1, 3] has {sorted(state)}; loaded into a fresh module in evaluation mode, "
        f"which then makes {shown(found)} of [1, 3].",
        PLACE,
    )
    kept = [
        value for value in state.values() if near(value, torch.full_like(value, 0.2), atol=ATOL)
    ]
    expect(
        any(value.is_floating_point() and value.numel() == 1 for value in kept),
        "No tensor in the state_dict is the mean, as one number.",
        "A buffer that is registered in __init__ keeps its name.",
    )


def _graphs(module: type[nn.Module]) -> None:
    x = torch.tensor([1.0, 3.0, 4.0], dtype=torch.float32)
    for full in (False, True):
        how = "with fullgraph=True" if full else "by default"
        with captures(LIMIT):
            mine = module()
            compiled, graphs = counted(mine, fullgraph=full)
            try:
                made = []
                for training in (True, False, True):
                    mine.train(training)
                    for call in range(CALLS):
                        compiled(x * (call + 1))
                    made.append(len(graphs))
            except torch._dynamo.exc.TorchDynamoException as error:
                words = (str(error).strip().splitlines() or [""])[0]
                raise Mistake(
                    f"Compiled {how} it stops with {type(error).__name__}: {words[:90]}",
                    "Which line asks a tensor for a Python number?",
                ) from error
        expect(
            made == [1, 2, 2],
            f"Compiled {how}, {CALLS} calls in training mode, {CALLS} in evaluation mode and {CALLS} in training mode "
            f"again have made {made[0]}, {made[1]} and {made[2]} graphs so far; 1, 2 and 2 are enough. (The limit is "
            f"{LIMIT} here.)",
            "Print what the log says of recompiles. Which number is guarded by its value?",
        )


# ---- answers ----


class _Buffer(nn.Module):
    """The solution, with its usual mistakes as class attributes."""

    mean: Tensor
    persistent, kept = True, 0.9

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()), persistent=self.persistent)

    def of(self, x: Tensor) -> Tensor:
        return x.detach().mean()

    def update(self, x: Tensor) -> None:
        self.mean = self.kept * self.mean + (1 - self.kept) * self.of(x)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.update(x)
        return x - self.mean


class _Item(_Buffer):
    def update(self, x: Tensor) -> None:
        self.mean = torch.tensor(0.9 * self.mean.item() + 0.1 * x.mean().item())


class _Attribute(_Buffer):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.mean = torch.zeros(())


class _NotSaved(_Buffer):
    persistent = False


class _Turned(_Buffer):
    kept = 0.1


class _Attached(_Buffer):
    def of(self, x: Tensor) -> Tensor:
        return x.mean()


class _PerColumn(_Buffer):
    def of(self, x: Tensor) -> Tensor:
        return x.detach().mean(dim=0)


class _Always(_Buffer):
    def forward(self, x: Tensor) -> Tensor:
        self.update(x)
        return x - self.mean


class _Afterwards(_Buffer):
    def forward(self, x: Tensor) -> Tensor:
        y = x - self.mean
        if self.training:
            self.update(x)
        return y


class _PlainInEval(_Buffer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else x


class _Cut(_Buffer):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class _Writing(_Buffer):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        x.data.zero_()
        return y


class _Shared(_Buffer):
    tensors: list[Tensor]

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("mean", self.tensors[0])

    def update(self, x: Tensor) -> None:
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean())


def _sharing() -> type[nn.Module]:
    return type("Shared", (_Shared,), {"tensors": [torch.zeros(())]})


class _Counting(_Buffer):
    """Counts its calls in an int, too."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class _InPlace(_Buffer):
    def update(self, x: Tensor) -> None:
        self.mean.mul_(0.9).add_(x.detach().mean(), alpha=0.1)


class _UnderNoGrad(_Buffer):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            mean = self.mean + 0.1 * self.training * (x.mean() - self.mean)
        self.mean = mean
        return x - mean


class _Frozen(nn.Module):
    """The mean is a parameter that asks for no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.running = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.running.copy_(0.9 * self.running + 0.1 * x.mean())
        return x - self.running.squeeze()


def told(module: type[nn.Module]) -> Any:
    """The oracle: values, gradients, states and numbers of graphs, for several shapes."""
    found: list[Any] = []
    for shape in ((), (1,), (3, 2)):
        x = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
        found.append(_tried(lambda x=x: _history(module, x)))
    for check in (_modes, _graphs, lambda module: _saved(module, torch.tensor([1.0, 3.0]))):
        found.append(_tried(lambda check=check: check(module)))
    return found


def _tried(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:
        return [type(error).__name__, str(error)[:40]]


def _history(module: type[nn.Module], x: Tensor) -> Any:
    mine, other, found = module(), module(), []
    for call in range(4):
        mine.train(call != 2)
        given = (x * (call + 1)).requires_grad_()
        y = mine(given)
        grad = autograd.grad(y.sum(), given)[0] if y.requires_grad else torch.zeros(())
        found.append([_rounded(y), _rounded(grad), _rounded(given), y.requires_grad])
    return [found, _rounded(other(x))]


def _rounded(x: Tensor) -> Any:
    return (x.detach() * 1000).round().tolist()


EXERCISE = Exercise(
    "centred_mean",
    "One graph for each mode, and the mean is saved.",
    check_centred_mean,
    (
        Wrong("the old one", Old, "The state_dict after one call on [1, 3] has []"),
        Wrong("a buffer and item()", _Item, "1, 2 and 2 are enough"),
        Wrong("no buffer", _Attribute, "The state_dict after one call on [1, 3] has []"),
        Wrong("not saved", _NotSaved, "The state_dict after one call on [1, 3] has []"),
        Wrong(
            "nine tenths new", _Turned, "In call 1, in training mode, a module makes [-0.8, 1.2]"
        ),
        Wrong("the mean attached", _Attached, "the value is right, and for the gradient [1, 2]"),
        Wrong("a mean for each column", _PerColumn, "a module makes [[-0.15"),
        Wrong(
            "updated in evaluation mode",
            _Always,
            "it makes [1.24, 5.24] of [2, 6]",
        ),
        Wrong(
            "updated afterwards", _Afterwards, "In call 1, in training mode, a module makes [1, 3]"
        ),
        Wrong("nothing in evaluation mode", _PlainInEval, "it makes [2, 6] of [2, 6]"),
        Wrong("cut off", _Cut, ", without a graph."),
        Wrong("writes into x", _Writing, "and changes its input"),
        Wrong("one mean for all", _sharing(), "a second module makes"),
        Wrong("counts in an int", _Counting, "1, 2 and 2 are enough"),
        Wrong("an object", nn.Identity(), "this is Identity()"),
    ),
    right=(
        Right("in place", _InPlace),
        Right("without a branch", _UnderNoGrad),
        Right("a frozen parameter", _Frozen),
    ),
    oracle=told,
)
