"""The training loop: config and datasets in, a trained model, its learning curve and its scores out.

One process, one thread, fp32; the same seed gives the same bytes, also when the run was killed and went on from its last
checkpoint. `result.json` is written last: a folder that has it is finished and is never trained again.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haigo import files, memory
from haigo.cli import Failed
from haigo.formats.dataset.ids import MASKED
from haigo.progress import Progress
from launch.engine import checkpoint, continued, evaluate, log, tracker
from launch.engine import device as devices
from launch.engine import job as jobs
from launch.engine.options import TrainOptions
from launch.neox import data_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from launch.engine.settings import Settings

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
    output_dir: str | os.PathLike[str],
    options: TrainOptions | None = None,
    *,
    lock: bool = True,
    progress: Callable[[Tick], None] | None = None,
    about: Mapping[str, Any] | None = None,
    then: Sequence[Mapping[str, Any]] = (),
    **given: Any,
) -> dict[str, Any]:
    """Train one model, or go on with it, or give its result when it is finished.

    Args:
        config: GPT-NeoX keys, as `neox_configs.reader.load` gives them. Data paths are relative to the current folder.
        output_dir: the run's own folder.
        options: how to train; or its fields one by one (`given`).
        lock: hold `output_dir` for this process while training.
        progress: called after every step; a progress line is shown when None.
        about: facts for `result.json` that the run's numbers do not depend on.
        then: the configs of the phases after the first, in a run that has some (`launch.plan.phases`).

    Returns:
        What `result.json` holds: tokens, steps, seconds, cpu_seconds, tokens_per_cpu_s, loss (nats, mean of the last
        tenth of the steps), metrics {CORPUS_bpb, NAME_bpb}, metrics_test when `test` is given, valid, size, seed.

    Raises:
        HaigoError: a config, dataset, tokenizer or budget that makes no sense.
        Refused: the folder holds another run, a precision that is slow here, data of another tokenizer.
        Failed: the loss became NaN or infinite.
    """
    options = (options or TrainOptions()).replaced(**given)
    job = jobs.in_phases([config, *then], options)
    folder = Path(output_dir)
    with files.owner(folder) if lock else contextlib.nullcontext(), _threads(options.threads):
        checkpoint.own(folder)
        if options.overwrite:
            checkpoint.clear(folder)
        former = functools.partial(job.identity, former=True)
        kept = checkpoint.claim(folder, job.identity(), former)
        files.remove_leftovers(folder)
        result = checkpoint.finished(folder)
        if result is not None:
            if options.export:
                checkpoint.tidy(folder)
            return result
        if (folder / checkpoint.RESULT).is_file():
            checkpoint.clear(folder)
            kept = checkpoint.claim(folder, job.identity())
        run = _Run(job, folder)
        run.fix_steps(kept)
        run.start(options.checkpoints)
        with tracker.following(options.track, folder, run.step) as run.track:
            run.loop(progress)
            return run.finish(about or {})


def tokens_in(job: jobs.Job) -> int:
    """How many tokens `job` trains on in its `seconds` of wall time, the final evaluation included; measured by training
    a few steps of a model that is thrown away. At least one step's tokens."""
    with _threads(1):
        return _Run(job, Path(os.devnull)).calibrate() * job.plan.tokens_per_step


class _Run:
    """One run in progress: what `train` holds between its steps."""

    def __init__(self, job: jobs.Job, folder: Path) -> None:
        self.job, self.plan, self.tokenizer, self.folder, self.options = (
            job,
            job.plan,
            job.tokenizer,
            folder,
            job.options,
        )
        self.tasks = evaluate.tasks(job.valid, job.pairs, job.tokenizer, job.plan, job.options.eval_tokens)
        self.step = 0
        self.losses: list[float] = []
        self.logged: list[str] = []
        self.track: tracker.Track = lambda entry: None
        self.wall = self.cpu = self.train_cpu = 0.0

    def fix_steps(self, kept: Mapping[str, Any]) -> None:
        """Decide how many steps the run has. `kept`: what an earlier start of the run noted."""
        if self.options.tokens is not None:
            self.plan = self.plan.with_steps(self.options.tokens // self.plan.tokens_per_step)
        elif self.options.seconds is not None:
            steps = kept.get("steps") or self.calibrate()
            if "steps" not in kept:
                checkpoint.note(self.folder, steps=steps)
            self.plan = self.plan.with_steps(int(steps))

    def calibrate(self) -> int:
        """Steps that fit into the job's seconds, after timing a few on a model that is thrown away."""
        assert self.options.seconds is not None
        probe = copy.copy(self)
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
        return max(1, int((self.options.seconds - spent - sum(times)) / sorted(times)[len(times) // 2]))

    def start(self, checkpoints: bool) -> None:
        """Model, optimizer and data in their first state, or in that of the last checkpoint."""
        from launch.engine import model as models
        from launch.engine import optimizer as optimizers

        plan, tokenizer = self.plan, self.tokenizer
        self.model: PreTrainedModel = models.build(plan, tokenizer.vocab_size, tokenizer.eod_id, tokenizer.pad_id)
        if self.options.init_from is not None:
            models.load_weights(self.model, self.options.init_from)
        if self.job.device != "cpu":
            import torch

            torch.nn.Module.to(self.model, torch.device(self.job.device))
        self.optimizer = optimizers.build(self.model, plan)
        self.rate = optimizers.learning_rate
        self.data: data_order.Dataset | data_order.Blend | None = None
        self.reading: Settings | None = None
        if checkpoints:
            # weights and two moments, while the older checkpoint still stands
            files.require_space(
                self.folder, models.parameters(self.model) * 4 * 3 * 2, "a checkpoint and the one before it"
            )
            saved = checkpoint.load(self.folder, self.model, self.optimizer)
            if saved is None and self.options.continue_from is not None:
                saved = continued.load(self.job, plan, self.model, self.optimizer)
            if saved is not None:
                self.step, extra = saved
                self.losses = list(extra["losses"])
                self.logged = list(extra["log"]) if "log" in extra else log.lines_up_to(self.folder, self.step)
                self.wall, self.cpu, self.train_cpu = extra["wall"], extra["cpu"], extra["train_cpu"]

    def phase(self, step: int) -> tuple[Settings, data_order.Dataset | data_order.Blend]:
        """What step `step` is trained by: of a run in phases those of its phase."""
        job = next((job for job in self.job.before if step < job.plan.train_iters), None)
        plan = self.plan if job is None else job.plan
        if self.data is None or self.reading is not plan:
            self.data, self.reading = (job or self.job).source(plan).open(), plan
        return plan, self.data

    def one_step(self, step: int) -> tuple[float, float]:
        """Train step `step` (from 0). Gives (loss in nats, learning rate)."""
        import torch

        from launch.engine.loss import fused_cross_entropy
        from launch.engine.model import body

        device = self.job.device
        plan, data = self.phase(step)
        rate = self.rate(step, plan)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        micro_batches = plan.batch // plan.micro_batch
        samples = np.empty((plan.micro_batch, plan.seq_length + 1), dtype=np.int64)
        total = 0.0
        for number in range(micro_batches):
            first = step * plan.batch + number * plan.micro_batch
            for row in range(plan.micro_batch):
                data.fill(first + row, samples[row])
            batch = devices.moved(torch.from_numpy(samples), device)
            inputs, labels = batch[:, :-1], batch[:, 1:].reshape(-1)
            if plan.eod_mask_loss:
                labels = labels.masked_fill(inputs.reshape(-1) == self.tokenizer.eod_id, MASKED)
            with devices.products(device, self.job.precision):
                hidden = body(self.model, inputs)
            if self.job.precision == "bfloat16":
                hidden = hidden.to(torch.bfloat16)  # the last layer norm gives float32
            loss = fused_cross_entropy(hidden, self.model.lm_head.weight, labels)
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
        """Evaluate the model as it stands.

        Raises:
            Failed: its weights or its losses are no numbers: the last step's own loss was taken before its update.
        """
        import torch

        scores = {name: evaluate.score(self.model, task, self.job.device) for name, task in tasks.items()}
        sound = all(bool(torch.isfinite(weights).all()) for weights in self.model.parameters())
        if not sound or not all(math.isfinite(score.loss) for score in scores.values()):
            sentence = f"after step {self.step} the model's {'losses' if sound else 'weights'} are no numbers."
            raise Failed(sentence, "lower the learning rate, or lengthen the warmup")
        return scores

    def loop(self, progress: Callable[[Tick], None] | None) -> None:
        """Train up to the last step, logging, evaluating and checkpointing on the way."""
        plan, eval_every = self.plan, self.options.eval_every
        checkpoint_factor = self.job.config.get("checkpoint_factor")
        every = max(1, plan.train_iters // _LOGGED_STEPS)
        saved = time.monotonic()
        with log.writer(self.folder, self.logged) as write, _shown(progress, plan, self.step) as show:
            while self.step < plan.train_iters:
                begin, cpu = time.monotonic(), time.process_time()
                loss, rate = self.one_step(self.step)
                self.step += 1
                self.losses.append(loss)
                self.train_cpu += time.process_time() - cpu
                metrics: dict[str, float] = {}
                last = self.step == plan.train_iters
                if eval_every and self.step % eval_every == 0 and not last:
                    metrics = evaluate.metrics(self.score(self.tasks))
                self.wall += time.monotonic() - begin
                self.cpu += time.process_time() - cpu
                if metrics or last or self.step == 1 or self.step % every == 0:
                    where = {"step": self.step, "tokens": self.step * plan.tokens_per_step}
                    entry = {**where, "loss": loss, "lr": rate, "time_s": round(self.wall, 3), **metrics}
                    write(entry)
                    self.track(entry)
                show(Tick(self.step, plan.train_iters, loss, metrics))
                due = self.options.checkpoints and (
                    time.monotonic() - saved >= self.options.checkpoint_every_s
                    or (checkpoint_factor and self.step % checkpoint_factor == 0)
                    or last
                )
                if due:
                    self.save()
                    saved = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint."""
        extra = {
            "losses": self.losses,
            "log": self.logged,
            "wall": self.wall,
            "cpu": self.cpu,
            "train_cpu": self.train_cpu,
        }
        checkpoint.save(self.folder, self.step, self.model, self.optimizer, extra)

    def finish(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Final evaluation, export, `result.json`."""
        begin, cpu = time.monotonic(), time.process_time()
        plan = self.plan
        result = {
            **self.job.result(plan, self.model, self.score(self.tasks), self.losses),
            "epochs": _epochs(self.phase(plan.train_iters - 1)[1]),
            "clipped_at": plan.clip,
            **about,
        }
        if self.job.test:
            asked = self.options.eval_tokens if self.options.test_tokens is None else self.options.test_tokens
            tested = self.score(evaluate.tasks(self.job.test, {}, self.tokenizer, plan, asked))
            result["metrics_test"] = evaluate.metrics(tested)
            result["test"] = {name: score.as_dict() for name, score in tested.items()}
            known = {name: score.stderr for name, score in tested.items() if score.stderr is not None}
            result["metrics_stderr"] = {f"{name}_bpb": value for name, value in known.items()}
        if self.options.export:
            from launch.engine.export import export as write_model

            write_model(self.model, self.tokenizer, self.folder / "model")
            result["model"] = "model"
        self.wall += time.monotonic() - begin
        self.cpu += time.process_time() - cpu
        result["seconds"] = round(self.wall, 3)
        result["cpu_seconds"] = round(self.cpu, 3)
        result["device"] = devices.name(self.job.device)
        result["tokens_per_cpu_s"] = round(result["tokens"] / max(self.train_cpu, 1e-9), 1)
        last = {"step": self.step, "tokens": result["tokens"], "final": True, **result["metrics"]}
        log.append(self.folder, last)
        self.track(last)
        files.write_json(self.folder / checkpoint.RESULT, result)
        checkpoint.close(self.folder)
        if self.options.export:
            checkpoint.remove(self.folder)  # the model folder has the weights now
        return result


def _epochs(data: data_order.Dataset | data_order.Blend) -> list[int]:
    return [part.epochs for part in (data.datasets if isinstance(data, data_order.Blend) else [data])]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    memory.keep_freed()
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
    with Progress("training", plan.train_iters * plan.tokens_per_step, "tokens") as bar, bar.beating():
        bar.done = float(done * plan.tokens_per_step)

        def show(tick: Tick) -> None:
            scores = " ".join(f"{name} {value:.3f}" for name, value in tick.metrics.items())
            bar.update(plan.tokens_per_step, f"loss {tick.loss:.3f} {scores}".strip())

        yield show
