"""Runs the package's own tests with another PyTorch than the pinned one: `python -m tools.versions 2.14.1`.

The lessons and their outputs are those of the pin. The package runs with the PyTorch that is there, in Colab say, so
the range in `pyproject.toml` has to be true: this is how that is seen. It takes several GB, in `_build`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv

from tools import ROOT

PINS = ("requirements-book.txt", "requirements.txt")
NEEDS = {"beautifulsoup4", "graphviz", "hypothesis", "jinja2", "matplotlib", "nbval", "numpy"}
NEEDS |= {"playwright", "pygraphviz", "pytest", "pytest-xdist", "scikit-learn"}
TESTS = ("chains", "clumps", "compare", "drawing", "fold", "forms", "generations", "golden")
TESTS += ("memory", "recorder", "saved", "truth")


def needed(version: str) -> list[str]:
    """What goes into the environment: this PyTorch, and what its tests need as it is pinned; the rest is PyTorch's."""
    lines = [line for name in PINS for line in (ROOT / name).read_text("utf-8").splitlines()]
    return [f"torch=={version}", *(line for line in lines if line.partition("==")[0] in NEEDS)]


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit("name one version: make torch VERSION=2.14.1")
    version = sys.argv[1]
    folder = ROOT / "_build" / f"torch-{version}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    print(f"Installing PyTorch {version} into {folder.relative_to(ROOT)}", flush=True)
    venv.create(folder, with_pip=True)
    quiet = ("-q", "--disable-pip-version-check")
    if subprocess.run([python, "-m", "pip", "install", *quiet, *needed(version)]).returncode:
        sys.exit(f"pip did not install PyTorch {version}: it says above why")
    tests = [f"tests/test_{name}.py" for name in TESTS]
    # its own deprecations are not ours to mend: the pinned one's are errors in `make test`
    how = ("-q", "-n", "logical", "-p", "no:cacheprovider", "-o", "filterwarnings=ignore")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [python, "-m", "pytest", *how, "definebyrun", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
