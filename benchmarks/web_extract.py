"""Which extractor keeps the text of Japanese pages and leaves the rest: pages whose every line is known to be one or the other.

    python benchmarks/web_extract.py [--each 20] [--repeats 3] [--layouts]

Takes part what is installed: trafilatura, resiliparse, jusText, readability, selectolax (all of a page's text), and
`preprocess.fetch.html_text`. `text kept` is the share of the text's lines that stand in the answer, `around kept` that of the
other lines (menus, links, comments, notices); lines are weighed by their characters, and every layout counts the same.
The pages (`_web_pages.py`) are written for this, and so is what counts as text: a measure of relative worth.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import _web_pages
from _measure import in_turn, load, parser

Extract = Callable[[str], str]


def _ours() -> Iterator[tuple[str, Extract]]:
    from preprocess.fetch import html_text
    from preprocess.sources import page

    yield "haigo (preprocess.clean)", page.text_of
    yield "fetch.html_text", lambda markup: html_text.text_of(markup)[0]


def _trafilatura() -> Iterator[tuple[str, Extract]]:
    import trafilatura

    bare = partial(trafilatura.extract, include_comments=False)
    yield "trafilatura", lambda markup: bare(markup) or ""
    yield "trafilatura, recall", lambda markup: bare(markup, favor_recall=True) or ""
    yield "trafilatura, fast", lambda markup: bare(markup, fast=True) or ""


def _resiliparse() -> Iterator[tuple[str, Extract]]:
    from resiliparse.extract.html2text import extract_plain_text as plain

    yield "resiliparse, main content", lambda markup: plain(markup, main_content=True, alt_texts=False)
    yield "resiliparse, all", lambda markup: plain(markup, main_content=False, alt_texts=False)


def _justext() -> Iterator[tuple[str, Extract]]:
    import justext

    def extract(markup: str) -> str:
        # no stop word counts: Japanese has no blanks to part words at
        found = justext.justext(markup, frozenset(), stopwords_low=0, stopwords_high=0, length_low=20, length_high=60)
        return "\n".join(each.text for each in found if not each.is_boilerplate)

    yield "jusText", extract


def _readability() -> Iterator[tuple[str, Extract]]:
    import readability

    from preprocess.fetch import html_text

    yield "readability", lambda markup: html_text.text_of(readability.Document(markup).summary())[0]


def _selectolax() -> Iterator[tuple[str, Extract]]:
    from selectolax.lexbor import LexborHTMLParser

    def extract(markup: str) -> str:
        tree = LexborHTMLParser(markup)
        tree.strip_tags(["script", "style", "nav", "header", "footer", "aside", "form"])
        return str(tree.body.text(separator="\n")) if tree.body else ""

    yield "selectolax, all", extract


def contenders() -> dict[str, Extract]:
    """Those that are installed."""
    found: dict[str, Extract] = {}
    for make in (_ours, _trafilatura, _resiliparse, _justext, _readability, _selectolax):
        try:
            found.update(make())
        except ImportError as error:
            print(f"{make.__name__.strip('_')} is left out: {error}")
    return found


def _plain(text: str) -> str:
    return "".join(text.split())


def judge(extract: Extract, pages: list[tuple[str, str, _web_pages.Page]]) -> dict[str, tuple[float, float]]:
    """Layout -> shares of the text and of the rest that came out."""
    of: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for name, markup, page in pages:
        answer = ""
        with contextlib.suppress(Exception):  # each has errors of its own; nothing came out
            answer = _plain(extract(markup))
        for at, lines in ((0, page.main), (2, page.around)):
            sizes = [(len(line), _plain(line) in answer) for line in lines]
            of[name][at] += sum(size for size, found in sizes if found)
            of[name][at + 1] += sum(size for size, _ in sizes)
    return {name: (row[0] / row[1], row[2] / row[3]) for name, row in of.items()}


def main() -> int:
    """Print a line for each extractor."""
    words = parser(__doc__)
    words.add_argument("--each", type=int, default=20, help="pages of every layout")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--layouts", action="store_true", help="also a line for every layout")
    given = words.parse_args()
    pages, found = _web_pages.pages(given.each), contenders()
    size = sum(len(markup.encode()) for _, markup, _ in pages) / 1e6
    spent, answers = in_turn({name: partial(judge, extract, pages) for name, extract in found.items()}, given.repeats)
    print(f"{len(pages)} pages of {len(_web_pages.LAYOUTS)} layouts, {size:.1f} MB; {load()}")
    for name, shares in answers.items():
        text, around = (statistics.mean(row[which] for row in shares.values()) for which in (0, 1))
        rate = size / statistics.median(spent[name])
        print(f"{name:28} text kept {text:.3f}   around kept {around:.3f}   {rate:6.1f} MB/CPU-s")
        if given.layouts:
            print("   " + "  ".join(f"{layout} {row[0]:.2f}/{row[1]:.2f}" for layout, row in shares.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
