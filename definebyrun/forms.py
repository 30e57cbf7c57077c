"""The forms in which a trace is shown and written: each picture is one method.

What is too large is folded before it is shown, and a sentence says so. Where there is no layout engine, one sentence
says what to install and the text stands in.
"""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from pathlib import Path

from .drawing.dot import to_dot
from .drawing.layout import LayoutError
from .drawing.pdf import pdf
from .drawing.png import png
from .drawing.standalone import standalone_svg
from .inside import insides
from .player import instead_html, page, player_html, still_html
from .text.compared import canonical_text
from .trace.parts import TraceParts
from .view import View, show

__all__ = ["Forms"]


class Forms(TraceParts):
    """What has a trace and a view of it, and so can be shown and written in each form."""

    @property
    @abstractmethod
    def view(self) -> View:
        """What is shown of the trace."""

    def show(self) -> None:
        """Display the picture where this is called, in the middle of a cell too; outside a notebook, print the text.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).show()
        graph: 2 nodes, 1 edge
        leaves
          tensor: leaf [1, 1]
        graph
          MulBackward0 (tensor: [2, 2]) → AccumulateGrad(tensor)
        """
        show(self)

    def text(self) -> str:
        """The canonical text: every operation, node, edge and gradient, one fact a line; of the whole run.

        >>> print(dbr.draw(torch.ones(2, requires_grad=True) * 2).text())
        2 nodes, 1 edge
        leaves
          tensor: leaf [1, 1]
        graph
          MulBackward0 (tensor: [2, 2]) → AccumulateGrad(tensor)
        """
        return canonical_text(self.trace)

    def json(self) -> str:
        """The trace as JSON, which `load` reads.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).json()[:31]
        '{"format": "definebyrun trace",'
        """
        return self.trace.json()

    def dot(self) -> str:
        """The picture as DOT, for Graphviz or any program that reads it.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).dot().splitlines()[-2]
        '\\tn1 -> n0 [class="edge" id=e0]'
        """
        cards, links, clusters = self.view.drawn
        right = self.view.look.direction == "right"
        return to_dot(cards, links, clusters, self.view.is_large, right)

    def svg(self) -> str:
        """The picture as SVG: it shows the end of the run, and holds all states before that for a page to switch on.

        `save` writes one without these states, on white paper. Lengths are in CSS pixels. Raises `LayoutError` where
        no layout engine is there, and for a picture that would take too long to lay out.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).svg()[:22]
        '<svg class="dbr-svg" x'
        """
        return self.view.picture.svg

    def png(self) -> bytes:
        """The picture as a PNG, light, at twice its size in pixels, as it is at the end of the run.

        Raises `LayoutError` where no layout engine is there, `RuntimeError` where `resvg-py` is not.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).png()[:4]
        b'\\x89PNG'
        """
        return png(standalone_svg(self.view.picture))

    def pdf(self) -> bytes:
        """The picture as a PDF of one page, in vectors, light, as it is at the end of the run; a pixel is 1/96 inch.

        Raises `LayoutError` where no layout engine is there, `RuntimeError` where `svglib` or matplotlib is not.

        >>> dbr.draw(torch.ones(2, requires_grad=True) * 2).pdf()[:5]
        b'%PDF-'
        """
        return pdf(standalone_svg(self.view.picture))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tape to a file in the form that the file's ending names.

        `.svg`, `.png` and `.pdf` are the picture at the end of the run, `.html` is a page with the step player, `.dot`
        the graph for Graphviz, `.json` the data, `.txt` the canonical text. Raises `ValueError` for any other ending,
        and what `svg`, `png` and `pdf` raise.

        >>> import tempfile
        >>> w = torch.tensor(2.0, requires_grad=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dbr.draw(w * w).save(f"{folder}/square.txt")
        ...     Path(folder, "square.txt").read_text("utf-8").splitlines()[0]
        '2 nodes, 2 edges'
        """
        path = Path(path)
        forms = {
            ".svg": lambda: standalone_svg(self.view.picture),
            ".png": self.png,
            ".pdf": self.pdf,
            ".html": lambda: page(self.view.label, self.html()),
            ".dot": self.dot,
            ".json": self.json,
            ".txt": self.text,
        }
        form = forms.get(path.suffix.lower())
        if form is None:
            raise ValueError(
                f"{path.name!r} must end in one of {', '.join(forms)}: that says what to write."
            )
        content = form()
        path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    def html(self) -> str:
        """The step player as one self-contained HTML fragment; without a layout engine, the text.

        >>> with dbr.record() as tape:
        ...     y = torch.ones(2) * 3
        >>> tape.html().splitlines()[1][:27]
        '<div class="dbr dbr-player"'
        """
        if not self.trace.steps:
            return self._repr_html_()
        view = self.view
        try:
            picture = view.picture
        except LayoutError as error:
            return self._instead(error)
        cards, links, _ = view.drawn
        inner = insides(view.whole, view.trace, cards, steps=True)
        return player_html(view.trace, cards, links, picture, view.label, view.caption, inner)

    def _repr_html_(self) -> str:
        view = self.view
        try:
            picture, cards = view.picture, view.drawn.cards
            inner = insides(view.whole, view.trace, cards, steps=False)
            return still_html(view.trace, cards, picture, view.label, view.caption, inner)
        except LayoutError as error:
            return self._instead(error)

    def _instead(self, error: LayoutError) -> str:
        return instead_html(str(error), self.view.text)
