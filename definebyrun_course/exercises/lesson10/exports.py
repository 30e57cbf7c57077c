"""A module is exported without a word on the screen; what `torch.export` refuses becomes a sentence."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ...grading import Mistake, expect, forms

__all__ = ["PYTHON_DECIDES", "exported", "require_module_class"]

MAX_WORDS_CHARS = 110
PYTHON_DECIDES = "torch.export refuses: Python decides on a value that is not there yet."


def require_module_class(answer: Any, name: str) -> None:
    """`Mistake` unless the answer is a class of modules; `name` is what the lesson calls it."""
    expect(
        isinstance(answer, type) and issubclass(answer, nn.Module),
        f"The answer is a class of modules; this is {forms.said(answer)}.",
        f"Hand over the class {name} itself.",
    )


def exported(
    make: Callable[[], nn.Module],
    inputs: tuple[Any, ...],
    known: Mapping[str, tuple[str, str]],
    otherwise: str,
) -> torch.export.ExportedProgram:
    """The exported program of a module that is made here; `Mistake` where it cannot be exported.

    `known` has message and hint by a word of PyTorch's own message, `otherwise` is the hint for any other.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return torch.export.export(make(), inputs)
    except Exception as error:  # many types, one meaning: it cannot be exported
        raise _refused(error, known, otherwise) from error
    finally:
        logging.disable(disabled)


def _refused(error: Exception, known: Mapping[str, tuple[str, str]], otherwise: str) -> Mistake:
    words = str(error)
    for word, said in known.items():
        if word in words:
            return Mistake(*said)
    first = words.strip().splitlines()[0] if words.strip() else ""
    return Mistake(
        f"torch.export refuses with {type(error).__name__}: {first[:MAX_WORDS_CHARS]}", otherwise
    )
