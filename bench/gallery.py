"""The pictures that five tools draw of each model of the zoo go in, the HTML of the page that shows them comes out.

No torch here: the book is built without it. What is judged stands in `bench/verdicts.toml`, what is measured in
`bench/pictures.json`, the pictures themselves in `bench/pictures`.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from bench.tables import ROOT, Table, span

__all__ = [
    "FACTS",
    "FOLDER",
    "VERDICTS",
    "load_pictures",
    "load_verdicts",
    "machine_words",
    "models_html",
    "totals",
]

Facts = dict[str, Any]
FACTS, FOLDER = ROOT / "bench" / "pictures.json", ROOT / "bench" / "pictures"
VERDICTS = ROOT / "bench" / "verdicts.toml"


def load_pictures(place: Path = FACTS) -> Facts:
    """The facts of all pictures: the machine, and a row for each model and tool."""
    return json.loads(place.read_text(encoding="utf-8"))


def load_verdicts(place: Path = VERDICTS) -> dict[str, Facts]:
    """By model: what it is, which tools serve a reader `best`, and why."""
    return tomllib.loads(place.read_text(encoding="utf-8"))


def machine_words(data: Facts) -> str:
    """What the times depend on, in words."""
    about = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"Drawn in one run on a machine of {about['cores']} cores ({about['system']}) that did other work too, "
        f"with Python {about['python']}, Graphviz {about['graphviz']}, {versions}. One pass each, so the times tell "
        "tools apart that differ by much, and no others."
    )


def totals(data: Facts, verdicts: dict[str, Facts]) -> Table:
    """A row for each tool: how often it serves best, alone or beside others, and what its pictures measure."""
    tools = list(dict.fromkeys(row["tool"] for row in data["pictures"]))
    alone = Counter(v["best"][0] for v in verdicts.values() if len(v["best"]) == 1)
    among = Counter(tool for v in verdicts.values() for tool in v["best"])
    rows = []
    for tool in tools:
        drawn = [r for r in data["pictures"] if r["tool"] == tool and r["state"] == "drawn"]
        failed = len(verdicts) - len(drawn)
        widest = max(row["width"] for row in drawn)
        highest = max(row["height"] for row in drawn)
        seconds = 1000 * median(row["seconds"] for row in drawn)
        figures = (alone[tool], among[tool] - alone[tool], failed)
        rows.append((tool, *map(str, figures), f"{widest:,} px", f"{highest:,} px", span(seconds)))
    head = ("Tool", "Best", "As good", "No picture", "Widest", "Highest", "Median time")
    return Table("Who serves a reader best, and what the pictures measure", head, tuple(rows))


def models_html(data: Facts, verdicts: dict[str, Facts], folder: str) -> str:
    """Each model: what it is, the five pictures side by side, who serves a reader best, and why."""
    rows: dict[str, list[Facts]] = {}
    for row in data["pictures"]:
        rows.setdefault(row["model"], []).append(row)
    return "".join(_model(name, rows[name], verdicts[name], folder) for name in rows)


def _model(name: str, rows: list[Facts], verdict: Facts, folder: str) -> str:
    title, best = escape(verdict["is"]), " and ".join(verdict["best"])
    figures = "".join(_figure(row, verdict, f"{folder}/{name}") for row in rows)
    return (
        f'<section class="drawn-model" id="drawn-{name}"><h3>{title}'
        f'<a class="headerlink" href="#drawn-{name}" title="Link to this model">#</a></h3>'
        f'<div class="side-by-side" tabindex="0" role="region" aria-label="{title}: five pictures">{figures}</div>'
        f'<p class="verdict"><strong>{escape(best)}</strong>: {escape(verdict["why"])}</p></section>'
    )


def _figure(row: Facts, verdict: Facts, folder: str) -> str:
    tool = row["tool"]
    mark = ' class="best"' if tool in verdict["best"] else ""
    star = '<span aria-label="serves best" title="serves best">★</span> ' if mark else ""
    caption = f"<figcaption>{star}<b>{tool}</b><br>{escape(_measures(row))}</figcaption>"
    if row["state"] != "drawn":
        return f'<figure{mark}>{caption}<p class="no-picture">no picture: {escape(row["state"])}</p></figure>'
    address = f"{folder}/{row['file']}"
    alt = escape(f"{verdict['is']}, drawn by {tool}: {_measures(row)}")
    return (
        f'<figure{mark}>{caption}<a href="{address}"><img src="{address}" alt="{alt}" loading="lazy" '
        f'decoding="async" width="{row["width"]}" height="{row["height"]}"></a></figure>'
    )


def _measures(row: Facts) -> str:
    """What a picture measures, in words."""
    if row["state"] != "drawn":
        return "–"
    size = f"{row['width']:,} × {row['height']:,} px"
    return f"{size}, {row['cards']} cards, {span(1000 * row['seconds'])}"
