"""The embedded engine against the stock way of training the same model: tokens a CPU second, in one interleaved run.

    OMP_NUM_THREADS=1 python benchmarks/engine_speed.py [--size 0-3M] [--vocab 8192] [--steps 4] [--json]

Stock: transformers' GPTNeoXForCausalLM called with labels (its own loss over full logits), torch's AdamW with default
options. Ours: the same weights and batches through `launch.local`'s loss and optimizer. Both in fp32 on one thread, in one
process that keeps freed memory as the engine's does; steps alternate, and the largest difference of their losses is printed.
Ratios are medians over the rounds, each of its own round, so that a machine that others use is as busy for one as for the
other; their quartiles say how busy it was.
MFU is against a large fp32 product of the same round: `of torch.mm` as torch computes it by itself, `of the faster library`
by the faster of the two that come with torch (`haigo.matmul`), which can be twice as fast on an AMD processor.
FLOPs a token are 6 (12 d^2 L + d V) + 12 L d S. `split` is where our steps' time goes, from one profiled step.
With --memory our steps alone, in turn in two processes: one that keeps freed memory and one that leaves it to the C library.
"""

from __future__ import annotations

import argparse
import copy
import functools
import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from _measure import ROOT, parser, seconds, show

if TYPE_CHECKING:
    import torch

_KINDS = {
    "products of matrices": {"mkldnn::_linear_pointwise", "aten::mm", "aten::addmm"},
    "attention's products": {"aten::bmm"},
    "softmax": {"aten::_softmax", "aten::_softmax_backward_data", "aten::softmax"},
    "optimizer": {"aten::_fused_adamw_"},
    "gelu and layer norm": {
        *("aten::gelu", "aten::gelu_backward", "aten::native_layer_norm", "aten::native_layer_norm_backward"),
    },
}


def arguments() -> argparse.Namespace:
    """The command's words."""
    words = parser(__doc__)
    words.add_argument("--size", default="0-3M", help="a config in neox_configs/proxies")
    words.add_argument("--vocab", type=int, default=8192)
    words.add_argument("--seq", type=int, help="instead of the config's seq_length")
    words.add_argument("--batch", type=int, help="instead of the config's")
    words.add_argument("--steps", type=int, default=8)
    words.add_argument("--memory", action="store_true", help="what keeping freed memory gains, instead")
    words.add_argument("--json", action="store_true")
    return words.parse_args()


def ours_of(args: argparse.Namespace) -> tuple[Any, Any, torch.Tensor, Callable[[torch.Tensor], float]]:
    """The run's settings, our model, token ids [steps + 1, batch, length + 1], and a step of ours that gives its loss."""
    import torch

    from launch.engine import model as models
    from launch.engine import optimizer as optimizers
    from launch.engine import settings
    from launch.engine.loss import fused_cross_entropy
    from neox_configs import reader

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = reader.load(ROOT / "neox_configs" / "proxies" / f"{args.size}.yml")
    config["train_iters"] = args.steps + 1
    if args.seq:
        config |= {"seq_length": args.seq, "max_position_embeddings": args.seq}
    if args.batch:
        config |= {"train_micro_batch_size_per_gpu": args.batch, "train_batch_size": args.batch}
    plan = settings.resolve(config)
    ours = models.build(plan, args.vocab, 1)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(args.vocab, (args.steps + 1, plan.micro_batch, plan.seq_length + 1), generator=generator)
    adam = optimizers.build(ours, plan)

    def our_step(batch: torch.Tensor) -> float:
        loss = fused_cross_entropy(models.body(ours, batch[:, :-1]), ours.lm_head.weight, batch[:, 1:].reshape(-1))
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss.item()

    return plan, ours, ids, our_step


def main() -> int:
    args = arguments()
    if args.memory:
        show(kept_memory(args), args.json)
        return 0
    import torch

    from haigo import memory
    from launch.engine import optimizer as optimizers

    memory.keep_freed()
    plan, ours, ids, our_step = ours_of(args)
    stock = copy.deepcopy(ours)
    plain = torch.optim.AdamW(optimizers.groups(stock, plan.weight_decay), lr=plan.lr, betas=plan.betas, eps=plan.eps)

    def stock_step(batch: torch.Tensor) -> float:
        labels = batch[:, 1:].contiguous()
        loss = stock(input_ids=batch[:, :-1], labels=labels, shift_labels=labels, use_cache=False).loss
        loss.backward()
        plain.step()
        plain.zero_grad(set_to_none=True)
        return float(loss.item())

    times: dict[str, list[float]] = {"ours": [], "stock": []}
    losses: dict[str, list[float]] = {"ours": [], "stock": []}
    steps: dict[str, Callable[[torch.Tensor], float]] = {"ours": our_step, "stock": stock_step}
    ceilings: list[dict[str, float]] = []
    for number in range(args.steps + 1):
        for name, step in steps.items():
            begin = time.process_time()
            losses[name].append(step(ids[number]))
            times[name].append(time.process_time() - begin)
        ceilings.append(matmul_flops())
    best = {name: min(spent[1:]) for name, spent in times.items()}
    tokens = plan.micro_batch * plan.seq_length
    rate = {name: tokens / spent for name, spent in best.items()}
    rounds = list(zip(times["ours"], times["stock"], ceilings, strict=True))[1:]
    d, layers, padded = plan.hidden_size, plan.num_layers, ours.lm_head.weight.shape[0]
    flops = 6 * (12 * d * d * layers + d * padded) + 12 * layers * d * plan.seq_length
    result = {
        "size": args.size,
        "vocab": args.vocab,
        "batch_tokens": tokens,
        "ours_tokens_per_cpu_s": round(rate["ours"]),
        "stock_tokens_per_cpu_s": round(rate["stock"]),
        "ratio": quartiles([stock_s / ours_s for ours_s, stock_s, _ in rounds]),
        "mfu": {
            name: quartiles([tokens / ours_s * flops / ceiling[name] for ours_s, _, ceiling in rounds])
            for name in ceilings[0]
        },
        "largest_loss_difference": max(abs(a - b) for a, b in zip(losses["ours"], losses["stock"], strict=True)),
    }
    result["split"] = split(lambda: our_step(ids[-1]))
    show(result, args.json)
    return 0


def kept_memory(args: argparse.Namespace) -> dict[str, object]:
    """CPU time of our steps with freed memory kept, of that without; both processes take a step in turn."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for kept in (True, False):
        pipes[kept], theirs = context.Pipe()
        context.Process(target=_steps, args=(theirs, args, kept), daemon=True).start()
    times: dict[bool, list[float]] = {kept: [] for kept in pipes}
    losses: dict[bool, list[float]] = {kept: [] for kept in pipes}
    for number in range(args.steps + 1):
        for kept, pipe in pipes.items():
            pipe.send(number)
            took, loss = pipe.recv()
            times[kept].append(took)
            losses[kept].append(loss)
    return {
        "size": args.size,
        "vocab": args.vocab,
        "time with memory kept, of that without": quartiles(
            [new / old for new, old in list(zip(times[True], times[False], strict=True))[1:]]
        ),
        "equal losses": losses[True] == losses[False],
    }


def _steps(pipe: Any, args: argparse.Namespace, kept: bool) -> None:
    """A process that takes the steps it is told to."""
    from haigo import memory

    if kept:
        memory.keep_freed()
    _, _, ids, step = ours_of(args)
    while True:
        number = pipe.recv()
        pipe.send(seconds(functools.partial(step, ids[number])))


def quartiles(values: Sequence[float]) -> str:
    """`0.78 (0.77 to 0.80)`: the median, and the quartiles around it."""
    low, middle, high = (sorted(values)[min(len(values) - 1, round(q * (len(values) - 1)))] for q in (0.25, 0.5, 0.75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def split(step: Callable[[], object]) -> dict[str, str]:
    """The share of a step's processor time of each kind of operation."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        step()
    spent = dict.fromkeys([*_KINDS, "the rest"], 0.0)
    for event in profiled.key_averages():
        kind = next((name for name, known in _KINDS.items() if event.key in known), "the rest")
        spent[kind] += event.self_cpu_time_total
    return {name: f"{value / sum(spent.values()):.3f}" for name, value in spent.items()}


def matmul_flops() -> dict[str, float]:
    """Floating-point operations a CPU second of a large fp32 product, one thread: torch's own, and the faster library's."""
    import torch

    from haigo.matmul import product

    left, right = torch.ones(4096, 128), torch.ones(128, 512)
    best = {}
    for multiply in (torch.mm, product):
        multiply(left, right)
        best[multiply] = min(seconds(functools.partial(multiply, left, right))[0] for _ in range(6))
    work = 2 * 4096 * 128 * 512
    return {"of torch.mm": work / best[torch.mm], "of the faster library": work / min(best.values())}


if __name__ == "__main__":
    raise SystemExit(main())
