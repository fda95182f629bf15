"""Run by GPT-NeoX's own interpreter, not by pytest: reads `[[config, hostfile], ...]` on stdin and tells what NeoXArgs makes
of each. One JSON line starting with `PROBE ` at the end."""

import json
import sys

from megatron.neox_arguments import NeoXArgs

told = []
for config, hostfile in json.load(sys.stdin):
    try:
        args = NeoXArgs.from_ymls([config], {"hostfile": hostfile, "user_script": "train.py"} if hostfile else None)
        told.append(
            {
                "gpus": args.global_num_gpus,
                "train_batch_size": args.train_batch_size,
                "micro": args.train_micro_batch_size_per_gpu,
                "accumulation": args.gradient_accumulation_steps,
                "precision": args.precision,
                "zero_stage": args.zero_stage,
                "lr": args.lr,
                "deepspeed": args.deepspeed_config,
            }
        )
    except BaseException as error:
        told.append({"error": f"{type(error).__name__}: {error}"})
fields = dict.fromkeys(NeoXArgs.__dataclass_fields__)
print("PROBE " + json.dumps({"configs": told, "keys": list(fields)}))
