"""A module's source and a fault go in: functions that run already get the code of the mutant, without a new import.

What runs when a module is imported (constants, tables, classes) cannot be exchanged like that: `NotInFunctions`.
With `counting_blocks` the same functions note which of their blocks have run.
"""

from __future__ import annotations

import ast
import builtins
import gc
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FunctionType

from tools.mutants.operators import FUNCTIONS, Block, begins

__all__ = ["Functions", "NotInFunctions", "counting_blocks", "mark_in"]

MARK = "__mutants_block_ran__"


class NotInFunctions(ValueError):
    """The fault is in code that has run when its module was imported."""


class Functions:
    """The functions that exist now, by their code."""

    def __init__(self) -> None:
        self._by_code: dict[CodeType, list[FunctionType]] = defaultdict(list)
        gc.unfreeze()  # what is frozen is not listed
        for thing in gc.get_objects():
            if type(thing) is FunctionType:
                self._by_code[thing.__code__].append(thing)

    def swap(self, old: CodeType, new: CodeType) -> None:
        """Give every function whose code differs between two codes of one module the new one."""
        for before, after in list(_differing(old, new)):
            for function in self._by_code.get(before, ()):
                try:
                    function.__code__ = after
                except ValueError as error:  # another number of variables of the function around it
                    raise NotInFunctions(str(error)) from None


def _differing(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The pairs of function codes that differ, from the outside in."""
    if old == new:
        return
    before, after = _inner(old), _inner(new)
    is_function = bool(old.co_flags & 0x2)  # CO_NEWLOCALS: not a module, not the body of a class
    if is_function:
        yield old, new
    elif _own(old) != _own(new):
        raise NotInFunctions(old.co_qualname)
    if len(before) == len(after):
        for one, two in zip(before, after, strict=True):
            yield from _differing(one, two)


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _own(code: CodeType) -> tuple[object, ...]:
    """What a code does by itself, without the functions that it makes."""
    constants = [
        (type(constant), repr(constant))
        for constant in code.co_consts
        if not isinstance(constant, CodeType)
    ]
    return code.co_code, constants, code.co_names


class _Marks(ast.NodeTransformer):
    """Puts a mark in front of every block of every function."""

    def __init__(self, first: int) -> None:
        self.first, self.depth = first, 0
        self.blocks: list[Block] = []

    def visit(self, node: ast.AST) -> ast.AST:
        is_function = isinstance(node, FUNCTIONS)
        self.depth += is_function
        self.generic_visit(node)
        self.depth -= is_function
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            inside = self.depth or (is_function and field == "body")
            if inside and isinstance(statements, list) and statements:
                (mark,) = ast.parse(f"{MARK}[{self.first + len(self.blocks)}] = 1").body
                self.blocks.append(begins(statements))
                for part in ast.walk(mark):
                    ast.copy_location(part, statements[0])
                has_docstring = isinstance(node, FUNCTIONS) and ast.get_docstring(node) is not None
                statements.insert(int(has_docstring), mark)
        return node


def counting_blocks(source: str, path: str, first: int) -> tuple[CodeType, list[Block]]:
    """The code of a module that writes 1 into `MARK[first + i]` when its block `i` runs; and where its blocks begin."""
    marks = _Marks(first)
    tree = ast.parse(source)
    marks.visit(tree)  # in place
    return compile(tree, path, "exec", dont_inherit=True), marks.blocks


def mark_in(count: int) -> bytearray:
    """Where that many blocks write that they have run."""
    ran = bytearray(count)
    setattr(builtins, MARK, ran)
    return ran
