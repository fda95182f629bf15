"""The proof of a conversion: the converted model's cross entropy on the samples behind a loss that GPT-NeoX logged.

A checkpoint of step k holds the weights that met batch k + 1, so that the training loss logged at step k + 1 can be had from
it, to the digit; with pipe_parallel_size 0 so can the validation loss at step k. Samples are taken in GPT-NeoX's own order
(`launch.neox.data_order`), a loss is put together as it does: the mean over micro batches of the mean over their tokens that
count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from haigo.cli import HaigoError, Refused
from haigo.formats.dataset.ids import MASKED
from haigo.formats.dataset.indexed import MMapReader
from haigo.progress import Progress
from launch.neox import data_order
from launch.neox import log as neox_log
from neox_configs import reader

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Int64 = npt.NDArray[np.int64]
TOLERANCE = {"fp32": 2e-5, "fp16": 5e-3, "bfloat16": 1e-2}
"""Largest relative difference, by the precision that GPT-NeoX ran in: 5 digits in fp32; its own rounding otherwise."""
_ROWS = 4


@dataclass(frozen=True)
class Logged:
    """A loss of GPT-NeoX's log that a checkpoint must give again."""

    part: str
    """train or valid."""
    value: float
    first: int
    """The first sample."""
    samples: int
    where: str
    """What to call it."""


def logged(log: Path, step: int, config: Mapping[str, Any], batch: int) -> list[Logged]:
    """The losses in a log that belong to the weights of `step`, the last of each kind.

    Raises:
        HaigoError: the log cannot be read or holds none; the sentence says why.
    """
    try:
        log.open("rb").close()
    except OSError:
        raise HaigoError(f"{log} cannot be read.", "name GPT-NeoX's log, as launch.deepy --log writes it") from None
    losses: dict[str, Logged] = {}
    iterations = int(config.get("eval_iters", 100))
    # samples that GPT-NeoX's loader gives at a time: one micro batch of every data rank
    loader = batch // int(config.get("gradient_accumulation_steps") or 1)
    position, last, before = 0, -1, -1
    means = False
    for line in neox_log.lines(log):
        valid = neox_log.validation(line)
        if valid and valid.loss is not None:
            if (last if valid.iteration is None else valid.iteration) == step:
                name = f"validation loss at step {step}"
                losses["valid"] = Logged("valid", valid.loss, position, iterations * batch, name)
            position += iterations * batch
        elif valid:
            position, before = (valid.iteration or 0) * loader, -1
        row = neox_log.step(line)
        if row:
            last = row.iteration
            if last == step + 1:
                # a line every 10 steps tells the mean of 10 losses, which are not those of one set of weights
                means = int(config.get("log_interval") or 100) != 1 and before != step
                if not means and row.loss is not None:
                    name = f"training loss at step {step + 1}"
                    losses["train"] = Logged("train", row.loss, step * batch, batch, name)
            before = last
    if not losses:
        why = (
            f"its line of step {step + 1} is a mean over several steps"
            if means
            else (f"it tells of neither step {step + 1} nor a validation at step {step}")
        )
        raise HaigoError(
            f"{log} has no loss of the weights of step {step}: {why}.",
            "take the log of that run with log_interval 1, a checkpoint before its last step (--iteration), or leave --log out",
        )
    return list(losses.values())


def rows(
    config: Mapping[str, Any], batch: int, part: str, first: int, count: int, eod: int, base: Path
) -> tuple[Int64, Int64]:
    """Samples `first` to `first + count` as GPT-NeoX trains on them.

    Args:
        config: the run's keys.
        batch: the global batch.
        part: train, valid or test.
        eod: id that ends a document, for eod_mask_loss.
        base: where relative paths of the datasets start, when they are not found from here.

    Returns:
        inputs and labels, int64 [count, seq_length]; labels are MASKED where the loss does not count.

    Raises:
        HaigoError: a dataset is not there, or the config asks for an order that is not known here.
    """
    keyed = dict(config)
    for name in ("data_path", f"{part}_data_paths", f"{part}_label_data_paths"):
        if keyed.get(name):
            given = keyed[name]
            keyed[name] = _placed(given, base) if isinstance(given, str) else [_placed(one, base) for one in given]
    data = data_order.source(keyed, batch, part).open()
    labelled = keyed.get(f"{part}_label_data_paths")
    masks = [MMapReader(prefix) for prefix in labelled] if labelled else None
    length = int(config["seq_length"])
    tokens = np.empty((count, length + 1), dtype=np.int64)
    labels = np.empty((count, length), dtype=np.int64)
    for row in range(count):
        number = first + row
        which, index = data.locate(number) if isinstance(data, data_order.Blend) else (0, number)
        dataset = data.datasets[which] if isinstance(data, data_order.Blend) else data
        dataset.fill(index, tokens[row])
        if masks is None:
            labels[row] = tokens[row, 1:]
        else:
            parts = [masks[which][document][at : at + size] for document, at, size in dataset.pieces(index)]
            labels[row] = np.concatenate(parts)[1:]
    labels[labels < 0] = MASKED
    if reader.value(config, "eod_mask_loss"):
        labels[tokens[:, :-1] == eod] = MASKED
    return tokens[:, :-1], labels


def _placed(prefix: str, base: Path) -> str:
    return prefix if Path(f"{prefix}.idx").is_file() or Path(prefix).is_absolute() else str(base / prefix)


def cross_entropy(model: PreTrainedModel, inputs: Int64, labels: Int64, micro: int) -> float:
    """Nats a token, in the model's precision: the mean over micro batches of the mean over their labels.

    Args:
        inputs, labels: int64 [samples, length]; labels are MASKED where nothing is asked.
        micro: samples of a micro batch; the last may be smaller.

    Raises:
        Refused: no label counts in a whole micro batch (GPT-NeoX's loss is not a number there).
    """
    import torch

    from launch.engine.loss import token_nats
    from launch.engine.model import body

    sums = np.zeros(len(inputs))
    device = model.lm_head.weight.device
    with torch.no_grad(), Progress("loss", len(inputs), "samples") as progress:
        for start in range(0, len(inputs), _ROWS):
            given = torch.from_numpy(np.ascontiguousarray(inputs[start : start + _ROWS])).to(device)
            wanted = torch.from_numpy(np.ascontiguousarray(labels[start : start + _ROWS])).to(device)
            nats: torch.Tensor = token_nats(body(model, given), model.lm_head.weight, wanted.reshape(-1))
            sums[start : start + len(given)] = nats.reshape(wanted.shape).double().sum(1).cpu().numpy()
            progress.update(len(given))
    counts = (labels != MASKED).sum(1)
    means = []
    for start in range(0, len(inputs), micro):
        counted = int(counts[start : start + micro].sum())
        if not counted:
            raise Refused("a micro batch has no token that counts for the loss.", "check the label datasets")
        means.append(float(sums[start : start + micro].sum()) / counted)
    return float(np.mean(means))


def load_model(folder: Path) -> PreTrainedModel:
    """The converted model in float32, on the GPU where there is one.

    Raises:
        HaigoError: transformers cannot load it, or finds weights missing or left over.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HaigoError(f"{folder} does not load in transformers: {line}", "convert the checkpoint again") from None
    model, info = loaded
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *map(str, info["mismatched_keys"])]
    if wrong:
        raise HaigoError(
            f"{folder}: transformers has no place for {wrong[0]}, or misses it.", "convert the checkpoint again"
        )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
