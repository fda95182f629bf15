"""The stages of `launch.pipeline`, in order: what each is made from, and which room does it.

    raw files -> corpora/NAME (-> dedup, decontaminate: `text_stages`) -> tokenizer -> data/NAME -> proxies -> search
    -> configs, models/NAME -> scores/NAME -> report

What a stage does is in `launch.pipeline.actions`; here stands what it depends on.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from haigo import digests, files, pool
from haigo.cli import HaigoError
from haigo.progress import Progress
from launch.pipeline import actions, ahead, inputs, runfile, sizes, text_stages
from launch.pipeline.ledger import Ledger
from launch.pipeline.stage import Run, Stage

CHOSEN = "chosen"
SPLITS = ("train", "valid", "test")


class Chain:
    """One run of the whole chain in the folder `root`."""

    def __init__(
        self, run: runfile.RunFile, path: Path, root: Path, *, dry_run: bool = False, ledger: Ledger | None = None
    ) -> None:
        self.file, self.path, self.root = run, path, root
        self.digests = ledger or Ledger(root)
        self.stages = Run(root, dry_run=dry_run, full=self.digests.full, moves=self.digests.moves())
        self.workers = run.workers or pool.cores()
        self.places = {"prepared": str((root / "raw").absolute()), "python": sys.executable}

    def check_output(self) -> None:
        """See, before anything is written, that the run folder holds none of the user's own files; see `ahead`."""
        ahead.check_output(self)

    def dry_run(self) -> list[tuple[str, str]]:
        """(state, stage) of every stage as far as it can be told without running any."""
        self.run()
        return self.stages.states

    def run(self) -> dict[str, Any]:
        """All stages; the summary."""
        run, dry = self.file, self.stages.dry_run
        self._prepare()
        if dry and run.prepare and not (self.root / "raw").exists():
            self.stages.states.append(("to do", "everything after it"))
            return {}
        ahead.check(self)
        cleaned, contaminated = text_stages.decontaminate(self, text_stages.dedup(self, self._clean()))
        tokenizer = self._tokenizer(cleaned)
        indexed = self._index(cleaned, tokenizer)
        if dry and (tokenizer is None or None in indexed.values()):
            self.stages.states.append(("to do", "everything after it"))
            return {}
        self._write_tables()
        self._check_data()
        design = self._design(indexed)
        screen = self._screen(design, indexed)
        metrics = self._proxies(design, indexed)
        mixture = self._search(design, metrics, screen)
        if dry and mixture is None:
            self.stages.states.append(("to do", "everything after it"))
            return {}
        self._configs(mixture, indexed)
        models = self._train(mixture, indexed)
        self._scores(models, contaminated)
        if dry:
            return {}
        from launch.pipeline import summary
        from launch.pipeline.page import report

        found = summary.collect(self.root, run)
        files.write_json(self.root / "summary.json", found)
        report.write(self.root, run)
        self.digests.save([name for _, name in self.stages.states])
        return found

    # -- text ----------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if not self.file.prepare:
            return
        command = [self.expand(word) for word in self.file.prepare]
        shown = [word.replace(str(self.root.absolute()), "RUN") for word in self.file.prepare]
        self.stages.do(Stage(name="raw", inputs=shown, action=partial(actions.prepare, command)))

    def _clean(self) -> dict[str, Any]:
        stages = []
        found = {
            name: inputs.find_files([self.expand(each) for each in corpus.files], name, self.path.parent)
            for name, corpus in self.file.corpora.items()
        }
        given = {name: self.digests.of(paths) for name, paths in found.items()}
        for line in inputs.read_twice(found, given):
            print(f"haigo: {self.path}: {line}. Their text counts as often.", file=sys.stderr)
        for name, corpus in self.file.corpora.items():
            paths = found[name]
            options = {
                "format": corpus.format,
                "profile": corpus.profile,
                "text_key": corpus.text_key,
                "min_chars": corpus.min_chars,
                "max_chars": corpus.max_chars,
                "split": self.file.split,
                "seed": self.file.data_seed,
                # only where it is given: runs made before there was this key are still the same
                **({"markup": corpus.markup} if corpus.markup != "auto" else {}),
                **({} if corpus.normalise is None else {"normalise": ",".join(corpus.normalise)}),
                **({"skip_broken": corpus.skip_broken} if corpus.skip_broken else {}),
                **({"unfinished": True} if corpus.unfinished else {}),
            }
            folder = str(self.root / "corpora" / name)
            stages.append(
                Stage(
                    name=f"corpora/{name}",
                    inputs=[options, given[name]],
                    action=partial(actions.clean, name, [str(each) for each in paths], folder, options),
                    exact=True,
                    proof=partial(actions.shard_digests, folder),
                )
            )
        if not self.stages.dry_run:
            self.root.mkdir(parents=True, exist_ok=True)
            self.digests.save()
        return self.stages.do_all(stages, self.workers)

    def _tokenizer(self, cleaned: dict[str, Any]) -> Any:
        options = self.file.tokenizer
        source = self.expand(options.path) if options.path else ""
        given = self.digests.of([Path(source)]) if source and Path(source).exists() else source
        folders = [str(self.root / self.file.text_folder() / name) for name in self.file.corpora]
        action = partial(actions.tokenizer, source, folders, str(self.root / "tokenizer"), options, self.file.data_seed)
        stated = [inputs.stated(options), given, cleaned, self.file.data_seed]
        proof = partial(digests.sha256, self.root / "tokenizer" / "spm.model")
        return self.stages.do(Stage(name="tokenizer", inputs=stated, action=action, proof=proof))

    def _index(self, cleaned: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
        text, known = self.root / self.file.text_folder(), str(self.root / "tokenizer")
        stages = [
            Stage(
                name=f"data/{name}",
                inputs=[cleaned[f"corpora/{name}"], tokenizer],
                action=partial(actions.index, str(text / name), known, str(self.root), name),
                proof=partial(actions.data_digests, str(self.root), name),
            )
            for name in self.file.corpora
        ]
        return self.stages.do_all(stages, self.workers)

    def _write_tables(self) -> None:
        """corpora.yml (which datasets there are) and supply.csv (how many tokens, and the limits on the weights)."""
        if self.stages.dry_run:
            return
        from haigo.formats import tables
        from neox_configs import catalogue

        prefixes = {
            name: {split: self.root / "data" / name / f"{split}_text_document" for split in SPLITS}
            for name in self.file.corpora
        }
        catalogue.write(self.root / "corpora.yml", (self.root / "tokenizer").absolute(), prefixes)
        rows = []
        for name, corpus in self.file.corpora.items():
            manifest = files.read_record(self.root / "data" / name / "train_text_document.json", {"tokens": int})
            epochs = corpus.max_epochs if corpus.max_epochs is not None else self.file.search.max_epochs
            rows.append([name, manifest["tokens"], corpus.min, corpus.max, epochs, corpus.group])
        table = pd.DataFrame(rows, columns=list(tables.SUPPLY))
        files.write_text(self.root / "supply.csv", table.to_csv(index=False))

    def _check_data(self) -> None:
        """The datasets against the longest samples that any model takes, before anything is trained on them."""
        if self.stages.dry_run:
            return
        from haigo.formats.tokenizer import load
        from launch.plan import data as config_data
        from neox_configs import catalogue

        run = self.file
        asked = [("proxies.model", run.proxies.model, None), ("train.model", run.train.model, run.train.seq_length)]
        asked += [("configs.models", model, None) for model in run.configs.models]
        longest, key, model = max((sizes.seq_length(model, given), key, model) for key, model, given in asked)
        known = catalogue.read(self.root / "corpora.yml")
        evenly = dict.fromkeys(known.corpora, 1 / len(known.corpora))
        try:
            config_data.data_keys(evenly, known, load(known.tokenizer), longest)
        except HaigoError as error:
            raise type(error)(
                f"{error.problem.removesuffix('.')} ('{key}' has {model}).",
                f"give more text or larger shares under 'split', or take {model} out of '{key}'",
            ) from error

    # -- mixture -------------------------------------------------------------------------------------------------------

    def _design(self, indexed: dict[str, Any]) -> Any:
        options = self.file.proxies
        stated = [options.runs, options.held_out, options.floor, self.file.seed, self._limits(), indexed]
        action = partial(actions.design, str(self.root), options, self._limits(), self.file.seed)
        proof = partial(digests.sha256, self.root / "design" / "ratios.csv")
        return self.stages.do(Stage(name="design", inputs=stated, action=action, proof=proof))

    def _proxies(self, design: Any, indexed: dict[str, Any]) -> Any:
        options = self.file.proxies
        pairs = {name: self.expand(path) for name, path in self.file.pairs.items()}
        given = [self.digests.of([ahead.existing(path, name)]) for name, path in pairs.items()]
        stated = [
            sizes.identity(options.model),
            options.tokens,
            options.eval_tokens,
            design,
            indexed,
            self.file.seed,
            given,
        ]
        later = [self.expand(path) for path in self.file.test_pairs.values()]
        action = partial(actions.proxies, str(self.root), options, pairs, self.file.seed, self.file.workers, later)
        proof = partial(actions.table_digest, self.root / "proxies" / "metrics.csv")
        return self.stages.do(Stage(name="proxies", inputs=stated, action=action, keep=True, proof=proof))

    def _screen(self, design: Any, indexed: dict[str, Any]) -> Any:
        options = self.file.proxies
        if not options.screen:
            return None
        pairs = {name: self.expand(path) for name, path in self.file.pairs.items()}
        given = [self.digests.of([ahead.existing(path, name)]) for name, path in pairs.items()]
        stated = [options.screen, options.tokens, options.eval_tokens, design, indexed, self.file.seed, given]
        action = partial(actions.screen, str(self.root), options, pairs, self.file.seed)
        proof = partial(digests.sha256, self.root / "screen" / "metrics.csv")
        return self.stages.do(Stage(name="screen", inputs=stated, action=action, proof=proof))

    def _search(self, design: Any, metrics: Any, screen: Any) -> Any:
        options, objective = self.file.search, self.file.objective
        stated = [inputs.stated(options), inputs.stated(objective), self._limits(), design, metrics]
        stated += [screen] if screen is not None else []
        held_out, screened = self.file.proxies.held_out > 0, screen is not None
        action = partial(
            actions.search, str(self.root), options, objective, self._limits(), self.file.seed, held_out, screened
        )
        proof = partial(actions.chosen_weights, str(self.root))
        stage = Stage(name="search", inputs=[*stated, self.file.seed], action=action, proof=proof)
        found = self.stages.do(stage)
        if not self.stages.dry_run:
            chosen = files.read_text(self.root / "search" / "mixture.yml")
            files.write_text(self.root / "mixture.yml", chosen)
            print(files.read_text(self.root / "search" / "answer.txt"), flush=True)
        return found

    def _limits(self) -> dict[str, Any]:
        """What the weights have to keep to, beside supply.csv."""
        search = self.file.search
        return {
            "corpora": [
                [name, each.min, each.max, each.max_epochs, each.group] for name, each in self.file.corpora.items()
            ],
            "max_epochs": search.max_epochs,
            "groups": search.groups,
            "target_tokens": search.target_tokens or self.file.train.tokens,
            "kl": search.kl,
        }

    # -- models --------------------------------------------------------------------------------------------------------

    def _configs(self, mixture: Any, indexed: dict[str, Any]) -> Any:
        models = [sizes.identity(each) for each in self.file.configs.models]
        stated = [inputs.stated(self.file.configs), models, mixture, indexed, self.file.seed]
        action = partial(actions.configs, str(self.root), self.file.configs, self.file.seed)
        # the configs name the datasets in full: in another place they are others
        place = str(self.root.resolve())
        former = [*stated, "moved"] if self.stages.moves else stated
        return self.stages.do(Stage(name="configs", inputs=[*stated, place], action=action, former=former))

    def _train(self, mixture: Any, indexed: dict[str, Any]) -> dict[str, Any]:
        options = self.file.train
        pairs = {name: self.expand(path) for name, path in (self.file.test_pairs or self.file.pairs).items()}
        given = [self.digests.of([ahead.existing(path, name)]) for name, path in pairs.items()]
        stated = [
            inputs.stated(options) | {"compare": None},
            sizes.identity(options.model),
            indexed,
            self.file.seed,
            given,
        ]
        stages = [
            Stage(
                name=f"models/{name}",
                inputs=[*stated, mixture if name == CHOSEN else name],
                action=partial(actions.train, str(self.root), name, options, pairs, self.file.seed),
            )
            for name in [CHOSEN, *options.compare]
        ]
        logs = [self.root / each.name / "log.jsonl" for each in stages]
        bar = Progress("train: models side by side", options.tokens * len(stages), "tokens")
        return self.stages.do_all(stages, self.workers, partial(_watch, bar, logs))

    def _scores(self, models: dict[str, Any], contaminated: str | None) -> None:
        options = self.file.scores
        if not options.tasks:
            return
        data_dir = self.expand(options.data_dir) if options.data_dir else None
        given = self.digests.of([ahead.existing(data_dir, "scores.data_dir")]) if data_dir else None
        ids = str(self.root / "decontaminate" / "contaminated.jsonl") if self.file.decontaminate.against else None
        stages = [
            Stage(
                name=f"scores/{name.removeprefix('models/')}",
                inputs=[
                    inputs.stated(options) | {"data_dir": None},
                    given,
                    identity,
                    *([contaminated] if ids else []),
                ],
                action=partial(actions.score, str(self.root / name), str(self.root), options, data_dir, ids),
            )
            for name, identity in models.items()
        ]
        self.stages.do_all(stages, self.workers)

    def expand(self, text: str) -> str:
        """A path or command of the run file with its variables filled in."""
        return inputs.expand(text, self.places, str(self.path))


def _watch(bar: Progress, logs: list[Path]) -> None:
    """Move the bar to where the models' logs are."""
    from launch.local.log import tokens_seen

    bar.done = float(sum(tokens_seen(log) for log in logs))
    bar.show()
