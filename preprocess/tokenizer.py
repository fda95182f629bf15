"""The only tokenizer adapter of Haigo (SentencePiece ids, exactly), and the command that trains a model.

    python -m preprocess.tokenizer CLEANED_DIR... --vocab-size 50000 --output-dir TOKENIZER
           [--sample SAMPLE | --chars-per-corpus N] [--model-type unigram|bpe] [--seed 1234] [--threads 1]
           [--unseen CLEANED_DIR...] [--compare OTHER...] [--adopt MODEL] [--check-chars N] [--force]

CLEANED_DIR is a folder that preprocess.clean wrote, SAMPLE one that preprocess.sample wrote. Memory and time are told before
training starts, and what will not fit in the machine's memory is refused (exit code 3, --force tries it all the same). The
tokenizer folder holds `spm.model`, `meta.json` (options, seed, end-of-document piece; losslessness and characters a token of
every corpus, also of --unseen ones; the differences of `tokenizer.json`) and the files that Hugging Face reads. --compare
prints characters a token beside other tokenizers: SentencePiece models or Hugging Face folders.
Training is in `preprocess.tokenizer_train`, the Hugging Face side in `preprocess.hf_tokenizer`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import cli, files
from haigo.cli import HaigoError, Refused

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

    from .hf_foreign import ForeignTokenizer
    from .hf_open import Opened
    from .hf_tokenizer import HaigoTokenizer

EOD_PIECE = "<|endoftext|>"
PAD_PIECE = "<|padding|>"
MODEL_NAME = "spm.model"
META_NAME = "meta.json"


class Tokenizer:
    """SentencePiece behind the few words that the rooms use. Encoding adds nothing: no BOS, no EOD.

    Attributes:
        path: the model file.
        vocab_size: number of pieces, unpadded.
        eod_id: id of `<|endoftext|>`, which ends a document.
        pad_id: id of `<|padding|>`, or None when the model has no such piece.
        sha256: digest of the model file.
        processor: the SentencePieceProcessor itself.
    """

    def __init__(self, path: Path, processor: SentencePieceProcessor, sha256: str) -> None:
        self.path, self.processor, self.sha256 = path, processor, sha256
        self.vocab_size: int = processor.get_piece_size()
        self.eod_id: int = processor.piece_to_id(EOD_PIECE)
        pad = processor.piece_to_id(PAD_PIECE)
        self.pad_id: int | None = None if pad == processor.unk_id() else pad

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (self.path,)

    def encode(self, text: str) -> list[int]:
        """Ids of one text."""
        return self.processor.encode(text)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of many texts, in one thread; faster than one by one."""
        return self.processor.encode(texts, num_threads=1)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; `<|endoftext|>` and `<|padding|>` give nothing."""
        return self.processor.decode([int(token) for token in ids])


def load(folder_or_model: str | os.PathLike[str], *, require_eod: bool = True) -> Tokenizer:
    """Load a tokenizer folder, or a SentencePiece model file.

    Args:
        require_eod: refuse a model without the piece `<|endoftext|>`. Models of other projects end a text with another
            token; their `eod_id` here is that of `<unk>`.

    Raises:
        HaigoError: missing, not a SentencePiece model, or without the piece `<|endoftext|>` (GPT-NeoX would silently
            end every document with `<unk>`).
        Refused: the model is not the one that the folder's `meta.json` speaks of.
    """
    path = model_path(folder_or_model)
    from sentencepiece import SentencePieceProcessor

    files.require_file(path)
    blob = path.read_bytes()
    processor = SentencePieceProcessor()
    try:
        if not blob or not processor.LoadFromSerializedProto(blob) or not processor.get_piece_size():
            raise RuntimeError
    except RuntimeError:
        raise HaigoError(f"{path} is not a SentencePiece model.", "name a tokenizer folder or its spm.model") from None
    if require_eod and processor.piece_to_id(EOD_PIECE) == processor.unk_id():
        raise HaigoError(
            f"{path} has no piece {EOD_PIECE}, so documents could not be ended (GPT-NeoX would use <unk> in silence).",
            "train the model with that piece as a control symbol, as preprocess.tokenizer does",
        )
    import hashlib

    sha256 = hashlib.sha256(blob).hexdigest()
    _require_unchanged(path, sha256)
    return Tokenizer(path.absolute(), processor, sha256)


def _require_unchanged(path: Path, sha256: str) -> None:
    """Refuse a model that is not the one which the folder's `meta.json` speaks of: its ids would mean other pieces."""
    noted = path.with_name(META_NAME)
    if path.name != MODEL_NAME or not noted.is_file():
        return
    known = files.read_json(noted)
    if isinstance(known, dict) and "eod_piece" in known and known.get("sha256") not in (None, sha256):
        raise Refused(
            f"{path} was changed since the tokenizer was made (its sha256 is not that of {META_NAME}).",
            "put the model back as it was, or make the tokenizer again",
        )


def model_path(folder_or_model: str | os.PathLike[str]) -> Path:
    """The model file of a tokenizer folder, or the file itself.

    Raises:
        HaigoError: there is none.
    """
    given = Path(folder_or_model)
    path = given / MODEL_NAME if given.is_dir() else given
    if not path.is_file():
        raise HaigoError(f"{path} does not exist.", "name a tokenizer folder or a SentencePiece model file")
    return path


def meta(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What training recorded (`meta.json`)."""
    return files.read_json(Path(folder) / META_NAME)


def hf_adapter(folder: str | os.PathLike[str]) -> HaigoTokenizer:
    """The tokenizer as a transformers object with sentencepiece's ids; see `preprocess.hf_tokenizer`."""
    from .hf_tokenizer import HaigoTokenizer

    return HaigoTokenizer(vocab_file=str(model_path(folder)))


def foreign(folder: str | os.PathLike[str]) -> ForeignTokenizer | None:
    """The SentencePiece model of another project in a model folder, with its own ids; None when there is none."""
    from .hf_foreign import ForeignTokenizer, find

    return ForeignTokenizer(folder) if find(folder) else None


def open_hf(place: str | os.PathLike[str], **options: Any) -> Opened:
    """The tokenizer of a model folder or of a name on the Hugging Face hub, whatever its kind, with ids that are proved; see
    `preprocess.hf_open`."""
    from .hf_open import open_tokenizer

    return open_tokenizer(place, **options)


def plain_probes() -> Sequence[str]:
    """Texts on which tokenizers are told apart; see `preprocess.hf_probes`."""
    from .hf_probes import PLAIN

    return PLAIN


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
    from . import tokenizer_adopt, tokenizer_compare, tokenizer_train
    from .sample import corpora_of

    corpora, unseen = corpora_of(args.corpora), corpora_of(args.unseen)
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
