"""SentencePiece models of others (rinna's `spiece.model`, Llama's and llm-jp's `tokenizer.model`) through sentencepiece itself.

transformers 4's slow T5 and Llama tokenizers called sentencepiece; transformers 5 rebuilds them as fast ones and changes ids on
the way (a prefix blank on every text, lost newlines, byte pieces as unknown). Here the model file is asked, and only what
those classes did around it is done again: special and added tokens are cut out of the text first, each part between them is
encoded by itself, and decoding spells special tokens out.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from transformers import AddedToken

from haigo.cli import HaigoError

from .hf_tokenizer import HaigoTokenizer
from .tokenizer import load

MODEL_NAMES = ("spiece.model", "tokenizer.model")
_ROLES = ("eos_token", "bos_token", "unk_token", "pad_token")
_T5 = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_LLAMA = {"eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}


def find(folder: str | os.PathLike[str]) -> Path | None:
    """The SentencePiece model in a folder of another project; None when there is none (a tiktoken file has that name too)."""
    for name in MODEL_NAMES:
        path = Path(folder) / name
        if path.is_file():
            try:
                load(path, require_eod=False)
            except HaigoError:
                continue
            return path
    return None


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
            raise HaigoError(f"{folder} has no SentencePiece model.", f"it would be {' or '.join(MODEL_NAMES)}")
        roles, more, added = _special(Path(folder), _T5 if path.name == "spiece.model" else _LLAMA)
        self.strips = path.name == "spiece.model"  # T5's way of decoding
        processor = load(path, require_eod=False).processor
        known = {token: processor.piece_to_id(token) for token in [*roles.values(), *more]}
        unknown = processor.unk_id()
        self.special_ids = {t: n for t, n in known.items() if n != unknown or t == processor.id_to_piece(unknown)}
        self.special_ids |= {token: number for token, number in added.items() if token not in self.special_ids}
        if roles.get("eos_token") not in self.special_ids:
            raise HaigoError(
                f"{path}: the end-of-text token {roles.get('eos_token')} has no id.",
                "name the model's own in special_tokens_map.json",
            )
        self.by_id = {number: token for token, number in self.special_ids.items()}
        marks = sorted(self.special_ids, key=len, reverse=True)
        self.splitter = re.compile("(" + "|".join(map(re.escape, marks)) + ")")
        known_roles = {role: token for role, token in roles.items() if token in self.special_ids}
        beyond = {
            number: AddedToken(token, special=True, normalized=False)
            for token, number in self.special_ids.items()
            if number >= processor.get_piece_size()
        }
        super().__init__(
            str(path),
            added_tokens_decoder=beyond,
            **({"bos_token": None, "pad_token": roles["eos_token"]} | known_roles),
        )
        self.spoken = {token for token in [*known_roles.values(), *more] if token in self.special_ids}

    def __len__(self) -> int:
        return max([self.vocab_size, *(number + 1 for number in self.by_id)])

    def ids(self, text: str) -> list[int]:
        """Token ids of a text by itself; nothing is added."""
        found: list[int] = []
        for part in self.splitter.split(text):
            if part in self.special_ids:
                found.append(self.special_ids[part])
            elif part:
                found += self.sp_model.encode(part)
        return found

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        return [self._convert_id_to_token(number) for number in self.ids(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.special_ids.get(token, self.sp_model.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        return self.by_id.get(index) or super()._convert_id_to_token(index)

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(token) for token in token_ids]
        text, run, after_special = "", [], False
        for place, token in enumerate(ids):
            word = self.by_id.get(token)
            if word is None:
                if token < self.vocab_size:
                    run.append(token)
                after_special = False
                continue
            if skip_special_tokens and word in self.spoken:
                continue
            if not after_special and (self.strips or place):  # where T5's and Llama's classes put a blank
                text += " "
            text += self.sp_model.decode(run) + word
            run, after_special = [], True
        text += self.sp_model.decode(run)
        return text.strip() if self.strips else text


def _special(folder: Path, defaults: dict[str, str]) -> tuple[dict[str, str], list[str], dict[str, int]]:
    """Role -> token, further special tokens, and added token -> id."""
    roles, more = dict(defaults), []
    added: dict[str, int] = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_bytes())
            if name == "added_tokens.json":
                added |= {str(token): int(number) for token, number in content.items()}
                continue
            for role in _ROLES:
                if content.get(role):
                    roles[role] = _content(content[role])
            more += [_content(token) for token in content.get("additional_special_tokens") or []]
            for number, token in (content.get("added_tokens_decoder") or {}).items():
                added[_content(token)] = int(number)
        except (ValueError, AttributeError, KeyError, TypeError):
            raise HaigoError(f"{path} is not what transformers writes.", "get the tokenizer's files again") from None
    return roles, list(dict.fromkeys(more)), added


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)
