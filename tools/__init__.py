"""The small scripts behind the Makefile's verbs; each runs as `python -m tools.NAME` in the root of the repository."""
