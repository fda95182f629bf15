"""GPT-NeoX's train.py for `train_impl` dpo, kto and rm: the same program, with what a checkout lacks put into its place.

Run by GPT-NeoX's interpreter in its checkout, as deepy.py's script (`launch.deepy THIS_FILE config.yml`); nothing of the
checkout is changed. Since its mixture of experts came in (#1210, May 2025) GPT-NeoX calls two functions that it has no more,
so that DPO and KTO end with a NameError at their first batch. What is put right here, where the checkout needs it:

* `get_logp` and `get_pos_neg_logp`: the log-probability of every label;
* the reference model's attention mask: two are handed to it, for a batch of twice the pairs, which only flash attention takes;
* the reference model's weights: after a break GPT-NeoX loads both models from `load`, so that the reference would be the
  half-trained policy, or would end on the optimizer's state. It is loaded from where the run began, which the config says as
  `deepspeed_extra_args: {reference_model: {load: FOLDER, iteration: N}}`.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any


def mend(training: Any, torch: Any, cross_entropy: Any) -> None:
    """Put into GPT-NeoX's module `megatron.training` what it lacks."""

    def get_logp(logits: Any, labels: Any, force_fp32: bool = False) -> Any:
        """Log-probabilities of labels (batch, length) under whole logits (batch, length, vocabulary)."""
        logp = (logits.float() if force_fp32 else logits).log_softmax(dim=-1)
        # a clone: GPT-NeoX makes its labels in inference mode, and nothing of that may be kept for the backward pass
        return torch.gather(logp, dim=2, index=labels.clone().unsqueeze(2)).squeeze(2)

    def get_pos_neg_logp(logits: Any, labels: Any, force_fp32: bool = False) -> Any:
        """Those of chosen and of rejected answers, which are the two halves of a batch; each rank has its part of the
        vocabulary."""
        return torch.chunk(-cross_entropy(logits.float() if force_fp32 else logits, labels.clone()), 2, 0)

    for name, function in (("get_logp", get_logp), ("get_pos_neg_logp", get_pos_neg_logp)):
        if not hasattr(training, name):
            setattr(training, name, function)

    set_up = training.setup_model_and_optimizer
    load = training.load_checkpoint

    def setup_model_and_optimizer(neox_args: Any, *args: Any, **words: Any) -> Any:
        loads = iter((_own, _reference))
        training.load_checkpoint = lambda **asked: next(loads, _own)(load, **asked)
        try:
            made = set_up(neox_args, *args, **words)
        finally:
            training.load_checkpoint = load
        reference = made[3] if len(made) > 3 else None
        if reference is not None and hasattr(reference.module, "set_batch_fn"):
            reference.module.set_batch_fn(partial(training.get_batch_sequential, neox_args=neox_args))
        return made

    training.setup_model_and_optimizer = setup_model_and_optimizer


def _own(load: Any, **asked: Any) -> Any:
    return load(**asked)


def _reference(load: Any, neox_args: Any, **asked: Any) -> Any:
    """Load the reference's weights, and nothing but them."""
    named = (neox_args.deepspeed_extra_args or {}).get("reference_model")
    kept = neox_args.load, neox_args.finetune
    if named is None and not neox_args.finetune:
        sys.exit(
            "the config does not say where the reference model is, and its checkpoint holds the policy: write "
            "deepspeed_extra_args: {reference_model: {load: FOLDER, iteration: N}}"
        )
    if named is not None:
        neox_args.load, asked["iteration"] = named["load"], named["iteration"]
    neox_args.finetune = True
    try:
        return load(neox_args=neox_args, **asked)
    finally:
        neox_args.load, neox_args.finetune = kept


def main() -> None:
    sys.path[0] = os.getcwd()  # the checkout; this file's folder has names that its imports must not meet
    import torch
    from megatron import training  # type: ignore[import-not-found,unused-ignore]
    from megatron.mpu import vocab_parallel_cross_entropy  # type: ignore[import-not-found,unused-ignore]
    from megatron.neox_arguments import NeoXArgs  # type: ignore[import-not-found,unused-ignore]

    mend(training, torch, vocab_parallel_cross_entropy)
    # as GPT-NeoX's train.py
    neox_args = NeoXArgs.consume_neox_args()
    neox_args.configure_distributed_args()
    neox_args.build_tokenizer()
    neox_args.initialize_tensorboard_writer()
    neox_args.initialize_comet()
    training.pretrain(neox_args=neox_args)


if __name__ == "__main__":
    main()
