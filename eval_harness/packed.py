"""All choices of a question in one forward pass over its context.

The context stands once, followed by every choice; a mask lets each choice see the context and itself, and position ids let
it begin where the context ends, so the numbers are those of separate passes (up to rounding: 1e-5 in float32; below it `trial`
measures each model). Only the positions that predict a choice's tokens go through the output layer. Contexts of a batch are
padded on the left so that those positions are one slice.

Where contexts begin alike for at least half of their length (the same shots before every question, a long instruction), that
beginning goes through the model once, and every pass reads what the model remembers of it (`prefix`).
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Answer = tuple[float, bool]
_TOLERANCE = 1e-3  # nats; separate passes of different shapes differ by about 1e-5 in float32
_TRIED = 8
_TOKENS_PER_PASS = {"cpu": 2048}
_TOKENS_ON_ACCELERATOR = 16_384
_LEAST_PREFIX, _FEWEST = 32, 8  # tokens and questions for which it is worth it


@dataclass(frozen=True, slots=True)
class Question:
    """A context and its choices as token ids; neither is empty."""

    context: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]

    @property
    def length(self) -> int:
        """Tokens that go through the model: the last token of a choice predicts nothing."""
        return len(self.context) + sum(len(choice) - 1 for choice in self.choices)


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a model remembers of the tokens with which all contexts begin."""

    length: int
    cache: Any
    """transformers' keys and values, of one row."""


def prefix(model: Any, questions: Sequence[Question]) -> Prefix | None:
    """The common beginning of all contexts, where it is worth a pass of its own, the model can remember it, and a trial gives
    the numbers of passes that read it themselves. (That these are the model's own is for `trial` to say before.)"""
    # the last token of every context is left out: it predicts
    contexts = [question.context[:-1] for question in questions]
    first, last = min(contexts, default=()), max(contexts, default=())
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    tokens = sum(map(len, contexts))
    if len(questions) < _FEWEST or length < _LEAST_PREFIX or 2 * length * len(questions) < tokens:
        return None
    try:
        ids = torch.tensor([list(first[:length])], device=model.device)
        with torch.no_grad():
            cache = model(input_ids=ids, use_cache=True).past_key_values
        if cache.get_seq_length() != length or not hasattr(cache, "batch_repeat_interleave"):
            return None
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return None
    made = Prefix(length, cache)
    tried = trial(model, questions, lambda question: score(model, [question])[0], made)
    return made if tried is not None and tried.holds else None


def batches(questions: Sequence[Question], size: int | None, device: str, known: int = 0) -> Iterator[list[Question]]:
    """Questions of like length together, the longest first; `size` of them, or as many as a pass takes well.

    Args:
        known: tokens at the beginning of every context that go through no pass (`prefix`).
    """
    budget = _TOKENS_PER_PASS.get(device, _TOKENS_ON_ACCELERATOR)
    batch: list[Question] = []
    for question in sorted(questions, key=lambda q: q.length, reverse=True):
        full = len(batch) >= size if size else bool(batch) and (len(batch) + 1) * (batch[0].length - known) > budget
        if full:
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Trial:
    """How far shared contexts are from separate passes, on a few questions: the answer that comes nearest to its tolerance."""

    questions: int
    difference: float
    """In nats."""
    tolerance: float
    """In nats: 1e-3, or below float32 two units in the last place of the log-likelihood itself, which is rounded so there."""

    @property
    def holds(self) -> bool:
        """Whether every answer is within its tolerance."""
        return self.difference <= self.tolerance


def trial(
    model: Any,
    questions: Sequence[Question],
    separately: Callable[[Question], list[Answer]],
    begun: Prefix | None = None,
) -> Trial | None:
    """Try out whether sharing the context gives this model's own numbers: in float32 on the first and the last choice of the
    shortest and the longest question, below it, where every shape of a pass rounds to other numbers, on all of eight from the
    shortest to the longest.

    Models that take no position ids or no mask of four dimensions give None; those that see positions in another way fail.
    """
    if not {"attention_mask", "position_ids"} <= set(inspect.signature(model.forward).parameters):
        return None
    exact = model.dtype in (torch.float32, torch.float64)
    by_length = sorted(questions, key=lambda q: q.length)
    wanted = min(len(by_length), 2 if exact else _TRIED)
    tried = [by_length[round(n * (len(by_length) - 1) / max(1, wanted - 1))] for n in range(wanted)]
    unit = 0.0 if exact else 2 * torch.finfo(model.dtype).eps
    pairs = []
    for question in tried:
        try:
            shared = score(model, [question, by_length[0]], *([] if begun is None else [begun]))[0]
        except (RuntimeError, ValueError, TypeError, IndexError):
            return None
        # what a mask or position ids do wrong shows in the last choice, which stands behind all others
        ends = sorted({0, len(shared) - 1}) if exact else range(len(shared))
        apart = separately(Question(question.context, tuple(question.choices[at] for at in ends)))
        shared = [shared[at] for at in ends]
        pairs += [(abs(a - b), max(_TOLERANCE, unit * abs(b))) for (a, _), (b, _) in zip(shared, apart, strict=True)]
    if any(math.isnan(difference) for difference, _ in pairs):
        return None
    difference, tolerance = max(pairs, key=lambda pair: pair[0] / pair[1])
    return Trial(len(tried), difference, tolerance)


@torch.no_grad()
def score(model: Any, questions: Sequence[Question], begun: Prefix | None = None) -> list[list[Answer]]:
    """(log-likelihood in nats, is greedy) of every choice of every question, from one forward pass.

    Args:
        begun: of these very contexts.
    """
    known = 0 if begun is None else begun.length
    head = max(len(question.context) for question in questions) - known
    width = head + max(question.length - len(question.context) for question in questions)
    device, dtype = model.device, model.dtype
    ids = torch.zeros((len(questions), width), dtype=torch.long)
    positions = torch.zeros((len(questions), width), dtype=torch.long)
    # which part of a row a column belongs to: 0 context, 1.. choices, -1 padding
    part = torch.full((len(questions), width), -1, dtype=torch.long)
    for row, question in enumerate(questions):
        size = len(question.context)
        start = head - size + known
        ids[row, start:head] = torch.tensor(question.context[known:])
        positions[row, start:head] = torch.arange(known, size)
        part[row, start:head] = 0
        column = head
        for number, choice in enumerate(question.choices, start=1):
            end = column + len(choice) - 1
            ids[row, column:end] = torch.tensor(choice[:-1], dtype=torch.long)
            positions[row, column:end] = torch.arange(size, size + len(choice) - 1)
            part[row, column:end] = number
            column = end
    part = part.to(device)
    order = torch.arange(width, device=device)
    visible = (part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None])
    visible &= (order[None, :] <= order[:, None])[None]
    # added to the attention scores, as both of transformers' attention functions take it
    mask = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, torch.finfo(dtype).min)
    keep = width - head + 1
    options: dict[str, Any] = (
        {"logits_to_keep": keep} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    )
    if begun is not None:
        cache = copy.deepcopy(begun.cache)
        cache.batch_repeat_interleave(len(questions))
        options["past_key_values"] = cache
        mask = torch.cat([mask.new_zeros(len(questions), width, known), mask], dim=2)
    logits = model(
        input_ids=ids.to(device),
        attention_mask=mask[:, None],
        position_ids=positions.to(device),
        use_cache=begun is not None,
        **options,
    ).logits[:, -keep:]
    logprobs = torch.log_softmax(logits, dim=-1)
    best = logprobs.argmax(dim=-1).cpu()
    answers = []
    for row, question in enumerate(questions):
        offset, found = 1, []
        for choice in question.choices:
            # column 0 of the slice is the context's last token, which predicts the first token of every choice
            columns = [0, *range(offset, offset + len(choice) - 1)]
            offset += len(choice) - 1
            wanted = torch.tensor(choice)
            total = float(logprobs[row, columns].gather(1, wanted.to(device)[:, None]).sum().cpu())
            found.append((total, bool((best[row, columns] == wanted).all())))
        answers.append(found)
    return answers
