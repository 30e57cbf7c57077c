"""The local derivatives of common operations, in words with the numbers of a run.

The rules are those of PyTorch's derivatives.yaml. A node without a rule here only says what it passes on.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ..trace import Edge, Node, Op, Step, Trace
from ..trace.value import Value
from .format import SENTENCE_CHARS, format_value
from .labels import short_node_name, tensor_label

__all__ = ["passed_on"]

Rule = Callable[[Trace, Op, int, Value], str | None]
"""Takes an operation, the slot of an edge in `next_functions` and `grad_output`; gives the derivative in words."""


def passed_on(trace: Trace, edge: Edge, step: Step, value: Value, receiver: str) -> str:
    """What a node has passed along an edge in a step, to a `receiver`: its rule, where it has one, and the value."""
    node = trace.nodes[edge.source]
    grad = next((v for v in step.received if v is not None), None)
    result = format_value(value, SENTENCE_CHARS)
    if grad is None or node.op is None or "complex" in grad.dtype + value.dtype:
        return result
    if trace.ops[node.op].module or node.times > 1:
        # what it received may belong to another time than what it passes, and a module has no rule
        return f"{result}, the sum of all times" if edge.summed else result
    op = trace.ops[node.op]
    rule = _rule_of(trace, node, op, edge.slot)
    words = None if rule is None else rule(trace, op, edge.slot, grad)
    if words is None or any(arg in SCALING_KEYWORDS for arg in _keywords(op)):
        return result
    if (
        words in SIGNS
        and grad.shape == value.shape
        and not _differs_by_sign(grad, value, SIGNS[words])
    ):
        return result
    if rule in ELEMENTWISE_RULES and prod(grad.shape) > prod(value.shape):
        words = f"{words or 'grad'}, summed to the shape of {receiver},"
    return f"{words} = {result}" if words else f"{result}, unchanged"


def _rule_of(trace: Trace, node: Node, op: Op, slot: int) -> Rule | None:
    """The rule of a node; one that speaks of a call's operands only where the node is that call's own and has them."""
    name = short_node_name(node.name)
    if name in OWN_CALLS:
        own = trace.main_node(op.index) == node.index and op.name in OWN_CALLS[name]
        has_operands = bool(op.inputs) and slot < len(op.args)
        return RULES[name] if own and has_operands and not op.opaque else None
    return RULES.get(name)


def _keywords(op: Op) -> list[str]:
    return [arg.partition("=")[0] for arg in op.args if isinstance(arg, str) and "=" in arg]


def _differs_by_sign(grad: Value, value: Value, sign: int) -> bool:
    """Whether what is passed is the gradient times 1 or -1, as "unchanged" or "−grad" says: `alpha=2` breaks that."""
    if grad.data is None or value.data is None:
        return False
    return all(
        sign * a == b or (a != a and b != b) for a, b in zip(grad.data, value.data, strict=True)
    )


def _input(trace: Trace, op: Op, position: int) -> tuple[str, str] | None:
    """An operand: its name and its numbers; a number in the call is both."""
    if position >= len(op.args):
        return None
    arg = op.args[position]
    if isinstance(arg, str):
        return arg, arg
    return tensor_label(trace, arg), format_value(trace.tensors[arg].value, SENTENCE_CHARS)


def _times(other: tuple[str, str] | None, grad: Value, sign: str = "") -> str:
    if other is None:
        return f"{sign}grad × the other factor"
    if other[0] == other[1]:
        return f"{sign}grad × {other[0]} = {sign}{format_value(grad, SENTENCE_CHARS)} × {other[0]}"
    return f"{sign}grad × {other[0]} = {sign}{format_value(grad, SENTENCE_CHARS)} × {other[1]}"


def _same(trace: Trace, op: Op, slot: int, grad: Value) -> str:
    return ""


def _mul(trace: Trace, op: Op, slot: int, grad: Value) -> str | None:
    position = 1 - slot
    if len(op.inputs) == 2 and (
        position >= len(op.args) or not _is_factor(trace, op, position, slot)
    ):
        return None
    return _times(_input(trace, op, position), grad)


def _is_factor(trace: Trace, op: Op, position: int, slot: int) -> bool:
    """Whether the operand at a position is the other factor: keywords may stand in another order than edges."""
    other, own = op.args[position], op.args[slot]
    node = trace.main_node(op.index)
    edge = next((e for e in trace.edges_of([node or 0]) if e.slot == slot), None)
    if isinstance(other, str) or isinstance(own, str) or edge is None:
        return True
    return trace.tensors[own].node == edge.target or trace.tensors[own].node is None


def _sub(trace: Trace, op: Op, slot: int, grad: Value) -> str:
    return "−grad" if (slot == 1) != (op.name == "rsub") else ""


def _div(trace: Trace, op: Op, slot: int, grad: Value) -> str:
    return "grad ÷ the divisor" if slot == 0 else "−grad × dividend ÷ divisor²"


def _result(trace: Trace, op: Op) -> str:
    return format_value(trace.tensors[op.outputs[0]].value, SENTENCE_CHARS)


def _fixed(words: str) -> Rule:
    def rule(trace: Trace, op: Op, slot: int, grad: Value) -> str:
        return words

    return rule


def _relu(trace: Trace, op: Op, slot: int, grad: Value) -> str:
    return f"grad where its result {_result(trace, op)} is above 0"


def _mean(trace: Trace, op: Op, slot: int, grad: Value) -> str:
    before, after = (trace.tensors[i].value.shape for i in (op.inputs[0], op.outputs[0]))
    count = prod(before) // (prod(after) or 1)
    return f"grad ÷ {count}, once for each element"


def _by_slot(*words: str) -> Rule:
    def rule(trace: Trace, op: Op, slot: int, grad: Value) -> str | None:
        return words[slot] if slot < len(words) else None

    return rule


def _square(trace: Trace, op: Op, slot: int, grad: Value) -> str:
    name = tensor_label(trace, op.inputs[0])
    return f"grad × exponent × {name}^(exponent − 1)"


RULES: dict[str, Rule] = {
    "AddBackward0": _same,
    "AddmmBackward0": _by_slot(
        "grad, summed over the rows that shared the bias",
        "grad times the second matrix, transposed",
        "the first matrix, transposed, times grad",
    ),
    "SubBackward0": _sub,
    "RsubBackward1": _sub,
    "MulBackward0": _mul,
    "DivBackward0": _div,
    "NegBackward0": _fixed("−grad"),
    "ReluBackward0": _relu,
    "SumBackward0": _fixed("grad, once for each element"),
    "SumBackward1": _fixed("grad, repeated along the summed dimensions"),
    "MeanBackward0": _mean,
    "MeanBackward1": _mean,
    "ExpBackward0": _fixed("grad × its result"),
    "LogBackward0": _fixed("grad ÷ its input"),
    "SqrtBackward0": _fixed("grad ÷ (2 × its result)"),
    "TanhBackward0": _fixed("grad × (1 − result²)"),
    "SigmoidBackward0": _fixed("grad × result × (1 − result)"),
    "PowBackward0": _square,
    "SinBackward0": _fixed("grad × cos(its input)"),
    "CosBackward0": _fixed("−grad × sin(its input)"),
    "AbsBackward0": _fixed("grad × sign of its input"),
    "CatBackward0": _fixed("its own part of grad"),
    "StackBackward0": _fixed("its own slice of grad"),
    "PermuteBackward0": _fixed("grad, dimensions put back"),
    "BmmBackward0": _by_slot(
        "grad times the second matrices, transposed", "the first matrices, transposed, times grad"
    ),
    "MmBackward0": _by_slot(
        "grad times the second matrix, transposed", "the first matrix, transposed, times grad"
    ),
    "MvBackward0": _by_slot(
        "the outer product of grad and the vector", "the matrix, transposed, times grad"
    ),
    "DotBackward0": _mul,
    "TBackward0": _fixed("grad, transposed"),
    "TransposeBackward0": _fixed("grad, transposed back"),
    "ViewBackward0": _fixed("grad, in the old shape"),
    "UnsafeViewBackward0": _fixed("grad, in the old shape"),
    "SelectBackward0": _fixed("zeros with grad in the place that was read"),
    "SliceBackward0": _fixed("zeros with grad in the places that were read"),
    "ExpandBackward0": _fixed("grad, summed over the expanded dimensions"),
    "UnsqueezeBackward0": _fixed("grad, without the added dimension"),
    "LogSoftmaxBackward0": _fixed("grad − softmax × sum of grad"),
    "SoftmaxBackward0": _fixed("result × (grad − sum of grad × result)"),
    "CloneBackward0": _same,
}
OWN_CALLS = {
    "AddmmBackward0": {"linear"},
    "MulBackward0": {"mul", "rmul", "imul", "mul_", "multiply", "multiply_"},
    "SubBackward0": {"sub", "isub", "sub_", "subtract", "subtract_"},
    "RsubBackward1": {"rsub"},
    "ReluBackward0": {"relu", "relu_"},
    "MeanBackward0": {"mean"},
    "MeanBackward1": {"mean"},
    "PowBackward0": {"pow", "ipow", "pow_", "square"},
    "DotBackward0": {"dot", "matmul", "inner"},
}
"""By node whose rule names the call's operands: the calls whose operands they are; others give the node their own."""
SCALING_KEYWORDS = {"alpha", "beta"}
"""Arguments that multiply a gradient; no rule here speaks of them."""
ELEMENTWISE_RULES = {_same, _mul, _sub, _div}
"""Rules of operations that broadcast: what goes to a smaller operand is summed to its shape."""
SIGNS = {"": 1, "−grad": -1}
"""By the words of a rule that only passes on: the sign of what it passes."""
