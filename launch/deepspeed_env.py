"""A `.deepspeed_env` file: variables that DeepSpeed's launcher hands to the other nodes besides those it hands anyway.

    python -m launch.deepspeed_env OUTPUT --names HF_HOME,OMP_NUM_THREADS [--prefixes FI_,GLOO_] [--launcher pdsh]

Only names asked for are taken, from this environment. DeepSpeed reads the file from the home folder and from the folder
where deepy.py runs, puts each value between double quotes and escapes nothing: with pdsh what a shell would expand is
escaped here, with mpirun and srun a value that would change on the way is refused. Names that look like secrets, and
addresses with a password, are left out and named, unless --secrets asks for them; the file is then readable by its owner only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, files, flags, redact
from haigo.cli import HaigoError, Refused, nearest
from haigo.options import Options, option
from launch.neox.launcher import FLAVOURS, written

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LAUNCHERS = ("pdsh", "openmpi", "slurm")


@dataclass(frozen=True)
class Chosen:
    """What goes into the file and what does not."""

    values: dict[str, str]
    secrets: list[str]
    """Names left out because they look like secrets."""


def choose(
    environ: Mapping[str, str], names: Sequence[str], prefixes: Sequence[str] = (), secrets: bool = False
) -> Chosen:
    """Variables of the environment by name and by prefix.

    Args:
        environ: where the values are.
        names: must be there.
        prefixes: every variable that starts so; none is fine.
        secrets: also take those that look like secrets.

    Raises:
        HaigoError: a name that is not set, or is no name of a variable.
    """
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise HaigoError(f"{name!r} is not a variable's name.", "give names, with commas between them")
        if name not in environ:
            raise HaigoError(f"{name} is not set.{nearest(name, environ)}", "export it first, or leave it out")
    if any(not prefix for prefix in prefixes):
        raise HaigoError("an empty prefix would take everything.", "name the prefixes")
    wanted = {*names, *(name for name in environ if prefixes and name.startswith(tuple(prefixes)))}
    wanted = {name for name in wanted if _NAME.fullmatch(name)}
    hidden = [] if secrets else sorted(name for name in wanted if redact.value(name, environ[name]) != environ[name])
    return Chosen({name: environ[name] for name in sorted(wanted) if name not in hidden}, hidden)


def text(values: Mapping[str, str], launcher: str = "pdsh", flavour: str = "deeperspeed") -> str:
    """The file, so that every value arrives as it is.

    Args:
        values: name -> value.
        launcher: `pdsh`, `openmpi` or `slurm`.
        flavour: `deeperspeed` or `deepspeed`.

    Raises:
        Refused: a value that cannot survive this way.
    """
    lines = []
    for name, value in values.items():
        if _NAME.fullmatch(name) is None:
            raise Refused(f"{name!r} is not a variable's name.", "leave it out")
        if "\n" in value or "\r" in value or "\0" in value or value != value.strip():
            raise Refused(
                f"{name} has a line break, or blanks around it, which DeepSpeed cannot hand on.", f"unset {name}"
            )
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Refused(f"{name} holds bytes that are not UTF-8, which DeepSpeed cannot hand on.", f"unset {name}")
        if launcher == "pdsh":
            escaped = re.sub(r'(["$`\\])', r"\\\1", value)
            # pdsh itself replaces %h, %n, %u in a command before the shell sees it
            if "%" in value:
                raise Refused(f"{name} has a %, which pdsh replaces.", f"leave {name} out, or set it on the nodes")
            # without an odd character DeepSpeed writes no quotes, and none are needed
            lines.append(f"{name}={escaped}")
            continue
        if written(value, flavour) != value or (launcher == "slurm" and "," in value):
            raise Refused(
                f"{name} would arrive with quotes around it, or cut at a comma, through {launcher}.",
                "srun hands on the whole environment anyway: leave it out" if launcher == "slurm" else "use pdsh",
            )
        lines.append(f"{name}={value}")
    return "".join(f"{line}\n" for line in lines)


def write(path: str | os.PathLike[str], content: str) -> None:
    """Write the file, atomically and for its owner only."""
    before = os.umask(0o077)
    try:
        files.write_text(path, content)
    finally:
        os.umask(before)
    Path(path).chmod(0o600)


@dataclass(frozen=True, kw_only=True)
class EnvOptions(Options):
    """What `launch.deepspeed_env` writes."""

    output: str = option(
        "the file to write: ~/.deepspeed_env, or .deepspeed_env in GPT-NeoX's checkout", positional=True
    )
    names: str = option("variables, with commas between them", "")
    prefixes: str = option("beginnings of names, with commas between them", "")
    launcher: str = option("how the nodes are reached", "pdsh", among=LAUNCHERS)
    deepspeed: str = option("GPT-NeoX's pinned fork, or DeepSpeed itself", "deeperspeed", among=FLAVOURS)
    secrets: bool = option("also write names that look like secrets", False)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.deepspeed_env", __doc__, EnvOptions, argv)
    files.check_output(options.output)
    names, prefixes = ([word for word in text.split(",") if word] for text in (options.names, options.prefixes))
    chosen = choose(os.environ, names, prefixes, options.secrets)
    if chosen.secrets:
        print(
            f"haigo: left out, they look like secrets: {', '.join(chosen.secrets)} (--secrets writes them)",
            file=sys.stderr,
        )
    if not chosen.values:
        raise HaigoError("nothing to write.", "give --names or --prefixes")
    write(options.output, text(chosen.values, options.launcher, options.deepspeed))
    print(f"wrote {options.output}: {', '.join(chosen.values)}")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
