"""A table in progress: what is finished, what waits and what it shares; and who trains the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import digests, files
from launch import proxy_pool
from launch.proxy_pool import Event
from launch.swarm import board as boards
from launch.swarm import metrics, neox, scores
from launch.swarm import workers as crews
from launch.swarm.table import Unit
from neox_configs import catalogue as catalogues

if TYPE_CHECKING:
    from launch.local.job import Job
    from launch.swarm.cluster import Cluster

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
    """Column of a task's score -> {"items", "chance"}."""
    noise: dict[str, Any] | None = None
    """noise.json, where there are replicates."""


def proxy_config(
    base: Mapping[str, Any], weights: Mapping[str, float], catalogue: catalogues.Catalogue, seed: int | None = None
) -> dict[str, Any]:
    """The GPT-NeoX config of one proxy: the base with this mixture's training data. Corpora of weight 0 are left out
    (GPT-NeoX's greedy blending would draw a sample of one that stands first in the list)."""
    used = [corpus for corpus, weight in weights.items() if weight > 0]
    made = {
        **base,
        "train_data_paths": [str(catalogue.prefix(corpus, "train")) for corpus in used],
        "train_data_weights": [weights[corpus] for corpus in used],
    }
    made.setdefault("data_impl", "mmap")
    if seed is not None:
        made["seed"] = seed
    return made


class Swarm:
    """A table in progress."""

    def __init__(self, folder: Path, units: list[Unit], common: dict[str, Any], checkpoints: bool) -> None:
        self.folder, self.units, self.common, self.checkpoints = folder, units, common, checkpoints
        self.tasks: scores.Tasks | None = None
        self.tasks_key: str | None = None
        self.cluster: Cluster | None = None
        self.summary = Summary(folder / "metrics.csv")
        self.order = [unit.name for unit in units]
        self.waiting: dict[str, dict[str, Any]] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.scored: dict[str, dict[str, Any]] = {}
        self.facts: dict[str, Any] = {}
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

    def prepare(
        self, base: Mapping[str, Any], known: catalogues.Catalogue, words: Any, matching: Any, seed: int
    ) -> None:
        """Check every model of the table, and sort out those that are finished."""
        from launch.local import job as jobs

        summary, options = self.summary, {**self.common, "tokenizer": words}
        first = jobs.prepare(proxy_config(base, self.units[0].weights, known, self.units[0].seed), **options)
        self.first = first
        tokens, plan = self.common["tokens"], first.plan
        steps = tokens // plan.tokens_per_step if tokens is not None else plan.train_iters
        summary.tokens = steps * plan.tokens_per_step
        identity = first.identity()
        self.facts = {
            name: value
            for name, value in identity.items()
            if name not in ("seed", "export") and "train_data" not in name
        }
        if matching is not None:
            from launch.swarm import epochs

            mixtures = [unit.weights for unit in self.units]
            cut = epochs.match(
                known, mixtures, summary.tokens, plan.seq_length, matching, self.folder / "matched", seed, words
            )
            known, summary.remarks = cut.catalogue, cut.remarks
            self.facts["epochs_matched"] = cut.target_tokens
            self.facts |= {f"supply.{name}": supply for name, supply in cut.supply.items()}
            for unit in self.units:
                self.about[unit.name] = {"epochs_matched": cut.about(unit.weights, summary.tokens)}
        for unit in self.units:
            made = proxy_config(base, unit.weights, known, unit.seed)
            job = jobs.prepare(made, **options)
            self._sort(unit, made, job, steps)

    def _sort(self, unit: Unit, config: dict[str, Any], job: Job, steps: int) -> None:
        from launch.local import checkpoint

        identity = {**job.identity(), **({"engine": neox.ENGINE} if self.cluster is not None else {})}
        place = self.folder / "runs" / unit.name
        engine = {"engine": neox.ENGINE} if self.cluster is not None else {}
        same = checkpoint.same(place, identity, lambda: {**job.identity(former=True), **engine})
        result = checkpoint.finished(place) if same else None
        if result is not None:
            checkpoint.tidy(place)
            found = scores.finished(place, self.tasks_key, result) if self.tasks_key is not None else {}
            if found is not None:
                self._take(unit.name, result, found)
                return
        elif (place / checkpoint.RESULT).is_file():
            same = False  # of another run, or not as it was left
        self.waiting[unit.name] = {
            "config": config,
            "output_dir": str(place),
            "overwrite": not same,
            "digests": digests.known(),
            "checkpoints": self.checkpoints,
            "tokens_per_step": job.plan.tokens_per_step,
            "about": self.about.get(unit.name),
            "tasks": self.tasks,
            "tasks_key": self.tasks_key,
            **self.common,
        }
        if self.cluster is not None:
            more = {"identity": identity, "steps": steps, "decay": job.plan.with_steps(steps).lr_decay_iters}
            self.waiting[unit.name] |= more

    def _take(self, name: str, result: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """A finished run's results."""
        self.scored[name] = dict(found)
        more = {"scores": found["metrics"]} if found else {}
        self.summary.results[name] = {**result, **self.about.get(name, {}), **more}

    def write_facts(self, known: catalogues.Catalogue, seed: int, seeds: str) -> None:
        """swarm.json: what the runs of this table share, and what each is."""
        from haigo.formats.dataset.manifest import fingerprint

        corpora = dict.fromkeys(name for unit in self.units for name, weight in unit.weights.items() if weight > 0)
        self.facts |= {
            "engine": "embedded" if self.cluster is None else neox.ENGINE,
            "base_seed": seed,
            "seeds": seeds,
            "tokens": self.summary.tokens,
        }
        self.facts |= {f"train.{name}": fingerprint(known.prefix(name, "train")) for name in corpora}
        if self.tasks is not None and self.tasks_key is not None:
            self.facts |= scores.as_facts(self.tasks, self.tasks_key)
        self._write_facts()

    def _write_facts(self) -> None:
        runs = {unit.name: {"weights": unit.weights, "seed": unit.seed} for unit in self.units}
        self.summary.scores = scores.columns(list(self.scored.values()))
        metrics.write_facts(self.folder, dict(sorted(self.facts.items())), runs, self.summary.scores)

    def write(self) -> None:
        """metrics.csv as it is now."""
        metrics.write(self.folder, self.summary.results, self.order)

    def _events(self, waiting: dict[str, dict[str, Any]], workers: int | None) -> Iterator[Event | None]:
        if self.cluster is None:
            assert workers is not None
            return proxy_pool.run(_one, waiting.items(), workers, _TRIES)
        from launch.swarm import cluster

        def place(name: str) -> Path:
            return self.folder / "runs" / name

        def tokens(name: str) -> int:
            return neox.steps_done(place(name)) * int(waiting[name]["tokens_per_step"])

        return cluster.run(
            neox.Work(), waiting.items(), self.cluster, self.folder / "jobs", place, workers, _TRIES, tokens
        )

    def train(self, waiting: dict[str, dict[str, Any]], workers: int | None, show: bool) -> None:
        """Train what is waiting, trying each proxy twice."""
        summary, there = self.summary, len(self.summary.results)
        runs = there + len(waiting)
        remark = ""
        if workers is None and self.cluster is None:
            assert self.first is not None
            workers, remark = crews.default(self.first)
        with boards.Board(runs, len(waiting), summary.tokens) as board:
            board.quiet = board.quiet or not show
            for name, result in summary.results.items():
                board.result(name, result["metrics"])
            if there:
                board.say(f"{there} of {runs} proxies are there already")
            if remark:
                board.say(remark)
            for event in self._events(waiting, workers):
                if event is None:
                    pass
                elif event.kind == "started":
                    board.started(event.name)
                elif event.kind == "tick":
                    board.at(event.name, event.value)
                elif event.kind == "done":
                    self._take(event.name, *event.value)
                    summary.trained.append(event.name)
                    self.write()
                    board.ended(event.name, finished=True)
                    board.result(event.name, summary.results[event.name]["metrics"])
                    board.say(boards.line(event.name, summary.results[event.name], board.finished, runs))
                else:
                    board.ended(event.name, finished=False)
                    again = event.kind == "again"
                    board.say(f"{event.name} failed {'and is tried again' if again else 'again'}: {event.value}")
                    if not again:
                        summary.failed[event.name] = event.value
                board.refresh()

    def finish(self) -> None:
        """Put the results in order, and write what they say together."""
        summary = self.summary
        summary.results = {name: summary.results[name] for name in self.order if name in summary.results}
        self._write_facts()
        made = metrics.read(self.folder)
        summary.noise = metrics.write_noise(self.folder, made.rows, made.metrics)


def _one(task: Mapping[str, Any], tell: Callable[[Any], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train one proxy and score it (in a worker)."""
    from launch.local import checkpoint
    from launch.local.train import train

    options = dict(task)
    digests.learn(options.pop("digests"))
    wanted = [options.pop(key) for key in ("config", "output_dir", "tokens_per_step", "tasks", "tasks_key")]
    config, place, tokens_per_step, tasks, key = wanted
    result = train(config, place, lock=False, progress=lambda tick: tell(tick.step * tokens_per_step), **options)
    checkpoint.remove(Path(place))  # a finished proxy is never trained further
    return result, scores.score(Path(place), tasks, key, result) if tasks is not None else {}
