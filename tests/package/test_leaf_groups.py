"""Large drawings: a card and the leaves that only it uses are laid out as one, and all that is drawn fits together."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations, pairwise

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.cards.build import build_cards
from definebyrun.cards.chips import with_chips
from definebyrun.cards.clusters import Cluster, build_clusters
from definebyrun.cards.model import Card, Link
from definebyrun.drawing.dot import to_dot
from definebyrun.drawing.geometry import Box, Point, read_geometry
from definebyrun.drawing.layout import run_dot
from definebyrun.drawing.leaf_groups import (
    CLUSTER_MARGIN,
    CLUSTER_TOP,
    group_leaves,
    without_clusters,
)
from definebyrun.drawing.metrics import card_size
from definebyrun.drawing.svg import Picture, render

NEAR = 3.0
"""Points that Graphviz rounds by, or leaves between an arrow and a card."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.conv2, self.bn2 = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + x)


def step(model: nn.Module, *shape: int, optimizer: bool = False) -> dbr.Tape:
    torch.manual_seed(0)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(shape)
    with dbr.record() as tape:
        model(x).square().mean().backward()
        if optimizer:
            sgd.step()
    return tape


def convolutions(optimizer: bool = False, blocks: int = 3) -> dbr.Tape:
    return step(nn.Sequential(*(Block() for _ in range(blocks))), 2, 2, 4, 4, optimizer=optimizer)


def attention() -> dbr.Tape:
    layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=8, batch_first=True)
    return step(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), 2, 3, 8)


def trained() -> dbr.Tape:
    layers = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(4)]
    return step(nn.Sequential(*layers), 2, 3, optimizer=True)


def loop() -> dbr.Tape:
    w = torch.tensor([0.5, 0.25], requires_grad=True)
    with dbr.record() as tape:
        h = torch.tensor([1.0, 2.0])
        for _ in range(8):
            h = torch.tanh(h * w)
        h.sum().backward()
    return tape


def rolled() -> dbr.Tape:
    folded = step(nn.Sequential(*(Block() for _ in range(4))), 2, 2, 4, 4).fold(repeats=True)
    assert any(link.back for link in folded.view.drawn[1])
    return dbr.Tape(folded.trace, folded.trace)


def generations() -> dbr.Tape:
    w, v, u = (torch.tensor([0.5, 0.25], requires_grad=True) for _ in range(3))
    with dbr.record() as tape:
        y = (w.exp().pow(v) * u.sin()).sum()
        (slope,) = torch.autograd.grad(y, w, create_graph=True)
        slope.sum().backward()
    return tape


def compared() -> dbr.Tape:
    layers = [nn.Linear(3, 3) for _ in range(3)]
    plain, deep = nn.Sequential(*layers[:2]), nn.Sequential(*layers)
    return dbr.compare(step(plain, 2, 3), step(deep, 2, 3))


TAPES: dict[str, Callable[[], dbr.Tape]] = {
    each.__name__: each
    for each in (convolutions, attention, trained, loop, rolled, generations, compared)
}


class Drawn:
    """What is drawn where, read from the SVG."""

    def __init__(self, tape: dbr.Tape, large: bool = True) -> None:
        trace = tape.unfolded().trace
        self.cards: list[Card]
        self.links: list[Link]
        self.clusters: list[Cluster]
        self.cards, self.links = with_chips(trace, *build_cards(trace), max_uses=4)
        self.clusters = build_clusters(trace, self.cards, self.links, frame_operations=False)
        self.picture: Picture = render(self.cards, self.links, "", self.clusters, large)
        svg = self.picture.svg
        self.sizes = {card.id: card_size(card) for card in self.cards}
        self.groups = group_leaves(self.cards, self.links, self.clusters, self.sizes)
        rect = r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)" rx='
        found = re.findall(r'data-c="(\w+)"[^>]*>(?:<path[^>]*>)?' + rect, svg)
        self.boxes: dict[str, Box] = {name: _box(at) for name, *at in found}
        clusters = re.findall(rect + '"8"', svg)
        self.around = dict(
            zip((each.id for each in self.clusters), map(_box, clusters), strict=True)
        )
        lines = re.findall(r'data-e="(\w+)"[^>]*><path d="([^"]+)".*?points="([^"]+)"', svg)
        self.lines = {name: (_points(line), _points(tip)) for name, line, tip in lines}


def _box(texts: list[str] | tuple[str, ...]) -> Box:
    x, y, width, height = map(float, texts)
    return x, y, width, height


def _points(text: str) -> list[Point]:
    found = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
    return list(zip(found[::2], found[1::2], strict=True))


def _distance(point: Point, box: Box) -> float:
    """How far a point is from the edge of a box."""
    (x, y), (left, top, width, height) = point, box
    outside = max(left - x, x - left - width, top - y, y - top - height)
    return abs(outside)


@pytest.fixture(scope="module", params=TAPES)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    return Drawn(TAPES[request.param]())


def test_there_are_groups(drawn: Drawn) -> None:
    for group in drawn.groups.values():
        assert group.links
        for link in group.links:
            assert [other.id for other in drawn.links if other.tail == link.tail] == [link.id]
    steps = any(card.title.startswith("SGD.step#") for card in drawn.cards)
    assert bool(drawn.groups) != steps  # which uses every parameter a second time


def test_every_card_is_there_once_and_in_its_own_size(drawn: Drawn) -> None:
    assert sorted(drawn.boxes) == sorted(drawn.sizes)
    for name, (_, _, width, height) in drawn.boxes.items():
        assert (width, height) == pytest.approx(drawn.sizes[name], abs=0.2)


def test_no_card_lies_on_another(drawn: Drawn) -> None:
    for (x, y, width, height), (left, top, wide, high) in combinations(drawn.boxes.values(), 2):
        beside = x + width <= left or left + wide <= x
        assert beside or y + height <= top or top + high <= y


def test_every_link_runs_from_its_own_card_to_its_own_card(drawn: Drawn) -> None:
    assert sorted(drawn.lines) == sorted(link.id for link in drawn.links)
    for link in drawn.links:
        line, tip = drawn.lines[link.id]
        assert _distance(line[0], drawn.boxes[link.tail]) < NEAR
        assert min(_distance(point, drawn.boxes[link.head]) for point in tip) < NEAR
        assert min(_apart(line[-1], point) for point in tip) < 8


def _apart(one: Point, two: Point) -> float:
    return max(abs(one[0] - two[0]), abs(one[1] - two[1]))


def test_a_card_lies_in_its_cluster_and_a_cluster_in_the_one_around_it(drawn: Drawn) -> None:
    for cluster in drawn.clusters:
        left, top, wide, high = drawn.around[cluster.id]
        inside = [drawn.boxes[name] for name in cluster.cards]
        inside += [drawn.around[other.id] for other in drawn.clusters if other.outer == cluster.id]
        for x, y, width, height in inside:
            assert left <= x < x + width <= left + wide
            assert top <= y < y + height <= top + high


def test_a_gradient_beside_a_card_has_its_room_above_the_arrow(drawn: Drawn) -> None:
    flows = drawn.picture.svg.partition('<g class="dbr-g"')[2]
    text = r'<text x="(\S+)" y="(\S+)"( text-anchor="end")? data-f="(\d+)"[^>]*>(.*?)</text>'
    places = [(float(x), float(y), len(words)) for x, y, _, _, words in re.findall(text, flows)]
    for group in drawn.groups.values():
        for link in group.horizontal:
            line, _ = drawn.lines[link.id]
            (ax, ay), (bx, by) = line[0], line[-1]
            left, right = sorted((ax, bx))
            own = [
                (x, letters)
                for x, y, letters in places
                if left <= x <= right and abs(y + 6 - min(ay, by)) < 1
            ]
            assert len(own) >= len(link.flows)
            assert all(x + 6.7 * letters <= right + 8 for x, letters in own)
            middles = [x + 6.7 * letters / 2 for x, letters in own]
            assert not link.flows or any(abs(at - (left + right) / 2) < 9 for at in middles)


def test_a_card_keeps_its_distance_from_its_leaves_and_from_its_cluster(drawn: Drawn) -> None:
    for group in drawn.groups.values():
        x, _, width, _ = drawn.boxes[group.card]
        for side, on_right in ((group.left, False), (group.right, True)):
            for chain in side.chains:
                left, _, wide, _ = drawn.boxes[chain[-1].tail]
                gap = left - x - width if on_right else x - left - wide
                assert gap >= side.gap - 0.2
        if group.cluster is not None:
            left, top, wide, high = drawn.around[group.cluster.id]
            inside = [drawn.boxes[link.tail] for link in group.links] + [drawn.boxes[group.card]]
            for x, y, width, height in inside:
                assert min(x - left, left + wide - x - width) >= CLUSTER_MARGIN - 0.2
                assert top + CLUSTER_TOP - 0.2 <= y
                assert y + height <= top + high - CLUSTER_MARGIN + 0.2


def test_every_line_is_made_of_whole_curves(drawn: Drawn) -> None:
    for line, tip in drawn.lines.values():
        assert len(line) % 3 == 1
        assert len(tip) == 3


def test_modules_that_ran_one_after_the_other_stand_below_each_other() -> None:
    for optimizer in (False, True):
        tape = convolutions(optimizer)
        one, two = Drawn(tape), Drawn(tape, large=False)
        assert one.picture.width < two.picture.width / 2
        below_each_other(one)


def below_each_other(one: Drawn) -> None:
    blocks = [
        one.around[cluster.id] for cluster in one.clusters if cluster.label.endswith("(Block)")
    ]
    assert len(blocks) == 3
    for (_, top, _, height), (_, below, _, _) in pairwise(blocks):
        assert top + height < below


def test_a_cluster_in_which_one_thing_runs_is_one_node_and_what_it_counts_stands_to_the_right() -> (
    None
):
    one = Drawn(convolutions())
    norms = {cluster.id for cluster in one.clusters if cluster.label.endswith("(BatchNorm2d)")}
    gathered = [group for group in one.groups.values() if group.cluster is not None]
    assert {group.cluster.id for group in gathered if group.cluster is not None} == norms
    for group in gathered:
        (count,) = group.beside
        assert one.boxes[count.card][0] > max(
            x + width
            for name in (group.card, *(link.tail for link in group.links))
            if name not in {count.card, *(link.tail for link in count.links)}
            for x, _, width, _ in [one.boxes[name]]
        )
    left = {cluster.id for cluster in without_clusters(one.clusters, one.groups)}
    assert left == {cluster.id for cluster in one.clusters} - norms


def test_only_large_graphs_are_laid_out_like_that() -> None:
    tape = convolutions(blocks=5).unfolded()
    cards, links, clusters = tape.view.drawn
    assert len(cards) > 60
    assert tape.svg() == render(cards, links, tape.view.label, clusters, large=True).svg
    small = loop().unfolded()
    cards, links, clusters = small.view.drawn
    assert small.svg() == render(cards, links, small.view.label, clusters).svg


def test_the_dot_of_a_large_graph_has_modules_below_each_other_too() -> None:
    tape = convolutions(optimizer=True, blocks=5).unfolded()
    cards, links, clusters = tape.view.drawn
    widths = [
        read_geometry(run_dot(dot, "json0")).width
        for dot in (tape.dot(), to_dot(cards, links, clusters))
    ]
    assert widths[0] < widths[1] / 1.5
