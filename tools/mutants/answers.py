"""The right answers to exercises as sources that can be mutated: the chapters' solutions, and those listed with checks.

A `Source` is a text and the parts of it that answers are made of. Its code, with a fault or without, is run apart from
the modules that are imported, so that the check and the oracle keep theirs.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from definebyrun_course.exercises import Exercise, lesson_of, lessons, of_lesson
from tools import chapters
from tools.mutants.field import of_answers
from tools.mutants.operators import Faults, Mutant

__all__ = ["PUBLISHED", "Answers", "Source", "exercises", "of_chapter", "sources", "written"]

Answers = dict[str, tuple[Any, ...]]
"""What is handed to `check` after the exercise's id, by the name of the right answer."""
PUBLISHED = "published"
GIVEN = "__given__"
LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
ROOM = "definebyrun_course.exercises"
Span = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Source:
    """A text that makes right answers to an exercise.

    `file` is what its mutants are called by; `spans` are the places (line, column) of the parts of each answer, by its
    name; `run` gives the answers that a code of this text makes.
    """

    exercise: Exercise
    file: str
    path: str
    text: str = field(repr=False)
    spans: Mapping[str, tuple[Span, ...]] = field(repr=False)
    run: Callable[[CodeType], Answers] = field(repr=False)

    @cached_property
    def _faults(self) -> Faults:
        return Faults(self.text, self._instead)

    def mutants(self) -> list[Mutant]:
        return self._faults.mutants(self.file)

    def answers(self, mutant: Mutant | None = None) -> Answers:
        """The right answers, with a fault; only those that the fault is in."""
        made = self.run(self._faults.code(self.path, None if mutant is None else mutant.number))
        names = [name for name in self.spans if mutant is None or self._holds(name, mutant.line)]
        return {name: made[name] for name in names}

    def _holds(self, name: str, line: int) -> bool:
        return any(first[0] <= line <= last[0] for first, last in self.spans[name])

    def _instead(self, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
        begin, end = node, node
        if isinstance(node, ast.comprehension):
            begin, end = node.target, node.iter
        if not isinstance(begin, (ast.expr, ast.stmt)) or not isinstance(end, (ast.expr, ast.stmt)):
            return iter(())
        span = _span(begin)[0], _span(end)[1]
        every = (each for spans in self.spans.values() for each in spans)
        inside = any(first <= span[0] and span[1] <= last for first, last in every)
        return of_answers(node) if inside else iter(())


def exercises() -> list[Exercise]:
    """All exercises that say what is right beside the published answer."""
    every = (exercise for number in lessons() for exercise in of_lesson(number))
    return [exercise for exercise in every if exercise.right]


def sources(exercise: Exercise) -> list[Source]:
    """The texts that the right answers to an exercise are made of."""
    return [of_chapter(exercise, written(exercise.id)), *_of_modules(exercise)]


# ---- from chapters ----


@cache
def _of_lesson(lesson: str) -> dict[str, chapters.Exercise]:
    found = next(each for each in chapters.lessons() if each.name.startswith(lesson))
    return {exercise.id: exercise for exercise in chapters.exercises(found)}


def written(name: str) -> chapters.Exercise:
    """An exercise as its chapter has it."""
    return _of_lesson(lesson_of(name))[name]


@cache
def _set_up(setup: str) -> dict[str, Any]:
    """The names that a lesson's setup cells define; it may set another default dtype, which is taken back."""
    import torch

    names: dict[str, Any] = {"__name__": "__main__"}
    before = torch.get_default_dtype()
    try:
        exec(compile(setup, "<setup>", "exec"), names)
    finally:
        torch.set_default_dtype(before)
    return names


def of_chapter(exercise: Exercise, written: chapters.Exercise) -> Source:
    """The solution that is printed; the check at its end becomes an assignment of what is handed to it."""
    body = ast.parse(written.solution).body
    *_, last = checks = [node for node in body if f".check('{exercise.id}'" in ast.unparse(node)]
    match last:
        case ast.Expr(ast.Call(args=[_, *given])):
            handed = ", ".join(ast.unparse(each) for each in given)
        case _:
            raise ValueError(f"the solution of {exercise.id} does not end in its check")
    body = [node for node in body if node not in checks]
    lines = written.solution.splitlines()[: last.lineno - 1]
    text = "\n".join([*lines, f"{GIVEN} = ({handed},)"])
    parts: list[ast.stmt | ast.expr] = [*body, *_entries(text)]

    def run(code: CodeType) -> Answers:
        names = dict(_set_up(written.setup))
        exec(code, names)
        return {PUBLISHED: names[GIVEN]}

    file = f"{exercise.id} {PUBLISHED}"
    return Source(exercise, file, "<solution>", text, {PUBLISHED: tuple(map(_span, parts))}, run)


def _entries(text: str) -> list[ast.expr]:
    match ast.parse(text).body[-1]:
        case ast.Assign(value=ast.Tuple(elts)):
            return elts
    return []


# ---- from the modules of exercises ----


def _of_modules(exercise: Exercise) -> Iterator[Source]:
    module = _module(exercise)
    codes = {right.name: list(_codes(right.given, module)) for right in exercise.right}
    for path in sorted({code.co_filename for found in codes.values() for code in found}):
        text = Path(path).read_text("utf-8")
        tree = ast.parse(text)
        spans = {
            name: tuple(
                span
                for line in sorted({c.co_firstlineno for c in found if c.co_filename == path})
                for span in _part(tree, line)
            )
            for name, found in codes.items()
        }
        own = _named(module, path)
        run = functools.partial(_run, module, own)
        file = f"{exercise.id} {Path(path).name}"
        yield Source(exercise, file, path, text, {n: s for n, s in spans.items() if s}, run)


def _module(exercise: Exercise) -> ModuleType:
    """Where an exercise is defined."""
    return importlib.import_module(f"{ROOM}.lesson{lesson_of(exercise.id)}.{exercise.id}")


def _named(module: ModuleType, path: str) -> ModuleType:
    """The module of a file in the same lesson."""
    room = module.__name__.rpartition(".")[0]
    return sys.modules[f"{room}.{Path(path).stem}"]


def _run(exercise: ModuleType, mutated: ModuleType, code: CodeType) -> Answers:
    """The answers that are listed in the exercise's module when a module has this code."""
    names = [mutated.__name__, *({exercise.__name__} - {mutated.__name__})]
    kept = {name: sys.modules[name] for name in names}
    room = sys.modules[exercise.__name__.rpartition(".")[0]]
    try:
        for module in (mutated, *([exercise] if exercise is not mutated else [])):
            anew = ModuleType(module.__name__)
            anew.__file__, anew.__package__ = module.__file__, module.__package__
            sys.modules[module.__name__] = anew
            setattr(room, module.__name__.rpartition(".")[2], anew)
            exec(code if module is mutated else _plain_code(str(module.__file__)), anew.__dict__)
        listed: Exercise = anew.EXERCISE
    finally:
        for name, module in kept.items():
            sys.modules[name] = module
            setattr(room, name.rpartition(".")[2], module)
    return {right.name: right.given for right in listed.right}


@cache
def _plain_code(path: str) -> CodeType:
    return compile(Path(path).read_text("utf-8"), path, "exec", dont_inherit=True)


def _span(node: ast.expr | ast.stmt) -> Span:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    start = (first, 0 if first < node.lineno else node.col_offset)
    return start, (node.end_lineno or first, node.end_col_offset or 0)


def _part(tree: ast.Module, line: int) -> tuple[Span, ...]:
    """The function or class of a module around a line; where there is none, the lambdas that begin in it."""
    for node in tree.body:
        (first, _), (last, _) = _span(node)
        if first <= line <= last:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                return (_span(node),)
            inside = (each for each in ast.walk(node) if isinstance(each, ast.Lambda))
            return tuple(_span(each) for each in inside if each.lineno == line)
    return ()


def _codes(answers: tuple[Any, ...], module: ModuleType) -> Iterator[CodeType]:
    """The code of all functions of this lesson that answers are made of, or use."""
    room, folder = module.__name__.rpartition(".")[0], Path(str(module.__file__)).parent
    waiting: list[Any] = [answers]
    seen: dict[int, Any] = {}
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # kept, so that no other thing gets its id
        if isinstance(thing, FunctionType) and Path(thing.__code__.co_filename).parent == folder:
            yield thing.__code__  # not the methods that dataclasses write
        waiting += _inside(thing, room)


def _inside(thing: Any, room: str) -> list[Any]:
    """What a thing is made of, or uses."""
    match thing:
        case FunctionType():
            if not thing.__module__.startswith(room):
                return []
            used = [thing.__globals__[n] for n in _names(thing.__code__) if n in thing.__globals__]
            cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
            return [*used, *cells, thing.__defaults__, thing.__kwdefaults__]
        case MethodType():
            return [thing.__func__, thing.__self__]
        case functools.partial():
            return [thing.func, thing.args, thing.keywords]
        case staticmethod() | classmethod():
            return [thing.__func__]
        case property():
            return [thing.fget]
        case ModuleType():
            return []
        case type():
            own = str(getattr(thing, "__module__", "")).startswith(room)
            return [*vars(thing).values(), *thing.__bases__] if own else []
        case list() | tuple() | set():
            return list(thing)
        case dict():
            return list(thing.values())
    own = str(getattr(type(thing), "__module__", "")).startswith(room)
    return [type(thing), *vars(thing).values()] if own and hasattr(thing, "__dict__") else []


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _names(code: CodeType) -> Iterator[str]:
    """The global names that a code loads; the names of attributes and methods are none of them."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname in LOADS)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
