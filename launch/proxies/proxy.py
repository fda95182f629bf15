"""One proxy: its config, what a worker or a job is told of it, and its training by the embedded engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import digests
from launch.engine import checkpoint
from launch.engine.options import TrainOptions
from launch.proxies import scores
from launch.proxies.options import TaskOptions
from neox_configs.catalogue import Catalogue


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A model that is to be trained."""

    config: dict[str, Any]
    folder: Path
    options: TrainOptions
    steps: int
    decay: int
    """Steps of the learning-rate schedule."""
    tokens_per_step: int = 0
    identity: dict[str, Any] = field(default_factory=dict)
    """What the run's numbers depend on."""
    about: dict[str, Any] | None = None
    """Further facts for its result.json."""
    tasks: TaskOptions | None = None
    tasks_key: str = ""
    """Digest of what the scores of tasks depend on besides the model."""
    digests: dict[tuple[int, int, int, int], str] = field(default_factory=dict)
    """Of files, as far as this process knows them: a worker need not read these again."""


def proxy_config(
    base: Mapping[str, Any], weights: Mapping[str, float], catalogue: Catalogue, seed: int | None = None
) -> dict[str, Any]:
    """The GPT-NeoX config of one proxy: the base with this mixture's training data. Corpora of weight 0 are left out
    (GPT-NeoX's greedy blending would draw a sample of one that stands first in the list)."""
    used = [corpus for corpus, weight in weights.items() if weight > 0]
    config: dict[str, Any] = {
        **base,
        "train_data_paths": [str(catalogue.prefix(corpus, "train")) for corpus in used],
        "train_data_weights": [weights[corpus] for corpus in used],
    }
    config.setdefault("data_impl", "mmap")
    return config if seed is None else {**config, "seed": seed}


def train(proxy: Proxy, tell: Callable[[Any], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train a proxy with the embedded engine and score it (in a worker); `tell` gets the tokens so far.

    Returns:
        What result.json holds, and the scores of its tasks.
    """
    from launch.engine.train import train

    digests.learn(proxy.digests)

    def progress(tick: Any) -> None:
        tell(tick.step * proxy.tokens_per_step)

    result = train(proxy.config, proxy.folder, proxy.options, lock=False, progress=progress, about=proxy.about)
    checkpoint.remove(proxy.folder)  # a finished proxy is never trained further
    return result, scores.score(proxy.folder, proxy.tasks, proxy.tasks_key, result) if proxy.tasks else {}
