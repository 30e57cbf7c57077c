"""One palette: every colour is said once, is seen on its ground, and is the same in DOT, SVG and on pages."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest
import torch

import definebyrun
import definebyrun as dbr
from definebyrun.assets import asset
from definebyrun.drawing import palette
from definebyrun.drawing.palette import COLOURS, KINDS, ONLY, Colour
from tests.programs import different, folded, network, small

PACKAGE = Path(definebyrun.__file__).parent
HEX = re.compile(r"(?<![\w/])#(?:[0-9a-f]{6}|[0-9a-f]{3})\b", re.IGNORECASE)
THEMES = ("light", "dark")
GROUNDS = {kind.fill for kind in KINDS.values()} | {palette.PAPER}


def twice() -> dbr.Tape:
    """A graph that a backward pass has made."""
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        (slope,) = torch.autograd.grad(x**3, x, create_graph=True)
        slope.backward()
    return tape


RUNS = (small, network, folded, different, twice)


def test_no_other_file_of_the_package_holds_a_colour() -> None:
    found = {
        str(path.relative_to(PACKAGE)): HEX.findall(path.read_text("utf8"))
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".css", ".js", ".html")
    }
    assert [name for name, colours in found.items() if colours] == ["drawing/palette.py"]


def test_a_colour_is_said_once() -> None:
    assert len({colour.name for colour in COLOURS}) == len(COLOURS)
    assert len({colour.light for colour in COLOURS}) == len(COLOURS)  # a page finds it by that


@pytest.mark.parametrize("run", RUNS)
def test_svg_and_dot_are_drawn_in_colours_of_the_palette(run) -> None:
    light = {colour.light for colour in COLOURS}
    tape: dbr.Tape = run()
    for picture in (tape.svg(), tape.dot()):
        assert set(HEX.findall(picture)) <= light


@pytest.mark.parametrize("run", RUNS)
def test_every_colour_of_a_picture_and_of_its_style_has_a_variable_for_both_themes(run) -> None:
    html = run()._repr_html_()
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)[1]
    light, dark = (re.findall(r"--([\w-]+):#", part) for part in style.splitlines()[:2])
    assert light == dark
    assert set(re.findall(r"var\(--([\w-]+)\)", style)) <= set(light)
    svg = re.search(r"<svg.*</svg>", html)[0]
    for name, colour in set(re.findall(r'(fill|stroke)="(#\w+)"', svg)):
        assert f'.dbr [{name}="{colour}"]{{{name}:var(--' in style


def test_the_dark_colours_hold_on_screens_alone() -> None:
    css = palette.css(asset("drawing.css"), small().svg())
    for line in css.splitlines():
        if any(colour.dark in line for colour in COLOURS):
            assert line.startswith("@media screen{")


# ---- seen ----


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def linear(colour: str) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, two: str) -> float:
    darker, lighter = sorted(map(luminance, (one, two)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_words_have_a_contrast_of_at_least_four_and_a_half_on_every_card(theme: str) -> None:
    words = (palette.INK, palette.SMALL_PRINT_INK, palette.BACKWARD)
    pairs = [(ink, ground) for ink in words for ground in GROUNDS]
    pairs += [
        (each, palette.PAPER) for each in (*ONLY.values(), palette.OP_LINE, palette.MADE_LINE)
    ]
    faint = [(a.name, b.name) for a, b in pairs if contrast(*shown(theme, a, b)) < 4.5]
    assert faint == []


@pytest.mark.parametrize("theme", THEMES)
def test_lines_have_a_contrast_of_at_least_three_on_both_their_sides(theme: str) -> None:
    outside = (palette.PAPER, palette.CLUSTER_FILL)
    pairs = [(kind.line, ground) for kind in KINDS.values() for ground in (kind.fill, *outside)]
    lines = (palette.EDGE_LINE, palette.DATA_LINE, palette.CLUSTER_LINE, palette.MADE_LINE)
    pairs += [(line, ground) for line in lines for ground in outside]
    pairs += [(each, ground) for each in ONLY.values() for ground in GROUNDS]
    faint = [(a.name, b.name) for a, b in pairs if contrast(*shown(theme, a, b)) < 3]
    assert faint == []


def shown(theme: str, *colours: Colour) -> list[str]:
    return [getattr(colour, theme) for colour in colours]


# Machado, Oliveira and Fernandes 2009, severity 1: what protanopes, deuteranopes and tritanopes see of linear RGB.
BLIND = {
    "red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def lab(colour: str, blind: str) -> tuple[float, float, float]:
    """CIE Lab of what such a reader sees."""
    seen = [sum(a * b for a, b in zip(row, linear(colour), strict=True)) for row in BLIND[blind]]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(a * b for a, b in zip(row, seen, strict=True)) for row in to_xyz]
    x, y, z = (
        part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116
        for part in (max(0.0, a) / b for a, b in zip(xyz, (0.95047, 1, 1.08883), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one: str, two: str, blind: str) -> float:
    """The distance of two colours: about 2 is the least that is noticed side by side."""
    pairs = zip(lab(one, blind), lab(two, blind), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


@pytest.mark.parametrize("blind", BLIND)
@pytest.mark.parametrize("theme", THEMES)
def test_colour_blind_readers_tell_the_two_runs_of_a_comparison_and_gradients_from_values(
    theme: str, blind: str
) -> None:
    for pair in (tuple(ONLY.values()), (palette.BACKWARD, palette.INK)):
        assert apart(*shown(theme, *pair), blind) > 10


def test_kinds_that_colour_blind_readers_cannot_tell_by_colour_differ_in_a_word_or_a_shape() -> (
    None
):
    """A leaf and a parameter look alike to them: both bear their names; a made node bears its generation."""
    said = {"leaf": "leaf", "parameter": "parameter", "constant": "constant", "made": "gen 2"}
    signs = {name: (said.get(name), kind.rounded, kind.dashed) for name, kind in KINDS.items()}
    alike = [
        (one, two)
        for one, two in combinations(KINDS, 2)
        if KINDS[one].line != KINDS[two].line
        and signs[one] == signs[two]
        and min(
            apart(*shown(t, KINDS[one].line, KINDS[two].line), b) for t in THEMES for b in BLIND
        )
        < 10
    ]
    assert alike == []
