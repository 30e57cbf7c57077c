"""The parts of a recorded run: frozen records, free of torch, that refer to each other by index.

Which field is an index into which list is said once, in `references.py`; a saved trace is checked by it, and
comparing and folding renumber by it.

Folding, comparing and recording a backward pass add a few fields to several records, the same everywhere:

- Folding (`fold/`): a record stands for `times` of its kind, one in each repetition of a rolled-up block; `block` is
  that block. An operation or node of a folded module also `holds` several, so it stands for `holds * times`.
- Comparing (`comparison/`): `side` says which run the record belongs to, "A" or "B", and is empty for what both runs
  did; `other` is then the same record as B has it, where that differs from A's.
- Recorded backward passes (`create_graph=True`): `generation` is 1 for what the forward made, and for what a pass made
  one more than the highest of the nodes that ran in it; `pass_nr` is the number of that pass, as in `Step.pass_nr`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, field
from typing import Literal

from .frozen import Record, frozen
from .value import Value

__all__ = [
    "FUNCTION",
    "SKIPPABLE",
    "Block",
    "During",
    "Edge",
    "Grad",
    "ModuleCall",
    "Node",
    "Op",
    "Phase",
    "Saved",
    "Side",
    "Source",
    "Stack",
    "Step",
    "TensorKind",
    "TensorVersion",
]

TensorKind = Literal["parameter", "leaf", "constant", "result"]
"""A leaf that is an `nn.Parameter`, any other leaf, a tensor that asks for no gradient, what an operation computed."""
Phase = Literal["forward", "backward"]
"""What ran in a step: an operation, or a backward node."""
During = Literal["", "backward", "recompute"]
"""Where an operation ran: forward, in a hook or a custom backward, in the recomputation of a checkpoint."""
Side = Literal["", "A", "B"]
"""The run of a comparison that a record belongs to; empty for both, and outside comparisons."""
SKIPPABLE = {"skippable": True}
"""Metadata of a field that a saved trace leaves out where it has its default, and that older readers can do without."""
FUNCTION = "function"
"""What stands for the class of a module in the call of a library's function."""
Stack = tuple[tuple[int, int], ...]
"""Lines of the learner's code, innermost first, as (index into `Trace.sources`, line)."""


@frozen
class TensorVersion(Record):
    """One version of one tensor: an in-place change makes a new `TensorVersion` of the same name.

    `op` is the operation that made it (None: it was there before), `node` its `grad_fn`, or for a leaf its
    `AccumulateGrad`; `output_nr` says which output of that node it is. `origin` is the first version of a leaf that
    was changed in place. `since` counts the steps before it was there, for a leaf's `.grad` that the run reads.
    `owners` are the modules that hold a leaf as a parameter, a buffer or a plain attribute, in themselves or in a
    submodule: the first call of each. What an operation has made of a buffer in place has them too.

    Folding: `block` is the rolled-up block that a leaf is made anew in, of which it then stands for all `times`.
    """

    index: int
    name: str | None
    kind: TensorKind
    value: Value
    _: KW_ONLY
    op: int | None = None
    node: int | None = None
    output_nr: int = 0
    origin: int | None = None
    since: int = 0
    times: int = 1
    block: int | None = None
    side: Side = ""
    other: TensorVersion | None = None
    owners: tuple[int, ...] = field(default=(), metadata=SKIPPABLE)

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows this tensor."""
        return self.node is not None


@frozen
class Op(Record):
    """One forward operation: a call of a torch function, or what was found of one.

    What ran: `inputs` and `outputs` are tensors; `args` is the call as written, indices for tensors and text for
    everything else: of an index `[:, {}]`, where `{}` stands for the tensor that follows; `named` are the tensors that
    were given by keyword, each with that. `inplace` says that it changed an input, `factory` that it made a leaf; an
    `opaque` operation was not seen, only found by its result; one that is `inplace` too, by what it had changed.
    `beside` is how many of the last outputs are no results but inputs that it changed besides: batch norm its running
    statistics.

    Where: `line` and `code` are the source line that ran it, `stack` the lines that led there, `scope` the path of the
    module, `call` the innermost module call, an index into `Trace.calls`.

    In a backward pass: `during` says that a hook, a custom backward or a recomputation ran it, and `within` is the node
    that was running then. `generation` and `pass_nr` are of a pass that is recorded itself.

    Folding: it stands for `holds * times` operations. `module` is the class of the module that was folded into it,
    `parameters` how many leaves with a gradient lie in that module each time, `elements` how many numbers these hold.
    """

    index: int
    name: str
    _: KW_ONLY
    line: int | None
    code: str
    scope: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    inplace: bool = False
    grad_enabled: bool = True
    opaque: bool = False
    factory: bool = False
    stack: Stack = ()
    args: tuple[int | str, ...] = ()
    within: int | None = None
    during: During = ""
    call: int | None = None
    holds: int = 1
    times: int = 1
    module: str = ""
    parameters: int = 0
    block: int | None = None
    side: Side = ""
    other: Op | None = None
    generation: int = 1
    pass_nr: int | None = field(default=None, metadata={"key": "run"})
    beside: int = field(default=0, metadata=SKIPPABLE)
    named: tuple[tuple[int, str], ...] = field(default=(), metadata=SKIPPABLE)
    elements: int = field(default=0, metadata=SKIPPABLE)

    @property
    def results(self) -> tuple[int, ...]:
        """The outputs without those that it changed besides."""
        return self.outputs[: len(self.outputs) - self.beside]

    @property
    def is_optimizer_step(self) -> bool:
        """Whether it is a step of an optimizer, which changes parameters outside the graph."""
        return self.inplace and self.name.endswith(".step")


@frozen
class Saved(Record):
    """A tensor that a node saved for its backward: its attribute name, its storage and that storage's bytes.

    `tensor` is its index in `Trace.tensors` when the run has seen it, `storage` an ordinal that two saved
    tensors share when they share memory. `given` is the tensor that the operation was given on that storage, where it
    is another one: `linear` keeps a view of what it was given.
    """

    name: str
    storage: int
    nbytes: int
    tensor: int | None = None
    given: int | None = field(default=None, metadata=SKIPPABLE)


@frozen
class Node(Record):
    """One backward function, `name` as PyTorch's `grad_fn.name()` gives it.

    What it is: `op` is the operation that made it (None: an `AccumulateGrad`, or older than the recording), `leaf` the
    tensor that an `AccumulateGrad` fills, `saved` what it keeps for its backward. `slots` is the length of its
    `next_functions`, in which there is None, and so no edge, for an input without a gradient; 0 where nobody counted.

    What the backward did: `order` is its place in the last pass that reached it (None: not reached), `grad` what
    arrived at its first output in that pass.

    Made by a recorded backward pass: `pass_nr` is that pass, `within` the node that was running, and None where
    gradients met, which PyTorch adds between two nodes. No call in Python made these nodes, but for those of operations
    that have a `generation` themselves. `made` is the step that made them, and `value` the tensor that hangs from them:
    its numbers where they were at hand, else its shape. `op` is then the call of `grad` that ran the pass, None for
    `backward`.

    Made by a checkpoint's recomputation: `until` is the step that ran the node that it was recomputed for, after which
    nothing of what it saved is kept.

    Folding: it stands for `holds * times` nodes (those of leaves not counted), whose slots follow each other, and for
    `edges` edges between them;
    `saved` is then what all of them keep, each storage once; `block` is that of a node that has no operation.
    """

    index: int
    name: str
    _: KW_ONLY
    op: int | None = None
    order: int | None = None
    grad: Value | None = None
    leaf: int | None = None
    saved: tuple[Saved, ...] = ()
    holds: int = 1
    times: int = 1
    edges: int = 0
    side: Side = ""
    other: Node | None = None
    generation: int = 1
    pass_nr: int | None = field(default=None, metadata={"key": "run"})
    within: int | None = None
    made: int | None = None
    value: Value | None = None
    block: int | None = None
    until: int | None = None
    slots: int = field(default=0, metadata=SKIPPABLE)


@frozen
class Edge(Record):
    """One entry of `source`'s `next_functions`: gradients flow from `source` to input `input_nr` of `target`.

    `slot` is the entry's position in `next_functions`, `grad` what flowed in the last backward pass, if any did.

    Folding: it stands for `times` edges of a rolled-up block; `grad` is the sum of theirs where `summed` says so, else
    that of the repetition shown. `again` marks an edge whose gradient arrives at another repetition than the one that
    is shown: it is no part of the gradient that is shown there.
    """

    index: int
    source: int
    target: int
    input_nr: int
    slot: int
    _: KW_ONLY
    grad: Value | None = None
    times: int = 1
    again: bool = False
    summed: bool = False
    side: Side = ""
    other: Edge | None = None


@frozen
class Step(Record):
    """One thing that happened: the operation `op` ran (`forward`), or the node `node` ran (`backward`).

    Backward only: `received` holds what arrived at each output of the node (its `grad_outputs`), `passed` pairs of
    edge index and gradient, `before` and `after` a leaf's `.grad` around its accumulation, `pass_nr` the number of the
    backward pass, `freed` whether the node let go of its saved tensors.

    As tensors of the run: `given` are those with which the caller began the pass at this node, `arrived` those that a
    custom backward received, `returned` what such a backward returned for each entry of `passed`, where all are known.

    Folding: `kept` is what the graph kept alive after it, in bytes, which cannot be counted from a folded trace.
    """

    index: int
    phase: Phase
    _: KW_ONLY
    op: int | None = None
    node: int | None = None
    stack: Stack = ()
    received: tuple[Value | None, ...] = ()
    passed: tuple[tuple[int, Value], ...] = ()
    before: Value | None = None
    after: Value | None = None
    pass_nr: int = field(default=0, metadata={"key": "run"})
    freed: bool = False
    side: Side = ""
    other: Step | None = None
    kept: int | None = None
    given: tuple[int, ...] = field(default=(), metadata=SKIPPABLE)
    arrived: tuple[int, ...] = field(default=(), metadata=SKIPPABLE)
    returned: tuple[int, ...] = field(default=(), metadata=SKIPPABLE)


@frozen
class ModuleCall(Record):
    """One call of a module: its path and class, and the call inside which it was made, which has a lower index.

    `first` is the first call of the same module, None for that itself. A call of a library's function that ran several
    operations is one too: its `kind` is `FUNCTION`, its path the function's name.
    """

    index: int
    path: str
    kind: str
    outer: int | None = None
    first: int | None = field(default=None, metadata=SKIPPABLE)


@frozen
class Block(Record):
    """Operations that ran `times` times in a row (within each time of `outer`) and are shown once.

    Values are those of the last time; gradients those of the last time that one arrived. `label` names the modules
    where every time had its own: `layers.0 … layers.11`. `call` is the innermost module call around all of them.
    """

    index: int
    times: int
    _: KW_ONLY
    label: str = ""
    outer: int | None = None
    call: int | None = None
    side: Side = ""
    other: Block | None = None


@frozen
class Grad(Record):
    """What a leaf's `.grad` held from a step on, when something else than its node put it there.

    `tensor` is the leaf (its first version), `since` the first step, counted from 1, that came after: 0 for what was
    there before the recording, one more than there are steps for what came last. `value` is None for no gradient.
    """

    tensor: int
    since: int
    value: Value | None = None
    side: Side = ""


@frozen
class Source(Record):
    """A piece of the learner's code: the body of the recorded block, or a function that it called.

    `first` is the number of its first line.
    """

    title: str
    first: int
    lines: tuple[str, ...]
