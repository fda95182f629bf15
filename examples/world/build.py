"""The whole sample in one folder: six corpora in raw formats, questions, and `world.json`, which says what is what."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import haigo
from examples.world import formats, python_text
from examples.world.encyclopedia import Encyclopedia, plain
from examples.world.facts import COUNTRY, World
from examples.world.minutes import Minutes
from examples.world.news import News
from examples.world.questions import Questions
from examples.world.stories import Stories
from haigo import files
from haigo.cli import HaigoError

# What is there in plenty is not what the questions need: that is the case in which choosing a mixture pays.
CHARACTERS = {
    "encyclopedia": 900_000,
    "news": 900_000,
    "minutes": 1_600_000,
    "stories": 1_600_000,
    "code": 3_000_000,
    "english": 2_000_000,
}
PATHS = {
    "encyclopedia": "encyclopedia/pages-articles.xml.bz2",
    "news": "news/news.jsonl.gz",
    "minutes": "minutes",
    "stories": "stories/aozora-sjis.tar.xz",
    "code": "code/code.jsonl.zst",
    "english": "english/english.jsonl.zst",
}
LARGEST = 4.0
_NOTE = (
    "Synthetic sample text: everything Japanese here was made by a seeded generator and is about a country that does not "
    "exist. code and english are the standard library of the Python named here and its docstrings (PSF licence). "
    "Figures measured on this sample say that the chain works, not how good a model would be."
)


def build(
    output_dir: Path, seed: int = 7, size: float = 1.0, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Write the sample; the same seed, size and Python give the same bytes.

    Args:
        output_dir: folder to write to; made when it is not there.
        seed: chooses the world and every sentence.
        size: 1 for about ten million characters; below 1 the world is smaller too.
        say: called with a line a corpus, for the screen.

    Returns:
        What `world.json` holds.

    Raises:
        HaigoError: `size` is out of range, the folder is in use, or the disk is too full.
    """
    if not 0 < size <= LARGEST:
        raise HaigoError(f"--size {size:g} is out of range.", f"give a number above 0 and up to {LARGEST:g}")
    files.require_space(output_dir, round(60e6 * size), "The sample")
    with files.owner(output_dir):
        files.remove_leftovers(output_dir)
        return _build(output_dir, seed, size, say)


def _build(output_dir: Path, seed: int, size: float, say: Callable[[str], None]) -> dict[str, Any]:
    world = World(seed, size)
    want = {name: round(characters * size) for name, characters in CHARACTERS.items()}
    corpora: dict[str, dict[str, Any]] = {}
    japanese: list[str] = []

    def note(name: str, texts: list[str], what: str) -> None:
        corpora[name] = {"path": PATHS[name], "documents": len(texts), "characters": sum(map(len, texts)), "what": what}
        say(f"{name}: {len(texts):,} documents, {corpora[name]['characters']:,} characters in {PATHS[name]}")

    pages = Encyclopedia(world, seed).pages(want["encyclopedia"])
    formats.mediawiki(output_dir / PATHS["encyclopedia"], pages)
    articles = [plain(page.text) for page in pages]
    japanese += articles
    note("encyclopedia", articles, "MediaWiki dump; characters without markup")

    reports = News(world, seed).reports(want["news"])
    formats.jsonl_gz(output_dir / PATHS["news"], reports)
    texts = [report["text"] for report in reports]
    japanese += [f"{report['title']}。{report['text']}" for report in reports]
    note("news", texts, "jsonl with id, date, title, text")

    minutes = Minutes(world, seed).pages(want["minutes"])
    formats.minutes_pages(output_dir / PATHS["minutes"], minutes)
    texts = [speech["speech"] for page in minutes for speech in page["speechRecord"]]
    japanese += texts
    note("minutes", texts, "pages in the form of the Diet minutes API; a document is a speech")

    tales = Stories(world, seed).files(want["stories"])
    formats.aozora(output_dir / PATHS["stories"], tales)
    texts = [text for _, text in tales]
    japanese += texts
    note("stories", texts, "Aozora files: Shift_JIS, ruby, annotations")

    code, english = python_text.corpora(want["code"], want["english"])
    formats.jsonl_zst(output_dir / PATHS["code"], code)
    formats.jsonl_zst(output_dir / PATHS["english"], english)
    note("code", [row["text"] for row in code], "Python's standard library: path, text")
    note("english", [row["text"] for row in english], "its docstrings: id, text")

    questions = Questions(world, seed, japanese)
    task = output_dir / "qa" / "jcommonsenseqa-v1.1"
    for name in ("train", "valid"):
        formats.jsonl(task / f"{name}-v1.1.json", questions.multiple_choice(name))
    for name in ("dev", "test"):
        formats.jsonl(output_dir / "qa" / f"pairs_{name}.jsonl", questions.pairs(name))
    counts = {name: len(facts) for name, facts in questions.sets.items()}
    say(
        f"questions: {counts['train']} train, {counts['valid']} valid; pairs: {counts['dev']} dev, {counts['test']} test"
    )

    about = {
        "synthetic": True,
        "note": _NOTE,
        "country": COUNTRY,
        "seed": seed,
        "size": size,
        "tool": f"haigo {haigo.__version__}",
        "python": platform.python_version(),
        "entities": {kind: len(group) for kind, group in world.of.items()},
        "corpora": corpora,
        "questions": counts,
        "facts": [[fact.subject, fact.relation, fact.value] for fact in world.facts],
    }
    files.write_json(output_dir / "world.json", about)
    return about
