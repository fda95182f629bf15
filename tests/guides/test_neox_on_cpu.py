"""The shim that lets GPT-NeoX run without a GPU: what it answers in GPT-NeoX's environment, and that it leaves ours alone.

A whole run with it, and the conversion that has the logged loss, is what docs/guide-neox-cpu.md walks through.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHIM = Path(__file__).parent.parent.parent / "examples" / "neox_cpu"
ASKED = """
import torch
assert torch.cuda.is_available() and torch.cuda.device_count() == 2 and torch.cuda.memory_allocated(0) == 0
start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
start.record(), end.record()
assert 0 <= start.elapsed_time(end) < 1000
weight = torch.nn.Parameter(torch.ones(3).cuda())
from apex.optimizers import FusedAdam
optimizer = FusedAdam([weight], lr=0.1, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.0, adam_w_mode=True)
weight.sum().backward()
optimizer.step()
assert abs(float(weight[0].detach()) - 0.9) < 1e-4
import sys
assert sys.modules["deepspeed.comm.torch"].build_shm_op() is None
print("answered")
"""


def run(python, code, **more):
    environment = {**os.environ, "PYTHONPATH": str(SHIM), "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", **more}
    return subprocess.run([str(python), "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.neox
def test_it_answers_for_the_gpu(neox):
    done = run(neox.python, ASKED, NEOX_ON_CPU="2")
    assert done.returncode == 0 and "answered" in done.stdout, done.stderr


@pytest.mark.parametrize("more", [{}, {"NEOX_ON_CPU": "1"}])
def test_haigos_own_environment_is_left_alone(more):
    done = run(sys.executable, "import sys; assert 'torch' not in sys.modules and 'apex' not in sys.modules", **more)
    assert done.returncode == 0, done.stderr
