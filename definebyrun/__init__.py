"""`definebyrun`: records a learner's own PyTorch run and draws it, step by step, forward and backward.

The public face is `record`, `draw`, `compare`, `load` and `check`; what they give shows itself in a notebook.
"""

from .exercises import check
from .layout import LayoutError
from .tape import Tape, compare, draw, load, record
from .trace import Block, Call, Edge, Grad, Node, Op, Step, Tensor, Trace, Value

__version__ = "0.1.0"
__all__ = [
    "Block",
    "Call",
    "Edge",
    "Grad",
    "LayoutError",
    "Node",
    "Op",
    "Step",
    "Tape",
    "Tensor",
    "Trace",
    "Value",
    "check",
    "compare",
    "draw",
    "load",
    "record",
]
