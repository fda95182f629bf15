"""Every key of GPT-NeoX in one of three classes: honoured, without effect on the numbers, or held to certain values.

A test holds that the three together are all keys of `neox_configs.keys`; `attention_config` and `load` need more than a
list of values and have rules of their own in `check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haigo.cli import HaigoError
from neox_configs import reader
from neox_configs.keys import KEYS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HONOURED = _words(
    """num_layers hidden_size num_attention_heads intermediate_size expansion_factor mlp_multiple_of seq_length
    max_position_embeddings layernorm_epsilon rotary_pct rotary_emb_base gpt_j_residual no_weight_tying activation
    bias_gelu_fusion use_bias_in_attn_linear make_vocab_size_divisible_by model_parallel_size init_method
    output_layer_init_method init_method_std optimizer lr_decay_style lr_decay_iters lr_decay_fraction min_lr warmup
    weight_decay gradient_clipping deepspeed_extra_args train_batch_size train_micro_batch_size_per_gpu
    gradient_accumulation_steps global_num_gpus pipe_parallel_size train_iters seed eod_mask_loss precision fp16 bf16
    data_path split train_data_paths train_data_weights valid_data_paths valid_data_weights test_data_paths
    test_data_weights eval_interval eval_iters vocab_file checkpoint_factor"""
)
"""eval_interval and eval_iters decide how many samples GPT-NeoX asks of the valid and test data (`launch.samples`)."""

NO_EFFECT = _words(
    """hostfile include exclude num_nodes num_gpus master_port master_addr launcher force_multi autotuning_run
    no_ssh_check comment account deepspeed zero_optimization zero_stage zero_reduce_scatter zero_contiguous_gradients
    zero_reduce_bucket_size zero_allgather_bucket_size fp32_allreduce prescale_gradients gradient_predivide_factor
    steps_per_print wall_clock_breakdown dump_state flops_profiler communication_data_type autotuning
    activation_checkpointing tensorboard wandb csv_monitor comms_logger checkpoint
    pipe_partition_method world_size is_pipe_parallel sequence_parallel layernorm_fusion rmsnorm_fusion
    rms_norm_epsilon scalenorm_epsilon rpe_num_buckets rpe_max_distance opt_pos_emb_offset sparsity_config
    param_sharing_style use_flashattn_swiglu scaled_upper_triang_masked_softmax_fusion scaled_masked_softmax_fusion
    bias_dropout_fusion rope_fusion fused_kernels_build_path use_cpu_initialization attention_softmax_in_fp32
    rotary_save_freqs_buffer gmlp_attn_dim mamba_selective_scan_fusion mamba_causal_conv_fusion
    mamba_inner_func_fusion mamba_selective_fp32_params mamba_use_bias_in_conv mamba_use_bias_in_linears
    output_layer_parallelism serve_model_weights weight_server_port online_dataserver_ips online_dataserver_ports
    te_fp8_format te_fp8_wgrad te_fp8_amax_history_len te_fp8_amax_compute_algo te_fp8_margin optimizer_type lr
    override_lr_scheduler use_checkpoint_lr_scheduler use_wandb wandb_group wandb_run_name wandb_team wandb_project
    wandb_host wandb_init_all_ranks git_hash log_dir tensorboard_dir use_comet comet_workspace comet_project
    comet_experiment_name comet_tags comet_others comet_experiment peak_theoretical_tflops log_interval
    log_grad_pct_zeros log_param_norm log_grad_norm log_optimizer_states log_gradient_noise_scale
    gradient_noise_scale_n_batches gradient_noise_scale_cpu_offload memory_profiling memory_profiling_path profile
    profile_step_start profile_step_stop distributed_backend local_rank rank lazy_mpu_init short_seq_prob
    adlr_autoresume adlr_autoresume_interval onnx_safe deepspeed_mpi deepspeed_slurm user_script do_train do_valid
    do_test tokenizer_type padded_vocab_size use_shared_fs weighted_sampler_alpha allow_chopped mmap_warmup dpo_fp32
    dpo_reference_free dpo_beta kto_fp32 kto_desirable_weight kto_undesirable_weight kto_beta fp32_reinforce kl_impl
    kl_div_beta reinforce_leave_one_out save s3_path s3_chunk_size config_files
    checkpoint_validation_with_forward_pass checkpoint_scale extra_save_iters no_save_optim no_save_rng no_load_rng
    batch_size keep_last_n_checkpoints merge_file num_workers checkpoint_activations
    checkpoint_num_layers deepspeed_activation_checkpointing contiguous_checkpointing checkpoint_in_cpu
    synchronize_each_layer profile_backward partition_activations clip_grad hysteresis dynamic_loss_scale loss_scale
    loss_scale_window min_scale char_level_ppl coord_check save_base_shapes base_shapes_file mup_init_scale
    mup_attn_temp mup_output_temp mup_embedding_mult mup_rp_embedding_mult mup_width_scale text_gen_type
    precompute_model_name temperature top_p top_k return_logits maximum_tokens prompt_end sample_input_file
    sample_output_file num_samples recompute eval_results_prefix eval_tasks moe_expert_interval moe_top_k
    moe_router_type moe_lbl_in_fp32 moe_jitter_eps deepscale_config"""
)
"""Placement, logging, storage, and options of things that HELD keeps switched off."""

HELD: dict[str, tuple[tuple[Any, ...], str]] = {
    "norm": (("layernorm",), "transformers' GPTNeoXForCausalLM has layer norms only"),
    "pos_emb": (
        ("rotary",),
        "transformers' GPTNeoXForCausalLM has rotary positions only (GPT-NeoX's default: learned)",
    ),
    "gpt_j_tied": ((False,), "transformers' GPTNeoXForCausalLM keeps two layer norms"),
    "use_bias_in_norms": ((True,), "transformers' GPTNeoXForCausalLM has biases there"),
    "use_bias_in_mlp": ((True,), "transformers' GPTNeoXForCausalLM has biases there"),
    "hidden_dropout": ((0, 0.0), "this engine trains without dropout"),
    "attention_dropout": ((0, 0.0), "this engine trains without dropout"),
    "data_impl": (("mmap",), "GPT-NeoX's default `infer` does not find any dataset"),
    "pack_impl": (("packed",), "other orders are not computed here"),
    "dataset_impl": (("gpt2",), "other orders are not computed here"),
    "train_impl": (("normal",), "only next-token training is done here"),
    "weight_by_num_documents": ((False,), "it would override train_data_weights"),
    "moe_num_experts": ((0, 1), "mixtures of experts are not in transformers' GPTNeoXForCausalLM"),
    "curriculum_seqlen": ((0,), "all samples have the full seq_length here"),
    "z_loss": ((0, 0.0), "the loss here is plain cross entropy"),
    "no_load_optim": ((False,), "GPT-NeoX then trains nothing (its optimizer is a dummy)"),
    "data_types": ((None, {}, {"grad_accum_dtype": "fp32"}), "gradients are summed in fp32 here"),
    "elasticity": ((None,), "DeepSpeed would choose another batch size"),
}
for _key in _words(
    """use_qk_layernorm apply_query_key_layer_scaling fp16_lm_cross_entropy te_columnparallel te_rowparallel
    te_layernorm_mlp te_mha te_fp8_mha use_bnb_optimizer deepscale use_mup finetune sparse_gradients"""
):
    HELD[_key] = ((False,), "this engine does not do it")
for _key in _words(
    """num_kv_heads sliding_window_width num_unique_layers soft_prompt_tuning train_epochs scheduler amp
    curriculum_learning sparse_attention data_efficiency compression_training iteration
    dim_att head_size ffn_dim exit_interval train_label_data_paths train_reward_data_paths test_label_data_paths
    test_reward_data_paths valid_label_data_paths valid_reward_data_paths pos_train_data_paths neg_train_data_paths
    pos_train_label_data_paths neg_train_label_data_paths pos_valid_data_paths neg_valid_data_paths
    pos_valid_label_data_paths neg_valid_label_data_paths pos_test_data_paths neg_test_data_paths
    pos_test_label_data_paths neg_test_label_data_paths"""
):
    HELD[_key] = ((None,), "this engine does not do it")


def check(config: Mapping[str, Any]) -> None:
    """Refuse every key, and every value of a key, that this engine cannot honour.

    Raises:
        HaigoError: an unknown key (with the nearest real one), a value of a type that GPT-NeoX would not take, or one that
            cannot be honoured.
    """
    for name in config:
        if name not in KEYS:
            raise HaigoError(
                f"unknown key '{name}': GPT-NeoX has no such key.{reader.did_you_mean(name)}", "mend or remove it"
            )
    for problem in reader.type_problems(config):
        raise HaigoError(f"the config's {problem}", "mend it: GPT-NeoX would not take it either")
    for name, value in config.items():
        if value is None or name in HONOURED or name in NO_EFFECT:
            continue
        if name == "attention_config":
            attention(value, int(config.get("num_layers") or 0))
        elif name == "load":
            if value != config.get("save"):
                raise HaigoError(
                    f"load: '{value}' names other weights to start from, which this engine cannot read.",
                    "remove load: this engine goes on from its own checkpoints in --output-dir",
                )
        else:
            allowed, why = HELD[name]
            # DeepSpeed's blocks have an `enabled`; one that lacks it may be on (scheduler), so it is not taken for off
            off = isinstance(value, Mapping) and None in allowed and (not value or value.get("enabled") is False)
            if value not in allowed and not off:
                fix = f"set {name} to {allowed[0]!r}" if allowed[0] is not None else f"remove {name}"
                raise HaigoError(f"{name}: {value!r} cannot be honoured by the embedded engine: {why}.", fix)
    for name in ("norm", "pos_emb", "data_impl"):  # GPT-NeoX's defaults, where the engine cannot honour them
        if config.get(name) is None and KEYS[name].default not in HELD[name][0]:
            raise HaigoError(
                f"{name} is not given, and GPT-NeoX's default {KEYS[name].default!r} cannot be honoured: "
                f"{HELD[name][1]}.",
                f'write "{name}": "{HELD[name][0][0]}"',
            )


def attention(value: Any, layers: int) -> None:
    """Refuse an attention_config that is not full attention in each of `layers` layers (0: any number)."""
    fix = f'write "attention_config": [[["global"], {layers or "LAYERS"}]]'
    kinds: list[str] = []
    try:
        if isinstance(value, str) or not all(isinstance(kind, str) for item in value for kind in _kinds(item)):
            raise TypeError
        for item in value:
            times = 1 if isinstance(item, str) else item[1]
            kinds += _kinds(item) * (max(1, layers // len(_kinds(item))) if times == "all" else times)
    except (TypeError, LookupError, ZeroDivisionError):
        raise HaigoError(f"attention_config: {value!r} is not a list of [[KIND, ...], LAYERS].", fix) from None
    wrong = sorted({kind for kind in kinds if kind not in ("global", "flash")})
    if wrong:
        raise HaigoError(
            f"attention_config: '{wrong[0]}' cannot be honoured by the embedded engine: it has full attention only.",
            fix,
        )
    if value and layers and len(kinds) != layers:
        raise HaigoError(f"attention_config is for {len(kinds)} layers, and the model has {layers}.", fix)


def _kinds(item: Any) -> list[str]:
    return [item] if isinstance(item, str) else list(item[0])
