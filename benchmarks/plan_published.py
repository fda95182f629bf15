"""launch.plan against speeds and micro batches that others published: what fits, how fast, and after three measured rows.

    python benchmarks/plan_published.py README.md

README.md is the page of llm-foundry's training benchmarks (scripts/train/benchmarking/README.md of mosaicml/llm-foundry), which
is not part of Haigo. The constants of GPT-NeoX's roofline and of FSDP's memory were fitted to its table of A100-40GB alone,
those of FSDP's roofline to both of A100 (launch/plan/speed.py says how they do on a table that they did not see).
"""

from __future__ import annotations

import dataclasses
import math
import random
import statistics
from pathlib import Path

from _measure import parser

from launch.plan import layouts as plan_layouts
from launch.plan import stacks as plan_stacks
from launch.plan.calibrate import Calibration, Row
from launch.plan.memory import Shape, Split
from neox_configs import derive, hardware

# layers, hidden, heads of MPT, of which the page gives names only
_MODELS = {
    "125m": (12, 768, 12),
    "350m": (24, 1024, 16),
    "760m": (24, 1536, 12),
    "1b": (24, 2048, 16),
    "3b": (32, 2560, 20),
    "7b": (32, 4096, 32),
    "13b": (40, 5120, 40),
    "30b": (48, 7168, 56),
    "70b": (80, 8192, 64),
}
_TABLES = {"A100 40GB with": "a100-40gb", "A100 80GB with": "a100-80gb", "H100 80GB BF16": "h100-80gb"}
_VOCAB = 50_368


def read(path: Path) -> dict[str, list[Row]]:
    """Rows of the page's tables, by our name of the card."""
    found: dict[str, list[Row]] = {}
    card, head = None, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            card = next((name for start, name in _TABLES.items() if line[3:].startswith(start)), None)
            head = None
        elif card and line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if head is None:
                head = cells
            elif not cells[0].startswith("---"):
                found.setdefault(card, []).append(_row(dict(zip(head, cells, strict=True)), card))
    return found


def _row(cells: dict[str, str], card: str) -> Row:
    layers, hidden, heads = _MODELS[cells["Model"]]
    length, gpus, micro = (int(cells[name]) for name in ("SeqLen (T)", "# GPUs", "MicroBatchSize"))
    sizes = {"num_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, "no_weight_tying": False}
    layer, count = derive.parameters(sizes, _VOCAB)
    count += length * hidden  # learned positions
    shape = Shape(layers, hidden, heads, length, _VOCAB, layer, count, True, True, 2)
    split = Split(1, 0, gpus, 3, cells["Activation Checkpointing"] == "True")
    speed = float(cells["Throughput (T/s/GPU)"]) * gpus
    return Row(shape, split, micro, int(cells["GradAccum"]), speed, f"{card} {cells['Model']} {length}")


def main() -> int:
    words = parser(__doc__)
    words.add_argument("page", nargs="?", type=Path, help="llm-foundry's scripts/train/benchmarking/README.md")
    words.add_argument("--draws", type=int, default=400, help="random sets of three rows (default: 400)")
    args = words.parse_args()
    if args.page is None:
        print("skipped: give the page with the published rows (see the top of this file)")
        return 0
    stack = plan_stacks.STACKS["fsdp-flash"]
    print(f"{'card':<12}{'rows':>5}{'fits':>7}{'2x not':>8}{'inside':>8}{'error':>8}", end="")
    print(f"{'after 3 rows':>14}{'<= 5 %':>8}{'covers':>8}")
    for card, rows in read(args.page).items():
        cluster = hardware.cluster(card, gpus_per_node=8)
        fits, doubled, inside, errors = [], [], [], []
        for row in rows:
            one = _layout(row, cluster, stack)
            low, high = one.tokens_per_s
            fits.append(one.fits)
            doubled.append(not _layout(dataclasses.replace(row, micro=2 * row.micro), cluster, stack).fits)
            inside.append(low <= row.tokens_per_s <= high)
            errors.append(abs(math.log(math.sqrt(low * high) / row.tokens_per_s)))
        medians = [_after(rows, draw, cluster, stack) for draw in range(args.draws)]
        errors_after, covered = zip(*medians, strict=True)
        shares = [statistics.mean(x) for x in (fits, doubled, inside, [m <= 0.05 for m in errors_after])]
        print(
            f"{card:<12}{len(rows):>5}{shares[0]:>7.2f}{shares[1]:>8.2f}{shares[2]:>8.2f}{statistics.median(errors):>8.3f}"
            f"{statistics.mean(errors_after):>14.3f}{shares[3]:>8.2f}{statistics.mean(covered):>8.2f}"
        )
    return 0


def _layout(row: Row, cluster: hardware.Cluster, stack: plan_stacks.Stack) -> plan_layouts.Layout:
    sequences = row.micro * row.accumulation * row.split.data
    return plan_layouts.layout(row.shape, row.split, row.micro, sequences, cluster, stack)


def _after(rows: list[Row], seed: int, cluster: hardware.Cluster, stack: plan_stacks.Stack) -> tuple[float, float]:
    """After calibration by three rows, drawn at random: the others' median error, and the share in its 90 % interval."""
    known = random.Random(seed).sample(range(len(rows)), 3)
    learnt = Calibration([rows[number] for number in known], cluster, stack)
    errors, inside = [], []
    for number, row in enumerate(rows):
        if number not in known:
            low, high = learnt.speed(_layout(row, cluster, stack), row.shape)
            errors.append(abs(math.log(math.sqrt(low * high) / row.tokens_per_s)))
            inside.append(low <= row.tokens_per_s <= high)
    return statistics.median(errors), statistics.mean(inside)


if __name__ == "__main__":
    raise SystemExit(main())
