"""A trace and its picture go in, one self-contained HTML fragment comes out: the step player.

The picture is laid out once; a step only switches classes. The fragment fetches nothing, needs no kernel, may
stand any number of times on a page, and shows the end of the run when scripts are stripped.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from html import escape
from typing import Any

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

from .assets import asset
from .cards.model import Card, Link
from .drawing.standalone import data_uri
from .drawing.svg import Picture
from .text.compared import bytes_in_words, bytes_kept, canonical_text, legend, sentences
from .text.format import format_bytes
from .trace import Step, Trace

__all__ = ["page", "player_html", "still_html"]


@cache
def _environment() -> Environment:
    """The templates, compiled once a process."""
    return Environment(autoescape=True, loader=FunctionLoader(asset), keep_trailing_newline=True)


def style(trace: Trace, picture: Picture) -> str:
    """The style of a drawing; that of clusters, folded cards and comparisons only where there are any."""
    clustered = 'class="dbr-f' in picture.svg or 'class="dbr-stack' in picture.svg
    made = asset("generations.css") if 'class="dbr-f dbr-gen' in picture.svg else ""
    marked = made + (asset("sides.css") if trace.sides else "")
    return asset("drawing.css") + (asset("frames.css") if clustered else "") + marked


def _shown(picture: Picture, label: str) -> str:
    """The picture twice, of which one is seen: live where the style is alive, else as an image.

    Viewers that strip styles, scripts and inline SVG (JupyterLab before it trusts a notebook, GitHub) keep the image.
    They leave the words of the SVG behind, which `hidden` hides, and a style that is alive shows again.
    """
    least = round(picture.width * 0.6)
    svg = picture.svg.replace("<svg ", f'<svg style="min-width:{least}px" ', 1)
    image = f'<img class="dbr-bare" alt="{escape(label)}" src="{data_uri(picture)}">'
    return f'{image}<div class="dbr-in" hidden="1">{svg}</div>'


def still_html(trace: Trace, picture: Picture, label: str, folding: str = "") -> str:
    """The picture as it is at the end, with the canonical text folded below it: HTML without scripts."""
    text = str(Markup.escape(canonical_text(trace)))
    words = _said(trace, folding)
    said = f'<p class="dbr-said">{words}</p>' if words else ""
    return (
        f'<div class="dbr"><style>{style(trace, picture)}</style>'
        f'<div class="dbr-graph" tabindex="0" role="region" aria-label="Graph">{_shown(picture, label)}</div>{said}'
        f'<details class="dbr-text"><summary>The same as text</summary><pre tabindex="0">{text}</pre></details></div>'
    )


def _said(trace: Trace, folding: str) -> Markup:
    """The legend of a comparison, its marks in their colours; the sentence under a picture that was folded unasked."""
    words = Markup.escape(" ".join(part for part in (legend(trace), folding) if part))
    for side in "AB":
        mark = Markup(f': <b class="dbr-only{side}">only {side}</b> did')
        words = words.replace(f": only {side} did", mark)
    return words


def player_html(
    trace: Trace,
    cards: list[Card],
    links: list[Link],
    picture: Picture,
    label: str,
    folding: str = "",
) -> str:
    """The player's HTML."""
    steps, memory = _steps(trace, cards, links), [max(parts) for parts in bytes_kept(trace)]
    most = max(memory, default=0) or 1
    identity = hashlib.sha256(canonical_text(trace).encode()).hexdigest()[:10]
    return (
        _environment()
        .get_template("player.html")
        .render(
            id=identity,
            label=label,
            css=Markup(style(trace, picture) + asset("player.css")),
            js=Markup(asset("player.js").replace("{{ id }}", identity)),
            picture=Markup(_shown(picture, label)),
            code=_code(trace),
            steps=steps,
            memory=["0", *(f"{part / most:.2f}" for part in memory)],
            text=canonical_text(trace),
            said=_said(trace, folding),
            data=Markup(
                json.dumps(steps, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
            ),
        )
    )


def _steps(trace: Trace, cards: list[Card], links: list[Link]) -> list[dict[str, Any]]:
    """For each position of the slider: sentence, cards and links to light, lines of code, memory."""
    by_op: dict[int | None, list[str]] = {}
    by_node: dict[int | None, list[str]] = {}
    for card in cards:
        by_node.setdefault(card.node, []).append(card.id)
        if card.op is not None:
            by_op.setdefault(card.op, []).append(card.id)
    by_edge = {link.edge: link.id for link in links if link.edge is not None}
    made = {
        tensor.op: tensor.index
        for tensor in trace.tensors
        if tensor.op is not None and tensor.kind != "result"
    }
    ids = {card.id for card in cards}
    count = f"{len(trace.steps)} steps are ahead" if len(trace.steps) > 1 else "One step is ahead"
    begin = f"Start. {count}; nothing has run yet. Step with the buttons, or click here and use the arrow keys."
    steps = [{"t": begin, "c": [], "e": [], "l": [], "m": format_bytes(0), "b": 0}]
    for step, said, each in zip(trace.steps, sentences(trace), bytes_kept(trace), strict=True):
        if step.phase == "forward":
            lit = by_op.get(step.op, []) or _hanging(trace, step, by_node)
            tensor = made.get(step.op)
            if not lit and tensor is not None:
                node = trace.tensors[tensor].node
                lit = by_node.get(node, []) if node is not None else [f"t{tensor}"]
        else:
            lit = by_node.get(step.node, [])
        lit = lit + [card for node in trace.nodes_made_in(step.index) for card in by_node[node]]
        lit = list(dict.fromkeys(lit))
        steps.append(
            {
                "t": said,
                "c": [card for card in lit if card in ids],
                "e": [by_edge[edge] for edge in _flowing(step) if edge in by_edge],
                "l": _places(trace, step),
                "m": bytes_in_words(each),
                "b": int(step.phase == "backward"),
            }
        )
    return steps


def _hanging(trace: Trace, step: Step, by_node: dict[int | None, list[str]]) -> list[str]:
    """The cards of nodes from which the results of a call of `grad` hang, where others have made these nodes."""
    op = trace.ops[step.op or 0]
    nodes = (trace.tensors[i].node for i in op.outputs if op.name == "grad")
    return [card for node in nodes if node is not None for card in by_node.get(node, [])]


def _flowing(step: Step) -> dict[int, None]:
    """The edges that gradients go along in a step, in either run of a comparison."""
    others = () if step.other is None else step.other.passed
    return dict.fromkeys(edge for edge, _ in (*step.passed, *others))


def _stack(step: Step) -> tuple[tuple[int, int], ...]:
    """The places that led to a step, in either run of a comparison."""
    return step.stack if step.other is None else (*step.stack, *step.other.stack)


def _places(trace: Trace, step: Step) -> list[str]:
    """The lines that led to a step, innermost first; a backward step also lights the line of its operation."""
    places = [f"{source}.{line}" for source, line in _stack(step)]
    if step.node is not None:
        op = trace.nodes[step.node].op
        places += [
            f"{source}.{line}" for source, line in (trace.ops[op].stack if op is not None else ())
        ]
    return list(dict.fromkeys(places))


def _code(trace: Trace) -> list[dict[str, Any]]:
    """The pieces of code that have text, line by line, each with the first step that it runs in."""
    first: dict[str, int] = {}
    for step in trace.steps:
        for source, line in _stack(step):
            first.setdefault(f"{source}.{line}", step.index + 1)
    return [
        {
            "title": source.title,
            "lines": [
                {"id": f"{i}.{n}", "number": k + 1, "text": text, "step": first.get(f"{i}.{n}")}
                for k, (n, text) in enumerate(enumerate(source.lines, source.first))
            ],
        }
        for i, source in enumerate(trace.sources)
        if source.lines
    ]


def page(title: str, body: str) -> str:
    """A fragment as a page of its own: dark where the reader's system is."""
    return _environment().get_template("page.html").render(title=title, body=Markup(body))
