"""Parquet tables: one row a document, the text in one column. Read in batches of rows, never as a whole."""

from __future__ import annotations

import io
from collections.abc import Iterator

from haigo.cli import HaigoError, nearest
from haigo.formats.documents.broken import Broken
from haigo.formats.documents.containers import Entry
from haigo.formats.documents.document import Document
from haigo.formats.documents.jsonl import from_row

_ROWS = 512


def read(entry: Entry, text_key: str = "text", broken: Broken | None = None) -> Iterator[Document]:
    """The documents of one table.

    Raises:
        HaigoError: not a readable table, or no such column (names the columns that are there), or a row without text that
            `broken` does not allow.
    """
    import pyarrow
    import pyarrow.parquet as pq

    broken = broken or Broken()
    try:
        # parquet is read from its end: inside a tar or another packing it must be held in memory
        table = pq.ParquetFile(entry.on_disk or io.BytesIO(entry.read()))
        names = table.schema_arrow.names
        if text_key not in names:
            raise HaigoError(
                f"{entry.name} has no column '{text_key}'; it has {', '.join(names)}.{nearest(text_key, names)}",
                "name the column that holds the text with --text-key",
                option="text_key",
            )
        number = 0
        for batch in table.iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist():
                number += 1
                try:
                    document = from_row(row, text_key, f"{entry.name} (row {number})")
                except HaigoError as error:
                    broken.note(error)
                    continue
                yield document
    except (pyarrow.ArrowException, OSError) as error:
        raise HaigoError(
            f"{entry.name} is not a readable parquet file ({str(error).splitlines()[0]}).", "fetch or write it again"
        ) from None
