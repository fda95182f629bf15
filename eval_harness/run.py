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

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from eval_harness import backends, chat, exclude, fewshot, harness, journal, milestones, result, stock, suites, tasks
from eval_harness.model_args import parse_args, written
from eval_harness.options import Limit, RunOptions
from eval_harness.sources import Source, read_sources, spread
from haigo import cli, digests, files, flags
from haigo.cli import HaigoError

if TYPE_CHECKING:
    from eval_harness.engine import Prepared
    from eval_harness.model import LeaderboardLM

__all__ = ["RunOptions", "Source", "evaluate", "evaluate_models", "main", "read_sources"]

_NAMES = {"exclude_ids": "exclude", "from_hub": "hub"}
"""Arguments of `evaluate` that are called otherwise than the command's options."""


def evaluate(
    model_dir: str | Path,
    tasks: str | Sequence[str],
    num_fewshot: int | Sequence[int | None] | None = None,
    limit: Limit | Sequence[Limit] = None,
    data_dir: str | Path = ".",
    output_path: str | Path | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Score one model; what `python -m eval_harness.run` does.

    Args:
        model_dir: a Hugging Face model folder with its tokenizer.
        tasks: task ids, as a list or with commas between them; names that are not the leaderboard's are lm-eval's.
        num_fewshot: shots of each task, or one number for all; None for the leaderboard's own.
        limit: how many documents of each task (a float is a share), or one for all; None for all documents.
        data_dir: the folder with the data sets' files.
        output_path: where result.json and the samples go; None writes nothing.
        more: fields of `RunOptions` (`log_samples` is on unless it says otherwise), and
            dtype, model_args: the model's precision; or all its options, as a mapping or in lm-eval's words;
            model: an already loaded model, to score several task lists with one; or the option of that name;
            explain_to: where what is explained goes; standard output by itself;
            keep_answers: leave the answers in `output_path`, so that the next call with the same model needs none again.

    Returns:
        What result.json holds.

    Raises:
        HaigoError: unknown task, missing or broken file, more shots than examples, a model that does not load, ...
    """
    given: dict[str, Any] = {name: more.pop(name) for name in ("model", "explain_to", "keep_answers") if name in more}
    if isinstance(given.get("model"), str):
        more["model"] = given.pop("model")
    named = {"pretrained": str(model_dir), "dtype": more.pop("dtype", "float32")}
    model_args = more.pop("model_args", None)
    options = _options(tasks, num_fewshot, limit, data_dir, output_path, **more)
    if model_args is None and given.get("model") is None:
        given["inputs"] = [str(model_dir)]
    return _Scoring(options, model_args or named, **given).run()


def _options(
    tasks: str | Sequence[str],
    num_fewshot: Any = None,
    limit: Any = None,
    data_dir: str | Path = ".",
    output_path: str | Path | None = None,
    **more: Any,
) -> RunOptions:
    """Arguments of `evaluate` as options."""

    def listed(value: Any) -> list[Any]:
        return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]

    rest: dict[str, Any] = {_NAMES.get(n, n): str(v) if isinstance(v, Path) else v for n, v in more.items()}
    rest.setdefault("log_samples", True)
    options = RunOptions(
        tasks=tasks.split(",") if isinstance(tasks, str) else list(tasks),
        num_fewshot=listed(num_fewshot),
        limit=listed(limit),
        data_dir=str(data_dir),
        output_path=None if output_path is None else str(output_path),
        **rest,
    )
    return suites.chosen(options)


class _Scoring:
    """One model on the tasks of a run.

    Args:
        model_args: the model's options, as a mapping or in lm-eval's words; with `model` they only name it.
        model, explain_to, keep_answers: as of `evaluate`.
        inputs: folders that are read beside those that the options name.

    Raises:
        HaigoError: what `evaluate` says of tasks and files.
    """

    def __init__(
        self,
        options: RunOptions,
        model_args: str | Mapping[str, Any],
        *,
        model: LeaderboardLM | None = None,
        explain_to: TextIO | None = None,
        keep_answers: bool = False,
        inputs: Sequence[str] = (),
    ) -> None:
        self.options, self.lm, self.explain_to, self.keep_answers = options, model, explain_to, keep_answers
        self.folder = None if options.output_path is None else Path(options.output_path)
        self.ids = exclude.read(Path(options.exclude)) if options.exclude is not None else None
        if self.ids and options.exclude is not None:
            exclude.check(Path(options.exclude), self.ids, [*tasks.names(), *(task.dataset for task in tasks.TASKS)])
        self.inputs = [options.data_dir or ".", options.exclude, options.include_path, *inputs]
        self.model_args = model_args
        # everything that is asked for is found and checked here, before torch is loaded
        ours, theirs = stock.split([name.strip() for name in options.tasks if name.strip()])
        backends.check(options, theirs)
        self.manager = stock.check(theirs, options.include_path) if theirs else None
        wanted = tasks.select(ours) if ours or not theirs else []
        every = [*wanted, *theirs]
        shots = dict(zip(every, spread(options.num_fewshot or None, every, "num_fewshot"), strict=True))
        limits = dict(zip(every, spread(options.limit or None, every, "limit"), strict=True))
        data = (Path(options.data_dir or "."), options.fewshot_pool, options.data_version, options.hub)
        self.sources = read_sources(wanted, [shots[name] for name in wanted], [limits[name] for name in wanted], *data)
        if options.explain is not None:
            for source in self.sources:
                _check_explained(source, options.explain)
        self.theirs = [(name, shots[name], limits[name]) for name in theirs]
        self.chat = None if options.apply_chat_template is None else self._chat(options.apply_chat_template)

    def _chat(self, named: str) -> chat.Chat:
        """The chat template: a file's, or the model's own where none is named.

        Raises:
            HaigoError: there is none, it can not be read, or lm-eval's own tasks can not use it.
        """
        words = parse_args(self.model_args) if isinstance(self.model_args, str) else self.model_args
        beside = words.get("tokenizer")
        found = chat.read(
            str(words["pretrained"]), beside and str(beside), Path(named) if named else None, "apply_chat_template"
        )
        if self.theirs and not isinstance(found.template, str):
            raise HaigoError(
                f"--apply_chat_template {named}: lm-eval's own tasks ({self.theirs[0][0]}) take Jinja templates alone.",
                "score them in a run of their own, by a Jinja template",
                option="apply_chat_template",
            )
        return found

    def run(self) -> dict[str, Any]:
        """Score, write, and give what result.json holds."""
        from eval_harness import engine  # brings in torch and lm-eval: only now that the input is known to be good

        options = self.options
        if self.folder is not None:
            logged = [source.rules.name for source in self.sources if options.log_samples]
            names = ["result.json", "harness.sh", *map(result.samples_name, logged)]
            files.check_output(self.folder, self.inputs, names=names)
        early = [None if source.rules.needs_model else engine.prepare(source, options.seed) for source in self.sources]
        inspected = stock.inspect(self.theirs, self.manager) if self.theirs else []
        given = self.lm is not None and not isinstance(self.model_args, str)
        self.chosen = dict(self.model_args) if given else parse_args(self.model_args)  # type: ignore[arg-type]
        self.words = self.model_args if isinstance(self.model_args, str) else written(self.chosen)
        lm: Any = self.lm or backends.load(self.chosen, options, ours=bool(self.sources))
        if self.chat is not None:
            lm.ask_by(self.chat)
        elif getattr(lm, "chat", None) is not None:
            raise HaigoError("this model was asked through a chat template before.", "load it anew")
        prepared = [
            each or engine.prepare(source, options.seed, lm) for each, source in zip(early, self.sources, strict=True)
        ]
        self._explain(lm, prepared)
        start, cut_before, answers = time.monotonic(), lm.truncated, self._answers(lm) if prepared else None
        scored = self._score(lm, prepared, answers)
        outcome = self._outcome(lm, prepared, scored)
        outcome["haigo"] |= {
            "contexts_truncated": lm.truncated - cut_before,
            "seconds": round(time.monotonic() - start, 3),
            "software": result.software(),
        }
        if self.folder is not None:
            for name, (_, rows) in scored.items():
                # which samples are this result's: those of an earlier run may lie there, too
                path = result.write_samples(self.folder, name, rows) if options.log_samples else None
                outcome["haigo"]["tasks"][name]["samples_sha256"] = path and digests.sha256(path)
            files.write_text(self.folder / "harness.sh", harness.script(outcome, options, self.theirs))
        if inspected:
            if self.sources:
                theirs = self._for_lm_eval(lm)
                lm = None  # two models at a time may be one too many
                lm = theirs or backends.load(self.chosen, options, ours=False)
                if self.chat is not None:
                    lm.ask_by(self.chat)
            stock.run(outcome, inspected, lm, self.manager, self.folder, self.keep_answers)
        elif self.folder is not None:
            files.write_json(self.folder / "result.json", outcome)  # last: its presence says that the samples are whole
        if answers:
            answers.close(done=not self.keep_answers and not outcome.get("lm_eval", {}).get("failed"))
        return outcome

    def _for_lm_eval(self, lm: Any) -> Any:
        """The model that is there, behind lm-eval's own tasks; None where it has to be loaded again."""
        if not hasattr(lm, "as_lm_eval") or any(self.chosen.get(word) for word in ("delta", "gguf_file")):
            return None
        return lm.as_lm_eval(self.options.batch_size, own=self.lm is None, auto="dtype" not in self.chosen)

    def _explain(self, lm: Any, prepared: Sequence[Prepared]) -> None:
        number = self.options.explain
        if number is None:
            return
        from eval_harness.explain import explain

        for each in prepared:
            # what is explained is no part of a result that a program reads from standard output
            print(explain(lm, each, number), file=self.explain_to or sys.stdout)

    def _answers(self, lm: Any) -> journal.Journal | None:
        """The answers of an earlier run of the same model, where there is a place to keep them."""
        if self.folder is None or not self.chosen["pretrained"]:
            return None
        record = lm.tokenizer_record() | ({"backend": "vllm"} if self.options.model == "vllm" else {})
        head = journal.fingerprint(self.words, lm.share_context, record)
        answers = journal.Journal(self.folder / journal.NAME, head)
        if answers.resumed:
            print(f"haigo: goes on after {answers.resumed:,} answers of a run that was stopped.", file=sys.stderr)
        return answers

    def _score(self, lm: Any, prepared: Sequence[Prepared], answers: journal.Journal | None) -> dict[str, Any]:
        """Task -> (figures, one row a document)."""
        from eval_harness import engine

        if not prepared:
            return {}
        lm.journal, done = answers, False
        try:
            scored = engine.score(lm, prepared, self.options.bootstrap_iters)
            done = True
        finally:
            lm.journal = None
            if answers and not done:
                answers.close(done=False)
        return scored

    def _tell_unmatched(self, ids: Mapping[str, set[str]], scored: Mapping[str, Any]) -> None:
        """Say what of `--exclude` excludes nothing: its scores would be taken for those of uncontaminated documents."""
        documents: dict[str, set[str]] = {}
        for source in self.sources:
            if source.limit is None:
                for name in (source.rules.name, source.rules.dataset):
                    own = {str(row["id"]) for row in scored[source.rules.name][1]}
                    documents[name] = documents.get(name, set()) | own
        for remark in exclude.remarks(ids, documents):
            print(f"haigo: --exclude {self.options.exclude}: {remark}", file=sys.stderr)

    def _outcome(self, lm: Any, prepared: Sequence[Prepared], scored: Mapping[str, Any]) -> dict[str, Any]:
        """What result.json holds of the leaderboard's tasks."""
        options, sources = self.options, self.sources
        precision = str(lm.model.dtype).removeprefix("torch.")
        about = {}
        for source, each in zip(sources, prepared, strict=True):
            name, rows = each.rules.name, scored[each.rules.name][1]
            about[name] = result.about(source, each, rows, options, precision)
            if self.ids is not None:
                excluded = exclude.of_task(self.ids, each.rules)
                rest = exclude.without(each.rules, rows, excluded, options.bootstrap_iters)
                there = {str(doc["id"]) for doc in source.docs}
                about[name]["without_excluded"] = rest | {"unknown_ids": exclude.unknown(self.ids, each.rules, there)}
        if self.ids:
            self._tell_unmatched(self.ids, scored)
        for name, each_about in about.items():
            if each_about["same_answer"]:
                print(f"haigo: {name}: the model gave all {each_about['n']:,} documents one answer, "
                      f"{each_about['same_answer']}; its score says nothing of what it knows.", file=sys.stderr)  # fmt: skip
        config = backends.config(lm, options, self.words, [(source.shots, source.limit) for source in sources])
        model = {
            "pretrained": self.chosen["pretrained"],
            **({"trust_remote_code": True} if options.trust_remote_code else {}),
            "parameters": lm.parameters,
            **lm.placement(),
            "dtype": precision,
            "max_length": lm.max_length,
            "tokenizer": lm.tokenizer_kind,
            "vocabulary": len(lm.tokenizer),
            **milestones.noted(self.chosen["pretrained"]),
        }
        haigo = {
            "tasks": about,
            "model": model,
            "tokenizer": lm.tokenizer_record(),
            **({"chat_template": self.chat.record()} if self.chat is not None else {}),
            "seed": options.seed,
            "contexts_shared": bool(lm.share_context),
            # how far shared contexts were from separate passes on a few questions, and how far they may be (in nats)
            "contexts_shared_trial": dataclasses.asdict(trial) if (trial := getattr(lm, "sharing", None)) else None,
        }
        return {
            # figures without a value (a standard error of one document) are left out
            "results": {
                name: {metric: value for metric, value in figures.items() if value is not None}
                for name, (figures, _) in scored.items()
            },
            "versions": {source.rules.name: float(source.rules.version) for source in sources},
            "config": config,
            "haigo": haigo,
        }


def _check_explained(source: Source, number: int) -> None:
    count = len(fewshot.take(source.docs, source.limit))
    if number >= count:
        raise HaigoError(
            f"--explain {number}: {source.rules.name} scores {count:,} documents, numbered from 0.",
            f"give a number up to {count - 1}",
            option="explain",
        )


def evaluate_models(models: Sequence[str], output_path: str | Path | None, **options: Any) -> dict[str, dict[str, Any]]:
    """Score several models with the options of `evaluate`; each result goes to models/ORG/MODEL below `output_path`.

    Args:
        models: lm-eval's `--model_args` of each.

    Returns:
        ORG/MODEL -> its result.
    """
    return _each(_options(output_path=output_path, model_args=list(models), **options))


def _each(options: RunOptions, explain_to: TextIO | None = None) -> dict[str, dict[str, Any]]:
    names = [result.organisation_and_model(parse_args(words)["pretrained"]) for words in options.model_args]
    for name in names:
        if names.count(name) > 1:
            raise HaigoError(f"two of the models would both be written as {name}.", "score them in two calls")
    outcome, folders = {}, []
    for words, name in zip(options.model_args, names, strict=True):
        folder = Path(options.output_path) / "models" / name if options.output_path is not None else None
        own = options.replaced(output_path=None if folder is None else str(folder))
        # a run that is killed in a later model does not ask the earlier ones again
        outcome[name] = _Scoring(own, words, explain_to=explain_to, keep_answers=True).run()
        folders += [folder] if folder else []
    for folder, each in zip(folders, outcome.values(), strict=True):
        for kept in (journal.NAME, stock.NAME) if not each.get("lm_eval", {}).get("failed") else ():
            files.remove(folder / kept)
    return outcome


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    options = flags.parse("eval_harness.run", __doc__, RunOptions, argv)
    if options.list_tasks:
        print("\n".join(tasks.names()))
        return None
    options = suites.chosen(options)
    ours, _ = stock.split(options.tasks)
    for option in ("model_args", "tasks", *(["data_dir"] if ours and not options.hub else [])):
        if not getattr(options, option):
            raise HaigoError(f"--{option} is missing.", "see `python -m eval_harness.run --help`")
    if not options.output_path and (options.log_samples or options.layout == "models"):
        named = "log_samples" if options.log_samples else "layout models"
        raise HaigoError(f"--{named} writes files, and --output_path is missing.", "give --output_path FOLDER")
    if options.include_path is not None:
        stock.check_folder(options.include_path)
    explain_to = sys.stderr if options.json else None
    if len(options.model_args) == 1 and options.layout != "models":
        outcomes = {"": _Scoring(options, options.model_args[0], explain_to=explain_to).run()}
    else:
        outcomes = _each(options, explain_to)
    if options.json:
        print(json.dumps(outcomes.get("", outcomes), ensure_ascii=False, indent=2))
    else:
        for name, outcome in outcomes.items():
            print((f"{name}\n" if name else "") + result.summary(outcome))
    stock.raise_failed(outcomes, options.output_path)
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
