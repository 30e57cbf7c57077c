"""What a notebook shares with all its cells is noted before an answer runs, and put back after it.

Grad mode, default dtype, random states, hooks, the working folder … belong to the whole notebook: an answer that leaves
one of them changed breaks a later cell, which then gives no hint of the cause.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import _guards
from torch._C._dynamo import eval_frame
from torch._functorch import eager_transforms
from torch.autograd import forward_ad, set_detect_anomaly
from torch.nn.modules import module as nn_module

__all__ = ["STATES", "State", "Surroundings"]


@dataclass(frozen=True)
class State:
    """One thing that all cells share: how it is called, how it is read, how it is put back.

    `advice` says how to change it for a few lines only. A `silent` state is put back without a word: nobody would call
    it a mistake to draw random numbers.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    advice: str = ""
    silent: bool = False


def _global_hooks() -> tuple[dict[int, Any], ...]:
    """PyTorch's registries of hooks that hold for every module."""
    names = (name for name in sorted(vars(nn_module)) if name.startswith("_global_"))
    return tuple(found for name in names if isinstance(found := vars(nn_module)[name], dict))


def _read_hooks() -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(hooks) for hooks in _global_hooks())


def _write_hooks(before: tuple[tuple[int, ...], ...]) -> None:
    for hooks, known in zip(_global_hooks(), before, strict=True):
        for number in [number for number in hooks if number not in known]:
            del hooks[number]


def _read_saved_tensor_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def _write_saved_tensor_hooks(before: Any) -> None:
    while (top := _read_saved_tensor_hooks()) is not None and top != before:
        torch._C._autograd._pop_saved_tensors_default_hooks()


def _read_modes() -> int:
    return torch._C._len_torch_function_stack()


def _write_modes(before: int) -> None:
    while _read_modes() > before:
        torch._C._pop_torch_function_stack()


def _read_dispatch_modes() -> int:
    return torch._C._len_torch_dispatch_stack()


def _write_dispatch_modes(before: int) -> None:
    while _read_dispatch_modes() > before:
        torch._C._pop_torch_dispatch_stack(None)


def _is_in_a_forward_level() -> bool:
    """Whether PyTorch's core is in a level, of which there is one at most; a cut answer may leave it behind."""
    try:
        level = torch._C._enter_dual_level()
    except RuntimeError:
        return True
    torch._C._exit_dual_level(level)
    return False


def _read_forward_mode() -> tuple[int, int, bool]:
    return forward_ad._current_level, eager_transforms.JVP_NESTING, _is_in_a_forward_level()


def _write_forward_mode(before: tuple[int, int, bool]) -> None:
    *_, was_in = before
    if _is_in_a_forward_level() and not was_in:
        torch._C._exit_dual_level(0)
    forward_ad._current_level, eager_transforms.JVP_NESTING, _ = before


def _read_dispatcher() -> tuple[int, int]:
    """The keys that PyTorch's dispatcher adds and leaves out in this thread."""
    include, exclude = (
        torch._C._dispatch_tls_local_include_set,
        torch._C._dispatch_tls_local_exclude_set,
    )
    return include().raw_repr(), exclude().raw_repr()


def _write_dispatcher(before: tuple[int, int]) -> None:
    include, exclude = map(torch._C.DispatchKeySet.from_raw_repr, before)
    guard = torch._C._ForceDispatchKeyGuard(include, exclude)
    guard.__enter__()  # type: ignore[no-untyped-call]
    _forced_keys.append(guard)


_forced_keys: list[Any] = []
"""A guard that is garbage undoes what it has done."""


def _read_compilation() -> dict[str, Any]:
    """What PyTorch's compiler knows of the compilation that is running in this thread."""
    return dict(vars(_guards._TLS))


def _write_compilation(before: dict[str, Any]) -> None:
    running = vars(_guards._TLS)
    running.clear()
    running |= before


def _write_folder(folder: str) -> None:
    with suppress(OSError):  # it may be gone
        os.chdir(folder)


def _is_general(found: Any) -> bool:
    """Whether a filter of warnings is for all that Python itself warns of.

    Libraries put others in when they are first imported, and PyTorch imports some at a first call.
    """
    _, message, category, module, _ = found
    return message is None and module is None and category.__module__ == "builtins"


def _write_general_filters(before: list[Any]) -> None:
    _write_filters([found for found in warnings.filters if not _is_general(found)] + before)


def _write_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]


STATES = (
    # What an answer leaves behind that is cut while PyTorch compiles it; before all that computes with tensors.
    State("keys of the dispatcher", _read_dispatcher, _write_dispatcher, silent=True),
    State(
        "a compiler of every frame",
        eval_frame.get_eval_frame_callback,
        eval_frame.set_eval_frame,
        silent=True,
    ),
    # else `torch.load` and others believe that tensors without content are asked for
    State("a compilation that is running", _read_compilation, _write_compilation, silent=True),
    State(
        "gradients, which are switched on",
        torch.is_grad_enabled,
        torch._C._set_grad_enabled,
        "`with torch.no_grad():` switches them off for its lines only, and on again after an error too.",
    ),
    State(
        "the default dtype",
        torch.get_default_dtype,
        torch.set_default_dtype,
        "Say the dtype where a tensor is made.",
    ),
    State(
        "the recursion limit",
        sys.getrecursionlimit,
        sys.setrecursionlimit,
        "A list of what is still to be visited needs no recursion at all.",
    ),
    State(
        "NumPy's error handling",
        np.geterr,
        lambda before: np.seterr(**before),
        "`with np.errstate(...):` holds for its lines only.",
    ),
    State("the working folder", os.getcwd, _write_folder, "Write to the path that is given."),
    State("PyTorch's number of threads", torch.get_num_threads, torch.set_num_threads),
    State(
        "anomaly mode",
        torch.is_anomaly_enabled,
        set_detect_anomaly,
        "`with torch.autograd.detect_anomaly():` holds for its lines only.",
    ),
    State(
        "the rule for nondeterministic operations",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    ),
    State(
        "hooks on saved tensors, which all later operations go through",
        _read_saved_tensor_hooks,
        _write_saved_tensor_hooks,
        "As a context manager, `saved_tensors_hooks` holds for its lines only.",
    ),
    State(
        "hooks that hold for every module", _read_hooks, _write_hooks, "Keep the handle: remove()."
    ),
    State("a mode of torch functions", _read_modes, _write_modes, "Use it in a `with`."),
    State("a mode of dispatch", _read_dispatch_modes, _write_dispatch_modes, "Use it in a `with`."),
    State(
        # also left behind where an answer is cut inside one, in its own way out
        "a transform of torch.func, which all later operations go through",
        torch._C._functorch.get_dynamic_layer_stack_depth,
        torch._C._functorch.pop_dynamic_layer_stack_and_undo_to_depth,
    ),
    State(
        "a level of forward mode",
        _read_forward_mode,
        _write_forward_mode,
        "`with torch.autograd.forward_ad.dual_level():` holds for its lines only.",
    ),
    State(
        "autocast",
        lambda: torch.is_autocast_enabled("cpu"),
        lambda before: torch.set_autocast_enabled("cpu", before),
        "`with torch.autocast(...):` holds for its lines only.",
    ),
    State(
        "the filters of warnings",
        lambda: list(filter(_is_general, warnings.filters)),
        _write_general_filters,
        "`with warnings.catch_warnings():` holds for its lines only.",
    ),
    State(
        "the level below which logging is off",
        lambda: logging.root.manager.disable,
        logging.disable,
    ),
    State("the random state of PyTorch", torch.get_rng_state, torch.set_rng_state, silent=True),
    State("the random state of NumPy", np.random.get_state, np.random.set_state, silent=True),
    State("the random state of Python", random.getstate, random.setstate, silent=True),
    State(
        "all filters of warnings",
        lambda: list(warnings.filters),
        _write_filters,
        silent=True,
    ),
    State(
        "standard output", lambda: sys.stdout, lambda out: setattr(sys, "stdout", out), silent=True
    ),
    State(
        "standard error", lambda: sys.stderr, lambda err: setattr(sys, "stderr", err), silent=True
    ),
)


class Surroundings:
    """The states of a moment; `put_back` brings them back and tells which had changed."""

    def __init__(self, silent: bool = True) -> None:
        self._before = [(state, state.read()) for state in STATES if silent or not state.silent]

    def put_back(self) -> list[State]:
        """The states that were not as before and are not silent, in the order of `STATES`; all are as before now."""
        return list(self._changed())

    def _changed(self) -> Iterator[State]:
        for state, before in self._before:
            now = state.read()
            if not _equal(now, before):
                state.write(before)
                if not state.silent:
                    yield state


def _equal(one: Any, two: Any) -> bool:
    if one is two:
        return True
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, tuple) and isinstance(two, tuple):
        return len(one) == len(two) and all(map(_equal, one, two))
    return bool(one == two)
