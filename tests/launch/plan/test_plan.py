"""launch.plan against figures that others published, and against what GPT-NeoX refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shared_data import data_of

from haigo import cli
from haigo.cli import HaigoError, Refused
from launch.plan import layouts as plan_layouts
from launch.plan import memory as plan_memory
from launch.plan.__main__ import main as plan_main
from launch.plan.memory import Shape, Split
from launch.plan.options import PlanOptions
from launch.plan.planner import plan, vocab_step
from neox_configs import derive, hardware, reader, shipped

DATA = data_of(__file__)

SIZES = ["1-3B", "2-7B", "7B", "13B"]
A100 = hardware.cluster("a100-40gb")


def shape(name: str, flash: bool = True, vocab: int = 50_304, seq: int = 2048) -> Shape:
    config = reader.load(shipped.find("models", name))
    layer, count = derive.parameters(config, vocab)
    return Shape(
        config["num_layers"],
        config["hidden_size"],
        config["num_attention_heads"],
        seq,
        vocab,
        layer,
        count,
        False,
        flash,
        2,
    )


def test_13b_does_not_fit_one_node_and_the_smallest_that_does_is_named() -> None:
    made = plan(PlanOptions(model="13B", cluster="a100-40gb", nodes=1))
    assert made.layouts == []
    with pytest.raises(Refused, match=r"13B does not fit on 1 node of a100-40gb \(4 GPUs\)") as caught:
        _ = made.best
    assert "use 2 nodes" in caught.value.fix
    assert made.closest.memory_bytes > made.memory_bytes
    assert made.smallest is not None and made.smallest.fits
    assert plan(PlanOptions(model="13B", cluster="a100-40gb", nodes=2)).best.name == made.smallest.name


@pytest.mark.parametrize(("name", "nodes"), [("1-3B", 1), ("2-7B", 1), ("7B", 1), ("13B", 2)])
def test_the_smallest_number_of_nodes_of_each_size(name: str, nodes: int) -> None:
    assert plan(PlanOptions(model=name, cluster="a100-40gb", nodes=nodes)).best.fits


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("cluster", ["a100-40gb", "a100-80gb", "h100-80gb"])
@pytest.mark.parametrize("attention", ["global", "flash"])
def test_no_layout_that_gpt_neox_cannot_run(name: str, cluster: str, attention: str) -> None:
    place = hardware.cluster(cluster)
    config = reader.load(shipped.find("models", name))
    for nodes in (1, 2, 3, 4, 8, 16):
        made = plan(PlanOptions(model=name, cluster=place, nodes=nodes, attention=attention))
        for one in made.layouts:
            stages = max(1, one.pipe)
            assert one.tensor * stages * one.data == made.gpus == nodes * place.gpus_per_node
            assert config["num_attention_heads"] % one.tensor == 0
            assert config["num_layers"] % stages == 0
            assert one.tensor <= place.gpus_per_node and place.gpus_per_node % one.tensor == 0
            assert one.pipe != 1 and one.zero in (1, 2)
            assert one.zero == 1 or (one.pipe == 0 and one.tensor == 1)
            assert one.train_batch_size == one.micro * one.accumulation * one.data
            assert one.memory_bytes == pytest.approx(sum(one.memory.values()))
            assert one.memory_bytes <= made.memory_bytes
            assert 0 < one.tokens_per_s[0] < one.tokens_per_s[1]
        if any(one.pipe == 0 and not one.tight for one in made.layouts):
            assert made.best.pipe == 0


@pytest.mark.parametrize(("name", "tensor"), [("1-3B", 1), ("2-7B", 1), ("13B", 4)])
def test_many_h100_do_not_split_what_fits_on_one(name: str, tensor: int) -> None:
    for nodes in (8, 16):
        assert plan(PlanOptions(model=name, cluster="h100-80gb", nodes=nodes)).best.tensor == tensor


# Pythia's layouts on A100-40GB (model, GPUs, tensor split, micro batch; ZeRO 1, flash attention, full recomputation),
# with the tokens/s a GPU that its GPU hours come to
PYTHIA = [
    ("1-3B", 64, 1, 16, 11_700),
    ("2-7B", 64, 1, 8, 5_850),
    ("7B", 128, 2, 8, 2_490),
]


@pytest.mark.parametrize(("name", "gpus", "tensor", "micro", "speed"), PYTHIA)
def test_pythia_as_it_was_trained(name: str, gpus: int, tensor: int, micro: int, speed: float) -> None:
    split = Split(tensor, 0, gpus // tensor, 1, True)
    one = plan_layouts.layout(shape(name), split, micro, 1024, A100)
    assert one.fits
    assert one.tokens_per_s[0] <= speed * gpus <= one.tokens_per_s[1]
    assert one.tokens_per_s[1] <= 2 * one.tokens_per_s[0]


def test_gpt_neox_own_files_cannot_run_on_40_gb() -> None:
    # 13.1e9 parameters in bf16 alone, without splitting: shipped with tensor and pipeline 1 and micro batch 4
    for gpus in (4, 64, 1024):
        one = plan_layouts.layout(shape("13B", flash=False), Split(1, 0, gpus, 1, True), 4, 1024, A100)
        assert not one.fits


def test_memory_by_hand() -> None:
    one = shape("1-3B", vocab=50_304)
    parts = plan_memory.memory(one, Split(1, 0, 4, 1, False), micro=4, accumulation=32)
    count = 24 * (12 * 2048**2 + 13 * 2048) + 2 * 50_304 * 2048 + 2 * 2048
    assert parts["weights"] == 2 * count
    assert parts["gradients"] == 6 * count  # bf16 and fp32 side by side
    assert parts["optimizer"] == 12 * count / 4
    assert parts["activations"] == 24 * 32 * 2048 * 4 * 2048
    assert parts["logits"] == 8 * 2048 * 4 * 50_304
    half = plan_memory.memory(one, Split(2, 0, 2, 1, True), micro=4, accumulation=32)
    assert half["weights"] == count
    assert half["activations"] == 24 * 2048 * 4 * 2048 + 2048 * 4 * 2048 * 20
    zero2 = plan_memory.memory(one, Split(1, 0, 8, 2, True), micro=1, accumulation=1)
    assert zero2["gradients"] == 4 * count / 8
    plain = plan_memory.memory(shape("1-3B", flash=False, vocab=50_304), Split(1, 0, 4, 1, False), 4, 32)
    assert plain["activations"] == 24 * 2048 * 4 * 2048 * (32 + 5 * 16 * 2048 / 2048)


def test_pipeline_memory_and_bubble() -> None:
    one = shape("13B")
    split = Split(1, 8, 1, 1, True)
    few = plan_memory.memory(one, split, micro=1, accumulation=2)
    many = plan_memory.memory(one, split, micro=1, accumulation=64)
    assert many["activations"] >= few["activations"]
    assert plan_memory.bubble(split, 9) == pytest.approx(7 / 16)
    assert plan_memory.bubble(Split(1, 0, 8, 1, True), 1) == 0


def test_more_of_anything_never_costs_less() -> None:
    one = shape("7B", flash=False)
    for split in plan_layouts.splits(one, 16, A100):
        sizes = [plan_memory.total(plan_memory.memory(one, split, micro, 64)) for micro in (1, 2, 4, 8)]
        assert sizes == sorted(sizes)
        longer = shape("7B", flash=False, seq=4096)
        assert plan_memory.total(plan_memory.memory(longer, split, 1, 64)) > sizes[0]


def test_the_vocabulary_is_padded_alike_for_every_tensor_split() -> None:
    for vocab in (300, 32_000, 50_000, 65_000):
        padded = {
            derive.padded_vocab(
                {"model_parallel_size": tensor, "make_vocab_size_divisible_by": vocab_step(A100, tensor)},
                vocab,
            )
            for tensor in (1, 2, 4, 8)
        }
        assert len(padded) == 1


def test_batches_follow_what_is_asked() -> None:
    made = plan(PlanOptions(model="1-3B", cluster="a100-40gb", nodes=2, global_batch_tokens=2e6))
    assert made.best.train_batch_size * made.seq_length == pytest.approx(2e6, rel=0.05)
    assert plan(PlanOptions(model="7B", cluster="a100-40gb", nodes=4)).best.train_batch_size == 1024


def test_a_proxy_on_this_machine() -> None:
    made = plan(PlanOptions(model="0-3M", cluster="local-cpu", tokens=300_000, vocab_size=4096))
    assert (made.gpus, made.best.zero, made.best.pipe, made.best.micro) == (1, 0, 0, 16)
    assert made.faster is None


@pytest.mark.parametrize(("arguments", "said"), DATA["bad_input"])
def test_bad_input(arguments: dict, said: str) -> None:
    with pytest.raises(HaigoError, match=said):
        plan(PlanOptions(**{"model": "1-3B", "cluster": "a100-40gb", **arguments}))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(plan_main, ["--model", "7B", "--cluster", "a100-40gb", "--nodes", "2"]) == 0
    shown = capsys.readouterr().out
    assert "TP" in shown and "GB on the fullest GPU" in shown and "--attention flash" in shown
    words = ["--model", "13B", "--cluster", "a100-40gb", "--json"]
    assert cli.run(plan_main, words) == 3
    taken = capsys.readouterr()
    assert json.loads(taken.out)["smallest_nodes"] == 2
    assert taken.err.count("\n") == 2 and "use 2 nodes" in taken.err


def test_help_is_quick_and_imports_little() -> None:
    code = (
        "import sys, launch.plan, launch.configs, launch.preflight, launch.deepy, launch.hostfile; "
        "print([m for m in ('torch', 'transformers', 'pandas', 'sentencepiece', 'numpy') if m in sys.modules])"
    )
    started = time.process_time()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True
    )
    assert done.stdout.strip() == "[]"
    assert time.process_time() - started < 1


def test_days_hold_what_is_spent_beside_the_steps() -> None:
    made = plan(PlanOptions(model="1-3B", cluster="a100-40gb", tokens=20e9))
    one, spent = made.best, made.overhead(made.best)
    steps = 20e9 / (one.train_batch_size * made.seq_length)
    assert spent["validation"] == pytest.approx(10 / 3 / 1000, rel=0.02)
    writing = made.parameters * 14 / 1e9
    assert spent["checkpoints"] == pytest.approx(writing / 1800, rel=0.02)
    assert spent["restarts"] == pytest.approx(4 / 1000 * 25 / 1440)
    low, high = one.tokens_per_s
    assert made.days(one) == pytest.approx([20e9 * (1 + sum(spent.values())) / rate / 86400 for rate in (high, low)])
    assert steps > 1000
    slow = plan(PlanOptions(model="1-3B", cluster="a100-40gb", tokens=20e9, disk_gbps=0.1))
    assert slow.overhead(slow.best)["checkpoints"] == pytest.approx(0.02, rel=0.05)  # they come less often then
    assert not plan(PlanOptions(model="0-1M", cluster="local-cpu", tokens=1e6)).overhead(one)


def test_a_pipeline_validates_nothing_and_many_gpus_fail_more() -> None:
    made = plan(PlanOptions(model="13B", cluster="h100-80gb", nodes=64, tokens=1e12))
    pipe = next(one for one in made.layouts if one.pipe)
    assert made.overhead(pipe)["validation"] == 0 and made.overhead(pipe)["restarts"] > 0.008
