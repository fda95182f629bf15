"""A GPT-NeoX checkpoint as a Hugging Face folder with the right weights, ids and tokenizer; a check of one; or the way back.

    python -m launch.convert CHECKPOINT --out DIR [--iteration N] [--config FILE...] [--tokenizer FOLDER]
           [--dtype auto|float32|bfloat16|float16] [--vocab keep|cut] [--log FILE | --check] [--force] [--dry-run] [--json]
    python -m launch.convert DIR --check [--log FILE]
    python -m launch.convert --to-neox HF_FOLDER --out SAVE_FOLDER [--tensor-parallel N] [--pipe-parallel N] [--dtype ...]
           [--check] [--force] [--dry-run] [--json]

CHECKPOINT is the save folder of a run (its `latest` is taken) or a global_stepN in it, of any tensor- and pipeline-parallel
size, and its model a GPT-NeoX, Llama or Mistral of transformers. GPT-NeoX itself is not needed. What its own converter gets
wrong is right here: row-parallel biases of several tensor ranks, ids, tokenizer files, precision. DIR appears whole or not at
all.

`--log` proves the result: the cross entropy of the converted model on the samples of the step after the checkpoint (and of the
validation at the checkpoint, if there is one) must be what GPT-NeoX logged, to 5 digits in fp32. `--check` without a
log looks at names, shapes and values of the weights, ids and tokenizer, and measures the loss where the datasets are at
hand. Exit code 3 when something disagrees, when a log is given and no loss could be compared with it, or when tensor ranks ran
apart and no log proves the model; a conversion is then not put in place.

`--to-neox` makes a save folder of a published or own model of those types, split as `launch.plan` wants it, from which
`launch.configs --recipe continued --from` goes on. Its weights come back bit for bit; `--check` reads them back at once. What
GPT-NeoX cannot hold (scaled rotary positions, other architectures) and folders that are not whole are refused by name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from haigo import cli, flags
from haigo.cli import HaigoError
from launch.neox.conversion.options import ConvertOptions


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.convert", __doc__, ConvertOptions, argv)
    from launch.neox.conversion import convert, to_neox  # late: the help needs none of it

    if options.to_neox:
        return _to_neox(to_neox, options)
    if options.out is None:
        if not options.check:
            raise HaigoError("no --out is given.", "add --out DIR, or --check to check the folder that is there", "out")
        told = convert.check_folder(options.checkpoint, options.log, options.samples)
        print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else _table(told))
        return cli.REFUSED if any(one["status"] == "fail" for one in told) else cli.OK
    made = convert.convert(options)
    if options.json:
        print(json.dumps(made, ensure_ascii=False, indent=2))
        return cli.OK
    what = f"step {made['step']}, {made['dtype']}, {made['model']['vocab_size']:,} rows"
    if options.dry_run:
        print(f"{options.out}: would be made of {made['checkpoint']}: {what}")
        return cli.OK
    print(_table(made["checks"]), file=sys.stderr)
    print(f"{options.out}: {what}")
    return cli.OK


def _to_neox(to_neox: Any, options: ConvertOptions) -> int:
    if options.out is None:
        raise HaigoError("no --out is given.", "add --out SAVE_FOLDER", "out")
    made = to_neox.convert(options)
    if options.json:
        print(json.dumps(made, ensure_ascii=False, indent=2))
        return cli.OK
    verb = "would be made of" if options.dry_run else "made of"
    print(
        f"{options.out}: {verb} {made['source']}: {made['architecture']}, {made['parameters']:,} weights, {made['dtype']}"
    )
    if not options.dry_run:
        model = f"{options.out}/{to_neox.TAG}/configs/{to_neox.MODEL}"
        print(f"go on with: python -m launch.configs --recipe continued --from {options.out} --model {model} ...")
    return cli.OK


def _table(found: Sequence[dict[str, str]]) -> str:
    return "\n".join(f"{one['status']:4} {one['name']}: {one['text']}" for one in found)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
