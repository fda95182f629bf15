"""The embedded engine against the stock way of training the same model: tokens a CPU second, in one interleaved run.

    OMP_NUM_THREADS=1 python benchmarks/engine_speed.py [--size 0-3M] [--vocab 8192] [--steps 4] [--json]

Stock: transformers' GPTNeoXForCausalLM called with labels (its own loss over full logits), torch's AdamW with default
options. Ours: the same weights and batches through `launch.local`'s loss and optimizer. Both in fp32 on one thread; steps
alternate, the best step of each counts, and the losses of both are printed: they must agree.
MFU is against the fp32 matrix product measured in the same run; FLOPs a token are 6 (12 d^2 L + d V) + 12 L d S.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from _measure import ROOT, parser, show


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--size", default="0-3M", help="a config in neox_configs/proxies")
    words.add_argument("--vocab", type=int, default=8192)
    words.add_argument("--seq", type=int, help="instead of the config's seq_length")
    words.add_argument("--batch", type=int, help="instead of the config's")
    words.add_argument("--steps", type=int, default=4)
    words.add_argument("--json", action="store_true")
    args = words.parse_args()

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
    stock = copy.deepcopy(ours)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(args.vocab, (args.steps + 1, plan.micro_batch, plan.seq_length + 1), generator=generator)
    adam = optimizers.build(ours, plan)
    plain = torch.optim.AdamW(optimizers.groups(stock, plan.weight_decay), lr=plan.lr, betas=plan.betas, eps=plan.eps)

    def our_step(batch: torch.Tensor) -> float:
        loss = fused_cross_entropy(models.body(ours, batch[:, :-1]), ours.lm_head.weight, batch[:, 1:].reshape(-1))
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss.item()

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
    for number in range(args.steps + 1):
        for name, step in steps.items():
            begin = time.process_time()
            losses[name].append(step(ids[number]))
            times[name].append(time.process_time() - begin)
    best = {name: min(spent[1:]) for name, spent in times.items()}
    tokens = plan.micro_batch * plan.seq_length
    rate = {name: tokens / spent for name, spent in best.items()}
    d, layers, padded = plan.hidden_size, plan.num_layers, ours.lm_head.weight.shape[0]
    flops = 6 * (12 * d * d * layers + d * padded) + 12 * layers * d * plan.seq_length
    result = {
        "size": args.size,
        "vocab": args.vocab,
        "batch_tokens": tokens,
        "ours_tokens_per_cpu_s": round(rate["ours"]),
        "stock_tokens_per_cpu_s": round(rate["stock"]),
        "ratio": round(rate["ours"] / rate["stock"], 2),
        "mfu": round(rate["ours"] * flops / matmul_flops(), 2),
        "largest_loss_difference": max(abs(a - b) for a, b in zip(losses["ours"], losses["stock"], strict=True)),
    }
    show(result, args.json)
    return 0


def matmul_flops() -> float:
    """Floating-point operations a CPU second of a large fp32 product, one thread."""
    import torch

    left, right = torch.ones(4096, 128), torch.ones(128, 512)
    torch.mm(left, right)
    times = []
    for _ in range(8):
        begin = time.process_time()
        torch.mm(left, right)
        times.append(time.process_time() - begin)
    return 2 * 4096 * 128 * 512 / min(times)


if __name__ == "__main__":
    raise SystemExit(main())
