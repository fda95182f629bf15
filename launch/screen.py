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

from haigo import cli, files, flags
from launch.proxies import metrics
from launch.proxies.options import ScreenOptions, ScreenVerbOptions
from launch.proxies.screen import screen

__all__ = ["main", "screen"]


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.screen", __doc__, ScreenVerbOptions, argv)
    read = [options.ratios, options.catalogue, *options.pairs.values()]
    files.check_output(options.output_dir, read, names=("ratios.csv", "metrics.csv"))
    metrics.require_place(Path(options.output_dir), "screen")
    path = screen(options.ratios, options.catalogue, options.output_dir, options.shared(ScreenOptions))
    print(f"{path}: for mixer.search --screen {path.parent}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
