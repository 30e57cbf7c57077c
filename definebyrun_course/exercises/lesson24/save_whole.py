"""Exercise `save_whole`: a file that is whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...grading import Exercise, Mistake, Right, Wrong, closed_by, expect, forms
from .savers import RIGHT, WRONG

__all__ = ["EXERCISE"]

MOVES = ("replace", "rename", "remove", "unlink", "link")
"""Functions of `os` that put a name into a folder or take one out."""
NEIGHBOURS = ("checkpoint.txt", "other.pt")


def state_of(what: str) -> dict[str, Any]:
    return {"what": what, "weight": torch.arange(3.0) / 3}


def content(path: Path) -> str | None:
    """What the file says it is; None if it is not there or cannot be loaded."""
    try:
        found = torch.load(path, weights_only=False)
        same = torch.equal(found["weight"].double(), state_of("")["weight"].double())
        return str(found["what"]) if same else None
    except Exception:
        return None


class Spy:
    """Looks at a file while it is being pickled; may fail there."""

    def __init__(self, watch: Watch, fail: bool = False) -> None:
        self.watch, self.fail = watch, fail

    def __reduce__(self) -> Any:
        self.watch.look("while the new state was being written")
        if self.fail:
            raise InterruptedError("killed while writing")
        return (int, (1,))


@dataclass
class Watch:
    """What a reader would have found at a path, at each moment that can be watched, and where files came from.

    `stuck` makes each call fail that would move a file to the path.
    """

    path: Path
    found: list[tuple[str, str | None]] = field(default_factory=list)
    stuck: bool = False
    elsewhere: bool = False

    def look(self, moment: str) -> None:
        self.found.append((moment, content(self.path)))

    @contextmanager
    def moves(self) -> Iterator[None]:
        """A region in which a look is taken around each call that moves, links or deletes a file."""

        def followed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                self.look(f"before os.{name}")
                if self.stuck and self._puts_in_place(name, args):
                    raise PermissionError("nothing can be moved there")
                result = function(*args, **kwargs)
                self._puts_in_place(name, args)
                self.look(f"after os.{name}")
                return result

            return call

        kept = {name: getattr(os, name) for name in MOVES}

        def put_back() -> None:
            for name, function in kept.items():
                setattr(os, name, function)

        with closed_by(put_back):
            for name, function in kept.items():
                setattr(os, name, followed(name, function))
            yield

    def _puts_in_place(self, name: str, args: tuple[Any, ...]) -> bool:
        """Whether a call moves something to the path."""
        if name not in ("replace", "rename"):
            return False
        if os.path.abspath(args[1]) != os.path.abspath(self.path):
            return False
        self.elsewhere |= self.path.parent not in Path(os.path.abspath(args[0])).parents
        return True


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = tempfile.TemporaryDirectory()
    with closed_by(folder.cleanup):
        yield Path(folder.name)


def check_save(save_whole: Callable[..., Any]) -> None:
    """`save_whole(path, state)` writes a file in which a reader finds the old or the new state, whole."""
    with new_folder() as name:
        folder = name / "run.1"
        folder.mkdir()
        path = folder / "checkpoint.pt"
        for neighbour in NEIGHBOURS:
            (folder / neighbour).write_text("mine")
        _first(save_whole, path)
        _again(save_whole, path)
        _failing(save_whole, path)
        _failing_move(save_whole, path)
        save_whole(path, state_of("later"))
        expect(
            content(path) == "later",
            "After a save that failed, the next one does not put the new state into the file.",
            "What the failed one has left behind must not be in the way.",
        )


def _first(save_whole: Any, path: Path) -> None:
    save_whole(path, state_of("old"))
    expect(
        path.exists(),
        f"After the first save there is no file {path.name}.",
        "It is written to the path that is given, also when there is no old file yet.",
    )
    expect(
        content(path) == "old",
        "After the first save torch.load does not find the state in the file.",
        "The whole state, saved with torch.save.",
    )
    _folder(path)


def _folder(path: Path) -> None:
    """Nothing is left, and nothing of others is gone."""
    there = {entry.name for entry in path.parent.iterdir()}
    lost = sorted({path.name, *NEIGHBOURS} - there)
    expect(
        not lost,
        f"Another file of the folder is gone after a save: {lost[0] if lost else ''}.",
        "Only what you have made yourself is yours to delete.",
    )
    left = sorted(there - {path.name, *NEIGHBOURS})
    expect(
        not left,
        f"After a save another file is left in the folder: {forms.said(left)}.",
        "Move the new file into the place of the old one; do not copy it.",
    )


def _again(save_whole: Any, path: Path) -> None:
    watch, before = Watch(path), path.stat().st_ino
    with watch.moves():
        save_whole(path, {**state_of("new"), "spy": Spy(watch)})
    expect(
        content(path) == "new",
        "After a second save the file does not hold the new state.",
        "An old file is no reason not to save.",
    )
    broken = [moment for moment, found in watch.found if found not in ("old", "new")]
    expect(
        not broken,
        f"There was no whole file at the path {broken[0] if broken else ''}.",
        "A process may die between any two calls. Touch the old file only when the new one is whole, with one "
        "call that puts it into its place.",
    )
    expect(
        path.stat().st_ino != before,
        "The new state was written into the old file itself.",
        "A process that dies in the middle of that leaves half a file. Write beside it, and then move.",
    )
    expect(
        not watch.elsewhere,
        "The new file was written in another folder and then moved.",
        "A move is one action only inside of a file system; between two it copies. Where is it surely the same one?",
    )
    _folder(path)


def _failing(save_whole: Any, path: Path) -> None:
    watch = Watch(path)
    try:
        with watch.moves():
            save_whole(path, {**state_of("last"), "spy": Spy(watch, fail=True)})
    except InterruptedError:
        pass
    except Mistake:
        raise
    except Exception as error:
        raise Mistake(
            f"Writing failed with InterruptedError, and what came out was {type(error).__name__}.",
            "Let the error pass as it is.",
        ) from error
    else:
        raise Mistake("Writing failed, and your function said nothing.", "Let the error pass.")
    expect(
        path.exists(),
        "Writing failed, and the old file is gone.",
        "What failed is the new file. What may be deleted then, and what may not?",
    )
    expect(
        content(path) == "new",
        "Writing failed, and what is in the place of the old file is not whole.",
        "After an error nothing is moved: which of your lines runs all the same?",
    )
    lost = [neighbour for neighbour in NEIGHBOURS if not (path.parent / neighbour).exists()]
    expect(not lost, "Writing failed, and another file of the folder is gone.",
           "Only what you have made yourself is yours to delete.")  # fmt: skip


def _failing_move(save_whole: Any, path: Path) -> None:
    """Nothing can be moved to the path; a move that copies then is told by what is in the file."""
    watch = Watch(path, stuck=True)
    try:
        with watch.moves():
            save_whole(path, state_of("moved"))
    except Mistake:
        raise
    except Exception:
        return
    expect(
        content(path) == "moved",
        "The new file could not be put into its place, and your function said nothing.",
        "Putting the file into its place is a part of writing it: let the error pass.",
    )


def oracle(save_whole: Callable[..., Any]) -> Any:
    """What a reader finds in each moment, what is in the folder, and what comes out when writing fails."""
    told: list[Any] = []
    with new_folder() as name:
        folder = name / "run.1"
        folder.mkdir()
        path, neighbour = folder / "checkpoint.pt", folder / NEIGHBOURS[0]
        neighbour.write_text("mine")
        inode = 0
        for what, fail in (("a", False), ("b", False), ("c", True), ("d", False), ("e", True)):
            watch = Watch(path)
            state = {**state_of(what), "spy": Spy(watch, fail)}
            try:
                with watch.moves():
                    save_whole(path, state)
                error = "none"
            except Exception as raised:
                error = type(raised).__name__
            is_same = path.exists() and path.stat().st_ino == inode
            inode = path.stat().st_ino if path.exists() else 0
            others = len([*folder.iterdir()]) if what in "ab" else 0
            whole = what == "a" or all(found is not None for _, found in watch.found)
            told.append(
                [
                    error,
                    is_same,
                    content(path),
                    whole,
                    watch.elsewhere,
                    others,
                    neighbour.exists(),
                    sorted(state),
                ]
            )
        watch = Watch(path, stuck=True)
        try:
            with watch.moves():
                save_whole(path, state_of("f"))
            told.append(content(path) == "f")
        except Exception:
            told.append(True)
    return told


EXERCISE = Exercise(
    "save_whole",
    "Whenever the process dies, a whole file is there.",
    check_save,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=tuple(Right(name, answer) for name, answer in RIGHT.items()),
    oracle=oracle,
    allows={"returns its argument": "what save_whole returns is free"},
)
