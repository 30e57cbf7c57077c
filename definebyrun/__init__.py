"""`definebyrun`: records a learner's own PyTorch run and draws it, step by step, forward and backward.

The public face is `record`, `draw`, `compare`, `load` and `check`; what they give shows itself in a notebook.
"""

import warnings
from typing import Any

from .drawing.layout import LayoutError
from .entry_points import compare, draw, load, record
from .memory_plot import MemoryCurve
from .tape import Player, Tape
from .text.table import Table
from .trace import (
    Block,
    Edge,
    Grad,
    ModuleCall,
    Node,
    Op,
    Saved,
    Source,
    Step,
    Stop,
    TensorVersion,
    Trace,
)
from .trace.value import Value

__version__ = "0.2.0"
__all__ = [
    "Block",
    "Edge",
    "Grad",
    "LayoutError",
    "MemoryCurve",
    "ModuleCall",
    "Node",
    "Op",
    "Player",
    "Saved",
    "Source",
    "Step",
    "Stop",
    "Table",
    "Tape",
    "TensorVersion",
    "Trace",
    "Value",
    "check",
    "compare",
    "draw",
    "load",
    "record",
]

RENAMED = {"Call": "ModuleCall", "Tensor": "TensorVersion"}
"""What was called otherwise in version 0.1. These names go with version 0.3."""

NO_COURSE = (
    "the exercises are a package of their own: run `pip install "
    '"git+https://github.com/definebyrun/definebyrun#subdirectory=definebyrun_course"`'
)


def check(exercise: str, *answers: Any) -> Any:
    """Judge an answer to an exercise of the course, such as `"01.2"`: a `Verdict` that says what is wrong.

    An answer never makes it raise; `ModuleNotFoundError` where the course's own package is missing.

    >>> check("01.1", ...)
    ○ Exercise 01.1: not attempted yet
    Replace the dots (...) with your own code, then run the cell again.
    """
    try:
        from definebyrun_course.exercises import check as judged
    except ModuleNotFoundError as error:
        if error.name != "definebyrun_course":
            raise
        raise ModuleNotFoundError(NO_COURSE) from None
    return judged(exercise, *answers)


def __getattr__(name: str) -> Any:
    """Names of version 0.1, with a warning that says the new one."""
    new = RENAMED.get(name)
    if new is not None:
        said = f"definebyrun.{name} is called definebyrun.{new} since version 0.2"
    elif name in ("exercises", "pieces", "plots"):
        said = f"definebyrun.{name} is definebyrun_course.{name} since version 0.2"
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(said, DeprecationWarning, stacklevel=2)
    if new is not None:
        return globals()[new]
    from importlib import import_module

    try:
        return import_module(f"definebyrun_course.{name}")
    except ModuleNotFoundError as error:
        if error.name != "definebyrun_course":
            raise
        raise ModuleNotFoundError(NO_COURSE) from None
