"""Runs inside GPT-NeoX's own environment: trains a config from given weights, prints its loss at every step, as JSON.

    cd CHECKOUT && PYTHON neox_curve.py CONFIG.yml WEIGHTS.npz

WEIGHTS.npz holds arrays under transformers' GPTNeoXForCausalLM names; `none`: those of the config's own checkpoint.
"""

import json
import os
import sys

config, weights = sys.argv[1:3]
sys.path.insert(0, os.getcwd())
out = os.dup(1)
os.dup2(2, 1)
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
os.environ.setdefault("MASTER_PORT", "29714")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from megatron import training  # noqa: E402
from megatron.neox_arguments import NeoXArgs  # noqa: E402

given = dict(np.load(weights)) if weights != "none" else None
losses = []
rates = []
validation = []


def name_here(name, layers):
    """Our name of a weight of the sequential model (embedding, a reshaping, layers, a reshaping, norm, output)."""
    parts = name.split(".")
    number, rest = int(parts[parts.index("sequential") + 1]), ".".join(parts[parts.index("sequential") + 2 :])
    if number == 0:
        return "gpt_neox.embed_in.weight"
    if rest.startswith("norm."):
        return rest.replace("norm.", "gpt_neox.final_layer_norm.")
    if rest.startswith("final_linear."):
        return "lm_head.weight"
    rest = rest.replace("mlp.linear1", "mlp.dense_h_to_4h").replace("mlp.linear2", "mlp.dense_4h_to_h")
    return f"gpt_neox.layers.{number - 2}.{rest}"


setup = training.setup_model_and_optimizer


def patched(*args, **options):
    made = setup(*args, **options)
    used = set()
    with torch.no_grad():
        for name, value in made[0].named_parameters():
            here = name_here(name, None)
            assert value.shape == given[here].shape, (name, here, value.shape, given[here].shape)
            value.copy_(torch.from_numpy(given[here]))
            used.add(here)
    assert used == set(given), set(given) ^ used
    return made


if given is not None:
    training.setup_model_and_optimizer = patched
training.collect_loss_for_unit_test = lambda value: losses.append(float(value))
log, evaluate = training.training_log, training.evaluate


def training_log(*args, **options):
    rates.append(float(options["learning_rate"]))
    return log(*args, **options)


def evaluated(*args, **options):
    found = evaluate(*args, **options)
    validation.append(found["lm_loss"])
    return found


training.training_log, training.evaluate = training_log, evaluated
args = NeoXArgs.from_ymls([config])
args.configure_distributed_args()
args.build_tokenizer()
args.initialize_tensorboard_writer()
args.initialize_comet()
training.pretrain(neox_args=args)
os.write(out, json.dumps({"losses": losses, "rates_after": rates, "validation": validation}).encode())
