"""What the user holds: a `Tape` is a `Trace` that can show itself; `record`, `draw`, `compare`, `load` give one.

A tape shows its whole graph when a notebook displays it, with the canonical text as `text/plain`. `play()` gives
the step player. A large graph is folded before it is shown, and a sentence says so. Where there is no layout engine,
one sentence says what to install and the text stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from errno import ENAMETOOLONG, ENOENT
from os import PathLike
from pathlib import Path
from typing import Any, Never

import torch

from .cards.hidden import HIDEABLE
from .comparison.join import join
from .drawing.dot import to_dot
from .drawing.layout import LayoutError
from .drawing.look import DIRECTIONS, PLAIN, Look
from .drawing.pdf import pdf
from .drawing.png import png
from .drawing.standalone import standalone_svg
from .fold.folding import fold
from .memory_plot import MemoryCurve
from .player import instead_html, page, player_html, still_html
from .recorder.gc_pause import no_full_collections
from .recorder.recorder import Recorder
from .recorder.walk import walk
from .text.compared import canonical_text, tabulate
from .text.printable import printable
from .text.table import Table
from .trace import (
    Block,
    Edge,
    Grad,
    ModuleCall,
    Node,
    Op,
    Source,
    Step,
    TensorVersion,
    Trace,
)
from .trace.memory import kept_after_steps
from .trace.renamed import renamed
from .view import View, show

__all__ = ["Player", "Tape", "compare", "draw", "load", "record"]


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

        >>> with record() as tape:
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


class Tape:
    """A recorded run, or the graph of a tensor: data with pictures.

    Every part of the `Trace` is here as a property. Reading any of them before the `with` block of `record` has ended
    raises `RuntimeError`.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with record() as tape:
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

        >>> draw(torch.ones(2, requires_grad=True) * 2).trace.nodes[0].name
        'MulBackward0'
        """
        return self._given.trace() if isinstance(self._given, Recorder) else self._given

    # ---- the parts of the trace ----

    @property
    def tensors(self) -> tuple[TensorVersion, ...]:
        """Every version of every tensor; all other parts refer to these by index."""
        return self.trace.tensors

    @property
    def leaves(self) -> tuple[TensorVersion, ...]:
        """The tensors that no recorded operation computed, in their first version."""
        return self.trace.leaves

    @property
    def ops(self) -> tuple[Op, ...]:
        """The forward operations, in the order in which they ran."""
        return self.trace.ops

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The backward nodes: PyTorch's `grad_fn` objects, and an `AccumulateGrad` for each leaf."""
        return self.trace.nodes

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the backward graph: one for each entry of a node's `next_functions`."""
        return self.trace.edges

    @property
    def steps(self) -> tuple[Step, ...]:
        """What happened, in order: an operation ran, or a node ran. A graph of `draw` has none."""
        return self.trace.steps

    @property
    def grads(self) -> tuple[Grad, ...]:
        """What leaves held in `.grad`, where something else than their own node put it there."""
        return self.trace.grads

    @property
    def calls(self) -> tuple[ModuleCall, ...]:
        """The calls of modules, with the call around each."""
        return self.trace.calls

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Of a folded run: the repetitions that were rolled up."""
        return self.trace.blocks

    @property
    def sources(self) -> tuple[Source, ...]:
        """The pieces of code that ran."""
        return self.trace.sources

    @property
    def root(self) -> int | None:
        """The index of the tensor that `draw` started from, the first of several; None for a recorded run."""
        return self.trace.root

    @property
    def error(self) -> str | None:
        """The exception that ended the recording, as `type: message`; None when it ran to its end."""
        return self.trace.error

    @property
    def sides(self) -> tuple[str, ...]:
        """The names of the two runs of a comparison; empty for a single run."""
        return self.trace.sides

    # ---- what it shows ----

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
        >>> with record() as tape:
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
        >>> with record() as tape:
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
        >>> with record() as tape:
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

        `width`, in CSS pixels, is what the picture is to stay in: it is folded as little as that takes, and where
        nothing is narrow enough it is the narrowest. It holds for a tape that you have not folded yourself.

        Raises `ValueError` for any other direction, and for a width that is not above 0.

        >>> a = torch.tensor(3.0, requires_grad=True)
        >>> down, right = (draw(a.exp().log()).arrange(way).view.picture for way in ("down", "right"))
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
        >>> with record() as tape:
        ...     y = model(torch.ones(1, 2))
        >>> [leaf.name for leaf in tape.rename({"model": "head", "y": "score"}).leaves[1:]]
        ['head.weight', 'head.bias']
        """
        whole = None if self._whole is None else renamed(self._whole, names)
        trace = whole if self._whole is self.trace else None
        runs = self._runs and (renamed(self._runs[0], names), renamed(self._runs[1], names))
        return Tape(trace or renamed(self.trace, names), whole, runs, self._look)

    def show(self) -> None:
        """Display the picture where this is called, in the middle of a cell too; outside a notebook, print the text.

        >>> draw(torch.ones(2, requires_grad=True) * 2).show()
        graph: 2 nodes, 1 edge
        leaves
          tensor: leaf [1, 1]
        graph
          MulBackward0 (tensor: [2, 2]) → AccumulateGrad(tensor)
        """
        show(self)

    def text(self) -> str:
        """The canonical text: every operation, node, edge and gradient, one fact a line; of the whole run.

        >>> print(draw(torch.ones(2, requires_grad=True) * 2).text())
        2 nodes, 1 edge
        leaves
          tensor: leaf [1, 1]
        graph
          MulBackward0 (tensor: [2, 2]) → AccumulateGrad(tensor)
        """
        return canonical_text(self.trace)

    def json(self) -> str:
        """The trace as JSON, which `load` reads.

        >>> draw(torch.ones(2, requires_grad=True) * 2).json()[:31]
        '{"format": "definebyrun trace",'
        """
        return self.trace.json()

    def dot(self) -> str:
        """The picture as DOT, for Graphviz or any program that reads it.

        >>> draw(torch.ones(2, requires_grad=True) * 2).dot().splitlines()[-2]
        '\\tn1 -> n0 [class="edge" id=e0]'
        """
        cards, links, clusters = self.view.drawn
        right = self._look.direction == "right"
        return to_dot(cards, links, clusters, self.view.is_large, right)

    def svg(self) -> str:
        """The picture as SVG: it shows the end of the run, and holds all states before that for a page to switch on.

        `save` writes one without these states, on white paper. Lengths are in CSS pixels. Raises `LayoutError` where
        no layout engine is there, and for a picture that would take too long to lay out.

        >>> draw(torch.ones(2, requires_grad=True) * 2).svg()[:22]
        '<svg class="dbr-svg" x'
        """
        return self.view.picture.svg

    def png(self) -> bytes:
        """The picture as a PNG, light, at twice its size in pixels, as it is at the end of the run.

        Raises `LayoutError` where no layout engine is there, `RuntimeError` where `resvg-py` is not.

        >>> draw(torch.ones(2, requires_grad=True) * 2).png()[:4]
        b'\\x89PNG'
        """
        return png(standalone_svg(self.view.picture))

    def pdf(self) -> bytes:
        """The picture as a PDF of one page, in vectors, light, as it is at the end of the run; a pixel is 1/96 inch.

        Raises `LayoutError` where no layout engine is there, `RuntimeError` where `svglib` or matplotlib is not.

        >>> draw(torch.ones(2, requires_grad=True) * 2).pdf()[:5]
        b'%PDF-'
        """
        return pdf(standalone_svg(self.view.picture))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tape to a file in the form that the file's ending names.

        `.svg`, `.png` and `.pdf` are the picture at the end of the run, `.html` is a page with the step player, `.dot`
        the graph for Graphviz, `.json` the data, `.txt` the canonical text. Raises `ValueError` for any other ending,
        and what `svg`, `png` and `pdf` raise.

        >>> import tempfile
        >>> w = torch.tensor(2.0, requires_grad=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(w * w).save(f"{folder}/square.txt")
        ...     Path(folder, "square.txt").read_text("utf-8").splitlines()[0]
        '2 nodes, 2 edges'
        """
        path = Path(path)
        forms = {
            ".svg": lambda: standalone_svg(self.view.picture),
            ".png": self.png,
            ".pdf": self.pdf,
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

        >>> with record() as tape:
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

        >>> with record() as tape:
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

        >>> with record() as tape:
        ...     y = torch.ones(2) * 3
        >>> tape.table().rows[1][2:6]
        ('y = mul', 'ones, 3', '(2,)', '[3, 3]')
        """
        return tabulate(self.trace)

    def memory(self) -> MemoryCurve:
        """Bytes that the graph keeps alive after every step: a tuple, which a notebook shows as a plot.

        `ValueError` for a comparison, which has two graphs.

        >>> w = torch.ones(2, requires_grad=True)
        >>> with record() as tape:
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
            cards = view.drawn.cards
            return still_html(view.trace, cards, view.picture, view.label, view.note)
        except LayoutError as error:
            return self._instead(error)

    def _instead(self, error: LayoutError) -> str:
        return instead_html(str(error), self.view.text)


class _Recording(AbstractContextManager[Tape]):
    """What `record()` gives: it records while it is entered."""

    def __enter__(self) -> Tape:
        recorder = Recorder()
        with ExitStack() as stack:
            stack.enter_context(no_full_collections())
            stack.enter_context(recorder)
            self._stack = stack.pop_all()
        return Tape(recorder)

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        if name in vars(Tape):
            raise AttributeError(
                f"record() has no {name}: the tape that has it is what a `with` gives, `with record() as tape: …`"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def record(*nothing: Never) -> AbstractContextManager[Tape]:
    """Record what runs in the `with` block, forward and backward; gives the `Tape`, to be read when it has ended.

    An exception in the block passes through; the tape then holds the run up to there. Raises `TypeError` for arguments.

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
    if nothing:
        raise TypeError(
            "record takes nothing: run the code in its block, `with record() as tape: model(x)`"
        )
    return _Recording()


def draw(
    tensors: torch.Tensor | Mapping[str, Any] | Sequence[Any],
    *more: Never,
    names: Mapping[str, torch.Tensor] | None = None,
) -> Tape:
    """The backward graph that hangs from a tensor, or from several, right now, without any recording.

    `tensors` is one, or a tuple, list or dictionary of them, also within each other, such as a model's outputs; the
    keys of a dictionary name them, and what is no tensor in there is passed over. `names` names tensors that no
    variable of the code around holds, `{"scale": net.scale}`: what it says goes before any other name.

    Raises `TypeError` for anything else and for containers without a tensor, `ValueError` where none has a graph.

    >>> import torch
    >>> a = torch.tensor(3.0, requires_grad=True)
    >>> len(draw(a * a).edges)
    2
    >>> both = draw({"square": a * a, "double": 2 * a}, names={"side": a})
    >>> [tensor.name for tensor in both.tensors]
    ['side', 'square', 'double']
    """
    if more:
        given = ", ".join(type(each).__name__ for each in (tensors, *more))
        raise TypeError(
            f"draw takes one thing, not {given}: one result, as in draw(model(x)), or several as in draw((a, b)); "
            "`with record() as tape: …` shows all that runs"
        )
    for name, tensor in (names or {}).items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(
                "names takes a dictionary from names to tensors, such as {'scale': net.scale}"
            )
    return Tape(walk(tensors, names))


def compare(a: Tape, b: Tape, names: tuple[str, str] = ("A", "B")) -> Tape:
    """Two runs of the same code in one picture: what both did, what only `a` did, what only `b` did.

    An operation is the same in both when it was called from the same place in the code, in the same module, under the
    same name; values play no part. Where they differ, both are shown: `A 3 · B 5`. The player goes through both runs
    together; where they part it shows first what only A did, then what only B did. `names` says what A and B are, for
    the legend. Two graphs of `draw` are compared node by node, from the root and the leaves. A large comparison of runs
    is shown with the modules of both folded; where that is not enough, with repetitions rolled up.

    Raises `TypeError` for anything but two tapes and for names that are no tuple, `ValueError` for a comparison, for a
    run and a drawn graph, and for names that do not tell apart, `RuntimeError` for a tape that is still recording.

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
    if not isinstance(names, (tuple, list)):
        raise TypeError(
            f"names takes two words, such as ('train', 'eval'), not one {type(names).__name__}"
        )
    called = [name for name in names if isinstance(name, str) and name.strip()]
    if len(names) != 2 or len({*called}) != 2:
        raise ValueError("names takes two different words, one for each run")
    runs = a.trace, b.trace
    return Tape(join(*runs, (names[0], names[1])), runs=runs)


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
