"""Exercise `dead_units`: the units of each ReLU that are off for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Exercise, Mistake, Right, Wrong, drawn, expect, forms, tried
from .dead_units_answers import WRONG, by_inputs, by_largest_output

__all__ = ["EXERCISE"]


class Watched(nn.Sequential):
    """Modules in a row; notes whether what comes out of them asks for a gradient."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self.graphs: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        self.graphs.append(x.requires_grad)
        return x


def linear(rows: Iterable[Iterable[float]], bias: float = 0.0) -> nn.Linear:
    """A layer with these weights; it asks for gradients, so a graph would be built."""
    weight = torch.tensor(rows)
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.fill_(bias)
    return layer


def one() -> Watched:
    """Four units, which are 1, -1, 0 and 1e-30 times the input."""
    return Watched(linear([[1.0], [-1.0], [0.0], [1e-30]]), nn.ReLU())


class Twice(nn.Module):
    """Runs its ReLU, and once more on the negative of the result."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(-self.relu(x))  # type: ignore[no-any-return]


class Lifted(nn.Module):
    """Adds 1 in the tensor that comes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(1.0)


def twice() -> Watched:
    """One ReLU that runs twice; the second time all its units are off."""
    return Watched(one()[0], Twice())


def lifted() -> Watched:
    """What comes out of the ReLU is changed in place."""
    return Watched(*one(), Lifted())


def nested() -> Watched:
    """A ReLU in a block of a block, and one behind a layer of which a unit is always on."""
    block = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Dropout(0.5))
    inner = nn.Sequential(linear([[1.0], [-1.0], [0.0]]), block)
    end = linear([[0.0] * 3] * 2, 1.0)
    with torch.no_grad():
        end.bias[1] = -1.0
    return Watched(inner, end, nn.ReLU(), nn.Sigmoid())


Case = tuple[str, Callable[[], Watched], list[Any], dict[str, int], str]


def cases() -> list[Case]:
    """Words, a model, batches, the right answer and what to look at; from the smallest up."""
    high, low = [[1.0], [2.0]], [[-3.0], [-1.0], [-2.0]]
    both = [[2.0], [-1.0]]
    deep = [[[1.0], [2.0], [3.0]], [[4.0], [5.0], [-6.0]]]
    return [
        ("no ReLU", lambda: Watched(linear([[1.0]])), [high], {}, "Only an nn.ReLU has an entry."),
        ("units 1, -1, 0 and 1e-30 times x, the batch [[1], [2]]", one, [high], {"1": 2},
         "A unit is dead when it is off for every row."),
        ("units 1, -1, 0 and 1e-30 times x, the batch [[2], [-1]]", one, [both], {"1": 1},
         "A unit that is on for one row is not dead."),
        ("units 1, -1, 0 and 1e-30 times x, the batches [[1], [2]] and [[-3], [-1], [-2]]", one,
         [high, low], {"1": 1}, "Off in the first batch and in the second, not in one of them."),
        ("units 1, -1, 0 and 1e-30 times x, the batches [[-3], [-1], [-2]] and [[1], [2]]", one,
         [low, high], {"1": 1}, "The last batch alone does not decide, nor does the first."),
        ("units 1, -1, 0 and 1e-30 times x, a batch of shape (2, 3, 1)", one, [deep], {"1": 1},
         "The units are the last dimension; all the others are rows."),
        ("a ReLU inside of two blocks and one at the end", nested, [high, both],
         {"0.1.0.0": 1, "2": 1}, "named_modules() goes through all levels."),
        ("units 1, -1, 0 and 1e-30 times x, and a ReLU that runs once more, on the negative of its result", twice,
         [high], {"1.relu": 2}, "A module may run more than once in a model; on in one run is not dead."),
        ("units 1, -1, 0 and 1e-30 times x, and a module that adds 1 in place to what the ReLU gives", lifted, [high],
         {"1": 2}, "Look at an output when its module finishes; later it may hold other numbers."),
    ]  # fmt: skip


def check_dead_units(dead_units: Callable[[nn.Module, Iterable[Tensor]], Any]) -> None:
    """`dead_units(model, batches)` counts, for each ReLU, the units that are off for all rows."""
    for dtype in (torch.float32, torch.float64):
        for training in (True, False):
            for words, make, rows, want, hint in cases():
                model = make().to(dtype).train(training)
                list(model.modules())[-1].train(not training)  # each module has a mode of its own
                batches = [torch.tensor(batch, dtype=dtype) for batch in rows]
                _ask(dead_units, words, model, batches, want, hint)
    draw = drawn()
    for _ in range(3):
        units, inputs = draw.whole(2, 9), draw.whole(1, 4)
        model = Watched(linear(draw.normal(units, inputs).tolist(), -1.0), nn.ReLU()).double()
        shapes = [(draw.whole(1, 3), draw.whole(2, 3), inputs) for _ in range(draw.whole(1, 3))]
        batches = [draw.normal(*shape) for shape in shapes]
        with torch.no_grad():
            outs = torch.cat([model(batch).flatten(0, -2) for batch in batches])
        want = {"1": int((outs == 0).all(0).sum())}
        model.graphs.clear()
        words = f"{units} units, batches of the shapes {', '.join(map(str, shapes))}"
        _ask(
            dead_units, words, model, batches, want, "All rows of all batches count.", f" ({draw})"
        )


def _ask(
    dead_units: Callable[..., Any], words: str, model: Watched, batches: list[Tensor],
    want: dict[str, int], hint: str, seed: str = "",
) -> None:  # fmt: skip
    model.register_forward_hook(lambda *_: None)  # somebody else's
    for given in (batches, iter(batches)):
        found = _counts(dead_units(model, given))
        expect(
            found == want,
            f"With {words}, the answer is {want}; yours is {found}{seed}.",
            hint if found.keys() == want.keys() else "Each nn.ReLU has one entry, under its name in named_modules().",
        )  # fmt: skip
        expect(
            not any(model.graphs),
            f"Your function builds a graph: the model's result has a grad_fn, with {words}{seed}.",
            "Nothing is run backward here: say so around the calls of the model.",
        )


def _counts(answer: Any) -> dict[str, int]:
    if not isinstance(answer, Mapping):
        missing = " Is a `return` missing?" if answer is None else ""
        hint = "A name for each nn.ReLU, and behind it the number of its dead units."
        raise Mistake(f"The answer is a dictionary; yours is {forms.said(answer)}.{missing}", hint)
    odd = next((key for key in answer if not isinstance(key, str)), "")
    message = f"The keys are names; one of yours is {forms.said(odd)}."
    expect(odd == "", message, "named_modules() gives names and modules.")
    return {name: forms.whole(count, f"The count of {name!r}") for name, count in answer.items()}


def oracle(dead_units: Callable[..., Any]) -> Any:
    """The counts for many models and batches, with the model and the hooks afterwards."""

    def told(model: Watched, batches: Any, training: bool) -> Any:
        modules = list(model.modules())
        model.register_forward_hook(lambda *_: None)
        model.train(training)
        modules[-1].train(not training)
        counts = _counts(dead_units(model, batches))
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in modules]
        return [sorted(counts.items()), sum(chain(*hooks)), any(model.graphs)]

    found = []
    for dtype in (torch.float32, torch.float64):
        tens = lambda rows, dtype=dtype: [torch.tensor(r, dtype=dtype) for r in rows]  # noqa: E731
        wide = [[[[[-2.0], [1e-30]]]], [[[[-1.0], [-3.0]]]]]
        for make, rows in [*((make, rows) for _, make, rows, _, _ in cases()), (one, wide)]:
            for training in (True, False):
                found.append(tried(told, make().to(dtype), tens(rows), training))
                found.append(tried(told, make().to(dtype), iter(tens(rows)), training))
    return found


EXERCISE = Exercise(
    "dead_units",
    "Off for every row of every batch, and the model as it was.",
    check_dead_units,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by the largest output", by_largest_output), Right("by what goes in", by_inputs)),
    oracle=oracle,
)
