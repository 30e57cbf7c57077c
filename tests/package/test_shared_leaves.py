"""Cards that say how many they stand for: parameters that the same cards read, parallel arrows, statistics, steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.cards.clusters import build_clusters
from definebyrun.cards.model import Card, Link
from definebyrun.cards.picture import picture_cards
from definebyrun.drawing.svg import render
from definebyrun.player import player_html


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn, self.fc2 = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.bn(self.fc1(x))))


def trained(clip: bool = False) -> dbr.Tape:
    torch.manual_seed(0)
    net, x = Net(), torch.rand(5, 3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with dbr.record() as tape:
        net(x).square().mean().backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return tape.fold(["net.fc1", "net.fc2"]) if clip else tape


def by_title(cards: list[Card]) -> dict[str, Card]:
    return {card.title: card for card in cards}


# ---- parameters ----


def test_parameters_that_the_same_cards_read_are_one_card_with_their_counts() -> None:
    norm, x = nn.LayerNorm(4), torch.rand(2, 4)
    with dbr.record() as tape:
        norm(x).sum().backward()
    cards, links = picture_cards(tape.trace, grouped=True)
    group = by_title(cards)["norm"]
    assert (group.corner, group.values[-1].text, group.function) == (
        "parameters",
        "8 numbers",
        "weight, bias",
    )
    assert [state.text for state in group.grads][-1] == ".grad of 2 of 2"
    assert len([link for link in links if link.tail == group.id]) == 1
    assert {m.title for m in group.members} == {"norm.weight", "norm.bias"}


def test_many_parameters_say_how_many_they_are() -> None:
    net, x = nn.LSTM(2, 3), torch.rand(4, 1, 2)
    with dbr.record() as tape:
        net(x)[0].sum().backward()
    group = by_title(picture_cards(tape.trace, grouped=True)[0])["net"]
    assert (group.function, group.values[0].text) == ("4 parameters", "84 numbers")


def test_gradients_that_clipping_reads_are_one_card_under_a_name_of_its_own() -> None:
    cards, _ = picture_cards(trained(clip=True).trace, grouped=True)
    (gradients,) = (card for card in cards if card.corner == "gradients")
    assert gradients.title == "net.grad"
    assert len({card.title for card in cards}) == len(cards)


def test_what_the_user_has_named_is_never_in_a_group() -> None:
    a, b, c = torch.rand(2), torch.rand(2, requires_grad=True), torch.rand(2, requires_grad=True)
    with dbr.record() as tape:
        torch.stack([a, b, c]).sum().backward()
    assert {"a", "b", "c"} <= by_title(picture_cards(tape.trace, grouped=True)[0]).keys()


def test_a_step_of_the_player_lights_the_group_of_a_hidden_card_and_its_arrow() -> None:
    norm, x = nn.LayerNorm(4), torch.rand(2, 4)
    with dbr.record() as tape:
        norm(x).sum().backward()
    cards, links = picture_cards(tape.trace, grouped=True)
    group = by_title(cards)["norm"]
    clusters = build_clusters(tape.trace, cards, links)
    picture = render(cards, links, "", clusters)
    html = player_html(tape.trace, cards, links, picture, "")
    assert html.count(f'"{group.id}"') >= len(group.members)  # lit in both steps
    hidden = {m.id for m in group.members} - {group.id}
    assert hidden
    assert not any(f'"{name}"' in html for name in hidden)


# ---- arrows ----


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fs = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(f(x) for f in self.fs)


def test_parallel_arrows_are_one_that_says_how_many_with_the_sum_of_their_gradients() -> None:
    p, x = nn.Sequential(nn.Linear(4, 4), Dense()), torch.rand(2, 4)
    with dbr.record() as tape:
        p(x).sum().backward()
    folded = tape.fold(1)
    links = [link for link in folded.view.drawn.links if link.times > 1]
    assert [link.times for link in links] == [6]
    assert "× 6" in folded.svg()
    assert "× 6" in folded.dot()
    (flow,) = links[0].flows
    (tail,) = (card for card in folded.view.drawn.cards if card.id == links[0].tail)
    assert f"grad {flow.text}" == tail.grads[-1].text
    assert sum(len(link.flows) for link in links[0].members) == 6


def test_two_arrows_of_a_small_picture_stay_two_for_each_has_its_gradient() -> None:
    a = torch.tensor(3.0, requires_grad=True)
    with dbr.record() as tape:
        (a * a).backward()
    assert [link.flows[0].text for link in tape.view.drawn.links] == ["3", "3"]


# ---- batch norm, optimizers ----


def links_of(tape: dbr.Tape) -> list[Link]:
    return tape.view.drawn.links


def test_a_batch_norm_is_one_card_that_says_what_it_updates() -> None:
    tape = trained()
    cards = tape.view.drawn.cards
    assert not [card for card in cards if "running" in card.title or "tracked" in card.title]
    (norm,) = (card for card in cards if card.title.startswith("batch_norm"))
    assert norm.origin == "updates its running statistics"
    assert len(norm.members) == 4


def test_a_batch_norm_in_use_reads_its_statistics() -> None:
    norm, x = nn.BatchNorm1d(3).eval(), torch.rand(2, 3)
    with dbr.record() as tape:
        norm(x)
    (card,) = (c for c in tape.view.drawn.cards if c.title.startswith("batch_norm"))
    assert card.origin == "reads its running statistics"


def test_statistics_that_something_else_reads_too_keep_their_card() -> None:
    norm, x = nn.BatchNorm1d(3), torch.rand(2, 3)
    with dbr.record() as tape:
        norm(x)
        norm.running_mean.sum()
    assert "norm.running_mean" in by_title(tape.view.drawn.cards)


def test_an_optimizer_says_how_many_parameters_it_changes_without_an_arrow_from_each() -> None:
    tape = trained()
    (step,) = (card for card in tape.view.drawn.cards if card.title.startswith("SGD.step"))
    assert step.function == "changes 6 parameters"
    assert step.after in {card.id for card in tape.view.drawn.cards}
    assert not any(step.id in (link.tail, link.head) for link in links_of(tape))
    assert not step.output


def test_an_optimizer_of_two_tensors_keeps_its_arrows() -> None:
    w = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([w], 0.1)
    with dbr.record() as tape:
        (w * w).sum().backward()
        optimizer.step()
    (step,) = (card for card in tape.view.drawn.cards if "SGD.step" in card.title)
    assert [link.head for link in links_of(tape)].count(step.id) == 1


def test_a_parameter_that_the_optimizer_alone_reads_keeps_its_arrow() -> None:
    net, unused, x = Net(), nn.Parameter(torch.ones(2)), torch.rand(5, 3)
    optimizer = torch.optim.SGD([*net.parameters(), unused], 0.1, momentum=0.9)
    unused.grad = torch.ones(2)
    with dbr.record() as tape:
        net(x).sum().backward()
        optimizer.step()
    cards = by_title(tape.view.drawn.cards)
    heads = [link.head for link in links_of(tape) if link.tail == cards["unused"].id]
    assert heads == [next(c.id for t, c in cards.items() if t.startswith("SGD.step"))]


# ---- chips ----


@pytest.mark.parametrize("times", [5, 31])
def test_every_arrow_of_a_comparison_joins_two_cards_that_are_drawn(times: int) -> None:
    w = torch.ones(2, requires_grad=True)

    def run() -> dbr.Tape:
        with dbr.record() as tape:
            x = torch.ones(2)
            for _ in range(times):
                x = torch.tanh(x * w)
            x - w.detach()
        return tape

    both = dbr.compare(run(), run()).unfolded()
    cards, links, _ = both.view.drawn
    drawn = {card.id for card in cards}
    assert all({link.tail, link.head} <= drawn for link in links)
    assert both.svg()


def test_the_name_of_a_chip_never_loses_which_use_it_is() -> None:
    emb = nn.Embedding(3, 2)
    model = nn.ModuleDict({"a_very_long_name_of_a_table": emb})
    with dbr.record() as tape:
        sum(model["a_very_long_name_of_a_table"](torch.tensor([i % 3])).sum() for i in range(9))
    titles = [card.title for card in tape.unfolded().view.drawn.cards if card.kind == "parameter"]
    assert len(set(titles)) == 9
    assert all(title.endswith(f"(use {i} of 9)") for i, title in enumerate(titles, 1))
