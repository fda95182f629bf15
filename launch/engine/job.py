"""What one run is made from: config, tokenizer, datasets, budget; checked, and boiled down to an identity.

Two runs with the same identity give the same numbers, so a finished result or a checkpoint is used for exactly that
identity and nothing else. Nothing here trains, and nothing here needs torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import digests
from haigo.cli import HaigoError
from haigo.formats import exported
from haigo.formats.dataset import belongs, manifest
from haigo.formats.tokenizer import Tokenizer
from launch.engine import checkpoint, continued, evaluate, settings, size, vocabulary
from launch.engine import device as devices
from launch.engine import model as models
from launch.engine.options import TrainOptions
from launch.engine.settings import Settings
from launch.neox import data_order, phase_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OF_PHASE = ("train_iters", "lr", "min_lr", "lr_decay_style", "lr_decay_iters", "warmup")
"""Settings that may differ between the phases of a run."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, checked but not started."""

    config: Mapping[str, Any]
    plan: Settings
    """Before a budget changes its length."""
    tokenizer: Tokenizer
    valid: Mapping[str, str]
    test: Mapping[str, str]
    pairs: Mapping[str, str]
    options: TrainOptions
    device: str
    """cpu or cuda:N."""
    precision: str
    """What matrix products are computed in: fp32 or bfloat16."""
    before: tuple[Job, ...] = ()
    """The phases before this one, in a run that has some."""

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
        facts: dict[str, Any] = {**self.plan.as_dict(), "tokenizer": self.tokenizer.sha256, "split": source.split}
        for name in ("tokens", "seconds", "eval_every", "eval_tokens", "test_tokens", "export"):
            facts[name] = getattr(self.options, name)
        # "all of it", as it has always been written down
        facts["eval_tokens"] = facts["eval_tokens"] or None
        facts["test_tokens"] = sys.maxsize if facts["test_tokens"] == 0 else facts["test_tokens"]
        facts["betas"] = list(self.plan.betas)
        facts["train_data_weights"] = list(source.weights)
        for number, prefix in enumerate(source.prefixes):
            facts[f"train_data_paths[{number}]"] = manifest.fingerprint(prefix, former)
        if self.device != "cpu":
            facts |= {"device": devices.kind(self.device), "computed_in": self.precision}
        if self.options.init_from is not None:
            facts["init_from"] = _file_digest(f"{self.options.init_from}/model.safetensors")
        if self.options.continue_from is not None:
            facts["continue_from"] = _file_digest(f"{self.options.continue_from}/{checkpoint.NAME}")
        for kind, group in (("valid", self.valid), ("test", self.test)):
            for name, prefix in group.items():
                facts[f"{kind}.{name}"] = manifest.fingerprint(prefix, former)
        for name, path in self.pairs.items():
            facts[f"pairs.{name}"] = _file_digest(path)
        for number, job in enumerate(self.before, 1):
            facts |= {
                f"phase {number}.{name}": value
                for name, value in job.identity(former).items()
                if facts.get(name) != value
            }
        return facts

    def result(
        self, plan: Settings, model: PreTrainedModel, scores: Mapping[str, evaluate.Score], losses: Sequence[float]
    ) -> dict[str, Any]:
        """What result.json says of a trained model, whoever trained it.

        Args:
            plan: with the run's own length.
            losses: in nats, of the logged steps in their order; the mean of the last tenth is the run's.
        """
        tail = losses[-max(1, len(losses) // 10) :]
        return {
            "tokens": plan.train_iters * plan.tokens_per_step,
            "steps": plan.train_iters,
            "loss": sum(tail) / len(tail),
            "metrics": evaluate.metrics(scores),
            "valid": {name: score.as_dict() for name, score in scores.items()},
            "size": models.parameters(model),
            "size_non_embedding": models.non_embedding_parameters(model),
            "vocab_size": self.tokenizer.vocab_size,
            "seed": plan.seed,
        }


def prepare(config: Mapping[str, Any], options: TrainOptions, tokenizer: Tokenizer | None = None) -> Job:
    """Check what a run is made from.

    Args:
        config: GPT-NeoX keys, as `neox_configs.reader.load` gives them.
        tokenizer: the tokenizer, where it is loaded already.

    Raises:
        HaigoError, Refused: as `launch.engine.train.train`.
    """
    given = {**config, **({"seed": options.seed} if options.seed is not None else {})}
    if given.get("train_iters") is None and (options.tokens is not None or options.seconds is not None):
        given["train_iters"] = given.get("lr_decay_iters") or 1  # the budget decides; the schedule follows it
    if given.get("train_iters") is None:
        raise HaigoError(
            "nothing says how long to train: the config gives no train_iters, and there is no budget.",
            "add --tokens 200000, say",
            option="tokens",
        )
    if options.continue_from is not None:
        given = continued.of_config(given, Path(options.continue_from))
    plan = settings.resolve(given)
    device = devices.resolve(options.device)
    computed_in = devices.computed_in(plan, options.precision_override, device)
    if options.tokens is not None and options.tokens < plan.tokens_per_step:
        raise HaigoError(
            f"--tokens {options.tokens} is less than one step of {plan.tokens_per_step} tokens.",
            "give more tokens, or a config with a smaller batch",
            option="tokens",
        )
    tokenizer = tokenizer or vocabulary.find(config, options.tokenizer)
    size.require(plan, plan.padded(tokenizer.vocab_size))
    valid = named_sets(config.get("valid_data_paths") or []) if options.valid is None else options.valid
    both = [name for name in options.pairs if name in valid]
    if both:
        raise HaigoError(f"'{both[0]}' is both a corpus and a pairs file.", "give the pairs file another name")
    groups = {"valid": valid, "test": options.test, "pairs": options.pairs}
    texts: Any = {kind: {str(name): str(path) for name, path in group.items()} for kind, group in groups.items()}
    job = Job(
        config=given, plan=plan, tokenizer=tokenizer, options=options, device=device, precision=computed_in, **texts
    )
    if options.init_from is not None:
        vocabulary.check_model(options.init_from, tokenizer)
        exported.check(Path(options.init_from))
    for prefix in (*job.source(plan).prefixes, *job.valid.values(), *job.test.values()):
        belongs.require(prefix, tokenizer)
    return job


def in_phases(configs: Sequence[Mapping[str, Any]], options: TrainOptions) -> Job:
    """Check what a run is made from, phase by phase where it has more than one.

    Returns:
        The last phase, which knows those before it.

    Raises:
        HaigoError, Refused: as `prepare`; phases that do not follow one another or are of several models, a budget beside them.
    """
    jobs = [prepare(config, options) for config in configs]
    done = 0
    for number, job in enumerate(jobs, 1):
        phase = phase_order.phase_of(job.config)
        if phase is None and len(jobs) == 1:
            break
        if phase is None or phase["steps"] != [done, job.plan.train_iters]:
            steps = (
                "is of no phase"
                if phase is None
                else f"is of the phase of steps {phase['steps'][0]} to {phase['steps'][1]}"
            )
            raise HaigoError(
                f"config {number} {steps}, and {done} steps come before it.", "name the list of the phases"
            )
        if given := options.given("tokens", "seconds", "seed", "continue_from"):
            raise HaigoError("the phases of a run say how long it is, and its seed.", "leave it out", option=given[0])
        changed = [name for name, value in job.plan.as_dict().items() if value != jobs[0].plan.as_dict()[name]]
        if wrong := [name for name in changed if name not in _OF_PHASE]:
            raise HaigoError(f"{wrong[0]} of phase {number} is not that of the first phase.", "restore it")
        done = job.plan.train_iters
    return replace(jobs[-1], before=tuple(jobs[:-1]))


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


def _file_digest(path: str) -> str:
    try:
        return digests.sha256(path)  # a table of proxies asks for the same few files hundreds of times: read once
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "check the path") from None
