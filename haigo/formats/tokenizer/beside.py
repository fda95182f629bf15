"""What transformers keeps beside a model's vocabulary: tokenizer_config.json, special_tokens_map.json, added_tokens.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from haigo import files
from haigo.cli import HaigoError

FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
CHAT_TEMPLATE = "chat_template.jinja"
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_GPT = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
DEFAULTS: dict[str, dict[str, str]] = {
    "GPT2Tokenizer": _GPT,
    "GPTNeoXTokenizer": _GPT,
    "CodeGenTokenizer": _GPT,
    "Qwen2Tokenizer": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "LlamaTokenizer": _LLAMA,
    "CodeLlamaTokenizer": _LLAMA,
    "T5Tokenizer": {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "BloomTokenizer": {**_LLAMA, "pad_token": "<pad>"},
    "GemmaTokenizer": {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "BertTokenizer": {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"},
}
"""Special tokens of classes of transformers 4 that a folder need not name."""


@dataclass(slots=True)
class Beside:
    """What the files say."""

    kind: str = ""
    """The class's name without `Fast`."""
    config: dict[str, Any] = field(default_factory=dict)
    """tokenizer_config.json."""
    roles: dict[str, AddedToken] = field(default_factory=dict)
    more: list[AddedToken] = field(default_factory=list)
    """Further special tokens."""
    added: dict[int, AddedToken] = field(default_factory=dict)
    spoken_of: list[AddedToken] = field(default_factory=list)
    """Every token as often as it is named, in the order of the files."""


def read(folder: Path) -> Beside:
    """The files of a folder; what is not there says nothing.

    Raises:
        HaigoError: one is not what transformers writes.
    """
    found = Beside()
    try:
        config = _object(folder / "tokenizer_config.json")
        found.config, found.kind = config, str(config.get("tokenizer_class") or "").removesuffix("Fast")
        tables = [config]
        if "added_tokens_decoder" not in config:  # as older versions wrote it
            tables.append(_object(folder / "special_tokens_map.json"))
            old = _object(folder / "added_tokens.json")
            found.added |= {int(number): AddedToken(str(token)) for token, number in old.items()}
        for number, token in (config.get("added_tokens_decoder") or {}).items():
            found.added[int(number)] = _token(token)
        found.spoken_of += found.added.values()
        for table in tables:
            roles = {role: _token(table[role]) for role in ROLES if table.get(role)}
            named = [table.get(key) or [] for key in ("additional_special_tokens", "extra_special_tokens")]
            more = [_token(one) for each in named for one in (each.values() if isinstance(each, dict) else each)]
            found.roles |= roles
            found.more += more
            found.spoken_of += [*roles.values(), *more]
    except (ValueError, AttributeError, KeyError, TypeError):
        raise unlike(folder) from None
    return found


def chat_template(folder: Path) -> str | None:
    """The Jinja template that a folder gives its chats, from a file of its own or from tokenizer_config.json; None where it
    has none. Where there are several, the one called `default` counts, as in transformers.

    Raises:
        HaigoError: tokenizer_config.json is not what transformers writes.
    """
    if (folder / CHAT_TEMPLATE).is_file():
        return files.read_text(folder / CHAT_TEMPLATE)
    try:
        found = _object(folder / "tokenizer_config.json").get("chat_template")
        if isinstance(found, list):
            found = {one["name"]: one["template"] for one in found}.get("default")
    except (KeyError, TypeError):
        raise unlike(folder) from None
    if found is not None and not isinstance(found, str):
        raise unlike(folder)
    return found


def unlike(folder: Path) -> HaigoError:
    """The error for files that are there and are not what they are called."""
    return HaigoError(f"the tokenizer's files in {folder} are not what transformers writes.", "get them again")


def _object(path: Path) -> dict[str, Any]:
    content = files.read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise TypeError
    return content


def _token(given: Any) -> AddedToken:
    if isinstance(given, str):
        return AddedToken(given, special=True, normalized=False)
    words = ("single_word", "lstrip", "rstrip", "special")
    flags = {word: bool(given[word]) for word in words if word in given}
    return AddedToken(
        str(given["content"]), normalized=bool(given.get("normalized", not flags.get("special"))), **flags
    )
