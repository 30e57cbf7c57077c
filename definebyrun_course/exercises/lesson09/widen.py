"""Exercise `widen`: a wider layer, and Adam's state with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    counted,
    drawn,
    expect,
    forms,
    near,
    plain,
    shown,
)
from ..graphs import passed
from ..models import filled
from .widen_answers import (
    after_all,
    all_to_the_first,
    anew,
    as_it_was,
    at_the_end,
    begun_anew,
    by_cat,
    divided,
    first_mean_only,
    one_step_more,
    swapped,
    widening,
)

__all__ = ["EXERCISE"]

Widen = Callable[[nn.Linear, nn.Linear, int, Optimizer], Any]
MEANS = ("exp_avg", "exp_avg_sq")
STEPS = 3


class Case:
    """Two layers of a network with a third one, an Adam with two groups that has stepped, and how many more neurons."""

    def __init__(self, draw: Drawn, sizes: tuple[int, int, int], extra: int) -> None:
        into, self.n, out = sizes
        self.extra = extra
        self.first, self.second, self.other = (
            nn.Linear(into, self.n),
            nn.Linear(self.n, out),
            nn.Linear(into, into),
        )
        first, second, other = self.first, self.second, self.other
        for layer in (first, second, other):
            filled(draw, layer)
        first.bias.data.abs_()  # no neuron is dead
        self.x = draw.normal(6, into, dtype=torch.get_default_dtype())
        self.optimizer = Adam(
            [
                {"params": [other.bias, first.weight, first.bias], "lr": 0.05},
                {
                    "params": [second.weight, other.weight, second.bias],
                    "lr": 0.1,
                    "betas": (0.8, 0.9),
                },
            ]
        )
        self.layers: tuple[nn.Linear, nn.Linear] = first, second
        for _ in range(STEPS):
            self.step()
        self.source = [*range(self.n), *(number % self.n for number in range(extra))]
        self.before = self.run().detach()
        self.olds = [first.weight, first.bias, second.weight, second.bias]
        self.kept = {
            p: {k: torch.as_tensor(v).clone() for k, v in s.items()}
            for p, s in self.optimizer.state.items()
        }
        self.groups = [list(group["params"]) for group in self.optimizer.param_groups]
        self.options = plain(
            [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        )

    def run(self) -> Tensor:
        return self.layers[1](self.layers[0](self.other(self.x)).relu())

    def step(self) -> None:
        self.optimizer.zero_grad()
        (self.run() - 1).square().sum().backward()
        self.optimizer.step()

    def copied(self, old: Tensor, value: Tensor) -> Tensor:
        """A value of the shape of an old parameter, with the entries of the copied neurons."""
        if old is self.olds[3]:
            return value
        return value[:, self.source] if old is self.olds[2] else value[self.source]


def check_widen(widen_adam: Widen) -> None:
    """`widen_adam(first, second, extra, optimizer)` copies neurons, divides, and takes Adam's state along."""
    for sizes, extra in (((2, 1, 3), 1), ((3, 2, 4), 1), ((3, 2, 4), 3), ((2, 3, 1), 2)):
        _judge(widen_adam, Case(Drawn(2), sizes, extra), "")
    draw = drawn()
    sizes = draw.whole(1, 3), draw.whole(2, 4), draw.whole(5, 7)
    _judge(widen_adam, Case(draw, sizes, draw.whole(1, 6)), f" ({draw})")


def _judge(widen_adam: Widen, case: Case, source: str) -> None:
    n, extra = case.n, case.extra
    what = f"With {counted(n, 'neuron')} and {extra} more"
    made = forms.sequence(
        widen_adam(case.first, case.second, extra, case.optimizer), "What widen_adam returns", 2
    )
    expect(
        all(isinstance(layer, nn.Linear) for layer in made),
        f"widen_adam returns two linear layers; yours returned {', '.join(type(m).__name__ for m in made)}.",
        "return wide, after",
    )
    wide, after = made
    shapes = [tuple(wide.weight.shape), tuple(after.weight.shape)]
    wanted = [(n + extra, case.first.in_features), (case.second.out_features, n + extra)]
    expect(
        shapes == wanted,
        f"{what}, the new weights have the shapes {shapes}, not {wanted}{source}.",
        "The first layer gets more rows, the second more columns.",
    )
    _judge_copies(case, wide, what, source)
    case.layers = wide, after
    now = case.run().detach()
    expect(
        near(now, case.before, rtol=1e-4, atol=1e-5),
        f"{what}, the function has changed: for one input from {shown(case.before[0])} to {shown(now[0])}{source}.",
        "How often is each neuron there now? What goes out of its copies, together, must be what went out of it alone.",
    )
    news = [wide.weight, wide.bias, after.weight, after.bias]
    _judge_groups(case, news, what, source)
    _judge_state(case, news, what, source)
    passed(case.step, "the new layers", "Every state has to fit its parameter.")


def _judge_copies(case: Case, wide: nn.Linear, what: str, source: str) -> None:
    for name in ("weight", "bias"):
        found, old = getattr(wide, name), getattr(case.first, name)
        expect(
            near(found, old.detach()[case.source]),
            f"{what}, the {name} of the first layer is not that of neurons {case.source}, in this order{source}.",
            "The old neurons stay where they are; the new ones are copies of 0, 1, 2, … and round again.",
        )


def _judge_groups(case: Case, news: list[Tensor], what: str, source: str) -> None:
    new_of = {id(old): new for old, new in zip(case.olds, news, strict=True)}
    groups = [list(group["params"]) for group in case.optimizer.param_groups]
    known = [id(p) for group in groups for p in group]
    expect(
        not any(id(old) in known for old in case.olds),
        f"{what}, the optimizer still holds an old parameter{source}.",
        "Its groups are lists of parameters, and more than one group may be concerned.",
    )
    expect(
        all(known.count(id(new)) == 1 for new in news),
        f"{what}, the optimizer does not hold each new parameter once{source}.",
        "For each old one there is a new one.",
    )
    wanted = [[new_of.get(id(p), p) for p in group] for group in case.groups]
    same = [[id(p) for p in group] for group in groups] == [
        [id(p) for p in group] for group in wanted
    ]
    expect(
        same,
        f"{what}, a new parameter is not in the place of its old one, or another one has moved{source}.",
        "The same group, the same position: so each keeps its learning rate, and state_dict its order.",
    )
    options = plain(
        [{k: v for k, v in g.items() if k != "params"} for g in case.optimizer.param_groups]
    )
    expect(
        options == case.options,
        f"{what}, the options of a group are others{source}.",
        "Only its list of parameters changes.",
    )


def _judge_state(case: Case, news: list[Tensor], what: str, source: str) -> None:
    state = case.optimizer.state
    for p in case.other.parameters():
        expect(
            plain(dict(state.get(p, {}))) == plain(case.kept[p]),
            f"{what}, the state of a layer that stays is another one{source}.",
            "Only the entries of the old parameters go, and those of the new ones come.",
        )
    expect(
        not any(old in state for old in case.olds),
        f"{what}, optimizer.state still has entries of old parameters{source}.",
        "An entry keeps its parameter alive: take it out with pop.",
    )
    names = ("the first weight", "the first bias", "the second weight", "the second bias")
    for name, old, new in zip(names, case.olds, news, strict=True):
        mine = state.get(new, {})
        expect(
            mine,
            f"{what}, {name} has no state: Adam begins anew{source}.",
            "The state goes where the weight goes.",
        )
        for key in MEANS:
            _judge_mean(
                f"{what}, {key} of {name}",
                mine.get(key),
                case.copied(old, case.kept[old][key]),
                source,
            )
        expect(
            "step" in mine and forms.number(mine["step"], "step") == STEPS,
            f"{what}, step of {name} is {shown(mine.get('step'))} after {STEPS} steps{source}.",
            "It counts the steps that the means have seen: the corrections of Adam depend on it.",
        )


def _judge_mean(what: str, found: Any, want: Tensor, source: str) -> None:
    expect(
        isinstance(found, Tensor), f"{what} is missing{source}.", "Both means belong to the state."
    )
    expect(
        found.shape == want.shape,
        f"{what} has the shape {tuple(found.shape)}; its parameter has {tuple(want.shape)}{source}.",
        "A mean has an entry for each entry of its parameter.",
    )
    expect(
        near(found, want, rtol=1e-4),
        f"{what} is {shown(found)}, which is not the copy that its weight is{source}.",
        "The same rows and columns as for the weights, and no division.",
    )


def told(widen_adam: Widen) -> Any:
    """The oracle: shapes, copies, the function, groups and state; how the outgoing weights are split is free."""
    found: list[Any] = []
    sizes = ((1, 1, 1), 1), ((3, 2, 4), 3), ((2, 3, 1), 1), ((2, 2, 2), 7)
    for seed, (shape, extra) in enumerate(sizes):
        case = Case(Drawn(seed), shape, extra)
        try:
            wide, after = widen_adam(case.first, case.second, extra, case.optimizer)
            case.layers = wide, after
            news = [wide.weight, wide.bias, after.weight, after.bias]
            entry: list[Any] = [
                plain([wide.weight, wide.bias, after.bias]),
                list(after.weight.shape),
            ]
            entry.append(near(case.run(), case.before, rtol=1e-4, atol=1e-5))
            names = {id(p): str(i) for i, p in enumerate((*news, *case.other.parameters()))}
            entry.append(
                [[names.get(id(p), "?") for p in g["params"]] for g in case.optimizer.param_groups]
            )
            entry.append(
                [
                    [plain(dict(case.optimizer.state.get(p, {})))]
                    for p in (*news, *case.other.parameters())
                ]
            )
            entry.append([plain(p) for p in case.olds])
            entry.append(sorted(names.get(id(p), "?") for p in case.optimizer.state))
            case.step()
            found.append(entry)
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "widen",
    "The same function, and Adam remembers.",
    check_widen,
    (
        Wrong(
            "not divided",
            widening(divide=False),
            "With 1 neuron and 1 more, the function has changed",
        ),
        Wrong(
            "divided by two",
            widening(divide=lambda copies: (copies > 1) + 1),
            "With 2 neurons and 3 more, the function has changed",
        ),
        Wrong("new neurons at random", widening(fresh=True), "is not that of neurons [0, 0]"),
        Wrong("the last ones copied", widening(backwards=True), "is not that of neurons [0, 1, 0]"),
        Wrong(
            "each one twice in a row",
            widening(interleaved=True),
            "is not that of neurons [0, 1, 0]",
        ),
        Wrong("state dropped", widening(state=None), "has no state: Adam begins anew"),
        Wrong(
            "state not copied",
            widening(state=as_it_was),
            "exp_avg of the first weight has the shape",
        ),
        Wrong(
            "one mean of two", widening(state=first_mean_only), "exp_avg_sq of the first weight is"
        ),
        Wrong("means divided", widening(state=divided), "exp_avg of the first weight is [[0.4661"),
        Wrong("step begins anew", widening(state=begun_anew), "step of the first weight is 0"),
        Wrong("one step more", widening(state=one_step_more), "step of the first weight is 4"),
        Wrong(
            "the old state stays", widening(keep_old=True), "still has entries of old parameters"
        ),
        Wrong("a group at the end", at_the_end, "is not in the place of its old one"),
        Wrong("the first group only", widening(groups=slice(1)), "still holds an old parameter"),
        Wrong("an optimizer anew", after_all(widening(), anew), "the state of a layer that stays"),
        Wrong("the optimizer not told", widening(groups=slice(0)), "still holds an old parameter"),
        Wrong(
            "the other way round",
            swapped(widening()),
            "the new weights have the shapes [(3, 2), (2, 2)]",
        ),
        Wrong(
            "return forgotten",
            lambda *given: widening()(*given) and None,
            "What widen_adam returns is a sequence",
        ),
    ),
    right=(
        Right("by cat and repeat", by_cat),
        Right("all to the old neuron", all_to_the_first),
    ),
    may_change=(3,),
    oracle=told,
)
