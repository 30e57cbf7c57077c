"""Links go in; those that join the same two cards come out as one, with what flows along all of them."""

from __future__ import annotations

from dataclasses import replace

from ..text.format import format_value
from ..trace import Trace
from ..trace.steps import shown_from
from ..trace.value import Value, sum_values
from .gradient_rows import MAX_EDGE_CHARS
from .model import Link, State

__all__ = ["MergedFlows", "joined_links"]

MAX_WORDS_CHARS = 14
"""The most characters of the words beside an arrow that is drawn for several."""


def joined_links(links: list[Link], flows: MergedFlows, least: int, counted: bool) -> list[Link]:
    """The links, where at least `least` that join two cards in one way are one; if `counted`, it says how many."""
    alike: dict[tuple[object, ...], list[Link]] = {}
    for link in links:
        key = (link.tail, link.head, link.edge is None, link.back, link.side)
        alike.setdefault(key, []).append(link)
    found: list[Link] = []
    for group in alike.values():
        if len(group) < max(least, 2):
            found += group
            continue
        members = tuple(m for link in group for m in (link.members or (link,)))
        times = sum(link.times for link in group) if counted else 1
        born = min(link.born for link in group)
        found.append(
            replace(
                group[0],
                born=born,
                flows=flows.of(members),
                members=members,
                times=times,
                tail_word=_words([link.tail_word for link in group]),
                head_word=_words([link.head_word for link in group]),
            )
        )
    order = {link.id: position for position, link in enumerate(links)}
    return sorted(found, key=lambda link: order[link.id])


def _words(words: list[str]) -> str:
    """The words of several links; none where they are many or one of them has none."""
    said = ", ".join(dict.fromkeys(words))
    return said if all(words) and len(said) <= MAX_WORDS_CHARS else ""


class MergedFlows:
    """What flows along several links at once: the sum of gradients that arrive at one place, else their number."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._values: dict[tuple[int, int], Value] | None = None

    def of(self, links: tuple[Link, ...]) -> tuple[State, ...]:
        """By step: the gradient of the one link that has one, the sum, or the number of gradients."""
        texts: dict[int, list[tuple[Link, str]]] = {}
        for link in links:
            for flow in link.flows:
                texts.setdefault(flow.since, []).append((link, flow.text))
        return tuple(State(since, self._text(since, texts[since])) for since in sorted(texts))

    def _text(self, since: int, flowing: list[tuple[Link, str]]) -> str:
        if len(flowing) == 1:
            return flowing[0][1]
        edges = [self._trace.edges[link.edge] for link, _ in flowing if link.edge is not None]
        one_place = len({(edge.target, edge.input_nr) for edge in edges}) == 1
        values = [self._passed.get((since, edge.index)) for edge in edges]
        known = [value for value in values if value is not None]
        if one_place and not self._trace.sides and len(known) == len(flowing):
            return format_value(sum_values(known), MAX_EDGE_CHARS)
        return f"{len(flowing)} gradients"

    @property
    def _passed(self) -> dict[tuple[int, int], Value]:
        """By step as it is shown, and edge: the gradient."""
        if self._values is None:
            self._values = {
                (shown_from(step.index), edge): value
                for step in self._trace.steps
                for edge, value in step.passed
            }
        return self._values
