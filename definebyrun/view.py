"""A trace goes in, what is shown of it comes out: the folded trace, its cards, its picture, and the words around it.

Each part is worked out when somebody asks for it, once. A trace is folded here as far as it takes to be legible on a
page, unless the user has said how to show it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from .cards.build import count_cards
from .cards.clusters import Cluster, build_clusters
from .cards.model import LEAF_KINDS, Card, Link
from .cards.picture import not_drawn, picture_cards
from .comparison.join import join
from .drawing.fitting import Laid, Way, first_that_fits
from .drawing.layout import LayoutError
from .drawing.look import PLAIN, Look
from .drawing.svg import Picture, render
from .fold.recipes import Recipe, fold_by, outcome, recipes
from .recorder.gc_pause import no_collections
from .text.compared import canonical_text, summary
from .text.format import enumerated
from .text.totals import totals
from .trace import Op, Trace
from .trace.frozen import altered
from .trace.records import FUNCTION

__all__ = ["MAX_CARDS_LAID_OUT", "MAX_CARDS_SHOWN", "Drawn", "View", "show"]

MAX_CARDS_JOINED = 400
"""A comparison of runs with more cards is not made to see whether a page can show it."""
MAX_CARDS_SHOWN = 60
"""A whole graph of more cards than this, shown because it was asked for, is laid out as a large one."""
MAX_CARDS_LAID_OUT = 600
"""More cards than this are laid out only for `unfolded`: else the text is shown, and a sentence says so."""


def _way(trace: Trace, recipe: Recipe) -> Way:
    return Way(trace, recipe.grouped, opened=not recipe.operations and trace.root is None)


def _is_new(recipe: Recipe, traces: list[Trace], tried: set[Hashable]) -> bool:
    """Whether a recipe shows these traces otherwise than those that were tried; from now on it is one of them."""
    key = recipe.grouped, recipe.operations, *(outcome(trace, recipe) for trace in traces)
    is_new = key not in tried
    tried.add(key)
    return is_new


class Drawn(NamedTuple):
    """What is drawn: cards, the links between them, the clusters around them."""

    cards: list[Card]
    links: list[Link]
    clusters: list[Cluster]


class View:
    """What is shown of a trace.

    `as_given` says that the user has chosen how to show it, so that nothing is folded; `unlimited` that it is laid out
    whatever its size. `runs` are the two traces of a comparison, with their module calls; `look` are the wishes for the
    picture. `whole` is the run that a folded one was folded from.
    """

    def __init__(
        self,
        given: Trace,
        *,
        as_given: bool = False,
        unlimited: bool = False,
        runs: tuple[Trace, Trace] | None = None,
        look: Look = PLAIN,
        whole: Trace | None = None,
    ) -> None:
        self._given, self._as_given, self._unlimited, self._runs = given, as_given, unlimited, runs
        self.look, self.whole = look, whole or given
        self._failure: LayoutError | None = None

    @property
    def trace(self) -> Trace:
        """What is drawn: the trace that was given, folded as far as a page asks for, if nobody has said how."""
        return self._laid.trace

    @cached_property
    @no_collections()
    def _laid(self) -> Laid:
        """The way to fold it that is shown, laid out; by the number of cards where no layout engine is there."""
        if self._unlimited:
            cards, links = picture_cards(self._given, hidden=self.look.hidden)
            framed = len(cards) <= MAX_CARDS_SHOWN
            clusters = build_clusters(self._given, cards, links, frame_operations=framed)
            return Laid(self._given, cards, links, clusters)
        try:
            return first_that_fits(self._ways(), self.look)
        except LayoutError as error:
            self._failure = error
            return first_that_fits(self._ways(), self.look, lay_out=False)

    def _ways(self) -> Iterator[Way]:
        """The ways to fold the run, the least first; if the user has chosen one, that, with and without groups."""
        given = self._given
        if self._as_given or (given.sides and self._runs is None):
            yield Way(given, opened=self._runs is not None or bool(given.sides))
            yield Way(given, grouped=True)
            return
        if self._runs is not None:
            yield from self._ways_of_both(*self._runs)
            return
        tried = set[Hashable]()
        for recipe in recipes([given]):
            if _is_new(recipe, [given], tried):
                yield _way(fold_by(given, recipe), recipe)

    def _ways_of_both(self, a: Trace, b: Trace) -> Iterator[Way]:
        """The ways to fold a comparison: both runs alike, what one of them repeats more often not before the last.

        The last repetition of one run need not be the last of the other.
        """
        unequal: list[Way] = []
        tried = set[Hashable]()
        for recipe in recipes([a, b]):
            if recipe.middle:  # where the runs may differ
                continue
            for repeats in dict.fromkeys((False, recipe.repeats)):
                way = replace(recipe, repeats=repeats)
                if not _is_new(way, [a, b], tried):
                    continue
                one, other = fold_by(a, way), fold_by(b, way)
                if max(map(count_cards, (one, other))) > MAX_CARDS_JOINED:
                    continue
                same = one is a and other is b
                joined = self._given if same else join(one, other, self._given.sides)
                rolled_alike = all(
                    block == altered(block, side="", other=None) for block in joined.blocks
                )
                if rolled_alike:
                    yield _way(joined, way)
                else:
                    unequal.append(replace(_way(joined, way), last=True))
        yield from unequal
        if not unequal:
            yield Way(self._given)

    @property
    def drawn(self) -> Drawn:
        """The cards, links and clusters of the picture."""
        return Drawn(self._laid.cards, self._laid.links, self._laid.clusters)

    @property
    def is_large(self) -> bool:
        """Whether leaves are laid out beside what uses them, and modules below each other."""
        return self._laid.placement is None and len(self.drawn.cards) > MAX_CARDS_SHOWN

    @cached_property
    @no_collections()
    def picture(self) -> Picture:
        """The picture; `LayoutError` where it would be too large, or where no layout engine is there."""
        cards, links, clusters = self.drawn
        if self._failure is not None:
            raise self._failure
        if not self._unlimited and len(cards) > MAX_CARDS_LAID_OUT:
            raise LayoutError(
                f"This graph has {len(cards)} cards; above {MAX_CARDS_LAID_OUT} only the text is shown."
            )
        return render(
            cards,
            links,
            self.label,
            clusters,
            self.is_large,
            unlimited=self._unlimited,
            right=self.look.direction == "right",
            placement=self._laid.placement,
        )

    @property
    def text(self) -> str:
        """The text of what is drawn; under a picture that was folded unasked, the sentence that says so."""
        return "\n".join(filter(None, (canonical_text(self.trace), self.note)))

    @property
    def note(self) -> str:
        """What is said below a picture that was folded unasked, or in which something is hidden; else empty."""
        return " ".join(filter(None, (self._folding, not_drawn(self.trace, self.look.hidden))))

    @property
    def caption(self) -> str:
        """What is said below a picture in a page: its note, and how much there is in the whole run."""
        return " ".join(filter(None, (self.note, totals(self.whole))))

    @property
    def _folding(self) -> str:
        """A sentence for a picture that was folded unasked; empty for any other."""
        shown = self.trace
        if self._unlimited or self._as_given or (shown is self._given and not self._has_groups):
            return ""
        kinds = {op.module for op in shown.ops if self._is_call(op)}
        how = [
            "each operation is one card" if self._has_joined_nodes else "",
            "repetitions are rolled up" if shown.blocks else "",
            "modules are folded" if kinds - {FUNCTION, ""} else "",
            "functions of libraries are one card each" if FUNCTION in kinds else "",
            "several operations are one card" if self._has_merged_ops else "",
            "parameters that the same cards read are one" if self._has_groups else "",
        ]
        choose = "fold the two tapes" if shown.sides else ".fold(…)"
        return (
            f"{len(self.drawn.cards)} cards stand for {count_cards(self._given)}: {enumerated([*filter(None, how)])}. "
            f"Add .unfolded() to the tape to see all of them, {choose} to choose."
        )

    @property
    def _has_joined_nodes(self) -> bool:
        """Whether operations that made several nodes are one card."""
        ops = self.trace.ops
        return any(
            n.holds > 1 and n.op is not None and not ops[n.op].module for n in self.trace.nodes
        )

    def _is_call(self, op: Op) -> bool:
        """Whether an operation is a folded call, of a module or a library's function."""
        return op.call is not None and self.trace.calls[op.call].kind == op.module

    @property
    def _has_merged_ops(self) -> bool:
        """Whether operations that are no call became one."""
        return any(op.module and not self._is_call(op) for op in self.trace.ops)

    @property
    def _has_groups(self) -> bool:
        """Whether a card stands for leaves that the same cards read."""
        return any(card.members and card.kind in LEAF_KINDS for card in self.drawn.cards)

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
        words += "".join(f"; stopped by {stop.error.partition(':')[0]}" for stop in trace.stops[:1])
        return f"{words}; {summary(trace)}" if trace.sides else words


def _count(number_of: int, word: str) -> str:
    return f"{number_of} {word}" + "s" * (number_of != 1)


def show(thing: object) -> None:
    """Display a thing in a notebook; print it where there is none."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        print(thing)
        return
    if get_ipython() is None:
        print(thing)
    else:
        display(thing)  # type: ignore[no-untyped-call]  # IPython's is without types
