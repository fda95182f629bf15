"""Checkpoints: everything the next step depends on, in one file that is whole or not there.

`run.json` holds what the run is made from (settings, digests of the data, budget); a checkpoint, or a finished result,
is only ever used for exactly that.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import files
from haigo.cli import HaigoError, Refused
from haigo.pickles import refusal

if TYPE_CHECKING:
    import torch

NAME = "checkpoint.pt"
IDENTITY = "run.json"


def save(
    folder: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, extra: Mapping[str, Any]
) -> None:
    """Write the state after `step` steps, atomically; the one before stays until then.

    Args:
        extra: plain numbers, strings and lists to keep with it.
    """
    import torch

    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "extra": dict(extra),
    }
    with files.atomic(folder / NAME) as temporary:
        torch.save(state, temporary)


def load(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]] | None:
    """Put the last checkpoint's state into model and optimizer.

    Returns:
        (steps done, extra), or None when there is no checkpoint.

    Raises:
        HaigoError: the file is damaged.
    """
    import torch

    path = folder / NAME
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
    except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise refusal(path, error) or HaigoError(
            f"{path} is damaged ({type(error).__name__}).", "delete it: the run then starts anew"
        ) from None
    return int(state["step"]), dict(state["extra"])


def remove(folder: Path) -> None:
    """Delete the checkpoint, if there is one."""
    files.remove(folder / NAME)


def own(folder: Path) -> None:
    """See that a run may write to `folder`; what an earlier version, which kept no journal, left of one is taken over.

    Raises:
        Refused: a file of this name is there that no run wrote, or a model.
    """
    names = [IDENTITY, NAME, "log.jsonl", "result.json"]
    if (
        not files.ours(folder)
        and (folder / IDENTITY).is_file()
        and isinstance(read(folder / IDENTITY).get("identity"), dict)
    ):
        files.adopt(folder / name for name in names)
        if (folder / "result.json").is_file():
            files.adopt((folder / "model").glob("*"))
    files.check_output(folder, names=names)
    if not files.ours(folder / "model"):
        raise Refused(f"{folder / 'model'} holds files, and Haigo did not make them.", "take another --output-dir")


def claim(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Make `folder` the place of this run, or find that it already is. A run that got nowhere (no checkpoint, no
    result) holds no place.

    Args:
        identity: what the run is made from; a flat dict of plain values.

    Returns:
        What `run.json` holds besides the identity (empty for a new run).

    Raises:
        Refused: the folder holds another run; the keys that differ are named.
    """
    path = folder / IDENTITY
    plain = _plain(identity)
    content = read(path) if path.is_file() else {}
    if not content or not any((folder / name).is_file() for name in ("result.json", NAME)):
        if content.get("identity") != plain:
            content = {"identity": plain}
            files.write_json(path, content)
        return {key: value for key, value in content.items() if key != "identity"}
    before = content.get("identity", {})
    changed = sorted(key for key in {*before, *plain} if before.get(key) != plain.get(key))
    if changed:
        told = ", ".join(f"{key} ({_short(before.get(key))} -> {_short(plain.get(key))})" for key in changed[:6])
        more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
        raise Refused(
            f"{folder} holds another run, which differs in {told}{more}.",
            "take another --output-dir, or add --overwrite to start anew there",
        )
    return {key: value for key, value in content.items() if key != "identity"}


def same(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether `folder` is the place of exactly this run."""
    path = folder / IDENTITY
    return path.is_file() and read(path).get("identity") == _plain(identity)


def note(folder: Path, **facts: Any) -> None:
    """Keep more facts beside the identity."""
    content = read(folder / IDENTITY)
    files.write_json(folder / IDENTITY, {**content, **facts})


def read(path: Path) -> dict[str, Any]:
    """What a run's run.json or result.json holds.

    Raises:
        HaigoError: a failing disk, or somebody's editor, left something else there.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise HaigoError(f"{path} is damaged.", f"delete {path.parent}: the run is then trained anew")
    return content


def clear(folder: Path) -> None:
    """Forget the run in `folder`: identity, checkpoint, result and log."""
    for name in ("result.json", NAME, IDENTITY, "log.jsonl"):
        files.remove(folder / name)


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(identity)))  # tuples become lists, as they come back from disk


def _short(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    return text if len(text) <= 24 else text[:12] + "..."
