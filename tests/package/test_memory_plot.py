"""The plot of memory: what its stairs hold, where they begin and end, and that it leaves nothing behind."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pytest

from definebyrun import memory_plot
from definebyrun.memory_plot import memory_svg


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn while a test runs."""
    drawn: list[Any] = []
    write = memory_plot.figure_svg

    def keep(fig: Any, description: str) -> str:
        drawn.append(fig)
        return write(fig, description)

    monkeypatch.setattr(memory_plot, "figure_svg", keep)
    return drawn


def stairs(figure: Any) -> dict[str, tuple[list[float], list[float]]]:
    """By label: the height of each tread, and the edges of all."""
    found = {}
    for patch in figure.axes[0].patches:
        data = patch.get_data()
        found[patch.get_label()] = (list(data.values), list(data.edges))
    return found


def test_each_step_is_a_tread_around_its_number_filled_by_the_way_that_it_ran(
    figures: list[Any],
) -> None:
    memory_svg([16, 48, 40, 8], [False, False, True, True], "words")
    found = stairs(figures[0])
    edges = [0.5, 1.5, 2.5, 3.5, 4.5]
    assert found["forward"] == ([16, 48, 0, 0], edges)
    assert found["backward"] == ([0, 0, 40, 8], edges)
    (outline,) = (each for name, each in found.items() if name not in ("forward", "backward"))
    assert outline == ([16, 48, 40, 8], edges)
    axes = figures[0].axes[0]
    assert axes.get_xlim() == (0.5, 4.5)
    assert axes.get_ylim() == pytest.approx((0, 48 * 1.15))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "bytes kept alive")


def test_of_many_steps_a_tread_shows_the_most_of_several(figures: list[Any]) -> None:
    kept = list(range(401))
    memory_svg(kept, [False] * 401, "words")
    heights, edges = stairs(figures[0])["forward"]
    assert heights == [*range(2, 401, 3), 400]
    assert edges[:2] == [0.5, 3.5]
    assert edges[-2:] == [399.5, 401.5]
    assert figures[0].axes[0].get_xlabel() == "step (shown is the most of every 3)"


def test_two_hundred_steps_have_a_tread_each(figures: list[Any]) -> None:
    memory_svg([1] * 200, [False] * 200, "words")
    assert len(stairs(figures[0])["forward"][0]) == 200


def test_nothing_kept_is_a_flat_stair(figures: list[Any]) -> None:
    memory_svg([0, 0], [False, True], "words")
    assert figures[0].axes[0].get_ylim() == (0, 1)


def test_no_figure_is_left_open_and_no_blank_stands_between_tags() -> None:
    before = plt.get_fignums()
    svg = memory_svg([16, 48], [False, True], "words")
    assert plt.get_fignums() == before
    assert "> <" not in svg
    assert "\n" not in svg
