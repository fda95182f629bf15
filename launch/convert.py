"""A GPT-NeoX checkpoint as a Hugging Face folder with the right weights, ids and tokenizer; or a check of such a folder.

    python -m launch.convert CHECKPOINT --out DIR [--iteration N] [--config FILE...] [--tokenizer FOLDER]
           [--dtype auto|float32|bfloat16|float16] [--vocab keep|cut] [--log FILE | --check] [--force] [--dry-run] [--json]
    python -m launch.convert DIR --check [--log FILE]

CHECKPOINT is the save folder of a run (its `latest` is taken) or a global_stepN in it, of any tensor- and pipeline-parallel
size. GPT-NeoX itself is not needed. What its own converter gets wrong is right here: row-parallel biases of several tensor
ranks, ids, tokenizer files, precision. DIR appears whole or not at all.

`--log` proves the result: the cross entropy of the converted model on the samples of the step after the checkpoint (and of the
validation at the checkpoint, if there is one) must be what GPT-NeoX logged, to 5 digits in fp32. `--check` without a
log looks at names, shapes and values of the weights, ids and tokenizer, and measures the loss where the datasets are at
hand. Exit code 3 when something disagrees, when a log is given and no loss could be compared with it, or when tensor ranks ran
apart and no log proves the model; a conversion is then not put in place.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from haigo import cli, flags
from haigo.cli import HaigoError
from launch.neox.conversion.options import ConvertOptions


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.convert", __doc__, ConvertOptions, argv)
    from launch.neox.conversion import convert  # late: the help needs none of it

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


def _table(found: Sequence[dict[str, str]]) -> str:
    return "\n".join(f"{one['status']:4} {one['name']}: {one['text']}" for one in found)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
