"""The training loop: config and datasets in, a trained model, its learning curve and its scores out.

One process, one thread, fp32; the same seed gives the same bytes, also when the run was killed and went on from its last
checkpoint. `result.json` is written last: a folder that has it is finished and is never trained again.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haigo import files
from haigo.cli import Failed, HaigoError
from haigo.progress import Progress
from launch import data_order
from launch.local import checkpoint, evaluate, log, precision, settings, vocabulary

if TYPE_CHECKING:
    from transformers import GPTNeoXForCausalLM

    from launch.local.settings import Settings
    from launch.local.vocabulary import Vocabulary

PathLike = str | os.PathLike[str]
EVAL_TOKENS = 65536
CHECKPOINT_EVERY_S = 60.0
_LOGGED_STEPS = 1000  # more lines than that say nothing more on a curve
_CALIBRATION_STEPS = 4


@dataclass(frozen=True)
class Tick:
    """Where a run stands, as a progress callback gets it."""

    step: int
    steps: int
    loss: float
    metrics: Mapping[str, float]
    """Empty but after an evaluation."""


def train(
    config: Mapping[str, Any],
    output_dir: PathLike,
    *,
    tokenizer: PathLike | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    pairs: Mapping[str, PathLike] | None = None,
    eval_every: int | None = None,
    eval_tokens: int | None = EVAL_TOKENS,
    valid: Mapping[str, PathLike] | None = None,
    test: Mapping[str, PathLike] | None = None,
    export: bool = True,
    seed: int | None = None,
    precision_override: str | None = None,
    threads: int = 1,
    checkpoints: bool = True,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    overwrite: bool = False,
    lock: bool = True,
    progress: Callable[[Tick], None] | None = None,
) -> dict[str, Any]:
    """Train one model, or go on with it, or give its result when it is finished.

    Args:
        config: GPT-NeoX keys, as `neox_configs.reader.load` gives them. Data paths are relative to the current folder.
        output_dir: the run's own folder.
        tokenizer: tokenizer folder; the config's vocab_file when None.
        tokens: budget in tokens: overrides train_iters, and the learning-rate schedule is stretched in proportion.
        seconds: budget in seconds of wall time, evaluation included: turned into steps by timing a few, once; what was
            found is kept, so that the run can go on.
        pairs: name -> jsonl of context and target; gives the metric NAME_bpb.
        eval_every: evaluate every so many steps too; only at the end when None.
        eval_tokens: tokens to predict for each corpus; all when None.
        valid, test: corpus -> prefix. valid defaults to the config's valid_data_paths, named by their parent folders.
        export: write the model as `output_dir/model`.
        seed: overrides the config's.
        precision_override: "fp32" trains a half-precision config in fp32.
        threads: of matrix products; another number gives other bytes.
        checkpoints: keep one checkpoint, every `checkpoint_every_s` seconds or checkpoint_factor steps of the config.
        overwrite: forget what `output_dir` holds.
        lock: hold `output_dir` for this process while training.
        progress: called after every step; a progress line is shown when None.

    Returns:
        What `result.json` holds: tokens, steps, seconds, cpu_seconds, tokens_per_cpu_s, loss (nats, mean of the last
        tenth of the steps), metrics {CORPUS_bpb, NAME_bpb}, metrics_test when `test` is given, valid, size, seed.

    Raises:
        HaigoError: a config, dataset, tokenizer or budget that makes no sense.
        Refused: the folder holds another run, a precision that is slow here, data of another tokenizer.
        Failed: the loss became NaN or infinite.
    """
    if tokens is not None and seconds is not None:
        raise HaigoError("both a token budget and a time budget are given.", "keep one of --tokens and --seconds")
    for name, amount in (("--tokens", tokens), ("--seconds", seconds), ("--eval-every", eval_every)):
        if amount is not None and amount <= 0:
            raise HaigoError(f"{name} {amount} is not more than 0.", "give a positive number")
    given = {**config, **({"seed": seed} if seed is not None else {})}
    plan = settings.resolve(given)
    precision.check(plan, precision_override)
    words = vocabulary.find(config, tokenizer)
    sets = {
        str(name): str(prefix) for name, prefix in (valid or named_sets(config.get("valid_data_paths") or [])).items()
    }
    tests = {str(name): str(prefix) for name, prefix in (test or {}).items()}
    prompts = {str(name): str(path) for name, path in (pairs or {}).items()}
    _check_names([*sets, *prompts])
    folder = Path(output_dir)
    with files.owner(folder) if lock else contextlib.nullcontext(), _threads(threads):
        if overwrite:
            checkpoint.clear(folder)
        budget = {"tokens": tokens, "seconds": seconds}
        evaluation = {"eval_every": eval_every, "eval_tokens": eval_tokens}
        kept = checkpoint.claim(
            folder, _identity(given, plan, words, sets, tests, prompts, {**budget, **evaluation, "export": export})
        )
        if (folder / "result.json").is_file():
            return dict(files.read_json(folder / "result.json"))
        files.remove_leftovers(folder)
        run = _Run(given, plan, words, folder, sets, tests, prompts, eval_tokens)
        run.fix_steps(tokens, seconds, kept)
        run.start(checkpoints)
        run.loop(eval_every, checkpoint_every_s if checkpoints else None, config.get("checkpoint_factor"), progress)
        return run.finish(export)


class _Run:
    """One run in progress: what `train` holds between its steps."""

    def __init__(
        self,
        config: Mapping[str, Any],
        plan: Settings,
        words: Vocabulary,
        folder: Path,
        sets: Mapping[str, str],
        tests: Mapping[str, str],
        prompts: Mapping[str, str],
        eval_tokens: int | None,
    ) -> None:
        self.config, self.plan, self.words, self.folder = config, plan, words, folder
        self.tests, self.eval_tokens = tests, eval_tokens
        self.tasks = {name: self._corpus(prefix) for name, prefix in sets.items()}
        self.tasks |= {
            name: evaluate.pairs_task(path, words, plan.max_position_embeddings) for name, path in prompts.items()
        }
        self.step = 0
        self.losses: list[float] = []
        self.wall = self.cpu = self.train_cpu = 0.0

    def _corpus(self, prefix: str) -> evaluate.Task:
        return evaluate.corpus_task(prefix, self.words, self.plan.seq_length, self.eval_tokens)

    def fix_steps(self, tokens: int | None, seconds: float | None, kept: Mapping[str, Any]) -> None:
        """Decide how many steps the run has."""
        if tokens is not None:
            if tokens < self.plan.tokens_per_step:
                raise HaigoError(
                    f"--tokens {tokens} is less than one step of {self.plan.tokens_per_step} tokens.",
                    "give more tokens, or a config with a smaller batch",
                )
            self.plan = self.plan.with_steps(tokens // self.plan.tokens_per_step)
        elif seconds is not None:
            steps = kept.get("steps") or self._calibrate(seconds)
            if "steps" not in kept:
                checkpoint.note(self.folder, steps=steps)
            self.plan = self.plan.with_steps(int(steps))

    def _calibrate(self, seconds: float) -> int:
        """Steps that fit into `seconds`, after a few on a throw-away model; the final evaluation is set aside."""
        probe = _Run.__new__(_Run)
        probe.__dict__ = {**self.__dict__, "losses": []}
        probe.plan = self.plan.with_steps(_CALIBRATION_STEPS + 1)
        probe.start(checkpoints=False)
        probe.one_step(0)  # the first is slower: not a measure of the rest
        begin = time.monotonic()
        if self.tasks:
            probe.score(self.tasks)
        spent, times = time.monotonic() - begin, []
        for step in range(_CALIBRATION_STEPS):
            at = time.monotonic()
            probe.one_step(step + 1)
            times.append(time.monotonic() - at)
        return max(1, int((seconds - spent - sum(times)) / sorted(times)[len(times) // 2]))

    def start(self, checkpoints: bool) -> None:
        """Model, optimizer and data in their first state, or in that of the last checkpoint."""
        from launch.local import model as models
        from launch.local import optimizer as optimizers

        plan, words = self.plan, self.words
        self.model: GPTNeoXForCausalLM = models.build(plan, words.size, words.eod_id, words.pad_id)
        self.optimizer = optimizers.build(self.model, plan)
        self.rate = optimizers.learning_rate
        self.size = models.parameters(self.model)
        self.non_embedding = models.non_embedding_parameters(self.model)
        source = data_order.source({**self.config, "train_iters": plan.train_iters, "seed": plan.seed}, plan.batch)
        for prefix in source.prefixes:
            vocabulary.check_dataset(prefix, words)
        self.data = source.open()
        if checkpoints:
            # weights and two moments, while the older checkpoint still stands
            files.require_space(self.folder, self.size * 4 * 3 * 2, "a checkpoint and the one before it")
            found = checkpoint.load(self.folder, self.model, self.optimizer)
            if found is not None:
                self.step, extra = found
                self.losses = list(extra["losses"])
                self.wall, self.cpu, self.train_cpu = extra["wall"], extra["cpu"], extra["train_cpu"]

    def one_step(self, step: int) -> tuple[float, float]:
        """Train step `step` (from 0). Gives (loss in nats, learning rate)."""
        import torch

        from launch.local.loss import IGNORED, fused_cross_entropy
        from launch.local.model import body

        plan = self.plan
        rate = self.rate(step, plan)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        micro_batches = plan.batch // plan.micro_batch
        samples = np.empty((plan.micro_batch, plan.seq_length + 1), dtype=np.int64)
        total = 0.0
        for number in range(micro_batches):
            first = step * plan.batch + number * plan.micro_batch
            for row in range(plan.micro_batch):
                self.data.fill(first + row, samples[row])
            if step == 0:
                evaluate.check_ids(samples, "the training data", self.words)
            batch = torch.from_numpy(samples)
            inputs, labels = batch[:, :-1], batch[:, 1:].reshape(-1)
            if plan.eod_mask_loss:
                labels = labels.masked_fill(inputs.reshape(-1) == self.words.eod_id, IGNORED)
            loss = fused_cross_entropy(body(self.model, inputs), self.model.lm_head.weight, labels)
            # DeepSpeed averages over micro batches, whatever number of labels each has
            (loss if micro_batches == 1 else loss / micro_batches).backward()
            total += loss.item() / micro_batches
        if not math.isfinite(total):
            raise Failed(
                f"the loss became {total} at step {step + 1} (learning rate {rate:.3g}).",
                "lower the learning rate, or lengthen the warmup",
            )
        if plan.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), plan.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total, rate

    def score(self, tasks: Mapping[str, evaluate.Task]) -> dict[str, evaluate.Score]:
        """Evaluate the model as it stands."""
        return {name: evaluate.score(self.model, task) for name, task in tasks.items()}

    def loop(
        self,
        eval_every: int | None,
        checkpoint_every_s: float | None,
        checkpoint_factor: int | None,
        progress: Callable[[Tick], None] | None,
    ) -> None:
        """Train up to the last step, logging, evaluating and checkpointing on the way."""
        plan = self.plan
        every = max(1, plan.train_iters // _LOGGED_STEPS)
        saved = time.monotonic()
        with log.writer(self.folder, self.step) as write, _shown(progress, plan, self.step) as show:
            while self.step < plan.train_iters:
                begin, cpu = time.monotonic(), time.process_time()
                loss, rate = self.one_step(self.step)
                self.step += 1
                self.losses.append(loss)
                self.train_cpu += time.process_time() - cpu
                metrics: dict[str, float] = {}
                last = self.step == plan.train_iters
                if eval_every and self.step % eval_every == 0 and not last:
                    metrics = _metrics(self.score(self.tasks))
                self.wall += time.monotonic() - begin
                self.cpu += time.process_time() - cpu
                if metrics or last or self.step == 1 or self.step % every == 0:
                    where = {"step": self.step, "tokens": self.step * plan.tokens_per_step}
                    write({**where, "loss": loss, "lr": rate, "time_s": round(self.wall, 3), **metrics})
                show(Tick(self.step, plan.train_iters, loss, metrics))
                due = checkpoint_every_s is not None and (
                    time.monotonic() - saved >= checkpoint_every_s
                    or (checkpoint_factor and self.step % checkpoint_factor == 0)
                    or last
                )
                if due:
                    self.save()
                    saved = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint."""
        extra = {"losses": self.losses, "wall": self.wall, "cpu": self.cpu, "train_cpu": self.train_cpu}
        checkpoint.save(self.folder, self.step, self.model, self.optimizer, extra)

    def finish(self, export: bool) -> dict[str, Any]:
        """Final evaluation, export, `result.json`."""
        begin, cpu = time.monotonic(), time.process_time()
        plan = self.plan
        scores = self.score(self.tasks)
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        result: dict[str, Any] = {
            "tokens": plan.train_iters * plan.tokens_per_step,
            "steps": plan.train_iters,
            "loss": sum(tail) / len(tail),
            "metrics": _metrics(scores),
            "valid": {name: score.as_dict() for name, score in scores.items()},
            "size": self.size,
            "size_non_embedding": self.non_embedding,
            "vocab_size": self.words.size,
            "seed": plan.seed,
            "epochs": _epochs(self.data),
            "clipped_at": plan.clip,
        }
        if self.tests:
            tested = self.score({name: self._corpus(prefix) for name, prefix in self.tests.items()})
            result["metrics_test"] = _metrics(tested)
            result["test"] = {name: score.as_dict() for name, score in tested.items()}
        if export:
            from launch.local.export import export as write_model

            write_model(self.model, self.words, self.folder / "model")
            result["model"] = "model"
        self.wall += time.monotonic() - begin
        self.cpu += time.process_time() - cpu
        result["seconds"] = round(self.wall, 3)
        result["cpu_seconds"] = round(self.cpu, 3)
        result["tokens_per_cpu_s"] = round(result["tokens"] / max(self.train_cpu, 1e-9), 1)
        log.append(self.folder, {"step": self.step, "tokens": result["tokens"], "final": True, **result["metrics"]})
        files.write_json(self.folder / "result.json", result)
        if export:
            checkpoint.remove(self.folder)  # the model folder has the weights now
        return result


def _metrics(scores: Mapping[str, evaluate.Score]) -> dict[str, float]:
    return {f"{name}_bpb": score.bpb for name, score in scores.items()}


def _epochs(data: data_order.Dataset | data_order.Blend) -> list[int]:
    return [part.epochs for part in (data.datasets if isinstance(data, data_order.Blend) else [data])]


def named_sets(prefixes: list[str]) -> dict[str, str]:
    """Corpus names of a config's prefixes: `data/news/valid_text_document` -> news."""
    named: dict[str, str] = {}
    for prefix in prefixes:
        name = Path(prefix).resolve().parent.name
        named[name if name not in named else Path(prefix).name] = str(prefix)
    if len(named) != len(prefixes):
        raise HaigoError("two validation sets of the config have the same name.", "put each corpus in its own folder")
    return named


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise HaigoError(f"'{name}' is both a corpus and a pairs file.", "give the pairs file another name")


def _identity(
    config: Mapping[str, Any],
    plan: Settings,
    words: Vocabulary,
    sets: Mapping[str, str],
    tests: Mapping[str, str],
    prompts: Mapping[str, str],
    rest: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that the run's numbers depend on, flat, by names a user knows."""
    source = data_order.source({**config, "train_iters": plan.train_iters}, plan.batch)
    made: dict[str, Any] = {**plan.as_dict(), **rest, "tokenizer": words.sha256, "split": source.split}
    made["train_data_weights"] = source.weights
    for number, prefix in enumerate(source.prefixes):
        _require(prefix)
        made[f"train_data_paths[{number}]"] = vocabulary.fingerprint(prefix)
    for kind, group in (("valid", sets), ("test", tests)):
        for name, prefix in group.items():
            _require(prefix)
            made[f"{kind}.{name}"] = vocabulary.fingerprint(prefix)
    for name, path in prompts.items():
        if not Path(path).is_file():
            raise HaigoError(f"{path} does not exist.", "check the path given with --pairs")
        made[f"pairs.{name}"] = files.sha256_file(path)
    return made


def _require(prefix: str) -> None:
    from preprocess.indexed_dataset import MMapReader

    MMapReader(prefix)  # says what is missing or cut short


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    # second moments of rare pieces decay into denormal numbers, on which a CPU is many times slower
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


@contextlib.contextmanager
def _shown(progress: Callable[[Tick], None] | None, plan: Settings, done: int) -> Iterator[Callable[[Tick], None]]:
    if progress is not None:
        yield progress
        return
    with Progress("training", plan.train_iters * plan.tokens_per_step, "tokens") as bar:
        bar.done = float(done * plan.tokens_per_step)

        def show(tick: Tick) -> None:
            scores = " ".join(f"{name} {value:.3f}" for name, value in tick.metrics.items())
            bar.update(plan.tokens_per_step, f"loss {tick.loss:.3f} {scores}".strip())

        yield show
