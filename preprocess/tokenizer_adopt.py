"""Takes an existing tokenizer in as a tokenizer folder: checked on the corpora, not trained.

    python -m preprocess.tokenizer CLEANED_DIR... --adopt MODEL_OR_FOLDER [--eod-piece '</s>'] --output-dir TOKENIZER

For teams that have a tokenizer already, and for those who go on with somebody's weights: a SentencePiece model, a
`tokenizer.json` (BPE or Unigram), or a folder with one. What is written holds the same ids, with the piece that ends a document
under the name that GPT-NeoX looks for (`haigo.formats.tokenizer.adopted`). What it does to the text is measured and recorded in
`meta.json`; one that does not give every document back (one with nmt_nfkc normalisation, say) is taken all the same and a line
says so, since its owner chose it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import files
from haigo.formats.tokenizer import adopted

from . import tokenizer_folder
from .options import MeasureOptions
from .tokenizer_folder import Made


def adopt(
    given: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    corpora: Mapping[str, str | os.PathLike[str]],
    options: MeasureOptions | None = None,
    *,
    eod_piece: str | None = None,
) -> dict[str, Any]:
    """Make a tokenizer folder from a tokenizer that is there.

    Args:
        given: tokenizer folder of whatever project, SentencePiece model file or tokenizer.json.
        output_dir: the folder to make; `meta.json` is written last.
        corpora: corpus name -> folder written by preprocess.clean, to measure it on.
        options: how it is measured.
        eod_piece: the piece that ends a document, as it is called there; `<|endoftext|>` where it has that.

    Returns:
        What `meta.json` holds: as for a trained one, without training options; `kind`, and under `options` the original's name,
        sha256 and end piece and how the ids were proved.

    Raises:
        HaigoError: no tokenizer that can be read, or it has no such piece.
        Refused: no piece that ends a document is named, or an input lies where the folder is to be.
    """
    taken = adopted.adopt(given, eod_piece)
    for warning in taken.warnings:
        print(f"haigo: {warning}", file=sys.stderr)
    tokenizer_folder.own(Path(output_dir), [given, *corpora.values()])
    made = Made(taken.content, taken.record, strict=False, kind=taken.kind, chat_template=taken.chat_template)
    with files.owner(output_dir):
        meta = tokenizer_folder.write(made, output_dir, corpora, options or MeasureOptions())
    rows = meta["corpora"].values()
    if changed := sum(row["documents"] - row["lossless"] for row in rows):
        print(
            f"haigo: {output_dir} does not give {changed:,} of {sum(row['documents'] for row in rows):,} documents back as "
            "they were (a normaliser, or pieces that it lacks): models trained on it never see those letters.",
            file=sys.stderr,
        )
    return meta
