"""Stacks, calibration by measured speeds, and single layouts that somebody asks about."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import random
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from shared_data import data_of

from haigo import cli
from haigo.cli import HaigoError
from launch.plan import calibrate as plan_calibrate
from launch.plan import layouts as plan_layouts
from launch.plan import show
from launch.plan import speed as plan_speed
from launch.plan import stacks as plan_stacks
from launch.plan.__main__ import main as plan_main
from launch.plan.calibrate import Calibration
from launch.plan.memory import Shape, Split
from launch.plan.options import PlanOptions
from launch.plan.planner import plan
from neox_configs import derive, hardware

DATA = data_of(__file__)

A100 = hardware.cluster("a100-40gb")
FSDP = plan_stacks.STACKS["fsdp-flash"]
FLASH = plan_stacks.STACKS["gpt-neox-flash"]


def shape(layers: int, hidden: int, heads: int, seq: int = 2048, vocab: int = 50_304, flash: bool = True) -> Shape:
    config = {"num_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, "no_weight_tying": True}
    layer, count = derive.parameters(config, vocab)
    return Shape(layers, hidden, heads, seq, vocab, layer, count, False, flash, 2)


# GPT-NeoX's own layouts on A100-40GB: layers, hidden, heads, GPUs, tensor, pipe, micro, accumulation; all recompute, ZeRO 1
SHIPPED = DATA["shipped"]


@pytest.mark.parametrize("name", SHIPPED)
def test_layouts_that_were_really_trained_fit(name: str) -> None:
    layers, hidden, heads, gpus, tensor, pipe, micro, accumulation = SHIPPED[name]
    split = Split(tensor, pipe, gpus // (tensor * max(1, pipe)), 1, True)
    one = plan_layouts.layout(
        shape(layers, hidden, heads, flash=name != "20B"), split, micro, micro * accumulation * split.data, A100
    )
    assert one.fits, one.memory


# tokens a second and GPU that Pythia's GPU hours come to; 20B: 117 TFLOP/s with recomputation
@pytest.mark.parametrize(
    ("name", "speed"),
    [
        ("pythia-410M", 32_800),
        ("pythia-1.4B", 11_700),
        ("pythia-2.8B", 5_850),
        ("pythia-6.9B", 2_490),
        ("pythia-12B", 1_150),
    ],
)
def test_stock_speeds_lie_in_the_interval(name: str, speed: float) -> None:
    layers, hidden, heads, gpus, tensor, pipe, micro, accumulation = SHIPPED[name]
    split = Split(tensor, pipe, gpus // tensor, 1, True)
    one = plan_layouts.layout(shape(layers, hidden, heads), split, micro, micro * accumulation * split.data, A100)
    low, high = one.tokens_per_s
    assert low <= speed * gpus <= high <= 2 * low


def test_the_roofline_knows_what_costs_time() -> None:
    def speed(one: Shape, split: Split, micro: int = 4, accumulation: int = 1, near: int = 4) -> float:
        return plan_speed.roofline(one, split, micro, accumulation, near, 312e12)

    one, plain = shape(24, 2048, 16), Split(1, 0, 8, 1, False)
    most = speed(one, plain)
    assert most * one.flops_per_token < 312e12
    assert speed(one, Split(1, 0, 8, 1, True)) < most * 0.8
    assert speed(shape(24, 2048, 16, flash=False), plain) < most
    assert speed(shape(24, 2048, 16, seq=8192), plain, micro=1) < most
    rare = speed(one, plain, accumulation=32)
    assert speed(one, Split(2, 0, 4, 1, False), accumulation=32) < rare
    assert speed(one, Split(1, 4, 2, 1, False), accumulation=32) < rare
    # exchanges: none alone, fewer with accumulation, at every micro batch with ZeRO 2 and 3, cheaper inside a node
    alone = speed(one, Split(1, 0, 1, 1, False), micro=1)
    assert alone > speed(one, plain, micro=1, accumulation=8) > speed(one, plain, micro=1)
    sharded = Split(1, 0, 8, 3, False)
    assert speed(one, sharded, micro=1, accumulation=8) == pytest.approx(speed(one, sharded, micro=1))
    assert speed(one, sharded, micro=1, near=8) > speed(one, sharded, micro=1)


@pytest.mark.parametrize(("near", "times"), [(4, 1.0), (8, 0.5)])
def test_tensor_parallelism_saves_exchanges_inside_a_node_alone(near: int, times: float) -> None:
    """At the same batch on the same GPUs; between nodes all GPUs of a node share its network."""

    def waits(split: Split, accumulation: int) -> float:
        seconds = [
            1 / plan_speed.roofline(shape(24, 2048, 16), split, 4, count, near, 312e12)
            for count in (accumulation, 10**9)
        ]
        return (seconds[0] - seconds[1]) * plan_speed._TENSOR_COST[split.tensor]

    alone, pair = waits(Split(1, 0, 8, 1, False), 8), waits(Split(2, 0, 4, 1, False), 16)
    assert pair == pytest.approx(times * alone, rel=1e-3)


def rows(path: Path, level: float, noise: float, seed: int, names: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Measured runs of a stack that is `level` times the plan."""
    draw = random.Random(seed)
    made = []
    for name in names:
        row = {"vocab": 50_304, "gpus": 8, "tied": 0, "accumulation": 2, **name}
        one = shape(row["layers"], row["hidden"], row["heads"], row["seq_length"])
        split = Split(1, 0, row["gpus"], 3, bool(row["recompute"]))
        planned = plan_layouts.layout(one, split, row["micro"], row["micro"] * 2 * row["gpus"], A100, FSDP).tokens_per_s
        middle = math.sqrt(planned[0] * planned[1])
        made.append({**row, "tokens_per_s": middle * level * math.exp(draw.gauss(0, noise))})
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    return made


RUNS = [
    {"layers": layers, "hidden": hidden, "heads": heads, "seq_length": seq, "micro": 4, "recompute": recompute}
    for layers, hidden, heads in ((24, 1024, 16), (24, 2048, 16), (32, 2560, 20), (32, 4096, 32))
    for seq in (1024, 2048, 8192)
    for recompute in (0, 1)
]


@pytest.mark.parametrize("level", [0.6, 1.0, 1.5])
def test_three_rows_calibrate_the_others(tmp_path: Path, level: float) -> None:
    rows(tmp_path / "all.csv", level, 0.02, 1, RUNS)
    every = plan_calibrate.read(tmp_path / "all.csv", FSDP)
    assert len(every) == len(RUNS)
    draw, inside, errors = random.Random(2), [], []
    for _ in range(30):
        known = draw.sample(range(len(every)), 3)
        learnt = Calibration([every[number] for number in known], A100, FSDP)
        for number, row in enumerate(every):
            if number in known:
                continue
            one = plan_layouts.layout(row.shape, row.split, row.micro, row.micro * 2 * row.split.data, A100, FSDP)
            low, high = learnt.speed(one, row.shape)
            inside.append(low <= row.tokens_per_s <= high)
            errors.append(abs(math.log(math.sqrt(low * high) / row.tokens_per_s)))
    assert statistics.median(errors) < 0.05 and statistics.mean(inside) >= 0.9


def test_one_run_that_is_far_off_counts_for_little(tmp_path: Path) -> None:
    rows(tmp_path / "all.csv", 0.8, 0.0, 1, RUNS[:4])
    every = plan_calibrate.read(tmp_path / "all.csv", FSDP)
    slow = dataclasses.replace(every[3], tokens_per_s=every[3].tokens_per_s * 0.7)
    ratio, _ = Calibration([every[0], every[1], slow], A100, FSDP).ratio(every[2].shape, every[2].split)
    assert ratio == pytest.approx(0.8, rel=0.03)
    both, error = Calibration([every[0], slow], A100, FSDP).ratio(every[2].shape, every[2].split)
    assert both * math.exp(-1.645 * error) < 0.6 and both > 0.56  # nobody says which of two is right


def test_a_plan_is_narrowed_by_a_table(tmp_path: Path) -> None:
    rows(tmp_path / "r.csv", 0.7, 0.0, 1, RUNS[6:9])
    before = plan(PlanOptions(model="2-7B", cluster=A100, nodes=2, stack="fsdp-flash"))
    after = plan(PlanOptions(model="2-7B", cluster=A100, nodes=2, stack="fsdp-flash", calibrate=[tmp_path / "r.csv"]))
    (low, high), (wide_low, wide_high) = after.best.tokens_per_s, before.best.tokens_per_s
    assert high / low < 1.3 < wide_high / wide_low
    assert math.sqrt(low * high) == pytest.approx(0.7 * math.sqrt(wide_low * wide_high), rel=0.05)
    assert after.best.mfu[0] / low == pytest.approx(before.best.mfu[0] / wide_low)
    assert len(after.measured) == 3 and "Calibrated by 3 measured runs: 0.70" in show.text(after)


def log(steps: int = 5, **changes: str) -> str:
    """A log as GPT-NeoX writes it: every argument, the vocabulary that comes of the tokenizer, then a line an interval."""
    told = {
        "num_layers": "24",
        "hidden_size": "2048",
        "num_attention_heads": "16",
        "seq_length": "2048",
        "global_num_gpus": "4",
        "padded_vocab_size": "None",
        "train_micro_batch_size_per_gpu": "4",
        "gradient_accumulation_steps": "32",
        "model_parallel_size": "1",
        "pipe_parallel_size": "0",
        "zero_optimization": "{'stage': 1, 'allgather_partitions': True}",
        "checkpoint_activations": "False",
        "attention_config": "['global', 'global']",
        "no_weight_tying": "True",
        **changes,
    }
    lines = ["-------------------- arguments --------------------"]
    for name, value in told.items():
        line = f"  {name} {'.' * (32 - len(name))} {value}"
        lines.append(line + "." * (64 - len(line)) + "updated")
    lines.append("---------------- end of arguments ----------------")
    if told["padded_vocab_size"] == "None":
        lines.append(" > padded vocab (size: 50000) with 176 dummy tokens (new size: 50176)")
    for step in range(1, steps + 1):
        speed = 3.0 if step == 1 else 20.0 + step / 100
        lines.append(
            f"[2026-01-01 00:00:{step:02}] [INFO] [logging.py:96:log_dist] [Rank 0]  samples/sec: {speed:.3f} | iteration "
            f"{step * 10:8d}/   19074 | elapsed time per iteration (ms): 25600.0 | learning rate: 1.0E-04 | "
            f"approx flops per GPU: 110.0TFLOPS | lm_loss: 2.5 | number of skipped iterations:   0 |"
        )
    return "\n".join(lines) + "\n"


def test_a_log_tells_its_own_layout(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(log())
    (row,) = plan_calibrate.read(path, plan_stacks.STACKS["gpt-neox"])
    assert row.split == Split(1, 0, 4, 1, False) and (row.micro, row.accumulation) == (4, 32)
    assert row.shape.vocab == 50_176 and not row.shape.flash
    assert row.tokens_per_s == pytest.approx(20.035 * 2048)  # the first interval is the start
    made = plan(PlanOptions(model="1-3B", cluster=A100, nodes=1, calibrate=[path]))
    low, high = made.best.tokens_per_s
    assert high / low < 1.35 and len(made.measured) == 1
    pipe = tmp_path / "pipe.log"
    pipe.write_text(log(pipe_parallel_size="1", attention_config="['flash', 'flash']", checkpoint_activations="True"))
    (row,) = plan_calibrate.read(pipe, FLASH)
    assert row.split == Split(1, 0, 4, 1, True) and row.shape.flash


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.log", "nothing here\n", "0 logged speeds"),
        ("b.log", log(steps=1), "1 logged speeds"),
        ("c.log", log().partition("---------------- end")[2], "does not tell num_layers"),
        ("d.log", log(attention_config="['flash', 'flash']"), "is the log of a gpt-neox-flash run"),
        ("e.csv", "model,seq_length,gpus,micro\n1-3B,2048,4,4\n", "line 2 has no tokens_per_s"),
        ("f.csv", "model,seq_length,gpus,micro,tokens_per_s\n1-3B,2048,4,4,many\n", "tokens_per_s is 'many'"),
        ("g.csv", "model,seq_length,gpus,micro,tokens_per_s\n1-3B,2048,4,4,nan\n", "tokens_per_s is 'nan'"),
        ("h.csv", "model,seq_length,gpus,micro,tokens_per_s\n1-3B,2048,4,4,5\n", "times the planned"),
        ("i.csv", "model,seq_length,gpus,micro,tokens_per_s,tensor\n1-3B,2048,4,4,5e4,3\n", "make no run"),
        ("j.csv", "model,seq_length,gpus,micro,tokens_per_s\n", "no measured speed"),
    ],
)
def test_measurements_that_tell_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    asked = ["--model", "1-3B", "--cluster", "a100-40gb", "--calibrate", str(tmp_path / name)]
    assert cli.run(plan_main, asked) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    asked[-1] = str(tmp_path / "nowhere.log")
    assert cli.run(plan_main, asked) == 2 and "does not exist" in capsys.readouterr().err


def ask(words: str, *more: str) -> int:
    return cli.run(plan_main, ["--model", "7B", "--cluster", "a100-40gb", "--nodes", "2", "--layout", words, *more])


def test_a_layout_that_is_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("TP4 ZeRO1 micro 1 recompute") == 0
    assert "TP4 PP0 DP2 ZeRO1 micro 1 recompute fits" in capsys.readouterr().out
    assert ask("TP4 micro 32") == 3
    said = capsys.readouterr().out
    assert "does not fit" in said and "The nearest that fits: TP4 PP0 DP2 ZeRO1" in said
    assert ask("TP1 micro 1") == 3  # 6.9e9 parameters whole on a card
    assert "The nearest that fits: TP" in capsys.readouterr().out
    assert ask("TP4 micro 32", "--json") == 3
    content = json.loads(capsys.readouterr().out)
    assert content["asked"]["fits"] is False and content["nearest"]["fits"] is True
    assert content["nearest"]["gpu_days"][0] == pytest.approx(8 * content["nearest"]["days"][0])


@pytest.mark.parametrize(("words", "problem"), DATA["words_that_name_no_layout"])
def test_words_that_name_no_layout(capsys: pytest.CaptureFixture[str], words: str, problem: str) -> None:
    assert ask(words) == 2
    assert problem in capsys.readouterr().err


def test_price_and_gpu_days(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(plan_main, ["--model", "1-3B", "--cluster", "a100-40gb", "--price", "2"]) == 0
    said = capsys.readouterr().out
    made = plan(PlanOptions(model="1-3B", cluster="a100-40gb"))
    low, high = made.gpu_days(made.best)
    assert f"GPU-days of layout 1: {low:,.3g} - {high:,.3g}, {low * 48:,.0f} - {high * 48:,.0f} at 2 a GPU-hour" in said
    with pytest.raises(HaigoError, match=r"--stack is 'gpt-neo'\. Did you mean 'gpt-neox'"):
        plan(PlanOptions(model="1-3B", cluster="a100-40gb", stack="gpt-neo"))
