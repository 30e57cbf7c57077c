"""Draws the run at the top of the README, light and dark, into _assets/readme: `python -m tools.picture`.

The package records and draws it, as it would for anybody; the dark image has the other colour of each pair.
"""

from __future__ import annotations

import re

import torch

import definebyrun as dbr
from definebyrun.drawing.palette import COLOURS
from definebyrun.drawing.standalone import standalone_svg
from tools import ROOT

__all__ = ["FILES", "FOLDER", "drawn"]

FOLDER = ROOT / "_assets" / "readme"
FILES = ("run-light.svg", "run-dark.svg")


def run() -> dbr.Tape:
    x = torch.tensor([1.0, -2.0, 3.0])
    w = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    b = torch.tensor(1.0, requires_grad=True)
    with dbr.record() as tape:
        y = x * w
        h = torch.relu(y + b)
        loss = h.sum()
        loss.backward()
    return tape


def drawn() -> dict[str, str]:
    """The text of each file; the paper is left out, so that the ground is the page's own."""
    light = re.sub(r'<rect [^>]*"100%"[^>]*/>', "", standalone_svg(run().view.picture), count=1)
    other = {colour.light: colour.dark for colour in COLOURS}
    dark = re.sub("|".join(other), lambda found: other[found[0]], light)
    return dict(zip(FILES, (light, dark), strict=True))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn().items():
        (FOLDER / name).write_text(f"{svg}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
