"""The generated letters: the same for a seed, no image in two sets, balanced, and hard in the way the lessons say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from definebyrun_course.pieces.splits import Split
from definebyrun_course.pieces.strokes import LETTERS, SIDE, strokes, strokes_split


@pytest.fixture(scope="module")
def data() -> Split:
    return strokes_split()


def test_a_seed_gives_the_same_images_however_many_are_asked_for() -> None:
    few, many = strokes(10, seed=3), strokes(3000, seed=3)
    assert torch.equal(few[0], many[0][:10])
    assert torch.equal(few[1], many[1][:10])
    assert not torch.equal(few[0], strokes(10, seed=4)[0])
    before = torch.get_rng_state()
    strokes(10, seed=3)
    assert torch.equal(before, torch.get_rng_state()), "the caller's random state stays as it was"


def test_no_image_is_in_two_sets_and_every_letter_is_in_each(data: Split) -> None:
    images = torch.cat([data.x_train, data.x_val, data.x_test])
    assert images.shape == (24_000, SIDE**2)
    assert len(torch.unique(images[:, :8], dim=0)) == len(images)
    for y in (data.y_train, data.y_val, data.y_test):
        shares = torch.bincount(y, minlength=len(LETTERS)) / len(y)
        assert len(shares) == len(LETTERS)
        assert shares.min() > 0.08
        assert shares.max() < 0.12
    assert data.x_train.mean().abs() < 1e-4
    assert (data.x_train.std() - 1).abs() < 1e-4


def test_a_line_is_not_enough_and_a_hidden_layer_helps(data: Split) -> None:
    """A linear model is right on about 78 % of the test images, a network of 64 hidden units on about 91 %."""
    right = {}
    for hidden in (0, 64):
        torch.manual_seed(0)
        layers = (
            [nn.Linear(144, hidden), nn.ReLU(), nn.Linear(hidden, 10)]
            if hidden
            else [nn.Linear(144, 10)]
        )
        net = nn.Sequential(*layers)
        steps = 1500
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randint(len(data.y_train), (32,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.x_train[rows]), data.y_train[rows]).backward()
            optimizer.step()
            scheduler.step()
        with torch.no_grad():
            right[hidden] = (net(data.x_test).argmax(1) == data.y_test).float().mean().item()
    assert 0.74 < right[0] < 0.82
    assert right[64] > 0.88
