"""Lets GPT-NeoX train on a machine without a GPU: for small models, to see with one's own eyes what it does.

Python reads a file of this name at its start when the folder stands on PYTHONPATH; nothing happens unless NEOX_ON_CPU is set,
to the number of ranks on this machine (1, or 2 for two processes). GPT-NeoX asks torch.cuda for much that has an answer on a
CPU: which device, how much memory, a timer. Its optimizer, apex' FusedAdam, is torch's AdamW by another name. No file
of GPT-NeoX or DeepSpeed is changed. Set DS_ACCELERATOR=cpu too, and say fp32 and gloo in the config (`--cluster local-cpu`).
"""

import importlib
import importlib.util
import os
import sys
import time
import types
from typing import Any


class Event:
    """A point in time, as torch.cuda.Event; elapsed times are milliseconds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.seconds = 0.0

    def record(self, *args: Any) -> None:
        self.seconds = time.perf_counter()

    def elapsed_time(self, end: "Event") -> float:
        return 1000 * (end.seconds - self.seconds)

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


def answer_for(torch: Any, ranks: int) -> None:
    """Let torch.cuda speak of the CPU."""
    cuda, cpu = torch.cuda, torch.device("cpu")
    answers: dict[str, Any] = {
        "is_available": True, "device_count": ranks, "current_device": cpu, "get_device_name": "cpu",
        "get_device_capability": (8, 0),
    }  # fmt: skip
    for name in ("init", "set_device", "synchronize", "empty_cache", "ipc_collect", "manual_seed", "manual_seed_all",
                 "reset_peak_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached"):  # fmt: skip
        answers[name] = None
    for kind in ("allocated", "reserved", "cached"):
        answers |= {f"memory_{kind}": 0, f"max_memory_{kind}": 0}
    for name, answer in answers.items():
        setattr(cuda, name, lambda *args, _answer=answer, **options: _answer)
    cuda.get_rng_state = lambda *args, **options: torch.get_rng_state()
    cuda.set_rng_state = lambda state, *args, **options: torch.set_rng_state(state)
    cuda.nvtx = types.SimpleNamespace(range_push=lambda *args: 0, range_pop=lambda *args: 0, mark=lambda *args: None)
    cuda.Event = Event
    for kind in ("Half", "BFloat16", "Float", "Double", "Byte", "Int", "Long", "Bool"):
        setattr(cuda, f"{kind}Tensor", getattr(torch, f"{kind}Tensor"))
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *args, **options: self


def stand_in_for_apex(torch: Any) -> None:
    """`from apex.optimizers import FusedAdam`, which needs no compiler here."""

    class FusedAdam(torch.optim.AdamW):
        def __init__(self, params: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), **rest: Any) -> None:
            known = {name: rest[name] for name in ("eps", "weight_decay") if name in rest}
            super().__init__(params, lr=lr, betas=tuple(betas), **{"weight_decay": 0.0, **known})

    apex: Any = types.ModuleType("apex")
    apex.optimizers = optimizers = types.ModuleType("apex.optimizers")
    optimizers.FusedAdam = FusedAdam  # type: ignore[attr-defined]
    for module in (apex, optimizers):
        module.__spec__ = importlib.util.spec_from_loader(module.__name__, loader=None)
        sys.modules[module.__name__] = module


def begin(ranks: int) -> None:
    """In GPT-NeoX's environment alone: Haigo's own, whose commands are started with the same variables, has no DeepSpeed."""
    if importlib.util.find_spec("deepspeed") is None:
        return
    import torch

    answer_for(torch, ranks)
    stand_in_for_apex(torch)
    # gloo is enough; what this builds is compiled at the first start. (The attribute `deepspeed.comm.torch` is torch itself.)
    backend: Any = importlib.import_module("deepspeed.comm.torch")
    backend.build_shm_op = lambda: None


if os.environ.get("NEOX_ON_CPU"):
    begin(int(os.environ["NEOX_ON_CPU"]))
