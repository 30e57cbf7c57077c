"""The bench: its arithmetic, its saved result, and the page made from it. No test here depends on a time.

The saved result must have a row for every model and drawer, and the page must show what is saved. What the drawers
themselves give is measured, not tested; only that one tiny measurement of ours works at all.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
from functools import partial
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench import measure, tables
from bench import turns as bench_turns
from bench.drawers import TOOLS, Asked, Clock, by_program
from bench.models import MODELS, STEPS
from tools import ROOT

DATA = tables.load()
DRAWN = [row for row in DATA["pictures"] if "total" in row]


def lines(name: str) -> list[Requirement]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if line and line[0] not in "#-"]


# ---- arithmetic and words ----


@pytest.mark.parametrize("power", [0.5, 1.0, 1.37, 2.0])
def test_the_fit_finds_the_exponent_of_a_power_law(power: float) -> None:
    sizes = [100, 200, 500, 1000, 20000]
    assert tables.fit(sizes, [3.5 * n**power for n in sizes]) == pytest.approx(power)


def test_the_fit_of_a_noisy_line_is_that_of_the_logarithms() -> None:
    # log10: (1, 1), (2, 3), (3, 4); the slope of the least squares line is 3/2.
    assert tables.fit([10, 100, 1000], [10, 1000, 10000]) == pytest.approx(1.5)


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
    assert tables.words({"state": "> 60 s", "parts": {"build": 3.0}}) == "> 60 s"


# ---- measuring ----


def test_one_tiny_measurement_of_ours_has_all_its_parts(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    measure.drawn("definebyrun", "MLP, 2 layers")
    said = [bench_turns.heard(line) for line in capsys.readouterr().out.splitlines()]
    facts = {key: value for each in said for key, value in each.items()}
    assert facts["nodes"] > 10
    assert facts["svg_bytes"] > facts["dot_bytes"] > 0
    assert sum("waits" in each for each in said) == 3
    passes = [each["turn"] for each in said if "turn" in each]
    assert len(passes) == 2
    found = bench_turns.summary(passes)
    assert set(found["parts"]) == {"build", "write", "layout"}
    assert found["parts"]["write"] > 0
    assert found["parts"]["layout"] > 0
    assert found["fastest"] <= found["total"]
    assert "program" not in found  # its users get the layout in process


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if TOOLS[tool].needs != "definebyrun"])
def test_a_drawer_that_is_not_there_gives_a_row_that_says_so(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "PEERS", tmp_path)
    monkeypatch.setattr("bench.drawers.TOOLS", {tool: TOOLS[tool]})
    rows = measure.pictures("MLP, 2 layers", {})
    assert rows == [{"model": "MLP, 2 layers", "tool": tool, "state": "not installed"}]


def test_a_larger_model_is_not_tried_where_the_smaller_one_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.drawers.TOOLS", {"definebyrun": TOOLS["definebyrun"]})
    (row,) = measure.pictures("RNN, 1,000 steps", {"definebyrun": "RecursionError"})
    assert row["state"] == "not tried"


def test_only_what_is_divided_by_each_other_gets_several_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builds = dict.fromkeys(TOOLS, 30.0) | {"torchviz": 9.0}
    asked: list[str] = []

    class Answering:
        state = ""

        def __init__(self, code: str) -> None:
            asked.append(next(tool for tool in TOOLS if f"('{tool}', " in code))

        def answer(self, limit: float) -> dict[str, float]:
            return {"plain": 1.0}

        def end(self) -> None:
            pass

    def take_turns(asked: dict[str, Answering], *_: object) -> dict[str, list[dict[str, object]]]:
        return {tool: [{"plain": 1.0, "parts": {"build": builds[tool]}}] for tool in asked}

    monkeypatch.setattr(measure, "installed", lambda package: True)
    monkeypatch.setattr(measure, "Answering", Answering)
    monkeypatch.setattr(measure, "take_turns", take_turns)
    rows = measure.pictures("MLP, 2 layers", {})
    several = {"definebyrun", "definebyrun, all of it", "torchviz"}
    assert {tool: asked.count(tool) for tool in TOOLS} == {
        tool: measure.SITTINGS if tool in several else 1 for tool in TOOLS
    }
    assert {row["tool"]: row["passes"] for row in rows} == {t: asked.count(t) for t in TOOLS}


SAYS = "import json, sys, time\nsay = lambda **facts: print(json.dumps(facts), flush=True)\n"


def test_a_measurement_that_takes_too_long_keeps_what_it_had_said() -> None:
    found = bench_turns.ask(f"{SAYS}say(plain=2.0)\nprint('{{')\ntime.sleep(60)", 1)
    assert found == {"plain": 2.0, "state": "> 1 s"}


def test_what_a_measurement_has_started_is_stopped_with_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        where = server.getsockname()
        waits = (
            f"kept = socket.create_connection({where}); time.sleep(20); kept.send(b'still here')"
        )
        code = f"{SAYS}import subprocess\nsubprocess.run([sys.executable, '-c', {f'import socket, time; {waits}'!r}])"
        assert bench_turns.ask(code, 5) == {"state": "> 5 s"}
        connection, _ = server.accept()
        with connection:
            assert connection.recv(10) == b""  # nobody is at the other end any more


def test_a_measurement_that_fails_says_by_which_error() -> None:
    found = bench_turns.ask(f"{SAYS}say(plain=2.0)\nraise RecursionError('deep')", 30)
    assert found == {"plain": 2.0, "state": "RecursionError"}
    assert bench_turns.ask(f"{SAYS}say(plain=3.0)", 30) == {"plain": 3.0, "state": "drawn"}


def test_an_error_is_known_by_its_name() -> None:
    words = "Traceback\n  File x\ntorch.cuda.OutOfMemoryError: no\nof it\n"
    assert bench_turns.cause("Traceback\nRecursionError: maximum depth\n", 1) == "RecursionError"
    assert bench_turns.cause(words.replace("\nof it", ""), 1) == "OutOfMemoryError"
    assert bench_turns.cause("", -9) == "killed by signal 9"


TAKES_TURNS = """
from bench.turns import say, turns
builds = iter({builds})
say(plain=1.0)
for _ in turns():
    say(turn={{"plain": 1.0, "parts": {{"build": next(builds), "write": 1.0}}}})
"""


def turned(**builds: str) -> tuple[dict[str, list[float]], dict[str, str]]:
    """What processes say that take so long to build, the first two of which are set against each other."""
    asked = {
        name: bench_turns.Answering(TAKES_TURNS.format(builds=code))
        for name, code in builds.items()
    }
    first = [each.answer(30) for each in asked.values()]
    assert first == [{"plain": 1.0}] * len(asked)
    found = bench_turns.take_turns(asked, 30, lambda sums: [name for name in asked if name != "c"])
    for each in asked.values():
        each.end()
    passes = {name: [turn["parts"]["build"] for turn in turns] for name, turns in found.items()}
    return passes, {name: each.state for name, each in asked.items()}


def test_processes_take_turns_until_all_that_are_set_against_each_other_are_known() -> None:
    rough = "[9.0, 30.0, 2.0, 20.0] * 5 + [10.0] * 500"
    passes, _ = turned(a="[5.0] * 900", b=rough, c="[7.0] * 900")
    assert len(passes["c"]) == bench_turns.MOST
    assert len(passes["a"]) == len(passes["b"]) > bench_turns.MOST


def test_processes_stop_where_it_is_never_known() -> None:
    passes, _ = turned(a="[5.0] * 900", b="[1.0, 1000.0] * 500")
    assert len(passes["a"]) == len(passes["b"]) == bench_turns.MORE * bench_turns.MOST


def test_a_process_that_ends_between_its_turns_says_why_and_the_others_go_on() -> None:
    passes, states = turned(a="[5.0] * 900", b="[6.0, 6.5]", c="[7.0] * 900")
    assert [len(found) for found in passes.values()] == [bench_turns.MOST, 2, bench_turns.MOST]
    assert states["b"] == "StopIteration"


def test_layout_is_not_counted_as_writing() -> None:
    told: list[dict[str, float]] = []
    clock = Clock(lambda parts: told.append(dict(parts)))
    assert "<svg" in clock.lay_out("digraph { a -> b }")
    assert clock.asked == [Asked("digraph { a -> b }")]
    assert list(clock.parts) == ["write", "layout"]
    assert clock.parts["write"] < clock.parts["layout"]
    assert [list(parts) for parts in told] == [["write"], ["write", "layout"]]


@pytest.mark.skipif(not shutil.which("dot"), reason="no program dot")
@pytest.mark.parametrize("asked", [Asked("graph { a -- b }"), Asked("graph { a }", kind="plain")])
def test_the_program_gives_the_same_kind_of_picture(asked: Asked) -> None:
    said = by_program(asked)
    assert (b"<svg" if asked.kind == "svg" else b"node a") in said


def test_a_picture_is_there_also_when_the_time_was_over_for_the_program() -> None:
    row = {"total": 9.0, "parts": {"build": 1.0, "write": 1.0, "layout": 1.0}, "nodes": 1}
    row |= {"tool": "definebyrun", "state": "> 60 s"}
    measure.finish(row, backward=True)
    assert row["state"] == "drawn"
    assert tables.own(row) == 3.0


def test_a_build_that_was_stopped_is_without_the_plain_run() -> None:
    row = {"state": "> 60 s", "plain": 2.0, "forward": 1.0, "parts": {"build": 5.0}}
    measure.finish(row, backward=True)
    assert row["parts"] == {"build": 3.0}


def test_the_engine_of_a_picture_is_the_one_that_is_not_dot() -> None:
    assert measure.engine_of([]) == measure.engine_of([Asked("")]) == "dot"
    assert measure.engine_of([Asked("", "sfdp"), Asked("")]) == "sfdp"


def test_without_the_program_only_the_layout_in_process_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert measure.program() is None
    without = json.loads(json.dumps(DATA))
    without["machine"]["dot"] = None
    for row in without["pictures"]:
        row.pop("program", None)
    assert "the program dot" not in tables.machine(without)
    finished = [row for row in tables.ratios(without, True).rows if "none finished" not in row]
    assert finished
    assert {row[1:4] for row in finished} == {("–", "–", "–")}


# ---- what is saved ----


def test_the_saved_result_has_every_model_and_every_drawer() -> None:
    found = [(row["model"], row["tool"]) for row in DATA["pictures"]]
    assert found == [(model, tool) for model in MODELS for tool in TOOLS]
    assert [row["model"] for row in DATA["overhead"]] == [*MODELS, *STEPS]
    assert DATA["growth"]["sizes"] == list(measure.SIZES)
    assert len(DATA["growth"]["added"]) == len(measure.SIZES)


def test_the_saved_result_was_made_with_all_drawers_in_their_pinned_versions() -> None:
    assert "not installed" not in {row["state"] for row in DATA["pictures"]}
    pins = {pin.name: next(iter(pin.specifier)).version for pin in lines("bench/requirements.txt")}
    for name in ("torchlens", "torchview", "torchviz"):
        assert DATA["machine"]["versions"][name] == pins[name]


def test_the_saved_result_names_no_machine_and_no_day() -> None:
    known = {"cores", "system", "python", "graphviz", "versions", "limit"}
    assert set(DATA["machine"]) - {"dot"} == known
    text = tables.PLACE.read_text(encoding="utf-8")
    assert not re.search(r"/\w+/\w+|\d{4}-\d{2}-\d{2}", text)


@pytest.mark.parametrize("row", DRAWN, ids=lambda row: f"{row['tool']}: {row['model']}")
def test_the_parts_of_a_row_fit_its_whole(row: dict) -> None:
    assert row["fastest"] <= row["total"]
    assert all(row["parts"][part] >= 0 for part in ("build", "write", "layout"))
    if row["nodes"] is not None:
        assert row["svg_bytes"] > 0
    if "program" in row:  # where the program was there, and the time was not over before it
        assert DATA["machine"]["dot"]
        assert row["program"] > 0
        assert row["nodes"] is not None
        assert tables.OURS not in row["tool"]


# ---- the page ----


def cells(table: BeautifulSoup) -> list[tuple[str, ...]]:
    return [tuple(cell.get_text() for cell in row.find_all(["th", "td"])) for row in table("tr")]


TABLES = {
    "used": partial(tables.ratios, used=True),
    "inside": partial(tables.ratios, used=False),
    "totals": tables.totals,
    "overhead": tables.overhead,
    "growth": tables.growth,
}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_of_the_page_is_that_of_the_terminal(name: str) -> None:
    table = TABLES[name](DATA)
    found = cells(BeautifulSoup(tables.SHOWN[name](DATA), "html.parser").table)
    assert found == [table.head, *table.rows]
    assert all(len(row) == len(table.head) for row in table.rows)


def test_the_page_asks_for_every_part_once() -> None:
    page = (ROOT / "chapters" / "how-the-drawings-compare.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\{measured\} (\w+)", page)) == sorted(tables.SHOWN)


def test_the_prose_of_the_page_holds_no_measured_time() -> None:
    page = (ROOT / "chapters" / "how-the-drawings-compare.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\b\d[\d.,]* ?(?:ms|µs|s|×)(?!\w)", page)) <= {"8 s", "60 s"}


@pytest.mark.parametrize("model", list(MODELS))
def test_a_plot_says_in_words_what_it_shows(model: str) -> None:
    page = BeautifulSoup(tables.plot(DATA, model), "html.parser")
    rows = [row for row in DATA["pictures"] if row["model"] == model]
    for row in rows:
        assert f"{row['tool']} {tables.words(row)}" in page.svg["aria-label"]
    marks = page.svg.find_all(["circle", "path"])
    drawn = sum("total" in row for row in rows)
    assert len(marks) == len(tables.TICKS) + 1 + drawn


def test_the_ratio_is_that_of_the_fastest_other_drawer_with_backward() -> None:
    def row(tool: str, layout: float) -> dict:
        parts = {"build": 4.0, "write": 6.0, "layout": layout}
        facts = {"parts": parts, "total": 15.0 + layout, "nodes": 1}
        return {"model": "M", "tool": tool, "state": "drawn"} | facts

    tools = {"definebyrun": True, "torchviz": True, "torchlens": True, "torchview": False}
    layouts = {"definebyrun": 20.0, "torchviz": 10.0, "torchlens": 14.0, "torchview": 1.0}
    data = {
        "tools": {tool: {"backward": backward} for tool, backward in tools.items()},
        "pictures": [row(tool, layout) for tool, layout in layouts.items()],
    }
    ours, torchviz, torchlens, torchview = data["pictures"]

    def both() -> list[tuple[str, ...]]:
        return [tables.ratios(data, used).rows[0] for used in (True, False)]

    nobody, inside = ("M", "–", "–", "30 ms"), ("M", "1.50×", "torchviz, 20 ms", "30 ms")
    assert both() == [nobody, inside]
    torchviz["program"], torchlens["program"], torchview["program"] = 50.0, 30.0, 2.0
    assert both() == [("M", "0.75×", "torchlens, 40 ms", "30 ms"), inside]
    ours["nodes"] = None
    assert both() == [
        ("M", "–", "torchlens, 40 ms", "35 ms, as text"),
        ("M", "–", "torchviz, 20 ms", "35 ms, as text"),
    ]
    data["pictures"] = [ours, {"model": "M", "tool": "torchviz", "state": "RecursionError"}]
    assert [row[1:3] for row in both()] == [("–", "none finished")] * 2


def test_what_is_saved_can_be_read_again(tmp_path: Path) -> None:
    place = tmp_path / "bench.json"
    place.write_text(json.dumps(DATA), encoding="utf-8")
    assert tables.load(place) == DATA
    assert tables.report(DATA).count("\n") > 60


# ---- the pins ----


def test_pins_of_the_other_drawers_are_exact_and_leave_the_rest_alone() -> None:
    pins = lines("bench/requirements.txt")
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    ours = {
        canonicalize_name(pin.name)
        for pin in lines("requirements.txt") + lines("requirements-book.txt")
    }
    assert not ours & {canonicalize_name(pin.name) for pin in pins}


def test_passes_go_on_until_the_time_is_over_or_enough_are_done() -> None:
    numbers = iter(range(100))
    assert measure.several(lambda: next(numbers), 60, 4) == [0, 1, 2, 3]
    assert len(measure.several(lambda: next(numbers), 0, 4)) == 3


def test_ours_are_set_against_the_fastest_other_one_with_backward() -> None:
    sums = dict.fromkeys(TOOLS, 10.0) | {"torchview": 1.0, "torchviz": 5.0}
    assert measure.set_against(sums) == ["definebyrun", "definebyrun, all of it", "torchviz"]
    assert measure.set_against({"definebyrun": 2.0, "torchview": 1.0}) == ["definebyrun"]
