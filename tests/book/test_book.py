"""The built pages, read as files: complete, linked without a gap, and in need of no other host.

The book is built once into an empty folder with warnings as errors; then every page is parsed. What
only a browser can tell (requests, errors, contrast, the player) is in test_browser.py.
"""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from tests.book.built_book import CONFIG, MOVED, NOTEBOOKS, PAGES, SOURCES, Book, built_once
from tools import ROOT, chapters

pytestmark = pytest.mark.slow

FETCHING = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src",),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src",),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
STYLE_URL = re.compile(r"""url\(\s*["']?([^"')]+)["']?\s*\)|@import\s+["']([^"']+)["']""")
SLUG = urlsplit(CONFIG["repository"]["url"]).path.strip("/")
BRANCH = CONFIG["repository"]["branch"]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    return built_once(tmp_path_factory)


@pytest.fixture(scope="module")
def pages(book: Book) -> dict[str, BeautifulSoup]:
    assert book.status == 0, book.words
    return {
        page: BeautifulSoup((book.html / page).read_text("utf-8"), "html.parser") for page in PAGES
    }


def fetched(page: BeautifulSoup) -> list[str]:
    """Every address that a browser fetches by itself when it shows this page, or when a lazy image comes near."""
    found = [
        address
        for tag, names in FETCHING.items()
        for element in page.find_all(tag)
        for name in names
        if (address := element.get(name))
        and not (
            tag == "link" and set(element.get("rel", [])) <= {"next", "prev", "search", "canonical"}
        )
    ]
    for element in page.find_all(srcset=True):
        found += [candidate.split()[0] for candidate in element["srcset"].split(",")]
    styles = [style.get_text() for style in page.find_all("style")]
    styles += [element["style"] for element in page.find_all(style=True)]
    return found + [address for style in styles for address in addresses(style)]


def addresses(style: str) -> list[str]:
    return [first or second for first, second in STYLE_URL.findall(style)]


def elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data", "about", "blob")


def identifiers(page: BeautifulSoup) -> set[str]:
    return {element["id"] for element in page.find_all(id=True)} | {
        element["name"] for element in page.find_all("a", attrs={"name": True})
    }


def test_the_book_builds_without_a_warning(book: Book) -> None:
    assert book.status == 0, book.words
    assert "WARNING" not in book.words


def test_the_pages_are_those_of_the_table_of_contents_and_no_other(book: Book) -> None:
    built = {path.relative_to(book.html).as_posix() for path in book.html.rglob("*.html")}
    assert {page for page in built if not page.startswith("_")} == set(PAGES) | set(MOVED)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_address_leads_on_to_a_page(book: Book, old: str, new: str) -> None:
    assert (book.html / old).with_name(new).relative_to(book.html).as_posix() in PAGES
    soup = BeautifulSoup((book.html / old).read_text("utf-8"), "html.parser")
    assert [link["href"] for link in soup.find_all("a")] == [new]


def test_a_chapter_with_code_is_in_the_book_as_its_notebook_only() -> None:
    for chapter in sorted(ROOT.glob("chapters/*.md")):
        executed = "{code-cell}" in chapter.read_text("utf-8")
        listed = f"chapters/{chapter.stem}" in SOURCES
        as_notebook = f"notebooks/{chapter.stem}" in SOURCES
        assert (listed, as_notebook) == (not executed, executed), f"{chapter.name}: fix _toc.yml"


def test_no_page_names_a_file_on_another_host(pages: dict[str, BeautifulSoup]) -> None:
    found = {page: [a for a in fetched(soup) if elsewhere(a)] for page, soup in pages.items()}
    assert not {page: away for page, away in found.items() if away}


def test_no_style_sheet_names_a_file_on_another_host_or_one_that_is_missing(book: Book) -> None:
    for sheet in book.html.rglob("*.css"):
        for address in addresses(sheet.read_text("utf-8")):
            assert not elsewhere(address), f"{sheet.name} asks for {address}"
            if not address.startswith(("data:", "#")):
                assert (sheet.parent / urlsplit(address).path).is_file(), (
                    f"{sheet.name}: no {address}"
                )


def test_what_a_page_fetches_is_there(book: Book, pages: dict[str, BeautifulSoup]) -> None:
    for page, soup in pages.items():
        for address in fetched(soup):
            path = unquote(urlsplit(address).path)
            if path and not address.startswith("data:"):
                assert (book.html / page).parent.joinpath(path).is_file(), f"{page}: no {address}"


def test_every_link_inside_the_book_leads_to_a_page_and_a_place(
    book: Book, pages: dict[str, BeautifulSoup]
) -> None:
    places = {(book.html / page).resolve(): identifiers(soup) for page, soup in pages.items()}
    broken = []
    for page, soup in pages.items():
        for anchor in soup.find_all("a", href=True):
            link = urlsplit(anchor["href"])
            if link.scheme or link.netloc:
                continue
            here = (book.html / page).resolve()
            target = here.parent.joinpath(unquote(link.path)).resolve() if link.path else here
            known = places.get(target)
            missing = not target.is_file() or (
                link.fragment and known is not None and link.fragment not in known
            )
            if missing and anchor["href"] != "#":
                broken.append((page, anchor["href"]))
    assert not broken


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_it_is(pages: dict[str, BeautifulSoup], page: str) -> None:
    soup = pages[page]
    assert soup.html["lang"] == "en"
    assert "Define by Run" in soup.title.get_text()
    assert len(soup.select("main .bd-article h1, main .bd-search-container h1")) == 1
    description = soup.select_one('meta[name="description"]')
    assert description, "no description"
    assert 40 <= len(description["content"]) <= 200
    assert "$" not in description["content"]
    assert soup.select_one('link[rel="icon"]')


def test_no_two_pages_describe_themselves_alike(pages: dict[str, BeautifulSoup]) -> None:
    said = [soup.select_one('meta[name="description"]')["content"] for soup in pages.values()]
    assert len(set(said)) == len(said)


def test_every_image_has_words_that_are_not_its_file_name(pages: dict[str, BeautifulSoup]) -> None:
    for page, soup in pages.items():
        for image in soup.find_all("img"):
            assert image.has_attr("alt"), f"{page}: {image}"
        for image in soup.select("article img"):
            words = image["alt"].strip()
            assert words, f"{page}: {str(image)[:120]}"
            assert not re.search(r"\.(svg|png|jpe?g)$", words), f"{page}: {words}"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_lesson_opens_in_colab_binder_and_jupyterlab(
    pages: dict[str, BeautifulSoup], notebook: str
) -> None:
    menu = pages[f"{notebook}.html"].select_one(".dropdown-launch-buttons")
    links = [link["href"] for link in menu.find_all("a")]
    assert links == [
        f"https://mybinder.org/v2/gh/{SLUG}/{BRANCH}?urlpath=lab/tree/{notebook}.ipynb",
        f"https://colab.research.google.com/github/{SLUG}/blob/{BRANCH}/{notebook}.ipynb",
        "../chapters/how-to-run.html#jupyterlab",
    ]


OTHERS = {
    "google-research/tuning_playbook",
    "karpathy/micrograd",
    "karpathy/nn-zero-to-hero",
    "lucasdelimanogueira/PyNorch",
    "milesial/Pytorch-UNet",
    "pytorch/pytorch",
    "X-GenGroup/Flow-Factory",
}  # other people's repositories that lessons link to


def test_the_repository_has_one_address(pages: dict[str, BeautifulSoup]) -> None:
    pattern = re.compile(r"(?:github\.com|github|/gh)/([\w.-]+/[\w.-]+?)(?=\.git|[/?\"'\s<]|$)")
    for page in (page for page in pages if page != "chapters/references.html"):
        named = {
            match
            for link in pages[page].find_all("a", href=re.compile("github|/gh/"))
            for match in pattern.findall(link["href"])
        }
        assert named - OTHERS <= {SLUG}, page
    home = pages["chapters/how-to-run.html"].get_text()
    assert f"git clone {CONFIG['repository']['url']}.git" in home


def test_every_page_says_which_versions_made_the_outputs_and_where_to_report_a_mistake(
    pages: dict[str, BeautifulSoup],
) -> None:
    pins = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.M)
    )
    made = f"Outputs made with PyTorch {pins['torch']} and NumPy {pins['numpy']}."
    issues = re.compile(rf"^{CONFIG['repository']['url']}/issues/new")
    for page, soup in pages.items():
        if page != "search.html":
            assert made in soup.select_one("footer.bd-footer-content").get_text(), page
            assert soup.find("a", href=issues), f"{page} has no way to a report"


def test_formulas_are_loaded_only_where_there_are_formulas(pages: dict[str, BeautifulSoup]) -> None:
    loaded = {page for page, soup in pages.items() if soup.find("script", src=re.compile("katex"))}
    assert loaded == {page for page, soup in pages.items() if soup.select(".math")}
    assert loaded, "no page of the book has a formula"


def test_links_to_steps_are_loaded_only_where_there_are_players(
    pages: dict[str, BeautifulSoup],
) -> None:
    loaded = {page for page, soup in pages.items() if soup.find("script", src=re.compile("steps/"))}
    assert loaded == {page for page, soup in pages.items() if soup.select(".dbr-player")}
    assert loaded, "no page of the book has a player"


def test_no_drawing_is_in_a_page_twice(pages: dict[str, BeautifulSoup]) -> None:
    """Notebooks also hold an image of each drawing, for viewers that strip its style; the book needs none."""
    assert [page for page, soup in pages.items() if soup.select("img.dbr-bare")] == []
    assert sum(len(soup.select(".dbr-svg")) for soup in pages.values()) > 5


def test_the_version_of_katex_is_the_one_that_its_readme_states() -> None:
    folder = ROOT / "_assets" / "katex"
    version = re.search(r"KaTeX (\d+\.\d+\.\d+)", (folder / "README.md").read_text("utf-8"))[1]
    assert f'version:"{version}"' in (folder / "katex.min.js").read_text("utf-8")


def test_pages_stay_light(book: Book, pages: dict[str, BeautifulSoup]) -> None:
    """After gzip, at most 250 kB of what all pages share, half of what the theme does by default; and with a
    page's own pictures at most 350 kB, but for those that are loaded when they come near."""
    for page, soup in pages.items():
        sizes = {}
        lazy = {image["src"] for image in soup.select("img[loading=lazy]")}
        for address in set(fetched(soup)) - lazy:
            file = unquote(urlsplit(address).path)
            if file and not address.startswith("data:"):
                content = (book.html / page).parent.joinpath(file).read_bytes()
                sizes[file] = len(gzip.compress(content))
        shared = sum(size for file, size in sizes.items() if "_images/" not in file)
        assert shared < 250_000, f"{page} loads {shared:,} bytes"
        whole = sum(sizes.values())
        assert whole < 350_000, f"{page} loads {whole:,} bytes with its pictures"


def test_the_plan_has_every_lesson_with_its_times(pages: dict[str, BeautifulSoup]) -> None:
    plan = pages["chapters/plan.html"]
    lessons = [name for name in NOTEBOOKS if re.search(r"/\d\d-", name)]
    opened = [a["href"] for a in plan.find_all("a") if a.get_text() == "Open the lesson."]
    assert opened == [f"../{lesson}.html" for lesson in lessons]
    assert len(plan.select("section section section")) == len(lessons)


# The directive that shows a cell's stored output in a page of prose.

PIXEL = "iVBORw0KGgo="  # the head of a PNG is enough
OUTPUTS = {
    "player": {"output_type": "display_data", "data": {"text/html": "<b>a player</b>"}},
    "png": {"output_type": "display_data", "data": {"image/png": PIXEL}},
    "svg": {"output_type": "display_data", "data": {"image/svg+xml": "<svg></svg>"}},
    "value": {"output_type": "display_data", "data": {"text/plain": "tensor(1.)"}},
    "printed": {"output_type": "stream", "name": "stdout", "text": "loss 0.25\n"},
    "failed": {
        "output_type": "error",
        "ename": "RuntimeError",
        "evalue": "no graph",
        "traceback": [],
    },
    "silent": None,
}


class Prose:
    """A one-page book with a notebook beside it, built as often as asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "notebooks").mkdir()
        self.store(OUTPUTS)

    def store(self, outputs: dict[str, dict | None]) -> None:
        notebook = nbformat.v4.new_notebook()
        for name, output in outputs.items():
            cell = nbformat.v4.new_code_cell("…", id=name)
            cell.outputs = [nbformat.v4.new_output(**output)] if output else []
            notebook.cells.append(cell)
        nbformat.write(notebook, self.folder / "notebooks" / "lesson.ipynb")

    def write(self, directive: str) -> None:
        (self.folder / "index.md").write_text(f"# Page\n\n```{directive}\n```\n", "utf-8")

    def build(self) -> tuple[str, str]:
        """The page and the warnings."""
        said, out = io.StringIO(), self.folder / "out"
        with docutils_namespace():
            Sphinx(
                srcdir=self.folder,
                confdir=None,
                outdir=out,
                doctreedir=self.folder / "trees",
                buildername="html",
                confoverrides={
                    "extensions": ["myst_parser", "evidence"],
                    "exclude_patterns": ["notebooks"],
                },
                status=None,
                warning=said,
            ).build()
        return (out / "index.html").read_text("utf-8"), said.getvalue()


@pytest.fixture
def prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prose:
    monkeypatch.syspath_prepend(str(ROOT / "_ext"))
    return Prose(tmp_path)


@pytest.mark.parametrize(
    ("directive", "shown"),
    [
        ("{evidence} lesson player", "<b>a player</b>"),
        (
            "{evidence} lesson png\n:alt: A dot",
            f'<img src="data:image/png;base64,{PIXEL}" alt="A dot">',
        ),
        ("{evidence} lesson svg\n:alt: Nothing", 'alt="Nothing">'),
        ("{evidence} lesson value", "tensor(1.)"),
        ("{evidence} lesson printed", "loss 0.25"),
        ("{evidence} lesson failed", "RuntimeError: no graph"),
    ],
)
def test_evidence_shows_the_stored_output(prose: Prose, directive: str, shown: str) -> None:
    prose.write(directive)
    page, warnings = prose.build()
    assert shown in page
    assert not warnings


@pytest.mark.parametrize(
    ("directive", "sentence"),
    [
        ("{evidence} lost player", "there is no notebook notebooks/lost.ipynb."),
        ("{evidence} lesson lost", "notebooks/lesson.ipynb has no cell with the id 'lost'."),
        (
            "{evidence} lesson silent",
            "cell 'silent' of notebooks/lesson.ipynb has no stored output.",
        ),
        ("{evidence} lesson png", "the image of cell 'png' needs an :alt: text."),
    ],
)
def test_evidence_that_is_not_there_is_a_warning(
    prose: Prose, directive: str, sentence: str
) -> None:
    prose.write(directive)
    _, warnings = prose.build()
    assert f"WARNING: evidence: {sentence}" in warnings


def test_evidence_follows_its_notebook(prose: Prose) -> None:
    prose.write("{evidence} lesson printed")
    assert "loss 0.25" in prose.build()[0]
    prose.store({"printed": {"output_type": "stream", "name": "stdout", "text": "loss 0.125\n"}})
    assert "loss 0.125" in prose.build()[0]


# Answers that are closed, with their explanations.

LESSON = """# Lesson

> **Predict.** What is it?

```{code-cell}
```

<details><summary>Explanation</summary>

Because of `w`.

- And of this.

</details>

What goes on.

<details><summary>Hint</summary>

Open by itself.

</details>
"""


def folded(folder: Path, tag: str) -> BeautifulSoup:
    """A lesson of one question, built by MyST-NB; its cell has this tag."""
    before, after = LESSON.split("```{code-cell}\n```\n")
    cell = nbformat.v4.new_code_cell("1 + 1", metadata={"tags": [tag]}, execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", text="42\n")]
    cells = [nbformat.v4.new_markdown_cell(before), cell, nbformat.v4.new_markdown_cell(after)]
    book = nbformat.v4.new_notebook(cells=cells, metadata=chapters.METADATA)
    nbformat.write(book, folder / "index.ipynb")
    said = io.StringIO()
    with docutils_namespace():
        Sphinx(
            srcdir=folder,
            confdir=None,
            outdir=folder / "out",
            doctreedir=folder / "trees",
            buildername="html",
            confoverrides={"extensions": ["myst_nb", "one_fold"], "nb_execution_mode": "off"},
            status=None,
            warning=said,
        ).build()
    assert said.getvalue() == ""
    return BeautifulSoup((folder / "out" / "index.html").read_text("utf-8"), "html.parser")


@pytest.mark.parametrize("tag", ["hide-output", "hide-cell"])
def test_an_answer_and_its_explanation_are_one_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "_ext"))
    body = folded(tmp_path, tag).select_one("section")
    answer, hint = body.find_all("details")
    assert "42" in answer.get_text()
    assert "Because of w." in " ".join(answer.get_text().split())
    assert "And of this." in answer.get_text()
    assert "What goes on." not in answer.get_text()
    assert hint.get_text().split() == ["Hint", "Open", "by", "itself."]
    assert "Explanation" not in body.get_text()


def test_what_is_no_answer_keeps_its_own_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "_ext"))
    body = folded(tmp_path, "hide-input").select_one("section")
    assert [fold.summary.get_text(" ", strip=True) for fold in body.find_all("details")][1:] == [
        "Explanation",
        "Hint",
    ]
