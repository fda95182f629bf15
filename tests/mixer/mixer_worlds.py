"""Tables of a world with a known law, for tests through `mixer.search`: losses are smooth in the mixture, plus noise."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from haigo import cli, yamlfile
from mixer import search

CORPORA = ["web", "news", "wiki", "code", "books", "talk"]
METRICS = ["news_bpb", "wiki_bpb", "code_bpb", "talk_bpb"]


@dataclass
class World:
    """64 runs of six corpora and four metrics; `news_bpb` wants about two thirds of news."""

    folder: Path
    runs: list[str]
    corpora: list[str]
    metrics: list[str]
    weights: Any
    losses: Any
    words: list[str] = field(default_factory=lambda: ["--objective", "news_bpb", "--bootstrap", "20"])

    def write(self, mark: str = ",", encoding: str = "utf-8", end: str = "\n") -> list[str]:
        """Both tables; the words that name them."""
        for name, columns, values in (
            ("ratios.csv", self.corpora, self.weights),
            ("metrics.csv", self.metrics, self.losses),
        ):
            with (self.folder / name).open("w", encoding=encoding, newline="") as handle:
                writer = csv.writer(handle, delimiter=mark, lineterminator=end)
                writer.writerow(["run", *columns])
                for run, row in zip(self.runs, values, strict=True):
                    writer.writerow([run, *[value if isinstance(value, str) else repr(float(value)) for value in row]])
        return ["--ratios", str(self.folder / "ratios.csv"), "--metrics", str(self.folder / "metrics.csv")]

    def search(self, more: Sequence[str] = ()) -> dict[str, Any]:
        """The document that the command writes."""
        return searched(self.folder, [*self.write(), *self.words, *more])


def searched(folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """mixture.yml as `mixer.search` writes it."""
    out = folder / "mixture.yml"
    assert cli.run(search.main, [*words, "--output", str(out)]) == 0
    return dict(yamlfile.read(out))


def world(folder: Path, runs: int = 64, seed: int = 0, noise: float = 0.01) -> World:
    """A world whose losses are power laws of effective shares, with noise of so much in each."""
    rng = np.random.default_rng(seed)
    k, t = len(CORPORA), len(METRICS)
    weights = rng.dirichlet(np.full(k, 0.7), runs)
    helps = rng.uniform(0.02, 0.2, (t, k))
    for j, metric in enumerate(METRICS):
        helps[j, CORPORA.index(metric.removesuffix("_bpb"))] = 1.0
    share = np.power(weights, 0.6) @ helps.T + 0.05
    losses = 0.6 + 0.8 * share**-0.35 + noise * rng.standard_normal((runs, t))
    return World(folder, [f"p{i:03d}" for i in range(runs)], list(CORPORA), list(METRICS), weights, losses)


def named(document: dict[str, Any]) -> list[str]:
    """The runs that the notes say do not fit the others."""
    found = [re.search(r"the run '([^']+)' does not fit", note) for note in document["notes"]]
    return [match[1] for match in found if match]
