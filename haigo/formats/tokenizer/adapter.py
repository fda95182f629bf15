"""The tokenizer for Hugging Face: an adapter with sentencepiece's own ids, and a `tokenizer.json` for other programs.

transformers 5 rebuilds SentencePiece models as fast tokenizers and changes ids on the way (prefix blanks, newlines,
byte pieces). `HaigoTokenizer` asks sentencepiece itself, so ids are those of training. `tokenizer.json` serves programs
that know nothing else. A text that spells a special piece is text there, too. Where two cuts are equally likely (a long
blank before a short one, or behind it), sentencepiece takes the one that its 32-bit sums make larger, which depends on all
that stands before: it cuts one and the same run now this way, now that, and no tokenizer.json can follow it. How often the
two differ is counted by `preprocess.tokenizer_folder`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import PreTrainedTokenizer

from haigo import files

from . import spm_file
from .model import EOD_PIECE, FILES, JSON_LEFT_OUT, JSON_NAME, META_NAME, MODEL_NAME, PAD_PIECE, Tokenizer
from .view import can_be_written, fast_tokenizer

CONFIG_NAME = "tokenizer_config.json"


class OwnText:
    """What a tokenizer of transformers asks its class to decode, as a list of ids; `_text_of` says what they are."""

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(token) for token in token_ids]
        return self._text_of(ids, skip_special_tokens, clean_up_tokenization_spaces)

    def _text_of(self, ids: list[int], skip_special: bool, clean_up: bool | None) -> str:
        raise NotImplementedError


class HaigoTokenizer(OwnText, PreTrainedTokenizer):
    """A transformers tokenizer whose ids are sentencepiece's.

    Special pieces are never read out of text, and nothing is added to it. `save_pretrained(folder)` copies the
    tokenizer folder's files, so that AutoTokenizer and other programs can load it from there.

    Args:
        vocab_file: a SentencePiece model file.
    """

    vocab_files_names = {"vocab_file": MODEL_NAME}  # noqa: RUF012  (transformers' own way of declaring it)
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012
    reads_special = False
    """Special tokens are read out of text: a chat template writes them there."""

    def __init__(self, vocab_file: str, **kwargs: Any) -> None:
        self.vocab_file = vocab_file
        self.sp_model = sentencepiece.SentencePieceProcessor(model_proto=Path(vocab_file).read_bytes())
        unk = self.sp_model.id_to_piece(self.sp_model.unk_id())
        pad_known = self.sp_model.piece_to_id(PAD_PIECE) != self.sp_model.unk_id()
        defaults: dict[str, Any] = {
            "eos_token": EOD_PIECE,
            "bos_token": EOD_PIECE,
            "unk_token": unk,
            "pad_token": PAD_PIECE if pad_known else EOD_PIECE,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,
            "special_tokens_pattern": "none",
        }
        super().__init__(**(defaults | kwargs))

    @property
    def vocab_size(self) -> int:
        return self.sp_model.get_piece_size()

    def get_vocab(self) -> dict[str, int]:
        return {self.sp_model.id_to_piece(number): number for number in range(self.vocab_size)}

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        """Pieces of a text, as sentencepiece cuts it; no option changes that, but `reads_special`."""
        if not self.reads_special:
            return self.sp_model.encode(text, out_type=str)
        special = [token for token in self.all_special_tokens if token != self.unk_token]
        parts = re.split("(" + "|".join(map(re.escape, special)) + ")", text)
        return [
            piece
            for part in parts
            for piece in ([part] if part in special else self.sp_model.encode(part, out_type=str))
        ]

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return self.tokenize(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.sp_model.piece_to_id(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.sp_model.id_to_piece(index) if index < self.vocab_size else ""

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return self.sp_model.decode_pieces(list(tokens))

    def _text_of(self, ids: list[int], skip_special: bool, clean_up: bool | None) -> str:
        ids = [token for token in ids if token < self.vocab_size]  # a model's padded vocabulary has more, without text
        if skip_special:
            return self.sp_model.decode(ids)
        parts: list[str] = []
        run: list[int] = []
        for token in ids:  # sentencepiece gives nothing for a control symbol: spell these out
            if self.sp_model.is_control(token):
                parts += [self.sp_model.decode(run), self.sp_model.id_to_piece(token)]
                run = []
            else:
                run.append(token)
        return "".join([*parts, self.sp_model.decode(run)])

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        target = Path(save_directory) / f"{filename_prefix + '-' if filename_prefix else ''}{MODEL_NAME}"
        if target.absolute() != Path(self.vocab_file).absolute():
            target.parent.mkdir(parents=True, exist_ok=True)
            files.copy(self.vocab_file, target)
        return (str(target),)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> tuple[str, ...]:  # type: ignore[override]
        """Copy the tokenizer folder's files to `save_directory` and return their paths."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        source = Path(self.vocab_file).parent
        saved = list(self.save_vocabulary(str(folder)))
        for name in FILES[1:]:
            if (source / name).is_file() and (source / name).absolute() != (folder / name).absolute():
                files.copy(source / name, folder / name)
                saved.append(str(folder / name))
        noted = files.read_json(source / META_NAME) if (source / META_NAME).is_file() else {}
        if not (folder / "tokenizer.json").is_file() and not noted.get(JSON_LEFT_OUT):  # the model came as a bare file
            saved += [str(path) for path in write_hf_files(self.sp_model, folder)]
        return tuple(saved)


def write_hf_files(processor: sentencepiece.SentencePieceProcessor, folder: Path) -> list[Path]:
    """Write tokenizer.json (where one can stand for the model), tokenizer_config.json and special_tokens_map.json."""
    unk = processor.id_to_piece(processor.unk_id())
    pad = PAD_PIECE if processor.piece_to_id(PAD_PIECE) != processor.unk_id() else EOD_PIECE
    written = []
    if can_be_written(spm_file.read(processor.serialized_model_proto())):
        files.write_text(folder / "tokenizer.json", fast_tokenizer(processor).to_str(pretty=False))
        written.append(folder / "tokenizer.json")
    return written + write_config(folder, unk, pad)


def write_config(folder: Path, unk: str, pad: str, read_special: bool = False) -> list[Path]:
    """Write what stands beside tokenizer.json: tokenizer_config.json and special_tokens_map.json.

    Args:
        read_special: special tokens are read out of text that spells them.
    """
    special = {"bos_token": EOD_PIECE, "eos_token": EOD_PIECE, "pad_token": pad, "unk_token": unk}
    config = special | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": not read_special,  # a text that spells one is text
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 1 << 30,
    }
    written = []
    for name, value in ((CONFIG_NAME, config), ("special_tokens_map.json", special)):
        files.write_json(folder / name, value)
        written.append(folder / name)
    return written


def export(vocabulary: Tokenizer, folder: Path, positions: int) -> None:
    """Write a tokenizer's files beside a model.

    Args:
        folder: of the model.
        positions: the most tokens that the model takes.
    """
    source = vocabulary.folder
    if vocabulary.kind == "sentencepiece":
        HaigoTokenizer(vocab_file=str(vocabulary.path)).save_pretrained(folder)
    elif (source / META_NAME).is_file():
        for name in FILES[1:]:
            if (source / name).is_file():
                files.copy(source / name, folder / name)
    else:  # a file by itself: what lies beside it is of somebody else's class
        files.copy(vocabulary.path, folder / JSON_NAME)
        numbers = {"vocab_size": vocabulary.vocab_size, "eod_id": vocabulary.eod_id, "pad_id": vocabulary.pad_id}
        about = {"kind": vocabulary.kind, "eod_piece": EOD_PIECE, **numbers, "sha256": vocabulary.sha256}
        files.write_json(folder / META_NAME, about)
        write_config(folder, EOD_PIECE, EOD_PIECE if vocabulary.pad_id is None else PAD_PIECE, read_special=True)
    if (folder / CONFIG_NAME).is_file():
        files.write_json(folder / CONFIG_NAME, files.read_json(folder / CONFIG_NAME) | {"model_max_length": positions})
