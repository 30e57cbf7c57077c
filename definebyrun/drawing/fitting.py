"""Ways to fold a run go in, the least first; the first that a page can show comes out, laid out.

Nobody knows how wide a graph will be before Graphviz has laid it out, so one after the other is laid out, each in up to
four ways: as it is, without the frames that hold nearly everything, with cards closer together, and both. What would
take too long to lay out does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..cards.clusters import Cluster, build_clusters
from ..cards.model import LEAF_KINDS, Card, Link
from ..cards.picture import picture_cards
from ..trace import Trace
from .layout import TooLargeError
from .look import PLAIN, Look
from .placement import Placement, place

__all__ = ["MAX_CARDS", "MAX_HEIGHT", "MAX_WIDTH", "Laid", "Way", "first_that_fits"]

MAX_WIDTH, MAX_HEIGHT = 1034, 2600
"""Pixels. A page of 884 leaves 862 for a drawing: in one of 1,034 letters of 12 px are 10 px high there."""
COMFORTABLE_WIDTH, WORTH_KEEPING = 896, 0.5
"""At this width small print is 10 px high as well: folding goes on for it, but not below this part of the cards."""
MIN_CARDS, MAX_CARDS = 4, 40
"""With fewer there is nothing left to see; more are not taken in."""
FEW_CARDS, MOST_OF_A_RUN = 6, 0.75
"""In a folded picture of fewer cards, or where one stands for this part of the operations, hardly anything is left to
see: another way that leaves more is looked for."""
MAX_CARDS_SMALL = 12
"""A picture of no more cards is shown whole, with all nodes, if it fits at all."""
MAX_CARDS_OPEN = 30
"""A picture of more cards shows each operation as one card."""
MAX_CARDS_TRIED, MAX_LINKS_TRIED, MAX_BACK_LINKS_TRIED = 60, 240, 16
"""What has more is not laid out to see how wide it is: it will not fit, and Graphviz takes long for it."""
HOPELESS = 1.35
"""What is wider than the page by this factor is too wide in every way of laying it out."""
TOLERABLE = 0.5
"""What misses the page by so much is shown rather than the last ways of all."""
FRAME_SPARES = 3
"""A frame is left out, in a narrower layout, if it holds all operations but fewer than so many."""


@dataclass(frozen=True)
class Way:
    """A folded run, whether parameters that the same cards read are one card, whether operations have inner nodes.

    A `last` way is tried only if all before are far from what a page can show.
    """

    trace: Trace
    grouped: bool = False
    opened: bool = False
    last: bool = False

    def shows_what(self, other: Way) -> bool:
        """Whether it folded nothing more than another, whose trace is its own as well."""
        return self.trace is other.trace and (self.grouped, self.opened) == (
            other.grouped,
            other.opened,
        )


@dataclass(frozen=True)
class Laid:
    """What is drawn of a run, and where; no placement where nothing has been laid out."""

    trace: Trace
    cards: list[Card]
    links: list[Link]
    clusters: list[Cluster]
    placement: Placement | None = None

    @property
    def width(self) -> float:
        """Pixels; 0 where nothing has been laid out."""
        return 0.0 if self.placement is None else self.placement.geometry.width

    def badness(self, width: float = MAX_WIDTH) -> float:
        """How far it is from what a page of a `width` can show; 0 for what fits."""
        if self.placement is None:
            return float("inf")
        geometry, number_of = self.placement.geometry, len(self.cards)
        return (
            max(0.0, geometry.width / width - 1)
            + max(0.0, number_of / MAX_CARDS - 1)
            + max(0.0, geometry.height / MAX_HEIGHT - 1) / 2
            + 3 * max(0, MIN_CARDS - number_of)
        )


def first_that_fits(ways: Iterable[Way], look: Look = PLAIN, *, lay_out: bool = True) -> Laid:
    """The first way that fits, else the one that is nearest to it; without `lay_out`, by the number of cards alone.

    `look` says which way the picture runs, which width is asked for in place of a page's, and what is left out.

    Raises `layout.LayoutError` without an engine.
    """
    width, comfortable = look.width or MAX_WIDTH, look.width or COMFORTABLE_WIDTH
    best: Laid | None = None
    wide: Laid | None = None  # the first that fits with letters that are a little small
    bare: Laid | None = None  # the first that fits with hardly anything left to see
    fewest: Way | None = None
    seen: set[tuple[object, ...]] = set()
    before: Way | None = None
    for way in ways:
        if way.last and best is not None and best.badness(width) < TOLERABLE:
            break
        if before is not None and way.shows_what(before):
            continue
        before = way
        if fewest is None or _least_cards(way.trace) < _least_cards(fewest.trace):
            fewest = way
        most = MAX_CARDS_OPEN if way.opened else MAX_CARDS_TRIED
        if _least_cards(way.trace) > most:
            continue
        cards, links = picture_cards(way.trace, way.grouped, look.hidden)
        looks = _key(cards, links)
        if looks in seen or len(cards) > most:  # it folds nothing more, or not enough
            continue
        seen.add(looks)
        here = _dealt(way, cards, links)
        if not lay_out and len(here.cards) <= MAX_CARDS:
            return here
        if not lay_out or _takes_long(here.links):
            continue
        if wide is not None and len(here.cards) < WORTH_KEEPING * len(wide.cards):
            return wide
        is_small = way.opened and len(here.cards) <= MAX_CARDS_SMALL
        for laid in _placed(here, width, comfortable, look.direction == "right"):
            if best is None or laid.badness(width) < best.badness(width):
                best = laid
            if laid.badness(width):
                continue
            if not way.opened and _is_bare(laid):
                bare = bare or laid
            elif laid.width <= comfortable or is_small:
                return laid
            else:
                wide = wide or laid
    assert fewest is not None, "there is always the whole run"
    return (
        wide
        or bare
        or best
        or _dealt(fewest, *picture_cards(fewest.trace, fewest.grouped, look.hidden))
    )


def _dealt(way: Way, cards: list[Card], links: list[Link]) -> Laid:
    """What a way shows, before it is laid out."""
    cards = _lowered(way.trace, cards, links)
    return Laid(way.trace, cards, links, build_clusters(way.trace, cards, links))


def _lowered(trace: Trace, cards: list[Card], links: list[Link]) -> list[Card]:
    """The cards, of which one that reads leaves alone and leads nowhere stands below the optimizer's step before it.

    So does what follows the weights slowly; else all of it would stand side by side with the first layers.
    """
    steps = [c for c in cards if c.op is not None and trace.ops[c.op].is_optimizer_step]
    if not steps:
        return cards
    leaves = {card.id for card in cards if card.kind in LEAF_KINDS}
    free = {card.id for card in cards if not card.after} - leaves
    free -= {link.tail for link in links} | {each.head for each in links if each.tail not in leaves}
    lowered: list[Card] = []
    for card in cards:
        before = [step for step in steps if step.born < card.born] if card.id in free else []
        after = max(before, key=lambda step: step.born).id if before else card.after
        lowered.append(replace(card, after=after) if before else card)
    return lowered


def _least_cards(trace: Trace) -> int:
    """How many cards a trace has at least: one for each node that is no leaf's."""
    return sum([node.leaf is None for node in trace.nodes])


def _is_bare(laid: Laid) -> bool:
    """Whether hardly anything is left to see: few cards, or most of the run in one of them."""
    ops = laid.trace.ops  # of a repetition one is shown
    most = max((op.holds for op in ops if op.module), default=0)
    return len(laid.cards) < FEW_CARDS or most > MOST_OF_A_RUN * sum(op.holds for op in ops)


def _takes_long(links: list[Link]) -> bool:
    """Whether Graphviz would take long for so many links."""
    back = sum([link.back for link in links])
    return len(links) > MAX_LINKS_TRIED or back > MAX_BACK_LINKS_TRIED


def _key(cards: list[Card], links: list[Link]) -> tuple[object, ...]:
    """Equal for two pictures that look the same."""
    return tuple([card.title for card in cards]), tuple([(link.tail, link.head) for link in links])


def _placed(here: Laid, width: float, comfortable: float, right: bool) -> Iterator[Laid]:
    """One way to fold, laid out in one way after the other, until it is hopeless."""
    fewer = build_clusters(here.trace, here.cards, here.links, FRAME_SPARES)
    frames = [here.clusters]
    if len(fewer) < len(here.clusters):
        frames.append(fewer)
    hopeless: set[int] = set()
    for close in (False,) if right else (False, True):  # to the right, closer is not narrower
        for clusters in frames:
            if id(clusters) in hopeless:
                continue
            try:
                placement = place(
                    here.cards, here.links, clusters, right=right, close=close, straight=False
                )
            except TooLargeError:
                return
            yield replace(here, clusters=clusters, placement=placement)
            is_narrow = placement.geometry.width <= comfortable
            if clusters is here.clusters and (is_narrow or len(here.cards) > MAX_CARDS):
                return  # another look would change nothing
            if placement.geometry.width > HOPELESS * width:
                hopeless.add(id(clusters))
                if clusters is here.clusters:
                    return
