"""What lesson 04 says of its walks, for other graphs than those that it prints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.course.lesson_code import cells
from tools import chapters


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    """The engine, and the walks that the lesson holds against it."""
    names = cells("04", "imports", "scalar-class", "scalar-relu", "scalar-count", "scalar-backward")
    chapter = chapters.find("04").chapter.read_text(encoding="utf-8")
    for name in ("first_try", "pass_on_at_once", "run_once_on_arrival", "visits", "doubled"):
        start = chapter.index(f"def {name}(")
        ends = (chapter.index(end, start) for end in ("\n\n\n", "\n```"))
        exec(chapter[start : min(ends)], names)
    return names


def gradient(lesson: dict[str, Any], walk: str, expression: Any) -> float:
    u = lesson["Scalar"](2.0)
    lesson[walk](expression(u))
    return u.grad


@pytest.mark.parametrize(
    "walk", ["first_try", "pass_on_at_once", "run_once_on_arrival", "backward"]
)
def test_every_walk_is_right_where_nothing_is_used_twice(lesson: Any, walk: str) -> None:
    assert gradient(lesson, walk, lambda u: (u * 3 + 1) * 4) == 12.0


@pytest.mark.parametrize("walk", ["first_try", "run_once_on_arrival"])
def test_a_hasty_walk_is_wrong_where_a_result_is_used_twice(lesson: Any, walk: str) -> None:
    def twice(u: Any) -> Any:
        v = u * 3
        return v + v * v

    assert gradient(lesson, "backward", twice) == gradient(lesson, "pass_on_at_once", twice) == 39.0
    assert gradient(lesson, walk, twice) != 39.0


def test_passing_on_at_once_visits_every_path_and_waiting_every_scalar(lesson: Any) -> None:
    for n in range(10):
        end = lesson["doubled"](n, lesson["Scalar"](1.0))
        assert lesson["visits"](end) == 2 ** (n + 1) - 1
        assert 1 + len(lesson["count_uses"](end)) == n + 1
