"""The small scripts behind the Makefile's verbs; each runs as `python -m tools.NAME` in the root of the repository."""

from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the repository, for tools and tests alike."""
