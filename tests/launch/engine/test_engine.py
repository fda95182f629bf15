"""The embedded engine: loss, initialisation, optimizer, schedule, precision and the keys it honours or refuses."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys

import pytest
from shared_data import data_of

from haigo.cli import HaigoError, Refused
from launch.engine import device, init, settings
from neox_configs import derive
from neox_configs.keys import KEYS

DATA = data_of(__file__)


def plan_of(world, **changes):
    return settings.resolve(world.config(**changes))


# --- loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows,chunk", [(10, 4), (256, 256), (300, 64), (1, 256)])
def test_fused_cross_entropy_equals_stock(rows, chunk):
    import torch

    from haigo.formats.dataset.ids import MASKED
    from launch.engine.loss import fused_cross_entropy, token_nats

    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 24, generator=generator, requires_grad=True)
    weight = torch.randn(130, 24, generator=generator, requires_grad=True)
    labels = torch.randint(130, (rows,), generator=generator)
    if rows > 4:
        labels[::3] = MASKED
    stock = torch.nn.functional.cross_entropy(hidden @ weight.t(), labels)
    expected = torch.autograd.grad(stock, [hidden, weight])
    ours = fused_cross_entropy(hidden, weight, labels, chunk)
    found = torch.autograd.grad(ours * 1.0, [hidden, weight])
    assert ours.item() == pytest.approx(stock.item(), abs=1e-6, rel=2e-7)  # float32 keeps 1.2e-7 of a number
    for left, right in zip(found, expected, strict=True):
        assert torch.allclose(left, right, atol=1e-6)
    halved = torch.autograd.grad(fused_cross_entropy(hidden, weight, labels, chunk) / 2, [hidden, weight])
    assert torch.allclose(halved[1], expected[1] / 2, atol=1e-6)
    each = torch.nn.functional.cross_entropy(hidden @ weight.t(), labels, reduction="none")
    assert torch.allclose(token_nats(hidden.detach(), weight.detach(), labels, chunk), each, atol=1e-5)


def test_fused_cross_entropy_bears_large_logits():
    import torch

    from launch.engine.loss import fused_cross_entropy

    hidden = torch.full((3, 4), 200.0, requires_grad=True)
    weight = torch.eye(4) * 2
    loss = fused_cross_entropy(hidden * torch.tensor([1.0, 0.0, 0.0, 0.0]), weight, torch.tensor([1, 1, 0]))
    assert loss.item() == pytest.approx(800 / 3, rel=1e-6)


# --- model --------------------------------------------------------------------------------------------------------


def test_model_follows_the_config(world):
    from launch.engine import model

    made = model.build(plan_of(world), 340, 1, 2)
    assert made.config.vocab_size == 384  # 340 padded to a multiple of 64
    assert not made.config.use_parallel_residual and not made.config.tie_word_embeddings
    assert made.config.rope_parameters["partial_rotary_factor"] == 1.0  # GPT-NeoX's default, not transformers' 0.25
    assert (made.config.eos_token_id, made.config.bos_token_id, made.config.pad_token_id) == (1, 1, 2)
    assert made.config._attn_implementation == "sdpa"
    tied = model.build(plan_of(world, no_weight_tying=None, gpt_j_residual=True, rotary_pct=0.5), 340, 1)
    assert tied.lm_head.weight is tied.gpt_neox.embed_in.weight
    assert tied.config.use_parallel_residual and tied.config.rope_parameters["partial_rotary_factor"] == 0.5
    assert model.parameters(made) - model.parameters(tied) == 384 * 32
    # as GPT-NeoX counts: L (12 h^2 + 13 h) + 2 h, and twice V h untied
    assert model.parameters(made) == 2 * (12 * 32**2 + 13 * 32) + 2 * 32 + 2 * 384 * 32
    assert model.non_embedding_parameters(made) == model.non_embedding_parameters(tied)


def test_older_transformers_find_the_rotary_share_in_the_config(world, tmp_path):
    import json

    from transformers import AutoConfig

    from launch.engine.model import build

    model = build(plan_of(world, rotary_pct=1.0, rotary_emb_base=20000), 500, 0, 0)
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_bytes())
    assert (written["rotary_pct"], written["rotary_emb_base"]) == (1.0, 20000)  # what versions before 5 read
    rope = AutoConfig.from_pretrained(tmp_path).rope_parameters
    assert (rope["partial_rotary_factor"], rope["rope_theta"]) == (1.0, 20000)


def test_vocabulary_padding_depends_on_model_parallel_size(world):
    one = plan_of(world, make_vocab_size_divisible_by=128)
    two = plan_of(world, make_vocab_size_divisible_by=128, model_parallel_size=2)
    assert one.padded(50000) == 50048 and two.padded(50000) == 50176 and one.padded(128) == 128
    assert two.vocab_multiple == 256


@pytest.mark.parametrize("name", init.INITS)
def test_every_init_has_neox_width(world, name):
    import torch

    from launch.engine import model

    plan = plan_of(world, init_method=name, hidden_size=64, init_method_std=0.03)
    made = model.build(plan, 340, 1)
    weight = made.gpt_neox.layers[0].mlp.dense_h_to_4h.weight
    widths = {
        "normal": 0.03,
        "scaled_normal": 0.03 / math.sqrt(2 * 2),
        "single_residual_scaled_normal": 0.03 / math.sqrt(2),
        "small_init": math.sqrt(2 / (5 * 64)),
        "wang_init": 2 / 2 / math.sqrt(64),
        "xavier_normal": math.sqrt(2 / (64 + 256)),
        "xavier_uniform": math.sqrt(2 / (64 + 256)),
    }
    assert weight.std().item() == pytest.approx(widths[name], rel=0.03)
    out = made.gpt_neox.layers[0].mlp.dense_4h_to_h.weight
    assert out.std().item() == pytest.approx(2 / 2 / math.sqrt(64), rel=0.03)  # output_layer_init_method: wang_init
    for key, value in made.named_parameters():
        if key.endswith("bias"):
            assert not value.any()
        elif "norm" in key:
            assert torch.equal(value, torch.ones_like(value))


def test_same_seed_same_weights_whatever_ran_before(world):
    import torch

    from launch.engine import model

    first = model.build(plan_of(world), 340, 1)
    torch.rand(7)
    again = model.build(plan_of(world), 340, 1)
    other = model.build(plan_of(world, seed=5), 340, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


# --- optimizer and schedule ---------------------------------------------------------------------------------------


def test_biases_and_norms_are_not_decayed(world):
    from launch.engine import model, optimizer

    for tied in (True, False):
        made = model.build(plan_of(world, no_weight_tying=not tied), 340, 1)
        decayed, plain = optimizer.groups(made, 0.1)
        names = {id(value): key for key, value in made.named_parameters()}
        assert {names[id(value)] for value in plain["params"]} == {
            key for key in names.values() if key.endswith("bias") or "norm" in key
        }
        assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0.0
        assert len(decayed["params"]) + len(plain["params"]) == len(names)
    (only,) = optimizer.groups(made, 0.0)
    assert only["weight_decay"] == 0.0


def test_schedule_is_neox_annealing(world):
    from launch.engine.optimizer import learning_rate

    plan = plan_of(world, train_iters=100, warmup=0.1, lr_decay_style="cosine")
    rates = [learning_rate(step, plan) for step in range(101)]
    assert rates[0] == rates[1] == pytest.approx(0.004 / 10)  # steps 0 and 1 share a rate there
    assert rates[10] == pytest.approx(0.004)
    assert rates[55] == pytest.approx(0.0004 + 0.0018 * (math.cos(math.pi / 2) + 1))
    assert rates[100] == pytest.approx(0.0004)
    linear = plan_of(world, train_iters=100, warmup=0.1, lr_decay_style="linear")
    assert learning_rate(55, linear) == pytest.approx(0.002)
    assert learning_rate(99, linear) == pytest.approx(0.0004)  # 0.0000444 would be below min_lr
    flat = plan_of(world, train_iters=100, warmup=0.0, lr_decay_style="constant")
    assert {learning_rate(step, flat) for step in range(100)} == {0.004}
    falling = plan_of(world, train_iters=100, warmup=0.0, lr_decay_style="exponential")
    assert learning_rate(100, falling) == pytest.approx(0.004 * math.exp(-0.693))
    assert learning_rate(0, plan_of(world, train_iters=20, warmup=0.01)) == pytest.approx(0.004 / 0.2)


def test_a_budget_stretches_the_schedule(world):
    plan = plan_of(world, train_iters=100, lr_decay_iters=80).with_steps(50)
    assert (plan.train_iters, plan.lr_decay_iters) == (50, 40)


# --- keys ---------------------------------------------------------------------------------------------------------


def test_every_neox_key_is_in_exactly_one_class():
    assert {key.engine for key in KEYS.values()} == {"honoured", "no effect", "held", "rule"}
    assert {name for name, key in KEYS.items() if key.engine == "rule"} == {"attention_config", "load"}
    assert all(bool(key.held) == (key.engine == "held") for key in KEYS.values())
    # what the table says nothing of is held to its default, and refused in one sentence
    assert KEYS["soft_prompt_tuning"].held == (None,) and KEYS["finetune"].held == (False,)
    assert set(KEYS["init_method"].held) == set(init.INITS)


def test_neox_defaults_of_held_keys_are_allowed_or_demanded():
    odd = {name for name, key in KEYS.items() if key.engine == "held" and key.default not in key.held}
    assert odd == {"pos_emb", "data_impl"}  # both are refused when they are not given


@pytest.mark.parametrize("changes,words", DATA["what_cannot_be_honoured_is_refused_by_name"])
def test_what_cannot_be_honoured_is_refused_by_name(world, changes, words):
    with pytest.raises(HaigoError, match=words):
        plan_of(world, **changes)


def test_no_value_of_any_key_ends_in_a_traceback(world):
    odd = ["x", "", -1, 0, 2, 0.5, math.nan, math.inf, [], {}, True, [1], ["x"], {"enabled": True}, {"a": 1}]
    odd += [[["global"], 2], [[["global"], "x"]], [[[], 2]], {"type": 1}, {"type": "Adam", "params": {"lr": "x"}}]
    for name in KEYS:
        for value in odd:
            with contextlib.suppress(HaigoError):  # anything else is a traceback for the user
                plan_of(world, **{name: value})


def test_harmless_keys_are_taken(world):
    plan = plan_of(
        world,
        attention_config=[[["flash"], 2]],
        load="same",
        save="same",
        curriculum_learning={"enabled": False},
        hostfile="hosts",
        zero_optimization={"stage": 1},
        checkpoint_activations=True,
    )
    assert plan.precision == "fp32"


def test_batch_arithmetic(world):
    def sizes(config):
        one = derive.batch_of(config)
        return one.micro, one.train

    assert sizes({"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 3}) == (4, 12)
    many = {"train_micro_batch_size_per_gpu": 4, "global_num_gpus": 8, "model_parallel_size": 2}
    assert sizes(many) == (4, 16)
    assert sizes({"train_batch_size": 32, "gradient_accumulation_steps": 4}) == (8, 32)
    assert sizes({"train_batch_size": 32, "train_micro_batch_size_per_gpu": 4}) == (4, 32)


def test_clipping_at_neox_default_is_none(world):
    # GPT-NeoX does not hand DeepSpeed a value that equals its own default
    assert plan_of(world, gradient_clipping=1.0).clip == 0.0
    assert plan_of(world, gradient_clipping=None).clip == 0.0
    assert plan_of(world, gradient_clipping=0.5).clip == 0.5
    assert plan_of(world, deepspeed_extra_args={"gradient_clipping": 1.0}).clip == 1.0


def test_fused_gelu_is_the_tanh_form(world):
    assert plan_of(world).activation == "gelu"
    assert plan_of(world, bias_gelu_fusion=True).activation == "gelu_pytorch_tanh"


def test_half_precision_is_refused_with_the_way_out(world):
    plan = plan_of(world, precision="bfloat16")
    with pytest.raises(Refused) as refused:
        device.computed_in(plan, None)
    assert "bfloat16" in refused.value.problem and "--precision fp32" in refused.value.fix
    device.computed_in(plan, "fp32")
    with pytest.raises(HaigoError, match="trains in fp32"):
        device.computed_in(plan, "fp16")


def test_modules_import_without_torch():
    code = (
        "import sys, launch.proxies, launch.samples, launch.local.train, launch.local.__main__;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
