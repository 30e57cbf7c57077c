"""What lesson 02 says of every graph, held over random ones: the order of the engine, rows and Jacobians, ties."""

from __future__ import annotations

import random
import threading

import pytest
import torch
from torch import Tensor
from torch.autograd import functional

import definebyrun as dbr
from tests.course.lesson_code import cells


def random_run(seed: int) -> dbr.Tape:
    """Leaves, and operations of one or two of what is there; all that nothing uses goes into the loss."""
    draw = random.Random(seed)
    with dbr.record() as tape:
        there = [torch.tensor(draw.uniform(0.2, 0.9), requires_grad=True) for _ in range(3)]
        unused = dict.fromkeys(range(3))
        for _ in range(draw.randint(3, 12)):
            one, two = draw.randrange(len(there)), draw.randrange(len(there))
            if draw.random() < 0.4:
                made, taken = there[one].sin(), {one}
            else:
                made, taken = there[one] * there[two], {one, two}
            unused = {key: None for key in unused if key not in taken}
            unused[len(there)] = None
            there.append(made)
        sum(there[i] for i in unused).backward()
    return tape


@pytest.mark.parametrize("seed", range(20))
def test_a_node_runs_when_all_has_arrived_and_the_last_made_of_those_first(seed: int) -> None:
    tape = random_run(seed)
    sources: dict[int, list[int]] = {node.index: [] for node in tape.nodes}
    for edge in tape.edges:
        sources[edge.target].append(edge.source)
    ran: list[int] = []
    while len(ran) < len(tape.nodes):
        ready = [n for n in tape.nodes if n.index not in ran and set(sources[n.index]) <= set(ran)]
        ran.append(max(ready, key=lambda node: (node.op is None, node.index)).index)
    in_order = sorted(tape.nodes, key=lambda node: (node.order is None, node.order))
    made = [tape.nodes[i] for i in ran]
    ops = [[node.index for node in nodes if node.op is not None] for nodes in (made, in_order)]
    assert ops[0] == ops[1], f"seed {seed}: the rule of the lesson gives another order"
    for place, node in enumerate(in_order):
        if node.op is None:
            before = {other.index for other in in_order[:place]}
            waited = [o for o in in_order[:place] if o.op is not None]
            assert set(sources[node.index]) <= before
            assert waited[-1].index in sources[node.index], (
                "a leaf is served as soon as it is ready"
            )


def test_numbers_are_counted_in_each_thread_so_a_node_made_later_elsewhere_may_run_later() -> None:
    turns: list[str] = []
    made: list[Tensor] = []

    def make(name: str) -> None:
        made.append(torch.tensor(2.0, requires_grad=True) * 3)
        made[-1].grad_fn.register_hook(lambda *_: turns.append(name))

    for _ in range(3):
        torch.tensor(2.0, requires_grad=True) * 3  # this thread has made some nodes already
    make("here, first")
    thread = threading.Thread(target=make, args=["there, last"])
    thread.start()
    thread.join()
    (made[0] + made[1]).backward()
    assert turns == ["here, first", "there, last"]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_ones_give_the_gradient_of_the_sum_which_is_n_times_that_of_the_mean(n: int) -> None:
    w = torch.randn(n, dtype=torch.float64, requires_grad=True)
    f = lambda w: torch.outer(w, w).sin().sum(1)  # noqa: E731
    table = functional.jacobian(f, w.detach())
    (ones,) = torch.autograd.grad(f(w), w, torch.ones(n, dtype=w.dtype))
    (mean,) = torch.autograd.grad(f(w).mean(), w)
    assert torch.allclose(ones, table.sum(0))
    assert torch.allclose(ones, n * mean)


def test_a_loss_that_was_told_to_require_grad_trains_nothing() -> None:
    w = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        loss = (w * 2).sum()
    loss.requires_grad = True
    loss.backward()
    assert (loss.is_leaf, loss.grad, w.grad) == (True, torch.tensor(1.0), None)


def test_the_colleagues_repair_draws_every_prediction_to_the_mean_of_the_targets() -> None:
    """Exercise 02.2: the text says that the error goes, the loss falls, and the model says one number."""
    torch.manual_seed(0)
    x, target = torch.randn(64, 2), torch.randn(64) + 3
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    history = []
    for _ in range(300):
        optimizer.zero_grad()
        losses = (model(x) - target) ** 2
        losses.sum(1).backward(torch.ones(64))
        optimizer.step()
        history.append(losses.mean().item())
    said = model(x).detach()
    assert history[-1] < history[0] / 2
    assert said.std() < 0.05
    assert abs(said.mean() - target.mean()) < 0.05


def test_the_queue_of_the_lesson_shows_what_waits(capsys: pytest.CaptureFixture[str]) -> None:
    show_queue = cells("02", "queue-table")["show_queue"]
    a = torch.tensor(1.0, requires_grad=True)
    with dbr.record() as tape:
        p = a * 3
        out = p * p
        out.backward()
    show_queue(tape)
    heading, *turns = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "runs",
        "ready,",
        "the",
        "next",
        "one",
        "first",
        "waits,",
        "arrived",
        "/",
        "expected",
    ]
    assert [turn.split() for turn in turns] == [["out", "p", "a", "0/1"], ["p", "a"], ["a"]]
