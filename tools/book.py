"""Builds the book into _build/html: `python -m tools.book`, with every warning an error. `--links` asks its links.

Reads the outputs stored in notebooks/ and runs nothing. Quiet while all is well; when it fails it shows the warnings,
or all that Jupyter Book said when there are none, and the exit status is 1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from tools import ROOT

__all__ = ["PAGE", "behind", "build", "jupyter_book", "looks_changed"]

PAGE = Path("_build/html/index.html")
LOOKS = ("_static", "_assets", "_templates", "_ext")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
COMMAND = "from jupyter_book.cli.main import main; main()"
FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
BADGE = re.compile(r"^\[!\[Open in Colab\].*\n*", re.MULTILINE)
BETWEEN_CELLS = re.compile(
    r"(?:\s+|^\+\+\+.*$|^```(?:\{code-cell\}.*)?$|^:\w+: .*$)*", re.MULTILINE
)
REFUSED = re.compile(r" - (?:403|429) Client Error")  # to a robot: the page is there
LISTED = ROOT / "_build" / "linkcheck" / "output.json"
MAX_WAIT_S = 10
ONLY_IN_NOTEBOOKS = ("setup", "open-answers")
"""Cells that `tools.chapters`, which the environment of the book cannot import, puts in."""


def jupyter_book(*arguments: str | Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Jupyter Book on the sources below `root`; what it said is in `stdout`, without colours."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "build", ".", *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    done.stdout = COLOUR.sub("", done.stdout)
    return done


def looks_changed(root: Path) -> bool:
    """Whether what every page looks like is newer than the pages; Sphinx by itself only looks at their texts."""
    page = root / PAGE
    files = (file for folder in LOOKS for file in (root / folder).rglob("*") if file.is_file())
    return page.is_file() and any(file.stat().st_mtime > page.stat().st_mtime for file in files)


def build(root: Path = ROOT) -> tuple[bool, str]:
    """Build the book below `root`; whether it succeeded, and all that was said."""
    anew = ["--all"] if looks_changed(root) else []
    done = jupyter_book("-W", "--keep-going", *anew, root=root)
    good = done.returncode == 0 and (root / PAGE).is_file()
    if not good:  # or the next build would skip the pages that warned, and succeed
        shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
    return good, done.stdout


def behind(root: Path = ROOT) -> list[str]:
    """The names of the lessons whose notebook does not say what the chapter says: pages show the notebook."""
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    chapters = {path: root / "chapters" / f"{path.stem}.md" for path in notebooks}
    return [
        path.stem
        for path, chapter in chapters.items()
        if chapter.is_file()
        and not says(json.loads(path.read_text("utf-8")), chapter.read_text("utf-8"))
    ]


def says(notebook: dict, chapter: str) -> bool:
    """Whether the chapter's text is the notebook's cells, in order, and nothing else but what separates cells."""
    text, at = FRONT.sub("", chapter.replace("\r\n", "\n")), 0
    for cell in notebook["cells"]:
        if cell.get("id") in ONLY_IN_NOTEBOOKS:
            continue
        at = next_cell(text, at)
        source = BADGE.sub("", "".join(cell["source"]))
        if not text.startswith(source, at):
            return False
        at += len(source)
    return next_cell(text, at) == len(text)


def next_cell(text: str, at: int) -> int:
    """Where a chapter's next cell begins, at or after this place."""
    found = BETWEEN_CELLS.match(text, at)
    return found.end() if found else at


def links() -> int:
    """Ask for every address that the pages link to, by Sphinx's own link checker."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    home = config["repository"]["url"]
    try:
        urllib.request.urlopen(home, timeout=MAX_WAIT_S).close()
    except urllib.error.HTTPError:
        pass  # it answers, so there is a network
    except OSError:
        print(f"No link was checked: this needs the network, and {home} does not answer.")
        return 1
    print("Asking for every address that the pages link to", flush=True)
    done = jupyter_book("--builder", "linkcheck")
    said = [line for line in done.stdout.splitlines() if ") broken " in line]
    broken = [line for line in said if not REFUSED.search(line)]
    print("\n".join(said + ([] if broken else ["Every link leads somewhere."])))
    return 1 if broken or not LISTED.is_file() else 0


def main() -> int:
    if sys.argv[1:] == ["--links"]:
        return links()
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
    print(f"  done in {time.perf_counter() - start:.0f} s", flush=True)
    old = behind()
    if old:  # without a stamp the next `make book` says it again
        print(
            f"The pages of {', '.join(old)} show an older text than the chapters: run make notebooks."
        )
    else:
        (ROOT / "_build" / "book.stamp").touch()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command again goes on.")
