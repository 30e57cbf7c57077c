"""What the user holds: a `Tape` is a `Trace` that can show itself.

A tape shows its whole graph when a notebook displays it, with the canonical text as `text/plain`. `play()` gives
the step player. A large graph is folded before it is shown, and a sentence says so. Where there is no layout engine,
one sentence says what to install and the text stands in.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Never

from .drawing.dot import to_dot
from .drawing.layout import LayoutError
from .drawing.png import png
from .drawing.standalone import standalone_svg
from .fold.folding import fold
from .memory_plot import MemoryCurve
from .player import instead_html, page, player_html, still_html
from .recorder.recorder import Recorder
from .text.compared import canonical_text, tabulate
from .text.printable import printable
from .text.table import Table
from .trace import Trace
from .trace.memory import kept_after_steps
from .trace.parts import TraceParts
from .view import View

__all__ = ["Player", "Tape"]


class Player:
    """The step player of a tape, as a notebook displays it; `text/plain` is the tape's canonical text."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __repr__(self) -> str:
        return printable(f"player: {self._tape.view.text}")

    def _repr_html_(self) -> str:
        return self._tape.html()


class Tape(TraceParts):
    """A recorded run, or the graph of a tensor: data with pictures.

    Every part of the `Trace` is here as a property. Reading any of them before the `with` block of `record` has ended
    raises `RuntimeError`.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with dbr.record() as tape:
    ...     loss = (w * w).sum()
    ...     loss.backward()
    >>> [op.name for op in tape.ops], [tape.tensors[op.outputs[0]].value.tolist() for op in tape.ops]
    (['mul', 'sum'], [[1.0, 4.0], 5.0])
    """

    def __init__(
        self,
        trace: Trace | Recorder,
        whole: Trace | None = None,
        runs: tuple[Trace, Trace] | None = None,
    ) -> None:
        self._given = trace
        self._whole = whole  # of a folded tape: the run that it was folded from
        self._runs = runs  # of a comparison: the two that it was made of, with their modules
        self._view: View | None = None

    @property
    def trace(self) -> Trace:
        """The data alone.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).trace.nodes[0].name
        'MulBackward0'
        """
        return self._given.trace() if isinstance(self._given, Recorder) else self._given

    @property
    def view(self) -> View:
        """What is shown of the trace: it is folded where it is large and nobody has said how to show it."""
        if self._view is None:
            trace, chosen = self.trace, self._whole is not None
            self._view = View(
                trace, as_given=chosen, unlimited=self._whole is trace, runs=self._runs
            )
        return self._view

    def fold(
        self, modules: bool | int | str | Iterable[str] = False, repeats: bool = False
    ) -> Tape:
        """The same run, smaller: modules folded into one card for each call, repetitions rolled up into one.

        `modules` is how many levels of modules stay open, or the paths of those to fold: with 0 every module that
        your code calls is one card; with 1 or True those are open and the modules inside them are cards. `repeats`
        rolls up what runs at least three times in a row. Every call starts from the whole run.

        Raises `ValueError` for a path that no module of the run has, and for a negative number of levels; also for a
        comparison, whose two tapes can be folded before they are compared. Raises `TypeError` for anything that is
        neither a number of levels nor paths.

        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
        >>> with dbr.record() as tape:
        ...     y = model(torch.ones(1, 2)).sum()
        >>> [op.name for op in tape.ops], [op.name for op in tape.fold(modules=0).ops]
        (['ones', 'linear', 'tanh', 'sum'], ['ones', 'model', 'sum'])
        """
        if self.sides:
            raise ValueError(
                "fold the two tapes, then compare them: a comparison itself is not folded"
            )
        whole = self.trace if self._whole is None else self._whole
        return Tape(fold(whole, modules, repeats), whole)

    def unfolded(self) -> Tape:
        """The whole run, drawn as it is whatever its size; a layout that takes more than two minutes is given up.

        >>> w = torch.ones(1, requires_grad=True)
        >>> with dbr.record() as tape:
        ...     h = w
        ...     for _ in range(80):
        ...         h = h * w
        >>> len(tape.view.trace.ops), len(tape.unfolded().view.trace.ops)
        (1, 80)
        """
        whole = self.trace if self._whole is None else self._whole
        return Tape(whole, whole)

    def text(self) -> str:
        """The canonical text: every operation, node, edge and gradient, one fact a line; of the whole run.

        >>> print(dbr.draw(torch.ones(2, requires_grad=True) * 2).text())
        2 nodes, 1 edge
        leaves
          tensor: leaf [1, 1]
        graph
          MulBackward0 (tensor: [2, 2]) → AccumulateGrad(tensor)
        """
        return canonical_text(self.trace)

    def json(self) -> str:
        """The trace as JSON, which `load` reads.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).json()[:31]
        '{"format": "definebyrun trace",'
        """
        return self.trace.json()

    def dot(self) -> str:
        """The picture as DOT, for Graphviz or any program that reads it.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).dot().splitlines()[-2]
        '\\tn1 -> n0 [class="edge" id=e0]'
        """
        cards, links, clusters = self.view.drawn
        return to_dot(cards, links, clusters, large=self.view.is_large)

    def svg(self) -> str:
        """The picture as SVG: it shows the end of the run, and holds all states before that for a page to switch on.

        `save` writes one without these states, on white paper. Lengths are in CSS pixels. Raises `LayoutError` where
        no layout engine is there, and for a picture that would take too long to lay out.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).svg()[:22]
        '<svg class="dbr-svg" x'
        """
        return self.view.picture.svg

    def png(self) -> bytes:
        """The picture as a PNG, light, at twice its size in pixels, as it is at the end of the run.

        Raises `LayoutError` where no layout engine is there, `RuntimeError` where matplotlib is not.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).png()[:4]
        b'\\x89PNG'
        """
        return png(standalone_svg(self.view.picture))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tape to a file in the form that the file's ending names.

        `.svg` and `.png` are the picture at the end of the run, `.html` is a page with the step player, `.dot` the
        graph for Graphviz, `.json` the data, `.txt` the canonical text. Raises `ValueError` for any other ending,
        and what `svg` and `png` raise.

        >>> import tempfile
        >>> w = torch.tensor(2.0, requires_grad=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dbr.draw(w * w).save(f"{folder}/square.txt")
        ...     Path(folder, "square.txt").read_text("utf-8").splitlines()[0]
        '2 nodes, 2 edges'
        """
        path = Path(path)
        forms = {
            ".svg": lambda: standalone_svg(self.view.picture),
            ".png": self.png,
            ".html": lambda: page(self.view.label, self.html()),
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
        """The step player as one self-contained HTML fragment; without a layout engine, the text.

        >>> with dbr.record() as tape:
        ...     y = torch.ones(2) * 3
        >>> tape.html()[:27]
        '<div class="dbr dbr-player"'
        """
        if not self.trace.steps:
            return self._repr_html_()
        view = self.view
        try:
            picture = view.picture
        except LayoutError as error:
            return self._instead(error)
        cards, links, _ = view.drawn
        return player_html(view.trace, cards, links, picture, view.label, view.note)

    def play(self, *nothing: Never) -> Player:
        """The step player: forward, then backward, by slider, buttons or arrow keys.

        Raises `TypeError` for arguments.

        >>> with dbr.record() as tape:
        ...     y = torch.ones(2) * 3
        >>> print(str(tape.play()).splitlines()[0])
        player: 2 operations, 0 nodes, 0 edges, 2 steps
        """
        if nothing:
            raise TypeError(
                "play takes no step to begin at: the player shows the first, its slider leads to any"
            )
        return Player(self)

    def table(self) -> Table:
        """The run as rows: step, line, op, inputs, shape, value, grad_fn, saved, grad.

        >>> with dbr.record() as tape:
        ...     y = torch.ones(2) * 3
        >>> tape.table().rows[1][2:6]
        ('y = mul', 'ones, 3', '(2,)', '[3, 3]')
        """
        return tabulate(self.trace)

    def memory(self) -> MemoryCurve:
        """Bytes that the graph keeps alive after every step: a tuple, which a notebook shows as a plot.

        `ValueError` for a comparison, which has two graphs.

        >>> w = torch.ones(2, requires_grad=True)
        >>> with dbr.record() as tape:
        ...     w.exp().sum().backward()
        >>> tape.memory()
        (8, 8, 8, 0, 0)
        """
        if self.sides:
            raise ValueError(
                "a comparison has the memory of two runs: call memory() on each of their tapes"
            )
        trace = self.trace
        backward = tuple(step.phase == "backward" for step in trace.steps)
        return MemoryCurve(kept_after_steps(trace), backward)

    def __repr__(self) -> str:
        if isinstance(self._given, Recorder) and not self._given.done:
            return "tape: the recording is still going on"
        kind = "comparison" if self.sides else "tape" if self.root is None else "graph"
        return printable(f"{kind}: {self.view.text}")

    def _repr_html_(self) -> str:
        view = self.view
        try:
            return still_html(view.trace, view.picture, view.label, view.note)
        except LayoutError as error:
            return self._instead(error)

    def _instead(self, error: LayoutError) -> str:
        return instead_html(str(error), self.view.text)
