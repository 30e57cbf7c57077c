"""The parts of a recorded run: frozen records, free of torch, that refer to each other by index."""

from __future__ import annotations

from dataclasses import field

from .frozen import frozen
from .value import Value

__all__ = [
    "Block",
    "Edge",
    "Grad",
    "ModuleCall",
    "Node",
    "Op",
    "Saved",
    "Source",
    "Step",
    "TensorVersion",
]


@frozen
class TensorVersion:
    """One version of one tensor: an in-place change makes a new `Tensor` of the same name.

    `kind` is `parameter`, `leaf` (asks for a gradient), `constant` (asks for none) or `result`. `op` is the
    operation that made it (None: it was there before), `node` its `grad_fn`, or for a leaf its `AccumulateGrad`;
    `output_nr` says which output of that node it is. `origin` is the first version of a leaf changed in place.
    `since` counts the steps before it was there, for a leaf's `.grad` that the run reads.
    `block` is the repeated block that a leaf is made anew for, of which it then stands for all `times`.
    """

    index: int
    name: str | None
    kind: str
    value: Value
    op: int | None = None
    node: int | None = None
    output_nr: int = 0
    origin: int | None = None
    since: int = 0
    times: int = 1
    block: int | None = None
    side: str = ""
    other: TensorVersion | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows this tensor."""
        return self.node is not None


@frozen
class Op:
    """One forward operation. `line` and `code` are the source line that ran it, `scope` the module path.

    `inputs` and `outputs` are indices into `Trace.tensors`; `stack` the lines of the learner's code that led
    here, innermost first, as (index into `Trace.sources`, line). `args` is the call as written: indices for
    tensors, text for everything else. An `opaque` operation was not seen, only found; a `factory` makes a leaf.
    `during` is `backward` for an operation of a hook or a custom backward, `recompute` for one of a checkpoint that
    is computed again, and empty otherwise; `within` is the node that was running then.
    `call` is the innermost module call that it ran in, an index into `Trace.calls`.
    `generation` is 2 or more, and `pass_nr` the number of the backward pass, when a pass that is recorded itself
    (`create_graph=True`) ran the operation; see `Node`.

    In a folded trace an operation stands for `holds` operations that ran `times` times: `holds * times` in all.
    `module` is then the class of the module that it is, `parameters` how many leaves with a gradient lie in it
    each time; `block` the repeated block that it is shown in.
    """

    index: int
    name: str
    line: int | None
    code: str
    scope: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    inplace: bool = False
    grad_enabled: bool = True
    opaque: bool = False
    factory: bool = False
    stack: tuple[tuple[int, int], ...] = ()
    args: tuple[int | str, ...] = ()
    within: int | None = None
    during: str = ""
    call: int | None = None
    holds: int = 1
    times: int = 1
    module: str = ""
    parameters: int = 0
    block: int | None = None
    side: str = ""
    other: Op | None = None
    generation: int = 1
    pass_nr: int | None = field(default=None, metadata={"key": "run"})


@frozen
class Saved:
    """A tensor that a node keeps for its backward: its attribute name, its storage and that storage's bytes.

    `tensor` is its index in `Trace.tensors` when the run has seen it, `storage` an ordinal that two saved
    tensors share when they share memory.
    """

    name: str
    storage: int
    nbytes: int
    tensor: int | None = None


@frozen
class Node:
    """One backward function, `name` as PyTorch's `grad_fn.name()` gives it.

    `op` is the operation that made it (None: an `AccumulateGrad`, or older than the recording), `order` its
    place in the last backward run that reached it (None: not reached), `grad` what arrived at its first output
    in that run, `leaf` the tensor that an `AccumulateGrad` fills.

    `generation` is 1 for a node that the forward made. A backward pass with `create_graph=True` makes nodes too: theirs
    is one more than the highest of the nodes that ran in that pass, `pass_nr` is that pass (as in `Step.pass_nr`), and
    `within` the node that was running; None where gradients met, which PyTorch adds between two nodes. No call in
    Python made these nodes, but for those of operations that have a `generation` themselves. `made` is the step that
    made them, and `value` the tensor that hangs from them: its numbers where it was at hand, else its shape. `op` is
    then the call of `grad` that ran the pass, None for `backward`.

    `until` is of a node that a checkpoint's recomputation made: the step that ran the node for which that was, after
    which nothing of what it saved is kept.

    In a folded trace it stands for `holds * times` nodes (those of leaves not counted) and for `edges` edges
    between them; `saved` is then what all of them keep, each storage once; `block` the repeated block
    of a node that has no operation.
    """

    index: int
    name: str
    op: int | None = None
    order: int | None = None
    grad: Value | None = None
    leaf: int | None = None
    saved: tuple[Saved, ...] = ()
    holds: int = 1
    times: int = 1
    edges: int = 0
    side: str = ""
    other: Node | None = None
    generation: int = 1
    pass_nr: int | None = field(default=None, metadata={"key": "run"})
    within: int | None = None
    made: int | None = None
    value: Value | None = None
    block: int | None = None
    until: int | None = None


@frozen
class Edge:
    """One entry of `source`'s `next_functions`: gradients flow from `source` to input `input_nr` of `target`.

    `slot` is the entry's place in `next_functions`, `grad` what flowed in the last backward run, if any did.

    In a folded trace it stands for `times` edges of a repeated block; `grad` is the sum of theirs where `summed` says
    so, else that of the repetition shown. `again` marks an edge whose gradient arrives at another repetition than the
    one that is shown: it is no part of the gradient that is shown there.
    """

    index: int
    source: int
    target: int
    input_nr: int
    slot: int
    grad: Value | None = None
    times: int = 1
    again: bool = False
    summed: bool = False
    side: str = ""
    other: Edge | None = None


@frozen
class Step:
    """One thing that happened: an operation ran (`forward`) or a node ran (`backward`).

    Backward only: `received` holds what arrived at each output of the node (its `grad_outputs`), `passed` pairs of
    edge index and gradient, `before` and `after` a leaf's `.grad` around its accumulation, `pass_nr` the number of the
    backward pass, `freed` whether the node let go of its saved tensors.

    `kept` is what the graph kept alive after it, in bytes, in a folded trace, from which it cannot be counted.
    """

    index: int
    phase: str
    op: int | None = None
    node: int | None = None
    stack: tuple[tuple[int, int], ...] = ()
    received: tuple[Value | None, ...] = ()
    passed: tuple[tuple[int, Value], ...] = ()
    before: Value | None = None
    after: Value | None = None
    pass_nr: int = field(default=0, metadata={"key": "run"})
    freed: bool = False
    side: str = ""
    other: Step | None = None
    kept: int | None = None


@frozen
class ModuleCall:
    """One call of a module: its path and class, and the call inside which it was made."""

    index: int
    path: str
    kind: str
    outer: int | None = None


@frozen
class Block:
    """Operations that ran `times` times in a row (within each time of `outer`) and are shown once.

    Values are those of the last time; gradients those of the last time that one arrived. `label` names the modules
    where every time had its own: `layers.0 … layers.11`. `call` is the innermost module call around all of them.
    """

    index: int
    times: int
    label: str = ""
    outer: int | None = None
    call: int | None = None
    side: str = ""
    other: Block | None = None


@frozen
class Grad:
    """What a leaf's `.grad` held from a step on, when something else than its node put it there.

    `tensor` is the leaf (its first version), `since` the first step, counted from 1, that came after: 0 for what was
    there before the recording, one more than there are steps for what came last. `value` is None for no gradient.
    """

    tensor: int
    since: int
    value: Value | None = None
    side: str = ""


@frozen
class Source:
    """A piece of the learner's code: the body of the recorded block, or a function that it called."""

    title: str
    first: int
    lines: tuple[str, ...]
