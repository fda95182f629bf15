"""`preprocess.pairs --preference`: the datasets that GPT-NeoX's training on preferences reads.

* dpo: PREFIX_chosen_document and PREFIX_rejected_document with their labels (PREFIX_chosen_label_document ...): as many rows in
  each, and the loss counts the last answer with its end piece.
* rm (reward model): the same four; every answer ends with two end pieces, and the label of the second is the only one that
  counts: there GPT-NeoX reads the reward.
* kto: PREFIX_messages_document, its labels, and PREFIX_messages_reward_document, one number a row.

Tokens and labels are int32, the bytes of GPT-NeoX's preprocess_data_with_chat_template.py (with --only-last, or --for-rm)
under a chat template that leaves the last end piece to it. The rewards are not its 1 and -1: GPT-NeoX multiplies `kto_beta`
by their mean over all `seq_length` positions, and only those of the row have one, so that a row of 100 tokens in samples of
2,048 would be trained with a twentieth of the beta that the config names. They are written as +-seq_length / tokens of the row,
whose mean is +-1 (but for the first token of another row, which GPT-NeoX puts behind every row).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__
from haigo.cli import HaigoError
from haigo.formats.dataset import manifest
from haigo.formats.dataset.ids import MASKED
from haigo.formats.documents import Broken
from haigo.formats.documents.broken import broken_lines
from haigo.formats.tokenizer import Tokenizer
from haigo.progress import Progress

from . import examples, row_datasets
from .examples import Example
from .index import dataset_prefix
from .pair_options import PairOptions
from .preference_rows import Preference, read

_BATCH = 512
_Row = list[np.ndarray]
SIDES = ("chosen", "rejected")
SIDE_KEYS = tuple(key for side in SIDES for key in (side, f"{side}_label"))
KEYS = {"dpo": SIDE_KEYS, "rm": SIDE_KEYS, "kto": ("messages", "messages_label", "messages_reward")}
"""The datasets of each kind, in the order of a row's arrays."""
_LEFT_OUT = {
    "identical": "whose answers are the same",
    "different_prompts": "whose answers are to different prompts",
    "without_answer": "with an empty answer",
    "too_long": "longer than --seq-length",
}


def build(
    paths: list[str | os.PathLike[str]], model: Tokenizer, output_prefix: str | os.PathLike[str], options: PairOptions
) -> dict[str, Any]:
    """Write the datasets of `options.preference`.

    Returns:
        The manifest of the first.

    Raises:
        HaigoError: a line that is no preference, or none left. Refused: the tokenizer does not give a text back.
    """
    kind = str(options.preference)
    with row_datasets.claimed(paths, output_prefix, KEYS[kind]):
        return _build(paths, model, output_prefix, options, kind)


def _build(
    paths: list[str | os.PathLike[str]],
    model: Tokenizer,
    output_prefix: str | os.PathLike[str],
    options: PairOptions,
    kind: str,
) -> dict[str, Any]:
    digests = examples.digests(paths)
    counts = {
        "examples": 0,
        "learned_tokens": 0,
        "wanted": 0,
        "unwanted": 0,
        "chats": 0,
        "changed": 0,
        **dict.fromkeys(_LEFT_OUT, 0),
    }
    unused: dict[str, int] = {}
    broken = Broken(options.skip_broken)
    places = [dataset_prefix(output_prefix, key) for key in KEYS[kind]]
    with Progress(f"preferences {places[0].name}", None, "examples") as progress:
        stream = _kept(read(paths, options, broken, unused), counts)
        rows = _encoded(stream, model, options, counts, progress)
        first = next(rows, None)
        if first is None:  # asked before anything is written: a dataset that is there stays
            raise HaigoError(
                f"{paths[0]}: there is no preference left to learn from ({', '.join(_left(counts)) or 'no line'}).",
                "check the input" + (", or give a larger --seq-length" if counts["too_long"] else ""),
                option="seq_length",
            )
        types = [np.float32 if key.endswith("reward") else np.int32 for key in KEYS[kind]]
        total = row_datasets.write(itertools.chain([first], rows), list(zip(places, types, strict=True)))
    changed = counts.pop("changed")
    examples.say_changed(model, changed, counts["examples"])
    shared = {
        "documents": total[-1],
        "eod_id": model.eod_id,
        "vocab_size": model.vocab_size,
        "tokenizer_sha256": model.sha256,
        "preference": kind,
        **counts,
        **broken.report(),
        "masks_checked_by_decoding": counts["examples"] - changed,
        **({"unused_context": unused} if unused else {}),
        "seq_length": options.seq_length,
        "packed": False,
        "template": examples.template_note(options, counts["chats"]),
        "input": digests,
        "tool": f"haigo {__version__}",
    }
    for place, key, values, dtype in reversed(list(zip(places, KEYS[kind], total, types, strict=False))):
        what = "rewards" if key.endswith("reward") else "labels" if key.endswith("label") else "tokens"
        own = {"tokens": values, "kind": what, "dtype": np.dtype(dtype).name}
        manifest.write(place, shared | own | manifest.sums(place))
    return manifest.find(places[0]) or {}


def _kept(stream: Iterable[Preference], counts: dict[str, int]) -> Iterator[Preference]:
    """Leave out, and count, what has nothing to compare."""
    for one in stream:
        counts["chats"] += one.answers[0].chat
        if not all(text.strip() for text in one.texts):
            counts["without_answer"] += 1
        elif len(one.answers) > 1 and len({*one.prompts}) > 1:
            counts["different_prompts"] += 1
        elif len(one.answers) > 1 and len({*one.texts}) == 1:
            counts["identical"] += 1
        else:
            yield one


def _encoded(
    stream: Iterator[Preference], model: Tokenizer, options: PairOptions, counts: dict[str, int], progress: Progress
) -> Iterator[_Row]:
    while held := list(itertools.islice(stream, _BATCH)):
        pieces = iter(
            model.encode_batch([part.text for one in held for example in one.answers for part in example.parts])
        )
        for one in held:
            sides = [_side(example, pieces, model, options) for example in one.answers]
            longest = max(len(tokens) for tokens, _, _ in sides)
            if longest > int(options.seq_length or 0):
                counts["too_long"] += 1
                continue
            counts["examples"] += 1
            counts["learned_tokens"] += sum(int((labels != MASKED).sum()) for _, labels, _ in sides)
            counts["changed"] += not all(same for _, _, same in sides)
            row = [values for tokens, labels, _ in sides for values in (tokens, labels)]
            if options.preference == "kto":
                counts["wanted" if one.reward > 0 else "unwanted"] += 1
                row.append(np.array([one.reward * int(options.seq_length or 0) / longest], np.float32))
            yield row
        progress.update(len(held))


def _side(
    example: Example, pieces: Iterator[list[int]], model: Tokenizer, options: PairOptions
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Tokens and labels of a prompt with one answer, and whether they were checked by decoding."""
    tokens: list[int] = []
    labels: list[int] = []
    for part in example.parts:
        ids = next(pieces) + ([model.eod_id] if part.ends else [])
        tokens += ids
        labels += ids if part.learned else [MASKED] * len(ids)
    same = examples.check_mask(example, tokens, labels, model)
    if options.preference == "rm":
        tokens += [model.eod_id]
        labels = [MASKED] * (len(tokens) - 1) + [model.eod_id]
    return np.array(tokens, np.int32), np.array(labels, np.int32), same


def neox_keys(output_prefix: str | os.PathLike[str], kind: str, split: str = "train") -> dict[str, Any]:
    """The data paths of a GPT-NeoX config for one split."""
    place = [str(dataset_prefix(output_prefix, key)) for key in KEYS[kind]]
    if kind == "kto":
        names = [f"{split}{what}_data_paths" for what in ("", "_label", "_reward")]
    else:
        names = [f"{side}_{split}{what}_data_paths" for side in ("pos", "neg") for what in ("", "_label")]
    return {name: [path] for name, path in zip(names, place, strict=True)}


def _left(counts: dict[str, Any]) -> list[str]:
    return [f"{counts[key]:,} {what}" for key, what in _LEFT_OUT.items() if counts.get(key)]


def table(report: dict[str, Any], output_prefix: str) -> str:
    """The manifest as a few lines to read, and the config's data paths."""
    kind, left = report["preference"], _left(report)
    signs = f" ({report['wanted']:,} wanted, {report['unwanted']:,} not)" if kind == "kto" else ""
    keys = neox_keys(output_prefix, kind).items()
    return "\n".join(
        [
            f"{Path(output_prefix)}: {report['examples']:,} {'answers' if kind == 'kto' else 'pairs'}{signs} for {kind}"
            + (f"; left out: {', '.join(left)}" if left else ""),
            *broken_lines(report),
            f"launch.configs --recipe {'reward' if kind == 'rm' else kind} writes the config; its data paths:",
            *(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in keys),
        ]
    )


def warnings(report: dict[str, Any]) -> Sequence[str]:
    """What to beware of."""
    if report["preference"] == "kto" and not (report["wanted"] and report["unwanted"]):
        only = "wanted" if report["wanted"] else "unwanted"
        return [f"every answer is {only}: KTO learns from both kinds"]
    return []
