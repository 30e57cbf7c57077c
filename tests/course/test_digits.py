"""The digits task that lessons share is lesson 17's: the same rows on the same scale, the same network."""

from __future__ import annotations

import pytest
import torch

from definebyrun_course.pieces.digits import digits_split, evaluate, network, train
from definebyrun_course.pieces.splits import Split
from tests.course.lesson_code import cells


@pytest.fixture(scope="module")
def data() -> Split:
    return digits_split()


def small(data: Split) -> Split:
    """The first hundred training digits, so that an epoch is short."""
    return data._replace(x_train=data.x_train[:100], y_train=data.y_train[:100])


def test_the_sets_are_those_of_lesson_17(data: Split) -> None:
    lesson = cells("17", "imports", "load-digits", "split-digits", "standardise-digits")
    for name in ("train", "val", "test"):
        assert torch.equal(getattr(data, f"x_{name}"), lesson[f"x_{name}"])
        assert getattr(data, f"y_{name}").tolist() == lesson["labels"][lesson[name]].tolist()


def test_the_network_is_that_of_lesson_17_with_one_hidden_layer(data: Split, float64: None) -> None:
    lesson = cells("17", "imports", "mlp-class")
    torch.manual_seed(3)
    theirs = lesson["MLP"](hidden=(32,))
    assert torch.equal(theirs(data.x_val), network(3)(data.x_val))


def test_a_network_leaves_the_callers_random_state_alone() -> None:
    before = torch.get_rng_state()
    assert not torch.equal(network(0)[0].weight, network(1)[0].weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_loop_takes_the_steps_it_says_and_calls_back(data: Split) -> None:
    few = small(data)
    model, called = network(0), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    calls = {"each_step": lambda: called.append("step"), "each_epoch": called.append}
    rows = train(model, optimizer, few, 2, 5, **calls)
    assert called.count("step") == 2 * 4  # batches of 32, the last of 4
    assert [called[4], called[9]] == rows  # and after each epoch what was measured

    other, shuffle = network(0), torch.Generator().manual_seed(5)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        for chosen in torch.randperm(100, generator=shuffle).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                other(few.x_train[chosen]), few.y_train[chosen]
            ).backward()
            optimizer.step()
    assert torch.equal(other[0].weight, model[0].weight)


def test_the_order_of_the_digits_follows_the_seed(data: Split) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = network(0)
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), small(data), 1, seed)
        return model[0].weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_an_evaluation_builds_no_graph_and_counts_right_answers(data: Split) -> None:
    model = network(0)
    row = evaluate(model, data)
    logits = model(data.x_val)
    assert row.val_accuracy == pytest.approx(
        (logits.argmax(1) == data.y_val).double().mean().item()
    )
    assert all(p.grad is None for p in model.parameters())
    assert 2.0 < row.train_loss < 2.7  # about ln 10
