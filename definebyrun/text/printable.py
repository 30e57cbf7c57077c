"""A text goes in, the same comes out in characters that standard output can write: printing never raises.

A terminal, a notebook and most files take every character. Output that Windows sends into a pipe or a file is written
in the code page of the system, which has no `→`; there it becomes `->`. Texts that are asked for as such, not shown,
keep their characters: what is written to a file says its own encoding.
"""

from __future__ import annotations

import sys

__all__ = ["printable"]

SPELLINGS = {
    "→": "->",
    "−": "-",
    "–": "-",
    "×": "x",
    "÷": "/",
    "·": "|",
    "…": "...",
    "²": "^2",
    "\N{NO-BREAK SPACE}": " ",
}
"""How the signs of our own texts are spelled in ASCII."""


def printable(text: str) -> str:
    """The text, with what `sys.stdout` cannot encode spelled in ASCII, or as an escape such as `\\u6743`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if _fits(text, encoding):
        return text
    for sign in set(text) & set(SPELLINGS):
        if not _fits(sign, encoding):
            text = text.replace(sign, SPELLINGS[sign])
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
