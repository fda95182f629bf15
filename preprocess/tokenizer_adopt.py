"""Takes an existing SentencePiece model in as a tokenizer folder: checked on the corpora, not trained.

For teams that have a tokenizer already. What it does to the text is measured and recorded in `meta.json`; a model that does
not give every document back (one with nmt_nfkc normalisation, say) is taken all the same, since its owner chose it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import __version__, files

from . import hf_tokenizer
from .tokenizer import EOD_PIECE, META_NAME, MODEL_NAME, load
from .tokenizer_train import check, tokenizer_json_differences


def adopt(
    given: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    corpora: Mapping[str, str | os.PathLike[str]],
    *,
    seed: int = 1234,
) -> dict[str, Any]:
    """Make a tokenizer folder from a model file or another tokenizer folder.

    Args:
        given: tokenizer folder, or SentencePiece model file.
        output_dir: the folder to make; `meta.json` is written last.
        corpora: corpus name -> folder written by preprocess.clean, to measure it on.
        seed: key of the sample on which `tokenizer.json` is compared.

    Returns:
        What `meta.json` holds: as for a trained one, without training options.

    Raises:
        HaigoError: not a SentencePiece model, or one without the piece `<|endoftext|>`.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / META_NAME).unlink(missing_ok=True)
    with files.atomic(folder / MODEL_NAME) as temporary:
        temporary.write_bytes(load(given).path.read_bytes())
    tokenizer = load(folder)
    hf_tokenizer.write_hf_files(tokenizer.processor, folder)
    meta = {
        "vocab_size": tokenizer.vocab_size,
        "eod_piece": EOD_PIECE,
        "eod_id": tokenizer.eod_id,
        "pad_id": tokenizer.pad_id,
        "sha256": tokenizer.sha256,
        "options": {"adopted_from": Path(given).name},
        "corpora": {name: check(tokenizer, place, name, strict=False) for name, place in corpora.items()},
        "tokenizer_json": tokenizer_json_differences(tokenizer, folder, corpora, seed),
        "tool": f"haigo {__version__}",
    }
    files.write_json(folder / META_NAME, meta)
    return meta
