"""Exercise `saved_bytes`: how many bytes a graph saves, by saved-tensor hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near
from ..graphs import passed

__all__ = ["EXERCISE"]

SavedBytes = Callable[..., Any]
hooks = autograd.graph.saved_tensors_hooks
F32 = torch.float32
EVERY = "Go through the operations: which tensor does the rule of each need?"


class Case:
    """A function, its inputs, and how many bytes its graph saves; it holds the last result, and counts its calls."""

    def __init__(
        self,
        code: str,
        want: int,
        function: Callable[..., Tensor],
        *inputs: Tensor,
        hint: str = EVERY,
    ) -> None:
        self.code, self.want, self.hint = code, want, hint
        self._function, self.inputs = function, inputs
        self.result: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.result = self._function(*inputs)
        return self.result

    def gradients(self, result: Tensor) -> list[Tensor]:
        asking = [x for x in self.inputs if x.requires_grad]
        return list(autograd.grad(result.sum(), asking, retain_graph=True)) if asking else []


def _cases(draw: Drawn) -> list[Case]:
    x, d = draw.normal(100, dtype=F32).requires_grad_(), draw.normal(100, dtype=F32)
    tall, wide = draw.normal(3, 100, dtype=F32).requires_grad_(), draw.normal(5, 20, dtype=F32)
    index, layer = torch.arange(25), nn.Linear(20, 10, dtype=F32)
    deep = nn.Sequential(
        nn.Linear(20, 10, dtype=F32), nn.Tanh(), nn.Linear(10, 3, bias=False, dtype=F32)
    )
    exists = "A leaf that asks for gradients exists anyway. Which saved tensors are one, or a view of one?"
    once = "Several saved tensors may show the same memory. What tells you that they do?"
    size = "Not every number has four bytes: a tensor, and its storage, can tell how many it takes."
    data = "What asks for nothing may be saved as well: a gradient of something else needs it."
    return [
        Case("x + 1", 0, lambda x: x + 1, x),
        Case("x.exp()", 400, lambda x: x.exp(), x),
        Case("x * x", 0, lambda x: x * x, x, hint=exists),
        Case("h * h, where h = x.exp()", 400, lambda x: (h := x.exp()) * h, x, hint=once),
        Case("x.exp().neg().exp()", 800, lambda x: x.exp().neg().exp(), x),
        Case(
            "h[:50] * h[50:], where h = x.exp()",
            400,
            lambda x: (h := x.exp())[:50] * h[50:],
            x,
            hint=once,
        ),
        Case(
            "h * h.detach(), where h = x.exp()",
            400,
            lambda x: (h := x.exp()) * h.detach(),
            x,
            hint=once,
        ),
        Case("x * d, where d asks for nothing", 400, lambda x, d: x * d, x, d, hint=data),
        Case(
            "t * d.expand(3, 100), where d asks for nothing",
            400,
            lambda t, d: t * d.expand(3, 100),
            tall,
            d,
            hint=once,
        ),
        Case("x.double().exp()", 800, lambda x: x.double().exp(), x, hint=size),
        Case(
            "x.index_select(0, i) of 25 whole numbers",
            200,
            lambda x: x.index_select(0, index),
            x,
            hint=size,
        ),
        Case("a linear layer on data, then tanh", 600, lambda d: layer(d).tanh(), wide, hint=data),
        Case(
            "a linear layer on w.exp(), then tanh",
            600,
            lambda w: layer(w.exp()).tanh(),
            wide.clone().requires_grad_(),
            hint=exists,
        ),
        Case("a network on data", 600, deep, wide, hint=exists),
    ]


def check_saved_bytes(saved_bytes: SavedBytes) -> None:
    """`saved_bytes(function, *inputs)` counts each piece of memory once, and nothing that parameters hold."""
    for case in _cases(Drawn(1)):
        _judge(saved_bytes, case, "")
    draw = drawn()
    n, m = draw.whole(2, 40), draw.whole(2, 40)
    a, b = draw.normal(n, m, dtype=F32).requires_grad_(), draw.normal(m, n, dtype=F32)
    # exp saves its result, the product saves b, tanh its result
    want = 4 * (n * m + m * n + n * n)
    case = Case(
        f"(a.exp() @ b).tanh(), where a is {n} by {m}",
        want,
        lambda a, b: (a.exp() @ b).tanh(),
        a,
        b,
    )
    _judge(saved_bytes, case, f" ({draw})")


def _judge(saved_bytes: SavedBytes, case: Case, source: str) -> None:
    plain = case(*case.inputs)
    wanted = case.gradients(plain)
    case.result = None
    found = forms.number(saved_bytes(case, *case.inputs), "saved_bytes(function, *inputs)")
    expect(
        found == case.want,
        f"For {case.code} you count {found:g} bytes; {case.want} are saved{source}.",
        case.hint,
    )
    expect(
        case.result is not None and near(case.result, plain),
        f"For {case.code} the function was not called with the inputs.",
        "What is saved is saved while the function runs.",
    )
    kept = "What pack returns is what the graph keeps, and what unpack gets."
    grads = passed(
        lambda: case.gradients(case.result), f"{case.code} the number is right, but", kept
    )
    expect(
        all(near(one, two) for one, two in zip(grads, wanted, strict=True)),
        f"For {case.code} the number is right, but a backward pass through that graph gives other gradients.",
        kept,
    )


# ---- answers ----


def counting(
    exists: Callable[[Tensor, Tensor], Any] = lambda t, base: base.is_leaf and base.requires_grad,
    key: Callable[[Tensor], Any] = lambda t: t.untyped_storage().data_ptr(),
    size: Callable[[Tensor], int] = lambda t: t.untyped_storage().nbytes(),
    packed: Callable[[Tensor], Any] = lambda t: t,
    given: slice = slice(None),
) -> SavedBytes:
    """The solution with its usual mistakes as switches."""

    def saved_bytes(function: Any, *inputs: Tensor) -> int:
        sizes: dict[Any, int] = {}
        held: list[Tensor] = []  # so that no address is used twice

        def pack(t: Tensor) -> Any:
            base = t if t._base is None else t._base
            if not exists(t, base):
                held.append(t)
                sizes[key(t)] = size(t)
            return packed(t)

        with hooks(pack, lambda t: t):
            function(*inputs[given])
        return sum(sizes.values())

    return saved_bytes


def _never_left(function: Any, *inputs: Tensor) -> int:
    found = counting()(function, *inputs)
    hooks(lambda t: t, lambda t: t).__enter__()
    return found


def _asking_alone(function: Any, *inputs: Tensor) -> int:
    """What the function was given is left out, whether it asks or not."""
    known = {x.untyped_storage().data_ptr() for x in inputs}
    return counting(
        exists=lambda t, base: (
            (base.is_leaf and base.requires_grad) or t.untyped_storage().data_ptr() in known
        )
    )(function, *inputs)


def _results(function: Any, *inputs: Tensor) -> int:
    """The bytes of the result instead of what is saved."""
    return function(*inputs).nbytes


def _afterwards(function: Any, *inputs: Tensor) -> Any:
    """Keeps the saved tensors, and sorts them when the function is through."""
    saved: list[Tensor] = []

    def pack(t: Tensor) -> int:
        saved.append(t)
        return len(saved) - 1

    with hooks(pack, lambda number: saved[number]):
        function(*inputs)
    leaves = [t for t in saved if t._base is None and t.grad_fn is None and t.requires_grad]
    leaves += [
        t._base for t in saved if t._base is not None and t._base.is_leaf and t._base.requires_grad
    ]
    skipped = {t.untyped_storage()._cdata for t in leaves}
    pieces = {t.untyped_storage()._cdata: t.untyped_storage() for t in saved}
    return torch.tensor(sum(len(piece) for cdata, piece in pieces.items() if cdata not in skipped))


class _Counter:
    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.pieces: list[torch.UntypedStorage] = []
        self.total = 0

    def pack(self, t: Tensor) -> tuple[Tensor]:
        root = t if t._base is None else t._base
        piece = t.untyped_storage()
        if not (root.requires_grad and root.grad_fn is None) and piece.data_ptr() not in self.seen:
            self.seen.add(piece.data_ptr())
            self.pieces.append(piece)
            self.total += piece.size()
        return (t,)


def _with_a_class(function: Any, *inputs: Tensor) -> float:
    counter = _Counter()
    with hooks(counter.pack, lambda packed: packed[0]):
        result = function(*inputs)
    del result
    return float(counter.total)


def counted(saved_bytes: SavedBytes) -> Any:
    """The oracle: the bytes, and whether a backward pass goes through afterwards, for these cases and larger ones."""
    found: list[Any] = []
    for seed in range(2):
        for case in _cases(Drawn(seed)):
            plain = case.gradients(case(*case.inputs))
            case.result = None
            try:
                told: list[Any] = [forms.number(saved_bytes(case, *case.inputs))]
                grads = [] if case.result is None else case.gradients(case.result)
                told.append([near(one, two) for one, two in zip(grads, plain, strict=True)])
            except Exception as error:
                told = [type(error).__name__]
            while (top := torch._C._autograd._top_saved_tensors_default_hooks(True)) is not None:
                told.append(top is not None)
                torch._C._autograd._pop_saved_tensors_default_hooks()
            found.append(told)
    return found


EXERCISE = Exercise(
    "saved_bytes",
    "Each piece of memory once, and no weights.",
    check_saved_bytes,
    (
        Wrong(
            "each time anew",
            counting(key=lambda t: object()),
            "h * h, where h = x.exp() you count 1200",
        ),
        Wrong("with the weights", counting(exists=lambda t, base: False), "x * x you count 400"),
        Wrong(
            "views of weights too",
            counting(exists=lambda t, base: t.is_leaf and t.requires_grad),
            "w.exp(), then tanh you count 1400",
        ),
        Wrong(
            "no leaves at all",
            counting(exists=lambda t, base: base.is_leaf),
            "x * d, where d asks for nothing you count 0",
        ),
        Wrong(
            "what asks for nothing is left out",
            _asking_alone,
            "x * d, where d asks for nothing you count 0",
        ),
        Wrong(
            "by where a tensor begins",
            counting(key=lambda t: t.data_ptr()),
            "h[50:], where h = x.exp() you count 800",
        ),
        Wrong(
            "by the tensor that a view shows",
            counting(key=lambda t: id(t if t._base is None else t._base)),
            "h.detach(), where h = x.exp() you count 800",
        ),
        Wrong(
            "the bytes of the views",
            counting(size=lambda t: t.numel() * t.element_size()),
            "h[50:], where h = x.exp() you count 200",
        ),
        Wrong(
            "four bytes a number",
            counting(size=lambda t: t.untyped_storage().nbytes() // t.element_size() * 4),
            "x.double().exp() you count 400",
        ),
        Wrong("numbers", counting(size=lambda t: t.numel()), "x.exp() you count 100"),
        Wrong("the first input alone", counting(given=slice(1)), "missing 1 required positional"),
        Wrong(
            "nothing packed",
            counting(packed=lambda t: None),
            "the number is right, but the backward pass stops",
        ),
        Wrong("zeros packed", counting(packed=torch.zeros_like), "gives other gradients"),
        Wrong("hooks never left", _never_left, "hooks on saved tensors"),
        Wrong("the result", _results, "x + 1 you count 400"),
        Wrong("not called", lambda f, *x: 0, "x + 1 the function was not called"),
        Wrong("text", lambda f, *x: f"{counting()(f, *x)} bytes", "is a number; this is '0 bytes'"),
    ),
    right=(
        Right("sorted afterwards, a tensor", _afterwards),
        Right("with a class, a float", _with_a_class),
    ),
    oracle=counted,
)
