"""The forms in which a tape leaves the notebook: SVG of its own, PNG, files; and what stripping styles leaves of it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
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
from definebyrun.drawing.palette import (
    BACKWARD,
    CLUSTER_FILL,
    CLUSTER_LINE,
    INK,
    KINDS,
    ONLY,
    OP_LINE,
    PAPER,
    SMALL_PRINT_INK,
)
from definebyrun.drawing.png import MISSING, png
from definebyrun.drawing.standalone import MARGIN, standalone_svg
from tests.programs import different, folded, network, small
from tools import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def last_words(tape: dbr.Tape) -> list[str]:
    """What the live picture shows at the end of the run."""
    return [
        text.text or ""
        for text in ElementTree.fromstring(tape.svg()).iter(f"{SVG}text")
        if text.get("display") != "none"
    ]


# ---- SVG of its own ----


@pytest.mark.parametrize("run", [small, network])
def test_alone_the_picture_says_what_it_says_at_the_end_and_nothing_else(run: Any) -> None:
    tape = run()
    image = standalone_svg(tape.view.picture)
    assert words(image) == last_words(tape)
    assert len(words(image)) < tape.svg().count("<text")
    assert not re.search(r"class=|data-|style|<script", image)


def looks(root: ElementTree.Element) -> list[tuple[ElementTree.Element, dict[str, str]]]:
    """Every element with the attributes that hold for it: its own, and those of the groups around it."""
    found = []
    todo: list[tuple[ElementTree.Element, dict[str, str]]] = [(root, {})]
    while todo:
        element, around = todo.pop()
        look = around | element.attrib
        found.append((element, look))
        todo += [(child, look) for child in element]
    return found


def test_alone_the_picture_has_all_shapes_in_the_light_colours_of_the_palette() -> None:
    tape = network()
    live, image = (
        ElementTree.fromstring(s) for s in (tape.svg(), standalone_svg(tape.view.picture))
    )
    for tag in ("rect", "path", "polygon"):
        paper = tag == "rect"
        assert len(list(image.iter(SVG + tag))) == len(list(live.iter(SVG + tag))) + paper
    drawn = looks(image)
    rects = {
        tuple(map(look.get, ("fill", "stroke", "stroke-dasharray")))
        for each, look in drawn
        if each.tag == f"{SVG}rect"
    }
    borders = {
        (kind.fill.light, kind.line.light, ("4 3" if kind.dashed else None))
        for kind in map(KINDS.get, ("parameter", "op", "inner", "constant"))
    }
    assert rects == borders | {
        (PAPER.light, None, None),
        ("none", OP_LINE.light, None),  # the second border of the output
        (CLUSTER_FILL.light, CLUSTER_LINE.light, None),  # the module
    }
    inks = {
        (each.text, look["fill"], look.get("font-weight"))
        for each, look in drawn
        if each.tag == f"{SVG}text"
    }
    assert ("logits = linear", INK.light, "700") in inks
    assert ("logits = linear", SMALL_PRINT_INK.light, None) in inks  # the frame of its nodes
    assert ("parameter", SMALL_PRINT_INK.light, None) in inks
    assert ("grad 1", BACKWARD.light, None) in inks


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
    assert not image.info
    assert set(re.findall(rb"IHDR|IDAT|IEND|tEXt|iTXt|zTXt|tIME|pHYs", data)) == {
        b"IHDR",
        b"IDAT",
        b"IEND",
    }
    assert len(data) < 200_000


def test_the_same_run_gives_the_same_png() -> None:
    assert small().png() == small().png()


def test_a_png_has_each_card_in_its_place_and_its_colour() -> None:
    tape = network()
    image = pixels(tape.png()).convert("RGB")
    root = ElementTree.fromstring(standalone_svg(tape.view.picture))
    start, above = map(float, root.get("viewBox").split()[:2])
    assert image.getpixel((0, 0)) == (255, 255, 255)
    fills = {kind.fill.light for kind in KINDS.values()}
    cards = [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") in fills]
    assert len(cards) == 13
    for card in cards:
        x, y, width, height = (float(card.get(k)) for k in ("x", "y", "width", "height"))
        left, bottom = (x - start) * 2, (y + height - above) * 2
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
    start, above = map(float, root.get("viewBox").split()[:2])
    changes = {}
    for card in root.iter(f"{SVG}rect"):
        if card.get("width") != "100%":
            x, y, width = (float(card.get(k)) for k in ("x", "y", "width"))
            row = round((y - above) * 2)
            columns = range(round((x - start + 16) * 2), round((x - start + width - 16) * 2))
            dark = [image.getpixel((column, row)) < 200 for column in columns]
            changes.setdefault(card.get("stroke-dasharray"), []).append(
                sum(a != b for a, b in pairwise(dark))
            )
    assert min(changes["4 3"]) > 8
    assert max(changes[None]) == 0


@pytest.mark.parametrize("run", [small, network, folded, different])
def test_a_png_knows_every_shape_that_is_drawn(run: Any) -> None:
    tape = run()
    root = ElementTree.fromstring(standalone_svg(tape.view.picture))
    assert {part.tag.removeprefix(SVG) for part in root.iter()} <= {
        *("svg", "g"),
        *("rect", "path", "polygon", "text"),
    }
    commands = {
        c for path in root.iter(f"{SVG}path") for c in re.findall("[A-Za-z]", path.get("d"))
    }
    assert commands <= set("MLChvZ")
    assert {text.get("text-anchor") for text in root.iter(f"{SVG}text")} <= {None, "end", "middle"}
    assert tape.png()


def test_a_png_of_a_folded_module_has_the_edges_of_further_cards_behind_it() -> None:
    tape = folded()
    image = pixels(tape.png()).convert("L")
    root = ElementTree.fromstring(standalone_svg(tape.view.picture))
    start, above = map(float, root.get("viewBox").split()[:2])
    card = next(r for r in root.iter(f"{SVG}rect") if r.get("fill") == KINDS["op"].fill.light)
    x, y, width, height = (float(card.get(k)) for k in ("x", "y", "width", "height"))
    column, row = round((x + 20 - start) * 2), round((y + height - above) * 2)
    below = [image.getpixel((column, row + step)) < 190 for step in range(3, 18)]
    edges = sum(dark and not before for before, dark in zip([False, *below], below, strict=False))
    assert edges == 2
    right = [
        image.getpixel((round((x + width - start) * 2) + step, row - 30)) < 190
        for step in range(3, 18)
    ]
    assert (
        sum(dark and not before for before, dark in zip([False, *right], right, strict=False)) == 2
    )


def test_a_png_of_a_comparison_has_the_marks_of_both_runs() -> None:
    tape = different()
    colours = {colour for _, colour in pixels(tape.png()).convert("RGB").getcolors(1 << 16)}
    assert {tuple(bytes.fromhex(each.light[1:])) for each in ONLY.values()} <= colours


def test_a_very_large_picture_is_drawn_at_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("definebyrun.drawing.png.MAX_PIXELS", 100_000)
    image = pixels(small().png())
    assert 90_000 < image.width * image.height < 110_000


def test_letters_that_the_font_lacks_do_no_harm() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="30"><text x="5" y="20">权重</text></svg>'
    assert pixels(png(svg)).size == (180, 60)


def test_without_resvg_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(RuntimeError) as error:
        small().png()
    assert str(error.value) == MISSING


def test_without_matplotlib_a_png_has_the_letters_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("definebyrun.drawing.png.font_files", dict)
    assert pixels(small().png()).size == pixels(small().png()).size


# ---- PDF ----


def test_a_pdf_is_a_page_of_the_size_of_the_picture_without_a_date() -> None:
    tape = small()
    data, picture = tape.pdf(), tape.view.picture
    sides = [(side + 2 * MARGIN) * 72 / 96 for side in (picture.width, picture.height)]
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
    assert box is not None
    assert [float(side) for side in box.groups()] == pytest.approx(sides, abs=1)
    assert data == small().pdf()
    assert re.findall(rb"/BaseFont /[A-Z+]*(DejaVuSansMono[-A-Za-z]*)", data)


def test_a_pdf_knows_every_shape_that_is_drawn() -> None:
    for run in (network, folded, different):
        assert run().pdf().startswith(b"%PDF-")


@pytest.mark.parametrize("missing", ["svglib", "matplotlib"])
def test_without_what_a_pdf_needs_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "svglib":
        monkeypatch.setitem(sys.modules, "svglib.svglib", None)
    else:
        monkeypatch.setattr("definebyrun.drawing.pdf.font_files", dict)
    with pytest.raises(RuntimeError, match="pip install svglib matplotlib"):
        small().pdf()


# ---- files ----


def test_a_tape_is_saved_in_the_form_that_its_ending_names(tmp_path: Path) -> None:
    tape = small()
    for ending in ("svg", "png", "pdf", "html", "dot", "json", "TXT"):
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


@pytest.mark.parametrize("name", ["run.gif", "run", ".png"])
def test_an_ending_that_says_nothing_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=r"must end in one of \.svg, \.png, \.pdf, \.html, \.dot, \.json, \.txt"
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
    *size, text = Stripped(tape._repr_html_()).words
    assert len(size) == 1
    assert size[0].endswith(" kept for backward.")
    assert text == "The same as text"
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


def test_where_style_is_stripped_lines_of_code_are_numbered_once_and_keep_their_indentation() -> (
    None
):
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        for _ in range(2):
            loss = (w * w).sum()
        loss.backward()
    html = tape.html()
    words = Stripped(html).words
    assert words[1:4] == ["for _ in range(2):", "loss = (w * w).sum()", "loss.backward()"]
    assert re.search(r'<ol [^>]*style="white-space:pre"><li[^>]*>for .*<li[^>]*>    loss = ', html)


# ---- printed ----

PRINTS = """
import torch, definebyrun as dbr
权 = torch.tensor([0.5, 1.0], requires_grad=True)
with dbr.record() as tape:
    (权 * 2 - 1).sum().backward()
for shown in (tape, tape.play(), tape.table(), dbr.draw(权 * 2), dbr.compare(tape, tape), tape.memory()):
    print(shown)
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_what_is_printed_never_raises_whatever_standard_output_can_write(
    tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "program.py").write_text(PRINTS, "utf8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert done.stderr == b""
    said = done.stdout.decode(encoding)
    arrow, name = ("→", "权") if encoding == "utf-8" else ("->", r"\u6743")
    assert f"mul({name}, 2) {arrow} [1, 2]" in said
    assert f"passes [2, 2] to AccumulateGrad({name})" in said
