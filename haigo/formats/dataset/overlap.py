"""Whether a list of datasets names one twice, or measures with what it trains on: by their tokens, whatever they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import manifest

_Prefix = str | os.PathLike[str]


def found(sets: Mapping[str, Sequence[_Prefix]]) -> Iterator[tuple[str, str]]:
    """What is wrong and its fix, as sentences; nothing of datasets that are not there.

    Args:
        sets: train, valid, test -> prefixes. That valid and test name the same is not told.

    Raises:
        HaigoError: a manifest is damaged.
    """
    named = {split: [str(prefix) for prefix in prefixes] for split, prefixes in sets.items()}
    tokens = {name: _identity(name) for names in named.values() for name in names}
    for split, names in named.items():
        first: dict[str, str] = {}
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                told = f"{split} names {name} {names.count(name)} times."
                yield told, "name it once, with the sum of its weights"
            before = first.setdefault(tokens[name], name)
            if before != name:
                yield f"{split} names {name}, which holds the same tokens as {before}.", "name one of them"
    training = {tokens[name]: name for name in named.get("train", [])}
    for split, names in named.items():
        for name in names if split != "train" else []:
            if tokens[name] in training:
                other = training[tokens[name]]
                told = f"{split} names {name}, which is trained on{'' if other == name else f' as {other}'}"
                yield f"{told}: its loss tells nothing of unseen text.", f"name a dataset of the {split} split"


def _identity(prefix: str) -> str:
    """The digest of the tokens where the manifest notes it, else where they lie."""
    digest = (manifest.find(prefix) or {}).get("bin_sha256")
    return digest if isinstance(digest, str) and digest else str(Path(f"{prefix}.bin").resolve())
