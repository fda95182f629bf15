"""The stages of `launch.pipeline`, in order: what each is made from, and which room does it.

    raw files -> corpora/NAME -> dedup -> decontaminate -> partition/NAME -> tokenizer -> data/NAME -> round-1/design
    -> round-1/proxies -> design -> proxies -> search -> configs, models/NAME -> scores/NAME -> report

What a stage does is in `launch.pipeline.actions`; here stands what it depends on. dedup and decontaminate are off unless the
run file asks for them: a run without them has the stages and identities that it had before there were any. Identities of the
text keep the names of the stages that cleaned it (`corpora/NAME`): where one takes nothing away, nothing after it is redone.
With one round of proxies there is no `round-1`, and design and proxies are what they were before there were two. Where a corpus
is parted, its parts take its place from data/PART on; data/NAME holds what models are measured on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from haigo import digests, files, pool
from haigo.cli import HaigoError
from haigo.progress import Progress
from launch.pipeline import actions, ahead, domains, inputs
from launch.pipeline.actions import HELD_OUT_SPLITS, SPLITS
from launch.pipeline.ledger import Ledger
from launch.pipeline.runfile import FIRST_ROUND, RunFile
from launch.pipeline.stage import Run, Stage
from launch.pipeline.summary import CHOSEN


class Unknown(Exception):
    """What comes later depends on results that a dry run does not have."""


class Chain:
    """One run of the whole chain in the folder `root`.

    Attributes:
        file: the run file as it is written, which is what stages are made from.
        run: the same with its variables filled in, which is what they work with.
    """

    def __init__(
        self, run: RunFile, path: Path, root: Path, *, dry_run: bool = False, ledger: Ledger | None = None
    ) -> None:
        places = {"prepared": str((root / "raw").absolute()), "python": sys.executable}
        self.file, self.run = run, inputs.filled(run, places, str(path))
        self.path, self.root, self.dry = path, root, dry_run
        self.digests = ledger or Ledger(root)
        self.workers = run.workers or pool.cores()
        preload = _preload(run) if self.workers > 1 else []
        self.stages = Run(root, dry_run=dry_run, full=self.digests.full, moves=self.digests.moves(), preload=preload)

    def dry_run(self) -> list[tuple[str, str]]:
        """(state, stage) of every stage as far as it can be told without running any."""
        try:
            self.execute()
        except Unknown:
            self.stages.states.append(("to do", "everything after it"))
        return self.stages.states

    def execute(self) -> dict[str, Any]:
        """All stages; the summary, empty for a dry run."""
        if self.file.prepare:
            shown = [word.replace(str(self.root.absolute()), "RUN") for word in self.file.prepare]
            self._do("raw", shown, actions.prepare)
            if self.dry and not (self.root / "raw").exists():
                raise Unknown
        ahead.check(self.run, self.path)
        cleaned, contaminated = self._decontaminate(self._dedup(self._clean()))
        parted = self._partition(cleaned)
        indexed = self._index(cleaned, parted, self._tokenizer(cleaned))
        self._write_tables()
        self._check_data()
        mixture = self._mixture(indexed)
        self._configs(mixture, indexed)
        self._scores(self._train(mixture, indexed), contaminated)
        if self.dry:
            return {}
        from launch.pipeline import summary
        from launch.pipeline.page import report

        names = [name for _, name in self.stages.states]
        result = summary.collect(self.root, self.file, 2 if f"{FIRST_ROUND}/design" in names else 1)
        files.write_json(self.root / "summary.json", result)
        report.write(self.root, self.file)
        self.digests.save(names)
        return result

    def _stage(self, name: str, made_from: Any, action: Callable[..., Any], *arguments: Any, **more: Any) -> Stage:
        return Stage(name=name, inputs=made_from, action=partial(action, self.root, self.run, *arguments), **more)

    def _do(self, name: str, made_from: Any, action: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        return self.stages.do(self._stage(name, made_from, action, *arguments, **more))

    def _known(self, identities: Mapping[str, Any]) -> None:
        if self.dry and None in identities.values():
            raise Unknown

    # -- text ----------------------------------------------------------------------------------------------------------

    def _clean(self) -> dict[str, Any]:
        run, base = self.run, self.path.parent
        raw_files = {name: inputs.find_files(corpus.files, name, base) for name, corpus in run.corpora.items()}
        given = {name: self.digests.of(paths) for name, paths in raw_files.items()}
        for line in inputs.read_twice(raw_files, given):
            print(f"haigo: {self.path}: {line}. Their text counts as often.", file=sys.stderr)
        stages = [
            self._stage(
                f"corpora/{name}",
                [inputs.cleaning(run, corpus), given[name]],
                actions.clean,
                name,
                [str(each) for each in raw_files[name]],
                exact=True,
                proof=partial(actions.shard_digests, self.root / "corpora" / name),
            )
            for name, corpus in run.corpora.items()
        ]
        if not self.dry:
            self.root.mkdir(parents=True, exist_ok=True)
            self.digests.save()
        return self.stages.do_all(stages, self.workers)

    def _dedup(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """The corpora without repeated documents, if that is asked for; identities under the names of `cleaned`."""
        options = self.file.dedup
        if options.method == "none":
            return cleaned
        stated = [
            inputs.stated(options),
            list(cleaned),
            cleaned,
            self.file.data_seed,
        ]  # the order says whose copy stays
        kept = self._do("dedup", stated, actions.dedup, exact=True)
        return {name: kept and kept[Path(name).name] for name in cleaned}

    def _decontaminate(self, cleaned: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The corpora without evaluation texts, if any are named, and the digest of the ids of the items that were found."""
        options = self.file.decontaminate
        if not options.against:
            return cleaned, None
        from preprocess import evaluation_items

        paths = ahead.evaluation_files(self.run, self.path)
        source = "dedup" if self.file.dedup.method != "none" else "corpora"
        given = [evaluation_items.labels(paths), self.digests.of(paths)]
        stated = [inputs.stated(options) | {"against": None}, given, list(cleaned), cleaned]
        kept = self._do("decontaminate", stated, actions.decontaminate, source, list(map(str, paths)), exact=True)
        return {name: kept and kept["corpora"][Path(name).name] for name in cleaned}, kept and kept["contaminated"]

    def _tokenizer(self, cleaned: dict[str, Any]) -> Any:
        source = self.run.tokenizer.path or ""
        given = self.digests.of([Path(source)]) if source and Path(source).exists() else source
        stated = [inputs.stated(self.file.tokenizer), given, cleaned, self.file.data_seed]
        if others := self.run.tokenizer.compare:
            stated.append(self.digests.of([ahead.existing(other, "tokenizer.compare") for other in others]))
        return self._do("tokenizer", stated, actions.tokenizer, proof=partial(actions.tokenizer_digest, self.root))

    def _partition(self, cleaned: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The parts of each corpus that is parted: corpus -> part -> identity."""
        whole, scored = domains.parted(self.file), self._score(cleaned)
        stages = []
        for name in whole:
            asked = inputs.stated(self.file.corpora[name].partition) | {"good": None}
            stated = [asked, cleaned[f"corpora/{name}"], scored.get(f"{domains.SCORED}/{name}"), self.file.data_seed]
            stages.append(self._stage(f"{domains.FOLDER}/{name}", stated, domains.make, name, exact=True))
        made = self.stages.do_all(stages, self.workers) if stages else {}
        self._known(made)
        return {Path(name).name: parts for name, parts in made.items()}

    def _score(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """The identities of the scored text of each corpus that is parted by quality."""
        stages = []
        for name in domains.parted(self.file):
            asked = self.run.corpora[name].partition
            if not asked.quality:
                continue
            good: Any = [cleaned[f"corpora/{each}"] for each in asked.good if each in self.run.corpora]
            good = good or self.digests.of([ahead.existing(asked.good[0], f"corpora.{name}.partition.good")])
            stated = [cleaned[f"corpora/{name}"], good, self.file.data_seed]
            stages.append(self._stage(f"{domains.SCORED}/{name}", stated, domains.score, name, exact=True))
        made = self.stages.do_all(stages, self.workers) if stages else {}
        self._known(made)
        return made

    def _index(self, cleaned: dict[str, Any], parted: dict[str, dict[str, Any]], tokenizer: Any) -> dict[str, Any]:
        stages = []
        for name in self.file.corpora:
            text = cleaned[f"corpora/{name}"]
            if name in parted:
                held_out = {split: text[split] for split in HELD_OUT_SPLITS}
                stages.append(self._indexed(name, held_out, tokenizer, name, HELD_OUT_SPLITS))
                stages += [self._indexed(part, one, tokenizer, name, ("train",)) for part, one in parted[name].items()]
            else:
                stages.append(self._indexed(name, text, tokenizer, name, SPLITS))
        indexed = self.stages.do_all(stages, self.workers)
        self._known(indexed | {"tokenizer": tokenizer})
        return indexed

    def _indexed(self, part: str, text: Any, tokenizer: Any, corpus: str, splits: tuple[str, ...]) -> Stage:
        proof = partial(actions.data_digests, self.root, part)
        return self._stage(f"data/{part}", [text, tokenizer], actions.index, part, corpus, splits, proof=proof)

    def _write_tables(self) -> None:
        """corpora.yml (which datasets there are) and supply.csv (how many tokens, and the limits on the weights)."""
        if self.dry:
            return
        import pandas as pd

        from haigo.formats import tables
        from haigo.formats.dataset import manifest
        from neox_configs import catalogue

        parts = domains.parts(self.root, self.file)
        whole = domains.parted(self.file)
        part_of = {part: name for part, name in parts.items() if name in whole}
        prefixes = {
            part: actions.prefixes(self.root, part, ("train",) if part in part_of else SPLITS) for part in parts
        }
        measured = {name: actions.prefixes(self.root, name, HELD_OUT_SPLITS) for name in whole}
        catalogue.write(self.root / "corpora.yml", (self.root / "tokenizer").absolute(), prefixes, part_of, measured)
        rows = []
        for part, name in parts.items():
            corpus = self.file.corpora[name]
            tokens = manifest.read(prefixes[part]["train"])["tokens"]
            epochs = corpus.max_epochs if corpus.max_epochs is not None else self.file.search.max_epochs
            least, group = (0.0, name) if part in part_of else (corpus.min, corpus.group)
            rows.append([part, tokens, least, corpus.max, epochs, group])
        table = pd.DataFrame(rows, columns=list(tables.SUPPLY))
        files.write_text(self.root / "supply.csv", table.to_csv(index=False))

    def _check_data(self) -> None:
        """The datasets against the longest samples that any model takes, before anything is trained on them."""
        if self.dry:
            return
        from haigo.formats.tokenizer import load
        from launch.plan.data import data_keys
        from neox_configs import catalogue

        run = self.file
        asked = [("proxies.model", run.proxies.model, None), ("train.model", run.train.model, run.train.seq_length)]
        asked += [("configs.models", model, None) for model in run.configs.models]
        lengths = [(inputs.seq_length(model, given), key, model) for key, model, given in asked]
        longest, key, _ = max(lengths)
        named = ", ".join(dict.fromkeys(model for length, of, model in lengths if (length, of) == (longest, key)))
        known = catalogue.read(self.root / "corpora.yml")
        evenly = dict.fromkeys(known.corpora, 1 / len(known.corpora))
        try:
            data_keys(evenly, known, load(known.tokenizer), longest)
        except HaigoError as error:
            problem = f"{error.problem.removesuffix('.')} ('{key}' has {named})."
            fix = f"give more text or larger shares under 'split', or take {named} out of '{key}'"
            raise type(error)(problem, fix) from error

    # -- mixture -------------------------------------------------------------------------------------------------------

    def _mixture(self, indexed: dict[str, Any]) -> Any:
        """The weights of the chosen mixture."""
        options, seed, limits = self.file.proxies, self.file.seed, self._limits()
        common = [options.tokens, options.eval_tokens], [indexed, seed, self._pairs(self.run.pairs)]
        stated = [options.runs, options.held_out, options.floor, seed, limits, indexed]
        design = self._design(stated, common)
        screen = None
        if options.screen:
            proof = partial(digests.sha256, self.root / "screen" / "metrics.csv")
            made_from = [options.screen, *common[0], design, *common[1]]
            screen = self._do("screen", made_from, actions.screen, proof=proof)
        metrics = self._proxies("", design, common)
        stated = [inputs.stated(self.file.search), inputs.stated(self.file.objective), limits, design, metrics]
        stated += [screen] if screen is not None else []
        weights = partial(actions.chosen_weights, self.root)
        mixture = self._do("search", [*stated, seed], actions.search, proof=weights)
        self._known({"search": mixture})
        if not self.dry:
            files.write_text(self.root / "mixture.yml", files.read_text(self.root / "search" / "mixture.yml"))
            print(files.read_text(self.root / "search" / "answer.txt"), flush=True)
        return mixture

    def _design(self, stated: list[Any], common: tuple[list[Any], list[Any]]) -> Any:
        """The table of proxy mixtures, after the first half was trained where there are two rounds; its identity."""
        once = self._designed("design", stated, 1)
        rounds = self._rounds(once)
        if rounds == 1:
            return self.stages.do(once)
        first = self.stages.do(self._designed(f"{FIRST_ROUND}/design", [*stated, "first of 2"], 2))
        metrics = self._proxies(f"{FIRST_ROUND}/", first, common)
        goal = [inputs.stated(self.file.objective), first, metrics]
        return self.stages.do(self._designed("design", [*stated, *goal], 2))

    def _designed(self, name: str, stated: list[Any], rounds: int) -> Stage:
        proof = partial(digests.sha256, self.root / name / "ratios.csv")
        return self._stage(name, stated, actions.design, rounds, name, proof=proof)

    def _rounds(self, once: Stage) -> int:
        """1 or 2, as the run file says or, where it leaves that open, as the folder or the number of runs does."""
        options = self.file.proxies
        rounds = options.in_rounds(len(domains.parts(self.root, self.file)))
        if options.rounds is not None or rounds == 1 or not self.stages.made_from(once):
            return rounds
        told = (
            "designed at once by an earlier run, and stays so; `proxies: {rounds: 2}` would train it anew in two rounds"
        )
        print(f"  design: {told}", file=sys.stderr)
        return 1

    def _proxies(self, part: str, design: Any, common: tuple[list[Any], list[Any]]) -> Any:
        """The trained proxies of one round's table, or of both; the digest of what they learnt."""
        name = f"{part}proxies"
        proof = partial(actions.table_digest, self.root / name / "metrics.csv")
        stated = [inputs.model(self.file.proxies.model), *common[0], design, *common[1]]
        return self._do(name, stated, actions.proxies, part, keep=True, proof=proof)

    def _pairs(self, pairs: Mapping[str, str]) -> list[Any]:
        return [self.digests.of([ahead.existing(path, name)]) for name, path in pairs.items()]

    def _limits(self) -> dict[str, Any]:
        """What the weights have to keep to, beside supply.csv."""
        search, corpora = self.file.search, self.file.corpora
        parted = {"parted": domains.parted(self.file)} if domains.parted(self.file) else {}
        return parted | {
            "corpora": [[name, each.min, each.max, each.max_epochs, each.group] for name, each in corpora.items()],
            "max_epochs": search.max_epochs,
            "groups": search.groups,
            "target_tokens": self.file.target_tokens,
            "kl": search.kl,
        }

    # -- models --------------------------------------------------------------------------------------------------------

    def _configs(self, mixture: Any, indexed: dict[str, Any]) -> None:
        models = [inputs.model(each) for each in self.file.configs.models]
        stated = [inputs.stated(self.file.configs), models, mixture, indexed, self.file.seed]
        # the configs name the datasets in full: in another place they are others
        former = [*stated, "moved"] if self.stages.moves else stated
        self._do("configs", [*stated, str(self.root.resolve())], actions.configs, former=former)

    def _train(self, mixture: Any, indexed: dict[str, Any]) -> dict[str, Any]:
        options, seed = self.file.train, self.file.seed
        stated = [inputs.stated(options) | {"compare": None}, inputs.model(options.model), indexed, seed]
        stated.append(self._pairs(self.run.test_pairs or self.run.pairs))
        stages = [
            self._stage(f"models/{name}", [*stated, mixture if name == CHOSEN else name], actions.train, name)
            for name in [CHOSEN, *options.compare]
        ]
        logs = [self.root / each.name / "log.jsonl" for each in stages]
        bar = Progress("train: models side by side", options.tokens * len(stages), "tokens")
        return self.stages.do_all(stages, self.workers, partial(_watch, bar, logs))

    def _scores(self, models: dict[str, Any], contaminated: str | None) -> None:
        options, folder = self.file.scores, self.run.scores.data_dir
        if not options.tasks:
            return
        given = self.digests.of([ahead.existing(folder, "scores.data_dir")]) if folder else None
        stated = [inputs.stated(options) | {"data_dir": None}, given]
        items = [contaminated] if self.file.decontaminate.against else []
        names = {name: name.removeprefix("models/") for name in models}
        stages = [
            self._stage(f"scores/{names[name]}", [*stated, identity, *items], actions.score, names[name])
            for name, identity in models.items()
        ]
        self.stages.do_all(stages, self.workers)


def _preload(run: RunFile) -> list[str]:
    """What the workers of a run import: proxies and models train, then models are scored."""
    scoring = ["eval_harness.engine", "eval_harness.backends"] if run.scores.tasks else []
    return ["launch.engine.preload", "preprocess.clean", "preprocess.index", *scoring]


def _watch(bar: Progress, logs: list[Path]) -> None:
    """Move the bar to where the models' logs are."""
    from launch.engine.log import tokens_seen

    bar.done = float(sum(tokens_seen(log) for log in logs))
    bar.show("measuring on the test texts" if bar.done >= (bar.total or 0) else "")
