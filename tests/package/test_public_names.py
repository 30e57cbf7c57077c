"""The package's own names: old ones warn and say the new one; the course is another package, and may be missing."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest

import definebyrun as dbr


def warned(name: str) -> tuple[Any, list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(dbr, name)
    return found, [each for each in caught if each.category is DeprecationWarning]


@pytest.mark.parametrize(("old", "new"), [("Call", "ModuleCall"), ("Tensor", "TensorVersion")])
def test_an_old_name_is_the_new_one_and_warns_where_it_was_used(old: str, new: str) -> None:
    found, (warning,) = warned(old)
    assert found is getattr(dbr, new)
    assert (
        str(warning.message) == f"definebyrun.{old} is called definebyrun.{new} since version 0.2"
    )
    assert warning.filename == __file__


@pytest.mark.parametrize("name", ["exercises", "pieces", "plots"])
def test_what_has_moved_to_the_course_is_found_there_with_a_warning(name: str) -> None:
    found, (warning,) = warned(name)
    assert found is sys.modules[f"definebyrun_course.{name}"]
    said = f"definebyrun.{name} is definebyrun_course.{name} since version 0.2"
    assert (str(warning.message), warning.filename) == (said, __file__)


def test_a_name_that_never_was_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'definebyrun' has no attribute 'nothing'"):
        _ = dbr.nothing


@pytest.fixture
def no_course(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "definebyrun_course"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without("definebyrun_course"), *sys.meta_path])


class Without:
    """Finds that a module is not there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.usefixtures("no_course")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_the_course_one_sentence_says_how_to_get_it() -> None:
    said = "the exercises are a package of their own: run `pip install"
    with pytest.raises(ModuleNotFoundError, match=said):
        dbr.check("node_counts", 1)
    with pytest.raises(ModuleNotFoundError, match=said):
        _ = dbr.plots


@pytest.mark.parametrize("name", ["plots", "exercises"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_course_itself_lacks_is_not_taken_for_the_course(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"definebyrun_course.{name}", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Without(f"definebyrun_course.{name}"), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=f"No module named 'definebyrun_course.{name}'"):
        _ = getattr(dbr, name)
    if name == "exercises":
        with pytest.raises(ModuleNotFoundError, match="No module named"):
            dbr.check("node_counts", 1)
