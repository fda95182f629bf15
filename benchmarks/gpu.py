"""What only a card can say of the embedded engine, in one command of eight minutes at most.

    python benchmarks/gpu.py [--output-dir DIR] [--minutes 8] [--json]
    python benchmarks/gpu.py --device cpu --small        (the same parts in seconds on a CPU; a test runs it)

    speed     tokens a second and MFU at 14M, 70M and 162M parameters (Pythia's shapes, 50,304 rows, 2,048 tokens), against
              transformers' Trainer on the same model, batches and precision; goals: 1.3 times it, MFU of .35 at 162M
    memory    what `launch.proxies` takes a proxy to need (`launch.proxies.workers.need`), against what was taken
    curve     losses of the 0.3M proxy on the card, in fp32 and bfloat16, against a CPU
    sharing   tokens a second of 1, 2, 4 and 8 proxies that share the card
    screen    the order that `launch.screen` says of mixtures of the sample world, against proxies of 15M parameters on the card
    compiled  what torch.compile of the model's body would change at 162M

Without a card it says so and ends with 0. A part for which there is no time left is left out, one that fails is named and the
others go on; what is known so far is in gpu.json of --output-dir, where a test world of six corpora is made first.
MFU is against the peak of the card's data sheet where Haigo knows it, beside the share of a large product measured here.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _gpu_world
import numpy as np
from _gpu_setup import SMALL, WHOLE, Bench, Size
from _measure import load, parser, show

if TYPE_CHECKING:
    pass

PEAKS = {"A100": "a100-40gb", "H100": "h100-80gb", "H200": "h100-80gb"}
"""Part of a card's name -> the shipped cluster whose peak it has."""
GOAL, GOAL_MFU = 1.3, 0.35
_GIB = float(1 << 30)


# --- speed and memory ----------------------------------------------------------------------------------------------------
def speed(bench: Bench) -> dict[str, Any]:
    """Ours and the Trainer's tokens a second of every shape, and what memory ours took."""
    size, out = bench.size, dict[str, Any]()
    peak, product = peak_flops(bench.device), product_flops(bench)
    out["product_tflops"] = round(product / 1e12, 3)
    out["peak_tflops"] = "not known" if peak is None else peak / 1e12
    for name, shape in size.shapes.items():
        config = bench.config(**bench.model(shape))
        with taken(bench) as memory:
            _, ends, result = bench.trained(config, f"speed-{name}", size.warm + size.steps)
        tokens = size.micro * size.length
        ours = tokens / statistics.median(np.diff(ends)[size.warm - 1 :])
        stock = tokens / statistics.median(stock_steps(bench, config)[size.warm :])
        flops = flops_per_token(shape, size) * ours
        out[name] = {
            "parameters": result["size"],
            "tokens_per_s": round(ours),
            "trainer_tokens_per_s": round(stock),
            "ratio": round(ours / stock, 2),
            "mfu": "peak not known" if peak is None else round(flops / peak, 3),
            "mfu_of_product": round(flops / product, 3),
            "memory_gib": round(memory[0] / _GIB, 2),
        }
        bench.results.setdefault("taken", {})[name] = memory[0]
    if bench.small:
        return out
    largest = out[name]
    met = largest["ratio"] >= GOAL and isinstance(largest["mfu"], float) and largest["mfu"] >= GOAL_MFU
    out["goal"] = f"{GOAL} times the Trainer and MFU {GOAL_MFU} at {name}: {'met' if met else 'missed'}"
    return out


def memory(bench: Bench) -> dict[str, Any]:
    """The rule's bytes beside those taken by the runs of `speed`."""
    from launch.proxies import workers

    out: dict[str, Any] = {}
    for name, there in bench.results.get("taken", {}).items():
        rule = workers.need(bench.job(bench.config(**bench.model(bench.size.shapes[name]))))
        out[name] = {
            "rule_gib": round(rule / _GIB, 2),
            "taken_gib": round(there / _GIB, 2),
            "ratio": round(rule / there, 2),
        }
    low = [name for name, each in out.items() if each["ratio"] < 1]
    out["verdict"] = (
        f"the rule is too low for {', '.join(low)}" if low else "the rule is from above, as it is meant to be"
    )
    return out


@contextlib.contextmanager
def taken(bench: Bench) -> Iterator[list[float]]:
    """Bytes of the device that what runs inside takes, its process' context included; of this process' memory on a CPU."""
    found = [0.0]
    if not bench.cuda:
        import resource

        yield found
        found[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
        return
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(bench.device)
    free, whole = torch.cuda.mem_get_info(bench.device)
    context = whole - free - torch.cuda.memory_reserved(bench.device)
    yield found
    found[0] = float(context + torch.cuda.max_memory_reserved(bench.device))


def stock_steps(bench: Bench, config: Mapping[str, Any]) -> list[float]:
    """Seconds of each step of transformers' Trainer on the model and the samples of a config."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from launch.engine import model as models

    job, size = bench.job(config), bench.size
    data = job.source(job.plan).open()
    rows = np.empty((job.plan.train_iters * job.plan.batch, size.length + 1), dtype=np.int64)
    for number, row in enumerate(rows):
        data.fill(number, row)
    ids = torch.from_numpy(rows)
    samples = [{"input_ids": row[:-1], "labels": row[:-1]} for row in ids]
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begin = now(bench)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(now(bench) - self.begin)

    plan = job.plan
    arguments = TrainingArguments(
        output_dir=str(bench.folder / "trainer"), per_device_train_batch_size=plan.micro_batch, max_steps=plan.train_iters,
        learning_rate=plan.lr, adam_beta1=plan.betas[0], adam_beta2=plan.betas[1], weight_decay=plan.weight_decay,
        max_grad_norm=plan.clip, optim="adamw_torch_fused", bf16=bench.cuda, use_cpu=not bench.cuda, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=1,
    )  # fmt: skip
    model = models.build(plan, job.tokenizer.vocab_size, job.tokenizer.eod_id)
    trainer = Trainer(model=model, args=arguments, train_dataset=samples, callbacks=[Clock()])
    with contextlib.redirect_stdout(sys.stderr):  # it prints a summary, also where nothing is logged
        trainer.train()
    del trainer, model
    if bench.cuda:
        torch.cuda.empty_cache()
    return seconds


def flops_per_token(shape: tuple[int, int, int], size: Size) -> float:
    layers, hidden, _ = shape
    return 6.0 * (12 * hidden**2 * layers + hidden * size.rows) + 12.0 * layers * hidden * size.length


def peak_flops(device: str) -> float | None:
    """Of the card's data sheet, in bfloat16; None where Haigo has none."""
    from launch.engine import device as devices
    from neox_configs.hardware import cluster

    name = devices.name(device)
    known = next((cluster(file) for part, file in PEAKS.items() if part in name), None)
    return None if known is None else known.peak_tflops * 1e12


def product_flops(bench: Bench) -> float:
    """Operations a second of a large product in the precision of `speed`."""
    import torch

    rows = bench.size.product
    kind = torch.bfloat16 if bench.cuda else torch.float32
    left = torch.ones(rows, rows, dtype=kind, device=bench.device)
    torch.mm(left, left)
    begin = now(bench)
    for _ in range(8):
        torch.mm(left, left)
    return 8 * 2.0 * rows**3 / (now(bench) - begin)


def now(bench: Bench) -> float:
    """Seconds, when all that was asked of the device is done."""
    if bench.cuda:
        import torch

        torch.cuda.synchronize(bench.device)
    return time.monotonic()


# --- what the numbers are ------------------------------------------------------------------------------------------------
def curve(bench: Bench) -> dict[str, Any]:
    """Losses of the same run on the CPU and on the card."""
    steps, config = bench.size.curve, bench.config("0-1M" if bench.small else "0-3M")
    prefixes = {name: str(prefix) for name, prefix in bench.known.measured("valid").items()}
    own: dict[str, Any] = {"valid": prefixes, "eval_tokens": 512 if bench.small else 8192}
    runs = {"cpu fp32": ("cpu", "fp32"), f"{bench.device} fp32": (bench.device, "fp32")}
    if bench.cuda:
        runs[f"{bench.device} bfloat16"] = (bench.device, "bfloat16")
    seen = {
        name: bench.trained(config, f"curve-{n}", steps, device=device, precision_override=precision, **own)
        for n, (name, (device, precision)) in enumerate(runs.items())
    }
    at = sorted({1, steps // 6 + 1, steps // 2, steps})
    first, out = seen["cpu fp32"], dict[str, Any]()
    for name, (losses, _, result) in seen.items():
        apart = np.abs(np.array(losses) - np.array(first[0]))
        scores = [abs(result["metrics"][metric] - value) for metric, value in first[2]["metrics"].items()]
        out[name] = {
            **{f"loss of step {step}": round(losses[step - 1], 4) for step in at},
            "largest difference of a loss from the CPU": float(f"{apart.max():.2g}"),
            "largest difference of bits per byte": float(f"{max(scores):.2g}"),
        }
    return out


def sharing(bench: Bench) -> dict[str, Any]:
    """Tokens a second of all proxies together, by how many share the card."""
    from launch import proxies
    from launch.proxies import workers
    from launch.proxies.train import load as loaded

    size, name = bench.size, "0-1M" if bench.small else "0-3M"
    base = {**loaded(name), **({"seq_length": 32, "max_position_embeddings": 32} if bench.small else {})}
    share = dict.fromkeys(bench.known.corpora, 1.0 / len(bench.known.corpora))
    out: dict[str, Any] = {}
    for many in size.sharing:
        table = {f"p{n:03d}": share for n in range(many)}
        how: dict[str, Any] = {
            "tokens": size.shared,
            "workers": many,
            "eval_tokens": 256,
            "show": False,
            "checkpoints": False,
        }
        how |= {"precision_override": bench.precision, "seed": 1}
        done = proxies.run(table, bench.known, base, bench.folder / f"sharing-{many}", **how)
        if done.failed:
            raise RuntimeError(f"proxies failed: {done.failed}")
        rates = [each["tokens"] / each["seconds"] for each in done.results.values()]
        out[f"{many} at a time"] = {"tokens_per_s": round(sum(rates)), "each": round(statistics.median(rates))}
    job = bench.job(bench.config(name))
    out["by the rule"] = workers.default(job)[1] or f"{workers.default(job)[0]} workers: a CPU"
    return out


def screen(bench: Bench) -> dict[str, Any]:
    """Rank correlation of n-gram losses with those of proxies on the card, over mixtures."""
    from launch import proxies
    from launch.proxies import workers
    from launch.proxies.screen import screen as screened
    from launch.proxies.table import write_ratios
    from launch.proxies.train import load as loaded
    from mixer.design import propose
    from mixer.proxies import read
    from mixer.report_card import rank_correlation
    from mixer.supply import Constraints

    size, corpora = bench.size, list(bench.known.corpora)
    weights = propose(Constraints(corpora=corpora), size.mixtures, 1, floor=0.01)
    rows = {f"p{n:03d}": dict(zip(corpora, row, strict=True)) for n, row in enumerate(weights.tolist())}
    ratios = bench.folder / "screen-ratios.csv"
    write_ratios(ratios, rows)
    told = screened(ratios, bench.known, bench.folder / "screen", tokens=size.tokens, mixtures=0, eval_tokens=2048)
    short = {"seq_length": 32, "max_position_embeddings": 32} if bench.small else {}
    layers, hidden, heads = size.proxy
    shape = {"num_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, **short}
    batch = {} if bench.small else {"train_micro_batch_size_per_gpu": 32, "train_batch_size": 32}
    base = {**loaded("0-1M" if bench.small else "4M"), **shape, **batch}
    how: dict[str, Any] = {"tokens": size.tokens, "eval_tokens": 2048, "show": False, "checkpoints": False, "seed": 1}
    how |= {"precision_override": bench.precision, "workers": 2 if bench.small else workers.MOST_ON_A_DEVICE // 2}
    done = proxies.run(rows, bench.known, base, bench.folder / "screen-proxies", **how)
    if done.failed:
        raise RuntimeError(f"proxies failed: {done.failed}")
    one, other = read(told.parent / "ratios.csv", told), read(ratios, done.metrics)
    rho = {
        m: rank_correlation(one.losses[:, one.metrics.index(m)], other.losses[:, j])
        for j, m in enumerate(other.metrics)
    }
    both = [(each.losses[:, [each.metrics.index(m) for m in rho]]).mean(axis=1) for each in (one, other)]
    return {
        "parameters": next(iter(done.results.values()))["size"], "tokens": done.tokens, "mixtures": len(rows),
        "spearman": {**{m: round(value, 3) for m, value in rho.items()}, "of their mean": round(rank_correlation(*both), 3)},
    }  # fmt: skip


def compiled(bench: Bench) -> dict[str, Any]:
    """The engine's step at the largest shape with a compiled body."""
    import torch

    from launch.engine import device as devices
    from launch.engine import model as models
    from launch.engine import optimizer as optimizers
    from launch.engine.loss import fused_cross_entropy

    size, name = bench.size, list(bench.size.shapes)[-1]
    plan = (job := bench.job(bench.config(**bench.model(size.shapes[name])))).plan
    model = models.build(plan, job.tokenizer.vocab_size, job.tokenizer.eod_id).to(bench.device)  # type: ignore[arg-type]
    adam = optimizers.build(model, plan)
    body: Callable[..., Any] = torch.compile(model.base_model, backend="eager" if bench.small else "inductor")
    ids = torch.randint(job.tokenizer.vocab_size, (size.micro, size.length + 1), device=bench.device)
    times = []
    for _ in range(size.warm + size.steps):
        with devices.products(bench.device, bench.precision):
            hidden = body(input_ids=ids[:, :-1], use_cache=False).last_hidden_state.flatten(0, 1)
        hidden = hidden.to(torch.bfloat16) if bench.cuda else hidden
        fused_cross_entropy(hidden, model.lm_head.weight, ids[:, 1:].reshape(-1)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip or 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        times.append(now(bench))
    rate = size.micro * size.length / statistics.median(np.diff(times)[size.warm - 1 :])
    return {"shape": name, "tokens_per_s": round(rate)}


PARTS: dict[str, tuple[Callable[[Bench], dict[str, Any]], float]] = {
    "speed": (speed, 60), "memory": (memory, 5), "curve": (curve, 45), "sharing": (sharing, 90), "screen": (screen, 100),
    "compiled": (compiled, 60),
}  # fmt: skip
"""Name -> the part, and seconds that must be left for it to begin."""


def main(argv: list[str] | None = None) -> int:
    words = parser(__doc__)
    words.add_argument("--output-dir", type=Path, default=Path(".cache/gpu"))
    words.add_argument("--device", default="auto", help="cuda:N; cpu to try the parts without a card (default: auto)")
    words.add_argument("--small", action="store_true", help="tiny models: whether the parts run, not how fast")
    words.add_argument("--minutes", type=float, default=8.0)
    words.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    words.add_argument("--json", action="store_true")
    args = words.parse_args(argv)
    begin = time.monotonic()
    from haigo import files
    from launch.engine import device as devices

    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # proxies choose their device themselves
    device = devices.resolve(args.device)
    if device == "cpu" and args.device == "auto":
        print("skipped: this process sees no CUDA device (--device cpu --small tries the parts without one)")
        return 0
    size = SMALL if args.small else WHOLE
    known = _gpu_world.made(args.output_dir / f"world-{size.world:g}", size.world, size.pieces)
    bench = Bench(device, args.small, size, known, args.output_dir)
    report: dict[str, Any] = {"device": devices.name(device), "load": load()}
    for name in args.only:
        part, need = PARTS[name]
        left = args.minutes * 60 - (time.monotonic() - begin)
        if left < need and not args.small:
            report[name] = {"left out": f"{left:.0f} s are left, and it takes {need:.0f}"}
        else:
            at = time.monotonic()
            try:
                report[name] = part(bench)
            except Exception as error:  # the others may still say something
                traceback.print_exc(file=sys.stderr)
                report[name] = {"failed": f"{type(error).__name__}: {error}"}
            report[name]["seconds"] = round(time.monotonic() - at, 1)
        if not args.json:
            show({name: report[name]}, False)
            sys.stdout.flush()
        files.write_json(args.output_dir / "gpu.json", report)
    if args.json:
        show(report, True)
    return 1 if any("failed" in each for each in report.values() if isinstance(each, dict)) else 0


if __name__ == "__main__":
    raise SystemExit(main())
