"""How labels of documents become parts of a corpus: which topics are joined, where bands begin, what each part is called.

Arithmetic alone, no text; files are `preprocess.partition`'s.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__
from haigo.cli import HaigoError
from haigo.formats import documents, tables

from .partition_options import PartitionOptions
from .partition_shards import Cut

_LABEL = 3
_LEAST_WITH = 3  # documents of the sample that have a word which is to tell a topic
_KEPT_WORDS = 2000


def names(corpus: str, topics: Any, count: int, bands: int | None) -> list[str]:
    """The parts of a corpus, topic by topic: `NAME.t0.q0`, without `t0` or `q0` where there are no topics or bands."""
    return [
        corpus + (f".t{topic}" if topics else "") + (f".q{band}" if bands else "")
        for topic in range(count)
        for band in range(bands or 1)
    ]


def joined(corpus: str, labels: np.ndarray, vectors: np.ndarray, options: PartitionOptions) -> list[int]:
    """Topic -> topic after those of too few documents were joined to the most similar (by the cosine of their vectors).

    Raises:
        HaigoError: the corpus is too small for so many parts.
    """
    asked, bands = len(vectors), options.bands or 1
    need = options.least * bands
    counts = np.bincount(labels, minlength=asked).astype(np.int64)
    home, sums = list(range(asked)), vectors.astype(np.float64)
    while len(set(home)) > 1:
        there = sorted(set(home))
        smallest = min(there, key=lambda topic: (counts[topic], -topic))
        if counts[smallest] >= need:
            break
        norms = np.maximum(np.linalg.norm(sums, axis=1), 1e-12)
        likeness = (sums @ sums[smallest]) / norms
        into = max((topic for topic in there if topic != smallest), key=lambda topic: (likeness[topic], -topic))
        sums[into] += sums[smallest]
        counts[into] += counts[smallest]
        home = [into if topic == smallest else topic for topic in home]
    left = sorted(set(home))
    if len(left) == 1 and (counts[left[0]] < need or asked > 1):
        wanted = [f"{asked} topics" if asked > 1 else "", f"{bands} bands" if bands > 1 else ""]
        raise HaigoError(
            f"the corpus '{corpus}' has {len(labels):,} training documents: too few for {' of '.join(filter(None, wanted))}"
            f" with {options.least} in each part.",
            "ask for fewer --topics or --bands, lower --least, or give more text",
            option=("topics", "bands", "least"),
        )
    return [left.index(topic) for topic in home]


def thresholds(corpus: str, by: str, bands: int, scores: np.ndarray, sizes: np.ndarray) -> list[float]:
    """Where the second band begins, the third ...: each holds the same part of the bytes, as far as scores differ.

    Raises:
        HaigoError: too many documents have one score.
    """
    order = np.argsort(scores, kind="stable")
    ordered, before = scores[order], np.concatenate(([0], np.cumsum(sizes[order])[:-1]))
    found: list[float] = []
    for band in range(1, bands):
        at = min(int(np.searchsorted(before, sizes.sum() * band / bands)), len(ordered) - 1)
        found.append(float(ordered[at]))
    if any(low >= high for low, high in itertools.pairwise([float(ordered[0]), *found])):
        raise HaigoError(
            f"the corpus '{corpus}': too many documents have the same score '{by}' for {bands} bands.",
            "ask for fewer --bands, or name another score with --by",
            option=("bands", "by"),
        )
    return found


# -- what tells a part -------------------------------------------------------------------------------------------------


def documents_with(words: Sequence[list[str] | None], found: np.ndarray, topics: int) -> list[dict[str, int]]:
    """In how many documents of each topic a word stands, of the words that most documents have; under "" how many there are."""
    counts: list[Counter[str]] = [Counter() for _ in range(topics)]
    for topic, own in zip(found.tolist(), words, strict=True):
        if own is not None:
            counts[topic].update(own)
            counts[topic][""] += 1
    return [dict(count.most_common(_KEPT_WORDS)) | {"": count[""]} for count in counts]


def terms(counts: Sequence[Mapping[str, int]], joined: Sequence[int], most: int) -> list[list[str]]:
    """The words that tell each topic from the others: those that add most to the divergence of having them."""
    together: list[Counter[str]] = [Counter() for _ in range(max(joined) + 1)]
    for topic, count in zip(joined, counts, strict=True):
        together[topic].update(count)
    whole: Counter[str] = Counter()
    for count in together:
        whole.update(count)
    return [_telling(count, whole, most) for count in together]


def _telling(own: Counter[str], whole: Counter[str], most: int) -> list[str]:
    here, rest = own[""], whole[""] - own[""]

    def worth(word: str) -> float:
        inside, outside = own[word] / max(1, here), (whole[word] - own[word] + 0.5) / (rest + 1)
        return inside * math.log(inside / outside)

    ranked = sorted((word for word in own if word and own[word] >= _LEAST_WITH), key=lambda word: (-worth(word), word))
    chosen: list[str] = []
    for word in ranked:
        if len(chosen) == most or worth(word) <= 0:
            break
        if not any(word in other or other in word for other in chosen):
            chosen.append(word)
    return chosen


def domains(
    corpus: str, model: Mapping[str, Any], cut: Cut, made: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """What partition.json says of each part that has a document.

    Args:
        model: the corpus' `terms`, `topics` and `by`.
        made: split -> part -> counts and licences.
    """
    parts = names(corpus, model["topics"], len(cut.thresholds), model["by"] and cut.bands)
    for number, name in enumerate(parts):
        topic, band = divmod(number, cut.bands)
        splits = {
            split: {key: each for key, each in row[name].items() if key != "licences"} for split, row in made.items()
        }
        if not any(row["documents"] for row in splits.values()):
            continue
        licences: Counter[str] = Counter()
        for row in made.values():
            licences.update(row[name]["licences"])
        edges = [None, *cut.thresholds[topic], None] if model["by"] else None
        scores = edges[band : band + 2] if edges else None
        words = model["terms"][topic]
        yield {
            "name": name,
            "group": corpus,
            "topic": topic if model["topics"] else None,
            "band": band if model["by"] else None,
            "label": _label(words, model["by"], scores),
            "terms": words,
            "scores": scores,
            "splits": splits,
            "licences": dict(licences),
        }


def _label(words: Sequence[str], by: str | None, scores: Sequence[float | None] | None) -> str:
    parts = [", ".join(words[:_LABEL])]
    if by and scores:
        low, high = scores
        edges = [f"from {low:.3g}" if low is not None else "", f"below {high:.3g}" if high is not None else ""]
        parts.append(f"{by} {' '.join(filter(None, edges)) or 'any'}")
    return "; ".join(filter(None, parts)) or "other"


def report(folder: Path, name: str, row: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """The clean.json of a part: what cleaning took away is told in that of the whole corpus."""
    totals = {key: sum(split[key] for split in row["splits"].values()) for key in ("documents", "characters", "bytes")}
    tool = f"haigo {__version__}"
    return {
        "corpus": name,
        "part_of": row["group"],
        "documents_in": totals["documents"],
        "characters_in": totals["characters"],
        **{f"{key}_out": value for key, value in totals.items()},
        "rules": {},
        "splits": row["splits"],
        "licences": row["licences"],
        "steps": [
            *documents.report(folder).get("steps", []),
            {"step": "partition", "options": dict(step), "tool": tool},
        ],
        "tool": tool,
    }


def supply(found: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]]) -> str:
    """supply.csv of the parts: tokens by their shares of the corpus' training bytes, or the bytes where no tokens are known."""
    rows = {name: row for name, row in found["domains"].items() if row["splits"]["train"]["bytes"]}
    whole: Counter[str] = Counter()
    for row in rows.values():
        whole[row["group"]] += row["splits"]["train"]["bytes"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(tables.SUPPLY)
    for name, row in rows.items():
        own, parent = row["splits"]["train"]["bytes"], table.get(row["group"], {})
        tokens = round(own * parent["tokens"] / whole[row["group"]]) if "tokens" in parent else own
        limits = [f"{parent[key]:g}" if key in parent else "" for key in ("max", "max_epochs")]
        writer.writerow([name, max(1, tokens), "", *limits, row["group"]])
    return out.getvalue()
