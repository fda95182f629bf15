"""GPT-NeoX's checkout and its interpreter: found, looked at, and the environment that deepy.py gets."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError

_PROBE = (
    "import importlib.util as u, json, sys; "
    "print(json.dumps([name for name in sys.argv[1:] if u.find_spec(name) is None]))"
)
_DEEPSPEED = (
    "import importlib.metadata as m, importlib.util as u, pathlib\n"
    "place = pathlib.Path(u.find_spec('deepspeed').submodule_search_locations[0]) / 'launcher' / 'runner.py'\n"
    "print('\"--comment\"' in place.read_text(errors='replace'))\n"
    "print(m.version('deepspeed'))\n"
)
_FLASH = (
    "import importlib.metadata as m, importlib.util as u, pathlib\n"
    "place = pathlib.Path(u.find_spec('flash_attn').submodule_search_locations[0])\n"
    "names = ('flash_attn_interface', 'flash_attn_triton')\n"
    "print(m.version('flash-attn'), *[name for name in names if not (place / f'{name}.py').is_file()])\n"
)
_NEEDED = ("torch", "deepspeed", "transformers", "sentencepiece", "yaml", "numpy")


def find() -> Path:
    """GPT-NeoX's checkout, from GPT_NEOX_DIR.

    Raises:
        HaigoError: the variable is not set, or there is no GPT-NeoX there.
    """
    named = os.environ.get("GPT_NEOX_DIR")
    if not named:
        raise HaigoError(
            "GPT_NEOX_DIR is not set, so that GPT-NeoX cannot be found.",
            "git clone https://github.com/EleutherAI/gpt-neox and export GPT_NEOX_DIR=/path/to/gpt-neox",
        )
    folder = Path(named).expanduser().resolve()
    for need in ("deepy.py", "train.py", "megatron"):
        if not (folder / need).exists():
            raise HaigoError(f"GPT_NEOX_DIR={named} has no {need}.", "name the root of a GPT-NeoX checkout")
    return folder


def interpreter(extra: Sequence[str] = ()) -> Path:
    """The Python of GPT-NeoX's environment, from GPT_NEOX_PYTHON.

    Args:
        extra: packages needed beyond GPT-NeoX's own.

    Raises:
        HaigoError: it is not there, or a package is missing in it.
    """
    named = os.environ.get("GPT_NEOX_PYTHON") or sys.executable
    # absolute but not resolved: a virtual environment's python is a link that must be called by its own name
    python = Path(os.path.abspath(Path(named).expanduser()))
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise HaigoError(f"GPT_NEOX_PYTHON={named} is not a program.", "name the bin/python of GPT-NeoX's environment")
    asked = subprocess.run(
        [str(python), "-c", _PROBE, *_NEEDED, *extra],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    if asked.returncode != 0:
        raise HaigoError(f"{python} does not start as a Python.", "name the bin/python of GPT-NeoX's environment")
    answer = files.parse_json((asked.stdout.strip().splitlines() or [""])[-1], f"what {python} answers", "name another")
    missing = answer if isinstance(answer, list) else []
    if missing:
        hint = "" if os.environ.get("GPT_NEOX_PYTHON") else ", or set GPT_NEOX_PYTHON to its bin/python"
        raise HaigoError(f"{python} has no package {missing[0]}.", f"install GPT-NeoX's requirements there{hint}")
    return python


def deepspeed(python: str) -> tuple[bool, str] | None:
    """Whether an interpreter's DeepSpeed is DeeperSpeed, GPT-NeoX's fork, and its version (empty where nothing tells it); asked
    without importing it. None where it cannot be looked at."""
    try:
        done = subprocess.run(
            [python, "-c", _DEEPSPEED], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    fork, *version = done.stdout.split() or [""]
    return (fork == "True", "".join(version[:1])) if fork else None


@dataclass(frozen=True)
class Flash:
    """flash-attn in an environment."""

    version: str
    missing: Sequence[str]
    """Modules of it that GPT-NeoX imports, and that this version has not."""


@functools.cache
def flash_attention(python: str) -> Flash | None:
    """What an interpreter has of flash-attn, asked without importing it; None where it has none, or cannot be looked at."""
    try:
        done = subprocess.run(
            [os.path.expanduser(python), "-c", _FLASH],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version, *missing = done.stdout.split() or [""]
    return Flash(version, missing) if done.returncode == 0 and version else None


def flash_requirements(root: Path | None) -> str:
    """The file of GPT-NeoX's checkout that pins flash-attn for it."""
    named = sorted((root / "requirements").glob("requirements-flash*.txt")) if root is not None else []
    return str(named[0]) if named else "requirements/requirements-flashattention.txt of GPT-NeoX"


def config_paths(names: Sequence[str], folder: str | None, root: Path | None) -> list[Path]:
    """The config files as absolute paths: deepy.py's rules (`-d`, `.yml` left out), from here or from the checkout.

    Raises:
        HaigoError: a file is in neither place.
    """
    paths = []
    for name in names:
        full = os.path.join(folder, name) if folder else name
        full = full if full.endswith((".yml", ".json")) else f"{full}.yml"
        here, there = Path(full).resolve(), ((root or Path()) / full).resolve()
        if not here.is_file() and not there.is_file():
            places = f", neither here nor in {root}" if root else ""
            raise HaigoError(f"{full} does not exist{places}.", "check the path")
        paths.append(here if here.is_file() else there)
    return paths


def environment(python: str, config: Mapping[str, Any], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that launch.deepy gives to deepy.py.

    PATH starts with the interpreter's folder, so that ninja and its like are found. With `launcher: openmpi` the three
    variables that DeepSpeed 0.16.5 insists on (as if deepy.py itself ran under mpirun) are set when they are not there.
    """
    environ = dict(os.environ if base is None else base)
    environ["PATH"] = f"{os.path.dirname(python)}{os.pathsep}{environ.get('PATH', '')}"
    environ.setdefault("PYTHONUNBUFFERED", "1")
    if str(config.get("launcher")).lower() == "openmpi":
        for name, value in (("LOCAL_RANK", "0"), ("RANK", "0"), ("SIZE", "1")):
            environ.setdefault(f"OMPI_COMM_WORLD_{name}", value)
    return environ
