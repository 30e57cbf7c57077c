"""A trace and its picture go in, one self-contained HTML fragment comes out: the step player.

The picture is laid out once; a step only switches classes. The fragment fetches nothing, needs no kernel, may
stand any number of times on a page, and shows the end of the run when scripts are stripped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from .assets import asset, render_html
from .cards.model import LEAF_KINDS, Card, Link
from .drawing import palette
from .drawing.metrics import TEXT_SIZE
from .drawing.standalone import data_uri
from .drawing.svg import Picture
from .text.compared import (
    bytes_in_words,
    bytes_kept,
    canonical_text,
    legend,
    sentences,
    stop_sentences,
)
from .text.format import format_bytes
from .trace import Step, Trace
from .trace.steps import shown_from

__all__ = [
    "Inside",
    "bytes_after_entries",
    "instead_html",
    "page",
    "player_html",
    "shown_size",
    "step_entries",
    "still_html",
]

LEAST_LETTERS_PX = 10.0
"""A picture is shown at no less than the size at which its letters are so high; a wider one scrolls in its frame."""
MIN_SCALE = LEAST_LETTERS_PX / TEXT_SIZE


@dataclass(frozen=True)
class Inside:
    """A drawing that opens in the place of another: the inside of a folded card.

    `parent` is the number of the inside that holds the card `card`, None for the drawing of the whole run. `entries`
    are its own steps, for a player.
    """

    parent: int | None
    card: str
    title: str
    svg: str
    entries: list[dict[str, Any]]

    @cached_property
    def steps(self) -> Markup:
        """Its steps as JSON that may stand in a page."""
        return htmlsafe_json_dumps(self.entries, separators=(",", ":"), ensure_ascii=False)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in a page."""
        return len(self.svg.encode()) + (len(self.steps.encode()) if self.entries else 0)


def still_html(
    trace: Trace,
    cards: Sequence[Card],
    picture: Picture,
    label: str,
    folding: str = "",
    insides: Sequence[Inside] = (),
) -> str:
    """The picture as it is at the end, with the canonical text folded below it; scripts only zoom, pan and open."""
    parts = _parts(trace, cards, picture, label, folding, insides, "drawing.css")
    return render_html("still.html", **parts)


def instead_html(reason: str, text: str) -> str:
    """Why there is no picture, and the text in its place."""
    return render_html("instead.html", reason=reason, text=text)


def player_html(
    trace: Trace,
    cards: list[Card],
    links: list[Link],
    picture: Picture,
    label: str,
    folding: str = "",
    insides: Sequence[Inside] = (),
) -> str:
    """The player's HTML."""
    memory = [max(parts) for parts in bytes_after_entries(trace)]
    most = max(memory, default=0) or 1
    parts = _parts(trace, cards, picture, label, folding, insides, "drawing.css", "player.css")
    return render_html(
        "player.html",
        **parts,
        id=hashlib.sha256(parts["text"].encode()).hexdigest()[:10],
        js=Markup(asset("player.js")),
        code=_code(trace),
        steps=step_entries(trace, cards, links),
        memory=[f"{part / most:.2f}" if n else "0" for n, part in enumerate(memory)],
    )


def _parts(
    trace: Trace,
    cards: Sequence[Card],
    picture: Picture,
    label: str,
    folding: str,
    insides: Sequence[Inside],
    *styles: str,
) -> dict[str, Any]:
    """What a drawing in a page consists of, still or played: its style, the live picture, the image, the words."""
    style = "".join(map(asset, [*styles, "open.css"] if insides else styles))
    scripts = ["zoom.js", "open.js"] if insides else ["zoom.js"]
    drawn = "".join([picture.svg, *(inside.svg for inside in insides)])
    return {
        "label": label,
        "css": Markup(palette.css(style, drawn) + style),
        "svg": Markup(shown_size(picture)),
        "insides": insides,
        "image": data_uri(picture),
        "first": _first(cards),
        "scripts": Markup(";\n".join(map(asset, scripts))),
        "caption": _caption(trace, *stop_sentences(trace), folding, picture.note),
        "text": canonical_text(trace),
    }


def shown_size(picture: Picture) -> str:
    """The SVG of a picture, which a page shows no smaller than its letters allow."""
    least = round(picture.width * MIN_SCALE)
    return picture.svg.replace("<svg ", f'<svg style="min-width:{least}px" ', 1)


def _first(cards: Sequence[Card]) -> str:
    """The id of the card that a picture larger than its frame begins at: of the operation that ran first.

    In a graph without steps, whose nodes are found from its end, that is the one found last.
    """
    made = [card for card in cards if card.kind not in LEAF_KINDS]
    if not made:
        return cards[0].id if cards else ""
    if any(card.born for card in made):
        return min(made, key=lambda card: card.born).id
    return made[-1].id


def _caption(trace: Trace, *notes: str) -> Markup:
    """The legend of a comparison, its marks in their colours; what is said of the folding and of the arrows."""
    words = escape(" ".join(part for part in (legend(trace), *notes) if part))
    for side, name in zip("AB", trace.sides, strict=False):
        mark = Markup('<b class="dbr-only{}">only {}</b>').format(side, name)
        words = words.replace(escape(f": only {name} did"), Markup(": {} did").format(mark))
    return words


# ---- what the script reads ----


def step_entries(trace: Trace, cards: list[Card], links: list[Link]) -> list[dict[str, Any]]:
    """An entry for each position of the slider; `player.js` says what its keys mean."""
    lit = _Lit(trace, cards)
    by_edge = {
        part.edge: link.id
        for link in links
        for part in (link.members or (link,))
        if part.edge is not None
    }
    steps = [_entry(_begin(trace), memory=format_bytes(0))]
    for step, text, nbytes in zip(trace.steps, sentences(trace), bytes_kept(trace), strict=True):
        edges = list(dict.fromkeys(by_edge[e] for e in _flowing(step) if e in by_edge))
        lines = _lines_behind(trace, step)
        backward = step.phase == "backward"
        steps.append(
            _entry(
                text, lit.in_step(step), edges, lines, bytes_in_words(nbytes, trace.sides), backward
            )
        )
    memory = bytes_in_words(bytes_after_entries(trace)[-1], trace.sides) if trace.stops else ""
    for number, text in enumerate(stop_sentences(trace)):
        stop = trace.stops[number]
        lines = [f"{source}.{line}" for source, line in stop.stack]
        backward = stop.node is not None
        steps.append(_entry(text, lit.at_stop(number), (), lines, memory, backward))
    return steps


def bytes_after_entries(trace: Trace) -> list[tuple[int, ...]]:
    """Bytes that the graph keeps alive at each position of the slider; of a comparison, for each run."""
    kept = [(0,) * (len(trace.sides) or 1), *bytes_kept(trace)]
    return kept + kept[-1:] * len(trace.stops)


def _entry(
    text: str,
    cards: Sequence[str] = (),
    edges: Sequence[str] = (),
    lines: Sequence[str] = (),
    memory: str = "",
    backward: bool = False,
) -> dict[str, Any]:
    return {"t": text, "c": cards, "e": edges, "l": lines, "m": memory, "b": int(backward)}


def _begin(trace: Trace) -> str:
    number_of = len(trace.steps) + len(trace.stops)
    ahead = f"{number_of} steps are ahead" if number_of > 1 else "One step is ahead"
    return f"Start. {ahead}; nothing has run yet. Step with the buttons, or click here and use the arrow keys."


class _Lit:
    """The cards that a step lights: those of what ran, and of the nodes that it made; or what stands for these."""

    def __init__(self, trace: Trace, cards: list[Card]) -> None:
        self._trace = trace
        self._shown = {part.id: card.id for card in cards for part in (*card.members, card)}
        self._by_op: dict[int, list[str]] = {}
        self._by_node: dict[int, list[str]] = {}
        for card in cards:
            for part in (card, *card.members):
                if part.op is not None:
                    self._by_op.setdefault(part.op, []).append(card.id)
                if part.node is not None:
                    self._by_node.setdefault(part.node, []).append(card.id)
        self._made_leaf = {
            tensor.op: tensor
            for tensor in trace.tensors
            if tensor.op is not None and tensor.kind != "result"
        }

    def in_step(self, step: Step) -> list[str]:
        """The ids of the cards, each once."""
        found = self._of_nodes([step.node]) if step.op is None else self._of_op(step.op)
        found = [*found, *self._of_nodes(self._trace.nodes_made_in(step.index))]
        return list(dict.fromkeys(self._shown[card] for card in found if card in self._shown))

    def at_stop(self, number: int) -> list[str]:
        """The id of the card of a stop."""
        card = self._shown.get(f"x{number}")
        return [] if card is None else [card]

    def _of_op(self, index: int) -> list[str]:
        """Of an operation that has no card: of the nodes from which the results of `grad` hang, where others have
        made these; of the leaf that it made."""
        op, leaf = self._trace.ops[index], self._made_leaf.get(index)
        found = self._by_op.get(index, [])
        if not found and op.name == "grad":
            found = self._of_nodes([self._trace.tensors[i].node for i in op.outputs])
        if found or leaf is None:
            return found
        return [f"t{leaf.index}"] if leaf.node is None else self._of_nodes([leaf.node])

    def _of_nodes(self, nodes: Iterable[int | None]) -> list[str]:
        return [card for node in nodes if node is not None for card in self._by_node.get(node, [])]


def _flowing(step: Step) -> dict[int, None]:
    """The edges that gradients go along in a step, in either run of a comparison."""
    others = () if step.other is None else step.other.passed
    return dict.fromkeys(edge for edge, _ in (*step.passed, *others))


def _stack(step: Step) -> tuple[tuple[int, int], ...]:
    """The lines that led to a step, in either run of a comparison."""
    return step.stack if step.other is None else (*step.stack, *step.other.stack)


def _lines_behind(trace: Trace, step: Step) -> list[str]:
    """The lines that led to a step, innermost first; a backward step also lights the line of its operation."""
    lines = list(_stack(step))
    if step.node is not None:
        op = trace.nodes[step.node].op
        lines += trace.ops[op].stack if op is not None else ()
    return [f"{source}.{line}" for source, line in dict.fromkeys(lines)]


def _code(trace: Trace) -> list[dict[str, Any]]:
    """The pieces of code that have text, line by line, each with the first step that it runs in."""
    first: dict[str, int] = {}
    for step in trace.steps:
        for source, line in _stack(step):
            first.setdefault(f"{source}.{line}", shown_from(step.index))
    return [
        {
            "title": source.title,
            "lines": [
                {"id": f"{i}.{n}", "text": text, "step": first.get(f"{i}.{n}")}
                for n, text in enumerate(source.lines, source.first)
            ],
        }
        for i, source in enumerate(trace.sources)
        if source.lines
    ]


def page(title: str, body: str) -> str:
    """A fragment as a page of its own: dark where the reader's system is."""
    return render_html("page.html", title=title, body=Markup(body))
