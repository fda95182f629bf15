"""Why a run ended, in one sentence and a fix: its exit code and the last lines of its log.

The codes are those that GPT-NeoX's deepy.py hands on (seen on one node): a killed rank is 247 (= -9), a stopped one 241,
a bus error 249 (= -7), a Python exception 1. The log knows more than the code; it is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PORT, TORN, TRANSIENT, UNKNOWN, LASTING = "port", "torn", "transient", "unknown", "lasting"
TAIL_LINES = 400


@dataclass(frozen=True)
class Cause:
    """Why a run ended."""

    sentence: str
    fix: str
    kind: str = UNKNOWN
    """`port` (try another), `torn` (a checkpoint), `transient` (may work the next time), `lasting` (will not), `unknown`."""


_MEMORY_FIX = "use a smaller micro batch or checkpoint_activations; launch.plan shows what fits"
_LOG: tuple[tuple[str, Cause], ...] = (
    (
        r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory|cudaErrorMemoryAllocation"
        r"|Cuda failure \d* ?'out of memory'|HIP out of memory|C(?:UBLAS|UDNN)_STATUS_ALLOC_FAILED",
        Cause("a GPU ran out of memory.", _MEMORY_FIX),
    ),
    (
        r"Address already in use|EADDRINUSE|errno: 98\b|The server socket has failed to (?:listen|bind)",
        Cause("the master port is in use.", "give another master_port, or end the run that holds it", PORT),
    ),
    (
        r"Bus error|insufficient shared memory|out of shared memory|</torch_\w+>: No space left on device",
        Cause("/dev/shm is too small.", "give the container a larger one (--shm-size), or num_workers: 0"),
    ),
    (
        r"No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b|デバイスに空き領域がありません"
        r"|ディスク使用量制限を超過",
        Cause(
            "the disk is full.", "free space, or lower keep_last_n_checkpoints, and run the same command again", LASTING
        ),
    ),
    (
        r"failed finding central directory|PytorchStreamReader failed|not a ZIP archive|invalid header or archive is corrupted"
        r"|unexpected EOF, expected \d+ more bytes|Ran out of input",
        Cause("a checkpoint is torn.", "go back to the one before it (its name into the file `latest`)", TORN),
    ),
    (
        r"ZeRORuntimeException|The checkpoint being loaded used a DP world size of",
        Cause("the checkpoint was made with another number of GPUs.", "use as many GPUs as it was made with", LASTING),
    ),
    (
        r"class input value.*and checkpoint.* do not match",
        Cause(
            "the learning rate's schedule is not the checkpoint's.",
            "restore lr, min_lr, warmup and lr_decay_iters, or write override_lr_scheduler: true to take the new ones",
            LASTING,
        ),
    ),
    (
        r"Skipped \d+ iterations in a row due to Overflow|[Ll]oss scale already at minimum",
        Cause("fp16 overflowed at every step.", "use a lower lr, or precision bfloat16", LASTING),
    ),
    (
        r"Error\(s\) in loading state_dict|Missing key\(s\) in state_dict|loaded state dict contains a parameter group",
        Cause(
            "the checkpoint is of a model of another shape.",
            "restore the model's keys of its config, or name another save and load folder",
            LASTING,
        ),
    ),
    (
        r"srcIndex < srcSelectDimSize|index(?:SelectLarge|SelectSmall|_select)\w*.*Assertion|embedding.*index out of range"
        r"|IndexError: index out of range in self|vectorized_gather_kernel.*Assertion|index out of bounds: 0 <= tmp",
        Cause(
            "a token id is outside the vocabulary.",
            "the dataset was made with another tokenizer: launch.preflight names it and the place",
            LASTING,
        ),
    ),
    (
        r"Assertion `t >= 0 && t < n_classes`|nll_loss\w*.*Assertion|IndexError: Target -?\d+ is out of bounds",
        Cause(
            "a label is outside the vocabulary.",
            "the label dataset was made with another tokenizer: launch.preflight names it and the place",
            LASTING,
        ),
    ),
    (
        r"device-side assert triggered|Assertion `.*` failed",
        Cause(
            "a check inside a GPU kernel failed, which the data or the config cause and not the GPU.",
            "see the line with 'Assertion' in the log; CUDA_LAUNCH_BLOCKING=1 shows where it is called from",
            LASTING,
        ),
    ),
    (
        r"NeoXArgs\S* (?:types|values|keys) cannot be validated|\.validate_(?:types|values)\(\)"
        r"|Check batch related parameters|NeoXArgs\.__init__\(\) got an unexpected keyword|Optimizer type \S+ not recognized",
        Cause("GPT-NeoX refuses the config.", "python -m launch.preflight CONFIG names the key and a fix", LASTING),
    ),
    (
        r"CUDA error: (?:invalid device ordinal|no kernel image is available)|CUDA driver version is insufficient"
        r"|Found no NVIDIA driver|Torch not compiled with CUDA enabled",
        Cause(
            "GPT-NeoX's torch cannot use the GPUs that it was given.",
            "compare num_gpus and CUDA_VISIBLE_DEVICES with `nvidia-smi`, and torch's CUDA with the driver",
            LASTING,
        ),
    ),
    (
        r"uncorrectable ECC|GPU is lost|fallen off the bus|NVRM: Xid|CUDA error: (?:unspecified launch failure|unknown error"
        r"|an illegal (?:memory access|instruction)|uncorrectable|misaligned address|the launch timed out"
        r"|all CUDA-capable devices are busy)|system not yet initialized|C(?:UBLAS|UDNN)_STATUS_EXECUTION_FAILED",
        Cause(
            "a GPU failed.",
            "look at `nvidia-smi -q` and dmesg (Xid) on that node; leave it out if it does so again",
            TRANSIENT,
        ),
    ),
    (
        r"Permission denied \(publickey|Host key verification failed|was not reachable via ssh|No route to host"
        r"|Could not resolve hostname|ssh: connect to host",
        Cause(
            "a node cannot be reached by ssh.",
            "set up ssh without a password from here to every host of the hostfile",
            LASTING,
        ),
    ),
    (
        r"oom[-_]kill|Out of memory: Killed process|Cannot allocate memory|DefaultCPUAllocator: can't allocate"
        r"|killed by signal: Killed|\bMemoryError\b|_ArrayMemoryError: Unable to allocate",
        Cause(
            "the machine's memory ran out.", "use fewer num_workers, or ask the scheduler for more memory", TRANSIENT
        ),
    ),
    (
        r"Errno 24\b|Too many open files",
        Cause(
            "a process may not open so many files.", "raise `ulimit -n` on every node, or lower num_workers", LASTING
        ),
    ),
    (
        r"Errno (?:13|30)\b|Read-only file system",
        Cause("a file or folder may not be written or read.", "the line with 'Errno' in the log names it", LASTING),
    ),
    (
        r"Errno (?:5|107|116)\b|Stale file handle|Transport endpoint is not connected",
        Cause("a file system failed.", "the line with 'Errno' in the log names the file; see its server", TRANSIENT),
    ),
    (
        r"api_key not configured",
        Cause(
            "Weights & Biases asks for a key.", "run `wandb login` on every node, or write use_wandb: false", LASTING
        ),
    ),
    (
        r"Ninja is required to load|Error building extension|cannot open shared object file|undefined symbol: ",
        Cause(
            "GPT-NeoX's environment lacks a library or a compiler, or they do not fit together.",
            "the log names which; install ninja, gcc and CUDA as torch was built for, then build its packages again",
            LASTING,
        ),
    ),
    (
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        Cause(
            "GPT-NeoX's environment has no package {0}.", "install it there (GPT_NEOX_PYTHON -m pip install)", LASTING
        ),
    ),
    (
        r"RecursionError: maximum recursion depth",
        Cause(
            "the test or validation set is too small for pack_until_overflow.",
            "index more documents, or use another seed",
            LASTING,
        ),
    ),
)
# what the others say after one rank has died: no reason of their own where a code tells of a death
_LOST: tuple[tuple[str, Cause], ...] = (
    (
        r"Watchdog caught collective operation timeout|NCCL (?:communicator was aborted|timeout|error)|ncclSystemError"
        r"|ncclInternalError|ncclRemoteError|ncclUnhandledCudaError|DistBackendError|ProcessGroupNCCL.*[Tt]imed? ?out",
        Cause(
            "the ranks lost each other (NCCL).",
            "run with NCCL_DEBUG=INFO to see which node and network; a rank that died first is named further up in the log",
            TRANSIENT,
        ),
    ),
    (
        r"Connection (?:closed|reset) by peer|Socket Timeout|\bTCPStore\b.*(?:timed? out|failed)|Broken pipe"
        r"|client socket has timed out|Timed out initializing process group|Timed out after \d+ seconds waiting for clients"
        r"|Temporary failure in name resolution",
        Cause("a connection between ranks was lost.", "see which rank ended first in the log", TRANSIENT),
    ),
)
_DEATHS = (135, 137, 139, 241, 245, 247, 249)
CODES = {
    1: Cause("an exception in GPT-NeoX.", "the traceback stands in the log"),
    130: Cause("it was interrupted.", "run the same command again: it goes on from the last checkpoint"),
    143: Cause("it was stopped by SIGTERM.", "run the same command again: it goes on from the last checkpoint"),
    241: Cause("a rank was stopped by SIGTERM.", "run the same command again"),
    245: Cause("a rank crashed (segmentation fault).", "see the log; often a broken driver or package"),
    250: Cause("a rank was aborted (SIGABRT).", "the reason stands above in the log, often NCCL's watchdog"),
    249: Cause("a rank died of a bus error (often /dev/shm too small).", "give the container a larger --shm-size"),
    247: Cause("a rank was killed (often by the kernel, for want of memory).", "look at dmesg; use fewer num_workers"),
    134: Cause("it was aborted (SIGABRT).", "the reason stands above in the log, often NCCL's watchdog"),
    135: Cause("it died of a bus error (often /dev/shm too small).", "give the container a larger --shm-size"),
    127: Cause(
        "it could not be started.", "see the last line of its log: the program, or its log, cannot be opened", LASTING
    ),
    137: Cause("it was killed (often by the kernel, for want of memory).", "look at dmesg; use fewer num_workers"),
    139: Cause("it crashed (segmentation fault).", "see the log; often a broken driver or package"),
}


def cause(code: int, tail: Sequence[str] = ()) -> Cause:
    """Why a run ended.

    Args:
        code: exit code as a shell says it.
        tail: the last lines of its log, oldest first.
    """
    # The first error is the reason, what follows it are the other ranks' complaints; but only where a code says
    # that something went wrong are words in a log an error at all.
    if code not in (0, 130):
        for pattern, found in _LOG if code in _DEATHS else _LOG + _LOST:
            for line in tail[-TAIL_LINES:]:
                match = re.search(pattern, line)
                if match:
                    words = [word or "" for word in match.groups()]
                    return Cause(found.sentence.format(*words), found.fix, found.kind) if words else found
    return CODES.get(code, Cause("see the last lines of its log.", ""))


def in_words(code: int) -> str:
    """The exit code alone in words."""
    return CODES[code].sentence if code in CODES else "see its last lines above."
