"""Exercise `grow_layer`: a layer gets new units while it trains, and its optimizer goes on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import StepLR

from ...grading import Drawn, Exercise, Right, Wrong, counted, drawn, expect, near, tried
from ..networks import linear

__all__ = ["EXERCISE"]

MEANS = ("exp_avg", "exp_avg_sq")
ZERO = "What a new unit says must not be heard yet: which of its two weights can be 0 without keeping it from learning?"
TIED = "Who else in the model holds it? named_parameters() tells a shared parameter once, whoever holds it."
TIES, SIGMOID = ", with tied parameters", ", with a sigmoid between the layers"
PLACE = "A new Parameter is another object: find the old one in its group, and put the new one into its place."


class Model(nn.Module):
    """Two layers, a third one beside; if asked for, layers that hold the parameters of both."""

    def __init__(self, draw: Drawn, sizes: tuple[int, int, int], kind: str) -> None:
        super().__init__()
        into, hidden, out = sizes
        self.act = torch.sigmoid if kind == SIGMOID else torch.tanh
        self.first, self.second, self.beside = (
            linear(draw, into, hidden),
            linear(draw, hidden, out),
            linear(draw, into, out),
        )
        self.tied = nn.ModuleDict()
        if kind == TIES:
            again, embedding = linear(draw, into, hidden), nn.Embedding(out, hidden)
            again.weight, again.bias = self.first.weight, self.first.bias
            embedding.weight = self.second.weight
            self.tied = nn.ModuleDict({"again": again, "embedding": embedding})

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.first(x))
        if self.tied:
            hidden = hidden + torch.tanh(self.tied["again"](x.flip(0)))
            words = torch.arange(len(x)) % self.second.out_features
            hidden = hidden + self.tied["embedding"](words)
        return self.second(hidden) + self.beside(x)  # type: ignore[no-any-return]


class Net:
    """A model, Adam with two groups, a scheduler."""

    def __init__(self, draw: Drawn, sizes: tuple[int, int, int], kind: str = "") -> None:
        self.model = Model(draw, sizes, kind)
        self.first, self.second, beside = self.model.first, self.model.second, self.model.beside
        self.x, self.y = draw.normal(6, sizes[0]), draw.normal(6, sizes[2])
        self.optimizer: Optimizer = Adam(
            [
                {
                    "params": [beside.weight, self.first.weight, self.first.bias],
                    "lr": 0.03,
                    "betas": (0.8, 0.95),
                },
                {
                    "params": [self.second.bias, self.second.weight, beside.bias],
                    "lr": 0.01,
                    "weight_decay": 0.1,
                },
            ]
        )
        self.scheduler = StepLR(self.optimizer, 2, 0.5)

    def output(self) -> Tensor:
        return self.model(self.x)  # type: ignore[no-any-return]

    def step(self) -> None:
        self.optimizer.zero_grad()
        (self.output() - self.y).square().mean().backward()
        self.optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a copied scheduler knows the step of another optimizer
            self.scheduler.step()

    def named(self) -> dict[str, nn.Parameter]:
        """The parameters of the three layers."""
        return {name: p for name, p in self.holders().items() if not name.startswith("tied")}

    def holders(self) -> dict[str, nn.Parameter]:
        """Every name under which the model holds a parameter: a tied one has two."""
        return dict(self.model.named_parameters(remove_duplicate=False))


def check_grow_layer(grow: Callable[..., Any]) -> None:
    """`grow(model, first, second, extra, optimizer)` adds units between two layers."""
    for sizes, extra, steps, kind in (
        ((2, 1, 1), 1, 3, ""),
        ((3, 2, 1), 1, 3, ""),
        ((2, 3, 4), 2, 2, ""),
        ((3, 3, 3), 3, 3, ""),
        ((2, 2, 1), 1, 0, ""),
        ((2, 1, 1), 1, 3, SIGMOID),
        ((2, 1, 1), 1, 3, TIES),
        ((2, 3, 4), 2, 0, TIES),
    ):
        words = f"{counted(sizes[1], 'unit')} and {extra} more, after {counted(steps, 'step')}"
        _judge(grow, Net(Drawn(sum(sizes)), sizes, kind), extra, steps, words + kind)
    for kind in ("", TIES):
        net = Net(Drawn(2), (2, 3, 2), kind)
        _judge(grow, net, 2, 3, f"a first growth{kind}")
        _judge(grow, net, 1, 2, f"a second growth{kind}")
    draw = drawn()
    sizes = draw.whole(1, 4), draw.whole(1, 4), draw.whole(1, 4)
    kind = ("", TIES, SIGMOID)[draw.whole(0, 2)]
    _judge(grow, Net(draw, sizes, kind), draw.whole(1, 3), 3, f"sizes {sizes}{kind} ({draw})")


def _judge(grow: Any, net: Net, extra: int, steps: int, words: str) -> None:
    for _ in range(steps):
        net.step()
    n, before, output = net.first.out_features, net.named(), net.output().detach()
    holders = net.holders()
    twin = copy.deepcopy(net)
    states = {name: dict(net.optimizer.state.get(p, {})) for name, p in before.items()}
    places = {
        id(p): (g, i)
        for g, group in enumerate(net.optimizer.param_groups)
        for i, p in enumerate(group["params"])
    }
    layout = {name: places[id(p)] for name, p in before.items()}
    groups = list(net.optimizer.param_groups)
    grow(net.model, net.first, net.second, extra, net.optimizer)
    where = f"for {words}"
    shapes = [
        tuple(net.first.weight.shape),
        tuple(net.first.bias.shape),
        tuple(net.second.weight.shape),
    ]
    want = [(n + extra, net.first.in_features), (n + extra,), (net.second.out_features, n + extra)]
    expect(
        shapes == want,
        f"The shapes are {shapes}; they should be {want}, {where}.",
        "Rows of the first layer, columns of the second.",
    )
    features = net.first.out_features, net.second.in_features
    expect(
        features == (n + extra,) * 2,
        f"The layers say {features} units; there are {n + extra}, {where}.",
        "out_features and in_features are shown and saved.",
    )
    _judge_ties(net, holders, where)
    distance = float((net.output() - output).detach().abs().max())
    expect(distance < 1e-10, f"The output has moved, {where}: by {distance:.3g}.", ZERO)
    _judge_groups(net, groups, layout, where)
    _judge_states(net, states, n, where)
    old = torch.tensor([p.requires_grad and p.is_leaf for p in net.named().values()])
    expect(
        bool(old.all()),
        f"A parameter does not ask for gradients, {where}.",
        "nn.Parameter, made of numbers without a history.",
    )
    _judge_next(net, twin, n, where)


def _judge_ties(net: Net, before: dict[str, nn.Parameter], where: str) -> None:
    """Names that meant one parameter before still do."""
    now = net.holders()
    names = {id(before[name]): name for name in net.named()}
    for other, old in before.items():
        name = names[id(old)]
        one, two = now.get(other), now[name]
        expect(
            one is two or one is not old,
            f"{other} is still the old parameter; {name} is a new one, {where}.",
            TIED,
        )
        expect(
            one is two,
            f"{other} and {name} were one parameter and are two, {where}.",
            "Equal numbers drift apart at the next step: an equal parameter is another one.",
        )


def _judge_groups(
    net: Net, groups: list[Any], layout: dict[str, tuple[int, int]], where: str
) -> None:
    optimizer = net.optimizer
    expect(
        len(optimizer.param_groups) == len(groups)
        and all(a is b for a, b in zip(optimizer.param_groups, groups, strict=True)),
        f"The optimizer's groups are other ones than before, {where}.",
        "The scheduler holds the groups that are there: their rates, their decay, their betas stay as they are.",
    )
    found: dict[int, list[tuple[int, int]]] = {}
    for g, group in enumerate(groups):
        for i, p in enumerate(group["params"]):
            found.setdefault(id(p), []).append((g, i))
    named = net.named()
    for name, p in named.items():
        expect(found.get(id(p)), f"{name} is in no group of the optimizer, {where}.", PLACE)
        expect(
            len(found[id(p)]) == 1,
            f"{name} is in the optimizer {len(found[id(p)])} times, {where}.",
            PLACE,
        )
        expect(
            found[id(p)] == [layout[name]],
            f"{name} has moved from place {layout[name]} (group, index) to {found[id(p)][0]}, {where}.",
            PLACE,
        )
    strangers = len(found) - len(named)
    kept = [p for p in optimizer.state if id(p) not in {id(q) for q in named.values()}]
    expect(
        not strangers and not kept,
        f"A parameter that is in no layer any more is left in the optimizer, {where}.",
        "Its state, too: pop it.",
    )


def _judge_states(net: Net, states: dict[str, dict[str, Any]], n: int, where: str) -> None:
    for name, p in net.named().items():
        old, new = states[name], net.optimizer.state.get(p, {})
        if not old:
            expect(
                not new,
                f"{name} had no state, and has one now, {where}.",
                "Adam makes it at its first step.",
            )
            continue
        for key in MEANS:
            mean = new.get(key)
            expect(
                isinstance(mean, Tensor) and mean.shape == p.shape,
                f"{key} of {name} has the shape {tuple(getattr(mean, 'shape', ()))}; "
                f"{name} has {tuple(p.shape)}, {where}.",
                "What Adam remembers grows with its parameter.",
            )
            assert isinstance(mean, Tensor)
            grown = torch.zeros_like(p)
            inside = tuple(slice(0, size) for size in old[key].shape)
            grown[inside] = old[key]
            expect(
                near(mean[inside], old[key]),
                f"{key} of the old entries of {name} is not what it was, {where}.",
                "It moves with the entries that it belongs to.",
            )
            expect(
                near(mean, grown),
                f"{key} of the new entries of {name} is not 0, {where}.",
                "No gradient has come to them yet.",
            )
        expect(
            float(new["step"]) == float(old["step"]),
            f"{name} was at step {float(old['step']):g} and is at {float(new['step']):g}, {where}.",
            "Bias correction goes on.",
        )


def _judge_next(net: Net, twin: Net, n: int, where: str) -> None:
    """Three more steps: old entries move as without growth, and the new units learn, each for itself."""
    for nth in (1, 2, 3):
        net.step()
        twin.step()
        if nth == 1:
            olds = [
                (net.first.weight[:n], twin.first.weight),
                (net.second.weight[:, :n], twin.second.weight),
                (net.first.bias[:n], twin.first.bias),
            ]
            expect(
                all(near(a, b, 1e-9) for a, b in olds),
                f"The next step moves the old entries in another way than without growth, {where}.",
                "Their gradients are the same, if the new units are not heard; is what Adam remembers, too?",
            )
    rates = [[g["lr"] for g in each.optimizer.param_groups] for each in (net, twin)]
    expect(
        rates[0] == rates[1],
        f"Three steps later the rates are {rates[0]}; without growth they are {rates[1]}, {where}.",
        "The scheduler still holds the old groups.",
    )
    grads = torch.cat([net.first.weight.grad[n:], net.second.weight.grad[:, n:].T], 1)  # type: ignore[index]
    expect(
        bool((grads != 0).any(1).all()),
        f"Three steps later a new unit gets no gradient, {where}.",
        ZERO,
    )
    parts = [net.first.weight, net.first.bias.unsqueeze(1), net.second.weight.T]
    units = torch.cat(parts, 1).detach()
    twins = [
        i
        for i in range(n, len(units))
        for j in range(len(units))
        if j != i and near(units[i], units[j])
    ]
    expect(
        not twins,
        f"Three steps later a new unit is the twin of another one, {where}.",
        "Units with the same weights get the same gradients, for ever.",
    )


# ---- right answers ----


def by_cat(
    model: nn.Module, first: nn.Linear, second: nn.Linear, extra: int, optimizer: Optimizer
) -> None:
    fresh = torch.randn(extra, first.in_features, dtype=first.weight.dtype) / first.in_features**0.5
    for layer, name, dim, new in (
        (first, "weight", 0, fresh),
        (first, "bias", 0, torch.zeros(extra).to(fresh)),
        (second, "weight", 1, torch.zeros(second.out_features, extra).to(fresh)),
    ):
        old = getattr(layer, name)
        grown = nn.Parameter(torch.cat([old.detach(), new], dim))
        for module in model.modules():
            for key, p in list(module.named_parameters(recurse=False)):
                if p is old:
                    setattr(module, key, grown)
        for group in optimizer.param_groups:
            group["params"] = [grown if p is old else p for p in group["params"]]
        state = optimizer.state.pop(old, None)
        if state:
            for mean in MEANS:
                state[mean] = torch.cat([state[mean], torch.zeros_like(new)], dim)
            optimizer.state[grown] = state
    first.out_features = second.in_features = first.out_features + extra


def in_a_bigger_box(
    model: nn.Module, first: nn.Linear, second: nn.Linear, extra: int, optimizer: Optimizer
) -> None:
    """Zeros of the new shape, into which the old numbers are written; then new numbers for what comes in."""
    n = first.out_features

    def box(old: Tensor, shape: tuple[int, ...]) -> Tensor:
        new = old.detach().new_zeros(shape)
        new[tuple(map(slice, old.shape))] = old.detach()
        return new

    for layer, name in ((first, "weight"), (first, "bias"), (second, "weight")):
        old = layer._parameters[name]
        assert old is not None
        shape = (old.shape[0], n + extra) if layer is second else (n + extra, *old.shape[1:])
        new = nn.Parameter(box(old, shape))
        for path, p in list(model.named_parameters(remove_duplicate=False)):
            if p is old:
                module, _, last = path.rpartition(".")
                model.get_submodule(module)._parameters[last] = new
        for group in optimizer.param_groups:
            for i, p in enumerate(group["params"]):
                if p is old:
                    group["params"][i] = new
        if old in optimizer.state:
            kept = optimizer.state.pop(old)
            optimizer.state[new] = {k: box(v, shape) if k in MEANS else v for k, v in kept.items()}
    with torch.no_grad():
        first.weight[n:].normal_()
        first.bias[n:].uniform_(-0.5, 0.5)
    first.out_features, second.in_features = n + extra, n + extra


# ---- wrong answers ----


def _elsewhere(model: nn.Module, old: nn.Parameter, new: nn.Parameter, mistake: str) -> int:
    """The new parameter is given to whoever holds the old one; how many there were."""
    modules = model.children() if mistake == "in children only" else model.modules()
    held = [(m, n) for m in modules for n, p in m.named_parameters(recurse=False) if p is old]
    if mistake == "weights only":
        held = [(m, n) for m, n in held if n == "weight"]
    for module, name in held:
        copied = nn.Parameter(new.detach().clone())
        setattr(module, name, copied if mistake == "a copy for each" else new)
    return len(held)


def _grow(
    model: nn.Module,
    first: nn.Linear,
    second: nn.Linear,
    extra: int,
    optimizer: Optimizer,
    mistake: str = "",
) -> None:
    n = first.out_features
    fresh = torch.randn(extra, first.in_features, dtype=first.weight.dtype)
    out = torch.zeros(second.out_features, extra, dtype=fresh.dtype)
    bias = torch.zeros(extra, dtype=fresh.dtype)
    if mistake in ("zeros in and out", "zeros in, random out"):
        fresh.zero_()
    if mistake == "equal units":
        fresh[:] = first.weight.detach()[0] + 1
    if mistake in ("copied without halving", "copied and halved"):
        source = [i % n for i in range(extra)]
        fresh, bias = first.weight.detach()[source].clone(), first.bias.detach()[source].clone()
        out = second.weight.detach()[:, source].clone()
        if mistake == "copied and halved":
            counts = torch.bincount(torch.tensor([*range(n), *source]), minlength=n)
            with torch.no_grad():
                second.weight /= counts
            out = second.weight.detach()[:, source].clone()
    if mistake in ("heard at once", "zeros in, random out"):
        out = torch.randn_like(out)
    if mistake == "in front":
        fresh = fresh.flip(0)
    olds = []
    for layer, name, dim, new in (
        (first, "weight", 0, fresh),
        (first, "bias", 0, bias),
        (second, "weight", 1, out),
    ):
        old = getattr(layer, name)
        parts = [new, old.detach()] if mistake == "in front" else [old.detach(), new]
        grown: Any = nn.Parameter(torch.cat(parts, dim))
        if mistake == "in .data":
            old.data = grown.data
            continue
        setattr(layer, name, grown)
        more = 0 if mistake == "the two layers only" else _elsewhere(model, old, grown, mistake)
        olds.append((old, grown))
        if mistake in ("not told", "a new optimizer", "a group of their own"):
            continue
        for group in optimizer.param_groups:
            group["params"] = [grown if p is old else p for p in group["params"]]
            if mistake == "at the end" and any(p is grown for p in group["params"]):
                group["params"] = [p for p in group["params"] if p is not grown] + [grown]
            if mistake == "once for each holder" and any(p is grown for p in group["params"]):
                group["params"] = [*group["params"], *[grown] * more]
            if mistake == "the old one stays" and any(p is grown for p in group["params"]):
                group["params"] = [*group["params"], old]
        state = (
            optimizer.state.pop(old, None)
            if mistake != "the old state stays"
            else dict(optimizer.state.get(old, {}))
        )
        if state and mistake != "state begins anew":
            for mean in MEANS:
                more = torch.ones_like(new) if mistake == "means of 1" else torch.zeros_like(new)
                if mistake != "means of the old shape":
                    state[mean] = torch.cat([state[mean], more], dim)
            if mistake == "steps begin anew":
                state["step"] = torch.zeros_like(state["step"])
            optimizer.state[grown] = state
    if mistake != "features":
        first.out_features = second.in_features = n + extra
    if mistake == "a group of their own":
        optimizer.add_param_group({"params": [grown for _, grown in olds], "lr": 0.01})
    if mistake == "a new optimizer":
        swap = {id(old): grown for old, grown in olds}
        settings = [
            {**g, "params": [swap.get(id(p), p) for p in g["params"]]}
            for g in optimizer.param_groups
        ]
        optimizer.__init__(settings)  # type: ignore[misc]
    if mistake == "groups copied":
        optimizer.param_groups = [dict(group) for group in optimizer.param_groups]


SAYS = {
    "zeros in and out": "unit gets",
    "equal units": "the twin",
    "copied without halving": "moved, for 1 unit and 1 more, after 3 steps:",
    "copied and halved": "The next",
    "heard at once": "moved, for 1 unit and 1 more, after 3 steps:",
    "zeros in, random out": "with a sigmoid",
    "in .data": "shape (1,",
    "not told": "no group",
    "a new optimizer": "The optimizer's",
    "a group of their own": "The optimizer's",
    "at the end": "second.weight has",
    "the old one stays": "A parameter",
    "the old state stays": "A parameter",
    "state begins anew": "shape ();",
    "means of 1": "new entries",
    "means of the old shape": "shape (1,",
    "steps begin anew": "first.weight was",
    "features": "The layers",
    "groups copied": "The optimizer's",
    "in front": "The next",
    "the two layers only": "tied.again.weight is still",
    "in children only": "tied.again.weight is still",
    "weights only": "tied.again.bias is still",
    "a copy for each": "were one parameter",
    "once for each holder": "2 times",
}


def oracle(grow: Callable[..., Any]) -> Any:
    """Output, groups, state and the next steps; the numbers of new units are free."""

    def told(sizes: tuple[int, int, int], extra: int, steps: int, times: int, kind: str) -> Any:
        net = Net(Drawn(sum(sizes)), sizes, kind)
        try:
            for _ in range(times):
                _judge(grow, net, extra, steps, "it")
        except Exception as error:
            return [type(error).__name__]
        return ["fine", [len(group["params"]) for group in net.optimizer.param_groups]]

    cases = [
        (s, e, k, t, kind)
        for s, e in (((1, 1, 1), 1), ((2, 4, 3), 2))
        for k in (0, 2)
        for t in (1, 2)
        for kind in ("", TIES, SIGMOID)
    ]
    return [tried(told, *each) for each in cases]


EXERCISE = Exercise(
    "grow_layer",
    "The same output, the same optimizer, and units that learn.",
    check_grow_layer,
    tuple(Wrong(name, partial(_grow, mistake=name), says) for name, says in SAYS.items()),
    right=(Right("joined to the old", by_cat), Right("in a bigger box", in_a_bigger_box)),
    may_change=(...,),
    oracle=oracle,
    allows={"returns its argument": "what grow returns is free: the layers are changed"},
)
