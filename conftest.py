"""What all tests share: the kernels' fixed environment, and the order of the files.

The environment is settled before torch is imported, so that a number in a test equals the same number in a notebook.
"""

from __future__ import annotations

import pytest

from tools import kernels

kernels.settle()


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace: dict[str, object]) -> None:
    """Examples in docstrings use `dbr` and `torch` as a reader does, who has imported both."""
    import torch

    import definebyrun as dbr

    doctest_namespace |= {"dbr": dbr, "torch": torch}


def turn(item: pytest.Item) -> int:
    """Quick files first, then those marked `slow`; the notebooks last, which fill both processes to the end."""
    if item.path.suffix == ".ipynb":
        return 2
    return 1 if item.get_closest_marker("slow") else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=turn)
