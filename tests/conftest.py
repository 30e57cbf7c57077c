"""What all tests share: the kernels' fixed environment, and the order of the files.

The environment is settled before torch is imported, so that a number in a test equals the same number in a notebook.
"""

from __future__ import annotations

import pytest

from tools import kernels

kernels.settle()

LATE = ("test_notebooks_tool.py", "test_make.py", "test_book.py", "test_nbval_guard.py")
LAST = ("test_browser.py", "test_player.py", "test_colab.py")


def turn(item: pytest.Item) -> int:
    """Quick files first; what takes long comes last, side by side in the parallel run."""
    if item.path.suffix == ".ipynb" or item.path.name in LAST:
        return 2
    return 1 if item.path.name in LATE else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=turn)
