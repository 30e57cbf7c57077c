"""Exercise `unit_signals`: weights scaled by data, so that every linear layer tells its examples apart alike."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, tried

__all__ = ["EXERCISE"]

RESULT = "The model is what is asked for; what is returned does not matter, as the statement says."
RESULTS = ("its argument", "None", "a broken object", "a text")
ORDER = (
    "A layer's input changes when a layer before it is scaled: what must be measured after what?"
)
EXAMPLES = "The signal is what differs between examples: z.std(dim=0).mean(). A bias is the same for all of them."


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width + 2), nn.Linear(width + 2, width)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.layers[1](torch.tanh(self.layers[0](x))))


def _deep(width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "one linear layer": lambda: nn.Sequential(nn.Linear(3, 2)),
    "one linear layer without a bias": lambda: nn.Sequential(nn.Linear(3, 4, bias=False)),
    "two linear layers": lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
    "a linear layer that is the model": lambda: nn.Linear(3, 3),
    "layers inside a block": lambda: nn.Sequential(Block(3), nn.Linear(3, 2)),
    "two linear layers in float64": lambda: nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)).double(),
    "five layers and ReLU": lambda: nn.Sequential(nn.Linear(3, 24), *_deep(24, 4)),
}  # fmt: skip
"""From the smallest up; all take three inputs."""


def _linears(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}


def _watched(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each linear layer gives."""
    found: dict[str, Tensor] = {}
    hooks = [
        m.register_forward_hook(lambda _, __, z, name=name: found.update({name: z.detach()}))
        for name, m in _linears(model).items()
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def _made(words: str, draw: Drawn, rows: int = 12) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(draw.seed)
    model = MODELS[words]()
    dtype = next(model.parameters()).dtype
    return model, (draw.normal(rows, 3) * 2 + 1).to(dtype)


def check_unit_signals(unit_signals: Callable[..., Any]) -> None:
    """`unit_signals(model, x)` scales each linear layer's weight so that its signal is 1."""
    for nth, words in enumerate(MODELS):
        _judge(unit_signals, *_made(words, Drawn(nth)), f"in the case of {words}")
    draw = drawn()
    rows = draw.whole(5, 30)
    _judge(unit_signals, *_made("five layers and ReLU", draw, rows),
           f"in the case of five layers and ReLU, {rows} examples ({draw})")  # fmt: skip


def _judge(unit_signals: Any, model: nn.Module, x: Tensor, where: str) -> None:
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    twin, old = deepcopy(model), dict(model.named_parameters())
    unit_signals(model, x)
    linears = _linears(model)
    for name, p in model.named_parameters():
        expect(p is old[name], f"{name} is another parameter than before, {where}.",
               "An optimizer holds the parameters that it was given: write into them.")  # fmt: skip
        ones = p.grad is not None and bool((p.grad == 1).all())
        expect(ones, f"The gradient of {name} has changed, {where}.", "Nothing here is trained.")
    left = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    expect(not left, f"A hook is left on the model, {where}.", "Every handle has a remove().")
    weights = {id(m.weight): name for name, m in linears.items()}
    before = dict(twin.named_parameters())
    for name, p in model.named_parameters():
        if id(p) not in weights:
            expect(torch.equal(p, before[name]), f"{name} has changed, {where}.",
                   "Only the weights of linear layers are scaled.")  # fmt: skip
            continue
        ratio = (p.detach() / before[name]).flatten()
        even = torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-3) and ratio[0] > 0
        expect(bool(even), f"{name} is not the old one times one positive number, {where}.",
               "One number for each layer.")  # fmt: skip
    for name, z in _watched(model, x).items():
        signal = z.std(dim=0).mean().item()
        hint = EXAMPLES if name == next(iter(linears)) else ORDER
        expect(abs(signal - 1) < 1e-3,
               f"The signal of layer {name or 'itself'} is {signal:.4f}, not 1, {where}.", hint)  # fmt: skip


# ---- right answers, found in other ways ----


@torch.no_grad()
def layer_by_layer(model: nn.Module, x: Tensor) -> None:
    """The whole model is run for each layer."""
    for layer in [m for m in model.modules() if isinstance(m, nn.Linear)]:
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _, __, z, seen=seen: seen.append(z))
        model(x)
        hook.remove()
        layer.weight.div_(seen[0].std(dim=0).mean())


@torch.no_grad()
def in_one_run(model: nn.Module, x: Tensor) -> nn.Module:
    """Each layer is scaled before it runs, from its input."""

    def scale(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        z = inputs[0] @ layer.weight.T
        layer.weight.copy_(layer.weight / z.std(dim=0).mean())

    hooks = [
        m.register_forward_pre_hook(scale) for m in model.modules() if isinstance(m, nn.Linear)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return model  # fmt: skip


# ---- wrong answers ----


@torch.no_grad()
def _scaled(
    model: nn.Module, x: Tensor, at_once: bool = False, spread: Any = None, bias: str = "kept", fresh: bool = False,
    nested: bool = True, power: float = 1.0, leave: bool = False, after: str = "", zero: bool = False,
) -> None:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    modules = list(model.modules()) if nested else [model, *model.children()]
    layers = [m for m in modules if isinstance(m, nn.Linear)]
    seen: dict[nn.Module, Tensor] = {}
    for layer in layers:
        layer.register_forward_hook(lambda m, _, z: seen.update({m: z}))
    if at_once:
        model(x)
    for layer in layers:
        if not at_once:
            model(x)
        z = torch.relu(seen[layer]) if after == "relu" else seen[layer]
        size = (z.std(dim=0).mean() if spread is None else spread(z)) ** power
        if fresh:
            layer.weight = nn.Parameter(layer.weight / size)
        else:
            layer.weight /= size
        if layer.bias is not None and bias != "kept":
            layer.bias *= 0 if bias == "zero" else 1 / size
    if zero:
        model.zero_grad()
    for layer in [] if leave else layers:
        layer._forward_hooks.clear()


def _with_graph(model: nn.Module, x: Tensor) -> None:
    with torch.enable_grad():
        for layer in [m for m in model.modules() if isinstance(m, nn.Linear)]:
            layer.weight /= (x @ layer.weight.T).std(dim=0).mean()


@torch.no_grad()
def _each_unit(model: nn.Module, x: Tensor) -> None:
    """Every unit gets a number of its own."""

    def scale(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        layer.weight.div_((inputs[0] @ layer.weight.T).std(dim=0)[:, None])

    hooks = [
        m.register_forward_pre_hook(scale) for m in model.modules() if isinstance(m, nn.Linear)
    ]
    model(x)
    for hook in hooks:
        hook.remove()


WRONG = {
    "all measured at once": (partial(_scaled, at_once=True), "The signal of layer 2 is"),
    "the spread of all numbers": (partial(_scaled, spread=lambda z: z.std()), "The signal of layer 0 is"),
    "the spread over the units": (
        partial(_scaled, spread=lambda z: z.std(dim=1).mean()), "The signal of layer 0 is"),
    "the size": (
        partial(_scaled, spread=lambda z: z.square().mean().sqrt()), "The signal of layer 0 is"),
    "the spread of the batch itself": (
        partial(_scaled, spread=lambda z: z.std(dim=0, correction=0).mean()), "The signal of layer 0 is"),
    "a variance": (partial(_scaled, power=2.0), "The signal of layer 0 is"),
    "multiplied": (partial(_scaled, power=-1.0), "The signal of layer 0 is"),
    "after ReLU": (partial(_scaled, after="relu"), "The signal of layer 0 is"),
    "biases scaled too": (partial(_scaled, bias="scaled"), "0.bias has changed"),
    "biases set to zero": (partial(_scaled, bias="zero"), "0.bias has changed"),
    "new parameters": (partial(_scaled, fresh=True), "another parameter than before"),
    "the layers one can see": (partial(_scaled, nested=False), "The signal of layer 0.layers.0 is"),
    "hooks left": (partial(_scaled, leave=True), "A hook is left"),
    "gradients cleared": (partial(_scaled, zero=True), "The gradient of 0.weight has changed"),
    "a graph": (_with_graph, "RuntimeError"),
    "each unit": (_each_unit, "not the old one times one positive number"),
}  # fmt: skip


def oracle(unit_signals: Callable[..., Any]) -> Any:
    """The parameters afterwards, their gradients, and how many hooks are left."""

    def told(model: nn.Module, x: Tensor) -> Any:
        old = list(model.parameters())
        for p in old:
            p.grad = torch.ones_like(p)
        unit_signals(model, x)
        new = list(model.parameters())
        left = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
        kept = [a is b for a, b in zip(old, new, strict=True)]
        grads = [p.grad is not None and bool((p.grad == 1).all()) for p in new]
        numbers = [(p.detach().double() * 1e3).round() / 1e3 + 0.0 for p in new]
        return [numbers, left, kept, grads, [p.requires_grad for p in new]]

    wide = [_made(words, Drawn(50 + nth), 9) for nth, words in enumerate(MODELS)]
    wide += [(model, x * 100) for model, x in [_made("two linear layers", Drawn(70))]]
    return [tried(told, model, x) for model, x in wide]


EXERCISE = Exercise(
    "unit_signals",
    "One layer after the other, each measured on what the scaled ones give.",
    check_unit_signals,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("layer by layer", layer_by_layer), Right("in one run", in_one_run)),
    may_change=(0,),
    oracle=oracle,
    allows={f"returns {what}": RESULT for what in RESULTS},
)
