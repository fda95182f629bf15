"""What the real Megatron-LM says of arguments: run by its interpreter, MEGATRON_LM_DIR being a checkout.

    MEGATRON_LM_DIR=... python tests/launch/plan/megatron_probe.py names              (writes data/megatron_arguments.json)
    MEGATRON_LM_DIR=... python tests/launch/plan/megatron_probe.py check < calls.json
    MEGATRON_LM_DIR=... python tests/launch/plan/megatron_probe.py build < words.json

`check` reads a list of {"gpus", "words"}, and for each lets Megatron-LM parse and validate the words, and prints what comes of
the arguments that were given. `build` builds the first layer of the model, and prints every weight's shape and deviation. No
GPU is needed; of other packages torch, triton, einops and packaging.
"""

import argparse
import contextlib
import io
import json
import os
import re
import sys
import typing
from pathlib import Path

TABLE = Path(__file__).parent / "data" / "megatron_arguments.json"


def arguments():
    typing.override = getattr(typing, "override", lambda function: function)  # Python 3.12 has it
    sys.path.insert(0, os.environ["MEGATRON_LM_DIR"])
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "CUDA_DEVICE_MAX_CONNECTIONS": "1"}
    import megatron.training.arguments as module

    module.get_device_arch_version = lambda: 8  # an A100, which is not here
    return module


def names(module):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_megatron_arguments(parser)
    found = {}
    for action in parser._actions:
        kind = "flag" if action.nargs == 0 else getattr(action.type, "__name__", "str")
        choices = [getattr(each, "name", each) for each in action.choices or []]
        for name in action.option_strings:
            found[name] = {
                "kind": kind if kind in ("flag", "int", "float") else "str",
                "nargs": action.nargs,
                "choices": choices,
            }
    return found


def check(module, calls):
    made = []
    for call in calls:
        os.environ["WORLD_SIZE"] = str(call["gpus"])
        sys.argv = ["pretrain_gpt.py", *call["words"]]
        given = {word[2:].replace("-", "_") for word in call["words"] if word.startswith("--")}
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                args = module.validate_args(module.parse_args())
        except (Exception, SystemExit) as error:  # whatever it says is the answer
            made.append({"error": f"{type(error).__name__}: {error} {said.getvalue()[-300:]}"})
            continue
        values = {name: str(value) for name, value in vars(args).items() if name in given or name in call["ask"]}
        made.append({"values": values})
    return made


def build(module, words):
    words = [word for word in words if word not in ("--bf16", "--use-distributed-optimizer", "--overlap-grad-reduce")]
    here = {"num-layers": "1", "tensor-model-parallel-size": "1", "pipeline-model-parallel-size": "1", "global-batch-size": "1",
            "micro-batch-size": "1", "distributed-backend": "gloo", "attention-backend": "unfused"}  # fmt: skip
    for name, value in here.items():
        if f"--{name}" in words:
            words[words.index(f"--{name}") + 1] = value
    on_cpu = ("use-cpu-initialization", "no-gradient-accumulation-fusion", "no-persist-layer-norm", "no-rope-fusion")
    words += [*(f"--{name}" for name in on_cpu), "--transformer-impl", "local"]
    sys.argv = ["pretrain_gpt.py", *words]
    with contextlib.redirect_stdout(io.StringIO()):
        args = module.validate_args(module.parse_args())
    import torch
    from megatron.core import parallel_state
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    parallel_state.initialize_model_parallel(1, 1)
    model = GPTModel(
        config=module.core_transformer_config_from_args(args),
        transformer_layer_spec=get_gpt_layer_local_spec(None, False, False, normalization=args.normalization),
        vocab_size=128, max_sequence_length=args.seq_length, position_embedding_type=args.position_embedding_type,
        rotary_percent=args.rotary_percent, rotary_base=args.rotary_base,
        share_embeddings_and_output_weights=not args.untie_embeddings_and_output_weights,
    )  # fmt: skip
    return {name: [list(one.shape), one.std().item()] for name, one in model.named_parameters()}


if __name__ == "__main__":
    if sys.argv[1] == "names":
        sys.path.insert(0, str(Path(__file__).parents[3]))
        from launch.plan import megatron

        table = names(arguments())
        source = (
            Path(megatron.__file__).read_text(encoding="utf-8")
            + Path(megatron.__file__).with_suffix(".yml").read_text()
        )
        # those that Haigo may write, and no more
        said = {*re.findall(r'"(?:--)?([a-z][a-z0-9-]*)"', source), *re.findall(r"^  \w+: ([a-z0-9-]+)$", source, re.M)}
        said |= {f"{split}-data-path" for split in ("train", "valid", "test")}
        kept = {name: table[name] for name in sorted(table) if name[2:] in said}
        TABLE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    else:
        asked = json.load(sys.stdin)
        print(json.dumps({"check": check, "build": build}[sys.argv[1]](arguments(), asked)))
