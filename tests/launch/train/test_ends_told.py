"""What runs, schedulers and drivers say before a run ends: the right cause, and what cannot help is not tried again."""

from __future__ import annotations

import pytest
from test_supervise import Run
from test_supervise import run as run  # the fixture

from launch.train import causes

MEMORY = "a GPU ran out of memory"
SAID = [
    (1, "node1: NCCL WARN Cuda failure 'out of memory'", MEMORY, causes.UNKNOWN),
    (1, "NCCL WARN Cuda failure 2 'out of memory'", MEMORY, causes.UNKNOWN),
    (1, "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", MEMORY, causes.UNKNOWN),
    (1, "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2 GiB", MEMORY, causes.UNKNOWN),
    (1, "OSError: [Errno 28] デバイスに空き領域がありません: '/x'", "the disk is full", causes.LASTING),
    (1, "cp: error writing 'x': デバイスに空き領域がありません", "the disk is full", causes.LASTING),
    # not the disk
    (1, "RuntimeError: unable to write to file </torch_1_2_0>: No space left on device (28)", "/dev/shm", causes.UNKNOWN),
    (1, "RuntimeError: DataLoader worker (pid 3) is killed by signal: Bus error. It is possible that", "/dev/shm",
     causes.UNKNOWN),
    (1, "RuntimeError: DataLoader worker (pid 3) is killed by signal: Killed. ", "memory ran out", causes.TRANSIENT),
    (1, "[rank1]: MemoryError", "memory ran out", causes.TRANSIENT),
    (1, "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 30. GiB for an array", "memory ran out",
     causes.TRANSIENT),
    (1, "RuntimeError: CUDA error: uncorrectable NVLink error detected", "a GPU failed", causes.TRANSIENT),
    (1, "kernel: NVRM: Xid (PCI:0000:1b:00): 48, pid=1, DBE", "a GPU failed", causes.TRANSIENT),
    (1, "RuntimeError: CUDA error: unknown error", "a GPU failed", causes.TRANSIENT),
    (1, "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable", "a GPU failed", causes.TRANSIENT),
    (1, "Error 802: system not yet initialized", "a GPU failed", causes.TRANSIENT),
    (1, "AssertionError: Torch not compiled with CUDA enabled", "cannot use the GPUs", causes.LASTING),
    (1, "Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.", "fp16",
     causes.LASTING),
    (1, "RuntimeError: Error(s) in loading state_dict for GPT2ModelPipe:", "another shape", causes.LASTING),
    (1, "OSError: [Errno 24] Too many open files", "so many files", causes.LASTING),
    (1, "OSError: [Errno 30] Read-only file system: '/x'", "written or read", causes.LASTING),
    (1, "PermissionError: [Errno 13] 許可がありません: '/x'", "written or read", causes.LASTING),
    (1, "OSError: [Errno 116] Stale file handle", "a file system failed", causes.TRANSIENT),
    (1, "OSError: [Errno 5] Input/output error", "a file system failed", causes.TRANSIENT),
    (1, "wandb.errors.UsageError: api_key not configured (no-tty). call wandb.login", "asks for a key", causes.LASTING),
    (1, "RuntimeError: Error building extension 'fused_adam'", "a library or a compiler", causes.LASTING),
    (1, "ImportError: libcudart.so.12: cannot open shared object file: No such file", "a library or a compiler",
     causes.LASTING),
    (255, "ssh: Could not resolve hostname node9: Name or service not known", "by ssh", causes.LASTING),
    (255, "ssh: connect to host node1 port 22: Connection refused", "by ssh", causes.LASTING),
    (1, "DistNetworkError: The client socket has timed out after 600s while trying to connect to (n, 29500).",
     "connection between ranks", causes.TRANSIENT),
    (1, "RuntimeError: Timed out initializing process group in store based barrier on rank: 1",
     "connection between ranks", causes.TRANSIENT),
    (134, "", "aborted", causes.UNKNOWN),
    (135, "", "bus error", causes.UNKNOWN),
    # said by a rank that lost the one which died
    (135, "RuntimeError: Connection closed by peer [127.0.0.1]:4242", "bus error", causes.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("code", "line", "said", "kind"), SAID, ids=[f"{one[0]} {one[1][:50]}" for one in SAID])
def test_cause(code: int, line: str, said: str, kind: str) -> None:
    # between what other ranks and progress bars write
    found = causes.cause(code, [" 12%|█▏        | 3/25", line, "[rank3]: Traceback (most recent call last):"])
    assert said in found.sentence and found.kind == kind and found.fix


def test_what_cannot_help_is_not_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\r 12%|█▏  | 3/25\r\x1b[31mOSError: [Errno 30] 読み込み専用ファイルシステムです: '/x'\x1b[0m"
    run.plan({"kind": "says", "at": 8, "text": text, "code": 1}, None)
    assert run.go() == 1  # GPT-NeoX's own
    said = capsys.readouterr().err
    assert len(run.calls) == 1 and "may not be written or read" in said and "Traceback" not in said


def test_what_may_pass_is_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "says", "at": 8, "text": "OSError: [Errno 116] Stale file handle", "code": 1}, None)
    assert run.go() == 0
    assert len(run.calls) == 2 and "a file system failed" in capsys.readouterr().err
