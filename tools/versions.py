"""Tries another PyTorch with the package and the lessons: `python -m tools.versions 2.14.1`, or `nightly`.

The stored outputs of the lessons are those of the pin. Package and lessons run with the PyTorch that is there, in
Colab say, so the range in `pyproject.toml` has to be true, and what a lesson says has to hold, but for what
`known_differences.toml` lists: this is how that is seen. It takes up to several GB, in `_build`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv

from tools import ROOT

NIGHTLY = (
    "https://download.pytorch.org/whl/nightly/cpu"  # the address in PyTorch's installation guide
)


def torch(version: str) -> list[str]:
    """What pip is asked for to get this PyTorch."""
    return (
        ["--pre", "--index-url", NIGHTLY, "torch"]
        if version == "nightly"
        else [f"torch=={version}"]
    )


def others() -> list[str]:
    """What the tests need besides, as it is pinned; what PyTorch itself asks for is PyTorch's choice."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    asked = {
        line.split(";")[0].split("=")[0].strip() for line in groups["lessons"] + groups["test"]
    } | {"nbclient"}
    pins = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [pin.split("#")[0] for pin in pins if pin.partition("==")[0] in asked - {"torch"}]


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit("name one version: make torch VERSION=2.14.1, or VERSION=nightly")
    version = sys.argv[1]
    folder = ROOT / "_build" / f"torch-{version}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    print(f"Installing PyTorch {version} into {folder.relative_to(ROOT)}", flush=True)
    venv.create(folder, with_pip=True)
    for wanted in (torch(version), others()):
        quiet = ("-q", "--disable-pip-version-check")
        if subprocess.run([str(python), "-m", "pip", "install", *quiet, *wanted]).returncode:
            sys.exit(
                f"pip did not install PyTorch {version}, or what its tests need: it says above why"
            )
    # its own deprecations are not ours to mend: the pinned one's are errors in `make test`
    how = ("-q", "-n", "logical", "-p", "no:cacheprovider", "-o", "filterwarnings=ignore")
    command = [str(python), "-m", "pytest", *how, "tests/package", "definebyrun"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    lessons = [str(python), "-m", "tools.compare_outputs"]
    done = [subprocess.run(each, cwd=ROOT, env=environment) for each in (command, lessons)]
    return max(each.returncode for each in done)


if __name__ == "__main__":
    sys.exit(main())
