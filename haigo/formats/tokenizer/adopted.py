"""A tokenizer of another project as GPT-NeoX can take it: the same ids, and the end of a document called `<|endoftext|>`.

GPT-NeoX knows the end of a document by that name alone; of a SentencePiece model without it, it takes `<unk>` in silence. So
the piece that is named becomes `<|endoftext|>`, at its own id. A piece that had that name already gets the other's. In a
SentencePiece model both are control symbols, which no text spells. Of a tokenizer.json what adds tokens around a text is taken
out, and what cuts, fills or drops; parts are written so that the versions of the tokenizers library that GPT-NeoX comes with
read them. That the ids stay what they were is proved on the probes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, Refused, nearest

from . import beside, json_model, model, spm_file
from .pieces import EOD_PIECE, JSON_NAME, META_NAME, MODEL_NAME, ends
from .probes import probes

_ADDING = ("TemplateProcessing", "RobertaProcessing", "BertProcessing")
_TAKEN = ("BPE", "Unigram")


@dataclass(frozen=True, slots=True)
class Adopted:
    """A copy of a tokenizer."""

    content: bytes
    """What is written as `spm.model` or `tokenizer.json`."""
    kind: str
    """sentencepiece or tokenizers."""
    record: dict[str, Any]
    """For meta.json: adopted_from, its sha256, the end piece's own name, how the ids were proved."""
    chat_template: str | None = None
    """The Jinja template of its chats, with the end piece's new name."""
    warnings: tuple[str, ...] = field(default=())


def adopt(given: str | os.PathLike[str], eod_piece: str | None = None) -> Adopted:
    """Make the copy.

    Args:
        given: a SentencePiece model or a tokenizer.json, or a folder with one; also a tokenizer folder of Haigo's.
        eod_piece: the piece that ends a document, as it is called there; `<|endoftext|>` where the tokenizer has that.

    Raises:
        HaigoError: nothing there that can be read, or no such piece.
        Refused: no piece that ends a document is named, or ids would change.
    """
    path = Path(given)
    if path.is_dir() and not (path / META_NAME).is_file():
        return _of_folder(path, eod_piece)
    template = beside.chat_template(path) if path.is_dir() else None
    path = model.model_path(path)
    if path.suffix == ".json":
        fast = json_model.read(path)
        made = _json(path, fast, lambda text: list(fast.encode(text, add_special_tokens=False).ids), eod_piece)
        return replace(made, chat_template=template)
    return _sentencepiece(path, eod_piece)


def _of_folder(folder: Path, eod_piece: str | None) -> Adopted:
    from .proved import open_tokenizer

    opened = open_tokenizer(folder)
    if opened.kind == "transformers":
        raise Refused(
            f"{folder} has neither a SentencePiece model nor a {JSON_NAME}.",
            "write one: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    if opened.kind == "sentencepiece":
        path = Path(opened.tokenizer.vocab_file)
        if path.name == MODEL_NAME or eod_piece is None or _has(path, eod_piece) or not (folder / JSON_NAME).is_file():
            return _sentencepiece(path, eod_piece, opened.warnings)
        fast = json_model.read(folder / JSON_NAME)  # the piece was added beside the model: only this file has it
        return _json(folder / JSON_NAME, fast, opened.ids, eod_piece)
    made = _json(folder / JSON_NAME, opened.tokenizer.fast, opened.ids, eod_piece, opened.warnings)
    template = beside.chat_template(folder)
    if template is not None and made.record["eod_piece"] != EOD_PIECE:
        template = template.replace(made.record["eod_piece"], EOD_PIECE)
    return replace(made, chat_template=template)


def _has(path: Path, piece: str) -> bool:
    processor = model.load(path, require_eod=False).processor
    return bool(processor.id_to_piece(processor.piece_to_id(piece)) == piece)


def _names(path: Path, eod_piece: str | None, tokens: list[str], special: list[str]) -> tuple[str, dict[str, str]]:
    """The piece that ends a document, and what is to be called otherwise."""
    if eod_piece is None:
        if EOD_PIECE in tokens:
            return EOD_PIECE, {}
        raise Refused(
            f"{path} has no piece {EOD_PIECE}, and which of its pieces ends a document is not known.{ends(special)}",
            "name it with --eod-piece PIECE",
            option="eod_piece",
        )
    if eod_piece not in tokens:
        raise HaigoError(
            f"{path} has no piece {eod_piece!r}.{nearest(eod_piece, special)}{ends(special)}",
            "name one of its own pieces with --eod-piece",
            option="eod_piece",
        )
    if eod_piece not in special:
        raise Refused(
            f"{path}: {eod_piece!r} is an ordinary piece, which texts hold, and can end no document.{ends(special)}",
            "name a control symbol or a special token with --eod-piece",
            option="eod_piece",
        )
    if eod_piece == EOD_PIECE:
        return EOD_PIECE, {}
    swapped = {EOD_PIECE: eod_piece} if EOD_PIECE in tokens else {}
    return eod_piece, {eod_piece: EOD_PIECE, **swapped}


def _record(path: Path, end: str, wrong: int, count: int) -> dict[str, Any]:
    return {
        "adopted_from": path.name,
        "adopted_sha256": files.sha256_file(path),
        "eod_piece": end,
        "probes": count,
        "different": wrong,
    }


def _proved(path: Path, changed: list[str], theirs: Any, ours: Any, special: list[str]) -> tuple[int, int]:
    """In how many probes the copy gives other ids, and how many there are; none that spells no changed piece may."""
    texts = probes(special)
    wrong = [text for text in texts if theirs(text) != ours(text)]
    for text in wrong:
        if not any(name in text for name in changed):
            raise Refused(
                f"{path}: a copy with {EOD_PIECE} gives other ids for {text[:30]!r}.",
                "use the versions of sentencepiece and tokenizers in constraints.txt",
            )
    return len(wrong), len(texts)


def _sentencepiece(path: Path, eod_piece: str | None, warnings: tuple[str, ...] = ()) -> Adopted:
    from sentencepiece import SentencePieceProcessor

    blob, processor = path.read_bytes(), model.load(path, require_eod=False).processor
    known = spm_file.read(blob)
    special = [
        one.text
        for one in known.pieces
        if one.kind == spm_file.CONTROL
        or (one.kind == spm_file.USER_DEFINED and one.text.strip() and len(one.text) > 1)
    ]
    end, names = _names(path, eod_piece, [one.text for one in known.pieces], special)
    copy = spm_file.renamed(blob, names) if names else blob
    other = SentencePieceProcessor(model_proto=copy)
    wrong, count = _proved(path, [*names], processor.encode, other.encode, special)
    if other.piece_to_id(EOD_PIECE) != processor.piece_to_id(end):
        raise Refused(f"{path}: {end!r} would not keep its id.", "name another piece with --eod-piece")
    record = _record(path, end, wrong, count) | {"proof": "sentencepiece's own ids"}
    return Adopted(copy, "sentencepiece", record, warnings=warnings)


def _json(path: Path, fast: Any, ids: Any, eod_piece: str | None, warnings: tuple[str, ...] = ()) -> Adopted:
    import tokenizers

    content = json.loads(fast.to_str())
    kind = content["model"]["type"]
    if kind not in _TAKEN:
        raise Refused(
            f"{path} is a {kind} tokenizer, which loses blanks and letters.",
            f"name one of the kinds that language models are trained with: {', '.join(_TAKEN)}",
        )
    json_model.require_no_gaps(path, fast)
    vocabulary = fast.get_vocab(with_added_tokens=True)
    special = json_model.spelled(fast)
    if kind == "Unigram":  # control pieces need not be added tokens there
        special += [name for name, score in content["model"]["vocab"] if not score and name not in special]
    end, names = _names(path, eod_piece, list(vocabulary), special)
    _rename(content, names)
    _as_neox_reads(content)
    if all(token["content"] != EOD_PIECE for token in content["added_tokens"]):
        plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        content["added_tokens"].append({"id": vocabulary[end], "content": EOD_PIECE, "special": True} | plain)
        content["added_tokens"].sort(key=lambda token: token["id"])
    text = json.dumps(content, ensure_ascii=False)
    try:
        copy = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exceptions
        raise Refused(f"{path} can not be written for GPT-NeoX: {error}", "name another tokenizer") from None
    read_anew = [EOD_PIECE] if names or EOD_PIECE not in json_model.spelled(fast) else []
    if (
        fast.encode_special_tokens
    ):  # tokenizer_config.json keeps them from being read out of text, which GPT-NeoX can not
        read_anew += special
    wrong, count = _proved(path, [*names, *read_anew], ids, lambda each: list(copy.encode(each).ids), special)
    if copy.token_to_id(EOD_PIECE) != vocabulary[end] or copy.get_vocab_size() != fast.get_vocab_size():
        raise Refused(f"{path}: {end!r} would not keep its id.", "name another piece with --eod-piece")
    record = _record(path, end, wrong, count) | {"proof": "the file's own ids, by the tokenizers library"}
    return Adopted(text.encode(), "tokenizers", record, warnings=warnings)


def _rename(content: dict[str, Any], names: dict[str, str]) -> None:
    part = content["model"]
    if isinstance(part["vocab"], dict):
        part["vocab"] = {names.get(name, name): number for name, number in part["vocab"].items()}
    else:
        part["vocab"] = [[names.get(name, name), score] for name, score in part["vocab"]]
    if part.get("unk_token") in names:
        part["unk_token"] = names[part["unk_token"]]
    for token in content["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])


def _as_neox_reads(content: dict[str, Any]) -> None:
    content["truncation"] = content["padding"] = None
    part = content["model"]
    if "dropout" in part:
        part["dropout"] = None
    merges = part.get("merges") or []
    if merges and not any(" " in piece for pair in merges for piece in pair):
        part["merges"] = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    content["post_processor"] = _without_additions(content.get("post_processor"))
    for name in ("pre_tokenizer", "decoder"):
        whole = content.get(name) or {}
        for one in [whole, *(whole.get("pretokenizers") or whole.get("decoders") or [])]:
            if one.get("type") == "Metaspace" and "add_prefix_space" not in one:
                one["add_prefix_space"] = one.get("prepend_scheme") != "never"


def _without_additions(part: dict[str, Any] | None) -> dict[str, Any] | None:
    if part is None or part["type"] in _ADDING:
        return None
    if part["type"] == "Sequence":
        kept = [one for one in map(_without_additions, part["processors"]) if one is not None]
        return {**part, "processors": kept} if kept else None
    return part
