"""Takes an edit made in Jupyter back into its chapter: `python -m tools.take_back notebooks/01-your-first-graph.ipynb`.

Text, code and tags go from the notebook into chapters/NN-slug.md; outputs, the badge and the setup cell stay out.
Nothing is executed: `make notebooks` does that afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat

from tools import ROOT
from tools.chapters import ChapterError, back, find, notebook


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.take_back", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("notebook", help="a notebook of this course that was edited in Jupyter")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        lesson = find(options.notebook, options.root)
        if not lesson.notebook.is_file():
            raise ChapterError(
                f"There is no notebook notebooks/{lesson.notebook.name}: make it with make notebooks."
            )
        edited = nbformat.read(lesson.notebook, as_version=4)
        here = [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in edited.cells]
        if here == [
            (c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook(lesson).cells
        ]:
            print(f"chapters/{lesson.chapter.name} already says what the notebook says.")
            return 0
        partial = lesson.chapter.with_suffix(".partial")
        partial.write_text(back(lesson, edited), encoding="utf-8", newline="\n")
        os.replace(partial, lesson.chapter)
    except (ChapterError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{options.notebook} is not a notebook that can be read: {error}", file=sys.stderr)
        return 1
    print(
        f"chapters/{lesson.chapter.name} has the notebook's text now; look at git diff, then run make notebooks."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
