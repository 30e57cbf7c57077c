"""What lesson 03 says beyond its outputs: pieces of a batch, two losses, half a pass, the peak of a training step."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import nn

import definebyrun as dbr
from tests.course.lesson_code import cells


def grads(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in model.parameters()]


def accumulated(
    sizes: tuple[int, ...], divisor: str
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradients of a batch in pieces, and of the whole batch's mean."""
    torch.manual_seed(0)
    n = sum(sizes)
    model, x, t = nn.Linear(3, 1).double(), torch.randn(n, 3).double(), torch.randn(n, 1).double()
    (model(x) - t).square().mean().backward()
    whole = grads(model)
    model.zero_grad()
    for i, (piece, wanted) in enumerate(
        zip(x.split(list(sizes)), t.split(list(sizes)), strict=True)
    ):
        by = {"pieces": len(sizes), "so far": i + 1, "N / n": n / len(piece)}[divisor]
        ((model(piece) - wanted).square().mean() / by).backward()
    return grads(model), whole


@pytest.mark.parametrize("sizes", [(8,), (2, 2, 2, 2), (3, 3, 2), (1, 7)])
def test_a_piece_counts_by_its_share_of_the_rows(sizes: tuple[int, ...]) -> None:
    found, whole = accumulated(sizes, "N / n")
    assert all(torch.allclose(a, b) for a, b in zip(found, whole, strict=True))
    found, whole = accumulated(sizes, "pieces")
    is_right = all(torch.allclose(a, b) for a, b in zip(found, whole, strict=True))
    assert is_right == (len(set(sizes)) == 1), "the number of pieces is right for equal ones only"
    found, whole = accumulated(sizes, "so far")
    is_right = all(torch.allclose(a, b) for a, b in zip(found, whole, strict=True))
    assert is_right == (len(sizes) == 1)


def test_in_the_opening_relu_ends_by_letting_nothing_through() -> None:
    names = cells("03", "torch", "imports", "network")
    w, b = names["leaves"]()
    for _ in range(30):
        for rows in ([0, 1], [2, 3], [4, 5], [6, 7]):
            names["loss_of"](w, b, rows).backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
            b -= 0.1 * b.grad
        last = w.grad
        w.grad = b.grad = None
    assert (names["batch"] * w + b > 0).sum() == 0
    assert last.tolist() == [0.0, 0.0, 0.0], "the text says that no gradient comes back"


def test_gradients_that_are_returned_may_share_their_memory_and_those_in_grad_do_not() -> None:
    a, c = (torch.ones(2, requires_grad=True) for _ in range(2))
    one, two = torch.autograd.grad((a + c).sum(), [a, c])
    assert one.data_ptr() == two.data_ptr()
    (a + c).sum().backward()
    assert a.grad.data_ptr() != c.grad.data_ptr()


def test_clearing_late_costs_the_gradients_at_the_peak() -> None:
    names = cells("03", "torch", "imports", "two-steps", "alive")
    early, late = names["alive"](clear_late=False), names["alive"](clear_late=True)
    weights = early[0][1]
    peaks = [max(sum(event[1:]) for event in events) for events in (early, late)]
    assert peaks[1] - peaks[0] == pytest.approx(weights), "gradients are as large as weights"
    at = max(range(len(early)), key=lambda i: sum(early[i][1:]))
    assert early[at][0] == "forward"


@pytest.mark.parametrize(("rows", "is_larger"), [(128, True), (1, False)])
def test_with_few_rows_the_update_is_the_peak(rows: int, is_larger: bool) -> None:
    """The text: with larger layers and a smaller batch the peak may lie at the update."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    with dbr.record() as tape:
        model(torch.randn(rows, 64)).square().mean().backward()
    gradients = sum(4 * prod(p.shape) for p in model.parameters())
    assert (max(tape.memory()) > gradients) == is_larger


def test_batch_normalisation_sees_the_pieces_whatever_the_divisor() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), torch.randn(8, 3)
    model(x).square().sum(1).mean().backward()
    whole = grads(model)
    model.zero_grad()
    for piece in x.split(4):
        (model(piece).square().sum(1).mean() / 2).backward()
    assert not all(
        torch.allclose(a, b, rtol=0.01) for a, b in zip(grads(model), whole, strict=True)
    )


def test_labels_that_are_ignored_do_not_count_in_the_mean() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3, requires_grad=True)
    labels = torch.tensor([0, -100, -100, 1, 2, 0])
    nn.functional.cross_entropy(logits, labels).backward()
    whole, logits.grad = logits.grad, None
    for rows in (slice(0, 3), slice(3, 6)):
        counted = (labels[rows] != -100).sum()
        (nn.functional.cross_entropy(logits[rows], labels[rows]) * counted / 4).backward()
    assert torch.allclose(logits.grad, whole)
