"""Does a recommendation keep what it promises? Intervals at the recommended mixture, gains and regret in simulated worlds.

    python benchmarks/promise.py                         (7 worlds, 7 seeds, 7 objectives, 64 proxies; some 15 minutes)
    python benchmarks/promise.py --worlds gp60 --seeds 3 --runs 32
    python benchmarks/promise.py --ceilings              (how often ceilings hold; 4 minutes)
    python benchmarks/promise.py --state promise.jsonl   (goes on where it was stopped; prints all that is there)

Every recommendation is made as `mixer.search` makes it, without the ranges of single weights and the number of further
proxies. Then the world is asked: a new run at the recommended mixture (with a run's noise), the gain over token share,
and what the best mixture there is would have given. Lines: how many of the 90 % intervals hold that (with a binomial 95 %
interval), the mean error in printed standard deviations, the mean width against that of the constant interval (in standard
deviations of the proxies) which holds 90 % in this world and knows it, and the mean expected regret over the mean actual one.
The constants of the rule in `mixer/promise.py` were set in the worlds marked with a star.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _measure import code, parser
from mixer_worlds import NAMES, World, world

import mixer.recommend as search
from mixer import value_of_information
from mixer.design import propose
from mixer.evidence import Evidence
from mixer.objective import Objective
from mixer.options import RecommendOptions

SET_IN = ("gp", "networks", "ridge")
SINGLE = ("pile_cc", "wikipedia_en", "stackexchange", "github", "arxiv")
MEANS = {"mean of 3": ["pile_cc", "wikipedia_en", "github"]}
Record = dict[str, Any]


def objectives(here: World) -> dict[str, list[str]]:
    return {name: [name] for name in SINGLE} | MEANS | {"mean of 13": here.metrics}


def one(here: World, runs: int, seed: int, metrics: list[str]) -> Record:
    """One recommendation and what the world says of it, losses in standard deviations over the proxies."""
    mixtures = propose(here.constraints, runs, seed) if seed % 2 else None
    w, y = here.proxies(runs, seed, mixtures)
    which = [here.metrics.index(name) for name in metrics]
    objective = Objective(weights=dict.fromkeys(metrics, 1.0))
    given = (w, y[:, which], objective, here.constraints, seed, 60)
    answer = search.recommend(*given, metrics=metrics, force=True, beyond_proxies=True)
    best, reference = here.losses(answer.weights[None])[0, which], here.losses(answer.reference[None])[0, which]
    spread = y[:, which].std(axis=0)
    shares = np.full(len(which), 1.0 / len(which)) / spread
    coefficients = np.zeros(len(here.metrics))
    coefficients[which] = shares / shares.sum()
    here.regret(answer.weights, coefficients)
    least = here.best[coefficients.tobytes().hex()] * float(shares.sum())
    unit = float(1.0 / shares[0]) if len(which) == 1 else 1.0  # of what is printed
    seen = best + here.noise[which] * np.random.default_rng([seed, 5]).standard_normal(len(which))
    printed = [answer.prediction[name] for name in metrics]
    return {
        "loss": [
            {"error": (a - t["mean"]) / s, "half": (t["interval"][1] - t["interval"][0]) / 2 / s}
            for a, t, s in zip(seen.tolist(), printed, spread.tolist(), strict=True)
        ],
        "gain": [
            {
                "error": float((reference - best) @ shares) - answer.gain["mean"] / unit,
                "half": (answer.gain["interval"][1] - answer.gain["interval"][0]) / 2 / unit,
            }
        ],
        "regret": float(best @ shares) - least,
        "printed": answer.expected_regret / unit,
    }


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


def show(records: dict[str, Record]) -> None:
    print(f"{'':31}loss at the mixture: {'':9}gain: {'':24}regret:")
    print(f"  {'world':22} recs   held (of 95 %)  bias width   held (of 95 %)  bias width   printed actual ratio")
    by_key = {key: (key.split("/")[0], key.split("/")[1].startswith("mean")) for key in records}
    for name in dict.fromkeys(name for name, _ in by_key.values()):
        for several in (False, True):
            mine = [records[key] for key, kind in by_key.items() if kind == (name, several)]
            if mine:
                print(line(f"{name}{'*' if name in SET_IN else ''} {'means' if several else 'single losses'}", mine))
    for title, names in (("all", set(NAMES)), ("all but those with *", set(NAMES) - set(SET_IN))):
        mine = [records[key] for key, (name, _) in by_key.items() if name in names]
        if mine:
            print(line(title, mine), flush=True)


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--worlds", default=",".join(NAMES))
    words.add_argument("--seeds", type=int, default=7)
    words.add_argument("--runs", type=int, default=64)
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
    for name in args.worlds.split(","):
        here: World | None = None
        for seed in range(args.seeds):
            here = _world(here, name, args.runs, seed, records, state)
    show({key: record for key, record in records.items() if key.split("/")[2] == str(args.runs)})
    return 0


def noted(state: Path) -> dict[str, Record]:
    """The recommendations that are there already; a line that a kill cut short goes."""
    content = state.read_text(encoding="utf-8") if state.is_file() else ""
    whole = content[: content.rfind("\n") + 1]
    if whole != content:
        state.write_text(whole, encoding="utf-8")
    return dict(json.loads(line) for line in whole.splitlines())


def _world(
    here: World | None, name: str, runs: int, seed: int, records: dict[str, Record], state: Path
) -> World | None:
    """Make and note the recommendations of one seed that are not noted yet; the world, once it was needed."""
    for title in (*SINGLE, "mean of 3", "mean of 13"):
        key = f"{name}/{title}/{runs}/{seed}"
        if key in records:
            continue
        here = here or world(name)
        records[key] = one(here, runs, seed, objectives(here)[title])
        with state.open("a") as out:
            out.write(json.dumps([key, records[key]]) + "\n")
    return here


if __name__ == "__main__":
    raise SystemExit(main())
