"""Exercise `start`: an initialisation that misses layers, takes the wrong side, and makes new parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Exercise, Right, Wrong, expect, tried

__all__ = ["EXERCISE"]

SIDE = "Each unit adds up as many terms as it has inputs. Which of a weight's two sizes is that?"
NESTED = "A module may hold modules that hold modules: which method names all of them?"
RESULT = "The model is what is asked for; what is returned does not matter, as the statement says."
RESULTS = ("its argument", "None", "a broken object", "a text")
OBJECTS = "An optimizer holds the parameters that it was given: write new numbers into them."


class Block(nn.Module):
    """A linear layer inside, a norm, and a matrix that belongs to no linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"deep": nn.Sequential(nn.Linear(inputs, outputs))})
        self.norm = nn.LayerNorm(outputs)
        self.table = nn.Parameter(torch.full((7, outputs), 0.25))
        self.register_buffer("count", torch.ones(3))


def _frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(120, 200), nn.Linear(200, 120, bias=False))
    return model.requires_grad_(False)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "one linear layer": lambda: nn.Sequential(nn.Linear(150, 150)),
    "150 → 300 → 100": lambda: nn.Sequential(nn.Linear(150, 300), nn.ReLU(), nn.Linear(300, 100)),
    "a layer without a bias": lambda: nn.Sequential(nn.Linear(100, 250, bias=False)),
    "a linear layer that is the model": lambda: nn.Linear(250, 100),
    "a layer inside a block": lambda: nn.Sequential(Block(100, 250), nn.ReLU()),
    "a layer in float64": lambda: nn.Sequential(nn.Linear(100, 250)).double(),
    "two frozen layers": _frozen,
    "an embedding and a layer": lambda: nn.Sequential(nn.Embedding(50, 200), nn.Linear(200, 100)),
    "a convolution": lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.Flatten(), nn.Linear(160, 150)),
}
"""From the smallest up; inputs and outputs differ, but in the first. Large enough for a spread within 4 %."""


def _linears(model: nn.Module) -> dict[int, tuple[str, nn.Linear]]:
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    return {id(m.weight): (name or "itself", m) for name, m in found}


def check_start(start: Callable[..., Any]) -> None:
    """`start(model)` draws the weights of all linear layers anew, in place."""
    for words, make in MODELS.items():
        torch.manual_seed(1)
        _judge(start, make(), f"in the case of {words}")


def _judge(start: Any, model: nn.Module, where: str) -> None:
    params = dict(model.named_parameters())
    before = {name: (p, p.detach().clone(), p.requires_grad) for name, p in params.items()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    start(model)
    after = dict(model.named_parameters())
    linears = _linears(model)
    for name, (old, numbers, asks) in before.items():
        new = after.get(name)
        expect(new is old, f"{name} is another parameter than before, {where}.", OBJECTS)
        assert new is not None
        expect(new.is_leaf and new.requires_grad == asks,
               f"Whether {name} asks for gradients has changed, {where}.",
               "Who froze a parameter wants it frozen.")  # fmt: skip
        expect(new.dtype == numbers.dtype, f"{name} is {new.dtype} now, not {numbers.dtype}, {where}.",
               "Which dtype does torch.randn draw?")  # fmt: skip
        layer = linears.get(id(new))
        if layer is not None:
            _judge_weight(new.detach(), numbers, layer[1].in_features, name, where)
        elif name.endswith("bias") and any(new is m.bias for _, m in linears.values()):
            expect(not new.any(), f"{name} is not zero, {where}.", "And the biases?")
        else:
            expect(torch.equal(new, numbers), f"{name} belongs to no linear layer and has changed, {where}.",
                   "A norm starts at 1, an embedding has no sum over its inputs.")  # fmt: skip
    same = all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    expect(same, f"A buffer has changed, {where}.", "Buffers are no parameters.")
    weights = [m.weight.detach().flatten()[:50] for _, m in linears.values()]
    scaled = [w / w.std() for w in weights]
    twice = any(torch.allclose(a, b) for i, a in enumerate(scaled) for b in scaled[:i])
    expect(
        not twice, f"Two layers hold the same numbers, {where}.", "Which seed do you set, and when?"
    )


def _judge_weight(weight: Tensor, old: Tensor, inputs: int, name: str, where: str) -> None:
    expect(not torch.equal(weight, old), f"{name} holds the numbers from before, {where}.", NESTED)
    want, spread, mean = (2 / inputs) ** 0.5, weight.std().item(), weight.mean().item()
    rows = weight[:20] @ weight[:20].T / (inputs * want**2)
    alike = (rows - torch.diag(rows.diagonal())).abs().max().item()
    expect(alike < 0.75 * rows.diagonal().mean().item(), f"Units of {name} are alike, {where}.",
           "Each weight is drawn by itself.")  # fmt: skip
    told = f"{name} has a standard deviation of {spread:.3f}, not {want:.3f}, {where}."
    expect(abs(spread / want - 1) < 0.04, told, SIDE)
    expect(abs(mean) < 0.05 * want, f"{name} has the mean {mean:.3f}, {where}.", "Around 0.")
    shape = ((weight - mean) / spread).pow(4).mean().item()
    expect(abs(shape - 3) < 0.3, f"{name} is not normally distributed, {where}.",
           "Its spread is right. Which distribution does the statement name?")  # fmt: skip


# ---- right answers, found in other ways ----


def by_init(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def by_apply(model: nn.Module) -> nn.Module:
    """Returns the model, too."""

    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            size = module.weight.shape
            module.weight.data = torch.randn(size, dtype=module.weight.dtype) * (2 / size[1]) ** 0.5
            if module.bias is not None:
                module.bias.data.zero_()

    return model.apply(draw)


# ---- wrong answers ----


def _start(
    model: nn.Module, nested: bool = True, side: int = 1, gain: float = 2.0, fresh: bool = False, mean: float = 0.0,
    bias: bool = True, uniform: bool = False, seed: bool = False, root: float = 0.5, thaw: bool = False,
    rows: bool = False,
) -> None:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    for module in list(model.modules()) if nested else [model, *model.children()]:
        if not isinstance(module, nn.Linear):
            continue
        if seed:
            torch.manual_seed(0)
        size, dtype = module.weight.shape, module.weight.dtype
        drawn = (
            torch.rand(size, dtype=dtype) * 12**0.5 - 3**0.5
            if uniform
            else torch.randn(size, dtype=dtype)
        )
        drawn = drawn[:1].repeat(size[0], 1) if rows else drawn
        numbers = (drawn + mean) * (gain / size[side]) ** root
        if fresh:
            module.weight = nn.Parameter(numbers, module.weight.requires_grad)
        module.weight.data.copy_(numbers)
        if module.bias is not None and bias:
            module.bias.data.zero_()
        if thaw:
            module.requires_grad_(True)


def _given(model: nn.Module) -> None:
    """The program of the statement."""
    for layer in model.children():
        if isinstance(layer, nn.Linear):
            spread = (2 / layer.out_features) ** 0.5
            layer.weight = nn.Parameter(torch.randn(layer.weight.shape) * spread)
            layer.bias = nn.Parameter(torch.zeros(layer.out_features))


def _single(model: nn.Module) -> None:
    """Drawn in float32, whatever was there."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            size = module.weight.shape
            module.weight.data = torch.randn(size, dtype=torch.float32) * (2 / size[1]) ** 0.5
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _bias_needed(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def _all_matrices(model: nn.Module) -> None:
    by_init(model)
    for p in model.parameters():
        if p.ndim == 2:
            nn.init.kaiming_normal_(p, nonlinearity="relu")


def _all_biases(model: nn.Module) -> None:
    by_init(model)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(p)


def _default_slope(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=5**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


WRONG = {
    "the program as it was": (_given, "another parameter than before"),
    "new parameters": (partial(_start, fresh=True), "another parameter than before"),
    "the layers one can see": (partial(_start, nested=False), "holds the numbers from before"),
    "the outputs' side": (partial(_start, side=0), "0.082, not 0.115, in the case of 150"),
    "Xavier's gain": (partial(_start, gain=1.0), "0.082, not 0.115, in the case of one"),
    "the default's slope": (_default_slope, "a standard deviation of 0.04"),
    "no root": (partial(_start, root=1.0), "a standard deviation of 0.013"),
    "in another dtype": (_single, "is torch.float32 now"),
    "not around zero": (partial(_start, mean=0.3), "has the mean"),
    "the biases forgotten": (partial(_start, bias=False), "0.bias is not zero"),
    "every layer has a bias": (_bias_needed, "AttributeError"),
    "uniform": (partial(_start, uniform=True), "not normally distributed"),
    "one seed for all layers": (partial(_start, seed=True), "hold the same numbers"),
    "one unit, repeated": (partial(_start, rows=True), "are alike"),
    "every matrix": (_all_matrices, "0.table belongs to no linear layer"),
    "every bias": (_all_biases, "0.bias belongs to no linear layer"),
    "thawed": (partial(_start, thaw=True), "asks for gradients has changed"),
}  # fmt: skip


def oracle(start: Callable[..., Any]) -> Any:
    """For each parameter: whether it is the same object, has changed, its spread and mean in steps, what it asks."""

    def told(model: nn.Module) -> Any:
        old = {name: (p, p.detach().clone()) for name, p in model.named_parameters()}
        start(model)
        found = []
        for name, p in model.named_parameters():
            size = (2 / p.shape[-1]) ** 0.5
            spread = p.detach().std().item() / size if p.ndim == 2 and p.numel() > 5000 else 0
            mean = p.detach().mean().item() / size if p.ndim == 2 and p.numel() > 5000 else 0
            same = torch.equal(p, old[name][1])
            found.append([p is old[name][0], same, round(spread, 1), round(mean, 1) + 0.0,
                          bool(p.detach().any()), p.requires_grad, str(p.dtype), p.is_leaf])  # fmt: skip
        return found

    results = []
    for make in MODELS.values():
        torch.manual_seed(2)
        results.append(tried(told, make()))
    return results


EXERCISE = Exercise(
    "start",
    "Every linear layer, however deep, in the parameters that the optimizer holds.",
    check_start,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by nn.init", by_init), Right("by apply", by_apply)),
    may_change=(0,),
    oracle=oracle,
    allows={f"returns {what}": RESULT for what in RESULTS},
)
