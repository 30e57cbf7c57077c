"""What the user holds: a `Tape` is a `Trace` that can show itself.

A tape shows its whole graph when a notebook displays it, with the canonical text as `text/plain`. `play()` gives
the step player.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Never

from .cards.hidden import HIDEABLE
from .drawing.look import DIRECTIONS, PLAIN, Look
from .fold.folding import fold
from .forms import Forms
from .memory_plot import MemoryCurve
from .recorder.recorder import Recorder
from .text.compared import tabulate
from .text.printable import printable
from .text.table import Table
from .trace import ModuleCall, Trace
from .trace.memory import kept_after_steps
from .trace.renamed import renamed
from .view import View, show

__all__ = ["Player", "Tape"]


class Player:
    """The step player of a tape, as a notebook displays it; `text/plain` is the tape's canonical text."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __repr__(self) -> str:
        return printable(f"player: {self._tape.view.text}")

    def _repr_html_(self) -> str:
        return self._tape.html()

    def show(self) -> None:
        """Display the player where this is called, in the middle of a cell too; outside a notebook, print the text.

        >>> with dbr.record() as tape:
        ...     y = torch.ones(2) * 3
        >>> tape.play().show()
        player: 2 operations, 0 nodes, 0 edges, 2 steps
        leaves
          ones: constant [1, 1]
        steps
          1  ones(2) → [1, 1]
          2  y = mul(ones, 3) → [3, 3]
        """
        show(self)


class Tape(Forms):
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
        look: Look = PLAIN,
    ) -> None:
        self._look = look
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
                trace,
                as_given=chosen,
                unlimited=self._whole is trace,
                runs=self._runs,
                look=self._look,
                whole=self._whole,
            )
        return self._view

    def fold(
        self,
        modules: bool
        | int
        | str
        | type
        | Callable[[ModuleCall], Any]
        | Iterable[str | type | Callable[[ModuleCall], Any]] = False,
        repeats: bool = False,
    ) -> Tape:
        """The same run, smaller: modules folded into one card for each call, repetitions rolled up into one.

        `modules` is how many levels of modules stay open: with 0 every module that your code calls is one card; with
        1 or True those are open and the modules inside them are cards. Or it says which to fold, as one of these or as
        several: a path (`"model.fc"`), a pattern of paths (`"encoder.layers.*"`), a class or its name (`nn.Linear`;
        classes derived from it have other names), or a function that is given each `ModuleCall` and says whether to
        fold it. Of calls inside each other the outermost is folded. `repeats` rolls up what runs at least three times
        in a row. Every call of this method starts from the whole run.

        Raises `ValueError` for a path, a pattern or a class that no module of the run has, and for a negative number
        of levels; also for a comparison, whose two tapes can be folded before they are compared. Raises `TypeError` for
        anything else.

        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
        >>> with dbr.record() as tape:
        ...     y = model(torch.ones(1, 2)).sum()
        >>> [op.name for op in tape.ops], [op.name for op in tape.fold(modules=0).ops]
        (['ones', 'linear', 'tanh', 'sum'], ['ones', 'model', 'sum'])
        >>> tape.fold(torch.nn.Linear).text() == tape.fold("model.0").text()
        True
        """
        if self.sides:
            raise ValueError(
                "fold the two tapes, then compare them: a comparison itself is not folded"
            )
        whole = self.trace if self._whole is None else self._whole
        return Tape(fold(whole, modules, repeats), whole, look=self._look)

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
        return Tape(whole, whole, look=self._look)

    def hide(self, *what: str) -> Tape:
        """The same run with less in its picture; its data and its text stay whole, and a sentence says what is hidden.

        `what` is any of `"constants"` (tensors without gradient, such as the data), `"buffers"` (those of them that
        modules hold, such as running means), `"optimizer"` (the steps of optimizers) and `"unlinked"` (cards without an
        arrow). Raises `ValueError` for any other word, and for none.

        >>> w = torch.ones(2, requires_grad=True)
        >>> with dbr.record() as tape:
        ...     x = torch.tensor([1.0, 2.0])
        ...     loss = (w * x).sum()
        >>> len(tape.view.drawn.cards), len(tape.hide("constants").view.drawn.cards)
        (4, 3)
        >>> print(str(tape.hide("constants")).splitlines()[-1])
        Not drawn: 1 constant.
        """
        if not what or not {*what} <= {*HIDEABLE}:
            raise ValueError(f"hide takes some of {', '.join(map(repr, HIDEABLE))}, not {what}")
        hidden = tuple(each for each in HIDEABLE if each in (*self._look.hidden, *what))
        return self._with(replace(self._look, hidden=hidden))

    def arrange(self, direction: str = "down", width: float | None = None) -> Tape:
        """The same run with its picture running another way: data flows `"down"`, or to the `"right"`.

        `width`, in CSS pixels, is what the picture is to stay in, instead of a page: it is folded as little as that
        takes, and where nothing is narrow enough it is nearly the narrowest. It holds for a tape that you have not
        folded yourself.

        Raises `ValueError` for any other direction, and for a width that is not above 0.

        >>> a = torch.tensor(3.0, requires_grad=True)
        >>> down, right = (dbr.draw(a.exp().log()).arrange(way).view.picture for way in ("down", "right"))
        >>> down.height > down.width, right.height > right.width
        (True, False)
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"direction is 'down' or 'right', not {direction!r}")
        if width is not None and not width > 0:
            raise ValueError(f"width is a number of pixels above 0, not {width!r}")
        return self._with(replace(self._look, direction=direction, width=width))

    def _with(self, look: Look) -> Tape:
        """The same tape with other wishes for its picture."""
        return Tape(self._given, self._whole, self._runs, look)

    def rename(self, names: Mapping[str, str]) -> Tape:
        """The same run with other names for tensors and modules: `{"old": "new"}`.

        An old name is that of a tensor, or the path of a module, whose inner names change with it. Raises `ValueError`
        for a name that nothing in the run has, `TypeError` where names are no text.

        >>> model = torch.nn.Linear(2, 1)
        >>> with dbr.record() as tape:
        ...     y = model(torch.ones(1, 2))
        >>> [leaf.name for leaf in tape.rename({"model": "head", "y": "score"}).leaves[1:]]
        ['head.weight', 'head.bias']
        """
        whole = None if self._whole is None else renamed(self._whole, names)
        trace = whole if self._whole is self.trace else None
        runs = self._runs and (renamed(self._runs[0], names), renamed(self._runs[1], names))
        return Tape(trace or renamed(self.trace, names), whole, runs, self._look)

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
