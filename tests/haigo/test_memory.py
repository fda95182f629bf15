"""Memory and cores that can be had, under the limits of control groups."""

import platform
import subprocess
import sys

import pytest

from haigo import control_groups, memory, pool

MB = 1 << 20
V2 = ("0::", "", "memory.max", "memory.current", "")
V1 = ("4:cpuset,memory:", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


@pytest.fixture(params=[V2, V1], ids=["v2", "v1"])
def group(request, tmp_path, monkeypatch):
    """Lays out a group: group(path, limit, used, bytes in the cache); and says that this process is in the last one."""
    head, below, limit_file, used_file, prefix = request.param
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "_MINE", tmp_path / "mine")

    def lay(path, limit, used=0, cached=0, mine=None):
        place = tmp_path / "groups" / below / path
        place.mkdir(parents=True, exist_ok=True)
        (place / limit_file).write_text(f"{limit}\n")
        (place / used_file).write_text(f"{used}\n")
        files = f"{prefix}inactive_file {cached // 2}\n{prefix}active_file {cached - cached // 2}\n"
        (place / "memory.stat").write_text(f"anon 5\n{files}")
        (tmp_path / "mine").write_text(f"9:pids:/no\n{head}/{path if mine is None else mine}\n")

    return lay


def test_the_limit_of_a_group(group):
    group("", 64 * MB, 24 * MB)
    assert memory.available() == 40 * MB


def test_files_in_the_cache_are_no_memory_that_is_taken(group):
    group("", 64 * MB, 63 * MB, 50 * MB)
    assert memory.available() == 51 * MB


def test_a_group_inside_another(group):
    """The tighter one counts, whichever it is: a job's limit where its step has none, and the other way round."""
    group("job", 32 * MB, 8 * MB)
    group("job/step", 1 << 62, 8 * MB)
    assert memory.available() == 24 * MB
    group("job/step", 16 * MB, 8 * MB)
    assert memory.available() == 8 * MB


@pytest.mark.parametrize("mine", ["of/the/host", "../../elsewhere"])
def test_a_container_that_does_not_see_where_it_lies(group, mine):
    group("", 64 * MB, 4 * MB, mine=mine)
    assert memory.available() == 60 * MB


def test_no_limit(group):
    group("", "max")
    assert memory.available() > 1 << 24


QUOTAS = [
    ({"job": 3, "job/step": None}, 3),
    ({"": 8, "job": 2, "job/step": 5}, 2),
    ({"job": None}, 8),
    ({"job": 0.5}, 1),
]


@pytest.mark.parametrize(("quotas", "cores"), QUOTAS)
@pytest.mark.parametrize("version", [1, 2])
def test_cores_of_a_group_inside_others(tmp_path, monkeypatch, version, quotas, cores):
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "_MINE", tmp_path / "mine")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8))
    (tmp_path / "mine").write_text(f"{'0:' if version == 2 else '3:cpu,cpuacct'}:/{max(quotas, key=len)}\n")
    for path, quota in quotas.items():
        place = tmp_path / "groups" / ("" if version == 2 else "cpu") / path
        place.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (place / "cpu.max").write_text(f"{'max' if quota is None else int(quota * 100_000)} 100000\n")
        else:
            (place / "cpu.cfs_quota_us").write_text(f"{-1 if quota is None else int(quota * 100_000)}\n")
            (place / "cpu.cfs_period_us").write_text("100000\n")
    assert pool.cores() == cores


FREED = """
import resource, sys
from haigo import memory
if sys.argv[1] == "keep":
    memory.keep_freed()
def round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [bytearray(20 << 20) for _ in range(3)]
    for one in kept:
        one[::4096] = bytes([1]) * len(one[::4096])
    del kept, one
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
round()
print(round())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_what_was_freed_is_kept_for_the_next_array():
    pages = {
        how: int(subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, check=True, text=True).stdout)
        for how in ("keep", "as it is")
    }
    assert pages["keep"] * 10 < pages["as it is"]
