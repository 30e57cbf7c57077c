"""The bench: its arithmetic, its saved result, and the page made from it. No test here depends on a time.

The saved result must have a row for every model and drawing tool, and the page must show what is saved. What the other
tools give is measured, not tested; only that one tiny measurement of ours works at all.
"""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import definebyrun as dbr
from bench import against, figures, measure, processes, tables
from bench.drawing_tools import TOOLS, Clock, as_program, lay_out
from bench.floor import MAX_COPIED_ELEMENTS, Floor
from bench.models import MODELS, RECORDED
from tools import ROOT

DATA = tables.load()
DRAWN = [row for row in DATA["pictures"] if "total" in row]
OURS = [tool for tool in TOOLS if TOOLS[tool].needs == tables.OURS]


def lines(name: str) -> list[Requirement]:
    text = (ROOT / name).read_text(encoding="utf-8")
    pins = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(pin) for pin in pins if pin and pin[0] != "-"]


# ---- words ----


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0.123, "0.12 ms"),
        (2.345, "2.3 ms"),
        (9.96, "10 ms"),
        (994, "994 ms"),
        (999, "1.00 s"),
        (61234.0, "61.2 s"),
        (None, "–"),
    ],
)
def test_a_time_has_at_most_three_digits_and_its_unit(ms: float | None, said: str) -> None:
    assert tables.span(ms) == said


def test_a_row_says_its_time_or_why_there_is_none() -> None:
    assert tables.words({"state": "drawn", "total": 12.0, "nodes": 3}) == "12 ms"
    assert tables.words({"state": "drawn", "total": 12.0, "nodes": None}) == "12 ms, as text"
    assert tables.words({"state": "> 30 s"}) == "> 30 s"


# ---- what one pass measures ----


@pytest.mark.parametrize("tool", OURS)
def test_a_pass_of_ours_has_all_its_parts(tool: str) -> None:
    facts = figures.picture(tool, "MLP, 2 layers")()
    assert facts["nodes"] >= 10
    assert facts["svg_bytes"] > facts["dot_bytes"] > 0
    assert set(facts["parts"]) == set(tables.PARTS)
    assert facts["parts"]["write"] > 0
    assert facts["parts"]["layout"] > 0
    assert sum(facts["parts"].values()) <= facts["total"]


def test_a_text_in_the_place_of_a_picture_has_no_sizes() -> None:
    assert set(figures.sizes("", "<p>").values()) == {None}


def test_recording_is_measured_beside_the_plain_run_and_the_floor() -> None:
    facts = figures.recording("MLP, 2 layers")()
    assert facts["operations"] == 4
    assert facts["added"] == facts["recorded"] - facts["plain"]
    assert facts["floor_added"] == facts["floor"] - facts["plain"]


def test_layout_is_not_counted_as_writing() -> None:
    clock = Clock()
    with clock.timing_layouts():
        assert "<svg" in lay_out("digraph { a -> b }")
    assert clock.dot == "digraph { a -> b }"
    assert list(clock.parts) == ["write", "layout"]
    assert clock.parts["write"] < clock.parts["layout"]


def test_a_tool_that_starts_the_program_is_answered_by_the_library(tmp_path: Path) -> None:
    dot, svg = tmp_path / "graph.dot", tmp_path / "graph.svg"
    dot.write_text("digraph { a -> b }", encoding="utf-8")
    assert b"node a" in as_program(["dot", "-Tplain", str(dot)]).stdout
    assert as_program(["dot", "-Tsvg", "-o", str(svg), str(dot)]).stdout == b""
    assert "<svg" in svg.read_text("utf-8")


# ---- the floor of recording ----


def test_the_floor_keeps_every_call_its_line_and_a_copy_of_every_value() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with Floor() as floor:
        loss = (w * 3).sum()
        loss.backward()
        line = sys._getframe().f_lineno - 2
    calls = [(entry[0].__name__, entry[1], entry[2]) for entry in floor.kept if len(entry) == 3]
    assert calls[0][:2] == ("mul", line)
    assert [copy.tolist() for copy in calls[0][2]] == [[1.0, 2.0], [3.0, 6.0]]
    assert [name for name, *_ in calls] == ["mul", "sum", "backward"]
    passed = [entry for entry in floor.kept if len(entry) == 2]
    assert [[copy.tolist() for copy in side] for side in passed[0]] == [[[1.0, 1.0]], [1.0]]
    assert len(passed) == 2
    assert not any(copy.requires_grad for *_, copies in calls for copy in copies)


@pytest.mark.parametrize(("more", "copied"), [(0, 1), (1, 0)])
def test_the_floor_copies_what_the_recorder_reads(more: int, copied: int) -> None:
    count = MAX_COPIED_ELEMENTS + more
    with Floor() as floor:
        torch.ones(count)
    assert len(floor.kept[0][2]) == copied
    with dbr.record() as tape:
        torch.ones(count)
    assert (tape.tensors[-1].value.low is not None) == bool(copied)


# ---- which passes are measured ----


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool not in OURS])
def test_a_tool_that_is_not_there_gives_a_row_that_says_so(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "PEERS", tmp_path)
    monkeypatch.setattr(measure, "TOOLS", {tool: TOOLS[tool]})
    rows = measure.pictures("MLP, 2 layers", {})
    assert rows == [{"model": "MLP, 2 layers", "tool": tool, "state": "not installed"}]


def test_a_larger_model_is_not_tried_where_the_smaller_one_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "TOOLS", {"definebyrun": TOOLS["definebyrun"]})
    (row,) = measure.pictures("RNN, 1,000 steps", {"definebyrun": "RecursionError"})
    assert row["state"] == "not tried"


def test_what_is_divided_by_each_other_gets_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = dict.fromkeys(TOOLS, 30.0) | {"torchlens draw_backward": 9.0}
    asked: list[list[str]] = []

    def ask(figure: str, tools: dict[str, tuple[str, str]], turns: measure.Turns) -> dict:
        asked.append(list(tools))
        row = {"total": 40.0}
        failed = measure.Answer([], "> 30 s")
        return {
            tool: failed
            if tool == "torchview"
            else measure.Answer([row | {"parts": {"build": builds[tool]}}] * turns.passes, "")
            for tool in tools
        }

    for tool in TOOLS.values():
        (tmp_path / tool.needs).mkdir(exist_ok=True)
    monkeypatch.setattr(measure, "PEERS", tmp_path)
    monkeypatch.setattr(measure, "ask", ask)
    rows = {row["tool"]: row for row in measure.pictures("MLP, 2 layers", {})}
    several = [*OURS, "torchviz", "torchlens draw_backward"]
    assert asked == [list(TOOLS), *[several] * measure.MORE_SITTINGS]
    passes = measure.FEW.passes + measure.MORE_SITTINGS * measure.MORE.passes
    assert {rows[tool]["passes"] for tool in several} == {passes}
    assert rows["torchlens draw"]["passes"] == measure.FEW.passes
    assert rows["torchview"] == {"model": "MLP, 2 layers", "tool": "torchview", "state": "> 30 s"}


# ---- processes ----


def worker(monkeypatch: pytest.MonkeyPatch, code: str) -> processes.Worker:
    """A process with this code in the place of a figure."""
    monkeypatch.setattr(processes, "CODE", code)
    return processes.Worker("any")


ANSWERS = """
import sys; sys.path[0] = {root!r}
from bench.processes import answer
numbers = iter(range(1, 4))
def measure():
    print("a tool prints this")
    number = next(numbers, 4)
    if number == 4:
        raise RecursionError("deep")
    return {{"number": number}}
answer(measure)
"""


def test_a_process_measures_a_pass_whenever_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = worker(monkeypatch, ANSWERS)
    asked.start()
    found = [asked.measure(30) for _ in range(4)]
    assert found == [{"number": 1}, {"number": 2}, {"number": 3}, None]
    assert asked.state == "RecursionError"
    assert asked.measure(30) is None
    assert asked.state == "RecursionError"
    asked.end()


def test_a_process_that_takes_too_long_is_stopped_with_what_it_has_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        address = server.getsockname()
        waits = (
            f"kept = socket.create_connection({address}); time.sleep(20); kept.send(b'still here')"
        )
        inner = f"import socket, time; {waits}"
        starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
        asked = worker(monkeypatch, f"print('{{{{}}}}', flush=True); {starts}")
        asked.start()
        connection, _ = server.accept()
        assert asked.measure(0.5) is None
        assert asked.state == "> 0.5 s"
        with connection:
            assert connection.recv(10) == b""  # nobody is at the other end any more
        asked.end()


def test_an_error_is_known_by_its_name() -> None:
    printed = "Traceback\n  File x\ntorch.cuda.OutOfMemoryError: no\nof it\n"
    assert processes.error_name("Traceback\nRecursionError: maximum depth\n", 1) == "RecursionError"
    assert processes.error_name(printed.replace("\nof it", ""), 1) == "OutOfMemoryError"
    assert processes.error_name("", -9) == "killed by signal 9"


class Fake:
    """A worker whose passes take so many seconds of the clock `now`."""

    now = 0.0

    def __init__(self, seconds: float, ends_after: int = 99) -> None:
        self.state, self.seconds, self.left = "", seconds, ends_after

    def measure(self, limit_seconds: float) -> dict[str, float] | None:
        self.left -= 1
        Fake.now += self.seconds
        if self.left < 0:
            self.state = "StopIteration"
            return None
        return {"at": Fake.now}


def test_processes_take_turns_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.time, "perf_counter", lambda: Fake.now)
    Fake.now = 0.0
    workers = {"a": Fake(1.0), "b": Fake(0.5), "slow": Fake(8.0), "ends": Fake(0.0, ends_after=1)}
    found = processes.take_turns(workers, passes=3, seconds=5, limit_seconds=30)
    assert [len(found[name]) for name in workers] == [3, 3, 1, 1]
    assert [facts["at"] for facts in found["a"]] == [1.0, 11.0, 12.0]
    assert [facts["at"] for facts in found["b"]] == [1.5, 10.0, 12.5]


# ---- two checkouts ----


def test_a_figure_is_worse_where_no_chance_explains_it() -> None:
    surely, perhaps = against.Ratio.of([1.10, 1.11] * 9), against.Ratio.of([0.9, 1.3] * 9)
    assert (surely.is_worse, perhaps.is_worse) == (True, False)
    assert str(surely).endswith("!")
    found = {"M": {"record": perhaps}}
    assert against.table(found).rows == (("M", "1.10 ± 0.09", *["–"] * 4),)


def test_a_folder_without_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["against", str(tmp_path)])
    with pytest.raises(SystemExit):
        against.main()
    assert "holds no package definebyrun" in capsys.readouterr().err


# ---- what is saved ----


def test_the_saved_result_has_every_model_and_every_tool() -> None:
    found = [(row["model"], row["tool"]) for row in DATA["pictures"]]
    assert found == [(model, tool) for model in MODELS for tool in TOOLS]
    assert [row["model"] for row in DATA["recording"]] == [*MODELS, *RECORDED]
    shown = {tool: about["backward"] for tool, about in DATA["tools"].items()}
    assert shown == {tool: TOOLS[tool].shows_backward for tool in TOOLS}


def test_the_saved_result_was_made_with_all_tools_in_their_pinned_versions() -> None:
    assert "not installed" not in {row["state"] for row in DATA["pictures"]}
    pins = {pin.name: next(iter(pin.specifier)).version for pin in lines("bench/requirements.txt")}
    for name in ("torchlens", "torchview", "torchviz"):
        assert DATA["machine"]["versions"][name] == pins[name]


def test_the_saved_result_names_no_machine_and_no_day() -> None:
    known = {"cores", "system", "python", "graphviz", "versions", "limit"}
    assert set(DATA["machine"]) == known
    text = tables.PLACE.read_text(encoding="utf-8")
    assert not re.search(r"/\w+/\w+|\d{4}-\d{2}-\d{2}", text)


def test_the_saved_result_is_written_a_row_a_line_and_read_again(tmp_path: Path) -> None:
    place = tmp_path / "bench.json"
    place.write_text(measure.as_json(DATA), encoding="utf-8")
    assert tables.load(place) == DATA
    assert place.read_text("utf-8") == tables.PLACE.read_text("utf-8")
    rows = len(DATA["pictures"]) + len(DATA["recording"])
    assert place.read_text("utf-8").count("\n") < rows + 12


@pytest.mark.parametrize("row", DRAWN, ids=lambda row: f"{row['tool']}: {row['model']}")
def test_the_parts_of_a_row_fit_its_whole(row: dict) -> None:
    assert all(row["parts"][part] >= 0 for part in tables.PARTS)
    assert row["passes"] >= 1
    assert row["nodes"] is None or row["svg_bytes"] > 0


# ---- the page ----


def cells(table: BeautifulSoup) -> list[tuple[str, ...]]:
    return [tuple(cell.get_text() for cell in row.find_all(["th", "td"])) for row in table("tr")]


TABLES = {
    "totals": tables.totals,
    "recorded": tables.recorded,
    "drawn": tables.drawn,
    "recording": tables.recording,
}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_of_the_page_is_that_of_the_terminal(name: str) -> None:
    table = TABLES[name](DATA)
    found = cells(BeautifulSoup(tables.SHOWN[name](DATA), "html.parser").table)
    assert found == [table.head, *table.rows]
    assert all(len(row) == len(table.head) for row in table.rows)


def test_a_report_for_the_terminal_holds_the_tables_and_sentences() -> None:
    report = tables.report(DATA)
    for table in (tables.recorded(DATA), tables.drawn(DATA), tables.recording(DATA)):
        assert table.text() in report
    for words in (tables.growth(DATA), tables.empty(DATA), tables.machine(DATA)):
        assert words in report


def test_the_page_asks_for_every_part_once() -> None:
    page = (ROOT / "chapters" / "how-the-drawings-compare.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\{measured\} (\w+)", page)) == sorted(tables.SHOWN)


def test_the_prose_of_the_page_holds_no_measured_time() -> None:
    page = (ROOT / "chapters" / "how-the-drawings-compare.md").read_text(encoding="utf-8")
    limit = f"{measure.LIMIT_SECONDS} s"
    assert set(re.findall(r"\b\d[\d.,]* ?(?:ms|µs|s|×)(?!\w)", page)) == {limit}


@pytest.mark.parametrize("model", list(MODELS))
def test_a_plot_says_in_words_what_it_shows(model: str) -> None:
    page = BeautifulSoup(tables.plot(DATA, model), "html.parser")
    rows = [row for row in DATA["pictures"] if row["model"] == model]
    for row in rows:
        assert f"{row['tool']} {tables.words(row)}" in page.svg["aria-label"]
    marks = page.svg.find_all(["circle", "path"])
    drawn = sum("total" in row for row in rows)
    assert len(marks) == len(tables.TICKS) + 1 + drawn


def made_up() -> dict:
    """Four tools on one model `M`, each with 10 ms of build and writing, and a layout of its own."""

    def row(tool: str, layout: float) -> dict:
        parts = {"build": 4.0, "write": 6.0, "layout": layout}
        facts = {"parts": parts, "total": 15.0 + layout, "nodes": 1}
        return {"model": "M", "tool": tool, "state": "drawn"} | facts

    tools = {"torchviz": True, "torchlens": True, "torchview": False} | dict.fromkeys(OURS, True)
    layouts = {"torchviz": 10.0, "torchlens": 14.0, "torchview": 1.0} | dict.fromkeys(OURS, 20.0)
    return {
        "tools": {tool: {"backward": backward} for tool, backward in tools.items()},
        "pictures": [row(tool, layout) for tool, layout in layouts.items()],
    }


def test_a_recorded_run_is_divided_by_the_fastest_other_tool_with_backward() -> None:
    data = made_up()
    torchviz, torchlens, _, ours, *_ = data["pictures"]
    ratios = tables.recorded(data).rows[0]
    assert ratios == ("M", "1.50×", "1.50×", "torchviz, 20 ms", "30 ms", "30 ms")
    ours["nodes"] = None
    assert tables.recorded(data).rows[0][1:] == (
        *("–", "1.50×", "torchviz, 20 ms"),
        *("35 ms, as text", "30 ms"),
    )
    for row in (torchviz, torchlens):
        del row["parts"]
    assert tables.recorded(data).rows[0][1:4] == ("–", "–", "none finished")


def test_a_drawn_tensor_is_divided_by_torchviz_without_the_forward_pass() -> None:
    data = made_up()
    data["pictures"][1]["parts"]["layout"] = 0.0  # torchlens is faster, and does not count
    assert tables.drawn(data).rows[0] == (
        *("M", "1.62×", "1.62×", "torchviz, 16 ms"),
        *("26 ms", "26 ms"),
    )


def test_recording_is_divided_by_the_floor_without_what_an_empty_recording_takes() -> None:
    facts = {"plain": 2.0, "recorded": 9.0, "added": 7.0, "floor_added": 3.0, "nothing": 1.0}
    row = {"model": "M", "operations": 100, "passes": 3} | facts
    data = {"recording": [row, {"model": "N", "state": "> 30 s"}]}
    done, failed = tables.recording(data).rows
    assert done == ("M", "100", "2.0 ms", "9.0 ms", "4.5×", "60 µs", "30 µs", "2.0×")
    assert failed == ("N", *["–"] * 6, "> 30 s")
    assert "takes 1.0 ms" in tables.empty(data)
    assert tables.growth(data) == "The growth was not measured."
    longer = row | {"model": tables.LONG, "operations": 1000, "added": 91.0}
    data["recording"] = [row | {"model": tables.SHORT}, longer]
    assert "adds 1.50× what" in tables.growth(data)


# ---- the pins ----


def test_pins_of_the_other_tools_are_exact_and_leave_the_rest_alone() -> None:
    pins = lines("bench/requirements.txt")
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    ours = {
        canonicalize_name(pin.name)
        for pin in lines("requirements.txt") + lines("requirements-book.txt")
    }
    assert not ours & {canonicalize_name(pin.name) for pin in pins}
