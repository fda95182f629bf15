"""Trains a SentencePiece model that gives every text back unchanged, and checks it on the corpora.

    python -m preprocess.tokenizer CLEANED_DIR... --vocab-size 50000 --output-dir TOKENIZER
           [--sample SAMPLE | --chars-per-corpus N] [--model-type unigram|bpe] [--seed 1234] [--threads 1]
           [--unseen CLEANED_DIR...] [--compare OTHER...] [--adopt MODEL] [--check-chars N] [--force]

CLEANED_DIR is a folder that preprocess.clean wrote, SAMPLE one that preprocess.sample wrote. Memory and time are told before
training starts, and what will not fit in the machine's memory is refused (exit code 3, --force tries it all the same). The
tokenizer folder holds `spm.model`, `meta.json` (options, seed, end-of-document piece; losslessness and characters a token of
every corpus, also of --unseen ones; the differences of `tokenizer.json`) and the files that Hugging Face reads. --compare
prints characters a token beside other tokenizers: SentencePiece models or Hugging Face folders.
Training is in `preprocess.tokenizer_train`, reading a tokenizer in `haigo.formats.tokenizer`.
"""

from __future__ import annotations

from collections.abc import Sequence

from haigo import cli
from haigo.cli import HaigoError
from haigo.formats.tokenizer import Tokenizer, foreign, hf_adapter, load, meta, model_path, open_hf

__all__ = ["Tokenizer", "foreign", "hf_adapter", "load", "main", "meta", "model_path", "open_hf"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("preprocess.tokenizer", __doc__)
    parser.add_argument("corpora", nargs="+", metavar="CLEANED_DIR", help="folders written by preprocess.clean")
    parser.add_argument("--output-dir", "--output_dir", required=True, help="tokenizer folder to write")
    parser.add_argument("--vocab-size", "--vocab_size", type=cli.few, default=50000, help="pieces (default 50000)")
    parser.add_argument("--sample", help="folder written by preprocess.sample: its text is trained on")
    parser.add_argument(
        "--chars-per-corpus",
        "--chars_per_corpus",
        type=cli.count,
        default=3_000_000,
        help="without --sample: training text of each corpus",
    )
    parser.add_argument("--model-type", "--model_type", choices=("unigram", "bpe"), default="unigram")
    parser.add_argument("--seed", type=cli.seed, default=1234, help="draws the training text (default 1234)")
    parser.add_argument("--threads", type=cli.few, default=1, help="other numbers may give other pieces (default 1)")
    parser.add_argument("--unseen", nargs="+", default=[], metavar="CLEANED_DIR", help="corpora that are only checked")
    parser.add_argument("--compare", nargs="+", default=[], metavar="OTHER", help="other tokenizers, measured beside")
    parser.add_argument("--adopt", metavar="MODEL", help="take this model in and measure it, instead of training one")
    parser.add_argument(
        "--check-chars", "--check_chars", type=cli.count, help="check a random part of each corpus (default: all)"
    )
    parser.add_argument("--force", action="store_true", help="train even if the memory seems not to be enough")
    parser.add_argument("--json", action="store_true", help="print meta.json")
    args = parser.parse_args(argv)
    if args.adopt and args.sample:
        raise HaigoError("--adopt and --sample exclude each other.", "a model that is there needs no training text")
    from haigo.formats import documents

    from . import tokenizer_adopt, tokenizer_compare, tokenizer_train

    corpora, unseen = documents.corpora(args.corpora), documents.corpora(args.unseen) if args.unseen else {}
    if args.adopt:
        made = tokenizer_adopt.adopt(
            args.adopt,
            args.output_dir,
            corpora | unseen,
            seed=args.seed,
            compare=args.compare,
            check_chars=args.check_chars,
        )
    else:
        made = tokenizer_train.train(
            corpora,
            args.output_dir,
            vocab_size=args.vocab_size,
            chars_per_corpus=args.chars_per_corpus,
            model_type=args.model_type,
            seed=args.seed,
            threads=args.threads,
            sample=args.sample,
            unseen=unseen,
            compare=args.compare,
            check_chars=args.check_chars,
            force=args.force,
        )
    if args.json:
        import json

        print(json.dumps(made, ensure_ascii=False, indent=2))
        return cli.OK
    rows = {name: row for name, row in made["corpora"].items() if "documents" in row}
    lossy = sum(row["documents"] - row["lossless"] for row in rows.values())
    kept = "lossless on every document" if not lossy else f"{lossy:,} documents do not come back unchanged"
    print(f"{args.output_dir}: {made['vocab_size']:,} pieces, {kept}")
    for name, row in rows.items():
        print(f"  {name}: {row['characters_per_token']:.3f} characters a token ({row['documents']:,} documents)")
    if "compared" in made:
        print(tokenizer_compare.table(made["compared"]))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
