"""Corners in which a recorder is easily wrong: what it says there, and that the learner's run is not disturbed."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import definebyrun as dbr
from definebyrun.drawing import placement
from definebyrun.text.sentences import sentence
from tests.programs import Cube
from tools import ROOT


def leaf(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32, requires_grad=True)


def told(tape: dbr.Tape) -> str:
    return "\n".join(sentence(tape.trace, step) for step in tape.steps)


def shown(tape: dbr.Tape) -> None:
    """Every form of the tape can be made."""
    for form in (tape.text, tape.dot, tape.svg, tape.html, tape.json, tape.table):
        assert str(form())


# ---- the learner's run goes on as without a recording ----


def write_to_a_view() -> torch.Tensor:
    w = leaf(1.0, 2.0)
    with torch.no_grad():
        w[0] += 5.0
        w[1:].fill_(3.0)
        nn.init.zeros_(w[:1])
    return w


def write_under_views() -> torch.Tensor:
    y = leaf(1.0, 2.0, 3.0) * 1
    parts = y.split([1, 2])
    y[0] = 5.0
    assert len(parts) == 2
    return y


def use_a_freed_graph() -> torch.Tensor:
    return FREED * 2


def use_a_changed_graph() -> torch.Tensor:
    return CHANGED * 2


def inside_inference_mode() -> torch.Tensor:
    with torch.inference_mode():
        return leaf(1.0) * 2


class Mine(torch.Tensor):
    pass


def use_a_subclass() -> torch.Tensor:
    return (nn.Parameter(Mine([1.0, 2.0])) * 2).sum()


class Keeps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.variable = "a word"
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def use_a_function_with_a_variable() -> torch.Tensor:
    return Keeps.apply(leaf(1.0)).sum()


def use_a_nested_tensor() -> torch.Tensor:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    return (nested * 2).values()


def use_a_nested_tensor_without_sizes() -> torch.Tensor:
    w = torch.eye(2).requires_grad_()
    rows = [torch.ones(2, 2) @ w, torch.ones(3, 2) @ w]
    with warnings.catch_warnings(action="ignore"):  # it is a prototype
        nested = torch.nested.as_nested_tensor(rows)
    (nested * 2).to_padded_tensor(0.0).sum().backward()
    assert w.grad is not None
    return w.grad


def use_an_encoder_that_packs_what_it_is_given() -> torch.Tensor:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1)
    hidden = torch.tensor([[False, False, True], [False, False, False]])
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        return encoder.eval()(torch.ones(2, 3, 4), src_key_padding_mask=hidden)


_w = leaf(1.0, 2.0)
FREED = (_w * _w).sum()
FREED.backward()
_a = _w * 2
CHANGED = _a * _a
with torch.no_grad():
    _a.add_(1)


@pytest.mark.parametrize(
    "run",
    [
        write_to_a_view,
        write_under_views,
        use_a_freed_graph,
        use_a_changed_graph,
        inside_inference_mode,
        use_a_subclass,
        use_a_function_with_a_variable,
        use_a_nested_tensor,
        use_a_nested_tensor_without_sizes,
        use_an_encoder_that_packs_what_it_is_given,
    ],
    ids=lambda run: run.__name__,
)
def test_what_runs_without_a_recording_runs_with_one(run) -> None:
    plain = run()
    with dbr.record() as tape:
        recorded = run()
    assert torch.equal(plain, recorded)
    shown(tape)


def test_attention_goes_the_fast_way_that_it_goes_without_a_recording() -> None:
    x = torch.ones(2, 3, 4)
    attention = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    with torch.no_grad(), dbr.record() as outer, dbr.record() as tape:
        attention(x, x, x)
        encoder(x)
    native = ["_native_multi_head_attention", "_transformer_encoder_layer_fwd"]
    assert [op.name for op in tape.ops] == [op.name for op in outer.ops] == native
    with dbr.record() as tape:
        attention(x, x, x)
    assert "multi_head_attention_forward" in [op.name for op in tape.ops]
    assert torch.overrides.has_torch_function is torch._C._has_torch_function


def test_inference_mode_around_the_recording() -> None:
    w = leaf(1.0, 2.0)
    with torch.inference_mode(), dbr.record() as tape:
        a = w * 2
        a.add_(1)
        b = a + 1
    assert b.tolist() == [4.0, 6.0]
    assert [tape.tensors[op.outputs[0]].value.tolist() for op in tape.ops] == [
        [2, 4],
        [3, 5],
        [4, 6],
    ]
    assert all(node.leaf is not None for node in tape.nodes)


def test_fake_tensors_have_a_shape_and_no_content() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        x = torch.ones(3)
        with dbr.record() as tape:
            y = x * 2
    assert y.shape == (3,)
    assert tape.tensors[tape.ops[0].outputs[0]].value.data is None


def test_nothing_older_is_unpacked_or_computed_again() -> None:
    calls = []

    def f(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.exp().sin()

    y = checkpoint(f, leaf(1.0), use_reentrant=False)
    with dbr.record():
        y * 2
    assert len(calls) == 1


def test_an_error_of_the_learner_leaves_the_block_as_it_is() -> None:
    def run() -> None:
        write_under_views()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), dbr.record() as tape:
        run()
    assert tape.error == "KeyError: 'mine'"
    shown(tape)


def test_an_optimizer_that_raises_does_not_end_the_recording() -> None:
    w = leaf(1.0)
    optimizer = torch.optim.SGD([w], lr=0.1)
    with dbr.record() as tape:
        with contextlib.suppress(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        loss = (w * 2).sum()
        loss.backward()
    assert [op.name for op in tape.ops] == ["mul", "sum"]
    assert not any(op.opaque for op in tape.ops)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.LBFGS])
def test_what_a_closure_does_is_recorded(kind) -> None:
    w = leaf(1.0)
    optimizer = kind([w], lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with dbr.record() as tape:
        optimizer.step(closure)
    names = [op.name for op in tape.ops]
    assert names[:2] == ["mul", "sum"]
    assert names[-1] == f"{kind.__name__}.step"
    assert sum(node.order is not None for node in tape.nodes) >= 3


def test_a_nested_recording_shows_the_learners_operations_only() -> None:
    w = leaf(1.0)
    with dbr.record() as outer, dbr.record() as inner:
        y = w * 2
    assert [op.name for op in outer.ops] == [op.name for op in inner.ops] == ["mul"]
    assert len(outer.nodes) == len(inner.nodes) == 2
    assert y.item() == 2


def test_memory_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        with dbr.record():
            w = leaf(1.0, 2.0)
            y = w * 2
            y.sum().backward()
        watched = [weakref.ref(w), weakref.ref(y)]
        del w, y
        assert [ref() for ref in watched] == [None, None]
    finally:
        gc.enable()


def test_a_tape_can_be_pickled() -> None:
    with dbr.record() as tape:
        (leaf(1.0, 2.0) * 2).sum().backward()
    assert pickle.loads(pickle.dumps(tape)).text() == tape.text()


# ---- what it says is so ----


def test_conversions_are_operations() -> None:
    x = leaf(1.0, -2.0)
    with dbr.record() as tape:
        y = x * (x > 0).float()
        number = float(y.detach().sum())
    assert number == 1.0
    assert [op.name for op in tape.ops] == ["gt", "float", "mul", "detach", "sum"]


def test_a_gradient_of_one_output_goes_to_that_output() -> None:
    x = leaf(1.0, 2.0)
    with dbr.record() as tape:
        a, b = x.unbind()
        (b * 2).backward()
    assert a.item() == 1
    assert "To b it passes grad × 2 = 1 × 2 = 2" in told(tape)
    unbind = next(node for node in tape.nodes if node.name == "UnbindBackward0")
    assert unbind.grad is None
    row = next(row for row in tape.table().rows if row[2].endswith("unbind"))
    assert row[-1] == "none"


def test_the_row_of_a_leaf_is_its_grad() -> None:
    w = leaf(1.0)
    w.grad = torch.tensor([3.0])
    optimizer = torch.optim.SGD([w], lr=0.1)
    with dbr.record() as tape:
        (w * 5).sum().backward()
        nn.utils.clip_grad_norm_([w], 1.0)
        optimizer.step()
        optimizer.zero_grad()
    history = [
        None if v is None else v.tolist() for _, v in tape.trace.grad_history(tape.leaves[0].index)
    ]
    assert history[:2] == [[3.0], [8.0]]
    assert history[2] == pytest.approx([1.0])
    assert history[-1] is None
    assert "w: leaf [1], grad None" in tape.text()
    assert ".grad None" in tape.svg()
    assert next(row for row in tape.table().rows if row[0] == "–")[-1] == "None"


def test_a_grad_that_the_run_reads_is_there_from_then_on() -> None:
    w = leaf(1.0)
    with dbr.record() as tape:
        (w * 5).sum().backward()
        g = w.grad * 2
    grad = next(t for t in tape.tensors if t.name == "w.grad")
    assert g.item() == 10
    assert grad.since == 5


def test_a_hook_and_a_second_root_are_told() -> None:
    w = leaf(1.0)
    with dbr.record() as tape:
        y = w * 2
        y.register_hook(lambda grad: grad * 10)
        z = (y * 5).sum()
        z.backward()
    assert "MulBackward0 receives [50]. Its edges brought [5]: a hook" in told(tape)
    assert "grad [50]" in tape.svg()

    with dbr.record() as tape:
        y = (w * 2).sum()
        z = y * 5
        torch.autograd.backward([y, z])
    assert "SumBackward0 receives 6. Its edges brought 5" in told(tape)


def test_sums_of_large_gradients_are_not_taken_for_a_hook() -> None:
    w = torch.ones(100, 100, requires_grad=True)
    with dbr.record() as tape:
        y = w * 2
        (y + y * 3).sum().backward()
    assert "a hook" not in told(tape)
    assert "grad 100×100, all 4" in tape.svg()


def test_the_largest_tensors_are_not_read() -> None:
    w = torch.ones(1025, 1024, requires_grad=True)
    with dbr.record() as tape:
        y = (w * 2)[:2, :2].sum()
        y.backward()
    assert tape.leaves[0].value.low is None
    assert "w: leaf 1025×1024 float32, grad 1025×1024 float32" in tape.text()
    assert "a hook" not in told(tape)
    shown(tape)


def test_a_leafs_node_is_read_before_hooks_change_what_it_did() -> None:
    w = leaf(1.0)

    def double(parameter: torch.Tensor) -> None:
        parameter.grad.mul_(2)

    w.register_post_accumulate_grad_hook(double)
    with dbr.record() as tape:
        (w * 1).sum().backward()
        (w * 1).sum().backward()
    steps = [step for step in tape.steps if step.after is not None]
    assert [step.received[0].tolist() for step in steps] == [[1.0], [1.0]]
    assert [step.after.tolist() for step in steps] == [[2.0], [6.0]]
    assert "2 + 1 = 6" not in told(tape) + tape.svg()


def test_a_hook_may_take_a_grad_away() -> None:
    w = leaf(1.0)

    def take(parameter: torch.Tensor) -> None:
        parameter.grad = None

    w.register_post_accumulate_grad_hook(take)
    with dbr.record() as tape:
        (w * 1).sum().backward()
    assert "w.grad: not yet → None" in tape.text()
    assert "a hook took it away" in told(tape)


def test_a_custom_backward_may_change_its_gradient_in_place() -> None:
    class Greedy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return grad.mul_(5)

    w = leaf(1.0)
    with dbr.record() as tape:
        y = Greedy.apply(w)
        (y * 3).sum().backward()
    node = next(node for node in tape.nodes if node.name == "GreedyBackward")
    assert node.grad.tolist() == [3.0]
    assert w.grad.tolist() == [15.0]


RULES_THAT_DO_NOT_HOLD = {
    "dropout": lambda x, b: F.dropout(x, 0.5),
    "einsum": lambda x, b: torch.einsum("i,i->i", x, b),
    "cosine": lambda x, b: F.cosine_similarity(x, b, dim=0),
    "alpha": lambda x, b: torch.add(x, b[:1], alpha=2),
    "sub alpha": lambda x, b: torch.sub(x, b[:1], alpha=2),
    "keywords": lambda x, b: torch.mul(other=b, input=x),
    "addmm": lambda x, b: torch.addmm(b, x[None], torch.eye(2), beta=0.5, alpha=2),
    "double backward": lambda x, b: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0] ** 2,
    "rnn": lambda x, b: nn.RNN(2, 2, nonlinearity="relu")(x[None])[0],
    "gru": lambda x, b: nn.GRUCell(2, 2)(x[None]),
}


@pytest.mark.parametrize("name", RULES_THAT_DO_NOT_HOLD)
def test_a_rule_is_told_only_where_its_product_is_the_gradient(name: str) -> None:
    """Every "a × b = c" of a sentence is computed again from the numbers in it."""
    torch.manual_seed(0)
    x, b = leaf(2.0, 3.0), leaf(5.0, 7.0)
    with dbr.record() as tape:
        y = RULES_THAT_DO_NOT_HOLD[name](x, b)
        y.sum().backward()
    shown(tape)
    text = told(tape)
    for line in text.splitlines():
        found = PRODUCT.search(line)
        if found and "summed" not in line:
            left, right, result = (numbers(part) for part in found.groups())
            count = max(len(left), len(right))
            product = [
                p * q for p, q in zip(spread(left, count), spread(right, count), strict=True)
            ]
            assert product == pytest.approx(result, rel=1e-2), line
    if name in ("alpha", "sub alpha", "addmm"):
        assert "summed" not in text


PRODUCT = re.compile(r"= (\[[^\]]*\]|[-\d.]+) × (\[[^\]]*\]|[-\d.]+) = (\[[^\]]*\]|[-\d.e]+)\.?")


def numbers(text: str) -> list[float]:
    return [float(part) for part in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def spread(values: list[float], count: int) -> list[float]:
    return values * count if len(values) == 1 else values


def test_complex_gradients_get_no_rule_of_real_ones() -> None:
    x = torch.tensor([1 + 1j, 2 - 1j], requires_grad=True)
    with dbr.record() as tape:
        (x * torch.tensor([0 + 2j, 1j])).abs().sum().backward()
    assert " × " not in told(tape)


def test_matrix_rules_name_the_side() -> None:
    a, b, v = (
        torch.ones(2, 2, requires_grad=True),
        torch.ones(2, 2, requires_grad=True),
        leaf(1.0, 2.0),
    )
    with dbr.record() as tape:
        (a @ b @ v).sum().backward()
    assert "To b it passes the first matrix, transposed, times grad" in told(tape)
    assert "To v it passes the matrix, transposed, times grad" in told(tape)


def test_a_dot_product_sums_nothing() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with dbr.record() as tape:
        (a @ b).backward()
    assert "To a it passes grad × b = 1 × [3, 4] = [3, 4]." in told(tape)


def test_a_leaf_that_is_frozen_on_the_way_was_a_leaf() -> None:
    n = leaf(1.0)
    with dbr.record() as tape:
        y = n * 2
        n.requires_grad_(False)
        z = n * 3
        y.sum().backward()
    assert z.item() == 3
    shown(tape)
    assert "n: leaf, then constant [1]" in tape.text()

    with dbr.record() as tape:
        w = torch.tensor([1.0])
        a = w * 2
        w.requires_grad_()
        b = w * 3
        b.sum().backward()
    shown(tape)
    assert a.item() == 2
    assert "No input asks for a gradient" in told(tape)
    assert "No gradient flows through it" not in told(tape)


def test_a_chip_has_its_dashed_arrow() -> None:
    w = leaf(1.0)
    with dbr.record() as tape:
        y = w
        for _ in range(9):
            y = y * w
        mask = w > 1
    assert not mask.item()
    drawn = set(re.findall(r'data-c="([^"]+)"', tape.html()))
    tails = set(re.findall(r'^\s*"?(\w+)"? -> ', tape.dot(), re.M))
    assert tails <= drawn


def test_numbers_are_never_cut_in_the_middle() -> None:
    with dbr.record() as tape:
        q = torch.tensor([1.2345, 2.3456, 3.4567, 4.5678], requires_grad=True).unbind()
    assert len(q) == 4
    assert ">1.235; 2.346; 3.457; …</text>" in tape.svg()


PROGRAM = """
import torch, definebyrun as dbr
torch.manual_seed(0)
with dbr.record() as tape:
    m = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    e = torch.empty(5)
    y = m(torch.ones(2, 3)).sum()
    y.backward()
print(tape.text())
"""


def test_memory_that_nobody_has_filled_has_no_content() -> None:
    texts = set()
    for junk in ("1", "77", "200"):
        environment = {
            **os.environ,
            "MALLOC_PERTURB_": junk,
            "PYTHONHASHSEED": junk,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        texts.add(done.stdout)
    assert len(texts) == 1


def test_a_change_through_data_is_shown_in_its_step() -> None:
    w = leaf(1.0, 2.0)
    with dbr.record() as tape:
        y = w * 1
        w.data.mul_(10)
    assert y.tolist() == [1.0, 2.0]
    assert tape.trace.leaf_versions(tape.leaves[0].index)[-1].value.tolist() == [10.0, 20.0]
    assert "[10, 20]" in tape.svg()


def test_draw_says_why_a_leaf_has_no_node() -> None:
    with pytest.raises(ValueError, match="PyTorch shows no node for this tensor"):
        dbr.draw(torch.eye(2).to_sparse().requires_grad_())


def test_a_form_feed_in_the_source_moves_no_line(tmp_path) -> None:
    (tmp_path / "fed.py").write_text(
        "import torch, definebyrun as dbr\n"
        "w = torch.ones(1, requires_grad=True)\n"
        "with dbr.record() as tape:\n"
        "    s = 'a\fb\u2028c'\n"
        "    y = w * 2\n",
        encoding="utf-8",
    )
    space: dict = {}
    exec(
        compile(
            (tmp_path / "fed.py").read_text(encoding="utf-8"), str(tmp_path / "fed.py"), "exec"
        ),
        space,
    )
    assert space["tape"].ops[0].code == "y = w * 2"


def test_a_learners_dispatch_mode_sees_nothing_of_the_recording() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    def run() -> list[str]:
        w = leaf(*range(20))
        with Counting() as mode:
            (w * 2).sum()
        return mode.seen

    plain = run()
    with dbr.record():
        recorded = run()
    assert recorded == plain


# ---- what runs during a backward pass ----


BACKWARDS = [
    lambda loss, w: loss.backward(),
    lambda loss, w: torch.autograd.backward(loss),
    lambda loss, w: torch.autograd.grad(loss, w),
]


@pytest.mark.parametrize("backward", BACKWARDS)
def test_operations_of_a_custom_backward_are_seen_as_such(backward) -> None:
    w = leaf(2.0)
    with dbr.record() as tape:
        backward(Cube.apply(w).sum(), w)
    inside = [op for op in tape.ops if op.during]
    assert [op.name for op in inside] == ["mul", "mul", "mul"]
    assert {op.during for op in inside} == {"backward"}
    assert {tape.nodes[op.within].name for op in inside} == {"CubeBackward"}
    assert "in the backward of CubeBackward)" in tape.text()
    assert "In the backward of CubeBackward: mul makes" in told(tape)
    shown(tape)


def test_operations_of_a_hook_are_seen_as_such() -> None:
    w = leaf(2.0)
    y = w * 3
    y.register_hook(lambda grad: grad * 10)
    with dbr.record() as tape:
        y.sum().backward()
    assert [(op.name, op.during) for op in tape.ops] == [("sum", ""), ("mul", "backward")]


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_seen_to_be_recomputed(reentrant: bool) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return x.sin().exp()

    def run() -> torch.Tensor:
        w = leaf(2.0)
        checkpoint(f, w, use_reentrant=reentrant).sum().backward()
        return w.grad

    plain = run()
    with dbr.record() as tape:
        recorded = run()
    assert torch.equal(plain, recorded)
    again = [op for op in tape.ops if op.during == "recompute"]
    done = [op.name for op in again if op.name in ("sin", "exp")]
    assert done == (
        ["sin", "exp"] if reentrant else ["sin"]
    )  # the newer kind stops when all is there again
    assert sum(op.name == "sin" for op in tape.ops) == 2
    assert ", recomputed" in tape.svg()
    shown(tape)


def test_the_engine_is_put_back() -> None:
    engine = torch.autograd._engine_run_backward
    with contextlib.suppress(KeyError), dbr.record(), dbr.record():
        assert torch.autograd._engine_run_backward is not engine
        raise KeyError
    assert torch.autograd._engine_run_backward is engine


def test_other_threads_do_not_leak_in() -> None:
    layer, w = nn.Linear(2, 2), leaf(1.0, 2.0)

    def elsewhere() -> None:
        y = layer(torch.ones(1, 2))
        y.sum().backward()
        torch.optim.SGD(layer.parameters(), lr=0.1).step()

    with dbr.record() as tape:
        y = w * 2
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        y.sum().backward()
    assert [op.name for op in tape.ops] == ["mul", "sum"]
    assert [op.scope for op in tape.ops] == ["", ""]
    assert len(tape.leaves) == 1


# ---- custom Functions from inside ----


def test_the_forward_of_a_custom_function_lies_in_one_call() -> None:
    w = leaf(2.0)
    cube = Cube.apply
    with dbr.record() as tape:
        y = cube(cube(w))
        y.sum().backward()
    calls = [(call.kind, call.outer) for call in tape.calls]
    assert calls == [("Cube", None), ("Cube", None)]
    assert [(op.name, op.call) for op in tape.ops if not op.during] == [
        *(("mul", 0), ("mul", 0), ("Cube", 0)),
        *(("mul", 1), ("mul", 1), ("Cube", 1)),
        ("sum", None),
    ]
    first, second = (op for op in tape.ops if op.opaque)
    assert first.code == second.code == "y = cube(cube(w))"
    assert tape.tensors[first.inputs[0]].name == "w"
    assert second.inputs[0] == first.outputs[0]
    assert "The 2 operations before it are its forward" in told(tape)
    assert tape.svg().count(">Cube</text>") == 2
    folded = tape.fold(modules=0)
    assert [op.name for op in folded.ops if not op.during] == ["Cube", "Cube", "sum"]
    shown(folded)


class Doubled(torch.autograd.Function):
    """A forward without a context, with a loop and another `Function` in it."""

    @staticmethod
    def forward(x: torch.Tensor, times: int) -> torch.Tensor:
        for _ in range(times):
            x = x * 2
        return Cube.apply(x) * 1

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.times = inputs[1]

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        return grad * 2**ctx.times, None


class Halved(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        return x / 2

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        return grad / 2


class HalvedToo(Halved):
    pass


class HalvedAgain(Halved):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        return Halved.forward(ctx, x)


def test_each_call_of_a_custom_function_is_one_call_however_it_is_written() -> None:
    w = leaf(2.0)
    halved = Halved.apply
    with dbr.record() as tape:
        a = Doubled.apply(w, 2)
        b = Doubled.apply(w, 2)
        c = HalvedAgain.apply(HalvedToo.apply(halved(w)))
        with torch.no_grad():
            Halved.forward(SimpleNamespace(), w)
        (a + b + c).backward()
    assert [(call.kind, call.outer) for call in tape.calls] == [
        *(("Doubled", None), ("Cube", 0), ("Doubled", None), ("Cube", 2)),
        *(("Halved", None), ("HalvedToo", None), ("HalvedAgain", None)),
    ]
    calls = {name: [op.call for op in tape.ops if op.name == name] for name in ("mul", "div")}
    assert calls["mul"][:10] == [0, 0, 1, 1, 0, 2, 2, 3, 3, 2]
    assert calls["div"][:4] == [4, 5, 6, None]
    opaque = [(op.name, op.call) for op in tape.ops if op.opaque]
    assert sorted(opaque, key=lambda each: each[1]) == [
        *(("Doubled", 0), ("Doubled", 2), ("Halved", 4), ("HalvedToo", 5), ("HalvedAgain", 6)),
    ]


def test_functions_and_modules_lie_within_each_other() -> None:
    class Inner(nn.Module):
        def forward(self, x):
            return Cube.apply(x) + 1

    inner = Inner()
    w = leaf(2.0)
    with dbr.record() as tape:
        y = checkpoint(inner, w, use_reentrant=True)
    assert y.item() == 9
    assert [call.kind for call in tape.calls] == ["CheckpointFunction", "Inner", "Cube"]
    assert [call.outer for call in tape.calls] == [None, 0, 1]
    assert [(op.name, op.call, op.scope) for op in tape.ops if op.name in ("mul", "add")] == [
        ("mul", 2, "inner"),
        ("mul", 2, "inner"),
        ("add", 1, "inner"),
    ]


def test_a_compiled_function_runs_as_plain_python_while_it_is_recorded() -> None:
    compiled = torch.compile(
        lambda x: (x * 2).sin().sum(), backend=lambda graph, inputs: graph.forward
    )
    w = leaf(1.0, 2.0)
    with dbr.record() as tape:
        loss = compiled(w)
        loss.backward()
    assert [op.name for op in tape.ops] == ["mul", "sin", "sum"]
    assert torch.equal(compiled(w), loss)


def test_recording_inside_a_compiled_function_is_refused_in_one_sentence() -> None:
    @torch.compile(backend=lambda graph, inputs: graph.forward)
    def inside(x: torch.Tensor) -> torch.Tensor:
        with dbr.record():
            return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match="use it around a compiled function, not inside one"):
            inside(leaf(1.0))


def warned(run, recorded: bool, action: str = "always") -> list[tuple[str, int, str]]:
    """File, line and words of each warning of a run."""
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            with dbr.record() if recorded else contextlib.nullcontext():
                run()
    finally:
        torch.set_warn_always(False)
    return [(w.filename, w.lineno, str(w.message)) for w in caught]


def broadcast_loss() -> None:
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0, 3.0)
    F.softmax(x)  # by Python, with a stacklevel of three
    F.mse_loss(y, torch.ones(1, 3))  # by Python, with a stacklevel of two
    nn.MSELoss()(y, torch.ones(1, 3))  # by a module of torch: its file
    torch.ones(2, 2, 2).T  # noqa: B018 (by C++)
    (x * 2).grad  # noqa: B018 (an attribute)
    float(leaf(1.0) * 2)  # passed through unread


def test_a_warning_names_the_line_that_it_would_name_without_a_recording() -> None:
    plain, recorded = (warned(broadcast_loss, on) for on in (False, True))
    assert recorded == plain
    assert len(plain) >= 5
    assert {name for name, _, _ in plain} == {__file__, nn.modules.loss.__file__}


def test_a_warning_is_shown_once_for_a_line_as_without_a_recording() -> None:
    def run() -> None:
        for _ in range(3):
            F.softmax(leaf(1.0, 2.0))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with dbr.record():
            run()
        assert len(caught) == 1
        run()  # filed under this module, which has seen it
        assert len(caught) == 1


def test_pytest_sees_a_warning_in_a_recording_and_an_error_made_of_one_passes_through() -> None:
    with pytest.warns(UserWarning, match="Implicit dimension"), dbr.record():
        F.softmax(leaf(1.0, 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="Implicit"), dbr.record() as tape:
            F.softmax(leaf(1.0, 2.0))
    assert "UserWarning" in tape.error


def test_names_and_lines_do_not_come_from_how_a_call_is_passed_on() -> None:
    x = leaf(1.0, 2.0)
    with dbr.record() as tape:
        y = x * x
        y.register_hook(lambda grad: grad * 2)
        y.sum().backward()
    assert {t.name for t in tape.tensors} <= {"x", "y", "grad", None}
    assert "recorded call" not in repr(tape.sources)
    assert tape.sources[0].title == "recorded"


def test_a_name_never_holds_the_address_of_a_key() -> None:
    class Key:
        pass

    values, key = {}, Key()
    w = leaf(2.0)
    with dbr.record() as tape:
        values[key] = w * 2
        y = values[key] + 1
        values["plain"] = y * 3
        values[0, "b"] = values["plain"] * 4
        values[0, "b"].sum()
    assert " at 0x" not in tape.text() + tape.json()
    assert "values['plain']" in tape.text()
    assert "values[(0, 'b')]" in tape.text()


CAPTURED = """
import torch
import definebyrun as dbr

def double(x): return x * 2
def halve(x): return x / 2
def run(x):
    chosen = torch.cond(x.sum() > 0, double, halve, (x,))
    chosen.sum().backward()
    return chosen
def plainly():
    x = torch.tensor([1.0, -3.0], requires_grad=True)
    return run(x).tolist(), x.grad.tolist()

compile = torch.compile
x = torch.tensor([1.0, -3.0], requires_grad=True)
{first}
with dbr.record() as tape:
    y = {call}
assert torch.compile is compile
print((y.tolist(), x.grad.tolist()) == plainly(), [op.name for op in tape.ops], len(tape.nodes))
"""


@pytest.mark.parametrize("first", ["", "plainly()"], ids=["compiler not loaded", "loaded"])
@pytest.mark.parametrize(
    ("call", "ops"),
    [
        ("run(x)", "['sum', 'gt', 'CondAutogradOp', 'sum', 'cond'] 4"),
        (
            "torch.compile(halve, backend='eager')(x); y.sum().backward()",
            "['div', 'sum'] 3",
        ),
    ],
    ids=["cond", "compile"],
)
def test_what_captures_code_works_inside_a_recording(first: str, call: str, ops: str) -> None:
    """In a process of its own: a compiler that is loaded stays loaded."""
    done = subprocess.run(
        [sys.executable, "-c", CAPTURED.format(first=first, call=call)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout.strip() == f"True {ops}", done.stderr


def test_full_collections_wait_for_the_end_of_a_recording_and_come_back_after_it() -> None:
    seen: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        seen.extend([about["generation"]] if phase == "start" else [])

    before, w = gc.get_threshold(), leaf(1.0)
    gc.set_threshold(70, 2, 2)
    gc.callbacks.append(note)
    try:
        with dbr.record():
            x = w
            for _ in range(1000):
                x = x * 0.999
            recorded = [*seen]
            gc.collect()
        assert recorded.count(1) > 2
        assert 2 not in recorded
        assert gc.get_threshold() == (70, 2, 2)
        with contextlib.suppress(ZeroDivisionError), dbr.record(), dbr.record():
            1 / 0  # noqa: B018
        assert gc.get_threshold() == (70, 2, 2)
        with dbr.record():
            gc.set_threshold(600, 5)
        assert gc.get_threshold() == (600, 5, 2)
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)


def test_no_collection_is_made_while_a_drawing_is_and_the_collector_is_as_before_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    during = []

    def lay_out(dot: str, form: str, seconds: float | None) -> str:
        during.append(gc.isenabled())
        raise dbr.LayoutError("no engine")

    monkeypatch.setattr(placement, "run_dot", lay_out)
    w = leaf(1.0)
    assert "no engine" in dbr.draw(w * 2)._repr_html_()
    assert gc.isenabled()
    gc.disable()
    try:
        assert "no engine" in dbr.draw(w * 2)._repr_html_()
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert during == [False, False]


def test_a_gradient_that_hooks_replace_again_and_again_is_the_one_that_arrives() -> None:
    """Memory that one replacement has let go of is often that of the next: an address says nothing."""
    x = torch.linspace(1, 2, 5000, requires_grad=True)
    for _ in range(20):
        got = []
        with dbr.record() as tape:
            y = x * 2
            z = y.exp()
            y.register_hook(lambda grad: grad * 2)
            assert y.grad_fn is not None
            y.grad_fn.register_prehook(lambda grads: (grads[0] * 3,))
            y.grad_fn.register_prehook(lambda grads: (grads[0] + 1,))
            y.grad_fn.register_hook(lambda _, grads, got=got: got.append(grads[0].clone()))
            z.sum().backward()
        (node,) = (node for node in tape.nodes if node.name == "MulBackward0")
        assert node.grad is not None
        assert node.grad.bounds() == (float(got[0].min()), float(got[0].max()))


def at_leaf(tape: dbr.Tape) -> list[tuple[float | None, ...]]:
    """What the first leaf got in each of its steps, what it held before and after."""
    steps = [s for s in tape.steps if s.node is not None and tape.nodes[s.node].leaf == 0]
    states = [(*(s.received or ()), s.before, s.after) for s in steps]
    return [tuple(None if v is None else float(v.item()) for v in state) for state in states]


def test_what_a_leaf_holds_before_its_node_runs_is_known_whoever_put_it_there() -> None:
    w, v = leaf(2.0), leaf(3.0)
    with dbr.record() as tape:  # a hook in the very pass
        y = w * v
        y.register_hook(lambda grad: setattr(w, "grad", torch.tensor([10.0])))
        y.backward()
    assert at_leaf(tape) == [(3, 10, 13)]

    w.grad = None
    with dbr.record() as tape:  # a pass within the pass
        inner, y = w * 5, w * v
        y.register_hook(lambda grad: inner.backward())
        y.backward()
    assert at_leaf(tape) == [(5, None, 5), (3, 5, 8)]

    with (
        dbr.record() as tape
    ):  # a pass before the recording; then it goes away where nobody sees it
        (w * 4).backward()
        with torch._C.DisableTorchFunction():
            w.grad = None
        (w * 6).backward()
    assert at_leaf(tape) == [(4, 8, 12), (6, None, 6)]


def test_what_arrives_at_a_leaf_is_read_before_a_hook_changes_it_there() -> None:
    w = leaf(2.0)
    w.register_post_accumulate_grad_hook(lambda leaf: (leaf.grad.mul_(100), None)[1])
    with dbr.record() as tape:
        (w * 3).backward()
        (w * 3).backward()
    assert at_leaf(tape) == [(3, None, 300), (3, 300, 30300)]

    w = leaf(2.0)
    with (
        dbr.record() as tape
    ):  # what the node gets is what its own hooks have made of it, as at all nodes
        y = w * 3
        y.grad_fn.next_functions[0][0].register_prehook(lambda grads: (grads[0] * 7,))
        y.backward()
    assert at_leaf(tape) == [(21, None, 21)]


def test_a_module_that_was_interrupted_holds_no_later_operation() -> None:
    class Inner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not stopped:
                stopped.append(x * 2)
                raise KeyboardInterrupt  # which modules do not tell their hooks of
            return x * 3

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                self.inner(x)
            except KeyboardInterrupt:
                return self.inner(x) + 1
            raise AssertionError

    stopped: list[torch.Tensor] = []
    model, x = Outer(), leaf(1.0, 2.0)
    with dbr.record() as tape:
        y = model(x)
        z = y.exp()
    inside = [
        (op.name, None if op.call is None else tape.trace.calls[op.call].path) for op in tape.ops
    ]
    assert inside == [
        ("mul", "model.inner"),
        ("mul", "model.inner"),
        ("add", "model"),
        ("exp", None),
    ]
    assert [call.outer for call in tape.trace.calls] == [None, 0, 0]
    assert tape.ops[-1].stack[0][1] == tape.ops[-1].line
    assert z.shape == (2,)


def test_the_way_to_an_operation_is_that_of_its_frames() -> None:
    """What lies around a module call is read once; the way through the code is all there, from every depth."""

    class Block(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ways.append(_lines())
            x = x * 2
            return self.inner(x)

    class Last(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ways.append(_lines())
            return helper(x)

    def helper(x: torch.Tensor) -> torch.Tensor:
        ways.append(_lines())
        return x.exp()

    def _lines() -> list[int]:
        frame = sys._getframe(1)
        found = []
        while frame is not None:
            if frame.f_code.co_filename == __file__:
                found.append(frame.f_lineno)
            frame = frame.f_back
        return found[1:]  # the caller goes on; those around it stand still

    ways: list[list[int]] = []
    model = torch.nn.Sequential(Block(torch.nn.Sequential(Block(torch.nn.Identity()))), Last())
    x = leaf(1.0, 2.0)
    with dbr.record() as tape:
        y = model(x)
    assert y.shape == (2,)
    first, second, _, last = ways
    assert [[line for _, line in op.stack[1:]] for op in tape.ops] == [
        first,
        second,
        last,
    ]
