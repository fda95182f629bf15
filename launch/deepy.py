"""GPT-NeoX's deepy.py with the same words, checked beforehand and judged afterwards.

    python -m launch.deepy [--dry-run [--json]] [-d CONFDIR] train.py a.yml [b.yml ...] [-H hostfile]

`--dry-run` prints what would be run, down to the pdsh, mpirun or srun line and both configs in clear, and starts nothing; it
needs no GPT-NeoX. All else needs `GPT_NEOX_DIR` (a GPT-NeoX checkout) and `GPT_NEOX_PYTHON` (the interpreter of its
environment; Haigo's own when it is not set). The configs are checked as by `launch.preflight --here` first. GPT-NeoX then
runs from its checkout in a session of its own, so that Ctrl-C and SIGTERM reach every rank, and its exit code is handed on.
Because GPT-NeoX also ends with 0 after a loss of NaN or a killed launcher, a training run that says 0 is judged by its log
and by the last checkpoint too: exit code 4 when they say otherwise. train.py is supervised: a line shows where it stands,
crashes and hangs are started again from the last whole checkpoint, a finished run is not (docs/guide-supervise.md;
`--no-supervise` runs it once, as it is). A list of phases (`launch.configs` with a mixture that has some) is trained one after
the other; the same command finds the phase that is next.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from haigo import cli, files, flags
from haigo.cli import HaigoError
from launch.neox import checkout
from launch.train.options import DeepyOptions
from launch.train.phases import train


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.deepy", __doc__, DeepyOptions, argv)
    if options.json and not options.dry_run:
        raise HaigoError("--json is for --dry-run.", "leave it out", option="json")
    root = checkout.find() if os.environ.get("GPT_NEOX_DIR") or not options.dry_run else None
    configs = checkout.config_paths(options.conf_file, options.conf_dir, root)
    if options.log:
        files.check_output(options.log, [*configs, options.hostfile], grows=True)
    if root is not None and not (root / options.user_script).is_file():
        raise HaigoError(f"{root} has no {options.user_script}.", "name a script of GPT-NeoX, such as train.py")
    return train(options, root, configs)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
