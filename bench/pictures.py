"""Draws every model of the zoo with five tools: `python -m bench.pictures`, with `--save` for the book's page.

Each tool runs in a process of its own, within a time limit for each model. What is saved is what the tool shows by its
defaults, as small as it can be seen well: `bench/pictures/MODEL/TOOL.svg`, or a WebP picture where an SVG would be too
large or the tool shows a page; and the facts of all of them, `bench/pictures.json`. Chromium makes the WebP pictures.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from bench.default_pictures import DRAWERS, PAGE_MAKERS
from bench.gallery import FACTS, FOLDER
from bench.measure import as_json, machine
from bench.processes import PEERS, Worker
from bench.tables import ROOT
from bench.zoo import ZOO

__all__ = ["MAX_BYTES", "as_picture", "draw_all", "size_of", "slim"]

Facts = dict[str, Any]
LIMIT_SECONDS = 90
"""For one model, which is drawn twice."""
MAX_BYTES = 60_000
"""Of one picture."""
PAGE_SIZE, PAGE_SECONDS = {"width": 900, "height": 820}, 1.5
"""The room that a tool gets that shows a page, as wide as a notebook, and the time to lay out its graph there."""
MAX_WIDTH, MAX_HEIGHT, COLOURS = 900, 2400, 32
"""Of a WebP picture, in pixels at first: what is too heavy is made smaller by `SMALLER` until it is not."""
SMALLER = 0.85
POINTS = 4 / 3
"""Pixels in a point."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NEEDLESS = re.compile(
    r'<\?xml.*?\?>|<!DOCTYPE[^>]*>|<!--.*?-->|<title>.*?</title>| xml:space="preserve"'
    r'| (?:class|id)="(?:node|edge|clust|graph|a_)[^"]*"',
    re.DOTALL,
)
INSTALLED = re.compile(r"/[^\s<>\"]*?site(?:-|&#45;)packages/")
SIZE = re.compile(r'<svg[^>]*? width="([\d.]+)(pt)?" height="([\d.]+)')


def size_of(svg: str) -> tuple[int, int]:
    """Width and height in pixels.

    >>> size_of('<svg width="30pt" height="60pt">'), size_of('<svg class="a" width="30" height="60">')
    ((40, 80), (30, 60))
    """
    found = SIZE.search(svg)
    assert found is not None, "an SVG says how large it is"
    by = POINTS if found[2] else 1
    return round(float(found[1]) * by), round(float(found[3]) * by)


def slim(svg: str) -> str:
    """The same picture without what nobody sees.

    >>> slim('<svg width="9pt"> <!-- 1 --> <g id="node1" class="node"><title>1</title> </g></svg>')
    '<svg width="9pt"><g></g></svg>'
    """
    return re.sub(r">\s+<", "><", NEEDLESS.sub("", svg)).replace("\n", " ").strip()


def cards_of(svg: str) -> int:
    """How many cards or nodes a picture has."""
    return svg.count('class="node"') or len(re.findall(r'class="dbr-c\b', svg))


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit("chromium is not on the PATH: install it (apt install chromium) to make pictures")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def as_picture(browser: Browser, picture: str, is_page: bool) -> tuple[Facts, bytes, str]:
    """What a picture measures, its bytes as small as they are seen well, and the ending of its file."""
    if is_page:
        facts, shot = photographed(browser, picture)
        return facts, as_webp(shot), "webp"
    picture = INSTALLED.sub("", picture)  # where a package lies is the machine's business
    width, height = size_of(picture)
    facts = {"width": width, "height": height, "cards": cards_of(picture)}
    small = slim(picture).encode()
    if len(small) <= MAX_BYTES:
        return facts, small, "svg"
    scale = min(1.0, MAX_WIDTH / width, MAX_HEIGHT / height)
    while True:
        found = as_webp(painted(browser, picture, round(width * scale), round(height * scale)))
        if len(found) <= MAX_BYTES:
            return facts, found, "webp"
        scale *= SMALLER


def photographed(browser: Browser, html: str) -> tuple[Facts, bytes]:
    """A page as it stands when its graph is laid out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport=PAGE_SIZE)
        page.goto(path.as_uri())
        page.wait_for_timeout(1000 * PAGE_SECONDS)
        cards = page.locator('g[class^="node_"]').count()
        shot = page.screenshot()
        page.close()
    return {**PAGE_SIZE, "cards": cards}, shot


def painted(browser: Browser, svg: str, width: int, height: int) -> bytes:
    """An SVG as a PNG of this size."""
    page = browser.new_page(viewport={"width": max(width, 1), "height": max(height, 1)})
    look = f"body{{margin:0;background:#fff}}svg{{width:{width}px;height:{height}px;display:block}}"
    page.set_content(f"<meta charset=utf-8><style>{look}</style>{svg[svg.index('<svg') :]}")
    shot = page.screenshot()
    page.close()
    return shot


def as_webp(png: bytes) -> bytes:
    """The smaller of two: few colours and no loss, or all colours and some."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    flat, rich = io.BytesIO(), io.BytesIO()
    image.quantize(COLOURS).convert("RGB").save(flat, "webp", lossless=True, quality=100, method=6)
    image.save(rich, "webp", quality=45, method=6)
    return min(flat.getvalue(), rich.getvalue(), key=len)


def passes(tool: str, names: list[str]) -> Iterator[tuple[str, Facts]]:
    """What a tool gives for each model; where its process ends, another one goes on with the next model."""
    if tool != "definebyrun" and not (PEERS / tool).is_dir():
        yield from ((name, {"state": "not installed"}) for name in names)
        return
    left = list(names)
    while left:
        worker = Worker("default_pictures", tool, *left)
        try:
            worker.start()
            while left and not worker.state:
                facts = worker.measure(LIMIT_SECONDS)
                yield left.pop(0), facts or {"state": worker.state}
        finally:
            worker.end()


def draw_all(names: list[str], folder: Path) -> list[Facts]:
    """The rows of all models and tools, with a line of progress for each; the pictures go into a folder."""
    rows: dict[tuple[str, str], Facts] = {}
    with chromium() as browser:
        for tool in DRAWERS:
            for name, found in passes(tool, names):
                row = {"model": name, "tool": tool, "state": found["state"]}
                if found["state"] == "drawn":
                    facts, content, ending = as_picture(
                        browser, found["picture"], tool in PAGE_MAKERS
                    )
                    place = folder / name / f"{tool}.{ending}"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content)
                    row |= facts | {"seconds": found["seconds"], "file": place.name}
                rows[name, tool] = row
                print(f"{name}, {tool}: {row.get('seconds', row['state'])}", flush=True)
    return [rows[name, tool] for name in names for tool in DRAWERS]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.pictures", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--save", action="store_true", help="put the pictures into the book")
    parser.add_argument("--only", default="", help="only models with this in their name")
    options = parser.parse_args()
    if options.save and options.only:
        parser.error("what is saved is the whole of one run: leave out --only")
    names = [name for name in ZOO if options.only in name]
    folder = ROOT / "_build" / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    data = {"machine": machine(), "pictures": draw_all(names, folder)}
    print(f"The pictures are in {folder}.")
    if options.save:
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(folder, FOLDER)
        FACTS.write_text(as_json(data), encoding="utf-8")
        print("Saved in bench/pictures; make book puts them on their page.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
