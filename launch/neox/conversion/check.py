"""Checks of a converted folder: is every weight there and a number, do ids, tokenizer and configs agree, is the loss right."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError
from haigo.formats import exported
from haigo.formats.tokenizer import Tokenizer, load, model_path
from haigo.progress import Progress
from launch.neox.conversion import loss as convert_loss
from launch.neox.conversion import model_folder
from launch.plan.checks import rules
from neox_configs import derive, huggingface

RECORD = exported.CONVERSION
_LIKE = {
    "step": int,
    "checkpoint": str,
    "config": {},
    "model": {},
    "dtype": str,
    "vocab": str,
    "tokenizer_sha256": str,
    "unequal": {str: float},
    "tensor_ranks": int,
    "data_ranks": (int, None),
    "losses?": ([{"status": str}], None),
}
UNLOGGED_SAMPLES = 8
"""How much of the batch is looked at when there is no logged value to compare with."""


@dataclass(frozen=True)
class Finding:
    """The answer of one check."""

    name: str
    status: str
    """`ok`, `warn`, `fail` or `skip`."""
    text: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def structure(folder: Path) -> list[Finding]:
    """Everything that needs no data: weights by name, shape and value, ids, tokenizer, configs.

    Raises:
        HaigoError: the folder is no model of Hugging Face that GPT-NeoX could have trained.
    """
    config = files.read_record(
        folder / "config.json", {"vocab_size?": int, "num_hidden_layers?": int, "rope_parameters?": ({}, None)}
    )
    if config.get("model_type") not in huggingface.ARCHITECTURES:
        raise HaigoError(
            f"{folder} holds no model of Hugging Face of the types {', '.join(huggingface.ARCHITECTURES)}.",
            "name a folder that launch.convert wrote",
        )
    findings = [_names(folder, config)]
    if findings[0].status == "ok":
        findings.append(_numbers(folder))
    findings += _tokenizer(folder, config)
    findings += _record(folder, config)
    return findings


def unchanged(folder: Path) -> Finding:
    """Whether config and weights have the bytes that were written."""
    changed = exported.changed(folder)
    if changed is None:
        return Finding("bytes", "skip", "nobody noted what was written")
    weights = [name for name in changed if name != exported.CONFIG]
    if changed:
        return Finding("bytes", "fail" if weights else "warn", f"{', '.join(changed)}: changed since it was written")
    return Finding("bytes", "ok", "config and weights are as they were written")


def _model(folder: Path) -> Any:
    """What config.json asks for, without its numbers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    except Exception as error:  # transformers and torch have many for a config that is none
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HaigoError(
            f"{folder / 'config.json'} is no model's: {reason[:200]}", "convert the checkpoint again"
        ) from None


def _names(folder: Path, config: Mapping[str, Any]) -> Finding:
    headers = {path: model_folder.header(path) for path in model_folder.shards(folder)}
    layers, tensors = config.get("num_hidden_layers", 0), sum(map(len, headers.values()))
    if layers > tensors:  # before a model of so many is built
        return Finding("weights", "fail", f"there are {tensors} tensors, and config.json asks for {layers:,} layers")
    model = _model(folder)
    wanted = {name.replace("lm_head.", "embed_out."): tuple(value.shape) for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        wanted.pop("embed_out.weight", None)
    here: dict[str, tuple[int, ...]] = {}
    kinds: set[str] = set()
    for header in headers.values():
        for name, (shape, kind) in header.items():
            if not name.endswith(
                (".attention.bias", ".masked_bias", ".rotary_emb.inv_freq")
            ):  # buffers of old versions
                here[name.replace("lm_head.", "embed_out.")] = shape
                kinds.add(kind)
    if model.config.tie_word_embeddings:
        here.pop("embed_out.weight", None)
    wrong = sorted(name for name in {*wanted, *here} if wanted.get(name) != here.get(name))
    if wrong:
        name = wrong[0]
        text = f"{name} has the shape {here.get(name, 'none')}, config.json asks for {wanted.get(name, 'none')}"
        return Finding("weights", "fail", text + (f", and {len(wrong) - 1} more" if wrong[1:] else ""))
    if len(kinds) > 1:
        return Finding("weights", "fail", f"they are of several types ({', '.join(sorted(kinds))})")
    return Finding("weights", "ok", f"{len(here)} tensors with the names and shapes of config.json, {kinds.pop()}")


def _numbers(folder: Path) -> Finding:
    import torch
    from safetensors import safe_open

    paths = model_folder.shards(folder)
    total = 0
    with Progress("check weights", len(paths), "files") as progress, progress.beating():
        for path in paths:
            with safe_open(path, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118
                    tensor = opened.get_tensor(name)
                    total += tensor.numel()
                    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                        return Finding("numbers", "fail", f"{name} holds values that are no numbers")
            progress.update()
    return Finding("numbers", "ok", f"all {total:,} are finite")


def _tokenizer(folder: Path, config: Mapping[str, Any]) -> list[Finding]:
    from haigo.formats.tokenizer import hf_adapter
    from haigo.formats.tokenizer.probes import TRAPS

    try:
        vocabulary = load(folder)
    except HaigoError as error:
        return [Finding("tokenizer", "fail", error.problem)]
    adapter = hf_adapter(folder)
    for text in TRAPS:
        if adapter.encode(text, add_special_tokens=False) != vocabulary.encode(text):
            return [
                Finding(
                    "tokenizer", "fail", f"the adapter gives other ids than {vocabulary.path.name} for {text[:20]!r}"
                )
            ]
    rows = int(config.get("vocab_size", 0))
    if vocabulary.vocab_size > rows:
        text = f"it has {vocabulary.vocab_size:,} pieces and the model {rows:,} rows"
        return [Finding("tokenizer", "fail", text)]
    more = f", {rows - vocabulary.vocab_size} rows of padding" if rows > vocabulary.vocab_size else ""
    findings = [Finding("tokenizer", "ok", f"{vocabulary.vocab_size:,} pieces, {vocabulary.kind}'s ids{more}")]
    return [*findings, *(_ids(folder / name, vocabulary) for name in ("config.json", "generation_config.json"))]


def _ids(path: Path, vocabulary: Tokenizer) -> Finding:
    name = f"ids in {path.name}"
    if not path.is_file():
        return Finding(name, "fail", "the file is missing")
    content = files.read_record(path, {})
    right = {"eos_token_id": vocabulary.eod_id, "bos_token_id": vocabulary.eod_id, "pad_token_id": vocabulary.pad_id}
    wrong = [
        f"{key} is {content.get(key)} and not {value}" for key, value in right.items() if content.get(key) != value
    ]
    if wrong:
        return Finding(name, "fail", "; ".join(wrong))
    return Finding(name, "ok", f"eos and bos {vocabulary.eod_id}, pad {vocabulary.pad_id}")


def _record(folder: Path, config: Mapping[str, Any]) -> list[Finding]:
    path = folder / RECORD
    if not path.is_file():
        return [Finding("origin", "skip", f"no {RECORD}: the folder was not written by launch.convert")]
    record = read_record(path)
    findings = []
    wrong = [
        f"{key} is {_stated(config, key)!r} and not {value!r}"
        for key, value in record["model"].items()
        if not _same(_stated(config, key), value)
    ]
    text = "; ".join(wrong) if wrong else f"step {record['step']} of {record['checkpoint']}"
    findings.append(Finding("GPT-NeoX's config", "fail" if wrong else "ok", text))
    with contextlib.suppress(HaigoError):  # said above
        vocabulary = model_path(folder)
        if files.sha256_file(vocabulary) != record["tokenizer_sha256"]:
            what = f"{vocabulary.name} is not the one that the checkpoint was converted with"
            findings.append(Finding("tokenizer", "fail", what))
    if record["unequal"]:
        losses = [one for one in record.get("losses") or [] if one["status"] != "skip"]
        findings.append(
            copies(record["unequal"], record["tensor_ranks"], proven=bool(losses) and bool(record.get("compared")))
        )
    return findings


def read_record(path: Path) -> dict[str, Any]:
    """What `launch.convert` noted of a model.

    Raises:
        HaigoError: it is damaged.
    """
    return dict(files.read_record(path, _LIKE))


def _stated(config: Mapping[str, Any], key: str) -> Any:
    """A value of config.json, also where newer versions of transformers keep it."""
    rope = config.get("rope_parameters") or {}
    if key == "rotary_pct" and key not in config:
        return rope.get("partial_rotary_factor")
    if key == "rotary_emb_base" and key not in config:
        return rope.get("rope_theta")
    return config.get(key)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return (
            isinstance(one, int | float) and isinstance(other, int | float) and abs(one - other) <= 1e-12 * abs(other)
        )
    return bool(one == other)


def copies(unequal: Mapping[str, float], ranks: int, proven: bool = False) -> Finding:
    """Whether the tensors that every tensor rank has a copy of are the same in all of them.

    Args:
        unequal: those that differ -> by how much.
        ranks: tensor ranks.
        proven: the converted model's loss is the one that GPT-NeoX logged, so that differences do not matter.
    """
    if not unequal:
        return Finding("copies", "ok", f"layer norms and row-parallel biases are equal on all {ranks} tensor ranks")
    worst = max(unequal, key=lambda name: unequal[name])
    text = (
        f"{len(unequal)} tensors differ between the {ranks} tensor ranks, {worst} most, by {unequal[worst]:.3g}: the ranks "
        "ran apart in training, and no single model is the one that was trained"
    )
    if proven:
        return Finding("copies", "warn", f"{text}; the loss is the logged one all the same")
    return Finding("copies", "fail", text)


def compared(losses: Sequence[Finding]) -> list[Finding]:
    """Of the findings of `loss` with a log: that none of them could be compared; empty when one was."""
    if any(one.status in ("ok", "fail") for one in losses):
        return []
    why = losses[0].text if losses else "the log tells of no loss"
    return [Finding("proof", "fail", f"a log is given, and no loss could be compared with it: {why}")]


def loss(
    folder: Path,
    record: Mapping[str, Any],
    eod: int,
    base: Path,
    log: str | Path | None = None,
    samples: int | None = None,
) -> list[Finding]:
    """Compare the folder's cross entropy with the losses that GPT-NeoX logged; without a log, only measure it.

    Args:
        record: config (GPT-NeoX's keys), step, data_ranks (None: not known), dtype of the folder's weights, and vocab: with
            `cut` the padding rows are not there, which makes the loss a little lower.
        eod: id that ends a document.
        base: where relative paths of datasets start.
        log: GPT-NeoX's log.
        samples: look at no more of a batch than so many.

    Returns:
        One finding a loss; `skip` where the data are not there or their order is not known.

    Raises:
        HaigoError: the log cannot be used, or the folder does not load.
    """
    config, step, cut = record["config"], record["step"], record["vocab"] == "cut"
    whole = derive.batch_of(config, record["data_ranks"])
    batch = whole.train
    if log is not None:
        wanted = convert_loss.logged(Path(log), step, config, batch)
    else:
        name = f"loss on the batch of step {step + 1}"
        wanted = [convert_loss.Logged("train", float("nan"), step * batch, min(batch, UNLOGGED_SAMPLES), name)]
    stored = {"float16": "fp16", "bfloat16": "bfloat16"}.get(record["dtype"], "fp32")
    tolerance = max(convert_loss.TOLERANCE[kind] for kind in (rules.computed_in(config), stored))
    findings: list[Finding] = []
    model = None
    for one in wanted:
        count = min(one.samples, samples or one.samples)
        try:
            inputs, labels = convert_loss.rows(config, batch, one.part, one.first, count, eod, base)
        except HaigoError as error:
            findings.append(Finding(one.where, "skip", error.problem))
            continue
        model = model or convert_loss.load_model(folder)
        ours = convert_loss.cross_entropy(model, inputs, labels, whole.micro)
        off = (ours - one.value) / one.value
        if not math.isfinite(ours):
            status, text = "fail", f"it is {ours}, which is no number"
        elif log is None or count < one.samples:
            status, text = "ok" if log is None else "skip", f"{ours:.6f} on {count} samples, not compared"
        else:
            status = "ok" if (-0.05 < off < tolerance if cut else abs(off) < tolerance) else "fail"
            text = f"{ours:.6f}, GPT-NeoX logged {one.value:.6f} ({off:+.1e} of it, {count} samples"
            text += ", without the padding rows)" if cut else ")"
        findings.append(Finding(one.where, status, text))
    return findings
