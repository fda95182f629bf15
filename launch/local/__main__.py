"""Trains one small model on this machine as GPT-NeoX would, from the same config.

    python -m launch.local CONFIG.yml [MORE.yml] --output-dir DIR [--tokenizer FOLDER] [--tokens N | --seconds S]
           [--eval-every STEPS] [--eval-tokens N] [--pairs NAME=FILE]... [--seed N] [--precision fp32]
           [--init-from HF_FOLDER | --continue-from DIR]

Sample order, schedule, initialisation, optimizer and model are GPT-NeoX's; a key of the config that this engine cannot
honour is refused by name. DIR gets log.jsonl (the learning curve), model/ (a Hugging Face folder with the tokenizer)
and, last, result.json (bits per byte of every validation set). Ctrl-C or kill -9, then the same command: the run goes
on from its last checkpoint and ends with the same bytes. `--seconds` counts the final evaluation too. A list of phases, as
`launch.configs` writes it for a mixture with phases, is one run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from haigo import cli, files, flags
from launch.engine.options import LocalOptions, TrainOptions


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.local", __doc__, LocalOptions, argv)
    from neox_configs import phases, reader, shipped

    config, *then = map(reader.load, phases.expand(shipped.files(options.configs)))
    read = [*options.configs, options.tokenizer, options.init_from, options.continue_from, *options.pairs.values()]
    files.check_output(options.output_dir, read)
    from haigo.formats.dataset import overlap
    from launch.engine.job import named_sets
    from launch.engine.train import train

    sets = {each: config.get(f"{each}_data_paths") for each in ("train", "valid", "test")}
    for told, _ in overlap.found({each: names for each, names in sets.items() if isinstance(names, list)}):
        print(f"haigo: warning: {told}", file=sys.stderr)
    test = named_sets(config.get("test_data_paths") or []) if options.score_test else {}
    result = train(config, options.output_dir, options.shared(TrainOptions, test=test), then=then)
    if options.json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return cli.OK
    print(f"{result['tokens']:,} tokens in {result['steps']:,} steps, loss {result['loss']:.4f} nats")
    for kind, title in (("metrics", ""), ("metrics_test", " (test)")):
        for name, value in result.get(kind, {}).items():
            print(f"  {name}{title} {value:.4f}")
    print(f"{Path(options.output_dir) / 'result.json'}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
