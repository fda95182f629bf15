"""Runs inside GPT-NeoX's own environment: what one layer saves for its backward pass in bf16, as JSON.

    cd CHECKOUT && PYTHON neox_activations.py CONFIG.yml CHANGES.json

CHANGES.json: {name: keys over CONFIG.yml's}. Prints {name: bytes / (sequence x batch x hidden)}, without parameters and without
attention's s x s matrices; {name: the error's type} where a layer does not run.
"""

import json
import os
import sys

sys.path.insert(0, os.getcwd())
out = os.dup(1)
os.dup2(2, 1)
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29731")

import torch  # noqa: E402
from megatron.initialize import initialize_megatron  # noqa: E402
from megatron.model.gpt2_model import gpt2_attention_mask_func  # noqa: E402
from megatron.model.init_functions import get_init_methods  # noqa: E402
from megatron.model.transformer import ParallelTransformerLayer  # noqa: E402
from megatron.neox_arguments import NeoXArgs  # noqa: E402

BATCH = 2
args = NeoXArgs.from_ymls([sys.argv[1]])
args.configure_distributed_args()
args.build_tokenizer()
initialize_megatron(neox_args=args)
args.precision = "bfloat16"


def saved(keys):
    for name, value in keys.items():
        setattr(args, name, value)
    length, hidden = args.seq_length, args.hidden_size
    layer = ParallelTransformerLayer(args, gpt2_attention_mask_func, *get_init_methods(args), 0, rotary=True).bfloat16()
    inputs = torch.randn(length, BATCH, hidden, dtype=torch.bfloat16, requires_grad=True)
    mask = torch.triu(torch.ones(1, 1, length, length, dtype=torch.bool), 1)
    for _ in range(3):  # scripted functions settle
        layer(inputs, mask).sum().backward()
    own, found = {weight.untyped_storage().data_ptr() for weight in layer.parameters()}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.shape[-2:] != (length, length):
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = layer(inputs, mask)
    del result
    return sum(found.values()) / (length * BATCH * hidden)


answers = {}
with open(sys.argv[2]) as handle:
    for name, keys in json.load(handle).items():
        try:
            answers[name] = saved(keys)
        except Exception as error:
            answers[name] = type(error).__name__
os.write(out, json.dumps(answers).encode())
