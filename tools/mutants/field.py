"""What could stand in the place of a node in a short answer about PyTorch: the general faults, and the field's own.

The field's own are what people mistake there: the axis of a sum, `keepdim`, a `detach()` that is missing, a gradient
mode, a graph that is kept, `train` for `eval`, float32 for float64.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.mutants.operators import general

__all__ = ["of_answers"]

New = tuple[str, ast.AST]

CONFUSED = {
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "min": "max",
    "amax": "amin",
    "amin": "amax",
    "argmax": "argmin",
    "any": "all",
    "all": "any",
    "train": "eval",
    "eval": "train",
    "float64": "float32",
    "float32": "float64",
    "double": "float",
    "zeros": "ones",
    "ones": "zeros",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "is_leaf": "requires_grad",
    "no_grad": "enable_grad",
    "enable_grad": "no_grad",
    "append": "extend",
}
"""Names that are taken for each other."""
LEFT_OUT = ("T", "mT", "data")
"""Attributes that are forgotten."""
PASSES = ("backward", "grad", "vjp")
"""Calls that may keep the graph."""


def of_answers(node: ast.AST) -> Iterator[New]:
    """What could stand in the place of a node: the name of the operator, and the new node."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        yield from general(node)
    match node:
        case ast.BinOp():
            yield from _arithmetic(node)
        case ast.Constant(value=int(value) | float(value)) if not isinstance(value, bool):
            yield from _numbers(value)
        case ast.Call():
            yield from _calls(node)
        case ast.Attribute(value=value, attr=name) if name in LEFT_OUT:
            yield "attribute left out", value
        case ast.Attribute(value, attr, ctx) if attr in CONFUSED:
            yield "confused", ast.Attribute(value, CONFUSED[attr], ctx)
        case ast.Subscript(value, ast.Constant(value=0), ctx):
            yield "first or last", ast.Subscript(value, ast.Constant(-1), ctx)
        case ast.Subscript(value, ast.UnaryOp(ast.USub(), ast.Constant(value=1)), ctx):
            yield "first or last", ast.Subscript(value, ast.Constant(0), ctx)
    if isinstance(node, ast.stmt):
        yield from _statements(node)


def _arithmetic(node: ast.BinOp) -> Iterator[New]:
    left, right = node.left, node.right
    match node.op:
        case ast.Mult():
            yield "arithmetic", ast.BinOp(left, ast.Div(), right)
            yield "arithmetic", ast.BinOp(left, ast.Pow(), right)
        case ast.Pow():
            yield "arithmetic", ast.BinOp(left, ast.Mult(), right)
        case ast.MatMult():
            yield "factors swapped", ast.BinOp(right, ast.MatMult(), left)


def _numbers(value: int | float) -> Iterator[New]:
    """Twice, negated, and nothing for one: a general fault is one more."""
    if value == 1:
        yield "off by one", ast.Constant(value - 1)
    elif value:
        yield "twice", ast.Constant(2 * value)
    if value:
        yield "sign put in", ast.UnaryOp(ast.USub(), ast.Constant(value))


def _calls(node: ast.Call) -> Iterator[New]:
    func, args, keywords = node.func, node.args, node.keywords
    for keyword in keywords:
        if keyword.arg != "strict":
            rest = [other for other in keywords if other is not keyword]
            yield "keyword dropped", ast.Call(func, args, rest)
    match func:
        case ast.Attribute(value=receiver) if not args and not keywords:
            yield "call left out", receiver
        case ast.Name(id="range") if args:
            *first, last = args if len(args) < 3 else args[:2]
            fewer = ast.BinOp(last, ast.Sub(), ast.Constant(1))
            yield "one round less", ast.Call(func, [*first, fewer, *args[2:]], [])
        case ast.Name(id=name, ctx=ctx) if name in CONFUSED:
            yield "confused", ast.Call(ast.Name(CONFUSED[name], ctx), args, keywords)
    name = getattr(func, "attr", getattr(func, "id", ""))
    if name in PASSES and not any(keyword.arg == "retain_graph" for keyword in keywords):
        keeping = ast.keyword("retain_graph", ast.Constant(True))
        yield "graph kept", ast.Call(func, args, [*keywords, keeping])


def _statements(node: ast.stmt) -> Iterator[New]:
    """A statement is left out, or no longer depends on anything; general faults do that to calls alone."""
    match node:
        case ast.Assign(targets=[ast.Name() | ast.Tuple()]):
            yield "statement dropped", ast.Pass()
        case ast.AugAssign(target, _, value):
            yield "put for added", ast.copy_location(ast.Assign([target], value), node)
        case ast.If(_, body, orelse):
            for always in (True, False):
                yield "always or never", ast.If(ast.Constant(always), body, orelse)
        case ast.While(test, body) if not isinstance(test, ast.Constant):
            yield "always or never", ast.While(ast.Constant(False), body, [])
        case ast.With(_, body):
            yield "without the with", ast.If(ast.Constant(True), body, [])
        case ast.FunctionDef(decorator_list=[_, *_] as decorators):
            for one in decorators:
                if "grad" in ast.unparse(one) or "differentiable" in ast.unparse(one):
                    yield "decorator dropped", _without(node, one)


def _without(node: ast.FunctionDef, decorator: ast.expr) -> ast.FunctionDef:
    rest = [other for other in node.decorator_list if other is not decorator]
    fields = dict(ast.iter_fields(node)) | {"decorator_list": rest}
    return ast.copy_location(ast.FunctionDef(**fields), node)
