"""Cards and links go in; those of a batch norm and of an optimizer's step come out as one card that says what it does.

A batch norm in training is an operation, two buffers that it updates and a counter; an optimizer reads and changes
every parameter. Drawn one by one they hide the graph.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..trace import Op, Trace
from .model import LEAF_KINDS, Card, Link

__all__ = ["those_of", "tidied"]

STATISTICS = ("running_mean", "running_var")
COUNTER = "num_batches_tracked"
"""The buffers of PyTorch's batch norm modules, by the ends of their names."""
MAX_STEP_ARROWS = 2
"""An optimizer that changes more tensors than this says so on its card: their arrows are left out."""


def tidied(trace: Trace, cards: list[Card], links: list[Link]) -> tuple[list[Card], list[Link]]:
    """The same without the cards of statistics, and without the arrows into an optimizer's step."""
    cards, links = _without_statistics(trace, cards, links)
    return cards, _without_step_arrows(trace, cards, links)


def those_of(cards: list[Card], ids: Collection[str]) -> list[Card]:
    """The cards with these ids; one that stood below a card that is not among them stands where it falls."""
    return [
        replace(card, after=card.after if card.after in ids else "")
        for card in cards
        if card.id in ids
    ]


# ---- batch norm ----


def _without_statistics(
    trace: Trace, cards: list[Card], links: list[Link]
) -> tuple[list[Card], list[Link]]:
    """Buffers that a norm alone reads, and their counter, become members of its card."""
    heads: dict[str, set[str]] = {}
    for link in links:
        heads.setdefault(link.tail, set()).add(link.head)
    norms = {card.id: card for card in cards if _is_norm(trace, card)}
    if not norms:
        return cards, links
    by_id = {card.id: card for card in cards}
    norm_of: dict[str, str] = {}
    for card in cards:
        readers = heads.get(card.id, set())
        if card.kind == "constant" and card.title.endswith(STATISTICS) and readers <= norms.keys():
            norm_of[card.id] = min(readers)
    statistics = {by_id[name].title: norm for name, norm in norm_of.items()}
    for card in cards:
        path, _, last = card.title.rpartition(".")
        norm = statistics.get(f"{path}.{STATISTICS[0]}")
        if card.kind == "constant" and last == COUNTER and norm is not None:
            counted = heads.get(card.id, set())
            if all(_counts(trace, by_id[name]) and name not in heads for name in counted):
                norm_of |= dict.fromkeys((card.id, *counted), norm)
    for name, norm in norm_of.items():
        norms[norm].members.append(by_id[name])
    for norm in set(norm_of.values()):
        card = norms[norm]
        is_training = _is_training(trace.ops[card.op or 0])
        card.origin = ("updates" if is_training else "reads") + " its running statistics"
    kept = [card for card in cards if card.id not in norm_of]
    return kept, [link for link in links if not {link.tail, link.head} & norm_of.keys()]


def _is_norm(trace: Trace, card: Card) -> bool:
    return card.op is not None and trace.ops[card.op].name in ("batch_norm", "instance_norm")


def _is_training(op: Op) -> bool:
    return not {"training=False", "use_input_stats=False"} & {
        a for a in op.args if isinstance(a, str)
    }


def _counts(trace: Trace, card: Card) -> bool:
    """Whether a card is the operation that adds one to a counter."""
    return card.op is not None and trace.ops[card.op].name == "add_"


# ---- optimizers ----


def _without_step_arrows(trace: Trace, cards: list[Card], links: list[Link]) -> list[Link]:
    """What an optimizer changes is said on its card, which stands below what ran before it."""
    steps = {c.id: c for c in cards if c.op is not None and trace.ops[c.op].is_optimizer_step}
    if not steps:
        return links
    silent: set[str] = set()
    for card in steps.values():
        card.output = False
        changed = len(trace.ops[card.op or 0].outputs)
        if changed > MAX_STEP_ARROWS:
            card.function = f"changes {changed:,} parameters"
            card.values = []
            card.after = _before(trace, cards, card)
            silent.add(card.id)
    elsewhere = {
        name for each in links if each.head not in silent for name in (each.tail, each.head)
    }
    elsewhere |= silent  # the step before is read as well
    return [each for each in links if each.head not in silent or each.tail not in elsewhere]


def _before(trace: Trace, cards: list[Card], card: Card) -> str:
    """The card of the last operation before an optimizer's step, in the same block if there is one."""
    block = trace.ops[card.op or 0].block
    best, born = "", -1
    for other in cards:
        if other.kind in LEAF_KINDS or other.op is None or not born < other.born < card.born:
            continue
        if not block or trace.ops[other.op].block == block:
            best, born = other.id, other.born
    return best
