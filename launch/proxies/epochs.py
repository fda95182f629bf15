"""Repetition-matched proxies: every corpus cut down so far that a proxy repeats it as often as the target run will.

A small run never repeats what a large run will read four times, so its losses say nothing of repetition. Here a corpus of
which the target run has S tokens is given to a proxy as S * proxy_tokens / target_tokens tokens: at equal weights both
pass over it equally often. The cut is made on disk, as a dataset of its own: documents in a random order drawn
from the seed, as many as are needed, the last one cut short. So the order of samples is GPT-NeoX's as always
(`launch.neox.data_order`), in either engine; and a larger cut by the same seed holds the smaller one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, files
from haigo.cli import HaigoError
from haigo.formats.dataset import belongs
from haigo.formats.dataset import manifest as manifests
from haigo.formats.dataset.indexed import MMapReader, MMapWriter
from haigo.formats.tokenizer import Tokenizer
from mixer.supply import read_supply
from neox_configs.catalogue import Catalogue

_SPARE = 1.005  # GPT-NeoX asks for half a percent more than a weight's share


@dataclasses.dataclass(frozen=True)
class Matching:
    """What is to be matched."""

    target_tokens: float
    """Tokens of the target run."""
    supply: Mapping[str, float] | None = None
    """corpus -> tokens that the target run has of it; what the catalogue's datasets hold when None."""


def matching(target_tokens: float | None, supply: str | None) -> Matching | None:
    """What a command line asks for: `supply` is the path of a supply.csv.

    Raises:
        HaigoError: it cannot be read.
    """
    if target_tokens is None or not supply:
        return None if target_tokens is None else Matching(target_tokens)

    rows = read_supply(supply).items()
    return Matching(target_tokens, {name: float(row.get("tokens", 0.0)) for name, row in rows})


@dataclasses.dataclass(frozen=True)
class Matched:
    """What came of it."""

    catalogue: Catalogue
    """With cut training sets."""
    tokens: dict[str, int]
    """corpus -> tokens that a proxy has of it."""
    supply: dict[str, float]
    """corpus -> tokens that the target run has of it."""
    target_tokens: float
    remarks: list[str]

    def about(self, weights: Mapping[str, float], proxy_tokens: int) -> dict[str, Any]:
        """For a run's result.json."""
        used = {name: weight for name, weight in weights.items() if weight > 0}
        return {
            "target_tokens": self.target_tokens,
            "corpora": {
                name: {
                    "tokens": self.tokens[name],
                    "supply": self.supply[name],
                    "epochs": float(f"{weight * proxy_tokens / self.tokens[name]:.5g}"),
                    "target_epochs": float(f"{weight * self.target_tokens / self.supply[name]:.5g}"),
                }
                for name, weight in used.items()
            },
        }


def match(
    known: Catalogue,
    mixtures: Iterable[Mapping[str, float]],
    proxy_tokens: int,
    seq_length: int,
    matching: Matching,
    folder: Path,
    seed: int,
    tokenizer: Tokenizer,
) -> Matched:
    """Cut the training sets; what is there already is used.

    Args:
        mixtures: the weights of all proxies: decides which corpora are wanted.
        proxy_tokens: training tokens of one proxy.
        folder: gets CORPUS/DIGEST/train_text_document.

    Raises:
        HaigoError: a corpus without supply, of which less than two tokens would be left, or of which more would be
            needed than its dataset holds.
    """
    if not proxy_tokens < matching.target_tokens:
        raise HaigoError(
            f"--match-epochs {matching.target_tokens:g} is not more than the {proxy_tokens:,} tokens of a proxy.",
            "give the training tokens of the target run",
        )
    most: dict[str, float] = {}
    for row in mixtures:
        for name, weight in row.items():
            if weight > 0:
                most[name] = max(most.get(name, 0.0), weight)
    corpora = {name: dict(splits) for name, splits in known.corpora.items()}
    tokens: dict[str, int] = {}
    supplies: dict[str, float] = {}
    remarks = []
    for name, weight in most.items():
        prefix = known.prefix(name, "train")
        belongs.require(prefix, tokenizer)
        reader = MMapReader(prefix)
        have = len(reader.tokens)
        supply = float(have) if matching.supply is None else matching.supply.get(name)
        if not supply:
            raise HaigoError(f"the supply table gives no tokens for '{name}'.", "add them to supply.csv")
        wanted = round(supply * proxy_tokens / matching.target_tokens)
        if wanted < 2:
            raise HaigoError(
                f"{name}: of its {supply:,.0f} tokens a proxy of {proxy_tokens:,} tokens would have {wanted}.",
                "train longer proxies, or leave the corpus out of the table",
            )
        if wanted > have:
            # as long as neither the proxy nor the target run repeats anything, all of it is as good
            if weight * proxy_tokens * _SPARE > have:
                raise HaigoError(
                    f"{name}: a proxy should have {wanted:,} tokens of it, and {prefix} holds {have:,}.",
                    "index more of the corpus, or train shorter proxies",
                )
            remarks.append(
                f"{name}: all {have:,} tokens are used; nothing of it is repeated, here or in the target run."
            )
        if wanted <= seq_length:
            remarks.append(
                f"{name}: its {wanted:,} tokens are less than one sample of {seq_length}: every sample of it repeats them."
            )
        tokens[name], supplies[name] = min(wanted, have), supply
        if wanted < have:
            corpora[name]["train"] = _cut(reader, prefix, wanted, folder, name, seed, tokenizer)
    return Matched(
        dataclasses.replace(known, corpora=corpora), tokens, supplies, float(matching.target_tokens), remarks
    )


def _cut(
    reader: MMapReader, prefix: Path, wanted: int, folder: Path, corpus: str, seed: int, tokenizer: Tokenizer
) -> Path:
    """The dataset with the first `wanted` tokens of the documents in their drawn order."""
    key = files.digest([manifests.fingerprint(prefix), wanted, seed, corpus])[:16]
    cut = folder / re.sub(r"[^\w.-]", "_", corpus) / key / "train_text_document"
    try:
        if manifests.check(cut) is not None:  # written last
            return cut
    except (HaigoError, FileNotFoundError) as error:
        what = error.problem.removesuffix(".") if isinstance(error, HaigoError) else f"{cut} is not whole"
        print(f"haigo: {what}: it is cut again.", file=sys.stderr)
    drawn = np.random.default_rng([seed, int(hashlib.sha256(corpus.encode()).hexdigest()[:8], 16)])
    sizes = np.asarray(reader.sizes, dtype=np.int64)
    order = drawn.permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    count = int(np.searchsorted(ends, wanted)) + 1
    text_bytes = 0
    cut.parent.mkdir(parents=True, exist_ok=True)
    with MMapWriter(cut, reader.dtype) as writer:
        left = wanted
        for number in order[:count].tolist():
            ids = np.asarray(reader[number])[:left]
            writer.add(ids)
            writer.end_document()
            text_bytes += int(tokenizer.piece_bytes[ids].sum())
            left -= len(ids)
    content = {
        "tokens": wanted,
        "documents": count,
        "bytes": text_bytes,
        "dtype": reader.dtype.name,
        "eod_id": tokenizer.eod_id,
        "vocab_size": tokenizer.vocab_size,
        "tokenizer_sha256": tokenizer.sha256,
        **manifests.sums(cut),
        "cut_from": {"prefix": str(prefix), "tokens": int(ends[-1]), "seed": seed},
        "tool": f"haigo {__version__}",
    }
    manifests.write(cut, content)
    return cut
