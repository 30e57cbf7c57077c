"""A trace goes in, the same facts as rows come out: a table for reading and for screen readers.

`Table` shows itself as text and as HTML; it is plain data, `columns` and `rows` of strings.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ..assets import asset, render_html
from ..trace import Node, Op, TensorVersion, Trace
from .canonical import grad_text
from .format import format_bytes, format_value
from .labels import op_call, op_step, short_node_name, tensor_label, written_args
from .printable import printable

__all__ = ["COLUMNS", "Table", "tabulate"]

COLUMNS = ("step", "line", "op", "inputs", "shape", "value", "grad_fn", "saved", "grad")
MAX_CELL_CHARS = 22
"""The most characters of a value in a cell."""


@dataclass(frozen=True)
class Table:
    """Rows of strings under named columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = []
        for row in (self.columns, tuple("-" * width for width in widths), *self.rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
        return printable("\n".join(lines))

    def _repr_html_(self) -> str:
        style = Markup(asset("table.css"))
        return render_html("table.html", css=style, columns=self.columns, rows=self.rows)


def tabulate(trace: Trace) -> Table:
    """One row a leaf that was there before, then one a forward step; `grad` is what had arrived in the end."""
    leaves = [_leaf_row(trace, tensor) for tensor in trace.leaves if tensor.op is None]
    return Table(COLUMNS, (*leaves, *(_op_row(trace, op) for op in trace.ops)))


def _leaf_row(trace: Trace, tensor: TensorVersion) -> tuple[str, ...]:
    value = f"{tensor_label(trace, tensor.index)} = {format_value(tensor.value, MAX_CELL_CHARS)}"
    node = "None" if tensor.node is None else "None (AccumulateGrad)"
    shape, grad = _shape(tensor.value.shape), _leaf_grad(trace, tensor.index)
    return ("–", "–", tensor.kind, "–", shape, value, node, "–", grad)


def _op_row(trace: Trace, op: Op) -> tuple[str, ...]:
    main = trace.main_node(op.index)
    first = trace.tensors[op.outputs[0]]
    inputs = ", ".join(written_args(trace, op))
    grad = "–" if main is None else _node_grad(trace.nodes[main])
    if main is None and first.kind != "result":
        grad = _leaf_grad(trace, trace.first_version(first.index))
    return (
        str(op_step(trace, op.index)),
        "–" if op.line is None else str(op.line),
        op_call(trace, op).partition("(")[0],
        inputs or "–",
        _shape(first.value.shape),
        format_value(first.value, MAX_CELL_CHARS),
        "None" if main is None else short_node_name(trace.nodes[main].name),
        _saved(trace, op),
        grad,
    )


def _saved(trace: Trace, op: Op) -> str:
    """What the nodes of an operation keep: each tensor, or of a folded one how much it is in all."""
    saved = [s for i in trace.nodes_of(op.index) for s in trace.nodes[i].saved]
    if saved and op.holds * op.times > 1:
        return f"{format_bytes(sum(s.nbytes for s in saved))} in all"
    return ", ".join(f"{s.name} {format_bytes(s.nbytes)}" for s in saved) or "–"


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _node_grad(node: Node) -> str:
    """What arrived at the first output of an operation; a node that ran may have got something for others only."""
    if node.order is not None and node.grad is None:
        return "none"
    return format_value(node.grad, MAX_CELL_CHARS)


def _leaf_grad(trace: Trace, leaf: int) -> str:
    asks = any(tensor.node is not None for tensor in trace.leaf_versions(leaf))
    return grad_text(trace, leaf, MAX_CELL_CHARS) if asks else "–"
