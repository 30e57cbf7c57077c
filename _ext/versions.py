"""The footer says with which versions the stored outputs were made, read from requirements.txt.

In comes the theme's footer text, out goes the same text with one sentence more. A version that is not pinned there
stops the build.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

SHOWN = {"torch": "PyTorch", "numpy": "NumPy"}


def pinned(pins: str, package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", pins, re.MULTILINE)
    if not found:
        raise ConfigError(f"requirements.txt pins no {package}: run make pins")
    return found[1]


def say(app: Sphinx, config: Config) -> None:
    pins = Path(app.srcdir, "requirements.txt").read_text("utf-8")
    made = " and ".join(f"{name} {pinned(pins, package)}" for package, name in SHOWN.items())
    options = config.html_theme_options
    options["extra_footer"] = f"{options.get('extra_footer', '')} Outputs made with {made}.".strip()


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", say)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
