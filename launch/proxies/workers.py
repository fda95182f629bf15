"""How many proxies are trained side by side when nobody says: the cores, or what the memory or the CUDA devices hold.

A CPU worker is one thread, so there are as many as cores, fewer where the memory that can be had, a fifth of it left alone,
does not hold them. On CUDA worker n computes on device n modulo their number
(`launch.engine.device`). Small proxies leave a card idle between their short kernels, so several share one, as many
as fit: what is free on the fullest card, a fifth of it left alone, divided by what a proxy takes (`need`), at most 8. Each
keeps a core busy with starting kernels, so there are never more workers than cores.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from haigo import memory, pool
from launch.engine import device as devices
from launch.neox import gpus

if TYPE_CHECKING:
    from launch.engine.job import Job

MOST_ON_A_DEVICE = 8
"""More processes take turns on a card without filling it better."""
_USED = 0.8
_PROCESS = 1 << 30  # CUDA's context, the libraries' workspaces and what torch's allocator keeps in reserve
_CPU_PROCESS = 1 << 26  # its own objects and the allocator's reserve; what is imported is the fork server's
_STATE = 4 * 4 + 2  # bytes a weight: weight, gradient and two moments in float32, and a copy for bfloat16 products
_LOGIT = 4 + 2 + 4  # bytes a logit of the loss: in float32, in bfloat16, and its exponential
_MIB = 1 << 20


def default(job: Job) -> tuple[int, str]:
    """(workers, a remark for the user; empty where a CPU's cores are all used) for proxies like `job`."""
    cores = pool.cores()
    needed = need(job)
    if devices.kind(job.device) == "cpu":
        there = memory.available()
        workers = max(1, min(cores, int(there * _USED / needed)))
        return workers, "" if workers == cores else (
            f"{workers} proxies at a time: {there / _MIB:,.0f} MiB of memory can be had, about {needed / _MIB:,.0f} each "
            "(--workers gives another number)"
        )
    cards, free = devices.cuda_devices(), gpus.free_bytes(os.environ)
    each = 1
    if len(free) == cards:
        each = max(1, min(MOST_ON_A_DEVICE, int(min(free) * _USED / needed)))
    workers = max(1, min(cores, cards * each))
    return workers, (
        f"{workers} proxies at a time: CUDA devices {cards}, cores {cores}, about {needed / _MIB:,.0f} MiB of a device each "
        "(--workers gives another number)"
    )


def need(job: Job) -> int:
    """Bytes of the device's memory (on a CPU of the machine's) that one proxy takes, from above: what its process needs,
    weights and moments, what the backward pass keeps, and the loss' logits."""
    from launch.engine.loss import CUDA_CHUNK

    plan = job.plan
    hidden, inner, rows = plan.hidden_size, plan.intermediate_size, plan.padded(job.tokenizer.vocab_size)
    tokens = plan.micro_batch * plan.seq_length
    # a layer keeps, a token: two norms' inputs and outputs, query, key and value before and after their rotation, the
    # attention's and both blocks' outputs, and the MLP's hidden state before and after its activation
    entries, each = 14 * hidden + 2 * inner, 4
    if job.precision == "bfloat16":  # all but the norms' inputs, which stay in float32, and half of the rotation
        entries, each = 16 * hidden + 2 * inner, 2
    kept = tokens * plan.num_layers * entries * each
    logits = min(tokens, CUDA_CHUNK) * rows * _LOGIT + rows * hidden * 4
    process = _CPU_PROCESS if devices.kind(job.device) == "cpu" else _PROCESS
    return process + plan.weights(rows) * _STATE + kept + logits
