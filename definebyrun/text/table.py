"""A trace goes in, the same facts as rows come out: a table for reading and for screen readers.

`Table` shows itself as text and as HTML; it is plain data, `columns` and `rows` of strings.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ..assets import asset, render_html
from ..trace.model import Node, Trace
from .canonical import grad_text
from .format import format_bytes, format_value
from .labels import op_call, op_step, read_label, short_node_name, tensor_label
from .printable import printable

__all__ = ["Table", "tabulate"]

COLUMNS = ("step", "line", "op", "inputs", "shape", "value", "grad_fn", "saved", "grad")


@dataclass(frozen=True)
class Table:
    """Rows of strings under named columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [self.columns, tuple("-" * width for width in widths), *self.rows]
        return printable(
            "\n".join(
                "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
                for row in lines
            )
        )

    def _repr_html_(self) -> str:
        style = Markup(asset("table.css"))
        return render_html("table.html", css=style, columns=self.columns, rows=self.rows)


def tabulate(trace: Trace) -> Table:
    """One row a leaf that was there before, then one a forward step; `grad` is what had arrived in the end."""
    rows = []
    for tensor in trace.leaves:
        if tensor.op is None:
            grad = _leaf_grad(trace, tensor.index)
            shape, value = _shape(tensor.value.shape), format_value(tensor.value)
            fn = "None" if tensor.node is None else "None (AccumulateGrad)"
            rows.append(
                (
                    "–",
                    "–",
                    tensor.kind,
                    "–",
                    shape,
                    f"{tensor_label(trace, tensor.index)} = {value}",
                    fn,
                    "–",
                    grad,
                )
            )
    for op in trace.ops:
        main = trace.main_node(op.index)
        first = trace.tensors[op.outputs[0]]
        kept = [s for i in trace.nodes_of(op.index) for s in trace.nodes[i].saved]
        grad = "–" if main is None else _grad(trace.nodes[main])
        if main is None and first.kind != "result":
            grad = _leaf_grad(trace, trace.first_version(first.index))
        rows.append(
            (
                str(op_step(trace, op.index)),
                "–" if op.line is None else str(op.line),
                op_call(trace, op).partition("(")[0],
                ", ".join(a if isinstance(a, str) else read_label(trace, op, a) for a in op.args)
                or "–",
                _shape(first.value.shape),
                format_value(first.value),
                "None" if main is None else short_node_name(trace.nodes[main].name),
                f"{format_bytes(sum(s.nbytes for s in kept))} in all"
                if kept and op.holds * op.times > 1
                else ", ".join(f"{s.name} {format_bytes(s.nbytes)}" for s in kept) or "–",
                grad,
            )
        )
    return Table(COLUMNS, tuple(rows))


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _grad(node: Node) -> str:
    """What arrived at the first output of an operation; a node that ran may have got something for others only."""
    return "none" if node.order is not None and node.grad is None else format_value(node.grad)


def _leaf_grad(trace: Trace, leaf: int) -> str:
    asks = any(tensor.node is not None for tensor in trace.leaf_versions(leaf))
    return grad_text(trace, leaf, 22) if asks else "–"
