"""`definebyrun`: records a learner's own PyTorch run and draws it, step by step, forward and backward.

The public face is `record`, `draw` and `check`; everything that they give shows itself in a notebook.
"""

from .exercises import check
from .layout import LayoutError
from .tape import Tape, draw, record
from .trace import Block, Call, Edge, Node, Op, Step, Tensor, Trace, Value

__version__ = "0.1.0"
__all__ = [
    "Block",
    "Call",
    "Edge",
    "LayoutError",
    "Node",
    "Op",
    "Step",
    "Tape",
    "Tensor",
    "Trace",
    "Value",
    "check",
    "draw",
    "record",
]
