"""A blend of Megatron-LM as supply and weights, and other weights put back into its script.

    python -m mixer.blend train_data.sh                                          (what is in it)
    python -m mixer.blend train_data.sh --output-dir blend                       (supply.csv and mixture.yml)
    python -m mixer.blend train_data.sh --mixture mixture.yml --output new.sh    (the same script with these weights)

Reads `--data-path WEIGHT PREFIX ...`, TRAIN_DATA_PATH and DATA_PATH of a shell script without running it, and repeats x tokens
where a function of the script multiplies them. Datasets that differ in the number at their end are shards of one corpus. Where
the script says weights alone, whole numbers are taken for counts of tokens; shares say nothing of tokens, and give no
supply.csv. In the rewritten script all but the changed weights keeps its bytes; the weights' sum stays. `--mixture` and
`--prior` of other commands, and `--supply`, take the script (.sh) itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, files, flags
from haigo.cli import HaigoError
from haigo.formats import blend as blends
from haigo.formats import tables
from haigo.options import Options, option
from mixer import mixture


@dataclass(frozen=True, kw_only=True)
class BlendOptions(Options):
    """What `mixer.blend` reads and writes."""

    script: str = option("the shell script that holds the blend", positional=True)
    output_dir: str | None = option("gets supply.csv and mixture.yml", None)
    mixture: str | None = option("mixture.yml (or another script) whose weights go into the script", None)
    output: str | None = option("the script to write, with --mixture", None)
    json: bool = option("print JSON", False)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("mixer.blend", __doc__, BlendOptions, argv)
    if (options.mixture is None) != (options.output is None):
        raise HaigoError("--mixture and --output belong together.", "give both, or neither", option="output")
    blend = blends.read(options.script)
    supply, weights = blend.tokens(), blend.weights()
    folder = Path(options.output_dir or "")
    targets = [folder / "supply.csv", folder / "mixture.yml"] if options.output_dir is not None else []
    if blend.shares:
        targets = targets[1:]
    for target in [*targets, *([Path(options.output)] if options.output is not None else [])]:
        files.check_output(target, [each for each in (options.script, options.mixture) if each is not None])
    if targets:
        if not blend.shares:
            tables.write_supply(folder / "supply.csv", supply)
        mixture.write(folder / "mixture.yml", {"weights": weights, "blend": {"script": Path(options.script).name}})
    if options.mixture is not None and options.output is not None:
        chosen = mixture.read(options.mixture, list(weights))["weights"]
        files.write_text(options.output, blends.rewritten(blend, chosen))
        weights = chosen
    if options.json:
        rows = {name: {"tokens": None if blend.shares else supply[name], "weight": weights[name]} for name in weights}
        print(json.dumps({"corpora": rows, "tokens_are_weights": not blend.counted}, ensure_ascii=False, indent=2))
        return None
    width = max(map(len, weights))
    for name, entries in blend.corpora.items():
        shards = f"  {len(entries)} shards" if len(entries) > 1 else ""
        tokens = "" if blend.shares else f"  {supply[name]:>20,.0f} tokens"
        print(f"{name:<{width}}{tokens}  {weights[name]:>8.4%}{shards}")
    if blend.shares:
        print("the script gives shares, which say nothing of tokens: no supply.csv")
    elif not blend.counted:
        print("weights are taken for tokens: correct supply.csv where a corpus is repeated")
    if options.output is not None:
        print(f"wrote {shlex.quote(options.output)}")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
