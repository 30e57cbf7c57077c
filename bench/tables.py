"""What the bench has found goes in, its tables and plots come out: for the terminal, and as HTML for the book's page.

No torch here: the book is built without it. A table is made once and written in either form, so both say the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["PLACE", "ROOT", "SHOWN", "Table", "fit", "load", "report", "words"]

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "bench" / "numbers.json"
OURS = "definebyrun"
Facts = dict[str, Any]


def load(place: Path = PLACE) -> Facts:
    """The saved result of one run of the bench."""
    return json.loads(place.read_text(encoding="utf-8"))


def fit(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The exponent `k` of time = c · size^k, by least squares of the logarithms.

    >>> round(fit([10, 100, 1000], [3, 30, 300]), 6)
    1.0
    """
    xs, ys = [math.log(size) for size in sizes], [math.log(taken) for taken in times]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return products / sum((a - x) ** 2 for a in xs)


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
    """In words: what the numbers depend on."""
    about = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    text = any("total" in row and row["nodes"] is None for row in data["pictures"])
    program = f" (the program dot: {about['dot']})" if about.get("dot") else ""
    note = " Where a cell says “as text”, the graph was too large for a picture." if text else ""
    return (
        f"Measured in one run on a machine of {about['cores']} cores ({about['system']}), one thread, "
        f"with Python {about['python']}, Graphviz {about['graphviz']}{program}, {versions}. "
        f"Every measurement had processes of its own, and {about['limit']} s at most for each picture.{note}"
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
    """The plain run, forward and backward, as the bench of the recorder's cost has it."""
    return next((row.get("plain") for row in data["overhead"] if row["model"] == model), None)


def own(row: Facts, used: bool = False) -> float | None:
    """What a drawer adds to the plain run: build, write and layout; None where it did not finish.

    With `used` the layout is the one that its users get: of definebyrun the same, of the others the program's.
    """
    if "total" not in row:
        return None
    layout = row.get("program") if used and OURS not in row["tool"] else row["parts"]["layout"]
    return None if layout is None else row["parts"]["build"] + row["parts"]["write"] + layout


def peer(data: Facts, model: str, used: bool = False) -> tuple[str, float] | None:
    """The other drawer of the backward graph that adds least, and what it adds."""
    there = [
        (row["tool"], added)
        for row in rows_of(data, model)
        if data["tools"][row["tool"]]["backward"] and OURS not in row["tool"]
        if (added := own(row, used)) is not None
    ]
    return min(there, key=lambda pair: pair[1], default=None)


def ratios(data: Facts, used: bool) -> Table:
    """What definebyrun's pictures add, beside the fastest peer that shows backward: as used, or all in process."""
    ours = [tool for tool in data["tools"] if OURS in tool]
    rows = []
    for model in models(data):
        other = peer(data, model, used)
        by_tool = {row["tool"]: row for row in rows_of(data, model)}
        set_against, added = [], []
        for row in map(by_tool.__getitem__, ours):
            mine, pictured = own(row), row.get("nodes") is not None
            added.append(span(mine) if pictured else words(row))
            # a text is not set against a picture
            set_against.append(times(mine / other[1]) if pictured and mine and other else "–")
        finished = "–" if peer(data, model) else "none finished"
        rows.append(
            (model, *set_against, f"{other[0]}, {span(other[1])}" if other else finished, *added)
        )
    head = (*(f"{tool}, × the other" for tool in ours), "Fastest other", *ours)
    way = "the layout that its users get" if used else "the same library for all"
    return Table(
        f"What definebyrun adds to the plain run, beside the fastest other drawer of the backward graph, with {way}",
        ("Model", *head),
        tuple(rows),
    )


def totals(data: Facts) -> Table:
    """Every drawer on every model: the whole time."""
    tools = list(data["tools"])
    rows = []
    for model in models(data):
        by_tool = {row["tool"]: words(row) for row in rows_of(data, model)}
        rows.append((model, *(by_tool[tool] for tool in tools)))
    return Table("Time from nothing to the finished SVG", ("Model", *tools), tuple(rows))


def parts(data: Facts, model: str) -> Table:
    """One model: where the time of each drawer goes, and what comes out."""
    rows = []
    for row in rows_of(data, model):
        found, plain = row.get("parts", {}), plain_of(data, model)
        rows.append(
            (
                row["tool"],
                words(row),
                times(row["total"] / plain) if "total" in row and plain else "–",
                *(span(found.get(part)) for part in ("build", "write", "layout")),
                span(row.get("program")),
                row["engine"] if row.get("nodes") is not None else "–",
                f"{row['nodes']:,}" if row.get("nodes") is not None else "–",
                weight(row.get("dot_bytes")),
                weight(row.get("svg_bytes")),
                str(row["passes"]) if "passes" in row else "–",
            )
        )
    head = ("Drawer", "Total", "× plain run", "Build", "Write", "Layout", "by the program")
    more = ("by", "Nodes", "DOT", "SVG", "Passes")
    return Table(model, (*head, *more), tuple(rows))


def overhead(data: Facts) -> Table:
    """What recording adds to a run."""
    rows = []
    for row in data["overhead"]:
        if "recorded" not in row:
            rows.append((row["model"], *["–"] * 4, row["state"]))
            continue
        added = row["recorded"] - row["plain"]
        rows.append(
            (
                row["model"],
                f"{row['ops']:,}",
                span(row["plain"]),
                span(row["recorded"]),
                times(row["recorded"] / row["plain"]),
                f"{1000 * added / row['ops']:.0f} µs",
            )
        )
    head = ("Model", "Operations", "Plain run", "Recorded", "Ratio", "Added for each operation")
    return Table("What recording adds, without any drawing", head, tuple(rows))


def growth(data: Facts) -> Table:
    """What recording adds to chains of growing length."""
    found = data["growth"]
    pairs = zip(found.get("sizes", ()), found.get("added", ()), strict=True)
    rows = tuple((f"{n:,}", span(ms), f"{1000 * ms / n:.1f} µs") for n, ms in pairs)
    head = ("Operations in the chain", "Recording adds", "for each operation")
    return Table("What recording adds as a chain grows", head, rows)


def grown(data: Facts) -> str:
    """One sentence: the exponent."""
    found = data["growth"]
    if "added" not in found:
        return f"The growth was not measured: {found['state']}."
    power = fit(found["sizes"], found["added"])
    return (
        f"Least squares on the logarithms give an exponent of {power:.2f} "
        f"over {len(found['sizes'])} lengths (1 is linear)."
    )


def report(data: Facts) -> str:
    """All of it for a terminal."""
    tables = [
        *(parts(data, model) for model in models(data)),
        ratios(data, used=True),
        ratios(data, used=False),
        overhead(data),
    ]
    blocks = [*(table.text() for table in tables), growth(data).text(), grown(data), machine(data)]
    return "\n\n".join(["", *blocks])


# ---- plots ----

LEAST, MOST = 0.1, 60_000.0
LEFT, WIDTH, LINE = 178.0, 136.0, 19.0
TICKS = {1.0: "1 ms", 100.0: "0.1 s", 10000.0: "10 s"}


def _x(ms: float) -> float:
    share = math.log(max(ms, LEAST) / LEAST) / math.log(MOST / LEAST)
    return round(LEFT + WIDTH * share, 1)


def plot(data: Facts, model: str) -> str:
    """One model as an SVG: a line for each drawer, a mark at its whole time on a logarithmic scale."""
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
    "used": lambda data: ratios(data, used=True).html(),
    "inside": lambda data: ratios(data, used=False).html(),
    "totals": lambda data: totals(data).html(),
    "parts": _parts,
    "overhead": lambda data: overhead(data).html(),
    "growth": lambda data: growth(data).html() + f"<p>{escape(grown(data))}</p>",
}
"""What the page's `measured` directive can be asked for: a name, and how its HTML is made."""
