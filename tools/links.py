"""Checks that links to other places still lead somewhere: `python -m tools.links`. Needs the network: no test calls it.

Reads the addresses in the pages, chapters and references; asks for each once. A refusal to robots (403, 429) is told
but is no failure: the page is there.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tools import ROOT

SOURCES = ["*.md", "chapters/*.md", "references.bib", "CITATION.cff"]
ADDRESS = re.compile(r"https?://[^\s<>\"'`\])}]+(?:\([^\s()]*\)[^\s<>\"'`\])}]*)?")
DOI = re.compile(r"^\s*doi\s*=\s*[{\"]([^}\"]+)", re.MULTILINE)
AGENT = {"User-Agent": "Mozilla/5.0 (link check of a course; once a week)"}


def addresses(root: Path = ROOT) -> dict[str, list[str]]:
    """Each address, and the files in which it stands."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        every = ADDRESS.findall(text) + [f"https://doi.org/{doi}" for doi in DOI.findall(text)]
        for address in sorted({address.rstrip(".,;:") for address in every}):
            if "localhost" not in address and "127.0.0.1" not in address:
                found.setdefault(address, []).append(path.relative_to(root).as_posix())
    return found


def ask(address: str) -> str:
    """Empty when the address answers, else what is wrong."""
    try:
        with requests.get(address, headers=AGENT, timeout=30, stream=True) as answer:
            if answer.status_code in (403, 429):
                print(f"  refused to a robot ({answer.status_code}): {address}", flush=True)
                return ""
            return "" if answer.ok else f"answers {answer.status_code}"
    except requests.RequestException as error:
        return type(error).__name__


def main() -> int:
    found = addresses()
    print(f"Asking for {len(found)} addresses", flush=True)
    with ThreadPoolExecutor(8) as pool:
        wrong = {a: said for a, said in zip(found, pool.map(ask, found), strict=True) if said}
    for address, said in wrong.items():
        print(f"  {address} {said}: {', '.join(found[address])}", file=sys.stderr)
    print(
        f"{len(wrong)} of {len(found)} links lead nowhere."
        if wrong
        else "Every link leads somewhere."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
