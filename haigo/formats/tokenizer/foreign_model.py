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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from transformers import AddedToken

from haigo.cli import HaigoError

from . import beside, model
from .adapter import HaigoTokenizer
from .beside import DEFAULTS, ROLES
from .model import FOREIGN_NAMES, load

_BLANK = "\u2581"
_T5_EXTRA_IDS = 100
_NO_PREFIX = b"\x1a\x02\x18\x00"
"""Behind a serialized model: normalizer_spec (field 3) with add_dummy_prefix (field 3) false; a parser merges it in."""
_CLASSES = ("", "T5Tokenizer", "LlamaTokenizer", "PreTrainedTokenizer")


@dataclass(slots=True)
class _Marks:
    """What stands beside a SentencePiece model in its folder."""

    kind: str
    """Class that transformers 4 would take, without `Fast`."""
    roles: dict[str, str]
    more: list[str]
    """Further special tokens."""
    added: dict[str, int]
    strips: dict[str, tuple[bool, bool]]
    """Tokens that swallow the blanks before and after them."""
    legacy: bool
    prefix: bool
    """Without `legacy`: whether a text begins with a blank."""
    extra_ids: int
    around: str
    """transformers' word for what stands around a text where special tokens are asked for: the beginning token with Llama's
    class. (T5's end token would stand between a question and its answer; it is left out.)"""


def find(folder: str | os.PathLike[str]) -> Path | None:
    """The SentencePiece model in a folder of another project; None when there is none (a tiktoken file has that name too), or
    when the folder names a tokenizer class that does more around it than T5's and Llama's."""
    found = model.find(Path(folder))
    return found.path if found is not None and _read_marks(found.path).kind in _CLASSES else None


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
        marks = _read_marks(path)
        processor = load(path, require_eod=False).processor
        size = processor.get_piece_size()
        if marks.kind == "T5Tokenizer" and not any("<extra_id_" in token for token in marks.more):
            names = [f"<extra_id_{number}>" for number in range(marks.extra_ids)]
            marks.more += names
            marks.added |= {
                name: size + marks.extra_ids - 1 - n for n, name in enumerate(names) if name not in marks.added
            }
        special = list(dict.fromkeys([*(marks.roles[role] for role in ROLES if role in marks.roles), *marks.more]))
        ids, unknown = dict(marks.added), processor.id_to_piece(processor.unk_id())
        last = size + sum(number >= size for number in ids.values())
        for token in special:  # what the model does not know gets the next ids
            if token not in ids:
                number = processor.piece_to_id(token)
                if number == processor.unk_id() and token != unknown:
                    number, last = last, last + 1
                ids[token] = number
        if "eos_token" not in marks.roles:
            raise HaigoError(f"{path} has no end-of-text token.", "name it in special_tokens_map.json")
        self.special_ids = ids
        self.by_id = {number: token for token, number in ids.items()}
        self.spoken = set(special)
        self.joined = (set(ids) - self.spoken) | {token for token in marks.more if ids[token] >= size}
        self.strips, self.legacy, self.prefix = marks.strips, marks.legacy, marks.prefix
        self.like_t5 = marks.kind == "T5Tokenizer"
        self.splitter = re.compile("(" + "|".join(map(re.escape, sorted(ids, key=len, reverse=True))) + ")")
        beyond = {
            number: AddedToken(token, special=True, normalized=False) for token, number in ids.items() if number >= size
        }
        named = {role: token for role, token in marks.roles.items() if role in ROLES}
        super().__init__(
            str(path),
            added_tokens_decoder=beyond,
            special_tokens_pattern=marks.around,
            **({"bos_token": None, "pad_token": marks.roles["eos_token"]} | named),
        )
        if not self.legacy:
            self.sp_model = SentencePieceProcessor(model_proto=path.read_bytes() + _NO_PREFIX)
        self.unknown_length = len(self.sp_model.encode(marks.roles.get("unk_token", unknown)))
        self.unknown = marks.roles.get("unk_token", unknown)

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


def _read_marks(path: Path) -> _Marks:
    """Special and added tokens of the folder of a SentencePiece model, and what its class does with them."""
    noted, like_t5 = beside.read(path.parent), path.name == "spiece.model"
    kind, config = noted.kind, noted.config
    if kind not in ("T5Tokenizer", "LlamaTokenizer") and kind in _CLASSES:
        kind = "T5Tokenizer" if like_t5 else "LlamaTokenizer"
    defaults = DEFAULTS["T5Tokenizer" if kind == "T5Tokenizer" else "LlamaTokenizer"]
    around = "none"
    if kind == "LlamaTokenizer":
        sides = (config.get("add_bos_token") is not False, config.get("add_eos_token") is True)
        around = "_".join(name for name, there in zip(("bos", "eos"), sides, strict=True) if there) or "none"
    extra_ids = config.get("extra_ids", _T5_EXTRA_IDS)
    if not isinstance(extra_ids, int):
        raise beside.unlike(path.parent)
    return _Marks(
        kind=kind,
        roles={**defaults, **{role: token.content for role, token in noted.roles.items()}},
        more=list(dict.fromkeys(token.content for token in noted.more)),
        added={token.content: number for number, token in noted.added.items()},
        strips={t.content: (t.lstrip, t.rstrip) for t in noted.spoken_of if t.lstrip or t.rstrip},
        legacy=config.get("legacy") is not False,
        prefix=config.get("add_prefix_space") is not False,
        extra_ids=extra_ids,
        around=around,
    )
