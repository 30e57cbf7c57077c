"""Builds the book into _build/html: `python -m tools.book`, with every warning an error.

Reads the outputs stored in notebooks/ and runs nothing. Quiet while all is well; when it fails it shows the warnings,
or all that Jupyter Book said when there are none, and the exit status is 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools import ROOT

PAGE = Path("_build/html/index.html")
LOOKS = ("_static", "_assets", "_templates", "_ext")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
BUILD = "from jupyter_book.cli.main import main; main()"


def looks_changed(root: Path) -> bool:
    """Whether what every page looks like is newer than the pages; Sphinx by itself only looks at their texts."""
    page = root / PAGE
    files = (file for folder in LOOKS for file in (root / folder).rglob("*") if file.is_file())
    return page.is_file() and any(file.stat().st_mtime > page.stat().st_mtime for file in files)


def build(root: Path = ROOT) -> tuple[bool, str]:
    """Build the book below `root`; whether it succeeded, and all that was said."""
    anew = ["--all"] if looks_changed(root) else []
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "build", ".", "-W", "--keep-going", *anew],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    good = done.returncode == 0 and (root / PAGE).is_file()
    if not good:  # or the next build would skip the pages that warned, and succeed
        shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
    return good, COLOUR.sub("", done.stdout)


def main() -> int:
    print("Building the book", flush=True)
    start = time.perf_counter()
    good, words = build()
    if not good:
        warnings = [line for line in words.splitlines() if re.search(r"\b(WARNING|ERROR): ", line)]
        here = f"{ROOT}{os.sep}"
        print("\n".join(warnings).replace(here, "  ") or words, file=sys.stderr)
        counted = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        print(f"The book did not build: {counted}, shown above.", file=sys.stderr)
        return 1
    (ROOT / "_build" / "book.stamp").touch()
    print(f"  done in {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
