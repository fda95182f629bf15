"""Weights of sources first, and of their topics and bands within them: what that is worth against a search of all alike.

    python benchmarks/nested.py [--runs 24] [--seeds 21 22 23 24 25] [--worlds sources topics process] [--output FILE]

Seven simulated sources are parted into four domains each (`_nested_worlds`). Printed is the normalised regret: 0 is the best
mixture there is of what is searched (the sources, or the 28 domains; no more than four epochs of any), 1 is token share.
`sources` is the search of the seven sources with n proxies, the yardstick. Then searches of the 28 domains: `plain` knows no
groups, `nested` does; with one and a half times as many proxies, with a third of them of sources as they come (whole), with the
n proxies of the sources beside them (parent), with n-gram losses (screen), and both. "best of sources": what the sources' best
mixture loses against the domains'. One loss, and the mean of six. One row a world and seed is kept in --output, and rows that
are there are not done again.

    python benchmarks/nested.py --regmix [--seeds 1 2 3 4 5 6]

RegMix's 17 corpora in six groups that a person would make: how often left-out runs choose the law of groups, and the rank
correlation and the loss of the pick (standard deviations) on the 256 test runs, by the plain law and by the one that is chosen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from _nested_worlds import LOSSES, NAMES, World, world

from mixer import focus, nested
from mixer.curve_law import CurveLaw
from mixer.design import _DENSE_STRENGTHS, candidates, propose
from mixer.laws_share import EffectiveShareLaw
from mixer.optimise import Surface, minimise
from mixer.screened import Screen
from mixer.supply import Constraints, within_tested

Array = np.ndarray
GOALS = {"one": np.eye(LOSSES)[0], "mean": np.full(LOSSES, 1.0 / LOSSES)}
FLOOR = 0.01


def searched(
    limits: Constraints, w: Array, y: Array, goal: Array, screen: Screen | None = None
) -> tuple[Array, Array, bool]:
    """The mixtures that `mixer.search` chooses (without draws) by the plain law and by the one that left-out runs prefer, and
    whether that is the law of groups."""
    used = np.flatnonzero(goal)
    y, coefficients = y[:, used], (goal / y.std(axis=0))[used]
    if screen is not None:
        screen = Screen(weights=screen.weights, losses=screen.losses[:, used], at_runs=screen.at_runs[:, used])
    near = focus.counts(y @ coefficients)
    limits = within_tested(limits, w, [])
    groups = nested.choose(limits, EffectiveShareLaw().fit(w, y, screen=screen), coefficients, near, screen=screen)
    pull = 0.003 * float((y @ coefficients).std())
    known = limits.limits()
    starts = [known.project(limits.reference), known.project(w[int((y @ coefficients).argmin())])]

    def best(law: CurveLaw) -> Array:
        law.fit(w, y, near, screen)
        function = Surface(law, law.theta_[None], limits).weighted(coefficients, pull, limits.reference)
        return minimise(function, known, starts)

    plain = best(EffectiveShareLaw())
    if groups is None or groups.make is None:
        return plain, plain, False
    return plain, best(groups.make(0)), True


def screen_of(lab: World, w: Array, seed: int) -> Screen:
    """Sixty-four screened mixtures beside the proxies'."""
    more = candidates(lab.domains().with_floor(FLOOR / 8), 64, np.random.default_rng([seed, 5]), _DENSE_STRENGTHS)
    return Screen(weights=more, losses=lab.counted(more), at_runs=lab.counted(w))


def row(name: str, seed: int, n: int) -> dict[str, float]:
    """Figures of one world, by search and goal."""
    lab, made, more = world(name, seed), {}, int(1.5 * n)
    sources, grouped = lab.sources(), lab.domains()
    wholes = more // 3
    parents = propose(sources, n, seed, floor=FLOOR)
    parted, shared = lab.parted(parents), lab.runs(lab.parted(parents), seed)
    tables = {}
    for whole in (0, wholes):
        mixtures = propose(grouped, more - whole, seed, floor=FLOOR)
        mixtures = np.vstack([mixtures, parted[:whole]])
        tables[whole] = mixtures, lab.runs(mixtures, seed + 1000)
    both = np.vstack([tables[0][0], parted]), np.vstack([tables[0][1], shared])
    for said, goal in GOALS.items():
        reference = float(lab.value(lab.share, goal)[0])
        least = lab.best(grouped, goal, False)
        least_of_sources = lab.best(sources, goal, True)

        def note(
            key: str, mixture: Array, least: float, said: str = said, goal: Array = goal, top: float = reference
        ) -> None:
            made[f"{key} {said}"] = (float(lab.value(mixture, goal)[0]) - least) / (top - least)

        found = searched(sources, parents, shared, goal)[0]
        note("sources, n", lab.parted(found[None])[0], least_of_sources)
        made[f"best of sources {said}"] = (least_of_sources - least) / (reference - least)
        for key, (w, y), screened in (
            ("1.5 n", tables[0], False),
            ("1.5 n, a third whole", tables[wholes], False),
            ("1.5 n + parent", both, False),
            ("1.5 n + screen", tables[0], True),
            ("1.5 n + both", both, True),
        ):
            plain, chosen, used = searched(grouped, w, y, goal, screen_of(lab, w, seed) if screened else None)
            note(f"plain, {key}", plain, least)
            note(f"nested, {key}", chosen, least)
            made[f"law of groups, {key} {said}"] = float(used)
    return made


PILE = {
    "papers": ("arxiv", "pubmed_central", "pubmed_abstracts", "nih_exporter", "philpapers"),
    "code": ("github", "stackexchange", "ubuntu_irc", "hackernews"),
    "law": ("freelaw", "uspto_backgrounds"),
    "books": ("gutenberg_pg_19", "europarl"),
    "web": ("pile_cc", "wikipedia_en"),
    "rest": ("enron_emails", "dm_mathematics"),
}


def regmix(seeds: list[int]) -> None:
    from _public_runs import chosen, table

    from mixer.proxies import short_names
    from mixer.report_card import rank_correlation

    train, test = table("train"), table("test")
    names = list(short_names(train.corpora, "corpus").values())
    limits = Constraints(corpora=names, groups={group: (inside, 0.0, 1.0) for group, inside in PILE.items()})
    print("| proxies | objective | law of groups chosen | rank, plain | chosen | pick loses, plain | chosen |")
    for n in (24, 48, 96):
        for said in ("pile_cc", "mean of 13"):
            rows = []
            for seed in seeds:
                runs = chosen(train, n, seed)
                w, y = train.weights[runs], train.losses[runs]
                goal = np.array([said == "mean of 13" or "pile_cc" in name for name in train.metrics]) / y.std(axis=0)
                law = EffectiveShareLaw().fit(w, y)
                groups = nested.choose(limits, law, goal, focus.counts(y @ goal))
                assert groups is not None
                truth = test.losses @ goal
                row = [float(groups.make is not None)]
                for one in (law, groups.law):
                    guess = one.predict(test.weights) @ goal
                    row += [rank_correlation(guess, truth), (truth[guess.argmin()] - truth.min()) / truth.std()]
                rows.append(row)
            used, rank, lost, rank_chosen, lost_chosen = np.mean(rows, axis=0)
            print(f"| {n} | {said} | {used:.0%} | {rank:.4f} | {rank_chosen:.4f} | {lost:.3f} | {lost_chosen:.3f} |")


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--runs", type=int, default=24)
    args.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24, 25])
    args.add_argument("--worlds", nargs="+", default=list(NAMES))
    args.add_argument("--output", type=Path, default=Path(".cache/nested.jsonl"))
    args.add_argument("--regmix", action="store_true")
    given = args.parse_args()
    if given.regmix:
        return regmix(given.seeds)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    lines = given.output.read_text().splitlines() if given.output.exists() else []
    done = {(r["world"], r["seed"], r["runs"]): r["figures"] for r in map(json.loads, lines)}
    for seed in given.seeds:
        for name in given.worlds:
            if (key := (name, seed, given.runs)) not in done:
                done[key] = row(*key)
                with given.output.open("a") as handle:
                    handle.write(
                        json.dumps({"world": name, "seed": seed, "runs": given.runs, "figures": done[key]}) + "\n"
                    )
    first = done[given.worlds[0], given.seeds[0], given.runs]
    kinds = list(dict.fromkeys(key.rpartition(" ")[0] for key in first))
    print(
        f"| {given.runs} proxies | " + " | ".join(f"{name}, {goal}" for name in given.worlds for goal in GOALS) + " |"
    )
    for kind in kinds:
        cells = []
        for name in given.worlds:
            for goal in GOALS:
                values = np.array([done[name, seed, given.runs][f"{kind} {goal}"] for seed in given.seeds])
                cells.append(f"{values.mean():.3f} ({values.std() / max(len(values) - 1, 1) ** 0.5:.3f})")
        print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
