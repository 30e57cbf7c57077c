"""Exercise `evaluate`: an evaluation that leaves no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ...grading import Drawn, Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ..networks import linear
from .evaluate_answers import WRONG, by_modes, by_weighted_means, on_a_copy

__all__ = ["EXERCISE"]


class Net(nn.Module):
    """A small network with dropout; notes in which state it or a copy of it was called."""

    calls: ClassVar[list[tuple[bool, bool]]] = []

    def __init__(self, draw: Drawn, inputs: int, classes: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.body = nn.Sequential(linear(draw, inputs, 4, dtype), nn.Tanh(), nn.Dropout(0.5))
        self.head = linear(draw, 4, classes, dtype)
        self.calls.clear()

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.body(x))
        parts_train = any(module.training for module in self.modules())
        self.calls.append((parts_train, y.requires_grad))
        return y


def measured(model: nn.Module, x: Tensor) -> Tensor:
    """The logits in evaluation mode, by a copy: the model's modes stay as they are."""
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)  # type: ignore[no-any-return]


Batches = list[tuple[Tensor, Tensor]]


def batches(draw: Drawn, model: Net, sizes: tuple[int, ...], hits: int) -> Batches:
    """Examples in batches of these sizes; for the first `hits` of them the model is right, for the others it is not.

    The numbers of the first batch are larger, so that its loss is another.
    """
    dtype, inputs = model.head.weight.dtype, model.body[0].in_features
    found = []
    for nth, size in enumerate(sizes):
        x = draw.normal(size, inputs).to(dtype) * (3 if nth == 0 else 1)
        y = measured(model, x).argmax(dim=1)
        wrong = torch.arange(size) + sum(sizes[:nth]) >= hits
        found.append((x, (y + wrong.long()) % model.head.out_features))
    model.calls.clear()
    return found


def check_evaluate(evaluate_cleanly: Callable[[nn.Module, Any], Any]) -> None:
    """`evaluate_cleanly(model, loader)` returns mean loss and accuracy, and leaves model and graph alone."""
    draw = Drawn(11)
    for dtype in (torch.float64, torch.float32):
        for training in (True, False):
            for sizes, hits in (((2,), 2), ((1,), 0), ((2, 1), 2), ((3, 1), 2), ((10, 10, 3), 13)):
                model = Net(draw, 5, 3, dtype).train(training)
                _ask(evaluate_cleanly, model, batches(draw, model, sizes, hits))
    for training in (True, False):
        model = Net(draw, 5, 3, torch.float64).train(training)
        model.body[2].train(not training)
        which = (
            f", of which {'all but ' if training else 'nothing but '}dropout is in training mode"
        )
        _ask(evaluate_cleanly, model, batches(draw, model, (3, 2), 3), which)
    x, y = draw.normal(23, 5), torch.arange(23) % 3
    loader = DataLoader(TensorDataset(x, y), batch_size=10)
    _ask(evaluate_cleanly, Net(draw, 5, 3, torch.float64).train(), loader)
    fresh = drawn()
    sizes = tuple(fresh.whole(1, 6) for _ in range(fresh.whole(2, 4)))
    model = Net(fresh, 3, 4, torch.float64).train(bool(fresh.whole(0, 1)))
    loader = batches(fresh, model, sizes, fresh.whole(0, sum(sizes)))
    _ask(evaluate_cleanly, model, loader, f" ({fresh})")


def _ask(evaluate_cleanly: Any, model: Net, loader: Any, more: str = "") -> None:
    sizes = [len(y) for _, y in loader]
    where = f"for a model in {'training' if model.training else 'evaluation'} mode and batches of {sizes}{more}"
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    model.head.bias.requires_grad_(False)  # as somebody froze it
    found = evaluate_cleanly(model, loader)
    expect(
        model.calls, f"Your function never called the model, {where}.", "model(x) gives the logits."
    )
    expect(
        not any(training for training, _ in model.calls),
        f"The model was in training mode while you measured: dropout threw half of the units away, {where}.",
        "One call before the loop changes that, for all modules inside.",
    )
    expect(
        not any(graph for _, graph in model.calls),
        f"A graph was built for every batch: the logits ask for a gradient, {where}.",
        "model.eval() does not stop that. torch.no_grad() or torch.inference_mode() does.",
    )
    numbers = _two_floats(found, where)
    _numbers_are_right(*numbers, model, loader, where)


def _two_floats(found: Any, where: str) -> tuple[float, float]:
    form = "return loss, accuracy"
    two = isinstance(found, (tuple, list)) and len(found) == 2
    missing = " Is a `return` missing?" if found is None else ""
    expect(
        two, f"Your function returns two floats; yours returned {forms.said(found)}.{missing}", form
    )
    kinds = [type(number).__name__ for number in found]
    expect(
        all(isinstance(number, float) for number in found),
        f"The numbers should be Python floats; yours are {' and '.join(kinds)}, {where}.",
        "A tensor with one element becomes a number by .item(); a quotient of two whole numbers is a float.",
    )
    return float(found[0]), float(found[1])


def _numbers_are_right(loss: float, accuracy: float, model: Net, loader: Any, where: str) -> None:
    logits = [(measured(model, x).double(), y) for x, y in loader]
    means = [cross_entropy(z, y).item() for z, y in logits]
    shares = [(z.argmax(1) == y).double().mean().item() for z, y in logits]
    whole, labels = torch.cat([z for z, _ in logits]), torch.cat([y for _, y in logits])
    true_loss = cross_entropy(whole, labels).item()
    hits = int((whole.argmax(1) == labels).sum())
    true_accuracy = hits / len(labels)
    uneven = len({len(y) for _, y in logits}) > 1
    share = "Add sums, and divide once by the number of examples."
    known = [
        (loss, sum(means) / len(means),
         "The loss is the mean of the batches' means, although the batches differ in size", share, uneven),
        (loss, sum(means), "The loss is the sum of the batches' means: it grows with their number", share,
         len(means) > 1),
        (loss, true_loss * len(labels), "The loss is a sum over all examples, not their mean", share, len(labels) > 1),
        (loss, means[-1], "The loss is the last batch's alone", share, len(means) > 1),
        (loss, true_accuracy, "The first number is the accuracy", "The loss comes first.", True),
    ]  # fmt: skip
    for yours, value, words, hint, counts in known:
        expect(
            not counts or not near(yours, value) or near(yours, true_loss),
            f"{words}, {where}.",
            hint,
        )
    texts = apart(loss, true_loss)
    expect(near(loss, true_loss), f"The loss is {texts[1]}; yours is {texts[0]}, {where}.", share)
    known = [
        (accuracy, sum(shares) / len(shares), "The accuracy is the mean of the batches' accuracies", share, uneven),
        (accuracy, float(hits), "The accuracy is a number of hits, not a share", "Divide by the number of examples.",
         hits > 1),
        (accuracy, 100 * true_accuracy, "The accuracy is in percent", "A share lies between 0 and 1.", hits > 0),
        (accuracy, 1 - true_accuracy, "That is the share of errors", "Accuracy counts the examples that are right.",
         True),
        (accuracy, shares[-1], "The accuracy is the last batch's alone", share, len(shares) > 1),
    ]  # fmt: skip
    for yours, value, words, hint, counts in known:
        expect(
            not counts or not near(yours, value) or near(yours, true_accuracy),
            f"The loss is right. {words}, {where}.",
            hint,
        )
    texts = apart(accuracy, true_accuracy)
    expect(
        near(accuracy, true_accuracy),
        f"The loss is right. The accuracy is {texts[1]}; yours is {texts[0]}, {where}.",
        "Count the examples whose largest logit is at the true class; divide by all examples.",
    )


def oracle(evaluate_cleanly: Callable[..., Any]) -> Any:
    """Loss and accuracy, how the model was called, and the model afterwards."""

    def told(model: Net, loader: Any) -> Any:
        loss, accuracy = evaluate_cleanly(model, loader)
        kinds = [type(loss).__name__, type(accuracy).__name__]
        modes = [module.training for module in model.modules()]
        grads = [(p.grad is None, p.requires_grad) for p in model.parameters()]
        states = sorted(set(model.calls))
        return [round(float(loss), 4), round(float(accuracy), 4), kinds, modes, grads, states]

    found = []
    for dtype in (torch.float32, torch.float64):
        for training in (True, False):
            for sizes in ((1,), (2, 1), (7, 3, 2), (1, 1, 1)):
                for scale in (1.0, 50.0):
                    draw = Drawn(len(sizes))
                    model = Net(draw, 4, 3, dtype).train(training)
                    model.body[2].train(len(sizes) > 1)
                    for parameter in model.parameters():
                        parameter.grad = torch.full_like(parameter, 0.5)
                    model.head.bias.requires_grad_(False)
                    loader = [
                        (x * scale, y) for x, y in batches(draw, model, sizes, sum(sizes) // 2)
                    ]
                    found.append(tried(told, model, loader))
    return found


EXERCISE = Exercise(
    "evaluate",
    "Right numbers, no graph, and the model as it was found.",
    check_evaluate,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(
        Right("each module's mode, all rows at once", by_modes),
        Right("weighted means", by_weighted_means),
        Right("on a copy", on_a_copy),
    ),
    oracle=oracle,
)
