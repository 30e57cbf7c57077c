"""Right and wrong answers to exercise `save_whole`: ways to save a file."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..mistakes import then

__all__ = ["RIGHT", "WRONG"]

State = dict[str, Any]


def beside(path: Path, state: State) -> None:
    """With the methods of a Path."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def forced_to_disk(path: Path, state: State) -> None:
    """Bytes in memory first, a name of its own, forced to the disk, and nothing left after an error."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    handle, name = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        shutil.move(name, path)
    except BaseException:
        os.unlink(name)
        raise


def in_a_folder(path: Path, state: State) -> None:
    """The new file is made in a folder inside of the folder."""
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        torch.save(state, os.path.join(name, "new"))
        os.rename(os.path.join(name, "new"), path)


def _save(path: Path, state: State, way: str = "replace") -> None:
    part = f"{path}.part"
    try:
        torch.save(state, path if way == "in place" else part)
        if way == "copied":
            Path(path).write_bytes(Path(part).read_bytes())
        elif way != "in place":
            os.replace(part, path)
    except InterruptedError as error:
        if way == "other error":
            raise RuntimeError("not saved") from error
        if way != "swallowed":
            raise


def _moved(path: Path, state: State, way: str = "") -> None:
    """The new file is whole first; then the places are changed in some way."""
    part = str(path.parent.parent / "new.pt") if way == "elsewhere" else f"{path}.part"
    torch.save(state, part)
    if way == "elsewhere":
        shutil.move(part, path)
    elif way == "copied":
        shutil.copy(part, path)
        os.remove(part)
    elif way == "removed first":
        if os.path.exists(path):
            os.remove(path)
        os.rename(part, path)
    elif way == "old one kept":
        if path.exists():
            path.rename(f"{path}.old")
        os.rename(part, path)
        Path(f"{path}.old").unlink(missing_ok=True)
    elif way == "a copy left":
        shutil.copy(part, f"{part}.2")
        os.replace(part, path)


def _through_memory(path: Path, state: State) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with open(path, "wb") as file:
        file.write(buffer.getvalue())


def _cleans_up(path: Path, state: State, own: bool = False) -> None:
    """Deletes after an error: the old file, or all others."""
    part = f"{path}.part"
    try:
        torch.save(state, part)
        os.replace(part, path)
    except BaseException:
        for name in os.listdir(path.parent):
            if own == (name == path.name):
                os.remove(path.parent / name)
        raise


def _alone(path: Path, state: State) -> None:
    """After a save nothing but the file is in the folder."""
    _save(path, state)
    for name in os.listdir(path.parent):
        if name != path.name:
            os.remove(path.parent / name)


def _finally(path: Path, state: State) -> None:
    part = f"{path}.part"
    try:
        torch.save(state, part)
    finally:
        os.replace(part, path)


def _move_swallowed(path: Path, state: State) -> None:
    torch.save(state, f"{path}.part")
    with suppress(OSError):
        os.replace(f"{path}.part", path)


def _halved(path: Path, state: State) -> None:
    """Every tensor is saved with half of its digits."""
    _save(path, {k: v.half() if isinstance(v, torch.Tensor) else v for k, v in state.items()})


def _pickled(path: Path, state: State) -> None:
    with open(f"{path}.part", "wb") as file:
        pickle.dump(state, file)
    os.replace(f"{path}.part", path)


def _once(path: Path, state: State) -> None:
    if not path.exists():
        _save(path, state)


def _a_part(path: Path, state: State) -> None:
    _save(path, {"what": state["what"]})


def _other_name(path: Path, state: State) -> None:
    torch.save(state, path.with_suffix(".ckpt"))


RIGHT: dict[str, Callable[..., Any]] = {
    "with a Path": beside,
    "forced to the disk": forced_to_disk,
    "in a folder of its own": in_a_folder,
}
WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "in place": (partial(_save, way="in place"), "at the path while the new state was being written"),
    "in place, through memory": (_through_memory, "written into the old file itself"),
    "copied over": (partial(_save, way="copied"), "another file is left in the folder: ['checkpoint.pt.part']"),
    "copied over, cleaned": (partial(_moved, way="copied"), "written into the old file itself"),
    "a copy left": (partial(_moved, way="a copy left"), "another file is left in the folder: ['checkpoint.pt.part.2']"),
    "in another folder": (partial(_moved, way="elsewhere"), "written in another folder"),
    "removed first": (partial(_moved, way="removed first"), "at the path after os.remove"),
    "the old one renamed": (partial(_moved, way="old one kept"), "at the path after os.rename"),
    "error swallowed": (partial(_save, way="swallowed"), "Writing failed, and your function said nothing"),
    "another error": (partial(_save, way="other error"), "what came out was RuntimeError"),
    "the old one deleted after an error": (partial(_cleans_up, own=True), "and the old file is gone"),
    "others deleted after an error": (_cleans_up, "Writing failed, and another file of the folder is gone"),
    "others deleted": (_alone, "Another file of the folder is gone after a save: checkpoint.txt"),
    "moved after an error": (_finally, "is not whole"),
    "error of the move swallowed": (_move_swallowed, "could not be put into its place"),
    "halved": (_halved, "torch.load does not find the state"),
    "pickled": (_pickled, "torch.load does not find the state"),
    "a part of the state": (_a_part, "torch.load does not find the state"),
    "only if there is none": (_once, "does not hold the new state"),
    "another name": (_other_name, "there is no file checkpoint.pt"),
    "nothing": (then(lambda path, state: None, lambda path, state: None), "there is no file checkpoint.pt"),
    "the state emptied": (then(_save, lambda path, state: state.clear()), "state is not what it was"),
}  # fmt: skip
