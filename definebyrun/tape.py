"""What the user holds: a `Tape` is a `Trace` that can show itself; `record`, `draw`, `compare`, `load` give one.

A tape shows its whole graph when a notebook displays it, with the canonical text as `text/plain`. `play()` gives
the step player. A large graph is folded before it is shown, and a sentence says so. Where
there is no layout engine, one sentence says what to install and the text stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import ENAMETOOLONG, ENOENT
from functools import partial
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from .cards.build import count_cards
from .cards.clusters import Cluster, build_clusters
from .cards.compared import build_cards
from .cards.model import Card, Link
from .comparison.join import join
from .drawing.dot import to_dot
from .drawing.layout import LayoutError
from .drawing.png import png
from .drawing.standalone import standalone_svg
from .drawing.svg import Picture
from .drawing.svg import render as draw_cards
from .fold.folding import fit, fit_both, fold
from .memory_plot import MemoryCurve
from .player import player_html, still_html
from .recorder.gc_pause import no_collections, no_full_collections
from .recorder.recorder import Recorder
from .recorder.walk import walk
from .text.compared import canonical_text, summary, tabulate
from .text.table import Table
from .trace.memory import kept_after_steps
from .trace.model import Trace

__all__ = ["Player", "Tape", "compare", "draw", "load", "record"]

MAX_CARDS_SHOWN = 60
"""A graph of more cards than this is folded when it is shown, unless it is asked for as it is."""
MAX_CARDS_LAID_OUT = 600
"""More cards than this are laid out only for `unfolded`: else the text is shown, and a sentence says so."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{label}</title><script>
const dark = matchMedia("(prefers-color-scheme: dark)");
(dark.onchange = () => document.documentElement.dataset.theme = dark.matches ? "dark" : "light")();
</script></head><body>{body}</body></html>"""
"""What makes a page of the player's fragment when it is saved: dark where the reader's system is."""


class Player:
    """The step player of a tape, as a notebook displays it; `text/plain` is the tape's canonical text."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __repr__(self) -> str:
        return f"player: {self._tape._said()}"

    def _repr_html_(self) -> str:
        return self._tape.html()


class Tape:
    """A recorded run, or the graph of a tensor: data with pictures.

    Every part of the `Trace` is here as an attribute: `ops`, `nodes`, `edges`, `leaves`, `tensors`, `steps`,
    `sources`, `calls`, `blocks`, `grads`, `root`, `error`, `sides`. Reading any of them before the `with` block of
    `record` has ended raises `RuntimeError`.
    """

    def __init__(
        self,
        trace: Trace | Recorder,
        whole: Trace | None = None,
        runs: tuple[Trace, Trace] | None = None,
    ) -> None:
        self._given = trace
        self._whole = whole
        self._runs = runs  # of a comparison: the two that it was made of, with their modules
        self._shown: Trace | None = None
        self._dealt: tuple[list[Card], list[Link], list[Cluster]] | None = None
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

    def fold(
        self, modules: bool | int | str | Iterable[str] = False, repeats: bool = False
    ) -> Tape:
        """The same run, smaller: modules folded into one card for each call, repetitions rolled up into one.

        `modules` is how many levels of modules stay open, or the paths of those to fold: with 0 every module that
        your code calls is one card; with 1 or True those are open and the modules inside them are cards. `repeats`
        rolls up what runs at least three times in a row. Every call starts from the whole run.

        Raises `ValueError` for a path that no module of the run has, and for a negative number of levels; also for a
        comparison, whose two tapes can be folded before they are compared.
        """
        if self.sides:
            raise ValueError(
                "fold the two tapes, then compare them: a comparison itself is not folded"
            )
        whole = self.trace if self._whole is None else self._whole
        return Tape(fold(whole, modules, repeats), whole)

    def unfolded(self) -> Tape:
        """The whole run, drawn as it is whatever its size; the layout of thousands of cards can take minutes."""
        whole = self.trace if self._whole is None else self._whole
        return Tape(whole, whole)

    def text(self) -> str:
        """The canonical text: every operation, node, edge and gradient, one fact a line; of the whole run."""
        return canonical_text(self.trace)

    def json(self) -> str:
        """The trace as JSON, which `load` reads."""
        return self.trace.json()

    def dot(self) -> str:
        """The picture as DOT, for Graphviz or any program that reads it."""
        cards, links, clusters = self._cards()
        return to_dot(cards, links, clusters, large=len(cards) > MAX_CARDS_SHOWN)

    def svg(self) -> str:
        """The picture as SVG with all its states, for a page that has the style; `save` writes one that stands alone.

        Raises `LayoutError` where no engine is there.
        """
        return self._picture().svg

    def png(self) -> bytes:
        """The picture as a PNG, light, at twice its size in pixels, as it is at the end of the run.

        Raises `LayoutError` where no engine is there, `RuntimeError` where matplotlib is not.
        """
        return png(standalone_svg(self._picture()))

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
            ".svg": lambda: standalone_svg(self._picture()),
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
            cards, links, _ = self._cards()
            picture = self._picture()
            return player_html(
                self._drawable(), cards, links, picture, self._label(), self._folding()
            )
        except LayoutError as error:
            return self._instead(error)

    def play(self) -> Player:
        """The step player: forward, then backward, by slider, buttons or arrow keys."""
        return Player(self)

    def table(self) -> Table:
        """The run as rows: step, line, op, inputs, shape, value, grad_fn, saved, grad."""
        return tabulate(self.trace)

    def memory(self) -> MemoryCurve:
        """Bytes that the graph keeps alive after every step: a tuple, which a notebook shows as a plot.

        `ValueError` for a comparison, which has two graphs.
        """
        if self.sides:
            raise ValueError(
                "a comparison has the memory of two runs: call memory() on each of their tapes"
            )
        trace = self.trace
        return MemoryCurve(
            kept_after_steps(trace), tuple(s.phase == "backward" for s in trace.steps)
        )

    def __repr__(self) -> str:
        if isinstance(self._given, Recorder) and not self._given.done:
            return "tape: the recording is still going on"
        kind = "comparison" if self.sides else "tape" if self.root is None else "graph"
        return f"{kind}: {self._said()}"

    def _repr_html_(self) -> str:
        try:
            return still_html(self._drawable(), self._picture(), self._label(), self._folding())
        except LayoutError as error:
            return self._instead(error)

    @no_collections()
    def _drawable(self) -> Trace:
        """What is drawn: the run, folded when it is large and nobody has said how to show it."""
        if self._shown is None:
            trace = self.trace
            if self._whole is not None or (trace.sides and self._runs is None):
                self._shown = trace
            elif self._runs is None:
                self._shown = fit(trace, count_cards, MAX_CARDS_SHOWN)
            else:
                again = partial(join, names=trace.sides)
                self._shown = fit_both(trace, *self._runs, again, count_cards, MAX_CARDS_SHOWN)
        return self._shown

    def _said(self) -> str:
        """The text of what is drawn; under a picture that was folded unasked, the sentence that says so."""
        return "\n".join(filter(None, (canonical_text(self._drawable()), self._folding())))

    def _folding(self) -> str:
        """A sentence for a picture that was folded unasked."""
        shown = self._drawable()
        if shown is self.trace:
            return ""
        how = [
            "repetitions are rolled up" if shown.blocks else "",
            "modules are folded" if any(op.module for op in shown.ops) else "",
        ]
        choose = "fold the two tapes" if shown.sides else ".fold(…)"
        return (
            f"{count_cards(shown)} cards stand for {count_cards(self.trace)}: {' and '.join(filter(None, how))}. "
            f"Add .unfolded() to the tape to see all of them, {choose} to choose."
        )

    def _cards(self) -> tuple[list[Card], list[Link], list[Cluster]]:
        if self._dealt is None:
            trace = self._drawable()
            cards, links = build_cards(trace)
            self._dealt = cards, links, build_clusters(trace, cards, links)
        return self._dealt

    @no_collections()
    def _picture(self) -> Picture:
        if self._drawn is None:
            forced = self._whole is self.trace
            number = 0 if forced else count_cards(self._drawable())
            if number > MAX_CARDS_LAID_OUT:
                raise LayoutError(
                    f"This graph has {number} cards; above {MAX_CARDS_LAID_OUT} only the text is shown."
                )
            cards, links, clusters = self._cards()
            large = len(cards) > MAX_CARDS_SHOWN
            self._drawn = draw_cards(cards, links, self._label(), clusters, large)
        return self._drawn

    def _label(self) -> str:
        trace = self._drawable()
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
        words = "graph with " + ", ".join(part for part in parts if part)
        return f"{words}; {summary(trace)}" if trace.sides else words

    def _instead(self, error: LayoutError) -> str:
        return (
            f'<div class="dbr"><p>{escape(str(error))}</p><pre>{escape(self._said())}</pre></div>'
        )


_FACE = {"tensors", "ops", "nodes", "edges", "steps", "sources", "leaves", "calls", "blocks"}
_FACE |= {"grads", "root", "error", "sides"}


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
    with no_full_collections(), recorder:
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


def compare(a: Tape, b: Tape, names: tuple[str, str] = ("A", "B")) -> Tape:
    """Two runs of the same code in one picture: what both did, what only `a` did, what only `b` did.

    An operation is the same in both when it was called from the same place in the code, in the same module, under the
    same name; values play no part. Where they differ, both are shown: `A 3 · B 5`. The player goes through both runs
    together; where they part it shows first what only A did, then what only B did. `names` says what A and B are, for
    the legend. Two graphs of `draw` are compared node by node, from the root and the leaves. A large comparison of runs
    is shown with the modules of both folded; where that is not enough, with repetitions rolled up.

    Raises `TypeError` for anything but two tapes, `ValueError` for a comparison, for a run and a drawn graph, and for
    names that do not tell apart, `RuntimeError` for a tape that is still recording.

    >>> import torch
    >>> def run(x):
    ...     with record() as tape:
    ...         y = x * 2 if x > 0 else -x
    ...     return tape
    >>> both = compare(run(torch.tensor(3.0)), run(torch.tensor(-3.0)))
    >>> [(op.name, op.side) for op in both.ops]
    [('gt', ''), ('mul', 'A'), ('neg', 'B')]
    """
    for tape in (a, b):
        if not isinstance(tape, Tape):
            raise TypeError(f"compare takes two tapes, not {type(tape).__name__}")
        if tape.sides:
            raise ValueError("compare takes tapes of single runs, and this is a comparison already")
    if (a.steps and b.root is not None) or (b.steps and a.root is not None):
        raise ValueError(
            "one is a recorded run, the other a graph of draw: compare two runs, or two graphs"
        )
    called = [name for name in names if isinstance(name, str) and name.strip()]
    if len(names) != 2 or len({*called}) != 2:
        raise ValueError("names takes two different words, one for each run")
    runs = a.trace, b.trace
    return Tape(join(*runs, tuple(names)), runs=runs)


def load(path_or_text: str | PathLike[str]) -> Tape:
    """The tape whose `json()` stands in a file, or is given itself: the same data, the same pictures.

    Raises `ValueError` for what is no trace, or one of a newer version, and `FileNotFoundError`.

    >>> import torch
    >>> with record() as tape:
    ...     y = torch.ones(2) * 3
    >>> load(tape.json()).text() == tape.text()
    True
    """
    if not isinstance(path_or_text, (str, PathLike)):
        raise TypeError(
            f"load takes the path of a file, or the text of tape.json(), not {type(path_or_text).__name__}"
        )
    if isinstance(path_or_text, str) and path_or_text.lstrip().startswith(("{", "[")):
        return Tape(Trace.from_json(path_or_text))
    path = Path(path_or_text)
    try:
        text = path.read_text("utf8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no trace: it is not text") from None
    except OSError as error:
        if error.errno not in (ENOENT, ENAMETOOLONG):
            raise
        raise FileNotFoundError(
            f"there is no file {str(path)[:60]!r}: load takes its path, or the text of tape.json()"
        ) from None
    return Tape(Trace.from_json(text))
