"""A trace goes in, what is shown of it comes out: the folded trace, its cards, its picture, and the words around it.

Each part is worked out when somebody asks for it, once. A trace with more than `MAX_CARDS_SHOWN` cards is folded here,
unless the user has said how to show it.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import NamedTuple

from .cards.build import count_cards
from .cards.clusters import Cluster, build_clusters
from .cards.model import Card, Link
from .cards.picture import picture_cards
from .comparison.join import join
from .drawing.layout import LayoutError
from .drawing.svg import Picture, render
from .fold.folding import fit, fit_both
from .recorder.gc_pause import no_collections
from .text.compared import canonical_text, summary
from .trace import Trace

__all__ = ["MAX_CARDS_LAID_OUT", "MAX_CARDS_SHOWN", "Drawn", "View"]

MAX_CARDS_SHOWN = 60
"""A graph of more cards than this is folded when it is shown, unless it is asked for as it is."""
MAX_CARDS_LAID_OUT = 600
"""More cards than this are laid out only for `unfolded`: else the text is shown, and a sentence says so."""


class Drawn(NamedTuple):
    """What is drawn: cards, the links between them, the clusters around them."""

    cards: list[Card]
    links: list[Link]
    clusters: list[Cluster]


class View:
    """What is shown of a trace.

    `as_given` says that the user has chosen how to show it, so that nothing is folded; `unlimited` that it is laid out
    whatever its size. `runs` are the two traces of a comparison, with their module calls.
    """

    def __init__(
        self,
        given: Trace,
        *,
        as_given: bool = False,
        unlimited: bool = False,
        runs: tuple[Trace, Trace] | None = None,
    ) -> None:
        self._given, self._as_given, self._unlimited, self._runs = given, as_given, unlimited, runs

    @cached_property
    @no_collections()
    def trace(self) -> Trace:
        """What is drawn: the trace that was given, folded when it is large and nobody has said how to show it."""
        given = self._given
        if self._as_given or (given.sides and self._runs is None):
            return given
        if self._runs is None:
            return fit(given, count_cards, MAX_CARDS_SHOWN)
        a, b = given.sides
        joined = partial(join, names=(a, b))
        return fit_both(given, *self._runs, joined, count_cards, MAX_CARDS_SHOWN)

    @cached_property
    def drawn(self) -> Drawn:
        """The cards, links and clusters of the picture."""
        cards, links = picture_cards(self.trace)
        return Drawn(cards, links, build_clusters(self.trace, cards, links))

    @property
    def is_large(self) -> bool:
        """Whether leaves are laid out beside what uses them, and modules below each other."""
        return len(self.drawn.cards) > MAX_CARDS_SHOWN

    @cached_property
    @no_collections()
    def picture(self) -> Picture:
        """The picture; `LayoutError` where it would be too large, or where no layout engine is there."""
        number_of = 0 if self._unlimited else count_cards(self.trace)
        if number_of > MAX_CARDS_LAID_OUT:
            raise LayoutError(
                f"This graph has {number_of} cards; above {MAX_CARDS_LAID_OUT} only the text is shown."
            )
        cards, links, clusters = self.drawn
        return render(cards, links, self.label, clusters, self.is_large)

    @property
    def text(self) -> str:
        """The text of what is drawn; under a picture that was folded unasked, the sentence that says so."""
        return "\n".join(filter(None, (canonical_text(self.trace), self.note)))

    @property
    def note(self) -> str:
        """A sentence for a picture that was folded unasked; empty for any other."""
        shown = self.trace
        if shown is self._given:
            return ""
        how = [
            "repetitions are rolled up" if shown.blocks else "",
            "modules are folded" if any(op.module for op in shown.ops) else "",
        ]
        choose = "fold the two tapes" if shown.sides else ".fold(…)"
        return (
            f"{count_cards(shown)} cards stand for {count_cards(self._given)}: {' and '.join(filter(None, how))}. "
            f"Add .unfolded() to the tape to see all of them, {choose} to choose."
        )

    @property
    def label(self) -> str:
        """What the picture shows, in a few words: its text alternative."""
        trace = self.trace
        leaves = [leaf.name or leaf.kind for leaf in trace.leaves]
        named = f"leaves {', '.join(leaves[:6])}{' and more' if len(leaves) > 6 else ''}"
        parts = [
            _count(len(trace.ops), "operation") if trace.ops else "",
            _count(len(trace.nodes), "backward node"),
            named if leaves else "",
        ]
        words = "graph with " + ", ".join(filter(None, parts))
        return f"{words}; {summary(trace)}" if trace.sides else words


def _count(number_of: int, word: str) -> str:
    return f"{number_of} {word}" + "s" * (number_of != 1)
