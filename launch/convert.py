"""A GPT-NeoX checkpoint as a Hugging Face folder with the right weights, ids and tokenizer; or a check of such a folder.

    python -m launch.convert CHECKPOINT --out DIR [--iteration N] [--config FILE...] [--tokenizer FOLDER]
           [--dtype auto|float32|bfloat16|float16] [--vocab keep|cut] [--log FILE | --check] [--force] [--dry-run] [--json]
    python -m launch.convert DIR --check [--log FILE]

CHECKPOINT is the save folder of a run (its `latest` is taken) or a global_stepN in it, of any tensor- and pipeline-parallel
size. The work is done by GPT-NeoX's own converter (GPT_NEOX_DIR, GPT_NEOX_PYTHON); what it leaves wrong is mended:
row-parallel biases of several tensor ranks, ids, tokenizer files, precision. DIR appears whole or not at all.

`--log` proves the result: the cross entropy of the converted model on the samples of the step after the checkpoint (and of the
validation at the checkpoint, if there is one) must be what GPT-NeoX logged, to 5 digits in fp32. `--check` without a
log looks at names, shapes and values of the weights, ids and tokenizer, and measures the loss where the datasets are at
hand. Exit code 3 when something disagrees, when a log is given and no loss could be compared with it, or when tensor ranks ran
apart and no log proves the model; a conversion is then not put in place.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haigo import __version__, cli, files, redact
from haigo.cli import HaigoError, Refused

DTYPES = {"fp32": "float32", "fp16": "float16", "bfloat16": "bfloat16"}


def convert(
    place: str | Path,
    output: str | Path,
    *,
    iteration: int | None = None,
    configs: Sequence[str | Path] = (),
    tokenizer: str | Path | None = None,
    dtype: str = "auto",
    vocab: str = "keep",
    check: bool = False,
    log: str | Path | None = None,
    samples: int | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Convert a checkpoint.

    Args:
        place: save folder or global_stepN folder.
        output: the folder to make.
        iteration: the step to take of a save folder.
        configs: the run's config files, instead of those kept with the checkpoint.
        tokenizer: tokenizer folder; None: the config's vocab_file.
        dtype: auto (the precision of training), float32, bfloat16 or float16.
        vocab: keep the rows that pad the vocabulary, or cut them.
        check: measure the loss also without a log.
        log: GPT-NeoX's log, whose losses the model must give again.
        samples: look at no more than so many samples of a batch.
        force: replace a model that is at `output`.
        dry_run: check everything and start nothing.

    Returns:
        What `conversion.json` holds, and `command` and `checks`.

    Raises:
        HaigoError: checkpoint, config, tokenizer or environment are not what they must be.
        Refused: `output` is there already, or a check of the result says no.
        Failed: GPT-NeoX's converter did not end well.
    """
    from launch import deepy
    from launch.local import settings
    from launch.neox.conversion import check as convert_check
    from launch.neox.conversion import checkpoint as convert_checkpoint
    from launch.neox.conversion import repair as convert_mend
    from launch.neox.conversion import run as convert_run
    from neox_configs import derive

    root = deepy.checkout()
    convert_run.script(root)
    checkpoint = convert_checkpoint.load(place, configs, iteration)
    config, out = checkpoint.config, Path(output)
    _free(out, checkpoint.folder, force)
    words = _vocabulary(config, tokenizer, root)
    padded = derive.padded_vocab(config, words.size)
    wrong = list(convert_checkpoint.problems(checkpoint, padded))
    if wrong:
        more = f" ({len(wrong) - 1} more do not fit.)" if wrong[1:] else ""
        raise HaigoError(
            f"{checkpoint.folder} does not fit its config: {wrong[0]}{more}",
            "give the run's own config with --config and its tokenizer with --tokenizer",
        )
    shared = convert_mend.replicated(checkpoint)
    if log is not None:  # before the long work
        from launch.neox.conversion import loss as convert_loss

        convert_loss.logged(Path(log), checkpoint.step, config, convert_loss.batches(config, checkpoint.data_ranks)[1])
    python = deepy.interpreter()
    rows = words.size if vocab == "cut" else padded
    record: dict[str, Any] = {
        "tool": f"haigo {__version__}",
        "checkpoint": str(checkpoint.folder.resolve()),
        "step": checkpoint.step,
        "tensor_ranks": checkpoint.ranks,
        "pipeline": checkpoint.pipeline,
        "data_ranks": checkpoint.data_ranks,
        "dtype": DTYPES[settings.precision_of(config)] if dtype == "auto" else dtype,
        "vocab": vocab,
        "tokenizer_sha256": words.sha256,
        "unequal": shared.unequal,
        "model": convert_mend.expected(checkpoint, rows),
        "config": config,
    }
    temporary = out.with_name(f".{out.name}.partial")
    command = convert_run.command(python, root, checkpoint, temporary / "neox.yml", temporary / "model")
    if dry_run:
        return {**record, "command": command, "checks": []}
    convert_run.require_space(out, checkpoint, padded)
    with files.owner(temporary), contextlib.ExitStack() as stack:
        stack.callback(files.remove_tree, temporary)
        files.remove_leftovers(temporary)  # of a killed process
        with files.scratch(temporary) as work:
            made = convert_run.run(python, root, checkpoint, words, work)
            files.adopt_tree(made)
            convert_mend.describe(made, checkpoint, words)
            record["mended"] = len(convert_mend.weights(made, shared.values))
            found = []
            if check or log is not None:
                found += convert_check.loss(
                    made,
                    config,
                    checkpoint.step,
                    eod=words.eod_id,
                    data_ranks=checkpoint.data_ranks,
                    base=root,
                    log=Path(log) if log is not None else None,
                    samples=samples,
                )
                unproven = convert_check.compared(found) if log is not None else None
                record["losses"] = [one.as_dict() for one in found]
                record["compared"] = log is not None and unproven is None
                found += [unproven] if unproven is not None else []
            convert_mend.finish(made, record["dtype"], rows)
            files.write_json(made / convert_check.RECORD, record)
            found = [*convert_check.structure(made), *found]
            if checkpoint.ranks > 1 and not shared.unequal:
                found.append(convert_check.copies({}, checkpoint.ranks))
            bad = [one for one in found if one.status == "fail"]
            if bad:
                fix = (
                    "check that log, config and checkpoint are of the same run; without --log the loss is not compared"
                )
                if bad[0].name == "copies":  # the weights are what they are: the loss can judge them
                    fix = (
                        "give the log of that run with --log: when its losses come out again, the model is put in place"
                    )
                raise Refused(
                    f"the converted model was not put in place, because a check disagrees. {bad[0].name}: {bad[0].text}.",
                    fix,
                )
            files.remove_tree(out)
            files.move(made, out)
    return {**record, "command": command, "checks": [one.as_dict() for one in found]}


def check_folder(
    folder: str | Path, *, log: str | Path | None = None, samples: int | None = None
) -> list[dict[str, str]]:
    """Check a folder that is there.

    Args:
        folder: what `convert` wrote; folders of other origin are checked as far as that goes.
        log: GPT-NeoX's log.
        samples: look at no more than so many samples of a batch.

    Raises:
        HaigoError: not a gpt_neox model, or a log without `conversion.json`.
    """
    from launch.local import vocabulary as vocabularies
    from launch.neox.conversion import check as convert_check

    place = Path(folder)
    found = convert_check.structure(place)
    path = place / convert_check.RECORD
    if path.is_file() and not any(
        one.status == "fail" for one in found if one.name in ("weights", "numbers", "tokenizer")
    ):
        record = convert_check.read_record(path)
        losses = convert_check.loss(
            place,
            record["config"],
            record["step"],
            eod=vocabularies.load(place).eod_id,
            data_ranks=record["data_ranks"],
            base=Path(os.environ.get("GPT_NEOX_DIR") or "."),
            log=Path(log) if log is not None else None,
            cut=record["vocab"] == "cut",
            samples=samples,
            dtype=record["dtype"],
        )
        unproven = convert_check.compared(losses) if log is not None else None
        found += losses if unproven is None else [*losses, unproven]
    elif log is not None and not path.is_file():
        raise HaigoError(
            f"{folder} has no {path.name}, so that a log cannot be compared.", "convert it with launch.convert"
        )
    return [one.as_dict() for one in found]


def _vocabulary(config: dict[str, Any], given: str | Path | None, root: Path) -> Any:
    from launch.local import vocabulary as vocabularies

    kind = config.get("tokenizer_type")
    if given is None and kind != "SPMTokenizer":
        raise HaigoError(
            f"tokenizer_type: {kind!r}: only models with a SentencePiece tokenizer (SPMTokenizer) are converted here.",
            "name a tokenizer folder of Haigo with --tokenizer, or call GPT-NeoX's convert_neox_to_hf.py yourself",
        )
    place = given
    if place is None and config.get("vocab_file"):
        here = Path(str(config["vocab_file"]))
        place = here if here.exists() else root / here
        if not place.exists():
            raise HaigoError(
                f"{here}, the config's vocab_file, is not on this machine.", "name its folder with --tokenizer"
            )
    return vocabularies.find(config, place)


_OURS = (
    "conversion.json", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "model.safetensors", "model.safetensors.index.json",
    "model-?????-of-?????.safetensors", "spm.model", "tokenizer.model",
)  # fmt: skip


def _free(out: Path, source: Path, force: bool) -> None:
    aside = _aside(out)
    if aside.exists() and not out.exists():  # killed between the two renames of --force
        files.put_aside(aside, out)
    here, there = out.resolve(), source.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise HaigoError(f"--out {out} and the checkpoint {source} lie in one another.", "name another folder")
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
    if not files.ours(out):
        raise Refused(
            f"{out} holds something else than a model of ours.", "name another folder with --out, or move that one away"
        )


def _aside(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("launch.convert", __doc__)
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="save folder or global_stepN; with --check alone: a model"
    )
    parser.add_argument("--out", "--output-dir", "--output_dir", metavar="DIR", help="the Hugging Face folder to make")
    parser.add_argument("--iteration", type=cli.count, help="take this step of the save folder, not `latest`")
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="FILE", help="instead of the checkpoint's own configs"
    )
    parser.add_argument("--tokenizer", metavar="FOLDER", help="tokenizer folder (default: the config's vocab_file)")
    parser.add_argument(
        "--dtype",
        choices=("auto", *DTYPES.values()),
        default="auto",
        help="type of the weights written (auto: as trained)",
    )
    parser.add_argument(
        "--vocab",
        choices=("keep", "cut"),
        default="keep",
        help="the rows that pad the vocabulary: keep (default; GPT-NeoX's probabilities to the digit) or cut",
    )
    parser.add_argument("--check", action="store_true", help="measure the loss, or check a folder that is there")
    parser.add_argument("--log", metavar="FILE", help="GPT-NeoX's log: the loss must be the one that it tells")
    parser.add_argument(
        "--samples", type=cli.count, metavar="N", help="measure the loss on no more than so many samples"
    )
    parser.add_argument("--force", action="store_true", help="replace the model that is at DIR")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="check everything, start nothing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args(argv)
    if args.out is None:
        if not args.check:
            raise HaigoError("no --out is given.", "add --out DIR, or --check to check the folder that is there")
        told = check_folder(args.checkpoint, log=args.log, samples=args.samples)
        print(json.dumps(told, ensure_ascii=False, indent=2) if args.json else _table(told))
        return cli.REFUSED if any(one["status"] == "fail" for one in told) else cli.OK
    made = convert(
        args.checkpoint,
        args.out,
        iteration=args.iteration,
        configs=args.config,
        tokenizer=args.tokenizer,
        dtype=args.dtype,
        vocab=args.vocab,
        check=args.check,
        log=args.log,
        samples=args.samples,
        force=args.force,
        dry_run=args.dry_run,
    )
    if args.json:
        print(json.dumps(made, ensure_ascii=False, indent=2))
        return cli.OK
    if args.dry_run:
        print(redact.command(made["command"]))
        return cli.OK
    print(_table(made["checks"]), file=sys.stderr)
    mended = f", {made['mended']} tensors mended" if made["mended"] else ""
    print(f"{args.out}: step {made['step']}, {made['dtype']}, {made['model']['vocab_size']:,} rows{mended}")
    return cli.OK


def _table(found: Sequence[dict[str, str]]) -> str:
    return "\n".join(f"{one['status']:4} {one['name']}: {one['text']}" for one in found)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
