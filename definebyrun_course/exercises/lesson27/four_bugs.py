"""Exercise `four_bugs`: a training script in which a seed has put four bugs."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    tried,
)

__all__ = ["BUGS", "EXERCISE", "bugs_of", "script"]


def train(model, x, y, x_val, y_val, epochs, batch, lr, max_norm, patience):  # type: ignore[no-untyped-def]
    mean, std = x.mean(0), x.std(0)
    x, x_val = (x - mean) / std, (x_val - mean) / std
    g = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    best, best_weights, bad = float("inf"), None, 0
    history = []
    for _ in range(epochs):
        model.train()
        total = 0.0
        order = torch.randperm(len(x), generator=g)
        for rows in order.split(batch):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            total += loss.item() * len(rows)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            val_loss = F.cross_entropy(model(x_val), y_val).item()
        history.append((total / len(x), val_loss))
        if val_loss < best:
            best, bad = val_loss, 0
            best_weights = {k: v.clone() for k, v in model.state_dict().items()}
        else:
            bad += 1
        if bad > patience:
            break
    model.load_state_dict(best_weights)
    return history


TEXT = inspect.getsource(train).replace("  # type: ignore[no-untyped-def]", "")
"""The script without a bug."""
CLIP = "            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n"
BACKWARD = "            loss.backward()\n"
STEP = "            optimizer.step()\n"
BUGS: dict[str, tuple[tuple[str, str], ...]] = {
    "gradients are not reset": (("            optimizer.zero_grad()\n", ""),),
    "clipped before the backward pass": ((BACKWARD + CLIP, CLIP + BACKWARD),),
    "clipped after the step": ((CLIP + STEP, STEP + CLIP),),
    "the scheduler steps with each batch": (
        ("        scheduler.step()\n", ""),
        (STEP, STEP + "            scheduler.step()\n"),
    ),
    "training mode only once": (
        ("        model.train()\n", ""),
        ("    history = []\n", "    history = []\n    model.train()\n"),
    ),
    "validated in training mode": (("        model.eval()\n", ""),),
    "validated with a graph": (("        with torch.no_grad():\n    ", ""),),
    "validation data standardised by itself": (
        ("(x_val - mean) / std", "(x_val - x_val.mean(0)) / x_val.std(0)"),
    ),
    "statistics of all data": (
        (
            "mean, std = x.mean(0), x.std(0)",
            "both = torch.cat([x, x_val])\n    mean, std = both.mean(0), both.std(0)",
        ),
    ),
    "the best weights are a reference": (
        ("{k: v.clone() for k, v in model.state_dict().items()}", "model.state_dict()"),
    ),
    "the row of bad epochs goes on": (("best, bad = val_loss, 0", "best = val_loss"),),
    "labels of other rows": (("y[rows])", "y[rows.sort().values])"),),
    "shuffled only once": (
        ("        order = torch.randperm(len(x), generator=g)\n", ""),
        (
            "    history = []\n",
            "    history = []\n    order = torch.randperm(len(x), generator=g)\n",
        ),
    ),
    "a mean of means": (
        ("loss.item() * len(rows)", "loss.item()"),
        ("total / len(x)", "total / len(order.split(batch))"),
    ),
    "the last batch left out": (
        ("in order.split(batch):", "in order[: len(x) // batch * batch].split(batch):"),
    ),
    "softmax twice": (
        ("F.cross_entropy(model(x[rows])", "F.cross_entropy(model(x[rows]).softmax(1)"),
    ),
    "the last weights": (("    model.load_state_dict(best_weights)\n", ""),),
}
"""What is changed in the lines of the script, by bug."""


def with_bugs(*names: str) -> str:
    """The script with these bugs."""
    text = TEXT
    for name in names:
        for old, new in BUGS[name]:
            if old not in text:
                raise ValueError(f"{name!r} does not go with the others")
            text = text.replace(old, new)
    return text


def bugs_of(seed: int) -> list[str]:
    """The four bugs that a seed draws; their places in the script do not touch."""
    draw = random.Random(seed)
    while True:
        names = draw.sample(sorted(BUGS), 4)
        try:
            text = with_bugs(*names)
        except ValueError:
            continue
        if all(new in text for name in names for _, new in BUGS[name]):
            return names


def script(seed: int) -> str:
    """The training script with four bugs that this seed draws.

    >>> script(1) == script(1), script(1) == script(2)
    (True, False)
    """
    return with_bugs(*bugs_of(seed))


def run_of(text: str) -> Callable[..., Any]:
    """The function that a script defines."""
    names: dict[str, Any] = {"torch": torch, "F": F}
    exec(compile(text, "<script>", "exec"), names)
    found: Callable[..., Any] = names["train"]
    return found


class Net(nn.Module):
    """A small network with batch normalisation that notes each call: mode, grad mode, input, its weights then."""

    def __init__(self, draw: Drawn) -> None:
        super().__init__()
        self.first, self.norm, self.last = (
            m.double() for m in (nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        )
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(draw.normal(*p.shape))
        self.calls: list[tuple[bool, bool, Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.cat([p.detach().flatten() for p in self.parameters()])
        self.calls.append((self.training, torch.is_grad_enabled(), x.detach().clone(), weights))
        return self.last(torch.tanh(self.norm(self.first(x))))  # type: ignore[no-any-return]


Setting = tuple[int, int, dict[str, Any]]
SETTINGS: tuple[Setting, ...] = (
    (8, 4, {"epochs": 1, "batch": 8, "lr": 0.1, "max_norm": 0.1, "patience": 3}),
    (10, 5, {"epochs": 2, "batch": 4, "lr": 0.1, "max_norm": 0.3, "patience": 3}),
    (22, 9, {"epochs": 5, "batch": 8, "lr": 0.2, "max_norm": 0.5, "patience": 5}),
    (13, 5, {"epochs": 9, "batch": 5, "lr": 1.2, "max_norm": 2.0, "patience": 1}),
    (14, 6, {"epochs": 9, "batch": 6, "lr": 0.9, "max_norm": 5.0, "patience": 0}),
)


FILLED = ", with ones in .grad at the beginning"


def data(draw: Drawn, rows: int, held_out: int) -> tuple[Tensor, ...]:
    """Training and validation data, with labels; the validation data lie a little elsewhere."""
    labels = torch.tensor([draw.whole(0, 2) for _ in range(rows + held_out)])
    x = draw.normal(rows + held_out, 2) * 2 + 3 + labels[:, None]
    x[rows:] = x[rows:] * 1.3 + 1
    return x[:rows], labels[:rows], x[rows:], labels[rows:]


def check_four_bugs(train: Callable[..., Any]) -> None:
    """`train(model, x, y, x_val, y_val, …)` trains, validates, stops, and leaves the best weights in the model."""
    for rows, held_out, setting in SETTINGS:
        for seed in (1, 4):
            _judge(train, Drawn(seed), rows, held_out, setting, filled=rows > 10)
    draw = drawn()
    setting = dict(SETTINGS[2][2]) | {"batch": 7}
    _judge(train, draw, draw.whole(16, 20), 6, setting, filled=True, source=f" ({draw})")


def _judge(
    answer: Callable[..., Any],
    draw: Drawn,
    rows: int,
    held_out: int,
    setting: dict[str, Any],
    filled: bool,
    source: str = "",
) -> None:
    """With gradients that somebody has left in the model, if they are filled in."""
    model, given = Net(draw), data(draw, rows, held_out)
    twin = Net(Drawn(0))
    twin.load_state_dict(model.state_dict())
    want = train(twin, *given, **setting)
    if filled:
        _fill(model)
    found = answer(model, *given, **setting)
    where = f"with {rows} rows in batches of {setting['batch']}{FILLED if filled else ''}{source}"
    _judge_calls(model, given, setting["batch"], where)
    for t, ((*_, x, w), (*_, other, right)) in enumerate(
        zip(model.calls, twin.calls, strict=False)
    ):
        expect(
            near(x, other, 1e-9),
            f"Call {t + 1} of the model gets other rows than the script's order says, {where}.",
            "Leave randperm and its generator as they are.",
        )
        if not near(w, right, 1e-9, 1e-12):
            _name_step(model, t, filled, where)
    pairs = [
        forms.numbers(pair, "An entry of the history", 2)
        for pair in forms.sequence(found, "The history")
    ]
    for epoch, (pair, right_pair) in enumerate(zip(pairs, want, strict=False), start=1):
        for name, one, two in zip(("training", "validation"), pair, right_pair, strict=True):
            texts = apart(one, two)
            expect(
                near(one, two, 1e-9),
                f"The {name} loss of epoch {epoch} is told as {texts[0]}; it is {texts[1]}, {where}.",
                "A mean over rows, whatever the sizes of the batches."
                if name == "training"
                else "The mean over the validation rows.",
            )
    expect(
        len(pairs) == len(want),
        f"Training stops after {counted(len(pairs), 'epoch')}; with "
        f"patience {setting['patience']} after {len(want)}, {where}.",
        "More than patience epochs in a row that were not the best: what ends a row?",
    )
    weights = [
        (a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
    ]
    expect(
        all(near(a.double(), b.double(), 1e-9, 1e-12) for a, b in weights),
        f"The weights in the model at the end are not those of the best epoch, {where}.",
        "What does a name hold that was bound to the model's own tensors, when these are written to?",
    )


def _fill(model: Net) -> None:
    for p in model.parameters():
        p.grad = torch.ones_like(p)


def _judge_calls(model: Net, given: tuple[Tensor, ...], batch: int, where: str) -> None:
    """Modes, grad modes, standardised inputs, and each row once in an epoch."""
    x, _, x_val, _ = given
    mean, std = x.mean(0), x.std(0)
    expect(model.calls, f"The model was never called, {where}.", "model(x[rows])")
    seen: list[Tensor] = []
    epochs: list[Tensor] = []
    for nth, (training, grad, given_x, _) in enumerate(model.calls):
        validates = (given_x.shape == x_val.shape and not training) or (
            len(seen) and sum(map(len, seen)) >= len(x)
        )
        if not validates:
            expect(
                training,
                f"Call {nth + 1}, a training batch, finds the model in evaluation mode, {where}.",
                "Whoever calls eval() calls train() again.",
            )
            seen.append(given_x)
            continue
        expect(
            not training,
            f"The model is validated in training mode, {where}.",
            "Batch normalisation then uses the batch, and writes its statistics.",
        )
        expect(not grad, f"Validation builds a graph, {where}.", "Nobody calls backward on it.")
        expect(
            near(given_x, (x_val - mean) / std, 1e-9),
            f"The validation data are not standardised by the training data's mean and deviation, {where}.",
            "At test time there may be a single row: whose mean is known then?",
        )
        together = torch.cat(seen) if seen else x[:0]
        expect(
            len(together) == len(x),
            f"An epoch trains on {len(together)} of {len(x)} rows, {where}.",
            "The last batch may be smaller.",
        )
        known = (x - mean) / std
        expect(
            near(together[together[:, 0].argsort()], known[known[:, 0].argsort()], 1e-9),
            f"The training data are not standardised by their own mean and deviation, {where}.",
            "Nothing of the validation data may be in them.",
        )
        epochs.append(together)
        seen = []
    if len(epochs) > 1:
        expect(
            not near(epochs[0], epochs[1]),
            f"Epochs 1 and 2 go through the rows in the same order, {where}.",
            "A new order for each epoch.",
        )


def _name_step(model: Net, t: int, filled: bool, where: str) -> None:
    """The weights before call `t` are not those of steps by hand: says which."""
    steps = sum(training for training, *_ in model.calls[:t])
    hints = {
        1: "The gradient of that batch's mean loss, with the labels of its rows, clipped to max_norm, times the rate.",
        2: "What of the first gradient is still there? Momentum keeps a part; nothing else does.",
    }
    names = {1: "the first step", 2: "the second step"}
    if filled:
        names = {}
        hints[1] = "What was in .grad before this step's backward pass, and who took it away?"
    raise Mistake(
        f"After {names.get(steps, f'step {steps}')} the weights are not those of a step by hand, {where}.",
        hints.get(steps, "The rate is halved after every second epoch; do the steps before agree?"),
    )


# ---- a right answer that is another program ----


def rewritten(
    model: Any,
    x: Tensor,
    y: Tensor,
    x_val: Tensor,
    y_val: Tensor,
    epochs: int,
    batch: int,
    lr: float,
    max_norm: float,
    patience: int,
) -> list[tuple[float, float]]:
    """Momentum, clipping and the rate by hand."""
    std, mean = torch.std_mean(x, 0)
    x, x_val = (x - mean) / std, (x_val - mean) / std
    g = torch.Generator().manual_seed(0)
    params = list(model.parameters())
    speed = [torch.zeros_like(p) for p in params]
    history: list[tuple[float, float]] = []
    kept: list[Any] = []
    for epoch in range(epochs):
        model.train(True)
        losses = []
        for rows in torch.randperm(len(x), generator=g).split(batch):
            each = F.cross_entropy(model(x[rows]), y[rows], reduction="none")
            grads = torch.autograd.grad(each.mean(), params)
            norm = torch.stack([d.norm() for d in grads]).norm()
            factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
            with torch.no_grad():
                for p, v, d in zip(params, speed, grads, strict=True):
                    v.mul_(0.9).add_(d * factor)
                    p.sub_(v * (lr * 0.5 ** (epoch // 2)))
            losses.append(each.detach())
        model.train(False)
        with torch.inference_mode():
            val = float(F.cross_entropy(model(x_val), y_val))
        history.append((float(torch.cat(losses).mean()), val))
        kept.append([t.clone() for t in model.state_dict().values()])
        vals = [v for _, v in history]
        if len(vals) - 1 - vals.index(min(vals)) > patience:
            break
    for t, best in zip(model.state_dict().values(), kept[vals.index(min(vals))], strict=True):
        t.copy_(best)
    return history


# ---- wrong answers ----


def _slower(*args: Any, **setting: Any) -> Any:
    return train(*args, **(setting | {"lr": setting["lr"] / 10}))


def _unclipped(*args: Any, **setting: Any) -> Any:
    return train(*args, **(setting | {"max_norm": 1e9}))


def _on_all(model: Any, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor, **setting: Any) -> Any:
    return train(model, torch.cat([x, x_val]), torch.cat([y, y_val]), x_val, y_val, **setting)


def _impatient(*args: Any, **setting: Any) -> Any:
    return train(*args, **(setting | {"patience": 0}))


def _reset_afterwards() -> Any:
    reset = "            optimizer.zero_grad()\n"
    return run_of(TEXT.replace(reset, "").replace(STEP, STEP + reset))


SAYS = {
    "gradients are not reset": "the second",
    "clipped before the backward pass": "first step",
    "clipped after the step": "first step",
    "the scheduler steps with each batch": "After step 3",
    "training mode only once": "a training",
    "validated in training mode": "The model",
    "validated with a graph": "Validation builds",
    "validation data standardised by itself": "The validation",
    "statistics of all data": "The validation",
    "the best weights are a reference": "The weights",
    "the row of bad epochs goes on": "5 epochs;",
    "labels of other rows": "first step",
    "shuffled only once": "Epochs 1",
    "a mean of means": "The training",
    "the last batch left out": "An epoch",
    "softmax twice": "first step",
    "the last weights": "The weights",
}


def oracle(train: Callable[..., Any]) -> Any:
    """History, calls and weights of several runs."""

    def told(seed: int, rows: int, held_out: int, setting: dict[str, Any]) -> Any:
        draw = Drawn(seed)
        model, given = Net(draw), data(draw, rows, held_out)
        _fill(model)
        kept = [t.clone() for t in given]
        found = train(model, *given, **setting)
        calls = [
            [training, grad, torch.round(x, decimals=4) + 0.0]
            for training, grad, x, _ in model.calls
        ]
        return [
            [[round(float(n), 5) for n in pair] for pair in found],
            calls,
            [
                torch.round(t.double(), decimals=4) + 0.0
                for k, t in model.state_dict().items()
                if "num" not in k
            ],
            [torch.equal(a, b) for a, b in zip(kept, given, strict=True)],
        ]

    return [tried(told, seed, *each) for seed in (10,) for each in SETTINGS]


EXERCISE = Exercise(
    "four_bugs",
    "Every step as by hand, every validation without a trace, and the best weights at the end.",
    check_four_bugs,
    (
        *(Wrong(name, run_of(with_bugs(name)), says) for name, says in SAYS.items()),
        Wrong("a lower rate", _slower, "first step"),
        Wrong("clipping removed", _unclipped, "first step"),
        Wrong("trains on the validation data", _on_all, "The model"),
        Wrong("stops at the first bad epoch", _impatient, "4 epochs;"),
        Wrong("reset after the step only", _reset_afterwards(), "After step 1 the"),
        Wrong("the script of seed 1", run_of(script(1)), "The model"),
    ),
    right=(Right("momentum and clipping by hand", rewritten),),
    may_change=(0,),
    oracle=oracle,
)
