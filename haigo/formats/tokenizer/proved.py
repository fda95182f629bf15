"""The tokenizer of a model folder, or of a name on the Hugging Face hub, with ids that are proved.

Which file is read: `spm.model`, else another project's SentencePiece model where T5's or Llama's class goes with it, else
`tokenizer.json`; each by its own library and not by transformers, which changes ids (`foreign_model`, `json_file`). What has
none of these is transformers' own: the few classes that were checked against transformers 4.46 and those that do not rebuild
anything are taken, all others refused. `Opened.record` says what was read and how it was proved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, Refused

from . import beside, foreign_model, json_file
from .adapter import HaigoTokenizer
from .model import FOREIGN_NAMES, META_NAME, MODEL_NAME, find
from .model import load as load_model
from .probes import PLAIN, probes

Ids = Callable[[str], list[int]]
_ASKED = (
    MODEL_NAME,
    META_NAME,
    *FOREIGN_NAMES,
    json_file.NAME,
    *beside.FILES,
)
_SLOW = ("vocab.json", "merges.txt", "vocab.txt", "qwen.tiktoken", "tokenizer.model", "spiece.model")
_CHECKED = ("GPT2Tokenizer", "Qwen2Tokenizer", "CodeGenTokenizer", "RobertaTokenizer", "BertTokenizer")
"""Classes that transformers 5.23 builds from vocab.json and merges.txt, or vocab.txt, as 4.46 did
(tests/eval_harness/test_eval_token_ids.py)."""

_WRITE_JSON = (
    "write a tokenizer.json with the version of transformers that the model was trained with "
    "(AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))"
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A tokenizer that was opened."""

    tokenizer: Any
    """For transformers' and lm-eval's interfaces."""
    ids: Ids
    """Ids of a text by itself; nothing is added."""
    kind: str
    """Whose ids they are: sentencepiece, tokenizers or transformers."""
    record: dict[str, Any]
    """`files` (name, sha256), `class`, `proof` (a sentence), `probes`, `different` (in how many of them transformers' own
    class gives other ids; None where it can not be asked)."""
    warnings: tuple[str, ...] = ()


def reading_special(opened: Opened) -> Opened:
    """The same tokenizer, which reads its special tokens out of text, as chat templates write them; it is changed."""
    tokenizer = opened.tokenizer
    if type(tokenizer) is HaigoTokenizer:
        tokenizer.reads_special = True
        return replace(opened, ids=_ids_of(tokenizer))
    if isinstance(tokenizer, json_file.JsonTokenizer):
        tokenizer.fast.encode_special_tokens = False
    return opened


def open_tokenizer(place: str | os.PathLike[str], **options: Any) -> Opened:
    """Open the tokenizer of a model.

    Args:
        place: a folder, or a name on the hub.
        options: of transformers' `AutoTokenizer.from_pretrained` (revision, subfolder, trust_remote_code, ...).

    Raises:
        HaigoError: nothing there that can be read.
        Refused: two files of the folder contradict each other, or transformers' ids can not be proved.
    """
    folder = locate(place, options.get("revision"), options.get("subfolder"))
    own_code = bool(options.get("trust_remote_code")) and "auto_map" in _config(folder)
    if folder is None or options.get("gguf_file") or own_code:
        return _unproved(place, options, "the model's own code makes them" if own_code else "no file to compare with")
    if (folder / MODEL_NAME).is_file():
        return _ours(folder)
    others = foreign_model.ForeignTokenizer(folder) if foreign_model.find(folder) else None
    if others is not None:
        return _foreign(folder, others)
    if (folder / json_file.NAME).is_file():
        return _json(folder, place, options)
    return _rebuilt(folder, place, options)


def locate(place: str | os.PathLike[str], revision: str | None = None, subfolder: str | None = None) -> Path | None:
    """The folder with the tokenizer's files: the given one, or the hub's copy on this machine, fetched if need be. None
    where the hub has none of them, or can not be asked."""
    if Path(place).exists():
        return Path(place) / (subfolder or "")
    from transformers.utils import cached_file

    found: Path | None = None
    for name in (*_ASKED, beside.CHAT_TEMPLATE):
        try:
            path = cached_file(
                str(place),
                name,
                revision=revision or "main",
                subfolder=subfolder or "",
                _raise_exceptions_for_missing_entries=False,
            )
        except (OSError, ValueError):
            continue
        found = Path(path).parent if path else found
    return found


def _config(folder: Path | None) -> dict[str, Any]:
    path = folder / "tokenizer_config.json" if folder else None
    try:
        content = files.read_json(path) if path and path.is_file() else {}
    except HaigoError:
        content = {}
    return content if isinstance(content, dict) else {}


def _record(folder: Path, names: tuple[str, ...], proof: str, count: int, **more: Any) -> dict[str, Any]:
    named = [{"file": name, "sha256": files.sha256_file(folder / name)} for name in names if (folder / name).is_file()]
    return {
        "files": named,
        "class": str(_config(folder).get("tokenizer_class") or "") or None,
        "proof": proof,
        "probes": count,
        "different": None,
    } | more


def _ours(folder: Path) -> Opened:
    model = load_model(folder)
    adapter = HaigoTokenizer(vocab_file=str(model.path))
    return _by_sentencepiece(folder, adapter, model.encode, (), "sentencepiece's own ids")


def _foreign(folder: Path, tokenizer: foreign_model.ForeignTokenizer) -> Opened:
    proof = "sentencepiece's own ids, as transformers 4's slow class cut the text for it"
    opened = _by_sentencepiece(folder, tokenizer, tokenizer.ids, beside.FILES, proof, list(tokenizer.special_ids))
    differs, name = opened.record["tokenizer_json_different"], Path(tokenizer.vocab_file).name
    if not differs:
        return opened
    warning = (
        f"{folder}: {json_file.NAME} gives other ids than {name} for {differs} of {opened.record['probes']} probes; {name} is "
        f"used. If the model was trained with {json_file.NAME}, name a folder without {name}: --model_args tokenizer=FOLDER."
    )
    return replace(opened, warnings=(warning,))


def _by_sentencepiece(
    folder: Path, adapter: HaigoTokenizer, ids: Ids, more: tuple[str, ...], proof: str, special: Sequence[str] = ()
) -> Opened:
    """A SentencePiece model whose adapter gives the model's ids for every probe.

    Args:
        more: further files that were read.
        special: special and added tokens.
    """
    name, texts = Path(adapter.vocab_file).name, probes(special)
    for text in texts:
        if adapter.encode(text, add_special_tokens=False) != ids(text):
            raise Refused(
                f"{folder}: the adapter gives other ids than {name} for {text[:30]!r}.",
                "use the versions of transformers and sentencepiece in constraints.txt",
            )
    differs = _beside(folder, name, adapter.sp_model, ids)
    record = _record(folder, (name, *more), proof, len(texts), tokenizer_json_different=differs)
    return Opened(adapter, ids, "sentencepiece", record)


def _beside(folder: Path, name: str, processor: Any, ids: Ids) -> int | None:
    """In how many probes a tokenizer.json beside a SentencePiece model gives other ids; None where there is none.

    Raises:
        Refused: it is of another vocabulary.
    """
    if not (folder / json_file.NAME).is_file():
        return None
    fast = json_file.read(folder / json_file.NAME)
    added = fast.get_added_tokens_decoder()
    for number in range(processor.get_piece_size()):
        piece = processor.id_to_piece(number)
        if number not in added and fast.id_to_token(number) != piece:
            raise Refused(
                f"{folder}: {name} and {json_file.NAME} are two tokenizers: id {number:,} is {piece!r} in one and "
                f"{fast.id_to_token(number)!r} in the other.",
                "keep the one that the model was trained with (another folder can be named with --model_args "
                "tokenizer=FOLDER)",
            )
    texts = probes(json_file.spelled(fast))
    return sum(list(fast.encode(text, add_special_tokens=False).ids) != ids(text) for text in texts)


def _json(folder: Path, place: str | os.PathLike[str], options: dict[str, Any]) -> Opened:
    tokenizer = json_file.load(folder)
    texts = probes(json_file.spelled(tokenizer.backend_tokenizer))
    theirs, different = _theirs(place, options), None
    if theirs is not None:
        different = sum(_encode(theirs, text) != tokenizer.ids(text) for text in texts)
        for role in ("bos_token", "eos_token", "unk_token", "pad_token"):
            token = getattr(theirs, role, None)
            if (
                getattr(tokenizer, role) is None
                and token
                and tokenizer.backend_tokenizer.token_to_id(str(token)) is not None
            ):
                setattr(tokenizer, role, str(token))
    warnings = []
    if different:
        warnings.append(
            f"{folder}: transformers' class {type(theirs).__name__} gives other ids than {json_file.NAME} for {different} of "
            f"{len(texts)} probes; the file's own ids are used."
        )
    record = _record(
        folder,
        (json_file.NAME, *beside.FILES),
        "the file's own ids, by the tokenizers library",
        len(texts),
        different=different,
    )
    return Opened(tokenizer, tokenizer.ids, "tokenizers", record, tuple(warnings))


def _auto(place: str | os.PathLike[str], options: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(place), **{"trust_remote_code": False} | options)


def _theirs(place: str | os.PathLike[str], options: dict[str, Any]) -> Any:
    try:
        return _auto(place, options)
    except Exception:  # classes fail in ways of their own; the file is what counts
        return None


def _encode(tokenizer: Any, text: str) -> list[int] | None:
    try:
        return list(tokenizer.encode(text, add_special_tokens=False))
    except Exception:  # the same
        return None


def _opened_by_transformers(place: str | os.PathLike[str], options: dict[str, Any]) -> Any:
    try:
        return _auto(place, options)
    except Exception as error:  # the same
        raise HaigoError(
            f"{place} has no tokenizer that transformers can read: "
            f"{(str(error).strip().splitlines() or [type(error).__name__])[0]}",
            "put the tokenizer's files into the model folder, or name them with --model_args tokenizer=FOLDER",
        ) from None


def _ids_of(tokenizer: Any) -> Ids:
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def _unproved(place: str | os.PathLike[str], options: dict[str, Any], why: str) -> Opened:
    tokenizer = _opened_by_transformers(place, options)
    record = {"files": [], "class": type(tokenizer).__name__, "proof": f"none: {why}", "probes": 0, "different": None}
    return Opened(
        tokenizer, _ids_of(tokenizer), "transformers", record, (f"{place}: its token ids are not proved ({why}).",)
    )


def _check_vocabulary(folder: Path) -> None:
    """Raise where files with pieces are missing: transformers builds some classes without them, with no piece at all."""
    there = {name for name in (*_SLOW, MODEL_NAME, *FOREIGN_NAMES) if (folder / name).is_file()}
    pairs = {"vocab.json": "merges.txt", "merges.txt": "vocab.json"}
    lacking = next((pairs[name] for name in pairs if name in there and pairs[name] not in there), None)
    fix = "put the tokenizer's files into the model folder, or name them with --model_args tokenizer=FOLDER"
    if not there:
        settings = [name for name in beside.FILES if (folder / name).is_file()]
        only = f": no vocabulary stands beside {' and '.join(settings)}" if settings else ""
        raise HaigoError(f"{folder} has no tokenizer{only}.", fix)
    if lacking is not None:
        raise HaigoError(f"{folder} has no {lacking}, and its tokenizer needs it.", fix)


def _rebuilt(folder: Path, place: str | os.PathLike[str], options: dict[str, Any]) -> Opened:
    """A folder without tokenizer.json, of a class whose SentencePiece model is not read here."""
    _check_vocabulary(folder)
    model = find(folder)
    try:
        tokenizer = _opened_by_transformers(place, options)
    except HaigoError as error:
        if model is None:
            raise
        named = _config(folder).get("tokenizer_class")
        raise Refused(
            f"{folder}: {named} reads {model.path.name} in its own way. {error.problem}", _WRITE_JSON
        ) from None
    kind, ids = type(tokenizer).__name__.removesuffix("Fast"), _ids_of(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        proof, count = f"none: {kind} of transformers is a program of its own", 0
    elif model is not None:
        differs = [text for text in PLAIN if ids(text) != model.encode(text)]
        if differs:
            raise Refused(
                f"{folder}: transformers' {kind} gives other ids than {model.path.name} for {len(differs)} of {len(PLAIN)} "
                f"probes, {differs[0][:30]!r} first.",
                _WRITE_JSON,
            )
        proof, count = f"{model.path.name} gives the same ids", len(PLAIN)
    elif kind in _CHECKED:
        proof, count = f"{kind}'s ids were checked against transformers 4.46", 0
    else:
        raise Refused(
            f"{folder} has no {json_file.NAME} and no SentencePiece model, and transformers builds {kind} anew: nothing "
            "proves its ids.",
            _WRITE_JSON,
        )
    warnings = (f"{folder}: its token ids are not proved ({proof}).",) if proof.startswith("none") else ()
    return Opened(tokenizer, ids, "transformers", _record(folder, _SLOW, proof, count) | {"class": kind}, warnings)
