"""Score a model on the tasks of the Japanese leaderboard by its own rules, with lm-eval as the engine.

    python -m eval_harness.run --model_args pretrained=runs/x/model --data_dir jglue --output_path scores \\
        --tasks jcommonsenseqa-1.1-0.3,jnli-1.1-0.3,jsquad-1.1-0.3 --num_fewshot 3,3,2

Options are lm-eval's, written as lm-eval writes them. A task is `task-version-prompt`; `--list` shows all, and any other name
is one of lm-eval's own tasks, run as lm-eval runs it. The data folder holds the data sets' files as they are published
(`eval_harness/tasks/README.md` says where): JGLUE's in the official layout (jnli-v1.1/valid-v1.1.json) or flat
(jnli-valid-v1.1.json). Other data in the same format can lie in the same places: the result then says "custom".
Writes result.json and harness.sh (the leaderboard's layout) and, with --log_samples, samples_TASK.jsonl. --model_args given
more than once scores several models, each in models/ORG/MODEL below --output_path. A killed run, started again, goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from eval_harness import exclude, harness, journal, metrics, result, stock, tasks
from eval_harness.fewshot import LEADERBOARD_SEED
from eval_harness.model_args import folders, parse_args, written
from eval_harness.sources import Limit, Source, read_sources, spread
from haigo import cli, files
from haigo.cli import HaigoError

if TYPE_CHECKING:
    from eval_harness.model import LeaderboardLM

__all__ = ["Source", "evaluate", "evaluate_models", "main", "read_sources"]


def evaluate(
    model_dir: str | Path,
    tasks: str | Sequence[str],
    num_fewshot: int | Sequence[int] | None = None,
    limit: Limit | Sequence[Limit] = None,
    data_dir: str | Path = ".",
    output_path: str | Path | None = None,
    *,
    log_samples: bool = True,
    fewshot_pool: str = "train",
    data_version: str = "v1.1",
    batch_size: int | None = None,
    device: str | None = None,
    seed: int = LEADERBOARD_SEED,
    dtype: str = "float32",
    bootstrap_iters: int = metrics.BOOTSTRAP_ITERS,
    model_args: str | Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
    model: LeaderboardLM | None = None,
    exclude_ids: str | Path | None = None,
    explain: int | None = None,
    explain_to: TextIO | None = None,
    include_path: str | Path | None = None,
    from_hub: bool = False,
    keep_answers: bool = False,
) -> dict[str, Any]:
    """Score one model; what `python -m eval_harness.run` does.

    Args:
        model_dir: a Hugging Face model folder with its tokenizer.
        tasks: task ids, as a list or with commas between them; names that are not the leaderboard's are lm-eval's.
        num_fewshot: shots of each task, or one number for all; None for the leaderboard's own.
        limit: how many documents of each task (a float is a share), or one for all; None for all documents.
        data_dir: the folder with the data sets' files.
        output_path: where result.json and the samples go; None writes nothing.
        fewshot_pool: "train", or "test" where the train file can not be had; the result records it.
        data_version: the JGLUE release that file names carry.
        batch_size: contexts a forward pass; None lets their lengths decide. It does not change scores.
        seed: of the document order and the draws; any but 42 makes the result not comparable.
        model_args: the model's options, as a mapping or in lm-eval's words; `model_dir` and `dtype` are not used then.
        trust_remote_code: run Python code that the model brings along, in lm-eval's own tasks too.
        model: an already loaded model, to score several task lists with one.
        exclude_ids: file with the ids of contaminated documents; the result then also has the score without them.
        explain: print this document (in scoring order) of every task as it is scored, before scoring.
        explain_to: where that goes; standard output by itself.
        include_path: a folder with YAML files of further tasks for lm-eval.
        from_hub: files that `data_dir` lacks come from the Hugging Face hub where it has them as plain files.
        keep_answers: leave the answers in `output_path`, so that the next call with the same model needs none again.

    Returns:
        What result.json holds.

    Raises:
        HaigoError: unknown task, missing or broken file, more shots than examples, a model that does not load, ...
    """
    named = [name.strip() for name in (tasks.split(",") if isinstance(tasks, str) else tasks) if name.strip()]
    ours, theirs = stock.split(named)
    manager = stock.check(theirs, include_path) if theirs else None
    wanted = _select(ours) if ours or not theirs else []
    all_shots = dict(zip([*wanted, *theirs], spread(num_fewshot, [*wanted, *theirs], "num_fewshot"), strict=True))
    all_limits = dict(zip([*wanted, *theirs], spread(limit, [*wanted, *theirs], "limit"), strict=True))
    sources = read_sources(
        wanted,
        [all_shots[name] for name in wanted],
        [all_limits[name] for name in wanted],
        Path(data_dir),
        fewshot_pool,
        data_version,
        from_hub,
    )
    ids = exclude.read(Path(exclude_ids)) if exclude_ids is not None else None
    stocks = [(name, all_shots[name], all_limits[name]) for name in theirs]
    if any(source.rules.dataset in ("jsquad", "jaqket_v2") for source in sources):
        metrics.need_japanese()
    for source in sources:
        for warning in source.rules.warnings(source.shots):
            print(f"haigo: {warning}", file=sys.stderr)
    from eval_harness import engine  # brings in torch and lm-eval: only now that the input is known to be good
    from eval_harness.explain import explain as shown
    from eval_harness.model import load

    if output_path is not None:
        read = [data_dir, exclude_ids, include_path, *([] if model_args else [model_dir])]
        files.check_output(output_path, read, names=("result.json", "harness.sh"))
    early = [
        None if s.rules.needs_model else engine.prepare(s.rules, s.docs, s.pool_docs, s.shots, s.limit, seed)
        for s in sources
    ]
    asked = stock.look(theirs, [n for _, n, _ in stocks], [n for _, _, n in stocks], manager) if theirs else []
    chosen = {"pretrained": str(model_dir), "dtype": dtype}
    if model_args or model is None:
        chosen = parse_args(model_args or chosen)
    words = model_args if isinstance(model_args, str) else written(chosen)
    trusted = chosen | {"trust_remote_code": trust_remote_code}
    lm: Any = model or (
        load(chosen, batch_size, device, trust_remote_code=trust_remote_code)
        if wanted
        else stock.load(trusted, batch_size, device)
    )
    prepared = [
        each or engine.prepare(s.rules, s.docs, s.pool_docs, s.shots, s.limit, seed, lm)
        for each, s in zip(early, sources, strict=True)
    ]
    for each in prepared if explain is not None else []:
        assert explain is not None
        # what is explained is no part of a result that a program reads from standard output
        print(shown(lm, each, min(explain, len(each.docs) - 1)), file=explain_to or sys.stdout)
    start, cut_before, answers = time.monotonic(), lm.truncated, None
    pretrained = chosen["pretrained"]
    if output_path is not None and prepared and pretrained:
        head = journal.fingerprint(pretrained, words, lm.share_context, folders(chosen)) | {
            "tokenizer": lm.tokenizer_record()
        }
        answers = journal.Journal(Path(output_path) / journal.NAME, head)
        if answers.resumed:
            print(f"haigo: goes on after {answers.resumed:,} answers of a run that was stopped.", file=sys.stderr)
    scored: dict[str, Any] = {}
    if prepared:
        lm.journal, done = answers, False
        try:
            scored = engine.score(lm, prepared, bootstrap_iters)
            done = True
        finally:
            lm.journal = None
            if answers and not done:
                answers.close(done=False)
    precision = str(lm.model.dtype).removeprefix("torch.")
    about = {
        each.rules.name: result.about(source, each, scored[each.rules.name], data_version, seed, precision)
        for source, each in zip(sources, prepared, strict=True)
    }
    for each in prepared if ids is not None else []:
        assert ids is not None
        rows = scored[each.rules.name][1]
        about[each.rules.name]["without_excluded"] = exclude.without(
            each.rules, rows, exclude.of_task(ids, each.rules), bootstrap_iters
        )
    found = result.assemble(
        {name: figures for name, (figures, _) in scored.items()},
        {source.rules.name: float(source.rules.version) for source in sources},
        {
            "model": "hf-causal",
            "model_args": words,
            "num_fewshot": [source.shots for source in sources],
            "batch_size": batch_size,
            "device": str(lm.device),
            "no_cache": True,
            "limit": [source.limit for source in sources] if any(s.limit is not None for s in sources) else None,
            "bootstrap_iters": bootstrap_iters,
            "description_dict": {},
        },
        {
            "tasks": about,
            "model": {
                "pretrained": pretrained,
                **({"trust_remote_code": True} if trust_remote_code else {}),
                "parameters": lm.parameters,
                "dtype": precision,
                "max_length": lm.max_length,
                "tokenizer": lm.tokenizer_kind,
                "vocabulary": len(lm.tokenizer),
            },
            "tokenizer": lm.tokenizer_record(),
            "seed": seed,
            "contexts_shared": bool(lm.share_context),
            "contexts_truncated": lm.truncated - cut_before,
            "seconds": round(time.monotonic() - start, 3),
            "software": result.software(),
        },
    )
    if output_path is not None:
        folder = Path(output_path)
        if log_samples:
            for name, (_, rows) in scored.items():
                result.write_samples(folder, name, rows)
        again = harness.script(found, fewshot_pool, data_version, stocks, include_path, exclude_ids)
        files.write_text(folder / "harness.sh", again)
    if asked:
        if wanted:
            lm = None  # two models at a time may be one too many
            lm = stock.load(trusted, batch_size, device)
        stock.run(found, asked, lm, manager, output_path, keep_answers)
    elif output_path is not None:
        files.write_json(Path(output_path) / "result.json", found)  # last: its presence says that the samples are whole
    if answers:
        answers.close(done=not keep_answers and not found.get("lm_eval", {}).get("failed"))
    return found


def evaluate_models(models: Sequence[str], output_path: str | Path | None, **options: Any) -> dict[str, dict[str, Any]]:
    """Score several models with the options of `evaluate`; each result goes to models/ORG/MODEL below `output_path`.

    Args:
        models: lm-eval's `--model_args` of each.

    Returns:
        ORG/MODEL -> its result.
    """
    names = [result.organisation_and_model(parse_args(words)["pretrained"]) for words in models]
    for name in names:
        if names.count(name) > 1:
            raise HaigoError(f"two of the models would both be written as {name}.", "score them in two calls")
    found, folders = {}, []
    for words, name in zip(models, names, strict=True):
        folder = Path(output_path) / "models" / name if output_path is not None else None
        # a run that is killed in a later model does not ask the earlier ones again
        found[name] = evaluate("", output_path=folder, model_args=words, keep_answers=True, **options)
        folders += [folder] if folder else []
    for folder, each in zip(folders, found.values(), strict=True):
        for kept in (journal.NAME, stock.NAME) if not each.get("lm_eval", {}).get("failed") else ():
            files.remove(folder / kept)
    return found


def _select(names: Sequence[str]) -> list[str]:
    return tasks.select(names)


def _numbers(text: str | None, option: str, shares: bool) -> list[Any] | None:
    if text is None:
        return None
    found: list[Any] = []
    for word in text.split(","):
        if word.strip() == ("all" if shares else "own"):
            found.append(None)
            continue
        try:
            # as jp-stable reads it: what is not all digits is a share
            found.append(float(word) if shares and not word.strip().isdigit() else int(word))
        except ValueError:
            kind = "a number" if shares else "a whole number"
            raise HaigoError(f"--{option} {text}: '{word}' is not {kind}.", "write for example 3,3,2") from None
    return found


def arguments() -> argparse.ArgumentParser:
    """The options of this command."""
    made = cli.parser("eval_harness.run", __doc__)
    add = made.add_argument
    add("--model", default="hf", choices=("hf", "hf-causal", "hf-auto"), help="lm-eval's word for the kind of model")
    add(
        "--model_args",
        "--model-args",
        action="append",
        help="pretrained=FOLDER[,dtype=float32][,tokenizer=FOLDER][,max_length=N]; again for a second model",
    )
    add(
        "--trust_remote_code",
        "--trust-remote-code",
        action="store_true",
        help="run Python code that the model brings along",
    )
    add("--tasks", help="task ids with commas between them; jnli-1.1-* names all prompts; other names are lm-eval's")
    add("--num_fewshot", "--num-fewshot", help="shots, one number or one a task; `own` is the task's own (default)")
    add("--limit", help="documents, one number or one a task; 0.1 is a tenth, `all` the default")
    add("--data_dir", "--data-dir", help="the folder with the data sets' files")
    add(
        "--hub",
        action="store_true",
        help="fetch JAQKET's, XLSum-ja's and XWinograd-ja's files where --data_dir lacks them",
    )
    add("--data_version", "--data-version", default="v1.1", help="v1.1 (as published rows), v1.2 or v1.3")
    add("--fewshot_pool", "--fewshot-pool", default="train", help="train, or test where train can not be had")
    add("--output_path", "--output-path", help="folder for result.json and the samples")
    add("--log_samples", "--log-samples", action="store_true", help="write samples_TASK.jsonl too")
    add("--batch_size", "--batch-size", type=int, help="contexts a forward pass (default: by their length)")
    add("--device", help="cpu, cuda, cuda:0 ... (default: cuda if there is one)")
    add("--seed", type=int, default=LEADERBOARD_SEED, help="of the draws; any but 42 is not the leaderboard's")
    add("--bootstrap_iters", "--bootstrap-iters", type=int, default=metrics.BOOTSTRAP_ITERS, help="for mcc's error")
    add("--exclude", metavar="IDS", help="file of contaminated ids: the score is also given without them")
    add(
        "--explain",
        nargs="?",
        type=int,
        const=0,
        metavar="N",
        help="print document N (default the first) as it is scored",
    )
    add("--layout", choices=("flat", "models"), help="models: write models/ORG/MODEL below --output_path")
    add("--include_path", "--include-path", help="folder with YAML tasks for lm-eval")
    add("--json", action="store_true", help="print result.json's content instead of the summary")
    add("--list", action="store_true", help="print every task id and end")
    return made


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = arguments().parse_args(argv)
    if given.list:
        print("\n".join(tasks.names()))
        return None
    ours, _ = stock.split((given.tasks or "").split(","))
    for option in ("model_args", "tasks", *(["data_dir"] if ours and not given.hub else [])):
        if not getattr(given, option):
            raise HaigoError(f"--{option} is missing.", "see `python -m eval_harness.run --help`")
    if given.log_samples and not given.output_path:
        raise HaigoError("--log_samples writes files, and --output_path is missing.", "give --output_path FOLDER")
    if given.include_path is not None:
        stock.check_folder(given.include_path)
    if given.explain is not None and given.explain < 0:
        raise HaigoError(f"--explain {given.explain} is below 0.", "documents are counted from 0")
    options = {
        "tasks": given.tasks,
        "trust_remote_code": given.trust_remote_code,
        "num_fewshot": _numbers(given.num_fewshot, "num_fewshot", shares=False),
        "limit": _numbers(given.limit, "limit", shares=True),
        "data_dir": given.data_dir or ".",
        "log_samples": given.log_samples,
        "fewshot_pool": given.fewshot_pool,
        "data_version": given.data_version,
        "batch_size": given.batch_size,
        "device": given.device,
        "seed": given.seed,
        "bootstrap_iters": given.bootstrap_iters,
        "exclude_ids": given.exclude,
        "explain": given.explain,
        "explain_to": sys.stderr if given.json else None,
        "include_path": given.include_path,
        "from_hub": given.hub,
    }
    if len(given.model_args) == 1 and given.layout != "models":
        all_found = {"": evaluate("", output_path=given.output_path, model_args=given.model_args[0], **options)}
    else:
        all_found = evaluate_models(given.model_args, given.output_path, **options)
    if given.json:
        shown = all_found.get("", all_found)
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        for name, found in all_found.items():
            print((f"{name}\n" if name else "") + result.summary(found))
    stock.raise_failed(all_found, given.output_path)
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
