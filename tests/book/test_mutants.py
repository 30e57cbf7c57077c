"""The mutants: which faults are made, what is told of them, and that the tests notice those that are listed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tools import ROOT
from tools.mutants.__main__ import FEW, PARTS, listed, sample, table, told_of
from tools.mutants.operators import Mutant, compiled, mutants_of
from tools.mutants.package import Verdict

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in mutants_of("a.py", textwrap.dedent(source))]


# ---- which faults ----


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("left < right", "left < right → left <= right"),
        ("left is None", "left is None → left is not None"),
        ("left in right", "left in right → left not in right"),
        ("left and right", "left and right → left or right"),
        ("left_one + right", "left_one + right → left_one - right"),
        ("not something", "not something → something"),
        ("f(first, second)", "f(first, second) → f(second, first)"),
        ("place = 7", "7 → 8 in place = 7"),
        ("place = True", "True → False in place = True"),
        ("def f(): return x", "return x → return None"),
        ("names.clear()", "names.clear() → pass"),
        ("self.x = x", "self.x = x → pass"),
        ("while x: break", "break → pass"),
        ("raise error", "raise error → pass"),
        ("if x: y", "if x → if not x"),
        ("[x for x in y if x]", " for x in y if x →  for x in y"),
    ],
)
def test_a_fault_is_one_that_people_make(source: str, change: str) -> None:
    assert change in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Words."""',
        "__all__ = [first(1, 2)]",
        "from a import b",
        "x: Literal[1]",
        "@frozen(True)\nclass A: ...",
        "def f(x: Literal[1]) -> Literal[2]: ...",
        "if TYPE_CHECKING:\n    x = 1",
        "pairs = zip(a, strict=True)",
        "def f(): return None",
        "x = f(a, a)",
    ],
)
def test_what_does_not_run_or_does_not_matter_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_every_fault_is_another_program_that_compiles() -> None:
    source = (ROOT / "definebyrun" / "fold" / "repeats.py").read_text("utf-8")
    mutants = mutants_of("repeats.py", source)
    codes = [compiled(source, "repeats.py", mutant.number) for mutant in mutants]
    assert compiled(source, "repeats.py") not in codes
    assert len({mutant.name for mutant in mutants}) == len(mutants) > 100


def test_a_name_and_a_rank_stay_the_same_when_lines_move() -> None:
    source = "def f(x):\n    return x > 0\n"
    here, moved = mutants_of("a.py", source), mutants_of("a.py", f"import b\n\n{source}")
    assert [m.name for m in here] == [m.name for m in moved]
    assert [m.rank(1) for m in here] == [m.rank(1) for m in moved] != [m.rank(2) for m in here]
    assert [m.line for m in here] != [m.line for m in moved]


def test_equal_faults_in_one_function_are_counted() -> None:
    assert changes("def f():\n    g()\n    g()\n") == ["g() → pass", "g() → pass (number 2)"]


# ---- which sample ----


def made_up(file: str, count: int) -> list[Mutant]:
    return [Mutant(file, "f", 1, "any", f"{n}", n, None) for n in range(count)]


def test_a_sample_takes_from_every_room_alike() -> None:
    mutants = [*made_up("large/a.py", 50), *made_up("large/b.py", 50), *made_up("small.py", 2)]
    chosen = sample(mutants, 10, seed=0)
    assert [mutant.file == "small.py" for mutant in chosen].count(True) == 2
    assert chosen == sample(reversed(mutants), 10, seed=0) != sample(mutants, 10, seed=1)


def test_the_table_counts_by_room() -> None:
    one, two = made_up("room/a.py", 2)
    verdicts = [Verdict(one, "killed", "t"), Verdict(two, "survived")]
    said = table(verdicts, ["killed", "survived", "hung"]).splitlines()
    assert said[1].split() == ["room", "2", "1", "1", "0"]
    assert said[2].split() == ["in", "all", "2", "1", "1", "0"]


@pytest.mark.parametrize("part", list(PARTS))
def test_what_is_listed_as_equivalent_is_a_mutant_and_has_a_reason(part: str) -> None:
    names = {mutant.name for mutant in PARTS[part](print, False).mutants()}
    reasons = listed(part)
    assert not reasons.keys() - names, "the code has changed: take these from equivalent.toml"
    assert all(len(reason.split()) > 3 for reason in reasons.values())


# ---- what becomes of a mutant ----

PACKAGE = {
    "tiny/__init__.py": "",
    "tiny/numbers.py": """
        LIMIT = 10

        def clipped(x):
            return min(x, LIMIT)

        def halved(x):
            count = 0
            while x > 1:
                x = x // 2
                count += 1
            return count

        def unused(x):
            return x + 1

        def loose(x):
            if x > 5:
                return "large"
            return "small"

        def once(x):
            return x - 1

        def doubled(x):
            '''
            >>> doubled(2)
            4
            '''
            return x * 2

        def fatal(x):
            if not x:
                import os
                os.abort()
        """,
    "tiny/importing.py": """
        from tiny.numbers import once
        assert once(3) == 2
        """,
    "tests/test_tiny.py": """
        import tiny.importing
        from tiny.numbers import clipped, fatal, halved, loose, once

        AT_IMPORT = once(8)

        def test_clipped():
            assert clipped(20) == 10

        def test_halved():
            assert halved(8) == 3

        def test_loose():
            assert loose(9) == "large"

        def test_once():
            assert AT_IMPORT == 7

        def test_fatal():
            fatal(True)

        def test_that_fails_by_itself():
            assert False
        """,
}
RUN = """
import json, sys
from pathlib import Path
from tools.mutants.package import Package, Sources
root, by = Path(sys.argv[1]), json.loads(sys.argv[2])
sys.path.insert(0, str(root))
said = []
where = Sources(root, "tiny"), ("tests", "tiny"), root / "cache", said.append
package = Package(*where, by, imported=(), limit_seconds=5)
verdicts = package.run(package.mutants())
print(json.dumps([[v.mutant.scope, v.mutant.change, v.outcome, v.why[-30:]] for v in verdicts]))
"""


def run(root: Path, by: dict[str, str]) -> dict[tuple[str, str], tuple[str, str]]:
    for name, text in PACKAGE.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(textwrap.dedent(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(root), json.dumps(by)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {(scope, change): (what, why) for scope, change, what, why in json.loads(done.stdout)}


@FORKS
def test_what_the_tests_notice_is_killed_and_the_rest_survives(tmp_path: Path) -> None:
    found = run(tmp_path, {})
    killed = found["clipped", "min(x, LIMIT) → min(LIMIT, x)"]
    assert killed == ("survived", "")  # it is the same function
    assert found["loose", "return 'large' → return None"] == (
        "killed",
        "tests/test_tiny.py::test_loose"[-30:],
    )
    assert found["loose", "x > 5 → x >= 5 in if x > 5"][0] == "survived"
    assert found["unused", "x + 1 → x - 1 in return x + 1"][0] == "survived"
    # a constant of the module, which other processes import
    assert found["module", "10 → 11 in LIMIT = 10"] == (
        "killed",
        "tests/test_tiny.py::test_clipped"[-30:],
    )
    # what a test has computed when it was collected, and what cannot be imported at all
    assert found["once", "x - 1 → x + 1 in return x - 1"] == ("killed", "the import")
    assert found["fatal", "not x → x in if not x"][0] == "crashed"
    assert found["doubled", "x * 2 → x // 2 in return x * 2"][1].endswith("tiny.numbers.doubled")
    assert found["halved", "x // 2 → x * 2 in x = x // 2"][0] == "hung"


@FORKS
def test_where_it_is_said_which_tests_kill_a_mutant_nothing_else_is_run(tmp_path: Path) -> None:
    name, other = (
        "numbers.py halved: count += 1 → pass",
        "numbers.py loose: return 'large' → return None",
    )
    found = run(tmp_path, {name: "tests/test_tiny.py", other: "tiny/numbers.py"})
    assert not (tmp_path / "cache").exists()
    assert {change: what for (_, change), (what, _) in found.items()} == {
        "count += 1 → pass": "killed",
        "return 'large' → return None": "survived",
    }


# ---- in the package ----


@FORKS
@pytest.mark.slow
def test_the_tests_notice_the_listed_faults_in_the_package() -> None:
    """Where one is no longer in the code, or its test has moved: put another one into few.toml."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.mutants", "package", "--few"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].split()[2:4] == [str(len(told_of(FEW, "package")))] * 2
