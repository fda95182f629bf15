"""What a fetch has so far, so that kill -9 at any moment loses no finished answer and doubles no document.

One SQLite file in the corpus' folder holds, in one transaction an answer: the documents that are in no full shard yet,
which ids were seen, where every unit of work stands, what was left out and why. Shards are cut from it: written whole
under their final name first, forgotten here after. A kill in between writes the same shard again, byte for byte.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import digests, files, redact, shapes
from haigo.cli import HaigoError, Refused
from haigo.formats import documents

from ..sources import Document

FOLDER = ".fetch"
PARTS = f"{FOLDER}/parts"
"""Where downloads lie while they come."""
_FILE = "state.sqlite"
_OF_THE_DISK = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_SAMPLES = 3
_SAMPLE_CHARS = 200
_TABLES = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY, line BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS seen (id BLOB PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS skipped (reason TEXT PRIMARY KEY, count INTEGER NOT NULL, samples TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS licences (name TEXT PRIMARY KEY, documents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS shards (number INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL);
"""
_SURROGATE = re.compile("[\ud800-\udfff]")


class Skipped:
    """What was left out, by reason, with a few samples."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.samples: dict[str, list[str]] = {}

    def clear(self) -> None:
        """Begin anew, after a commit has taken everything in, or where it will come again."""
        self.counts.clear()
        self.samples.clear()

    def note(self, reason: str, sample: str = "", count: int = 1) -> None:
        """Count one thing that was left out."""
        if count:
            self.counts[reason] += count
            kept = self.samples.setdefault(reason, [])
            if sample and len(kept) < _SAMPLES:
                kept.append(_writable(redact.urls(sample)[:_SAMPLE_CHARS]))


class Store:
    """The folder of one corpus while it is being fetched. Use `opened`.

    Attributes:
        folder: the corpus' folder.
        documents, characters, bytes: what it holds (characters and UTF-8 bytes of texts).
        also: gives state that every commit writes down too (how many requests were sent, say).
        left_out: what was left out on the way to the documents of the next commit, which takes it in.
    """

    def __init__(self, folder: Path, base: sqlite3.Connection, unique: bool, shard_bytes: int) -> None:
        self.folder, self._base, self._unique, self._limit = folder, base, unique, shard_bytes
        self.also: Callable[[], dict[str, Any]] = dict
        self.left_out = Skipped()
        totals = self.get("totals", {"documents": int, "characters": int, "bytes": int}) or {}
        self.documents: int = totals.get("documents", 0)
        self.characters: int = totals.get("characters", 0)
        self.bytes: int = totals.get("bytes", 0)
        self._held: int = base.execute("SELECT COALESCE(SUM(LENGTH(line)), 0) FROM waiting").fetchone()[0]

    def get(self, name: str, like: Any = object) -> Any:
        """What was committed under `name`, or None.

        Args:
            like: its shape (see `haigo.shapes`).

        Raises:
            sqlite3.DatabaseError: it has another: the file is damaged.
        """
        row = self._base.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else _value(row[0], like, name)

    def commit(self, batch: Iterable[Document] = (), state: Mapping[str, Any] | None = None) -> int:
        """Take in an answer, wholly or not at all, and what was left out of it.

        Args:
            batch: documents; of those with an id that was here before, the first is kept.
            state: name -> JSON value to remember.

        Returns:
            How many documents were new.
        """
        new: collections.Counter[str] = collections.Counter()
        licences: collections.Counter[str] = collections.Counter()
        with self._base:
            for given in batch:
                document = _storable(given)
                if self._unique and not self._is_new(document):
                    continue
                line = documents.line(document)
                self._base.execute("INSERT INTO waiting (line) VALUES (?)", (line.packed,))
                new.update(documents=1, characters=line.characters, bytes=line.bytes, held=len(line.packed))
                licences[str(document.meta.get("licence", "not stated"))] += 1
            totals = {name: getattr(self, name) + new[name] for name in ("documents", "characters", "bytes")}
            remembered = {**self.also(), **(state or {}), **({"totals": totals} if new else {})}
            self._base.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in remembered.items()],
            )
            self._base.executemany(
                "INSERT INTO licences VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET documents = documents + excluded.documents",
                licences.items(),
            )
            self._note_left_out()
        self.left_out.clear()
        self.documents, self.characters, self.bytes = totals["documents"], totals["characters"], totals["bytes"]
        self._held += new["held"]
        self.cut(everything=False)
        return new["documents"]

    def cut(self, everything: bool) -> None:
        """Write full shards; with `everything` also the last one, which later documents may still fill up."""
        while self._held > self._limit:
            number, taken, last = self._next_shard()
            row = self._write(number, taken)
            with self._base:
                self._base.execute("INSERT OR REPLACE INTO shards VALUES (?, ?, ?)", row)
                self._base.execute("DELETE FROM waiting WHERE number <= ?", (last,))
            self._held -= sum(map(len, taken))
        if everything and self._held:
            number, taken, _ = self._next_shard()
            self._write(number, taken)

    def shards(self) -> list[dict[str, Any]]:
        """Name, bytes and sha256 of every shard.

        Raises:
            HaigoError: one was taken away, or changed.
        """
        rows = [
            {"name": _shard(number), "bytes": size, "sha256": sha256}
            for number, size, sha256 in self._base.execute("SELECT * FROM shards ORDER BY number")
        ]
        for row in rows:
            path = self.folder / row["name"]
            is_there = path.is_file()
            if not is_there or digests.sha256(path) != row["sha256"]:
                raise HaigoError(
                    f"{path} {'was changed since it was fetched' if is_there else 'is gone'}.",
                    f"put it back{' as it was' if is_there else ''}, or fetch into another folder from the start",
                )
        if self._held:
            path = self.folder / _shard(len(rows))
            rows.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digests.sha256(path)})
        return rows

    def licences(self) -> dict[str, int]:
        """Licence -> documents."""
        return dict(self._base.execute("SELECT name, documents FROM licences ORDER BY documents DESC, name"))

    def skipped(self) -> dict[str, dict[str, Any]]:
        """Reason -> count and samples."""
        rows = self._base.execute("SELECT reason, count, samples FROM skipped ORDER BY count DESC, reason")
        return {reason: {"count": count, "samples": _value(samples, [str], reason)} for reason, count, samples in rows}

    def _is_new(self, document: Document) -> bool:
        key, digest = _hash(document.id, 16), _hash(document.text, 8)
        row = self._base.execute("SELECT text FROM seen WHERE id = ?", (key,)).fetchone()
        if row is None:
            self._base.execute("INSERT INTO seen VALUES (?, ?)", (key, digest))
        elif row[0] != digest:
            self.left_out.note("came again with another text, the first was kept", document.id)
        return row is None

    def _note_left_out(self) -> None:
        before = self.skipped() if self.left_out.counts else {}
        for reason, count in self.left_out.counts.items():
            kept = before.get(reason, {"count": 0, "samples": []})
            samples = [*kept["samples"], *self.left_out.samples.get(reason, [])][:_SAMPLES]
            row = (reason, kept["count"] + count, json.dumps(samples))
            self._base.execute("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", row)

    def _next_shard(self) -> tuple[int, list[bytes], int]:
        number = self._base.execute("SELECT COUNT(*) FROM shards").fetchone()[0]
        taken: list[bytes] = []
        size = last = 0
        for row, line in self._base.execute("SELECT number, line FROM waiting ORDER BY number"):
            if taken and size + len(line) > self._limit:
                break
            taken.append(line)
            size, last = size + len(line), row
        return number, taken, last

    def _write(self, number: int, lines: list[bytes]) -> tuple[int, int, str]:
        packed = documents.write_shard(self.folder / _shard(number), lines)
        return number, len(packed), hashlib.sha256(packed).hexdigest()


@contextlib.contextmanager
def opened(
    folder: Path, identity: Mapping[str, Any], unique: bool = True, shard_bytes: int = documents.SHARD_BYTES
) -> Iterator[Store]:
    """Hold a corpus' folder for this process and go on with what is in it.

    Args:
        folder: is created when it is not there.
        identity: what all documents of the folder have in common (source, conditions); must not change.
        unique: look for ids that were here before; False where the source's ids cannot repeat.
        shard_bytes: size of a shard before packing.

    Raises:
        HaigoError: another process is at work there, or the state is damaged.
        Refused: the folder holds another corpus.
    """
    with files.owner(folder):
        files.remove_leftovers(folder)
        path = folder / FOLDER / _FILE
        path.parent.mkdir(exist_ok=True)
        if path.is_file() and _head(path) == b"SQLite format 3":
            files.adopt([path])  # of an earlier version, which kept no journal
        files.append(path).close()
        try:
            with contextlib.closing(sqlite3.connect(path)) as base:
                base.execute("PRAGMA journal_mode = WAL")
                base.execute("PRAGMA synchronous = FULL")
                base.executescript(_TABLES)
                store = Store(folder, base, unique, shard_bytes)
                _require_same(store, dict(identity))
                files.check_output(folder, names=("DATA_CARD.json", "DATA_CARD.md"))
                yield store
        except sqlite3.DatabaseError as error:
            if "full" in str(error):
                raise HaigoError(
                    f"no space left on the disk of {folder}.", "free some space and run the same command again"
                ) from None
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK:
                raise HaigoError(
                    f"{path} cannot be read or written ({error}).",
                    "look at its disk (quota, ulimit -f, permissions), and run the same command again",
                ) from None
            raise HaigoError(
                f"{path} is damaged ({error}).", "fetch into a new folder; the finished shards are good"
            ) from None


def _require_same(store: Store, identity: dict[str, Any]) -> None:
    """A folder is begun, or goes on with what it was begun for."""
    folder, before = store.folder, store.get("identity", {})
    if before is None:
        if any(folder.glob("*.jsonl.zst")):
            raise Refused(f"{folder} holds shards that were not fetched.", "name a new folder")
        store.commit(state={"identity": identity})
        return
    if before != identity:
        was, now = (
            ", ".join(f"{name} {value}" for name, value in each.items() if value not in (None, False, ""))
            for each in (before, identity)
        )
        raise Refused(
            f"{folder} holds another fetch ({was}), this one is {now}.",
            "name another --output-dir, or repeat the options of the first",
        )
    if not files.ours(folder):  # fetched by an earlier version, which kept no journal
        files.adopt([*folder.glob("*.jsonl.zst"), *(folder / f"DATA_CARD.{end}" for end in ("json", "md"))])


def _value(packed: object, like: Any, name: str) -> Any:
    try:
        value = files.parse_json(packed if isinstance(packed, str) else "", name)
    except HaigoError as error:
        raise sqlite3.DatabaseError(error.problem.rstrip(".")) from None
    if (wrong := shapes.unlike(value, like)) is not None:
        raise sqlite3.DatabaseError(f"{name}: {wrong}")
    return value


def _shard(number: int) -> str:
    return f"{number:05d}.jsonl.zst"


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _storable(document: Document) -> Document:
    """The document as UTF-8 can hold it, its addresses without passwords."""
    meta = {
        _writable(key): redact.urls(_writable(value)) if isinstance(value, str) else value
        for key, value in document.meta.items()
    }
    return Document(redact.urls(_writable(document.id)), _writable(document.text), meta)


def _writable(text: str) -> str:
    """Halves of surrogate pairs, which JSON may carry, cannot be written as UTF-8: they become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _head(path: Path) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(15)
