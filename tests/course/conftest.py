"""What tests of lessons share: the threads and the default dtype that a lesson sets for its notebook."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from experiments import _surroundings
from tests.course.answers import default_dtype


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads."""
    with _surroundings.one_thread():
        yield


@pytest.fixture
def float64() -> Iterator[None]:
    """Lessons set this default."""
    with default_dtype(torch.float64):
        yield
