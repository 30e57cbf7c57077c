"""Small models of common practice, for judging drawings: each with its inputs and what a user does with it.

`ZOO[name]` builds the model and its inputs and runs them: forward, loss, backward, for some several steps. Numbers are
small; what counts is the shape of the graph. `stopped_forward` and `stopped_backward` raise `RuntimeError`.

`UNSEEN` holds models that were written before anybody had seen them drawn.
"""

from .entry import Entry
from .networks import NETWORKS
from .programs import PROGRAMS
from .sequences import SEQUENCES
from .unseen import UNSEEN

__all__ = ["UNSEEN", "ZOO", "Entry"]

ZOO: dict[str, Entry] = {**NETWORKS, **SEQUENCES, **PROGRAMS}
