"""Drawings: the cards are PyTorch's nodes, the same run gives the same bytes, and there is always something to see."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import graphviz
import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.cards.build import build_cards
from definebyrun.cards.model import MAX_USES_WITHOUT_CHIPS
from definebyrun.cards.picture import picture_cards
from definebyrun.drawing.layout import LayoutError, run_dot
from definebyrun.drawing.metrics import card_size
from definebyrun.text import canonical
from definebyrun.text.format import SENTENCE_CHARS, format_value
from definebyrun.text.sentences import sentence
from definebyrun.trace.memory import kept_after_steps
from tests.programs import network, small
from tools import ROOT


class Page(HTMLParser):
    """Start tags with their attributes, and the text inside each kind of tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("input", "path", "rect", "polygon"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.text[tag] = self.text.get(tag, "") + data


# ---- true ----


@pytest.mark.parametrize("run", [small, network])
def test_there_is_a_card_for_every_node_and_a_solid_arrow_for_every_edge(run: Any) -> None:
    tape = run()
    cards, links = build_cards(tape.trace)
    assert sorted(c.node for c in cards if c.node is not None) == [n.index for n in tape.nodes]
    assert sorted(link.edge for link in links if link.edge is not None) == [
        e.index for e in tape.edges
    ]
    by_id = {card.id: card for card in cards}
    for link in links:
        if link.edge is not None:
            edge = tape.edges[link.edge]
            assert (by_id[link.tail].node, by_id[link.head].node) == (edge.target, edge.source)
    svg = ElementTree.fromstring(tape.svg())
    drawn = [
        group.get("data-c")
        for group in svg.iter("{http://www.w3.org/2000/svg}g")
        if group.get("data-c")
    ]
    assert sorted(drawn) == sorted(by_id)


def test_inputs_without_a_gradient_get_a_dashed_arrow_only() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        x = torch.tensor([3.0, 4.0])
        y = x * w.detach() + w
    links = build_cards(tape.trace)[1]
    titles = {card.id: card.title for card in build_cards(tape.trace)[0]}
    dashed = {(titles[link.tail], titles[link.head]) for link in links if link.edge is None}
    assert dashed == {
        ("w", "detach#2"),
        ("x", "mul#3"),
        ("detach#2", "mul#3"),
        ("mul#3", "y = add"),
    }
    assert y.requires_grad


def test_not_computed_yet_is_never_drawn_as_zero() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        (w * 3).sum()
    cards = {card.title: card for card in build_cards(tape.trace)[0]}
    assert [s.text for s in cards["w"].grads] == [".grad not yet"]
    assert [s.text for s in cards["mul#1"].grads] == ["grad not yet"]
    assert "grad not yet" in tape.text()


def test_a_sum_of_gradients_is_shown_being_made() -> None:
    u = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        v = u * 3
        out = v + v * v
        out.backward()
    v_card = next(card for card in build_cards(tape.trace)[0] if card.title.startswith("v "))
    assert [s.text for s in v_card.grads] == ["grad not yet", "grad 1 + …", "1 + 6 + 6 = 13"]
    said = [sentence(tape.trace, step) for step in tape.steps]
    assert "That is the last part; the parts are added: 1 + 6 + 6 = 13." in said[4]
    assert "To u it passes grad × 3 = 13 × 3 = 39." in said[5]


def test_gradients_of_different_outputs_are_not_added() -> None:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    with dbr.record() as tape:
        a, b = x.unbind(0)
        loss = a * 5 + b
        loss.backward()
    card = next(card for card in build_cards(tape.trace)[0] if card.title == "a, b = unbind")
    assert card.grads[-1].text == "grad 5; 1"
    assert card.values[0].text == "2; 3"


def test_a_second_backward_adds_to_the_grad_that_is_there() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        (w * 3).backward()
        (w * 4).backward()
    card = next(card for card in build_cards(tape.trace)[0] if card.title == "w")
    assert [s.text for s in card.grads] == [".grad not yet", ".grad 3", "3 + 4 = 7"]
    assert "It adds that to w.grad: 3 + 4 = 7." in sentence(tape.trace, tape.steps[-1])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (lambda w: (w + 5).sum(), "To w it passes [1, 1], unchanged."),
        (lambda w: (5 - w).sum(), "To w it passes −grad = [-1, -1]."),
        (lambda w: torch.add(w.detach(), w, alpha=3).sum(), "To w it passes [3, 3]."),
        (lambda w: (w * torch.ones(3, 2)).sum(), "summed to the shape of w, = [3, 3]."),
        (lambda w: w.mean(), "To w it passes grad ÷ 2, once for each element = [0.5, 0.5]."),
        (lambda w: (w * w).sum(), "To w it passes grad × w = [1, 1] × [1, -2] = [1, -2]."),
        (lambda w: w.dot(w.detach()), "To w it passes grad × detach#1 = 1 × [1, -2] = [1, -2]."),
        (
            lambda w: nn.functional.dropout(w, 1.0).sum(),
            "To w it passes [0, 0].",
        ),
        (lambda w: w.abs().sum(), "To w it passes grad × sign of its input = [1, -1]."),
        (lambda w: w.view(1, 2).mean(1), "To view#1 it passes grad ÷ 2, once for each"),
        (lambda w: torch.cat([w, w * 2]).sum(), "To w it passes its own part of grad = [1, 1]."),
    ],
)
def test_a_sentence_states_a_rule_only_where_it_holds(line: Any, says: str) -> None:
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    with dbr.record() as tape:
        line(w).backward()
    assert says in " ".join(sentence(tape.trace, step) for step in tape.steps)


OPERATIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a, b: -a,
    "pow": lambda a, b: a**2 + 2**b,
    "functions": lambda a, b: a.exp() + b.log() + a.sqrt() + b.tanh() + a.sigmoid() + b.relu(),
    "reductions": lambda a, b: (
        a.sum(0) + a.mean(1) + a.max(0).values + a.var() + b.norm() + b.max()
    ),
    "matrices": lambda a, b: a @ b + torch.einsum("ij,kj->ik", a, b) + torch.bmm(a[None], b[None]),
    "linear": lambda a, b: nn.functional.linear(a, b, b[0]),
    "convolution": lambda a, b: nn.functional.conv2d(a[None, None], b[None, None]),
    "norms": lambda a, b: nn.functional.layer_norm(a, (2,), b[0], b[1]),
    "softmax": lambda a, b: a.softmax(1) + b.log_softmax(1),
    "loss": lambda a, b: nn.functional.cross_entropy(a, torch.tensor([0, 1])),
    "error": lambda a, b: nn.functional.mse_loss(a, b),
    "shapes": lambda a, b: a.T + b.reshape(4).view(2, 2) + a[0].unsqueeze(0).expand(2, 2),
    "parts": lambda a, b: (
        torch.stack(a.unbind(0)) + torch.cat(b.split(1)) + a[torch.tensor([0, 0])]
    ),
    "choice": lambda a, b: torch.where(a > 1, a, b) + torch.maximum(a, b),
    "attention": lambda a, b: nn.functional.scaled_dot_product_attention(a[None], b[None], b[None]),
    "in place": lambda a, b: a.clone().mul_(b),
    "complex": lambda a, b: torch.view_as_real(torch.complex(a, b) * 2j),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_backward_step_says_what_comes_in_and_what_goes_out(name: str) -> None:
    a = torch.tensor([[0.5, 1.5], [2.5, 3.0]], requires_grad=True)
    b = torch.tensor([[1.25, 0.75], [2.0, 4.0]], requires_grad=True)
    with dbr.record() as tape:
        OPERATIONS[name](a, b).sum().backward()
    said = 0
    for step in tape.steps:
        if step.phase == "backward":
            words = sentence(tape.trace, step)
            before, *passed = words.split("\n")
            for value in step.received:
                assert value is None or format_value(value, SENTENCE_CHARS) in before
            assert len(passed) == len(step.passed)
            for line, (_, value) in zip(passed, step.passed, strict=True):
                assert format_value(value, SENTENCE_CHARS) in line
                said += 1
    assert said == sum(edge.grad is not None for edge in tape.edges) > 1


# ---- one picture ----


def test_no_text_is_wider_than_its_card() -> None:
    for tape in (small(), network()):
        for card in build_cards(tape.trace)[0]:
            width = card_size(card)[0]
            texts = [card.title, *(state.text for row in card.rows() for state in row)]
            assert max(len(text) for text in texts) * 7.25 < width


def test_a_leaf_with_many_uses_is_a_chip_for_each_and_long_loops_are_laid_out_quickly() -> None:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h = torch.tensor(1.0)
        for _ in range(60):
            h = torch.tanh(h * w)
        h.backward()
    cards = picture_cards(tape.trace)[0]
    w_node = next(leaf.node for leaf in tape.leaves if leaf.name == "w")
    chips = [card for card in cards if card.node == w_node]
    assert len(chips) == 60 > MAX_USES_WITHOUT_CHIPS
    assert chips[0].title == "w (use 1 of 60)"
    assert tape.unfolded().svg().count("data-c=") == len(cards)


def test_above_the_limit_a_sentence_says_so_and_the_text_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("definebyrun.view.MAX_CARDS_LAID_OUT", 3)
    html = small()._repr_html_()
    assert "above 3 only the text is shown" in html
    assert "MulBackward0" in html


PROGRAM = """
import torch, definebyrun as dbr
w = torch.tensor([0.5, 1.0], requires_grad=True)
with dbr.record() as tape:
    y = w * torch.tensor([2.0, 3.0])
    loss = (y + w).relu().sum()
    loss.backward()
print(tape.text(), tape.dot(), tape.json(), tape.svg(), tape.html(), tape.table(), dbr.draw(loss))
"""


def test_the_same_run_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, "utf8")
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 10_000


def test_drawing_writes_nothing_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM + "dbr.draw(loss * 2).svg()\n", "utf8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""


# ---- the engines ----


@pytest.fixture
def without_pygraphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


@pytest.mark.usefixtures("without_pygraphviz")
def test_without_pygraphviz_a_dot_on_the_path_lays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    cards, links = build_cards(small().trace)
    number = {card.id: place for place, card in enumerate(cards)}
    place = {"pos": "4,4", "width": "0.1", "height": "0.1"}
    answer = {
        "bb": "0,0,9,9",
        "objects": [{"_gvid": number[card.id], "name": card.id, **place} for card in cards],
        "edges": [{"id": link.id, "pos": "e,3,3 0,0 1,1 2,2 3,3"} for link in links],
    }

    def pipe(engine: str, form: str, data: bytes, **options: Any) -> bytes:
        asked.append((engine, form, data[:7]))
        return json.dumps(answer).encode()

    monkeypatch.setattr(graphviz, "pipe", pipe)
    assert "MulBackward0" in small().svg()
    assert asked == [("dot", "json0", b"digraph")]


@pytest.mark.usefixtures("without_pygraphviz")
def test_without_any_engine_one_sentence_says_what_to_install_and_the_text_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    tape = small()
    for html in (tape._repr_html_(), tape.html()):
        assert "run `pip install pygraphviz`, or install Graphviz" in html
        assert "MulBackward0" in html
        assert "Traceback" not in html
    with pytest.raises(dbr.LayoutError, match="No layout engine"):
        tape.svg()
    assert tape.dot().startswith("digraph")


# ---- the player ----


def test_the_player_is_one_fragment_that_fetches_nothing() -> None:
    page = Page(small().html())
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            own = (attributes.get(name) or "data:image/svg+xml;").startswith("data:image/svg+xml;")
            assert own, f"<{tag} {name}>"
    style = page.text["style"]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|import)\s*\(|https?:(?!//www\.w3\.org/2000/svg)",
        page.text["script"],
    )


def test_the_players_own_overhead_is_small() -> None:
    """Without picture, data and code: less than 20 kB in a notebook, less than 7.5 kB on the way to a reader."""
    html = small().html()
    own = re.sub(r'<svg style=.*?</svg>|(?<=class="dbr-json">).*?(?=</script>)', "", html)
    own = re.sub(r"<pre .*?</pre>|<li .*?</li>", "", own, flags=re.DOTALL)
    own = re.sub(r'<i(?: class="b"| style="[^"]*")?></i>', "", own)  # ticks
    own = re.sub(r'<img class="dbr-bare".*?>', "", own)  # a picture, and not in the book
    own = re.sub(r'<p class="dbr-caption">.*?</p>', "", own)  # words about the run
    assert "dbr-ticks" in own
    assert len(own.encode()) < 20_000
    assert len(gzip.compress(own.encode())) < 7_500


def test_every_step_has_its_sentence_its_cards_and_its_line() -> None:
    tape = small()
    html = tape.html()
    steps = json.loads(re.search(r'class="dbr-json">(.*?)</script>', html)[1])
    assert len(steps) == len(tape.steps) + 1
    assert steps[0]["t"].startswith("Start.")
    ids = set(re.findall(r'data-c="(\w+)"', html))
    links = set(re.findall(r'data-e="(\w+)"', html))
    lines = set(re.findall(r'data-l="([\d.]+)"', html))
    for step, shown in zip(tape.steps, steps[1:], strict=True):
        assert shown["c"]
        assert set(shown["c"]) <= ids
        assert set(shown["e"]) <= links
        assert len(shown["e"]) == len(step.passed)
        assert shown["l"]
        assert set(shown["l"]) <= lines
        assert shown["b"] == (step.phase == "backward")
    assert [s["m"] for s in steps[1:]] == [f"{n} B" for n in kept_after_steps(tape.trace)]


def test_with_scripts_stripped_the_whole_picture_is_there() -> None:
    html = re.sub(r"<script.*?</script>", "", small().html(), flags=re.DOTALL)
    shown = re.sub(r'<text [^>]*display="none">.*?</text>', "", html)
    assert 'data-f="0"' not in shown
    for part in ("y = mul", "grad [2, 0, 13]", ".grad [2, 0, 39]", "loss = sum", "freed"):
        assert f">{part}</text>" in shown
    assert "not yet</text>" not in shown


def test_code_and_names_are_escaped() -> None:
    w = torch.tensor(1.0, requires_grad=True)
    with dbr.record() as tape:
        y = w * 2 if 1 < 2 else "</script><b>"
        y.backward()
    html = tape.html()
    assert "<b>" not in re.sub(r"<b>(?=Start)", "", html)
    assert html.count("</script>") == 3


def test_translators_leave_drawings_code_and_text_alone() -> None:
    page = Page(small().html())
    kept = {tag for tag, attributes in page.tags if attributes.get("translate") == "no"}
    assert kept == {"svg", "ol", "pre"}
    drawings = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert [drawing["translate"] for drawing in drawings] == ["no"]


def test_a_notebook_gives_the_keys_to_the_player_that_has_the_focus() -> None:
    player = Page(small().html()).tags[0][1]
    assert player["class"] == "dbr dbr-player"
    assert player["data-lm-suppress-shortcuts"] == "true"


def test_a_graph_of_one_operation_is_named_in_the_singular() -> None:
    with dbr.record() as tape:
        torch.ones(2)
    assert 'aria-label="graph with 1 operation, 0 backward nodes' in tape.svg()


def test_the_text_of_a_run_is_made_once_for_all_that_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, tape = [], small()
    make = canonical.canonical_text
    monkeypatch.setattr(canonical, "canonical_text", lambda trace: made.append(1) or make(trace))
    assert tape.text() in repr(tape)
    tape.html(), tape._repr_html_(), tape.text()
    assert made == [1]


def test_two_players_of_one_page_have_different_identities() -> None:
    ids = {re.search(r'data-dbr="(\w+)"', tape.html())[1] for tape in (small(), network())}
    assert len(ids) == 2


# ---- text and table ----


def test_a_notebook_compares_the_canonical_text() -> None:
    tape = small()
    assert repr(tape) == f"tape: {tape.text()}"
    assert repr(tape.play()) == f"player: {tape.text()}"
    assert repr(dbr.draw(torch.ones(1, requires_grad=True) * 2)).startswith(
        "graph: 2 nodes, 1 edge\n"
    )


def test_the_text_changes_with_every_fact() -> None:
    texts = set()
    for number, line in enumerate(
        [lambda w: w * 2, lambda w: w * 3, lambda w: 2 * w + 0, lambda w: w.detach() * 2]
    ):
        w = torch.tensor([1.0, float(number > 9)], requires_grad=True)
        with dbr.record() as tape:
            line(w).sum()
        texts.add(tape.text())
    assert len(texts) == 4


def test_the_table_has_a_row_for_every_leaf_and_op() -> None:
    tape = small()
    table = tape.table()
    assert table.columns == (
        "step",
        "line",
        "op",
        "inputs",
        "shape",
        "value",
        "grad_fn",
        "saved",
        "grad",
    )
    assert len(table.rows) == len(tape.leaves) + len(tape.ops)
    row = dict(zip(table.columns, table.rows[3], strict=True))
    assert (row["op"], row["inputs"], row["value"], row["grad_fn"], row["grad"]) == (
        "y = mul",
        "x, w",
        "[0.5, -2, 6]",
        "MulBackward0",
        "[2, 0, 13]",
    )
    assert table._repr_html_().count("<tr>") == len(table.rows) + 1


def test_a_layout_of_many_cards_writes_nothing_on_the_screen(capfd) -> None:
    dot = 'digraph {node [label=""];' + ";".join(f"n{i}" for i in range(1001)) + "}"
    assert run_dot(dot, "json0").count('"_gvid"') == 1001
    assert capfd.readouterr() == ("", "")


def test_a_layout_that_fails_says_so_in_one_sentence(monkeypatch) -> None:
    pygraphviz = pytest.importorskip("pygraphviz")

    def fail(*args: object, **more: object) -> bytes:
        raise ValueError("Graphviz raised a layout error.")

    monkeypatch.setattr(pygraphviz.AGraph, "draw", fail)
    with pytest.raises(LayoutError, match="could not lay out this graph: Graphviz raised"):
        run_dot("digraph {}", "json0")


def test_a_long_name_is_cut_and_what_was_done_is_not() -> None:
    norm = nn.BatchNorm1d(2)
    weights = [torch.ones(2, requires_grad=True) for _ in range(4)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    with dbr.record() as tape:
        attention_of_the_first_head = norm(torch.ones(3, 2)).softmax(0)
        (attention_of_the_first_head * torch.stack(weights).sum(0)).sum().backward()
        optimizer.step()
    titles = {card.title for card in build_cards(tape.trace)[0]}
    assert titles >= {"…_batches_tracked = add_", "attention_of_… = softmax", "SGD.step#21"}
