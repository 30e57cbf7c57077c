"""What lesson 05 says of PyTorch's source: the names of its map stand in the headers that come with PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tools import chapters

HEADERS = Path(torch.__file__).parent / "include" / "torch" / "csrc" / "autograd"
NAMES = {
    "node.h": ["struct TORCH_API Node", "sequence_nr"],
    "edge.h": ["struct Edge", "input_nr"],
    "saved_variable.h": ["class TORCH_API SavedVariable", "saved_version_"],
    "functions/accumulate_grad.h": ["struct TORCH_API AccumulateGrad"],
    "input_buffer.h": ["struct InputBuffer"],
    "graph_task.h": ["struct GraphTask", "not_ready_", "dependencies_", "exec_info_"],
    "engine.h": [
        "struct ReadyQueue",
        "validate_outputs",
        "compute_dependencies",
        "evaluate_function",
    ],
    "input_metadata.h": ["reduce_grad"],
}


@pytest.mark.skipif(
    torch.__version__.split("+")[0] != "2.13.0", reason="the map has the names of PyTorch 2.13"
)
@pytest.mark.parametrize("header", NAMES)
def test_the_map_of_the_engine_names_what_is_there(header: str) -> None:
    text = (HEADERS / header).read_text(encoding="utf-8")
    assert [name for name in NAMES[header] if name not in text] == []
    assert f"autograd/{header})" in chapters.find("05").chapter.read_text(encoding="utf-8")
