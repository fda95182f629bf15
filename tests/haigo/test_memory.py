"""Memory that can be had, under the limits of control groups."""

import pytest

from haigo import memory

MB = 1 << 20
V2 = ("0::", "", "memory.max", "memory.current", "")
V1 = ("4:cpuset,memory:", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


@pytest.fixture(params=[V2, V1], ids=["v2", "v1"])
def group(request, tmp_path, monkeypatch):
    """Lays out a group: group(path, limit, used, bytes in the cache); and says that this process is in the last one."""
    head, below, limit_file, used_file, prefix = request.param
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_GROUP_OF_MINE", tmp_path / "mine")

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
