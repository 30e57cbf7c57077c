"""Chapters become notebooks and back: reproducibly, whole or not at all, and with one sentence when something is wrong.

Every test works on a tiny course of its own in an empty folder; one kernel start costs about a second.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from tools import ROOT, chapters, notebooks
from tools.chapters import ChapterError, Lesson

pytestmark = pytest.mark.slow

HEAD = """---
jupytext:
  text_representation:
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
  language: python
---
"""
TINY = f"""{HEAD}
# A tiny lesson

What three is, with $x^2$.

```{{code-cell}}
:tags: [hide-output]
:name: three
import os, warnings
warnings.warn("a warning names the file of its cell")
print({{"b", "a", "c"}}, os.getpid() > 0)
1 + 2
```

It is three.

+++

A second Markdown cell.

```{{code-cell}}
x = 1
```
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "01-tiny.md").write_text(TINY, encoding="utf-8")
    (tmp_path / "chapters" / "prose.md").write_text("# Prose\n\nNo code.\n", encoding="utf-8")
    (tmp_path / "_config.yml").write_text(
        "repository: {url: https://github.com/owner/repo, branch: trunk}\n", encoding="utf-8"
    )
    return tmp_path


def run(tool: str, course: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", f"tools.{tool}", "--root", str(course), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def edit(course: Path, old: str, new: str, name: str = "01-tiny") -> None:
    path = course / "chapters" / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_two_runs_give_the_same_bytes_and_nothing_of_the_machine(course: Path) -> None:
    made = course / "notebooks" / "01-tiny.ipynb"
    assert run("notebooks", course, "--all").returncode == 0
    first = made.read_bytes()
    assert run("notebooks", course, "--all").returncode == 0
    assert made.read_bytes() == first
    text = first.decode()
    assert "<cell>:2: UserWarning" in text
    assert not re.search(r"ipykernel|/tmp|[A-Z]:\\\\|iopub|\d+\.\d+\.\d+", text)
    assert text.endswith("}\n")
    assert b"\r" not in first


def test_a_notebook_has_badge_setup_cell_and_fixed_ids(course: Path) -> None:
    book = chapters.notebook(Lesson("01-tiny", course))
    assert [cell.id for cell in book.cells] == [
        "cell-01",
        "open-answers",
        "setup",
        "three",
        "cell-03",
        "cell-04",
        "cell-05",
    ]
    title, badge = book.cells[0].source.split("\n\n")[:2]
    assert title == "# A tiny lesson"
    assert "/github/owner/repo/blob/trunk/notebooks/01-tiny.ipynb" in badge
    assert "git+https://github.com/owner/repo@trunk" in book.cells[2].source
    assert len(book.cells[2].source.splitlines()) <= 6


def test_tags_close_answers_and_harness_in_jupyter_and_colab(course: Path) -> None:
    edit(course, "x = 1\n```", "x = 1\n```\n\n```{code-cell}\n:tags: [hide-cell]\nx\n```")
    edit(course, "x = 1\n```", "x = 1\n```\n\n```{code-cell}\n:tags: [hide-input]\nx\n```")
    cells = {cell.id: cell.metadata for cell in chapters.notebook(Lesson("01-tiny", course)).cells}
    assert cells["three"]["jupyter"] == {"outputs_hidden": True}
    assert cells["cell-06"]["jupyter"] == {"source_hidden": True}
    assert cells["cell-07"]["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
    assert cells["cell-07"]["cellView"] == "form"
    assert "jupyter" not in cells["cell-05"]
    assert cells["open-answers"]["tags"] == ["remove-cell"]


def test_only_what_changed_is_executed(course: Path) -> None:
    assert "01-tiny: executed" in run("notebooks", course).stdout
    assert "01-tiny: up to date" in run("notebooks", course).stdout
    edit(course, "It is three.", "It is three, of course.\n\n+++\n\nOne cell more.")
    assert "01-tiny: text taken over" in run("notebooks", course).stdout
    stored = nbformat.read(course / "notebooks" / "01-tiny.ipynb", as_version=4)
    assert stored.cells[3].outputs[-1].data["text/plain"] == "3"
    edit(course, "x = 1", "x = 2")
    assert "01-tiny: executed" in run("notebooks", course).stdout


def test_a_measurement_is_kept_until_code_before_it_changes_or_it_is_asked_for(
    course: Path,
) -> None:
    timed = "```{code-cell}\n:tags: [nbval-ignore-output]\n# Not compared: a time.\nimport time\ntime.time_ns()\n```\n"
    edit(course, "```{code-cell}\nx = 1\n```\n", timed)
    path = course / "notebooks" / "01-tiny.ipynb"

    def measured(*arguments: str) -> str:
        result = run("notebooks", course, *arguments)
        assert result.returncode == 0, result.stderr
        return nbformat.read(path, as_version=4).cells[-1].outputs[0].data["text/plain"]

    first = measured()
    assert measured("--all") == first
    edit(course, "A second Markdown cell.", "Another text.")
    assert measured("--all") == first
    assert (second := measured("--only", "01-tiny", "--measure")) != first
    edit(course, "1 + 2", "1 + 3")
    assert measured() != second


def test_a_failed_cell_is_named_and_the_old_notebook_stays(course: Path) -> None:
    assert run("notebooks", course).returncode == 0
    made = course / "notebooks" / "01-tiny.ipynb"
    before = made.read_bytes()
    edit(course, "x = 1", "x = 1\nx.missing")
    done = run("notebooks", course)
    assert done.returncode == 1
    for part in (
        "chapters/01-tiny.md: code cell 2 (id cell-05)",
        "x = 1",
        "AttributeError: 'int' object has no attribute 'missing'",
        "notebooks/01-tiny.ipynb is left as it was",
    ):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert made.read_bytes() == before
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    assert done.stdout.splitlines()[-1] == "1 of 1 notebook failed."


def test_a_kernel_that_dies_is_reported_like_any_error(course: Path) -> None:
    edit(course, "x = 1", "import os\nos._exit(3)")
    done = run("notebooks", course)
    assert done.returncode == 1
    assert "code cell 2 (id cell-05)" in done.stderr
    assert "the kernel died" in done.stderr
    assert "notebooks/01-tiny.ipynb is not written" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_is_one_sentence_and_leaves_no_half_of_a_notebook(course: Path) -> None:
    started = course / "started"
    edit(course, "x = 1", f"open({str(started)!r}, 'w')\nimport time\ntime.sleep(60)")
    for number in (2, 3, 4):  # some of them wait for their turn
        shutil.copy(course / "chapters" / "01-tiny.md", course / "chapters" / f"0{number}-tiny.md")
    running = subprocess.Popen(
        [sys.executable, "-m", "tools.notebooks", "--root", str(course)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    while running.poll() is None and not started.exists():
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert said.split("\n") == [
        "",
        "Stopped; notebooks that were not finished are as they were.",
        "",
    ]
    assert not list((course / "notebooks").iterdir())


def test_an_unknown_lesson_is_one_sentence_with_close_names(course: Path) -> None:
    done = run("notebooks", course, "--only", "01-tinny")
    assert done.returncode == 1
    assert done.stderr.strip() == "There is no lesson '01-tinny': did you mean 01-tiny?"
    assert not (course / "notebooks").exists()
    done = run("notebooks", course, "--only", "zzz")
    assert done.stderr.strip() == "There is no lesson 'zzz': there are 01-tiny."


@pytest.mark.parametrize(
    "name", ["01-tiny", "01", "chapters/01-tiny.md", "notebooks/01-tiny.ipynb"]
)
def test_a_lesson_may_be_named_by_its_files(course: Path, name: str) -> None:
    assert chapters.find(name, course).name == "01-tiny"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  name: python3", "  name: [python3", "broken front matter: line "),
        ("---\n\n# A", "\n# A", "broken front matter: its opening --- is never closed"),
        ("---\njupytext", "jupytext", "broken front matter: the first line is not ---"),
        (
            "format_name: myst",
            "format_name: light",
            "needs jupytext: text_representation: format_name: myst",
        ),
        (
            "jupytext:\n",
            "jupytext: 3\nother:\n",
            "needs jupytext: text_representation: format_name: myst",
        ),
        ("# A tiny lesson", "A tiny lesson", "must open with a Markdown title"),
        (":name: three", ":name: cell-01", "more than one cell named 'cell-01'"),
        (":name: three", ":name: a b", "names a cell 'a b'"),
        (":tags: [hide-output]", ":tags: [hide-output", "cannot be read as MyST Markdown"),
    ],
)
def test_a_broken_chapter_is_one_sentence_and_nothing_is_written(
    course: Path, old: str, new: str, says: str
) -> None:
    edit(course, old, new)
    done = run("notebooks", course)
    assert done.returncode == 1
    assert done.stderr.startswith("chapters/01-tiny.md")
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (course / "notebooks").exists()


def test_an_edit_made_in_jupyter_goes_back_and_comes_out_the_same(course: Path) -> None:
    assert run("notebooks", course).returncode == 0
    made = course / "notebooks" / "01-tiny.ipynb"
    chapter = course / "chapters" / "01-tiny.md"
    assert "already says" in run("take_back", course, "notebooks/01-tiny.ipynb").stdout
    assert chapter.read_text(encoding="utf-8") == TINY

    book = nbformat.read(made, as_version=4)
    book.cells[4].source = "It is three, as promised."
    book.cells[-1].source = "x = 1 + 1"
    book.cells[-1].metadata = {"tags": ["hide-output"], "collapsed": True}
    book.cells.append(nbformat.v4.new_code_cell("x * 2"))
    nbformat.write(book, made)
    assert run("take_back", course, "notebooks/01-tiny.ipynb").returncode == 0

    expected = (
        TINY.replace("It is three.", "It is three, as promised.")
        .replace(
            "```{code-cell}\nx = 1\n```", "```{code-cell}\n:tags: [hide-output]\nx = 1 + 1\n```"
        )
        .rstrip("\n")
    )
    assert chapter.read_text(encoding="utf-8") == expected + "\n\n```{code-cell}\nx * 2\n```\n"
    assert run("notebooks", course).returncode == 0
    assert nbformat.read(made, as_version=4).cells[-1].outputs[0].data["text/plain"] == "4"


def test_taking_back_an_unknown_or_unreadable_notebook_is_one_sentence(course: Path) -> None:
    assert (
        "There is no lesson 'notebooks/02-none.ipynb'"
        in run("take_back", course, "notebooks/02-none.ipynb").stderr
    )
    assert (
        "make it with make notebooks" in run("take_back", course, "notebooks/01-tiny.ipynb").stderr
    )
    (course / "notebooks").mkdir()
    (course / "notebooks" / "01-tiny.ipynb").write_text("no json", encoding="utf-8")
    done = run("take_back", course, "notebooks/01-tiny.ipynb")
    assert "is not a notebook that can be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert (course / "chapters" / "01-tiny.md").read_text(encoding="utf-8") == TINY


def test_exercises_are_read_from_the_chapter(course: Path) -> None:
    edit(
        course,
        "x = 1\n```",
        'answer = ...\ndbr.check("a_sum", answer)\n```\n\n<details><summary>Solution</summary>\n\n'
        "```python\nanswer = 3\n```\n\nBecause.\n\n</details>",
    )
    edit(course, "```{code-cell}\nanswer", "```{code-cell}\n:tags: [exercise]\n\nanswer")
    (found,) = chapters.exercises(Lesson("01-tiny", course))
    assert (found.id, found.solution) == ("a_sum", 'answer = 3\ndbr.check("a_sum", answer)')
    edit(course, "<details><summary>Solution</summary>", "<details><summary>Answer</summary>")
    with pytest.raises(ChapterError, match="folded solution must follow"):
        chapters.exercises(Lesson("01-tiny", course))


def test_normalising_keeps_the_outputs_and_drops_the_machine() -> None:
    warned = nbformat.v4.new_output(
        "stream", name="stderr", text="/tmp/ipykernel_12/345.py:1: Odd\n"
    )
    cell = nbformat.v4.new_code_cell("1", id="a", outputs=[warned])
    book = notebooks.normalise(
        nbformat.v4.new_notebook(cells=[cell], metadata={"version": "3.11.7"})
    )
    assert book.cells[0].outputs[0].text == "<cell>:1: Odd\n"
    assert "version" not in book.metadata
