"""Every file, class and function of the package can be taken in at once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import definebyrun

MAX_FILE_LINES, MAX_CLASS_LINES, MAX_FUNCTION_LINES = 350, 250, 60
FOLDER = Path(definebyrun.__file__).parent


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.py")), ids=lambda file: file.stem)
def test_nothing_is_too_long_to_be_read(file: Path) -> None:
    source = file.read_text("utf-8")
    assert source.count("\n") <= MAX_FILE_LINES
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            most = MAX_CLASS_LINES if isinstance(part, ast.ClassDef) else MAX_FUNCTION_LINES
            assert (part.end_lineno or 0) - part.lineno + 1 <= most, part.name
