"""The answers of a run so far, so that a killed run goes on where it stopped.

One JSON line an answer with its checksum, flushed as it comes, beside the result. The first line says which model the answers
are of; that of another model, or of the same folder with other weights, is thrown away. It is deleted once the result is
written. While a run writes it no other may: two runs into one folder would mix their answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_harness import model_args
from eval_harness.model_args import parse_args
from haigo import digests, files
from haigo.cli import HaigoError

NAME = "answers.partial.jsonl"
TRIAL = "sharing"
"""Under it stands, beside the answers, whether contexts may be shared: a run that goes on does not try that again."""


def fingerprint(words: str, shared: bool | None, tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for old answers to count: the options, the tokenizer, and the bytes of the model's files, an
    adapter's and a tokenizer's (those above 4 GiB by size, inode and time of change).

    Args:
        words: lm-eval's `--model_args`.
        shared: whether the choices of a question are scored in one pass.
    """
    options = parse_args(words)
    folders = [Path(options["pretrained"]), *model_args.folders(options)]
    paths = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file())
    bytes_of = [[path.name, *_bytes(path)] for path in paths]
    return {"model_args": words, "shared": shared, "files": bytes_of, "tokenizer": dict(tokenizer)}


def _bytes(path: Path) -> list[Any]:
    at = path.stat()
    large = at.st_size > digests.BIG_BYTES
    return [at.st_size, at.st_ino, at.st_ctime_ns] if large else [at.st_size, digests.sha256(path)]


def key(*parts: Any) -> str:
    """A short name of a question."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:32]


def _sum(name: str, answer: Any) -> str:
    return hashlib.sha256(json.dumps([name, answer]).encode()).hexdigest()[:8]


def _line(name: str, answer: Any) -> str:
    return json.dumps([name, answer, _sum(name, answer)])


class Journal:
    """Answers by `key`.

    Args:
        path: the file; its folder is made.
        head: what `fingerprint` gave.

    Raises:
        HaigoError: another run writes it.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path, self.known = path, {}
        self.handle = files.append(path, "a+", encoding="utf-8")
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.handle.close()
            raise HaigoError(
                f"{path.parent} is in use by another run.", "wait for it to end, or give another --output_path"
            ) from None
        lines = path.read_bytes().split(b"\n")
        same = False
        with contextlib.suppress(ValueError, RecursionError):
            same = bool(lines) and json.loads(lines[0]) == head
        if same:
            for line in lines[1:-1]:  # the last one is empty, or was cut off by the kill
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    name, answer, stated = json.loads(line)
                    if stated == _sum(name, answer):  # a damaged answer is asked again
                        self.known[name] = answer
        self.resumed = len(self.known.keys() - {TRIAL})
        kept = [json.dumps(head), *(_line(name, answer) for name, answer in self.known.items())]
        self.handle.seek(0)
        self.handle.truncate()
        self.handle.write("\n".join(kept) + "\n")
        self.handle.flush()

    def add(self, name: str, answer: Any) -> None:
        """Keep an answer; it is on its way to the disk when this returns."""
        self.known[name] = answer
        self.handle.write(_line(name, answer) + "\n")
        self.handle.flush()

    def close(self, done: bool) -> None:
        """Close the file, and delete it when the result is written."""
        self.handle.close()
        if done:
            files.remove(self.path)
