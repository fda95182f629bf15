"""A checkpoint converted: checked, put together, proven and put in place; or a folder checked."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from haigo import __version__, files
from haigo.cli import HaigoError, Refused
from haigo.formats import exported
from haigo.formats import tokenizer as tokenizers
from launch.engine import vocabulary as vocabularies
from launch.neox.conversion import check, loss, model_folder, template, weights
from launch.neox.conversion import checkpoint as checkpoints
from launch.neox.conversion.check import Finding
from launch.neox.conversion.checkpoint import Checkpoint
from launch.neox.conversion.options import ConvertOptions
from launch.plan.checks import rules
from neox_configs import derive

_DTYPES = {"fp32": "float32", "fp16": "float16", "bfloat16": "bfloat16"}


def convert(options: ConvertOptions) -> dict[str, Any]:
    """Convert a checkpoint.

    Returns:
        What `conversion.json` holds, and `checks`.

    Raises:
        HaigoError: checkpoint, config or tokenizer are not what they must be.
        Refused: there is something at `out` already, or a check of the result says no.
    """
    for name in options.given("tensor_parallel", "pipe_parallel"):
        raise HaigoError("a model of Hugging Face is not split.", "leave it out, or add --to-neox", option=name)
    checkpoint = checkpoints.load(options.checkpoint, options.config, options.iteration)
    config, out = checkpoint.config, Path(options.out or "")
    free(out, checkpoint.folder, options.force)
    words = _vocabulary(config, options.tokenizer)
    around = template.of(config, options.template)
    padded = derive.padded_vocab(config, words.vocab_size)
    if wrong := list(weights.problems(checkpoint, padded)):
        more = f" ({len(wrong) - 1} more do not fit.)" if wrong[1:] else ""
        raise HaigoError(
            f"{checkpoint.folder} does not fit its config: {wrong[0]}{more}",
            "give the run's own config with --config and its tokenizer with --tokenizer",
        )
    if options.log is not None:  # before the long work
        loss.logged(Path(options.log), checkpoint.step, config, derive.batch_of(config, checkpoint.data_ranks).train)
    # without those that a conversion from Hugging Face added
    rows = words.vocab_size if options.vocab == "cut" else checkpoint.rows or padded
    record: dict[str, Any] = {
        "tool": f"haigo {__version__}",
        "checkpoint": str(checkpoint.folder.resolve()),
        "step": checkpoint.step,
        "tensor_ranks": checkpoint.ranks,
        "pipeline": checkpoint.pipeline,
        "data_ranks": checkpoint.data_ranks,
        "dtype": _DTYPES[rules.computed_in(config)] if options.dtype == "auto" else options.dtype,
        "vocab": "cut" if rows < padded else options.vocab,
        "tokenizer_sha256": words.sha256,
        "template": None if around is None else dataclasses.asdict(around.template),
        "unequal": weights.unequal(checkpoint),
        "model": model_folder.expected(checkpoint, rows),
        "config": config,
    }
    if options.dry_run:
        return {**record, "checks": []}
    measured = options.check or options.log is not None
    size = (4 if record["dtype"] == "float32" else 2) * weights.parameters(checkpoint, rows)
    need = max(size, 4 * weights.parameters(checkpoint, padded)) if measured else size  # losses are measured in float32
    say_size(out, size, need)
    files.require_space(out, need, "the conversion")
    temporary = out.with_name(f".{out.name}.partial")
    with files.owner(temporary), contextlib.ExitStack() as stack:
        stack.callback(files.remove_tree, temporary)
        files.remove_leftovers(temporary)  # of a killed process
        with files.scratch(temporary) as work:
            findings: list[Finding] = []
            if measured:
                findings = _proven(checkpoint, words, padded, record, options, work)
            model = model_folder.write(work / "model", checkpoint, words, padded, rows, record["dtype"], around)
            files.write_json(model / check.RECORD, record)
            findings = [*check.structure(model), *findings]
            if checkpoint.ranks > 1 and not record["unequal"]:
                findings.append(check.copies({}, checkpoint.ranks))
            _refuse(findings)
            exported.note(model)
            files.remove_tree(out)
            files.move(model, out)
    return {**record, "checks": [one.as_dict() for one in findings]}


def say_size(out: Path, size: int, need: int) -> None:
    """Say on stderr how many bytes are written, and how many more are needed meanwhile."""
    meanwhile = f", and {need / 1e6:,.0f} MB while it works" if need > size else ""
    print(f"haigo: {out} takes {size / 1e6:,.0f} MB{meanwhile}.", file=sys.stderr)


def _proven(
    checkpoint: Checkpoint, words: Any, padded: int, record: dict[str, Any], options: ConvertOptions, work: Path
) -> list[Finding]:
    """The losses of the model as GPT-NeoX trained it, in float32 and with all rows; `record` gets them too."""
    with files.scratch(work) as place:
        exact = model_folder.write(place / "model", checkpoint, words, padded, padded, "float32")
        whole = {**record, "dtype": "float32", "vocab": "keep"}
        findings = check.loss(exact, whole, words.eod_id, _base(), options.log, options.samples)
    record["losses"] = [one.as_dict() for one in findings]
    unproven = check.compared(findings) if options.log is not None else []
    record["compared"] = options.log is not None and not unproven
    return [*findings, *unproven]


def _base() -> Path:
    """Where relative paths of a config start: deepy.py runs in GPT-NeoX's checkout."""
    return Path(os.environ.get("GPT_NEOX_DIR") or ".")


def _refuse(findings: list[Finding]) -> None:
    bad = next((one for one in findings if one.status == "fail"), None)
    if bad is not None:
        fix = "check that log, config and checkpoint are of the same run; without --log the loss is not compared"
        if bad.name == "copies":  # the weights are what they are: the loss can judge them
            fix = "give the log of that run with --log: when its losses come out again, the model is put in place"
        raise Refused(
            f"the converted model was not put in place, because a check disagrees. {bad.name}: {bad.text}.", fix
        )


def check_folder(folder: str | Path, log: str | Path | None = None, samples: int | None = None) -> list[dict[str, str]]:
    """Check a folder that is there.

    Args:
        folder: what `convert` wrote; folders of other origin are checked as far as that goes.
        log: GPT-NeoX's log.
        samples: look at no more than so many samples of a batch.

    Raises:
        HaigoError: not a model that GPT-NeoX could have trained, or a log without `conversion.json`.
    """
    place = Path(folder)
    findings = [*check.structure(place), check.unchanged(place)]
    path = place / check.RECORD
    broken = any(one.status == "fail" for one in findings if one.name in ("weights", "numbers", "tokenizer"))
    if path.is_file() and not broken:
        losses = check.loss(place, check.read_record(path), tokenizers.load(place).eod_id, _base(), log, samples)
        findings += [*losses, *(check.compared(losses) if log is not None else [])]
    elif log is not None and not path.is_file():
        raise HaigoError(
            f"{folder} has no {path.name}, so that a log cannot be compared.", "convert it with launch.convert"
        )
    return [one.as_dict() for one in findings]


def _vocabulary(config: dict[str, Any], given: str | Path | None) -> Any:
    kind = config.get("tokenizer_type")
    if given is None and kind is None:
        raise HaigoError("the checkpoint's config names no tokenizer.", "give --tokenizer FOLDER")
    if given is None and kind not in ("SPMTokenizer", "HFTokenizer"):
        raise HaigoError(
            f"tokenizer_type: {kind!r}: only models with a SentencePiece tokenizer (SPMTokenizer) or a tokenizer.json "
            "(HFTokenizer) are converted here.",
            "adopt the tokenizer (preprocess.tokenizer --adopt) and name its folder with --tokenizer, or call GPT-NeoX's "
            "convert_neox_to_hf.py yourself",
        )
    place = given
    if place is None and config.get("vocab_file"):
        here = Path(str(config["vocab_file"]))
        place = here if here.exists() else _base() / here
        if not place.exists():
            raise HaigoError(
                f"{here}, the config's vocab_file, is not on this machine.", "name its folder with --tokenizer"
            )
    vocabulary = vocabularies.find(config, place)
    if given is None and vocabulary.neox_type != kind:
        raise HaigoError(
            f"tokenizer_type is {kind!r}, and its vocab_file {place} is of {vocabulary.neox_type}.",
            "name the tokenizer's folder with --tokenizer",
        )
    return vocabulary


_OURS = (
    "conversion.json", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "model.safetensors", "model.safetensors.index.json",
    "model-?????-of-?????.safetensors", "spm.model", "tokenizer.model", "meta.json", "chat_template.jinja",
)  # fmt: skip


def free(out: Path, source: Path, force: bool) -> None:
    """See that `out` may be made or, with `force`, replaced.

    Raises:
        HaigoError: it lies in the source or the source in it, or it is a file. Refused: something is there.
    """
    aside = out.with_name(f".{out.name}.replaced")
    if aside.exists() and not out.exists():  # killed between the two renames of --force
        files.put_aside(aside, out)
    here, there = out.resolve(), source.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise HaigoError(f"--out {out} and {source} lie in one another.", "name another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise HaigoError(f"{out} is a file, and a folder is wanted there.", "name another folder with --out")
    if not any(out.iterdir()):
        return
    if not force:
        raise Refused(f"{out} exists.", "name another folder with --out, or add --force to replace the model there")
    if (out / "conversion.json").is_file() and not files.ours(
        out
    ):  # converted by an earlier version, which kept no journal
        files.adopt(path for kind in _OURS for path in out.glob(kind))
    files.check_output(out, trees=[out])
    if not files.ours(out):
        raise Refused(
            f"{out} holds something else than a model of ours.", "name another folder with --out, or move that one away"
        )
