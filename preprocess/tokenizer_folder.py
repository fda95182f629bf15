"""The tokenizer folder: a model, the files other programs want, and what was measured on every corpus (`meta.json`, last)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import __version__, files
from haigo.cli import HaigoError, Refused
from haigo.formats import documents
from haigo.formats.documents import Document
from haigo.formats.tokenizer.model import (
    CHAT_TEMPLATE,
    EOD_PIECE,
    FILES,
    JSON_LEFT_OUT,
    JSON_NAME,
    META_NAME,
    MODEL_NAME,
    PAD_PIECE,
    Tokenizer,
    load,
)
from haigo.formats.tokenizer.probes import TRAPS
from haigo.progress import Progress

from .options import MeasureOptions

_BATCH_CHARS = 1_000_000
_HF_CHECK_CHARS = 500_000
_SAMPLES = 3
_TRAINED = ".trained.json"


@dataclasses.dataclass(frozen=True)
class Made:
    """A serialised model and how it came about.

    Attributes:
        model: its bytes: of a SentencePiece model, or with `kind` tokenizers of a tokenizer.json.
        options: what it was made with, for the record.
        strict: refuse it when it does not give every document back.
        training: corpus name -> what of it the model was trained on, for the record.
        recipe: digest of what it was trained from.
        kind: whose ids they are, of an adopted one: sentencepiece or tokenizers.
        chat_template: the Jinja template of its chats.
        beside: name -> SentencePiece models that are only compared with it.
    """

    model: bytes
    options: Mapping[str, Any]
    strict: bool = True
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    recipe: str | None = None
    kind: str | None = None
    chat_template: str | None = None
    beside: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


def write(
    made: Made,
    output_dir: str | os.PathLike[str],
    corpora: Mapping[str, str | os.PathLike[str]],
    measured: MeasureOptions,
    unseen: Mapping[str, str | os.PathLike[str]] | None = None,
) -> dict[str, Any]:
    """Write a tokenizer folder.

    Args:
        made: the model.
        output_dir: the folder to make.
        corpora: corpus name -> folder written by preprocess.clean; the model is checked on all of their documents.
        measured: how it is checked and compared.
        unseen: further corpora that the model is checked on.

    Returns:
        What `meta.json` holds.

    Raises:
        Refused: a document does not come back from decode(encode(text)), and `strict` asks for it; or the adapter for
            Hugging Face gives other ids than sentencepiece.
    """
    from haigo.formats.tokenizer import adapter

    from . import tokenizer_compare

    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(folder, below=False)  # of a killed run; the folder is the caller's alone
    unseen, seed = unseen or {}, measured.seed
    every = {**corpora, **unseen}
    files.remove(folder / META_NAME)  # until the new one is written, the folder is not finished
    of_json = made.kind == "tokenizers"
    files.remove(folder / (MODEL_NAME if of_json else JSON_NAME))  # of another kind that stood here
    with files.create(folder / (JSON_NAME if of_json else MODEL_NAME)) as handle:
        handle.write(made.model)
    tokenizer = load(folder / (JSON_NAME if of_json else MODEL_NAME))
    checked = {
        name: check(tokenizer, place, name, strict=made.strict, characters=measured.check_chars, seed=seed)
        for name, place in every.items()
    }
    for name, what in made.training.items():
        checked.setdefault(name, {})["training"] = what
    for name in unseen:
        checked[name]["unseen"] = True
    if of_json:
        pad = EOD_PIECE if tokenizer.pad_id is None else PAD_PIECE
        adapter.write_config(folder, _unknown(made.model), pad, read_special=True)
    else:
        adapter.write_hf_files(tokenizer.processor, folder)
    files.remove(folder / CHAT_TEMPLATE)
    if made.chat_template is not None:
        files.write_text(folder / CHAT_TEMPLATE, made.chat_template)
    meta = {
        **({"kind": made.kind} if made.kind else {}),
        "vocab_size": tokenizer.vocab_size,
        "eod_piece": EOD_PIECE,
        "eod_id": tokenizer.eod_id,
        "pad_id": tokenizer.pad_id,
        "sha256": tokenizer.sha256,
        "options": dict(made.options),
        "seed": seed,
        "corpora": checked,
        **_adapter_differences(tokenizer, folder, every, measured),
        "tool": f"haigo {__version__}",
    }
    if measured.compare or made.beside:
        # under a name that does not say where the folder stands
        own = dataclasses.replace(tokenizer_compare.contender(folder), name=f"{folder.name} (this one)")
        sizes = [tokenizer_compare.of_bytes(name, model) for name, model in made.beside.items()]
        meta["compared"] = tokenizer_compare.compare([own, *sizes, *measured.compare], every, seed)
    if made.recipe is not None:
        meta["recipe"] = made.recipe
    files.write_json(folder / META_NAME, meta)
    files.remove(folder / _TRAINED)
    return meta


def _unknown(content: bytes) -> str:
    """The unknown token of a tokenizer.json; the end piece where it has none."""
    part = json.loads(content)["model"]
    number = part.get("unk_id")
    return str(part.get("unk_token") or (EOD_PIECE if number is None else part["vocab"][number][0]))


def own(folder: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """See, before the work, that a tokenizer may be written to `folder`; one of an earlier version, which kept no journal, is
    taken over.

    Raises:
        Refused: an input lies there, or a file of the same name that is no tokenizer's of ours.
    """
    names = (*FILES, _TRAINED)
    if not files.ours(folder) and (folder / META_NAME).is_file():
        with contextlib.suppress(HaigoError):
            files.read_record(folder / META_NAME, {"sha256": str, "eod_id": int, "tool": str})
            files.adopt(folder / name for name in names)
    files.check_output(folder, inputs, names=names)


def keep(output_dir: str | os.PathLike[str], model: bytes, recipe: str, used: Mapping[str, Any]) -> None:
    """Put a model down before it is checked, so that a run that is stopped in the checks need not train again."""
    folder = Path(output_dir)
    files.remove(folder / META_NAME)
    with files.create(folder / MODEL_NAME) as handle:
        handle.write(model)
    sha256 = files.sha256_file(folder / MODEL_NAME)
    files.write_json(folder / _TRAINED, {"recipe": recipe, "sha256": sha256, "training": dict(used)})


def trained(output_dir: str | os.PathLike[str], recipe: str) -> tuple[bytes | None, dict[str, Any]]:
    """The model that is in a folder and what it was trained on, if it was made by this very recipe; else None."""
    folder = Path(output_dir)
    for name in (_TRAINED, META_NAME):
        try:
            known = files.read_json(folder / name)
            if known["recipe"] == recipe and files.sha256_file(folder / MODEL_NAME) == known["sha256"]:
                rows = known.get("training") or {
                    n: r["training"] for n, r in known["corpora"].items() if "training" in r
                }
                return (folder / MODEL_NAME).read_bytes(), rows
        except (HaigoError, KeyError, TypeError, OSError):
            continue
    return None, {}


def check(
    tokenizer: Tokenizer,
    folder: str | os.PathLike[str],
    name: str,
    *,
    strict: bool = True,
    characters: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Encode and decode every document of a cleaned corpus, all splits; or a random part of `characters` characters.

    Returns:
        documents, characters, tokens, characters_per_token and lossless (documents that came back unchanged).

    Raises:
        Refused: at least one document did not come back, and `strict` asks for it.
    """
    row: dict[str, Any] = {"documents": 0, "characters": 0, "tokens": 0, "lossless": 0}
    lossy: list[str] = []
    with Progress(f"check {name}", None, "documents") as progress, progress.beating():
        every = _documents(folder, characters, seed, told=True)
        for held in documents.batches(every, _BATCH_CHARS, lambda one: len(one.text)):
            ids = tokenizer.encode_batch([one.text for one in held])
            back = tokenizer.decode_batch(ids)
            for document, tokens, text in zip(held, ids, back, strict=True):
                row["documents"] += 1
                row["characters"] += len(document.text)
                row["tokens"] += len(tokens)
                if text == document.text:
                    row["lossless"] += 1
                elif len(lossy) < _SAMPLES:
                    lossy.append(document.id)
            progress.update(len(held))
    if lossy and strict:
        missing = row["documents"] - row["lossless"]
        raise Refused(
            f"the tokenizer changes {missing:,} of {row['documents']:,} documents of '{name}' ({', '.join(lossy)}).",
            "clean that corpus with preprocess.clean, which takes out what SentencePiece cannot keep",
        )
    row["characters_per_token"] = round(row["characters"] / max(1, row["tokens"]), 4)
    return row


def _documents(
    folder: str | os.PathLike[str], characters: int | None, seed: int, told: bool = False
) -> Iterator[Document]:
    """All documents of a corpus, or a random part; `told`: if there are others than its report counts, that is said."""

    def whole() -> Iterator[Document]:
        for split in documents.splits(folder):
            count = 0
            for document in documents.read(folder, split):
                count += 1
                yield document
            if told:
                documents.tell_changed(folder, {split: count})

    return whole() if characters is None else iter(documents.draw(whole(), characters, seed))


def _adapter_differences(
    tokenizer: Tokenizer, folder: Path, corpora: Mapping[str, str | os.PathLike[str]], measured: MeasureOptions
) -> dict[str, Any]:
    """How often the adapter (never) and tokenizer.json (at ties) cut otherwise than sentencepiece.

    On a drawn sample of every corpus, and on `TRAPS`. A tokenizer.json that does is said, or taken away (`exact_json`).

    Raises:
        Refused: the adapter differs.
    """
    from haigo.formats.tokenizer import hf_adapter

    adapter = hf_adapter(tokenizer.path)
    fast = None
    if tokenizer.path.name == MODEL_NAME and (folder / "tokenizer.json").is_file():
        import tokenizers

        fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    adapted: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    with Progress("compare adapters", len(corpora) + 1, "texts") as progress, progress.beating():
        for name, place in [*corpora.items(), ("", None)]:
            texts = list(TRAPS)
            if place is not None:
                texts = [one.text for one in documents.draw(_documents(place, None, 0), _HF_CHECK_CHARS, measured.seed)]
            ours = tokenizer.encode_batch(texts)
            mine = [adapter.encode(text, add_special_tokens=False) for text in texts]
            label = name or "probes"
            wrong = sum(one != two for one, two in zip(mine, ours, strict=True))
            if wrong:
                raise Refused(
                    f"the Hugging Face adapter gives other ids than {tokenizer.kind} in {wrong} of {len(texts)} texts of "
                    f"'{label}'.",
                    "use the versions of transformers and sentencepiece in constraints.txt",
                )
            adapted[label] = {"documents": len(texts), "different": wrong}
            if fast is not None:
                theirs = fast.encode_batch(texts, add_special_tokens=False)
                counts[label] = {
                    "documents": len(texts),
                    "different": sum(one.ids != two for one, two in zip(theirs, ours, strict=True)),
                    "tokens": sum(map(len, ours)),
                    "tokens_of_tokenizer_json": sum(len(one.ids) for one in theirs),
                }
            progress.update(1, label)
    known: dict[str, Any] = {"adapter": adapted, "tokenizer_json": counts if fast is not None else None}
    if wrong := sum(row["different"] for row in counts.values()):
        print(
            f"haigo: {folder / 'tokenizer.json'} cuts {wrong:,} of {sum(row['documents'] for row in counts.values()):,} texts "
            "otherwise than spm.model, which counts: pieces of one likelihood in another order (meta.json says where). No file "
            "of that kind can follow sentencepiece there; Haigo's own commands read spm.model."
            + (" It is left out (--exact-json)." if measured.exact_json else ""),
            file=sys.stderr,
        )
        if measured.exact_json:
            files.remove(folder / "tokenizer.json")
            known[JSON_LEFT_OUT] = True
    return known
