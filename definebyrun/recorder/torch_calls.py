"""Questions about one torch call and its tensors: what is it called, which tensors are in it, where is their memory.

The recorder asks them for every call, so they are quick and have no state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.overrides import resolve_name

from ._torch import saved_attributes, version_counter

__all__ = [
    "MAX_HELD_ELEMENTS",
    "UNINITIALIZED",
    "arguments_of",
    "changed_since",
    "function_name",
    "indexed",
    "is_getter",
    "is_large",
    "is_passed_through",
    "is_setter",
    "saved_tensors",
    "shape_of",
    "storage_of",
    "tensors_in",
    "version_of",
    "versions_of",
    "view_key",
    "written_in_inference_mode",
]

# fmt: off
GETTERS = frozenset(("T", "mT", "H", "mH", "data", "real", "imag", "grad"))
"""Attributes that give a tensor; reading any other attribute computes nothing."""

PASSED_THROUGH = frozenset((
    "size", "dim", "numel", "nelement", "stride", "storage_offset", "item", "tolist", "is_contiguous", "__repr__",
    "__str__", "__format__", "__len__", "__bool__", "__float__", "__int__", "__index__", "__hash__", "iter_shape",
    "is_floating_point", "is_complex", "requires_grad_", "retain_grad", "register_hook", "data_ptr", "untyped_storage",
    "storage", "share_memory_", "is_shared", "numpy", "__array__", "__dlpack__", "__dlpack_device__", "is_same_size",
    "get_device", "is_tensor", "_set_grad_enabled", "set_grad_enabled", "equal", "allclose",
))
"""Calls, as Python names them, that give no tensor of the run and change none; they are passed through unread."""

UNINITIALIZED = frozenset((
    "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided",
    "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::empty_permuted", "aten::new_empty",
    "aten::new_empty_strided",
))
"""Calls that give memory as others left it: what stands in it means nothing."""
# fmt: on

LITERAL_TYPES = (
    *(bool, int, float, complex, str, tuple, list, slice),
    *(type(None), type(Ellipsis), torch.dtype),
)
"""Arguments of these types are written out when they are short; for others stands `…`."""

MAX_LITERAL_CHARS = 20
"""Arguments whose text is longer are not written out."""

MAX_INDEX_CHARS = 24
"""An index whose text is longer is not written out."""

MAX_HELD_ELEMENTS = 4096
"""A tensor of more elements is held no longer than the run itself holds it."""

_OPERATORS = (type(torch.ops.aten.sin), type(torch.ops.aten.sin.default))
"""The classes of operators and of their overloads, of which every custom operator is one too."""
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_ATOMS = {int, float, bool, str, type(None), torch.dtype, torch.device, torch.Size, slice}
"""Types that hold no tensor; most arguments are of one of these exactly, which is quick to see."""


@cache
def is_getter(func: Callable[..., Any]) -> bool:
    """Whether a torch function is the reading of an attribute, such as `w.grad`."""
    return getattr(func, "__name__", "") == "__get__"


@cache
def is_setter(func: Callable[..., Any]) -> bool:
    """Whether a torch function sets or deletes an attribute, as `w.grad = None` does."""
    return getattr(func, "__name__", "") in ("__set__", "__delete__")


@cache
def is_passed_through(func: Callable[..., Any]) -> bool:
    """Whether a call is passed through unread: `float(x)` gives a number, `x.float()` a tensor.

    >>> is_passed_through(torch.Tensor.__float__), is_passed_through(torch.Tensor.float)
    (True, False)
    """
    if is_getter(func):
        return function_name(func) not in GETTERS
    return getattr(func, "__name__", "") in PASSED_THROUGH


@cache
def function_name(func: Callable[..., Any]) -> str:
    """What people call a torch function: `mul`, `relu`, `getitem`, `T`; of an operator in `torch.ops`, its full name.

    >>> function_name(torch.Tensor.mul), function_name(torch.Tensor.__getitem__), function_name(torch.Tensor.T.__get__)
    ('mul', 'getitem', 'T')
    >>> function_name(torch.ops.aten.sin), function_name(torch.ops.aten.add.Tensor)
    ('aten::sin', 'aten::add')
    """
    if isinstance(func, _OPERATORS):
        return "::".join(str(func).split(".")[:2])  # "aten.add.Tensor" without its overload
    name: str = resolve_name(func) or getattr(func, "__name__", type(func).__name__)
    path = name.split(".")
    if path[-1] in ("__get__", "__set__", "__delete__") and len(path) > 1:
        return path[-2]
    last = path[-1]
    return last.strip("_") if last.startswith("__") else last


def tensors_in(things: Any) -> list[torch.Tensor]:
    """The tensors in arguments or results, in order, at any depth of lists, tuples and dicts.

    >>> a, b = torch.ones(1), torch.ones(2)
    >>> [t.shape[0] for t in tensors_in(([a, {"key": b}], 3))]
    [1, 2]
    """
    if type(things) in _TENSORS:  # most often
        return [things]
    found: list[torch.Tensor] = []
    waiting = [things]
    while waiting:
        thing = waiting.pop()
        kind = type(thing)
        if kind in _TENSORS:
            found.append(thing)
        elif kind in _ATOMS:
            continue
        elif isinstance(thing, torch.Tensor):
            if not is_lazy(thing):  # a lazy parameter has neither shape nor content yet
                found.append(thing)
        elif isinstance(thing, (list, tuple)):
            if thing:
                waiting.extend(thing[::-1])
        elif isinstance(thing, dict) and thing:
            waiting.extend(reversed(list(thing.values())))
    return found


def arguments_of(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    keywords: list[tuple[torch.Tensor, str]] | None = None,
) -> list[torch.Tensor | str]:
    """The arguments of a call in order: tensors as they are (those in lists too), all else as short text.

    Tensors that are given by keyword are listed in `keywords` too.

    >>> x = torch.ones(2)
    >>> [a if isinstance(a, str) else "x" for a in arguments_of((x, 2), {"dim": 0, "out": None})]
    ['x', '2', 'dim=0']
    """
    found: list[torch.Tensor | str] = []
    for thing in args:
        kind = type(thing)
        if kind in _TENSORS:
            found.append(thing)
        elif kind in _ATOMS:
            found.append(_literal(thing))
        else:
            found += tensors_in(thing) or (_literal(thing),)
    for name, thing in kwargs.items():
        inside = tensors_in(thing)
        if inside:
            found += inside
            if keywords is not None:
                keywords += [(tensor, name) for tensor in inside]
        elif thing is not None:
            found.append(f"{name}={_literal(thing)}")
    return found


def indexed(args: tuple[Any, ...]) -> list[torch.Tensor | str]:
    """The same for `x[index]` and `x[index] = value`: the index as it was written, `{}` in it for each tensor.

    >>> x, at = torch.ones(2, 3), torch.tensor([1, 0])
    >>> [indexed((x, index))[1] for index in (0, slice(1), (..., None, -1), (slice(None), at))]
    ['0', '[:1]', '[..., None, -1]', '[:, {}]']
    """
    x, index, *value = args
    inside = tensors_in(index)
    found: list[torch.Tensor | str] = [x] if isinstance(x, torch.Tensor) else []
    if type(index) in (int, bool, type(None), type(Ellipsis)):
        found.append(str(index))
    elif not isinstance(index, torch.Tensor):  # one that is alone is an argument like any other
        parts = index if type(index) is tuple else (index,)
        text = ", ".join(map(_index_part, parts))
        found.append(f"[{text}]" if len(text) <= MAX_INDEX_CHARS and "…" not in text else "…")
    found += inside
    for thing in value:
        found += tensors_in(thing) or (_literal(thing),)
    return found


def _index_part(part: Any) -> str:
    """A part of an index as people write it."""
    if isinstance(part, slice):
        ends = [part.start, part.stop, *([] if part.step is None else [part.step])]
        if any(isinstance(end, torch.Tensor) for end in ends):
            return "…"
        return ":".join("" if end is None else str(end) for end in ends)
    if isinstance(part, torch.Tensor):
        return "{}"
    return "..." if part is Ellipsis else "…" if tensors_in(part) else _literal(part)


def _literal(thing: Any) -> str:
    if type(thing) in (int, float, bool) and len(text := str(thing)) <= MAX_LITERAL_CHARS:
        return text
    text = " ".join(str(thing).split()) if isinstance(thing, LITERAL_TYPES) else "…"
    return text if len(text) <= MAX_LITERAL_CHARS else "…"


def version_of(tensor: torch.Tensor) -> int:
    """The version counter; 0 for inference tensors, which have none."""
    try:
        return version_counter(tensor)
    except RuntimeError:
        return 0


def versions_of(tensors: list[torch.Tensor]) -> list[int]:
    """The version counter of each."""
    try:
        return list(map(version_counter, tensors))
    except RuntimeError:
        return list(map(version_of, tensors))


def changed_since(tensors: list[torch.Tensor], versions: list[int]) -> list[torch.Tensor]:
    """The tensors whose version counters have moved on."""
    now = versions_of(tensors)
    if now == versions:
        return []
    return [tensors[i] for i, version in enumerate(versions) if version != now[i]]


def is_large(tensor: torch.Tensor) -> bool:
    """Whether a recording may not hold a tensor. Only plain ones: these are the same object as long as they live."""
    return type(tensor) is torch.Tensor and tensor.numel() > MAX_HELD_ELEMENTS


def storage_of(tensor: torch.Tensor) -> Any:
    """The storage of a tensor; None for meta tensors, which have no memory, and for sparse and wrapped ones."""
    try:
        return None if tensor.is_meta else tensor.untyped_storage()
    except NotImplementedError:
        return None


def written_in_inference_mode(
    func: Callable[..., Any],
    given: list[torch.Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> list[torch.Tensor]:
    """The inference tensors among the given ones that a call has changed: they have no version counter.

    They can be changed in inference mode only.

    >>> with torch.inference_mode():
    ...     x = torch.ones(2)
    ...     len(written_in_inference_mode(torch.Tensor.add_, [x], (x, 1), {}, x.add_(1)))
    1
    """
    unversioned = [tensor for tensor in given if tensor.is_inference()]
    name = function_name(func)
    target = args[0] if name == "setitem" or (name.endswith("_") and args) else None
    written = {id(tensor) for tensor in tensors_in((target, kwargs.get("out"), output))}
    return [tensor for tensor in unversioned if id(tensor) in written]


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The sizes as plain numbers; `()` for a nested tensor, whose rows differ in length.

    >>> rows = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    >>> shape_of(torch.ones(2, 3)), shape_of(rows)
    ((2, 3), ())
    """
    try:
        return tuple(map(int, tensor.shape))
    except (RuntimeError, AttributeError):
        return ()


def view_key(tensor: torch.Tensor, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Which part of its storage a tensor shows, and in which form: equal for two tensors of the same numbers there.

    The shape is a plain tuple of numbers, which the garbage collector does not track.
    """
    try:
        return tensor.storage_offset(), shape, tensor.stride(), tensor.dtype
    except RuntimeError:  # a nested tensor has no strides
        return 0, shape, (), tensor.dtype


def saved_tensors(node: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a node saves for its backward, with the names under which PyTorch shows them.

    >>> y = torch.ones(2, requires_grad=True).exp()
    >>> [(name, tuple(tensor.shape)) for name, tensor in saved_tensors(y.grad_fn)]
    [('result', (2,))]
    """
    found: list[tuple[str, torch.Tensor]] = []
    try:
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            named = [(f"saved_tensors[{i}]", t) for i, t in enumerate(node.saved_tensors)]
            return [(name, tensor) for name, tensor in named if tensor is not None]
        for attribute, name in saved_attributes(node.__class__):
            kept = getattr(node, attribute)
            if kept is not None:
                found += [(name, tensor) for tensor in tensors_in(kept)]
    except RuntimeError:  # already freed, or changed in place since it was saved
        pass
    return found
