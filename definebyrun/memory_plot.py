"""Bytes kept alive after every step go in, a tuple that can show itself comes out: numbers, and in a notebook a plot.

The plot is an image with a description in words, so it is seen where a notebook viewer strips styles and
scripts, and read where it is not seen. matplotlib is imported when a notebook asks for the plot, and not before.
"""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

from .assets import render_html
from .drawing.palette import PLOT_AXIS, PLOT_BACKWARD, PLOT_FORWARD, PLOT_GRID, PLOT_INK
from .text.format import format_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MemoryCurve", "figure_svg", "memory_svg"]

MAX_TREADS = 200
"""Steps of the stair that are drawn at most; with more steps of the run each shows the most of several."""
STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],  # said in every word of the SVG
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.edgecolor": PLOT_AXIS,
    "axes.labelcolor": PLOT_INK,
    "text.color": PLOT_INK,
    "xtick.color": PLOT_AXIS,
    "ytick.color": PLOT_AXIS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PLOT_GRID,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "definebyrun",  # the same ids in every run
}


class MemoryCurve(tuple[int, ...]):
    """Bytes after each step, a tuple in every way; `backward` says of each step whether it ran backward.

    >>> kept = MemoryCurve((16, 48, 48, 0), (False, False, True, True))
    >>> kept, kept == (16, 48, 48, 0), max(kept)
    ((16, 48, 48, 0), True, 48)
    >>> kept.description()
    'Memory that the graph keeps alive: at most 48 B, after step 2 of 4; 0 B at the end. Backward begins with step 3.'
    """

    backward: tuple[bool, ...]

    def __new__(cls, parts: tuple[int, ...], backward: tuple[bool, ...]) -> Self:
        """`ValueError` unless there is one `backward` for each part."""
        if len(parts) != len(backward):
            raise ValueError(
                f"each step needs its bytes and its phase; got {len(parts)} and {len(backward)}."
            )
        self = super().__new__(cls, parts)
        self.backward = tuple(backward)
        return self

    def __getnewargs__(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return tuple(self), self.backward

    def description(self) -> str:
        """What the plot shows, in words."""
        if not self:
            return "Memory that the graph keeps alive: no step was recorded."
        most, last = max(self), self[-1]
        text = (
            f"Memory that the graph keeps alive: at most {format_bytes(most)}, after step {self.index(most) + 1} "
            f"of {len(self)}; {format_bytes(last)} at the end."
        )
        if True in self.backward:
            text += f" Backward begins with step {self.backward.index(True) + 1}."
        return text

    def _repr_html_(self) -> str | None:
        if not self or find_spec("matplotlib") is None:
            return None  # the numbers are shown
        words = self.description()
        address = b64encode(memory_svg(self, self.backward, words).encode()).decode()
        return render_html("image.html", label=words, image=f"data:image/svg+xml;base64,{address}")


def memory_svg(kept: Sequence[int], backward: Sequence[bool], description: str) -> str:
    """Bytes kept alive as a stair with one tread for each step, backward hatched: SVG as `figure_svg` gives it.

    `kept` has shape (steps,), in bytes; `backward`, as long, says which steps ran backward. The look is the same
    whatever style is set elsewhere, and nothing that is set elsewhere changes.

    >>> picture = memory_svg([16, 48, 48, 0], [False, False, True, True], "It climbs, then falls.")
    >>> picture[:51], "backward</text>" in picture
    ("<svg role='img' aria-label='It climbs, then falls.'", True)
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if not len(kept) or len(kept) != len(backward):
        raise ValueError(
            f"memory_svg needs bytes and phase of each step; got {len(kept)} and {len(backward)}."
        )
    each = -(-len(kept) // MAX_TREADS)  # steps of the run in one tread, rounded up
    steps, starts = len(kept), range(0, len(kept), each)
    treads = [max(kept[start : start + each]) for start in starts]
    phases = [backward[start] for start in starts]
    with plt.style.context(STYLE, after_reset=True):
        fig, ax = plt.subplots(figsize=(5.2, 2.4))
        edges = [start + 0.5 for start in (*starts, steps)]
        for phase, name, colour in (
            (False, "forward", PLOT_FORWARD),
            (True, "backward", PLOT_BACKWARD),
        ):
            if phase in phases:
                shown = [n if own == phase else 0 for n, own in zip(treads, phases, strict=True)]
                look = {"hatch": "////", "alpha": 0.35} if phase else {"alpha": 0.3}
                ax.stairs(shown, edges, fill=True, color=colour, label=name, **look)
        ax.stairs(treads, edges, color=PLOT_INK, linewidth=1.4)
        ax.set(ylabel="bytes kept alive", xlim=(edges[0], edges[-1]))
        ax.set_xlabel("step" if each == 1 else f"step (shown is the most of every {each})")
        ax.set_ylim(0, max(treads) * 1.15 or 1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
        ax.grid(False, axis="x")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        picture = figure_svg(fig, description)
        plt.close(fig)
    picture = re.sub(r"<!--.*?-->| id=.\w+_\d+.", "", picture)  # nothing refers to these names
    return re.sub(r"\s+", " ", picture).replace("> <", "><")


def figure_svg(fig: Figure, description: str) -> str:
    """A figure as one `<svg>` element with a text alternative; the same code gives the same bytes in every run.

    >>> import matplotlib.pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> text = figure_svg(fig, "An empty plot.")
    >>> text[:43], "<dc:date>" in text
    ("<svg role='img' aria-label='An empty plot.'", False)
    >>> plt.close(fig)
    """
    file = io.StringIO()
    fig.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", _short_numbers, text[text.index("<svg") :])
    label = escape(" ".join(description.split()), quote=True)
    return text.replace("<svg", f"<svg role='img' aria-label='{label}'", 1)


def _short_numbers(tag: re.Match[str]) -> str:
    """A tag with its coordinates cut to hundredths of a point: nobody sees more, and the file halves."""
    return re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), tag[0])
