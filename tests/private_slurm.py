"""A real Slurm of this machine's own: four virtual nodes in one folder, on loopback, gone after the tests.

Needs Debian's packages slurmctld, slurmd, slurm-client and munge; works as root and as any user, without systemd.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NODES = 4
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

_CONF = """ClusterName=ci
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/mrun/munge.sock,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
GresTypes=gpu
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
KillWait=2
MpiDefault=none
PropagateResourceLimits=NONE
MailProg=/bin/true
NodeName=node[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=4 Sockets=1 CoresPerSocket=4 \
ThreadsPerCore=1 RealMemory=4000 Gres=gpu:4
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


class Slurm:
    """A running private cluster."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.numbered = False
        """Whether tasks get CUDA_VISIBLE_DEVICES."""
        self.environment = {**_clean(), "PATH": PATH, "SLURM_CONF": str(root / "slurm.conf")}

    def call(self, *words: str, timeout: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False, **options
        )  # type: ignore[call-overload,no-any-return]

    def state(self, job: str) -> str:
        """The job's state; after its end from scontrol, which remembers it for minutes."""
        told = self.call("scontrol", "show", "job", job).stdout
        return next((word.split("=")[1] for word in told.split() if word.startswith("JobState=")), "UNKNOWN")

    def wait(self, job: str, timeout: float = 90) -> str:
        """Wait for the job's end; its last state."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            state = self.state(job)
            if state not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED"):
                return state
            time.sleep(0.3)
        raise AssertionError(f"job {job} is still {self.state(job)} after {timeout} s\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"== {file}\n{file.read_text()[-1500:]}" for file in sorted((self.root / "log").glob("*.log")))


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "PMI"))}


def _free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for start in range(18001 + os.getpid() % 500 * 8, 30000, 8):
        with contextlib.ExitStack() as held:
            try:
                for port in range(start, start + count):
                    one = held.enter_context(socket.socket())
                    one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return start
    raise AssertionError("no free ports")


@contextlib.contextmanager
def running() -> Iterator[Slurm]:
    """Start the cluster; stop it and take its folder away at the end."""
    root = Path(tempfile.mkdtemp(prefix="haigo-slurm-", dir="/tmp"))
    one = Slurm(root)
    try:
        _start(one)
        yield one
    finally:
        _stop(one)
        shutil.rmtree(root, ignore_errors=True)


def _start(one: Slurm) -> None:
    root, first = one.root, _free_ports(NODES + 1)
    root.chmod(0o755)
    for name, mode in (("log", 0o755), ("state", 0o755), ("mrun", 0o755), ("mkey", 0o700)):
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "mkey" / "key").write_bytes(os.urandom(128))
    (root / "mkey" / "key").chmod(0o600)
    values = {"root": root, "user": getpass.getuser(), "controller": first + NODES, "first": first}
    (root / "slurm.conf").write_text(_CONF.format(last=first + NODES - 1, **values))
    # GPUs are files to Slurm; only of devices it gives the numbers to a task (CUDA_VISIBLE_DEVICES)
    devices = "/dev/tty" if all(Path(f"/dev/tty{number}").exists() for number in range(4)) else f"{root}/gpu"
    if not devices.startswith("/dev"):
        for number in range(4):
            Path(f"{devices}{number}").touch()
    one.numbered = devices.startswith("/dev")
    (root / "gres.conf").write_text(f"NodeName=node[1-4] Name=gpu File={devices}[0-3]\n")
    key = root / "mkey"
    told = [
        one.call(
            "munged", f"--socket={root}/mrun/munge.sock", f"--key-file={key}/key", f"--seed-file={key}/seed",
            f"--pid-file={root}/mrun/munged.pid", f"--log-file={root}/log/munged.log",
        ),
        one.call("slurmctld", "-f", str(root / "slurm.conf"), "-c"),
    ]  # fmt: skip
    told += [
        one.call("slurmd", "-N", f"node{number}", "-f", str(root / "slurm.conf")) for number in range(1, NODES + 1)
    ]
    wrong = [done.stderr for done in told if done.returncode != 0]
    end = time.monotonic() + 30
    while not wrong and time.monotonic() < end:
        if one.call("sinfo", "-h", "-t", "idle", "-o", "%D").stdout.strip() == str(NODES):
            return
        time.sleep(0.2)
    raise AssertionError(f"the private Slurm did not start: {wrong}\n{one.logs()}")


def _stop(one: Slurm) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        one.call("scancel", "--user", getpass.getuser(), timeout=10)
        end = time.monotonic() + 15
        while time.monotonic() < end and one.call("squeue", "-h", timeout=10).stdout.strip():
            time.sleep(0.3)
    pids = [one.root / f"slurmd.node{number}.pid" for number in range(1, NODES + 1)]
    for group in (pids, [one.root / "slurmctld.pid"], [one.root / "mrun" / "munged.pid"]):
        numbers = []
        for file in group:
            with contextlib.suppress(OSError, ValueError):
                numbers.append(int(file.read_text()))
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(_end, numbers))


def _end(pid: int) -> None:
    for number, wait in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)
