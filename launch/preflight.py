"""Looks at a GPT-NeoX config, its data and its tokenizer before anything is started; also the linter of configs.

    python -m launch.preflight CONFIG.yml [MORE.yml ...] [-H hostfile] [--gpus N] [--here] [--json]

Each check has a name, what it found (with a number) and, where something is wrong, a fix. Takes seconds, needs no GPU and
no GPT-NeoX. Exit code 3 when a check fails; warnings alone do not stop anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from haigo import cli, flags
from haigo.options import Options, few, option
from launch.plan import preflight
from launch.plan.checks import machine
from neox_configs import phases


@dataclass(frozen=True, kw_only=True)
class PreflightOptions(Options):
    configs: list[str] = option("GPT-NeoX YAML files, as deepy.py gets them", positional=True, metavar="CONFIG")
    hostfile: str | None = option("hostfile that defines the GPUs", None, flags=("-H", "--hostfile"))
    gpus: int | None = few("number of GPUs, where no hostfile tells", None)
    base: str = option("folder that relative paths start from", ".")
    here: bool = option("the run starts here: check launcher, ssh, port, memory, disk too", False)
    json: bool = option("print the report as JSON", False)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.preflight", __doc__, PreflightOptions, argv)
    each = [[str(path) for path in paths] for paths in phases.expand(options.configs)]
    reports = [_report(options, paths) for paths in each]
    if len(each) > 1:  # the whole list is started, which finds the phase that is next
        for report in reports:
            report.checks[:] = [one for one in report.checks if (one.name, one.status) != ("phase", "warn")]
    checks = [asdict(check) for report in reports for check in report.checks]
    if options.json:
        print(json.dumps(checks, indent=2))
    else:
        for paths, report in zip(each, reports, strict=True):
            head = f"{', '.join(paths)}:\n" if len(each) > 1 else ""
            print(f"{head}{preflight.text(report)}")
    for report in reports:
        report.refuse(", ".join(options.configs))
    return None


def _report(options: PreflightOptions, paths: Sequence[str]) -> preflight.Report:
    """All checks of one config."""
    report = preflight.preflight(paths, options.hostfile, options.gpus, options.base)
    if options.here and not any(check.name in ("keys", "types") for check in report.failed):
        python = os.environ.get("GPT_NEOX_PYTHON")
        report.checks.extend(machine.checks(report.config, Path(options.base), options.hostfile, python=python))
    return report


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
