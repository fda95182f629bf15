"""Tables of proxy runs: ratios.csv and metrics.csv, joined by run, checked before anything is fitted.

RegMix's names (`index`, `train_the_pile_*`, `metric/the_pile_*_val_loss`) and Olmix's (`run`, `name`, `eval/...`) are
read too; names are kept as the files give them and may be shortened where that is unambiguous.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from haigo.cli import HaigoError, Refused, nearest
from haigo.formats import tables
from mixer import replicates
from mixer.arrays import Array, check_runs
from mixer.scales import scales

SAME_MIXTURE = 1e-4
"""Total variation up to which two mixtures are one."""
_CORPUS_NOISE = re.compile(r"^(train_the_pile_|train_|the_pile_)")
_METRIC_NOISE = re.compile(r"^(metric/|eval/|valid_|val_)?(the_pile_)?")


@dataclass(frozen=True, kw_only=True)
class ProxyTable:
    """Proxy runs ready for a law."""

    runs: list[str]
    corpora: list[str]
    metrics: list[str]
    weights: Array
    """(runs, corpora), rows summing to 1."""
    losses: Array
    """(runs, metrics), as the file gives them."""
    scales: list[str] = field(default_factory=list)
    """Size and tokens of each run in words (columns `size` and `tokens` of metrics.csv); "" where it has neither."""
    notes: list[str] = field(default_factory=list)
    """What was mended or left out, one sentence each; to be shown."""
    source: str = ""
    repeats: list[int] = field(default_factory=list)
    """How many trainings (RUN, RUN@2, ...) each run is the mean of; all 1 when empty."""
    noise: Array | None = None
    """(metrics,) standard deviation of one training by its seed, where the replicates suffice to know it."""
    epochs_matched: float | None = None
    """Tokens of the target run whose repetition of every corpus these runs have (column `epochs_matched`)."""

    def split(self, prefix: str) -> tuple[ProxyTable, ProxyTable]:
        """The runs to fit and the runs held out (name starts with `prefix`)."""
        held = np.array([name.startswith(prefix) for name in self.runs])
        if not held.any():
            raise HaigoError(f"no run of {self.source} starts with '{prefix}'.", "check --held-out")
        check_runs(int((~held).sum()), f"{self.source} without the held-out runs")
        return self.take(~held), self.take(held)

    def take(self, keep: Any) -> ProxyTable:
        rows = np.flatnonzero(keep)
        return ProxyTable(
            runs=[self.runs[i] for i in rows],
            corpora=self.corpora,
            metrics=self.metrics,
            weights=self.weights[rows],
            losses=self.losses[rows],
            scales=[self.scales[i] for i in rows] if self.scales else [],
            notes=self.notes,
            source=self.source,
            repeats=[self.repeats[i] for i in rows] if self.repeats else [],
            noise=self.noise,
            epochs_matched=self.epochs_matched,
        )


def short_names(names: Sequence[str], kind: str) -> dict[str, str]:
    """`train_the_pile_pile_cc` -> `pile_cc` for corpora ("corpus") or metrics ("metric"); only where still unique."""
    noise = _CORPUS_NOISE if kind == "corpus" else _METRIC_NOISE
    made = {name: noise.sub("", name) or name for name in names}
    if kind == "metric":
        made = {name: re.sub(r"_val_loss$", "", short) for name, short in made.items()}
    counted = list(made.values())
    return {name: short if counted.count(short) == 1 else name for name, short in made.items()}


def find(name: str, known: Sequence[str], kind: str, source: str) -> str:
    """The full name for a full or shortened one.

    Raises:
        HaigoError: unknown (with the nearest name) or ambiguous.
    """
    if name in known:
        return name
    what = "corpus" if kind == "corpus" else "metric"
    hits = [full for full, short in short_names(known, kind).items() if short == name]
    if not hits:
        hits = [full for full in known if full.endswith(("/" + name, "_" + name)) or full.startswith(name + "_")]
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise HaigoError(f"the {what} '{name}' could be {', '.join(hits[:4])} in {source}.", "give the whole name")
    choices = [*known, *short_names(known, kind).values()]
    raise HaigoError(
        f"{source} has no {what} called '{name}'.{nearest(name, choices)}", f"it has: {', '.join(known[:30])}"
    )


def read_ratios(path: str | os.PathLike[str]) -> tuple[list[str], list[str], Array, list[str]]:
    """Read ratios.csv.

    Returns:
        runs, corpora, weights (runs, corpora), and notes on what was scaled.
    """
    table = tables.read_ratios(path)
    if len(table.corpora) < 2:
        raise HaigoError(f"{path} has {len(table.corpora)} corpus column(s).", "a mixture needs at least two corpora")
    notes, scaled = [], table.scaled
    if scaled:
        shown = ", ".join(scaled[:5]) + (" ..." if len(scaled) > 5 else "")
        notes.append(f"{path}: {len(scaled)} run(s) did not sum to exactly 1 and were scaled ({shown}).")
    return table.runs, table.corpora, table.weights, notes


def read(
    ratios: str | os.PathLike[str],
    metrics: str | os.PathLike[str],
    only: Sequence[str] | None = None,
    others: bool = False,
) -> ProxyTable:
    """Read and join the two tables.

    Args:
        only: metrics that must be sound (full or short names, `*` as wildcard); all columns when None.
        others: read the remaining columns too, leaving out with a note those that are not sound.

    Raises:
        HaigoError: any trouble with the runs or with the metrics asked for, one sentence each, with file and line.
    """
    runs, corpora, weights, notes = read_ratios(ratios)
    table = tables.by_run(metrics)
    known = tables.metrics_of(table.columns)
    if not known:
        raise HaigoError(f"{metrics} has no metric column.", "it needs `run` and one column a metric")
    wanted = known if only is None else _named(only, known, str(metrics))
    belongs = _belongs([str(name) for name in table.index], runs)
    notes += _as_trained(belongs, runs, corpora, weights, (str(ratios), str(metrics)))
    there = set(belongs.values())
    both = [name for name in runs if name in there]
    if not both:
        raise HaigoError(f"{ratios} and {metrics} have no run in common.", "the column `run` must match in both")
    for path, missing in (
        (metrics, [name for name in runs if name not in there]),
        (ratios, [str(name) for name in table.index if str(name) not in belongs]),
    ):
        if missing:
            shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            notes.append(f"{len(missing)} run(s) are not in {path} and were left out: {shown}.")
    check_runs(len(both), f"{ratios} joined with {metrics}")
    # (rows,) which run each row of metrics.csv belongs to: several when it was trained with several seeds
    group = np.array([both.index(run) for run in belongs.values()])
    columns, kept, each = [], [], []
    for name in [m for m in known if m in wanted or others]:
        try:
            own = tables.numbers(table, metrics, [name], "metric", set(belongs))
        except HaigoError as error:
            if name in wanted:
                raise
            notes.append(f"Left out: {error.problem}")
            continue
        column = replicates.means(own, group)[:, 0]
        if np.ptp(column) <= 1e-12 * np.abs(column).max():
            if name in wanted and only is not None:
                raise HaigoError(f"{metrics}: '{name}' is the same in every run.", "choose a metric that varies")
            notes.append(f"{metrics}: '{name}' is the same in every run and was left out.")
            continue
        columns.append(column)
        each.append(own[:, 0])
        kept.append(name)
    if not kept:
        raise HaigoError(f"{metrics}: no metric varies between the runs.", "check how it was made")
    losses = np.stack(columns, axis=1)
    made = weights[[runs.index(name) for name in both]]
    still = np.flatnonzero(np.ptp(made, axis=0) < 1e-9)
    if len(still) == len(corpora):
        raise HaigoError(f"{ratios}: every run has the same mixture.", "train proxies with different mixtures")
    for j in still:
        notes.append(f"{ratios}: '{corpora[j]}' has the same weight in every run; nothing can be learned about it.")
    repeats, noise = _replicates(table, belongs, group, np.stack(each, axis=1), notes, str(metrics))
    return ProxyTable(
        runs=both,
        corpora=corpora,
        metrics=kept,
        weights=made,
        losses=losses,
        scales=_scales(table, [next(name for name in belongs if belongs[name] == run) for run in both]),
        notes=notes + same_twice(both, made, losses, str(ratios)),
        source=str(ratios),
        repeats=repeats,
        noise=noise,
        epochs_matched=_matched(table, belongs, str(metrics)),
    )


def _belongs(names: Sequence[str], runs: Sequence[str]) -> dict[str, str]:
    """Row of metrics.csv -> run of ratios.csv: itself, or what it is a replicate of (`p003@2` of p003)."""
    known = set(runs)
    made = {}
    for name in names:
        run = name if name in known else replicates.split(name)[0]
        if run in known:
            made[name] = run
    return made


def _as_trained(
    belongs: dict[str, str], runs: list[str], corpora: list[str], weights: Array, sources: tuple[str, str]
) -> list[str]:
    """See that ratios.csv has the mixtures that the runs of metrics.csv were trained on, where that is noted beside it.

    Raises:
        Refused: it has another of a run.
    """
    ratios, metrics = sources
    place, noted = tables.noted_weights(metrics)
    rows = dict(zip(runs, weights.tolist(), strict=True))
    elsewhere: dict[str, str] = {}
    for name, run in belongs.items():
        trained = noted.get(name, {})
        elsewhere |= {corpus: name for corpus, weight in trained.items() if weight > 0 and corpus not in corpora}
        away = 0.5 * sum(abs(trained.get(c, 0.0) - w) for c, w in zip(corpora, rows[run], strict=True))
        if trained and not elsewhere and away > SAME_MIXTURE:
            raise Refused(
                f"{ratios} has another mixture of the run '{run}' than the one behind {metrics}: {place} notes it.",
                "give the ratios.csv that those runs were trained with",
            )
    if not elsewhere:
        return []
    return [f"{place} names corpora that {ratios} does not: whether its mixtures are those of the runs is not known."]


def _replicates(
    table: Any, belongs: dict[str, str], group: Any, values: Array, notes: list[str], source: str
) -> tuple[list[int], Array | None]:
    """Trainings of each run, and the noise of one (metrics,) where that many suffice to know it."""
    repeats = [int(count) for count in np.bincount(group)]
    if max(repeats) == 1:
        return repeats, None
    names = list(belongs)
    scale = table.loc[names].reindex(columns=["size", "tokens"]).fillna("").astype(str)
    for name, run in belongs.items():
        twins = [other for other in names if belongs[other] == run]
        if list(scale.loc[name]) != list(scale.loc[twins[0]]):
            raise HaigoError(
                f"{source}: '{name}' and '{twins[0]}' are replicates and differ in size or tokens.",
                "train them alike, or give one of them another name and a row in ratios.csv",
            )
    seeds = [str(seed).strip() for seed in table.loc[names, "seed"]] if "seed" in table.columns else [""] * len(names)
    found = replicates.noise(names, seeds, values)
    known = None if found is None else found.known
    several = sum(1 for count in repeats if count > 1)
    notes.append(
        f"{source}: {several} run(s) were trained several times and count as their means"
        + (
            "; what their seeds do is the least noise of a run."
            if known is not None
            else f"; that is too little to know the noise of a run ({replicates.MIN_FREE} degrees of freedom are needed)."
        )
    )
    return repeats, known


def _matched(table: Any, belongs: dict[str, str], source: str) -> float | None:
    """The target tokens of column `epochs_matched`; None where it is not there or empty.

    Raises:
        HaigoError: not the same in all runs.
    """
    if "epochs_matched" not in table.columns:
        return None
    cells = dict.fromkeys(str(cell).strip() for cell in table.loc[list(belongs), "epochs_matched"])
    try:
        values = {float(cell) if cell else None for cell in cells}
    except ValueError:
        values = set()
    if len(values) != 1:
        raise HaigoError(
            f"{source}: the runs were matched to different target runs (epochs_matched: {', '.join(cells)}).",
            "search over runs that were trained alike",
        )
    return values.pop()


def _scales(table: Any, runs: list[str]) -> list[str]:
    """Size and tokens of each run in words."""
    import pandas as pd

    rows = table.loc[runs]
    empty = pd.Series([""] * len(runs))
    sizes = (rows["size"] if "size" in table.columns else empty).astype(str).str.strip().tolist()
    given = rows["tokens"] if "tokens" in table.columns else empty
    counts = pd.to_numeric(given.astype(str).str.strip(), errors="coerce").tolist()
    if "schedule_tokens" in rows.columns:  # at the same size and tokens another scale than a run whose rate has decayed
        part = rows["schedule_tokens"].fillna("").astype(str).str.strip()
        sizes = [f"{size} (stopped)" if cell else size for size, cell in zip(sizes, part, strict=True)]
    return scales([str(size) for size in sizes], [c if np.isfinite(c) and c > 0 else None for c in counts])


def same_twice(runs: list[str], weights: Array, losses: Array, source: str) -> list[str]:
    """A note on runs that are copies of each other under two names."""
    seen: dict[bytes, str] = {}
    pairs = []
    for name, row in zip(runs, np.hstack([weights, losses]), strict=True):
        first = seen.setdefault(row.tobytes(), name)
        if first != name:
            pairs.append(f"{name} = {first}")
    shown = ", ".join(pairs[:5]) + (" ..." if len(pairs) > 5 else "")
    return [f"{source}: {len(pairs)} run(s) are copies of another and count twice ({shown})."] if pairs else []


def spelled(name: str, known: Sequence[str], source: str) -> list[str]:
    """The metrics that a full or shortened name, or one with `*`, stands for.

    Raises:
        HaigoError: as of `find`.
    """
    if "*" in name:
        return [metric for metric in known if fnmatch.fnmatchcase(metric, name)]
    return [find(name, known, "metric", source)]


def _named(only: Sequence[str], known: list[str], source: str) -> list[str]:
    made: list[str] = []
    for name in only:
        hits = spelled(name, known, source)
        if not hits:
            raise HaigoError(f"{source} has no metric like '{name}'.", f"it has: {', '.join(known[:30])}")
        made += [m for m in hits if m not in made]
    return made
