"""Run by GPT-NeoX's own interpreter, not by pytest: deepy.py itself with the starting of processes taken out.

Reads `[{"argv", "environ", "devices", "launcher_dir"}, ...]` on stdin; one JSON line starting with `PROBE ` at the end with the
list that deepy.py hands to DeepSpeed's launcher and the command that the launcher would start.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

jobs = json.load(sys.stdin)
overlay = os.environ.get("PROBE_LAUNCHER")
if overlay:  # DeeperSpeed's launcher in place of DeepSpeed's
    import deepspeed.launcher

    for name in [name for name in sys.modules if name.startswith("deepspeed.launcher.")]:
        del sys.modules[name]
    deepspeed.launcher.__path__[:] = [overlay]

import deepspeed.launcher.runner as runner  # noqa: E402
import torch  # noqa: E402

if overlay:
    assert str(Path(runner.__file__).parent) == overlay
import deepy  # noqa: E402


class Cuda:
    """What DeepSpeed's CUDA accelerator answers to the launcher."""

    devices = 0

    def export_envs(self):
        return ["NCCL"]

    def visible_devices_envs(self):
        return ["CUDA_VISIBLE_DEVICES"]

    def device_count(self):
        return self.devices


class Started(Exception):
    pass


def popen(cmd, env=None):
    told["executes"] = cmd
    raise Started


original, which = runner.main, shutil.which
runner.get_accelerator = lambda: Cuda()
runner.subprocess = SimpleNamespace(  # its own name only: others go on starting processes
    Popen=popen,
    check_call=lambda *words, **more: 0,
    CalledProcessError=subprocess.CalledProcessError,
    DEVNULL=subprocess.DEVNULL,
)
shutil.which = lambda name, *rest, **more: which(name, *rest, **more) or f"/fake/{name}"


def main(words):
    told["runner"] = words
    original(words)


runner.main = main
torch.cuda.device_count = lambda: Cuda.devices
answers = []
start = dict(os.environ)
for job in jobs:
    told = {}
    os.environ.clear()
    os.environ.update(job["environ"])
    Cuda.devices = job["devices"]
    try:
        deepy.main(job["argv"])
    except Started:
        pass
    except BaseException as error:
        told["error"] = f"{type(error).__name__}: {error}"
    runner.EXPORT_ENVS[:] = [name for name in runner.EXPORT_ENVS if name != "WANDB_API_KEY"]
    answers.append(told)
sys.stdout.flush()
print("\nPROBE " + json.dumps({"answers": answers, "python": sys.executable, "cwd": os.getcwd()}))
