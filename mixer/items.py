"""What the items of a task leave of noise in a score, as a swarm notes it beside its metrics.csv.

Every run answers the same items. y(run, item) = run + item + rest: what an item is for all runs alike blurs no comparison of
mixtures, however few items there are, and the noise of a run's mean is that of the rests alone, sd(rest) / sqrt(items):
`paired_noise` of swarm.json, from the answers of all runs (Miller, 2024). It holds what a mixture makes of single items, which
another set of items would average otherwise, and what a seed does to single items. Replicates, which answer the same items too,
show the latter and what a seed does to all of them, and not the former. So both are added, as squares; a seed's part on single
items is then counted twice, which errs to the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixer.objective import Objective
from mixer.proxies import spelled


def known(
    objective: Objective, metrics: list[str], facts: Mapping[str, Mapping[str, Any]], source: str
) -> tuple[Objective, list[str]]:
    """The objective with what is noted of its scores' items, and a sentence on each.

    Args:
        metrics: columns of the table.
        facts: column -> items, chance, noise, paired_noise (`haigo.formats.tables.noted_scores`).
        source: the metrics table, for messages.
    """

    def named(*groups: Mapping[str, Any]) -> set[str]:
        return {hit for group in groups for name in group for hit in spelled(name, metrics, source)}

    used, given = named(objective.weights, objective.ceilings), named(objective.items, objective.direction)
    items, chance, paired, notes = dict(objective.items), dict(objective.chance), dict(objective.paired), []
    for name in sorted(used & facts.keys()):
        fact = facts[name]
        if "chance" in fact and "items" in fact and name not in given:  # a share of right items: higher is better
            items[name] = int(fact["items"])
            if fact["chance"] is not None:
                chance[name] = float(fact["chance"])
        noise = fact.get("paired_noise", fact.get("noise"))
        if noise is None:
            continue
        paired[name] = float(noise)
        count = f"{fact['items']:.0f} items" if "items" in fact else "its items"
        if "paired_noise" in fact:
            alone = f", the same ones for all runs ({fact['noise']:.3g} if they were not)" if "noise" in fact else ""
            notes.append(
                f"{source}: {name}: {count} leave noise of {noise:.3g} in a run{alone}; no less is taken for it."
            )
        else:
            notes.append(f"{source}: {name}: {count} leave noise of {noise:.3g} in a run; no less is taken for it.")
    return replace(objective, items=items, chance=chance, paired=paired), notes
