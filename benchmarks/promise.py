"""Does a recommendation keep what it promises? Intervals at the recommended mixture, gains and regret in simulated worlds.

    python benchmarks/promise.py                         (7 worlds, 7 seeds, 7 objectives, 64 proxies; some 15 minutes)
    python benchmarks/promise.py --worlds gp60 --seeds 3 --runs 32 --floor 0.01
    python benchmarks/promise.py --few --seeds 4         (12 to 14 proxies of 4 to 7 groups of the corpora)
    python benchmarks/promise.py --ceilings              (how often ceilings hold; 4 minutes)
    python benchmarks/promise.py --state promise.jsonl   (goes on where it was stopped; prints all that is there)

Every recommendation is made as `mixer.search` makes it, without the ranges of single weights and the number of further
proxies. Then the world is asked: a new run at the recommended mixture (with a run's noise), the gain over token share,
and what the best mixture there is would have given. Lines: how many of the 90 % intervals hold that (with a binomial 95 %
interval), the mean error in printed standard deviations, the mean width against that of the constant interval (in standard
deviations of the proxies) which holds 90 % in this world and knows it, and the mean expected regret over the mean actual one.

What is noted of a recommendation is what the promise is made of (how far off the runs held out were, what the draws say),
so that the constants of the rule (`mixer.promise.Rule`) can be set anew without a fit: each world is judged by constants set
on the other worlds, and, below that, by those that are in use.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _measure import code, parser
from mixer_worlds import NAMES, World, world

import mixer.recommend as search
from mixer import value_of_information
from mixer.design import candidates, propose
from mixer.evidence import Evidence
from mixer.objective import Objective
from mixer.options import RecommendOptions
from mixer.promise import Pair, Promise, Rule

SINGLE = ("pile_cc", "wikipedia_en", "stackexchange", "github", "arxiv")
MEANS = {"mean of 3": ["pile_cc", "wikipedia_en", "github"]}
WIDER = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
BETTER = (0.0, 0.1, 0.2, 0.3, 0.4)
FEW = ((7, 14), (5, 12), (4, 12), (6, 13))
"""Groups of corpora and proxies, in turn; two seeds with 2.5 times token share at most, two with 4."""
KINDS = ("loss", "gain")
Record = dict[str, Any]


def objectives(here: World) -> dict[str, list[str]]:
    return {name: [name] for name in SINGLE} | MEANS | {"mean of 13": here.metrics}


class Noted:
    """What a promise is made of, caught where a recommendation makes it."""

    def __init__(self) -> None:
        self.original = Promise.regret
        self.record: Record = {}

    def __call__(self, promise: Promise, pair: Pair, drawn: float) -> float:
        self.record = {
            "pair": {name: np.asarray(value).tolist() for name, value in pair._asdict().items()},
            "promise": {
                name: np.asarray(getattr(promise, name)).tolist() for name in ("rests", "weights", "objective", "noise")
            },
            "drawn": drawn,
        }
        return self.original(promise, pair, drawn)


def one(here: World, runs: int, seed: int, metrics: list[str], noted: Noted, floor: float) -> Record:
    """What one recommendation promises, and what the world says of it."""
    mixtures = propose(here.constraints, runs, seed, floor=floor) if seed % 2 else None
    if mixtures is None and here.limits is not None:
        mixtures = candidates(here.constraints.with_floor(floor), runs, np.random.default_rng([seed, 77]))
    w, y = here.proxies(runs, seed, mixtures)
    which = [here.metrics.index(name) for name in metrics]
    objective = Objective(weights=dict.fromkeys(metrics, 1.0))
    given = (w, y[:, which], objective, here.constraints, seed, 60)
    answer = search.recommend(*given, metrics=metrics, force=True, beyond_proxies=here.limits is None)
    best, reference = here.losses(np.stack([answer.weights, answer.reference]))[:, which]
    coefficients = np.zeros(len(here.metrics))
    coefficients[which] = noted.record["pair"]["coefficients"]
    here.regret(answer.weights, coefficients)
    seen = best + here.noise[which] * np.random.default_rng([seed, 5]).standard_normal(len(which))
    truth = {"seen": seen.tolist(), "best": best.tolist(), "reference": reference.tolist()}
    return {
        **noted.record,
        **truth,
        "least": here.best[coefficients.tobytes().hex()],
        "unit": y[:, which].std(axis=0).tolist(),
    }


def told(record: Record, rule: Rule) -> Record:
    """Errors and half widths of what the rule promises, losses in standard deviations over the proxies; regrets."""
    pair = Pair._make(np.array(value) if isinstance(value, list) else value for value in record["pair"].values())
    promise = Promise(**{name: np.array(value) for name, value in record["promise"].items()}, rule=rule)
    mean, half = promise.run(pair)
    value, size = promise.gain(pair)
    seen, best, reference, unit = (np.array(record[name]) for name in ("seen", "best", "reference", "unit"))
    c = pair.coefficients
    return {
        "loss": [{"error": e, "half": h} for e, h in zip((seen - mean[0]) / unit, half[0] / unit, strict=True)],
        "gain": [{"error": float((reference - best) @ c) - value, "half": promise.quantile(0.95) * size}],
        "regret": float(best @ c) - record["least"],
        "printed": promise.regret(pair, record["drawn"]),
    }


def chosen(records: Sequence[tuple[str, Record]]) -> Rule:
    """The rule that would have been best in these (world, record), worlds counting alike.

    How much better is to be expected by the mean errors of losses and gains (squared, in printed standard deviations); the
    width so that 90 % of losses and gains are held; what is lost by the mean.
    """
    worlds = sorted({name for name, _ in records})

    def judged(rules: list[Rule], judge: Callable[[list[Record]], float]) -> np.ndarray:
        each = [[[told(record, rule) for at, record in records if at == name] for name in worlds] for rule in rules]
        return np.array([[judge(made) for made in row] for row in each])

    rules = [Rule(better=better, regret=1.0) for better in BETTER]
    rule = rules[int(judged(rules, lambda made: sum(_bias(made, what) ** 2 for what in KINDS)).mean(axis=1).argmin())]
    rules = [replace(rule, wider=wider) for wider in WIDER]
    kept = judged(rules, lambda made: sum(_held(made, what) for what in KINDS) / len(KINDS)).mean(axis=1)
    rule = rules[int(np.abs(kept - 0.9).argmin())]
    made = [told(record, rule) for _, record in records]
    actual, printed = (float(np.mean([one[key] for one in made])) for key in ("regret", "printed"))
    return replace(rule, regret=round(actual / printed, 2))


def _bias(made: list[Record], what: str) -> float:
    """The mean error in printed standard deviations; a recommendation counts once."""
    return float(np.mean([np.mean([part["error"] / part["half"] for part in one[what]]) for one in made])) * 1.645


def _held(made: list[Record], what: str) -> float:
    """The part of the intervals that hold; a recommendation counts once."""
    return float(np.mean([np.mean([abs(part["error"]) <= part["half"] for part in one[what]]) for one in made]))


def ceilings(here: World, runs: int, seed: int) -> list[tuple[float, float, bool, bool]]:
    """One single loss chosen for under ceilings on the other four, +5 % each: (asked, printed, held, binds) for each."""
    mixtures = propose(here.constraints, runs, seed) if seed % 2 else None
    w, y = here.proxies(runs, seed, mixtures)
    which, first = [here.metrics.index(name) for name in SINGLE], SINGLE[seed % len(SINGLE)]
    objective = Objective(weights={first: 1.0}, ceilings={name: "+5%" for name in SINGLE if name != first})
    evidence = Evidence(weights=w, losses=y[:, which], metrics=SINGLE)
    rows = []
    for asked in (0.5, 0.9):
        how = RecommendOptions(seed=seed, bootstrap=60, force=True, beyond_proxies=True, ceiling_probability=asked)
        answer = search.choose(evidence, objective, here.constraints, how)
        noise = here.noise[which] * np.random.default_rng([seed, 5]).standard_normal(len(which))
        seen = dict(zip(SINGLE, here.losses(answer.weights[None])[0, which] + noise, strict=True))
        binding = {item["constraint"].removeprefix("ceiling on ") for item in answer.binding}
        for name, top in answer.ceilings.items():
            rows.append((asked, top["probability"], bool(seen[name] <= top["limit"]), name in binding))
    return rows


def show_ceilings(rows: list[tuple[float, float, bool, bool]]) -> None:
    for asked in sorted({row[0] for row in rows}):
        for title, those in (("all", (False, True)), ("those that bind", (True,))):
            mine = [row for row in rows if row[0] == asked and row[3] in those]
            said, kept = (float(np.mean([row[i] for row in mine])) for i in (1, 2))
            low, high = wilson(kept, len(mine))
            print(
                f"asked for {asked:g}, {title}: {len(mine)} ceilings, said {said:.3f}, held {kept:.3f} ({low:.0%}-{high:.0%})"
            )


def held(records: list[Record], what: str) -> str:
    """Coverage with its binomial interval, bias and width of the intervals of `what`; a recommendation counts once."""
    inside, bias, error, half = [], [], [], []
    for record in records:
        parts = [(part["error"], part["half"]) for part in record[what]]
        inside.append(np.mean([abs(e) <= h for e, h in parts]))
        bias.append(np.mean([e / h * 1.645 for e, h in parts]))
        error += [abs(e) for e, _ in parts]
        half += [h for _, h in parts]
    low, high = wilson(float(np.mean(inside)), len(inside))
    wide = np.mean(half) / max(float(np.quantile(error, 0.9)), 1e-12)
    return f"{np.mean(inside):6.1%} ({low:.0%}-{high:.0%}) {np.mean(bias):+5.2f} {wide:5.2f}"


def wilson(part: float, count: int, z: float = 1.96) -> tuple[float, float]:
    middle = (part + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * np.sqrt(part * (1 - part) / count + z * z / (4 * count**2))
    return float(middle - reach), float(middle + reach)


def line(title: str, records: list[Record]) -> str:
    actual, printed = (np.mean([record[key] for record in records]) for key in ("regret", "printed"))
    return (
        f"  {title:<22} {len(records):4d}   {held(records, 'loss')}   {held(records, 'gain')}"
        f"   {printed:6.3f} {actual:6.3f} {printed / max(actual, 1e-9):5.2f}"
    )


def show(records: dict[str, Record], runs: str) -> None:
    """Lines on the recommendations from so many runs; constants are set on all that are noted."""
    each = [
        (key.split("/")[0], key.split("/")[1].startswith("mean"), record)
        for key, record in records.items()
        if key.split("/")[2] == runs
    ]
    names = list(dict.fromkeys(name for name, _, _ in each))
    rules = {}
    for name in names:
        others = [(key.split("/")[0], record) for key, record in records.items() if key.split("/")[0] != name]
        rules[name] = chosen(others) if others else Rule()
    for title, by in (("set on the other worlds", rules), ("in use", dict.fromkeys(names, Rule()))):
        print(f"constants {title}: {'':14}loss at the mixture: {'':9}gain: {'':24}regret:")
        print(f"  {'world':22} recs   held (of 95 %)  bias width   held (of 95 %)  bias width   printed actual ratio")
        everything = []
        for name, several in itertools.product(names, (False, True)):
            mine = [told(record, by[name]) for at, kind, record in each if (at, kind) == (name, several)]
            if mine:
                print(line(f"{name} {'means' if several else 'single losses'}", mine))
            everything += mine
        print(line("all", everything), flush=True)
    said = ", ".join(f"{name} {rule.wider:g} {rule.better:g} {rule.regret:g}" for name, rule in rules.items())
    print(f"wider, better and regret by the other worlds: {said}")


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--worlds", default=",".join(NAMES))
    words.add_argument("--seeds", type=int, default=7)
    words.add_argument("--runs", type=int, default=64)
    words.add_argument("--floor", type=float, default=0.0, help="least weight of a corpus in our design (0)")
    words.add_argument(
        "--few", action="store_true", help="12 to 14 proxies of 4 to 7 groups of the corpora, floor 0.01"
    )
    words.add_argument("--state", default=str(Path(tempfile.gettempdir()) / f"haigo_promise_{code('mixer')}.jsonl"))
    words.add_argument("--ceilings", action="store_true")
    args = words.parse_args()
    warnings.filterwarnings("ignore")
    search.near_optimal = lambda *given: (given[2], given[2])
    value_of_information.proxies_to_halve = lambda *given: None
    if args.ceilings:
        worlds = [world(name) for name in args.worlds.split(",")]
        show_ceilings([row for here in worlds for seed in range(args.seeds) for row in ceilings(here, args.runs, seed)])
        return 0
    state = Path(args.state)
    records = noted(state)
    catch = Noted()
    Promise.regret = lambda *given: catch(*given)  # type: ignore[method-assign]
    for name in args.worlds.split(","):
        here: World | None = None
        for seed in range(args.seeds):
            here = _world(here, name, args, seed, records, state, catch)
    Promise.regret = catch.original  # type: ignore[method-assign]
    show(records, "few" if args.few else str(args.runs))
    return 0


def noted(state: Path) -> dict[str, Record]:
    """The recommendations that are there already; a line that a kill cut short goes."""
    content = state.read_text(encoding="utf-8") if state.is_file() else ""
    whole = content[: content.rfind("\n") + 1]
    if whole != content:
        state.write_text(whole, encoding="utf-8")
    return dict(json.loads(line) for line in whole.splitlines())


def _world(
    here: World | None,
    name: str,
    args: argparse.Namespace,
    seed: int,
    records: dict[str, Record],
    state: Path,
    catch: Noted,
) -> World | None:
    """Make and note the recommendations of one seed that are not noted yet; the world, once it was needed."""
    groups, runs = FEW[seed % len(FEW)] if args.few else (0, args.runs)
    for title in (*SINGLE, "mean of 3", "mean of 13"):
        key = f"{name}/{title}/{'few' if args.few else runs}/{seed}"
        if key in records:
            continue
        here = here or world(name)
        lab = here.grouped(groups, seed, (2.5, 4.0)[seed // 2 % 2]) if groups else here
        records[key] = one(lab, runs, seed, objectives(here)[title], catch, 0.01 if groups else args.floor)
        with state.open("a") as out:
            out.write(json.dumps([key, records[key]]) + "\n")
    return here


if __name__ == "__main__":
    raise SystemExit(main())
