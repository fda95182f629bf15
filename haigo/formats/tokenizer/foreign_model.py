"""SentencePiece models of others (rinna's `spiece.model`, Llama's and llm-jp's `tokenizer.model`) through sentencepiece itself.

transformers 4's slow T5 and Llama tokenizers called sentencepiece; transformers 5 rebuilds them as fast ones and changes ids on
the way (a prefix blank on every text, lost newlines, byte pieces as unknown). Here the model file is asked, and only what
those classes did around it is done again: special and added tokens are cut out of the text first, each part between them is
encoded by itself, decoding spells special tokens out, and `legacy: false` in tokenizer_config.json puts the prefix blank before
the whole text instead of before every part. Checked against transformers 4.46
(tests/eval_harness/test_eval_foreign.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from transformers import AddedToken

from haigo.cli import HaigoError

from . import beside, model
from .adapter import HaigoTokenizer
from .beside import DEFAULTS, ROLES, Beside
from .model import FOREIGN_NAMES, load

_BLANK = "\u2581"
_T5_EXTRA_IDS = 100
_NO_PREFIX = b"\x1a\x02\x18\x00"
"""Behind a serialized model: normalizer_spec (field 3) with add_dummy_prefix (field 3) false; a parser merges it in."""
_CLASSES = ("T5Tokenizer", "LlamaTokenizer")


def find(folder: str | os.PathLike[str]) -> Path | None:
    """The SentencePiece model in a folder of another project; None when there is none (a tiktoken file has that name too), or
    when the folder names a tokenizer class that does more around it than T5's and Llama's."""
    there = model.find(Path(folder))
    return there.path if there is not None and _kind(there.path, beside.read(there.path.parent)) in _CLASSES else None


class ForeignTokenizer(HaigoTokenizer):
    """A transformers tokenizer with the ids of a SentencePiece model that Haigo did not train.

    Args:
        folder: holds the model and, when they differ from the classes' defaults, the special tokens
            (`special_tokens_map.json`, `tokenizer_config.json`, `added_tokens.json`).

    Raises:
        HaigoError: no SentencePiece model there, or its end-of-text token has no id.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        path = find(folder)
        if path is None:
            raise HaigoError(f"{folder} has no SentencePiece model.", f"it would be {' or '.join(FOREIGN_NAMES)}")
        noted = beside.read(path.parent)
        config, self.like_t5 = noted.config, _kind(path, noted) == "T5Tokenizer"
        roles = DEFAULTS["T5Tokenizer" if self.like_t5 else "LlamaTokenizer"] | {
            role: token.content for role, token in noted.roles.items()
        }
        if "eos_token" not in roles:
            raise HaigoError(f"{path} has no end-of-text token.", "name it in special_tokens_map.json")
        processor = load(path, require_eod=False).processor
        size, unknown = processor.get_piece_size(), processor.id_to_piece(processor.unk_id())
        more = list(dict.fromkeys(token.content for token in noted.more))
        ids = {token.content: number for number, token in noted.added.items()}
        if self.like_t5 and not any("<extra_id_" in token for token in more):
            count = config.get("extra_ids", _T5_EXTRA_IDS)
            if not isinstance(count, int):
                raise beside.unlike(path.parent)
            names = [f"<extra_id_{number}>" for number in range(count)]
            more += names
            ids |= {name: size + count - 1 - n for n, name in enumerate(names) if name not in ids}
        special = list(dict.fromkeys([*(roles[role] for role in ROLES if role in roles), *more]))
        last = size + sum(number >= size for number in ids.values())
        for token in special:  # what the model does not know gets the next ids
            if token not in ids:
                number = processor.piece_to_id(token)
                if number == processor.unk_id() and token != unknown:
                    number, last = last, last + 1
                ids[token] = number
        self.special_ids = ids
        self.by_id = {number: token for token, number in ids.items()}
        self.spoken = set(special)
        self.joined = (set(ids) - self.spoken) | {token for token in more if ids[token] >= size}
        self.strips = {t.content: (t.lstrip, t.rstrip) for t in noted.spoken_of if t.lstrip or t.rstrip}
        self.legacy, self.prefix = config.get("legacy") is not False, config.get("add_prefix_space") is not False
        self.splitter = re.compile("(" + "|".join(map(re.escape, sorted(ids, key=len, reverse=True))) + ")")
        beyond = {
            number: AddedToken(token, special=True, normalized=False) for token, number in ids.items() if number >= size
        }
        named = {role: token for role, token in roles.items() if role in ROLES}
        super().__init__(
            str(path),
            added_tokens_decoder=beyond,
            special_tokens_pattern="none" if self.like_t5 else _around(config),
            **({"bos_token": None, "pad_token": roles["eos_token"]} | named),
        )
        if not self.legacy:
            self.sp_model = SentencePieceProcessor(model_proto=path.read_bytes() + _NO_PREFIX)
        self.unknown = roles.get("unk_token", unknown)
        self.unknown_length = len(self.sp_model.encode(self.unknown))

    def __len__(self) -> int:
        return max([self.vocab_size, *(number + 1 for number in self.by_id)])

    def ids(self, text: str) -> list[int]:
        """Token ids of a text by itself; nothing is added."""
        numbers = [number for part in self._parts(text) for number in self._part(part, int)]
        if self.sp_model.unk_id() in numbers:  # a text that spells a control piece and nothing else has that piece's id
            return [self._convert_token_to_id(piece) for piece in self.tokenize(text)]
        return numbers[1:] if self._lone_blank(numbers, self.sp_model.piece_to_id(_BLANK)) else numbers

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        """The same as strings; what the model does not know is spelled as in the text."""
        pieces = [piece for part in self._parts(text) for piece in self._part(part, str)]
        return pieces[1:] if self._lone_blank(pieces, _BLANK) else pieces

    def _parts(self, text: str) -> list[str]:
        if text and not self.legacy:
            text = (_BLANK if self.prefix else "") + text.replace(_BLANK, " ")
        parts = self.splitter.split(text)
        for place in range(1, len(parts), 2) if self.strips else ():
            before, after = self.strips.get(parts[place], (False, False))
            if before:
                parts[place - 1] = parts[place - 1].rstrip()
            if after:
                parts[place + 1] = parts[place + 1].lstrip()
        return [part for part in parts if part]

    def _part(self, part: str, kind: type) -> list[Any]:
        if part in self.special_ids:
            return [self.special_ids[part] if kind is int else part]
        if self.legacy or not part.startswith((_BLANK, " ")):
            return self.sp_model.encode(part, out_type=kind)
        # blanks at the head of a text would be lost: the unknown token stands before them
        pieces = self.sp_model.encode(self.unknown + part, out_type=kind)
        return pieces[self.unknown_length :] if len(pieces) >= self.unknown_length else pieces

    def _lone_blank(self, pieces: list[Any], blank: Any) -> bool:
        """Whether the blank before the whole text stands alone before a special token."""
        if self.legacy or len(pieces) < 2 or pieces[0] != blank:
            return False
        return (self.by_id.get(pieces[1]) if isinstance(pieces[1], int) else pieces[1]) in self.spoken

    def _convert_token_to_id(self, token: str) -> int:
        return self.special_ids.get(token, self.sp_model.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        return self.by_id.get(index) or super()._convert_id_to_token(index)

    def _text_of(self, ids: list[int], skip_special: bool, clean_up: bool | None) -> str:
        # a model's vocabulary may be padded beyond the tokenizer's: such ids have no text
        tokens = [
            self._convert_id_to_token(number) for number in ids if number in self.by_id or number < self.vocab_size
        ]
        texts: list[str] = []
        run: list[str] = []
        for token in tokens:
            if skip_special and token in self.spoken:
                continue
            if token in self.joined:
                if run and (text := self.convert_tokens_to_string(run)):
                    texts.append(text)
                run = []
                texts.append(token)
            else:
                run.append(token)
        if run:
            texts.append(self.convert_tokens_to_string(run))
        text = " ".join(texts)
        return self.clean_up_tokenization(text) if clean_up else text

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of pieces, with blanks where T5's and Llama's classes put them."""
        tokens = list(tokens)
        if tokens and tokens[0].startswith(_BLANK) and self.prefix:
            tokens[0] = tokens[0][1:]
        text, after_special = "", False
        run: list[str] = []
        for place, token in enumerate(tokens):
            if token in self.spoken:
                if not after_special and (self.like_t5 or (place and self.legacy)):
                    text += " "
                text += self.sp_model.decode_pieces(run) + token
                run, after_special = [], True
                continue
            if not self.like_t5 and after_special and place == 1 and self.prefix and not token.startswith(_BLANK):
                text += " "
            run.append(token)
            after_special = False
        text += self.sp_model.decode_pieces(run)
        return text.strip() if self.like_t5 else text


def _kind(path: Path, noted: Beside) -> str:
    """The class that transformers 4 would take for a model file, without `Fast`."""
    if noted.kind in ("", "PreTrainedTokenizer"):
        return "T5Tokenizer" if path.name == "spiece.model" else "LlamaTokenizer"
    return noted.kind


def _around(config: Mapping[str, Any]) -> str:
    """transformers' word for what stands around a text where special tokens are asked for: the beginning token with Llama's
    class. (T5's end token would stand between a question and its answer; it is left out.)"""
    sides = {"bos": config.get("add_bos_token") is not False, "eos": config.get("add_eos_token") is True}
    return "_".join(name for name, there in sides.items() if there) or "none"
