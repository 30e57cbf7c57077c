"""The forms in which a tape leaves the notebook: SVG of its own, PNG, files; and what stripping styles leaves of it."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

import definebyrun as dbr
from definebyrun.assets import asset
from definebyrun.drawing.png import MISSING, png
from definebyrun.drawing.standalone import MARGIN, standalone_svg
from tests.programs import network, small

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def last_words(tape: dbr.Tape) -> list[str]:
    """What the live picture shows at the end of the run."""
    return [
        text.text or ""
        for text in ElementTree.fromstring(tape.svg()).iter(f"{SVG}text")
        if "dbr-off" not in text.get("class", "").split()
    ]


# ---- SVG of its own ----


@pytest.mark.parametrize("run", [small, network])
def test_alone_the_picture_says_what_it_says_at_the_end_and_nothing_else(run: Any) -> None:
    tape = run()
    image = standalone_svg(tape.view.picture)
    assert words(image) == last_words(tape)
    assert len(words(image)) < tape.svg().count("<text")
    assert not re.search(r"class=|data-|style|<script", image)


def test_alone_the_picture_has_all_shapes_in_the_colours_of_the_style() -> None:
    tape = network()
    live, image = (
        ElementTree.fromstring(s) for s in (tape.svg(), standalone_svg(tape.view.picture))
    )
    for tag in ("rect", "path", "polygon"):
        paper = tag == "rect"
        assert len(list(image.iter(SVG + tag))) == len(list(live.iter(SVG + tag))) + paper
    light = asset("drawing.css").partition("}")[0]
    colour = dict(re.findall(r"--([\w-]+):(#\w+)", light))
    looks = {
        (rect.get("fill"), rect.get("stroke"), rect.get("stroke-dasharray"))
        for rect in image.iter(f"{SVG}rect")
    }
    assert looks == {
        (colour["bg"], None, None),
        (colour["par"], colour["par-l"], None),
        (colour["op"], colour["op-l"], None),
        (colour["in"], colour["op-l"], None),
        (colour["con"], colour["con-l"], "4 3"),
        ("none", colour["op-l"], None),
        (colour["in"], colour["con-l"], None),  # the frame around the module
    }
    inks = {
        text.text: (text.get("fill"), text.get("font-weight")) for text in image.iter(f"{SVG}text")
    }
    assert inks["logits = linear"] == (colour["ink"], "700")
    assert inks["parameter"] == (colour["dim"], None)
    assert inks["grad 1"] == (colour["back"], None)


def test_alone_not_yet_is_written_slanted() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        (w * 3).sum()
    image = ElementTree.fromstring(standalone_svg(tape.view.picture))
    slanted = {t.text for t in image.iter(f"{SVG}text") if t.get("font-style") == "italic"}
    assert slanted == {"grad not yet", ".grad not yet"}


# ---- PNG ----


def pixels(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("run", [small, network])
def test_a_png_is_twice_the_picture_small_and_bare_of_dates(run: Any) -> None:
    tape = run()
    data, picture = tape.png(), tape.view.picture
    image = pixels(data)
    size = (picture.width + 2 * MARGIN, picture.height + 2 * MARGIN)
    assert image.size == tuple(round(side * 2) for side in size)
    assert image.mode == "P"
    assert image.info.keys() <= {"transparency"}
    assert set(re.findall(rb"IHDR|PLTE|IDAT|IEND|tEXt|iTXt|zTXt|tIME|pHYs", data)) == {
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
    }
    assert len(data) < 70_000


def test_the_same_run_gives_the_same_png() -> None:
    assert small().png() == small().png()


def test_a_png_has_each_card_in_its_place_and_its_colour() -> None:
    tape = network()
    image = pixels(tape.png()).convert("RGB")
    root = ElementTree.fromstring(standalone_svg(tape.view.picture))
    shift = [float(n) for n in re.findall(r"-?[\d.]+", root.find(f"{SVG}g").get("transform"))]
    assert image.getpixel((0, 0)) == (255, 255, 255)
    cards = [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") not in ("#fff", "none")]
    cards = [rect for rect in cards if not rect.get("fill-opacity")]  # a frame lies behind them
    assert len(cards) == 13
    for card in cards:
        x, y, width, height = (float(card.get(k)) for k in ("x", "y", "width", "height"))
        left = (x + shift[0] + MARGIN) * 2
        bottom = (y + height + shift[1] + MARGIN) * 2
        wanted = tuple(bytes.fromhex(card.get("fill")[1:]))
        inside = image.getpixel((round(left + width), round(bottom - 3)))
        assert max(abs(a - b) for a, b in zip(inside, wanted, strict=True)) <= 6
        if not card.get("stroke-dasharray"):
            border = image.getpixel((round(left + width), round(bottom)))
            assert sum(border) < sum(inside) - 60


def test_a_png_has_dashes_where_the_picture_has() -> None:
    """Along the upper edge of a constant's card, line and gap follow each other; along a leaf's there is no gap."""
    tape = small()
    image = pixels(tape.png()).convert("L")
    root = ElementTree.fromstring(standalone_svg(tape.view.picture))
    shift = [float(n) for n in re.findall(r"-?[\d.]+", root.find(f"{SVG}g").get("transform"))]
    changes = {}
    for card in root.iter(f"{SVG}rect"):
        if card.get("width") != "100%":
            x, y, width = (float(card.get(k)) for k in ("x", "y", "width"))
            row = round((y + shift[1] + MARGIN) * 2)
            columns = range(
                round((x + shift[0] + MARGIN + 16) * 2), round((x + shift[0] + width - 8) * 2)
            )
            dark = [image.getpixel((column, row)) < 200 for column in columns]
            changes.setdefault(card.get("stroke-dasharray"), []).append(
                sum(a != b for a, b in pairwise(dark))
            )
    assert min(changes["4 3"]) > 8
    assert max(changes[None]) == 0


@pytest.mark.parametrize("run", [small, network])
def test_a_png_knows_every_shape_that_is_drawn(run: Any) -> None:
    root = ElementTree.fromstring(standalone_svg(run().view.picture))
    assert {part.tag.removeprefix(SVG) for part in root.iter()} <= {
        *("svg", "g"),
        *("rect", "path", "polygon", "text"),
    }
    commands = {
        c for path in root.iter(f"{SVG}path") for c in re.findall("[A-Za-z]", path.get("d"))
    }
    assert commands <= set("MLChZ")


def test_a_very_large_picture_is_drawn_at_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("definebyrun.drawing.png.MOST_PIXELS", 100_000)
    image = pixels(small().png())
    assert 90_000 < image.width * image.height < 110_000


def test_letters_that_the_font_lacks_do_no_harm() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 30"><text x="5" y="20">权重</text></svg>'
    assert pixels(png(svg)).size == (180, 60)


def test_without_matplotlib_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError) as error:
        small().png()
    assert str(error.value) == MISSING


# ---- files ----


def test_a_tape_is_saved_in_the_form_that_its_ending_names(tmp_path: Path) -> None:
    tape = small()
    for ending in ("svg", "png", "html", "dot", "json", "TXT"):
        tape.save(tmp_path / f"run.{ending}")
        tape.save(str(tmp_path / f"again.{ending}"))
        first, again = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("run", "again"))
        assert first == again
    read = {path.suffix: path.read_bytes() for path in tmp_path.glob("run.*")}
    assert words(read[".svg"].decode()) == last_words(tape)
    assert read[".png"] == tape.png()
    assert read[".dot"].decode().startswith("digraph")
    assert len(json.loads(read[".json"])["steps"]) == len(tape.steps)
    assert read[".TXT"].decode() == tape.text() + "\n"
    page = read[".html"].decode()
    assert page.startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in page
    assert tape.html() in page


@pytest.mark.parametrize("name", ["run.pdf", "run", ".png"])
def test_an_ending_that_says_nothing_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=r"must end in one of \.svg, \.png, \.html, \.dot, \.json, \.txt"
    ) as error:
        small().save(tmp_path / name)
    assert str(tmp_path) not in str(error.value)
    assert list(tmp_path.iterdir()) == []


# ---- where a viewer strips styles, scripts and inline SVG ----


class Stripped(HTMLParser):
    """What an untrusted notebook shows in JupyterLab: allowed elements, and the words of those that are not.

    As sanitize-html does it: styles and scripts go with their content, of other elements only the tags go; an
    attribute without a value goes too.
    """

    KEPT = frozenset(
        [
            "a",
            "b",
            "button",
            "code",
            "details",
            "div",
            "h4",
            "i",
            "img",
            "input",
            "li",
            "ol",
            "p",
            "pre",
            "span",
            "summary",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ]
    )

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in ("img", "input", "rect", "path", "polygon"):
            hidden = tag in self.KEPT and bool(dict(attrs).get("hidden"))
            folded = tag == "pre"  # in a closed <details>
            self._open.append((tag, hidden or folded or tag in ("style", "script")))

    def handle_endtag(self, tag: str) -> None:
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(gone for _, gone in self._open):
            self.words.append(data.strip())


@pytest.mark.parametrize("form", ["_repr_html_", "html"])
def test_where_style_and_svg_are_stripped_an_image_shows_the_whole_picture(form: str) -> None:
    tape = small()
    left = Stripped(getattr(tape, form)())
    (image,) = left.images
    kind, _, data = image["src"].partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert words(base64.b64decode(data).decode()) == last_words(tape)
    assert image["alt"].startswith("graph with 5 operations")


def test_where_style_and_svg_are_stripped_no_word_of_the_picture_is_left_lying_around() -> None:
    tape = small()
    assert Stripped(tape._repr_html_()).words == ["The same as text"]
    left = Stripped(tape.html()).words
    assert left[0] == "Code"
    assert left[-2].startswith("Backward 7 of 7.")
    assert left[-1] == "The same as text"
    assert not {"grad not yet", "AccumulateGrad", "● forward ○ backward"} & set(left)


def test_the_image_that_stands_in_is_small() -> None:
    """It is stored in notebooks: less than 15 kB for a picture of a lesson's size, less than half of a PNG."""
    for tape in (small(), network()):
        (image,) = Stripped(tape.html()).images
        assert len(image["src"]) < 15_000
        assert len(image["src"]) < len(base64.b64encode(tape.png())) / 2
