"""How well a model predicts held-out text: bits per byte, so that runs with different tokenizers compare.

A corpus' validation set is read as one stream of documents, cut into windows as in training (context crosses
documents), every window from a clean start. When `limit` asks for less than all, windows are taken at even distances
over the whole set: the same ones for every run. Bits per byte counts the predictions of text; the end-of-document
piece stands for no byte, so its predictions are left out there and kept in `loss` (nats a token, as in training).

A pairs file (jsonl, `{"context": ..., "target": ...}`) gives bits per byte of the targets given their contexts. The two
are tokenised separately, as the scorer of the evaluation harness does; an empty context is the end-of-document piece.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from haigo import files
from haigo.cli import HaigoError
from haigo.formats.dataset import belongs
from haigo.formats.dataset.ids import MASKED
from haigo.formats.dataset.indexed import MMapReader
from haigo.formats.tokenizer import Tokenizer
from launch.engine import device as devices

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from launch.engine.settings import Settings

Int64 = npt.NDArray[np.int64]
_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Task:
    """What to predict: inputs and labels, int64 [windows, length]; labels are MASKED where nothing is asked."""

    inputs: Int64
    labels: Int64
    text_bytes: int
    """UTF-8 bytes of the text that the labels stand for."""
    eod_id: int
    window_bytes: Int64 | None = None
    """The same of each window, where windows are parts of one text."""


@dataclass(frozen=True)
class Score:
    """What a model made of a task."""

    loss: float
    """Nats a token, end-of-document pieces included."""
    bpb: float
    """Bits a byte of text."""
    tokens: int
    bytes: int
    stderr: float | None = None
    """Standard error of `bpb` over the windows, None where that is not known."""

    def as_dict(self) -> dict[str, float | int]:
        return {"bpb": self.bpb, "loss": self.loss, "tokens": self.tokens, "bytes": self.bytes}


def corpus_task(prefix: str | os.PathLike[str], vocabulary: Tokenizer, seq_length: int, limit: int | None) -> Task:
    """The task of a validation set.

    Args:
        prefix: indexed dataset, without extension.
        seq_length: tokens a window.
        limit: about how many tokens to predict; all when None.

    Raises:
        HaigoError: the dataset is missing, truncated, empty or holds ids beyond the tokenizer's vocabulary.
        Refused: another tokenizer made it.
    """
    belongs.require(prefix, vocabulary)
    reader = MMapReader(prefix)
    stream = reader.tokens
    total = len(stream)
    if total < 2:
        raise HaigoError(f"{prefix} holds {total} tokens: nothing to evaluate on.", "index more text for this split")
    windows = -(-(total - 1) // seq_length)
    wanted = windows if limit is None else max(1, min(windows, round(limit / seq_length)))
    chosen = np.arange(wanted, dtype=np.int64) * windows // wanted
    inputs = np.zeros((wanted, seq_length), dtype=np.int64)
    labels = np.full((wanted, seq_length), MASKED, dtype=np.int64)
    for row, window in enumerate(chosen):
        start = int(window) * seq_length
        piece = stream[start : start + seq_length + 1].astype(np.int64)
        inputs[row, : len(piece) - 1] = piece[:-1]
        labels[row, : len(piece) - 1] = piece[1:]
    asked = labels[labels != MASKED]
    count = int(vocabulary.piece_bytes[asked].sum())
    if not count:
        raise HaigoError(f"{prefix} holds no text to evaluate on.", "index more text for this split")
    each = np.where(labels != MASKED, vocabulary.piece_bytes[np.maximum(labels, 0)], 0).sum(axis=1).astype(np.int64)
    return Task(inputs, labels, count, vocabulary.eod_id, each)


def tasks(
    sets: Mapping[str, str], pairs: Mapping[str, str], vocabulary: Tokenizer, plan: Settings, limit: int | None
) -> dict[str, Task]:
    """The tasks of validation sets (name -> prefix) and pairs files (name -> path) for a model of `plan`.

    Args:
        limit: about how many tokens to predict of each set; all when None or 0.
    """
    asked = {name: corpus_task(prefix, vocabulary, plan.seq_length, limit or None) for name, prefix in sets.items()}
    positions = plan.max_position_embeddings
    return asked | {name: pairs_task(path, vocabulary, positions) for name, path in pairs.items()}


def metrics(scores: Mapping[str, Score]) -> dict[str, float]:
    """What is written of the scores: CORPUS_bpb, NAME_bpb."""
    return {f"{name}_bpb": score.bpb for name, score in scores.items()}


def pairs_task(path: str | os.PathLike[str], vocabulary: Tokenizer, positions: int) -> Task:
    """The task of a pairs file; contexts are cut from the left to `positions`.

    Raises:
        HaigoError: the file is missing, a line is not such a pair (its number is named), or there is none.
    """
    pairs = list(_read_pairs(Path(path)))
    if not pairs:
        raise HaigoError(f"{path} holds no pairs.", 'write one {"context": ..., "target": ...} a line')
    contexts = vocabulary.encode_batch([context for context, _ in pairs])
    targets = vocabulary.encode_batch([target for _, target in pairs])
    rows: list[tuple[list[int], int]] = []
    for number, (context, target) in enumerate(zip(contexts, targets, strict=True), start=1):
        ids = ([*context] or [vocabulary.eod_id]) + [*target]
        if len(target) > positions:
            raise HaigoError(
                f"{path} (pair {number}): the target has {len(target)} tokens, and the model {positions} positions.",
                "shorten it",
            )
        rows.append((ids[-(positions + 1) :], len(target)))
    length = max(len(ids) for ids, _ in rows) - 1
    inputs = np.zeros((len(rows), length), dtype=np.int64)
    labels = np.full((len(rows), length), MASKED, dtype=np.int64)
    # sorted by length, so that a batch holds rows of about one length and is cut to its longest
    for row, (ids, asked) in enumerate(sorted(rows, key=lambda pair: len(pair[0]))):
        inputs[row, : len(ids) - 1] = ids[:-1]
        labels[row, len(ids) - 1 - asked : len(ids) - 1] = ids[len(ids) - asked :]
    return Task(inputs, labels, sum(len(target.encode()) for _, target in pairs), vocabulary.eod_id)


def _read_pairs(path: Path) -> Iterable[tuple[str, str]]:
    lines = files.read_text(path).split("\n")  # not splitlines(): a text may hold U+2028
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            pair = json.loads(line)
            context, target = pair["context"], pair["target"]
        except (ValueError, TypeError, KeyError, RecursionError):
            context = target = None
        if not isinstance(context, str) or not isinstance(target, str) or not target or not _whole(context + target):
            raise HaigoError(
                f'{path} (line {number}) is not {{"context": text, "target": text}} with a target.', "mend that line"
            )
        yield context, target


def _whole(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON may carry half a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def score(model: PreTrainedModel, task: Task, device: str = "cpu") -> Score:
    """Let the model predict the task, in float32. Deterministic; no gradients; logits for a few hundred tokens at a time.

    Args:
        device: where the model is.
    """
    import torch

    from launch.engine.loss import token_nats
    from launch.engine.model import body

    nats = text_nats = 0.0
    by_window = np.zeros(len(task.inputs))
    tokens = 0
    per_batch = max(1, _BATCH_TOKENS // task.inputs.shape[1])
    weight = model.lm_head.weight
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(task.inputs), per_batch):
            labels = task.labels[start : start + per_batch]
            used = labels != MASKED
            length = int(np.flatnonzero(used.any(axis=0))[-1]) + 1
            labels = np.ascontiguousarray(labels[:, :length]).reshape(-1)
            inputs = np.ascontiguousarray(task.inputs[start : start + per_batch, :length])
            hidden = body(model, devices.moved(torch.from_numpy(inputs), device))
            asked = np.flatnonzero(labels != MASKED)
            if len(asked) < len(labels):  # pairs ask for few of their tokens: no logits for the rest
                hidden = hidden[devices.moved(torch.from_numpy(asked), device)]
                labels = labels[asked]
            token_losses = (
                token_nats(hidden, weight, devices.moved(torch.from_numpy(labels), device)).double().cpu().numpy()
            )
            nats += float(token_losses.sum())
            of_text = labels != task.eod_id
            text_nats += float(token_losses[of_text].sum())
            np.add.at(by_window, start + asked[of_text] // length, token_losses[of_text])
            tokens += len(labels)
    model.train(was_training)
    bpb = text_nats / math.log(2) / task.text_bytes
    return Score(nats / tokens, bpb, tokens, task.text_bytes, _stderr(by_window / math.log(2), task.window_bytes, bpb))


def _stderr(bits: npt.NDArray[np.float64], window_bytes: Int64 | None, bpb: float) -> float | None:
    """Of the ratio of two sums over windows (bits, bytes)."""
    if window_bytes is None or len(bits) < 2:
        return None
    rest = bits - bpb * window_bytes
    return float(math.sqrt((rest**2).sum() * len(bits) / (len(bits) - 1)) / window_bytes.sum())
