"""The functions that give a `Tape`: of a run, of a tensor's graph, of two tapes, of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from errno import ENAMETOOLONG, ENOENT
from os import PathLike
from pathlib import Path
from typing import Any, Never

import torch

from .comparison.join import join
from .recorder.gc_pause import no_full_collections
from .recorder.recorder import Recorder
from .recorder.walk import walk
from .tape import Tape
from .trace import Trace

__all__ = ["compare", "draw", "load", "record"]


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
        if hasattr(Tape, name):
            raise AttributeError(
                f"record() has no {name}: the tape that has it is what a `with` gives, `with record() as tape: …`"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def record(*nothing: Never) -> AbstractContextManager[Tape]:
    """Record what runs in the `with` block, forward and backward; gives the `Tape`, to be read when it has ended.

    An exception in the block passes through; the tape then holds the run up to there. Raises `TypeError` for arguments.

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
    together; where they part it shows first what only A did, then what only B did. `names` are what the runs are
    called instead of A and B. Two graphs of `draw` are compared node by node, from the root and the leaves. A large
    comparison of runs is shown with the modules of both folded; where that is not enough, with repetitions rolled up.

    Raises `TypeError` for anything but two tapes and for names that are no tuple, `ValueError` for a comparison, for a
    run and a drawn graph, and for names that do not tell apart, `RuntimeError` for a tape that is still recording.

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
