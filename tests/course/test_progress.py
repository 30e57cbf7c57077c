"""The progress bar of long cells leaves nothing behind: not in a pipe, not in a stored notebook.

Notebooks for the bar are made here and executed for real.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from definebyrun_course.pieces.progress import progress, screen
from tools import ROOT

USE = "from definebyrun_course.pieces.progress import progress\nprint(sum(progress([1, 2, 3])))"


def test_the_bar_hands_on_what_it_gets_and_is_silent_in_a_pipe(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert list(progress(range(7))) == list(range(7))
    assert list(progress([])) == []
    assert screen() is None
    assert capfd.readouterr() == ("", "")


def test_in_a_terminal_the_bar_is_shown_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    for item in progress(range(4)):
        if item == 2:
            break
    assert f"{'█' * 10:░<20} 2/4" in terminal.getvalue()
    assert terminal.getvalue().endswith(f"\r{'':<32}\r")


def test_what_has_no_length_is_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match="a generator has none: give it a list"):
        next(progress(n for n in range(3)))  # type: ignore[arg-type]


def notebook(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])


CLEARED = "from IPython.display import clear_output\nprint('50 %')\nclear_output()\nprint('done')"
TIMED = "import sys, time\nprint('\\r50 %', time.perf_counter_ns(), file=sys.stderr)\nprint('done')"


def test_a_person_sees_a_bar_and_it_is_empty_at_the_end() -> None:
    client = nbclient.NotebookClient(notebook(USE), kernel_name="python3")
    with client.setup_kernel(cwd=str(ROOT)):
        client.kc.allow_stdin = True  # as Jupyter, VS Code and Colab say of themselves
        bar, text = client.execute_cell(client.nb.cells[0], 0).outputs
    assert (bar.output_type, bar.data) == ("display_data", {})
    assert (text.name, text.text) == ("stdout", "6\n")


def test_a_tool_stores_no_bar_and_strict_nbval_passes_this_one_and_fails_the_usual_ones(
    tmp_path: Path,
) -> None:
    """Why the bar does not clear its output and does not write times to stderr."""
    book = notebook(USE, CLEARED, TIMED)
    nbclient.NotebookClient(book, kernel_name="python3").execute(cwd=str(ROOT))
    assert [(o.output_type, o.get("text")) for o in book.cells[0].outputs] == [("stream", "6\n")]
    nbformat.write(book, tmp_path / "bars.ipynb")
    place = [str(tmp_path), "--rootdir", str(tmp_path), "-c", os.devnull]
    plain = ["-p", "no:cacheprovider", "-q", "-rA", "--nbval", "--nbval-current-env"]
    command = [sys.executable, "-m", "pytest", *place, *plain]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    verdicts = {
        int(cell): word
        for word, cell in re.findall(r"^(PASSED|FAILED) .*Cell (\d)", done.stdout, re.MULTILINE)
    }
    assert verdicts == {0: "PASSED", 1: "FAILED", 2: "FAILED"}, done.stdout
