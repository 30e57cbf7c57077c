"""What the texts around the book say is there: paths, tables of lessons, commands, the drawn run of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.book.built_book import TOC
from tools import ROOT, picture

TEXTS = ("README.md", "CONTRIBUTING.md", "chapters/how-to-run.md")
MADE = ("_build/", ".venv")  # by the commands
PATH = re.compile(r"`((?:[\w.-]+/)*[\w.-]+(?:/|\.(?:py|md|yml|toml|txt|cff|js|css|ipynb)))`")
ROOMS = ("", "definebyrun", "definebyrun/recorder", "notebooks", "chapters")
"""Where a path in a text may begin."""
ROW = re.compile(r"^\| \[([^]]+)\]\((?:\.\./)?(notebooks/[\w-]+)\.ipynb\) \|", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_in_a_text_is_there(name: str) -> None:
    named = [path for path in PATH.findall(read(name)) if not re.search("NN|part-N|name", path)]
    gone = [
        path
        for path in named
        if not path.startswith(MADE) and not any((ROOT / room / path).exists() for room in ROOMS)
    ]
    assert not gone


def test_each_of_ten_questions_is_answered_by_one_file() -> None:
    rows = re.findall(
        r"^\| ([^|]+\?) \| `(definebyrun/\w+/\w+\.py)` \|$", read("CONTRIBUTING.md"), re.M
    )
    assert len(rows) == 10
    assert [path for _, path in rows if not (ROOT / path).is_file()] == []


def test_the_table_of_rooms_names_each_room_once_in_at_most_ten_rows() -> None:
    table = read("CONTRIBUTING.md").partition("| Room | Takes → gives |\n|---|---|\n")[2]
    rows = table.partition("\n\n")[0].splitlines()
    assert len(rows) <= 10
    named = [room for row in rows for room in re.findall(r"`([\w./]+)`", row.split("|")[1])]
    package = ROOT / "definebyrun"
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    files = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert sorted(named) == sorted(folders | files)


@pytest.mark.parametrize("part", range(1, 5))
def test_the_page_of_a_part_lists_its_lessons(part: int) -> None:
    chapters = TOC["parts"][part - 1]["chapters"]
    page = next(chapter["file"] for chapter in chapters if chapter["file"].startswith("chapters/"))
    lessons = [(c["title"], c["file"]) for c in chapters if c["file"].startswith("notebooks/")]
    assert ROW.findall(read(f"{page}.md")) == lessons


def test_the_front_page_lists_every_lesson() -> None:
    chapters = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
    lessons = [(c["title"], c["file"]) for c in chapters if re.match(r"notebooks/\d\d-", c["file"])]
    assert ROW.findall(read("index.md")) == lessons


def test_every_command_in_a_text_is_a_verb_of_make() -> None:
    verbs = set(re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)[1].split())
    for name in (*TEXTS, "CHANGELOG.md"):
        assert set(re.findall(r"(?<=[`\n])make ([a-z]+)", read(name))) <= verbs, name


# ---- the drawn run at the top of the README ----


def words(svg: str) -> list[str]:
    """All that an image says, and its colours; geometry is the layout engine's."""
    return re.findall(r">([^<]+)<|(#[0-9a-f]{6})", svg)


@pytest.mark.parametrize("name", picture.FILES)
def test_the_picture_of_the_readme_is_what_its_run_gives(name: str) -> None:
    assert words(picture.drawn()[name]) == words((picture.FOLDER / name).read_text("utf-8"))
    assert f"{picture.FOLDER.relative_to(ROOT).as_posix()}/{name}" in read("README.md")


def test_the_code_of_the_readme_is_the_run_that_is_drawn() -> None:
    shown = re.search(r"with dbr\.record\(\) as tape:.*?\n((?:    .*\n)+)", read("README.md"))[1]
    assert shown in re.sub(
        "^    ", "", Path(picture.__file__).read_text("utf-8"), flags=re.MULTILINE
    )


def test_the_changelog_begins_with_this_version() -> None:
    import definebyrun

    assert re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)[1] == definebyrun.__version__
