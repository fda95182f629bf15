"""Prompt/response pairs and chats to GPT-NeoX's finetuning datasets: tokens, and labels that mask what is only given.

    python -m preprocess.pairs FILE... --tokenizer FOLDER_OR_MODEL --output-prefix PREFIX
           [--format auto|pairs|chat] [--prompt-key KEY --response-key KEY [--context-key KEY]] [--template FILE]
           [--only-last] [--seq-length N [--pack]] [--skip-broken N] [--seed 1234]
    python -m preprocess.pairs FILE... --tokenizer FOLDER_OR_MODEL --output-prefix PREFIX --preference dpo|kto|rm --seq-length N

Writes PREFIX_text_document (tokens) and PREFIX_text_label_document (int32, one label a token: the token itself where the loss
counts, -100 elsewhere), each as .bin, .idx and .json. Every answer ends with `<|endoftext|>`, which is learned. Examples
without an answer and, with --seq-length, those longer than it are left out and counted. Every mask is checked by decoding.
--pack puts whole examples together in rows of exactly N tokens (N as seq_length in the config), padded at their ends: with
GPT-NeoX's default `pack_impl: packed` every sample then is one row, and no example is cut or crosses a sample's border.
--preference writes what training on preferences reads instead, from `{"prompt": ..., "chosen": ..., "rejected": ...}` (texts or
turns; the prompt may stand at the head of both) or, for kto, also `{"prompt": ..., "completion": ..., "label": true}`.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from haigo import __version__, cli, flags
from haigo.cli import HaigoError
from haigo.formats import tokenizer
from haigo.formats.dataset import manifest
from haigo.formats.dataset.ids import MASKED
from haigo.formats.dataset.indexed import token_dtype
from haigo.formats.documents import Broken
from haigo.formats.documents.broken import broken_lines
from haigo.formats.tokenizer import Tokenizer
from haigo.progress import Progress

from . import examples, preferences, row_datasets
from .examples import Example
from .index import dataset_prefix
from .pair_options import PairCommand, PairOptions

_BATCH = 512
_Row = tuple[np.ndarray, np.ndarray]
"""Tokens and labels, int32, of one length."""


def build(
    inputs: Sequence[str | os.PathLike[str]],
    tokenizer_path: str | os.PathLike[str],
    output_prefix: str | os.PathLike[str],
    options: PairOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Write the two datasets.

    Args:
        inputs: jsonl files, also packed ones; folders, patterns.
        tokenizer_path: tokenizer folder or SentencePiece model file.
        output_prefix: the datasets are `{output_prefix}_text_document` and `{output_prefix}_text_label_document`.
        options: or its fields by name.

    Returns:
        The manifest of the token dataset.

    Raises:
        HaigoError: a line that is no example, or no example left.
        Refused: the tokenizer does not give a text back, so the mask cannot be trusted.
    """
    options = options or PairOptions(**given)
    model = tokenizer.load(tokenizer_path)
    paths = list(inputs)
    if options.preference is not None:
        return preferences.build(paths, model, output_prefix, options)
    with row_datasets.claimed(paths, output_prefix, ("text", "text_label")):
        return _build(paths, model, output_prefix, options)


def _build(
    paths: list[str | os.PathLike[str]], model: Tokenizer, output_prefix: str | os.PathLike[str], options: PairOptions
) -> dict[str, Any]:
    digests = examples.digests(paths)
    prefix = dataset_prefix(output_prefix)
    labels_prefix = dataset_prefix(output_prefix, "text_label")
    names = ("examples", "example_tokens", "learned_tokens", "without_answer", "too_long", "bytes", "chats", "changed")
    counts = dict.fromkeys(names, 0)
    unused: dict[str, int] = {}
    broken = Broken(options.skip_broken)
    with Progress(f"pairs {prefix.name}", None, "examples") as progress:
        stream = _noted(examples.read(paths, options, broken), unused, counts)
        rows = _encoded(stream, model, options.seq_length, counts, progress)
        written = _packed(rows, model, int(options.seq_length or 0), options.seed) if options.pack else rows
        first = next(written, None)
        if first is None:  # asked before anything is written: a dataset that is there stays
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            raise HaigoError(
                f"{paths[0]}{more}: there is no example left to learn from ({counts['without_answer']:,} without an answer, "
                f"{counts['too_long']:,} longer than --seq-length).",
                "check the input" + (", or give a larger --seq-length" if counts["too_long"] else ""),
                option="seq_length",
            )
        kinds = (token_dtype(model.vocab_size), np.int32)
        tokens, _, count = row_datasets.write(
            itertools.chain([first], written), list(zip((prefix, labels_prefix), kinds, strict=True))
        )
    changed = counts.pop("changed")
    examples.say_changed(model, changed, counts["examples"])
    shared = {
        "documents": count,
        "tokens": tokens,
        "eod_id": model.eod_id,
        "vocab_size": model.vocab_size,
        "tokenizer_sha256": model.sha256,
        **counts,
        **broken.report(),
        **({"unused_context": unused} if unused else {}),
        "padding_tokens": tokens - counts["example_tokens"],
        "masks_checked_by_decoding": counts["examples"] - changed,
        "seq_length": options.seq_length,
        "packed": options.pack,
        # what GPT-NeoX counts as a sample, with `pack_impl: packed`
        "rows": count if options.pack else None,
        "template": examples.template_note(options, counts["chats"]),
        "input": digests,
        "tool": f"haigo {__version__}",
    }
    for where, dtype, kind in (
        (labels_prefix, "int32", "labels"),
        (prefix, str(token_dtype(model.vocab_size)), "tokens"),
    ):
        manifest.write(where, shared | {"kind": kind, "dtype": dtype} | manifest.sums(where))
    return manifest.find(prefix) or {}


def neox_keys(output_prefix: str | os.PathLike[str], packed: bool, split: str = "train") -> dict[str, Any]:
    """What a GPT-NeoX config needs for this dataset, besides `load` (the model to start from) and `save`."""
    return {
        f"{split}_data_paths": [str(dataset_prefix(output_prefix))],
        f"{split}_label_data_paths": [str(dataset_prefix(output_prefix, "text_label"))],
        "data_impl": "mmap",
        "pack_impl": "packed" if packed else "pack_until_overflow",
        "finetune": True,
    }


def _noted(stream: Iterator[Example], unused: dict[str, int], counts: dict[str, int]) -> Iterator[Example]:
    """Pass examples on, counting chats, and those with a context that nothing is made of."""
    for example in stream:
        counts["chats"] += example.chat
        if example.unused:
            unused[example.unused] = unused.get(example.unused, 0) + 1
        yield example


def _encoded(
    stream: Iterator[Example], model: Tokenizer, seq_length: int | None, counts: dict[str, int], progress: Progress
) -> Iterator[_Row]:
    """Tokens and labels of every example that teaches something."""
    held: list[Example] = []
    for example in stream:
        if not any(part.learned and part.text for part in example.parts):
            counts["without_answer"] += 1
            continue
        held.append(example)
        if len(held) == _BATCH:
            yield from _batch(held, model, seq_length, counts)
            progress.update(len(held))
            held = []
    yield from _batch(held, model, seq_length, counts)
    progress.update(len(held))


def _batch(held: list[Example], model: Tokenizer, seq_length: int | None, counts: dict[str, int]) -> Iterator[_Row]:
    pieces = iter(model.encode_batch([part.text for example in held for part in example.parts]))
    for example in held:
        tokens: list[int] = []
        labels: list[int] = []
        for part in example.parts:
            ids = next(pieces) + ([model.eod_id] if part.ends else [])
            tokens += ids
            labels += ids if part.learned else [MASKED] * len(ids)
        labels[0] = MASKED  # nothing comes before the first token, so nothing can be learned of it
        if seq_length is not None and len(tokens) > seq_length:
            counts["too_long"] += 1
            continue
        if all(label == MASKED for label in labels):
            counts["without_answer"] += 1
            continue
        counts["changed"] += not examples.check_mask(example, tokens, labels, model)
        counts["examples"] += 1
        counts["learned_tokens"] += sum(label != MASKED for label in labels)
        counts["bytes"] += sum(len(part.text.encode()) for part in example.parts)
        counts["example_tokens"] += len(tokens)
        yield np.array(tokens, np.int32), np.array(labels, np.int32)


def _packed(rows: Iterator[_Row], model: Tokenizer, length: int, seed: int) -> Iterator[_Row]:
    """Whole examples in rows of exactly `length` tokens: the longest first, each into the fullest row that still holds it.

    Examples of one length are placed, and rows come out, in an order drawn from the seed.
    """
    every = list(rows)
    pad = model.eod_id if model.pad_id is None else model.pad_id
    random.Random(seed).shuffle(every)
    every.sort(key=lambda row: -len(row[0]))  # stable: equal lengths stay shuffled
    groups: list[list[_Row]] = []
    room: list[tuple[int, int]] = []  # (tokens in a row, its number) of every row that is not full, ascending
    for row in every:
        place = bisect.bisect_right(room, (length - len(row[0]), len(every))) - 1
        filled, number = room.pop(place) if place >= 0 else (0, len(groups))
        if number == len(groups):
            groups.append([])
        groups[number].append(row)
        if filled + len(row[0]) < length:
            bisect.insort(room, (filled + len(row[0]), number))
    random.Random(seed + 1).shuffle(groups)
    for group in groups:
        missing = length - sum(len(tokens) for tokens, _ in group)
        yield (
            np.concatenate([*(tokens for tokens, _ in group), np.full(missing, pad, np.int32)]),
            np.concatenate([*(labels for _, labels in group), np.full(missing, MASKED, np.int32)]),
        )


def table(report: dict[str, Any], output_prefix: str) -> str:
    """The manifest as a few lines to read, and the config's keys."""
    left = [
        f"{report[key]:,} {what}"
        for key, what in (("without_answer", "without an answer"), ("too_long", "too long"))
        if report[key]
    ]
    rows = f"{report['documents']:,} documents"
    if report["packed"]:
        rows = f"{report['documents']:,} rows ({report['examples'] / report['documents']:.3g} a row)"
    keys = neox_keys(output_prefix, report["packed"]).items()
    return "\n".join(
        [
            f"{dataset_prefix(output_prefix)}: {report['examples']:,} examples in {rows}, {report['tokens']:,} tokens, "
            f"{report['learned_tokens']:,} of them learned" + (f"; left out: {', '.join(left)}" if left else ""),
            *broken_lines(report),
            "in the GPT-NeoX config, besides load and save:",
            *(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in keys),
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.pairs", __doc__, PairCommand, argv)
    built = build(options.inputs, options.tokenizer, options.output_prefix, options)
    for key, count in built.get("unused_context", {}).items():
        hint = f"--context-key {key} puts it below the prompt"
        if key in examples.LEFT_OUT:
            hint = "write it as turns of a chat, under 'messages'"
        elif key in (*examples.ANSWER_KEYS, *examples.CHAT_KEYS):
            hint = "--format, --prompt-key and --response-key say what is read instead"
        print(f"haigo: {count:,} examples have a text under '{key}' that is left out; {hint}", file=sys.stderr)
    for sentence in preferences.warnings(built) if options.preference else ():
        print(f"haigo: {sentence}", file=sys.stderr)
    shown = preferences.table if options.preference else table
    cli.show(built, lambda manifest: shown(manifest, options.output_prefix), options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
