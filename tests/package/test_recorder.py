"""The recorder tells the truth: what it says of a run is what PyTorch says, for fixed and for random programs."""

from __future__ import annotations

import json
import warnings
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import definebyrun as dbr
from definebyrun.recorder import saved_tensors, torch_calls
from definebyrun.recorder.ledger import Ledger
from definebyrun.recorder.node_hooks import NodeHooks
from definebyrun.recorder.recorder import Recorder
from definebyrun.recorder.session import Session
from definebyrun.recorder.snapshot import snapshot
from tests.programs import EVERYDAY, OPS, labels


def names(tape: dbr.Tape) -> list[str]:
    return [op.name for op in tape.ops]


def op(tape: dbr.Tape, name: str) -> dbr.Op:
    return next(op for op in tape.ops if op.name == name)


def made(tape: dbr.Tape, an_op: dbr.Op) -> list[str]:
    return [node.name for node in tape.nodes if node.op == an_op.index]


# ---- an independent reading of PyTorch's own graph ----


def reached(root: Any, follow: Any) -> Iterator[Any]:
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        yield node
        for target in follow(node):
            if target not in seen:
                seen.add(target)
                waiting.append(target)


def labels_of_tape(tape: dbr.Tape, root: int) -> Counter[str]:
    slots: dict[int, dict[int, tuple[int, int]]] = {}
    for edge in tape.edges:
        slots.setdefault(edge.source, {})[edge.slot] = (edge.target, edge.input_nr)

    def edges_of(node: int) -> list[tuple[int | None, int]]:
        own = slots.get(node, {})
        return [own.get(slot, (None, 0)) for slot in range(max(own, default=-1) + 1)]

    def name_of(node: int) -> str:
        leaf = tape.nodes[node].leaf
        return tape.nodes[node].name + ("" if leaf is None else str(tape.tensors[leaf].value.shape))

    return labels(root, name_of, edges_of)


def labels_of_torch(tensor: torch.Tensor) -> Counter[str]:
    """The same, read from PyTorch; trailing entries that are None are left out: a tape lists edges, not gaps."""

    def edges_of(node: Any) -> list[Any]:
        entries = list(node.next_functions)
        while entries and entries[-1][0] is None:
            entries.pop()
        return entries

    def name_of(node: Any) -> str:
        return node.name() + (str(tuple(node.variable.shape)) if hasattr(node, "variable") else "")

    return labels(tensor.grad_fn, name_of, edges_of)


@settings(max_examples=120, deadline=None)
@given(
    program=st.lists(
        st.tuples(st.integers(0, len(OPS) - 1), st.integers(0, 99), st.integers(0, 99)),
        min_size=1,
        max_size=12,
    ),
    asks=st.tuples(st.booleans(), st.booleans()),
)
def test_a_random_program_is_recorded_as_pytorch_has_it(
    program: list[tuple[int, int, int]], asks: tuple[bool, bool]
) -> None:
    torch.manual_seed(0)
    pool = [torch.randn(2, 2, requires_grad=True)]
    pool += [torch.randn(2, 2, requires_grad=ask) for ask in asks]
    with dbr.record() as tape:
        for which, i, j in program:
            pool.append(OPS[which](pool[i % len(pool)], pool[j % len(pool)]))
        loss = torch.stack(pool).sum()
        for tensor in pool:
            if tensor.requires_grad:
                tensor.retain_grad()
        expected = labels_of_torch(loss)
        loss.backward()

    root = tape.tensors[tape.ops[-1].outputs[0]].node
    assert labels_of_tape(tape, root) == expected
    for tensor in tape.tensors:
        assert tensor.value.tolist() is not None
    by_name = {t.name: t for t in tape.tensors if t.name}
    for index, tensor in enumerate(pool):
        seen = by_name.get(f"pool[{index}]")
        if seen is None or tensor.grad is None or seen.node is None:
            continue
        node = tape.nodes[seen.node]
        assert seen.value.tolist() == tensor.detach().tolist()
        if seen.output_nr == 0 and node.leaf is None:
            assert torch.allclose(torch.tensor(node.grad.tolist()), tensor.grad, equal_nan=True)
        if node.leaf is not None:
            last = [step.after for step in tape.steps if step.node == node.index][-1]
            assert last.tolist() == tensor.grad.tolist()


def out_of_sight(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A tensor from elsewhere, as a loader of data gives them: no call shows it."""
    with torch._C.DisableTorchFunction():
        return (a.detach() * b.detach()).clone()


def read_grad(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A leaf's `.grad` is read, used, and taken away."""
    leaf = a.detach().requires_grad_()
    (leaf * b.detach()).sum().backward()
    used = leaf.grad * 2
    leaf.grad = None
    return used.detach()


SHORT_LIVED = (
    *OPS,
    out_of_sight,
    read_grad,
    lambda a, b: a.reshape(-1)[:4].view(2, 2),
    lambda a, b: (a * 1).add_(b),
    lambda a, b: (a.detach().clone(), b)[0].mul_(2),
    lambda a, b: torch.empty(2, 2).copy_(a),
    lambda a, b: torch.zeros(2, 2).index_fill_(0, torch.tensor([1]), 3.0) + a,
)


@settings(max_examples=60, deadline=None)
@given(
    program=st.lists(
        st.tuples(
            st.integers(0, len(SHORT_LIVED) - 1),
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=25,
    ),
    backward=st.booleans(),
)
def test_what_the_run_lets_go_of_is_recorded_like_what_it_keeps(
    program: list[tuple[int, int, int, int]], backward: bool
) -> None:
    """Tensors die and others take over their `id` and their memory: a tape that held them all says the same."""

    def recorded() -> str:
        torch.manual_seed(0)
        leaf = torch.randn(2, 2, requires_grad=True)
        pool = [leaf, torch.randn(2, 2), leaf * 2, torch.ones(2, 2)]
        with dbr.record() as tape:
            for which, i, j, place in program:
                result = SHORT_LIVED[which](pool[i], pool[j])
                pool[place] = result
                if which % 2:
                    del result
            if backward:
                (sum(pool) + leaf).sum().backward()
        return tape.json()

    said = []
    for large in (10**9, -1):  # all are held, or none
        with (
            patch.object(torch_calls, "MAX_HELD_ELEMENTS", large),
            patch.object(saved_tensors, "MAX_HELD_BYTES", large),
        ):
            said.append(recorded())
    assert said[0] == said[1]


def test_a_recording_holds_no_batch_and_no_gradient_longer_than_the_run() -> None:
    w = torch.nn.Parameter(torch.ones(5000))
    alive: list[weakref.ref[torch.Tensor]] = []
    with dbr.record() as tape:
        for _ in range(3):
            batch = out_of_sight(w, w)
            (w * batch).sum().backward()
            alive += [weakref.ref(batch), weakref.ref(w.grad)]
            w.grad = None
        while_recording = [each() is not None for each in alive]
    assert while_recording == [False, False, False, False, True, False]
    batches = [t for t in tape.tensors if t.name == "batch"]
    assert [(t.kind, t.value.high) for t in batches] == [("constant", 1.0)] * 3
    assert [grad.value is None for grad in tape.grads] == [True] * 3


def test_a_recording_holds_no_large_result_longer_than_the_run() -> None:
    alive = []
    with torch.no_grad(), dbr.record() as tape:
        x = torch.ones(5000)
        for _ in range(5):
            x = torch.relu(x + 1)  # the sum has no name, and x another tensor each time
            alive.append((weakref.ref(x), weakref.ref(x.untyped_storage())))
        while_recording = [any(each() is not None for each in pair) for pair in alive]
    assert while_recording == [False, False, False, False, True]
    assert [tape.tensors[op.outputs[0]].name for op in tape.ops[2::2]] == ["x"] * 5
    assert tape.ops[-1].inputs == tape.ops[-2].outputs
    w = torch.ones(5000, requires_grad=True)
    with dbr.record():
        y = w.exp()
        memory, total = weakref.ref(y.untyped_storage()), y.sum()
        del y
        assert memory() is not None  # its node keeps it for the way back
        total.backward()
        assert memory() is None


def test_draw_equals_an_independent_walk_for_modules() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Linear(4, 2))
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x = torch.randn(5, 3)
    hidden = attention(*[model[0](x).unsqueeze(0)] * 3)[0]
    for loss in (model(x).square().mean(), hidden.sum()):
        drawn = dbr.draw(loss)
        assert labels_of_tape(drawn, 0) == labels_of_torch(loss)
        assert len(drawn.nodes) == len(
            list(reached(loss.grad_fn, lambda n: [t for t, _ in n.next_functions if t]))
        )


# ---- names, lines, scopes ----


def test_tensors_carry_the_names_of_the_variables_and_ops_their_line() -> None:
    w = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        x = torch.tensor([1.0, -2.0, 3.0])
        y = x * w
        loss = torch.relu(y).sum()
    assert [t.name for t in tape.tensors] == ["x", "w", "y", None, "loss"]
    assert [o.code for o in tape.ops] == [
        "x = torch.tensor([1.0, -2.0, 3.0])",
        "y = x * w",
        "loss = torch.relu(y).sum()",
        "loss = torch.relu(y).sum()",
    ]
    lines = [o.line for o in tape.ops]
    assert lines[1] == lines[0] + 1
    assert lines[2] == lines[3] == lines[0] + 2
    assert tape.sources[0].lines[0] == "x = torch.tensor([1.0, -2.0, 3.0])"
    assert loss.item() == 6.5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 3)
        self.out = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.tanh(self.hidden(x))
        return self.out(z)


def test_parameters_carry_their_module_path_and_ops_their_scope() -> None:
    net = Net()
    with dbr.record() as tape:
        y = net(torch.ones(4, 2))
    assert {t.name for t in tape.leaves if t.kind == "parameter"} == {
        "net.hidden.weight",
        "net.hidden.bias",
        "net.out.weight",
        "net.out.bias",
    }
    assert [(o.name, o.scope) for o in tape.ops] == [
        ("ones", ""),
        ("linear", "net.hidden"),
        ("tanh", "net"),
        ("linear", "net.out"),
    ]
    assert [s.title for s in tape.sources] == ["recorded", "Net.forward"]
    assert op(tape, "tanh").code == "z = torch.tanh(self.hidden(x))"
    assert [t.name for t in tape.tensors if t.name in ("z", "y")] == ["z", "y"]
    assert y.shape == (
        4,
        1,
    )


def test_one_tensor_object_is_one_leaf() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        w + w * w
    assert [t.name for t in tape.tensors if t.kind == "leaf"] == ["w"]
    assert sum(tape.nodes[e.target].leaf is not None for e in tape.edges) == 3


# ---- what eager PyTorch does ----


def test_equal_inputs_keep_both_edges() -> None:
    a = torch.tensor(3.0, requires_grad=True)
    with dbr.record() as tape:
        square = a * a
        square.backward()
    assert len(tape.edges) == 2
    assert tape.ops[0].inputs == (0, 0)
    assert [edge.grad.item() for edge in tape.edges] == [3.0, 3.0]
    assert tape.nodes[tape.leaves[0].node].grad.item() == 6.0


def test_an_in_place_op_makes_a_new_version() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        y = w * 3
        y.add_(1)
        loss = y.sum()
        loss.backward()
    add = op(tape, "add_")
    assert add.inplace
    assert [tape.tensors[i].name for i in (*add.inputs, *add.outputs)] == ["y", "y"]
    assert [t.value.tolist() for t in tape.tensors if t.name == "y"] == [[3.0, 6.0], [4.0, 7.0]]
    assert op(tape, "sum").inputs == add.outputs


def test_setitem_and_views_are_followed_through_copyslices() -> None:
    q = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        buffer = torch.zeros(3)
        row = buffer[1:]
        row.copy_(q * 2)
        buffer[0] = q[0]
        loss = (buffer * buffer).sum()
        loss.backward()
    assert op(tape, "setitem").inplace
    assert "torch::autograd::CopySlices" in made(tape, op(tape, "copy_"))
    assert not any(o.opaque for o in tape.ops)
    last = [t for t in tape.tensors if t.name == "buffer"][-1]
    assert last.value.tolist() == [1.0, 2.0, 4.0]
    assert tape.nodes[tape.leaves[-1].node].name.endswith("AccumulateGrad")
    assert q.grad.tolist() == [
        10.0,
        16.0,
    ]


def test_a_change_through_data_is_seen_at_the_next_use() -> None:
    w = torch.tensor([1.0], requires_grad=True)
    with dbr.record() as tape:
        w * 2
        w.data.add_(10)
        w * 2
    uses = [tape.tensors[o.inputs[0]].value.tolist() for o in tape.ops if o.name == "mul"]
    assert uses == [[1.0], [11.0]]


def test_multi_output_ops_say_which_output_an_edge_enters() -> None:
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    with dbr.record() as tape:
        a, b = x.unbind(0)
        loss = (a * 2 + b).sum()
        loss.backward()
    unbind = op(tape, "unbind")
    assert [tape.tensors[i].name for i in unbind.outputs] == ["a", "b"]
    assert sorted(e.input_nr for e in tape.edges if tape.nodes[e.target].op == unbind.index) == [
        0,
        1,
    ]
    step = next(
        s for s in tape.steps if s.node is not None and tape.nodes[s.node].op == unbind.index
    )
    assert [v.tolist() for v in step.received] == [[2.0] * 3, [1.0] * 3]


@pytest.mark.parametrize("region", [torch.no_grad, torch.inference_mode])
def test_regions_without_gradients_leave_no_node(region: Any) -> None:
    w = torch.tensor([1.0], requires_grad=True)
    with dbr.record() as tape:
        with region():
            y = w * 2
        z = w * 3
    assert (y.requires_grad, z.requires_grad) == (False, True)
    off, on = tape.ops
    assert (off.grad_enabled, on.grad_enabled) == (False, True)
    assert made(tape, off) == []
    assert made(tape, on) == ["MulBackward0"]
    assert [t.name for t in tape.tensors if t.kind == "result"] == ["y", "z"]


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


@pytest.mark.parametrize("last", [True, False])
def test_a_custom_function_is_an_opaque_op(last: bool) -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        y = Double.apply(w)
        if not last:
            y.sum().backward()
    opaque = [o for o in tape.ops if o.opaque]
    assert [o.name for o in opaque] == ["Double"]
    assert made(tape, opaque[0]) == ["DoubleBackward"]
    assert tape.tensors[opaque[0].outputs[0]].value.tolist() == [2.0, 4.0]


def test_history_from_before_the_recording_is_there_without_ops() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    before = (w * 3).exp()
    with dbr.record() as tape:
        loss = before.sum()
        loss.backward()
    assert names(tape) == ["sum"]
    assert not any(o.opaque for o in tape.ops)
    assert [n.name for n in tape.nodes if n.op is None and n.leaf is None] == [
        "ExpBackward0",
        "MulBackward0",
    ]
    assert labels_of_tape(tape, tape.tensors[tape.ops[0].outputs[0]].node) == labels_of_torch(loss)


def test_double_backward_is_an_op_with_nodes_of_its_own() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        cube = w**3
        (first,) = torch.autograd.grad(cube, w, create_graph=True)
        first.backward()
    grad = op(tape, "grad")
    assert made(tape, grad)
    assert tape.tensors[grad.outputs[0]].name == "first"
    assert tape.tensors[grad.outputs[0]].value.item() == 12.0
    assert w.grad.item() == 12.0
    assert {s.pass_nr for s in tape.steps if s.phase == "backward"} == {0, 1}


def test_retain_graph_runs_a_node_twice_and_adds_up() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    leaf = tape.leaves[0].node
    steps = [s for s in tape.steps if s.node == leaf]
    assert [s.before and s.before.tolist() for s in steps] == [None, [2.0, 4.0]]
    assert [s.after.tolist() for s in steps] == [[2.0, 4.0], [4.0, 8.0]]
    assert [s.freed for s in tape.steps if s.phase == "backward"] == [False] * 3 + [True] * 3


def test_shared_weights_in_a_loop_are_one_node() -> None:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h = torch.tensor(1.0)
        for _ in range(5):
            h = torch.tanh(h * w)
        h.backward()
    assert sum(n.leaf is not None for n in tape.nodes) == 1
    assert (
        sum(
            e.target == tape.nodes[[n.leaf is not None for n in tape.nodes].index(True)].index
            for e in tape.edges
        )
        == 5
    )


def test_checkpointing_is_not_disturbed() -> None:
    w = torch.randn(3, 3, requires_grad=True)
    run = lambda x: torch.tanh(x @ w)  # noqa: E731
    with dbr.record() as tape:
        x = torch.ones(2, 3)
        y = checkpoint(run, x, use_reentrant=False)
        y.sum().backward()
    mine, w.grad = w.grad, None
    run(torch.ones(2, 3)).sum().backward()
    assert torch.equal(mine, w.grad)
    assert "TanhBackward0" in {n.name for n in tape.nodes}


def test_hooks_of_the_learner_still_run_and_their_gradient_is_the_one_shown() -> None:
    w = torch.tensor([1.0, 1.0], requires_grad=True)
    seen = []
    with dbr.record() as tape:
        y = w * 2
        y.register_hook(lambda g: seen.append(g.tolist()) or g * 10)
        y.sum().backward()
    assert seen == [[1.0, 1.0]]
    assert w.grad.tolist() == [20.0, 20.0]
    assert tape.nodes[tape.tensors[op(tape, "mul").outputs[0]].node].grad.tolist() == [10.0, 10.0]


def test_complex_numbers_and_integers_are_plain_values() -> None:
    z = torch.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    with dbr.record() as tape:
        power = (z * z.conj()).real.sum()
        power.backward()
        torch.tensor([1, 2]).cumsum(0)
    assert tape.leaves[0].value.tolist() == [1 + 2j, 3 - 1j]
    assert json.loads(tape.json())["tensors"][0]["value"]["data"] == [[1.0, 2.0], [3.0, -1.0]]
    assert "1+2j" in tape.text()
    assert tape.ops[-1].name == "cumsum"


def test_an_optimizer_step_is_one_op_that_changes_parameters() -> None:
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    with dbr.record() as tape:
        layer(torch.ones(1, 2, requires_grad=True)).sum().backward()
        optimizer.step()
        layer(torch.ones(1, 2))
    step = op(tape, "Adam.step")
    assert step.inplace
    assert [tape.tensors[i].name for i in step.outputs] == [
        "layer.weight",
        "layer.bias",
    ]
    assert tape.ops[-1].inputs[1:] == step.outputs
    assert [t.name for t in tape.leaves if t.kind == "parameter"] == ["layer.weight", "layer.bias"]


def test_saved_tensors_are_those_that_pytorch_keeps() -> None:
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = torch.tensor([1.0, 1.0, 1.0])
    with dbr.record() as tape:
        y = x * w
        z = torch.exp(y)
    mul, exp = (tape.nodes[tape.tensors[o.outputs[0]].node] for o in tape.ops)
    assert [(s.name, tape.tensors[s.tensor].name, s.nbytes) for s in mul.saved] == [
        ("self", "x", 12)
    ]
    assert [(s.name, tape.tensors[s.tensor].name, s.nbytes) for s in exp.saved] == [
        ("result", "z", 12)
    ]
    assert y.grad_fn._saved_other is None
    assert z.shape == (3,)


def test_memory_climbs_forward_and_falls_backward() -> None:
    w = torch.ones(4, requires_grad=True)
    with dbr.record() as tape:
        y = w.exp()
        z = y.tanh()
        z.sum().backward()
    assert tape.memory() == (16, 32, 32, 32, 16, 0, 0)


@pytest.mark.parametrize("run", EVERYDAY, ids=lambda run: run.__name__)
def test_what_people_use_runs_as_before_and_can_be_shown(run: Any) -> None:
    torch.manual_seed(0)
    plain = run()
    torch.manual_seed(0)
    with dbr.record() as tape:
        recorded = run()
    assert torch.equal(plain, recorded)
    assert tape.ops
    assert "<svg" in tape.html()
    assert len(tape.table().rows) == len(tape.ops) + sum(leaf.op is None for leaf in tape.leaves)


# ---- being a good guest ----


def test_the_run_itself_is_not_changed() -> None:
    def run() -> list[torch.Tensor]:
        torch.manual_seed(1)
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(4, 2)).square().mean().backward()
            optimizer.step()
        return [*net.parameters(), torch.rand(2)]

    plain = run()
    with dbr.record():
        recorded = run()
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded, strict=True))


def test_an_error_passes_through_and_the_tape_holds_the_run_up_to_it() -> None:
    w = torch.ones(3, requires_grad=True)
    tape = None

    def crash() -> None:
        nonlocal tape
        with dbr.record() as tape:
            y = w * 2
            y + torch.ones(4)

    with pytest.raises(RuntimeError, match="must match"):
        crash()
    assert tape is not None
    assert names(tape) == ["mul", "ones"]
    assert tape.error.startswith("RuntimeError: The size of tensor a (3)")


def test_a_tape_keeps_no_tensor_alive_and_leaves_no_hook() -> None:
    import gc

    w = torch.ones(3, requires_grad=True)
    with dbr.record() as tape:
        y = w * 2
        y.sum().backward()
    dead = weakref.ref(y)
    del y
    gc.collect()
    assert dead() is None
    steps = len(tape.steps)
    (w * 2).sum().backward()
    assert len(tape.steps) == steps
    assert not torch.nn.modules.module._global_forward_pre_hooks


def recorders_there() -> set[type]:
    """Which parts of a recording are alive."""
    import gc

    kinds = {Ledger, NodeHooks, Recorder, Session}
    return {type(thing) for thing in gc.get_objects()} & kinds


def test_what_a_recording_held_is_gone_with_its_end_without_the_collector() -> None:
    import gc

    gc.collect()
    gc.disable()
    try:
        with dbr.record() as tape:
            torch.ones(3, requires_grad=True).exp().sum().backward()
            assert recorders_there() == {Ledger, NodeHooks, Recorder, Session}
        assert recorders_there() == {Recorder}
        del tape
        assert recorders_there() == set()
    finally:
        gc.enable()


def test_the_traceback_of_an_error_keeps_nothing_of_a_recording() -> None:
    """A notebook keeps the last traceback, and with it every frame that the error came through."""
    import gc

    def forward(x: torch.Tensor) -> torch.Tensor:
        return x @ torch.ones(2)

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(RuntimeError) as caught, dbr.record():
            forward(torch.ones(3, requires_grad=True) * 2)
        assert not any("__torch_function__" in str(entry) for entry in caught.traceback)
        assert recorders_there() <= {Recorder}
    finally:
        gc.enable()


def test_what_locals_returned_stays_as_it_is() -> None:
    w = torch.ones(1, requires_grad=True)
    kept = locals()
    with dbr.record() as tape:
        w * 2
    assert kept["w"] is w
    assert len(tape.ops) == 1


def test_an_open_recording_says_so() -> None:
    with dbr.record() as tape:
        assert repr(tape) == "tape: the recording is still going on"
        with pytest.raises(RuntimeError, match="after its `with` block has ended"):
            _ = tape.ops


def test_an_empty_recording_is_an_empty_tape() -> None:
    with dbr.record() as tape:
        pass
    assert (tape.ops, tape.nodes, tape.steps) == ((), (), ())
    assert "0 operations" not in tape.text()
    assert isinstance(tape.html(), str)


def test_bad_input_gets_one_sentence() -> None:
    with pytest.raises(TypeError, match="draw takes tensors, not str: draw one result"):
        dbr.draw("loss")
    with pytest.raises(ValueError, match="requires_grad is False"):
        dbr.draw(torch.ones(2))
    with pytest.raises(AttributeError, match="no attribute 'node'"):
        _ = dbr.draw(torch.ones(2, requires_grad=True) * 2).node


def test_a_long_chain_is_no_recursion() -> None:
    x = torch.ones(1, requires_grad=True)
    with dbr.record() as tape:
        y = x
        for _ in range(2000):
            y = y * 1.0
        y.backward()
    assert len(tape.nodes) == 2001
    assert len(tape.steps) == 4001
    assert "2 cards stand for 2001" in tape._repr_html_()
    assert len(tape.text()) > 10_000


def test_the_range_of_a_tensor_does_not_depend_on_how_it_lies_in_memory() -> None:
    torch.manual_seed(0)
    wide, image = torch.randn(80, 100), torch.randn(2, 3, 40, 40)
    zeros = torch.tensor([0.0, -0.0]).repeat(80, 50)
    broken = torch.full((80, 100), 7.0).index_fill(0, torch.tensor(5), torch.nan)
    views = [each.t() for each in (wide, zeros, broken, wide.relu(), -wide.relu(), wide.half())]
    views += [
        image.to(memory_format=torch.channels_last),
        image[:, :, ::2],
        wide[:1].expand(80, 100),
    ]
    for view in views:
        plain = snapshot(view.contiguous())
        assert repr(snapshot(view)) == repr(plain)  # which tells 0.0 from -0.0, and finds NaN


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int32])
def test_the_range_of_a_tensor_is_the_same_without_numpy(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    numbers = (10 * torch.randn(80, 100)).to(dtype)
    given = [numbers, numbers.t(), numbers.relu(), -numbers.relu(), numbers[:, ::2]]
    if dtype.is_floating_point:
        given += [numbers.log(), numbers / 0, torch.full((5000,), -0.0, dtype=dtype)]
    before = [repr(snapshot(tensor)) for tensor in given]
    assert len(set(before)) > 3
    monkeypatch.setattr("definebyrun.trace.value.numpy", None)
    assert [repr(snapshot(tensor)) for tensor in given] == before


def test_large_tensors_keep_their_range_only() -> None:
    w = torch.linspace(-1, 1, 10_000, requires_grad=True)
    with dbr.record() as tape:
        w * 2
    value = tape.leaves[0].value
    assert (value.shape, value.data, value.low, value.high) == ((10_000,), None, -1.0, 1.0)
    with pytest.raises(ValueError, match="only the range"):
        value.tolist()


def test_no_warning_is_raised_by_recording() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dbr.record() as tape:
            y = torch.ones(2, requires_grad=True) * 2
            y.sum().backward()
    assert len(tape.steps) == 6
