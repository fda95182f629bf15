"""The manifest `PREFIX.json` beside an indexed dataset, and whether the dataset holds the bytes that it speaks of.

Datasets that GPT-NeoX or Megatron-LM made have none. A manifest is sealed (`haigo.sealed`): one with a changed byte is named.
Those of the first edition have no seal; their digests of `.bin` and `.idx` are compared all the same. Above 4 GiB a file counts
as whole by inode, ctime and size when it was read through before; what it was then is kept beside it (`.NAME.mark.json`), or in
the user's cache where nothing can be written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import digests, files, sealed
from haigo.cli import HaigoError, Refused

from .indexed import MMapReader, bin_path, idx_path

_REBUILD = "make the dataset again with the command that made it"
_MAYBE = (int, None)
_LIKE = {
    "tokens": int,
    "documents?": int,
    "bytes?": int,
    "vocab_size?": _MAYBE,
    "eod_id?": _MAYBE,
    "tokenizer_sha256?": (str, None),
    "bin_sha256?": str,
    "idx_sha256?": str,
    "dtype?": str,
    "append_eod?": bool,
    "empty_texts_left_out?": int,
    "seq_length?": _MAYBE,
    "rows?": _MAYBE,
    "packed?": bool,
    "kind?": str,
    "broken_rows?": {"count": int},
    "input?": [object],
    "view?": {
        "of": str,
        "steps": [int],
        "chain": [str],
        "begins_at": int,
        "samples": [int],
        "seq_length": int,
        "seed": int,
        "batch": int,
        "weight": float,
    },
}
"""What is read of a manifest, by `preprocess.index`, `preprocess.pairs` and whoever trains on the dataset."""
_Prefix = str | os.PathLike[str]


def path_of(prefix: _Prefix) -> Path:
    """`PREFIX.json`; the prefix itself may hold dots."""
    return Path(f"{os.fspath(prefix)}.json")


def write(prefix: _Prefix, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a manifest, which comes last: the dataset is then whole. Gives what is in the file."""
    return sealed.write(path_of(prefix), content)


def find(prefix: _Prefix) -> dict[str, Any] | None:
    """The manifest of a dataset; None when there is none, that is for a dataset of other origin.

    Raises:
        HaigoError: the file is damaged, was changed since it was written, or is no manifest.
    """
    path = path_of(prefix)
    if not path.is_file():
        return None
    content = files.read_json(path)
    if not isinstance(content, dict) or "tokens" not in content:
        raise HaigoError(f"{path} is not the manifest of a dataset.", "make the dataset with preprocess.index")
    try:
        sealed.read(path, _LIKE)
    except HaigoError as error:
        raise HaigoError(error.problem, _REBUILD) from None
    return content


def read(prefix: _Prefix) -> dict[str, Any]:
    """The manifest of a dataset that Haigo made.

    Raises:
        HaigoError: as `find`, and where there is none.
    """
    content = find(prefix)
    if content is None:
        raise HaigoError(f"{path_of(prefix)} does not exist.", _REBUILD)
    return content


def checked(found: dict[str, Any] | None) -> bool:
    """Whether the ids of the dataset were held against a vocabulary when it was made."""
    return bool(found and found.get("vocab_size") and found.get("tokenizer_sha256"))


def check(prefix: _Prefix) -> dict[str, Any] | None:
    """The manifest of a dataset that holds the bytes which it speaks of; None when there is none.

    Raises:
        HaigoError: as `find`.
        Refused: `.bin` or `.idx` was changed since the dataset was made.
    """
    content = find(prefix)
    for path in wrong(prefix, content or {}):
        raise Refused(f"{path} was changed since the dataset was made (its sha256 is not the manifest's).", _REBUILD)
    return content


def wrong(prefix: _Prefix, found: Mapping[str, Any]) -> list[Path]:
    """Those of `.bin` and `.idx` that do not hold the bytes which the manifest speaks of."""
    stated = {path: found.get(f"{path.suffix[1:]}_sha256") for path in (bin_path(prefix), idx_path(prefix))}
    return [path for path, digest in stated.items() if digest is not None and digest != _sha256(path)]


def sums(prefix: _Prefix) -> dict[str, str]:
    """`bin_sha256` and `idx_sha256` of the files as they are."""
    return {f"{each.suffix[1:]}_sha256": _sha256(each) for each in (bin_path(prefix), idx_path(prefix))}


def stated(prefix: _Prefix) -> str | None:
    """The digest of the tokens that the manifest speaks of, which must be theirs; None where nobody noted one.

    Raises:
        HaigoError, Refused: as `check`.
    """
    content = check(prefix) or {}
    digest = content.get("bin_sha256")
    if not isinstance(digest, str) or not digest:
        return None
    return f"{digest}:{content['idx_sha256']}" if "view" in content else digest  # of a view the index says which tokens


def brief(prefix: _Prefix) -> str:
    """A digest of a dataset for the record of a run: the tokens' where it is noted, else of the index, and the size of the
    tokens (which may be terabytes that nobody has noted anything of)."""
    return stated(prefix) or f"{files.sha256_file(idx_path(prefix))}+{os.path.getsize(bin_path(prefix))}"


def fingerprint(prefix: _Prefix, former: bool = False) -> str:
    """A digest of a dataset's content, for what may be used again.

    Args:
        former: as the first edition told a dataset without a manifest: by its index and the first and last megabyte of tokens.

    Raises:
        HaigoError: it is missing or cut short.
        Refused: as `check`.
    """
    MMapReader(prefix)  # says what is missing or cut short
    digest, size = stated(prefix), os.path.getsize(bin_path(prefix))
    if digest:
        return files.digest([digest, size])
    if size > 2 << 20 and not former:
        return files.digest([size, sums(prefix)])
    with open(bin_path(prefix), "rb") as handle:
        head = handle.read(1 << 20)
        handle.seek(max(0, size - (1 << 20)))
        tail = handle.read()
    return files.digest([files.sha256_file(idx_path(prefix)), size, head.hex(), tail.hex()])


def _sha256(path: Path) -> str:
    if path.stat().st_size <= digests.BIG_BYTES:
        return digests.sha256(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "haigo"
    notes = [path.with_name(f".{path.name}.mark.json"), cache / f"{files.digest(str(path.resolve()))[:32]}.json"]
    before: dict[str, Any] = {}
    for note in notes:
        with contextlib.suppress(HaigoError, OSError):
            before = sealed.read(note, {"sha256": str, "size": int, "inode": int, "ctime_ns": int})[0]
            break
    now = digests.mark(path, before)
    for note in notes if now != before else []:
        with contextlib.suppress(HaigoError, OSError):  # a folder that is only read
            sealed.write(note, now)
            break
    return str(now["sha256"])
