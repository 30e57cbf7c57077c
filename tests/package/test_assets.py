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

SCRIPTS = ("open.js", "player.js", "zoom.js")
STYLES = ("drawing.css", "open.css", "player.css", "table.css")


def written(name: str) -> str:
    return files("definebyrun.assets").joinpath(name).read_text("utf8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_of_a_script_only_comments_and_white_space_go(name: str) -> None:
    without_comments = re.sub(r"(^|\s)//.*", "", written(name), flags=re.MULTILINE)
    assert re.sub(r"\s", "", asset(name)) == re.sub(r"\s", "", without_comments)
    assert len(asset(name)) < 0.8 * len(written(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_in_a_script_spaces_stay_in_strings_and_where_they_part_words_or_signs(name: str) -> None:
    quoted = r"""("[^"]*"|'[^']*'|`[^`]*`)"""
    lines = [line for line in written(name).splitlines() if not line.strip().startswith("//")]
    strings = [s for line in lines for s in re.findall(quoted, line.partition(" // ")[0])]
    assert re.findall(quoted, asset(name)) == strings
    assert not re.search(r"\b(const|let|return|new|function|else|of|in)[A-Z]\w*=>", asset(name))
    assert "const " in asset(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_line_of_a_script_lies_within_a_string_or_a_comment_that_began_before_it(
    name: str,
) -> None:
    """There indentation, or a line that looks like a comment, would mean something."""
    script = written(name)
    assert "/*" not in script
    assert all(line.count("`") % 2 == 0 for line in script.splitlines())
    assert not re.search(r"\\[\"'`]|[+-] [+-]", script)


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
