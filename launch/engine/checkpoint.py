"""Checkpoints: everything the next step depends on, in one file that is whole or not there.

`run.json` holds what the run is made from (settings, digests of the data, budget), the digest of its checkpoint and, once the
run is finished, those of what it left; a checkpoint, or a finished result, is only ever used for exactly that and with those
bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import digests, files, sealed
from haigo.cli import HaigoError, Refused
from haigo.pickles import refusal

if TYPE_CHECKING:
    import torch

NAME = "checkpoint.pt"
IDENTITY = "run.json"
RESULT = "result.json"
_SHOWN = 6
_MARK = {"sha256": str, "size": int}
_LIKE: dict[str, dict[str, Any]] = {
    IDENTITY: {"identity?": {}, "outputs?": {str: _MARK}, "checkpoint?": {"sha256": [str], "size": int}},
    RESULT: {
        "tokens": int,
        "steps": int,
        "loss": float,
        "seed": int,
        "seconds": float,
        "metrics": {str: float},
        "metrics_test?": {str: float},
        "epochs_matched?": ({"target_tokens?": (float, None)}, None),
    },
}


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
        try:
            torch.save(state, temporary)
        except RuntimeError as error:
            if "inline_container" not in str(error):  # torch's own words for what the disk did not take
                raise
            raise HaigoError(
                f"{folder / NAME} could not be written whole.",
                "look at its disk (space, quota, ulimit -f), and run the same command again",
            ) from None
        before = _content(folder).get("checkpoint") or {"sha256": []}
        # noted before it is put in place: after a kill between the two the one before is still known
        sums = [files.sha256_file(temporary), *before["sha256"][:1]]
        note(folder, checkpoint={"sha256": sums, "size": os.path.getsize(temporary)})


def load(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]] | None:
    """Put the last checkpoint's state into model and optimizer.

    Returns:
        (steps done, extra), or None when there is no checkpoint, or none with the bytes that were written (which is said).

    Raises:
        HaigoError: the file is cut short or cannot be read: the disk is at fault, and would be again.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    if not _whole(path, _content(folder).get("checkpoint")):
        _tell(f"{path} was changed since it was written: the training starts anew")
        remove(folder)
        return None
    return _state(path, model, optimizer)


def load_of(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
    """As `load`, from another run, which stays as it is.

    Raises:
        HaigoError: it has no checkpoint with the bytes that were written.
    """
    path = folder / NAME
    if not path.is_file():
        raise HaigoError(
            f"{folder} holds no {NAME}.",
            "train it up to there with --no-export, which keeps it",
            option="continue_from",
        )
    if not _whole(path, _content(folder).get("checkpoint")):
        raise HaigoError(f"{path} was changed since it was written.", "train that run again", option="continue_from")
    return _state(path, model, optimizer)


def _state(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
    import torch

    try:
        # not to the card it was saved from: another worker, on another one, may go on with it
        state = torch.load(path, weights_only=True, map_location="cpu")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        step, extra = int(state["step"]), dict(state["extra"])
    except MemoryError:
        raise
    except Exception as error:  # every way of being damaged has an error of its own
        raise refusal(path, error) or _damaged(path, type(error).__name__) from None
    return step, extra


def _whole(path: Path, noted: Mapping[str, Any] | None) -> bool:
    """Whether a checkpoint has the bytes that were written; one of the first edition goes by the sums in its own archive."""
    if noted is not None:
        if files.sha256_file(path) in noted["sha256"]:
            return True
        if path.stat().st_size < noted["size"]:
            raise _damaged(path, "cut short")
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception as error:  # zipfile's and zlib's are of many kinds
        raise _damaged(path, type(error).__name__) from None


def _damaged(path: Path, why: str) -> HaigoError:
    return HaigoError(f"{path} is damaged ({why}).", "delete it: the run then starts anew")


def remove(folder: Path) -> None:
    """Delete the checkpoint, if there is one."""
    files.remove(folder / NAME)


def tidy(folder: Path) -> None:
    """Delete the checkpoint that a run, killed just after its end, left beside what it is finished with."""
    if files.made(folder / NAME):
        with contextlib.suppress(OSError):  # a folder that is only read
            remove(folder)


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
    files.check_output(folder, names=names, trees=[folder / "model"])
    if not files.ours(folder / "model"):
        raise Refused(
            f"{folder / 'model'} holds files, and Haigo did not make them.",
            "take another --output-dir",
            option="output_dir",
        )


def claim(
    folder: Path, identity: Mapping[str, Any], former: Callable[[], Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Make `folder` the folder of this run, or find that it already is. A run that got nowhere (no checkpoint, no
    result) holds none.

    Args:
        identity: what the run is made from; a flat dict of plain values.
        former: gives the identity as the first edition stated it.

    Returns:
        What `run.json` holds besides the identity (empty for a new run).

    Raises:
        Refused: the folder holds another run; the keys that differ are named.
    """
    plain = _plain(identity)
    content = _content(folder)
    if content is _CHANGED:
        _tell(f"{folder / IDENTITY} was changed since it was written: the run starts anew")
        clear(folder)
        content = {}
    if not content or not any((folder / name).is_file() for name in (RESULT, NAME)):
        if content.get("identity") != plain:
            content = {"identity": plain}
            sealed.write(folder / IDENTITY, content)
        return {key: value for key, value in content.items() if key != "identity"}
    before = content.get("identity", {})
    changed = differences(before, plain, " -> ")
    if changed and (former is None or before != _plain(former())):
        raise Refused(
            f"{folder} holds another run, which differs in {changed}.",
            "take another --output-dir, or add --overwrite to start anew there",
            option=("output_dir", "overwrite"),
        )
    return {key: value for key, value in content.items() if key != "identity"}


def same(folder: Path, identity: Mapping[str, Any], former: Callable[[], Mapping[str, Any]] | None = None) -> bool:
    """Whether `folder` is that of exactly this run. Arguments as of `claim`."""
    content = _content(folder)
    if content is _CHANGED:
        _tell(f"{folder / IDENTITY} was changed since it was written: the run starts anew")
        return False
    held = content.get("identity")
    return held == _plain(identity) or (former is not None and held is not None and held == _plain(former()))


def identity_of(folder: Path) -> dict[str, Any]:
    """What the run in a folder is made from; empty where there is none."""
    return dict(_content(folder).get("identity") or {})


def take_over(source: Path, folder: Path, identity: Mapping[str, Any]) -> None:
    """Copy a finished run of another folder, where it is exactly this one and `folder` does not hold it finished already.

    Args:
        identity: what the run is made from, as of `claim`.
    """
    if not (source / RESULT).is_file() or (same(folder, identity) and (folder / RESULT).is_file()):
        return
    if same(source, identity) and finished(source) is not None:
        clear(folder)
        for path in (source / IDENTITY, *_left(source)):  # the result last: a kill before it leaves none
            if path.name != RESULT:
                files.copy(path, folder / path.relative_to(source))
        files.copy(source / RESULT, folder / RESULT)


def note(folder: Path, **facts: Any) -> None:
    """Keep more facts beside the identity; None takes one away."""
    content = {**_content(folder), **facts}
    sealed.write(folder / IDENTITY, {key: value for key, value in content.items() if value is not None})


def close(folder: Path) -> None:
    """After `result.json` is written: keep the digests of all that the run left. It is then finished."""
    note(folder, outputs={str(path.relative_to(folder)): digests.mark(path) for path in _left(folder)}, checkpoint=None)


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run whose files are as it left them; None where it is not finished, or one is not (it is named).

    Raises:
        HaigoError: result.json is no result.
    """
    if not (folder / RESULT).is_file():
        return None
    content = _content(folder)
    noted = content.get("outputs")
    if noted is None:
        result = read(folder / RESULT)
        # of the first edition, or killed just before its end. What a stage of a pipeline holds is in the stage's own marker
        if content and not any((place / ".done.json").is_file() for place in folder.absolute().parents):
            with contextlib.suppress(HaigoError, OSError):  # a folder that is only read
                close(folder)
        return result
    for path, row in noted.items():
        file = folder / path
        if not file.is_file() or digests.mark(file, row)["sha256"] != row["sha256"]:
            what = "was changed" if file.is_file() else "was removed"
            _tell(f"{file} {what} since the training ended: the run is trained anew")
            return None
    return read(folder / RESULT)


def _left(folder: Path) -> list[Path]:
    """What a finished run is: its result, its curve and its model."""
    return [
        *(each for each in (folder / RESULT, folder / "log.jsonl") if each.is_file()),
        *digests.below(folder / "model"),
    ]


_CHANGED: dict[str, Any] = {}


def _content(folder: Path) -> dict[str, Any]:
    """What a run's run.json holds: nothing where there is none, `_CHANGED` where its bytes are not those that were written."""
    path = folder / IDENTITY
    if not path.is_file():
        return {}
    read(path)
    try:
        return sealed.read(path, _LIKE[IDENTITY])[0]
    except HaigoError:
        return _CHANGED


def _tell(what: str) -> None:
    print(f"haigo: {what}.", file=sys.stderr, flush=True)


def read(path: Path) -> dict[str, Any]:
    """What a run's run.json or result.json holds.

    Raises:
        HaigoError: a failing disk, or somebody's editor, left something else there.
    """
    try:
        return dict(files.read_record(path, _LIKE.get(path.name, {})))
    except HaigoError as error:
        why = error.problem.removeprefix(f"{path}").removeprefix(" is damaged").strip(" :.")
        raise HaigoError(f"{path} is damaged: {why}.", f"delete {path.parent}: the run is then trained anew") from None


def clear(folder: Path) -> None:
    """Forget the run in `folder`: identity, checkpoint, result and log."""
    for name in (RESULT, NAME, IDENTITY, "log.jsonl"):
        files.remove(folder / name)


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(identity)))  # tuples become lists, as they come back from disk


def differences(one: Mapping[str, Any], other: Mapping[str, Any], mark: str) -> str:
    """In what two runs differ, in words: the first six keys with both values, `mark` between them; empty where in nothing."""

    def short(facts: Mapping[str, Any], name: str) -> str:
        text = str(facts.get(name, "absent"))
        return text if len(text) <= 24 else text[:12] + "..."

    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    listed = ", ".join(f"{name} ({short(one, name)}{mark}{short(other, name)})" for name in names[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed
