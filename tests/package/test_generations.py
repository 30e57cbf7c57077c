"""The graph that a backward pass makes: which nodes are of it, and which node was running, are what PyTorch says.

PyTorch's own account is the anomaly mode's: every node made in a backward pass remembers the node that was running.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

import definebyrun as dbr
from definebyrun.cards.build import build_cards, count_cards
from definebyrun.text.sentences import sentence
from definebyrun.trace.memory import kept_after_steps
from tests.programs import Cube

Runs = Callable[[torch.Tensor], dict[str, torch.Tensor]]


class Twice(Function):
    """A custom `Function` whose backward is another one."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return Cube.apply(grad)


def grad(y: torch.Tensor, *inputs: torch.Tensor, **more: Any) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(y, inputs, create_graph=True, **more)


def cubic(x: torch.Tensor) -> dict[str, torch.Tensor]:
    y = (x**3).sum()
    (g,) = grad(y, x)
    return {"y": y, "g": g}


def meeting(x: torch.Tensor) -> dict[str, torch.Tensor]:
    a = x * x
    y = (a.sin() * a + x).sum()
    (g,) = grad(y, x)
    return {"y": y, "g": g}


def broadcast(x: torch.Tensor) -> dict[str, torch.Tensor]:
    w = torch.tensor(2.0, requires_grad=True)
    y = ((x * w).exp() / (1 + w)).sum()
    g, of_w = grad(y, x, w)
    return {"y": y, "g": g, "of_w": of_w}


def network(x: torch.Tensor) -> dict[str, torch.Tensor]:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2))
    y = torch.log_softmax(model(x), dim=-1).square().mean()
    (g,) = grad(y, x)
    return {"y": y, "g": g}


def of_a_result(x: torch.Tensor) -> dict[str, torch.Tensor]:
    middle = x.sigmoid()
    y = (middle * middle.log() + middle).sum()
    (g,) = grad(y, middle)
    return {"y": y, "g": g}


def with_a_graph_of_its_own(x: torch.Tensor) -> dict[str, torch.Tensor]:
    v = torch.ones(3, requires_grad=True)
    y = x.exp()
    (g,) = grad(y, x, grad_outputs=(v * v,))
    return {"y": y, "g": g}


def custom(x: torch.Tensor) -> dict[str, torch.Tensor]:
    y = Cube.apply(x).sum()
    (g,) = grad(y, x)
    return {"y": y, "g": g}


def custom_in_custom(x: torch.Tensor) -> dict[str, torch.Tensor]:
    y = Twice.apply(x * x).sum()
    (g,) = grad(y, x)
    return {"y": y, "g": g}


def hooked(x: torch.Tensor) -> dict[str, torch.Tensor]:
    a = x * x
    a.register_hook(lambda grad: grad * x)
    y = a.sum()
    (g,) = grad(y, x)
    return {"y": y, "g": g}


def by_backward(x: torch.Tensor) -> dict[str, torch.Tensor]:
    y = (x.sin() * x).sum()
    y.backward(create_graph=True)
    return {"y": y, "g": x.grad}


def checkpointed(x: torch.Tensor) -> dict[str, torch.Tensor]:
    y = checkpoint(lambda t: (t.sin() * t).sum(), x, use_reentrant=False)
    (g,) = grad(y, x)
    return {"y": y, "g": g}


SECOND = (
    *(cubic, meeting, broadcast, network, of_a_result, with_a_graph_of_its_own, custom),
    *(custom_in_custom, hooked, by_backward, checkpointed),
)


def reach(*roots: torch.Tensor) -> dict[Any, None]:
    """All nodes that lie behind tensors, by a walk of their own."""
    found: dict[Any, None] = {}
    waiting = [root.grad_fn for root in roots]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = None
            waiting += [target for target, _ in node.next_functions]
    return found


def side_by_side(tape: dbr.Tape, *roots: torch.Tensor) -> dict[Any, int]:
    """PyTorch's nodes and the tape's numbers of them, found by one walk through both."""
    targets = {(e.source, e.slot): e.target for e in tape.edges}
    named = {t.name: t.node for t in tape.tensors if t.name}
    found: dict[Any, int] = {}
    waiting = []
    for root in roots:
        name = next(name for name, node in named.items() if names_of(root) == name)
        waiting.append((root.grad_fn, named[name]))
    while waiting:
        node, number = waiting.pop()
        if node in found:
            assert found[node] == number
            continue
        assert tape.nodes[number].name == node.name()
        found[node] = number
        for slot, (target, _) in enumerate(node.next_functions):
            if target is not None:
                waiting.append((target, targets[number, slot]))
    return found


NAMES: dict[int, str] = {}


def names_of(tensor: torch.Tensor) -> str:
    return NAMES[id(tensor)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """PyTorch warns of `backward(create_graph=True)`, and of the anomaly mode."""
    torch.manual_seed(0)
    NAMES.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def taped(run: Runs, anomaly: bool = False) -> tuple[dbr.Tape, dict[str, torch.Tensor]]:
    x = torch.tensor([0.5, 1.0, -2.0], requires_grad=True)
    with torch.autograd.set_detect_anomaly(anomaly, check_nan=False), dbr.record() as tape:
        found = run(x)
        y, g = found["y"], found["g"]
        seen = y * 1, g * 1  # so that the tape knows these names, also of what `.grad` holds
    del seen
    x.grad = None
    NAMES.update({id(y): "y", id(g): "x.grad" if run is by_backward else "g"})
    return tape, found


@pytest.mark.parametrize("run", SECOND, ids=lambda run: run.__name__)
def test_the_second_generation_is_what_the_gradient_reaches_and_the_result_does_not(
    run: Runs,
) -> None:
    tape, found = taped(run)
    both = side_by_side(tape, found["y"], found["g"])
    leaves = {node for node in both if hasattr(node, "variable")}
    before = set(reach(found["y"], *(t for n, t in found.items() if n == "v"))) | leaves
    second = {both[node] for node in reach(found["g"]) if node not in before}
    if run is with_a_graph_of_its_own:  # the forward made the node of `v * v`
        second = {n for n in second if tape.nodes[n].op is None or made_in_grad(tape, n)}
    assert second
    assert {n for n in second if tape.nodes[n].generation != 2} == set()
    first = {both[node] for node in reach(found["y"])}
    assert {n for n in first if tape.nodes[n].generation != 1} == set()
    others = [found[name] for name in found if name not in ("y", "g")]
    if not others:
        marked = {n.index for n in tape.nodes if n.generation == 2}
        assert marked == second


def made_in_grad(tape: dbr.Tape, node: int) -> bool:
    return tape.ops[tape.nodes[node].op or 0].name == "grad"


@pytest.mark.parametrize("run", SECOND, ids=lambda run: run.__name__)
def test_the_node_that_ran_is_the_one_that_pytorch_remembers(run: Runs) -> None:
    tape, found = taped(run, anomaly=True)
    both = side_by_side(tape, found["y"], found["g"])
    seen = 0
    for node, number in both.items():
        of_tape = tape.nodes[number]
        if of_tape.generation == 1:
            continue
        seen += 1
        parent = node.metadata["parent_"]
        if of_tape.within is None:  # PyTorch adds while it leaves the last that brought a part
            assert of_tape.name == "AddBackward0"
            assert tape.nodes[both[parent]].generation == 1
        else:
            assert both[parent] == of_tape.within
    assert seen


def test_a_third_generation_is_one_more_than_the_graph_that_was_walked() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = (x.sin() * x) ** 3
        (g,) = grad(y, x)
        (h,) = grad(g, x)
        (k,) = torch.autograd.grad(h, x)
    NAMES.update({id(y): "y", id(g): "g", id(h): "h"})
    both = side_by_side(tape, y, g, h)
    for tensor, before, generation in ((g, (y,), 2), (h, (y, g), 3)):
        own = [n for n in reach(tensor) if n not in reach(*before) and not hasattr(n, "variable")]
        assert own
        assert {tape.nodes[both[node]].generation for node in own} == {generation}
    assert {n.generation for n in tape.nodes} == {1, 2, 3}
    third = [tape.nodes[n.within].generation for n in tape.nodes if n.generation == 3 and n.within]
    assert set(third) == {1, 2}  # the pass went on into the first graph: one pass, one generation
    assert "generation 3" in tape.text()
    assert "generation 3: made by h = grad" in tape.unfolded().svg()
    assert k.grad_fn is None


def test_two_passes_over_one_graph_make_two_graphs_of_one_generation() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = x**3
        (g,) = grad(y, x)
        (h,) = grad(y, x)
    second = Counter(n.pass_nr for n in tape.nodes if n.generation == 2)
    assert second == {0: 3, 1: 3}
    assert {f for f in ("made by g = grad", "made by h = grad") if f in tape.svg()} == {
        "made by g = grad",
        "made by h = grad",
    }
    assert h is not g


def test_operations_on_a_gradient_are_of_the_first_generation_again() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        (g,) = grad((x**3).sum(), x)
        penalty = (g.norm() - 1) ** 2
        penalty.backward()
    assert {op.name: op.generation for op in tape.ops}["norm"] == 1
    assert all(n.pass_nr is None for n in tape.nodes if n.generation == 1)


def test_the_operations_of_a_custom_backward_are_of_the_second_generation_and_stay_calls() -> None:
    tape, _ = taped(custom)
    inside = [op for op in tape.ops if op.during == "backward"]
    assert inside
    assert {op.generation for op in inside} == {2}
    assert {op.name for op in inside} >= {"mul"}
    assert all(tape.nodes[n].made is None for op in inside for n in tape.trace.nodes_of(op.index))
    assert "generation 2: 2 nodes, made by g = grad" in tape.text()
    function = next(n for n in tape.nodes if n.name == "CubeBackward")
    assert {op.within for op in inside} == {function.index}


def test_without_create_graph_everything_is_of_the_first_generation() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        y = Cube.apply(x * x).sum()
        (g,) = torch.autograd.grad(y, x, retain_graph=True)
        y.backward()
    assert {part.generation for part in (*tape.ops, *tape.nodes)} == {1}
    assert "generation" not in tape.text() + tape.svg()
    assert g is not None


def test_nodes_that_no_call_made_are_drawn_as_nodes_and_not_as_calls() -> None:
    tape, _ = taped(meeting)
    cards = {card.node: card for card in build_cards(tape.trace)[0]}
    for node in tape.nodes:
        if node.generation == 2:
            card = cards[node.index]
            assert card.kind == "made"
            assert card.badge == "gen 2"
            assert ("where gradients meet" in card.rows()[1][0].text + card.origin) == (
                node.within is None
            )
    assert cards[tape.tensors[last_of(tape, "g")].node].title == "g = grad"
    assert not [card for card in cards.values() if card.kind == "inner"]


def last_of(tape: dbr.Tape, name: str) -> int:
    return [t.index for t in tape.tensors if t.name == name][-1]


@pytest.mark.parametrize("run", SECOND, ids=lambda run: run.__name__)
def test_every_form_can_be_made_and_read_back(run: Runs) -> None:
    tape, _ = taped(run)
    assert dbr.load(tape.json()).trace == tape.trace
    assert count_cards(tape.trace) == len(build_cards(tape.trace)[0])
    for form in (tape.text, tape.dot, tape.svg, tape.html, tape.png, tape.table, tape.memory):
        assert form()
    for node in tape.nodes:
        if node.made is not None:
            step = tape.steps[node.made]
            assert step.pass_nr == node.pass_nr or step.op is not None
            assert node.within in (None, step.node)
            assert node.value is not None


def test_the_values_of_a_made_node_are_those_of_the_tensor_that_hangs_from_it() -> None:
    tape, found = taped(meeting)
    node = tape.nodes[tape.tensors[last_of(tape, "g")].node]
    assert node.value.tolist() == found["g"].tolist()
    x = torch.tensor([0.5, 1.0, -2.0], dtype=torch.float32)
    cosine = next(n for n in tape.nodes if n.name == "CosBackward0")
    assert cosine.value.tolist() == (x * x).cos().tolist()  # the node after it keeps its result
    assert all(n.value.shape == (3,) for n in tape.nodes if n.generation == 2 and n.value.data)


def test_sentences_say_where_a_node_comes_from() -> None:
    tape, _ = taped(cubic)
    said = [sentence(tape.trace, step) for step in tape.steps]
    made = next(s for s in said if "This pass is recorded too" in s)
    assert "PowBackward0 receives" in made
    assert "makes MulBackward0(g), MulBackward1#" in made
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        (g,) = torch.autograd.grad(x**3, x, create_graph=True)
        (h,) = torch.autograd.grad(g, x)
    said = [sentence(tape.trace, step) for step in tape.steps]
    assert any(
        "(generation 2, made while PowBackward0(pow#1) ran backward) receives" in s for s in said
    ), said
    assert "create_graph is False" in said[-1]
    assert h.item() == 12


def test_what_a_second_graph_keeps_is_counted_from_the_step_that_made_it() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        y = x.exp().sum()
        (g,) = grad(y, x)
        g.sum().backward()
    kept = kept_after_steps(tape.trace)
    made = next(n for n in tape.nodes if n.made is not None)
    assert kept[made.made] > kept[made.made - 1]
    assert max(kept[: made.made]) == 8


def test_a_batch_of_gradients_is_recorded_by_its_shape() -> None:
    x = torch.tensor([0.5, 1.0, -2.0], requires_grad=True)
    with dbr.record() as tape:
        y = x**3
        (g,) = grad(y, x, grad_outputs=torch.eye(3), is_grads_batched=True)
    assert torch.allclose(g, torch.diag(3 * x**2))
    call = next(op.index for op in tape.ops if op.name == "grad")
    assert {n.generation for n in tape.nodes if n.op == call} == {2}
    assert (
        "maker not seen" in tape.svg()
    )  # the hooks on nodes are given the whole batch, without its graph


def test_a_loop_with_a_penalty_still_rolls_up() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        for _ in range(12):
            y = (x * w).tanh().sum()
            (g,) = torch.autograd.grad(y, x, create_graph=True)
            g.norm().backward()
    small = tape.fold(repeats=True)
    assert len(build_cards(small.trace)[0]) < 25 < count_cards(tape.trace)
    assert {n.generation for n in small.nodes} == {1, 2}
    assert {n.times for n in small.nodes if n.generation == 2} == {12}
    for form in (small.text, small.svg, small.html):
        assert "generation 2" in form()
    assert dbr.load(small.json()).trace == small.trace


def test_a_penalty_inside_a_module_folds_with_it() -> None:
    class Energy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            (force,) = torch.autograd.grad(self.inner(x).tanh().sum(), x, create_graph=True)
            return force

    model, x = Energy(), torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        model(x).sum().backward()
    small = tape.fold(modules=0)
    assert [op.name for op in small.ops] == ["model", "sum"]
    assert small.svg()
    assert small.text()


def test_two_runs_with_second_graphs_are_compared() -> None:
    def run(power: int) -> dbr.Tape:
        x = torch.tensor(2.0, requires_grad=True)
        with dbr.record() as tape:
            y = x**power
            (g,) = torch.autograd.grad(y, x, create_graph=True)
            g.backward()
        return tape

    same = dbr.compare(run(3), run(3))
    assert not {part.side for part in (*same.nodes, *same.steps, *same.edges)} - {""}
    other = dbr.compare(run(3), run(4))
    for tape in (same, other):
        assert "generation 2" in tape.text()
        assert tape.svg()
        assert tape.html()
        assert dbr.load(tape.json()).trace == tape.trace


def test_a_drawn_graph_says_nothing_of_generations() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    (g,) = grad(x**3, x)
    tape = dbr.draw(g)
    assert "gen" not in tape.text() + tape.dot()
    assert {n.generation for n in tape.nodes} == {1}


def test_a_file_without_generations_is_read() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        (x**3).backward()
    file = json.loads(tape.json())
    file["version"] = 1
    for part in (*file["nodes"], *file["ops"]):
        for name in ("generation", "run", "within", "made", "value"):
            if name != "within" or "during" not in part:
                part.pop(name, None)
    assert dbr.load(json.dumps(file)).trace == tape.trace


def test_the_run_is_not_changed() -> None:
    results = []
    for recorded in (False, True):
        x = torch.tensor([0.5, 1.0, -2.0], requires_grad=True)
        if recorded:
            with dbr.record():
                found = meeting(x)
                found["g"].square().sum().backward()
        else:
            found = meeting(x)
            found["g"].square().sum().backward()
        results.append(
            (found["g"].tolist(), x.grad.tolist(), [n.name() for n in reach(found["g"])])
        )
    assert results[0] == results[1]
