"""What is looked at before a run begins: the user's own files in the run folder, and what a late stage would stumble over."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from haigo import cli, files
from haigo.cli import HaigoError, Refused
from launch.pipeline import domains, inputs, keys
from launch.pipeline.runfile import FIRST_ROUND, RunFile
from preprocess import quality_model, tokenizer_compare


def check_output(run: RunFile, path: Path, root: Path) -> None:
    """See, before anything is written, that the run folder holds none of the user's own files that the run reads.

    Args:
        run: with its variables filled in, which is where the `prepared` files are told from the user's own.

    Raises:
        Refused: it does.
    """
    raw = str((root / "raw").absolute())
    read: list[Path] = []
    for name, corpus in run.corpora.items():
        read += inputs.find_files([each for each in corpus.files if raw not in each], name, path.parent)
    more = [*run.pairs.values(), *run.test_pairs.values(), *run.decontaminate.against, run.tokenizer.path]
    more += run.tokenizer.compare
    more += [each for corpus in run.corpora.values() for each in corpus.partition.good if each not in run.corpora]
    read += [Path(each) for each in (*more, run.scores.data_dir) if each and raw not in each]
    if not (files.made(path) and path.resolve() == (root / "run.yml").resolve()):
        read.append(path)
    files.check_output(root, read)


def stage_names(run: RunFile) -> list[str]:
    """Every stage that this run file asks for."""
    models = ["chosen", *run.train.compare]
    asked = {
        "raw": run.prepare,
        "dedup": run.dedup.method != "none",
        "decontaminate": run.decontaminate.against,
        "screen": run.proxies.screen,
        **dict.fromkeys(
            (f"{FIRST_ROUND}/design", f"{FIRST_ROUND}/proxies"), run.proxies.in_rounds(len(run.corpora)) == 2
        ),
    }
    several = [f"{stage}/{name}" for stage in ("corpora", "data") for name in run.corpora]
    several += [f"{domains.FOLDER}/{name}" for name in domains.parted(run)]
    several += [f"{domains.SCORED}/{name}" for name in domains.parted(run) if run.corpora[name].partition.quality]
    several += [f"{stage}/{name}" for stage in ("models", *(["scores"] if run.scores.tasks else [])) for name in models]
    always = ["tokenizer", "design", "proxies", "search", "configs"]
    return [*(name for name, wanted in asked.items() if wanted), *always, *several]


def check(run: RunFile, path: Path) -> None:
    """What a late stage would stumble over is told before the first one starts.

    Args:
        run: with its variables filled in; path: where it was read from.
    """
    from launch.plan.config import check_model
    from launch.plan.options import PlanOptions
    from mixer import methods

    _trained(run)
    for key, model, tokens, length in (
        ("proxies", run.proxies.model, run.proxies.tokens, None),
        ("train", run.train.model, run.train.tokens, run.train.seq_length),
    ):
        step = inputs.step(model, length)
        if tokens < step:
            problem = f"{path}: '{key}.tokens' is {tokens:,}, less than one step of {step:,} tokens."
            raise HaigoError(problem, "give more tokens, or a model with a smaller batch")
    for model in run.configs.models:
        check_model(run.configs.shared(PlanOptions, model=model, vocab_size=run.tokenizer.vocab_size))
    if run.search.method not in methods.ALL:
        problem = (
            f"{path}: there is no 'search.method' {run.search.method}.{cli.nearest(run.search.method, methods.ALL)}"
        )
        raise HaigoError(problem, f"choose from {', '.join(methods.ALL)}")
    _mixture(run, path)
    for name, pairs in (*run.pairs.items(), *run.test_pairs.items()):
        existing(pairs, f"pairs '{name}'")
    if run.decontaminate.against:
        evaluation_items(run, path)
    if run.tokenizer.path:
        place = existing(run.tokenizer.path, "tokenizer.path")
        from haigo.formats.tokenizer import adopted

        adopted.adopt(place, run.tokenizer.eod_piece)
    for other in run.tokenizer.compare:
        tokenizer_compare.contender(existing(other, "tokenizer.compare"))
    for name, corpus in run.corpora.items():
        for good in corpus.partition.good:
            if good not in run.corpora:
                quality_model.about(existing(good, f"corpora.{name}.partition.good"))
    if run.scores.tasks:
        _tasks(run)


def _trained(run: RunFile) -> None:
    """See that the embedded engine takes the models that are trained here."""
    from launch.engine import device as devices
    from launch.engine import settings
    from launch.plan.config import check_model
    from launch.plan.options import PlanOptions
    from neox_configs import reader, shipped

    proxy = shipped.find_model(run.proxies.model)
    shared = run.train.shared(PlanOptions, cluster="local-cpu", vocab_size=run.tokenizer.vocab_size)
    for file, config in ((proxy, reader.load(proxy)), (shipped.find_model(run.train.model), check_model(shared))):
        if not config:
            raise Refused(f"{file} does not fit into this machine's memory.", "name a smaller model as train.model")
        try:
            plan = settings.resolve({"train_iters": 1, "data_impl": "mmap", **config})
            devices.computed_in(plan, None, devices.resolve("auto"))
        except HaigoError as error:
            raise type(error)(f"{file}: {error.problem}", error.fix) from error


def _mixture(run: RunFile, path: Path) -> None:
    """Objective and limits: the tokens are not known yet; what contradicts itself without them will not be mended by them."""
    from mixer import supply
    from mixer.objective import Objective
    from mixer.options import LimitOptions

    metrics = [f"{name}_bpb" for name in (*run.corpora, *run.pairs)]
    wanted = Objective(weights=run.objective.metrics, ceilings=run.objective.ceilings, standardise=False)
    wanted.resolve(metrics, str(path)).check_ceilings(run.search.ceiling_probability)
    stated = {
        name: {"min": each.min, "max": each.max} | ({"group": each.group} if each.group else {})
        for name, each in run.corpora.items()
    }
    limits = LimitOptions(groups=run.search.groups, supply=str(path))
    supply.constraints_from(stated, options=limits).limits().check()


def _tasks(run: RunFile) -> None:
    from eval_harness.run import read_sources

    options = run.scores
    folder = existing(options.data_dir or ".", "scores.data_dir")
    limits = [options.limit] * len(options.tasks)
    data = (folder, options.fewshot_pool, options.data_version)
    try:
        read_sources(options.tasks, options.num_fewshot, limits, *data)
    except HaigoError as error:
        raise error.spelled(partial(keys.key_of, "scores")) from error


def evaluation_files(run: RunFile, path: Path) -> list[Path]:
    """The files that `decontaminate.against` names.

    Raises:
        HaigoError: one is missing.
    """
    from preprocess import evaluation_items

    named = inputs.find_files(run.decontaminate.against, "", path.parent, "decontaminate.against")
    return evaluation_items.find(named)


def evaluation_items(run: RunFile, path: Path) -> None:
    """Read the evaluation files once, before anything is run.

    Raises:
        HaigoError: one is missing or is no evaluation file.
    """
    from preprocess import evaluation_items

    try:
        for each in evaluation_files(run, path):
            evaluation_items.read(each, run.decontaminate.keys)
    except HaigoError as error:
        raise error.spelled(partial(keys.key_of, "decontaminate")) from error


def existing(path: str, name: str) -> Path:
    """The path, if there is something.

    Raises:
        HaigoError: there is not.
    """
    if not Path(path).exists():
        raise HaigoError(f"{name}: {path} does not exist.", "check the path in the run file")
    return Path(path)
