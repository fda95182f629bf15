"""`tokenizer.json` as it stands, by the `tokenizers` library itself, behind transformers' interface.

transformers 5 builds many classes anew from the file's vocabulary and takes the class's own normaliser and pre-tokenizer in
place of the file's: GPTNeoXTokenizerFast loses NFKC, LlamaTokenizerFast makes a BPE of a Unigram model. transformers 4 used
the file. Here the file is used, and what stands beside it counts as it did there: special and added tokens that the file lacks
get the next ids, and `split_special_tokens` of tokenizer_config.json keeps special tokens from being read out of text. What
the file says of truncation, padding and dropout never touches an id. Checked against transformers 4.46
(tests/eval_harness/test_eval_token_ids.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import tokenizers
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from haigo.cli import HaigoError, Refused

from . import beside
from .adapter import OwnText
from .beside import DEFAULTS, Beside
from .json_model import NAME, read, spelled
from .probes import probes

__all__ = ["NAME", "JsonTokenizer", "load", "read", "spelled"]
_NO_CLASS = ("", "PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")
_CLASS_SETTINGS = {
    "ByteLevel": {"add_prefix_space": "add_prefix_space"},
    "BertNormalizer": {
        "do_lower_case": "lowercase",
        "strip_accents": "strip_accents",
        "tokenize_chinese_chars": "handle_chinese_chars",
    },
}
"""Part of tokenizer.json -> key of tokenizer_config.json -> the part's word for it."""


class JsonTokenizer(OwnText, PreTrainedTokenizerFast):
    """A transformers tokenizer that does what a `tokenizers` object does.

    Args:
        fast: the object, with all its tokens.
        roles: role (eos_token, ...) -> token.
        config: tokenizer_config.json.
    """

    def __init__(self, fast: tokenizers.Tokenizer, roles: Mapping[str, str], config: Mapping[str, Any]) -> None:
        wanted = ("add_bos_token", "add_eos_token", "chat_template", "model_max_length", "padding_side")
        given = {word: config[word] for word in wanted if config.get(word) is not None}
        split = bool(config.get("split_special_tokens"))
        super().__init__(tokenizer_object=fast, split_special_tokens=split, **roles, **given)
        backend: Any = self._tokenizer
        if "add_bos_token" in given or "add_eos_token" in given:  # said outright, so it counts for what adds them
            fast.post_processor = backend.post_processor
        self.fast, self._tokenizer = fast, cast(Any, fast)  # transformers may have changed its copy
        self.cleans = bool(config.get("clean_up_tokenization_spaces"))

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        """Pieces of a text, without special tokens; no option changes that."""
        return list(self.fast.encode(text, add_special_tokens=False).tokens)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text by itself; nothing is added."""
        return list(self.fast.encode(text, add_special_tokens=False).ids)

    def _text_of(self, ids: list[int], skip_special: bool, clean_up: bool | None) -> str:
        text = str(self.fast.decode(ids, skip_special_tokens=skip_special))
        cleans = self.cleans if clean_up is None else clean_up
        return str(self.clean_up_tokenization(text)) if cleans else text


def load(folder: str | os.PathLike[str]) -> JsonTokenizer:
    """The tokenizer of a folder with `tokenizer.json`.

    Raises:
        HaigoError: a file of the folder is damaged.
        Refused: tokenizer.json and tokenizer_config.json contradict each other, or the adapter gives other ids.
    """
    place = Path(folder)
    fast, settings = read(place / NAME), beside.read(place)
    _check_contradictions(place, fast, settings)
    roles = _add_tokens(place, fast, settings)
    fast.encode_special_tokens = bool(settings.config.get("split_special_tokens"))
    try:
        tokenizer = JsonTokenizer(fast, roles, settings.config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # values that transformers does not know
        raise HaigoError(
            f"{place / 'tokenizer_config.json'}: {(str(error) or type(error).__name__).splitlines()[0][:160]}",
            "mend it",
        ) from None
    for text in probes(spelled(fast)):
        if tokenizer.encode(text, add_special_tokens=False) != tokenizer.ids(text):
            raise Refused(
                f"{place}: transformers gives other ids than {NAME} for {text[:30]!r}, with the same file.",
                "use the versions of transformers and tokenizers in constraints.txt",
            )
    return tokenizer


def _add_tokens(folder: Path, fast: tokenizers.Tokenizer, settings: Beside) -> dict[str, str]:
    """Give ids to the tokens that the file lacks; the roles that have a token."""
    known = {token.content: token for token in fast.get_added_tokens_decoder().values()}
    changed = [t for t in settings.added.values() if t.content in known and _flags(known[t.content]) != _flags(t)]
    if changed:
        other = tokenizers.Tokenizer.from_str(fast.to_str())
        for token in changed:
            (other.add_special_tokens if token.special else other.add_tokens)([token])
        _check_same(folder, fast, other, "added_tokens_decoder")
    for number, token in sorted(settings.added.items()):
        if token.content not in known:
            (fast.add_special_tokens if token.special else fast.add_tokens)([token])
        if fast.token_to_id(token.content) != number:
            raise Refused(
                f"{folder}: tokenizer_config.json gives {token.content!r} the id {number:,}, and {NAME} "
                f"{fast.token_to_id(token.content)!s}.",
                "get the tokenizer's files again, all of one version",
            )
    spoken = {*known, *(token.content for token in settings.added.values())}
    for token in [*settings.roles.values(), *settings.more]:
        if token.content not in spoken:
            fast.add_special_tokens([token])
    roles = {role: token.content for role, token in settings.roles.items()}
    for role, content in DEFAULTS.get(settings.kind, {}).items():
        if role not in roles and fast.token_to_id(content) is not None:
            roles[role] = content
    return roles


def _flags(token: AddedToken) -> tuple[bool, ...]:
    return (token.single_word, token.lstrip, token.rstrip, token.normalized)


def _check_same(folder: Path, fast: tokenizers.Tokenizer, other: tokenizers.Tokenizer, key: str) -> None:
    for text in probes(spelled(fast)):
        if fast.encode(text, add_special_tokens=False).ids != other.encode(text, add_special_tokens=False).ids:
            raise Refused(
                f"{folder}: {NAME} and `{key}` of tokenizer_config.json contradict each other ({text[:30]!r} has other ids by "
                "each), so it is not known which ids the model was trained with.",
                f"take `{key}` out of tokenizer_config.json if {NAME} is right (the mended folder can be named with "
                "--model_args tokenizer=FOLDER), or make the file again",
            )


def _check_contradictions(folder: Path, fast: tokenizers.Tokenizer, settings: Beside) -> None:
    """Settings that a class of transformers 4 put in place of the file's, where tokenizer_config.json names them."""
    if settings.kind in _NO_CLASS:
        return
    for place in ("normalizer", "pre_tokenizer"):
        part = json.loads(getattr(fast, place).__getstate__()) if getattr(fast, place) is not None else {}
        for key, word in _CLASS_SETTINGS.get(str(part.get("type")), {}).items():
            wanted = settings.config.get(key)
            if wanted is None or wanted == part.get(word):
                continue
            content = json.loads(fast.to_str())
            content[place] = {**part, word: wanted}
            _check_same(folder, fast, tokenizers.Tokenizer.from_str(json.dumps(content)), key)
