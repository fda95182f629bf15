"""A table in progress: what is finished, what waits and what it shares; and who trains the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from haigo import digests, files, jobs
from haigo.formats.dataset.manifest import fingerprint
from launch.engine import checkpoint
from launch.engine.job import Job, prepare
from launch.engine.options import TrainOptions
from launch.proxies import cluster, epochs, live, metrics, neox, proxy, scores, status_display
from launch.proxies import workers as defaults
from launch.proxies.options import RunOptions
from launch.proxies.proxy import Proxy, proxy_config
from launch.proxies.status_display import StatusDisplay
from launch.proxies.table import Unit
from neox_configs.catalogue import Catalogue

_TRIES = 2


@dataclass
class Summary:
    """What became of a table."""

    metrics: Path
    """metrics.csv."""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """run -> its result.json (with `scores`, where tasks are given), in the order of ratios.csv."""
    trained: list[str] = field(default_factory=list)
    """Runs trained now; the others were there already."""
    failed: dict[str, str] = field(default_factory=dict)
    """run -> why, for those that failed twice."""
    left: list[str] = field(default_factory=list)
    """Runs of other shards that are not in this folder."""
    tokens: int = 0
    """Training tokens of one proxy."""
    remarks: list[str] = field(default_factory=list)
    """What the user should know of the data, one sentence each."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column of a task's score -> what `scores.columns` says of it."""
    noise: dict[str, Any] | None = None
    """noise.json, where there are replicates."""


class Swarm:
    """A table in progress.

    Args:
        units: all its models, also those of other shards.
        options: how the table is trained; train: how each model is.
        seed: of the first replicate of every row.
        tasks_key: `scores.check` of the tasks, where there are any.
    """

    def __init__(
        self, folder: Path, units: list[Unit], options: RunOptions, train: TrainOptions, seed: int, tasks_key: str = ""
    ) -> None:
        self.folder, self.units, self.options, self.train_options = folder, units, options, train
        self.seed, self.tasks_key = seed, tasks_key
        self.summary = Summary(folder / "metrics.csv")
        self.waiting: dict[str, Proxy] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.scored: dict[str, dict[str, Any]] = {}
        self.facts: dict[str, Any] = {}
        self.engine = {} if options.cluster is None else {"engine": neox.ENGINE}
        self.first: Job | None = None

    def own(self) -> None:
        """Take over what an earlier version, which kept no journal, left of this swarm; see that nothing is in the way.

        Raises:
            Refused: a file of this name is there that no swarm wrote.
        """
        names = ["swarm.json", "metrics.csv", "noise.json"]
        if not files.ours(self.folder) and (self.folder / "swarm.json").is_file() and metrics.read(self.folder).runs:
            files.adopt(self.folder / name for name in names)
        files.check_output(self.folder, names=names)
        metrics.require_place(self.folder, "swarm")

    def prepare(self, base: Mapping[str, Any], known: Catalogue, tokenizer: Any) -> None:
        """Check every model of the table, sort out those that are finished, and write swarm.json.

        Args:
            tokenizer: the catalogue's tokenizer.
        """
        summary, units = self.summary, self.units
        first = prepare(proxy_config(base, units[0].weights, known, units[0].seed), self.train_options, tokenizer)
        self.first, tokens, plan = first, self.train_options.tokens, first.plan
        steps = tokens // plan.tokens_per_step if tokens is not None else plan.train_iters
        summary.tokens = steps * plan.tokens_per_step
        own = ("seed", "export")
        self.facts = {
            name: value for name, value in first.identity().items() if name not in own and "train_data" not in name
        }
        if self.options.matching is not None:
            mixtures = [unit.weights for unit in units]
            folder, sizes = self.folder / "matched", (summary.tokens, plan.seq_length)
            cut = epochs.match(known, mixtures, *sizes, self.options.matching, folder, self.seed, tokenizer)
            known, summary.remarks = cut.catalogue, cut.remarks
            self.facts["epochs_matched"] = cut.target_tokens
            self.facts |= {f"supply.{name}": supply for name, supply in cut.supply.items()}
            self.about = {each.name: {"epochs_matched": cut.about(each.weights, summary.tokens)} for each in units}
        if self.options.stop_after < 1:
            whole = plan.with_steps(steps).lr_decay_iters * plan.tokens_per_step
            self.about = {each.name: {**self.about.get(each.name, {}), "schedule_tokens": whole} for each in units}
        for unit in units:
            config = proxy_config(base, unit.weights, known, unit.seed)
            self._sort(unit, config, prepare(config, self.train_options, tokenizer), steps)
        corpora = dict.fromkeys(name for unit in units for name, weight in unit.weights.items() if weight > 0)
        self.facts |= {"base_seed": self.seed, "seeds": self.options.seeds, "tokens": summary.tokens}
        self.facts |= {"engine": "embedded", **self.engine}
        self.facts |= {f"train.{name}": fingerprint(known.prefix(name, "train")) for name in corpora}
        if self.options.tasks is not None:
            self.facts |= scores.as_facts(self.options.tasks, self.tasks_key)
        self._write_facts()

    def _sort(self, unit: Unit, config: dict[str, Any], job: Job, steps: int) -> None:
        folder = self.folder / "runs" / unit.name
        identity = {**job.identity(), **self.engine}
        if self.options.trained is not None:
            checkpoint.take_over(Path(self.options.trained) / "runs" / unit.name, folder, identity)
        same = checkpoint.same(folder, identity, lambda: {**job.identity(former=True), **self.engine})
        result = checkpoint.finished(folder) if same else None
        if result is not None:
            checkpoint.tidy(folder)
            scored = scores.finished(folder, self.tasks_key, result) if self.options.tasks is not None else {}
            if scored is not None:
                self._take(unit.name, result, scored)
                return
        elif (folder / checkpoint.RESULT).is_file():
            same = False  # of another run, or not as it was left
        self.waiting[unit.name] = Proxy(
            config=config,
            folder=folder,
            options=self.train_options.replaced(overwrite=not same),
            steps=steps,
            decay=job.plan.with_steps(steps).lr_decay_iters,
            tokens_per_step=job.plan.tokens_per_step,
            identity=identity,
            about=self.about.get(unit.name),
            tasks=self.options.tasks,
            tasks_key=self.tasks_key,
            digests=digests.known(),
        )

    def _take(self, name: str, result: Mapping[str, Any], scored: Mapping[str, Any]) -> None:
        """A finished run's results."""
        self.scored[name] = {**scored, "each": {c: np.asarray(v) for c, v in scored.get("each", {}).items()}}
        more = {"scores": scored["metrics"]} if scored else {}
        self.summary.results[name] = {**result, **self.about.get(name, {}), **more}

    def _write_facts(self) -> None:
        """swarm.json: what the runs of this table share, and what each is."""
        runs = {unit.name: {"weights": unit.weights, "seed": unit.seed} for unit in self.units}
        self.summary.scores = scores.columns(list(self.scored.values()))
        metrics.write_facts(self.folder, dict(sorted(self.facts.items())), runs, self.summary.scores)

    def write(self) -> None:
        """metrics.csv as it is now."""
        metrics.write(self.folder, self.summary.results, [unit.name for unit in self.units])

    def _executor(self) -> tuple[jobs.Executor, str]:
        """Who trains, and a remark for the user."""
        workers, remark = self.options.workers, ""
        if self.options.cluster is None:
            if workers is None:
                assert self.first is not None
                workers, remark = defaults.default(self.first)
            return jobs.Processes(proxy.train, workers, ["launch.engine.preload"]), remark

        def tokens(name: str) -> int:
            return neox.steps_done(self.folder / "runs" / name) * self.waiting[name].tokens_per_step

        kind = cluster.Slurm if self.options.cluster.executor == "slurm" else cluster.Local
        return kind(neox.Work(), self.options.cluster, self.folder / "jobs", self.folder / "runs", workers, tokens), ""

    def train(self, waiting: Mapping[str, Proxy]) -> None:
        """Train what is waiting, trying each proxy twice."""
        summary, there = self.summary, len(self.summary.results)
        runs = there + len(waiting)
        executor, remark = self._executor()
        quiet = not self.options.show
        with (
            live.serving(self.options.live, f"{self.folder}") as page,
            StatusDisplay(runs, len(waiting), summary.tokens, quiet, page) as display,
        ):
            if page is not None:
                display.say(f"live: {page.address}")
            for name, result in summary.results.items():
                display.result(name, result["metrics"])
            if there:
                display.say(f"{there} of {runs} proxies are there already")
            if remark:
                display.say(remark)
            for event in jobs.run(executor, waiting.items(), _TRIES):
                if event is None:
                    pass
                elif event.kind == "started":
                    display.started(event.name)
                elif event.kind == "tick":
                    display.at(event.name, event.value)
                elif event.kind == "done":
                    self._take(event.name, *event.value)
                    summary.trained.append(event.name)
                    self.write()
                    display.ended(event.name, finished=True)
                    display.result(event.name, summary.results[event.name]["metrics"])
                    display.say(status_display.line(event.name, summary.results[event.name], display.finished, runs))
                else:
                    display.ended(event.name, finished=False)
                    again = event.kind == "again"
                    display.say(f"{event.name} failed {'and is tried again' if again else 'again'}: {event.value}")
                    if not again:
                        summary.failed[event.name] = event.value
                display.refresh()

    def finish(self) -> None:
        """Put the results in order, and write what they say together."""
        summary = self.summary
        summary.results = {name: summary.results[name] for unit in self.units if (name := unit.name) in summary.results}
        self._write_facts()
        table = metrics.read(self.folder)
        summary.noise = metrics.write_noise(self.folder, table.rows, table.metrics)
