"""Answers that do not work: each story is whole, and its claims hold for other seeds, too."""

from __future__ import annotations

import re

import nbformat
import pytest
import torch
from torch import nn

from tests.course.lesson_code import cells
from tools import chapters

BOOK = nbformat.read(chapters.find("29").notebook, as_version=4)
TEXT = "\n\n".join(cell.source for cell in BOOK.cells if cell.cell_type == "markdown")
STORIES = re.findall(r"^## (\d+ .*?)\s*$\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE)


def test_there_are_twelve_stories_in_order() -> None:
    assert [int(title.split()[0]) for title, _ in STORIES] == list(range(1, 13))


@pytest.mark.parametrize(("title", "text"), STORIES, ids=[title for title, _ in STORIES])
def test_a_story_says_where_it_was_met_asks_first_and_explains(title: str, text: str) -> None:
    assert re.match(r"\s*\*Met in ", text), "the kind of source, and no name"
    assert "> **Predict.**" in text
    assert "<details><summary>Explanation</summary>" in text or "measured" in text


def test_the_graders_have_accepted_each_repair_and_no_wrong_answer() -> None:
    outputs = [output for cell in BOOK.cells for output in cell.get("outputs", [])]
    every = "\n".join(output.get("data", {}).get("text/plain", "") for output in outputs)
    for name in ("adaptive_depth", "numeric", "plateau", "recompute", "warm_cosine"):
        assert f"Exercise {name}: correct" in every
    assert every.count("Exercise cross_entropy: not yet") == 2


def test_relu_vanishes_as_linear_starts_and_does_not_with_the_gain_of_kaiming() -> None:
    first_to_last = cells("29", "packages", "relu-vanishes")["first_to_last"]
    for seed in range(24):
        assert first_to_last(False, seed) < 1e-6, "the text says that it vanishes"
        assert 0.3 < first_to_last(True, seed) < 30, "the text says that it stays"


def test_the_formula_of_the_corrected_step_is_that_of_adam() -> None:
    steps = cells("29", "packages", "adam-first")["steps"]
    for gradient in (1e-2, 1.0, 1e4):
        p = nn.Parameter(torch.zeros((), dtype=torch.float64))
        optimizer = torch.optim.Adam([p], lr=1e-3)
        moves = []
        for _ in range(8):
            before, p.grad = p.item(), torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
            moves.append((before - p.item()) / 1e-3)
        assert moves == pytest.approx(steps(gradient, corrected=True), rel=1e-6)


def test_the_published_grader_accepts_all_six_and_the_right_one() -> None:
    names = ("packages", "published-grader", "six-answers", "six-answers-more")
    found = cells("29", *names)
    wrong = ("from_epsilon", "one_maximum", "zero_gradient", "no_shift", "double_gradient")
    for name in ("right", *wrong, "spoils_its_input"):
        assert found["published_grader"](found[name]) == "accepted", name


def test_a_gradient_in_pieces_is_off_for_other_draws_too() -> None:
    for seed in range(24):
        torch.manual_seed(seed)
        x, y = torch.randn(10, 3), torch.randn(10)
        w = torch.zeros(3, requires_grad=True)
        (whole,) = torch.autograd.grad((x @ w - y).square().mean(), w)
        parts = [(x[:8] @ w - y[:8]).square().mean(), (x[8:] @ w - y[8:]).square().mean()]
        for weights, right in (((0.5, 0.5), False), ((0.8, 0.2), True)):
            total = weights[0] * parts[0] + weights[1] * parts[1]
            (g,) = torch.autograd.grad(total, w, retain_graph=True)
            assert torch.allclose(g, whole, rtol=1e-4, atol=1e-6) == right
