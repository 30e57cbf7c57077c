"""A file's name goes in, its text comes out: style, script and frame that lie beside this module.

White space, comments and spellings that only people need are left out, because every drawing carries these texts.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["asset"]

_QUOTED = re.compile(r"""("[^"]*"|'[^']*'|/[A-Z][^/]*/|calc\([^;]*;)""")
_SHORTER = {
    ".js": (
        (r"\s*([=*<>?:&|{},;!()+/-])\s*", r"\1"),
        (";}", "}"),
        (r"\((\w+)\)=>", r"\1=>"),
        (r"\bconst ", "let "),
    ),
    ".css": ((r"\s*([{},;])\s*", r"\1"), (";}", "}")),
    ".html": (),
}


@cache
def asset(name: str) -> str:
    """The text of a file that lies beside this module. In a script every statement ends in `;` or `}`."""
    lines = files(__package__).joinpath(name).read_text("utf8").splitlines()
    lines = [line.strip() for line in lines if not line.strip().startswith(("//", "/*"))]
    # Every second part is a string or a selector in quotes: that stays as it is.
    parts = _QUOTED.split("\n".join(lines))
    for pattern, shorter in _SHORTER[name[name.rindex(".") :]]:
        parts[::2] = [re.sub(pattern, shorter, part) for part in parts[::2]]
    return "".join(parts)
