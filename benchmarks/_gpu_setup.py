"""How much `gpu.py` measures, and what its parts share: configs, checked jobs and runs of the engine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.engine.job import Job
    from neox_configs.catalogue import Catalogue

SHAPES = {"14M": (6, 128, 4), "70M": (6, 512, 8), "162M": (12, 768, 12)}
"""Layers, width, heads."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    shapes: Mapping[str, tuple[int, int, int]]
    rows: int
    length: int
    micro: int
    steps: int
    """Timed, after as many as `warm`."""
    warm: int
    curve: int
    """Steps of the curve."""
    sharing: tuple[int, ...]
    shared: int
    """Tokens of each proxy that shares the card."""
    proxy: tuple[int, int, int]
    mixtures: int
    tokens: int
    """Of each proxy behind `screen`."""
    world: float
    pieces: int
    product: int
    """Rows of the matrices of the measured product."""


WHOLE = Size(
    SHAPES, 50304, 2048, 8, 12, 4, 60, (1, 2, 4, 8), 600_000, (8, 384, 6), 8, 3_000_000, 1.0, 4096, 8192
)  # fmt: skip
SMALL = Size({"tiny": (1, 32, 2)}, 2048, 32, 2, 2, 1, 4, (2,), 2_000, (1, 32, 2), 5, 1_000, 0.02, 2000, 64)


@dataclass(frozen=True)
class Bench:
    """Where and on what the parts are measured."""

    device: str
    small: bool
    size: Size
    known: Catalogue
    folder: Path
    results: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        return self.device != "cpu"

    @property
    def precision(self) -> str:
        return "bfloat16" if self.cuda else "fp32"

    def config(self, base: str = "0-3M", **changes: Any) -> dict[str, Any]:
        """A shipped proxy's config over all corpora alike."""
        from launch.proxies.proxy import proxy_config
        from launch.proxies.train import load as loaded

        share = dict.fromkeys(self.known.corpora, 1.0 / len(self.known.corpora))
        return proxy_config({**loaded(base), **changes}, share, self.known)

    def model(self, shape: tuple[int, int, int], **changes: Any) -> dict[str, Any]:
        """The keys that make a config one of this shape, at the batch of `speed`."""
        size, (layers, hidden, heads) = self.size, shape
        return {
            "num_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, "seq_length": size.length,
            "max_position_embeddings": size.length, "make_vocab_size_divisible_by": size.rows,
            "train_micro_batch_size_per_gpu": size.micro, "train_batch_size": size.micro,
            "optimizer": {"type": "Adam", "params": {"lr": 6e-4, "betas": [0.9, 0.95], "eps": 1e-8}}, "min_lr": 6e-5,
            **changes,
        }  # fmt: skip

    def job(self, config: Mapping[str, Any]) -> Job:
        from launch.engine.job import prepare
        from launch.engine.options import TrainOptions

        steps = self.size.warm + self.size.steps
        options = TrainOptions(
            tokenizer=str(self.known.tokenizer), device=self.device, precision_override=self.precision
        )
        return prepare({**config, "train_iters": steps, "lr_decay_iters": steps}, options)

    def trained(
        self, config: Mapping[str, Any], name: str, steps: int, **how: Any
    ) -> tuple[list[float], list[float], Any]:
        """Losses of the steps, when each ended, and the result of a run of the engine."""
        from launch.local.train import train

        losses, ends = list[float](), list[float]()

        def tick(at: Any) -> None:
            losses.append(at.loss)
            ends.append(time.monotonic())

        batch = int(config["train_batch_size"]) * int(config["seq_length"])
        own: dict[str, Any] = {
            "tokenizer": str(self.known.tokenizer), "device": self.device, "precision_override": self.precision, "valid": {},
            "export": False, "checkpoints": False, "overwrite": True, "tokens": steps * batch, "progress": tick,
        }  # fmt: skip
        result = train(config, self.folder / "runs" / name, **{**own, **how})
        return losses, ends, result
