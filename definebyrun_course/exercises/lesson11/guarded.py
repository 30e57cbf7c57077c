"""Exercise `guarded`: a cache of captured functions, each behind its guards, with a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, shown

__all__ = ["EXERCISE"]

Call = Callable[..., Any]
Guarded = Callable[..., Call]
CAPTURED, PLAIN = "captured", "plain"
TENSORS = "Of a tensor dtype, shape and requires_grad are guarded, all three, and nothing else."
VALUES = "Ask Python: 1 == True == 1.0. Which other property tells them apart?"
LIMIT = (
    "Entries are kept. At the limit what fits one of them still uses it, and nothing is captured."
)
DEFAULT_LIMIT = 8


@dataclass(frozen=True)
class Step:
    """One call: its arguments, which entry it should use or make, and what to look at if it does not."""

    what: str
    args: tuple[Any, ...]
    want: int | str
    """The number of the entry, from 0, or `PLAIN`."""
    hint: str
    grad: bool = True


class Compiler:
    """A function and a capture that write down when they are called, and with what."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.entries = 0

    def function(self, *args: Any) -> str:
        self.events.append(PLAIN)
        return PLAIN

    def capture(self, function: Any, *args: Any) -> Call:
        number = self.entries
        self.entries += 1
        self.events.append((CAPTURED, number, function == self.function, args))

        def fast(*given: Any) -> str:
            self.events.append((number, given))
            return f"entry {number}"

        return fast


def _tensors() -> list[Step]:
    """Calls with one tensor, and with the grad mode off."""
    x = torch.tensor([1.0, 2.0], dtype=torch.float32)
    asks = torch.ones(2, dtype=x.dtype, requires_grad=True)
    return [
        Step("the first call, on [1, 2]", (x,), 0, "Nothing fits yet: capture, keep, use."),
        Step("the same call again", (x,), 0, "Is what was captured kept?"),
        Step("the same shape, other numbers", (x * 3,), 0, TENSORS),
        Step("three numbers", (torch.ones(3, dtype=x.dtype),), 1, TENSORS),
        Step("two rows of one number", (torch.ones(2, 1, dtype=x.dtype),), 2, TENSORS),
        Step("two numbers in float64", (x.double(),), 3, TENSORS),
        Step("two numbers that require a gradient", (asks,), 4, TENSORS),
        Step("a parameter of two numbers", (nn.Parameter(x),), 4, "A parameter is a tensor, too."),
        Step("every second number of four", (torch.ones(4, dtype=x.dtype)[::2],), 0, TENSORS),
        Step(
            "[1, 2] inside no_grad", (x,), 5, "Which mode can change while arguments do not?", False
        ),
        Step("[1, 2], gradients on again", (x,), 0, "Entries are kept, in no_grad as well."),
        Step("[1, 2] inside no_grad again", (x,), 5, "Entries are kept.", False),
    ]


def _values() -> list[Step]:
    """Calls with numbers, flags and texts, and with other numbers of arguments."""
    x = torch.tensor([1.0, 2.0])
    return [
        Step("a tensor and 1", (x, 1), 0, "Nothing fits yet."),
        Step("the tensor and 2", (x, 2), 1, "Python numbers are guarded by their value."),
        Step("the tensor and 1.0", (x, 1.0), 2, VALUES),
        Step("the tensor and True", (x, True), 3, VALUES),
        Step("the tensor and '1'", (x, "1"), 4, VALUES),
        Step("the tensor and torch.tensor(1.0)", (x, torch.tensor(1.0)), 5, VALUES),
        Step("the tensor and 1 again", (x, 1), 0, "Entries are kept."),
        Step("the tensor and True again", (x, True), 3, VALUES),
        Step("1 and the tensor", (1, x), 6, "The order of the arguments counts."),
        Step("the tensor alone", (x,), 7, "The number of arguments counts."),
        Step("the tensor, 1 and 1", (x, 1, 1), 8, "The number of arguments counts."),
        Step("no argument", (), 9, "The number of arguments counts."),
        Step("a list of texts, one by one: 'a'", ("a",), 10, "Texts are guarded by their value."),
        Step("'b'", ("b",), 11, "Texts are guarded by their value."),
        Step("'a' again", ("a",), 10, "Entries are kept."),
    ]


def _limited() -> list[Step]:
    """Calls with a limit of two."""
    return [
        Step("'a'", ("a",), 0, LIMIT),
        Step("'b'", ("b",), 1, LIMIT),
        Step("'c', the third", ("c",), PLAIN, LIMIT),
        Step("'a' again", ("a",), 0, LIMIT),
        Step("'c' again", ("c",), PLAIN, LIMIT),
        Step("'b' again", ("b",), 1, LIMIT),
    ]


def _default() -> list[Step]:
    """Nine texts, and the default limit."""
    wants = [*range(DEFAULT_LIMIT), PLAIN]
    hint = "The default limit is 8 entries."
    return [
        Step(f"text {nr}, the limit left out", (f"{nr}",), want, hint)
        for nr, want in enumerate(wants)
    ]


def _random(draw: Drawn) -> tuple[list[Step], int]:
    """Calls of all kinds in any order, and a limit."""
    limit, seen, steps = draw.whole(2, 4), list[Any](), list[Step]()
    for _ in range(14):
        size, value, grad = draw.whole(1, 2), draw.whole(0, 2), draw.whole(0, 3) > 0
        key = size, value, grad
        if key not in seen and len(seen) < limit:
            seen.append(key)
        want = seen.index(key) if key in seen else PLAIN
        what = f"ones({size}) and {value}{'' if grad else ' inside no_grad'}, one of many ({draw})"
        steps.append(Step(what, (torch.ones(size), value), want, LIMIT, grad))
    return steps, limit


def check_guarded(guarded: Guarded) -> None:
    """`guarded(function, capture, limit)` captures behind guards, and no more than `limit` times."""
    for steps, limit in (
        (_tensors(), {"limit": 50}),
        (_values(), {"limit": 50}),
        (_limited(), {"limit": 2}),
        (_default(), {}),
    ):
        compiler = Compiler()
        _judge(guarded(compiler.function, compiler.capture, **limit), compiler, steps)
    compiler = Compiler()
    nothing = [Step("a limit of 0", (1,), PLAIN, "No entry is allowed.")]
    _judge(guarded(compiler.function, compiler.capture, 0), compiler, nothing)
    one, two = Compiler(), Compiler()
    calls = [guarded(each.function, each.capture) for each in (one, two)]
    for call, compiler in zip(calls, (one, two), strict=True):
        step = Step(
            "one of two functions that were guarded", (5,), 0, "Each has entries of its own."
        )
        _judge(call, compiler, [step])
    steps, most = _random(drawn())
    compiler = Compiler()
    _judge(guarded(compiler.function, compiler.capture, limit=most), compiler, steps)


def _judge(call: Any, compiler: Compiler, steps: list[Step]) -> None:
    expect(
        callable(call),
        f"guarded returns a function; yours returned {forms.said(call)}.",
        "What is called later has to know the entries: define it inside.",
    )
    expect(not compiler.events, "guarded itself calls something already.", "The first call pays.")
    for step in steps:
        before = compiler.entries
        compiler.events.clear()
        with torch.set_grad_enabled(step.grad):
            result = call(*step.args)
        _compare(step, result, compiler, before)


def _compare(step: Step, result: Any, compiler: Compiler, before: int) -> None:
    captured = [event for event in compiler.events if event[0] == CAPTURED]
    used = [event[0] for event in compiler.events if isinstance(event[0], int)]
    plain = compiler.events.count(PLAIN)
    at = f"At {step.what},"
    new = step.want == before
    expect(
        len(captured) == int(new),
        f"{at} capture is called {_times(len(captured))}; {_times(int(new))} is right. (Entries before: {before}.)",
        step.hint,
    )
    for _, _, own, args in captured:
        expect(own, f"{at} capture is not given the function.", "capture(function, *args)")
        expect(
            _same(args, step.args),
            f"{at} capture is given {_said(args)}.",
            "capture(function, *args)",
        )
    if step.want == PLAIN:
        expect(
            plain == 1 and not used,
            f"{at} entries are used {_times(len(used))} and the function itself {_times(plain)}; the function, once, "
            "is right.",
            step.hint,
        )
    else:
        expect(not plain, f"{at} the function itself is called {_times(plain)}.", step.hint)
        expect(
            used == [step.want],
            f"{at} the entries that run are {used}; entry {step.want} is right, once.",
            step.hint,
        )
        given = next(event[1] for event in compiler.events if event[0] == step.want)
        expect(
            _same(given, step.args),
            f"{at} the entry is given {_said(given)}.",
            "All of the arguments.",
        )
    want = PLAIN if step.want == PLAIN else f"entry {step.want}"
    expect(
        result == want,
        f"{at} the result is {forms.said(result)}; what ran gave {want!r}.",
        "Is a `return` missing, in one of the ways through?",
    )


def _times(number: int) -> str:
    return {0: "not at all", 1: "once"}.get(number, f"{number} times")


def _said(args: Any) -> str:
    return (
        ", ".join(shown(arg) if isinstance(arg, Tensor) else forms.said(arg) for arg in args)
        or "nothing"
    )


def _same(one: tuple[Any, ...], two: tuple[Any, ...]) -> bool:
    return len(one) == len(two) and all(a is b for a, b in zip(one, two, strict=True))


# ---- answers ----


def _guards(
    parts: tuple[str, ...] = ("dtype", "shape", "requires_grad"),
    numbers: bool = False,
    of: Callable[[Any], Any] = lambda arg: (type(arg), arg),
    kind: Callable[[Any], Any] = lambda arg: Tensor,
) -> Callable[[Any], Any]:
    """The guards of one argument, as one value."""

    def guards(arg: Any) -> Any:
        if isinstance(arg, Tensor):
            values = tuple(arg.flatten().tolist()) if numbers else ()
            return kind(arg), *(getattr(arg, part) for part in parts), values
        return of(arg)

    return guards


GUARDS = _guards()


def _with(
    guards: Callable[[Any], Any] = GUARDS,
    key: Callable[[Any], Any] = lambda each: (torch.is_grad_enabled(), *each),
    most: int = DEFAULT_LIMIT,
    full: Callable[[int, int], bool] = lambda entries, limit: entries >= limit,
    at_limit: str = "function",
    keeps: bool = True,
    uses: bool = True,
) -> Guarded:
    """The solution, with one step replaced."""

    def guarded(function: Any, capture: Any, limit: int = most) -> Call:
        entries: dict[Any, Any] = {}

        def call(*args: Any) -> Any:
            this = key(map(guards, args))
            if this not in entries:
                if full(len(entries), limit):
                    if at_limit == "function":
                        return function(*args)
                    if at_limit == "capture":
                        return capture(function, *args)(*args)
                    if at_limit == "clear":
                        entries.clear()
                    if at_limit == "oldest":
                        entries.pop(next(iter(entries)))
                captured = capture(function, *args)
                if not keeps:
                    return captured(*args)
                entries[this] = captured
                if not uses:
                    return function(*args)
            return entries[this](*args)

        return call

    return guarded


def _at_once(function: Any, capture: Any, limit: int = DEFAULT_LIMIT) -> Call:
    fast = capture(function)
    return lambda *args: fast(*args)


def _no_return(function: Any, capture: Any, limit: int = DEFAULT_LIMIT) -> Call:
    inner = _with()(function, capture, limit)

    def call(*args: Any) -> None:
        inner(*args)

    return call


def _gives_the_first_result(function: Any, capture: Any, limit: int = DEFAULT_LIMIT) -> Call:
    """A cache of results, as lru_cache is one."""
    results: dict[Any, Any] = {}

    def call(*args: Any) -> Any:
        key = torch.is_grad_enabled(), *map(GUARDS, args)
        if key not in results:
            if len(results) >= limit:
                return function(*args)
            results[key] = capture(function, *args)(*args)
        return results[key]

    return call


def _by_a_list(function: Any, capture: Any, limit: int = DEFAULT_LIMIT) -> Call:
    """A list of entries whose guards are tried in turn, as Dynamo has it."""
    entries: list[tuple[bool, tuple[Any, ...], Any]] = []

    def fits(one: Any, other: Any) -> bool:
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            asks = one.requires_grad == other.requires_grad
            return asks and one.dtype == other.dtype and one.size() == other.size()
        return type(one) is type(other) and not isinstance(one, Tensor) and bool(one == other)

    def call(*args: Any) -> Any:
        mode = torch.is_grad_enabled()
        for grad, known, fast in entries:
            if grad == mode and len(known) == len(args) and all(map(fits, known, args)):
                return fast(*args)
        if len(entries) < limit:
            entries.append((mode, args, capture(function, *args)))
            return entries[-1][2](*args)
        return function(*args)

    return call


class _ByText:
    """An object that is called; the guards are one text."""

    def __init__(self, function: Any, capture: Any, limit: int = DEFAULT_LIMIT) -> None:
        self.function, self.capture, self.left = function, capture, limit
        self.entries: dict[str, Any] = {}

    def __call__(self, *args: Any) -> Any:
        key = f"{torch.is_grad_enabled()};" + ";".join(
            f"tensor {a.dtype} {tuple(a.shape)} {a.requires_grad}"
            if isinstance(a, Tensor)
            else f"{type(a)} {a!r}"
            for a in args
        )
        if key not in self.entries and self.left > 0:
            self.left -= 1
            self.entries[key] = self.capture(self.function, *args)
        return self.entries.get(key, self.function)(*args)


def told(guarded: Guarded) -> Any:
    """The oracle: what is captured and used at each call of many."""
    found: list[Any] = []
    sequences = [
        (_tensors(), 50),
        (_values(), 50),
        (_limited(), 2),
        (_default(), None),
        (_limited(), 0),
        (_limited(), 1),
    ]
    sequences += [_random(Drawn(seed)) for seed in range(3)]
    for steps, limit in sequences:
        compiler = Compiler()
        try:
            call = guarded(
                compiler.function, compiler.capture, *(() if limit is None else (limit,))
            )
            for step in steps:
                with torch.set_grad_enabled(step.grad):
                    found.append(forms.said(call(*step.args)))
            found.append([_plainly(event) for event in compiler.events])
        except Exception as error:
            found.append(type(error).__name__)
    return found


def _plainly(event: Any) -> Any:
    return event if event == PLAIN else [*event[:-1], _said(event[-1])]


EXERCISE = Exercise(
    "guarded",
    "It captures once for each set of guards, and not beyond the limit.",
    check_guarded,
    (
        Wrong("captured at once", _at_once, "guarded itself calls something already"),
        Wrong(
            "nothing is kept", _with(keeps=False), "At the same call again, capture is called once"
        ),
        Wrong(
            "what was captured is not used", _with(uses=False), "the function itself is called once"
        ),
        Wrong(
            "a tensor by its numbers",
            _with(_guards(numbers=True)),
            "At the same shape, other numbers",
        ),
        Wrong("no dtype", _with(_guards(("shape", "requires_grad"))), "At two numbers in float64"),
        Wrong("no shape", _with(_guards(("dtype", "requires_grad"))), "At three numbers"),
        Wrong(
            "the number of elements",
            _with(_guards(("dtype", "requires_grad"), kind=Tensor.numel)),
            "At two rows of one number",
        ),
        Wrong(
            "no requires_grad",
            _with(_guards(("dtype", "shape"))),
            "At two numbers that require a gradient",
        ),
        Wrong(
            "the class of the tensor", _with(_guards(kind=type)), "At a parameter of two numbers"
        ),
        Wrong("strides, too", _with(_guards(kind=Tensor.stride)), "At every second number of four"),
        Wrong("no grad mode", _with(key=tuple), "At [1, 2] inside no_grad"),
        Wrong("values alone", _with(_guards(of=lambda arg: arg)), "At the tensor and 1.0"),
        Wrong("types alone", _with(_guards(of=type)), "At the tensor and 2"),
        Wrong("as text", _with(_guards(of=str)), "At the tensor and '1'"),
        Wrong(
            "in any order",
            _with(key=lambda each: (torch.is_grad_enabled(), frozenset(each))),
            "At 1 and the tensor",
        ),
        Wrong(
            "the first argument",
            _with(key=lambda each: (torch.is_grad_enabled(), next(each, None))),
            "At the tensor and 2",
        ),
        Wrong(
            "one entry too many",
            _with(full=lambda entries, limit: entries > limit),
            "At 'c', the third",
        ),
        Wrong("no limit", _with(full=lambda entries, limit: False), "At 'c', the third"),
        Wrong("another default", _with(most=16), "At text 8, the limit left out"),
        Wrong("captured, not kept, at the limit", _with(at_limit="capture"), "At 'c', the third"),
        Wrong("the oldest goes", _with(at_limit="oldest"), "At 'c', the third"),
        Wrong(
            "results kept",
            _gives_the_first_result,
            "At the same call again, the entries that run are []",
        ),
        Wrong("no return", _no_return, "the result is None"),
        Wrong(
            "no function",
            lambda function, capture, limit=8: limit,
            "guarded returns a function; yours returned 50",
        ),
    ),
    right=(
        Right("a list, tried in turn", _by_a_list),
        Right("an object, by text", _ByText),
    ),
    oracle=told,
)
