"""Stands in for deepy.py: prints GPT-NeoX's log lines, writes checkpoints in its layout, and goes wrong as it is told.

Needs the standard library only. FAKE_TRAINING is JSON: save, iters, every (steps a checkpoint), pause (seconds a step),
faults: one for each start, null for none; or `by_config`: such a plan for each config's name. What each start was called
with is kept in `calls.jsonl` beside the save folder.
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
    save(folder, step)


main()
