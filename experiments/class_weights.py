"""A rare class four ways: nothing, class weights in the loss, a sampler that draws it more often, shifted logits.

The digits of lesson 17, with 11 of the 111 eights left to train on, drawn for each seed; SGD with momentum 0.9,
batch 32, 720 steps, the rate falling to zero along a line. The shift subtracts the logarithm of each class's share
(times ten) from the logits of the network that was trained with nothing. Rates are chosen by the loss on the
validation set, in which all digits are equally frequent, on seeds 100-107. Reported, seeds 0-23: the share of
eights found, among the test set's and those left out of training (135), and of the others, among the test set's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from definebyrun_course.pieces.digits import digits_split

from . import _many as many

__all__ = ["run", "train"]

STEPS, KEPT, RARE = 720, 11, 8
RATES = [0.003, 0.01, 0.03, 0.1, 0.2]
WAYS = {
    "nothing": "nothing",
    "class weights": "weight",
    "sampler": "sampler",
    "shifted logits": "nothing",
}


def train(seeds: list[int], lr: Tensor, how: str) -> dict[bool, tuple[Tensor, Tensor, Tensor]]:
    """By whether the logits are shifted: validation loss, eights found, others right."""
    data = digits_split(torch.float32)
    parameters, optimizer = many.start(seeds), many.Sgd(lr)
    generators = [torch.Generator().manual_seed(3000 + seed) for seed in seeds]
    eights, others = ((data.y_train == RARE) == wanted for wanted in (True, False))
    orders = [torch.randperm(int(eights.sum()), generator=g) for g in generators]
    mixed = torch.stack([eights.nonzero().flatten()[order] for order in orders])
    rest = others.nonzero().flatten().expand(len(seeds), -1)
    rows = torch.cat([rest, mixed[:, :KEPT]], dim=1)
    counts = torch.bincount(data.y_train[rows[0]], minlength=10).float()
    weight = counts.sum() / (10 * counts)
    for step in range(STEPS):
        if how == "sampler":
            chances = zip(weight[data.y_train[rows]], generators, strict=True)
            place = torch.stack([torch.multinomial(c, 32, True, generator=g) for c, g in chances])
        else:
            place = many.draws(generators, rows.shape[1])
        mine = rows.gather(1, place)
        for p in parameters:
            p.grad = None
        logits = many.forward(parameters, data.x_train[mine])
        many.losses(
            logits, data.y_train[mine], weight if how == "weight" else None
        ).sum().backward()
        optimizer.step(parameters, factor=1 - step / STEPS)
    shift = (10 * counts / counts.sum()).log()
    return {yes: _scores(parameters, shift * yes, mixed[:, KEPT:]) for yes in (False, True)}


@torch.no_grad()
def _scores(parameters: list[Tensor], shift: Tensor, held: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    data = digits_split(torch.float32)
    by = many.losses(many.forward(parameters, data.x_val) - shift, data.y_val)
    said = (many.forward(parameters, data.x_test) - shift).argmax(2)
    more = (many.forward(parameters, data.x_train[held]) - shift).argmax(2)
    rare = data.y_test == RARE
    found = torch.cat([said[:, rare] == RARE, more == RARE], dim=1).float().mean(1)
    right = (said[:, ~rare] == data.y_test[~rare]).float().mean(1)
    return by.nan_to_num(99.0), found, right


def run() -> dict[str, Any]:
    """For each way: the chosen rate, and for 24 seeds the share of eights found and of others right."""
    found = []
    for name, how in WAYS.items():
        shifted = name == "shifted logits"
        lrs = many.column([lr for lr in RATES for _ in many.TUNED])
        loss, _, _ = train(many.TUNED * len(RATES), lrs, how)[shifted]
        means = loss.view(len(RATES), -1).mean(1)
        lr = RATES[int(means.argmin())]
        _, eights, others = train(many.REPORTED, many.column([lr] * len(many.REPORTED)), how)[
            shifted
        ]
        scores = {"eights": eights.tolist(), "others": others.tolist()}
        found.append({"how": name, "lr": lr, "tuning": means.tolist(), **scores})
    return {"seeds": many.REPORTED, "tuned on": many.TUNED, "rates": RATES, "candidates": found}
