"""Runs inside GPT-NeoX's own environment: prints the first samples that its loader gives for a config, as JSON.

cd CHECKOUT && PYTHON neox_loader.py CONFIG.yml train|valid|test COUNT
"""

import json
import os
import sys

config, split, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path.insert(0, os.getcwd())
out = os.dup(1)  # the loader prints a lot
os.dup2(2, 1)

import torch  # noqa: E402
from megatron import mpu  # noqa: E402
from megatron.data import data_utils  # noqa: E402
from megatron.data.blendable_dataset import BlendableDataset  # noqa: E402
from megatron.data.data_utils import compile_helper  # noqa: E402
from megatron.neox_arguments import NeoXArgs  # noqa: E402

compile_helper()
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=os.environ.get("MASTER_PORT", "29713"))
torch.distributed.init_process_group("gloo", rank=0, world_size=1)
mpu.initialize_model_parallel(1)
args = NeoXArgs.from_ymls([config])
iters, batch = args.train_iters, args.train_batch_size
asked = [
    iters * batch,
    (iters // args.eval_interval + 1) * args.eval_iters * batch,
    args.eval_iters * batch,
]
which = ("train", "valid", "test").index(split)
if args.data_path:
    made = data_utils.build_train_valid_test_datasets(
        data_prefix=args.data_path,
        use_shared_fs=args.use_shared_fs,
        data_impl=args.data_impl,
        splits_string=args.split,
        train_valid_test_num_samples=asked,
        train_valid_test_epochs=[None, None, None],
        seq_length=args.seq_length,
        seed=args.seed,
        skip_warmup=True,
        pack_impl=args.pack_impl,
        allow_chopped=args.allow_chopped,
    )
    data = made[which]
else:
    weights, numbers = [], []
    for part, number in zip(("train", "valid", "test"), asked):  # noqa: B905  (any Python 3)
        shares, counts = data_utils.get_normalized_weights_and_num_samples(
            getattr(args, f"{part}_data_weights"), number
        )
        weights.append(shares)
        numbers.append(counts)
    made = data_utils.build_weighted_datasets(args, *numbers, None, None, None)
    data = BlendableDataset(made[which], weights[which])
samples = [[int(token) for token in data[index]["text"]] for index in range(count)]
os.write(out, json.dumps({"length": len(data), "samples": samples}).encode())
