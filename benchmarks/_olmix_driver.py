"""Runs in Olmix's interpreter, not in ours: Olmix's own regressors and its exact proposer on arrays.

    OLMIX_PYTHON benchmarks/_olmix_driver.py OLMIX_DIR JOBS.npz ANSWER.npz KIND EVERY KEEP

JOBS.npz: `train_w`, `train_y`, `test_w`, `columns` (numbers of the losses that are fitted) and, where mixtures are wanted
too, `goals` (objectives, losses), `prior` and `caps` (corpora) and `pull` (to the prior). ANSWER.npz: `predicted` (test
mixtures, columns), `seconds` (columns) of processor time, children included, and `weights` (objectives, corpora). KIND is a
name of Olmix's REGRESSION_TYPES. EVERY keeps each EVERY-th of the 300 starting points that its log-linear fit uses (1: all
of them, as Olmix does); nothing else of its settings is touched. It runs in one process so that processor times are
comparable. A fitted column is kept in the folder KEEP, and not fitted again.
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
    folder, jobs, answer, kind, every, keep = sys.argv[1:7]
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
    fitted, predicted, seconds = [], [], []
    for column in given["columns"].tolist():
        kept, begin = os.path.join(keep, f"column-{column}.npz"), spent()
        if kind == "log_linear" and os.path.isfile(kept):
            found = np.load(kept)
            model = utils.LogLinearRegressor(params=found["model"].tolist())
            took = float(found["seconds"])
        else:
            model = utils.build_regression(column, given["train_y"], given["train_w"], kind, 0.0)
            took = spent() - begin
            if kind == "log_linear":
                os.makedirs(keep, exist_ok=True)
                with open(kept + ".part", "wb") as out:
                    np.savez(out, model=np.array(model.model), seconds=took)
                os.replace(kept + ".part", kept)
        fitted.append(model)
        predicted.append(np.asarray(model.predict(given["test_w"]), dtype=np.float64))
        seconds.append(took)
    weights = []
    if "goals" in given:
        # caps are given as token counts of a run of one token that repeats nothing
        prior, caps = ({str(i): float(value) for i, value in enumerate(given[name])} for name in ("prior", "caps"))
        for goal in given["goals"]:
            used = [i for i, column in enumerate(given["columns"]) if goal[column] > 0]
            mixture = utils.LogLinearExactProposer().propose(
                [fitted[i] for i in used],
                prior_distributions=prior,
                token_counts=caps,
                constrain_objective=True,
                kl_reg=float(given["pull"]),
                obj_weights=[float(goal[given["columns"][i]]) for i in used],
                target_tokens=1,
                repetition_factor=1.0,
            )
            weights.append(np.asarray(mixture, dtype=np.float64))
    np.savez(answer, predicted=np.stack(predicted, axis=1), seconds=seconds, weights=weights)


if __name__ == "__main__":
    main()
