"""GPT-NeoX's indexed dataset: `PREFIX.bin` (tokens, nothing else) and `PREFIX.idx` (where each sequence lies).

The index, little endian, without padding, as GPT-NeoX's MMapIndexedDataset writes it:

    9 bytes  `MMIDIDX\\0\\0`      u64 version = 1      u8 dtype code      u64 n sequences      u64 m
    int32[n] sequence lengths in tokens      int64[n] byte offsets into .bin      int64[m] doc_idx

doc_idx is 0 followed by the number of sequences up to the end of each document. Here a document is one sequence, which
is the norm, and merging keeps doc_idx (GPT-NeoX's own merge tool loses it). What belongs here is this format; how text
becomes tokens is in `preprocess.index`.
"""

from __future__ import annotations

import array
import contextlib
import glob
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from haigo import files
from haigo.cli import HaigoError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEADER_BYTES = 34
READABLE = (VERSION, 2)
"""Versions whose layout is this one; GPT-NeoX itself reads version 1 only."""
# GPT-NeoX's codes. Megatron-LM swaps 6 and 7 (the two floating types), which never hold tokens.
DTYPES: dict[int, type[np.generic]] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    6: np.float32,
    7: np.float64,
    8: np.uint16,
}
_CODES = {np.dtype(kind): code for code, kind in DTYPES.items()}
_CHUNK = 1 << 16
_UINT16_LIMIT = 65500  # GPT-NeoX's limit, not 65,536: both must choose alike


def token_dtype(vocab_size: int) -> np.dtype[np.generic]:
    """uint16 below 65,500 pieces, else int32: GPT-NeoX's choice, made from the unpadded vocabulary size."""
    return np.dtype(np.uint16 if vocab_size < _UINT16_LIMIT else np.int32)


def bin_path(prefix: str | os.PathLike[str]) -> Path:
    """`PREFIX.bin`; the prefix itself may hold dots."""
    return Path(f"{os.fspath(prefix)}.bin")


def idx_path(prefix: str | os.PathLike[str]) -> Path:
    """`PREFIX.idx`; the prefix itself may hold dots."""
    return Path(f"{os.fspath(prefix)}.idx")


class MMapWriter:
    """Writes one dataset; both files appear under their names only when the `with` block ends well.

    Memory is 12 to 14 bytes a document, whatever the size of the texts.

    Args:
        prefix: path without extension.
        dtype: type of a token on disk, see `token_dtype`.
    """

    def __init__(self, prefix: str | os.PathLike[str], dtype: np.dtype[np.generic] | type[np.generic]) -> None:
        self.prefix = Path(prefix)
        self.dtype = np.dtype(dtype)
        if self.dtype not in _CODES:
            raise ValueError(f"{self.dtype} has no code in this format")
        self._sizes = array.array("i")
        self._doc_idx = array.array("q", [0])
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> MMapWriter:
        with contextlib.ExitStack() as stack:
            self._idx = stack.enter_context(files.create(idx_path(self.prefix)))
            self._bin = stack.enter_context(files.create(bin_path(self.prefix), buffering=1 << 20))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                # an old index must not stand beside new tokens, should the process die between the two renames
                files.remove(idx_path(self.prefix))
                self._write_index()
            else:
                self._stack.__exit__(kind, error, trace)

    def add(self, tokens: Sequence[int] | np.ndarray) -> None:
        """Append one sequence. An empty one is not written, as in GPT-NeoX."""
        if len(tokens):
            self._bin.write(np.asarray(tokens, dtype=self.dtype).tobytes())
            self._sizes.append(len(tokens))

    def add_bytes(self, raw: bytes) -> int:
        """Append one sequence given as its bytes on disk; returns its tokens."""
        count = len(raw) // self.dtype.itemsize
        if count:
            self._bin.write(raw)
            self._sizes.append(count)
        return count

    def end_document(self) -> None:
        """The sequences added since the last call form one document."""
        self._doc_idx.append(len(self._sizes))

    def merge(self, prefix: str | os.PathLike[str]) -> None:
        """Append another dataset of the same dtype, doc_idx included.

        Raises:
            HaigoError: the other dataset is damaged, has lost its document index, or holds another dtype.
        """
        other = MMapReader(prefix)
        wrong = other.problems()
        if wrong:
            raise HaigoError(f"{idx_path(prefix)}: {wrong[0]}.", _REBUILD)
        if other.dtype != self.dtype:
            raise HaigoError(
                f"{bin_path(prefix)} holds {other.dtype} tokens and {bin_path(self.prefix)} {self.dtype}.",
                "merge datasets made with the same tokenizer only",
            )
        before = len(self._sizes)
        for at in range(0, len(other.sizes), _CHUNK):  # in pieces: an index may be large
            self._sizes.frombytes(other.sizes[at : at + _CHUNK].astype(np.int32).tobytes())
        for at in range(1, len(other.doc_idx), _CHUNK):
            self._doc_idx.frombytes((other.doc_idx[at : at + _CHUNK] + before).astype(np.int64).tobytes())
        with open(bin_path(prefix), "rb") as source:
            shutil.copyfileobj(source, self._bin, 1 << 20)

    def _write_index(self) -> None:
        sizes = np.frombuffer(self._sizes, dtype=np.int32) if self._sizes else np.zeros(0, np.int32)
        doc_idx = np.frombuffer(self._doc_idx, dtype=np.int64)
        with self._idx as handle:
            handle.write(MAGIC)
            handle.write(struct.pack("<QBQQ", VERSION, _CODES[self.dtype], len(sizes), len(doc_idx)))
            handle.write(sizes.data)
            start = 0
            for at in range(0, len(sizes), _CHUNK):  # in pieces: no second copy of the whole index in memory
                part = sizes[at : at + _CHUNK]
                handle.write((_offsets(part, self.dtype.itemsize) + start).data)
                start += int(part.sum(dtype=np.int64)) * self.dtype.itemsize
            handle.write(doc_idx.data)


def sample_orders(prefix: Path) -> list[Path]:
    """The sample orders that GPT-NeoX keeps beside a dataset (`PREFIX_*indexmap_*.npy`)."""
    return sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}_*indexmap_*.npy"))


def put_sample_orders_aside(prefix: Path) -> None:
    """Rename a dataset's `sample_orders`: their names hold no digest, so that GPT-NeoX would use them for other data of the
    same name. It made them, so they are not removed."""
    for stale in sample_orders(prefix):
        files.put_aside(stale)


def _offsets(sizes: np.ndarray, itemsize: int) -> np.ndarray:
    """Byte offset of each sequence: the exclusive cumulative sum of the lengths, in 64 bits."""
    offsets = np.zeros(len(sizes), dtype=np.int64)
    np.cumsum(sizes[:-1], dtype=np.int64, out=offsets[1:])
    return offsets * itemsize


class MMapReader:
    """A dataset read through memory maps: nothing is loaded until it is asked for.

    Attributes:
        version: of the format; GPT-NeoX reads 1 only.
        sizes: int32 [sequences], lengths in tokens.
        offsets: int64 [sequences], byte offsets into .bin.
        doc_idx: int64 [documents + 1], as it stands there: other tools lose it or write it otherwise.
        tokens: [tokens], all tokens of the dataset in file order, of `dtype`.

    Raises:
        HaigoError: a file is missing, is not of this format, or is cut short; names the file and the sizes.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.prefix = Path(prefix)
        index, data = idx_path(prefix), bin_path(prefix)
        for path in (index, data):
            if not path.is_file():
                hint = "give the path without .bin or .idx" if str(prefix).endswith((".bin", ".idx")) else ""
                raise HaigoError(f"{path} does not exist.", hint or "check the path, or run preprocess.index")
        with open(index, "rb") as handle:
            header = handle.read(HEADER_BYTES)
        if header[:9] != MAGIC[: len(header[:9])] or len(header) < HEADER_BYTES:
            raise HaigoError(f"{index} is not an index of GPT-NeoX's mmap format.", _REBUILD)
        self.version, code, count, documents = struct.unpack("<QBQQ", header[9:])
        if self.version not in READABLE or code not in DTYPES:
            raise HaigoError(
                f"{index} has version {self.version} and dtype code {code}, which are not known.", _REBUILD
            )
        self.dtype = np.dtype(DTYPES[code])
        expected, found = HEADER_BYTES + count * 12 + documents * 8, index.stat().st_size
        # Megatron-LM may append one byte a sequence (modes); anything else does not belong to the file
        if found not in (expected, expected + count):
            raise HaigoError(f"{index} has {found:,} bytes and its header asks for {expected:,}.", _REBUILD)
        raw = np.memmap(index, dtype=np.uint8, mode="r")
        at = HEADER_BYTES
        self.sizes: np.ndarray = raw[at : at + count * 4].view("<i4")
        at += count * 4
        self.offsets: np.ndarray = raw[at : at + count * 8].view("<i8")
        at += count * 8
        self.doc_idx: np.ndarray = raw[at : at + documents * 8].view("<i8")
        total, stored = int(self.sizes.sum(dtype=np.int64)), data.stat().st_size
        if self.dtype.kind == "f" and total:  # GPT-NeoX's and Megatron-LM's codes of the two are each other's
            self.dtype = np.dtype(np.float32 if stored == total * 4 else np.float64)
        self.view = stored != total * self.dtype.itemsize and _is_view(self.prefix)
        if stored != total * self.dtype.itemsize and not self.view:
            raise HaigoError(
                f"{data} has {stored:,} bytes and its index asks for {total * self.dtype.itemsize:,}: "
                f"it is {'cut short' if stored < total * self.dtype.itemsize else 'too long'}.",
                _REBUILD,
            )
        empty: np.ndarray = np.zeros(0, dtype=self.dtype)  # an empty file cannot be mapped
        self.tokens: np.ndarray = np.memmap(data, dtype=self.dtype, mode="r") if total else empty
        if self.view and (outside := self._outside()):
            raise HaigoError(f"{index} is damaged: {outside}.", _VIEWED_AGAIN)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.sizes)

    def __getitem__(self, sequence: int) -> np.ndarray:
        """The tokens of one sequence, as a view of the map."""
        start = int(self.offsets[sequence]) // self.dtype.itemsize
        return self.tokens[start : start + int(self.sizes[sequence])]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[sequence] for sequence in range(len(self)))

    @property
    def documents(self) -> int:
        """Number of documents (documents without tokens included); of sequences where the document index is lost."""
        return len(self) if self.document_problems() else len(self.doc_idx) - 1

    def get(self, sequence: int, offset: int = 0, length: int | None = None) -> np.ndarray:
        """`length` tokens of one sequence from `offset` on; to its end when `length` is None."""
        whole = self[sequence]
        return whole[offset:] if length is None else whole[offset : offset + length]

    def problems(self, documents: bool = True) -> list[str]:
        """What is wrong with the structure, one sentence each; empty when it is sound.

        Args:
            documents: look at the document index too, which GPT-NeoX never uses and its own merge tool loses.
        """
        found = []
        if len(self.sizes) and int(self.sizes.min()) < 0:
            found.append("a sequence has a negative length")
        if not self.view and not self._offsets_follow():
            found.append("the byte offsets do not follow from the sequence lengths")
        return found + (self.document_problems() if documents else [])

    def document_problems(self) -> list[str]:
        """What is wrong with the document index alone."""
        if not len(self.doc_idx):
            return ["there is no document index"]
        problems = []
        if int(self.doc_idx[0]) != 0 or int(self.doc_idx[-1]) != len(self.sizes):
            problems.append(f"the document index ends at {int(self.doc_idx[-1])}, not at {len(self.sizes)} sequences")
        starts = range(0, len(self.doc_idx), _CHUNK)
        if any(np.any(np.diff(self.doc_idx[at : at + _CHUNK + 1]) < 0) for at in starts):
            problems.append("the document index goes backwards")
        return problems

    def of_tokens(self) -> MMapReader:
        """This dataset, if it holds whole numbers.

        Raises:
            HaigoError: it holds floating-point numbers, such as rewards.
        """
        if self.dtype.kind == "f":
            raise HaigoError(
                f"{bin_path(self.prefix)} holds {self.dtype} values, no tokens.", "name a dataset of tokens"
            )
        return self

    def _outside(self) -> str:
        """What is wrong with the ranges of a view; empty when all lie within the tokens."""
        for at in range(0, len(self.sizes), _CHUNK):
            starts, sizes = self.offsets[at : at + _CHUNK], self.sizes[at : at + _CHUNK].astype(np.int64)
            ends = starts + sizes * self.dtype.itemsize
            if np.any(starts < 0) or np.any(starts % self.dtype.itemsize) or np.any(sizes < 1):
                return "a sequence begins within a token"
            if np.any(ends > self.tokens.nbytes):
                return f"a sequence lies outside of {bin_path(self.prefix)}"
        return ""

    def _offsets_follow(self) -> bool:
        start = 0
        for at in range(0, len(self.sizes), _CHUNK):
            part = np.asarray(self.sizes[at : at + _CHUNK])
            if not np.array_equal(self.offsets[at : at + _CHUNK], _offsets(part, self.dtype.itemsize) + start):
                return False
            start += int(part.sum(dtype=np.int64)) * self.dtype.itemsize
        return True


_REBUILD = "make the dataset again with preprocess.index"
_VIEWED_AGAIN = "make it again with launch.configs"


def write_view(
    prefix: str | os.PathLike[str], source: str | os.PathLike[str], starts: np.ndarray, sizes: np.ndarray
) -> None:
    """Write a dataset whose sequences are any ranges of another's tokens, in any order: an index of its own beside a second
    name of the other's `.bin`. `MMapReader` takes it where its manifest says `view`.

    Args:
        prefix: path without extension.
        source: prefix of the dataset whose tokens they are.
        starts: int64 [sequences], first token of each.
        sizes: int32 [sequences], tokens of each.
    """
    dtype = MMapReader(source).dtype
    files.link(bin_path(prefix), bin_path(source))
    with files.create(idx_path(prefix)) as handle:
        handle.write(MAGIC)
        handle.write(struct.pack("<QBQQ", VERSION, _CODES[dtype], len(sizes), 2))
        handle.write(np.ascontiguousarray(sizes, dtype="<i4").data)
        handle.write(np.ascontiguousarray(starts * dtype.itemsize, dtype="<i8").data)
        handle.write(np.array([0, len(sizes)], dtype="<i8").data)


def _is_view(prefix: Path) -> bool:
    note = Path(f"{prefix}.json")
    content = files.read_json(note) if note.is_file() else None
    return isinstance(content, dict) and isinstance(content.get("view"), dict)


def merge(prefixes: Sequence[str | os.PathLike[str]], output_prefix: str | os.PathLike[str]) -> None:
    """Concatenate datasets of one dtype in the given order, keeping the document index.

    Raises:
        HaigoError: no input, a damaged input, or different dtypes.
    """
    if not prefixes:
        raise HaigoError("there is no dataset to merge.", "name at least one prefix")
    with MMapWriter(output_prefix, MMapReader(prefixes[0]).dtype) as writer:
        for prefix in prefixes:
            writer.merge(prefix)


def take_over(prefix: str | os.PathLike[str]) -> None:
    """Enter a dataset of an earlier version, which kept no journal, as ours: its manifest has the digests of both files."""
    note, both = Path(f"{os.fspath(prefix)}.json"), (bin_path(prefix), idx_path(prefix))
    if note.is_file() and not files.made(note) and all(path.is_file() for path in both):
        with contextlib.suppress(HaigoError):
            stated = files.read_record(note, {"tool": str, "bin_sha256": str, "idx_sha256": str})
            if [stated["bin_sha256"], stated["idx_sha256"]] == [files.sha256_file(path) for path in both]:
                files.adopt([note, *both])
