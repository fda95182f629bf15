"""Which number format to train in here: what the config says, unless this machine would crawl with it."""

from __future__ import annotations

import functools
import time

from haigo.cli import HaigoError, Refused
from launch.engine.settings import Settings

SLOWER_THAN_FP32 = 1.2  # a half-precision format that is not at least this close to fp32 is no use
_SIZE, _REPEATS = 192, 3


@functools.cache
def slowdown(name: str) -> float:
    """How many times slower a small matrix product is in `name` (fp16, bfloat16) than in fp32 on this machine.

    Measured, not looked up: frameworks call a format supported that runs hundreds of times slower.
    """
    import torch

    def best(dtype: torch.dtype) -> float:
        left = torch.ones(_SIZE, _SIZE, dtype=dtype)
        torch.mm(left, left)
        times = []
        for _ in range(_REPEATS):
            start = time.process_time()
            torch.mm(left, left)
            times.append(time.process_time() - start)
        return min(times)

    half = best({"fp16": torch.float16, "bfloat16": torch.bfloat16}[name])
    single = best(torch.float32)
    return half / max(single, 1e-9)


def check(settings: Settings, override: str | None, device: str = "cpu") -> str:
    """The precision to compute in: fp32, or bfloat16 on CUDA. What this engine does not train in is refused.

    Args:
        override: "fp32" or None (the config decides).
        device: as `launch.engine.device.resolve` gives it.

    Raises:
        Refused: the config asks for fp16 or bfloat16 and nothing overrides it.
        HaigoError: the override is not fp32.
    """
    if device != "cpu":
        if override not in (None, "fp32", "bfloat16"):
            raise HaigoError(f"--precision {override}: on CUDA it is fp32 or bfloat16.", "use one of them")
        if (override or settings.precision) == "fp16":
            raise Refused("fp16 needs loss scaling, which the embedded engine does not do.", "use --precision bfloat16")
        return override or settings.precision
    if override not in (None, "fp32"):
        raise HaigoError(
            f"--precision {override}: the embedded engine trains in fp32 on a CPU.", "use --precision fp32"
        )
    if override is None and settings.precision != "fp32":
        times = slowdown(settings.precision)
        why = (
            f"{times:,.0f} times slower than fp32 here (measured)"
            if times > SLOWER_THAN_FP32
            else "not what the embedded engine trains in on a CPU"
        )
        raise Refused(f"the config's precision {settings.precision} is {why}.", "add --precision fp32")
    return "fp32"
