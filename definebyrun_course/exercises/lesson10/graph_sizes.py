"""Exercise `graph_sizes`: a backend that counts operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from ...grading import Exercise, Right, Wrong, expect, forms, near
from ..compiles import captures
from ..mistakes import then

__all__ = ["EXERCISE"]

GraphSizes = Callable[..., Any]
ONE_CAPTURE = 1
"""So often one function may be captured anew; PyTorch's own limit is 8, and then it captures no more."""
NODES = "Inputs and the output are nodes of the graph, too, and so may be a tensor from outside: look at node.op."


def _one(x: Tensor) -> Tensor:
    return torch.relu(x * 2) + 1


def _nothing(x: Tensor) -> Tensor:
    return x


def _broken(x: Tensor) -> Tensor:
    y = x * 3
    if y.sum() > 0:
        y = y + 1
        y = y * y
    return y - 1


def _unused(x: Tensor, y: Tensor) -> Tensor:
    return x.exp().exp()


class _Counting:
    """A function that reads a weight from outside, and counts its runs in a tensor."""

    def __init__(self) -> None:
        self.runs, self.weight = torch.zeros(()), torch.full((2,), 3.0)

    def function(self) -> Callable[[Tensor], Tensor]:
        runs, weight = self.runs, self.weight

        def counted(x: Tensor) -> Tensor:
            runs.add_(1)
            return x * weight

        return counted


@dataclass(frozen=True)
class _Case:
    what: str
    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    want: list[int]


def _cases() -> list[_Case]:
    x = torch.ones(3)
    return [
        _Case("relu(x * 2) + 1", _one, (x,), [3]),
        _Case("a function with an if on y.sum() > 0, true here", _broken, (x,), [3, 3]),
        _Case("the same function where the condition is false", _broken, (-x,), [3, 1]),
        _Case("x.exp().exp() of two inputs, one of them not used", _unused, (x, x), [2]),
        _Case("a function that returns its input", _nothing, (x,), []),
    ]


def check_sizes(graph_sizes: GraphSizes) -> None:
    """`graph_sizes(f, *inputs)` gives the number of operations in each captured graph, in order."""
    with captures(ONE_CAPTURE):
        first, *others = _cases()
        _judge(graph_sizes, first, "For")
        _judge(graph_sizes, first, "Asked once more for")
        for case in others:
            _judge(graph_sizes, case, "For")
        counting = _Counting()
        counted = counting.function()
        _judge(
            graph_sizes,
            _Case("x * w, which also counts its runs", counted, (torch.ones(2),), [2]),
            "For",
        )
        runs = int(counting.runs)
        expect(
            runs == 1,
            f"The function ran {runs} times in one call of graph_sizes.",
            "The backend sees the graphs in the one call of the compiled function.",
        )


def _judge(graph_sizes: GraphSizes, case: _Case, when: str) -> None:
    found = forms.wholes(graph_sizes(case.function, *case.inputs), "What graph_sizes returns")
    expect(
        found or not case.want,
        f"{when} {case.what} no graph was captured.",
        "torch.compile captures when the compiled function is called. What was captured before, of the same function, "
        "is used again until torch._dynamo.reset() forgets it.",
    )
    expect(
        len(found) == len(case.want),
        f"{when} {case.what} your list has {len(found)} entries; {len(case.want)} graphs were captured.",
        "The backend is called once for each graph: what does it do with its number?",
    )
    expect(
        found == case.want,
        f"{when} {case.what} you count {found}, which are not the operations.",
        NODES,
    )


# ---- answers ----


def counting(
    counts: Callable[[fx.GraphModule], Any] = lambda graph: sum(
        n.op.startswith("call") for n in graph.graph.nodes
    ),
    resets: bool = True,
    calls: int = 1,
    called_before: bool = False,
    back: Callable[[fx.GraphModule], Any] = lambda graph: graph.forward,
) -> GraphSizes:
    """The solution with its usual mistakes as switches."""

    def graph_sizes(function: Any, *inputs: Any) -> list[Any]:
        sizes: list[Any] = []

        def backend(graph: fx.GraphModule, example: Any) -> Any:
            sizes.append(counts(graph))
            return back(graph)

        if resets:
            torch._dynamo.reset()
        if called_before:
            function(*inputs)
        compiled = torch.compile(function, backend=backend)
        for _ in range(calls):
            compiled(*inputs)
        return sizes

    return graph_sizes


def _by_inputs(function: Any, *inputs: Any) -> list[int]:
    """All nodes but the output and the inputs that were handed over."""
    return counting(lambda graph: len(graph.graph.nodes) - len(inputs) - 1)(function, *inputs)


def _last_graph(function: Any, *inputs: Any) -> list[int]:
    return counting()(function, *inputs)[-1:]


def _in_all(function: Any, *inputs: Any) -> list[int]:
    return [sum(counting()(function, *inputs))]


def _traced(function: Any, *inputs: Any) -> list[int]:
    """fx.symbolic_trace knows one graph and no condition."""
    nodes = fx.symbolic_trace(function).graph.nodes
    return [sum(node.op.startswith("call") for node in nodes)]


class _Backend:
    """A backend that is an object; it keeps the graphs."""

    def __init__(self) -> None:
        self.graphs: list[fx.Graph] = []

    def __call__(self, module: fx.GraphModule, example: Any) -> Any:
        self.graphs.append(module.graph)
        return module


def _with_an_object(function: Any, *inputs: Any) -> tuple[int, ...]:
    torch.compiler.reset()
    backend = _Backend()
    torch.compile(function, backend=backend, fullgraph=False)(*inputs)
    nodes = [[node.op for node in graph.nodes] for graph in backend.graphs]
    return tuple(
        len(ops) - ops.count("placeholder") - ops.count("get_attr") - ops.count("output")
        for ops in nodes
    )


def _sorted_by_kind(function: Any, *inputs: Any) -> Any:
    """The nodes of each graph are sorted by what they are; the sizes come in a tensor."""
    kinds: list[dict[str, int]] = []

    @torch._dynamo.disable
    def backend(module: fx.GraphModule, example: Any) -> Any:
        kinds.append({})
        for node in module.graph.nodes:
            kinds[-1][node.op] = kinds[-1].get(node.op, 0) + 1
        return module.forward

    torch._dynamo.reset_code_caches()
    torch._dynamo.reset()
    torch.compile(backend=backend)(function)(*inputs)
    called = "call_function", "call_method", "call_module"
    return torch.tensor(
        [sum(kind.get(op, 0) for op in called) for kind in kinds], dtype=torch.int64
    )


def told(graph_sizes: GraphSizes) -> Any:
    """The oracle: the sizes, asked once and again, how often the function ran, and the inputs afterwards."""
    found: list[Any] = []
    with captures(ONE_CAPTURE):
        for case in (*_cases(), _cases()[0]):
            kept = [x.clone() for x in case.inputs]
            try:
                sizes = forms.wholes(graph_sizes(case.function, *case.inputs))
                found.append([sizes, [near(a, b) for a, b in zip(kept, case.inputs, strict=True)]])
            except Exception as error:
                found.append(type(error).__name__)
        counting = _Counting()
        try:
            found.append(
                [forms.wholes(graph_sizes(counting.function(), torch.ones(2))), int(counting.runs)]
            )
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "graph_sizes",
    "A backend is a function that is handed a graph.",
    check_sizes,
    (
        Wrong(
            "all nodes",
            counting(lambda graph: len(graph.graph.nodes)),
            "For relu(x * 2) + 1 you count [5]",
        ),
        Wrong(
            "all but the output",
            counting(lambda graph: len(graph.graph.nodes) - 1),
            "For relu(x * 2) + 1 you count [4]",
        ),
        Wrong(
            "functions alone",
            counting(lambda graph: sum(n.op == "call_function" for n in graph.graph.nodes)),
            "true here you count [2, 3]",
        ),
        Wrong(
            "kinds of operations",
            counting(
                lambda graph: len({n.target for n in graph.graph.nodes if n.op.startswith("call")})
            ),
            "x.exp().exp() of two inputs, one of them not used you count [1]",
        ),
        Wrong(
            "as many inputs as were given",
            _by_inputs,
            "x.exp().exp() of two inputs, one of them not used you count [1]",
        ),
        Wrong("never called", counting(calls=0), "For relu(x * 2) + 1 no graph was captured"),
        Wrong("called twice", counting(calls=2), "The function ran 2 times"),
        Wrong(
            "called without the compiler, too",
            counting(called_before=True),
            "The function ran 2 times",
        ),
        Wrong(
            "nothing forgotten",
            counting(resets=False),
            "Asked once more for relu(x * 2) + 1 no graph",
        ),
        Wrong("the last graph alone", _last_graph, "true here your list has 1 entries"),
        Wrong("in all", _in_all, "true here your list has 1 entries"),
        Wrong("traced by fx", _traced, "TraceError"),
        Wrong("the graphs themselves", counting(lambda graph: graph), "Entry 1 is a whole number"),
        Wrong("nothing handed back", counting(back=lambda graph: None), "BackendCompilerFailed"),
        Wrong(
            "an input overwritten",
            then(counting(), lambda f, *inputs: inputs[0].zero_()),
            "changed what it was given",
        ),
    ),
    right=(
        Right("an object, a tuple", _with_an_object),
        Right("by kind, a tensor", _sorted_by_kind),
    ),
    oracle=told,
)
