"""The `{api}` directive: public names of the package with their docstrings, read from its source files.

In come names such as `Tape`, out goes what a reader may use of each: signature, docstring, methods and properties,
fields with their types. Nothing is imported, so the book needs no PyTorch. A name that is not there is a warning,
which the book's build makes an error.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PACKAGE = "definebyrun"
ONE_LINE = ":single-line-parameter-list:\n"
"""Else Sphinx makes a list without terms of many parameters, which a screen reader cannot read."""
DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
QUOTED = re.compile(r"(?<!`)`([\w.]+)(\(\))?`(?!`)")
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Found:
    """Where a public name is defined: the file, all of it parsed, and the definition itself."""

    file: Path
    module: ast.Module
    definition: Definition


@functools.cache
def parsed(file: Path, changed_ns: int) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def find(name: str, folder: Path, file: Path | None = None) -> Found | None:
    """Follow the imports of the package's `__init__.py`, and of those of its rooms, to where a name is defined."""
    file = file or folder / "__init__.py"
    module = parsed(file, file.stat().st_mtime_ns)
    for statement in module.body:
        if isinstance(statement, Definition) and statement.name == name:
            return Found(file, module, statement)
        imports = isinstance(statement, ast.ImportFrom) and statement.level == 1
        if imports and name in [alias.asname or alias.name for alias in statement.names]:
            place = file.parent.joinpath(*(statement.module or name).split("."))
            inside = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            return find(name, folder, inside)
    return None


def markdown(text: str, linked: dict[str, str]) -> str:
    """A docstring as MyST Markdown: its examples are blocks of code, names that stand on the page are links."""
    examples: list[str] = []

    def put_aside(found: re.Match[str]) -> str:
        examples.append(f"```pycon\n{found[0]}\n```")
        return f"\0{len(examples) - 1}\0"

    def link(found: re.Match[str]) -> str:
        target = linked.get(found[1])
        shown = found[1] + (found[2] or "")
        return f"{{py:obj}}`{shown} <{PACKAGE}.{target}>`" if target else found[0]

    text = QUOTED.sub(link, DOCTEST.sub(put_aside, text))
    return re.sub("\0(\\d+)\0", lambda found: examples[int(found[1])], text)


def block(kind: str, signature: str, body: str, options: str = "", depth: int = 4) -> str:
    fence = "`" * depth
    return f"{fence}{{py:{kind}}} {signature}\n{options}\n{body}\n{fence}\n"


def signature(function: ast.FunctionDef, bound: bool = False) -> str:
    """Name, arguments and what it gives; a context manager gives what `with … as` does."""
    given = copy.deepcopy(function.args)
    if bound:  # without self or cls
        del (given.posonlyargs or given.args)[0]
    returns = ast.unparse(function.returns) if function.returns else "None"
    if "contextmanager" in decorators(function):
        returns = re.sub(r"^Iterator\[(.*)\]$", r"AbstractContextManager[\1]", returns)
    return f"{function.name}({ast.unparse(given)}) -> {returns}"


def decorators(function: Definition) -> set[str]:
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in function.decorator_list}


def aliases(module: ast.Module) -> dict[str, str]:
    """The names that a file gives to sets of words, `Literal[…]`, which say more than the name."""
    return {
        ast.unparse(statement.targets[0]): ast.unparse(statement.value)
        for statement in module.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith("Literal[")
    }


class Api(SphinxDirective):
    """`{api} NAME …`."""

    required_arguments = 1
    optional_arguments = 99

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / PACKAGE
        init = folder / "__init__.py"
        self.env.note_dependency(str(init))
        self.env.note_dependency(__file__)
        public = names(parsed(init, init.stat().st_mtime_ns))
        texts = []
        for name in self.arguments:
            found = find(name, folder)
            if found is None or name not in public:
                reason = f"api: {PACKAGE} has no public name {name!r}."
                return [self.state.document.reporter.warning(reason, line=self.lineno)]
            self.env.note_dependency(str(found.file))
            links = {other: other for other in public if other != name}
            texts.append(self.text(found, links))
        return self.parse_text_to_nodes("\n".join(texts))

    def text(self, found: Found, links: dict[str, str]) -> str:
        """One name with all that belongs to it, as MyST Markdown."""
        definition = found.definition
        said = ast.get_docstring(definition) or ""
        options = f":module: {PACKAGE}\n"
        if isinstance(definition, ast.FunctionDef):
            options += ONE_LINE
            return block("function", signature(definition), markdown(said, links), options)
        members = [x for x in with_inherited(found) if public_member(x)]
        links |= {x.name: f"{definition.name}.{x.name}" for x in members if hasattr(x, "name")}
        parts = [field(x, aliases(found.module)) for x in members if isinstance(x, ast.AnnAssign)]
        parts += [member(x, links) for x in members if isinstance(x, ast.FunctionDef)]
        body = "\n".join([markdown(said, links), "", *parts])
        kind = "exception" if definition.name.endswith("Error") else "class"
        return block(kind, definition.name, body, options, depth=5)


def with_inherited(found: Found) -> list[ast.stmt]:
    """The statements of a class, before them those of its bases in the package that it does not replace."""
    body = found.definition.body
    own = {getattr(statement, "name", None) for statement in body}
    inherited = []
    for base in getattr(found.definition, "bases", []):
        there = find(ast.unparse(base), found.file.parent, found.file)
        if there is not None:
            inherited += [x for x in with_inherited(there) if getattr(x, "name", None) not in own]
    return [*inherited, *body]


def names(module: ast.Module) -> list[str]:
    """What `__all__` lists."""
    for statement in module.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return ast.literal_eval(statement.value)
    return []


def public_member(statement: ast.stmt) -> bool:
    name = getattr(statement, "name", None) or ast.unparse(
        getattr(statement, "target", ast.Name("_"))
    )
    return not name.startswith("_")


def field(statement: ast.AnnAssign, known: dict[str, str]) -> str:
    """A field with its type, and its default where that is more than a call."""
    kind = ast.unparse(statement.annotation)
    options = f":type: {known.get(kind, kind)}\n"
    if isinstance(statement.value, ast.Constant | ast.Tuple):
        options += f":value: {ast.unparse(statement.value)}\n"
    return block("attribute", ast.unparse(statement.target), "", options)


def member(function: ast.FunctionDef, links: dict[str, str]) -> str:
    """A method or a property with its docstring."""
    said = markdown(ast.get_docstring(function) or "", links)
    if decorators(function) & {"property", "cached_property"}:
        kind = ast.unparse(function.returns) if function.returns else "None"
        return block("property", function.name, said, f":type: {kind}\n")
    options = ONE_LINE + (":classmethod:\n" if "classmethod" in decorators(function) else "")
    return block("method", signature(function, bound=True), said, options)


def setup(app: Sphinx) -> dict:
    app.add_directive("api", Api)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
