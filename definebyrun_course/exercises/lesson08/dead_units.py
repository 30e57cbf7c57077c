"""Exercise 08.4: the units of each ReLU that are off for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Exercise, Mistake, Right, Wrong, drawn, expect, forms, tried

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
         [high], {"1.relu": 2}, "A module may run more than once in a model; a unit that is on in one run is not dead."),
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


# ---- right answers, found in other ways ----


def by_largest_output(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    largest: dict[str, Tensor] = {}

    def look(name: str, out: Tensor) -> None:
        peak = out.reshape(-1, out.shape[-1]).amax(dim=0)
        largest[name] = torch.maximum(largest.get(name, peak), peak)

    relus = {name: m for name, m in model.named_modules() if isinstance(m, nn.ReLU)}
    handles = [
        relu.register_forward_hook(lambda m, args, out, name=name: look(name, out))
        for name, relu in relus.items()
    ]
    with torch.inference_mode():
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    return {name: (peak == 0).sum() for name, peak in largest.items()}


def by_inputs(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, int]:
    """Looks at what goes in, in evaluation mode, and puts every module's mode back."""
    modes = {module: module.training for module in model.modules()}
    rows: dict[str, list[Any]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            rows[name] = []
            keep = lambda m, args, kept=rows[name]: kept.extend(args[0].flatten(0, -2).tolist())  # noqa: E731
            handles.append(module.register_forward_pre_hook(keep))
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    for module, mode in modes.items():
        module.training = mode
    return {
        name: sum(all(number <= 0 for number in unit) for unit in zip(*kept, strict=True))
        for name, kept in rows.items()
    }


# ---- wrong answers ----


def _dead(model: nn.Module, batches: Iterable[Tensor], off: Any = None, join: Any = None,
          named: str = "all", grad: bool = False, keep: bool = False, evaluate: str = "",
          key: Any = None, runs: int = 1) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    off = off or (lambda out: (out == 0).flatten(0, -2).all(0))
    modules = {"all": model.named_modules, "children": model.named_children}[named]()
    for name, module in modules:
        if isinstance(module, nn.ReLU):
            found = seen.setdefault(name if key is None else key(module), [])
            look = lambda m, args, out, found=found: found.append(off(out))  # noqa: E731
            handles.append(module.register_forward_hook(look))
    was = model.training
    if evaluate:
        model.eval()
    with torch.set_grad_enabled(grad):
        for batch in batches:
            for _ in range(runs):
                model(batch)
    if evaluate == "whole model back":
        model.train(was)
    for handle in [] if keep else handles:
        handle.remove()
    join = join or (lambda found: int(torch.stack(found).all(0).sum()))
    return {name: join(found) for name, found in seen.items()}


def _zeros(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    return _dead(model, batches, lambda out: (out == 0).sum(), lambda found: int(sum(found)))


def _alive(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    alive = lambda found: int((~torch.stack(found).all(0)).sum())  # noqa: E731
    return _dead(model, batches, join=alive)


def _nearly(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    return _dead(model, batches, off=lambda out: (out < 1e-6).flatten(0, -2).all(0))


def _first_only(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    first = [batch for batch, _ in zip(batches, range(1), strict=False)]
    return _dead(model, first)


def _total(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    return sum(_dead(model, batches).values())


def _length_of(model: nn.Module, batches: Any) -> Any:
    """Needs a list."""
    return _dead(model, [batches[nth] for nth in range(len(batches))])


def _one_batch_of_all(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Puts all batches into one, which needs them to have one length."""
    return _dead(model, [torch.stack(list(batches))])


def _first_axis(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Takes the first axis for the rows, and a unit for dead that is off in some place of the others."""

    def join(found: list[Tensor]) -> int:
        off = [each.reshape(-1, each.shape[-1]).any(0) for each in found]
        return int(torch.stack(off).all(0).sum())

    return _dead(model, batches, lambda out: (out == 0).all(0), join)


def _last_run(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Of each batch only what a ReLU gave the last time."""
    found: dict[str, Any] = {}
    for batch in batches:
        once = _dead(model, [batch], join=lambda runs: runs[-1])
        found = {name: off & found.get(name, off) for name, off in once.items()}
    return {name: int(off.sum()) for name, off in found.items()}


def _cleared(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Removes every hook that there is."""
    found = _dead(model, batches, keep=True)
    for module in model.modules():
        module._forward_hooks.clear()
    return found


def _later(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Keeps the outputs, and looks at them at the end."""

    def join(outs: list[Tensor]) -> int:
        return int((torch.cat([out.flatten(0, -2) for out in outs]) == 0).all(0).sum())

    return _dead(model, batches, lambda out: out, join)


ADDED = "[[-3], [-1], [-2]], the answer is {'1': 1}; yours is {'1': "
WRONG = {
    "off by less than 1e-12": (
        partial(_dead, off=lambda out: (out < 1e-12).flatten(0, -2).all(0)),
        "yours is {'1': 3}.\nHint: A unit is dead"),
    "the last run": (_last_run, "runs once more"),
    "looks at the end": (_later, "adds 1 in place"),
    "the last batch": (
        partial(_dead, join=lambda found: int(found[-1].sum())), ADDED + "3}"),
    "the first batch": (_first_only, ADDED + "2}"),
    "off in some batch": (
        partial(_dead, join=lambda found: int(torch.stack(found).any(0).sum())), ADDED + "4}"),
    "counts added": (
        partial(_dead, join=lambda found: int(sum(f.sum() for f in found))), ADDED + "5}"),
    "off for some row": (
        partial(_dead, off=lambda out: (out == 0).flatten(0, -2).any(0)),
        "batch [[2], [-1]], the answer is {'1': 1}; yours is {'1': 4}"),
    "zeros instead of units": (_zeros, "yours is {'1': 4}.\nHint: A unit is"),
    "nearly off": (_nearly, "yours is {'1': 3}.\nHint: A unit is dead"),
    "the units that live": (_alive, "batch [[2], [-1]], the answer is {'1': 1}; yours is {'1': 3}"),
    "the first axis only": (_first_axis, "shape (2, 3, 1)"),
    "the model's children": (partial(_dead, named="children"), "yours is {'2': 1}"),
    "modules for keys": (partial(_dead, key=lambda module: module), "The keys are names"),
    "one number": (_total, "The answer is a dictionary"),
    "a graph": (partial(_dead, grad=True), "builds a graph"),
    "a hook left": (partial(_dead, keep=True), "one is left behind"),
    "all hooks removed": (_cleared, "one is gone"),
    "left in evaluation mode": (partial(_dead, evaluate="for good"), "model, its mode"),
    "one mode for all modules": (partial(_dead, evaluate="whole model back"), "model.0, its mode"),
    "a list asked for": (_length_of, "TypeError"),
    "one large batch": (_one_batch_of_all, "RuntimeError"),
}  # fmt: skip


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
    "08.4",
    "Off for every row of every batch, and the model as it was.",
    check_dead_units,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by the largest output", by_largest_output), Right("by what goes in", by_inputs)),
    oracle=oracle,
)
