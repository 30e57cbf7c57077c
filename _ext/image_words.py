"""Words for the pictures of notebooks: an image output gets its text form as text alternative.

In come the outputs of a page, each with all its forms; the plain text beside an image is what says
what it shows (`definebyrun_course.plots.show` stores it there). An image without such words is a warning.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def describe(app: Sphinx, doctree: nodes.document) -> None:
    for output in doctree.findall(nodes.container):
        if output.get("nb_element") != "mime_bundle":
            continue
        forms = {form.get("mime_type"): form for form in output.children}
        words = " ".join(forms["text/plain"].astext().split()) if "text/plain" in forms else ""
        for image in output.findall(nodes.image):
            if image.get("alt"):
                continue
            if not words or words.startswith("<"):  # <Figure size 640x480 with 1 Axes>
                LOG.warning(
                    "an image output has no words: show it with plots.show", location=output
                )
            image["alt"] = words


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", describe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
