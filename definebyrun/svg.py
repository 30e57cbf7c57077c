"""Cards, links and Graphviz's layout go in, the finished SVG comes out: our own cards at Graphviz's places.

Every text that changes over time stands there once for each state, marked with the steps `data-f` (from) to
`data-u` (until) in which it holds; cards and links carry the step `data-b` in which they are born. As written,
the picture shows the end of the run: without scripts it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import pairwise
from math import hypot

from .cards import Card, Link, State
from .dot import AGAIN, ALONE, FILL, LINE, PAD, ROW, badge_of, to_dot
from .frames import Frame
from .layout import to_svg
from .places import Shape, bounds, numbers, places

__all__ = ["Picture", "draw"]

FLOW = 6.7
"""Points that a character takes of a gradient beside its arrow."""
ROOM = 8
"""Points around a comparison, for the marks on the frames of its outermost cards."""
_SPECIAL = re.compile("[&<>\"']")
_LONG = re.compile(r"-?\d+\.\d\d+")
_WEIGHTS = [
    ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    for t in (n / 8 for n in range(1, 9))
]
"""How much each point of a cubic curve counts, at eight places along it."""


@dataclass(frozen=True)
class Picture:
    """A finished picture and its natural size in pixels."""

    svg: str
    width: float
    height: float


def draw(cards: list[Card], links: list[Link], label: str, frames: Sequence[Frame] = ()) -> Picture:
    """Lay out and draw; `label` is the text alternative. Raises `layout.LayoutError` without an engine."""
    found = places(to_svg(to_dot(cards, links, labels=False, frames=frames)))
    width, height, groups = found.width, found.height, found.shapes
    parts = [_frame(frame, _box(groups[frame.id])) for frame in frames]
    parts += [part for link in links for part in _link(link, groups[link.id])]
    for frame in frames:
        x, y, _, _ = _box(groups[frame.id])
        roll = " dbr-rolled" if frame.rolled else " dbr-second" if frame.made else ""
        name = _text(f"dbr-k dbr-name{roll}", x + PAD, y + 15, frame.label, extra=_since(frame))
        parts.append(name)
    parts += [part for card in cards for part in _card(card, _box(groups[card.id]))]
    parts += [part for link in links for part in _flows(link, groups[link.id], width)]
    room = ROOM if any(card.side for card in cards) else 0
    width, height = width + 2 * room, height + 2 * room
    svg = (
        f'<svg class="dbr-svg" xmlns="http://www.w3.org/2000/svg" viewBox="{-room} {-room} {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(label)}" '
        f'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="12">'
        f'<g transform="translate({found.shift[0]} {found.shift[1]})">'
        + "".join(parts)
        + "</g></svg>"
    )
    return Picture(svg, width, height)


def _box(shapes: list[Shape]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a card or frame as Graphviz has placed it."""
    return bounds(shapes[0])


def _frame(frame: Frame, box: tuple[float, float, float, float]) -> str:
    x, y, width, height = box
    kind = " dbr-roll" if frame.rolled else " dbr-gen" if frame.made else ""
    dash = ' stroke-dasharray="2 4" stroke-linecap="round"' if frame.made else ""
    return (
        f'<g class="dbr-f{kind}"{_since(frame)}><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="8" fill="#f6f9fd" stroke="{LINE["made" if frame.made else "inner"]}"{dash}/></g>'
    )


def _since(frame: Frame) -> str:
    """A graph that a backward pass makes is not there before."""
    return f' data-b="{frame.born}"' if frame.made else ""


def _link(link: Link, shapes: list[Shape]) -> list[str]:
    line = _line(shapes)
    tip = next((points for tag, _, points in shapes if tag == "polygon"), "")
    kind, dash = ("edge", "") if link.edge is not None else ("data", ' stroke-dasharray="5 3"')
    colour = "#33527a" if link.edge is not None else "#77776f"
    if link.back:
        dash = ' stroke-dasharray="5 3"'
    colour, wide = ALONE.get(link.side, colour), "2.2" if link.side else "1.4"
    x, y = _middle(line) if link.side else (0, 0)
    look = f' fill="{colour}" font-size="11" font-weight="700"'
    mark = _text("dbr-m", x - 5, y + 4, link.side, True, look) if link.side else ""
    parts = [
        f'<g class="dbr-e dbr-{kind}{_only(link.side)}" data-e="{link.id}" data-b="{link.born}">'
        f'<path d="{_rounded(line)}" fill="none" stroke="{colour}" stroke-width="{wide}"{dash}/>'
        f'<polygon points="{_rounded(tip)}" fill="{colour}"/>{mark}</g>'
    ]
    room = next((shape for shape in shapes if shape[1] == "white"), None) if link.back else None
    if room is not None:
        x, y, _, height = bounds(room)
        parts.append(_text("dbr-k", x + 4, y + height - 2, AGAIN))
    return parts


def _line(shapes: list[Shape]) -> str:
    return next(line for tag, _, line in shapes if tag == "path")


def _flows(link: Link, shapes: list[Shape], right: float) -> list[str]:
    """The gradients that go along a link, beside its middle: above the cards, and on the side where there is room."""
    parts = []
    x, y = _middle(_line(shapes)) if link.flows else (0, 0)
    for flow in link.flows:
        lines = flow.text.split("\n")
        end = x + 7 + FLOW * max(map(len, lines)) > right  # else it would be cut off
        for row, line in enumerate(lines):
            when = f' data-f="{flow.since}" data-u="{flow.since + 1}"'
            place = (x - 7 if end else x + 7, y + 4 + 13 * row)
            parts.append(_text("dbr-g dbr-off", *place, line, end, when))
    return parts


def _rounded(text: str) -> str:
    return _LONG.sub(_tenth, text)


def _tenth(match: re.Match[str]) -> str:
    return _tenths(match[0])


@lru_cache(maxsize=4096)  # cards in a row or column share a coordinate
def _tenths(number: str) -> str:
    return f"{float(number):.1f}".removesuffix(".0")


def _middle(line: str) -> tuple[float, float]:
    """The middle of a chain of cubic curves, by length, near enough to put a word beside it."""
    found = numbers(line)
    points = list(zip(found[::2], found[1::2], strict=True))
    track = [points[0]]
    for i in range(0, len(points) - 1, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[i : i + 4]
        track += [
            (a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy)
            for a, b, c, d in _WEIGHTS
        ]
    steps = [hypot(bx - ax, by - ay) for (ax, ay), (bx, by) in pairwise(track)]
    way, half = 0.0, sum(steps) / 2
    for place, step in zip(track, steps, strict=False):
        if way + step >= half:
            return place
        way += step
    return track[-1]


def _card(card: Card, box: tuple[float, float, float, float]) -> list[str]:
    x, y, width, height = box
    left, right, line = x + PAD, x + width - PAD, y + PAD / 2
    colour, fill = LINE.get(card.kind, "#77776f"), FILL.get(card.kind, "#ffffff")
    radius = 14 if card.kind in ("leaf", "parameter") else 3
    names = f"dbr-c dbr-{card.kind}" + (" dbr-out" if card.output else "") + _only(card.side)
    parts = [
        f'<g class="{names}" data-c="{card.id}" data-b="{card.born}">{_stack(card, box, colour)}'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{colour}"{_dash(card)}/>'
    ]
    if card.output:
        parts.append(
            f'<rect x="{x + 3:.1f}" y="{y + 3:.1f}" width="{width - 6:.1f}" height="{height - 6:.1f}" rx="1" '
            f'class="dbr-ring" fill="none" stroke="{colour}"/>'
        )
    base = line + 12
    parts.append(_text("dbr-t", left, base, card.title))
    if badge_of(card):
        parts.append(_text("dbr-k", right, base, badge_of(card), end=True))
    parts += _states("dbr-v", left, base + ROW, card.values)
    base += ROW * (2 if card.values else 1)
    if card.more_values:
        parts += _states("dbr-v", left, base, card.more_values)
        base += ROW
    if card.function:
        rule = base - 12
        parts.append(
            f'<path class="dbr-rule" d="M{x:.1f} {rule:.1f}h{width:.1f}" stroke="{colour}"/>'
        )
        parts.append(_text("dbr-n", left, base, card.function))
        parts += _states("dbr-k", right, base, card.keeps, end=True)
        base += ROW
    if card.origin:
        parts.append(_text("dbr-n", left, base, card.origin))
        base += ROW
    parts += _states("dbr-d", left, base, card.grads)
    parts += _states("dbr-d", left, base + ROW, card.more_grads)
    if card.side:
        parts += _alone(card.side, box, radius)
    return [*parts, "</g>"]


def _stack(card: Card, box: tuple[float, float, float, float], colour: str) -> str:
    """Two edges of further cards behind a folded one."""
    if not card.folded:
        return ""
    x, y, width, height = box
    line = "".join(f"M{x + d:.1f} {y + height + d:.1f}h{width:.1f}v{-height:.1f}" for d in (3, 6))
    return f'<path class="dbr-stack" d="{line}" fill="none" stroke="{colour}"/>'


def _only(side: str) -> str:
    return f" dbr-only{side}" if side else ""


def _alone(side: str, box: tuple[float, float, float, float], radius: float) -> list[str]:
    """What only one run did: a bar along the frame, left for A and right for B, and a tab that says so."""
    x, y, width, height = box
    at, inward = (x, 1) if side == "A" else (x + width, -1)
    sweep, wide = int(side == "B"), 44
    turn = f"a{radius} {radius} 0 0 {sweep} {-inward * radius} {radius}"
    back = f"a{radius} {radius} 0 0 {sweep} {inward * radius} {radius}"
    tab = x + 12 if side == "A" else x + width - 12 - wide
    return [
        f'<path class="dbr-bar-only" d="M{at + inward * radius:.1f} {y:.1f}{turn}v{height - 2 * radius:.1f}{back}" '
        f'fill="none" stroke="{ALONE[side]}" stroke-width="5"/>'
        f'<rect class="dbr-tab" x="{tab:.1f}" y="{y - 10:.1f}" width="{wide}" height="14" rx="7" '
        f'fill="{ALONE[side]}"/>'
        f'<text class="dbr-tab-t" x="{tab + wide / 2:.1f}" y="{y + 0.5:.1f}" text-anchor="middle" '
        f'font-size="10" fill="#fff">only {side}</text>'
    ]


def _dash(card: Card) -> str:
    return ' stroke-dasharray="4 3"' if card.kind in ("constant", "plain") else ""


def _text(kind: str, x: float, y: float, words: str, end: bool = False, extra: str = "") -> str:
    anchor = ' text-anchor="end"' if end else ""
    words = escape(words) if _SPECIAL.search(words) else words
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{anchor}{extra}>{words}</text>'


def _states(kind: str, x: float, y: float, states: list[State], end: bool = False) -> list[str]:
    """One text for each state; all but the last are off."""
    texts = []
    for place, state in enumerate(states):
        last = place + 1 == len(states)
        until = "" if last else f' data-u="{states[place + 1].since}"'
        extra = f' data-f="{state.since}"{until}' if len(states) > 1 or state.since else ""
        names = (
            kind
            + (" dbr-not" if state.text.endswith("not yet") else "")
            + ("" if last else " dbr-off")
        )
        texts.append(_text(names, x, y, state.text, end, extra))
    return texts
