"""What is looked at before a run begins: the user's own files in the run folder, and what a late stage would stumble over."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from haigo import cli, files
from haigo.cli import HaigoError
from launch.pipeline import actions, inputs, runfile, sizes, text_stages, words

if TYPE_CHECKING:
    from launch.pipeline.stages import Chain


def check_output(chain: Chain) -> None:
    """See, before anything is written, that the run folder holds none of the user's own files that the run reads.

    Raises:
        Refused: it does, or a stage would write to a folder of the user's.
    """
    run, root = chain.file, chain.root
    read: list[Path] = []
    for name, corpus in run.corpora.items():
        own = [chain.expand(each) for each in corpus.files if "{prepared}" not in each]
        read += inputs.find_files(own, name, chain.path.parent)
    more = [*run.pairs.values(), *run.test_pairs.values(), *run.decontaminate.against, run.tokenizer.path]
    read += [Path(chain.expand(each)) for each in (*more, run.scores.data_dir) if each and "{prepared}" not in each]
    if not (files.made(chain.path) and chain.path.resolve() == (root / "run.yml").resolve()):
        read.append(chain.path)
    files.check_output(root, read)
    chain.stages.claim(stage_names(run))


def stage_names(run: runfile.RunFile) -> list[str]:
    """Every stage that this run file asks for."""
    names = ["raw"] if run.prepare else []
    names += [f"corpora/{name}" for name in run.corpora]
    names += ["dedup"] if run.dedup.method != "none" else []
    names += ["decontaminate"] if run.decontaminate.against else []
    names += ["tokenizer", *(f"data/{name}" for name in run.corpora), "design", "proxies", "search", "configs"]
    names += ["screen"] if run.proxies.screen else []
    models = ["chosen", *run.train.compare]
    return [
        *names,
        *(f"models/{name}" for name in models),
        *(f"scores/{name}" for name in models if run.scores.tasks),
    ]


def check(chain: Chain) -> None:
    """What a late stage would stumble over is told before the first one starts."""
    from eval_harness.run import read_sources
    from mixer import methods, supply
    from mixer.objective import Objective
    from mixer.options import LimitOptions
    from neox_configs import hardware, shipped

    run = chain.file
    for model in (run.proxies.model, run.train.model, *run.configs.models):
        shipped.find_model(model)
    hardware.cluster(run.configs.cluster)
    for key, each in (("proxies", run.proxies), ("train", run.train)):
        step = sizes.step(each.model, getattr(each, "seq_length", None))
        if each.tokens < step:
            raise HaigoError(
                f"{chain.path}: '{key}.tokens' is {each.tokens:,}, less than one step of {step:,} tokens.",
                "give more tokens, or a model with a smaller batch",
            )
    for name in run.train.compare:
        actions.check_name(name)
    if run.search.method not in methods.ALL:
        raise HaigoError(
            f"{chain.path}: there is no 'search.method' {run.search.method}."
            f"{cli.nearest(run.search.method, methods.ALL)}",
            f"choose from {', '.join(methods.ALL)}",
        )
    metrics = [f"{name}_bpb" for name in (*run.corpora, *run.pairs)]
    wanted = Objective(weights=run.objective.metrics, ceilings=run.objective.ceilings, standardise=False)
    wanted.resolve(metrics, str(chain.path)).check_ceilings()
    # the tokens are not known yet; what contradicts itchain without them will not be mended by them
    stated = {
        name: {"min": each.min, "max": each.max} | ({"group": each.group} if each.group else {})
        for name, each in run.corpora.items()
    }
    named = LimitOptions(supply=str(chain.path), groups=run.search.groups)
    supply.constraints_from(stated, options=named).limits().check()
    for name, path in (*run.pairs.items(), *run.test_pairs.items()):
        existing(chain.expand(path), f"pairs '{name}'")
    text_stages.check(chain)
    if run.tokenizer.path:
        existing(chain.expand(run.tokenizer.path), "tokenizer.path")
    if run.scores.tasks:
        options = run.scores
        folder = existing(chain.expand(options.data_dir or "."), "scores.data_dir")
        limits = [options.limit] * len(options.tasks)
        data = (folder, options.fewshot_pool, options.data_version)
        words.within("scores", partial(read_sources, options.tasks, options.num_fewshot, limits, *data))


def existing(path: str, name: str) -> Path:
    """The path, if there is something.

    Raises:
        HaigoError: there is not.
    """
    if not Path(path).exists():
        raise HaigoError(f"{name}: {path} does not exist.", "check the path in the run file")
    return Path(path)
