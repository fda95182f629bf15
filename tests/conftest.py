"""Fixtures that several folders share: the real GPT-NeoX where it is at hand, and data that is not the project's.

GPT_NEOX_DIR and GPT_NEOX_PYTHON name a checkout and its interpreter. Where there is no GPU, HAIGO_NEOX_CPU names a
folder whose `sitecustomize.py` answers torch.cuda's calls when FAKE_CUDA is 1; it is also looked for in HAIGO_SHARED.

Hypothesis draws the same examples at every run, so that a run can be repeated elsewhere;
`pytest --hypothesis-profile random` looks for new ones.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from shared_data import shared

ROOT = Path(__file__).resolve().parent.parent

SLOW = [hypothesis.HealthCheck.too_slow]  # the machine may be busy with something else
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, suppress_health_check=SLOW)
hypothesis.settings.register_profile("random", derandomize=False, suppress_health_check=SLOW)
hypothesis.settings.load_profile("repeatable")


@dataclass(frozen=True)
class NeoX:
    """A GPT-NeoX checkout, its environment's interpreter, and the environment variables it runs with."""

    root: Path
    python: Path
    environment: dict[str, str]


MAY_BE_ABSENT = re.compile(
    r"GPT_NEOX_DIR|GPT-NeoX|MEGATRON_LM_DIR|DEEPERSPEED_DIR|JP_STABLE|HAIGO_SHARED|HAIGO_CORPORA|NVIDIA|CUDA"
    r"|/dev/full"
)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Under CI a package or server that cannot be had is an error: a test that is skipped everywhere proves nothing."""
    report = (yield).get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") and call.excinfo is not None:
        why = str(call.excinfo.value)
        if not MAY_BE_ABSENT.search(why):
            report.outcome, report.longrepr = "failed", f"skipped under CI: {why}"


@pytest.fixture(scope="session")
def neox() -> NeoX:
    """The real GPT-NeoX; skips where it is not at hand."""
    checkout, python = os.environ.get("GPT_NEOX_DIR"), os.environ.get("GPT_NEOX_PYTHON")
    if not checkout or not python:
        pytest.skip("GPT_NEOX_DIR and GPT_NEOX_PYTHON are not set")
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}
    shim = Path(os.environ.get("HAIGO_NEOX_CPU") or shared() / "neox_cpu")
    if (shim / "sitecustomize.py").is_file():
        environment |= {"FAKE_CUDA": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(shim.resolve())}
    elif not Path("/dev/nvidiactl").exists():
        pytest.skip("no GPU here, and no CPU shim for GPT-NeoX (HAIGO_NEOX_CPU)")
    return NeoX(Path(checkout), Path(python), environment)


@pytest.fixture(scope="session")
def private_slurm() -> Iterator[Any]:
    """A real Slurm of this machine's own (tests/launch/private_slurm.py), where its programs are here."""
    spec = importlib.util.spec_from_file_location("shared_private_slurm", ROOT / "tests/launch/private_slurm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if absent := module.missing():
        pytest.skip(f"not here: {', '.join(absent)}")
    with module.running() as made:
        yield made
