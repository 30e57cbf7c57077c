"""The browser of the tests: where it is, how it is started, and the player in the words of the reader who uses it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator

__all__ = ["ABSENT", "DESKTOP", "EXECUTABLE", "FLAGS", "PHONE", "Player", "skip_without_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
ABSENT = "NO BROWSER: chromium is not on the PATH, so no page was looked at (apt install chromium)"


def skip_without_browser() -> None:
    """Skip the test file that is being read where there is no Chromium; with `CI=true` its tests fail instead."""
    if not EXECUTABLE and os.environ.get("CI") != "true":
        pytest.skip(ABSENT, allow_module_level=True)


@dataclass
class Player:
    """A player of a page."""

    root: Locator

    @property
    def step(self) -> int:
        return int(self.root.get_attribute("data-step"))

    @property
    def sentence(self) -> str:
        return self.root.locator("[aria-live]").first.inner_text()

    @property
    def slider(self) -> Locator:
        return self.root.locator("input[type=range]").first

    def press(self, act: str) -> None:
        self.root.locator(f"[data-act={act}]").first.click()
