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

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, flags, redact
from haigo.cli import HaigoError, Refused
from haigo.options import Options, option
from launch.pipeline import first_run, run, runfile


@dataclass(frozen=True, kw_only=True)
class PipelineOptions(Options):
    runfile: Path = option("the run file, or `mini` for the sample world's", positional=True, metavar="RUN.yml")
    corpora: list[str] = option("with --init: the corpora to write into it", [], positional=True, metavar="NAME=FILE")
    init: bool = option("write a commented run file instead of running one", False)
    output_dir: str | None = option("the run folder, instead of the one the run file names", None, metavar="DIR")
    set: list[str] = option("change one key, e.g. train.tokens=1e6; repeatable", [], metavar="KEY=VALUE")
    dry_run: bool = option("show which stages would run, and run none", False)
    verify: bool = option("compute every digest of a finished run (its folder or run file) again", False)
    json: bool = option("print the result as JSON", False)


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.pipeline", __doc__, PipelineOptions, argv)
    if options.init:
        return first_run.init(options.runfile, options.corpora)
    if options.corpora:
        raise HaigoError(f"'{options.corpora[0]}' is one run file too many.", "NAME=FILE goes with --init only")
    if options.verify:
        return _verify(options)
    command = redact.command(["python", "-m", "launch.pipeline", *(sys.argv[1:] if argv is None else argv)])
    path = run.find(options.runfile)
    given = runfile.read(path, options.set, options.output_dir)
    summary = run.execute(given, path, dry_run=options.dry_run, command=command)
    if options.json:
        print(json.dumps(summary, ensure_ascii=False, indent=2))
    return cli.OK


def _verify(options: PipelineOptions) -> int:
    """Name what is not as the run left it."""
    from launch.pipeline.verify import verify

    path = run.find(options.runfile)
    if path.is_dir():
        changed = verify(path.absolute())
    else:
        given = runfile.read(path, options.set, options.output_dir)
        changed = verify(run.folder(given, path), given, path)
    if options.json:
        print(json.dumps({"changed": changed}, ensure_ascii=False, indent=2))
    if changed:
        for sentence in changed[1:]:
            print(sentence, file=sys.stderr)
        fix = "run `python -m launch.pipeline` with the run file again: what was changed is made anew"
        raise Refused(changed[0], fix)
    if not options.json:
        print(f"{path}: every file is as the run left it")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
