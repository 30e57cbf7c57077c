"""Makes .venv and installs one pinned set into it: `python -m tools.environment book` (or `test`, or `lab`).

Standard library only: it runs before anything is installed, with the Python that .venv will use. pip speaks for
itself. A stamp in .venv, which make looks at, says that all is there.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from queue import Empty, SimpleQueue
from threading import Thread

from tools import ROOT

VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SETS = {
    "book": ["-r", "requirements-book.txt"],
    "test": ["-r", "requirements.txt"],
    "lab": ["jupyterlab==4.6.6"],
}
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"  # the address in PyTorch's installation guide
MAX_WAIT_S = 3
SAME = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"


def create() -> None:
    """A fresh .venv, unless one with this Python and pip is there."""
    if PYTHON.exists() and not subprocess.run([PYTHON, "-c", SAME], capture_output=True).returncode:
        return
    version = platform.python_version()
    if not importlib.util.find_spec("ensurepip"):  # Debian ships Python without it
        sys.exit(
            f"Python {version} has no venv module: install it (on Debian and Ubuntu: apt install python3-venv), "
            "or name another Python: make PYTHON=/path/to/python3"
        )
    print(f"Making .venv with Python {version}", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("Making .venv failed, Python says above why; nothing is left of it.")


def answers(address: str) -> bool:
    """Whether something is there within `MAX_WAIT_S`, looking up its name included."""
    heard: SimpleQueue[bool] = SimpleQueue()

    def ask() -> None:
        try:
            urllib.request.urlopen(address, timeout=MAX_WAIT_S).close()
            heard.put(True)
        except (OSError, ValueError):
            heard.put(False)

    Thread(target=ask, daemon=True).start()
    try:
        return heard.get(timeout=MAX_WAIT_S)
    except Empty:
        return False


def without_cuda() -> list[str]:
    """On Linux without an NVIDIA GPU: let pip also see PyTorch's CPU builds: 4 GB less on disk."""
    wanted = sys.platform == "linux" and not shutil.which("nvidia-smi")
    return ["--extra-index-url", CPU_WHEELS] if wanted and answers(f"{CPU_WHEELS}/torch/") else []


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in SETS:
        sys.exit(f"usage: python -m tools.environment {'|'.join(SETS)}")
    name = sys.argv[1]
    create()
    print(f"Installing what {name} needs into .venv", flush=True)
    where = without_cuda() if name == "test" else []
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *SETS[name], *where]
    if subprocess.run(pip, cwd=ROOT).returncode:
        sys.exit(
            "pip could not install the packages, it says above why; the same command again goes on."
        )
    (VENV / f"{name}.stamp").touch()


if __name__ == "__main__":
    main()
