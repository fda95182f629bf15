"""Where the leaderboard's data sets that are not JGLUE's own files come from, and under which names their files lie.

Nothing of them is part of Haigo. `tasks/README.md` says for each where it is published, under which licence, and which may
not be passed on. Each is read in the format it is published in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """One data set."""

    places: Mapping[str, tuple[str, ...]]
    """split -> where its file may lie in the data folder, the published name first."""
    where: str
    """How to get it, as an imperative."""
    title: str
    blobs: Mapping[str, str]
    """split -> git's blob id of the published file, where it is known."""
    hub: tuple[str, Mapping[str, str]] | None = None
    """The data set on the Hugging Face hub and the file of each split, where it needs no loading script."""
    sizes: tuple[int, ...] = ()
    """How many documents published rows scored."""


ORIGINS: dict[str, Origin] = {
    "marc_ja": Origin(
        title="MARC-ja",
        places={
            split: (f"marc_ja-v1.1/{split}-v1.0.json", f"marc_ja-v1.1/{split}-v1.1.json", f"marc_ja-{split}-v1.1.json")
            for split in ("train", "valid")
        },
        where="it may not be passed on and Amazon has withdrawn its source: write your copy as lines of "
        '{"sentence": ..., "label": "positive" or "negative"}',
        blobs={},
        sizes=(5734, 5654),
    ),
    "jaqket_v2": Origin(
        title="JAQKET v2.0",
        places={
            "train": ("train_jaqket_59.350.json", "jaqket_v2/train_jaqket_59.350.json", "jaqket_v2-train.json"),
            "valid": ("dev_jaqket_59.350.json", "jaqket_v2/dev_jaqket_59.350.json", "jaqket_v2-valid.json"),
        },
        where="get it from https://huggingface.co/datasets/kumapo/JAQKET (CC BY-SA 4.0)",
        blobs={},
        hub=("kumapo/JAQKET", {"train": "train_jaqket_59.350.json", "valid": "dev_jaqket_59.350.json"}),
        sizes=(1164,),
    ),
    "xlsum_ja": Origin(
        title="XL-Sum (Japanese, filtered)",
        places={
            split: (f"xlsum_ja/data/{split}.csv", f"xlsum_ja/{split}.csv", f"xlsum_ja-{split}.csv")
            for split in ("train", "validation", "test")
        },
        where="get data/ of https://huggingface.co/datasets/mkshing/xlsum_ja (CC BY-NC-SA 4.0: not for commercial use)",
        blobs={},
        hub=("mkshing/xlsum_ja", {split: f"data/{split}.csv" for split in ("train", "validation", "test")}),
    ),
    "xwinograd_ja": Origin(
        title="XWinograd (Japanese)",
        places={"test": ("xwinograd_ja/test/xwinograd-ja.json", "xwinograd_ja/xwinograd-ja.json", "xwinograd-ja.json")},
        where="get test/xwinograd-ja.json of https://huggingface.co/datasets/polm-stability/xwinograd-ja (CC BY 4.0)",
        blobs={},
        hub=("polm-stability/xwinograd-ja", {"test": "test/xwinograd-ja.json"}),
        sizes=(959,),
    ),
    "mgsm": Origin(
        title="MGSM (Japanese)",
        places={
            "train": ("mgsm/exemplars.py", "exemplars.py", "mgsm-train.jsonl"),
            "test": ("mgsm/mgsm_ja.tsv", "mgsm_ja.tsv"),
        },
        where="get mgsm/ of https://github.com/google-research/url-nlp (CC BY 4.0)",
        blobs={
            "train": "98cb95b816cc3cd3bf9d3e2a1d87f82332a1516a",
            "test": "8ffeefab976f7dae262a52be91c4cbf65427e455",
        },
        sizes=(250,),
    ),
    "news_headline": Origin(
        title="news_headline",
        places={split: (f"news_headline/{split}.jsonl", f"{split}.jsonl") for split in ("train", "test")},
        where="build it from a news corpus with eval_harness.headlines",
        blobs={},
    ),
}


def places(folder: Path, dataset: str, split: str) -> list[Path]:
    """Where the file of a split may lie; none when the data set has no such split."""
    return [folder / place for place in ORIGINS[dataset].places.get(split, ())]
