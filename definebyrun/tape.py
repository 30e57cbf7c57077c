"""What the user holds: a `Tape` is a `Trace` that can show itself; `record` and `draw` give one.

A tape shows its whole graph when a notebook displays it, with the canonical text as `text/plain`. `play()` gives
the step player. Where there is no layout engine, one sentence says what to install and the text stands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import torch

from .alone import alone
from .cards import Card, Link, deal
from .dot import to_dot
from .kept import Kept
from .layout import LayoutError
from .memory import kept_after_steps
from .player import player, still
from .png import png
from .recorder import Recorder
from .svg import Picture
from .svg import draw as draw_cards
from .table import Table, tabulate
from .text import canonical
from .trace import Trace
from .walk import walk

__all__ = ["Player", "Tape", "draw", "record"]

MOST = 600
"""More cards than this are not laid out: the text is shown instead, and a sentence says so."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{label}</title></head><body>{body}</body></html>"""
"""What makes a page of the player's fragment when it is saved."""


class Player:
    """The step player of a tape, as a notebook displays it; `text/plain` is the tape's canonical text."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __repr__(self) -> str:
        return f"player: {self._tape.text()}"

    def _repr_html_(self) -> str:
        return self._tape.html()


class Tape:
    """A recorded run, or the graph of a tensor: data with pictures.

    Every part of the `Trace` is here as an attribute: `ops`, `nodes`, `edges`, `leaves`, `tensors`, `steps`,
    `sources`, `root`, `error`. Reading any of them before the `with` block of `record` has ended raises
    `RuntimeError`.
    """

    def __init__(self, trace: Trace | Recorder) -> None:
        self._given = trace
        self._dealt: tuple[list[Card], list[Link]] | None = None
        self._drawn: Picture | None = None

    @property
    def trace(self) -> Trace:
        """The data alone."""
        return self._given.trace() if isinstance(self._given, Recorder) else self._given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in _FACE:
            raise AttributeError(f"a tape has no {name!r}; it has {', '.join(sorted(_FACE))}")
        return getattr(self.trace, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_FACE})

    def text(self) -> str:
        """The canonical text: every operation, node, edge and gradient, one fact a line."""
        return canonical(self.trace)

    def json(self) -> str:
        """The trace as JSON."""
        return self.trace.json()

    def dot(self) -> str:
        """The picture as DOT, for Graphviz or any program that reads it."""
        return to_dot(*self._cards())

    def svg(self) -> str:
        """The picture as SVG with all its states, for a page that has the style; `save` writes one that stands alone.

        Raises `LayoutError` where no engine is there.
        """
        return self._picture().svg

    def png(self) -> bytes:
        """The picture as a PNG, light, at twice its size in pixels, as it is at the end of the run.

        Raises `LayoutError` where no engine is there, `RuntimeError` where matplotlib is not.
        """
        return png(alone(self._picture()))

    def save(self, path: str | Path) -> None:
        """Write the tape to a file in the form that the file's ending names.

        `.svg` and `.png` are the picture at the end of the run, `.html` is a page with the step player, `.dot` the
        graph for Graphviz, `.json` the data, `.txt` the canonical text. Raises `ValueError` for any other ending.

        >>> import tempfile
        >>> w = torch.tensor(2.0, requires_grad=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(w * w).save(f"{folder}/square.txt")
        ...     Path(folder, "square.txt").read_text("utf-8").splitlines()[0]
        '2 nodes, 2 edges'
        """
        path = Path(path)
        forms = {
            ".svg": lambda: alone(self._picture()),
            ".png": self.png,
            ".html": lambda: PAGE.format(label=escape(self._label()), body=self.html()),
            ".dot": self.dot,
            ".json": self.json,
            ".txt": self.text,
        }
        form = forms.get(path.suffix.lower())
        if form is None:
            raise ValueError(
                f"{path.name!r} must end in one of {', '.join(forms)}: that says what to write."
            )
        content = form()
        path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    def html(self) -> str:
        """The step player as one self-contained HTML fragment."""
        if not self.trace.steps:
            return self._repr_html_()
        try:
            cards, links = self._cards()
            return player(self.trace, cards, links, self._picture(), self._label())
        except LayoutError as error:
            return self._instead(error)

    def play(self) -> Player:
        """The step player: forward, then backward, by slider, buttons or arrow keys."""
        return Player(self)

    def table(self) -> Table:
        """The run as rows: step, line, op, inputs, shape, value, grad_fn, saved, grad."""
        return tabulate(self.trace)

    def memory(self) -> Kept:
        """Bytes that the graph keeps alive after every step: a tuple, which a notebook shows as a plot."""
        trace = self.trace
        return Kept(kept_after_steps(trace), tuple(s.phase == "backward" for s in trace.steps))

    def __repr__(self) -> str:
        if isinstance(self._given, Recorder) and not self._given.done:
            return "tape: the recording is still going on"
        return f"{'tape' if self.root is None else 'graph'}: {self.text()}"

    def _repr_html_(self) -> str:
        try:
            return still(self.trace, self._picture(), self._label())
        except LayoutError as error:
            return self._instead(error)

    def _cards(self) -> tuple[list[Card], list[Link]]:
        if self._dealt is None:
            self._dealt = deal(self.trace)
        return self._dealt

    def _picture(self) -> Picture:
        if self._drawn is None:
            cards, links = self._cards()
            if len(cards) > MOST:
                raise LayoutError(
                    f"This graph has {len(cards)} cards; above {MOST} only the text is shown."
                )
            self._drawn = draw_cards(cards, links, self._label())
        return self._drawn

    def _label(self) -> str:
        trace = self.trace
        parts = [
            f"{len(trace.ops)} operations" if trace.ops else "",
            f"{len(trace.nodes)} backward nodes",
        ]
        leaves = [t.name or t.kind for t in trace.leaves]
        parts.append(
            f"leaves {', '.join(leaves[:6])}{' and more' if len(leaves) > 6 else ''}"
            if leaves
            else ""
        )
        return "graph with " + ", ".join(part for part in parts if part)

    def _instead(self, error: LayoutError) -> str:
        return f'<div class="dbr"><p>{escape(str(error))}</p><pre>{escape(self.text())}</pre></div>'


_FACE = {"tensors", "ops", "nodes", "edges", "steps", "sources", "leaves", "root", "error"}


@contextmanager
def record() -> Iterator[Tape]:
    """Record what runs in the `with` block, forward and backward; gives the `Tape`, to be read when it has ended.

    An exception in the block passes through; the tape then holds the run up to there.

    >>> import torch
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with record() as tape:
    ...     loss = (w * w).sum()
    ...     loss.backward()
    >>> [node.name for node in tape.nodes if node.op is not None]
    ['MulBackward0', 'SumBackward0']
    >>> tape.leaves[0].name, len(tape.edges), len(tape.steps)
    ('w', 3, 5)
    """
    recorder = Recorder()
    with recorder:
        yield Tape(recorder)


def draw(tensor: torch.Tensor) -> Tape:
    """The backward graph that hangs from a tensor right now, without any recording.

    Raises `TypeError` for anything but a tensor, `ValueError` for a tensor without a graph.

    >>> import torch
    >>> a = torch.tensor(3.0, requires_grad=True)
    >>> len(draw(a * a).edges)
    2
    """
    return Tape(walk(tensor))
