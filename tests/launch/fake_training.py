"""Stands in for deepy.py: prints GPT-NeoX's log lines, writes checkpoints in its layout, and goes wrong as it is told.

Needs the standard library only. FAKE_TRAINING is JSON: save, iters, every (steps a checkpoint), pause (seconds a step),
gate (a file without which no step comes after the seventh), faults: one for each start, null for none; or `by_config`: such a
plan for each config's name. What each start was called with is kept in `calls.jsonl` beside the save folder.
"""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

LINE = (
    " samples/sec: {rate:.3f} | iteration {step:8d}/{iters:8d} | elapsed time per iteration (ms): {ms:.1f} | learning rate: "
    "3.989E-03 | approx flops per GPU: 4.5GFLOPS | lm_loss: {loss:.6E} | number of skipped iterations:   0 | number of nan "
    "iterations:   0 |"
)


def save(folder: Path, step: int, name: bool = True) -> None:
    tag = f"global_step{step}"
    print(
        f"[2026-01-01 00:00:00,000] [INFO] [logging.py:107:log_dist] [Rank 0] [Torch] Checkpoint {tag} is about to be saved!"
    )
    (folder / tag).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / tag / "mp_rank_00_model_states.pt", "w") as archive:
        archive.writestr("archive/data.pkl", json.dumps({"iteration": step}) + "x" * 1000)
    print(
        f"[2026-01-01 00:00:00,000] [INFO] [torch_checkpoint_engine.py:33:commit] [Torch] Checkpoint {tag} is ready now!"
    )
    if name:
        (folder / "latest").write_text(tag)
    if sys.argv[2].endswith(".yml"):  # as deepy.py; the last that GPT-NeoX writes
        (folder / tag / "configs").mkdir(exist_ok=True)
        (folder / tag / "configs" / Path(sys.argv[2]).name).write_text(Path(sys.argv[2]).read_text())


def load(folder: Path) -> int:
    if not (folder / "latest").is_file():
        return 0
    tag = (folder / "latest").read_text()
    try:
        content = zipfile.ZipFile(folder / tag / "mp_rank_00_model_states.pt").read("archive/data.pkl")
    except zipfile.BadZipFile:
        print("RuntimeError: PytorchStreamReader failed reading file data.pkl: file read failed")
        raise SystemExit(1) from None
    return int(json.loads(content.decode().rstrip("x"))["iteration"])


def main() -> None:
    plan = json.loads(os.environ["FAKE_TRAINING"])
    if "by_config" in plan:
        plan = plan["by_config"][Path(sys.argv[2]).stem]
    folder = Path(plan["save"])
    calls = folder.parent / f"{folder.name}.calls.jsonl"
    calls.parent.mkdir(parents=True, exist_ok=True)
    with open(calls, "a+", encoding="utf-8") as handle:
        handle.seek(0)
        number = len(handle.read().splitlines())
        handle.write(
            json.dumps({"argv": sys.argv[1:], "pid": os.getpid(), "port": os.environ.get("MASTER_PORT")}) + "\n"
        )
    faults = plan.get("faults") or []
    fault = (faults[number] if number < len(faults) else None) or {}
    kind, at = fault.get("kind"), fault.get("at", 0)
    if kind == "says" and not at:
        print(fault["text"])
        raise SystemExit(fault["code"])
    listening = socket.socket()  # as the first rank does
    if "port" in plan:
        listening.bind(("", plan["port"]))
        listening.listen()
    step = load(folder)
    iters = plan["iters"]
    while step < iters:
        while "gate" in plan and step >= 7 and not os.path.exists(plan["gate"]):
            time.sleep(0.05)
        time.sleep(plan.get("pause", 0.01))
        step += 1
        loss = 1 + 5 / math.sqrt(step)
        if kind == "nan" and step >= at:
            loss = math.nan
        if kind == "spike" and step >= at:
            loss += 3
        told = LINE.format(rate=100.0, step=step, iters=iters, ms=plan.get("pause", 0.01) * 1000, loss=loss)
        print(told, flush=not fault.get("late"))  # late: all of it comes when this process ends
        if step % plan["every"] == 0 and not (kind == "unsaved" and step >= at):
            save(folder, step)
        if step != at or kind in ("nan", "spike", "unsaved"):
            continue
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "exit":
            raise SystemExit(fault["code"])
        elif kind == "says":
            print(fault["text"])
            raise SystemExit(fault["code"])
        elif kind == "hang":
            time.sleep(600)
        elif kind == "orphans":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (folder.parent / "orphan").write_text(str(child.pid))
            raise SystemExit(0)
        elif kind == "torn":
            save(folder, step)
            file = folder / f"global_step{step}" / "mp_rank_00_model_states.pt"
            file.write_bytes(file.read_bytes()[:100])
            raise SystemExit(247)
        elif kind == "flipped":
            save(folder, step)
            file = folder / f"global_step{step}" / "mp_rank_00_model_states.pt"
            content = bytearray(file.read_bytes())
            content[200] ^= 1
            file.write_bytes(content)
            raise SystemExit(247)
        elif kind == "no latest":
            (folder / "latest").unlink()
            raise SystemExit(247)
        elif kind == "after the end":
            save(folder, step)
            raise SystemExit(fault["code"])
        elif kind == "lie":
            raise SystemExit(0)
        elif kind == "noise":
            noise(step, iters)
        elif kind == "flood":
            flood(fault["bytes"], fault.get("line"))
            time.sleep(fault.get("then", 600))
        elif kind in ("again", "back"):
            number = step
            while True:
                time.sleep(0.05)
                number = step if kind == "again" or number != step else step - 1
                print(LINE.format(rate=100.0, step=number, iters=iters, ms=50.0, loss=2.0))
        elif kind == "leaves":
            leave(folder.parent / "left", fault["how"])
            if "code" in fault:
                raise SystemExit(fault["code"])
    save(folder, step)


def noise(step: int, iters: int) -> None:
    """What ranks that share an output, progress bars and full disks make of a log."""
    line = LINE.format(rate=100.0, step=step, iters=iters, ms=10.0, loss=2.0).encode()
    pieces = [
        line.replace(b"4.5GFLOPS", b"4.54.5GFLOPS").replace(b"10.0 ", b"10.010.0 ").replace(b"100.000", b"100.0.000")
        + b"\n",
        line.replace(b"iteration ", b"iteration 9999999999999999999999") + b"\n",
        line.replace(b"%8d/" % step, b"%d%d/" % (step, step)) + b"\n",
        line[:60] + line + b"\n",
        line.replace(b"2.000000E+00", b"2.000000E+002.000000E+00") + b"\n",
        line.replace(b"2.000000E+00", b"2.000000E+00999") + b"\n",
        line.replace(b"iterations:   0", b"iterations:   " + b"9" * 500) + b"\n",
        b"\x1b[32m" + line + b"\x1b[0m\n",
        b"\r".join(b" %d%%|\xe2\x96\x88 " % part for part in range(100)) + b"\n",
        b"\0\0\0\n\xff\xfe\x80\n\xe3\x83\n\r\r\n\n",
        b"[" * 20_000 + b"\n",
    ]
    for piece in pieces:
        for part in (piece[:7], piece[7:]):  # torn where a reader may look
            os.write(1, part)
            time.sleep(0.005)


def flood(size: int, line: int | None) -> None:
    """So many bytes, in lines of so many or without a line end at all."""
    piece = b"x" * (1 << 20) if line is None else (b"x" * (line - 1) + b"\n") * max(1, (1 << 20) // line)
    while size > 0:
        size -= os.write(1, piece)


def leave(told: Path, how: str) -> None:
    """Start a process that is in no group of ours: `setsid`, or a daemon's double fork."""
    sleep = f"import os, pathlib, time; pathlib.Path({str(told)!r}).write_text(str(os.getpid())); time.sleep(600)"
    if how == "daemon":
        sleep = f"import os\nif os.fork() or os.setsid() is None and os.fork(): os._exit(0)\n{sleep}"
    subprocess.Popen(
        [sys.executable, "-c", sleep],
        start_new_session=how == "setsid",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (told.is_file() and told.read_text()):
        time.sleep(0.02)


main()
