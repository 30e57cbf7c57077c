"""What is drawn: cards and the links between them, with the words on each card.

One card stands for each backward node (a leaf's card is its `AccumulateGrad`), one for each tensor or operation
that has no node. A link is an edge of PyTorch's graph, or data that flows where no gradient will. Every row of a
card is a list of states: a text and the step from which it holds, so that a player only has to choose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..trace.frozen import frozen

__all__ = [
    "AGAIN",
    "GRADIENT",
    "LEAF_KINDS",
    "MAX_ROW_CHARS",
    "MAX_SMALL_PRINT_CHARS",
    "MAX_USES_WITHOUT_CHIPS",
    "OUTPUT_KINDS",
    "STOP",
    "Card",
    "Link",
    "State",
    "back_label",
    "times_label",
]

MAX_ROW_CHARS = 24
"""The most characters a row of a card holds."""
MAX_SMALL_PRINT_CHARS = 30
"""The most that say where a node comes from: small print."""
AGAIN = "next time"
"""The word on an arrow that leads from one repetition to the next."""
GRADIENT = "grad"
"""The word on an arrow for a tensor that is a gradient of the card where it ends."""
LEAF_KINDS = ("leaf", "parameter", "constant")
"""Kinds of cards that stand for leaves; a card names them in its upper right corner."""
OUTPUT_KINDS = ("op", "plain", "older", "made")
"""Kinds of cards that are an output when nothing else uses them."""
STOP = "stop"
"""The kind of the card at which a run stopped."""
MAX_USES_WITHOUT_CHIPS = 8
"""A leaf that more operations use than this gets one chip for each use: shared nodes make a layout explode."""


@frozen
class State:
    """A text, and the step (0: before the first) from which a card shows it."""

    since: int
    text: str


@dataclass(slots=True)
class Card:
    """One card. `born` is the step that makes it (0: it was there), `node` the backward node it stands for.

    `kind` is `leaf`, `parameter`, `constant`, `op` (has a node), `inner` (a further node of an operation),
    `plain` (an operation without a node), `older` (a node from before the recording), `made` (a node that a backward
    pass made: `origin` says while which node ran) or `stop` (the call at which the run stopped: `notes` say why).
    `arguments` say which layer an operation is, and what its call says besides tensors. `generation` and `run` are
    those of `trace.Node`. `runs` are the backward steps in which its node ran; `output` marks a result that nothing
    else uses. `badge` is the word in the upper right corner; `folded` says that the card is a whole module. In a
    comparison `side` is the run that the card belongs to alone, `side_name` what that is called; the `more_` rows are
    B's, where both runs' do not fit in one row. `members` are the cards that it stands for besides itself, or as their
    group; `after` is a card that it is drawn below, without an arrow.
    """

    id: str
    kind: str
    title: str
    born: int = 0
    node: int | None = None
    op: int | None = None
    arguments: str = ""
    values: list[State] = field(default_factory=list)
    function: str = ""
    keeps: list[State] = field(default_factory=list)
    grads: list[State] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    output: bool = False
    badge: str = ""
    folded: bool = False
    origin: str = ""
    notes: list[str] = field(default_factory=list)
    run: int | None = None
    generation: int = 1
    side: str = ""
    side_name: str = ""
    more_values: list[State] = field(default_factory=list)
    more_grads: list[State] = field(default_factory=list)
    members: list[Card] = field(default_factory=list)
    after: str = ""

    @property
    def corner(self) -> str:
        """The word in the upper right corner: the kind of a leaf, the class of a folded module, a generation."""
        return self.badge or (self.kind if self.kind in LEAF_KINDS else "")

    def rows(self) -> list[list[State]]:
        """The rows below the title, each with its states over time."""
        arguments = [State(0, self.arguments)] if self.arguments else []
        node = [State(0, self.function)] if self.function else []
        origin = [State(0, self.origin)] if self.origin else []
        notes = [[State(0, note)] for note in self.notes]
        rows = [
            arguments,
            self.values,
            self.more_values,
            node,
            origin,
            self.grads,
            self.more_grads,
            *notes,
        ]
        return [row for row in rows if row]


@frozen
class Link:
    """An arrow between two cards in the direction of the data. `edge` is None where no gradient flows back.

    `flows` lists the backward steps in which a gradient went along it, with that gradient as text. `back` marks what
    goes from one repetition of a block to the next, or a gradient that code in a backward has computed, to where it
    goes: an arrow against the order of the cards. `members` are the links that it is drawn for, if there are several;
    `times` is how many that is, where it should be said. `tail_word` says which result of a card it is, `head_word`
    which argument.
    """

    id: str
    tail: str
    head: str
    born: int
    edge: int | None = None
    flows: tuple[State, ...] = ()
    back: bool = False
    side: str = ""
    side_name: str = ""
    members: tuple[Link, ...] = ()
    times: int = 1
    tail_word: str = ""
    head_word: str = ""


def back_label(link: Link) -> str:
    """What stands on an arrow that leads back: to the next repetition, or a gradient to where it goes."""
    return link.head_word or AGAIN


def times_label(link: Link) -> str:
    """What stands on an arrow that is drawn for several: `× 3`; empty for one."""
    return f"× {link.times:,}" if link.times > 1 else ""
