"""Makes .venv and installs one pinned set into it: `python tools/environment.py book` (or `test`, or `lab`).

Standard library only: it runs before anything is installed, with the Python that .venv will use. It shows how far
pip is, keeps pip's own words for when it fails, and leaves a stamp in .venv that make looks at.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SETS = {
    "book": ["-r", "requirements-book.txt"],
    "test": ["-r", "requirements.txt"],
    "lab": ["jupyterlab==4.6.6"],
}


def works(*command: str) -> bool:
    """Whether the Python in .venv runs this."""
    if not PYTHON.exists():
        return False
    return subprocess.run([PYTHON, *command], capture_output=True).returncode == 0


def create() -> None:
    """A fresh .venv, unless a working one is there; a broken or outdated one is replaced."""
    version = ".".join(map(str, sys.version_info[:3]))
    if works("-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"):
        if not works("-c", f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"):
            print(
                f".venv has another Python than {version} and is kept; make clean ALL=1 removes it"
            )
        return
    try:
        import ensurepip  # noqa: F401  # Debian ships Python without it
        import venv
    except ImportError:
        sys.exit(
            f"Python {version} has no venv module: install it (on Debian and Ubuntu: "
            f"apt install python3-venv), or name another Python: make PYTHON=/path/to/python3"
        )
    print(f"Making .venv with Python {version}", flush=True)
    try:
        venv.create(VENV, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(f"Making .venv failed, and nothing is left of it: {error}")


def install(arguments: list[str]) -> None:
    """Run pip and show one line per phase (on a terminal: one line that moves); its words only when it fails."""
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    words, count, last = [], 0, time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as pip:
        for line in pip.stdout:
            words.append(line)
            found = re.match(
                r"(?:Collecting|Processing) (?:\S*/)?([\w.]+?(?:-[a-zA-Z]\w*)*)(?=[\s;=<>!\[-])",
                line,
            )
            size = re.search(r"Downloading (\S+?)-\d\S* \((\d{3,}[.\d]* [MG]B)\)", line)
            if found:
                count += 1
                last = show(f"  {count} packages found, now {found[1]}", last)
            elif size:
                last = show(f"  downloading {size[1].rpartition('/')[2]}, {size[2]}", 0.0)
            elif line.startswith("Installing collected"):
                last = show(f"  installing {count} packages", 0.0)
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)
    if pip.returncode:
        print("".join(words[-25:]), file=sys.stderr)
        sys.exit(
            "pip could not install the packages; its last words stand above. Run the same command again to go on."
        )


def show(text: str, last: float) -> float:
    """Print progress: always on a terminal, over the line before; elsewhere at most every ten seconds."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text[:78]}", end="", flush=True)
    elif time.monotonic() - last >= 10:
        print(text, flush=True)
    else:
        return last
    return time.monotonic()


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in SETS:
        sys.exit(f"usage: python tools/environment.py {'|'.join(SETS)}")
    name = sys.argv[1]
    start = time.monotonic()
    create()
    print(f"Installing what {name} needs into .venv", flush=True)
    install(SETS[name])
    (VENV / f"{name}.stamp").touch()
    print(f"  done in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
