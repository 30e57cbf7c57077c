"""Forty models drawn by five tools: the saved facts, pictures and verdicts are complete, small, and on their page."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from packaging.requirements import Requirement

from bench import gallery, pictures
from bench.default_pictures import DRAWERS, PAGE_MAKERS, Program, default_pictures, module_of
from bench.zoo import ZOO
from tools import ROOT

DATA, VERDICTS = gallery.load_pictures(), gallery.load_verdicts()
DRAWN = [row for row in DATA["pictures"] if row["state"] == "drawn"]
PAGE = BeautifulSoup(gallery.models_html(DATA, VERDICTS, "../_images/drawn"), "html.parser")
MAX_BYTES_OF_ALL = 3_500_000


def file_of(row: dict) -> Path:
    return gallery.FOLDER / row["model"] / row["file"]


# ---- what is saved ----


def test_there_is_a_row_for_every_model_and_every_tool() -> None:
    found = [(row["model"], row["tool"]) for row in DATA["pictures"]]
    assert found == [(model, tool) for model in ZOO for tool in DRAWERS]


def test_every_tool_was_there_in_its_pinned_version() -> None:
    assert "not installed" not in {row["state"] for row in DATA["pictures"]}
    text = (ROOT / "bench" / "requirements.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    pins = {
        pin.name: next(iter(pin.specifier)).version for pin in map(Requirement, filter(None, lines))
    }
    for tool in set(DRAWERS) - {"definebyrun"}:
        assert DATA["machine"]["versions"][tool] == pins[tool]


def test_every_picture_is_there_and_no_other_file() -> None:
    there = {path for path in gallery.FOLDER.rglob("*") if path.is_file()}
    assert there == {file_of(row) for row in DRAWN}


def test_a_picture_is_small_and_all_of_them_are() -> None:
    sizes = [file_of(row).stat().st_size for row in DRAWN]
    assert max(sizes) <= pictures.MAX_BYTES
    assert sum(sizes) <= MAX_BYTES_OF_ALL


def test_every_svg_can_be_read_and_fetches_nothing() -> None:
    for row in DRAWN:
        if row["file"].endswith(".svg"):
            text = file_of(row).read_text(encoding="utf-8")
            ElementTree.fromstring(text)
            assert not re.search(r'(?:href|src)="(?!#)|url\((?!#)|<script', text), row


def test_no_picture_names_where_a_package_lies() -> None:
    """torchlens writes the file of a module beside what it draws, with the folders of the machine that drew it."""
    for row in DRAWN:
        if row["file"].endswith(".svg"):
            assert not re.search(r"site(?:-|&#45;)packages", file_of(row).read_text("utf-8")), row
    from_here = (
        '<svg width="9pt" height="9pt"><text>(/home/me/site&#45;packages/torch/a.py:3)</text></svg>'
    )
    _, content, _ = pictures.as_picture(None, from_here, is_page=False)
    assert b"<text>(torch/a.py:3)</text>" in content


def test_ours_has_a_picture_of_every_model_that_fits_a_page() -> None:
    ours = [row for row in DRAWN if row["tool"] == "definebyrun"]
    assert [row["model"] for row in ours] == list(ZOO)
    assert max(row["width"] for row in ours) <= 1034
    assert max(row["height"] for row in ours) <= 2600


def test_nothing_that_is_saved_names_a_machine_or_a_day() -> None:
    text = gallery.FACTS.read_text(encoding="utf-8")
    assert not re.search(r"/\w+/\w+|\d{4}-\d{2}-\d{2}", text)


# ---- the verdicts ----


def test_every_model_has_a_verdict() -> None:
    assert list(VERDICTS) == list(ZOO)
    titles = [verdict["is"] for verdict in VERDICTS.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", ZOO)
def test_a_verdict_names_tools_that_drew_the_model_and_says_why(name: str) -> None:
    verdict = VERDICTS[name]
    drew = {row["tool"] for row in DRAWN if row["model"] == name}
    assert set(verdict) == {"is", "best", "why"}
    assert verdict["best"]
    assert set(verdict["best"]) <= drew
    assert 20 < len(verdict["why"]) < 200


# ---- the page ----


def test_the_page_has_five_pictures_and_a_verdict_for_each_model() -> None:
    sections = PAGE.select("section.drawn-model")
    assert [section["id"] for section in sections] == [f"drawn-{name}" for name in ZOO]
    for section, name in zip(sections, ZOO, strict=True):
        assert section.h3.get_text().startswith(VERDICTS[name]["is"])
        assert [b.get_text() for b in section.select("figcaption b")] == list(DRAWERS)
        assert VERDICTS[name]["why"] in section.select_one(".verdict").get_text()
        best = [figure.b.get_text() for figure in section.select("figure.best")]
        assert sorted(best) == sorted(VERDICTS[name]["best"])


def test_pictures_are_loaded_when_they_come_near_have_their_size_and_words() -> None:
    images = PAGE.select("img")
    assert len(images) == len(DRAWN)
    for image in images:
        assert image["loading"] == "lazy"
        assert int(image["width"]) > 0 < int(image["height"])
        assert len(image["alt"]) > 20
        assert image["src"].startswith("../_images/drawn/")


def test_a_tool_without_a_picture_says_why() -> None:
    said = {p.get_text() for p in PAGE.select(".no-picture")}
    assert said == {f"no picture: {r['state']}" for r in DATA["pictures"] if r["state"] != "drawn"}


def test_the_totals_count_every_model_once() -> None:
    rows = {row[0]: row for row in gallery.totals(DATA, VERDICTS).rows}
    alone = sum(int(row[1]) for row in rows.values())
    shared = [verdict for verdict in VERDICTS.values() if len(verdict["best"]) > 1]
    assert alone + len(shared) == len(ZOO)
    assert sum(int(row[2]) for row in rows.values()) == sum(len(v["best"]) for v in shared)


# ---- how they are made ----


def test_a_pass_of_ours_draws_the_next_model() -> None:
    measure = default_pictures("definebyrun", "perceptron", "cell")
    first, second = measure(), measure()
    assert first["state"] == second["state"] == "drawn"
    assert "hidden" in first["picture"]
    assert "lstm_cell" in second["picture"]


def test_tools_for_modules_get_the_model_or_the_program_around_it() -> None:
    model, inputs = module_of(ZOO["twins"])
    assert (type(model).__name__, len(inputs)) == ("Twins", 2)
    program, inputs = module_of(ZOO["training"])
    assert isinstance(program, Program)
    assert program(*inputs).requires_grad  # nothing has run backward through it
    assert all(p.grad is None for p in program.parameters())


def test_a_process_that_ends_is_followed_by_another_that_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fake:
        def __init__(self, _: str, tool: str, *names: str) -> None:
            self.state, self.names = "", list(names)

        def start(self) -> None:
            pass

        def end(self) -> None:
            pass

        def measure(self, _: float) -> dict | None:
            name = self.names.pop(0)
            self.state = "killed by signal 11" if name == "b" else ""
            return None if self.state else {"state": "drawn"}

    monkeypatch.setattr(pictures, "Worker", Fake)
    found = dict(pictures.passes("definebyrun", ["a", "b", "c"]))
    assert {name: facts["state"] for name, facts in found.items()} == {
        "a": "drawn",
        "b": "killed by signal 11",
        "c": "drawn",
    }


def test_tools_that_show_a_page_are_known() -> None:
    assert set(DRAWERS) > PAGE_MAKERS
    shown = {row["file"] for row in DRAWN if row["tool"] in PAGE_MAKERS}
    assert shown == {f"{tool}.webp" for tool in PAGE_MAKERS}
