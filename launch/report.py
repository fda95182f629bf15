"""The run's page: `report.html` in a run folder, self-contained, opens offline.

    python -m launch.report RUN_FOLDER [--language ja]

Everything on it is read from the files that the stages left, which must be as they left them; nothing is computed anew but the
figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, files, flags
from haigo.cli import HaigoError
from haigo.options import Options, option
from launch.pipeline import runfile, verify
from launch.pipeline.ledger import Ledger
from launch.pipeline.page import drawn, report


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    folder: Path = option("a finished run folder", positional=True, metavar="RUN_FOLDER")
    language: str | None = option(
        "of the page; empty: the run file's", None, among=("en", "ja"), flags=("--language", "--lang")
    )


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.report", __doc__, ReportOptions, argv)
    folder = options.folder
    if not (folder / "summary.json").exists():
        raise HaigoError(f"{folder} is not a finished run folder.", "run `python -m launch.pipeline` to its end")
    files.check_output(folder, names=("report.html",))
    drawn.check(folder)
    verify.records(folder)
    page = report.write(folder, runfile.read(folder / "run.yml"), options.language)
    Ledger(folder).note_report()
    print(page)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
