"""Exercise `wrong_entry`: one entry of all gradients of a network by hand is wrong; find it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, tried
from ...pieces.mlp import MLP, Linear, build, cross_entropy

__all__ = ["EXERCISE", "suspicious_network"]

Place = tuple[int, str, tuple[int, ...]]
MEASURE = "Move one number by a small step to either side, and compare the slope of the loss with the claim."


class Changed(MLP):
    """A network whose backward adds `off` to one entry of one gradient."""

    def __init__(self, net: MLP, where: Place, off: float) -> None:
        super().__init__(net.layers)
        self.where, self.off = where, off

    def backward(self, grad: ndarray) -> ndarray:
        dx = super().backward(grad)
        nth, name, place = self.where
        getattr(self.layers[nth], "d" + name)[place] += self.off
        return dx


def changed(
    sizes: list[int], where: Place, share: float, seed: int = 0, rows: int = 4
) -> tuple[Changed, ndarray, ndarray]:
    """A network, its data, and one gradient that is off by a share of the largest; no unit is near its kink."""
    for trial in range(1000):
        rng = np.random.default_rng((seed, trial))
        net = build(sizes, rng)
        for layer in net.layers[::2]:
            layer.b[:] = rng.normal(size=layer.b.shape) / 4
        x, y = rng.normal(size=(rows, sizes[0])), rng.integers(sizes[-1], size=rows)
        logits, z = x, []
        for layer in net.layers:
            if not isinstance(layer, Linear):
                z.append(np.abs(logits).min())
            logits = layer.forward(logits)
        if min(z, default=1.0) < 2e-3:
            continue
        net.backward(cross_entropy(logits, y)[1])
        arrays = [getattr(layer, "d" + name) for layer in net.layers[::2] for name in "Wb"]
        largest = max(float(np.abs(a).max()) for a in arrays)
        if largest > 0.01 or sizes[-1] == 1:
            break
    return Changed(net, where, share * max(largest, 0.1)), x, y


def suspicious_network() -> tuple[MLP, ndarray, ndarray]:
    """A network with one wrong entry, to try an answer on."""
    return changed([3, 5, 4], (2, "W", (3, 1)), 0.2, seed=9)


CASES: tuple[tuple[str, list[int], Place, float], ...] = (
    ("one layer of 1 x 2, its first weight", [1, 2], (0, "W", (0, 0)), 1.0),
    ("one layer of 1 x 2, its second bias", [1, 2], (0, "b", (1,)), 1.0),
    ("one layer of 2 x 3", [2, 3], (0, "W", (1, 2)), -0.5),
    ("one layer of 3 x 3, above the diagonal", [3, 3], (0, "W", (0, 2)), 0.5),
    ("two layers, 2, 3, 2: in the first weight", [2, 3, 2], (0, "W", (1, 2)), 0.3),
    ("two layers, 2, 3, 2: in the second weight", [2, 3, 2], (2, "W", (2, 0)), 0.3),
    ("two layers, 2, 3, 2: in the second bias", [2, 3, 2], (2, "b", (1,)), -0.3),
    ("three layers, 4, 7, 5, 3: in the middle", [4, 7, 5, 3], (2, "W", (6, 4)), 0.01),
    ("three layers, 4, 7, 5, 3: in the middle bias", [4, 7, 5, 3], (2, "b", (3,)), -0.002),
    ("three layers, 4, 7, 5, 3: in the last weight", [4, 7, 5, 3], (4, "W", (0, 2)), 0.001),
)
"""In words, the sizes, the place, and by which share of the largest gradient it is off; the smallest first."""


def check_wrong_entry(wrong_entry: Callable[..., Any]) -> None:
    """`wrong_entry(net, x, y)` gives the layer, the array and the place of the wrong entry."""
    for seed, (words, sizes, where, share) in enumerate(CASES):
        _ask(wrong_entry, words, sizes, where, share, seed)
    draw = drawn()
    for _ in range(3):
        sizes = [draw.whole(2, 6) for _ in range(draw.whole(2, 3))]
        nth = draw.whole(0, len(sizes) - 2)
        inputs, outputs = sizes[nth], sizes[nth + 1]
        place = draw.whole(0, inputs - 1), draw.whole(0, outputs - 1)
        name = "Wb"[draw.whole(0, 1)]
        where: Place = (2 * nth, name, place if name == "W" else place[1:])
        share = 10 ** draw.uniform(1, low=-2.5, high=0).item()
        words = f"sizes {sizes} ({draw})"
        _ask(wrong_entry, words, sizes, where, share, draw.whole(0, 999))


def _ask(
    wrong_entry: Any, words: str, sizes: list[int], where: Place, share: float, seed: int
) -> None:
    net, x, y = changed(sizes, where, share, seed)
    before = [array.copy() for layer in net.layers[::2] for array in (layer.W, layer.b)]
    found = _place(wrong_entry(net, x, y), words)
    after = [array for layer in net.layers[::2] for array in (layer.W, layer.b)]
    expect(
        all(np.array_equal(one, two) for one, two in zip(before, after, strict=True)),
        f"The weights are not what they were: {words}.",
        "Keep the old number and put that back; adding and taking away loses the last digit.",
    )
    shapes = [layer.W.shape for layer in net.layers[::2]]
    at = f"for a network with weights of the shapes {', '.join(map(str, shapes))}: {words}"
    nth, name, place = found
    layers = range(len(net.layers))
    expect(
        nth in layers and isinstance(net.layers[nth], Linear),
        f"net.layers[{nth}] has no weights, {at}.",
        "Count all layers from 0, ReLUs too; only a Linear has W and b.",
    )
    shape = getattr(net.layers[nth], name).shape
    expect(
        len(place) == len(shape) and all(0 <= i < n for i, n in zip(place, shape, strict=True)),
        f"{name} of layer {nth} has the shape {shape}; there is no place {place}, {at}.",
        "One whole number for each axis; W has rows for inputs and columns for outputs.",
    )
    expect(
        found == where,
        f"The gradient of {name}{list(place)} in layer {nth} is right, {at}.",
        MEASURE,
    )


def _place(found: Any, words: str) -> Place:
    """A tuple (layer, name, place) in any form."""
    whole = (
        f"The answer has three parts, (layer, name, place); yours is {forms.said(found)}: {words}."
    )
    expect(
        isinstance(found, (tuple, list)) and len(found) == 3,
        whole,
        'For example (2, "W", (0, 1)), or (2, "b", (1,)).',
    )
    nth, name, place = found
    expect(
        isinstance(name, str) and name in ("W", "b"),
        f'The second part is "W" or "b"; yours is {forms.said(name)}: {words}.',
        "The array in which the number stands, not its gradient.",
    )
    if isinstance(place, (int, np.integer)):
        place = (place,)
    return (
        forms.whole(nth, "The layer"),
        name,
        tuple(forms.whole(i, "A number of the place") for i in place),
    )


# ---- right answers, found in other ways ----


def _claims(net: MLP, x: ndarray, y: ndarray) -> list[tuple[int, str, ndarray, ndarray]]:
    """Layer, name, the array and a copy of its claims."""
    _, dlogits = cross_entropy(net.forward(x), y)
    net.backward(dlogits)
    return [
        (nth, name, getattr(layer, name), getattr(layer, "d" + name).copy())
        for nth, layer in enumerate(net.layers)
        if isinstance(layer, Linear)
        for name in ("W", "b")
    ]


def by_autograd(net: MLP, x: ndarray, y: ndarray) -> Any:
    """The same network in torch, whose gradient is another second opinion."""
    claims = _claims(net, x, y)
    leaves = [torch.tensor(array, requires_grad=True) for _, _, array, _ in claims]
    h = torch.tensor(x)
    for nth in range(0, len(leaves), 2):
        h = (h.relu() if nth else h) @ leaves[nth] + leaves[nth + 1]
    torch.nn.functional.cross_entropy(h, torch.tensor(y)).backward()
    off = [np.abs(leaf.grad.numpy() - claim[3]) for leaf, claim in zip(leaves, claims, strict=True)]
    which = int(np.argmax([errors.max() for errors in off]))
    place = np.unravel_index(int(off[which].argmax()), off[which].shape)
    return [claims[which][0], claims[which][1], list(map(int, place))]


def by_copies(net: MLP, x: ndarray, y: ndarray) -> Any:
    """Differences to one side of a copy; the outlier among all differences wins."""
    found = []
    for nth, name, array, claim in _claims(net, x, y):
        layer = net.layers[nth]
        for flat in range(array.size):
            place = np.unravel_index(flat, array.shape)
            losses = []
            for step in (-3e-5, 3e-5):
                moved = array.copy()
                moved[place] += step
                setattr(layer, name, moved)
                losses.append(cross_entropy(net.forward(x), y)[0])
            setattr(layer, name, array)
            slope = (losses[1] - losses[0]) / 6e-5
            found.append((abs(slope - claim[place]), nth, name, tuple(int(i) for i in place)))
    return max(found, key=lambda each: each[0])[1:]


# ---- wrong answers ----


def _entry(net: MLP, x: ndarray, y: ndarray, h: float = 1e-5, relative: bool = False, first: str = "",
           linear: bool = False, turned: bool = False, keep: bool = False, largest: bool = False,
           names: str = "Wb", divide: float = 2.0, last: bool = False) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    worst, found = -1.0, None
    for nth, name, array, claim in _claims(net, x, y):
        if name not in names or (last and nth < len(net.layers) - 1):
            continue
        for place in np.ndindex(array.shape):
            old, losses = array[place], []
            for value in (old + h, old - h):
                array[place] = value
                losses.append(cross_entropy(net.forward(x), y)[0])
            array[place] = old + (1e-9 if keep else 0)
            slope = (losses[0] - losses[1]) / (divide * h)
            error = abs(claim[place]) if largest else abs(slope - claim[place])
            if relative:
                error /= abs(slope) + 1e-300
            if error > worst:
                worst = error
                at = place[::-1] if turned else place
                found = (nth // 2 if linear else nth, first + name, at)
    return found


WRONG = {
    "the largest gradient": (partial(_entry, largest=True), "its second bias"),
    "weights only": (partial(_entry, names="W"), "its second bias"),
    "the last layer only": (partial(_entry, last=True), "in the first weight"),
    "linear layers counted": (partial(_entry, linear=True), "net.layers[1] has no weights"),
    "rows and columns exchanged": (partial(_entry, turned=True), "there is no place (2, 1)"),
    "the gradient's name": (partial(_entry, first="d"), 'The second part is "W" or "b"'),
    "not put back": (partial(_entry, keep=True), "The weights are not what they were"),
    "a large step": (partial(_entry, h=0.3), "three layers, 4, 7, 5, 3: in the middle."),
    "divided by h": (partial(_entry, divide=1.0), "The gradient of b[0] in layer 0"),
    "the place alone": (lambda net, x, y: _entry(net, x, y)[2], "The answer has three parts"),
    "the first": (lambda net, x, y: (0, "W", (0, 0)), "its second bias"),
    "no return": (lambda net, x, y: (_entry(net, x, y), None)[1], "The answer has three parts"),
}  # fmt: skip


def oracle(wrong_entry: Callable[..., Any]) -> Any:
    """The places for many networks, and whether the weights are what they were."""

    def told(sizes: list[int], where: Place, share: float, seed: int) -> Any:
        net, x, y = changed(sizes, where, share, seed)
        before = [array.copy() for layer in net.layers[::2] for array in (layer.W, layer.b)]
        found = _place(wrong_entry(net, x, y), "")
        after = [array for layer in net.layers[::2] for array in (layer.W, layer.b)]
        same = [np.array_equal(one, two) for one, two in zip(before, after, strict=True)]
        return [list(found), all(same)]

    wide = [(sizes, where, share, seed) for seed, (_, sizes, where, share) in enumerate(CASES)]
    wide += [([3, 2, 2], (0, "b", (1,)), 0.05, 50), ([2, 4], (0, "W", (0, 3)), 0.003, 51)]
    return [tried(told, *each) for each in wide]


EXERCISE = Exercise(
    "wrong_entry",
    "Every entry has two losses, and one claim does not fit them.",
    check_wrong_entry,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by autograd", by_autograd), Right("on copies", by_copies)),
    oracle=oracle,
)
