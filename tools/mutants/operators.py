"""Source goes in, mutants come out: each the same code with one small fault, as people make them.

A mutant's name says file, scope and what became what, so that it stays the same when lines move. Nothing runs here.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from types import CodeType

__all__ = [
    "FUNCTIONS",
    "Block",
    "Faults",
    "Instead",
    "Mutant",
    "begins",
    "compiled",
    "general",
    "mutants_of",
]

MAX_SHOWN_CHARACTERS = 70
MIN_TELLING_CHARACTERS = 12
"""What is shorter is shown with what it stands in."""
FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
EXCHANGED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
Block = tuple[int, int]
Instead = Callable[[ast.AST], Iterator[tuple[str, ast.AST]]]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Mutant:
    """One fault.

    `number` counts the faults that a file can have, in the order of the source. `block` is where the statements begin
    (line, column) that run together with it: a body, a branch; None for what runs when the module is imported.
    """

    file: str
    scope: str
    line: int
    operator: str
    change: str
    number: int
    block: Block | None

    @property
    def name(self) -> str:
        """What is listed: it does not depend on the line."""
        return f"{self.file} {self.scope}: {self.change}"

    def rank(self, seed: int) -> str:
        """A sample is what ranks first; a change elsewhere does not move it."""
        return sha256(f"{seed} {self.name}".encode()).hexdigest()


@dataclass(frozen=True)
class _Site:
    """A place in a tree, and what could stand there instead."""

    scope: str
    line: int
    operator: str
    change: str
    block: Block | None
    put: Callable[[], Callable[[], None]]


def mutants_of(file: str, source: str, instead: Instead | None = None) -> list[Mutant]:
    """All mutants of one file; `instead` says what can stand in the place of a node, else `general` does.

    >>> for mutant in mutants_of("a.py", "def f(x):\\n    return x if x > 0 else g(x, 1)"):
    ...     print(mutant.name)
    a.py f: return x if x > 0 else g(x, 1) → return None
    a.py f: x > 0 → x >= 0 in x if x > 0 else g(x, 1)
    a.py f: 0 → 1 in x > 0
    a.py f: g(x, 1) → g(1, x) in x if x > 0 else g(x, 1)
    a.py f: 1 → 2 in g(x, 1)
    """
    return Faults(source, instead).mutants(file)


def compiled(source: str, path: str, number: int | None = None) -> CodeType:
    """The code of a module, with the fault of this number; None for none."""
    return Faults(source).code(path, number)


class Faults:
    """A source that is parsed once, and its faults, which are put in one at a time."""

    def __init__(self, source: str, instead: Instead | None = None) -> None:
        self._tree = ast.parse(source)
        self._sites = list(_Walk(instead or general).within(self._tree, "", None, False))

    def mutants(self, file: str) -> list[Mutant]:
        found = []
        seen: Counter[tuple[str, str]] = Counter()
        for number, site in enumerate(self._sites):
            seen[site.scope, site.change] += 1
            again = seen[site.scope, site.change]
            change = site.change + (f" (number {again})" if again > 1 else "")
            about = (file, site.scope, site.line, site.operator, change)
            found.append(Mutant(*about, number, site.block))
        return found

    def code(self, path: str, number: int | None = None) -> CodeType:
        """The code of the module, with the fault of this number; None for none."""
        take_out = (lambda: None) if number is None else self._sites[number].put()
        try:
            ast.fix_missing_locations(self._tree)
            return compile(self._tree, path, "exec", dont_inherit=True)
        finally:
            take_out()


class _Walk:
    """Goes through a tree and gives the sites in the order of the source."""

    def __init__(self, instead: Instead) -> None:
        self.instead, self.line = instead, 0

    def within(
        self, node: ast.AST, scope: str, block: Block | None, in_function: bool
    ) -> Iterator[_Site]:
        for field, value in ast.iter_fields(node):
            if _is_left_alone(node, field):
                continue
            children = value if isinstance(value, list) else [value]
            inside = in_function or (isinstance(node, FUNCTIONS) and field == "body")
            here = block
            if inside and children and isinstance(children[0], ast.stmt):
                here = begins(children)
            for index, child in enumerate(children):
                if not isinstance(child, ast.AST) or _says_nothing(child):
                    continue
                self.line = getattr(child, "lineno", self.line)
                for operator, new in self.instead(child):
                    where = index if isinstance(value, list) else None
                    put = _putter(node, field, where, child, new)
                    change = _change(node, child, new)
                    yield _Site(scope or "module", self.line, operator, change, here, put)
                inner = scope
                if isinstance(child, SCOPES):
                    inner = f"{scope}.{child.name}" if scope else child.name
                yield from self.within(child, inner, here, inside)


def begins(statements: list[ast.stmt]) -> Block:
    """Where a list of statements begins."""
    return statements[0].lineno, statements[0].col_offset


def _putter(
    node: ast.AST, field: str, index: int | None, old: ast.AST, new: ast.AST
) -> Callable[[], Callable[[], None]]:
    """What puts the new node into its place, and gives what takes it out again."""

    def place(child: ast.AST) -> None:
        if index is None:
            setattr(node, field, child)
        else:
            getattr(node, field)[index] = child

    def put() -> Callable[[], None]:
        place(new)
        return lambda: place(old)

    return put


def _is_left_alone(node: ast.AST, field: str) -> bool:
    """Annotations do not run, and decorators say how a record is stored."""
    return field in ("annotation", "returns", "decorator_list") or (
        isinstance(node, ast.FormattedValue) and field == "conversion"
    )


def _says_nothing(node: ast.AST) -> bool:
    """Docstrings, `__all__`, imports, and `strict=True`, which only says what is so."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.keyword(arg="strict"):
            return True
    return isinstance(node, (ast.Import, ast.ImportFrom))


def general(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What could stand in the place of a node in any code: the name of the operator, and the new node."""
    match node:
        case ast.Compare(left, ops, comparators):
            for i, op in enumerate(ops):
                flipped = [*ops[:i], FLIPPED[type(op)](), *ops[i + 1 :]]
                yield "comparison flipped", ast.Compare(left, flipped, comparators)
        case ast.BoolOp(op, values):
            yield "and/or", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.BinOp(left, op, right) if type(op) in EXCHANGED:
            yield "arithmetic", ast.BinOp(left, EXCHANGED[type(op)](), right)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "sign removed", operand
        case ast.Constant(value=bool(value)):
            yield "constant changed", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "off by one", ast.Constant(value + 1)
        case ast.Return(value=value) if not _is_none(value):
            yield "nothing returned", ast.Return(ast.Constant(None))
        case ast.Call(func, [first, second, *rest], keywords) if _differ(first, second):
            yield "arguments swapped", ast.Call(func, [second, first, *rest], keywords)
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            yield "statement dropped", ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "statement dropped", ast.Pass()
        case ast.Continue() | ast.Break() | ast.Raise():
            yield "statement dropped", ast.Pass()
        case ast.If(test, body, orelse) if _is_plain(test):
            yield "condition negated", ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test, body, orelse) if _is_plain(test):
            yield "condition negated", ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.comprehension(target, over, [_, *_], is_async):
            yield "condition dropped", ast.comprehension(target, over, [], is_async)


def _differ(first: ast.expr, second: ast.expr) -> bool:
    starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
    return not starred and ast.dump(first) != ast.dump(second)


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _is_plain(test: ast.expr) -> bool:
    """Whether no other operator turns this condition round."""
    return not isinstance(test, (ast.Compare, ast.BoolOp, ast.UnaryOp))


def _change(around: ast.AST, old: ast.AST, new: ast.AST) -> str:
    change = f"{_shown(old)} → {_shown(new)}"
    if len(_shown(old)) >= MIN_TELLING_CHARACTERS or not isinstance(old, ast.expr):
        return change
    return f"{change} in {_shown(around)}"


def _shown(node: ast.AST) -> str:
    """One line of source."""
    line = ast.unparse(node).partition("\n")[0].removesuffix(":")
    most = MAX_SHOWN_CHARACTERS
    return line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 + 3 :]}"
