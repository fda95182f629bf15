"""Runs inside GPT-NeoX's own environment: builds models, and counts their parameters, as JSON.

    cd CHECKOUT && PYTHON neox_parameters.py CONFIG.yml ...

Prints {name of the config: [parameters of the first layer, all parameters]}. Each model is built in a fork.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.getcwd())
out = os.dup(1)
os.dup2(2, 1)
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")

from megatron import training  # noqa: E402
from megatron.initialize import initialize_megatron  # noqa: E402
from megatron.neox_arguments import NeoXArgs  # noqa: E402


def counted(path):
    args = NeoXArgs.from_ymls([path])
    args.configure_distributed_args()
    args.build_tokenizer()
    initialize_megatron(neox_args=args)
    weights = dict(training.get_model(neox_args=args).named_parameters())
    layer = sum(value.numel() for name, value in weights.items() if "sequential.2." in name)
    return [layer, sum(value.numel() for value in weights.values())]


found = {}
for number, path in enumerate(sys.argv[1:]):
    os.environ["MASTER_PORT"] = str(29800 + number)
    read, write = os.pipe()
    if not os.fork():
        os.write(write, json.dumps(counted(path)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found[Path(path).stem] = json.loads(answer.read())
    os.wait()
os.write(out, json.dumps(found).encode())
