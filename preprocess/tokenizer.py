"""Trains a SentencePiece model that gives every text back unchanged, and checks it on the corpora.

    python -m preprocess.tokenizer CLEANED_DIR... --vocab-size 50000 --output-dir TOKENIZER
           [--sample SAMPLE | --chars-per-corpus N] [--model-type unigram|bpe] [--seed 1234] [--threads 1]
           [--unseen CLEANED_DIR...] [--compare OTHER...] [--check-chars N] [--exact-json] [--force]
    python -m preprocess.tokenizer CLEANED_DIR... --adopt MODEL_OR_FOLDER [--eod-piece '</s>'] --output-dir TOKENIZER

CLEANED_DIR is a folder that preprocess.clean wrote, SAMPLE one that preprocess.sample wrote. Memory and time are told before
training starts, and what will not fit in the machine's memory is refused (exit code 3, --force tries it all the same). The
tokenizer folder holds `spm.model`, `meta.json` (options, seed, end-of-document piece; losslessness and characters a token of
every corpus, also of --unseen ones; the differences of `tokenizer.json`) and the files that Hugging Face reads. --compare
prints characters a token beside other tokenizers: SentencePiece models or Hugging Face folders. A `tokenizer.json` that cuts a
checked text otherwise than `spm.model` is said, and with --exact-json left out. --adopt takes a tokenizer of another project
in, with its own ids (`preprocess.tokenizer_adopt`).
Training is in `preprocess.tokenizer_train`, reading a tokenizer in `haigo.formats.tokenizer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from haigo import cli, flags
from haigo.formats.tokenizer import Tokenizer, foreign, hf_adapter, load, meta, model_path, open_hf

from .options import TokenizerCommand

__all__ = ["Tokenizer", "foreign", "hf_adapter", "load", "main", "meta", "model_path", "open_hf"]


def _table(meta: dict[str, Any]) -> str:
    """`meta.json` as a few lines to read."""
    from .tokenizer_compare import table as beside

    rows = {name: row for name, row in meta["corpora"].items() if "documents" in row}
    lossy = sum(row["documents"] - row["lossless"] for row in rows.values())
    kept = "lossless on every document" if not lossy else f"{lossy:,} documents do not come back unchanged"
    lines = [f"{meta['vocab_size']:,} pieces, {kept}"]
    for name, row in rows.items():
        lines.append(f"  {name}: {row['characters_per_token']:.3f} characters a token ({row['documents']:,} documents)")
    return "\n".join(lines + ([beside(meta["compared"])] if "compared" in meta else []))


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.tokenizer", __doc__, TokenizerCommand, argv)
    from haigo.formats import documents

    from . import tokenizer_adopt, tokenizer_train

    corpora, unseen = documents.corpora(options.corpora), documents.corpora(options.unseen) if options.unseen else {}
    if options.adopt:
        made = tokenizer_adopt.adopt(
            options.adopt, options.output_dir, corpora | unseen, options, eod_piece=options.eod_piece
        )
    else:
        made = tokenizer_train.train(corpora, options.output_dir, options, unseen=unseen)
    cli.show(made, lambda meta: f"{options.output_dir}: {_table(meta)}", options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
