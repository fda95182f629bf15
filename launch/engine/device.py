"""Where a run is computed: the CPU, or one CUDA device with bfloat16 products where the config asks for them.

On CUDA weights, moments and losses stay in float32, and matrix products run in bfloat16 under autocast: GPT-NeoX's bfloat16
with fp32 gradients. A config in fp32 is computed in fp32 (no TF32), so that it can be compared with a CPU run. Proxies of a
pool share the devices: worker number n takes device n modulo their number, so that several small ones run on one card.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from haigo.cli import HaigoError, Refused
from haigo.jobs import WORKER

if TYPE_CHECKING:
    import torch

    from launch.engine.settings import Settings

_DRIVER = Path("/dev/nvidiactl")


def resolve(word: str) -> str:
    """`cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`. torch is not imported where there is no NVIDIA driver.

    Raises:
        HaigoError: another word, or a CUDA device that is not there.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", word):
        raise HaigoError(f"--device {word} is no device.", "use auto, cpu, cuda or cuda:1")
    if word == "cpu" or (word == "auto" and not _DRIVER.exists()):
        return "cpu"
    count = cuda_devices()
    if word == "auto" and not count:
        return "cpu"
    number = int(word[5:]) if ":" in word else int(os.environ.get(WORKER, "0")) % max(1, count)
    if number >= count:
        raise HaigoError(
            f"--device {word}: this process sees {count} CUDA devices.",
            "see nvidia-smi, CUDA_VISIBLE_DEVICES and whether torch was installed with CUDA",
        )
    return f"cuda:{number}"


def cuda_devices() -> int:
    """How many CUDA devices this process sees. torch is not imported where there is no NVIDIA driver."""
    if not _DRIVER.exists():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def kind(device: str) -> str:
    """`cpu` or `cuda`: what decides a run's bytes (which card it was does not, as far as the cards are alike)."""
    return device.partition(":")[0]


def name(device: str) -> str:
    """What to call the device in a result."""
    if kind(device) == "cpu":
        return "cpu"
    import torch

    return str(torch.cuda.get_device_name(device))


def computed_in(settings: Settings, override: str | None, device: str = "cpu") -> str:
    """The precision to compute a run in: fp32, or bfloat16 on CUDA. What this engine does not train in is refused.

    Args:
        override: fp32, on CUDA also bfloat16; None: the config decides.
        device: as `resolve` gives it.

    Raises:
        Refused: the config asks for a precision that is not trained in here, and nothing overrides it.
        HaigoError: the override is none.
    """
    if device == "cpu":
        if override not in (None, "fp32"):
            raise HaigoError(
                f"--precision {override}: the embedded engine trains in fp32 on a CPU.", "use --precision fp32"
            )
        if override is None and settings.precision != "fp32":
            raise Refused(
                f"the config's precision is {settings.precision}, and the embedded engine trains in fp32 on a CPU.",
                "add --precision fp32",
            )
        return "fp32"
    if override not in (None, "fp32", "bfloat16"):
        raise HaigoError(f"--precision {override}: on CUDA it is fp32 or bfloat16.", "use one of them")
    if (override or settings.precision) == "fp16":
        raise Refused("fp16 needs loss scaling, which the embedded engine does not do.", "use --precision bfloat16")
    return override or settings.precision


def products(device: str, precision: str) -> contextlib.AbstractContextManager[None]:
    """The context that forward passes run in: bfloat16 products where the run's precision says so, else nothing."""
    if precision != "bfloat16":
        return contextlib.nullcontext()
    import torch

    context: contextlib.AbstractContextManager[None] = torch.autocast(kind(device), dtype=torch.bfloat16)
    return context


def moved(array: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on the device, copied while the host goes on."""
    if device == "cpu":
        return array
    return array.pin_memory().to(device, non_blocking=True)
