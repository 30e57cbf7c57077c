"""A trace goes in, what is drawn comes out: cards and the links between them, with the words on each card.

One card stands for each backward node (a leaf's card is its `AccumulateGrad`), one for each tensor or operation
that has no node. A link is an edge of PyTorch's graph, or data that flows where no gradient will. Every row of a
card is a list of states: a text and the step from which it holds, so that a player only has to choose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from .memory import freed_at
from .text import brief, op_step, short, size, tensor_label
from .trace import Step, Tensor, Trace, Value, total

__all__ = ["WIDTH", "Card", "Link", "State", "count", "deal"]

WIDTH = 24
"""The most characters a row of a card holds."""
SHARED = 4
"""A leaf that more operations use than this gets one chip for each use: shared nodes make a layout explode."""


@dataclass(frozen=True, slots=True)
class State:
    """A text, and the step (0: before the first) from which a card shows it."""

    since: int
    text: str


@dataclass(slots=True)
class Card:
    """One card. `born` is the step that makes it (0: it was there), `node` the backward node it stands for.

    `kind` is `leaf`, `parameter`, `constant`, `op` (has a node), `inner` (a further node of an operation),
    `plain` (an operation without a node) or `older` (a node from before the recording). `runs` are the backward
    steps in which its node ran; `output` marks a result that nothing else uses. `badge` is the word in the upper
    right corner; `folded` says that the card is a whole module.
    """

    id: str
    kind: str
    title: str
    born: int = 0
    node: int | None = None
    op: int | None = None
    values: list[State] = field(default_factory=list)
    function: str = ""
    keeps: list[State] = field(default_factory=list)
    grads: list[State] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    output: bool = False
    badge: str = ""
    folded: bool = False

    def rows(self) -> list[list[State]]:
        """The rows below the title, each with its states over time."""
        rows = [self.values, [State(0, self.function)] if self.function else [], self.grads]
        return [row for row in rows if row]


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow between two cards in the direction of the data. `edge` is None where no gradient flows back.

    `flows` lists the backward steps in which a gradient went along it, with that gradient as text. `back` marks what
    goes from one repetition of a block to the next: an arrow against the order of the cards.
    """

    id: str
    tail: str
    head: str
    born: int
    edge: int | None = None
    flows: tuple[State, ...] = ()
    back: bool = False


@dataclass
class _Backward:
    """What happened on the way back, by node and by edge."""

    runs: dict[int | None, list[Step]] = field(default_factory=dict)
    freed: dict[int, int] = field(default_factory=dict)
    flows: dict[int, list[State]] = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> _Backward:
        found = cls(freed=freed_at(trace))
        for step in trace.steps:
            found.runs.setdefault(step.node, []).append(step)
            for index, value in step.passed:
                flow = State(step.index + 1, brief(value, 18))
                found.flows.setdefault(index, []).append(flow)
        return found


def deal(trace: Trace) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace, in a fixed order."""
    back = _Backward.of(trace)
    cards = _leaf_cards(trace, back) + _op_cards(trace, back) + _older_cards(trace, back)
    by_node = {card.node: card for card in cards if card.node is not None}
    links, chips = _edge_links(trace, by_node, back)
    last_use = {chip.id.partition("u")[0]: chip.id for chip in chips}
    for link in _data_links(trace, {card.id: card for card in cards}):
        links.append(replace(link, tail=last_use.get(link.tail, link.tail)))
    used = {link.tail for link in links if not link.back}
    for card in cards:
        card.output = card.kind in ("op", "plain", "older") and card.id not in used
    return [card for card in cards if card.id not in last_use] + chips, links


def count(trace: Trace) -> int:
    """How many cards `deal` gives, without making them."""
    uses = Counter(edge.target for edge in trace.edges)
    chips = sum(n - 1 for i, n in uses.items() if n > SHARED and trace.nodes[i].leaf is not None)
    leaves = sum(tensor.node is None for tensor in trace.leaves)
    plain = sum(not op.factory and not trace.nodes_of(op.index) for op in trace.ops)
    return len(trace.nodes) + chips + leaves + plain


def _leaf_cards(trace: Trace, back: _Backward) -> list[Card]:
    """A card for each leaf; more than one where PyTorch has given the leaf a new `AccumulateGrad` on the way."""
    later: dict[int, list[Tensor]] = {}
    for tensor in trace.tensors:
        if tensor.origin is not None:
            later.setdefault(tensor.origin, []).append(tensor)
    cards = []
    for tensor in trace.leaves:
        versions = later.get(tensor.index, [])
        born = op_step(trace, tensor.op) if tensor.op is not None else 0
        values = [State(0, brief(tensor.value, WIDTH))]
        for version in versions:
            if version.op is not None:
                values.append(State(op_step(trace, version.op), brief(version.value, WIDTH)))
        for node in dict.fromkeys(t.node for t in (tensor, *versions) if t.node is not None) or [
            None
        ]:
            name = f"t{tensor.index}" if node is None else f"n{node}"
            card = Card(name, tensor.kind, tensor_label(trace, tensor.index), born, node)
            card.values = values
            if node is not None:
                card.function = "AccumulateGrad"
                card.grads, card.runs = _leaf_grads(trace, back.runs.get(node, []))
            cards.append(card)
    return cards


def _leaf_id(tensor: Tensor) -> str:
    return f"t{tensor.index}" if tensor.node is None else f"n{tensor.node}"


def _op_cards(trace: Trace, back: _Backward) -> list[Card]:
    cards = []
    for op in trace.ops:
        if op.factory:
            continue
        born = op_step(trace, op.index)
        outputs = [trace.tensors[i] for i in op.outputs]
        names = ", ".join(dict.fromkeys(t.name for t in outputs if t.name))
        title = _title(names, op.name, born, bool(op.module))
        values = "; ".join(
            brief(t.value, WIDTH if len(outputs) == 1 else WIDTH // 2) for t in outputs
        )
        main = trace.main_node(op.index)
        card = Card(
            f"o{op.index}", "plain", title[:WIDTH], born, None, op.index, [State(0, values[:WIDTH])]
        )
        card.badge, card.folded = op.module[:WIDTH], bool(op.module)
        if main is None:
            card.function = "no grad_fn"
        else:
            card.id, card.kind, card.node = f"n{main}", "op", main
            _fill(trace, card, back)
            if op.parameters:
                card.function += f", {op.parameters} parameter{'s' if op.parameters > 1 else ''}"
        cards.append(card)
        for index in trace.nodes_of(op.index):
            if index != main:
                inner = Card(f"n{index}", "inner", f"in {op.name}", born, index, op.index)
                _fill(trace, inner, back)
                cards.append(inner)
    return cards


def _title(names: str, name: str, step: int, module: bool) -> str:
    """What a card is called: the end of a module's path says more than its beginning."""
    title = f"{names} = {name}" if names else f"{name}#{step}"
    if not module or len(title) <= WIDTH:
        return title
    path = names or name
    if names and len(names) + len(name.rpartition(".")[2]) + 4 <= WIDTH:
        return f"{names} = …{name[len(names) + 4 - WIDTH :]}"
    return f"…{path[1 - WIDTH :]}"


def _older_cards(trace: Trace, back: _Backward) -> list[Card]:
    cards = []
    held: dict[int, Tensor] = {}
    for tensor in trace.tensors:
        if tensor.node is not None and tensor.op is None:
            held.setdefault(tensor.node, tensor)
    for node in trace.nodes:
        if node.op is None and node.leaf is None:
            card = Card(f"n{node.index}", "older", "", 0, node.index)
            card.title = short(node.name)
            tensor = held.get(node.index)
            if tensor is not None:
                card.title = tensor.name or card.title
                card.values = [State(0, brief(tensor.value, WIDTH))]
            _fill(trace, card, back)
            if card.title == card.function:
                card.function = ""
            cards.append(card)
    return cards


def _fill(trace: Trace, card: Card, back: _Backward) -> None:
    """The lower half of a card: its node, what that keeps, what arrives at it."""
    node = trace.nodes[card.node or 0]
    card.function = short(node.name)
    kept = sum({s.storage: s.nbytes for s in node.saved}.values())
    if kept:
        card.keeps = [State(card.born, f"{'all keep' if node.times > 1 else 'keeps'} {size(kept)}")]
        freed = back.freed.get(node.index)
        if freed is not None:
            card.keeps.append(State(freed, "freed"))
    card.grads, card.runs = _node_grads(trace, node.index, back)


def _node_grads(trace: Trace, node: int, back: _Backward) -> tuple[list[State], list[int]]:
    """What a card says of its gradient over time, and the steps in which its node ran."""
    states = [State(0, "grad not yet")] if trace.steps else []
    ran, arrivals = back.runs.get(node, []), trace.arrivals_at(node)
    expected = Counter((step.run, edge.input_nr) for step, edge, _ in arrivals)
    parts: dict[tuple[int, int], list[Value]] = {}
    several = len({edge.input_nr for _, edge, _ in arrivals}) > 1
    for step, edge, value in arrivals:
        key = (step.run, edge.input_nr)
        arrived = parts.setdefault(key, [])
        arrived.append(value)
        if several:  # outputs of their own: nothing to add across them
            sums = [brief(total(parts[k]), 11) for k in sorted(parts) if k[0] == step.run]
            text = _clip("grad " + "; ".join(sums))
        elif len(arrived) < expected[key]:
            text = _clip(f"grad {_joined(arrived)} + …")
        else:
            text = _made(arrived)
        if states[-1].since == step.index + 1:
            states.pop()  # two edges from one node arrive in one step
        states.append(State(step.index + 1, text))
    for step in ran:  # the node that a backward pass starts from: nothing travels to it
        got = [value for value in step.received if value is not None]
        if got and not any(key[0] == step.run for key in parts):
            states.append(State(step.index + 1, _clip(f"grad {brief(got[0], WIDTH - 5)}")))
    return sorted(states, key=lambda state: state.since), [step.index + 1 for step in ran]


def _joined(parts: list[Value]) -> str:
    return " + ".join(brief(part, WIDTH) for part in parts)


def _made(parts: list[Value]) -> str:
    """A sum being made, `1 + 5 = 6`, when it fits on the card; else the sum alone."""
    made = brief(total(parts), WIDTH - 5)
    if len(parts) == 1:
        return f"grad {made}"
    text = f"{_joined(parts)} = {made}"
    return text if len(text) <= WIDTH else _clip(f"grad {made}")


def _leaf_grads(trace: Trace, ran: list[Step]) -> tuple[list[State], list[int]]:
    """A leaf's row shows `.grad`: None until its `AccumulateGrad` runs, then the sum that it makes."""
    states = [State(0, ".grad not yet")] if trace.steps else []
    for step in ran:
        got = [value for value in step.received if value is not None]
        text = f".grad {brief(step.after, WIDTH - 6)}"
        if step.before is not None and got:
            full = f"{_joined([step.before, *got])} = {brief(step.after, WIDTH)}"
            text = full if len(full) <= WIDTH else text
        states.append(State(step.index + 1, _clip(text)))
    return states, [step.index + 1 for step in ran]


def _clip(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _edge_links(
    trace: Trace, by_node: dict[int | None, Card], back: _Backward
) -> tuple[list[Link], list[Card]]:
    """One link for each edge; a leaf with many uses is copied into a chip for each."""
    uses = Counter(edge.target for edge in trace.edges)
    links, chips, seen = [], [], Counter[int]()
    for edge in trace.edges:
        head, tail = by_node[edge.source], by_node[edge.target]
        if trace.nodes[edge.target].leaf is not None and uses[edge.target] > SHARED:
            seen[edge.target] += 1
            use = seen[edge.target]
            name = f"{tail.id}u{use}"
            if not trace.steps:  # found from the end, so the first found is the last use
                use = uses[edge.target] + 1 - use
            title = _clip(f"{tail.title} (use {use} of {uses[edge.target]})")
            tail = replace(tail, id=name, title=title)
            chips.append(tail)
        flows = tuple(back.flows.get(edge.index, ()))
        reader, maker = trace.nodes[edge.source].op, trace.nodes[edge.target].op
        again = edge.source == edge.target or (
            edge.again if reader == maker else _again(trace, reader, maker)
        )
        born = max(tail.born, head.born) if again else head.born
        links.append(Link(f"e{edge.index}", tail.id, head.id, born, edge.index, flows, again))
    return links, chips


def _again(trace: Trace, reader: int | None, maker: int | None) -> bool:
    """Whether an operation reads what comes after it: what an earlier repetition of a block has made."""
    if reader is None or maker is None or reader > maker:
        return False
    return trace.ops[reader].block is not None


def _data_links(trace: Trace, cards: dict[str, Card]) -> list[Link]:
    """Inputs that an operation read but that no edge leads back to: constants, detached and non-differentiable ones."""
    links: list[Link] = []
    seen: set[tuple[str, str]] = set()
    for op in trace.ops:
        nodes = trace.nodes_of(op.index)
        main = trace.main_node(op.index)
        head = f"o{op.index}" if main is None else f"n{main}"
        targets = {edge.target for edge in trace.edges_of(nodes)}
        for index in dict.fromkeys(op.inputs):
            tensor = trace.tensors[index]
            if tensor.node is not None and (tensor.node in targets or tensor.node in nodes):
                continue
            tail = _card_of(trace, tensor)
            again = tensor.kind == "result" and _again(trace, op.index, tensor.op)
            if (tail, head) in seen:
                continue  # two versions of one leaf
            if tail in cards and head in cards and (tail != head or again):
                seen.add((tail, head))
                born = max(cards[tail].born, cards[head].born) if again else cards[head].born
                links.append(Link(f"d{len(links)}", tail, head, born, back=again))
    for tensor in trace.leaves:
        made = tensor.op is not None and not trace.ops[tensor.op].factory
        if made and f"o{tensor.op}" in cards:
            links.append(
                Link(
                    f"d{len(links)}",
                    f"o{tensor.op}",
                    _leaf_id(tensor),
                    op_step(trace, tensor.op or 0),
                )
            )
    return links


def _card_of(trace: Trace, tensor: Tensor) -> str:
    if tensor.node is not None:
        return f"n{tensor.node}"
    if tensor.kind != "result":
        first = tensor if tensor.origin is None else trace.tensors[tensor.origin]
        return _leaf_id(first)
    return f"o{tensor.op}"
