"""Build the tasks news_cloze_who, news_cloze_where and news_cloze_when from any Japanese news corpus.

    python -m eval_harness.cloze CORPUS --output_dir data/news_cloze [--kinds who,where,when] [--items 500] [--split test]

CORPUS is a folder that preprocess.clean wrote (its --split is read: keep it out of the training), or a .jsonl, .jsonl.gz or
.jsonl.zst file with `text`. A question is the text up to a name, place or date; the right one stands among three others that
other documents have in its place: of the same kind, script and length, and nowhere in the document itself. None is right more
often than chance for being common, and a document gives a kind one question at most. Same documents and seed, same bytes.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval_harness import fillers, headlines
from eval_harness.fillers import Filler
from eval_harness.options import FEWEST_QUESTIONS, ClozeOptions
from haigo import cli, files, flags
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.document import Document, content_id

CHOICES = 4
_CHARACTERS = 10_000_000
"""So much text is searched at most; documents are drawn by the seed."""
_KNOWN = 20
"""So many characters stand before a gap at least: without any, nothing is asked."""
_TRIES = 200


def gaps(text: str, characters: int) -> Iterator[tuple[str, Filler]]:
    """Context and filler of every place of a text that can be asked for.

    Only sentences that end as a told one does (a kana and 。) are cut, so that lists of sources and headings are not; what
    gives the filler away may not stand in the context.

    Args:
        characters: of the context at most; whole sentences before the cut one.
    """
    before: list[str] = []
    for sentence in re.split(r"(?<=。)(?![」』）)])|\n", text):
        if 20 <= len(sentence) <= 300 and re.search(r"[ぁ-ん]。$", sentence) and not re.search('[『』"“”]', sentence):
            for filler in fillers.find(sentence):
                head, tail = sentence[: filler.start], sentence[filler.start + len(filler.text) :]
                context = _last(before, characters - len(head)) + head
                if (
                    _KNOWN <= len(context) <= characters
                    and len(re.findall("[ぁ-ん]", tail)) >= 5
                    and len(re.findall("[(（]", head)) == len(re.findall("[)）]", head))
                    and not filler.named_in(context)
                    and not re.search("[\ud800-\udfff]", context)  # no tokenizer reads halves of surrogate pairs
                ):
                    yield context, filler
        before.append(sentence)


def _last(sentences: Sequence[str], characters: int) -> str:
    """The last whole sentences that fit."""
    kept: list[str] = []
    for sentence in reversed(sentences):
        characters -= len(sentence)
        if characters < 0:
            break
        kept.append(sentence)
    return "".join(reversed(kept))


def build(
    found: Sequence[Document], kinds: Sequence[str], items: int, seed: int, characters: int
) -> dict[str, list[Any]]:
    """Kind -> its questions, at most `items`, from documents in random order; one a document and kind."""
    asked = [(document, list(gaps(document.text, characters))) for document in found]
    pool: dict[str, list[Filler]] = defaultdict(list)
    for _, places in asked:
        # once a document: how often a filler is drawn is in how many documents it can be cut out
        for filler in {(filler.shape, filler.text): filler for _, filler in places}.values():
            pool[filler.shape].append(filler)
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    made: dict[str, list[Any]] = {kind: [] for kind in kinds}
    contexts: set[str] = set()
    ids: dict[str, set[str]] = {kind: set() for kind in kinds}
    for document, places in asked:
        for kind, rows in made.items():
            # the scorer tells questions by it
            own = document.id if document.id not in ids[kind] else content_id(document.text)
            generator = random.Random(f"{seed} {kind} {document.id}")
            for context, filler in generator.sample(places, len(places)):
                if filler.kind != kind or len(rows) >= items or context in contexts:
                    continue
                if right[filler.text] * (CHOICES - 1) > wrong[filler.text]:
                    continue  # what is common would be right for being common
                choices = _others(filler, pool, document, generator)
                if len(choices) < CHOICES - 1:
                    continue
                right[filler.text] += 1
                wrong.update(choices)
                label = generator.randrange(CHOICES)
                choices.insert(label, filler.text)
                rows.append({"id": own, "kind": kind, "context": context, "choices": choices, "label": label})
                contexts.add(context)
                ids[kind].add(own)
                break
    return made


def _others(
    filler: Filler, pool: Mapping[str, Sequence[Filler]], document: Document, generator: random.Random
) -> list[str]:
    """Wrong fillers of the same shape, no two of which are the same thing."""
    around = f"{document.meta.get('title', '')}\n{document.text}"
    chosen: list[Filler] = []
    same = pool[filler.shape]
    for _ in range(_TRIES):
        other = generator.choice(same)
        named = {filler.text, *(trace for each in chosen for trace in each.traces)}
        if not named.intersection(other.traces) and not other.named_in(around):
            chosen.append(other)
            if len(chosen) == CHOICES - 1:
                break
    return [other.text for other in chosen]


def _document(row: Mapping[str, Any]) -> Document:
    text, own = str(row.get("text") or ""), row.get("id")
    return Document(content_id(text) if own is None else str(own), text, {"title": headlines.title_of(row)})


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.cloze", __doc__, ClozeOptions, argv)
    if given.corpus.is_file():
        given.refuse_idle("a file, which has no splits", "split")
    if not given.kinds:
        raise HaigoError("--kinds names none.", f"name some of {', '.join(fillers.KINDS)}", option="kinds")
    names = [f"{kind}.jsonl" for kind in given.kinds]
    files.check_output(given.output_dir, [given.corpus], [given.corpus], names)
    found = documents.draw(map(_document, headlines.rows(given.corpus, given.split)), _CHARACTERS, given.seed)
    made = build(found, given.kinds, given.items, given.seed, given.characters)
    for kind, questions in made.items():
        if len(questions) < FEWEST_QUESTIONS:
            raise HaigoError(
                f"{given.corpus} gives {len(questions)} questions of '{kind}' from {len(found):,} documents; "
                f"{FEWEST_QUESTIONS} are needed.",
                "name a larger Japanese news corpus, or leave that kind out of --kinds",
                option="kinds",
            )
    for kind, questions in made.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions)
        files.write_text(given.output_dir / f"{kind}.jsonl", text)
        print(f"{given.output_dir / f'{kind}.jsonl'}: {len(questions):,} questions from {len(found):,} documents")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
