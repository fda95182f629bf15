"""What DeepSpeed's launcher executes for a list of words: the local launcher, pdsh, mpirun or srun, argument by argument.

`executed` is `deepspeed.launcher.runner.main` of DeepSpeed 0.16.5 up to its Popen. GPT-NeoX's pin is DeeperSpeed, a fork
that differs in four points: it knows `--comment` and `--account`, writes srun's `--nodelist`, ignores `--exclude` there,
and puts every exported value between double quotes where DeepSpeed does so for odd characters only. Neither escapes
what is inside.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haigo import files, redact
from haigo.cli import HaigoError, Refused
from launch.neox import hostfile as hostfiles
from launch.neox import launch_command

FLAVOURS = ("deeperspeed", "deepspeed")
PREFIXES = ("MLFLOW", "PYTHON", "MV2", "UCX")
"""Environment variables that start so are handed to other nodes, and those of NCCL with CUDA."""
_NEBULA = [
    "DLTS_JOB_ID", "DLTS_NUM_WORKER", "NEBULA_PERSISTENT_STORAGE_PATH", "NEBULA_PERSISTENT_TIME_INTERVAL",
    "AML_RUN_ID", "AZUREML_RUN_TOKEN", "AZUREML_WORKSPACE_SCOPE", "AZUREML_EXPERIMENT_SCOPE",
    "AZUREML_RUN_HISTORY_SERVICE_ENDPOINT", "AZUREML_RUN_ID", "NEBULA_MEMORY_BUFFER_SIZE",
    "AZUREML_PARAMETER_ITPJOB_NAME", "FC_TASKROLE_NAME", "FC_TASK_INDEX", "MASTER_HOST", "LOCAL_HOST",
    "AZUREML_BLOB_ACCOUNT_NAME", "AZUREML_BLOB_ACCOUNT_KEY",
]  # fmt: skip
_OMPI = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
KEPT = "HAIGO_KEPT_"
"""Before a variable's name: the value that launch.slurm's script gives back to every task."""
_QUOTED = re.compile(r'["$`\\\n]|%[hnu]')
"""What a shell, or pdsh before it, reads between double quotes."""
_ESCAPED = re.compile(r'\\["$`\\]')
_UNESCAPED = re.compile(r'["$`\n]|\\$|%[hnu]')
_BARE = re.compile(r"""[\s"'$`\\;&|<>(){}*?\[\]#!^~]|%[hnu]""")
UNKNOWN = ("$GPT_NEOX_DIR", "$GPT_NEOX_PYTHON")
"""What stands for GPT-NeoX's checkout and interpreter where they are not known."""
_ODD = re.compile(r"[^\w@%+=:,./-]")


class NotShown(Refused):
    """DeepSpeed would start something, which is not built here."""


@dataclass(frozen=True)
class Executed:
    """What the launcher starts."""

    command: list[str]
    kind: str
    """`local`, `pdsh`, `openmpi` or `slurm`."""
    hosts: dict[str, list[int]]
    """Host -> GPU numbers, after the filters."""
    exports: dict[str, str]
    """Variables written into the command, as written (quotes included)."""
    unknown: list[str] = field(default_factory=list)
    traps: list[str] = field(default_factory=list)
    """Why this command will not do what was meant, a sentence each."""
    harm: list[str] = field(default_factory=list)
    """Those of them for which nothing may be started: a shell elsewhere would run or change what stands in a word."""
    safe: list[str] | None = None
    """The command with `***` for what is secret; None where nothing is."""

    def shown(self) -> list[str]:
        """The command with the values of secrets replaced by `***`."""
        return list(self.command if self.safe is None else self.safe)

    def hidden(self) -> list[str]:
        """Variables whose values are not shown, or not wholly."""
        return sorted(name for name, value in self.exports.items() if redact.value(name, value) != value)


def executed(
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    python: str,
    folder: str,
    flavour: str = "deeperspeed",
    accelerator_exports: Sequence[str] = ("NCCL",),
    device_count: int | None = None,
) -> Executed:
    """The command for `words` (what `launch_command.main_arguments` gave).

    Args:
        words: the launcher's arguments.
        environ: the environment of deepy.py.
        python: sys.executable of deepy.py.
        folder: its working directory.
        flavour: `deeperspeed` (GPT-NeoX's pin) or `deepspeed`.
        accelerator_exports: prefixes that the accelerator adds: NCCL on CUDA, none on CPU.
        device_count: GPUs of the launching machine, for a run without a hostfile.

    Raises:
        Refused: the launcher would end with an error.
        HaigoError: the hostfile cannot be read, or the number of GPUs is not known.
    """
    args = _parse(words, flavour)
    if args.autotuning:
        raise NotShown("with --autotuning DeepSpeed makes its own commands.", "leave --autotuning out of a dry run")
    unknown: list[str] = []
    pool = hostfiles.read(args.hostfile) if os.path.isfile(args.hostfile) else {}
    many = bool(pool)
    if (args.num_nodes >= 0 or args.num_gpus >= 0) and (args.include or args.exclude):
        raise Refused("num_nodes or num_gpus is given with include or exclude.", "give one of them")
    if many:
        hosts = hostfiles.select_as_deepspeed(pool, args.include, args.exclude, args.num_nodes, args.num_gpus)
    else:
        hosts, args.master_addr = _here(args, environ, device_count), "127.0.0.1"
    first, notes = next(iter(hosts)), []
    if not many and args.hostfile != launch_command.DEFAULT_HOSTFILE:
        notes.append(f"the hostfile {args.hostfile} does not exist, so that GPT-NeoX runs on this machine alone")
    lost = hostfiles.lost_by_deepspeed(args.include)
    if lost:
        notes.append(f"DeepSpeed 0.16.5 leaves out {', '.join(lost)}: included without GPU numbers")
    if not args.master_addr:
        args.master_addr = f"ADDRESS-OF-{first}"
        unknown.append(
            f"the address of {first}, which DeepSpeed asks it for by ssh (MASTER_ADDR or master_addr gives it)"
        )
    world = launch_command.encode(hosts)
    rest = [args.user_script, *args.user_args]
    if not (args.force_multi or len(hosts) > 1):
        if many and first not in ("localhost", "127.0.0.1", os.uname().nodename, environ.get("SLURMD_NODENAME")):
            notes.append(
                f"one host is left ({first}): DeepSpeed starts on the launching machine, unless force_multi: true"
            )
        command = [*_launch(python, world, args), *rest]
        return Executed(command, "local", hosts, {}, unknown, notes)
    if args.launcher == "slurm" and not args.no_ssh_check:
        notes.append(f"DeepSpeed tries `ssh {first} hostname` first, although srun needs no ssh; no_ssh_check: true")
    named, listed = _exports(environ, folder, accelerator_exports)
    exports = {"UCX_TLS": written("tcp", flavour)} if args.launcher == "openmpi" else {}
    exports |= {name: written(value, flavour) for name, value in named.items()}
    harm = _taken_apart(named, listed, [folder, *_launch(python, world, args), rest[0]], rest[1:])
    traps = harm if args.launcher == "pdsh" else _changed(named, environ, flavour, args.launcher)

    def built(variables: Mapping[str, str]) -> tuple[list[str], list[str]]:
        if args.launcher == "pdsh":
            return _pdsh(hosts, variables, folder, _launch(python, world, args, "%n"), rest), []
        if args.launcher == "openmpi":
            return _openmpi(args, pool, variables, environ, python, rest)
        if args.launcher == "slurm":
            return _slurm(args, pool, variables, flavour, python, rest)
        raise NotShown(f"launcher {args.launcher} is not built here.", "use pdsh, openmpi or slurm")

    command, more = built(exports)
    safe, _ = built({name: redact.value(name, value) for name, value in exports.items()})
    harm = harm if args.launcher == "pdsh" else []
    return Executed(command, args.launcher, hosts, exports, unknown, notes + traps + more, harm, safe)


def _here(args: argparse.Namespace, environ: Mapping[str, str], count: int | None) -> dict[str, list[int]]:
    """The GPUs of the launching machine, where no hostfile names any."""
    if args.num_nodes > 1:
        raise Refused(f"num_nodes is {args.num_nodes}, and there is no hostfile.", "give -H HOSTFILE")
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible and not (args.include or args.exclude or args.num_gpus > 0):
        if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", visible):
            raise Refused(f"CUDA_VISIBLE_DEVICES={visible[:60]} is not a list of numbers.", "write numbers: 0,1")
        if args.num_nodes >= 0:
            raise Refused("num_nodes is given, and CUDA_VISIBLE_DEVICES is set.", "unset one of them")
        return {"localhost": sorted({int(word) for word in visible.split(",")})}
    if count is None and args.num_gpus <= 0:
        raise HaigoError("the number of GPUs is not known.", "give -H HOSTFILE, or --gpus N")
    pool = {"localhost": count or args.num_gpus}
    return hostfiles.select_as_deepspeed(pool, args.include, args.exclude, args.num_nodes, args.num_gpus)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Refused(f"DeepSpeed's launcher would say: {message}.", "see the keys of the config that it comes from")


def _parse(words: Sequence[str], flavour: str) -> argparse.Namespace:
    parser = _Parser(add_help=False)
    parser.add_argument("--hostfile", default=launch_command.DEFAULT_HOSTFILE)
    for name in ("include", "exclude", "master_addr", "autotuning"):
        parser.add_argument(f"--{name}", default="")
    for name, default in (("num_nodes", -1), ("num_gpus", -1), ("master_port", 29500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--launcher", default="pdsh", type=str.lower)
    for name in ("force_multi", "no_ssh_check"):
        parser.add_argument(f"--{name}", action="store_true")
    if flavour == "deeperspeed":
        for name in ("comment", "account"):
            parser.add_argument(f"--{name}", default="")
    parser.add_argument("user_script")
    parser.add_argument("user_args", nargs=argparse.REMAINDER)
    return parser.parse_args(list(words))


def _launch(python: str, world: str, args: argparse.Namespace, rank: str | None = None) -> list[str]:
    words = [python, "-u", "-m", "deepspeed.launcher.launch", f"--world_info={world}"]
    words += [f"--node_rank={rank}"] if rank else []
    return [
        *words,
        f"--master_addr={args.master_addr}",
        f"--master_port={args.master_port}",
        "--enable_each_rank_log=None",
    ]


def written(value: str, flavour: str) -> str:
    """A value as the launcher writes it into a command: double quotes around it, and nothing inside is escaped."""
    value = value.strip()
    return f'"{value}"' if flavour == "deeperspeed" or _ODD.search(value) else value


def _exports(
    environ: Mapping[str, str], folder: str, accelerator: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that are handed on, and those of them that a `.deepspeed_env` gives, where a backslash may escape."""
    variables = dict(environ)
    variables["PYTHONPATH"] = f"{folder}:{variables['PYTHONPATH']}" if "PYTHONPATH" in variables else folder
    prefixes = (*PREFIXES, *_NEBULA, *accelerator, *(["WANDB_API_KEY"] if "WANDB_API_KEY" in variables else []))
    left_out = {"NCCL_IB_HCA", "UCX_NET_DEVICES"} if "AISC_JOB_NAME" in variables else set()
    named = {name: value for name, value in variables.items() if name.startswith(prefixes) and name not in left_out}
    listed = {}
    for place in (environ.get("HOME") or os.path.expanduser("~"), folder):
        file = Path(place) / environ.get("DS_ENV_FILE", ".deepspeed_env")
        if file.is_file():
            for line in files.read_text(file).splitlines():
                name, equals, value = line.partition("=")
                if not equals:
                    raise Refused(f"{file} has a line without `=`: {line[:40]!r}.", "keep only lines NAME=value")
                listed[name.strip()] = value
    return named | listed, listed


def _taken_apart(
    named: Mapping[str, str], listed: Mapping[str, str], bare: Sequence[str], quoted: Sequence[str]
) -> list[str]:
    """What pdsh and the shell of another node would not leave as it is, a sentence each. DeepSpeed escapes nothing.

    Args:
        named: variables, which it writes between double quotes.
        listed: those of them that stand in a `.deepspeed_env`.
        bare: words that it writes as they are.
        quoted: words that it writes between double quotes where they hold a blank.
    """
    values = {name: value.strip().removeprefix(UNKNOWN[0]) for name, value in named.items()}
    broken = [name for name, value in values.items() if "\n" in value]
    expanded = [
        name
        for name, value in values.items()
        if (_UNESCAPED.search(_ESCAPED.sub("", value)) if name in listed else _QUOTED.search(value))
    ]
    words = [word for word in bare if _BARE.search(word)]
    words += [word for word in quoted if (_QUOTED if " " in word else _BARE).search(word)]
    words = [redact.text(word) for word in words if word not in UNKNOWN]
    sentences = [f"{', '.join(broken)}: a line break cannot be handed on; unset it"] if broken else []
    if expanded:
        sentences.append(
            f"{', '.join(expanded)}: pdsh and the remote shell expand what stands between double quotes; escape it in a"
            " .deepspeed_env (launch.deepspeed_env), or unset it"
        )
    if words:
        sentences.append(
            f"{', '.join(map(repr, words))}: the remote shell would take it apart; use names without such signs"
        )
    return sentences


def _changed(named: Mapping[str, str], environ: Mapping[str, str], flavour: str, launcher: str) -> list[str]:
    """Which values do not arrive as they are: srun and mpirun keep the quotes."""
    harmless = {"PYTHONUNBUFFERED"}
    values = {name: value.strip() for name, value in named.items() if name not in harmless}
    broken = [name for name, value in values.items() if "\n" in value]
    traps = [f"{', '.join(broken)}: a line break cannot be handed on; unset it"] if broken else []
    kept = [
        name for name, value in values.items() if written(value, flavour) != value and f"{KEPT}{name}" not in environ
    ]
    if kept:
        traps.append(
            f"{', '.join(kept)}: {'srun' if launcher == 'slurm' else 'mpirun'} keeps the double quotes as part of the value"
            + ("; launch.slurm's script gives every task the value without them" if launcher == "slurm" else "")
        )
    cut = [name for name, value in values.items() if "," in value and written(value, flavour) == value]
    if cut and launcher == "slurm" and not all(f"{KEPT}{name}" in environ for name in cut):
        traps.append(f"{', '.join(cut)}: srun cuts the value at its first comma")
    return traps


def _pdsh(
    hosts: Mapping[str, object],
    exports: Mapping[str, str],
    folder: str,
    launch: Sequence[str],
    rest: Sequence[str],
) -> list[str]:
    assigned = "".join(f"export {name}={value}; " for name, value in exports.items())
    quoted = ['"{}"'.format(word.replace('"', '\\"')) if " " in word else word for word in rest[1:]]
    return ["pdsh", "-S", "-f", "1024", "-w", ",".join(hosts), assigned, f"cd {folder};", *launch, rest[0], *quoted]


def _openmpi(
    args: argparse.Namespace,
    pool: Mapping[str, int],
    exports: Mapping[str, str],
    environ: Mapping[str, str],
    python: str,
    rest: Sequence[str],
) -> tuple[list[str], list[str]]:
    if args.include or args.exclude or args.num_nodes != -1 or args.num_gpus != -1:
        raise Refused(
            "openmpi takes no include, exclude, num_nodes or num_gpus.", "write a hostfile with what is wanted"
        )
    traps = []
    if not set(_OMPI) <= set(environ):
        traps.append(f"DeepSpeed 0.16.5 ends with an error unless {', '.join(_OMPI)} are set; launch.deepy sets them")
    if not Path("/sys/class/net/eth0").exists():
        traps.append(
            "btl_tcp_if_include eth0 is fixed, and this machine has no eth0: the ranks would not find each other"
        )
    start = ["mpirun", "-n", str(sum(pool.values())), "-hostfile", args.hostfile]
    start += ["--mca", "btl", "^openib", "--mca", "btl_tcp_if_include", "eth0"]
    assigned = [word for name, value in exports.items() for word in ("-x", f"{name}={value}")]
    return [*start, *assigned, python, "-u", *rest], traps


def _slurm(
    args: argparse.Namespace,
    pool: Mapping[str, int],
    exports: Mapping[str, str],
    flavour: str,
    python: str,
    rest: Sequence[str],
) -> tuple[list[str], list[str]]:
    command, traps = ["srun", "-n", str(sum(pool.values()))], []
    if flavour == "deeperspeed":
        command += ["--comment", args.comment] if args.comment else []
        command += ["--account", args.account] if args.account else []
        if args.include:
            if "@" in args.include and ":" in args.include:
                raise Refused("Slurm allots whole nodes here.", "write include without GPU numbers")
            command += ["--nodelist", args.include.replace("@", ",")]
        if args.exclude:
            traps.append("exclude is not handed to srun")
    else:
        command += ["--include", args.include] if args.include else []
        command += ["--exclude", args.exclude] if args.exclude else []
    command += ["--nodes", str(args.num_nodes)] if args.num_nodes > 0 else []
    command += ["--gpus", str(args.num_gpus)] if args.num_gpus > 0 else []
    if args.include or args.exclude or args.num_nodes > 0 or args.num_gpus > 0:
        traps.append(f"srun -n {sum(pool.values())} counts the whole hostfile, whatever the filters leave")
    assigned = "".join(f",{name}={value}" for name, value in exports.items())
    return [*command, f"--export=ALL{assigned}", python, "-u", *rest], traps
