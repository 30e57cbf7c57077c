"""The ends of a link go in, the words beside them come out: which argument of a call it is, which of its results.

Arguments are named where their order matters and where they were given by keyword, results where a card has several.
"""

from __future__ import annotations

from collections import Counter

from ..text.labels import short_node_name
from ..trace import Edge, Op, TensorVersion, Trace
from .arguments import ORDERED

__all__ = ["LinkWords"]

POSITIONS = {"scaled_dot_product_attention": ("query", "key", "value", "attn_mask")}
"""By operation: the names of the tensors that it is given, in order."""
ORDERED_NODES = ("Sub", "Div", "Mm", "Bmm", "Mv", "Pow", "Atan2", "Cat", "Stack")
"""Nodes, without `Backward` and their number, of operations in which it matters which argument is first."""
MAX_CHARS = 10
"""A longer word beside an arrow is cut."""


class LinkWords:
    """The words beside the links of one trace, asked for in the order of its edges."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._met: Counter[tuple[int, int, int]] = Counter()
        self._entered: dict[int, set[int]] = {}  # by node: the outputs that edges lead to
        for edge in trace.edges if trace.root is not None else ():
            self._entered.setdefault(edge.target, set()).add(edge.input_nr)

    def of_edge(self, edge: Edge) -> tuple[str, str]:
        """Beside the beginning and the end of an arrow that stands for an edge."""
        if self._trace.root is not None:
            return self._of_drawn_edge(edge)
        reader, maker = (self._trace.nodes[i].op for i in (edge.source, edge.target))
        tail = "" if maker is None or maker == reader else self._result(maker, edge)
        head = "" if reader is None or maker == reader else self._argument_of_edge(reader, edge)
        return tail, head

    def of_data(self, op: Op, tensor: TensorVersion) -> tuple[str, str]:
        """Beside the beginning and the end of an arrow that stands for a tensor that an operation reads."""
        tail = ""
        if tensor.op is not None and tensor.kind == "result":
            maker = self._trace.ops[tensor.op]
            node = self._trace.main_node(maker.index) if tensor.node is None else tensor.node
            tail = self._result_on_card(maker, node, tensor)
        places = [i for i, arg in enumerate(_tensors(op)) if arg == tensor.index]
        return tail, self._argument(op, tensor, places[0]) if places else ""

    def _of_drawn_edge(self, edge: Edge) -> tuple[str, str]:
        """The same in a graph without operations: by the nodes, whose slots are in the order of the arguments."""
        trace = self._trace
        name = short_node_name(trace.nodes[edge.source].name).rstrip("0123456789")
        head = ""
        if (
            name.removesuffix("Backward") in ORDERED_NODES
            and len(trace.edges_of([edge.source])) > 1
        ):
            head = str(edge.slot)
        if len(self._entered[edge.target]) < 2:
            return "", head
        at = (edge.target, edge.input_nr)
        names = [t.name for t in trace.tensors if (t.node, t.output_nr) == at and t.name]
        return _cut(names[0] if names else f"[{edge.input_nr}]"), head

    def _argument_of_edge(self, reader: int, edge: Edge) -> str:
        """Which argument of an operation it is whose gradient goes along an edge."""
        op, at = self._trace.ops[reader], (edge.target, edge.input_nr)
        places = [
            (place, tensor)
            for place, tensor in enumerate(map(self._trace.tensors.__getitem__, _tensors(op)))
            if (tensor.node, tensor.output_nr) == at
        ]
        nr = self._met[(reader, *at)]
        self._met[(reader, *at)] += 1
        if not places:
            return ""
        place, tensor = places[min(nr, len(places) - 1)]
        return self._argument(op, tensor, place)

    def _argument(self, op: Op, tensor: TensorVersion, place: int) -> str:
        """The keyword of a tensor, or where it stands among those that an operation was given."""
        if op.module or op.is_optimizer_step:
            return ""
        keyword = dict(op.named).get(tensor.index, "")
        if keyword:
            is_said = (tensor.name or "").rpartition(".")[2] == keyword
            return "" if is_said else _cut(keyword)
        names = POSITIONS.get(op.name, ())
        if place < len(names):
            return names[place]
        return str(place) if op.name in ORDERED and len(_tensors(op)) > 1 else ""

    def _result(self, maker: int, edge: Edge) -> str:
        """Which result of an operation it is from which an edge leads to its reader."""
        op = self._trace.ops[maker]
        here = [self._trace.tensors[i] for i in op.results]
        found = [t for t in here if (t.node, t.output_nr) == (edge.target, edge.input_nr)]
        return self._result_on_card(op, edge.target, found[0]) if found else ""

    def _result_on_card(self, op: Op, node: int | None, tensor: TensorVersion) -> str:
        """What one of several results on one card is called."""
        is_main = node == self._trace.main_node(op.index)
        results = [self._trace.tensors[i] for i in op.results]
        on_card = [t for t in results if t.node == node or (is_main and t.node is None)]
        if len(on_card) < 2 or tensor.index not in op.results:
            return ""
        return _cut(tensor.name or f"[{op.results.index(tensor.index)}]")


def _tensors(op: Op) -> list[int]:
    """The tensors that an operation was given, as they stand in its call."""
    return [arg for arg in op.args if isinstance(arg, int)]


def _cut(word: str) -> str:
    return word if len(word) <= MAX_CHARS else f"{word[: MAX_CHARS - 1]}…"
