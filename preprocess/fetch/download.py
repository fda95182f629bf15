"""A large file of a server as a stream that may be read while it comes, kept on disk so that no byte comes twice.

What has come is appended to a `.part` file under a name of our own (a server's name of it is never used for a path). A
broken connection, a stop or kill -9 goes on at the next byte with a range request that holds only for the same version
of the file (If-Range). It is the one file here not written through `haigo.files.atomic`: growing is its purpose, its
length is its state, and its digest is checked at the end where the server names one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import files, redact
from haigo.cli import Failed, HaigoError
from haigo.progress import Progress

from .client import BUSY, Client, Opened
from .replies import Again, NotServed, TooLarge

_KNOWN = {
    "url": str,
    "size?": (int, None),
    "whole?": bool,
    "etag?": (str, None),
    "modified?": (str, None),
    "digest?": str,
}


class Changed(HaigoError):
    """The server has another version of the file than the one that was begun."""


class Download(io.RawIOBase):
    """Reads what is on disk, then what comes.

    Args:
        client: whom to ask through.
        url: the file.
        folder: where the part lies; a download that was begun there is continued.
        max_bytes: larger files are refused.
        digest: sha1 or sha256 in hexadecimal, if known; compared when the end is reached.
        headers: sent with every request.

    Attributes:
        part: the file on disk, whole once `complete` is true.
        size: its length in bytes when whole, None until the server said.
        have: bytes on disk.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        folder: Path,
        *,
        max_bytes: int,
        digest: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._client, self.url, self._max, self._digest = client, url, max_bytes, (digest or "").lower()
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()[:32]
        self.part, self._about = folder / f"{name}.part", folder / f"{name}.json"
        self._known: dict[str, Any] = {}
        with contextlib.suppress(HaigoError):  # damaged or not there: the file is fetched from its beginning
            self._known = files.read_record(self._about, _KNOWN)
        if not self._known:
            files.remove(self.part)  # without its version nothing can be appended
        self._file = files.append(self.part, "ab+")
        self.have = self._file.seek(0, io.SEEK_END)
        self._at = 0
        self._coming = self._pieces()

    @property
    def size(self) -> int | None:
        """See the class."""
        return self._known.get("size")

    @property
    def complete(self) -> bool:
        """All bytes are on disk (their digest, too, is right once the end was read)."""
        return bool(self._known.get("whole")) or (self.size is not None and self.have >= self.size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while self._at >= self.have:
            if next(self._coming, None) is None:
                self._check()
                return 0
        self._file.seek(self._at)
        piece = self._file.read(min(len(buffer), self.have - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def finish(self, progress: Progress | None = None, *, restarts: int = 0) -> Path:
        """Fetch the rest, whatever was read of it, and give the file.

        Args:
            progress: counts every piece.
            restarts: how often to begin anew when the file changes on the way.

        Raises:
            Changed: it does so again.
        """
        try:
            for size in self._coming:
                if progress is not None:
                    progress.update(size)
        except Changed:
            if not restarts:
                raise
            self._known = {}
            self._begin_anew()
            self._coming = self._pieces()
            return self.finish(progress, restarts=restarts - 1)
        self._check()
        return self.part

    def close(self) -> None:
        """Let go of the connection; what has come stays on disk."""
        if not self.closed:
            self._coming.close()
            self._file.close()
        super().close()

    def discard(self) -> None:
        """Close and delete what has come."""
        self.close()
        files.remove(self.part)
        files.remove(self._about)

    def _pieces(self) -> Generator[int, None, None]:
        """Fetch what is missing, again and again where it breaks off; the size of every piece that is on disk."""
        failed = 0
        while not self.complete:
            try:
                with self._client.open(self.url, {**self._headers, **self._range()}) as opened:
                    for piece in self._body(opened):
                        if self.have + len(piece) > self._max:
                            raise TooLarge(self.url, self._max)
                        self._file.write(piece)
                        self._file.flush()
                        self.have += len(piece)
                        failed = 0
                        yield len(piece)
                if self.size is None:
                    self._know({"whole": True, "size": self.have})
                elif self.have < self.size:
                    raise Again("the reply was cut short")
            except Again as again:
                failed += 1
                if failed >= self._client.tries:
                    raise Failed(
                        f"{self.url} broke off {failed} times in a row (the last: {again.reason}).",
                        f"run the same command again later: {self.have:,} bytes are kept",
                    ) from None
                self._client.pause(again, failed, self.url)

    def _range(self) -> dict[str, str]:
        version = self._known.get("etag") or self._known.get("modified")
        rest = {"Range": f"bytes={self.have}-", "If-Range": version}
        return {name: value for name, value in rest.items() if self.have and value}

    def _body(self, opened: Opened) -> Iterator[bytes]:
        """What is to be appended of an answer."""
        if opened.status in BUSY:
            raise self._client.busy(opened)
        if opened.status == 416 or (opened.status == 206 and self.have):
            return self._rest(opened)
        if opened.status != 200:
            raise NotServed(self.url, opened.status)
        version = _version(opened.headers)
        if self.have:
            if version != {key: self._known.get(key) for key in version}:
                raise self._changed()
            self._begin_anew()  # a server without ranges: the same bytes pass by once more, also those that were read
        if (version.get("size") or 0) > self._max:
            raise TooLarge(self.url, self._max)
        self._know(version)
        return opened.pieces()

    def _begin_anew(self) -> None:
        self._file.truncate(0)
        self.have = 0

    def _rest(self, opened: Opened) -> Iterator[bytes]:
        """What follows the bytes on disk, by an answer to a range request."""
        answer = opened.headers.get("Content-Range", "").strip()
        match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer)
        start, total = (
            (None if value in (None, "*") else int(value) for value in match.groups()) if match else (None, None)
        )
        if opened.status == 416:
            if total != self.have or self.size not in (None, total):
                raise self._changed()
            self._know({"whole": True, "size": total})
            return iter(())
        if start != self.have:
            raise Again("another range than was asked for")
        etag = _version(opened.headers)["etag"]
        if (total and self.size not in (None, total)) or (etag and self._known.get("etag") not in (None, etag)):
            raise self._changed()
        if total and not self.size:
            self._know({"size": total})
        return opened.pieces()

    def _changed(self) -> Changed:
        return Changed(f"{self.url} is another file now than when its download began.", "start again in a new folder")

    def _know(self, facts: Mapping[str, Any]) -> None:
        self._known |= facts
        files.write_json(self._about, {"url": redact.urls(self.url), **self._known})

    def _check(self) -> None:
        if not self._digest or self._known.get("digest") == self._digest:
            return
        with open(self.part, "rb") as part:
            digest = hashlib.file_digest(part, "sha1" if len(self._digest) == 40 else "sha256")
        if digest.hexdigest() != self._digest:
            self.discard()
            raise Failed(f"{self.url} did not arrive as its checksum says.", "run the same command again")
        self._know({"digest": self._digest})


def _version(headers: Mapping[str, str]) -> dict[str, Any]:
    """What tells one version of a file from another; weak ETags do not."""
    etag = headers.get("ETag")
    length = headers.get("Content-Length", "")
    whole = "Content-Range" not in headers and length.isdecimal()
    return {
        "etag": etag if etag and not etag.startswith("W/") else None,
        "modified": headers.get("Last-Modified"),
        **({"size": int(length)} if whole else {}),
    }
