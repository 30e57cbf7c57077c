"""The index of a step goes in, the number under which pictures and sentences know it comes out.

`Step.index`, `Node.made` and `Node.until` are indices and count from 0. What is shown counts from 1, because 0 is the
state before the first step: `Grad.since`, `TensorVersion.since`, `State.since`, `Card.born`, the slider of the player.
"""

from __future__ import annotations

__all__ = ["shown_from"]


def shown_from(step: int) -> int:
    """The number from which what happened in a step is shown.

    >>> shown_from(0)
    1
    """
    return step + 1
