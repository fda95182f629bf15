"""Writes one flat GPT-NeoX YAML for a model, a cluster, a mixture and a number of tokens.

    python -m launch.configs --model 1-3B --cluster a100-40gb --nodes 2 --mixture mixture.yml \\
        --catalogue corpora.yml --tokens 20e9 --output configs/1-3B.yml
    python -m launch.configs --recipe finetune --from checkpoints/1-3B --train-pairs sft/train --valid-pairs sft/valid \\
        --epochs 3 --model 1-3B --cluster a100-40gb --catalogue corpora.yml --output configs/1-3B-sft.yml
    python -m launch.configs --recipe decay --from checkpoints/1-3B/milestones/global_step17167 --output configs/1-3B-decay.yml
    python -m launch.configs --recipe dpo|kto|reward --from checkpoints/1-3B-sft --train-pairs dpo/train \\
        --valid-pairs dpo/valid --model 1-3B --cluster a100-40gb --catalogue corpora.yml --output configs/1-3B-dpo.yml

The layout is the best of `launch.plan`; where nothing fits the command ends with exit code 3 and names what would. The
corpus weights come from the mixture, the datasets and the tokenizer from the catalogue, and all three are checked against
each other. Recipes that start from a checkpoint (all but pretrain) also write NAME-resume.yml, which
goes on after a break. Of a mixture with phases OUTPUT lists the configs, one a phase, which stand in a folder of its name
with datasets of their own that take hardly any space (docs/guide-phases.md). NAME.deepspeed.json is for reading: what GPT-NeoX
derives from the YAML for DeepSpeed. Everything is written out, so that the YAML alone says what will run; its header names
mixture, plan and command. Start it with `python -m launch.deepy train.py OUTPUT`. `--format megatron` writes the same run as
arguments of Megatron-LM's pretrain_gpt.py in a file for bash; what has no counterpart there is refused by name.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from haigo import cli, files, flags
from launch.plan import config, preference
from launch.plan.options import ConfigOptions


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.configs", __doc__, ConfigOptions, argv)
    if not options.dry_run:
        for output in (options.output, config.deepspeed_path(options.output)):
            named = [options.mixture, options.catalogue, options.start, options.model, options.cluster]
            files.check_output(output, [each for each in named if isinstance(each, str | os.PathLike)])
    if config.in_phases(options):
        _phases(options)
        return None
    made = config.make_config(options)
    written = [] if options.dry_run else config.write(made, options.output)
    for warning in made.warnings:
        print(f"haigo: warning: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps(config.summary(made, options.output), ensure_ascii=False, indent=2))
    elif options.dry_run:
        print(config.text(made), end="")
    else:
        output = shlex.quote(str(options.output))
        start = f"python -m launch.deepy {shlex.quote(preference.script(options.recipe))} {output}{_hosts(made)}"
        if made.format == "megatron":
            start = f'source {output}; torchrun ... pretrain_gpt.py "${{MEGATRON_ARGS[@]}}"'
        print(f"{made.header}\n{options.output} written; start it with: {start}")
        for again in written[1:]:
            print(f"{again} goes on after a break")
        if (scores := preference.scores_path(Path(options.output), made.config)) is not None:
            print(f"before it: python -m launch.deepy generate.py {shlex.quote(str(scores))}{_hosts(made)}")
    return None


def _phases(options: ConfigOptions) -> None:
    """A mixture with phases: a config for each, and the list of them."""
    from launch.plan import phases  # it needs numpy, which --help does not wait for

    planned = phases.plan(options)
    folder = phases.folder_of(options.output)
    if not options.dry_run:
        files.check_output(folder, [each for each in (options.mixture, options.catalogue) if isinstance(each, str)])
        phases.write(planned, options.output)
    if options.json:
        each = [config.summary(made, folder / f"phase-{number}.yml") for number, made in enumerate(planned.configs, 1)]
        print(json.dumps(each, ensure_ascii=False, indent=2))
    elif options.dry_run:
        for made in planned.configs:
            print(config.text(made), end="---\n")
    else:
        for made in planned.configs:
            print(made.header.splitlines()[0])
        output = shlex.quote(str(options.output))
        start = f"python -m launch.deepy train.py {output}{_hosts(planned.whole)}"
        print(f"{options.output} lists them; start them with: {start}")


def _hosts(made: config.Written) -> str:
    """What a start on several nodes needs besides."""
    return " -H hostfile" if made.plan is not None and made.plan.nodes > 1 else ""


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
