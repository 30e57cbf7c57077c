"""The page made from docstrings names all that the package makes public, as it is when the package is imported."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

import definebyrun as dbr
from tools import ROOT


def build(source: Path) -> str:
    """Build the pages in a folder with the `{api}` directive; the warnings."""
    with docutils_namespace(), (source / "said").open("w", encoding="utf-8") as said:
        Sphinx(
            srcdir=source,
            confdir=None,
            outdir=source / "out",
            doctreedir=source / "trees",
            buildername="html",
            confoverrides={
                "extensions": ["myst_parser", "api"],
                "add_module_names": False,
                "suppress_warnings": ["myst.xref_missing", "myst.header"],
            },
            status=None,
            warning=said,
        ).build()
    return (source / "said").read_text("utf-8")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of this page alone, with the package beside it as it lies beside the real one."""
    folder = tmp_path_factory.mktemp("api")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / dbr.__name__, folder / dbr.__name__, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def page(source: Path) -> BeautifulSoup:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "_ext"))
        (source / "index.md").write_text((ROOT / "chapters/api.md").read_text("utf-8"), "utf-8")
        assert build(source) == ""
    return BeautifulSoup((source / "out" / "index.html").read_text("utf-8"), "html.parser")


def entry(page: BeautifulSoup, name: str) -> Tag:
    found = page.find(id=f"definebyrun.{name}")
    assert found, f"{name} is not on the page: name it in chapters/api.md"
    return found


def members(thing: type) -> list[str]:
    """What the text of a class makes public: its fields, methods and properties."""
    fields = [f.name for f in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else []
    written = re.findall(r"^    def (\w+)\(", inspect.getsource(thing), re.MULTILINE)
    return [name for name in [*fields, *written] if not name.startswith("_")]


def letters(text: str) -> str:
    return re.sub(r"\W", "", text)


@pytest.mark.parametrize("name", dbr.__all__)
def test_every_public_name_is_there_with_the_first_sentence_of_its_docstring(
    page: BeautifulSoup, name: str
) -> None:
    said = entry(page, name).find_next_sibling("dd").get_text(" ", strip=True)
    first = inspect.getdoc(getattr(dbr, name)).partition(".\n")[0]
    assert letters(said).startswith(letters(first))


CLASSES = [name for name in dbr.__all__ if inspect.isclass(getattr(dbr, name))]


@pytest.mark.parametrize("name", CLASSES)
def test_every_member_of_a_class_is_there(page: BeautifulSoup, name: str) -> None:
    for member in members(getattr(dbr, name)):
        entry(page, f"{name}.{member}")


def test_every_method_of_a_tape_has_its_arguments_and_its_example(page: BeautifulSoup) -> None:
    found = inspect.getmembers(dbr.Tape, inspect.isfunction)
    methods = {name: member for name, member in found if not name.startswith("_")}
    assert len(methods) > 10
    for name, method in methods.items():
        heading = entry(page, f"Tape.{name}")
        for argument in [*inspect.signature(method).parameters][1:]:
            assert argument in heading.get_text(), f"{name} takes {argument}"
        assert heading.find_next_sibling("dd").select(".highlight-pycon"), f"no example of {name}"


def test_types_lead_to_their_entries(page: BeautifulSoup) -> None:
    assert entry(page, "Tape.ops").find("a", href="#definebyrun.Op")
    assert entry(page, "record").find("a", href="#definebyrun.Tape")


def test_no_role_or_fence_is_left_in_the_text(page: BeautifulSoup) -> None:
    text = page.get_text()
    assert not [mark for mark in ("{py:", "```", "`") if mark in text]


@pytest.mark.parametrize("name", ["Tapes", "Recorder", "annotations"])
def test_a_name_that_is_not_public_is_a_warning(
    source: Path, page: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "_ext"))
    (source / "index.md").write_text(f"# Page\n\n```{{api}} {name}\n```\n", "utf-8")
    assert f"api: definebyrun has no public name '{name}'." in build(source)
