"""The data of a recorded run: what every other room takes and gives. Read this room first.

The records (`records.py`) and the `Trace` that lists them (`trace.py`) are imported from here.
"""

from .records import (
    Block,
    Edge,
    Grad,
    ModuleCall,
    Node,
    Op,
    Saved,
    Source,
    Step,
    TensorVersion,
)
from .trace import Trace, cached

__all__ = [
    "Block",
    "Edge",
    "Grad",
    "ModuleCall",
    "Node",
    "Op",
    "Saved",
    "Source",
    "Step",
    "TensorVersion",
    "Trace",
    "cached",
]
