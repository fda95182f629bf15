"""What one run is made from: config, tokenizer, datasets, budget; checked, and boiled down to an identity.

Two runs with the same identity give the same numbers, so a finished result or a checkpoint is used for exactly that
identity and nothing else. Nothing here trains, and nothing here needs torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import digests
from haigo.cli import HaigoError
from haigo.formats.dataset import belongs, manifest
from launch.local import device as devices
from launch.local import precision, settings, size, vocabulary
from launch.local.settings import Settings
from launch.local.vocabulary import Vocabulary
from launch.neox import data_order

PathLike = str | os.PathLike[str]
EVAL_TOKENS = 65536


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, checked but not started."""

    config: Mapping[str, Any]
    plan: Settings
    """Before a budget changes its length."""
    words: Vocabulary
    valid: Mapping[str, str]
    test: Mapping[str, str]
    pairs: Mapping[str, str]
    tokens: int | None
    seconds: float | None
    eval_every: int | None
    eval_tokens: int | None
    test_tokens: int | None
    export: bool
    init_from: str | None
    """Hugging Face folder whose weights the run starts from; initialised by the config's methods when None."""
    device: str
    """cpu or cuda:N."""
    precision: str
    """What matrix products are computed in: fp32 or bfloat16."""

    def source(self, plan: Settings) -> data_order.Source:
        """Where the training samples come from when the run has `plan.train_iters` steps."""
        return data_order.source({**self.config, "train_iters": plan.train_iters, "seed": plan.seed}, plan.batch)

    def identity(self, former: bool = False) -> dict[str, Any]:
        """Everything that the run's numbers depend on, flat, by names that a user knows.

        Args:
            former: as the first edition stated it.

        Raises:
            HaigoError: a dataset or pairs file is missing or cut short.
            Refused: a dataset is not the one that its manifest speaks of.
        """
        source = self.source(self.plan)
        made: dict[str, Any] = {**self.plan.as_dict(), "tokenizer": self.words.sha256, "split": source.split}
        for name in ("tokens", "seconds", "eval_every", "eval_tokens", "test_tokens", "export"):
            made[name] = getattr(self, name)
        made["betas"] = list(self.plan.betas)
        made["train_data_weights"] = list(source.weights)
        for number, prefix in enumerate(source.prefixes):
            made[f"train_data_paths[{number}]"] = manifest.fingerprint(prefix, former)
        if self.device != "cpu":
            made |= {"device": devices.kind(self.device), "computed_in": self.precision}
        if self.init_from is not None:
            weights = f"{self.init_from}/model.safetensors"
            made["init_from"] = _file_digest(weights)
        for kind, group in (("valid", self.valid), ("test", self.test)):
            for name, prefix in group.items():
                made[f"{kind}.{name}"] = manifest.fingerprint(prefix, former)
        for name, path in self.pairs.items():
            made[f"pairs.{name}"] = _file_digest(path)
        return made


def prepare(
    config: Mapping[str, Any],
    *,
    tokenizer: PathLike | Vocabulary | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    pairs: Mapping[str, PathLike] | None = None,
    eval_every: int | None = None,
    eval_tokens: int | None = EVAL_TOKENS,
    test_tokens: int | None = EVAL_TOKENS,
    valid: Mapping[str, PathLike] | None = None,
    test: Mapping[str, PathLike] | None = None,
    export: bool = True,
    seed: int | None = None,
    precision_override: str | None = None,
    init_from: PathLike | None = None,
    device: str = "auto",
) -> Job:
    """Check what a run is made from. Arguments as of `launch.local.train.train`.

    Raises:
        HaigoError, Refused: as there.
    """
    if tokens is not None and seconds is not None:
        raise HaigoError(
            "both a token budget and a time budget are given.",
            "keep one of --tokens and --seconds",
            option=("tokens", "seconds"),
        )
    for name, amount in (("--tokens", tokens), ("--seconds", seconds), ("--eval-every", eval_every)):
        if amount is not None and not 0 < amount < math.inf:
            raise HaigoError(f"{name} {amount} is not more than 0.", "give a positive number")
    given = {**config, **({"seed": seed} if seed is not None else {})}
    if given.get("train_iters") is None and (tokens is not None or seconds is not None):
        given["train_iters"] = given.get("lr_decay_iters") or 1  # the budget decides; the schedule follows it
    if given.get("train_iters") is None:
        raise HaigoError(
            "nothing says how long to train: the config gives no train_iters, and there is no budget.",
            "add --tokens 200000, say",
            option="tokens",
        )
    plan = settings.resolve(given)
    computed_on = devices.resolve(device)
    computed_in = precision.check(plan, precision_override, computed_on)
    if tokens is not None and tokens < plan.tokens_per_step:
        raise HaigoError(
            f"--tokens {tokens} is less than one step of {plan.tokens_per_step} tokens.",
            "give more tokens, or a config with a smaller batch",
            option="tokens",
        )
    words = tokenizer if isinstance(tokenizer, Vocabulary) else vocabulary.find(config, tokenizer)
    size.require(plan, -(-words.size // plan.vocab_multiple) * plan.vocab_multiple)
    sets = named_sets(config.get("valid_data_paths") or []) if valid is None else valid
    both = [name for name in (pairs or {}) if name in sets]
    if both:
        raise HaigoError(f"'{both[0]}' is both a corpus and a pairs file.", "give the pairs file another name")
    job = Job(
        config=given,
        plan=plan,
        words=words,
        valid=_words(sets),
        test=_words(test or {}),
        pairs=_words(pairs or {}),
        tokens=tokens,
        seconds=seconds,
        eval_every=eval_every,
        eval_tokens=eval_tokens,
        test_tokens=test_tokens,
        export=export,
        init_from=None if init_from is None else str(init_from),
        device=computed_on,
        precision=computed_in,
    )
    if init_from is not None:
        vocabulary.check_model(init_from, words)
    for prefix in (*job.source(plan).prefixes, *job.valid.values(), *job.test.values()):
        belongs.require(prefix, words.tokenizer)
    return job


def named_sets(prefixes: Sequence[str]) -> dict[str, str]:
    """Corpus names for a config's prefixes: `data/news/valid_text_document` is news.

    Raises:
        HaigoError: two get the same name.
    """
    named: dict[str, str] = {}
    for prefix in prefixes:
        if not isinstance(prefix, str | os.PathLike):
            raise HaigoError(f"{prefix!r} is not the path of a dataset.", "write the prefixes of the sets")
        name = Path(prefix).resolve().parent.name
        named[name if name not in named else Path(prefix).name] = str(prefix)
    if len(named) != len(prefixes):
        raise HaigoError("two validation sets of the config have the same name.", "put each corpus in its own folder")
    return named


def _words(group: Mapping[str, PathLike]) -> dict[str, str]:
    return {str(name): str(path) for name, path in group.items()}


def _file_digest(path: str) -> str:
    try:
        return digests.sha256(path)  # a table of proxies asks for the same few files hundreds of times: read once
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "check the path") from None
