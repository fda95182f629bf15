"""Preferences for the tests: datasets of each kind, GPT-NeoX's samples of them, and its losses reckoned in torch."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from neox_world import World, sentences

from haigo.formats.dataset.indexed import MMapReader
from preprocess import pairs, preferences

LENGTH = 128


def make(world: World, kind: str, splits: dict[str, int]) -> dict[str, Path]:
    """Datasets of so many lines a split; a rejected answer is the chosen one backwards."""
    made = {}
    for seed, (split, count) in enumerate(splits.items()):
        rng, rows = random.Random(seed), []
        for text in sentences(40 + seed, count):
            answer = text[25 : 25 + rng.randint(15, 50)]
            if len(text) > 80:
                rows.append({"prompt": text[:25], "chosen": answer, "rejected": answer[::-1]})
        path = world.root / f"{kind}_{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made[split] = world.root / "preferences" / kind / split
        pairs.build([path], world.root / "tokenizer", made[split], preference=kind, seq_length=LENGTH)
    return made


def batches(prefix: Path, kind: str, micro: int) -> list[list[torch.Tensor]]:
    """The micro batches of GPT-NeoX, from the order that it left beside the data: a tensor (micro, LENGTH + 1) a dataset.

    Behind each row stands the first value of the next one, as GPT-NeoX puts it there; then padding.
    """
    readers = [MMapReader(f"{prefix}_{key}_document") for key in preferences.KEYS[kind]]
    (base,) = [
        str(each).removesuffix("_doc_idx.npy")
        for each in readers[0].prefix.parent.glob(f"{readers[0].prefix.name}_train_0_*_doc_idx.npy")
    ]
    documents, shuffled = (np.load(f"{base}_{name}.npy") for name in ("doc_idx", "shuffle_idx"))
    rows = []
    for sample in shuffled:
        here, behind = int(documents[sample]), int(documents[sample + 1])
        row = []
        for key, reader in zip(preferences.KEYS[kind], readers, strict=True):
            values, more = np.asarray(reader[here]), np.asarray(reader[behind])[:1]
            if key.endswith("reward"):
                values = np.full(len(row[0]), values[0])
            values = np.concatenate([values, more])
            row.append(values)
        rows.append(row)
    padded = []
    for row in rows:
        if kind == "kto":  # a reward a token, and one of the next row
            tokens, labels, rewards = row
            rewards = np.concatenate([rewards[: len(tokens) - 1], rewards[-1:]])
            row = [tokens, labels, rewards]
        fills = [MASK if key.endswith("label") else 0 for key in preferences.KEYS[kind]]
        padded.append(
            [
                np.pad(values, (0, LENGTH + 1 - len(values)), constant_values=fill)
                for values, fill in zip(row, fills, strict=True)
            ]
        )
    columns = [np.stack(each) for each in zip(*padded, strict=True)]
    whole = [torch.from_numpy(each.astype(np.float32 if each.dtype.kind == "f" else np.int64)) for each in columns]
    return [[each[at : at + micro] for each in whole] for at in range(0, len(rows) - micro, micro)]


MASK = preferences.MASKED


def logp(model: Any, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the labels that count, summed over each row."""
    scores = model(tokens[:, :-1]).logits.log_softmax(-1)
    wanted, counts = labels[:, 1:].clamp(min=0), labels[:, 1:] >= 0
    return (scores.gather(2, wanted.unsqueeze(2)).squeeze(2) * counts).sum(-1)


def dpo(model: Any, reference: Any, batch: list[torch.Tensor], beta: float = 0.1) -> torch.Tensor:
    """Rafailov et al. 2023, equation 7."""
    chosen, rejected = batch[:2], batch[2:]
    with torch.no_grad():
        before = logp(reference, *chosen) - logp(reference, *rejected)
    return -F.logsigmoid(beta * (logp(model, *chosen) - logp(model, *rejected) - before)).mean()


def kto(model: Any, reference: Any, batch: list[torch.Tensor], beta: float = 0.1) -> torch.Tensor:
    """Ethayarajh et al. 2024, equation 7, with the divergence of the other half of the batch; the sign is the mean of the
    rewards over a sample, which is what GPT-NeoX takes."""
    tokens, labels, rewards = batch
    with torch.no_grad():
        before = logp(reference, tokens, labels)
    ratio, sign = logp(model, tokens, labels) - before, rewards[:, :-1].mean(-1)
    half = len(ratio) // 2
    apart = [ratio[:half].clamp(min=0).mean().detach(), ratio[half:].clamp(min=0).mean().detach()]
    baseline = torch.cat([apart[1].expand(half), apart[0].expand(len(ratio) - half)])
    return 0.5 * (1 - torch.sigmoid(beta * sign * (ratio - baseline))).view(2, half).sum(0).mean()


def reward(body: Any, head: torch.Tensor, batch: list[torch.Tensor]) -> torch.Tensor:
    """Bradley and Terry 1952: the chosen answer's number above the rejected one's, both at the first of two end pieces."""

    def value(tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        at = (labels[:, 1:] >= 0).float().argmax(-1)
        states = body(tokens[:, :-1]).last_hidden_state
        return states[torch.arange(len(at)), at] @ head

    return -F.logsigmoid(value(*batch[:2]) - value(*batch[2:])).mean()
