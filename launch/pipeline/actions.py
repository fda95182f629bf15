"""What each stage of the chain does, as module-level functions with plain arguments: they may run in other processes.

Every function works in its stage's folder below `root` and returns the identity of what it made: a value that changes when
the result does (see `launch.pipeline.stage`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import digests, files, flags, pool, redact, yamlfile
from haigo.cli import Failed, HaigoError, nearest
from haigo.formats import mixture as mixture_file
from launch.pipeline import runfile

COMPARABLE = ("token_share", "uniform", "temperature")


def prepare(words: list[str]) -> str:
    """Run the run file's `prepare` command."""
    try:
        done = subprocess.run(words, check=False, preexec_fn=pool.die_with_parent)
    except FileNotFoundError:
        raise HaigoError(
            f"the `prepare` command {words[0]} does not exist.", "check `prepare:` in the run file"
        ) from None
    if done.returncode < 0 or done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise Failed(
            f"the `prepare` command {' '.join(words)} ended with {done.returncode}.", "see its own message above"
        )
    return files.digest(words)


def clean(name: str, paths: list[str], folder: str, options: Mapping[str, Any]) -> Any:
    """Raw files to documents, split in three; the identity is the digest of every shard."""
    from preprocess.clean import clean_corpus

    given = {key: value for key, value in options.items() if key != "split"}
    report = clean_corpus(name, paths, folder, split_shares=options["split"], **given)
    if min(report["splits"][split]["documents"] for split in ("train", "valid", "test")) == 0:
        raise HaigoError(
            f"corpus '{name}' has too few documents to hold some out.",
            "give more text, or larger shares under `split:`",
        )
    return shard_digests(folder)


def shard_digests(folder: str) -> dict[str, list[str]]:
    """Split -> the digest of every shard of a cleaned corpus."""
    from haigo.formats import documents

    return {split: [digests.sha256(shard) for shard in documents.shards(folder, split)] for split in documents.SPLITS}


def tokenizer(given: str, corpora: list[str], folder: str, options: runfile.Tokenizer, seed: int) -> Any:
    """Train a tokenizer on the cleaned corpora, or take the one that the run file names."""
    named = {Path(each).name: each for each in corpora}
    if given:
        from preprocess.tokenizer_adopt import adopt

        return adopt(given, folder, named, seed=seed)["sha256"]
    from preprocess.tokenizer_train import train as train_tokenizer

    made = train_tokenizer(
        named,
        folder,
        vocab_size=options.vocab_size,
        chars_per_corpus=options.chars_per_corpus,
        model_type=options.model_type,
        seed=seed,
    )
    return made["sha256"]


def index(corpus: str, tokenizer_folder: str, root: str, name: str) -> Any:
    """The three indexed datasets of one corpus."""
    from haigo.formats import documents
    from preprocess.index import index as make_index

    made = {}
    for split in ("train", "valid", "test"):
        prefix = Path(root) / "data" / name / split
        manifest = make_index(documents.shards(corpus, split), tokenizer_folder, prefix)
        made[split] = [manifest["bin_sha256"], manifest["idx_sha256"]]
    return made


def data_digests(root: str, name: str) -> dict[str, list[str]]:
    """Split -> the digests of `.bin` and `.idx`, as the files are: what `index` gives."""
    prefixes = {split: Path(root) / "data" / name / f"{split}_text_document" for split in ("train", "valid", "test")}
    return {
        split: [digests.sha256(f"{prefix}.bin"), digests.sha256(f"{prefix}.idx")] for split, prefix in prefixes.items()
    }


def design(root: str, options: runfile.Proxies, limits: Mapping[str, Any], seed: int) -> Any:
    """The mixtures of the proxy runs."""
    from mixer import design as designs

    table = designs.design(_constraints(root, limits), options.runs, seed, options.floor, options.held_out)
    designs.write_ratios(str(Path(root) / "design" / "ratios.csv"), table)
    return digests.sha256(Path(root) / "design" / "ratios.csv")


def proxies(
    root: str,
    options: runfile.Proxies,
    pairs: dict[str, str],
    seed: int,
    workers: int | None,
    later: Sequence[str] = (),
) -> Any:
    """Train the proxies; those that are there already are kept.

    Args:
        workers: as of launch.proxies.
        later: pairs files of the models to come: like `pairs`, they are read once before anything is trained.
    """
    from launch import proxies as swarm
    from launch.local import evaluate, vocabulary
    from neox_configs import catalogue, reader, shipped

    folder = Path(root)
    if pairs:
        known = vocabulary.load(catalogue.read(folder / "corpora.yml").tokenizer)
        length = int(reader.load(shipped.find_model(options.model)).get("seq_length", 2048))
        for path in dict.fromkeys([*pairs.values(), *later]):
            evaluate.pairs_task(path, known, length)
    done = swarm.run(
        folder / "design" / "ratios.csv",
        folder / "corpora.yml",
        shipped.find_model(options.model),
        folder / "proxies",
        tokens=options.tokens,
        workers=workers,
        pairs=pairs,
        seed=seed,
        eval_tokens=options.eval_tokens,
    )
    if done.failed:
        name, why = next(iter(done.failed.items()))
        raise Failed(f"{len(done.failed)} proxies failed; {name}: {why}", "mend that and run the same command again")
    return table_digest(folder / "proxies" / "metrics.csv")


def screen(root: str, options: runfile.Proxies, pairs: dict[str, str], seed: int) -> Any:
    """What n-gram counts say of the proxies' mixtures and others."""
    from launch import screen as screens

    folder = Path(root)
    path = screens.screen(
        folder / "design" / "ratios.csv",
        folder / "corpora.yml",
        folder / "screen",
        tokens=options.tokens,
        mixtures=options.screen,
        eval_tokens=options.eval_tokens,
        pairs=pairs,
        seed=seed,
    )
    return digests.sha256(path)


def search(
    root: str,
    options: runfile.Search,
    objective: runfile.Objective,
    limits: Mapping[str, Any],
    seed: int,
    held_out: bool = True,
    screened: bool = False,
) -> Any:
    """Fit the mixing laws and choose the mixture; the command that does the same by hand is kept in it.

    Args:
        held_out: the table has runs (h000, ...) that only judge the fit.
        screened: there is a screen.
    """
    from launch.swarm import metrics
    from mixer import report
    from mixer.search import SearchOptions
    from mixer.search import search as find

    folder = Path(root)
    metrics.rebuild(folder / "proxies")
    asked = SearchOptions(
        ratios="design/ratios.csv",
        metrics="proxies/metrics.csv",
        supply="supply.csv",
        objective=[f"{name}={weight!r}" for name, weight in objective.metrics.items()],
        ceilings=objective.ceilings,
        standardise=False,  # every metric is in bits per byte already
        groups=limits["groups"],
        target_tokens=limits["target_tokens"],
        max_epochs=options.max_epochs,
        held_out="h" if held_out else None,
        method=options.method,
        bootstrap=options.bootstrap,
        seed=seed,
        kl=options.kl,
        force=options.force,
        screen="screen" if screened else None,
        output="mixture.yml",
    )
    paths = {
        name: str(folder / path) for name in ("ratios", "metrics", "supply", "screen") if (path := getattr(asked, name))
    }
    made = find(
        asked.replaced(**paths, output=str(folder / "search" / "mixture.yml")),
        redact.command(["python", "-m", "mixer.search", *flags.argv(asked)]),
    )
    files.write_json(folder / "search" / "held_out.json", made.held_out_predictions)
    files.write_text(folder / "search" / "answer.txt", report.text(made.document()))
    return dict(zip(made.corpora, made.weights.tolist(), strict=True))


def chosen_weights(root: str) -> dict[str, float]:
    """The weights in the search's answer, as the file is: what `search` gives."""
    return dict(yamlfile.read(Path(root) / "search" / "mixture.yml")["weights"])


def configs(root: str, options: runfile.Configs, seed: int) -> Any:
    """One GPT-NeoX config for each size; a size that does not fit gets the smallest number of nodes that holds it."""
    from haigo.formats import tokenizer as tokenizers
    from launch.plan.config import write_config
    from launch.plan.options import ConfigOptions, PlanOptions
    from launch.plan.planner import plan
    from neox_configs import catalogue

    folder = Path(root)
    vocab = tokenizers.load(catalogue.read(folder / "corpora.yml").tokenizer).vocab_size
    rows, notes, identity = [], [], {}
    for model in options.models:
        nodes = options.nodes
        sized = PlanOptions(model=model, cluster=options.cluster, nodes=nodes, tokens=options.tokens, vocab_size=vocab)
        planned = plan(sized)
        if not planned.layouts:
            if planned.smallest_nodes is None:
                notes.append(f"{planned.refusal()} {planned.remedy()}.")
                continue
            nodes = planned.smallest_nodes
            notes.append(f"{planned.refusal()} The config is for {nodes} nodes.")
        asked = sized.replaced(nodes=nodes).shared(
            ConfigOptions,
            mixture="mixture.yml",
            catalogue="corpora.yml",
            output=f"configs/{model}.yml",
            seed=seed,
        )
        inside = {name: folder / getattr(asked, name) for name in ("mixture", "catalogue", "output")}
        command = redact.command(["python", "-m", "launch.configs", *flags.argv(asked)])
        made = write_config(asked.replaced(**inside), command)
        identity[model] = files.digest(made.pop("config"))
        rows.append({**made, "file": f"configs/{model}.yml", "epochs": max(made["epochs"].values())})
    most = max((row["epochs"] for row in rows), default=0.0)
    if most > 4:
        notes.append(
            f"At this number of tokens a corpus would be repeated {most:,.0f} times: with more than 4 epochs bring more text,"
            " or choose the mixture for the real number of tokens (search.target_tokens)."
        )
    files.write_json(
        folder / "configs" / "plan.json",
        {"cluster": options.cluster, "tokens": options.tokens, "configs": rows, "notes": notes},
    )
    return identity


def train(root: str, name: str, options: runfile.Train, pairs: dict[str, str], seed: int) -> Any:
    """Train one small model on the chosen mixture or on one to compare with, from a config that GPT-NeoX would take too."""
    from launch.local.train import train as run
    from launch.plan.config import write_config
    from launch.plan.options import ConfigOptions
    from neox_configs import catalogue, reader

    folder = Path(root) / "models" / name
    weights = mixture(Path(root), name)
    yamlfile.write(folder / "mixture.yml", {"weights": weights}, f"what models/{name} is trained on")
    asked = ConfigOptions(
        model=options.model,
        cluster="local-cpu",
        mixture=folder / "mixture.yml",
        catalogue=Path(root) / "corpora.yml",
        output=folder / "config.yml",
        tokens=options.tokens,
        seq_length=options.seq_length,
        seed=seed,
    )
    made = write_config(asked, f"python -m launch.local models/{name}/config.yml --output-dir models/{name}")
    known = catalogue.read(Path(root) / "corpora.yml")
    result = run(
        reader.load(folder / "config.yml"),
        folder,
        tokenizer=known.tokenizer,
        pairs=pairs,
        eval_every=max(1, made["train_iters"] // max(1, options.evaluations)),
        eval_tokens=options.eval_tokens,
        test_tokens=options.test_tokens,
        valid={corpus: splits["valid"] for corpus, splits in known.corpora.items()},
        test={corpus: splits["test"] for corpus, splits in known.corpora.items()},
        lock=False,
    )
    return [result["tokens"], result["metrics"], result["metrics_test"]]


def score(model: str, root: str, options: runfile.Scores, data_dir: str | None, exclude_ids: str | None = None) -> Any:
    """Score one trained model; with `exclude_ids` also without the evaluation items that stood in the training text."""
    from eval_harness.run import evaluate

    name = Path(model).name
    found = evaluate(
        Path(model) / "model",
        options.tasks,
        options.num_fewshot,
        options.limit,
        data_dir or ".",
        Path(root) / "scores" / name,
        fewshot_pool=options.fewshot_pool,
        data_version=options.data_version,
        exclude_ids=exclude_ids,
    )
    return found["results"]


def mixture(root: Path, name: str) -> dict[str, float]:
    """The weights of the chosen mixture, or of one to compare with.

    Raises:
        HaigoError: no such name.
    """
    from mixer import mixture as mixtures
    from mixer.supply import read_supply

    if name == "chosen":
        return dict(mixture_file.read(root / "mixture.yml")["weights"])
    supply = read_supply(root / "supply.csv")
    tokens = [row["tokens"] for row in supply.values()]
    made = {
        "token_share": lambda: mixtures.token_share(tokens),
        "uniform": lambda: mixtures.uniform(len(tokens)),
        "temperature": lambda: mixtures.temperature(tokens),
    }[check_name(name)]()
    return dict(zip(supply, (float(each) for each in mixtures.rounded(made)), strict=True))


def check_name(name: str) -> str:
    """The name of a mixture to compare with, if there is one.

    Raises:
        HaigoError: there is none.
    """
    if name not in COMPARABLE:
        raise HaigoError(
            f"there is no mixture '{name}' to compare with.{nearest(name, COMPARABLE)}",
            f"choose from {', '.join(COMPARABLE)}",
        )
    return name


def _constraints(root: str, limits: Mapping[str, Any]) -> Any:
    from mixer.options import LimitOptions
    from mixer.supply import constraints_from, read_supply

    path = Path(root) / "supply.csv"
    return constraints_from(
        read_supply(path),
        options=LimitOptions(supply=str(path), target_tokens=limits["target_tokens"], groups=limits["groups"]),
        **({"kl": limits["kl"]} if limits.get("kl") is not None else {}),
    )


def table_digest(path: Path) -> str:
    """A digest of metrics.csv without the columns that differ from run to run (seconds)."""
    import pandas as pd

    table = pd.read_csv(path)
    return files.digest(table.drop(columns=[each for each in ("seconds",) if each in table]).to_csv(index=False))
