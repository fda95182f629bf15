"""Run by GPT-NeoX's own interpreter, not by pytest: reads paths of configs on stdin, a line each, and tells what NeoXArgs and
the command line of deepy.py make of each: an empty text, or the error. Lines start with `VERDICT `."""

import io
import json
import logging
import os
import resource
import sys

import torch
from megatron.neox_arguments import NeoXArgs

os.environ.update(SLURM_LOCALID="0", SLURM_PROCID="0", SLURM_NTASKS="1")
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))  # num_layers: 10**12 is a list as long there
logging.disable(logging.CRITICAL)
torch.cuda.device_count = lambda: 8  # as preflight --gpus 8
NeoXArgs.enable_logging = lambda self: None  # would put files beside the config, and stdout into them
NeoXArgs.configure_distributed_args = lambda self: None  # asks MPI

for path in sys.stdin.read().splitlines():
    out, sys.stdout = sys.stdout, io.StringIO()
    try:
        args = NeoXArgs.from_ymls([path], {"user_script": "train.py"})
        args.autotuning_run = None  # it would write a file
        args.get_deepspeed_main_args()
        said = ""
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    finally:
        sys.stdout = out
    print("VERDICT " + json.dumps(said), flush=True)
