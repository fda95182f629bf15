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

from haigo import cli, files, flags, naming
from launch.proxies.options import ScreenOptions, ScreenVerbOptions

if TYPE_CHECKING:
    import numpy as np

    from launch.proxies.ngram import Counted

_FLOOR = 0.01


def screen(
    ratios: str | Path, catalogue: Any, output_dir: str | Path, options: ScreenOptions | None = None, **given: Any
) -> Path:
    """Write ratios.csv and metrics.csv of a screen; give the path of the latter.

    Args:
        ratios: ratios.csv of the proxies.
        catalogue: corpora.yml, or what `neox_configs.catalogue.read` gave.
        options: how to count; or its fields one by one (`given`).

    Raises:
        HaigoError: as of launch.proxies.
    """
    options = ScreenOptions(**given) if options is None else options
    import numpy as np

    from haigo.formats import csvfile
    from launch.proxies import ngram, table
    from neox_configs import catalogue as catalogues

    known = catalogue if isinstance(catalogue, catalogues.Catalogue) else catalogues.read(catalogue)
    corpora = list(known.corpora)
    naming.check_all([*corpora, *options.pairs], "corpus or pairs file", "catalogue and pairs")
    rows = table.read_ratios(ratios, corpora)
    weights = np.array([[row.get(corpus, 0.0) for corpus in corpora] for row in rows.values()])
    more = _between(corpora, weights, options) if options.mixtures else np.empty((0, len(corpora)))
    names = [*rows, *_names(rows, len(more))]
    counted = ngram.Counted(known, options)
    everything = np.vstack([weights, more])
    losses = counted.losses(everything, options.tokens)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with files.owner(folder):
        cells = {
            name: {corpus: repr(float(weight)) for corpus, weight in zip(corpora, row, strict=True)}
            for name, row in zip(names, everything, strict=True)
        }
        csvfile.write_rows(folder / "ratios.csv", ["run", *corpora], cells)
        _write(folder / "metrics.csv", names, counted, losses, options)
    return folder / "metrics.csv"


def _between(corpora: Sequence[str], weights: np.ndarray, options: ScreenOptions) -> np.ndarray:
    """Mixtures spread over what lies between the least and the largest weights of a table, (mixtures, corpora)."""
    import numpy as np

    from mixer.design import propose
    from mixer.supply import Constraints

    low, high = weights.min(axis=0), weights.max(axis=0)
    if len(weights) < 2 or np.allclose(low, high):
        return np.asarray(propose(Constraints(corpora=corpora), options.mixtures, options.seed, floor=_FLOOR))
    return np.asarray(
        propose(Constraints(corpora=corpora, lower=low, upper=high), options.mixtures, options.seed, floor=0.0)
    )


def _names(taken: Any, number: int) -> list[str]:
    letter = "s"
    while any(name.startswith(letter) for name in taken):
        letter += "s"
    return [f"{letter}{n:03d}" for n in range(number)]


def _write(path: Path, names: Sequence[str], counted: Counted, losses: np.ndarray, options: ScreenOptions) -> None:
    from haigo.formats import csvfile

    cells = {
        name: {metric: f"{value:.6f}" for metric, value in zip(counted.metrics, row, strict=True)}
        | {"size": f"{options.order}-gram", "tokens": str(options.tokens)}
        for name, row in zip(names, losses, strict=True)
    }
    csvfile.write_rows(path, ["run", *counted.metrics, "size", "tokens"], cells)


def main(argv: Sequence[str] | None = None) -> int:
    from launch.proxies import metrics

    options = flags.parse("launch.screen", __doc__, ScreenVerbOptions, argv)
    read = [options.ratios, options.catalogue, *options.pairs.values()]
    files.check_output(options.output_dir, read, names=("ratios.csv", "metrics.csv"))
    metrics.require_place(Path(options.output_dir), "screen")
    path = screen(options.ratios, options.catalogue, options.output_dir, options.shared(ScreenOptions))
    print(f"{path}: for mixer.search --screen {path.parent}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
