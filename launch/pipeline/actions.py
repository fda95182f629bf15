"""What each stage of the chain does, as module-level functions: they may run in other processes.

Every function gets the run folder and the run file with its variables filled in, works in its stage's folder and returns the
identity of what it made: a value that changes when the result does (see `launch.pipeline.stage`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import digests, files, flags, pool, redact, yamlfile
from haigo.cli import Failed, HaigoError
from haigo.formats import mixture as mixtures
from launch.pipeline import domains, spent
from launch.pipeline.runfile import FIRST_ROUND, RunFile

SPLITS = ("train", "valid", "test")
HELD_OUT_SPLITS = SPLITS[1:]
HELD_OUT = "h"
_MOST_EPOCHS = 4


def prepare(root: Path, run: RunFile) -> str:
    """Run the run file's `prepare` command."""
    words = run.prepare
    try:
        done = subprocess.run(words, check=False, preexec_fn=pool.die_with_parent)
    except FileNotFoundError:
        problem = f"the `prepare` command {words[0]} does not exist."
        raise HaigoError(problem, "check `prepare:` in the run file") from None
    if done.returncode < 0 or done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        problem = f"the `prepare` command {' '.join(words)} ended with {done.returncode}."
        raise Failed(problem, "see its own message above")
    return files.digest(words)


# -- text --------------------------------------------------------------------------------------------------------------


def clean(root: Path, run: RunFile, name: str, paths: Sequence[str]) -> dict[str, list[str]]:
    """Raw files to documents, split in three; the identity is the digest of every shard."""
    from preprocess.clean import clean_corpus
    from preprocess.options import CleanOptions

    corpus, folder = run.corpora[name], root / "corpora" / name
    normalise = None if corpus.normalise is None else ",".join(corpus.normalise)
    options = corpus.shared(CleanOptions, normalise=normalise, split_shares=run.split, seed=run.data_seed)
    clean_corpus(name, paths, folder, options)
    return _kept(folder)


def dedup(root: Path, run: RunFile) -> dict[str, dict[str, list[str]]]:
    """All corpora without repeated documents; the identity is the digest of every shard of every corpus."""
    from preprocess.dedup import dedup as without_repeats
    from preprocess.options import DedupOptions

    options = run.dedup.shared(DedupOptions, seed=run.data_seed, workers=run.workers or pool.cores())
    without_repeats([root / "corpora" / name for name in run.corpora], root / "dedup", options)
    return {name: _kept(root / "dedup" / name, "after dedup ") for name in run.corpora}


def decontaminate(root: Path, run: RunFile, source: str, against: Sequence[str]) -> dict[str, Any]:
    """All corpora without the texts of evaluation files, and the ids that were found.

    Args:
        source: the folder with the corpora as the stage before left them.

    Returns:
        `corpora` as `dedup` gives them, and the digest of contaminated.jsonl.
    """
    from preprocess.decontaminate import IDS
    from preprocess.decontaminate import decontaminate as without_items
    from preprocess.options import DecontaminateOptions

    folder = root / "decontaminate"
    options = run.decontaminate.shared(DecontaminateOptions, workers=run.workers or pool.cores())
    without_items([root / source / name for name in run.corpora], against, folder, options)
    corpora = {name: _kept(folder / name, "after decontamination ") for name in run.corpora}
    return {"corpora": corpora, "contaminated": digests.sha256(folder / IDS)}


def _kept(folder: Path, when: str = "") -> dict[str, list[str]]:
    """`shard_digests` of a corpus, none of whose splits may be empty.

    Raises:
        HaigoError: one is.
    """
    from haigo.formats import documents

    splits = documents.report(folder)["splits"]
    empty = [split for split in SPLITS if not splits[split]["documents"]]
    if empty:
        count = sum(splits[split]["documents"] for split in SPLITS)
        problem = f"{when}corpus '{folder.name}' has no document in its {empty[0]} split (documents in all: {count})."
        fix = "give more text, or larger shares under `split:`; `txt_documents:` says what parts a .txt"
        raise HaigoError(problem, fix)
    return shard_digests(folder)


def shard_digests(folder: Path) -> dict[str, list[str]]:
    """Split -> the digest of every shard of a cleaned corpus."""
    from haigo.formats import documents

    return {split: [digests.sha256(shard) for shard in documents.shards(folder, split)] for split in SPLITS}


def tokenizer_digest(root: Path) -> str:
    """The digest of the model that all ids come from."""
    from haigo.formats.tokenizer import model_path

    return digests.sha256(model_path(root / "tokenizer"))


def tokenizer(root: Path, run: RunFile) -> str:
    """Train a tokenizer on the cleaned corpora, or take the one that the run file names."""
    corpora = {name: str(root / run.text_folder() / name) for name in run.corpora}
    from preprocess.options import TokenizerOptions
    from preprocess.tokenizer_adopt import adopt
    from preprocess.tokenizer_train import train as train_tokenizer

    folder, options = str(root / "tokenizer"), run.tokenizer.shared(TokenizerOptions, seed=run.data_seed)
    if run.tokenizer.path:
        made = adopt(run.tokenizer.path, folder, corpora, options, eod_piece=run.tokenizer.eod_piece)
        return str(made["sha256"])
    return str(train_tokenizer(corpora, folder, options)["sha256"])


def index(root: Path, run: RunFile, part: str, corpus: str, splits: Sequence[str] = SPLITS) -> dict[str, list[str]]:
    """The indexed datasets of one corpus, or of a part of it."""
    from haigo.formats import documents
    from preprocess.index import index as make_index

    written = {}
    for split in splits:
        shards = documents.shards(domains.folder(root, run, part, corpus), split)
        manifest = make_index(shards, str(root / "tokenizer"), root / "data" / part / split)
        written[split] = [manifest["bin_sha256"], manifest["idx_sha256"]]
    return written


def prefixes(root: Path, name: str, splits: Sequence[str] = SPLITS) -> dict[str, Path]:
    """Split -> the prefix of a dataset of a corpus."""
    return {split: root / "data" / name / f"{split}_text_document" for split in splits}


def data_digests(root: Path, name: str) -> dict[str, list[str]]:
    """Split -> the digests of `.bin` and `.idx`, as the files are: what `index` gives."""
    return {
        split: [digests.sha256(f"{prefix}{ending}") for ending in (".bin", ".idx")]
        for split, prefix in prefixes(root, name).items()
    }


# -- mixture -----------------------------------------------------------------------------------------------------------


def design(root: Path, run: RunFile, rounds: int, folder: str) -> str:
    """The mixtures of the proxy runs, in `folder`/ratios.csv.

    Args:
        rounds: 1 is all runs at once. Of two, the first one's folder gets its half and the held-out runs, the last one's these
            and the other half, around the optimum that the first half says.
    """
    from mixer import design as designs
    from mixer.options import DesignOptions

    proxies, first = run.proxies, root / FIRST_ROUND
    half = proxies.runs if rounds == 1 else (proxies.runs + 1) // 2
    asked = run.search.shared(
        DesignOptions,
        supply=str(root / "supply.csv"),
        target_tokens=run.target_tokens,
        runs=half,
        held_out=proxies.held_out,
        floor=proxies.floor,
        groups=domains.groups(run),
        seed=run.seed,
        output=str(root / folder / "ratios.csv"),
    )
    if rounds == 2 and folder == "design":
        asked = asked.replaced(
            runs=proxies.runs - half,
            held_out=0,
            history=str(first / "design" / "ratios.csv"),
            history_metrics=str(first / "proxies" / "metrics.csv"),
            append=True,
            **_goal(run),
        )
    designs.make(asked, run.search.kl)
    return digests.sha256(asked.output)


def _goal(run: RunFile) -> dict[str, Any]:
    """What the mixture is chosen for, in the words of mixer's options."""
    return {
        "objective": [f"{name}={weight!r}" for name, weight in run.objective.metrics.items()],
        "ceilings": run.objective.ceilings,
        "standardise": False,  # every metric is in bits per byte already
    }


def proxies(root: Path, run: RunFile, part: str = "") -> str:
    """Train the proxies of `part`design/ratios.csv; those that are there already, or in the folder of the other round, are
    kept."""
    from haigo.formats import tokenizer as tokenizers
    from launch.engine import evaluate
    from launch.proxies import train as swarm
    from launch.proxies.options import RunOptions
    from neox_configs import catalogue, reader, shipped

    options, model = run.proxies, shipped.find_model(run.proxies.model)
    if run.pairs:  # those of the models to come are read once too, before anything is trained
        known = tokenizers.load(catalogue.read(root / "corpora.yml").tokenizer)
        length = int(reader.load(model).get("seq_length", 2048))
        for path in dict.fromkeys([*run.pairs.values(), *run.test_pairs.values()]):
            evaluate.pairs_task(path, known, length)
    other = root / ("" if part else FIRST_ROUND) / "proxies"
    asked = options.shared(RunOptions, workers=run.workers, pairs=run.pairs, seed=run.seed, trained=other)
    done = swarm.run(root / part / "design" / "ratios.csv", root / "corpora.yml", model, root / part / "proxies", asked)
    if done.failed:
        name, why = next(iter(done.failed.items()))
        raise Failed(f"{len(done.failed)} proxies failed; {name}: {why}", "mend that and run the same command again")
    for name in done.trained:
        spent.note(done.results[name])
    return table_digest(root / part / "proxies" / "metrics.csv")


def table_digest(path: Path) -> str:
    """A digest of metrics.csv without the columns that differ from run to run (seconds)."""
    import pandas as pd

    table = pd.read_csv(path)
    return files.digest(table.drop(columns=[each for each in ("seconds",) if each in table]).to_csv(index=False))


def screen(root: Path, run: RunFile) -> str:
    """What n-gram counts say of the proxies' mixtures and others."""
    from launch.proxies.options import ScreenOptions
    from launch.proxies.screen import screen as count

    asked = run.proxies.shared(ScreenOptions, mixtures=run.proxies.screen, pairs=run.pairs, seed=run.seed)
    return digests.sha256(count(root / "design" / "ratios.csv", root / "corpora.yml", root / "screen", asked))


def search(root: Path, run: RunFile) -> dict[str, float]:
    """Fit the mixing laws and choose the mixture; the command that does the same by hand is kept in it."""
    from launch.proxies import metrics
    from mixer import figures, report
    from mixer.search import SearchOptions
    from mixer.search import search as find

    metrics.rebuild(root / "proxies")
    asked = run.search.shared(
        SearchOptions,
        target_tokens=run.target_tokens,
        groups=domains.groups(run),
        supply="supply.csv",
        ratios="design/ratios.csv",
        metrics="proxies/metrics.csv",
        **_goal(run),
        held_out=HELD_OUT if run.proxies.held_out else None,
        seed=run.seed,
        screen="screen" if run.proxies.screen else None,
        output="mixture.yml",
    )
    named = {name: getattr(asked, name) for name in ("ratios", "metrics", "supply", "screen")}
    inside = {name: str(root / path) for name, path in named.items() if path}
    given = asked.replaced(**inside, output=str(root / "search" / "mixture.yml"))
    # the folder is not drawn to: it asks for what the report's figures need
    given = given.replaced(figures=str(root / "search"))
    answer = find(given, redact.command(["python", "-m", "mixer.search", *flags.argv(asked)]))
    files.write_json(root / "search" / "held_out.json", answer.held_out_predictions)
    if answer.curves:
        drawn = {"weights": dict(answer.document()["weights"]), **answer.curves}
        files.write_json(root / "search" / figures.CURVES, drawn)
    files.write_text(root / "search" / "answer.txt", report.text(answer.document()))
    return dict(zip(answer.corpora, answer.weights.tolist(), strict=True))


def chosen_weights(root: Path) -> dict[str, float]:
    """The weights in the search's answer, as the file is: what `search` gives."""
    return dict(mixtures.read(root / "search" / "mixture.yml")["weights"])


# -- models ------------------------------------------------------------------------------------------------------------


def configs(root: Path, run: RunFile) -> dict[str, str]:
    """One GPT-NeoX config for each size; a size that does not fit gets the smallest number of nodes that holds it."""
    from haigo.formats import tokenizer as tokenizers
    from launch.plan.config import write_config
    from launch.plan.options import ConfigOptions, PlanOptions
    from launch.plan.planner import plan
    from neox_configs import catalogue

    options = run.configs
    vocab = tokenizers.load(catalogue.read(root / "corpora.yml").tokenizer).vocab_size
    rows, notes, identity = [], [], {}
    for model in options.models:
        sized = options.shared(PlanOptions, model=model, vocab_size=vocab)
        planned, nodes = plan(sized), options.nodes
        if not planned.layouts:
            if planned.smallest_nodes is None:
                notes.append(f"{planned.refusal()} {planned.remedy()}.")
                continue
            nodes = planned.smallest_nodes
            notes.append(f"{planned.refusal()} The config is for {nodes} nodes.")
        named = {"mixture": "mixture.yml", "catalogue": "corpora.yml", "output": f"configs/{model}.yml"}
        asked = sized.shared(ConfigOptions, nodes=nodes, seed=run.seed, **named)
        command = redact.command(["python", "-m", "launch.configs", *flags.argv(asked)])
        written = write_config(asked.replaced(**{key: root / path for key, path in named.items()}), command)
        identity[model] = files.digest(written.pop("config"))
        rows.append({**written, "file": named["output"], "epochs": max(written["epochs"].values())})
    most = max((row["epochs"] for row in rows), default=0.0)
    if most > _MOST_EPOCHS:
        notes.append(
            f"At this number of tokens a corpus would be repeated {most:,.0f} times: with more than {_MOST_EPOCHS} epochs bring"
            " more text, or choose the mixture for the real number of tokens (search.target_tokens)."
        )
    content = {"cluster": options.cluster, "tokens": options.tokens, "configs": rows, "notes": notes}
    files.write_json(root / "configs" / "plan.json", content)
    return identity


def train(root: Path, run: RunFile, name: str) -> list[Any]:
    """Train one small model on the chosen mixture or on one to compare with, from a config that GPT-NeoX would take too."""
    from launch.engine.options import TrainOptions
    from launch.engine.train import train as train_model
    from launch.plan.config import write_config
    from launch.plan.options import ConfigOptions
    from neox_configs import catalogue, reader

    options, folder = run.train, root / "models" / name
    yamlfile.write(folder / "mixture.yml", {"weights": mixture(root, name)}, f"what models/{name} is trained on")
    asked = options.shared(
        ConfigOptions,
        cluster="local-cpu",
        mixture=folder / "mixture.yml",
        catalogue=root / "corpora.yml",
        output=folder / "config.yml",
        seed=run.seed,
    )
    written = write_config(asked, f"python -m launch.local models/{name}/config.yml --output-dir models/{name}")
    known = catalogue.read(root / "corpora.yml")
    trained = options.shared(
        TrainOptions,
        tokens=None,  # the config's train_iters
        tokenizer=known.tokenizer,
        pairs=run.test_pairs or run.pairs,
        eval_every=max(1, written["train_iters"] // max(1, options.evaluations)),
        valid=known.measured("valid"),
        test=known.measured("test"),
    )
    result = train_model(reader.load(folder / "config.yml"), folder, trained, lock=False)
    spent.note(result)
    return [result["tokens"], result["metrics"], result["metrics_test"]]


def score(root: Path, run: RunFile, name: str) -> Any:
    """Score one trained model; where the text was searched for evaluation items also without those that stood in it."""
    from eval_harness.run import evaluate

    options = run.scores
    result = evaluate(
        root / "models" / name / "model",
        options.tasks,
        options.num_fewshot,
        options.limit,
        options.data_dir or ".",
        root / "scores" / name,
        fewshot_pool=options.fewshot_pool,
        data_version=options.data_version,
        exclude_ids=str(root / "decontaminate" / "contaminated.jsonl") if run.decontaminate.against else None,
    )
    return result["results"]


def mixture(root: Path, name: str) -> dict[str, float]:
    """The weights of the chosen mixture, or of one to compare with."""
    from mixer import mixture as simple
    from mixer.supply import read_supply

    if name == "chosen":
        return dict(mixtures.read(root / "mixture.yml")["weights"])
    supply = read_supply(root / "supply.csv")
    tokens = [row["tokens"] for row in supply.values()]
    weights = {
        "token_share": partial(simple.token_share, tokens),
        "uniform": partial(simple.uniform, len(tokens)),
        "temperature": partial(simple.temperature, tokens),
    }[name]()
    return dict(zip(supply, (float(each) for each in simple.rounded(weights)), strict=True))
