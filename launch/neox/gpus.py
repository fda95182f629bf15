"""GPUs: how many a text names (Slurm's `4`, `a100:4`, `gpu:a100:4`; lists of devices, `0-3,5`, UUIDs, MIG parts), and what
`nvidia-smi` says of this machine's.

Nothing is guessed: what is no number of whole GPUs of one kind is refused, with the variable's name.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Mapping

from haigo.cli import HaigoError, Refused

MOST = 1024
"""GPUs of one machine; a number above it is a slip."""
_NUMBER = re.compile(r"[0-9]{1,9}")
_NOTE = re.compile(r"\((?:S|IDX):[^)]*\)")  # which sockets or numbers: `gpu:a100:4(IDX:0-3)`
_PART = re.compile(r"(?:(?:gres[:/])?gpu[:=])?(?:(?P<kind>(?=[^:=]*[A-Za-z])\w[\w.-]*)[:=])?(?P<count>[0-9]+)", re.A)
_SHARED = re.compile(r"(?:^|[/:=])(shard|mps)(?:[:=]|$)", re.I)  # what Slurm gives of a GPU that others use too
_MIG = re.compile(r"(?:^|[_-])[0-9]+g\.[0-9]+gb", re.I)
_FIX = "give --gpus-per-node N"


def number(name: str, text: str) -> int:
    """A number of GPUs as Slurm's options write it.

    Args:
        name: the variable, for messages.
        text: `4`, `a100:4`, `gpu:4`, `gpu:a100:4` or `gres/gpu:a100=4`.

    Raises:
        HaigoError: it has another form, or is no sensible number.
        Refused: it names several kinds of GPU, parts of GPUs (MIG) or shares of them (shard, mps).
    """
    parts = [part.strip() for part in _NOTE.sub("", text).split(",")]
    refuse_shares(name, text)
    matches = [_PART.fullmatch(part) for part in parts]
    if not all(matches):
        raise HaigoError(f"{name}={text[:60]} is not a number of GPUs.", _FIX)
    if len(parts) > 1:
        raise Refused(
            f"{name}={text[:60]} names {len(parts)} kinds of GPU, and a run is as slow as the slowest of them.",
            "ask Slurm for one kind, or give --gpus-per-node N to take N of them all the same",
        )
    (match,) = matches
    assert match is not None
    _refuse_parts(name, text, [match["kind"] or ""])
    if len(match["count"]) > 9 or not 1 <= int(match["count"]) <= MOST:
        raise HaigoError(f"{name}={text[:60]} is not a number of GPUs from 1 to {MOST:,}.", _FIX)
    return int(match["count"])


def of_tres(name: str, text: str) -> int | None:
    """The GPUs in a list of trackable resources (`cpu:4,gres/gpu:a100:2`); None when it has none.

    Raises:
        HaigoError, Refused: as `number`.
    """
    parts = [part.strip() for part in _NOTE.sub("", text).split(",")]
    refuse_shares(name, text)
    ours = [part for part in parts if re.match(r"(gres[:/])?gpu\b", part)]
    return number(name, ",".join(ours)) if ours else None


def devices(name: str, text: str, ranges: bool = True) -> list[str]:
    """The devices of a list, each once.

    Args:
        name: the variable, for messages.
        text: `0,1,2`, `0-3,5` or UUIDs (`GPU-6e1f...`).
        ranges: whether `0-3` stands for four; CUDA itself knows no ranges.

    Raises:
        HaigoError: something else, or a device twice.
        Refused: parts of GPUs (MIG).
    """
    named: list[str] = []
    for part in (word.strip() for word in text.split(",")):
        _refuse_parts(name, text, [part])
        span = re.fullmatch(r"([0-9]{1,4})-([0-9]{1,4})", part) if ranges else None
        if span and int(span[1]) <= int(span[2]) < MOST:
            named += map(str, range(int(span[1]), int(span[2]) + 1))
        elif _NUMBER.fullmatch(part) or re.fullmatch(r"GPU-[0-9A-Fa-f-]+", part):
            named.append(part)
        else:
            raise HaigoError(f"{name}={text[:60]} is not a list of GPUs.", _FIX)
    if len(set(named)) < len(named):
        raise HaigoError(f"{name}={text[:60]} names a GPU twice.", _FIX)
    return named


def visible(environ: Mapping[str, str]) -> list[str] | None:
    """The devices that CUDA_VISIBLE_DEVICES leaves; None where it is not set, empty where it hides all.

    Raises:
        HaigoError, Refused: as `devices`.
    """
    text = environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    if text.strip() in ("", "-1", "NoDevFiles"):
        return []
    return devices("CUDA_VISIBLE_DEVICES", text, ranges=False)


def numbers(environ: Mapping[str, str]) -> list[int]:
    """Numbers of the GPUs of this machine that a process may use.

    Raises:
        HaigoError: CUDA_VISIBLE_DEVICES names them in another way than by number.
    """
    named = visible(environ)
    if named is None:
        return list(range(sum(line.startswith("GPU ") for line in _nvidia_smi("-L"))))
    if other := [word for word in named if not word.isdigit()]:
        raise HaigoError(
            f"CUDA_VISIBLE_DEVICES names {other[0]}: jobs are given their GPUs by number.", "write numbers: 0,1"
        )
    return [int(word) for word in named]


def card_bytes() -> int | None:
    """Memory of this machine's first GPU; None where there is none."""
    return next(iter(_memory("total")), None)


def free_bytes(environ: Mapping[str, str]) -> list[int]:
    """Free memory of each CUDA device that a process may use, asked of nvidia-smi: torch would hold a context on each to say
    it. Empty where there is no answer."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    return _memory("free", *([] if chosen is None else [f"--id={chosen.replace(' ', '')}"]))


def _memory(kind: str, *options: str) -> list[int]:
    with contextlib.suppress(ValueError):
        lines = _nvidia_smi(f"--query-gpu=memory.{kind}", "--format=csv,noheader,nounits", *options)
        return [int(line) << 20 for line in lines]
    return []


def _nvidia_smi(*options: str) -> list[str]:
    """The lines that it prints; none where it is not there or fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        argv = ["nvidia-smi", *options]
        return subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=30, check=True
        ).stdout.splitlines()
    return []


def refuse_shares(name: str, text: str) -> None:
    """See that a text names no shares of GPUs: `shard:4` and `mps:100` are numbers of those, not of GPUs.

    Raises:
        Refused: it does.
    """
    if any(_SHARED.search(part.strip()) for part in text.split(",")):
        raise Refused(
            f"{name}={text[:60]} is a number of shares (shard, mps) of GPUs that others use too.",
            "ask for whole GPUs, or give --gpus-per-node N to go on all the same",
        )


def _refuse_parts(name: str, text: str, words: list[str]) -> None:
    if any(word.upper().startswith("MIG-") or _MIG.search(word) for word in words):
        raise Refused(
            f"{name}={text[:60]} names parts of GPUs (MIG), which NCCL cannot train across.",
            "ask for whole GPUs, or give --gpus-per-node N to go on all the same",
        )
