"""A trace and a plan of what stands for what go in, the smaller trace comes out.

Operations, nodes and tensors that share a representative become one; everything that stays is numbered anew, in
the old order. Counts, saved storages and gradients are taken over from what was recorded: nothing is estimated.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from ..trace import Edge, Grad, Node, Op, Saved, Step, TensorVersion, Trace
from ..trace.frozen import altered
from ..trace.memory import kept_after_steps
from ..trace.value import Value, sum_values
from .edges import EdgeGroup, EdgeGroups
from .plan import Plan

__all__ = ["Contraction", "contract"]


class Contraction(EdgeGroups):
    """Puts the parts that stay into new numbers."""

    def run(self) -> Trace:
        """The smaller trace."""
        trace, plan = self.trace, self.plan
        self.bundle()
        self.number()
        steps, orders, grads = self._steps()
        edges = tuple(self._edge(bundle) for bundle in self.bundles)
        root = None if trace.root is None else plan.tensor[trace.root]
        return Trace(
            tensors=tuple(self.tensors()),
            ops=tuple(self.ops()),
            nodes=tuple(self._nodes(orders, grads)),
            edges=edges,
            steps=tuple(steps),
            sources=trace.sources,
            calls=trace.calls,
            blocks=plan.blocks,
            root=None if root is None else self.new_tensor[root],
            error=trace.error,
            grads=tuple(self._grads()),
        )

    def number(self) -> None:
        """Give what stays its new numbers."""
        self._step_of: dict[int, int] = {}  # by old step: the new one that stands for it
        self._ends: list[int] = []  # by new step: the last of the old steps that it stands for
        self.new_op = {old: i for i, old in enumerate(sorted(set(self.plan.op)))}
        self.new_node = {old: i for i, old in enumerate(sorted(self.members))}
        stay = sorted({t for t in self.plan.tensor if t is not None})
        self.new_tensor = {old: i for i, old in enumerate(stay)}

    def _edge(self, bundle: EdgeGroup) -> Edge:
        grad = bundle.shown.grad
        if bundle.summed:
            grad = self._sums.get(bundle.index, grad)
        return Edge(
            bundle.index,
            self.new_node[bundle.source],
            self.new_node[bundle.target],
            bundle.input_nr,
            bundle.shown.slot,
            grad=grad,
            times=bundle.times,
            again=bundle.again,
            summed=bundle.shown.summed or bundle.index in self._sums,
        )

    # ---- steps ----

    def _steps(self) -> tuple[list[Step], dict[int, int], dict[int, Value | None]]:
        trace, plan, kept = self.trace, self.plan, kept_after_steps(self.trace)
        parts: dict[tuple[int, int, int], list[Step]] = {}
        arrivals: Counter[tuple[int, int, int]] = Counter()
        received: dict[tuple[int, int], tuple[Value | None, ...]] = {}
        for step in trace.steps:
            if step.op is not None:
                parts.setdefault((0, plan.op[step.op], 0), []).append(step)
            elif step.node is not None:
                node = plan.node[step.node]
                node = plan.home.get(step.node) if node is None else node
                if node is not None:
                    run = plan.runs.get(step.pass_nr, step.pass_nr)
                    parts.setdefault((1, node, run), []).append(step)
                received[step.node, step.pass_nr] = step.received
                for index, _ in step.passed:
                    edge = trace.edges[index]
                    arrivals[edge.target, edge.input_nr, step.pass_nr] += 1
        self._sums: dict[int, Value] = {}
        steps: list[Step] = []
        orders: dict[int, int] = {}
        grads: dict[int, Value | None] = {}
        ran: Counter[int] = Counter()
        for (backward, key, run), group in sorted(parts.items(), key=lambda p: p[1][-1].index):
            at, last = len(steps), group[-1]
            self._step_of.update((step.index, at) for step in group)
            self._ends.append(last.index)
            bytes_kept = kept[last.index]
            if not backward:
                op = plan.ops.get(key, trace.ops[key])
                steps.append(
                    Step(at, "forward", op=self.new_op[key], stack=op.stack, kept=bytes_kept)
                )
                continue
            freed = any(step.freed for step in group)
            group = [step for step in group if step.pass_nr == run] or [last]
            by_node = {step.node: step for step in group}
            shown = by_node.get(self.shown[key], group[-1])
            passed = self._passed(group, run, arrivals, received)
            got = shown.received
            if self.grouped(key):
                places = self.entries.get(key, {})
                got = tuple(_nth(by_node.get(node), nr) for node, nr in places)
                grads[key] = next((value for value in got if value is not None), None)
            orders[key] = ran[run]
            ran[run] += 1
            steps.append(
                altered(
                    shown,
                    index=at,
                    node=self.new_node[key],
                    received=got,
                    passed=passed,
                    before=shown.before if plan.node[shown.node or 0] == key else None,
                    after=shown.after if plan.node[shown.node or 0] == key else None,
                    freed=freed,
                    kept=bytes_kept,
                )
            )
        return steps, orders, grads

    def _passed(
        self,
        group: list[Step],
        run: int,
        arrivals: Counter[tuple[int, int, int]],
        received: dict[tuple[int, int], tuple[Value | None, ...]],
    ) -> tuple[tuple[int, Value], ...]:
        """What merged nodes passed on: by edge that stays, the gradient shown or the sum of all."""
        found: dict[int, list[tuple[int, Value]]] = {}
        for step in group:
            for index, value in step.passed:
                bundle = self.bundle_of.get(index)
                if bundle is not None:
                    found.setdefault(bundle.index, []).append((index, value))
        passed: list[tuple[int, Value]] = []
        for number in sorted(found):
            bundle, values = self.bundles[number], found[number]
            edge = bundle.shown
            if bundle.summed and len(values) > 1:
                value = None
                if arrivals[edge.target, edge.input_nr, run] == len(values):  # PyTorch's own sum
                    step = received.get((edge.target, run), ())
                    value = step[edge.input_nr] if edge.input_nr < len(step) else None
                value = sum_values([v for _, v in values]) if value is None else value
                self._sums[number] = value
                passed.append((number, value))
            else:
                passed += [(number, v) for i, v in values if bundle.summed or i == edge.index]
        return tuple(passed)

    # ---- what stays ----

    def _grads(self) -> Iterable[Grad]:
        for change in self.trace.grads:
            leaf = self.plan.tensor[change.tensor]
            if leaf is not None:
                since = 1 + bisect_left(self._ends, change.since - 1) if change.since else 0
                yield Grad(self.new_tensor[leaf], since, change.value)

    def _new_node(self, old: int | None) -> int | None:
        if old is None:
            return None
        new = self.plan.node[old]
        new = self.plan.home.get(old) if new is None else new
        return None if new is None else self.new_node[new]

    def tensors(self) -> Iterable[TensorVersion]:
        """The tensors that stay."""
        plan = self.plan
        times: Counter[int] = Counter()
        for old, new in enumerate(plan.tensor):
            if new is not None:
                times[new] += self.trace.tensors[old].times
        for old, new in self.new_tensor.items():
            tensor = self.trace.tensors[old]
            node = None if tensor.node is None else plan.node[tensor.node]
            origin = None if tensor.origin is None else plan.tensor[tensor.origin]
            entry = self.entries.get(-1 if node is None else node, {})
            nr = entry.get((tensor.node or 0, tensor.output_nr), tensor.output_nr)
            yield altered(
                tensor,
                index=new,
                # a new version of a leaf that is folded away is what an optimizer has made
                kind="result" if tensor.origin is not None and origin is None else tensor.kind,
                op=None if tensor.op is None else self.new_op[plan.op[tensor.op]],
                node=None if node is None else self.new_node[node],
                output_nr=nr,
                origin=None if origin is None else self.new_tensor[origin],
                since=bisect_left(self._ends, tensor.since),
                times=times[old] if tensor.kind != "result" else 1,
                block=plan.inside.get(old, tensor.block),
            )

    def ops(self) -> Iterable[Op]:
        """The operations that stay."""
        held: Counter[int] = Counter()
        for old, new in enumerate(self.plan.op):
            held[new] += self.trace.ops[old].holds * self.trace.ops[old].times
        for old, new in self.new_op.items():
            op = self.plan.ops.get(old, self.trace.ops[old])
            inputs, args = self._inputs(op)
            stay = (self.plan.tensor[i] for i in op.outputs)
            outputs = tuple(dict.fromkeys(self.new_tensor[i] for i in stay if i is not None))
            yield altered(
                op,
                index=new,
                inputs=inputs,
                outputs=outputs,
                args=args,
                holds=held[old] // op.times,
                within=self._new_node(op.within),
                pass_nr=None if op.pass_nr is None else self.plan.runs.get(op.pass_nr, op.pass_nr),
            )

    def _inputs(self, op: Op) -> tuple[tuple[int, ...], tuple[int | str, ...]]:
        """An operation's inputs and arguments in new numbers; tensors that have become one stand there once."""
        standing, new_tensor = self.plan.tensor, self.new_tensor
        if op.args == op.inputs and all(standing[i] == i for i in op.inputs):  # most often
            inputs = tuple([new_tensor[i] for i in op.inputs])
            return inputs, inputs
        first: dict[int, int] = {}
        count: dict[int, set[int]] = {}
        for index in (*op.inputs, *(a for a in op.args if isinstance(a, int))):
            new = self.plan.tensor[index]
            if new is not None:
                first.setdefault(new, index)
                count.setdefault(new, set()).add(index)
        stays = {old: new for new, old in first.items()}
        inputs = tuple(self.new_tensor[stays[i]] for i in op.inputs if i in stays)
        args: list[int | str] = []
        for arg in op.args:
            if isinstance(arg, str):
                args.append(arg)
            elif arg in stays:
                args.append(self.new_tensor[stays[arg]])
                several = len(count[stays[arg]])
                if several > 1 and op.index not in self.plan.ops:
                    args.append(f"… {several} in all")
        return inputs, tuple(args)

    def _nodes(self, orders: dict[int, int], grads: dict[int, Value | None]) -> Iterable[Node]:
        for old, new in self.new_node.items():
            olds, node = self.members[old], self.trace.nodes[old]
            op = None if node.op is None else self.plan.op[node.op]
            leaf = None if node.leaf is None else self.plan.tensor[node.leaf]
            holds, times = self.counts(old)
            if self.grouped(old):  # a folded module, whatever generations lie in it
                node = altered(node, generation=1, pass_nr=None, within=None, made=None, value=None)
            yield altered(
                node,
                index=new,
                pass_nr=None
                if node.pass_nr is None
                else self.plan.runs.get(node.pass_nr, node.pass_nr),
                within=self._new_node(node.within),
                made=None if node.made is None else self._step_of.get(node.made),
                until=self._until(olds),
                op=None if op is None else self.new_op[op],
                order=orders.get(old),
                grad=grads[old] if old in grads else self.trace.nodes[self.shown[old]].grad,
                leaf=None if leaf is None else self.new_tensor[leaf],
                saved=self._saved(old, olds),
                name=self.name(old, holds),
                holds=holds,
                times=times,
                edges=self.inner[old] + sum(self.trace.nodes[i].edges for i in olds),
            )

    def name(self, node: int, holds: int) -> str:
        """What a node that holds so many is called."""
        one = self.trace.nodes[node]
        return one.name if holds == 1 or one.holds == holds else f"{holds} nodes"

    def counts(self, node: int) -> tuple[int, int]:
        """How many nodes each time, and how many times, a node stands for."""
        nodes, op = [self.trace.nodes[i] for i in self.members[node]], self.trace.nodes[node].op
        if op is None:
            return 1, sum([each.times for each in nodes])
        op = self.plan.op[op]
        times = self.plan.ops.get(op, self.trace.ops[op]).times
        return sum([each.holds * each.times for each in nodes]) // times, times

    def _until(self, nodes: list[int]) -> int | None:
        """The step that ends the last of merged nodes, when each is ended that has saved something."""
        ends = [self.trace.nodes[i].until for i in nodes if self.trace.nodes[i].saved]
        known = [end for end in ends if end is not None]
        return self._step_of.get(max(known)) if known and len(known) == len(ends) else None

    def _saved(self, shown: int, nodes: list[int]) -> tuple[Saved, ...]:
        """What merged nodes keep, each storage once; a single node's list as it is."""
        rows = [
            s for i in (shown, *(n for n in nodes if n != shown)) for s in self.trace.nodes[i].saved
        ]
        if len(nodes) > 1:
            once: dict[int, Saved] = {}
            for saved in rows:
                once.setdefault(saved.storage, saved)
            rows = list(once.values())
        return tuple([self._kept(saved) for saved in rows])

    def _kept(self, saved: Saved) -> Saved:
        if saved.tensor is None:
            return saved
        new = self.plan.tensor[saved.tensor]
        tensor = None if new is None else self.new_tensor[new]
        return Saved(saved.name, saved.storage, saved.nbytes, tensor)


def _nth(step: Step | None, place: int) -> Value | None:
    return step.received[place] if step is not None and place < len(step.received) else None


def contract(trace: Trace, plan: Plan) -> Trace:
    """The trace in which every part is replaced by what stands for it; itself when the plan changes no operation."""
    if not plan.ops:
        return trace
    return Contraction(trace, plan).run()
