"""The data of a recorded run: what every other room takes and gives. Read this room first.

The records (`records.py`) and the `Trace` that lists them (`trace.py`) are imported from here.
"""

from .records import (
    Block,
    During,
    Edge,
    Grad,
    ModuleCall,
    Node,
    Op,
    Phase,
    Saved,
    Side,
    Source,
    Stack,
    Step,
    TensorKind,
    TensorVersion,
)
from .stop import Stop
from .trace import Trace, cached

__all__ = [
    "Block",
    "During",
    "Edge",
    "Grad",
    "ModuleCall",
    "Node",
    "Op",
    "Phase",
    "Saved",
    "Side",
    "Source",
    "Stack",
    "Step",
    "Stop",
    "TensorKind",
    "TensorVersion",
    "Trace",
    "cached",
]
