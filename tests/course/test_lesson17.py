"""What lesson 17 calls equal is equal, for more seeds and sizes than the lesson shows; its progress bar leaves nothing.

The lesson's own cells are run, not copies of them. Notebooks for the bar are made here and executed for real.
"""

from __future__ import annotations

import copy
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from definebyrun_course.pieces.progress import progress, screen
from tests.course.answers import published
from tests.course.lesson_code import cells
from tools import ROOT

DATA = ("imports", "load-digits", "split-digits", "standardise-digits", "digits-class")
TRAINING = ("mlp-class", "digits-loader", "train-loop", "batches")
BAR = ("imports", "progress-screen", "progress")
USE = "from definebyrun_course.pieces.progress import progress\nprint(sum(progress([1, 2, 3])))"


@pytest.fixture(scope="module")
def lesson() -> Iterator[dict[str, Any]]:
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield cells("17", *DATA, *TRAINING, "run-start", "run-checkpoint", "one-bit-apart")
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    lesson: dict[str, Any], seed: int, stop: int
) -> None:
    train_epoch = lesson["train_epoch"]
    run, file = lesson["start"](seed), io.BytesIO()
    for epoch in range(4):
        if epoch == stop:
            torch.save(lesson["checkpoint"](*run), file)
        train_epoch(*run)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model, loader, optimizer = resumed = lesson["start"](seed + 1)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    loader.generator.set_state(saved["shuffle"])
    torch.set_rng_state(saved["dropout"])
    for _ in range(stop, 4):
        train_epoch(*resumed)
    pairs = zip(model.parameters(), run[0].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_batches_are_those_of_a_shuffling_loader(lesson: dict[str, Any], count: int) -> None:
    data = TensorDataset(torch.arange(count), torch.arange(count))
    for seed in range(3):
        shuffle = torch.Generator().manual_seed(seed)
        mine, plain = (
            lesson["batches"](data, seed),
            DataLoader(data, 64, shuffle=True, generator=shuffle),
        )
        for _ in range(2):  # also in the second epoch
            for one, other in zip(mine, plain, strict=True):
                assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 16, 64, 100])
def test_accumulated_pieces_give_the_gradient_of_the_whole_batch(
    dtype: torch.dtype, size: int
) -> None:
    (accumulate,) = published("accumulate")
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
        x, y = torch.randn(64, 5, dtype=dtype), torch.randint(3, (64,))
        whole = copy.deepcopy(model)
        nn.functional.cross_entropy(whole(x), y).backward()
        accumulate(model, x, y, size)
        for one, other in zip(model.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


def test_one_bit_stays_small_grows_or_jumps_for_other_seeds_too(lesson: dict[str, Any]) -> None:
    apart = lesson["apart"]
    for seed in (2, 3):
        small = apart(torch.float32, False, 3e-3, seed)
        large = apart(torch.float64, False, 3e-2, seed)
        jump = apart(torch.float32, True, 3e-3, seed)
        assert small[-1] < 1e-4
        assert large[-1] > 5 * large[60]
        assert jump[0] > 1e-5
        assert jump[0] > 1000 * small[0]


def test_a_worker_seeded_by_worker_init_fn_draws_its_own_numbers() -> None:
    def own(worker: int) -> None:
        global source
        source = torch.Generator().manual_seed(torch.initial_seed())

    def draw(batch: list[int]) -> torch.Tensor:
        return torch.rand(1, generator=source)

    if sys.platform != "linux":
        pytest.skip("the functions of a test travel to a worker only by fork")
    fork = {"num_workers": 2, "multiprocessing_context": "fork", "worker_init_fn": own}
    drawn = [number.item() for number in DataLoader([0] * 4, 1, collate_fn=draw, **fork)]
    assert len(set(drawn)) == 4


source = torch.Generator()


@pytest.mark.parametrize("made", ["the lesson's", "the package's"])
def test_the_bar_hands_on_what_it_gets_and_is_silent_in_a_pipe(
    made: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bar = progress if made == "the package's" else cells("17", *BAR)["progress"]
    assert list(bar(range(7))) == list(range(7))
    assert list(bar([])) == []
    assert screen() is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("made", ["the lesson's", "the package's"])
def test_in_a_terminal_the_bar_is_shown_and_wiped(
    made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = progress if made == "the package's" else cells("17", *BAR)["progress"]
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    for item in bar(range(4)):
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
    """Why the lesson does not clear its output and does not write times to stderr."""
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
