"""Runs in Olmix's interpreter, not in ours: fits Olmix's own regressors to arrays and hands back their predictions.

    OLMIX_PYTHON benchmarks/olmix_driver.py OLMIX_DIR JOBS.npz ANSWER.npz KIND EVERY

JOBS.npz: `train_w`, `train_y`, `test_w`. ANSWER.npz: `predicted` (test mixtures, targets) and `seconds` of processor
time, children included. KIND is a name of Olmix's REGRESSION_TYPES. EVERY keeps each EVERY-th of the 300 starting points
its log-linear fit uses (1: all of them, as Olmix does); nothing else of its settings is touched. It runs in one process
so that the figures of processor time are comparable.
"""

import itertools
import os
import resource
import sys


def spent() -> float:
    """Processor seconds of this process and its children so far."""
    every = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in every)


def main() -> None:
    folder, jobs, answer, kind, every = sys.argv[1:6]
    sys.path.insert(0, folder)
    os.environ["WANDB_MODE"] = "disabled"
    import numpy as np
    import torch
    from olmix.fit import law, utils

    torch.set_num_threads(1)
    law.mp.cpu_count = lambda: 1
    starts = utils.init_params_log_linear_law
    utils.init_params_log_linear_law = lambda *args, **more: itertools.islice(
        starts(*args, **more), int(every) // 2, None, int(every)
    )
    given = np.load(jobs)
    begin = spent()
    columns = []
    for target in range(given["train_y"].shape[1]):
        fitted = utils.build_regression(target, given["train_y"], given["train_w"], kind, 0.0)
        columns.append(np.asarray(fitted.predict(given["test_w"]), dtype=np.float64))
    np.savez(answer, predicted=np.stack(columns, axis=1), seconds=spent() - begin)


if __name__ == "__main__":
    main()
