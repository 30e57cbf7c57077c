"""A file from somebody else is shown as text: nothing of it becomes a tag, a script or an address in a page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import definebyrun as dbr

FILES = {
    file.stem: file.read_text("utf8")
    for file in sorted(Path(__file__).with_name("saved_0_1").glob("*.json"))
}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><img src=x onerror=alert(1)>",
    "]]><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '" style="background:url(//evil.test)',
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>y</a>",
    "</style><style>*{background:url(//evil.test)}</style>",
    "</pre></details><iframe srcdoc=x>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;&#60;b&#62;",
    "\\u003cscript\\u003e",
    "<\u2028script\x00>\x1b[31m\x07",
    "<TABLE><TR><TD HREF='javascript:1'>x</TD></TR></TABLE>",
]
WORDS = {"kind", "phase", "during", "side", "dtype", "format"}
"""Texts that are words of the format, of which a file cannot choose another."""


PAIRS = [
    (file, text)
    for i, text in enumerate(HOSTILE)
    for j, file in enumerate(FILES)
    if file in ("training_step", "compared") or (i + j) % 4 == 0
]
"""Every text in two kinds of files, and some in each other kind."""


def hostile(part: Any, text: str, key: str = "") -> Any:
    """A file in which every text is this one; numbers that are written as text stay."""
    if isinstance(part, dict):
        is_call = {"path", "kind"} <= part.keys()  # the class of a module is a text
        return {
            k: hostile(v, text, "class" if is_call and k == "kind" else k) for k, v in part.items()
        }
    if isinstance(part, list):
        return [
            f"{text} {i}" if key == "sides" else hostile(v, text, key) for i, v in enumerate(part)
        ]
    free = isinstance(part, str) and key not in WORDS and key not in ("data", "low", "high")
    return text if free and part else part


def harmless(text: str) -> str:
    """A text as long, without the signs that have a meaning in HTML."""
    return re.sub("[<>&\"']", "x", text)


OPENINGS = {
    *(" A drawing of a run. ", " A run. ", " The steps of a run. "),
    *(" A run as text. ", " A plot. "),
}
"""The first lines of what a notebook shows, from our own templates."""


class Page(HTMLParser):
    """The tags of a page with the names of their attributes, its addresses, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attributes)))
        for name, value in attributes:
            assert not name.startswith("on")
            assert name not in ("srcdoc", "action", "formaction", "style") or "url" not in str(
                value
            )
            if name in ("href", "src", "xlink:href", "data", "srcset"):
                self.addresses.append(value or "")

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)

    def handle_comment(self, data: str) -> None:
        assert data in OPENINGS, f"a comment: {data}"


def pages(tape: dbr.Tape, folder: Path) -> Iterator[str]:
    """Everything of a tape that a browser shows."""
    yield tape.html()
    yield tape._repr_html_()
    yield tape.table()._repr_html_()
    yield tape.svg()
    for name in ("run.html", "run.svg"):
        tape.save(folder / name)
        yield (folder / name).read_text("utf8")


@pytest.mark.parametrize(("file", "text"), PAIRS)
def test_every_text_of_a_file_stays_text_in_a_page(file: str, text: str, tmp_path: Path) -> None:
    saved = json.loads(FILES[file])
    bad, good = (dbr.load(json.dumps(hostile(saved, words))) for words in (text, harmless(text)))
    for one, other in zip(pages(bad, tmp_path), pages(good, tmp_path), strict=True):
        page, expected = Page(one), Page(other)
        assert page.tags == expected.tags
        assert one.count("<") == other.count("<")  # whatever a parser makes of them
        assert len(page.scripts) == len(expected.scripts)
        for address in page.addresses:
            assert address.startswith("data:image/svg+xml;base64,")
            picture = ElementTree.fromstring(base64.b64decode(address.partition(",")[2]))
            assert not {"script", "a", "image", "foreignObject"} & {
                part.tag.rpartition("}")[2] for part in picture.iter()
            }


@pytest.mark.parametrize("text", HOSTILE)
def test_the_players_data_comes_back_and_has_no_tag_in_it(text: str) -> None:
    tape = dbr.load(json.dumps(hostile(json.loads(FILES["training_step"]), text)))
    data = re.findall(
        r'<script type="application/json" class="dbr-json">(.*?)</script>', tape.html()
    )
    assert len(data) == 1
    assert "<" not in data[0]
    assert any(text.split()[0] in step["t"] for step in json.loads(data[0]))


@pytest.mark.parametrize(("file", "text"), PAIRS)
def test_a_saved_picture_is_well_formed_and_runs_nothing(
    file: str, text: str, tmp_path: Path
) -> None:
    tape = dbr.load(json.dumps(hostile(json.loads(FILES[file]), text)))
    tape.save(tmp_path / "run.svg")
    for svg in ((tmp_path / "run.svg").read_text("utf8"), tape.svg()):
        for part in ElementTree.fromstring(svg).iter():
            assert part.tag.rpartition("}")[2] in {"svg", "g", "rect", "path", "polygon", "text"}
            assert not any(name.startswith("on") or name.endswith("href") for name in part.attrib)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_adds_nothing_to_the_dot_file(text: str) -> None:
    import pygraphviz

    saved = json.loads(FILES["training_step"])
    for words in (text, '", URL="javascript:alert(1)', "a\\", '\\"]; x -> y ['):
        with_it, without = (
            pygraphviz.AGraph(string=dbr.load(json.dumps(hostile(saved, w))).dot())
            for w in (words.replace("\x00", ""), harmless(words).replace("\x00", ""))
        )
        assert sorted(with_it.nodes()) == sorted(without.nodes())
        assert len(with_it.edges()) == len(without.edges())
        for node in with_it.nodes():
            assert node.attr.keys() == without.get_node(node).attr.keys()
            assert not node.attr["URL"]
            assert not node.attr["label"].startswith("<<")
