"""What a run has been trained on, kept beside its checkpoints (`haigo_run.json`), so that it goes on with the same stream.

GPT-NeoX resumes by skipping as many batches of the stream as steps were done. Other weights, another batch, sequence length,
seed or order of the corpora give another stream, with no message at all: some samples are read again and others never.
The same is true of changed tokens under the same name, and of a `train_iters` that makes a corpus be read in another number
of epochs, because all epochs are shuffled together. A run in phases has one stream over all of them (`launch.plan.phases`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import haigo
from haigo import files, redact, shapes
from haigo.cli import HaigoError, Refused
from neox_configs import reader

NAME = "haigo_run.json"
_CORPUS = {"data": str, "digest": str, "weight": float, "epochs": (float, type(None))}
_LIKE = {"stream": {"corpora": [_CORPUS]}, "starts": [{"step": int}]}
_PLAIN = ("seed", "seq_length", "train_batch_size", "pack_impl", "split", "label_data")


def stream(config: Mapping[str, Any], base: str | os.PathLike[str], batch: int | None) -> dict[str, Any]:
    """Everything that decides which tokens step N reads.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
        batch: the global batch in samples; None when it is not known.

    Raises:
        HaigoError: a dataset is missing or damaged.
    """
    from haigo.formats.dataset import manifest
    from haigo.formats.dataset.indexed import MMapReader
    from launch.neox import data_order, phase_order  # late: they need numpy, and the commands' help does not

    length = int(reader.value(config, "seq_length") or 0)
    iterations = config.get("train_iters")
    labels = config.get("train_label_data_paths")
    listed = config.get("train_data_paths")
    plain = config.get("data_path") if not listed else None
    prefixes = [str(path) for path in listed or ([plain] if plain else [])]
    weights = [
        float(weight) for weight in (config.get("train_data_weights") if listed else None) or [1.0] * len(prefixes)
    ]
    samples = int(iterations) * batch if isinstance(iterations, int) and batch else None
    asked: list[int | None] = [samples] * len(prefixes)
    if listed and samples:
        shares, counts = data_order.normalised(weights, samples)
        weights, asked = shares, list(counts)
    elif weights and sum(weights) > 0:
        weights = [weight / sum(weights) for weight in weights]
    split = str(config.get("split", "969, 30, 1")) if plain else None
    corpora = []
    phase = phase_order.phase_of(config, base)
    for prefix, weight, wanted in zip(prefixes, weights, asked, strict=False):
        opened = MMapReader(Path(base) / prefix)
        tokens = len(opened.tokens)
        if split:
            first, last = data_order.split_bounds(split, len(opened.sizes))[:2]
            tokens = int(opened.sizes[first:last].sum())
        corpora.append(
            {
                "data": prefix,
                "weight": weight,
                "tokens": tokens,
                "digest": manifest.brief(Path(base) / prefix),
                "epochs": data_order.epochs_needed(tokens, length, wanted)
                if wanted and length and tokens > 1
                else None,
            }
        )
    return {
        "seed": reader.value(config, "seed"),
        "seq_length": length,
        "train_batch_size": batch,
        "train_iters": iterations,
        "pack_impl": reader.value(config, "pack_impl"),
        "split": split,
        "label_data": [str(path) for path in labels] if labels else None,
        "corpora": corpora,
        **({"phase": phase} if phase else {}),
    }


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two streams, a few words each; empty when step N reads the same tokens in both."""
    found = []
    for key in _PLAIN:
        if was.get(key) != now.get(key) and None not in (was.get(key), now.get(key)):
            found.append(f"{key} was {was[key]} and is {now[key]}")
    chains = [(one.get("phase") or {}).get("chain") or [] for one in (was, now)]
    if all(chains):  # each dataset is of one phase alone, and the chain says what decides its samples
        same = all(one == other for one, other in zip(*chains, strict=False))
        return found if same else [*found, "a phase that was trained is another one than before"]
    before, after = was.get("corpora") or [], now.get("corpora") or []
    if [one["digest"] for one in before] != [one["digest"] for one in after]:
        if sorted(one["digest"] for one in before) == sorted(one["digest"] for one in after):
            return [*found, "the corpora stand in another order"]
        names = [_name(one) for one in before], [_name(one) for one in after]
        if names[0] != names[1]:
            return [*found, f"the corpora were {', '.join(names[0])} and are {', '.join(names[1])}"]
        changed = [_name(new) for old, new in zip(before, after, strict=True) if old["digest"] != new["digest"]]
        return [*found, f"the tokens of {', '.join(changed)} are others than before"]
    for old, new in zip(before, after, strict=True):
        if abs(old["weight"] - new["weight"]) > 1e-12:
            found.append(f"the weight of {_name(new)} was {old['weight']:.6g} and is {new['weight']:.6g}")
        elif old["epochs"] != new["epochs"] and None not in (old["epochs"], new["epochs"]):
            found.append(
                f"{_name(new)} was to be read in {old['epochs']} epochs and is in {new['epochs']}, which shuffles it anew "
                f"(train_iters {was.get('train_iters')} and {now.get('train_iters')})"
            )
    if (was.get("pack_impl") or "packed") != "packed" and was.get("train_iters") != now.get("train_iters"):
        found.append(f"train_iters was {was.get('train_iters')} and is {now.get('train_iters')}, which packs anew")
    return found


def summary(found: Sequence[str]) -> str:
    """What `differences` found, in one sentence's end."""
    return found[0] + (f" ({len(found) - 1} more: {'; '.join(found[1:])})" if len(found) > 1 else "")


def consequences(was: Mapping[str, Any], now: Mapping[str, Any], step: int) -> list[str]:
    """What GPT-NeoX will read from `step` on if the other stream is taken all the same, a line for each corpus.

    The greedy blend takes of each corpus its share of the samples to within one, in the order of that corpus, so that
    where the run stands in it is the share times the samples before `step` -- in the old stream, and in the new.
    """
    lines = []
    old_batch, new_batch = was.get("train_batch_size") or 0, now.get("train_batch_size") or 0
    before = {one["digest"]: one for one in was.get("corpora") or []}
    for one in now.get("corpora") or []:
        old = before.get(one["digest"])
        start = round(one["weight"] * step * new_batch)
        if old is None:
            lines.append(f"{_name(one)}: new; its first {start:,} samples are skipped.")
            continue
        same = all(was.get(key) == now.get(key) for key in ("seed", "seq_length", "pack_impl", "split"))
        if not same or old["epochs"] != one["epochs"]:
            lines.append(f"{_name(one)}: shuffled anew, so that what was read already may come again.")
            continue
        end = round(old["weight"] * step * old_batch)
        if start < end:
            lines.append(f"{_name(one)}: about {end - start:,} samples are read a second time.")
        elif start > end:
            lines.append(f"{_name(one)}: about {start - end:,} samples are skipped.")
        else:
            lines.append(f"{_name(one)}: goes on where it was.")
    return lines


def read(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The record beside the checkpoints; None when there is none.

    Raises:
        HaigoError: it is not JSON of this form.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    content = files.read_json(path)
    wrong = shapes.unlike(content, _LIKE, "")
    if wrong is not None:
        raise HaigoError(f"{path} is not a run's record: {wrong}.", "move it away; the next start writes a new one")
    return dict(content)


def check(folder: str | os.PathLike[str], now: Mapping[str, Any], step: int, allow: bool = False) -> list[str]:
    """Compare the stream with the recorded one before a resume.

    Args:
        folder: where the checkpoints are.
        now: what `stream` gave.
        step: the step that the run goes on from; at 0 nothing has been read.
        allow: go on all the same.

    Returns:
        What to tell: the differences and what GPT-NeoX will read. Empty when nothing differs.

    Raises:
        Refused: the stream differs and `allow` is not set.
    """
    begins, ends = (now.get("phase") or {}).get("steps") or (0, step)
    if not begins <= step <= ends:
        raise Refused(
            f"{folder} is at step {step:,}, and this config is of the phase from step {begins:,} to {ends:,}.",
            "start the list of the phases, which finds the one that is next",
        )
    record = read(folder)
    if record is None or step == 0:
        return []
    found = differences(record["stream"], now)
    if not found:
        return []
    if not allow:
        raise Refused(
            f"{folder} was trained to step {step} on another stream of data: {summary(found)}.",
            "restore the config, or go on with the other stream by --other-data (what is read twice or never is told)",
        )
    return [*found, *consequences(record["stream"], now, step)]


def note_start(
    folder: str | os.PathLike[str],
    now: Mapping[str, Any],
    step: int,
    gpus: int | None,
    command: Sequence[str],
    remarks: Sequence[str] = (),
) -> None:
    """Write the stream and this start into the record.

    Args:
        folder: where the checkpoints are.
        now: what `stream` gave.
        step: the step that the run goes on from.
        gpus: all GPUs of the run, where it is known.
        command: what is started; secrets in it are written as ***.
        remarks: what was told about the data.
    """
    record = read(folder) or {"stream": dict(now), "starts": []}
    starts = record.get("starts") or []
    batch = now.get("train_batch_size")
    starts.append(
        {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "step": step,
            "consumed_samples": _consumed(record, step, batch),
            "gpus": gpus,
            "command": redact.words(command),
            "haigo": haigo.__version__,
            **({"other_data": list(remarks), "stream_before": record["stream"]} if remarks else {}),
        }
    )
    files.write_json(Path(folder) / NAME, {"stream": dict(now), "starts": starts})


def _consumed(record: Mapping[str, Any], step: int, batch: int | None) -> int | None:
    """Samples read before `step`, the batches of earlier streams counted as they were."""
    if batch is None:
        return None
    last = (record.get("starts") or [{}])[-1]
    before = record["stream"].get("train_batch_size")
    if last.get("consumed_samples") is None or before is None or last.get("step", 0) > step:
        return step * batch
    return int(last["consumed_samples"]) + (step - int(last["step"])) * int(before)


def _name(corpus: Mapping[str, Any]) -> str:
    parts = Path(str(corpus["data"])).parts
    return "/".join(parts[-2:])
