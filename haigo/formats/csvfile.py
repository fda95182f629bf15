"""A CSV file as text cells, with everything that can be wrong with it told in one sentence.

Commas, semicolons or tabs between the cells, decided by what splits every line alike; UTF-8 or UTF-16. What a
spreadsheet adds (`sep=;`, an unnamed column of row numbers, empty lines) is passed over.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_BINARY = {b"PK\x03\x04": "an Excel file", b"\xd0\xcf\x11\xe0": "an Excel file", b"PAR1": "a parquet file"}
_BINARY |= {b"\x1f\x8b": "a gzip file", b"\x28\xb5\x2f\xfd": "a zstd file"}
_SAVE = "save it as UTF-8 CSV with one header line"

KEYS = frozenset({"run", "index", "run_id", "name", "Name", "corpus"})
"""Columns that say what a row is about."""

Row = tuple[int, list[str]]
"""Line of the file (from 1) and its cells."""


def read(path: str | os.PathLike[str]) -> Any:
    """A DataFrame of strings, empty cells as "", everything stripped; `attrs["lines"]` says where each row stands.

    Raises:
        HaigoError: missing, a folder, not a CSV table, a line of another length than the header, or a column given twice.
    """
    import pandas as pd

    (_, names), lines = rows(path)
    if not lines:
        raise HaigoError(f"{path} has no rows.", "it needs a header and one row a run or corpus")
    for line, cells in lines:
        if len(cells) != len(names):
            raise HaigoError(
                f"{path}, line {line}: {len(cells)} cells, and the header has {len(names)}.", "mend that line"
            )
        if cells == names:
            raise HaigoError(
                f"{path}, line {line} is the header once more.", "remove it, and look what was joined there"
            )
    unnamed = [j for j, name in enumerate(names) if not name or re.fullmatch(r"Unnamed: \d+(\.\d+)?", name)]
    named = [name for j, name in enumerate(names) if j not in unnamed]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise HaigoError(f"{path} has the column '{twice}' twice.", "keep one of them")
    # a first column without a name says which run it is, where no other does: so pandas writes an index
    keyed = bool(KEYS & set(named))
    idle = [j for j in unnamed if _says_nothing([cells[j] for _, cells in lines], keyed and j < len(unnamed))]
    kept = [j for j in range(len(names)) if j not in idle or (j == 0 and not keyed)]
    for j in kept:
        if j in unnamed and (j > 0 or keyed):
            raise HaigoError(f"{path}: column {j + 1} has no name.", "name it in the header, or remove it")
    table = pd.DataFrame([[cells[j] for j in kept] for _, cells in lines], columns=[names[j] for j in kept], dtype=str)
    table.attrs["lines"] = [line for line, _ in lines]
    return table


def _says_nothing(cells: list[str], index: bool) -> bool:
    """Row numbers, or nothing at all; of an `index` in front, which was filtered or shuffled since, any numbers once each."""
    if index and len(set(cells)) == len(cells) and all(cell.isascii() and cell.isdigit() for cell in cells):
        return True
    return not any(cells) or any(cells == [str(first + i) for i in range(len(cells))] for first in (0, 1))


def rows(path: str | os.PathLike[str]) -> tuple[Row, list[Row]]:
    """The header and the rows, each with its line; empty lines are passed over.

    Raises:
        HaigoError: missing, a folder, or not a CSV table.
    """
    text = _text(path)
    noted = re.match(r"sep=(.)\r?\n", text)
    first = 1 if noted else 0  # a spreadsheet's note on itself is no row
    split: dict[str, list[Row]] = {}
    reason = ""
    for mark in [noted[1]] if noted else _DELIMITERS:
        try:
            split[mark] = _split(text, mark)[first:]
        except csv.Error as error:
            reason = f": {error}" if mark in text.partition("\n")[0] or not reason else reason
    wide = {mark: rows for mark, rows in split.items() if rows and len(rows[0][1]) > 1}
    if not split or (reason and not wide):
        raise HaigoError(f"{path} is not a CSV table{reason}.", _SAVE)
    if not any(split.values()):
        raise HaigoError(f"{path} is not a CSV table: it is empty.", _SAVE)
    alike = {mark: rows for mark, rows in wide.items() if len({len(cells) for _, cells in rows}) == 1}
    if len(alike) > 1:
        marks = " and ".join(_DELIMITERS.get(mark, mark) for mark in alike)
        raise HaigoError(f"{path} can be split at {marks}.", "use commas between cells and nowhere else")
    # where nothing splits all lines alike, the first mark of the header does, and the line that differs is named
    chosen = next(iter(alike or wide or split))
    header, *others = (alike or wide or split)[chosen]
    return header, others


def _split(text: str, mark: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=mark, skipinitialspace=True, strict=True)
    rows: list[Row] = []
    before = 0
    for cells in reader:
        if any(cell.strip() for cell in cells):
            rows.append((before + 1, [cell.strip() for cell in cells]))
        before = reader.line_num
    return rows


def _text(path: str | os.PathLike[str]) -> str:
    if not Path(path).is_file():
        missing = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
        raise HaigoError(f"{path} {missing}.", "check the path")
    content = Path(path).read_bytes()
    for magic, what in _BINARY.items():
        if content.startswith(magic):
            raise HaigoError(f"{path} is {what}, not a CSV table.", _SAVE)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise HaigoError(f"{path} is not a CSV table: it is not UTF-8 text (byte {error.start}).", _SAVE) from None
    if "\0" in text:
        raise HaigoError(f"{path} is not a CSV table: it holds NUL bytes.", _SAVE)
    return text


def why_no_number(cell: str) -> str:
    """What to do about a cell that should be a number."""
    if re.fullmatch(r"[+-]?\d+,\d+(e[+-]?\d+)?", cell, re.IGNORECASE):
        return "write decimal points, not commas, and no marks between thousands"
    if re.fullmatch(r"[+-]?\d[\d,.' ]*\d", cell):
        return "leave the marks between thousands away"
    if cell.endswith("%"):
        return "write a share instead of a percentage: 0.12 for 12%"
    return "put a finite number there, or drop the run"


def write_rows(path: Path, header: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> None:
    """Write a table of cells, atomically: the row's name, then the cells of the other columns."""
    with files.create(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        for name, cells in rows.items():
            writer.writerow([name, *(cells[column] for column in header[1:])])
