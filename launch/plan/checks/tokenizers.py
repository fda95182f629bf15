"""The checks of `launch.preflight` on the tokenizer: its files, and how many pieces the model will have rows for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import files, shapes
from haigo.cli import HaigoError, Refused
from haigo.formats.dataset.belongs import Pieces
from haigo.formats.tokenizer import EOD_PIECE, Tokenizer, load
from launch.plan.checks.check import Check
from neox_configs import reader

_TIKTOKEN = {"cl100k_base": 100_277, "o200k_base": 200_019, "p50k_base": 50_281, "r50k_base": 50_257, "gpt2": 50_257}
_CHARACTERS = 512
_GPT2 = 50_257
_NEEDS_FILE = ("spmtokenizer", "hftokenizer", "gpt2bpetokenizer", "tiktokentokenizer")


def checks(config: Mapping[str, Any], base: Path) -> tuple[Tokenizer | Pieces | None, list[Check]]:
    """The tokenizer, or how many pieces it has, or None, and what was found.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
    """
    kind, file = str(reader.value(config, "tokenizer_type")), config.get("vocab_file")
    lower = kind.lower()
    if not file and lower in _NEEDS_FILE:
        named = "the spm.model" if lower == "spmtokenizer" else "its file"
        return None, [Check("tokenizer", "fail", f"{kind} without vocab_file.", f"name {named} there")]
    merges = config.get("merge_file")
    if lower == "gpt2bpetokenizer" and (not merges or not (base / merges).is_file()):
        sentence = f"{kind} without merge_file." if not merges else f"{base / merges} does not exist."
        return None, [Check("tokenizer", "fail", sentence, "name its merges.txt as merge_file")]
    try:
        if lower == "spmtokenizer":
            return _known(load(base / str(file)))
        if lower == "hftokenizer" and (found := _json(base / str(file))) is not None:
            return found
        size = _pieces(lower, base / str(file) if file else None, str(file))
    except HaigoError as error:
        return None, [Check("tokenizer", "fail", error.problem, error.fix or "name the tokenizer's own file")]
    if size is None:
        return None, [Check("tokenizer", "ok", f"{kind}: not looked into")]
    return Pieces(base / str(file) if file else kind, size), [Check("tokenizer", "ok", f"{kind}, {size:,} pieces")]


def _known(model: Tokenizer) -> tuple[Tokenizer, list[Check]]:
    return model, [Check("tokenizer", "ok", f"{model.vocab_size:,} pieces, {EOD_PIECE} is {model.eod_id}")]


def _json(path: Path) -> tuple[Tokenizer | Pieces, list[Check]] | None:
    """A tokenizer.json that the rooms can use; with a warning one that GPT-NeoX reads otherwise. None where it can not be read
    as that: its pieces are counted then."""
    try:
        return _known(load(path))
    except Refused as error:
        size = _pieces("hftokenizer", path, str(path))
        assert size is not None
        return Pieces(path, size), [
            Check("tokenizer", "ok", f"HFTokenizer, {size:,} pieces"),
            Check("tokenizer", "warn", error.problem, error.fix),
        ]
    except HaigoError:
        return None


def _pieces(kind: str, path: Path | None, name: str) -> int | None:
    """How many pieces GPT-NeoX will count; None where only its packages know.

    Raises:
        HaigoError: the file is not there, or is no vocabulary.
    """
    if kind == "charleveltokenizer":
        return _CHARACTERS
    if kind == "tiktokentokenizer":
        return _TIKTOKEN.get(name)
    if kind == "hfgpt2tokenizer" and path is None:
        return _GPT2
    if kind not in ("hftokenizer", "gpt2bpetokenizer") or path is None:
        return None
    content = files.read_json(path)
    if kind == "gpt2bpetokenizer":
        if not isinstance(content, dict) or not content:
            raise HaigoError(f"{path} is no vocabulary of pieces and ids.", "name its vocab.json")
        return len(content)
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict | list):
        raise HaigoError(f"{path} is not a tokenizer.json of Hugging Face.", "name the tokenizer.json")
    added = content.get("added_tokens") or []
    if shapes.unlike([*vocabulary], [(str, [object])]) or shapes.unlike(added, [{"content": str}]):
        raise HaigoError(f"{path} is not a tokenizer.json of Hugging Face.", "name the tokenizer.json")
    pieces = {*vocabulary} if isinstance(vocabulary, dict) else {str(row[0]) for row in vocabulary if row}
    return len(pieces | {one["content"] for one in added})
