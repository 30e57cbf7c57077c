"""Numbers of experiments that cost minutes, stored with their seeds and the versions they ran with."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

__all__ = ["FOLDER", "conditions", "stored"]

FOLDER = Path(__file__).parent


def conditions() -> dict[str, str | int]:
    """What the numbers may depend on besides the seeds: versions, threads, kind of processor."""
    return {
        "torch": torch.__version__.partition("+")[0],
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
    }


def stored(name: str) -> dict[str, Any]:
    """The numbers of the experiment `name`, as `experiments/name.py` gave them, with their `"conditions"`.

    Raises:
        FileNotFoundError: nothing is stored under this name; the message lists what is.
    """
    file = FOLDER / f"{name}.json"
    if not file.exists():
        there = ", ".join(sorted(other.stem for other in FOLDER.glob("*.json"))) or "nothing yet"
        raise FileNotFoundError(f"No experiment {name!r} is stored; there is {there}")
    data: dict[str, Any] = json.loads(file.read_text("utf8"))
    return data
