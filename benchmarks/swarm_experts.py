"""Experts as a screen: one warm-up, one branch a corpus, and mixtures of the branches in place of proxies.

    python benchmarks/swarm_experts.py runs/japanese

A model is trained on token share and from it one more a corpus. A mixture of corpora is then the branches' weights averaged
with the mixture's weights (DeMix, MergeMix), or the average of their probabilities (MixMin, mixtures of data experts): no
training at all. Both are screens as `launch.screen`'s n-grams are (`mixer.screened`): a few proxies with each are judged by
the rank of what the law says of other proxies and of larger models. What is trained is kept in --output-dir.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import seconds
from _run_folder import arguments
from _swarm_world import EVAL_TOKENS, World, judged, words

from haigo.formats import tokenizer as tokenizers
from launch.engine import evaluate, job
from launch.engine import model as models
from launch.engine.loss import token_nats
from launch.engine.options import TrainOptions
from launch.local.train import train
from launch.proxies import ngram
from launch.proxies.options import CountOptions
from launch.proxies.proxy import proxy_config
from mixer import screened
from mixer.design import propose
from mixer.laws_share import EffectiveShareLaw
from neox_configs import reader, shipped

Array = np.ndarray


class Experts:
    """The warm-up and the branches, trained in `folder`, and what their averages say of mixtures."""

    def __init__(self, args: argparse.Namespace, known: Any, share: Array, seed: int) -> None:
        self.known, self.corpora = known, list(known.corpora)
        self.base = reader.load(shipped.find_model(args.proxy))
        self.valid = {name: str(sets["valid"]) for name, sets in known.corpora.items()}
        self.folder = args.output_dir / f"experts{seed}-{args.warm_tokens}-{args.branch_tokens}-{args.branch_rate}"
        self.seconds = 0.0
        self._train("warm", share, args.warm_tokens, 1.0, seed)
        for j, name in enumerate(self.corpora):
            mixture = np.eye(len(share))[j]
            start = str(self.folder / "warm" / "model")
            self._train(name, mixture, args.branch_tokens, args.branch_rate, seed, init_from=start)
        self.branches = [self._load(name) for name in self.corpora]

    def _train(self, name: str, mixture: Array, tokens: int, rate: float, seed: int, **more: Any) -> None:
        config = proxy_config(self.base, dict(zip(self.corpora, mixture.tolist(), strict=True)), self.known)
        params = dict(config["optimizer"]["params"])
        config["optimizer"] = {**config["optimizer"], "params": {**params, "lr": params["lr"] * rate}}
        config["min_lr"] = config["min_lr"] * rate
        own: dict[str, Any] = {
            "tokenizer": str(self.known.tokenizer),
            "valid": {},
            "checkpoints": False,
            "progress": lambda _: None,
        }
        made = train(config, self.folder / name, tokens=tokens, seed=seed, **own, **more)
        self.seconds += made["cpu_seconds"]

    def _load(self, name: str) -> Any:
        options = TrainOptions(tokenizer=str(self.known.tokenizer), tokens=1 << 20)
        words = tokenizers.load(self.known.tokenizer)
        config = {**proxy_config(self.base, dict.fromkeys(self.corpora, 1 / len(self.corpora)), self.known)}
        self.plan = job.prepare(config, options, words).plan
        self.words = words
        made = models.build(self.plan, words.vocab_size, words.eod_id, words.pad_id)
        models.load_weights(made, str(self.folder / name / "model"))
        return made

    def tasks(self, tokens: int) -> dict[str, evaluate.Task]:
        return evaluate.tasks(self.valid, {}, self.words, self.plan, tokens)

    def averaged(self, mixtures: Array, tokens: int, stretch: float = 1.0) -> Array:
        """Bits per byte (mixtures, corpora) of the branches' averaged weights, `stretch` times as far from the warm-up."""
        import torch

        tasks, states = self.tasks(tokens), [branch.state_dict() for branch in self.branches]
        start = self._load("warm").state_dict() if stretch != 1 else None
        merged, losses = self._load("warm"), []
        for mixture in mixtures.tolist():
            state = {}
            for key in states[0]:
                mean = sum(weight * one[key] for weight, one in zip(mixture, states, strict=True))
                state[key] = mean if start is None else start[key] + stretch * (mean - start[key])
            with torch.no_grad():
                merged.load_state_dict(state)
            losses.append([evaluate.score(merged, task).bpb for task in tasks.values()])
        return np.array(losses)

    def blended(self, mixtures: Array, tokens: int) -> Array:
        """Bits per byte (mixtures, corpora) of the branches' averaged probabilities."""
        import torch

        losses = np.empty((len(mixtures), len(self.valid)))
        for column, task in enumerate(self.tasks(tokens).values()):
            labels = task.labels.reshape(-1)
            text = (labels >= 0) & (labels != task.eod_id)
            nats = []
            with torch.no_grad():
                for branch in self.branches:
                    hidden = models.body(branch, torch.from_numpy(task.inputs))
                    tokens_nats = token_nats(hidden, branch.lm_head.weight, torch.from_numpy(labels))
                    nats.append(tokens_nats.double().numpy()[text])
            likely = np.exp(-np.array(nats))
            losses[:, column] = -np.log(mixtures @ likely).sum(axis=1) / math.log(2) / task.text_bytes
        return losses


def kept(place: Path, make: Callable[[], Array]) -> tuple[Array, float]:
    """What `make` gives, or gave before, and its CPU-seconds."""
    if not place.is_file():
        began = time.process_time()
        made = make()
        np.savez(place, losses=made, seconds=time.process_time() - began)
    with np.load(place) as both:
        return both["losses"], float(both["seconds"])


def screens(world: World, args: argparse.Namespace, seed: int, mixtures: Array) -> dict[str, tuple[Array, float]]:
    """Screen -> losses of mixtures (n, corpora), and CPU-seconds, the training of experts included."""
    spent, counted = seconds(lambda: ngram.Counted(world.known, CountOptions(eval_tokens=EVAL_TOKENS, seed=seed)))
    columns = [counted.metrics.index(f"{name}_bpb") for name in world.known.corpora]
    made = {"2-grams": (counted.losses(mixtures, args.proxy_tokens)[:, columns], spent)}
    experts = Experts(args, world.known, world.share, seed)
    tokens = args.averaged_tokens
    for stretch in args.stretch:
        place = experts.folder / f"averaged-{tokens}-{stretch}.npz"
        losses, spent = kept(place, partial(experts.averaged, mixtures, tokens, stretch))
        made[f"weights averaged, x{stretch:g}"] = losses, spent + experts.seconds
    losses, spent = kept(experts.folder / "blended.npz", lambda: experts.blended(mixtures, EVAL_TOKENS))
    made["probabilities averaged"] = losses, spent + experts.seconds
    return made


def main() -> int:
    made = words(__doc__)
    made.add_argument("--proxies", type=int, default=8)
    made.add_argument("--seeds", default="1")
    made.add_argument("--warm-tokens", type=int, default=76 * 1024)
    made.add_argument("--branch-tokens", type=int, default=20 * 1024)
    made.add_argument("--branch-rate", type=float, default=0.5, help="learning rate of the branches, in the proxies'")
    made.add_argument(
        "--averaged-tokens", type=int, default=1_000, help="held-out tokens a corpus for averaged weights"
    )
    made.add_argument("--stretch", type=float, nargs="+", default=[1.0])
    made.add_argument("--counts", default="2")
    args = arguments(made)
    world = World(args)
    measured = world.measured()
    for seed in map(int, args.seeds.split(",")):
        design = world.design(seed)
        few = design[: args.proxies]
        losses, spent = world.proxies(few, seed)
        spread = propose(world.limits, 64, seed, floor=0.01)
        each = screens(world, args, seed, np.vstack([few, spread]))
        show(
            f"seed {seed}: {len(few)} proxies",
            spent,
            EffectiveShareLaw(seed=seed).fit(few, losses[-1]).predict,
            measured,
        )
        for name, (values, paid) in each.items():
            screen = screened.Screen(weights=spread, losses=values[len(few) :], at_runs=values[: len(few)])
            alone = EffectiveShareLaw(seed=seed).fit(spread, screen.losses)
            agreement = np.nanmean(screen.agreement(losses[-1]))
            show(f"{name} alone (agreement {agreement:.3f})", paid, alone.predict, measured)
            for count in map(float, args.counts.split(",")):
                screened.COUNT = count
                law = EffectiveShareLaw(seed=seed).fit(few, losses[-1], screen=screen)
                show(f"with {name}, counting {count:g}", spent + paid, law.predict, measured)
    return 0


def show(name: str, spent: float, predict: Callable[[Array], Array], measured: dict[str, tuple[Array, Array]]) -> None:
    """One line: rank and regret over the corpora and of the mean, by each kind of judge."""
    figures = [judged(predict(mixtures), losses) for mixtures, losses in measured.values()]
    cells = "   ".join(f"{a:.3f} {b:5.2f}%  {c:.3f} {d:5.2f}%" for a, b, c, d in figures)
    print(f"{name:<52}{spent / 60:6.2f}   {cells}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
