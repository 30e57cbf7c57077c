"""One look for every plot of the course: measurements go in, matplotlib figures with a text alternative come out.

Lessons draw with matplotlib itself; here is only what each of them would otherwise repeat: the style, the picture's
description, a band over seeds, a row of small images. matplotlib is imported when the first plot asks for it.
"""

from __future__ import annotations

import io
import sys
from base64 import b64encode
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from definebyrun.memory_plot import figure_svg as svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MARKERS", "band", "colour", "pictures", "show", "svg", "use_style"]

MARKERS = "osD^vPX"
PNG_DPI = 96


def use_style() -> None:
    """Use the course's style from here on; in IPython, show figures as SVG whose bytes are the same in every run.

    >>> use_style()
    >>> import matplotlib
    >>> matplotlib.rcParams["svg.hashsalt"]
    'definebyrun'
    """
    import matplotlib.pyplot as plt

    with resources.as_file(resources.files(__package__) / "definebyrun.mplstyle") as style:
        plt.style.use(style)
    if _in_ipython():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def colour(nth: int) -> str:
    """The colour of the style's `nth` line, from 0; past the last it starts again.

    >>> use_style()
    >>> colour(0), colour(1) == colour(8)
    ('#0072B2', True)
    """
    return _cycle("color", nth)


def band(
    ax: Axes,
    x: Sequence[float],
    runs: Sequence[Sequence[float]],
    label: str,
    nth: int = 0,
    marker: bool = False,
) -> None:
    """Draw the mean of several runs as a line and their range, smallest to largest, as a band around it.

    `runs` has shape (runs, points); `x` has shape (points,). `nth` chooses colour, line style and marker together,
    so that two bands differ by more than colour.

    >>> import matplotlib.pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> band(ax, [1, 2, 3], [[3.0, 2.0, 1.0], [5.0, 4.0, 3.0]], "two seeds")
    >>> [float(y) for y in ax.lines[0].get_ydata()]
    [4.0, 3.0, 2.0]
    >>> plt.close(fig)
    """
    if not len(runs) or any(len(run) != len(x) for run in runs):
        lengths = ", ".join(str(len(run)) for run in runs) or "no runs"
        raise ValueError(f"band needs runs of {len(x)} points each, one for each x; got {lengths}.")
    columns = list(zip(*runs, strict=True))
    mean = [sum(column) / len(column) for column in columns]
    style = {"color": colour(nth), "linestyle": _cycle("linestyle", nth)}
    ax.fill_between(
        x,
        [min(c) for c in columns],
        [max(c) for c in columns],
        color=colour(nth),
        alpha=0.18,
        linewidth=0,
    )
    ax.plot(x, mean, label=label, marker=MARKERS[nth % len(MARKERS)] if marker else None, **style)


def pictures(images: Any, captions: Sequence[str], columns: int = 10, width: float = 7.0) -> Figure:
    """Small grey images in rows, each under its caption; `images` has shape (images, height, width), dark is large.

    All images share one grey scale, so that two of them can be compared.

    >>> fig = pictures([[[0, 1], [1, 0]], [[1, 1], [0, 0]]], ["diagonal", "top"], columns=2)
    >>> [ax.get_title() for ax in fig.axes]
    ['diagonal', 'top']
    """
    import matplotlib.pyplot as plt

    if len(images) != len(captions) or not len(images):
        raise ValueError(
            f"pictures needs one caption for each image; got {len(images)} images, {len(captions)} captions."
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    tall = width / columns + 0.22 * (1 + max(caption.count("\n") for caption in captions))
    fig, axes = plt.subplots(rows, columns, figsize=(width, rows * tall), squeeze=False)
    darkest = max(float(value) for image in images for row in image for value in row)
    lightest = min(float(value) for image in images for row in image for value in row)
    for ax in axes.flat[len(images) :]:
        ax.remove()
    for ax, image, caption in zip(axes.flat, images, captions, strict=False):
        ax.imshow(image, vmin=lightest, vmax=darkest)
        ax.set_title(caption, loc="center", fontsize=9, fontweight="normal")
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return fig


def show(fig: Figure, description: str) -> None:
    """Show a figure with a sentence or two that say what it shows, for those who cannot see it.

    In a notebook the description is stored as the output's plain text: a screen reader reads it, and a viewer that
    draws nothing prints it. A PNG beside the SVG is what JupyterLab shows of a notebook that it does not trust yet.
    Elsewhere it is printed, and matplotlib shows the figure as it is set up to.

    >>> import matplotlib.pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> show(fig, "An empty plot.")
    An empty plot.
    """
    import matplotlib.pyplot as plt

    if not description.strip():
        raise ValueError(
            "show needs a description: what does a reader who cannot see the figure have to know?"
        )
    if _in_ipython():
        from IPython.display import display

        text = " ".join(description.split())
        data = {"image/svg+xml": svg(fig, text), "image/png": _png(fig), "text/plain": text}
        display(data, raw=True)
    else:
        print(description)
        if plt.get_backend().lower() != "agg":
            plt.show()
    plt.close(fig)


def _png(fig: Figure) -> str:
    """The figure as PNG, in base64; its bytes are the same in every run."""
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return b64encode(file.getvalue()).decode()


def _cycle(key: str, nth: int) -> Any:
    """One property of the style's `nth` line."""
    import matplotlib.pyplot as plt

    values = [entry[key] for entry in plt.rcParams["axes.prop_cycle"] if key in entry] or ["-"]
    return values[nth % len(values)]


def _in_ipython() -> bool:
    """Whether a notebook kernel is running; IPython is never imported only to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return bool(shell) and hasattr(shell, "kernel")
