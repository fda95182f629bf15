"""The data side of a GPT-NeoX config: corpus weights meet the catalogue of datasets, and both meet the tokenizer."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError, Refused, nearest
from haigo.formats import mixture as mixtures
from neox_configs.catalogue import SPLITS, Catalogue

if TYPE_CHECKING:
    from haigo.formats.tokenizer import Tokenizer


@dataclass(frozen=True)
class Dataset:
    """One indexed dataset as its files say it is."""

    prefix: Path
    tokens: int
    sequences: int
    dtype: str
    manifest: dict[str, Any] | None
    """What `PREFIX.json` holds; None when there is none (a dataset made by other tools)."""


def read_weights(source: str | os.PathLike[str] | Mapping[str, float]) -> dict[str, float]:
    """Corpus weights from a mixture.yml (its `weights`, or a plain `corpus: weight` list) or a mapping.

    Raises:
        HaigoError: no weights, a weight that is not a number of at least 0, or a sum other than 1.
    """
    return mixtures.check(source) if isinstance(source, Mapping) else dict(mixtures.read(source)["weights"])


def in_order(weights: Mapping[str, float], catalogue: Catalogue, name: str = "the mixture") -> dict[str, float]:
    """The weights above 0 in the catalogue's order, which is the order of the lists in the config.

    Raises:
        HaigoError: a weight for a corpus that the catalogue does not have, or none for one that it has.
    """
    for corpus, weight in weights.items():
        if corpus not in catalogue.corpora and weight > 0:
            raise HaigoError(
                f"{name} gives a weight to '{corpus}', which the catalogue does not have."
                f"{nearest(corpus, catalogue.corpora)}",
                f"name one of: {', '.join(catalogue.corpora)}",
            )
    missing = [corpus for corpus in catalogue.corpora if corpus not in weights]
    if missing:
        raise HaigoError(
            f"{name} gives no weight for {', '.join(missing)}, which the catalogue has.",
            "add them; 0 leaves a corpus out",
        )
    kept = {corpus: weights[corpus] for corpus in catalogue.corpora if weights[corpus] > 0}
    total = math.fsum(kept.values())
    return {corpus: weight / total for corpus, weight in kept.items()}


def dataset(prefix: str | os.PathLike[str]) -> Dataset:
    """Read a dataset's size from its index, and see that `.bin` is whole.

    Raises:
        HaigoError: a file is missing, is of another format, or is cut short.
        Refused: its bytes are not those that its manifest speaks of.
    """
    from haigo.formats.dataset import manifest
    from haigo.formats.dataset.indexed import VERSION, MMapReader

    reader, again = MMapReader(prefix).of_tokens(), "make the dataset again with preprocess.index"
    stated = manifest.check(prefix)
    if reader.version != VERSION:
        raise Refused(
            f"{prefix}.idx has version {reader.version}, and GPT-NeoX ends on any but {VERSION}.",
            f"{again}, or write {VERSION} into the byte 9 of a copy: the rest is the same",
        )
    # GPT-NeoX uses no document index, and its merge tool loses it
    trouble = reader.problems(documents=stated is not None)
    if trouble:
        raise HaigoError(f"{prefix}.idx is damaged: {trouble[0]}.", again)
    if stated is not None and stated["tokens"] != len(reader.tokens):
        raise Refused(
            f"{prefix}.json speaks of {stated['tokens']:,} tokens, and {prefix}.bin has {len(reader.tokens):,}.", again
        )
    return Dataset(Path(prefix), len(reader.tokens), len(reader), reader.dtype.name, stated)


def data_keys(
    weights: Mapping[str, float], catalogue: Catalogue, tokenizer: Tokenizer, seq_length: int
) -> tuple[dict[str, Any], dict[str, Dataset], list[str]]:
    """The `*_data_paths` and `*_data_weights` of a config.

    A validation or test set too short for a single sample is left out of its list, and said.

    Args:
        weights: corpus -> weight, in the catalogue's order, all above 0.
        catalogue: where the datasets are.
        tokenizer: whose ids the datasets must hold.
        seq_length: tokens a sample.

    Returns:
        (keys, training datasets by corpus, remarks).

    Raises:
        HaigoError: a dataset is missing, damaged or too short.
        Refused: a dataset does not belong to the tokenizer.
    """
    from haigo.formats.dataset import belongs, overlap

    keys: dict[str, Any] = {}
    training: dict[str, Dataset] = {}
    remarks = []
    for split in SPLITS:
        paths: list[str] = []
        shares: list[float] = []
        for corpus, weight in weights.items():
            one = dataset(catalogue.prefix(corpus, split))
            belongs.require(one.prefix, tokenizer)
            # GPT-NeoX takes (tokens - 1) // seq_length samples and never uses the last
            if (one.tokens - 1) // seq_length < 2:
                if split == "train":
                    raise HaigoError(
                        f"{one.prefix}.bin has {one.tokens:,} tokens: too few for samples of {seq_length}.",
                        "add text to the corpus, or give it weight 0",
                    )
                remarks.append(f"{corpus} is left out of the {split} set: {one.tokens:,} tokens are too few.")
                continue
            if split == "train":
                training[corpus] = one
            if corpus in catalogue.part_of and str(one.prefix) in paths:  # parts are measured on the whole: named once
                shares[paths.index(str(one.prefix))] += weight
                continue
            paths.append(str(one.prefix))
            shares.append(weight)
        if not paths:
            raise HaigoError(
                f"no corpus has a {split} set of at least two samples of {seq_length} tokens.",
                "index more documents, or use a shorter --seq-length",
                option="seq_length",
            )
        total = math.fsum(shares)
        keys[f"{split}_data_paths"] = paths
        keys[f"{split}_data_weights"] = [share / total for share in shares]
    remarks += [sentence for sentence, _ in overlap.found({split: keys[f"{split}_data_paths"] for split in SPLITS})]
    return keys, training, remarks
