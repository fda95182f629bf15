"""The whole chain from one run file: raw corpora to cleaned documents, tokenizer, indexed datasets, proxy runs, mixture,
GPT-NeoX configs, trained models, scores and a report.

    python -m launch.pipeline examples/mini.yml
    python -m launch.pipeline --init my.yml news=news/*.jsonl.gz wiki=jawiki.xml.bz2
    python -m launch.pipeline --verify RUN

Stages whose inputs, options and files did not change, by their bytes, are skipped, others are redone, and after Ctrl-C or
kill -9 the same command goes on where it stopped. `--dry-run` shows what would be done. `--verify` computes every digest of a
finished run again, from the raw files to the report, names what is not as the run left it (exit code 3), and changes
nothing; RUN is the run folder or the run file. Keys of the run file: docs/runfile.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import haigo
from haigo import cli, digests, files, naming, redact, yamlfile
from haigo.cli import HaigoError, Refused
from haigo.progress import clock
from launch.chain import docs as runfile_docs
from launch.chain import runfile

_VERSIONS = ("numpy", "scipy", "pandas", "sentencepiece", "torch", "transformers", "lm-eval")


def main(argv: Sequence[str] | None = None) -> int:
    made = cli.parser("launch.pipeline", __doc__)
    made.add_argument("runfile", metavar="RUN.yml", help="the run file")
    made.add_argument("corpora", nargs="*", metavar="NAME=FILE", help="with --init: the corpora to write into it")
    made.add_argument("--init", action="store_true", help="write a commented run file instead of running one")
    made.add_argument("--output-dir", metavar="DIR", help="the run folder, instead of the one the run file names")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one key, e.g. train.tokens=1e6; repeatable",
    )
    made.add_argument("--dry-run", action="store_true", help="show which stages would run, and run none")
    made.add_argument(
        "--verify", action="store_true", help="compute every digest of a finished run (its folder or run file) again"
    )
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    args = made.parse_args(argv)
    if args.init:
        return _init(Path(args.runfile), args.corpora)
    if args.corpora:
        raise HaigoError(f"'{args.corpora[0]}' is one run file too many.", "NAME=FILE goes with --init only")
    if args.verify:
        return _verify(args)
    overrides = list(args.set)
    run = runfile.read(args.runfile, overrides)
    if args.output_dir:
        run = dataclasses.replace(run, output=args.output_dir)
    summary = execute(run, Path(args.runfile), dry_run=args.dry_run, command=_command(argv))
    if args.json:
        print(json.dumps(summary, ensure_ascii=False, indent=2))
    return cli.OK


def _verify(args: argparse.Namespace) -> int:
    """Name what is not as the run left it."""
    from launch.chain.verify import verify

    path = Path(args.runfile)
    if path.is_dir():
        found = verify(path.absolute())
    else:
        run = runfile.read(path, list(args.set))
        root = Path(args.output_dir or runfile_output(run, path)).absolute()
        found = verify(root, run, path)
    if args.json:
        print(json.dumps({"changed": found}, ensure_ascii=False, indent=2))
    if found:
        for sentence in found[1:]:
            print(sentence, file=sys.stderr)
        raise Refused(
            found[0], "run `python -m launch.pipeline` with the run file again: what was changed is made anew"
        )
    if not args.json:
        print(f"{path}: every file is as the run left it")
    return cli.OK


def execute(run: runfile.RunFile, path: Path, *, dry_run: bool = False, command: str = "") -> dict[str, object]:
    """Run every stage that has to be run.

    Args:
        run: the run file as read.
        path: where it was read from; relative input files are also looked for beside it.
        dry_run: only say what would be done.
        command: the command line, for the record.

    Returns:
        the summary that is also in `summary.json`: paths, weights, held-out metrics of every model, scores, seconds.
    """
    from launch.chain import stages as chain  # reaches every room, so it is imported when there is something to run
    from launch.chain.ledger import Ledger

    root = Path(runfile_output(run, path)).absolute()
    start = time.monotonic()
    if dry_run:
        states = chain.Chain(run, path, root, dry_run=True).dry_run()
        for state, name in states:
            print(f"  {name}: {state}")
        return {"stages": [{"stage": name, "state": state} for state, name in states]}
    ledger = Ledger(root)
    work = chain.Chain(run, path, root, ledger=ledger)
    work.check_output()
    with files.owner(root):
        files.remove_leftovers(root)
        ledger.begin()
        files.write_text(root / "command.txt", command + "\n")
        yamlfile.write(root / "run.yml", dataclasses.asdict(run), f"merged from {path}")
        files.write_json(root / "env.json", environment())
        summary = work.run()
    for big in digests.believed():
        print(f"  {big}: above 4 GiB, unchanged by inode, ctime and size (--verify reads it)", file=sys.stderr)
    print(
        f"\n{summary['headline']}\nreport: {root / 'report.html'} ({clock(time.monotonic() - start)})", file=sys.stderr
    )
    return summary


def runfile_output(run: runfile.RunFile, path: Path) -> str:
    """The run folder: variables filled in, relative to the working folder."""
    from launch.chain.inputs import expand

    return expand(run.output, {}, str(path))


def environment() -> dict[str, object]:
    """What a result may depend on beside its inputs: versions, machine, cores."""
    from haigo import pool

    def version(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "not installed"

    return {
        "haigo": haigo.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": pool.cores(),
        "packages": {name: version(name) for name in _VERSIONS},
    }


def _command(argv: Sequence[str] | None) -> str:
    words = sys.argv[1:] if argv is None else argv
    return redact.command(["python", "-m", "launch.pipeline", *words])


def _init(path: Path, given: Sequence[str]) -> int:
    """Write a run file for the corpora given as NAME=FILE or as files, whose names then name the corpora."""
    if path.exists():
        raise HaigoError(f"{path} exists already.", "choose another name, or delete it first")
    corpora: dict[str, list[str]] = {}
    for word in given or ["news=corpora/news/*.jsonl.gz", "wiki=corpora/jawiki-pages-articles.xml.bz2"]:
        name, equals, file = word.partition("=")
        if not equals:
            file, name = name, re.sub(r"[^A-Za-z0-9_-]", "_", Path(name).name.split(".")[0])
        if given and not any(mark in file for mark in "*?[$") and not os.path.exists(file):
            raise HaigoError(f"{file} does not exist.", "check the path")
        runfile.check_corpus(name, word)
        corpora.setdefault(name, []).append(file)
    naming.check_all(corpora, "corpus", "--init")
    files.write_text(path, runfile_docs.template(corpora))
    print(f"wrote {path}: look through it, then run `python -m launch.pipeline {path}`")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
