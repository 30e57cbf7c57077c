"""Names of modules, tensors and operations: what the user's own code calls them. What is said of a wrong call."""

from __future__ import annotations

import gc
import linecache
import weakref
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

import definebyrun as dbr

X = torch.ones(1, 2)


def parameters(tape: dbr.Tape) -> list[str | None]:
    """The names of the parameters that a run reads, weights only."""
    return [t.name for t in tape.leaves if t.kind == "parameter" and len(t.value.shape) == 2]


def paths(tape: dbr.Tape) -> list[str]:
    return [call.path for call in tape.calls if call.kind != "function"]


class Agent:
    """Holds modules as plain attributes."""

    def __init__(self) -> None:
        self.policy, self.target = nn.Linear(2, 2), nn.Linear(2, 2)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        return (self.policy(x) - self.target(x)).sum()


class Scale:
    """A layer that is no module."""

    def __init__(self) -> None:
        self.weight = torch.ones(2, 2, requires_grad=True)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


GLOBAL = nn.Sequential(nn.Linear(2, 2))


# ---- modules: containers, attributes, globals ----


def test_layers_of_a_list_are_named_by_their_index_not_by_the_loop() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    with dbr.record() as tape:
        h = X
        for layer in layers:
            h = layer(h)
    assert parameters(tape) == ["layers[0].weight", "layers[1].weight"]
    assert paths(tape) == ["layers[0]", "layers[1]"]


def test_a_loop_in_a_function_names_no_two_layers_alike() -> None:
    def run(layers: list[nn.Module]) -> torch.Tensor:
        h = X
        for layer in layers:
            h = layer(h)
        return h

    with dbr.record() as tape:
        run([nn.Linear(2, 2), nn.Linear(2, 2)])
    assert paths(tape) == ["layers[0]", "layers[1]"]


def test_variables_that_are_unpacked_from_a_list_name_their_modules() -> None:
    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    encoder, decoder = models
    with dbr.record() as tape:
        decoder(encoder(X))
    assert paths(tape) == ["encoder", "decoder"]


def test_a_variable_of_an_old_loop_names_nothing() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    for layer in layers:  # noqa: B007 (as it is left in a notebook)
        pass
    with dbr.record() as tape:
        h = X
        for layer in layers:
            h = layer(h)
    assert paths(tape) == ["layers[0]", "layers[1]"]


def test_a_module_in_an_attribute_is_named_by_the_outer_variable() -> None:
    agent = Agent()
    with dbr.record() as tape:
        agent.loss(X).backward()
    assert parameters(tape) == ["agent.policy.weight", "agent.target.weight"]


def test_a_module_in_an_attribute_of_a_nameless_object_is_named_by_self() -> None:
    with dbr.record() as tape:
        Agent().loss(X).backward()
    assert parameters(tape) == ["self.policy.weight", "self.target.weight"]


def test_two_objects_of_one_loop_have_their_own_names() -> None:
    agents = [Agent(), Agent()]
    with dbr.record() as tape:
        for agent in agents:
            agent.loss(X)
    assert paths(tape) == [f"agents[{i}].{name}" for i in (0, 1) for name in ("policy", "target")]


def test_modules_in_dicts_and_nested_containers_are_named_by_their_keys() -> None:
    nets = {"gen": nn.Linear(2, 2), "disc": nn.Linear(2, 2)}
    stages = {"down": [(nn.Tanh(), nn.Linear(2, 2)) for _ in range(2)]}
    with dbr.record() as tape:
        nets["disc"](nets["gen"](X))
        for pair in stages["down"]:
            pair[1](X)
    assert paths(tape)[:2] == ["nets['gen']", "nets['disc']"]
    assert paths(tape)[2:] == ["stages['down'][0][1]", "stages['down'][1][1]"]


def test_every_module_of_a_comprehension_has_its_own_name() -> None:
    models = OrderedDict(a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    with dbr.record() as tape:
        sum(m(X) for m in models.values()).sum()
    assert paths(tape) == ["models['a']", "models['b']"]


def test_a_module_in_a_global_of_the_function_is_named_so() -> None:
    def inner() -> torch.Tensor:
        return GLOBAL(X)

    with dbr.record() as tape:
        inner()
    assert parameters(tape) == ["GLOBAL.0.weight"]


def test_a_global_of_the_called_functions_own_file_names_its_module() -> None:
    space: dict[str, Any] = {"net": nn.Linear(2, 2), "agent": Agent()}
    exec("def predict(x): return agent.policy(net(x))", space)
    predict = space.pop("predict")
    del space
    with dbr.record() as tape:
        predict(X)
    assert paths(tape) == ["net", "agent.policy"]


def test_namespaces_slots_and_named_tuples_are_looked_into() -> None:
    class Slotted:
        __slots__ = ("empty", "net")

        def __init__(self) -> None:
            self.net = nn.Linear(2, 2)

    slotted, space = Slotted(), SimpleNamespace(net=nn.Linear(2, 2))
    pair = namedtuple("Pair", "first second")(nn.Linear(2, 2), torch.ones(2, 2))
    with dbr.record() as tape:
        slotted.net(X)
        space.net(X)
        pair.first(X @ pair.second)
    assert paths(tape) == ["slotted.net", "space.net", "pair.first"]
    assert "pair.second" in {t.name for t in tape.leaves}


def test_a_module_in_a_list_of_a_module_is_named_after_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = [nn.Linear(2, 2), nn.Linear(2, 2)]  # not registered

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for conv in self.convs:
                x = conv(x)
            return x

    net = Net()
    with dbr.record() as tape:
        Net()(X)
        net(X)
    assert paths(tape) == [
        f"{owner}{part}" for owner in ("Net", "net") for part in ("", ".convs[0]", ".convs[1]")
    ]


def test_modules_without_any_name_are_counted_in_the_order_of_their_calls() -> None:
    def make() -> nn.Module:
        return nn.Linear(2, 2)

    with dbr.record() as tape:
        h = make()(X)
        h = make()(h)
        h = nn.Tanh()(make()(h))
    assert paths(tape) == ["Linear", "Linear (2)", "Linear (3)", "Tanh"]
    assert parameters(tape) == ["Linear.weight", "Linear (2).weight", "Linear (3).weight"]


def test_a_variable_that_held_two_modules_names_both_and_tells_them_apart() -> None:
    with dbr.record() as tape:
        model = nn.Linear(2, 2)
        h = model(X)
        model = nn.Linear(2, 2)
        model(h)
    assert paths(tape) == ["model", "model (2)"]


def test_a_path_folds_the_one_module_that_has_it() -> None:
    layers = [nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(2)]
    with dbr.record() as tape:
        h = X
        for layer in layers:
            h = layer(h)
    assert [op.name for op in tape.fold(modules="layers[0]").ops] == ["layers[0]", "linear", "tanh"]
    with pytest.raises(ValueError, match="'layer'"):
        tape.fold(modules="layer")


def test_layers_that_differ_in_their_index_or_count_only_are_rolled_up() -> None:
    layers = [nn.Linear(2, 2) for _ in range(4)]
    makers = [lambda: nn.Linear(2, 2)] * 4
    with dbr.record() as tape:
        h = X
        for layer in layers:
            h = layer(h)
    (op,) = tape.fold(repeats=True).ops
    assert (op.times, tape.fold(repeats=True).blocks[0].label) == (4, "layers[0] … layers[3]")
    with dbr.record() as tape:
        h = X
        for make in makers:
            h = make()(h)
    assert "linear" in {op.name for op in tape.fold(repeats=True).ops if op.times > 2}


def test_the_scope_of_an_operation_is_the_path_of_its_module() -> None:
    agent = Agent()
    with dbr.record() as tape:
        agent.loss(X)
    assert [op.scope for op in tape.ops] == ["agent.policy", "agent.target", "", ""]


def test_an_object_that_is_made_while_recording_is_named_at_the_end() -> None:
    class Warm(Agent):
        def __init__(self) -> None:
            super().__init__()
            self.policy(X)

    with dbr.record() as tape:
        agent = Warm()
        agent.loss(X)
    assert paths(tape) == ["agent.policy", "agent.policy", "agent.target"]


# ---- parameters that come later ----


def test_a_parameter_that_is_put_in_while_recording_has_its_path() -> None:
    model = nn.Sequential(OrderedDict(fc=nn.Linear(2, 2)))
    with dbr.record() as tape:
        model.fc.weight = nn.Parameter(torch.ones(2, 2))
        model(X).sum().backward()
    assert parameters(tape) == ["model.fc.weight"]


def test_a_state_that_is_assigned_has_its_paths() -> None:
    model, other = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))
    state = {key: value.clone() for key, value in other.state_dict().items()}
    with dbr.record() as tape:
        model.load_state_dict(state, assign=True)
        model(X).sum().backward()
    assert parameters(tape) == ["model.0.weight"]


def test_a_submodule_that_is_put_in_while_recording_has_its_path() -> None:
    model = nn.Sequential(OrderedDict(fc=nn.Linear(2, 2)))
    with dbr.record() as tape:
        model.fc = nn.Linear(2, 2)
        model(X).sum().backward()
    assert paths(tape) == ["model", "model.fc"]
    assert parameters(tape) == ["model.fc.weight"]


def test_a_parametrization_that_is_put_on_while_recording_has_its_paths() -> None:
    model = nn.Sequential(OrderedDict(fc=nn.Linear(2, 2)))
    with dbr.record() as tape:
        nn.utils.parametrizations.weight_norm(model.fc)
        model(X).sum().backward()
    assert parametrize.is_parametrized(model.fc)
    assert "model.fc.parametrizations.weight.original1" in parameters(tape)
    assert "model.fc.parametrizations.weight" in paths(tape)


def test_parameters_that_are_in_no_module_never_share_a_name() -> None:
    made = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    with dbr.record() as tape:
        h = X
        for w in made:
            h = h @ w
    assert parameters(tape) == ["w", "w (2)"]


def test_parameters_in_a_list_of_an_object_are_named_by_it_not_by_the_loop() -> None:
    holder = SimpleNamespace(weights=[nn.Parameter(torch.ones(2, 2)) for _ in range(2)])
    with dbr.record() as tape:
        h = X
        for w in holder.weights:
            h = h @ w
    assert parameters(tape) == ["holder.weights[0]", "holder.weights[1]"]


# ---- tensors in objects ----


def test_tensors_in_attributes_of_plain_objects_are_named() -> None:
    net = Scale()
    with dbr.record() as tape:
        net(X).sum().backward()
    assert {t.name for t in tape.leaves} >= {"net.weight"}
    assert [t.name for t in dbr.draw(net(X).sum()).leaves] == ["net.weight"]


def test_a_list_of_parameters_is_a_worse_name_than_the_attributes_that_hold_them() -> None:
    layers = [Scale(), Scale()]
    parameters = [layer.weight for layer in layers]
    with dbr.record() as tape:
        h = X
        for layer in layers:
            h = layer(h)
        h.sum().backward()
        for p in parameters:
            p.grad = None
    assert [t.name for t in tape.leaves if t.kind == "leaf"] == [
        "layers[0].weight",
        "layers[1].weight",
    ]


def test_tensors_in_containers_of_containers_are_named() -> None:
    weights = {"enc": [(torch.ones(2, 2, requires_grad=True), None)]}
    history: list[dict[str, torch.Tensor]] = []
    with dbr.record() as tape:
        history.append({"out": X @ weights["enc"][0][0]})
    assert [t.name for t in tape.tensors] == ["X", "weights['enc'][0][0]", "history[0]['out']"]


def test_the_first_variable_that_is_seen_names_a_tensor() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        y = w * 2
        z = y
        (z * w).sum()
    assert [t.name for t in tape.tensors][:2] == ["w", "y"]


# ---- results ----


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.fc(x)
        logits = torch.tanh(h)
        return logits


def test_what_is_returned_at_once_has_its_name_in_the_function() -> None:
    model = Net()
    with dbr.record() as tape:
        F.cross_entropy(model(X), torch.tensor([1])).backward()
    assert [t.name for t in tape.tensors if t.op is not None][:3] == ["h", "logits", None]


def test_the_result_of_a_module_that_is_returned_at_once_has_its_name_in_the_function() -> None:
    layer = nn.Sequential(nn.Linear(2, 2))

    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    def head(x: torch.Tensor) -> torch.Tensor:
        hidden = layer(x)
        return hidden

    def twice(x: torch.Tensor) -> torch.Tensor:
        doubled = double(x)
        return doubled

    with dbr.record() as tape:
        head(X).sum()
        torch.relu(twice(X))
    assert [t.name for t in tape.tensors if t.op is not None] == ["hidden", None, "doubled", None]


def test_outputs_that_are_returned_at_once_have_their_names_in_order() -> None:
    def bounds(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = x.aminmax()
        return low, high

    with dbr.record() as tape:
        torch.stack(bounds(X))
    assert [t.name for t in tape.tensors if t.op is not None] == ["low", "high", None]


def test_the_callers_variable_names_what_a_function_returned() -> None:
    model = Net()
    with dbr.record() as tape:
        y = model(X)
        y.sum()
    assert "y" in {t.name for t in tape.tensors}
    assert "logits" not in {t.name for t in tape.tensors}


def test_an_inner_result_does_not_take_the_name_of_what_it_becomes() -> None:
    w = torch.ones(2, requires_grad=True)

    def f() -> torch.Tensor:
        out = torch.tanh(-(w * 2))
        return out

    with dbr.record() as tape:
        f().sum()
    assert [t.name for t in tape.tensors if t.op is not None] == [None, None, "out", None]


def test_what_pythons_own_functions_make_on_the_way_does_not_take_the_name_of_their_result() -> (
    None
):
    def total(xs: list[torch.Tensor]) -> torch.Tensor:
        summed = sum(xs)
        return summed

    def both(xs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        results = map(torch.exp, xs)
        one, two = results
        return one, two

    def listed(xs: list[torch.Tensor]) -> list[torch.Tensor]:
        results = list(map(torch.exp, xs))
        return results

    with dbr.record() as tape:
        total([torch.ones(2), torch.ones(2)])
        both([torch.ones(2), torch.ones(2)])
        listed([torch.ones(2), torch.ones(2)])
    made = [i for op in tape.ops if op.name in ("add", "exp") for i in op.outputs]
    assert {tape.tensors[i].name for i in made} == {None}


def test_every_output_of_a_module_has_the_name_that_it_is_given() -> None:
    mha, q = nn.MultiheadAttention(4, 2, batch_first=True), torch.rand(1, 3, 4)
    lstm, xs = nn.LSTM(4, 3), torch.rand(5, 1, 4)
    with dbr.record() as tape:
        y, att = mha(q, q, q)
        o, (h, c) = lstm(xs)
        (y.sum() + o.sum() + h.sum() + c.sum() + att.sum()).backward()
    shapes = {t.name: t.value.shape for t in tape.tensors if t.name in ("y", "att", "o", "h", "c")}
    assert shapes == {
        "y": (1, 3, 4),
        "att": (1, 3, 3),
        "o": (5, 1, 3),
        "h": (1, 1, 3),
        "c": (1, 1, 3),
    }
    (op,) = [op for op in tape.ops if op.name == "lstm"]
    assert [tape.tensors[i].name for i in op.outputs] == ["o", "h", "c"]


# ---- nothing of the user's runs, nothing is kept ----


def test_looking_for_names_runs_none_of_the_users_code() -> None:
    ran: list[str] = []

    class Watched:
        net = property(lambda self: ran.append("property"))

        def __init__(self) -> None:
            self.inner = nn.Linear(2, 2)

        def __getattribute__(self, name: str) -> Any:
            ran.append(f"__getattribute__ {name}")
            return super().__getattribute__(name)

        def __getattr__(self, name: str) -> Any:
            ran.append(f"__getattr__ {name}")
            raise AttributeError(name)

    class List(list[Any]):
        def __len__(self) -> int:
            ran.append("__len__")
            return super().__len__()

        def __iter__(self) -> Any:
            ran.append("__iter__")
            return super().__iter__()

    class Dict(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            ran.append("__getitem__")
            return super().__getitem__(key)

        def items(self) -> Any:
            ran.append("items")
            return super().items()

    class Items(dict[str, Any]):
        def items(self) -> Any:
            ran.append("items")
            return super().items()

    class Posing:
        __class__ = property(lambda self: ran.append("__class__") or nn.Module)  # type: ignore[assignment]
        __dict__ = property(lambda self: ran.append("__dict__") or {})  # type: ignore[assignment]

    watched, posing = Watched(), Posing()
    many, keyed = List([nn.Linear(2, 2), posing]), Dict(net=nn.Linear(2, 2))
    items = Items(net=nn.Linear(2, 2))
    hidden = watched.inner
    first, second = list.__getitem__(many, 0), dict.__getitem__(keyed, "net")
    ran.clear()

    def run(*modules: nn.Module) -> torch.Tensor:
        return sum(module(X) for module in modules)

    del hidden.weight
    hidden.weight = nn.Parameter(torch.ones(2, 2))
    with dbr.record() as tape:
        run(hidden, first, second, items["net"]).sum().backward()
        dbr.draw(run(hidden, first, second))
    assert ran == []
    assert set(paths(tape)) == {"hidden", "first", "second", "items['net']"}


def test_a_key_that_is_no_number_or_text_is_never_written() -> None:
    class Key(str):
        def __repr__(self) -> str:
            raise AssertionError("the user's repr ran")

    nets = {Key("a"): nn.Linear(2, 2)}
    with dbr.record() as tape:
        nets["a"](X)
    assert paths(tape) == ["Linear"]


def test_entries_that_a_class_gives_out_in_its_own_way_are_no_names() -> None:
    class Shuffled(dict[str, nn.Module]):
        def __getitem__(self, key: str) -> nn.Module:
            return super().__getitem__({"a": "b", "b": "a"}[key])

    nets = Shuffled(a=nn.Linear(2, 2), b=nn.Tanh())
    with dbr.record() as tape:
        nets["b"](X)
    assert paths(tape) == ["Linear"]


def test_a_drawn_graph_prefers_a_variable_to_the_namespace_that_an_outer_function_runs() -> None:
    space: dict[str, Any] = {f"n{i}": i for i in range(100)}
    space |= {"dbr": dbr, "net": nn.Linear(2, 2), "x": X}
    exec("tape = dbr.draw(net(x))", space)
    assert {leaf.name for leaf in space["tape"].leaves} == {"net.weight", "net.bias"}


def test_a_name_keeps_no_large_tensor_alive() -> None:
    class Cache:
        pass

    cache = Cache()
    with dbr.record():
        cache.out = torch.ones(100, 100) * 2  # type: ignore[attr-defined]
        alive = weakref.ref(cache.out)  # type: ignore[attr-defined]
        X.sum()
        del cache.out  # type: ignore[attr-defined]
        assert alive() is None


def test_a_large_result_that_has_gone_keeps_the_name_that_it_was_returned_by() -> None:
    def make() -> torch.Tensor:
        big = torch.ones(100, 100)
        return big

    with dbr.record() as tape:
        make().sum()
        make().mul(2)
    assert [op.name for op in tape.ops] == ["ones", "sum", "ones", "mul"]
    assert [tape.tensors[op.outputs[0]].name for op in tape.ops] == ["big", None, "big", None]


def test_a_search_has_an_end() -> None:
    class Node:
        def __init__(self) -> None:
            self.next, self.all = self, [self]

    root = Node()
    for _ in range(5000):
        root.all.append(Node())
        root.all[-1].next = root
    deep: Any = nn.Linear(2, 2)
    for _ in range(50):
        deep = [deep]
    net = deep
    for _ in range(50):
        net = net[0]
    del deep

    def run() -> torch.Tensor:
        return sum(nn.Linear(2, 2)(X) for _ in range(30))

    with dbr.record() as tape:
        run()
    assert len(set(paths(tape))) == 30


def test_a_recording_that_has_ended_holds_no_module_and_no_frame() -> None:
    def run() -> list[weakref.ref[Any]]:
        agent = Agent()
        with dbr.record() as tape:
            agent.loss(X).backward()
        assert paths(tape)[0] == "agent.policy"
        return [weakref.ref(agent), weakref.ref(agent.policy)]

    gc.disable()
    try:
        assert [each() for each in run()] == [None, None]
    finally:
        gc.enable()


# ---- operations ----


def test_operators_of_torch_ops_have_their_full_name() -> None:
    @torch.library.custom_op("definebyrun_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    y = torch.ones(2)
    with dbr.record() as tape:
        twice(y)
        torch.ops.definebyrun_tests.twice(y)
        torch.ops.aten.sin(y)
        torch.ops.aten.sin.default(y)
        torch.ops.aten.add.Tensor(y, y)
        torch.ops.aten.add_(y, y)
        empty = torch.ops.aten.empty.memory_format([2])
    assert [op.name for op in tape.ops] == [
        *["definebyrun_tests::twice"] * 2,
        *["aten::sin"] * 2,
        "aten::add",
        "aten::add_",
        "aten::empty",
    ]
    assert tape.tensors[tape.ops[-1].outputs[0]].value.data is None, empty


def test_the_text_of_executed_code_is_that_which_a_traceback_has() -> None:
    text = "def f(x):\n    return x * 2\nwith dbr.record() as tape:\n    y = f(torch.ones(2))\n    y + 1\n"
    space: dict[str, Any] = {"dbr": dbr, "torch": torch}
    exec(text, space)
    assert [(op.line, op.code) for op in space["tape"].ops] == [(4, ""), (2, ""), (5, "")]
    name = "<made by a test>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    try:
        exec(compile(text, name, "exec"), space)
    finally:
        del linecache.cache[name]
    assert [op.code for op in space["tape"].ops] == [
        "y = f(torch.ones(2))",
        "return x * 2",
        "y + 1",
    ]


# ---- calls that are wrong ----


def test_a_wrong_call_gets_one_sentence_that_says_what_to_do() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"`with record"):
        dbr.record(model)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"no ops.*`with record"):
        _ = dbr.record().ops  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'opps'"):
        _ = dbr.record().opps  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"not Linear, Tensor: .*draw\(model\(x\)\)"):
        dbr.draw(model, X)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not tuple that holds none: .*record"):
        dbr.draw((model, model))
    with dbr.record() as tape:
        model(X)
    with pytest.raises(TypeError, match="slider"):
        tape.play(3)  # type: ignore[arg-type]
    for names in ("ab", None):
        with pytest.raises(TypeError, match="two words"):
            dbr.compare(tape, tape, names=names)  # type: ignore[arg-type]
    for modules, given in ((1.5, "float"), (None, "NoneType"), (model, "Linear")):
        with pytest.raises(TypeError, match=f"a function of a module call, not {given}"):
            tape.fold(modules=modules)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not Linear"):
        tape.fold(modules=[model])  # type: ignore[list-item]
