"""Fixtures that several folders share: the real GPT-NeoX where it is at hand, and data that is not the project's.

GPT_NEOX_DIR and GPT_NEOX_PYTHON name a checkout and its interpreter. Where there is no GPU, HAIGO_NEOX_CPU names a
folder whose `sitecustomize.py` answers torch.cuda's calls when FAKE_CUDA is 1; it is also looked for in HAIGO_SHARED.

Hypothesis draws the same examples at every run, so that a run can be repeated elsewhere;
`pytest --hypothesis-profile random` looks for new ones.
"""

import csv
import functools
import itertools
import locale
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import private_slurm
import pytest
from shared_data import shared

SLOW = [hypothesis.HealthCheck.too_slow]  # the machine may be busy with something else
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, suppress_health_check=SLOW)
hypothesis.settings.register_profile("random", derandomize=False, suppress_health_check=SLOW)
hypothesis.settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started with `&`: what tests start would be deaf to Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class NeoX:
    """A GPT-NeoX checkout, its environment's interpreter, and the environment variables it runs with."""

    root: Path
    python: Path
    environment: dict[str, str]


MAY_BE_ABSENT = re.compile(
    r"GPT_NEOX_DIR|GPT_NEOX_GIT|GPT-NeoX|MEGATRON_LM_DIR|DEEPERSPEED_DIR|JP_STABLE|LLM_JP_EVAL_DIR|HAIGO_SHARED|HAIGO_CORPORA|NVIDIA|CUDA|RAY_PYTHON"
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`-n 2`: a file's tests stay in one process, which makes its fixtures once; so do all that start a real Slurm.

    Two clusters on one machine would number their jobs alike, and a job's port is made of its number.
    """
    from xdist.scheduler.loadfile import LoadFileScheduling

    on_slurm = functools.cache(
        lambda file: re.search(r"(?m)^def \w+\([^)]*\bslurm\b", (config.rootpath / file).read_text())
    )

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "on a real Slurm" if on_slurm(file) else file

    return Files(config, log)


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
def slurm() -> Iterator[private_slurm.Slurm]:
    """A real Slurm of four virtual nodes; skips where its programs are not here, unless REQUIRE_SLURM is 1."""
    absent = private_slurm.missing()
    if absent:
        reason = f"not here: {', '.join(absent)} (Debian: slurmctld slurmd slurm-client munge)"
        assert os.environ.get("REQUIRE_SLURM") != "1", reason
        pytest.skip(reason)
    with private_slurm.running() as cluster:
        yield cluster


def _settings() -> dict[str, object]:
    """What the tests of one process share: one that leaves it changed breaks another, and only in some orders."""
    os.umask(umask := os.umask(0))
    found: dict[str, object] = {
        f"${name}": value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"
    }
    found |= {number.name: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    found |= {"folder": os.getcwd(), "umask": umask, "locale": locale.setlocale(locale.LC_ALL)}
    return found | {"longest cell": csv.field_size_limit(), "memory": resource.getrlimit(resource.RLIMIT_AS)}


@pytest.fixture(autouse=True)
def progress_clock() -> Iterator[Callable[[float], None]]:
    """For progress on stderr no time passes, however slow the machine; `progress_clock(s)`: s seconds with every look."""
    with pytest.MonkeyPatch.context() as patch:

        def ticking(every_s: float) -> None:
            at = itertools.count(0.0, every_s)
            patch.setattr("haigo.progress.time", SimpleNamespace(monotonic=lambda: next(at)))

        ticking(0.0)
        yield ticking


@pytest.fixture(autouse=True)
def settings_stay() -> Iterator[None]:
    """No test leaves a setting of the process changed; variables that libraries add when they are imported may stay."""
    before = _settings()
    yield
    after = _settings()
    changed = {name for name, _ in before.items() - after.items()}  # no values: the environment holds secrets
    changed |= {name for name in after.keys() - before.keys() if name.startswith("$HAIGO_")}
    assert not changed
