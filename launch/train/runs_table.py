"""A table of training runs: which config runs where. YAML (`runs:` with a list) or CSV, the same columns.

name     unique; names the run's folder
config   the GPT-NeoX YAML; several with blanks between them (CSV) or as a list (YAML)
host     the one node it runs on (reached by GPT-NeoX's launcher), with `slots` GPUs; or
hostfile its nodes; without either it runs on this machine,
gpus     there on these cards only, such as 0,1
log      file for GPT-NeoX's output (default: in the run's folder)
options  more words for launch.deepy
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import files, naming, yamlfile
from haigo.cli import HaigoError, nearest
from haigo.formats import csvfile
from launch.neox import checkpoints
from launch.neox import hostfile as hostfiles
from neox_configs import phases, reader
from neox_configs.keys import SHIPPED

COLUMNS = ("name", "config", "host", "slots", "hostfile", "gpus", "log", "options")
_GPUS = re.compile(r"[0-9]{1,4}(,[0-9]{1,4})*")
HERE = "localhost"
STOP = "stop.asked"
"""A file beside the runs' folders: the watch is to end."""
FIRST_PORT = int(SHIPPED["master_port"].default)
_PLACE = "place.yml"


@dataclass(frozen=True)
class Entry:
    """One row."""

    name: str
    configs: list[Path]
    hosts: dict[str, int] = field(default_factory=dict)
    """Host -> GPUs; empty on this machine."""
    hostfile: Path | None = None
    gpus: str = ""
    log: Path | None = None
    options: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The place in words."""
        return ",".join(self.hosts) if self.hosts else HERE + (f" GPU {self.gpus}" if self.gpus else "")

    def meets(self, other: Entry) -> bool:
        """Whether both would use the same GPUs."""
        if bool(self.hosts) != bool(other.hosts):
            return False
        if self.hosts:
            return bool(set(map(str.lower, self.hosts)) & set(map(str.lower, other.hosts)))
        if not self.gpus or not other.gpus:
            return True
        return bool(set(self.gpus.split(",")) & set(other.gpus.split(",")))


def read(path: str | os.PathLike[str]) -> list[Entry]:
    """Read a table; relative paths in it start from its folder.

    Raises:
        HaigoError: it is missing, has an unknown column, or a row does not make sense.
    """
    source = Path(path)
    if not source.is_file():
        raise HaigoError(f"the table {path} does not exist.", "write one row a run: name, config, host")
    rows = _csv(source) if source.suffix.lower() == ".csv" else _yaml(source)
    entries = [_entry(row, f"{path} row {number}", source.parent) for number, row in enumerate(rows, start=1)]
    if not entries:
        raise HaigoError(f"the table {path} has no run.", "write one row a run: name, config, host")
    for number, entry in enumerate(entries):
        if entry.log:
            files.check_output(entry.log, [source, *(each for other in entries for each in other.configs)], grows=True)
        if entry.name in (other.name for other in entries[:number]):
            raise HaigoError(f"{path} has the run {entry.name} twice.", "give each run a name of its own")
    checkpoints.require_apart(
        [(entry.name, reader.load(phases.expand(entry.configs)[0])) for entry in entries], str(path)
    )
    naming.check_all([entry.name for entry in entries], "run", str(path), reserved=())
    return entries


def _csv(source: Path) -> list[dict[str, Any]]:
    (_, head), rows = csvfile.rows(source)
    if twice := next((name for name in head if head.count(name) > 1), None):
        raise HaigoError(f"{source} has the column '{twice}' twice.", "keep one of them")
    if long := next((line for line, cells in rows if len(cells) > len(head)), None):
        raise HaigoError(f"{source} line {long} has more cells than columns.", 'put cells with commas in "quotes"')
    return [{name: cell for name, cell in zip(head, cells, strict=False) if cell} for _, cells in rows]


def _yaml(source: Path) -> list[dict[str, Any]]:
    content = yamlfile.read(source)
    rows = content.get("runs") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HaigoError(f"{source} holds no list `runs`.", "write `runs:` and below it `- {name: a, config: a.yml}`")
    return rows


def _entry(row: Mapping[str, Any], where: str, base: Path) -> Entry:
    for column, cell in row.items():
        if column not in COLUMNS:
            near = nearest(str(column), COLUMNS)
            raise HaigoError(f"{where}: no column '{column}'.{near}", f"use {', '.join(COLUMNS)}")
        _check_cell(cell, column, where)
    row = {column: cell for column, cell in row.items() if cell is not None}
    name = str(row.get("name", ""))
    if wrong := naming.problem(name, reserved=(STOP,)):
        raise HaigoError(
            f"{where}: {name[:80]!r} is no name for a run: it {wrong}.", "use letters, digits, `.`, `-` and `_`"
        )
    options, configs = _list(row, "options", where), [(base / word).resolve() for word in _list(row, "config", where)]
    if not configs:
        raise HaigoError(f"{where}: no config is given.", "name a GPT-NeoX YAML")
    for config in configs:
        if not config.is_file():
            raise HaigoError(f"{where}: {config} does not exist.", "check the path (it starts from the table's folder)")
    if row.get("host") and row.get("hostfile"):
        raise HaigoError(f"{where}: host and hostfile are both given.", "give one of them")
    hosts: dict[str, int] = {}
    listed = None
    if row.get("hostfile"):
        listed = (base / str(row["hostfile"])).resolve()
        hosts = hostfiles.read(listed)
    elif row.get("host") and str(row["host"]) != HERE:
        slots = str(row.get("slots", ""))
        if re.fullmatch(r"[0-9]{1,9}", slots) is None or int(slots) < 1:
            raise HaigoError(f"{where}: host {row['host']} without its number of GPUs.", "give slots, such as 4")
        hosts = hostfiles.parse(f"{row['host']} slots={int(slots)}\n", where)
    gpus = str(row.get("gpus", "")).replace(" ", "")
    if gpus and (_GPUS.fullmatch(gpus) is None or hosts):
        raise HaigoError(f"{where}: gpus '{gpus}' is for runs on this machine, as numbers with commas.", "write 0,1")
    log = (base / str(row["log"])).resolve() if row.get("log") else None
    return Entry(name, configs, hosts, listed, gpus, log, options)


def _list(row: Mapping[str, Any], column: str, where: str) -> list[str]:
    given = row.get(column) or []
    if isinstance(given, list):
        return list(map(str, given))
    try:
        return shlex.split(str(given)) if column == "options" else str(given).split()
    except ValueError:
        raise HaigoError(f"{where}: the {column} have an open quote: {given}.", "close it") from None


def _check_cell(cell: Any, column: str, where: str) -> None:
    """YAML reads `no` as False and 1.10 as 1.1: a cell that is not text any more is told, and not taken for its text."""
    for each in cell if isinstance(cell, list) and column in ("config", "options") else [cell]:
        allowed = str | int | float if column == "options" else str | int
        if each is not None and (isinstance(each, bool) or not isinstance(each, allowed)):
            raise HaigoError(
                f"{where}: {column} is {each!r}, which is no text.", "put it in quotes, as it is to be read"
            )


def extra_keys(entry: Entry, number: int) -> dict[str, Any]:
    """Keys that the place asks for and the config does not give.

    Args:
        entry: the row.
        number: of the row, so that runs on one machine have ports of their own.
    """
    config = reader.load(phases.expand(entry.configs)[0])
    keys: dict[str, Any] = {}
    if config.get("master_port") is None:
        keys["master_port"] = FIRST_PORT + number
    if len(entry.hosts) == 1 and config.get("force_multi") is None:
        keys["force_multi"] = True  # DeepSpeed takes a hostfile with one host for this machine
    return keys


def gives_port(configs: Sequence[Path]) -> bool:
    """Whether the master port of these files is one that `command` gave the run, and nobody asked for."""
    return any(path.name == _PLACE and "master_port" in reader.load(path) for path in configs)


def command(entry: Entry, number: int, folder: Path, python: Sequence[str], write: bool = True) -> list[str]:
    """The words that start a run; what they need is written into its folder first.

    Args:
        entry: the row.
        number: of the row.
        folder: the run's own.
        python: the interpreter, with what stands before `-m`.
        write: False only names the files.
    """
    configs = list(entry.configs)
    keys = extra_keys(entry, number)
    if keys:
        place = folder / _PLACE
        if write:
            yamlfile.write(place, keys, "what the run's place asks for")
        configs.append(place)
    words = [*python, "-m", "launch.deepy", "train.py", *map(str, configs)]
    if entry.hosts:
        listed = folder / "hostfile"
        if write:
            hostfiles.write(listed, entry.hosts)
        words += ["--hostfile", str(listed)]
    return [*words, "--log", str(entry.log or folder / "output.log"), *entry.options]
