"""What counting says of mixtures before anything is trained: bits per byte of n-gram models of every row of a table.

    python -m mixer.design --supply supply.csv --runs 8 --output ratios.csv
    python -m launch.screen --ratios ratios.csv --catalogue corpora.yml --tokens 80000 --output-dir screen
    python -m launch.proxies --ratios ratios.csv --catalogue corpora.yml --config 0-1M --tokens 80000 --output-dir proxies
    python -m mixer.search --ratios ratios.csv --metrics proxies/metrics.csv --screen screen --objective news_bpb

The corpora are counted once, in seconds; a mixture's model is then a weighted sum, and its loss takes a millisecond.
screen/metrics.csv has the columns of launch.proxies for the rows of ratios.csv and for --mixtures more between their
least and largest weights (screen/ratios.csv has them all). With --screen, mixer.search needs fewer proxies; without any,
it takes screen/ratios.csv and screen/metrics.csv as they are. --tokens: what a proxy is trained on. Task scores cannot be
screened. What it is worth, measured: docs/guide-swarms.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import cli, files, naming
from haigo.cli import HaigoError
from launch.local.__main__ import count, pairs_files
from mixer.options import MOST_RUNS

if TYPE_CHECKING:
    import numpy as np

    from launch.swarm.ngram import Counted

EVAL_TOKENS = 16384
MIXTURES = 64
SAMPLE = 2_000_000
_FLOOR = 0.01


def screen(
    ratios: str | Path,
    catalogue: Any,
    output_dir: str | Path,
    *,
    tokens: int,
    mixtures: int = MIXTURES,
    order: int = 2,
    sample: int = SAMPLE,
    eval_tokens: int | None = EVAL_TOKENS,
    pairs: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Write ratios.csv and metrics.csv of a screen; give the path of the latter.

    Args:
        ratios: ratios.csv of the proxies.
        catalogue: corpora.yml, or what `neox_configs.catalogue.read` gave.
        tokens: training tokens of a proxy.
        mixtures: how many more than the table has.
        order: longest n-gram, 1 to 3.
        sample: tokens of each corpus to count at most.
        eval_tokens: of each validation set; all when None.
        pairs: name -> jsonl of context and target.

    Raises:
        HaigoError: as of launch.proxies.
    """
    import numpy as np

    from haigo.formats import csvfile
    from launch.swarm import ngram, table
    from neox_configs import catalogue as catalogues

    known = catalogue if isinstance(catalogue, catalogues.Catalogue) else catalogues.read(catalogue)
    corpora = list(known.corpora)
    naming.check_all([*corpora, *(pairs or {})], "corpus or pairs file", "catalogue and pairs")
    rows = table.read_ratios(ratios, corpora)
    weights = np.array([[row.get(corpus, 0.0) for corpus in corpora] for row in rows.values()])
    more = _between(corpora, weights, mixtures, seed) if mixtures else np.empty((0, len(corpora)))
    names = [*rows, *_names(rows, len(more))]
    counted = ngram.Counted(known, order=order, sample=sample, eval_tokens=eval_tokens, pairs=pairs or {}, seed=seed)
    everything = np.vstack([weights, more])
    losses = counted.losses(everything, tokens)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with files.owner(folder):
        cells = {
            name: {corpus: repr(float(weight)) for corpus, weight in zip(corpora, row, strict=True)}
            for name, row in zip(names, everything, strict=True)
        }
        csvfile.write_rows(folder / "ratios.csv", ["run", *corpora], cells)
        _write(folder / "metrics.csv", names, counted, losses, order, tokens)
    return folder / "metrics.csv"


def _between(corpora: Sequence[str], weights: np.ndarray, mixtures: int, seed: int) -> np.ndarray:
    """Mixtures spread over what lies between the least and the largest weights of a table, (mixtures, corpora)."""
    import numpy as np

    from mixer.design import propose
    from mixer.supply import Constraints

    low, high = weights.min(axis=0), weights.max(axis=0)
    if len(weights) < 2 or np.allclose(low, high):
        return np.asarray(propose(Constraints(corpora=corpora), mixtures, seed, floor=_FLOOR))
    return np.asarray(propose(Constraints(corpora=corpora, lower=low, upper=high), mixtures, seed, floor=0.0))


def _names(taken: Any, number: int) -> list[str]:
    letter = "s"
    while any(name.startswith(letter) for name in taken):
        letter += "s"
    return [f"{letter}{n:03d}" for n in range(number)]


def _write(path: Path, names: Sequence[str], counted: Counted, losses: np.ndarray, order: int, tokens: int) -> None:
    from haigo.formats import csvfile

    cells = {
        name: {metric: f"{value:.6f}" for metric, value in zip(counted.metrics, row, strict=True)}
        | {"size": f"{order}-gram", "tokens": str(tokens)}
        for name, row in zip(names, losses, strict=True)
    }
    csvfile.write_rows(path, ["run", *counted.metrics, "size", "tokens"], cells)


def main(argv: Sequence[str] | None = None) -> int:
    from launch.swarm import metrics

    parser = cli.parser("launch.screen", __doc__)
    add = parser.add_argument
    add("--ratios", required=True, help="ratios.csv")
    add("--catalogue", required=True, help="corpora.yml")
    add("--output-dir", "--output_dir", required=True, help="gets ratios.csv and metrics.csv")
    add("--tokens", type=count, required=True, help="training tokens of one proxy")
    add("--mixtures", type=int, default=MIXTURES, help=f"mixtures beside those of the table ({MIXTURES})")
    add("--order", type=int, choices=(1, 2, 3), default=2, help="longest n-gram (2)")
    add("--sample", type=count, default=SAMPLE, help=f"tokens of a corpus to count at most ({SAMPLE:,})")
    add("--eval-tokens", "--eval_tokens", type=count, default=EVAL_TOKENS, help="a corpus (default 16384; 0: all)")
    add("--pairs", action="append", default=[], metavar="NAME=FILE", help="jsonl of context and target")
    add("--seed", type=cli.seed, default=0)
    args = parser.parse_args(argv)
    if not 0 <= args.mixtures <= MOST_RUNS:
        raise HaigoError(
            f"--mixtures {str(args.mixtures)[:40]} is not from 0 to {MOST_RUNS:,}.",
            "give such a number",
            option="mixtures",
        )
    for name in ("tokens", "sample"):
        if getattr(args, name) < 1:
            raise HaigoError(f"--{name} {getattr(args, name)} is not at least 1.", "give the number of tokens")
    pairs = {name: str(file) for name, file in pairs_files(args.pairs).items()}
    files.check_output(
        args.output_dir, [args.ratios, args.catalogue, *pairs.values()], names=("ratios.csv", "metrics.csv")
    )
    metrics.require_place(Path(args.output_dir), "screen")
    path = screen(
        args.ratios,
        args.catalogue,
        args.output_dir,
        tokens=args.tokens,
        mixtures=args.mixtures,
        order=args.order,
        sample=args.sample,
        eval_tokens=args.eval_tokens or None,
        pairs=pairs,
        seed=args.seed,
    )
    print(f"{path}: for mixer.search --screen {path.parent}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
