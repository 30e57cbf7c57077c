"""What all tests share: the kernels' fixed environment, and the order of the files.

The environment is settled before torch is imported, so that a number in a test equals the same number in a notebook.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tools import kernels

kernels.settle()


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace: dict[str, object]) -> None:
    """Examples in docstrings use `dbr` and `torch` as a reader does, who has imported both."""
    import torch

    import definebyrun as dbr

    doctest_namespace |= {"dbr": dbr, "torch": torch}


@pytest.fixture(autouse=True, scope="module")
def nothing_shared_is_left_changed() -> Iterator[None]:
    """A file leaves dtype, grad mode and threads as they were: the next one runs in the same process."""
    import torch

    def shared() -> tuple[torch.dtype, bool, int]:
        return torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()

    before = shared()
    yield
    left = shared()
    dtype, grad, threads = before
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    assert left == before, "default dtype, grad mode, threads: what this file has changed"


def turn(item: pytest.Item) -> int:
    """Quick files first, then those marked `slow`; the notebooks last, which fill both processes to the end."""
    if item.path.suffix == ".ipynb":
        return 2
    return 1 if item.get_closest_marker("slow") else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """What is imported and collected stays to the end: garbage collections, 0.4 s each, pass over it now."""
    gc.collect()
    gc.freeze()
