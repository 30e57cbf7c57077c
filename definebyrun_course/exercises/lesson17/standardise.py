"""Exercise `standardise`: standardise by pixel, with the training set's numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import (
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
)
from ..mistakes import then

__all__ = ["EXERCISE"]

Case = tuple[str, Tensor, Tensor]
LARGE = 1e7
"""Beside so large a number float32 has no digits for a difference of 1."""


def cases(dtype: torch.dtype) -> list[Case]:
    """Words, train and other; from the smallest up."""
    t = partial(torch.tensor, dtype=dtype)
    rows = torch.arange(1.0, 13.0, dtype=dtype).reshape(4, 3)
    wide = torch.stack(
        [rows.T.reshape(-1), rows.reshape(-1) * 100 - 7, t([0.2] * 11 + [0.3])], dim=1
    )
    tenths = torch.full((1000, 1), 0.1, dtype=dtype)
    tiny = t([[1.0], [-2.0], [3.0]]) * 1e-12
    double = [
        ("train = [[100000000], [100000001], [100000003]] and other = [[100000002]]",
         t([[1e8], [1e8 + 1], [1e8 + 3]]), t([[1e8 + 2]])),
        ("a pixel that varies by 1e-100", tiny * 1e-88, tiny[:2] * 2e-88),
    ]  # fmt: skip
    return [
        ("train = [[1], [5]] and other = [[4], [5]]", t([[1.0], [5.0]]), t([[4.0], [5.0]])),
        ("train = [[2], [2]] and other = [[2], [5]]", t([[2.0], [2.0]]), t([[2.0], [5.0]])),
        ("train = [[1, 20], [3, 60], [2, 10]] and other = [[2, 30], [7, 30]]",
         t([[1.0, 20.0], [3.0, 60.0], [2.0, 10.0]]), t([[2.0, 30.0], [7.0, 30.0]])),
        ("train = [[1], [5], [1]] and other = [[4], [5]]", t([[1.0], [5.0], [1.0]]), t([[4.0], [5.0]])),
        ("train = [[1000], [1001], [1003]] and other = [[1002]]",
         t([[1000.0], [1001.0], [1003.0]]), t([[1002.0]])),
        ("train = [[4, 6]] and other = [[4, 7]], one row each", t([[4.0, 6.0]]), t([[4.0, 7.0]])),
        ("3 pixels, of which 0 and 2 are constant in train alone",
         t([[5.0, 1.0, -3.0], [5.0, 4.0, -3.0], [5.0, 2.0, -3.0]]), t([[4.0, 2.0, -3.0], [6.0, 1.0, 0.0]])),
        ("3 pixels, of which 1 is constant in other alone", wide, wide[:5] * t([1.0, 0.0, 2.0])),
        ("a pixel that is 0.1 in all of 1000 rows of train", tenths, t([[0.1], [0.6]])),
        ("a pixel that varies by a trillionth", tiny, tiny[:2] * 3),
        ("train = [[1], [5]] and other = [[90], [-90]]", t([[1.0], [5.0]]), t([[90.0], [-90.0]])),
        *(double if dtype == torch.float64 else []),
    ]  # fmt: skip


def standardised(train: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """What must come out, in float64."""
    a, b = train.double(), other.double()
    alive = a.amax(0) > a.amin(0)
    spread = torch.where(alive, (a - a.mean(0)).square().mean(0).sqrt(), 1.0)
    return ((a - a.mean(0)) / spread * alive, (b - a.mean(0)) / spread * alive)


def check_standardise(standardise_columns: Callable[[Tensor, Tensor], Any]) -> None:
    """`standardise_columns(train, other)` returns both on the training set's scale, column by column."""
    for dtype in (torch.float64, torch.float32):
        for words, train, other in cases(dtype):
            _ask(standardise_columns, words, train, other)
    draw = drawn()
    pixels, sizes = draw.whole(1, 5), (draw.whole(3, 20), draw.whole(1, 9))
    train, other = (draw.normal(n, pixels) * draw.uniform(pixels, high=9.0) + 3 for n in sizes)
    train[:, draw.whole(0, pixels - 1)] = draw.whole(-9, 9) / 10
    _ask(
        standardise_columns,
        f"{pixels} pixels, {sizes[0]} and {sizes[1]} rows ({draw})",
        train,
        other,
    )


def _ask(standardise_columns: Any, words: str, train: Tensor, other: Tensor) -> None:
    form = "return train, other: two tensors, each of the shape that it had."
    found = standardise_columns(train, other)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        missing = " Is a `return` missing?" if found is None else ""
        raise Mistake(
            f"Your function returns two tensors; yours returned {forms.said(found)}.{missing}", form
        )
    a, b = (forms.tensor(part, "standardise_columns") for part in found)
    shapes = [tuple(part.shape) for part in (train, other, a, b)]
    expect(
        shapes[:2] == shapes[2:],
        f"The shapes {shapes[0]} and {shapes[1]} became {shapes[2]} and {shapes[3]}.",
        form,
    )
    right = standardised(train, other)
    for name, yours in (("train", a), ("other", b)):
        expect(
            yours.isfinite().all(),
            f"There is a nan or an inf in {name}: {shown(yours)}, for {words}.",
            "The standard deviation of a constant pixel is 0; what do you divide by there?",
        )
    alive = train.amax(0) > train.amin(0)
    for name, yours, want in (
        ("train", a[:, alive], right[0][:, alive]),
        ("other", b[:, alive], right[1][:, alive]),
    ):
        if not near(yours, want, rtol=1e-4, atol=1e-5):
            _say_which(name, yours, want, train[:, alive], other[:, alive], train, words)
    silent = ~alive
    for name, yours in (("train", a), ("other", b)):
        texts = shown(yours[:, silent])
        expect(
            not yours[:, silent].any(),
            f"A pixel that is constant in training is 0 in both results; in {name} yours is {texts}, for {words}.",
            "Which pixels are constant? The mean of equal numbers is rounded, so their spread need not come out as 0; "
            "and other may show something there that training never did.",
        )


def _say_which(
    name: str, yours: Tensor, want: Tensor, train: Tensor, other: Tensor, whole: Tensor, words: str
) -> None:
    """The first of the usual mistakes that gives the numbers found, for pixels that are not constant."""
    place = int(name == "other")
    base = {"train": train, "other": other}
    known = [
        ("source", "own", "other was standardised with its own mean and spread",
         "Compute both from train, and use them twice."),
        ("source", "both", "the statistics come from train and other together: that is the leak",
         "The training set has to come out at mean 0 by itself."),
        ("source", "all", "one mean and one spread serve all pixels",
         "mean(dim=0) goes down the rows and leaves one number a pixel."),
        ("correction", 1, "the spread divides by n - 1", "What does correction=0 change?"),
        ("divide", False, "the mean is subtracted, and nothing is divided", "Where is the standard deviation?"),
        ("power", 2, "it is divided by the variance", "The standard deviation is its root."),
        ("subtract", False, "it is divided, and no mean is subtracted", "The mean of train comes out at 0."),
        ("source", "rows", "the statistics run along the rows", "One mean a pixel: down the rows, over the examples."),
        ("extra", 1e-8, "something was added to the spread",
         "A pixel that varies, however little, comes out at spread 1."),
    ]  # fmt: skip
    found: list[tuple[str, str]] = []
    for switch, value, said, hint in known if yours.abs().max() > 1e-6 else []:
        try:
            made = _standardise(whole if value == "all" else train, other, **{switch: value})[place]
        except (RuntimeError, IndexError):
            continue
        if value == "all":
            made = _standardise(base["train"], other, source="given", given=whole)[place]
        if made.shape == yours.shape and near(yours, made, rtol=1e-4, atol=1e-5):
            found.append((said, hint))
    if found:
        expect(False, f"In {name}, {found[0][0]}, for {words}.", found[0][1])
    texts = apart(yours, want)
    size = whole.abs().max()
    hint = "Pixel by pixel: minus the mean of train, divided by the standard deviation of train."
    if size > LARGE:
        hint = "The rows differ by little beside their numbers. Which step loses that, or takes it for nothing?"
    elif size < 1 / LARGE:
        hint = "A pixel is constant or it is not: who has said that so small a spread is none?"
    expect(False, f"{name} comes out as {texts[0]}, not as {texts[1]}, for {words}.", hint)


# ---- right answers, found in other ways ----


def by_first_row(train: Tensor, other: Tensor) -> list[Tensor]:
    constant = (train == train[:1]).all(dim=0)
    spread = train.var(dim=0, unbiased=False).sqrt().masked_fill(constant, 1.0)
    both = [(x - train.mean(dim=0, keepdim=True)).div(spread) for x in (train, other)]
    return [x.masked_fill(constant, 0.0) for x in both]


def by_columns(train: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.zeros_like(train), torch.zeros_like(other)
    for pixel in range(train.shape[1]):
        column = train[:, pixel]
        if len(column.unique()) > 1:
            mean = column.sum() / len(column)
            spread = ((column - mean) ** 2).mean() ** 0.5
            a[:, pixel], b[:, pixel] = (column - mean) / spread, (other[:, pixel] - mean) / spread
    return a, b


# ---- wrong answers ----


def _standardise(train: Tensor, other: Tensor, source: str = "train", guard: str = "amax", silence: bool = True,
                 correction: int = 0, divide: bool = True, power: int = 1, subtract: bool = True, extra: float = 0.0,
                 given: Any = None) -> tuple[Tensor, ...]:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    result = []
    for x in (train, other):
        bases = {"train": train, "own": x, "given": given}
        base = torch.cat([train, other]) if source == "both" else bases.get(source, train)
        base = base.reshape(-1, 1) if source in ("all", "given") else base
        axis = 1 if source == "rows" else 0
        std = (base - base.mean(axis, keepdim=True)).square().sum(axis, keepdim=True)
        std = (std / max(base.shape[axis] - correction, 1)).sqrt()
        lives = {"amax": base.amax(axis, keepdim=True) > base.amin(axis, keepdim=True), "std": std > 0,
                 "small": std > 1e-6, "none": torch.ones_like(std, dtype=torch.bool)}[guard]  # fmt: skip
        scale = torch.where(lives, (std + extra) ** power, 1.0)
        scaled = (x - (base.mean(axis, keepdim=True) if subtract else 0)) / (scale if divide else 1)
        result.append(scaled * lives if silence else scaled)
    return tuple(result)


def _by_spread(train: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    """Asks the standard deviation which pixels are constant."""
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
    alive = std > 0
    scale = torch.where(alive, std, 1.0)
    return tuple((x - mean) / scale * alive for x in (train, other))


def _in_place(train: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    good = _standardise(train, other)
    train -= train.mean(dim=0)
    return good[0], good[1]


def _between_0_and_1(train: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    low, high = train.amin(0), train.amax(0)
    span = torch.where(high > low, high - low, 1.0)
    return tuple((x - low) / span * (high > low) for x in (train, other))


def _silent_if_both(train: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    """Takes a pixel for constant that is so in both sets."""
    both = torch.cat([train, other])
    alive = both.amax(0) > both.amin(0)
    std = (train - train.mean(0)).square().mean(0).sqrt()
    scale = torch.where(std > 1e-14, std, 1.0)
    return tuple((x - train.mean(0)) / scale * alive for x in (train, other))


def _clamped_spread(train: Tensor, other: Tensor) -> Any:
    """Divides by a small number at least."""
    silent = train.amax(0) == train.amin(0)
    spread = train.std(0, correction=0).clamp(min=1e-12)
    return tuple(
        ((part - train.mean(0)) / spread).masked_fill(silent, 0.0) for part in (train, other)
    )


def _alike_for_float32(train: Tensor, other: Tensor) -> Any:
    """Takes a pixel for constant whose spread is small beside its numbers."""
    silent = train.std(0, correction=0) <= 1e-7 * train.abs().amax(0)
    return tuple(part.masked_fill(silent, 0.0) for part in _standardise(train, other))


def _cut_at_10(train: Tensor, other: Tensor) -> Any:
    return tuple(part.clamp(-10, 10) for part in _standardise(train, other))


def _in_float32(train: Tensor, other: Tensor) -> Any:
    return tuple(part.to(train.dtype) for part in _standardise(train.float(), other.float()))


def _ends_alike(train: Tensor, other: Tensor) -> Any:
    """Takes a pixel for constant whose first and last values are equal."""
    silent = train[0] == train[-1]
    return tuple(part.masked_fill(silent, 0.0) for part in _standardise(train, other))


def _mean_of_squares(train: Tensor, other: Tensor) -> Any:
    """The variance as the mean of the squares minus the square of the mean: two large numbers."""
    mean = train.mean(0)
    spread = (train.square().mean(0) - mean.square()).clamp(min=0).sqrt()
    silent = train.amax(0) == train.amin(0)
    spread = torch.where(silent | (spread == 0), 1.0, spread)
    return tuple(((part - mean) / spread).masked_fill(silent, 0.0) for part in (train, other))


WRONG = {
    "divided by 1e-12 at least": (_clamped_spread, "varies by 1e-100"),
    "a spread that is small beside the numbers": (_alike_for_float32, "differ by little beside"),
    "cut at 10": (_cut_at_10, "other = [[90], [-90]]"),
    "in float32": (_in_float32, "differ by little beside"),
    "constant by its ends": (_ends_alike, "train = [[1], [5], [1]]"),
    "two large numbers subtracted": (_mean_of_squares, "differ by little beside"),
    "each set by its own statistics": (partial(_standardise, source="own"), "its own mean and spread"),
    "statistics of both sets": (partial(_standardise, source="both"), "that is the leak"),
    "one mean for all pixels": (partial(_standardise, source="all"), "serve all pixels"),
    "along the rows": (lambda train, other: (_standardise(train, train, source="rows")[0], _standardise(other, other,
        source="rows")[0]), "train comes out as [[0], [0]], not"),
    "torch's own std": (partial(_standardise, correction=1), "divides by n - 1"),
    "not divided": (partial(_standardise, divide=False), "nothing is divided"),
    "by the variance": (partial(_standardise, power=2), "divided by the variance"),
    "no mean subtracted": (partial(_standardise, subtract=False), "no mean is subtracted"),
    "an added epsilon": (partial(_standardise, extra=1e-8), "something was added"),
    "from 0 to 1": (_between_0_and_1, "train comes out as [[0], [1]]"),
    "no guard against zero": (partial(_standardise, guard="none"), "a nan or an inf"),
    "constant by the spread": (_by_spread, "0.1 in all of 1000 rows"),
    "a small spread is taken for none": (partial(_standardise, guard="small"), "[[0], [0], [0]], not as [[0.16"),
    "constant pixel let through": (partial(_standardise, silence=False), "in other yours is [[0], [3]]"),
    "constant in both sets": (_silent_if_both, "in other yours is [[0], [3]]"),
    "train alone": (lambda train, other: _standardise(train, other)[0], "returns two tensors"),
    "other as it is": (lambda train, other: (_standardise(train, other)[0], other), "other comes out as [[4], [5]]"),
    "train overwritten": (_in_place, "train is not what it was"),
    "other overwritten": (then(_standardise, lambda train, other: other.zero_()), "other is not what it was"),
}  # fmt: skip


def oracle(standardise_columns: Callable[..., Any]) -> Any:
    """Both results for many sets, and the sets afterwards."""

    def told(train: Tensor, other: Tensor) -> Any:
        a, b = standardise_columns(train, other)
        return [part.double().mul(1e4).round() / 1e4 + 0.0 for part in (a, b)]

    wide = [case[1:] for dtype in (torch.float32, torch.float64) for case in cases(dtype)]
    base = torch.arange(1.0, 43.0, dtype=torch.float64).sin().reshape(7, 6)
    wide += [
        (base[:n, ::2] * scale, base[:m, ::2] * scale)
        for n in (1, 2, 3, 7)
        for m in (1, 2)
        for scale in (1e-5, 1e5)
    ]
    wide += [
        (torch.full((n, 2), number, dtype=torch.float64), base[:3, :2])
        for n in (3, 10, 333)
        for number in (0.1, 1e-8, 1e8)
    ]
    return [tried(told, train.clone(), other.clone()) for train, other in wide]


EXERCISE = Exercise(
    "standardise",
    "Every statistic comes from the training set, and a constant pixel stays silent.",
    check_standardise,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(
        Right("compared with the first row", by_first_row),
        Right("column by column", by_columns),
    ),
    oracle=oracle,
)
