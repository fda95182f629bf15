"""Takes an existing SentencePiece model in as a tokenizer folder: checked on the corpora, not trained.

For teams that have a tokenizer already. What it does to the text is measured and recorded in `meta.json`; a model that does
not give every document back (one with nmt_nfkc normalisation, say) is taken all the same, since its owner chose it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import files
from haigo.formats.tokenizer import load

from . import tokenizer_folder
from .options import MeasureOptions
from .tokenizer_folder import Made


def adopt(
    given: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    corpora: Mapping[str, str | os.PathLike[str]],
    options: MeasureOptions | None = None,
) -> dict[str, Any]:
    """Make a tokenizer folder from a model file or another tokenizer folder.

    Args:
        given: tokenizer folder, or SentencePiece model file.
        output_dir: the folder to make; `meta.json` is written last.
        corpora: corpus name -> folder written by preprocess.clean, to measure it on.
        options: how it is measured.

    Returns:
        What `meta.json` holds: as for a trained one, without training options.

    Raises:
        HaigoError: not a SentencePiece model, or one without the piece `<|endoftext|>`.
    """
    model = Made(load(given).path.read_bytes(), {"adopted_from": Path(given).name}, strict=False)
    with files.owner(output_dir):
        return tokenizer_folder.write(model, output_dir, corpora, options or MeasureOptions())
