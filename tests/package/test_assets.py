"""The texts that every drawing carries: made smaller without a change of meaning; HTML in which all is escaped."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest
import torch

import definebyrun as dbr
from definebyrun.assets import asset, render_html
from definebyrun.player import instead_html
from definebyrun.text.table import Table

STYLES = ("drawing.css", "player.css", "table.css")


def written(name: str) -> str:
    return files("definebyrun.assets").joinpath(name).read_text("utf8")


def test_of_a_script_only_indentation_empty_lines_and_comment_lines_go() -> None:
    lines = [line.strip() for line in written("player.js").splitlines()]
    kept = [line for line in lines if line and not line.startswith("//")]
    assert asset("player.js").splitlines() == kept
    assert len(kept) < len(lines)


def test_no_line_of_the_script_lies_within_a_string_or_a_comment_that_began_before_it() -> None:
    """There indentation, or a line that looks like a comment, would mean something."""
    script = written("player.js")
    assert "/*" not in script
    assert all(line.count("`") % 2 == 0 for line in script.splitlines())


@pytest.mark.parametrize("name", STYLES)
def test_of_a_style_only_comments_and_white_space_go(name: str) -> None:
    def bare(style: str) -> str:
        style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
        return re.sub(r"\s|;(?=\s*})", "", style)

    assert bare(asset(name)) == bare(written(name))
    assert "\n" not in asset(name)
    assert len(asset(name)) < len(written(name))


def test_a_space_that_means_something_stays() -> None:
    style = asset("drawing.css")
    assert ".dbr .dbr-in{display:block !important}" in style  # a descendant
    assert "padding:4px 12px 8px" in style
    assert ":where(.dbr) text{" in style
    assert "calc(var(--m) * 20px)" in asset("player.css")


HOSTILE = '"><script>alert(1)</script>&'


def test_everything_that_is_put_into_html_is_escaped() -> None:
    table = Table((HOSTILE,), ((HOSTILE,),))._repr_html_()
    image = render_html("image.html", label=HOSTILE, image=HOSTILE)
    instead = instead_html(HOSTILE, HOSTILE)
    page = render_html("page.html", title=HOSTILE, body="")
    for html in (table, image, instead, page):
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in html


def test_names_of_a_run_are_escaped_in_picture_and_text() -> None:
    graph = dbr.draw(torch.ones(1, requires_grad=True) * 2)
    hostile = json.dumps("<script>alert(1)</script>")
    html = dbr.load(graph.json().replace('"MulBackward0"', hostile))._repr_html_()
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert") >= 2  # in the picture, in the text
