"""A second data set, larger than the digits and as large as you ask: letters from a pen that never moves twice alike.

A seed goes in; grey images of ten capital letters and their classes come out. Each letter is a few straight strokes.
Every image gets its own pen: turned, sheared, scaled, moved, the ends of the strokes displaced, thick or thin, and
noise on every pixel. The course wrote it (MIT, as the code): nothing is downloaded, and there is always one more image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .splits import Split

__all__ = ["LETTERS", "SIDE", "strokes", "strokes_split"]

SIDE = 12
"""Pixels along one side of an image."""
LETTERS = "AEFHKLNTXZ"
"""The classes in order: class 0 is an A."""
PENS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "A": ((-1, 1, 0, -1), (0, -1, 1, 1), (-0.5, 0.2, 0.5, 0.2)),
    "E": ((-0.8, -1, -0.8, 1), (-0.8, -1, 0.8, -1), (-0.8, 0, 0.6, 0), (-0.8, 1, 0.8, 1)),
    "F": ((-0.8, -1, -0.8, 1), (-0.8, -1, 0.8, -1), (-0.8, 0, 0.6, 0)),
    "H": ((-0.8, -1, -0.8, 1), (0.8, -1, 0.8, 1), (-0.8, 0, 0.8, 0)),
    "K": ((-0.8, -1, -0.8, 1), (-0.8, 0, 0.8, -1), (-0.8, 0, 0.8, 1)),
    "L": ((-0.8, -1, -0.8, 1), (-0.8, 1, 0.8, 1)),
    "N": ((-0.8, 1, -0.8, -1), (-0.8, -1, 0.8, 1), (0.8, 1, 0.8, -1)),
    "T": ((-0.9, -1, 0.9, -1), (0, -1, 0, 1)),
    "X": ((-0.9, -1, 0.9, 1), (-0.9, 1, 0.9, -1)),
    "Z": ((-0.8, -1, 0.8, -1), (0.8, -1, -0.8, 1), (-0.8, 1, 0.8, 1)),
}
"""Strokes from (x, y) to (x, y), y downwards, in a square from -1 to 1."""
MOST_STROKES = 4
IMAGES_AT_ONCE = 2048


def strokes(
    count: int, seed: int, noise: float = 0.2, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """`count` images as rows of 144 grey values, about 0 for paper and 1 for ink, and their classes.

    The same seed gives the same images, and the first of them do not depend on how many follow. Two seeds give two
    sets that share no image. `noise` is the spread of what is added to each pixel.

    >>> x, y = strokes(5, seed=0)
    >>> x.shape, y.dtype
    (torch.Size([5, 144]), torch.int64)
    """
    dice = torch.Generator().manual_seed(seed)
    ends = torch.tensor([(PENS[name] * MOST_STROKES)[:MOST_STROKES] for name in LETTERS])
    images, classes = [], []
    for start in range(0, count, IMAGES_AT_ONCE):
        y = torch.randint(len(LETTERS), (IMAGES_AT_ONCE,), generator=dice)
        x = _drawn(ends[y], dice) + noise * torch.randn(IMAGES_AT_ONCE, SIDE**2, generator=dice)
        images.append(x[: count - start])
        classes.append(y[: count - start])
    return torch.cat(images).to(dtype), torch.cat(classes)


def _drawn(ends: Tensor, dice: torch.Generator) -> Tensor:
    """Images of shape (letters, 144) from strokes of shape (letters, 4, 4), each with a pen of its own."""
    letters = len(ends)

    def spread(*shape: int) -> Tensor:
        return torch.randn(letters, *shape, generator=dice)

    points = ends.reshape(letters, 2 * MOST_STROKES, 2)
    # A stroke that is listed twice is displaced twice alike, so each letter keeps its number of strokes.
    wobble = spread(2 * MOST_STROKES, 2)
    same = (points[:, :, None] == points[:, None]).all(-1).to(torch.uint8).argmax(-1)
    points = points + 0.12 * wobble.gather(1, same[:, :, None].expand(-1, -1, 2))
    angle, shear, scale = 0.22 * spread(1), 0.2 * spread(1), 0.68 * torch.exp(0.12 * spread(2))
    x, y = (points * scale[:, None]).unbind(-1)
    x = x + shear * y
    moved = 0.14 * spread(2)
    x, y = (
        angle.cos() * x - angle.sin() * y + moved[:, :1],
        angle.sin() * x + angle.cos() * y + moved[:, 1:],
    )
    x, y = x.reshape(letters, MOST_STROKES, 1, 2), y.reshape(letters, MOST_STROKES, 1, 2)
    line = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    rows, columns = (grid.reshape(-1) for grid in torch.meshgrid(line, line, indexing="ij"))
    # The distance of each pixel to each stroke: to the nearest place between its ends.
    run_x, run_y = x[..., 1] - x[..., 0], y[..., 1] - y[..., 0]
    to_x, to_y = columns - x[..., 0], rows - y[..., 0]
    along = ((to_x * run_x + to_y * run_y) / (run_x**2 + run_y**2 + 1e-9)).clamp_(0, 1)
    distance = ((to_x - along * run_x) ** 2 + (to_y - along * run_y) ** 2).amin(1).sqrt()
    thick = 0.17 * torch.exp(0.25 * spread(1))
    return torch.sigmoid((thick - distance) * (SIDE / 2.0) * math.pi / 2)


def strokes_split(
    train: int = 12_000,
    val: int = 4_000,
    test: int = 8_000,
    noise: float = 0.2,
    dtype: torch.dtype = torch.float32,
) -> Split:
    """Images to train, to choose and to test, from three seeds, on the training set's one mean and one spread.

    >>> data = strokes_split(train=200, val=100, test=100)
    >>> data.x_train.shape, data.x_test.shape
    (torch.Size([200, 144]), torch.Size([100, 144]))
    """
    sets = [strokes(count, seed, noise) for seed, count in enumerate((train, val, test))]
    mean, std = sets[0][0].mean(), sets[0][0].std()
    parts: list[Tensor] = []
    for x, y in sets:
        parts += [((x - mean) / std).to(dtype), y]
    return Split(*parts)
