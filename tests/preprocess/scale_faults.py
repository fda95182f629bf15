"""A step that goes wrong: for the tests of preprocess.scale, also inside datatrove's workers.

python scale_faults.py RUN.yml EXECUTOR FOLDER    runs the chain with faults until it ends well; prints the attempts
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]


@dataclasses.dataclass(frozen=True)
class Faulty:
    """Every third task fails on its first try after doing its work, every seventh before it, every eleventh kills its process.

    Attributes:
        step: the real step.
        folder: remembers what failed already.
        kill: use SIGKILL for the elevenths, else an exception.
    """

    step: Any
    folder: str
    kill: bool = False

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Fail once, or do the step."""
        mark = Path(self.folder) / f"{type(self.step).__name__}-{rank}"
        fresh = not mark.exists()
        mark.touch()
        if fresh and rank % 11 == 5 and self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if fresh and rank % 7 == 3:
            raise RuntimeError(f"task {rank} fails before its work")
        self.step(data, rank, world_size)
        if fresh and rank % 3 == 1:
            raise RuntimeError(f"task {rank} fails after its work")


def main(run_file: str, kind: str, folder: str) -> None:
    from preprocess import scale, scale_executors, scale_runfile

    run = scale_runfile.read(run_file)
    chosen = {
        name: (Faulty(step, folder, kill=kind == "pool"), tasks) for name, (step, tasks) in scale.steps(run).items()
    }
    attempts = 0
    while True:
        attempts += 1
        try:
            if kind == "pool":
                for name, (step, tasks) in chosen.items():
                    scale_executors.run_pool(step, tasks, 2, name)
            else:
                scale_executors.datatrove(chosen, run.replaced(executor=kind, workers=2))[-1].run()
            break
        except Exception as error:
            if attempts > 300:
                raise
            print(type(error).__name__, str(error), file=sys.stderr)
    print("ATTEMPTS", attempts)


if __name__ == "__main__":
    main(*sys.argv[1:])
