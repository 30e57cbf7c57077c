"""The `{question}` directive: one question of an interview, with all that is said about it, each part in a fold.

In comes the text between its fences: the answer in one breath, then parts that begin with `### In depth`,
`### Next: the follow-up` and `### Wrong: the answer that tells`. Out goes a section with a fold for each; below each
piece of evidence stands the place of the lesson that it was taken from. The same text, read by `read`, gives the
summary and the cards for Anki, a file beside the pages. The script of the quiz is loaded on that page alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from lesson_text import link
from markdown_it import MarkdownIt
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["CARDS", "PAGE", "TOPICS", "Question", "cards", "read"]

PAGE = "chapters/25-questions"
CARDS = "_downloads/questions-for-anki.txt"
TOPICS = {
    "graph": "the graph",
    "backward": "the backward pass",
    "memory": "memory",
    "static": "static graphs and the compiler",
    "debugging": "debugging",
    "functions": "functions of your own, higher order",
    "training": "training and checking",
    "processes": "several processes",
}
LEVELS = ("", "warm-up", "core", "hard")
BLOCK = re.compile(r"^(`{4,})\{question\} (.*?)$\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
OPTION = re.compile(r"^:(\w+): (.*)$", re.MULTILINE)
PART = re.compile(r"^### (In depth|Next: |Wrong: )(.*)$", re.MULTILINE)
INNER = re.compile(r"^```.*?^```$\n?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """A question and all that is said about it, as Markdown."""

    id: str
    text: str
    topic: str
    level: int
    chinese: str
    breath: str
    depth: str
    follow_up: tuple[str, str]
    """What is asked next, and its answer."""
    wrong: tuple[str, str]
    """The answer that tells, and what happens when it is run."""


def parts(body: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """The text before the first part, and of each part its title and its text."""
    breath, *rest = PART.split(body)
    found = {
        kind.removesuffix(": "): (title, text.strip())
        for kind, title, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    }
    return breath.strip(), found


def question(text: str, options: dict[str, str], body: str) -> Question:
    """A question from its source; `KeyError` names what is missing."""
    breath, found = parts(body)
    return Question(
        id=options["id"],
        text=text,
        topic=options["topic"],
        level=int(options["level"]),
        chinese=options.get("zh", ""),
        breath=breath,
        depth=found["In depth"][1],
        follow_up=found["Next"],
        wrong=found["Wrong"],
    )


def read(page: Path) -> list[Question]:
    """The questions of a page, in their order."""
    found = []
    for _, text, body in BLOCK.findall(page.read_text("utf-8")):
        options, _, rest = body.partition("\n\n")
        found.append(question(text, dict(OPTION.findall(options)), rest))
    return found


def cards(questions: list[Question]) -> str:
    """The questions as tab-separated text with the head that Anki reads: question, answer, tags."""
    html = MarkdownIt()
    lines = ["#separator:tab", "#html:true", "#columns:Front\tBack\tTags", "#tags column:3"]
    for one in questions:
        plain = INNER.sub("", one.wrong[1])
        answer = f"{one.breath}\n\n**Not:** {one.wrong[0]} {plain}"
        back = " ".join(html.render(re.sub(r"\]\([^)]*\)", "]", answer)).split())
        front = html.renderInline(one.text) + (f"<br>{one.chinese}" if one.chinese else "")
        lines.append(f"{front}\t{back}\tdefine-by-run {one.topic} {LEVELS[one.level]}")
    return "\n".join(lines) + "\n"


def fold(kind: str, summary: str, inside: list[nodes.Node]) -> Iterator[nodes.Node]:
    html = MarkdownIt().renderInline(summary)
    opening = f'<details class="{kind}"><summary>{html}</summary>'
    yield nodes.raw("", opening, format="html")
    yield from inside
    yield nodes.raw("", "</details>", format="html")


class Asked(SphinxDirective):
    """`{question} The question?` with `:id:`, `:topic:`, `:level:` (1 to 3), and its wording in Chinese, `:zh:`."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {
        "id": directives.unchanged_required,
        "topic": lambda value: directives.choice(value, list(TOPICS)),
        "level": lambda value: directives.choice(value, ["1", "2", "3"]),
        "zh": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(__file__)
        try:
            one = question(self.arguments[0], self.options, "\n".join(self.content))
        except KeyError as missing:
            reason = f"question {self.arguments[0]!r} has no {missing.args[0]!r}."
            return [self.state.document.reporter.warning(reason, line=self.lineno)]
        return [self.section(one)]

    def section(self, one: Question) -> nodes.section:
        found = nodes.section(ids=[one.id], names=[nodes.fully_normalize_name(one.id)])
        found["classes"] = ["question", f"topic-{one.topic}", f"level-{one.level}"]
        self.state.document.note_explicit_target(found, found)
        number = self.env.temp_data["question"] = self.env.temp_data.get("question", 0) + 1
        title = nodes.title("", f"{number} ")
        title += self.parse_inline(one.text)[0]
        found += title
        texts = [one.text, one.chinese] if one.chinese else [one.text]
        entries = [("single", text.replace(";", ","), one.id, "main", None) for text in texts]
        found += addnodes.index(entries=entries)
        if one.chinese:
            found += nodes.paragraph("", one.chinese, classes=["asked-in-chinese"])
        found += nodes.paragraph("", f"{LEVELS[one.level]} · {TOPICS[one.topic]}", classes=["kind"])
        wrong = f"A wrong answer: {one.wrong[0]}"
        for kind, summary, text in (
            ("breath", "In one breath", one.breath),
            ("depth", "In depth, with the evidence", one.depth),
            ("wrong", wrong, one.wrong[1]),
            ("next", f"Then they ask: {one.follow_up[0]}", one.follow_up[1]),
        ):
            found += list(fold(kind, summary, self.inside(text)))
        return found

    def inside(self, text: str) -> list[nodes.Node]:
        """Markdown as nodes, with the place of the lesson below each piece of evidence."""
        found = self.parse_text_to_nodes(text)
        for top in found:
            for shown in top.findall(nodes.container):
                if "whence" in shown:
                    (place,) = self.parse_text_to_nodes(f"From {link(*shown['whence'])}.")
                    place["classes"].append("whence")
                    shown += place
        return found


def say_the_language(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Chinese is marked as such when the page is read: smart quotes, which know no Chinese, are set by then."""
    for paragraph in doctree.findall(nodes.paragraph):
        if "asked-in-chinese" in paragraph["classes"]:
            paragraph["classes"].append("language-zh")


def load_where_needed(app: Sphinx, pagename, templatename, context, doctree) -> None:
    if pagename == PAGE:
        app.add_css_file("quiz/quiz.css")
        app.add_js_file("quiz/quiz.js", loading_method="defer")


def save_cards(app: Sphinx, error: Exception | None) -> None:
    page = Path(app.srcdir, f"{PAGE}.md")
    if error is None and app.builder.format == "html" and page.is_file():
        with contextlib.suppress(KeyError):  # a question without a part: the directive has said so
            text = cards(read(page))
            file = Path(app.outdir, CARDS)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, "utf-8")


def card_link(name, rawtext, text, lineno, inliner, options=None, content=None):
    """`{anki}` with words: a link to the file of cards."""
    html = f'<a href="../{CARDS}" download>{escape(text)}</a>'
    return [nodes.raw(rawtext, html, format="html")], []


def setup(app: Sphinx) -> dict:
    app.add_directive("question", Asked)
    app.add_role("anki", card_link)
    app.connect("doctree-resolved", say_the_language)
    app.connect("html-page-context", load_where_needed)
    app.connect("build-finished", save_cards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
