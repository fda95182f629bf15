"""Earlier swarms stay useful after corpora were added, split, merged or removed.

A corpus an old run did not have had the weight 0 there. One that was split counts as its parts, in the shares given;
several that were merged count as their sum (each is "split" into the one new corpus). One that is gone stays in the
fit, because it helped or harmed the old runs, and its weight in the answer is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from haigo.cli import HaigoError, nearest
from mixer.answer import Recommendation
from mixer.proxies import ProxyTable, same_twice
from mixer.supply import Constraints

_TRACE = 1e-9  # tokens of a corpus that is gone, as a part of all: a supply must not be 0


def parse(words: Sequence[str]) -> dict[str, dict[str, float]]:
    """`web=ja_web:0.6,en_web:0.4` and `blog=web` from the command line."""
    made: dict[str, dict[str, float]] = {}
    for word in words:
        old, equals, parts = word.partition("=")
        try:
            shares = {
                name.strip(): float(share) if colon else 1.0
                for name, colon, share in (part.partition(":") for part in parts.split(","))
            }
        except ValueError:
            shares = {}
        total = sum(shares.values())
        if not equals or not shares or "" in shares or min(shares.values()) < 0 or abs(total - 1) > 0.01:
            raise HaigoError(f"--split {word} is not OLD=A:SHARE,B:SHARE with shares that sum to 1.", "write e.g. "
                             "--split web=ja_web:0.6,en_web:0.4")  # fmt: skip
        made[old.strip()] = {name: share / total for name, share in shares.items()}
    return made


def joined(table: ProxyTable, earlier: Sequence[ProxyTable], splits: Mapping[str, Mapping[str, float]]) -> ProxyTable:
    """One table of all runs: the corpora of `table` first, then those that are gone. Metrics that all swarms have.

    Raises:
        HaigoError: a split names a corpus that is not there, or there is no metric that all swarms have.
    """
    old_names = [name for swarm in earlier for name in swarm.corpora]
    for old, parts in splits.items():
        if old not in old_names:
            raise HaigoError(f"no earlier swarm has the corpus '{old}'.{nearest(old, old_names)}", "check --split")
        for name in parts:
            if name not in table.corpora:
                raise HaigoError(
                    f"'{old}' is said to have become '{name}', which {table.source} does not have."
                    f"{nearest(name, table.corpora)}",
                    "check --split",
                )
    gone = [n for n in dict.fromkeys(old_names) if n not in table.corpora and n not in splits]
    corpora = [*table.corpora, *gone]
    metrics = [m for m in table.metrics if all(m in swarm.metrics for swarm in earlier)]
    if not metrics:
        raise HaigoError("the swarms have no metric in common.", "measure the same metric in all of them")
    notes = list(table.notes)
    if gone:
        notes.append(f"Gone since the earlier swarms, kept in the fit at weight 0: {', '.join(gone)}.")
    runs, weights, losses, names = [], [], [], []
    repeats: list[int] = []
    for i, part in enumerate([table, *earlier]):
        placed = np.zeros((len(part.runs), len(corpora)))
        for j, name in enumerate(part.corpora):
            for new, share in (splits.get(name, {name: 1.0}) if i else {name: 1.0}).items():
                placed[:, corpora.index(new)] += share * part.weights[:, j]
        weights.append(placed)
        losses.append(part.losses[:, [part.metrics.index(m) for m in metrics]])
        runs += part.runs if i == 0 else [f"earlier{i}/{name}" for name in part.runs]
        names += part.scales or [""] * len(part.runs)
        repeats += part.repeats or [1] * len(part.runs)
        if i:
            notes.append(f"{len(part.runs)} runs of {part.source} are used too.")
    notes += same_twice(runs, np.vstack(weights), np.vstack(losses), "the swarms together")
    return replace(
        table,
        runs=runs,
        corpora=corpora,
        metrics=metrics,
        weights=np.vstack(weights),
        losses=np.vstack(losses),
        scales=names,
        notes=notes,
        repeats=repeats,
        noise=None if table.noise is None else table.noise[[table.metrics.index(m) for m in metrics]],
    )


def with_retired(constraints: Constraints, retired: Sequence[str]) -> Constraints:
    """The constraints over the corpora there are and, at weight 0, those that are gone."""
    if not retired:
        return constraints
    k, extra = len(constraints.corpora), len(retired)

    def longer(values: object, fill: float) -> np.ndarray:
        return np.r_[np.broadcast_to(np.asarray(values, dtype=np.float64), (k,)), np.full(extra, fill)]

    supply, prior = constraints.supply, constraints.prior
    if prior is None and supply is None:
        prior = np.full(k, 1.0 / k)  # uniform over the corpora there are
    return replace(
        constraints,
        corpora=[*constraints.corpora, *retired],
        lower=longer(0.0 if constraints.lower is None else constraints.lower, 0.0),
        upper=longer(1.0 if constraints.upper is None else constraints.upper, 0.0),
        supply=None if supply is None else longer(supply, _TRACE * float(supply.sum())),
        max_epochs=longer(constraints.max_epochs, 1.0),
        prior=None if prior is None else longer(prior, 0.0),
    )


def without_retired(made: Recommendation, retired: Sequence[str]) -> Recommendation:
    """The answer over the corpora there are."""
    if not retired:
        return made
    keep = [j for j, name in enumerate(made.corpora) if name not in retired]
    share = None if made.token_share is None else made.token_share[keep] / made.token_share[keep].sum()
    return replace(
        made,
        corpora=[made.corpora[j] for j in keep],
        weights=made.weights[keep],
        interval=made.interval[keep],
        near_optimal=made.near_optimal[keep],
        reference=made.reference[keep],
        token_share=share,
        epochs=None if made.epochs is None else made.epochs[keep],
        transfer=made.transfer[:, keep],
        scale=made.scale
        and {
            key: {c: w for c, w in value.items() if c not in retired} if key == "small_scale_weights" else value
            for key, value in made.scale.items()
        },
        binding=[b for b in made.binding if not any(b["constraint"].startswith(f"{name} ") for name in retired)],
        compared=made.compared
        and [
            {**row, "weights": {c: w for c, w in row["weights"].items() if c not in retired}} for row in made.compared
        ],
    )
