"""Runs experiments and stores their numbers: `python -m experiments name …`, all of them without a name."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import time

import experiments
from definebyrun_course.measured import FOLDER, conditions
from experiments._surroundings import one_thread

NAMES = sorted(
    module.name for module in pkgutil.iter_modules(experiments.__path__) if module.name[0] != "_"
)


def compact(value: object) -> object:
    """What JSON holds of `value`, floats at six significant digits: more is noise, and the package is to stay small."""
    if isinstance(value, dict):
        return {str(key): compact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [compact(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return float(f"{float(value):.6g}")  # type: ignore[arg-type]  # numbers of NumPy and PyTorch too


def main(names: list[str]) -> None:
    """Run each experiment in `names` and store what it gives, with the conditions it ran under."""
    if unknown := set(names) - set(NAMES):
        sys.exit(
            f"No experiment is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}."
        )
    for name in names or NAMES:
        print(f"{name}: running", flush=True)
        start = time.perf_counter()
        with one_thread():
            found = importlib.import_module(f"experiments.{name}").run()
            found = {"conditions": conditions(), **found}
        minutes = (time.perf_counter() - start) / 60
        body = json.dumps(compact(found), separators=(",", ":"))
        (FOLDER / f"{name}.json").write_text(body.replace('],"', '],\n"') + "\n", "utf8")
        print(f"{name}: {minutes:.1f} minutes, {len(body) / 1000:.1f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
