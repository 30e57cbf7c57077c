"""The engines of lessons 04 and 05: equal to PyTorch, right the second time, freed at once, as the lessons build it."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import definebyrun as dbr
from definebyrun.text.format import format_value
from definebyrun_course.pieces import engine, scalar_engine
from definebyrun_course.pieces.engine import RULES, WATCHERS, Tensor, cat, where
from definebyrun_course.pieces.engine_tape import Recording
from tests.course.lesson_code import cells
from tools import chapters

PROGRAMS = 300
SOURCES = {
    cell.id: cell.source
    for number in ("04", "05")
    for cell in chapters.notebook(chapters.find(number)).cells
    if cell.cell_type == "code"
}
SCALAR = [f"scalar-{n}" for n in ("class", "relu", "nudge", "functions", "count", "backward")]
ENGINE = [n for n in SOURCES if re.match(r"engine-(?!run$)|unbroadcast$", n)]
RANDOM = [n for n in SOURCES if re.match(r"random-(?!result$)", n)]
RULE_CELLS = r"rules|element|one-input|reduc|matmul|matrix|index|shapes|join|powers|choices"

random_gradients = cells("05", "imports", *RANDOM)["random_gradients"]


def off(mine: Any, theirs: Any) -> float:
    """The largest difference, relative to the largest number, or to 1 where that is smaller."""
    assert mine.shape == theirs.shape
    return float(np.abs(mine - theirs).max(initial=0.0) / max(1.0, np.abs(theirs).max(initial=0.0)))


def assert_equal(pairs: list[tuple[Any, Any]], most: float = 1e-12) -> None:
    for mine, theirs in pairs:
        assert (mine is None) == (theirs is None)
        assert mine is None or off(mine, theirs) <= most


def leaf(data: Any) -> Tensor:
    return Tensor(data, requires_grad=True)


def both(run: Callable[..., Any], *arrays: Any) -> None:
    """A calculation on both libraries, from a gradient that differs everywhere: results and gradients are equal."""
    arrays = tuple(np.array(array, dtype=np.float64) for array in arrays)
    ours, theirs = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    mine, other = run(engine, *ours), run(torch, *theirs)
    gradient = np.cos(np.arange(mine.data.size)).reshape(mine.shape)
    mine.backward(gradient)
    other.backward(torch.tensor(gradient))
    assert_equal([(mine.data, other.detach().numpy())])
    assert_equal([(a.grad, b.grad.numpy()) for a, b in zip(ours, theirs, strict=True)])


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


# ---- equal to PyTorch ----


def test_random_programs_equal_pytorch_and_use_every_rule() -> None:
    used = set()
    WATCHERS.append(lambda phase, *what: phase == "forward" and used.add(what[0]))
    try:
        for seed in range(PROGRAMS):
            assert_equal(random_gradients(seed, engine))
    finally:
        WATCHERS.clear()
    assert used == set(RULES)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_any_random_program_equals_pytorch(seed: int) -> None:
    assert_equal(random_gradients(seed, engine))


SHAPES = [(), (1,), (3,), (1, 3), (2, 1), (2, 3), (4, 1, 1), (4, 2, 3)]


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "pow"])
def test_broadcasting_is_undone_for_every_pair_of_shapes(op: str) -> None:
    run = {
        "add": lambda lib, a, b: a + b,
        "sub": lambda lib, a, b: a - b,
        "mul": lambda lib, a, b: a * b,
        "div": lambda lib, a, b: a / (b + 5),
        "pow": lambda lib, a, b: (a * a + 1) ** b,
    }[op]
    for first in SHAPES:
        for second in SHAPES:
            both(run, normal(*first), normal(*second) + 0.1)


PRODUCTS = [
    [(3,), (3,)],
    [(3,), (3, 2)],
    [(2, 3), (3,)],
    [(2, 3), (3, 4)],
    [(5, 2, 3), (3, 4)],
    [(2, 3), (5, 3, 4)],
    [(5, 2, 3), (5, 3, 4)],
    [(6, 1, 2, 3), (5, 3, 4)],
    [(3,), (5, 3, 4)],
    [(5, 2, 3), (3,)],
    [(1, 2, 3), (5, 3, 1)],
]


@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
def test_products_of_matrices_batches_and_vectors(shapes: list[tuple[int, ...]]) -> None:
    both(lambda lib, a, b: a @ b, *(normal(*shape) for shape in shapes))


@pytest.mark.parametrize("name", ["sum", "mean", "amax"])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), (0, 1, 2)])
def test_reductions(name: str, keepdim: bool, dim: Any) -> None:
    ties = normal(4, 2, 3).round()
    both(lambda lib, a: getattr(a, name)(dim=dim, keepdim=keepdim), ties)
    both(lambda lib, a: getattr(a, name)() * a.sum(dim=dim, keepdim=True), ties)


INDICES = {
    "a number": 1,
    "a negative number": -1,
    "a slice": slice(1, None),
    "slices": (slice(None), slice(0, 2)),
    "repeats": [0, 0, 2],
    "pairs with repeats": ([0, 0, 2], [1, 1, 0]),
    "a mask": np.array([True, False, True]),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_reading_elements(index: Any) -> None:
    both(lambda lib, a: a[index] * 2, normal(3, 3))


def test_one_input_operations_and_shapes() -> None:
    for name in ("exp", "tanh", "relu"):
        both(lambda lib, a, name=name: getattr(a, name)(), [-1.5, 0.0, 2.0])
    both(lambda lib, a: -a.log(), [0.5, 2.0])
    both(lambda lib, a: a.reshape(shape=(3, -1)).transpose(dim0=0, dim1=1), normal(2, 6))
    both(lambda lib, a, b: lib.cat([a, b, a], dim=-1), normal(2, 3), normal(2, 1))
    both(lambda lib, a, b: lib.where(a.data > 0, a, b), normal(4, 3), normal(3))
    for power in (0, 1, 2, -1, 0.5):
        both(lambda lib, a, power=power: a**power, [1.0, 2.0])
    both(lambda lib, a: a**0 + a**1 + a**2, [0.0, -1.0])


@pytest.mark.parametrize("built", ["piece", "lesson"])
def test_powers_of_zero_and_of_negative_numbers_are_as_in_pytorch(built: str) -> None:
    """Gradients to base and exponent: zero, infinite and nan where PyTorch's are."""
    make = Tensor if built == "piece" else cells("05", "imports", *ENGINE)["Tensor"]
    base, exponent = np.meshgrid([0.0, -1.0, -2.0, 2.0], [-1.0, 0.0, 0.5, 1.0, 2.0])
    ours = [make(base, requires_grad=True), make(exponent, requires_grad=True)]
    theirs = [torch.tensor(array, requires_grad=True) for array in (base, exponent)]
    with np.errstate(all="ignore"):
        (ours[0] ** ours[1]).backward(np.ones(base.shape))
    (theirs[0] ** theirs[1]).backward(torch.ones(base.shape))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-12)
    zeros = ours[1].grad[1:, 0]
    assert zeros.tolist() == [0.0] * 4


def test_plain_numbers_and_arrays_on_either_side() -> None:
    a = leaf([1.0, 2.0])
    array = np.array([3.0, 4.0])
    for made in (
        array + a,
        array - a,
        array * a,
        array / a,
        array @ a,
        2 - a,
        2 / a,
        2**a,
        a + array,
    ):
        assert isinstance(made, Tensor)
        assert made.requires_grad
    both(lambda lib, b: 2 - 3 / b + 2**b, [1.0, 2.0])


def test_ties_share_evenly_as_amax_does() -> None:
    a = leaf([5.0, 2.0, 5.0])
    a.amax().backward()
    assert a.grad.tolist() == [0.5, 0.0, 0.5]


# ---- the graph ----


def test_one_leaf_two_edges() -> None:
    a = leaf(3.0)
    square = a * a
    targets = [target for target, _ in square.grad_fn.next_functions]
    assert len(targets) == 2
    assert targets[0] is targets[1]
    square.backward()
    assert a.grad == 6.0


def test_fan_out_waits_for_the_last_part() -> None:
    u = leaf(2.0)
    v = u * 3
    (v + v * v).backward()
    assert u.grad == 39.0


def test_an_input_that_asks_for_nothing_gets_no_edge_and_costs_no_memory() -> None:
    x, w = Tensor(np.ones(3)), leaf(np.ones(3))
    node = (x * w).grad_fn
    assert [target and target.name() for target, _ in node.next_functions] == [
        None,
        "torch::autograd::AccumulateGrad",
    ]
    assert node.rules[0] is None
    held = {id(cell.cell_contents) for cell in node.rules[1].__closure__}
    assert held == {id(x.data)}
    assert (x * x).grad_fn is None


def test_many_paths_are_walked_once() -> None:
    x = start = leaf(1.0)
    for _ in range(200):
        x = x * 0.5 + x * 0.5
    ran = []
    WATCHERS.append(lambda phase, *what: phase == "backward" and ran.append(what[0]))
    try:
        x.backward()
    finally:
        WATCHERS.clear()
    assert len(ran) == len(set(ran)) == 601
    assert start.grad == 1.0


def test_a_leaf_and_a_gradient_given() -> None:
    a = leaf([1.0, 2.0])
    a.backward([3.0, 4.0])
    (a * 2).backward(np.array([1.0, 10.0]))
    assert a.grad.tolist() == [5.0, 24.0]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda: Tensor(1.0).backward(), "no input asked for a gradient"),
        (lambda: (leaf([1.0, 2.0]) * 2).backward(), r"gradient of shape \(2,\)"),
        (lambda: (leaf([1.0, 2.0]) * 2).backward(1.0), r"gradient of shape \(2,\)"),
    ],
)
def test_what_cannot_be_walked_is_said_in_words(run: Callable[[], None], says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        run()


def test_gradients_share_no_memory() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    (a + b).sum().backward()
    a.grad *= 5
    assert b.grad.tolist() == [1.0]
    c, d = leaf([1.0]), leaf([1.0])
    first = c + d
    (first + c).sum().backward()
    assert (c.grad.tolist(), d.grad.tolist()) == ([2.0], [1.0])


# ---- the second time ----


def test_a_second_backward_doubles_exactly_and_a_third_is_refused() -> None:
    u = leaf(2.0)
    v = u * 3
    out = v + v * v
    out.backward(retain_graph=True)
    assert u.grad == 39.0
    assert v.grad is None
    out.backward()
    assert u.grad == 78.0
    with pytest.raises(RuntimeError, match="AddBackward0 was freed"):
        out.backward()
    assert u.grad == 78.0


def test_two_losses_of_a_shared_part_do_not_mix() -> None:
    u = leaf(2.0)
    shared = u * 3
    (shared * 2).backward(retain_graph=True)
    u.grad = None
    (shared * 5).backward()
    assert u.grad == 15.0


# ---- how long it lives ----


@pytest.fixture
def no_collector() -> Any:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_graph_is_gone_with_its_end() -> None:
    w = leaf(normal(3, 3))
    end = ((w @ w).tanh().exp().relu() * w)[[0, 0]].amax(dim=0).mean()
    node = weakref.ref(end.grad_fn)
    inner = weakref.ref(end.grad_fn.next_functions[0][0])
    del end
    assert node() is None
    assert inner() is None
    assert w._accumulate() is None
    scalar = scalar_engine.Scalar(1.0)
    gone = weakref.ref(scalar * scalar + 1)
    assert gone() is None


def test_a_deep_chain_is_walked_and_deleted() -> None:
    a, b = leaf(1.0), scalar_engine.Scalar(1.0)
    x, y = a, b
    for _ in range(20_000):
        x, y = x + 0.0, y + 0.0
    x.backward(retain_graph=True)
    scalar_engine.backward(y)
    del x, y
    assert (a.grad, b.grad) == (1.0, 1.0)


# ---- the scalar engine ----


def test_the_scalar_engine_equals_the_tensor_engine() -> None:
    def run(a: Any, b: Any, lib: Any = scalar_engine) -> Any:
        c = lib.tanh(a * b + a)
        d = 2 * c * c + 1.5
        return lib.log(lib.exp(d) + lib.relu(d)) * a + c

    a, b = scalar_engine.Scalar(0.3), scalar_engine.Scalar(-0.7)
    t, s = leaf(0.3), leaf(-0.7)
    end = run(a, b)
    for _ in range(2):
        scalar_engine.backward(end)
    out = run(t, s, Tensor)  # its methods, as functions
    out.backward(retain_graph=True)
    out.backward()
    assert_equal([(np.array(a.grad), t.grad), (np.array(b.grad), s.grad)], 1e-14)


# ---- drawn by the same drawer ----


def simple(lib: Any, x: Any, w: Any, b: Any) -> Any:
    y = x * w
    s = y + b
    return s.relu().sum()


def fan_out(lib: Any, x: Any, w: Any, b: Any) -> Any:
    v = w * b
    return (v * v - v / b + v.exp() * x).mean()


def layers(lib: Any, x: Any, w: Any, b: Any) -> Any:
    weight = w.reshape(shape=(3, 1))
    hidden = (x @ weight + b).tanh()
    return ((hidden @ weight.transpose(dim0=0, dim1=1)).amax() + hidden.sum()) * b


def facts(tape: Any) -> list[Any]:
    """All that the drawing shows, numbers rounded as there, but for the names that a function gives inside."""
    nodes = [
        (n.name, n.op, n.leaf, n.order, [(s.name, s.nbytes) for s in n.saved]) for n in tape.nodes
    ]
    edges = [(e.source, e.target, e.input_nr, e.slot, format_value(e.grad, 60)) for e in tape.edges]
    steps = [
        (
            s.phase,
            s.op,
            s.node,
            [format_value(v, 60) for v in s.received],
            format_value(s.after, 60),
            s.pass_nr,
            s.freed,
        )
        for s in tape.steps
    ]
    ops = [(op.name, op.inputs, op.outputs, op.args) for op in tape.ops]
    tensors = [(t.kind, t.op, t.node, format_value(t.value, 60)) for t in tape.tensors]
    return [nodes, edges, steps, ops, tensors]


@pytest.mark.parametrize("run", [simple, fan_out])
@pytest.mark.parametrize("passes", [1, 2])
def test_a_recorded_run_has_all_that_pytorchs_has(run: Any, passes: int) -> None:
    arrays = {"x": np.array([1.0, -2.0, 3.0]), "w": np.array([0.5, 1.0, 2.0]), "b": np.array(1.5)}
    x, w, b = (Tensor(a, requires_grad=n != "x") for n, a in arrays.items())
    with Recording(WATCHERS) as recording:
        loss = run(engine, x, w, b)
        for _ in range(passes):
            loss.backward(retain_graph=True)
    x, w, b = (torch.tensor(a, requires_grad=n != "x") for n, a in arrays.items())
    with dbr.record() as theirs:
        loss = run(torch, x, w, b)
        for _ in range(passes):
            loss.backward(retain_graph=True)
    ours = recording.tape()
    assert facts(ours) == facts(theirs)
    assert ours.memory() == theirs.memory()
    assert len(ours.tensors) == len(theirs.tensors)


def test_nodes_run_in_pytorchs_order() -> None:
    arrays = {"x": normal(4, 3), "w": normal(3), "b": np.array(0.5)}
    ours, theirs = (
        [make(a, requires_grad=n != "x") for n, a in arrays.items()]
        for make in (Tensor, torch.tensor)
    )
    with Recording(WATCHERS) as recording:
        layers(engine, *ours).backward()
    with dbr.record() as tape:
        layers(torch, *theirs).backward()

    def order(trace: Any) -> list[str]:
        names = {n.index: re.sub("View|Reshape", "Shape", n.name) for n in trace.nodes}
        return [names[step.node] for step in trace.steps if step.phase == "backward"]

    assert order(recording.tape()) == order(tape)


def test_a_graph_older_than_its_recording_is_shown() -> None:
    a = leaf(3.0)
    square = a * a
    with Recording(WATCHERS) as recording:
        square.backward()
    tape = recording.tape()
    assert [n.name for n in tape.nodes] == ["MulBackward0", "torch::autograd::AccumulateGrad"]
    assert [edge.grad.item() for edge in tape.edges] == [3.0, 3.0]
    assert [t.name for t in tape.leaves] == ["a"]
    assert not WATCHERS
    assert "<svg" in tape.html()


# ---- the lesson and the pieces ----


def test_the_lesson_builds_the_tensor_engine_of_the_piece() -> None:
    built = cells("05", "imports", *ENGINE)
    lesson = SimpleNamespace(**{name: built[name] for name in ("Tensor", "where", "cat")})
    assert set(built["RULES"]) == set(RULES)
    for seed in range(60):
        for mine, piece in zip(
            random_gradients(seed, lesson), random_gradients(seed, engine), strict=True
        ):
            assert (mine[0] is None) == (piece[0] is None)
            assert mine[0] is None or np.array_equal(mine[0], piece[0])
    for make in (built["Tensor"], Tensor):
        out = make([1.0, 2.0], requires_grad=True) ** 2
        with pytest.raises(RuntimeError, match=r"give backward a gradient of shape \(2,\)"):
            out.backward()
        out.backward([1.0, 1.0])
        with pytest.raises(RuntimeError, match="PowBackward0 was freed by the first backward"):
            out.backward([1.0, 1.0])
        with pytest.raises(RuntimeError, match="no input asked"):
            make(1.0).backward()


def test_the_lesson_builds_the_scalar_engine_of_the_piece() -> None:
    built = cells("04", "imports", *SCALAR)
    grads = []
    for source in (built, vars(scalar_engine)):
        u = source["Scalar"](2.0)
        v = u * 3
        tanh, exp, log, relu = (source[name] for name in ("tanh", "exp", "log", "relu"))
        out = log(tanh(v) + 1) + exp(v * v * 0.01) + 2 * relu(v) + relu(v * -1)
        source["backward"](out)
        source["backward"](out)
        grads.append((u.grad, v.grad, len(source["count_uses"](out))))
    assert grads[0] == grads[1]


def test_the_engines_are_as_short_as_the_lesson_says() -> None:
    def lines(names: list[str]) -> int:
        text = "\n".join(re.sub(r'""".*?"""', "", SOURCES[name]) for name in names)
        return sum(bool(line.strip()) for line in text.splitlines())

    rules = [name for name in ENGINE if re.search(RULE_CELLS, name)]
    core = [name for name in ENGINE if name not in rules]
    assert 120 <= lines(core) <= 130, "lesson 05 says some 125"
    assert 105 <= lines(rules) < lines(core), "the lesson says nearly as many"
    scalar = [name for name in SCALAR if name != "scalar-nudge"]
    assert 38 <= lines(scalar) <= 44, "lesson 04 says some forty"
    assert len(RULES) == 19, "the lesson says how many"


def test_cat_and_where_take_plain_arrays() -> None:
    a = leaf([1.0, 2.0])
    cat([a, Tensor([3.0])]).sum().backward()
    where(np.array([True, False]), a, 0.0).sum().backward()
    assert a.grad.tolist() == [2.0, 1.0]
