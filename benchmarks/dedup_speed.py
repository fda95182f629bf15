"""CPU-seconds and recall of near-duplicate search: Haigo's and datasketch's, on the same documents in one run.

    python benchmarks/dedup_speed.py [--corpora FOLDER] [--megabytes 12] [--planted 400] [--repeats 3] [--pages 2000]

The documents are real ones (HAIGO_CORPORA, or `../shared/corpora` beside the clone; made-up ones where there are none)
with near-duplicates planted at true Jaccard .8 and .9. Both sides do the whole work with the same settings: NFKC without
blanks and punctuation, character 5-shingles, 112 values in 14 bands of 8, true Jaccard of candidates, threshold .8,
earlier documents stay. datasketch gets xxhash where it is installed, which is quicker than its own SHA-1. Reading is not
counted. False: documents removed for which no earlier one is as similar as the threshold says, by sets of strings.

Then --pages pages of one template each, of which every two are .6, .7 and .75 alike, are searched, and ten times as many of the
same template (of another one other bands are crowded, and a page costs up to 1.4 times as much): what these cost, which of the
near-duplicates planted among them are found, and how many were left in, by Haigo's own estimate too. --templates: so many.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import statistics
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from _measure import in_turn, load, parser, seconds
from _texts import JAPANESE, add_corpora, texts

THRESHOLD, BANDS, ROWS, WIDTH = 0.8, 14, 8, 5
SOURCES = (*JAPANESE, "english/kyoto-en.txt.gz")
Answer = dict[int, int]  # removed -> kept
said: dict[str, float] = {}
"""What `haigo` says of its last search (`near_pairs.left_in`)."""


class _Dropped(dict[int, int | None]):
    """For str.translate: None for what the normal form leaves out."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        self[code] = None if category[0] in "PZ" or category in ("Cc", "Cf") else code
        return self[code]


_DROPPED = _Dropped()


def normal(text: str) -> str:
    """The normal form, by the standard library alone."""
    return unicodedata.normalize("NFKC", text).translate(_DROPPED)


def shingles(text: str) -> set[str]:
    """The shingle set of a normal form."""
    return {text[at : at + WIDTH] for at in range(max(1, len(text) - WIDTH + 1))}


def similarity(one: set[str], other: set[str]) -> float:
    """Jaccard."""
    return len(one & other) / len(one | other)


def changed(text: str, wanted: float, rng: random.Random) -> str | None:
    """The text with single characters replaced until its similarity would fall below `wanted`; None if that misses."""
    original = shingles(normal(text))
    best = None
    now = list(text)
    for place in rng.sample(range(len(now)), len(now)):
        if unicodedata.category(now[place])[0] != "L":
            continue
        now[place] = chr(rng.randrange(0x5000, 0x9000))
        found = similarity(original, shingles(normal("".join(now))))
        if found < wanted:
            break
        best = ("".join(now), found)
    return best[0] if best and best[1] < wanted + 0.015 else None


def plant(texts: list[str], count: int, rng: random.Random) -> tuple[list[str], dict[float, list[tuple[int, int]]]]:
    """`texts` with near-duplicates of some added, and (original, copy) by similarity."""
    planted: dict[float, list[tuple[int, int]]] = {0.8: [], 0.9: []}
    made = list(texts)
    usable = [number for number, text in enumerate(texts) if 250 <= len(text) <= 3000]
    for number in rng.sample(usable, len(usable)):
        wanted = min(planted, key=lambda key: len(planted[key]))
        if len(planted[wanted]) >= count:
            break
        copy = changed(texts[number], wanted, rng)
        if copy is not None:
            planted[wanted].append((number, len(made)))
            made.append(copy)
    return made, planted


def pages(text: str, count: int, alike: float, rng: random.Random) -> tuple[list[str], dict[float, list[int]]]:
    """Pages of 1,200 characters between the head and the foot of one template, every two of them `alike`; every twentieth is
    one before with other characters at the end of its own part, so that both are .85, .9 or .95 alike.

    Args:
        text: a normal form, of which the template is cut.

    Returns:
        The pages, and the numbers of the near-duplicates by similarity.
    """
    size = 1200
    template = int(size * 2 * alike / (1 + alike))
    at = rng.randrange(len(text) - template)
    head, foot = text[at : at + template // 2], text[at + template // 2 : at + template]
    letters = [chr(code) for code in range(0x5000, 0x9000)]
    made, own, planted = list[str](), list[str](), dict[float, list[int]]({0.85: [], 0.9: [], 0.95: []})
    for number in range(count):
        if number % 20 == 19:
            wanted = rng.choice(list(planted))
            part = own[rng.randrange(len(own))]
            kept = len(part) - int(size * (1 - wanted) / (1 + wanted)) + WIDTH
            part = part[:kept] + "".join(rng.choices(letters, k=len(part) - kept))
            planted[wanted].append(number)
        else:
            part = "".join(rng.choices(letters, k=size - template))
            own.append(part)
        made.append(head + part + foot)
    return made, planted


def batches(texts: list[str]) -> Iterator[list[str]]:
    """Lots of about 100,000 characters, as the command reads them."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= 100_000:
            yield held
            held, size = [], 0
    yield held


def haigo(texts: list[str]) -> Answer:
    """Haigo's search, in memory."""
    from preprocess import near_pairs
    from preprocess.minhash import Shape, Sketcher

    sketcher = Sketcher(Shape(WIDTH, BANDS, ROWS))
    sketches = near_pairs.join(map(sketcher.sketch, batches(texts)))
    equal = dict(zip(*(each.tolist() for each in near_pairs.repeats(*sketches.digests.T)), strict=True))
    long = np.array([each for each in np.flatnonzero(sketches.sizes >= near_pairs.FEW).tolist() if each not in equal])
    sketches = near_pairs.Sketches(*(getattr(sketches, each.name)[long] for each in dataclasses.fields(sketches)))
    found = near_pairs.candidates(sketches, THRESHOLD)
    sets = []
    for held in batches([texts[number] for number in long[found.numbers].tolist()]):
        sets += sketcher.shingle_sets(held)
    answer = near_pairs.near(sketches, found, sets.__getitem__, THRESHOLD)
    clusters = np.zeros(len(long), dtype=np.int64)
    said.update(near_pairs.left_in(sketches, found, answer, clusters))
    return equal | {int(long[each.number]): int(long[each.kept]) for each in answer.removals}


def datasketch(texts: list[str]) -> Answer:
    """The same with datasketch: query, true Jaccard of what it gives, insert what stays."""
    from datasketch import MinHash, MinHashLSH

    hashed: Callable[[bytes], int] | None = None
    with contextlib.suppress(ImportError):
        from xxhash import xxh32_intdigest

        hashed = xxh32_intdigest
    base = MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=hashed)
    index = MinHashLSH(params=(BANDS, ROWS), num_perm=BANDS * ROWS)
    kept: dict[int, set[str]] = {}
    answer: Answer = {}
    for number, text in enumerate(texts):
        found = shingles(normal(text))
        sketch = base.copy()
        sketch.update_batch(each.encode() for each in found)
        twin = next(
            (other for other in sorted(index.query(sketch)) if similarity(found, kept[other]) >= THRESHOLD), None
        )
        if twin is not None:
            answer[number] = twin
            continue
        index.insert(number, sketch)
        kept[number] = found
    return answer


def main() -> int:
    """Print a line for each contender, and the ratio."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--megabytes", type=float, default=12)
    words.add_argument("--planted", type=int, default=400, help="near-duplicates of each similarity")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--pages", type=int, default=2000, help="of a template; 0: none")
    words.add_argument("--templates", type=int, default=3)
    given = words.parse_args()
    from preprocess import normal_form

    rng = random.Random(given.seed)
    kind, documents = texts(given.corpora, SOURCES, given.megabytes, rng)
    documents, planted = plant(documents, given.planted, rng)
    size = sum(len(text.encode()) for text in documents) / 1e6
    print(
        f"{len(documents):,} {kind} documents, {size:.1f} MB, {len(planted[0.8])} planted at .8,"
        f" {len(planted[0.9])} at .9; median of {given.repeats}; {load()}"
    )
    normal_form.codes("表")  # its table is made once a process
    contenders: dict[str, Callable[[list[str]], Answer]] = {"haigo": haigo}
    try:
        import datasketch as _  # noqa: F401

        contenders["datasketch"] = datasketch
    except ImportError:
        print("datasketch is not installed (pip install -c constraints.txt datasketch): Haigo's figures alone")
    spent, answers = in_turn({name: partial(work, documents) for name, work in contenders.items()}, given.repeats)
    taken = {name: statistics.median(times) for name, times in spent.items()}
    for name, answer in answers.items():
        recall = {
            wanted: sum(copy in answer for _, copy in pairs) / max(1, len(pairs)) for wanted, pairs in planted.items()
        }
        false = sum(
            similarity(shingles(normal(documents[gone])), shingles(normal(documents[kept]))) < THRESHOLD
            for gone, kept in answer.items()
        )
        print(
            f"{name:11} {taken[name]:7.2f} CPU-s {size / taken[name]:7.1f} MB/CPU-s  found .8: {recall[0.8]:.3f}"
            f"  .9: {recall[0.9]:.3f}  removed {len(answer):,}, false {false}"
        )
    if len(spent) == 2:
        print(f"ratio {taken['datasketch'] / taken['haigo']:.1f}")
    if given.pages:
        for number in range(given.templates):
            templates(normal("".join(documents)), given.pages, given.seed + number)
    return 0


def templates(text: str, count: int, seed: int) -> None:
    """Print what pages of a template cost, and ten times as many."""
    for alike in (0.6, 0.7, 0.75):
        few: float = 0
        for number in (count, 10 * count):
            made, planted = pages(text, number, alike, random.Random(seed))
            took, answer = seconds(partial(haigo, made))
            recall = "  ".join(
                f"{wanted}: {sum(each in answer for each in those) / max(1, len(those)):.3f}"
                for wanted, those in planted.items()
            )
            missed = sum(each not in answer for those in planted.values() for each in those)
            false = len(answer) - sum(each in answer for those in planted.values() for each in those)
            print(
                f"{number:,} pages that are {alike} alike: {took:.2f} CPU-s  found {recall}  others {false};"
                f" left in {missed}, by its own estimate {said['documents']:.1f}"
            )
            if number == count:
                few = took
        print(f"growth {took / few:.1f}")


if __name__ == "__main__":
    raise SystemExit(main())
