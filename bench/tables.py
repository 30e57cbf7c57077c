"""What the bench has found goes in, its tables and plots come out: for the terminal, and as HTML for the book's page.

No torch here: the book is built without it. A table is made once and written in either form, so both say the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["OURS", "PLACE", "ROOT", "SHOWN", "Table", "load", "report", "span", "words"]

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "bench" / "numbers.json"
OURS = "definebyrun"
SHORT, LONG = "chain of 2,000 operations", "chain of 20,000 operations"
PARTS = ("build", "write", "layout")
Facts = dict[str, Any]


def load(place: Path = PLACE) -> Facts:
    """The saved result of one run of the bench."""
    return json.loads(place.read_text(encoding="utf-8"))


# ---- words ----


def span(ms: float | None) -> str:
    """A time as people read it: three digits at most, and its unit."""
    if ms is None:
        return "–"
    if ms >= 995:
        return f"{ms / 1000:.2f} s" if ms < 9995 else f"{ms / 1000:.1f} s"
    return f"{ms:.0f} ms" if ms >= 9.95 else f"{ms:.1f} ms" if ms >= 0.995 else f"{ms:.2f} ms"


def weight(count: int | None) -> str:
    return "–" if count is None else f"{count / 1000:,.0f} kB" if count > 9999 else f"{count:,} B"


def times(ratio: float) -> str:
    return (
        f"{ratio:,.0f}×" if ratio >= 9.95 else f"{ratio:.1f}×" if ratio > 1.995 else f"{ratio:.2f}×"
    )


def words(row: Facts) -> str:
    """What a row says in one cell: the time to the picture, or why there is none."""
    if "total" not in row:
        return row["state"]
    return span(row["total"]) + ("" if row["nodes"] is not None else ", as text")


def machine(data: Facts) -> str:
    """What the numbers depend on, in words."""
    about = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    text = any("total" in row and row["nodes"] is None for row in data["pictures"])
    note = " Where a cell says “as text”, the graph was too large for a picture." if text else ""
    return (
        f"Measured in one run on a machine of {about['cores']} cores ({about['system']}), one thread, "
        f"with Python {about['python']}, Graphviz {about['graphviz']}, {versions}. "
        f"Every figure had processes of its own, and {about['limit']} s at most for each picture.{note}"
    )


# ---- tables ----


@dataclass(frozen=True)
class Table:
    """A caption, column heads and rows of words; the first cell of a row names it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in (self.head, *self.rows)
        ]
        return "\n".join([self.caption, *(f"  {line}" for line in lines)])

    def html(self) -> str:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        body = "".join(
            f'<tr><th scope="row">{escape(row[0])}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows
        )
        return (
            f'<div class="pst-scrollable-table-container measured" tabindex="0" role="region" '
            f'aria-label="{escape(self.caption)}">'
            f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )


def models(data: Facts) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in data["pictures"]))


def rows_of(data: Facts, model: str) -> list[Facts]:
    return [row for row in data["pictures"] if row["model"] == model]


def plain_of(data: Facts, model: str) -> float | None:
    """The plain run, forward and backward, as it was measured beside the recorded one."""
    return next((row.get("plain") for row in data["recording"] if row["model"] == model), None)


def added(row: Facts, counted: Sequence[str] = PARTS) -> float | None:
    """What these parts of a pass take in all, the plain run taken off; None where the tool did not finish."""
    return sum(row["parts"][part] for part in counted) if "parts" in row else None


def ratios(
    data: Facts, ours: Sequence[str], others: Sequence[str], counted: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """A row for each model: what our tools add, divided by what the fastest of the others adds; then these times."""
    for model in models(data):
        by_tool = {row["tool"]: row for row in rows_of(data, model)}
        there = [(ms, tool) for tool in others if (ms := added(by_tool[tool], counted)) is not None]
        fastest, name = min(there, default=(None, ""))
        divided, spans = [], []
        for row in map(by_tool.__getitem__, ours):
            ms, is_picture = added(row, counted), row.get("nodes") is not None
            # a text is not divided by a picture
            divided.append(times(ms / fastest) if is_picture and ms and fastest else "–")
            spans.append(span(ms) if is_picture else words(row))
        yield (model, *divided, f"{name}, {span(fastest)}" if there else "none finished", *spans)


def recorded(data: Facts) -> Table:
    """Recorded runs, beside the fastest other tool that shows the backward graph."""
    others = [
        tool for tool, about in data["tools"].items() if about["backward"] and OURS not in tool
    ]
    return Table(
        "What a recorded and drawn run adds to the plain one, beside the fastest other tool for the backward graph",
        ("Model", "As shown", "All of it", "Fastest other", "definebyrun", "all of it"),
        tuple(ratios(data, (OURS, f"{OURS}, all of it"), others, PARTS)),
    )


def drawn(data: Facts) -> Table:
    """`dbr.draw` of a tensor, beside torchviz."""
    ours = (f"{OURS} draw", f"{OURS} draw, all of it")
    return Table(
        "The graph of a tensor, from dbr.draw and from torchviz: write and layout",
        ("Model", "As shown", "All of it", "make_dot", "dbr.draw", "all of it"),
        tuple(ratios(data, ours, ("torchviz",), PARTS[1:])),
    )


def totals(data: Facts) -> Table:
    """Every tool on every model: the whole time."""
    tools = list(data["tools"])
    rows = []
    for model in models(data):
        by_tool = {row["tool"]: words(row) for row in rows_of(data, model)}
        rows.append((model, *(by_tool[tool] for tool in tools)))
    return Table("Time from nothing to the finished SVG", ("Model", *tools), tuple(rows))


def parts(data: Facts, model: str) -> Table:
    """One model: where the time of each tool goes, and what comes out."""
    rows, plain = [], plain_of(data, model)
    for row in rows_of(data, model):
        found = row.get("parts", {})
        rows.append(
            (
                row["tool"],
                words(row),
                times(row["total"] / plain) if "total" in row and plain else "–",
                *(span(found.get(part)) for part in PARTS),
                f"{row['nodes']:,}" if row.get("nodes") is not None else "–",
                weight(row.get("dot_bytes")),
                weight(row.get("svg_bytes")),
                str(row.get("passes", "–")),
            )
        )
    head = ("Drawing tool", "Total", "× plain run", "Build", "Write", "Layout")
    return Table(model, (*head, "Nodes", "DOT", "SVG", "Passes"), tuple(rows))


def each(row: Facts) -> float:
    """The milliseconds that recording adds to one operation; what an empty recording takes is taken off."""
    return (row["added"] - row["nothing"]) / row["operations"]


def recording(data: Facts) -> Table:
    """What recording adds to a run, in all and for each operation; that divided by what the floor adds."""
    rows = []
    for row in data["recording"]:
        if "recorded" not in row:
            rows.append((row["model"], *["–"] * 6, row["state"]))
            continue
        rows.append(
            (
                row["model"],
                f"{row['operations']:,}",
                span(row["plain"]),
                span(row["recorded"]),
                times(row["recorded"] / row["plain"]),
                f"{1000 * each(row):.0f} µs",
                f"{1000 * row['floor_added'] / row['operations']:.0f} µs",
                times(each(row) * row["operations"] / row["floor_added"]),
            )
        )
    head = ("Model", "Operations", "Plain run", "Recorded", "Ratio")
    more = ("Added for each operation", "by the floor", "× the floor")
    return Table("What recording adds, without any drawing", (*head, *more), tuple(rows))


def empty(data: Facts) -> str:
    """One sentence: what a recording takes in which nothing runs."""
    found = [row["nothing"] for row in data["recording"] if "nothing" in row]
    took = f"takes {span(median(found))}" if found else "was not measured"
    return f"A recording in which nothing runs {took}; that is not counted to the operations."


def growth(data: Facts) -> str:
    """One sentence: whether an operation costs more in a longer run."""
    costs = {row["model"]: each(row) for row in data["recording"] if "recorded" in row}
    if not {SHORT, LONG} <= costs.keys():
        return "The growth was not measured."
    ratio = times(costs[LONG] / costs[SHORT])
    return f"An operation in the {LONG} adds {ratio} what one in the {SHORT} adds."


def report(data: Facts) -> str:
    """All of it for a terminal."""
    tables = [parts(data, model) for model in models(data)]
    tables += [recorded(data), drawn(data), recording(data)]
    words = (empty(data), growth(data), machine(data))
    return "\n\n".join(["", *(table.text() for table in tables), *words])


# ---- plots ----

LEAST, MOST = 0.1, 60_000.0
LEFT, WIDTH, LINE = 178.0, 136.0, 19.0
TICKS = {1.0: "1 ms", 100.0: "0.1 s", 10000.0: "10 s"}


def _x(ms: float) -> float:
    share = math.log(max(ms, LEAST) / LEAST) / math.log(MOST / LEAST)
    return round(LEFT + WIDTH * share, 1)


def plot(data: Facts, model: str) -> str:
    """One model as an SVG: a line for each drawing tool, a mark at its whole time on a logarithmic scale."""
    lines = [("plain run", plain_of(data, model), span(plain_of(data, model)))]
    lines += [(row["tool"], row.get("total"), words(row)) for row in rows_of(data, model)]
    height = 10 + LINE * len(lines)
    said = "; ".join(f"{name} {value}" for name, _, value in lines)
    drawn = [
        f'<path d="M{_x(ms)} 4V{height}" style="stroke:var(--pst-color-border)"/>'
        f'<text x="{_x(ms)}" y="{height + 13}" text-anchor="middle" '
        f'style="fill:var(--pst-color-text-muted)" font-size="10">{name}</text>'
        for ms, name in TICKS.items()
    ]
    for place, (name, ms, value) in enumerate(lines):
        y = 14 + LINE * place
        bold = ' font-weight="650"' if OURS in name else ""
        drawn.append(f'<text x="{LEFT - 8:g}" y="{y + 4}" text-anchor="end"{bold}>{name}</text>')
        drawn.append(f'<text x="{LEFT + WIDTH + 8:g}" y="{y + 4}"{bold}>{escape(value)}</text>')
        if ms is not None:
            drawn.append(_mark(name, _x(ms), y))
    alt, name = escape(f"{model}: {said}"), "font-weight:600;text-align:left;color:inherit"
    return (
        f'<figure style="margin:0"><figcaption style="{name}">{escape(model)}</figcaption>'
        f'<svg viewBox="0 0 430 {height + 18:g}" width="100%" role="img" aria-label="{alt}" font-size="12.5" '
        f'style="max-width:30rem;fill:currentColor;font-family:inherit">{"".join(drawn)}</svg></figure>'
    )


def _mark(name: str, x: float, y: float) -> str:
    if name == "plain run":
        return f'<path d="M{x} {y - 6}v12" style="stroke:currentColor" stroke-width="2.5"/>'
    if name == OURS:
        return f'<circle cx="{x}" cy="{y}" r="5.5" style="fill:var(--pst-color-primary)"/>'
    if OURS in name:
        ring = "fill:var(--pst-color-background);stroke:var(--pst-color-primary)"
        return f'<circle cx="{x}" cy="{y}" r="4.7" style="{ring}" stroke-width="2"/>'
    return f'<path d="M{x - 5} {y}l5 -5l5 5l-5 5z" style="fill:var(--pst-color-secondary)"/>'


# ---- what a page can show ----


def _plots(data: Facts) -> str:
    grid = "display:grid;gap:1.6rem 2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr))"
    return f'<div style="{grid}">{"".join(plot(data, model) for model in models(data))}</div>'


def _parts(data: Facts) -> str:
    return "".join(
        f"<details><summary>{escape(model)}</summary>{parts(data, model).html()}</details>"
        for model in models(data)
    )


SHOWN = {
    "machine": lambda data: f"<p>{escape(machine(data))}</p>",
    "plots": _plots,
    "totals": lambda data: totals(data).html(),
    "recorded": lambda data: recorded(data).html(),
    "drawn": lambda data: drawn(data).html(),
    "parts": _parts,
    "recording": lambda data: recording(data).html() + f"<p>{escape(empty(data))}</p>",
    "growth": lambda data: f"<p>{escape(growth(data))}</p>",
}
"""What the page's `measured` directive can be asked for: a name, and how its HTML is made."""
