"""One Chromium for each file of tests that looks at pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.book.chromium import ABSENT, EXECUTABLE, FLAGS


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not EXECUTABLE:
        pytest.skip(ABSENT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)
        yield browser
        browser.close()
