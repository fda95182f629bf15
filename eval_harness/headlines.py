"""Build the task news_headline from any news corpus: which of five headlines is the article's own?

    python -m eval_harness.headlines CORPUS --output_dir data/news_headline [--split test] [--seed 1234]

CORPUS is a folder that preprocess.clean wrote (its --split is read: keep it out of the training), or a .jsonl, .jsonl.gz or
.jsonl.zst file with `text` and `title`. The headline is the title, or else a first line of at most 80 characters. The other
four are drawn from the nearest articles of the corpus, so they are often of the same days and subjects. Articles that hold
their headline word for word lose those lines. Same corpus and seed, same bytes.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from eval_harness.options import HeadlineOptions
from haigo import cli, files, flags
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import containers, jsonl

CHOICES = 5
_NEAR = 10
_LONGEST_HEADLINE = 80
_SHORTEST_ARTICLE = 40


@dataclass(frozen=True, slots=True)
class Article:
    """One article with its headline."""

    id: str
    headline: str
    body: str


def articles(corpus: Path, split: str, left_out: Counter[str] | None = None) -> Iterator[Article]:
    """The articles of a corpus that have a headline and a body, in its order.

    Args:
        left_out: counts the others, by what they lack.
    """
    left_out = Counter() if left_out is None else left_out
    for number, row in enumerate(rows(corpus, split)):
        title, text = title_of(row), str(row.get("text", "")).strip()
        if not title:
            title, _, text = text.partition("\n")
            if len(title) > _LONGEST_HEADLINE:
                title = ""
        title = str(title).strip()
        body = "\n".join(line for line in text.split("\n") if title not in line).strip() if title else ""
        if re.search("[\ud800-\udfff]", title + body):
            left_out["valid Unicode"] += 1
        elif title and len(body) >= _SHORTEST_ARTICLE:
            yield Article(str(row.get("id", number)), title, body)
        else:
            left_out["an article" if title else "a headline"] += 1


def build(found: Sequence[Article], seed: int, characters: int = 400) -> list[dict[str, Any]]:
    """A question for every article whose neighbourhood has enough other headlines.

    Args:
        characters: how much of an article is shown.
    """
    rows = []
    for place, article in enumerate(found):
        window = range(max(0, place - 2 * _NEAR), min(len(found), place + 2 * _NEAR + 1))
        nearest = sorted(window, key=lambda other: (abs(other - place), other))[1:]
        others = list(dict.fromkeys(found[n].headline for n in nearest if found[n].headline != article.headline))
        if len(others) < CHOICES - 1:
            continue
        generator = random.Random(f"{seed} {article.id}")
        drawn = generator.sample(others[:_NEAR], CHOICES - 1) if len(others) >= _NEAR else others[: CHOICES - 1]
        label = generator.randrange(CHOICES)
        drawn.insert(label, article.headline)
        rows.append({"id": article.id, "article": article.body[:characters], "headlines": drawn, "label": label})
    return rows


def title_of(row: Mapping[str, Any]) -> str:
    """A document's title, where it has one: its own, or its `meta`'s."""
    meta = row.get("meta")
    return str(row.get("title") or (meta.get("title") if isinstance(meta, dict) else "") or "")


def rows(corpus: Path, split: str) -> Iterator[dict[str, Any]]:
    """The documents of a corpus: of a split of preprocess.clean's folder, or of a file.

    Raises:
        HaigoError: there is no such corpus, or a line is no JSON object.
    """
    if corpus.is_dir():
        places = documents.shards(corpus, split)
    elif corpus.is_file():
        places = [corpus]
    else:
        raise HaigoError(f"{corpus} does not exist.", "name a corpus folder or a .jsonl file")
    for path in places:
        for entry in containers.entries(path):
            with containers.readable(entry.name):
                numbered = containers.lines(cast(BinaryIO, entry.stream), entry.name)
                yield from (row for _, row in jsonl.rows(numbered, entry.name))


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.headlines", __doc__, HeadlineOptions, argv)
    if given.corpus.is_file():
        given.refuse_idle("a file, which has no splits", "split")
    files.check_output(given.output_dir, [given.corpus], [given.corpus], ("test.jsonl",))
    left_out: Counter[str] = Counter()
    found = list(articles(given.corpus, given.split, left_out))
    rows = build(found, given.seed, given.characters)
    if not rows:
        raise HaigoError(
            f"{given.corpus} has {len(found)} articles with headlines; {CHOICES} different ones are needed.",
            "name a news corpus whose documents have titles",
        )
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    files.write_text(given.output_dir / "test.jsonl", text)
    print(f"{given.output_dir / 'test.jsonl'}: {len(rows):,} questions from {len(found):,} articles")
    for what, count in left_out.items():
        print(f"  left out: {count:,} documents without {what}")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
