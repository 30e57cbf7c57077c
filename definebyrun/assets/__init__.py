"""A file's name goes in, its text comes out: the styles, the script and the HTML templates that lie beside this module.

Every drawing carries these texts, so comments and white space, which only people need, are left out. HTML is made by
one jinja2 environment alone, which escapes everything but `Markup`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader

__all__ = ["asset", "render_html"]

_CSS_QUOTED = re.compile(r"""("[^"]*"|'[^']*')""")
_CSS_SPACE = (
    (re.compile(r"/\*.*?\*/", re.DOTALL), ""),
    (re.compile(r"\s+"), " "),
    (re.compile(r" ?([{},;]) ?"), r"\1"),  # not before a colon: `a :hover` is not `a:hover`
    (re.compile(r": "), ":"),
    (re.compile(r";}"), "}"),
)


_JS_SPACE = re.compile(r"""("[^"]*"|'[^']*'|`[^`]*`)|\s*//.*|[ ]*([][=<>&|?:,;{}()*/+-]+)[ ]*""")
"""Within a line: a string, which stays, a comment, or signs that need no space around them."""


@cache
def asset(name: str) -> str:
    """The text of a file that lies beside this module, small: comments and white space without meaning go.

    >>> asset("table.css")[:44]
    '.dbr-rows{overflow-x:auto;margin:.6rem 0}.db'
    """
    text = files(__package__).joinpath(name).read_text("utf8")
    if name.endswith(".css"):
        parts = _CSS_QUOTED.split(text)  # every second part is a string, and stays as it is
        for pattern, shorter in _CSS_SPACE:
            parts[::2] = [pattern.sub(shorter, part) for part in parts[::2]]
        return "".join(parts).strip()
    lines = [line.strip() for line in text.splitlines()]
    if name.endswith(".js"):
        lines = [_JS_SPACE.sub(lambda part: part[1] or part[2] or "", line) for line in lines]
        # where a line ends in these, no semicolon is put in for the end of the line
        return "".join(line if line[-1] in ";{,(" else f"{line}\n" for line in lines if line)
    return "\n".join(line for line in lines if line)


@cache
def _environment() -> Environment:
    """The templates, compiled once a process; `tojson` writes characters as they are, but for those of HTML."""
    made = Environment(
        autoescape=True, loader=FunctionLoader(asset), trim_blocks=True, lstrip_blocks=True
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return made


def render_html(name: str, **values: Any) -> str:
    r"""A template filled with values, which are escaped.

    >>> render_html("image.html", label="a < b", image="data:")
    '<!-- A plot. -->\n<img alt="a &lt; b" src="data:">'
    """
    return _environment().get_template(name).render(values)
