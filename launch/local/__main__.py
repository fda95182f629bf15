"""Trains one small model on this machine as GPT-NeoX would, from the same config.

    python -m launch.local CONFIG.yml [MORE.yml] --output-dir DIR [--tokenizer FOLDER] [--tokens N | --seconds S]
           [--eval-every STEPS] [--eval-tokens N] [--pairs NAME=FILE]... [--seed N] [--precision fp32]
           [--init-from HF_FOLDER]

Sample order, schedule, initialisation, optimizer and model are GPT-NeoX's; a key of the config that this engine cannot
honour is refused by name. DIR gets log.jsonl (the learning curve), model/ (a Hugging Face folder with the tokenizer)
and, last, result.json (bits per byte of every validation set). Ctrl-C or kill -9, then the same command: the run goes
on from its last checkpoint and ends with the same bytes. `--seconds` counts the final evaluation too.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from haigo import cli, files, naming
from haigo.cli import HaigoError


def named(words: Sequence[str], flag: str) -> dict[str, str]:
    """`NAME=FILE` words as a dict.

    Raises:
        HaigoError: a word of another form, or a name given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, mark, path = word.partition("=")
        if not mark or not name or not path or name in found:
            raise HaigoError(f"{flag} {word}: not NAME=FILE, or a name given twice.", f"write {flag} qa=qa.jsonl")
        found[name] = path
    return found


def pairs_files(words: Sequence[str]) -> dict[str, str]:
    """`--pairs NAME=FILE` words as a dict; each name becomes a metric, `NAME_bpb`.

    Raises:
        HaigoError: as `named`, or a name that cannot be one.
    """
    found = named(words, "--pairs")
    naming.check_all(found, "pairs file", "--pairs")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("launch.local", __doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG.yml", help="GPT-NeoX configs, as deepy.py takes them")
    parser.add_argument("--output-dir", "--output_dir", required=True, help="the run's own folder")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="tokenizer folder (default: the config's vocab_file)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=count, help="train on so many tokens instead of train_iters steps")
    budget.add_argument("--seconds", type=float, help="train for about so long instead of train_iters steps")
    parser.add_argument("--eval-every", "--eval_every", type=int, metavar="STEPS", help="evaluate on the way too")
    parser.add_argument(
        "--eval-tokens", "--eval_tokens", type=count, default=65536, help="a corpus (default 65536; 0: all)"
    )
    parser.add_argument("--pairs", action="append", default=[], metavar="NAME=FILE", help="jsonl of context and target")
    parser.add_argument("--test", action="store_true", help="score the config's test_data_paths at the end too")
    parser.add_argument(
        "--test-tokens", "--test_tokens", type=count, help="a corpus (default: as --eval-tokens; 0: all)"
    )
    parser.add_argument("--seed", type=int, help="instead of the config's")
    parser.add_argument("--precision", help="fp32: train a half-precision config in fp32; on CUDA also bfloat16")
    parser.add_argument("--device", default="auto", help="auto (CUDA where there is a device), cpu, cuda or cuda:N")
    parser.add_argument("--init-from", "--init_from", metavar="FOLDER", help="start from these Hugging Face weights")
    parser.add_argument("--threads", type=cli.few, default=1, help="threads of matrix products (default 1)")
    parser.add_argument("--no-export", "--no_export", action="store_true", help="do not write DIR/model")
    parser.add_argument("--overwrite", action="store_true", help="forget the run that DIR holds")
    parser.add_argument("--json", action="store_true", help="print result.json")
    args = parser.parse_args(argv)
    from neox_configs import reader, shipped

    config = reader.load(shipped.files(args.configs))
    pairs = pairs_files(args.pairs)
    files.check_output(args.output_dir, [*args.configs, args.tokenizer, args.init_from, *pairs.values()])
    from launch.local.job import named_sets
    from launch.local.train import train

    result = train(
        config,
        args.output_dir,
        tokenizer=args.tokenizer,
        tokens=args.tokens,
        seconds=args.seconds,
        pairs=pairs,
        eval_every=args.eval_every,
        eval_tokens=args.eval_tokens or None,
        test_tokens=sys.maxsize if args.test_tokens == 0 else args.test_tokens,
        test=named_sets(config.get("test_data_paths") or []) if args.test else None,
        export=not args.no_export,
        seed=args.seed,
        precision_override=args.precision,
        init_from=args.init_from,
        device=args.device,
        threads=args.threads,
        overwrite=args.overwrite,
    )
    if args.json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return cli.OK
    print(f"{result['tokens']:,} tokens in {result['steps']:,} steps, loss {result['loss']:.4f} nats")
    for kind, title in (("metrics", ""), ("metrics_test", " (test)")):
        for name, value in result.get(kind, {}).items():
            print(f"  {name}{title} {value:.4f}")
    print(f"{Path(args.output_dir) / 'result.json'}")
    return cli.OK


def count(word: str) -> int:
    """`200000`, `200_000` or `2e5`."""
    number = float(word)
    if not 0 <= number < math.inf or number != int(number):
        raise ValueError(word)
    return int(number)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
