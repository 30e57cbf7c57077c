"""Exercise `checkpoint`: a checkpoint from which a run goes on bit for bit."""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, drawn, expect, forms, tried
from ..networks import linear

__all__ = ["EXERCISE"]

Run = tuple[nn.Module, torch.optim.Optimizer, torch.Generator]
ROWS = 20


def start(seed: int, kind: str = "AdamW", rate: float = 0.02) -> Run:
    """A run at its beginning: a model with dropout and buffers, an optimizer, a generator for the order."""
    draw = Drawn(seed)
    norm = nn.BatchNorm1d(6, dtype=torch.float64)
    model = nn.Sequential(linear(draw, 4, 6), norm, nn.ReLU(), nn.Dropout(0.5), linear(draw, 6, 3))
    parameters = model.parameters()
    optimizer = (
        torch.optim.AdamW(parameters, lr=rate)
        if kind == "AdamW"
        else torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    )
    torch.manual_seed(seed)
    return model, optimizer, torch.Generator().manual_seed(seed)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, epochs: int = 2
) -> list[float]:
    """Some epochs in batches of 8, and the rate falls; the losses."""
    draw, losses = Drawn(7), []
    x, y = draw.normal(ROWS, 4), torch.arange(ROWS) % 3
    for _ in range(epochs):
        for rows in torch.randperm(ROWS, generator=generator).split(8):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        optimizer.param_groups[0]["lr"] *= 0.5
    return losses


def check_checkpoint(pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
    """`pack` gives a dictionary, `unpack` puts it back; a resumed run equals the uninterrupted one bit for bit."""
    for kind in ("SGD", "AdamW"):
        _resume(pack, unpack, kind, 0)
    draw = drawn()
    _resume(pack, unpack, "AdamW", draw.seed, f" ({draw})")


def _resume(pack: Any, unpack: Any, kind: str, seed: int, said: str = "") -> None:
    run, where = start(seed, kind), f", with {kind}{said}"
    train(*run)
    model, order, dropout = (
        copy.deepcopy(run[0].state_dict()),
        run[2].get_state(),
        torch.get_rng_state(),
    )
    optimizer = copy.deepcopy(run[1].state_dict())
    saved = pack(*run)
    form = 'return {"…": …}: a dictionary of what has to be kept.'
    if not isinstance(saved, dict):
        missing = " Is a `return` missing?" if saved is None else ""
        raise Mistake(
            f"pack returns a dictionary; yours returned {forms.said(saved)}.{missing}", form
        )
    loaded = through_a_file(saved)
    losses = train(*run)
    pack(*start(seed + 2, kind))  # a later checkpoint: what is in the file does not change by it
    resumed = start(seed + 1, kind, 0.3)
    train(*resumed, epochs=1)  # another run, whose every state is different, its counters too
    unpack(loaded, *resumed)
    position = torch.get_rng_state()
    _model_is_back(resumed[0], model, where)
    _optimizer_is_back(resumed[1], optimizer, where)
    begun = [torch.Generator().manual_seed(number).get_state() for number in (seed, seed + 1)]
    expect(
        not any(torch.equal(resumed[2].get_state(), state) for state in begun),
        f"The generator starts again from its seed: the order of the data is that of epoch 1{where}.",
        "A seed is where a generator began; get_state() is where it is.",
    )
    expect(
        torch.equal(resumed[2].get_state(), order),
        f"The resumed run sees the data in another order: the generator's state did not come back{where}.",
        "What says where a generator is, and what puts it there?",
    )
    expect(
        torch.equal(position, dropout),
        f"Model, optimizer and order are right, but dropout now throws other units away{where}.",
        "It draws from PyTorch's global generator, which has a state as well.",
    )
    expect(
        train(*resumed) == losses and _equal(resumed[0].state_dict(), run[0].state_dict()),
        f"Everything seems to be back, and the resumed run is not the uninterrupted one, bit for bit{where}.",
        "Is something shared by both runs, or rounded?",
    )


def through_a_file(saved: dict[str, Any]) -> Any:
    """What comes back when the dictionary was written to a file and read with `weights_only=True`."""
    file = io.BytesIO()
    try:
        torch.save(saved, file)
        file.seek(0)
        return torch.load(file, weights_only=True)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise Mistake(
            "torch.save cannot write your dictionary to a file.", f"It says: {error}."
        ) from error
    except pickle.UnpicklingError as error:
        raise Mistake(
            "torch.load(weights_only=True) refuses your file: there is an object in it that is no plain data.",
            "Tensors, numbers, texts, lists and dictionaries: of a model, an optimizer and a generator the state.",
        ) from error


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _model_is_back(found: nn.Module, want: dict[str, Tensor], where: str) -> None:
    own = found.state_dict()
    lost = [name for name in want if not torch.equal(own[name], want[name])]
    buffers = [name for name, _ in found.named_buffers()]
    expect(
        not lost or lost[0] in buffers,
        f"After unpack the model's {lost[0] if lost else ''} is not what it was{where}.",
        "Load it into the model that you are given: a new one is unknown to the caller.",
    )
    expect(
        not lost,
        f"After unpack the parameters are back, and the buffer {lost[0] if lost else ''} is not{where}.",
        "Batch normalisation counts in buffers: they are in state_dict(), and not in parameters().",
    )


def _optimizer_is_back(found: torch.optim.Optimizer, want: dict[str, Any], where: str) -> None:
    own = found.state_dict()
    rates = (
        [group["lr"] for group in own["param_groups"]],
        [group["lr"] for group in want["param_groups"]],
    )
    expect(
        rates[0] == rates[1],
        f"The optimizer goes on with the rate {rates[0][0]:g}; the old run had come to {rates[1][0]:g}{where}.",
        "The rate has fallen on the way: it is in the optimizer's state_dict(), under param_groups.",
    )
    kept = own["state"].keys() == want["state"].keys() and all(
        torch.equal(torch.as_tensor(own["state"][n][key]), torch.as_tensor(value))
        for n, state in want["state"].items()
        for key, value in state.items()
        if value is not None
    )
    expect(
        kept,
        f"The optimizer has forgotten what it collected: its running means are not those of the old run{where}.",
        "An optimizer has a state_dict() as well.",
    )


# ---- right answers, found in other ways ----


def pack_tensors(model: nn.Module, optimizer: Any, generator: Any) -> dict[str, Any]:
    """Copies of all tensors, one by one."""
    tensors = [*model.parameters(), *model.buffers()]
    kept = {f"tensor {n}": t.detach().clone() for n, t in enumerate(tensors)}
    positions = [generator.get_state(), torch.random.get_rng_state()]
    return {**kept, "optimizer": copy.deepcopy(optimizer.state_dict()), "positions": positions}


def unpack_tensors(saved: dict[str, Any], model: nn.Module, optimizer: Any, generator: Any) -> None:
    with torch.no_grad():
        for n, tensor in enumerate([*model.parameters(), *model.buffers()]):
            tensor.copy_(saved[f"tensor {n}"])
    optimizer.load_state_dict(saved["optimizer"])
    generator.set_state(saved["positions"][0])
    torch.random.set_rng_state(saved["positions"][1])


# ---- wrong answers ----


def _checkpoint(leave: str = "", **switch: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The solution's `pack` and `unpack` with their usual mistakes as switches."""

    def pack(model: nn.Module, optimizer: Any, generator: Any) -> Any:
        parts = {
            "model": model if switch.get("whole") else model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.initial_seed() if switch.get("seed") else generator.get_state(),
            "global": torch.initial_seed() if switch.get("global seed") else torch.get_rng_state(),
        }
        if switch.get("parameters"):
            parts["model"] = dict(model.named_parameters())
        if switch.get("state only"):
            parts["optimizer"] = optimizer.state_dict()["state"]
        if switch.get("half"):
            parts["model"] = {name: t.float() for name, t in model.state_dict().items()}
        if switch.get("python"):
            parts["global"] = torch.tensor(random.getrandbits(30))
        kept = {name: part for name, part in parts.items() if name != leave}
        return list(kept.values()) if switch.get("list") else kept

    def unpack(saved: dict[str, Any], model: nn.Module, optimizer: Any, generator: Any) -> None:
        if switch.get("emptied"):
            saved = {name: saved.pop(name) for name in list(saved)}
        if switch.get("rebound"):
            model = copy.deepcopy(model)
        if switch.get("state only"):
            groups = optimizer.state_dict()["param_groups"]
            saved = {**saved, "optimizer": {"state": saved["optimizer"], "param_groups": groups}}
        back = {
            "model": lambda state: model.load_state_dict(
                state, strict=not switch.get("parameters")
            ),
            "optimizer": optimizer.load_state_dict,
            "generator": generator.manual_seed if switch.get("seed") else generator.set_state,
            "global": torch.manual_seed if switch.get("global seed") else torch.set_rng_state,
        }
        if switch.get("python"):
            back["global"] = lambda number: random.seed(int(number))
        for name, part in saved.items():
            back[name](part)

    return pack, unpack


LOST: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("no model", {"leave": "model"}, "the model's 0.weight is not what it was"),
    ("another model loaded", {"rebound": True}, "the model's 0.weight is not what it was"),
    ("parameters without buffers", {"parameters": True}, "and the buffer 1.running_mean is not"),
    ("half of the digits", {"half": True}, "the model's 0.weight is not what it was"),
    ("no optimizer", {"leave": "optimizer"}, "The optimizer goes on with the rate 0.15"),
    ("the rate left out", {"state only": True}, "The optimizer goes on with the rate 0.15"),
    ("no order", {"leave": "generator"}, "in another order"),
    ("seed, not state", {"seed": True}, "from its seed"),
    ("no global generator", {"leave": "global"}, "dropout now throws other units"),
    ("the global seed", {"global seed": True}, "dropout now throws other units"),
    ("Python's generator", {"python": True}, "dropout now throws other units"),
    ("whole model", {"whole": True}, "no plain data"),
    ("a list", {"list": True}, "pack returns a dictionary"),
    ("the dictionary emptied", {"emptied": True}, "saved is not what it was"),
)


def _forgets_means() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Only the rates of the optimizer are kept."""
    good_pack, good_unpack = _checkpoint()

    def pack(model: nn.Module, optimizer: Any, generator: Any) -> Any:
        parts = good_pack(model, optimizer, generator)
        return {**parts, "optimizer": {**parts["optimizer"], "state": {}}}

    return pack, good_unpack


def _without_counter() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Of the model all but batch normalisation's counter of batches."""
    good_pack, good_unpack = _checkpoint()

    def unpack(saved: dict[str, Any], model: nn.Module, *others: Any) -> None:
        counted = {name: t for name, t in model.state_dict().items() if "num_batches" in name}
        good_unpack({**saved, "model": {**saved["model"], **counted}}, model, *others)

    return good_pack, unpack


def _in_memory() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Keeps everything in a variable beside the dictionary."""
    good_pack, good_unpack = _checkpoint()
    kept: dict[str, Any] = {}

    def pack(*run: Any) -> Any:
        kept.update(copy.deepcopy(good_pack(*run)))
        return {"epoch": 2}

    def unpack(saved: dict[str, Any], *run: Any) -> None:
        good_unpack(kept, *run)

    return pack, unpack


def oracle(pack: Callable[..., Any], unpack: Callable[..., Any]) -> Any:
    """Every state after unpack, and the losses of the resumed run."""

    def told(kind: str, seed: int) -> Any:
        run = start(seed, kind)
        train(*run)
        kept = pack(*run)
        saved = through_a_file(kept if isinstance(kept, dict) else {})
        losses = train(*run)
        pack(*start(seed + 2, kind))
        resumed = start(seed + 1, kind, 0.3)
        train(*resumed, epochs=1)
        unpack(saved, *resumed)
        places = [
            int(state.long().sum()) for state in (torch.get_rng_state(), resumed[2].get_state())
        ]
        rates = [group["lr"] for group in resumed[1].param_groups]
        return [
            places,
            rates,
            train(*resumed) == losses,
            len(saved) > 0,
            dict(resumed[0].named_buffers()),
        ]

    return [tried(told, kind, seed) for kind in ("SGD", "AdamW") for seed in (0, 5)]


EXERCISE = Exercise(
    "checkpoint",
    "The resumed run is the uninterrupted one, bit for bit.",
    check_checkpoint,
    (
        *(Wrong(name, None, says, _checkpoint(**switch)) for name, switch, says in LOST),
        Wrong("in memory", None, "the model's 0.weight is not what it was", _in_memory()),
        Wrong(
            "the counter of batches left out",
            None,
            "the buffer 1.num_batches_tracked is not",
            _without_counter(),
        ),
        Wrong("no running means", None, "has forgotten what it collected", _forgets_means()),
    ),
    right=(Right("tensor by tensor", answers=(pack_tensors, unpack_tensors)),),
    may_change=(1, 2, 3),
    oracle=oracle,
    allows={"returns its argument": "what unpack returns is free"},
)
