"""A pattern for exercises, to copy: what stands in the chapter (`CHAPTER`), and the check with its answers.

It works: the tests hold it to the same rules as the exercises of the lessons. Put the first part into
`chapters/NN-slug.md`, the rest into `lessonNN/name.py`, and name it in `lessonNN/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ..grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, shown, tried

__all__ = ["CHAPTER", "EXERCISE"]

CHAPTER = """
### 00.1 Centred columns

Write `centred(x)`: `x` has the shape `(rows, columns)`, with at least one of each, and any float dtype. From each
column its mean is subtracted; the result is a new tensor, and `x` stays as it is. Gradients flow back to `x`,
through the mean too.

<details><summary>Hint 1: one column</summary>

Do it by hand for a column of two numbers. What do both lose, and what is left of their sum?

</details>

<details><summary>Hint 2: the shapes</summary>

Print the shape of the mean for an `x` of two rows and three columns. How many means does the statement ask for?

</details>

```{code-cell}
:tags: [exercise]
def centred(x):
    ...


dbr.check("centred", centred)
```

<details><summary>Solution</summary>

```python
def centred(x):
    return x - x.mean(dim=0)
```

The mean over `dim=0` has one number for each column, and broadcasting subtracts it from every row. Since the mean is
computed from `x`, the gradient of a column is centred, too.

</details>
"""

CASES: tuple[list[list[float]], ...] = (
    [[2.5]],
    [[1.0], [4.0]],
    [[1.0, 5.0]],
    [[1.0, 2.0, 6.0], [3.0, 8.0, 7.0]],
    [[1.0, 2.0], [5.0, 3.0], [3.0, 4.0]],
    [[1.0, 2.0], [5.0, 3.0]],
)
"""From the smallest up; rows and columns differ, except in the last, where a wrong axis would not show in the shape."""
MEANING = "Each column has a mean of its own, over all rows."
THROUGH = "Each number of a column changes its mean, so the mean belongs to the graph."


def check_centred(centred: Callable[[Tensor], Any]) -> None:
    """`centred(x)` subtracts from each column its mean."""
    for dtype in (torch.float32, torch.float64):
        for rows in CASES:
            _judge(centred, torch.tensor(rows, dtype=dtype))
    draw = drawn()
    _judge(centred, draw.normal(draw.whole(2, 6), draw.whole(7, 9)), f" ({draw})")


def _judge(centred: Callable[[Tensor], Any], x: Tensor, source: str = "") -> None:
    """One property after the other; each refusal has the input, what came out, and what to look at."""
    x = x.requires_grad_()
    want = x - x.mean(dim=0, keepdim=True)
    where = f"for {shown(x)}{source}"
    found = forms.tensor(centred(x), "centred", tuple(x.shape))
    means = found.mean(dim=0)
    expect(
        near(means, torch.zeros_like(means), atol=1e-6),
        f"The columns of the result have the means {shown(means)} {where}.",
        MEANING,
    )
    expect(
        near(found, want, atol=1e-6),
        f"The columns have the mean 0, and the result is {shown(found)} {where}.",
        "Distances between the numbers of a column stay as they are.",
    )
    expect(found.requires_grad, f"The result has no graph, {where}.", "Compute with x itself.")
    weights = torch.arange(1.0, 1 + x.numel(), dtype=found.dtype).reshape(x.shape)
    [grad], [wanted] = (autograd.grad(y, x, weights.to(y.dtype)) for y in (found, want))
    expect(near(grad, wanted, atol=1e-6), f"The gradient of x is {shown(grad)} {where}.", THROUGH)


# ---- right answers, found in other ways ----


def _by_a_matrix(x: Tensor) -> Tensor:
    rows = x.shape[0]
    return (torch.eye(rows, dtype=x.dtype) - 1 / rows) @ x


def _column_by_column(x: Tensor) -> Tensor:
    return torch.stack([column - column.sum() / len(column) for column in x.T], dim=1)


# ---- wrong answers: misreadings of the statement, usual mistakes, and each of its properties broken alone ----


def _wrong_where_it_fits(x: Tensor) -> Tensor:
    return x - x.mean(dim=int(x.shape[0] == x.shape[1]))


def _scaled(x: Tensor) -> Tensor:
    centred = x - x.mean(dim=0)
    return centred / centred.abs().amax(dim=0).clamp(min=1e-9)


def _without_return(x: Tensor) -> None:
    x - x.mean(dim=0)


def _in_place(x: Tensor) -> Tensor:
    x.data -= x.data.mean(dim=0)
    return x * 1


def oracle(centred: Callable[[Tensor], Any]) -> Any:
    """What an answer does with inputs of many kinds: two that do the same there are the same answer."""

    def told(x: Tensor) -> Any:
        y = centred(x)
        weights = torch.arange(x.numel(), dtype=x.dtype).sin().reshape(x.shape)
        return [y, y.requires_grad, autograd.grad(y, x, weights)]

    draw = Drawn(0)
    wide = [draw.normal(*shape) * 3 for shape in ((1, 1), (1, 3), (2, 1), (2, 3), (7, 2), (3, 3))]
    wide += [draw.normal(5, 2) * scale for scale in (1e-9, 1e9)]
    wide += [draw.normal(4, 3).T, draw.normal(3, 2).float(), torch.tensor([[float("nan"), 1.0]])]
    return [tried(told, x.requires_grad_()) for x in wide]


EXERCISE = Exercise(
    "centred",
    "Every column has the mean 0, and the gradient knows it.",
    check_centred,
    wrong=(
        Wrong("one mean for all", lambda x: x - x.mean(), "the means [-2, 2] for [[1, 5]]"),
        Wrong(
            "the mean of each row",
            lambda x: x - x.mean(dim=1, keepdim=True),
            "result is [[0], [0]] for [[1], [4]]",
        ),
        Wrong("the wrong axis where it fits", _wrong_where_it_fits, "[[1, 2], [5, 3]]"),
        Wrong("the sum", lambda x: x - x.sum(dim=0), "the means [-2.5] for [[1], [4]]"),
        Wrong("the means alone", lambda x: x.mean(dim=0), "the shape (1, 1) here"),
        Wrong("the other sign", lambda x: x.mean(dim=0) - x, "result is [[1.5], [-1.5]]"),
        Wrong("scaled, too", _scaled, "result is [[-1], [1]]"),
        Wrong("the mean detached", lambda x: x - x.detach().mean(dim=0), "The gradient of x"),
        Wrong("a table of numbers", lambda x: (x - x.mean(dim=0)).detach(), "has no graph"),
        Wrong("in place", _in_place, "changed what it was given"),
        Wrong("no return", _without_return, "Is a `return` missing?"),
    ),
    right=(
        Right("by a matrix", _by_a_matrix),
        Right("column by column", _column_by_column),
    ),
    oracle=oracle,
)
