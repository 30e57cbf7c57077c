"""Every private name of PyTorch that the package uses stands in `recorder/_torch.py`, and is there in this PyTorch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import definebyrun
from definebyrun.recorder import _torch

PACKAGE = Path(definebyrun.__file__).parent
HOME = PACKAGE / "recorder" / "_torch.py"
ATTRIBUTES = {
    *("_version", "_base", "_is_view", "_cdata", "_post_accumulate_grad_hooks", "_grad_fn"),
    *("_backward_hooks", "_sequence_nr", "_input_metadata", "_forward_cls", "_raw_saved_tensors"),
    *("_parameters", "_buffers", "_modules", "_execution_engine", "_register_hook_dict"),
}
"""Private attributes of tensors, storages, nodes and modules."""
TEXTS = (
    "_saved_",
    "_raw_saved_",
    "_Holder",
    "_CheckpointFrame",
    "FakeTensor",
    "torch._",
    "torch/_",
)
"""What begins a private name of PyTorch where it is written as text: the name of an attribute, a class, a module."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def dotted(node: ast.expr) -> list[str]:
    """`torch.a.b` as its parts; empty for what is no plain chain of names."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*inner, node.attr] if inner and isinstance(node, ast.Attribute) else []


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of texts that stand alone: they explain, and name nothing for Python."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def private_names(code: str) -> Iterator[str]:
    """The private names of PyTorch in a text of Python code."""
    tree = ast.parse(code)
    spoken = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            path = (node.module or "").split(".")
            yield from (
                ".".join([*path, a.name])
                for a in node.names
                if any(map(is_private, [*path, a.name]))
            )
        elif isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
            yield from (".".join(p) for p in paths if p[0] == "torch" and any(map(is_private, p)))
        elif isinstance(node, ast.Attribute):
            path = dotted(node)
            own = path[:-1] == ["self"]  # an attribute of a class of the package
            if (path[:1] == ["torch"] and is_private(node.attr)) or (
                node.attr in ATTRIBUTES and not own
            ):
                yield ".".join(path) or node.attr
        elif isinstance(node, ast.Constant) and id(node) not in spoken:
            text = node.value if isinstance(node.value, str) else ""
            if text.startswith(TEXTS) or text in ATTRIBUTES:
                yield text


@pytest.mark.parametrize(
    "code",
    [
        "torch._C.DisableTorchFunction()",
        "torch.autograd._engine_run_backward",
        "from torch.overrides import _push_mode",
        "from torch._dynamo import reset",
        "from torch import _C",
        "import torch._dynamo",
        "tensor._version",
        "node.next_functions[0][0]._sequence_nr()",
        "getattr(node, '_saved_self')",
        "getattr(kind, '_forward_cls', None)",
        "'torch._dynamo' in sys.modules",
    ],
)
def test_a_private_name_of_torch_is_found(code: str) -> None:
    assert list(private_names(code))


@pytest.mark.parametrize("code", ["torch.__version__", "self._names", "'''torch._C says so'''"])
def test_what_is_not_torchs_or_not_private_is_left_alone(code: str) -> None:
    assert not list(private_names(code))


def test_private_names_of_torch_stand_in_one_file() -> None:
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != HOME and (names := list(private_names(path.read_text("utf-8"))))
    }
    assert found == {}
    assert len(set(private_names(HOME.read_text("utf-8")))) > 15


def test_every_private_name_has_its_reason_beside_it() -> None:
    """A comment above each alias (or above the first of a group), a docstring in each function."""
    lines = HOME.read_text("utf-8").splitlines()
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if ast.unparse(targets[0]) == "__all__":
                continue
            at = node.lineno - 2
            while lines[at] and not lines[at].startswith("#"):
                at -= 1
            assert lines[at].startswith("#"), lines[node.lineno - 1]
        elif isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), node.name


def test_every_private_name_is_used() -> None:
    used = {
        alias.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "_torch"
        for alias in node.names
    }
    assert used == set(_torch.__all__)


def test_the_questions_have_their_answers_in_this_pytorch() -> None:
    leaf = torch.ones(2, requires_grad=True)
    view = leaf.exp()[:1]
    assert (_torch.graph_task_id(), _torch.version_counter(leaf), _torch.is_view(view)) == (
        -1,
        0,
        True,
    )
    assert _torch.view_base(view).grad_fn.name() == "ExpBackward0"
    assert _torch.address_of(view.untyped_storage()) == _torch.address_of(
        _torch.view_base(view).untyped_storage()
    )
    assert _torch.next_sequence_nr() == _torch.sequence_nr(view.grad_fn) + 1
    assert tuple(_torch.first_output_metadata(view.grad_fn).shape) == (1,)
    leaf.register_post_accumulate_grad_hook(lambda leaf: seen.append(_torch.graph_is_kept()))
    assert _torch.post_accumulate_hooks(leaf)
    assert not _torch.post_accumulate_hooks(torch.ones(2, requires_grad=True))
    seen: list[object] = []
    leaf.register_hook(
        lambda grad: seen.append((_torch.graph_task_id() >= 0, _torch.autograd_node_now().name()))
    )
    view.sum().backward(retain_graph=True)
    assert seen == [(True, "torch::autograd::AccumulateGrad"), True]
