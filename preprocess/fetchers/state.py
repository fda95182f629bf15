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

import zstandard

from haigo import digests, files, redact, shapes
from haigo.cli import HaigoError, Refused

from .. import documents
from ..sources import Document

FOLDER = ".fetch"
_FILE = "state.sqlite"
_LEVEL = 3
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
        """Begin anew, after a commit has taken everything in."""
        self.counts.clear()
        self.samples.clear()

    def note(self, reason: str, sample: str = "", count: int = 1) -> None:
        """Count one thing that was left out."""
        if count:
            self.counts[reason] += count
            kept = self.samples.setdefault(reason, [])
            if sample and len(kept) < _SAMPLES:
                kept.append(_SURROGATE.sub("\ufffd", redact.urls(sample)[:_SAMPLE_CHARS]))


class Store:
    """The folder of one corpus while it is being fetched. Use `opened`.

    Attributes:
        folder: the corpus' folder.
        documents, characters, bytes: what it holds (characters and UTF-8 bytes of texts).
        also: gives state that every commit writes down too (how many requests were sent, say).
    """

    def __init__(self, folder: Path, base: sqlite3.Connection, unique: bool, shard_bytes: int) -> None:
        self.folder, self._base, self._unique, self._limit = folder, base, unique, shard_bytes
        self.also: Callable[[], dict[str, Any]] = dict
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

    def commit(
        self, found: Iterable[Document] = (), state: Mapping[str, Any] | None = None, skipped: Skipped | None = None
    ) -> int:
        """Take documents and the new state in, both or neither.

        Args:
            found: documents; of those with an id that was here before, the first is kept.
            state: name -> JSON value to remember, None to forget.
            skipped: what was left out on the way to these documents.

        Returns:
            How many documents were new.
        """
        skipped = skipped or Skipped()
        new = characters = size = held = 0
        licences: collections.Counter[str] = collections.Counter()
        with self._base:
            for document in found:
                document = _writable(document)
                if self._unique and not self._is_new(document, skipped):
                    continue
                line = documents.line(document)
                self._base.execute("INSERT INTO waiting (line) VALUES (?)", (line.packed,))
                new, characters, held = new + 1, characters + line.characters, held + len(line.packed)
                size += line.bytes
                licences[str(document.meta.get("licence", "not stated"))] += 1
            self._remember({**self.also(), **(state or {})})
            for name, count in licences.items():
                self._base.execute(
                    "INSERT INTO licences VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET documents = documents + ?",
                    (name, count, count),
                )
            self._note(skipped)
            if new:
                totals = {"documents": self.documents + new, "characters": self.characters + characters}
                self._remember({"totals": totals | {"bytes": self.bytes + size}})
        self.documents, self.characters, self.bytes = (
            self.documents + new,
            self.characters + characters,
            self.bytes + size,
        )
        self._held += held
        self.cut(everything=False)
        return new

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
            {"name": f"{number:05d}.jsonl.zst", "bytes": size, "sha256": sha256}
            for number, size, sha256 in self._base.execute("SELECT * FROM shards ORDER BY number")
        ]
        if self._held:
            path = self.folder / f"{len(rows):05d}.jsonl.zst"
            rows.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digests.sha256(path)})
        for row in rows:
            if not (self.folder / str(row["name"])).is_file():
                raise HaigoError(
                    f"{self.folder / str(row['name'])} is gone.",
                    "put it back, or fetch into another folder from the start",
                )
            if digests.sha256(self.folder / str(row["name"])) != row["sha256"]:
                raise HaigoError(
                    f"{self.folder / str(row['name'])} was changed since it was fetched.",
                    "put it back as it was, or fetch into another folder from the start",
                )
        return rows

    def licences(self) -> dict[str, int]:
        """Licence -> documents."""
        return dict(self._base.execute("SELECT name, documents FROM licences ORDER BY documents DESC, name"))

    def skipped(self) -> dict[str, dict[str, Any]]:
        """Reason -> count and samples."""
        rows = self._base.execute("SELECT reason, count, samples FROM skipped ORDER BY count DESC, reason")
        return {reason: {"count": count, "samples": _value(samples, [str], reason)} for reason, count, samples in rows}

    def _is_new(self, document: Document, skipped: Skipped) -> bool:
        key, digest = _hash(document.id, 16), _hash(document.text, 8)
        row = self._base.execute("SELECT text FROM seen WHERE id = ?", (key,)).fetchone()
        if row is None:
            self._base.execute("INSERT INTO seen VALUES (?, ?)", (key, digest))
            return True
        if row[0] != digest:
            skipped.note("came again with another text, the first was kept", document.id)
        return False

    def _remember(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            if value is None:
                self._base.execute("DELETE FROM state WHERE name = ?", (name,))
            else:
                self._base.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, json.dumps(value)))

    def _note(self, skipped: Skipped) -> None:
        for reason, count in skipped.counts.items():
            row = self._base.execute("SELECT samples FROM skipped WHERE reason = ?", (reason,)).fetchone()
            samples = [*(_value(row[0], [str], reason) if row else []), *skipped.samples.get(reason, [])][:_SAMPLES]
            self._base.execute(
                "INSERT INTO skipped VALUES (?, ?, ?) ON CONFLICT (reason) DO UPDATE SET count = count + ?, samples = ?",
                (reason, count, json.dumps(samples), count, json.dumps(samples)),
            )

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
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(lines))
        with files.create(self.folder / f"{number:05d}.jsonl.zst") as handle:
            handle.write(packed)
        return number, len(packed), hashlib.sha256(packed).hexdigest()


def _value(packed: object, like: Any, name: str) -> Any:
    try:
        found = files.parse_json(packed if isinstance(packed, str) else "", name)
    except HaigoError as error:
        raise sqlite3.DatabaseError(error.problem.rstrip(".")) from None
    if (wrong := shapes.unlike(found, like)) is not None:
        raise sqlite3.DatabaseError(f"{name}: {wrong}")
    return found


@contextlib.contextmanager
def opened(
    folder: Path, identity: Mapping[str, Any], unique: bool = True, shard_bytes: int = documents.SHARD_BYTES
) -> Iterator[Store]:
    """Hold a corpus' folder for this process and go on with what is in it.

    Args:
        folder: made when it is not there.
        identity: what all documents of the folder have in common (source, conditions); must not change.
        unique: look for ids that were here before; False where the source's ids cannot repeat.
        shard_bytes: size of a shard before packing.

    Raises:
        HaigoError: another process is at work there, or the state is damaged.
        Refused: the folder holds another corpus.
    """
    with files.owner(folder):
        files.remove_leftovers(folder)
        place = folder / FOLDER
        place.mkdir(exist_ok=True)
        if (place / _FILE).is_file() and _head(place / _FILE) == b"SQLite format 3":
            files.adopt([place / _FILE])  # of an earlier version, which kept no journal
        files.append(place / _FILE).close()
        try:
            base = sqlite3.connect(place / _FILE)
            with contextlib.closing(base):
                base.execute("PRAGMA journal_mode = WAL")
                base.execute("PRAGMA synchronous = FULL")
                base.executescript(_TABLES)
                store = Store(folder, base, unique, shard_bytes)
                before = store.get("identity", {})
                if before is None:
                    if any(folder.glob("*.jsonl.zst")):
                        raise Refused(f"{folder} holds shards that were not fetched.", "name a new folder")
                    store.commit(state={"identity": dict(identity)})
                elif before != dict(identity):
                    raise Refused(
                        f"{folder} holds another fetch ({_shown(before)}), this one is {_shown(identity)}.",
                        "name another --output-dir, or repeat the options of the first",
                    )
                if before is not None and not files.ours(
                    folder
                ):  # fetched by an earlier version, which kept no journal
                    files.adopt([*folder.glob("*.jsonl.zst"), *(folder / f"DATA_CARD.{end}" for end in ("json", "md"))])
                files.check_output(folder, names=("DATA_CARD.json", "DATA_CARD.md"))
                yield store
        except sqlite3.DatabaseError as error:
            if "full" in str(error):
                raise HaigoError(
                    f"no space left on the disk of {folder}.", "free some space and run the same command again"
                ) from None
            raise HaigoError(
                f"{place / _FILE} is damaged ({error}).", "fetch into a new folder; the finished shards are good"
            ) from None


def _shown(identity: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in identity.items() if value not in (None, False, ""))


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _writable(document: Document) -> Document:
    """Halves of surrogate pairs, which JSON may carry, cannot be written as UTF-8: they become U+FFFD. Addresses lose their
    passwords."""
    try:
        document.text.encode()
        document.id.encode()
    except UnicodeEncodeError:
        text, name = (_SURROGATE.sub("\ufffd", each) for each in (document.text, document.id))
        document = Document(name, text, document.meta)
    meta = {
        _SURROGATE.sub("\ufffd", key): redact.urls(_SURROGATE.sub("\ufffd", value)) if isinstance(value, str) else value
        for key, value in document.meta.items()
    }
    return Document(redact.urls(document.id), document.text, meta)


def _head(path: Path) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(15)
