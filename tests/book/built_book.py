"""The book as the tests of the book and of the browser see it: built afresh, and served.

`build` runs Jupyter Book on the sources as `make book` does and gives back what it said; `serve` is
a quiet web server on a free port of this machine.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

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
