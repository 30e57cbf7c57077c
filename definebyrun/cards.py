"""A trace goes in, what is drawn comes out: cards and the links between them, with the words on each card.

One card stands for each backward node (a leaf's card is its `AccumulateGrad`), one for each tensor or operation
that has no node. A link is an edge of PyTorch's graph, or data that flows where no gradient will. Every row of a
card is a list of states: a text and the step from which it holds, so that a player only has to choose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from .frozen import frozen
from .memory import freed_at
from .text import adds, brief, node_label, op_step, short, size, tensor_label
from .trace import Node, Op, Step, Tensor, Trace, Value, total

__all__ = ["ENDS", "WIDTH", "Card", "Link", "State", "count", "deal"]

WIDTH = 24
"""The most characters a row of a card holds."""
LONG = 30
"""The most that say where a node comes from: small print."""
ENDS = ("op", "plain", "older", "made")
"""Kinds of cards that are an output when nothing else uses them."""
SHARED = 4
"""A leaf that more operations use than this gets one chip for each use: shared nodes make a layout explode."""


@frozen
class State:
    """A text, and the step (0: before the first) from which a card shows it."""

    since: int
    text: str


@dataclass(slots=True)
class Card:
    """One card. `born` is the step that makes it (0: it was there), `node` the backward node it stands for.

    `kind` is `leaf`, `parameter`, `constant`, `op` (has a node), `inner` (a further node of an operation),
    `plain` (an operation without a node), `older` (a node from before the recording) or `made` (a node that a backward
    pass made: `origin` says while which node ran). `generation` and `run` are those of `trace.Node`. `runs` are the
    backward steps in which its node ran; `output` marks a result that nothing else uses. `badge` is the word in the
    upper right corner; `folded` says that the card is a whole module. In a comparison `side` is the run that the card
    belongs to alone; the `more_` rows are B's, where both runs' do not fit in one row.
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
    origin: str = ""
    run: int | None = None
    generation: int = 1
    side: str = ""
    more_values: list[State] = field(default_factory=list)
    more_grads: list[State] = field(default_factory=list)

    def rows(self) -> list[list[State]]:
        """The rows below the title, each with its states over time."""
        node = [State(0, self.function)] if self.function else []
        origin = [State(0, self.origin)] if self.origin else []
        rows = [self.values, self.more_values, node, origin, self.grads, self.more_grads]
        return [row for row in rows if row]


@frozen
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
    side: str = ""


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


def deal(trace: Trace, shared: float = SHARED) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace, in a fixed order; a leaf with more uses than `shared` gets chips."""
    back = _Backward.of(trace)
    cards = _leaf_cards(trace, back) + _op_cards(trace, back) + _older_cards(trace, back)
    cards += _made_cards(trace, back)
    by_node = {card.node: card for card in cards if card.node is not None}
    links, chips = _edge_links(trace, by_node, back, shared)
    uses: dict[str, list[Link]] = {}
    for link in links:
        if "u" in link.tail:
            uses.setdefault(link.tail.split("u")[0], []).append(link)
    links += _data_links(trace, {card.id: card for card in cards}, uses)
    used = {link.tail for link in links if not link.back}
    for card in cards:
        card.output = card.kind in ENDS and card.id not in used
    return [card for card in cards if card.id not in uses] + chips, links


def count(trace: Trace) -> int:
    """How many cards `deal` gives, without making them."""
    uses = Counter(edge.target for edge in trace.edges)
    chips = sum(n - 1 for i, n in uses.items() if n > SHARED and trace.nodes[i].leaf is not None)
    leaves = sum(all(t.node is None for t in trace.family(leaf.index)) for leaf in trace.leaves)
    plain = sum(not op.factory and _without_node(trace, op) for op in trace.ops)
    return len(trace.nodes) + chips + leaves + plain


def _leaf_cards(trace: Trace, back: _Backward) -> list[Card]:
    """A card for each leaf; more than one where PyTorch has given the leaf a new `AccumulateGrad` on the way."""
    cards = []
    for tensor in trace.leaves:
        family = trace.family(tensor.index)
        born = op_step(trace, tensor.op) if tensor.op is not None else tensor.since
        values = [State(0, brief(tensor.value, WIDTH))]
        for version in family[1:]:
            if version.op is not None:
                values.append(State(op_step(trace, version.op), brief(version.value, WIDTH)))
        nodes = list(dict.fromkeys(t.node for t in family if t.node is not None))
        for node in nodes or [None]:
            name = f"t{tensor.index}" if node is None else f"n{node}"
            kind = next(t.kind for t in family if t.node == node)
            card = Card(name, kind, tensor_label(trace, tensor.index), born, node)
            card.values = values
            if node is not None:
                card.function = "AccumulateGrad"
                card.runs = [step.index + 1 for step in back.runs.get(node, [])]
                card.grads = _leaf_grads(trace, tensor.index, back.runs.get(node, []))
            cards.append(card)
    return cards


def _leaf_id(trace: Trace, tensor: Tensor) -> str:
    """The card of a leaf: the one of its own node, or of the node that it had or will have."""
    if tensor.node is not None:
        return f"n{tensor.node}"
    first = trace.first(tensor.index)
    node = next((t.node for t in trace.family(first) if t.node is not None), None)
    return f"t{first}" if node is None else f"n{node}"


def _op_cards(trace: Trace, back: _Backward) -> list[Card]:
    cards = []
    for op in trace.ops:
        if op.factory:
            continue
        born = op_step(trace, op.index)
        outputs = [trace.tensors[i] for i in op.outputs]
        names = ", ".join(dict.fromkeys(t.name for t in outputs if t.name))
        title = _title(names, op.name, born, bool(op.module))
        title += {"backward": ", in backward", "recompute": ", recomputed"}.get(op.during, "")
        values = _values([t.value for t in outputs])
        main = trace.main_node(op.index)
        if main is not None and trace.nodes[main].made is not None:
            if not _without_node(trace, op):
                continue  # the nodes of its pass have cards of their own
            main, values = None, _values([t.value for t in outputs if t.node is None])
        elif main is None and not _without_node(trace, op):
            continue  # code in the pass has made them
        card = Card(f"o{op.index}", "plain", _clip(title), born, None, op.index, [State(0, values)])
        card.badge, card.folded = op.module[:WIDTH], bool(op.module)
        if main is None:
            card.function = "no grad_fn"
        else:
            card.id, card.kind, card.node = f"n{main}", "op", main
            _fill(trace, card, back)
            _mark(card, trace.nodes[main])
            if op.parameters:
                card.function += f", {op.parameters} parameter{'s' if op.parameters > 1 else ''}"
        cards.append(card)
        for index in trace.nodes_of(op.index):
            if index != main and trace.nodes[index].made is None:
                inner = Card(f"n{index}", "inner", f"in {op.name}", born, index, op.index)
                _fill(trace, inner, back)
                _mark(inner, trace.nodes[index])
                cards.append(inner)
    return cards


def _without_node(trace: Trace, op: Op) -> bool:
    """Whether an operation has a card that stands for no node: it has none, or not for all that it gives."""
    nodes = [trace.nodes[i] for i in trace.nodes_of(op.index)]
    if nodes and not any(node.made is not None for node in nodes):
        return False
    if not nodes and op.name != "grad":
        return True
    return any(trace.tensors[i].node is None for i in op.outputs)


def _mark(card: Card, node: Node) -> None:
    """What says on a card that its node is of a later generation."""
    card.generation, card.run = node.generation, node.run
    if node.generation > 1 and not card.badge:
        card.badge = f"gen {node.generation}"


def _made_cards(trace: Trace, back: _Backward) -> list[Card]:
    """A card for each node that no call made, but a backward pass that was recorded itself."""
    made = [node for node in trace.nodes if node.made is not None]
    hanging: dict[int | None, list[Tensor]] = {}
    for tensor in trace.tensors if made else ():
        hanging.setdefault(tensor.node, []).append(tensor)
    cards = []
    for node in made:
        op = None if node.op is None else trace.ops[node.op]
        given = [t for t in hanging.get(node.index, ()) if t.op == node.op]
        title = label = node_label(trace, node.index)
        names = ", ".join(dict.fromkeys(t.name for t in given if t.name))
        if op is not None and given:
            title = _title(names, op.name, op_step(trace, op.index), False)
        elif names:  # the `.grad` of a leaf
            title = names
        card = Card(f"n{node.index}", "made", _clip(title), (node.made or 0) + 1, node.index)
        card.op = node.op if given else None
        values = [t.value for t in given] or ([] if node.value is None else [node.value])
        if values:
            card.values = [State(0, _values(values))]
        _fill(trace, card, back)
        by = None if node.within is None else node_label(trace, node.within)
        alone = "where gradients meet" if adds(node) else "maker not seen"
        card.origin = _clip(alone if by is None else f"by {by}", LONG)
        if title == label:  # which says what the node is
            card.function, card.origin = card.origin, ""
        _mark(card, node)
        cards.append(card)
    return cards


def _title(names: str, name: str, step: int, module: bool) -> str:
    """What a card is called: the end of a module's path says more than its beginning."""
    title = f"{names} = {name}" if names else f"{name}#{step}"
    if not module or len(title) <= WIDTH:
        return f"{name}#{step}" if ", " in names and len(title) > WIDTH else title
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
        if node.op is None and node.leaf is None and node.made is None:
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
    if len(arrivals) == len(ran) == 1 and ran[0].received == (arrivals[0][2],):  # most nodes
        step, _, value = arrivals[0]
        states.append(State(step.index + 1, f"grad {brief(value, WIDTH - 5)}"))
        return states, [ran[0].index + 1]
    expected = Counter((step.run, edge.input_nr) for step, edge, _ in arrivals)
    parts: dict[tuple[int, int], list[Value]] = {}
    sums: dict[tuple[int, int], Value] = {}
    several = len({edge.input_nr for _, edge, _ in arrivals}) > 1
    for step, edge, value in arrivals:
        key = (step.run, edge.input_nr)
        arrived = parts.setdefault(key, [])
        arrived.append(value)
        if len(arrived) == expected[key] or several:
            sums[key] = total(arrived)
        if several:  # outputs of their own: nothing to add across them
            each = [brief(sums[k], 11) for k in sorted(sums) if k[0] == step.run]
            text = _clip("grad " + "; ".join(each))
        elif len(arrived) < expected[key]:
            text = _clip(f"grad {_joined(arrived)} + …")
        else:
            text = _made(arrived, sums[key])
        if states[-1].since == step.index + 1:
            states.pop()  # two edges from one node arrive in one step
        states.append(State(step.index + 1, text))
    for step in ran:  # what it received was more, or other, than what travelled along its edges
        text = _received(step, sums)
        if text is not None:
            states.append(State(step.index + 1, _clip(f"grad {text}")))
    return sorted(states, key=lambda state: state.since), [step.index + 1 for step in ran]


def _received(step: Step, sums: dict[tuple[int, int], Value]) -> str | None:
    """What a node received, where its edges have not brought just that: backward began here, or a hook changed it."""
    brought = [
        None if value is None else sums.get((step.run, nr))
        for nr, value in enumerate(step.received)
    ]
    got = [(nr, value) for nr, value in enumerate(step.received) if value is not None]
    if all(_same(brought[nr], value) for nr, value in got):
        return None
    width = WIDTH - 5 if len(got) == 1 else 8
    return "; ".join(brief(value, width) for _, value in got)


def _same(one: Value | None, two: Value) -> bool:
    return one is two or (one is not None and brief(one, WIDTH) == brief(two, WIDTH))


def _joined(parts: list[Value]) -> str:
    return " + ".join(brief(part, WIDTH) for part in parts)


def _made(parts: list[Value], whole: Value) -> str:
    """A sum being made, `1 + 5 = 6`, when it fits on the card; else the sum alone."""
    made = brief(whole, WIDTH - 5)
    if len(parts) == 1:
        return f"grad {made}"
    text = f"{_joined(parts)} = {made}"
    return text if len(text) <= WIDTH else _clip(f"grad {made}")


def _leaf_grads(trace: Trace, leaf: int, ran: list[Step]) -> list[State]:
    """A leaf's row shows `.grad`: None until its `AccumulateGrad` runs, then the sum that it makes."""
    if not trace.steps:
        return []
    sums = {step.index + 1: _leaf_sum(step) for step in ran}
    history = trace.grads_of(leaf)
    states = [] if history and history[0][0] == 0 else [State(0, ".grad not yet")]
    for since, value in history:
        text = ".grad None" if value is None else f".grad {brief(value, WIDTH - 6)}"
        states.append(State(since, _clip(sums.get(since) or text)))
    return states


def _leaf_sum(step: Step) -> str | None:
    """The sum that a leaf's node makes, `1 + 2 = 3`; None where there is none, or it is no plain sum, or too long."""
    got = [value for value in step.received if value is not None]
    if (
        step.before is None
        or not got
        or not _same(total([step.before, *got]), step.after or step.before)
    ):
        return None
    text = f"{_joined([step.before, *got])} = {brief(step.after, WIDTH)}"
    return text if len(text) <= WIDTH else None


def _values(values: list[Value]) -> str:
    """The values of an operation's outputs: as many as fit on a card, and a sign where there are more."""
    parts = [brief(value, WIDTH if len(values) == 1 else WIDTH // 2) for value in values]
    shown = parts[:1]
    for part in parts[1:]:
        more = len(shown) + 1 < len(parts)
        if len("; ".join([*shown, part])) + 3 * more > WIDTH:
            break
        shown.append(part)
    return "; ".join(shown) + ("; …" if len(shown) < len(parts) else "")


def _clip(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _edge_links(
    trace: Trace, by_node: dict[int | None, Card], back: _Backward, shared: float
) -> tuple[list[Link], list[Card]]:
    """One link for each edge; a leaf with many uses is copied into a chip for each."""
    uses = Counter(edge.target for edge in trace.edges)
    links, chips, seen = [], [], Counter[int]()
    for edge in trace.edges:
        head, tail = by_node[edge.source], by_node[edge.target]
        if trace.nodes[edge.target].leaf is not None and uses[edge.target] > shared:
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


def _data_links(trace: Trace, cards: dict[str, Card], uses: dict[str, list[Link]]) -> list[Link]:
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
                tail = tail if again else _chip(tail, uses, born)
                links.append(Link(f"d{len(links)}", tail, head, born, back=again))
    for tensor in trace.leaves:
        made = tensor.op is not None and not trace.ops[tensor.op].factory
        if made and f"o{tensor.op}" in cards:
            links.append(
                Link(
                    f"d{len(links)}",
                    f"o{tensor.op}",
                    _chip(_leaf_id(trace, tensor), uses, 0),
                    op_step(trace, tensor.op or 0),
                )
            )
    return links


def _chip(card: str, uses: dict[str, list[Link]], step: int) -> str:
    """The card, or where it is drawn once for each use, the chip of the last use before a step."""
    links = uses.get(card)
    if not links:
        return card
    return next((link.tail for link in reversed(links) if link.born <= step), links[0].tail)


def _card_of(trace: Trace, tensor: Tensor) -> str:
    if tensor.node is not None:
        return f"n{tensor.node}"
    if tensor.kind != "result":
        return _leaf_id(trace, tensor)
    return f"o{tensor.op}"
