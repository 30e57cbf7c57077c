"""The colours of the drawings, each said once, light and dark: DOT, SVG and the style of a page are written from here.

A text has a contrast of at least 4.5 with its ground, an arrow or a border one of at least 3 (WCAG 1.4.3, 1.4.11).
Readers who see fewer colours cannot tell every two kinds of cards by colour; they need not, because a word,
a dash or round corners say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BACKWARD",
    "CLUSTER_FILL",
    "CLUSTER_LINE",
    "COLOURS",
    "DATA_LINE",
    "EDGE_LINE",
    "INK",
    "KINDS",
    "MADE_FILL",
    "MADE_LINE",
    "ONLY",
    "OP_LINE",
    "PAPER",
    "PLOT_AXIS",
    "PLOT_BACKWARD",
    "PLOT_FORWARD",
    "PLOT_GRID",
    "PLOT_INK",
    "SMALL_PRINT_INK",
    "Colour",
    "Kind",
    "css",
]

DARK = (
    ":is(html[data-theme=dark],html[theme=dark],body[data-jp-theme-light=false],body.vscode-dark)"
)
"""Pages that are dark: the book, Colab, JupyterLab, VS Code. Paper is white in all of them."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour in a light and in a dark page; `name` is that of its CSS variable."""

    name: str
    light: str
    dark: str


PAPER = Colour("bg", "#ffffff", "#14181d")
INK = Colour("ink", "#1c2733", "#e6ebf0")
SMALL_PRINT_INK = Colour("dim", "#5b6673", "#a3adb8")
HAIRLINE = Colour("hair", "#d6dce3", "#343c46")
"""The border of a drawing on its page and the lines between its parts: ornament."""
BACKWARD = Colour("back", "#b83b0a", "#ff9a5c")
"""Gradients, and everything of a backward pass."""

LEAF_FILL, LEAF_LINE = Colour("leaf", "#fdf3d8", "#33290e"), Colour("leaf-l", "#8a6100", "#e3b341")
PARAMETER_FILL = Colour("par", "#fde6d0", "#3b2313")
PARAMETER_LINE = Colour("par-l", "#a84600", "#f0965a")
DATA_FILL, DATA_LINE = Colour("con", "#f3f3f1", "#22262b"), Colour("con-l", "#6a6a62", "#9aa3ad")
"""What no gradient goes through: constants, operations without a node, and the dashed arrows between them."""
OP_FILL, OP_LINE = Colour("op", "#e4eefb", "#16293f"), Colour("op-l", "#1d5fa8", "#6cb0f5")
"""Operations with a node; the line is also what a page marks as current."""
INNER_FILL, INNER_LINE = Colour("in", "#f0f5fb", "#182230"), Colour("in-l", "#6c8fb5", "#4a77a6")
MADE_FILL, MADE_LINE = Colour("gen", "#f2ecfc", "#271d3c"), Colour("gen-l", "#6a3fb0", "#bfa0f7")
"""What a backward pass has made: nodes of a later generation, and their cluster."""
STOP_FILL, STOP_LINE = Colour("stop", "#fdebec", "#3c1419"), Colour("stop-l", "#b3122a", "#ff8088")
"""The call at which a run stopped."""
EDGE_LINE = Colour("edge", "#33527a", "#7f9cc0")
CLUSTER_FILL, CLUSTER_LINE = INNER_FILL, Colour("cl-l", "#8c8c86", "#646c75")
ONLY = {"A": Colour("A", "#0b7a63", "#4fd1b0"), "B": Colour("B", "#9a3a78", "#f09ccb")}
"""In a comparison: what only one of the runs did."""

PLOT_FORWARD, PLOT_BACKWARD = "#0072b2", "#d55e00"
PLOT_INK, PLOT_AXIS, PLOT_GRID = "#1f2937", "#4b5563", "#e5e7eb"
"""Of the plot of memory, an image on white ground: blue and vermilion of Okabe and Ito, as in the course's plots."""

COLOURS = (
    *(PAPER, INK, SMALL_PRINT_INK, HAIRLINE, BACKWARD, EDGE_LINE, CLUSTER_LINE),
    *(LEAF_FILL, LEAF_LINE, PARAMETER_FILL, PARAMETER_LINE, DATA_FILL, DATA_LINE),
    *(OP_FILL, OP_LINE, INNER_FILL, INNER_LINE, MADE_FILL, MADE_LINE, *ONLY.values()),
    *(STOP_FILL, STOP_LINE),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of card is drawn."""

    fill: Colour
    line: Colour
    rounded: bool = False
    dashed: bool = False


KINDS = {
    "leaf": Kind(LEAF_FILL, LEAF_LINE, rounded=True),
    "parameter": Kind(PARAMETER_FILL, PARAMETER_LINE, rounded=True),
    "constant": Kind(DATA_FILL, DATA_LINE, dashed=True),
    "plain": Kind(DATA_FILL, DATA_LINE, dashed=True),
    "op": Kind(OP_FILL, OP_LINE),
    "older": Kind(OP_FILL, OP_LINE),
    "inner": Kind(INNER_FILL, INNER_LINE),
    "made": Kind(MADE_FILL, MADE_LINE),
    "stop": Kind(STOP_FILL, STOP_LINE),
}
"""By `Card.kind`."""


def css(style: str, picture: str) -> str:
    """The rules that turn a picture's colours into those of the page that it stands in, and define them for a style.

    `picture` is SVG in the light colours. The variables are those that it or the style uses, and have another value on
    a dark screen.

    >>> css("p{color:var(--dim)}", '<path stroke="#33527a"/>').splitlines()[0]
    '.dbr{--dim:#5b6673;--edge:#33527a}'
    >>> css("p{color:var(--dim)}", '<path stroke="#33527a"/>').splitlines()[-1]
    '.dbr [stroke="#33527a"]{stroke:var(--edge)}'
    """
    rules = [
        (colour, f'.dbr [{name}="{colour.light}"]{{{name}:var(--{colour.name})}}')
        for colour in COLOURS
        for name in ("fill", "stroke")
        if f'{name}="{colour.light}"' in picture
    ]
    drawn = {colour.name for colour, _ in rules}
    used = [c for c in COLOURS if c.name in drawn or f"var(--{c.name})" in style]
    light = ";".join(f"--{colour.name}:{colour.light}" for colour in used)
    dark = ";".join(f"--{colour.name}:{colour.dark}" for colour in used)
    dark_rule = f"@media screen{{{DARK} .dbr{{{dark}}}}}"
    return "\n".join([f".dbr{{{light}}}", dark_rule, *(rule for _, rule in rules)])
