"""Runs inside GPT-NeoX's own environment: trains several configs one after the other, each with its ranks, as train.py does.

    cd CHECKOUT && PYTHON neox_train.py JOBS.json

JOBS.json: a list of {"config": FILE, "ranks": N, "log": FILE, "port": N, "seconds": LIMIT}. The program is imported once and
every rank is a fork, because imports are most of the time of so small a run. Prints `RAN [exit code of each rank]` a job; the
exit code is the number of ranks that failed.
"""

import json
import os
import signal
import sys
import traceback

sys.path.insert(0, os.getcwd())

from megatron import training
from megatron.neox_arguments import NeoXArgs


def train(job, rank):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(job["ranks"]),
        LOCAL_SIZE=str(job["ranks"]),
        FAKE_CUDA_COUNT=str(job["ranks"]),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(job["port"]),
    )
    log = os.open(job["log"] + (f".rank{rank}" if rank else ""), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    args = NeoXArgs.from_ymls([job["config"]])
    args.configure_distributed_args()
    args.build_tokenizer()
    args.initialize_tensorboard_writer()
    args.initialize_comet()
    training.pretrain(neox_args=args)


failed = 0
with open(sys.argv[1]) as handle:
    jobs = json.load(handle)
for job in jobs:
    children = []
    for rank in range(job["ranks"]):
        child = os.fork()
        if child == 0:
            code = 1
            signal.alarm(job.get("seconds", 0))
            try:
                train(job, rank)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    failed += sum(code != 0 for code in codes)
    print("RAN " + json.dumps(codes), flush=True)
sys.exit(failed)
