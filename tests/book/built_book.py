"""The book as the tests of the book and of the browser see it: built afresh, and served.

`build` runs Jupyter Book on the sources as `make book` does and gives back what it said, `built_once` shares one build
among all tests; `serve` is a quiet web server on a free port of this machine.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tools import ROOT
from tools.book import jupyter_book

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
SOURCES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
PAGES = [*(f"{source}.html" for source in SOURCES), "search.html"]
MOVED = {f"{old}.html": new for old, new in CONFIG["sphinx"]["config"]["redirects"].items()}
NOTEBOOKS = [source for source in SOURCES if source.startswith("notebooks/")]


@dataclass(frozen=True)
class Book:
    """A finished build: the folder of its pages, the exit status, and all that was said."""

    html: Path
    status: int
    words: str


def build(into: Path) -> Book:
    """Build the book from a fresh start into `into`, with every warning an error."""
    done = jupyter_book("-W", "--keep-going", "--path-output", into)
    return Book(into / "_build" / "html", done.returncode, done.stdout)


def built_once(factory: pytest.TempPathFactory) -> Book:
    """The one build of this run of tests: of the processes that share its folder, the first builds, the others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "book"
    folder.mkdir(exist_ok=True)
    told = folder / "told.json"
    with FileLock(folder / "lock"):
        if not told.exists():
            done = build(folder)
            told.write_text(json.dumps([done.status, done.words]), "utf-8")
    return Book(folder / "_build" / "html", *json.loads(told.read_text("utf-8")))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: a test reports what matters."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address under which the folder is served while the block runs; it ends in a slash."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
