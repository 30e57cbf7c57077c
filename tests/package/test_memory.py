"""Bytes kept alive: each storage counted once, checkpoints and no_grad visible, a tuple that is also a picture."""

from __future__ import annotations

import base64
import pickle
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import definebyrun as dbr
from definebyrun.cards.build import build_cards
from definebyrun.comparison.join import join
from definebyrun.comparison.split import half
from definebyrun.fold.folding import fold
from definebyrun.memory_plot import MemoryCurve, memory_svg
from definebyrun.trace import Step, Trace
from definebyrun.trace.memory import freed_at
from tools import ROOT


def blocks(checkpointed: bool = False) -> dbr.Tape:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(3)]
    with dbr.record() as tape:
        h = torch.ones(32, 64, requires_grad=True)
        for layer in layers:
            h = checkpoint(layer, h, use_reentrant=False) if checkpointed else layer(h)
        h.sum().backward()
    return tape


# ---- the numbers ----


def test_a_storage_that_several_nodes_save_counts_once() -> None:
    x = torch.ones(100)
    w = torch.ones(100, requires_grad=True)
    with dbr.record() as tape:
        a = w * x  # keeps x
        b = a * x[:50].repeat(2).view(100)  # keeps a copy, which is a storage of its own
        c = b * x  # keeps x again
        d = c * x.view(10, 10).view(100)  # and again, seen through a view
        d.sum().backward()
    saved = [s for node in tape.nodes for s in node.saved]
    assert len(saved) > len({s.storage for s in saved})
    assert max(tape.memory()) == sum({s.storage: s.nbytes for s in saved}.values()) == 2 * 400


def test_a_shared_storage_is_free_only_when_its_last_user_is() -> None:
    w = torch.ones(100, requires_grad=True)
    with dbr.record() as tape:
        y = w.exp()  # keeps y
        z = y.tanh() + y.exp()  # each keeps its result; y is an input only
        (z * y).sum().backward()  # keeps z and y
    memory = tape.memory()
    first = next(step.index for step in tape.steps if step.node == tape.trace.nodes_of(0)[0])
    assert max(memory) == 4 * 400  # y, the results of tanh and exp, and z
    assert memory[first - 1] == 400  # y alone, until the first exp's node has run
    assert memory[first] == memory[-1] == 0


def test_memory_equals_what_hooks_on_saved_tensors_see() -> None:
    seen: dict[int, int] = {}
    torch.manual_seed(0)
    x = torch.randn(16, 8)
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept_alive = (model(x) ** 2).sum()
    with dbr.record() as tape:
        (model(x) ** 2).sum()
    assert max(tape.memory()) == sum(seen.values())
    assert kept_alive.requires_grad


def test_checkpointing_keeps_less_and_no_grad_nothing() -> None:
    plain, less = blocks(), blocks(checkpointed=True)
    assert max(less.memory()) <= max(plain.memory()) / 2
    assert plain.memory()[-1] == less.memory()[-1] == 0
    with dbr.record() as tape, torch.no_grad():
        nn.Linear(64, 64)(torch.ones(32, 64)).tanh().sum()
    assert set(tape.memory()) == {0}


def test_counting_takes_time_in_proportion_to_the_steps() -> None:
    """Every step used to add up all storages again: 20,000 steps took minutes."""
    from definebyrun.trace import Node, Op, Saved, Step, Trace
    from definebyrun.trace.memory import kept_after_steps

    many = 20_000
    trace = Trace(
        ops=tuple(
            Op(i, "mul", line=None, code="", scope="", inputs=(), outputs=()) for i in range(many)
        ),
        nodes=tuple(Node(i, "MulBackward0", op=i, saved=(Saved("a", i, 4),)) for i in range(many)),
        steps=tuple(Step(i, "forward", op=i) for i in range(many))
        + tuple(Step(many + i, "backward", node=many - 1 - i, freed=True) for i in range(many)),
    )
    kept = kept_after_steps(trace)
    assert kept[many - 1] == 4 * many
    assert (kept[0], kept[-2], kept[-1]) == (4, 4, 0)


# ---- the tuple ----


def test_memory_is_a_tuple_of_numbers_in_every_way() -> None:
    tape = blocks()
    memory = tape.memory()
    numbers = tuple(memory)
    assert type(numbers) is tuple
    assert (memory, len(memory), memory[2], memory[-1]) == (
        numbers,
        len(tape.steps),
        numbers[2],
        0,
    )
    assert repr(memory) == repr(numbers)
    assert hash(memory) == hash(numbers)
    assert memory.backward == tuple(step.phase == "backward" for step in tape.steps)
    copy = pickle.loads(pickle.dumps(memory))
    assert (copy, copy.backward) == (memory, memory.backward)


def test_each_step_needs_its_phase() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        MemoryCurve((1, 2), (False,))


# ---- the plot ----


def drawn(html: str | None) -> tuple[str, ElementTree.Element]:
    """The description and the picture of an `<img>`."""
    alt, address = re.fullmatch(
        r'<!-- A plot. -->\n<img alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)">',
        html or "",
    ).groups()
    return alt, ElementTree.fromstring(base64.b64decode(address))


def test_the_plot_shows_steps_bytes_and_both_ways_and_says_so_in_words() -> None:
    memory = blocks().memory()
    alt, picture = drawn(memory._repr_html_())
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"step", "bytes kept alive", "forward", "backward"} <= words
    assert (
        f"at most {max(memory) // 1024} KiB, after step 7 of {len(memory)}; 0 B at the end" in alt
    )
    assert "Backward begins with step 9." in alt
    assert picture.get("aria-label") == alt
    assert picture.find(".//{http://www.w3.org/2000/svg}pattern") is not None  # not colour alone


def test_a_run_without_backward_names_no_backward() -> None:
    alt, picture = drawn(MemoryCurve((4, 8), (False, False))._repr_html_())
    assert "ackward" not in alt
    assert "backward" not in {t.text for t in picture.iter("{http://www.w3.org/2000/svg}text")}


def test_the_plot_is_small_and_the_same_in_every_run() -> None:
    memory = blocks().memory()
    assert memory._repr_html_() == memory._repr_html_()
    assert len(memory._repr_html_()) < 15_000
    long = MemoryCurve(tuple(range(20_000)), (False,) * 10_000 + (True,) * 10_000)
    assert len(long._repr_html_()) < 40_000
    assert "the most of every 100" in ElementTree.tostring(drawn(long._repr_html_())[1], "unicode")


def test_the_plot_leaves_the_learners_own_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    blocks().memory()._repr_html_()
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_numbers_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("definebyrun.memory_plot.find_spec", lambda name: None)
    assert blocks().memory()._repr_html_() is None
    assert MemoryCurve((), ())._repr_html_() is None


def test_a_stair_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 0"):
        memory_svg([], [], "nothing")


def test_using_the_package_imports_neither_matplotlib_nor_pillow() -> None:
    program = """
import sys, torch, definebyrun as dbr
w = torch.ones(2, requires_grad=True)
with dbr.record() as tape:
    (w * w).sum().backward()
tape.memory(), tape.html(), tape._repr_html_(), tape.table(), tape.svg()
print([name for name in ("matplotlib", "PIL") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_checkpoint_keeps_its_input_and_what_it_computes_again_until_that_is_used() -> None:
    f = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
    x = torch.randn(2, 4)  # 32 bytes, as every activation; a weight has 64
    with dbr.record() as tape:
        y = checkpoint(f, x, use_reentrant=False)
        y.sum().backward()
    held = [
        (node_name(tape, step), kept) for step, kept in zip(tape.steps, tape.memory(), strict=True)
    ]
    held = held[sum(op.name == "empty" for op in tape.ops) :]  # PyTorch before 2.12 makes them
    assert {kept for name, kept in held[:6]} == {32}  # the input
    again = [kept for name, kept in held if name == "recompute"]
    assert again == [32, 64, 128]  # the input; the first tanh; that as an input, with the weight
    back = [kept for name, kept in held[9:] if name not in ("AccumulateGrad", "TBackward0")]
    assert back == [
        128,
        64,
        32,
        0,
    ]  # Tanh, Addmm, Tanh, Addmm: each takes what was made for it along


def test_what_was_computed_again_says_when_it_is_freed() -> None:
    f = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
    with dbr.record() as tape:
        checkpoint(f, torch.randn(2, 4), use_reentrant=False).sum().backward()
    whole = tape.trace
    again = [node for node in whole.nodes if node.until is not None]
    assert [node.name for node in again if node.saved] == [
        "AddmmBackward0",
        "TanhBackward0",
        "AddmmBackward0",
    ]
    for node in again:
        own = whole.steps[node.until or 0]
        assert own.node is not None
        assert whole.nodes[own.node].name == node.name
        assert whole.step_of(node.op or 0).index < own.index
    for trace in (whole, fold(whole, 0), fold(whole, repeats=True), join(whole, whole)):
        after = freed_at(trace)
        for card in build_cards(trace)[0]:
            if card.keeps and trace.steps:
                assert card.keeps[-1].text == "freed"
                assert card.keeps[-1].since == after[card.node or 0] <= len(trace.steps)
    assert Trace.from_json(tape.json()) == whole
    assert half(join(whole, whole), "A").trace.nodes == whole.nodes


def test_a_second_backward_computes_again_and_frees_that_too() -> None:
    x = torch.ones(2, 2, requires_grad=True)
    with dbr.record() as tape:
        y = checkpoint(lambda t: t.sin().tanh().cos(), x, use_reentrant=False).sum()
        y.backward(retain_graph=True)
        y.backward()
    runs = [tape.steps[node.until].pass_nr for node in tape.nodes if node.until is not None]
    assert runs == [0, 0, 1, 1]  # sin and tanh, twice; cos keeps what tanh gives
    assert tape.memory()[-1] == 0


def node_name(tape: dbr.Tape, step: Step) -> str:
    if step.node is not None:
        return tape.nodes[step.node].name.rpartition("::")[2]
    assert step.op is not None
    return tape.ops[step.op].during


def test_more_segments_keep_less_until_their_inputs_are_what_is_kept() -> None:
    layers = nn.Sequential(*[m for _ in range(16) for m in (nn.Linear(16, 16), nn.Tanh())])
    x, peaks = torch.randn(64, 16), {}
    for segments in (1, 4, 16):
        with dbr.record() as tape:
            checkpoint_sequential(layers, segments, x, use_reentrant=False).sum().backward()
        peaks[segments] = max(tape.memory())
        assert tape.memory()[-1] == 0
    assert peaks[4] < peaks[16] < peaks[1]
    assert (
        peaks[16] >= 15 * x.nbytes
    )  # the inputs of all segments but the last, which is not checkpointed


def test_a_tensor_that_a_hook_puts_away_is_what_counts() -> None:
    w = torch.ones(1000, requires_grad=True)
    unpacked = []
    hooks = (lambda t: t.half(), lambda t: unpacked.append(1) or t.float())
    with dbr.record() as tape, torch.autograd.graph.saved_tensors_hooks(*hooks):
        w.exp()
    assert tape.memory() == (2000,)
    assert unpacked == []
    pair = (lambda t: (t.half(), t.dtype), lambda kept: kept[0].to(kept[1]))
    with dbr.record() as tape, torch.autograd.graph.saved_tensors_hooks(*pair):
        w.exp()
    assert tape.memory() == (2000,)
    with dbr.record() as tape, torch.autograd.graph.saved_tensors_hooks(lambda t: "a file", str):
        w.exp()
    assert tape.memory() == (0,)
