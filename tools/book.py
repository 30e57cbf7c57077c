"""Builds the book into _build/html: `python -m tools.book`, with every warning an error.

Reads the outputs stored in notebooks/ and runs nothing. Quiet while all is well; when it fails it shows what Jupyter
Book said and leaves the exit status at 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("_build/html/index.html")
BUILD = "from jupyter_book.cli.main import main; main()"


def build(root: Path = ROOT) -> tuple[bool, str]:
    """Build the book below `root`; whether it succeeded, and all that was said."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "build", ".", "-W", "--keep-going"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    return done.returncode == 0 and (root / PAGE).is_file(), done.stdout


def main() -> int:
    print("Building the book", flush=True)
    start = time.perf_counter()
    good, words = build()
    if not good:
        print(words, file=sys.stderr)
        warnings = len(re.findall(r"\b(?:WARNING|ERROR)\b: ", words))
        print(f"The book did not build: {warnings or 'no'} warnings, shown above.", file=sys.stderr)
        return 1
    (ROOT / "_build" / "book.stamp").touch()
    print(f"  done in {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
