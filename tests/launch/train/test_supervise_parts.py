"""The parts of a supervised run: reading the log, judging checkpoints, silence, losses and ends."""

from __future__ import annotations

import json
import math
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from neox_world import World, sentences, write_dataset
from shared_data import data_of

from haigo import cli
from haigo.cli import HaigoError, Refused
from launch import checkpoints as checkpoints_verb
from launch.neox import checkpoints, data_order, gpus, saved_files
from launch.neox import log as neox_log
from launch.neox.checkpoints import Layout
from launch.neox.log import Step
from launch.plan.checks.check import Check
from launch.train import causes, record, requeue, restarts, resume, status_display
from launch.train.loss_guard import LossGuard
from launch.train.options import SuperviseOptions
from launch.train.start import settle_port
from launch.train.watchdog import Watchdog
from neox_configs import hardware, reader, shipped
from tests.conftest import shared

DATA = data_of(__file__)

# printed by GPT-NeoX ea7aefd with one and two ranks on a CPU, and as its training_log writes them on a GPU
LINE = (
    " samples/sec: 27.191 | iteration        1/      12 | elapsed time per iteration (ms): 294.2 | learning rate: 3.989E-03 | "
    "approx flops per GPU: 4.5GFLOPS | lm_loss: 6.154781E+00 | number of skipped iterations:   0 | number of nan "
    "iterations:   0 |"
)
GPU_LINE = (
    " samples/sec: 412.345 | iteration   12340/  320000 | elapsed time per iteration (ms): 2483.2 | learning rate: 1.983E-04 "
    "| approx flops per GPU: 151.2TFLOPS | MFU: 36.34% | HFU: 48.46% | lm_loss: 2.312345E+00 | loss scale: 4096.0 | number of "
    "skipped iterations:   1 | number of nan iterations:   0 |"
)


@pytest.mark.parametrize("prefix", ["", "[rank 0] ", "node1: ", "node1.cluster: [rank 0] "])
def test_step_lines(prefix: str) -> None:
    one = neox_log.step(prefix + LINE)
    assert one == Step(1, 12, 6.154781, 27.191, 294.2, 0.003989, 4.5e9, None, 0, 0)
    big = neox_log.step(prefix + GPU_LINE)
    assert big is not None
    assert (big.iteration, big.total, big.loss, big.skipped) == (12340, 320000, 2.312345, 1)
    assert big.flops_per_gpu == pytest.approx(1.512e14) and big.mfu == pytest.approx(0.3634)


def test_losses_that_are_no_numbers() -> None:
    for word in ("NAN", "INF", "-INF"):
        one = neox_log.step(LINE.replace("6.154781E+00", word))
        assert one is not None and one.loss is not None and not one.finite
    old = neox_log.step(" iteration       3/      20 | lm loss: 2.0 |")
    assert old == Step(3, 20, 2.0)


def test_other_lines_are_no_steps() -> None:
    noise = random.Random(1)
    for _ in range(500):
        line = "".join(noise.choice(" iteration0123/|:lm_loss.E+\x00\xff") for _ in range(60))
        neox_log.step(line)
        neox_log.sign_of_life(line)
    for line in (
        "time (ms) | forward: 230.00 | backward: 52.74 | batch generator: 6.11",
        "after 1 iterations memory (MB) | allocated: 0.0 | max allocated: 0.0",
        "rank: 0 | time: 2026-01-01 00:00:00 | exiting the program at iteration 10",
        "  eval_interval ................... 1000........................default",
    ):
        assert neox_log.step(line) is None


@pytest.mark.parametrize(("line", "kind"), DATA["signs_of_life"])
def test_signs_of_life(line: str, kind: str | None) -> None:
    assert neox_log.sign_of_life(line) == kind


@pytest.mark.parametrize(
    ("code", "lines", "said", "kind"),
    DATA["causes"]
)  # fmt: skip
def test_causes(code: int, lines: list[str], said: str, kind: str) -> None:
    found = causes.cause(code, lines)
    assert said in found.sentence and found.kind == kind


def test_the_log_of_a_device_assertion() -> None:
    path = shared() / "cases" / "neox" / "device_assert.log"
    if not path.is_file():
        pytest.skip("no shared cases")
    found = causes.cause(1, path.read_text(encoding="utf-8").splitlines())
    assert (
        found.kind == causes.LASTING and "id is outside the vocabulary" in found.sentence and "preflight" in found.fix
    )


# -- checkpoints


def write(path: Path, size: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", os.urandom(size))


def make(folder: Path, step: int, form: Layout, shards: int) -> Path:
    for name in checkpoints.expected(form, shards):
        write(folder / f"global_step{step}" / name)
    return folder / f"global_step{step}"


# what GPT-NeoX ea7aefd with DeepSpeed 0.16.5 wrote for a model of three layers
SEEN = {
    (1, 0, 0, 0): ["mp_rank_00"],
    (1, 1, 0, 0): ["layer_00", "layer_02", "layer_03", "layer_04", "layer_06", "layer_07", "mp_rank_00"],
    (1, 2, 0, 0): ["layer_00", "layer_02", "layer_03", "layer_04", "layer_06", "layer_07", "mp_rank_00", "mp_rank_01"],
    (1, 0, 1, 2): ["mp_rank_00", "zero_pp_rank_0_mp_rank_00", "zero_pp_rank_1_mp_rank_00"],
    (2, 0, 0, 0): ["mp_rank_00", "mp_rank_01"],
}


@pytest.mark.parametrize("key", list(SEEN))
def test_expected_files_are_those_that_gpt_neox_writes(key: tuple[int, int, int, int]) -> None:
    tensor, pipe, zero, shards = key
    names = checkpoints.expected(Layout(tensor, pipe, 3, False, zero), shards)
    short = sorted({name.replace("-model_00-model_states.pt", "").replace("_model_states.pt", "")
                    .replace("_optim_states.pt", "") for name in names})  # fmt: skip
    assert short == SEEN[key]


@pytest.mark.parametrize("key", list(SEEN))
def test_every_missing_or_torn_file_is_found(key: tuple[int, int, int, int], tmp_path: Path) -> None:
    tensor, pipe, zero, shards = key
    form = Layout(tensor, pipe, 3, False, zero)
    make(tmp_path, 5, form, shards)
    broken = make(tmp_path, 10, form, shards)
    assert [one.problem for one in checkpoints.survey(tmp_path, form)] == [None, None]
    for file in sorted(broken.iterdir()):
        whole = file.read_bytes()
        for content in (whole[:-1], whole[: len(whole) // 2], b"", b"\0" * len(whole)):
            file.write_bytes(content)
            first, second = checkpoints.survey(tmp_path, form)
            assert first.problem is None and second.problem is not None and file.name in second.problem
        file.unlink()
        assert "lacks" in str(checkpoints.survey(tmp_path, form)[1].problem)
        file.write_bytes(whole)
    assert checkpoints.survey(tmp_path, form)[1].problem is None


def test_one_checkpoint_is_judged_as_among_all_and_the_others_stay_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"num_layers": 3, "zero_optimization": {"stage": 1}}
    form = checkpoints.layout(config)
    make(tmp_path, 5, form, 2)
    make(tmp_path, 10, form, 1)  # fewer shards than another has: one was lost
    named = {one.tag: one.problem for one in checkpoints.survey(tmp_path, form)}
    opened, torn = [], checkpoints.torn
    monkeypatch.setattr(checkpoints, "torn", lambda path, deep=False: opened.append(Path(path)) or torn(path, deep))
    assert {tag: checkpoints.problem(config, None, tmp_path, tag) for tag in named} == named
    assert "lacks" in str(named["global_step10"]) and named["global_step5"] is None
    assert {path.parent.name for path in opened} == {"global_step5"}
    assert checkpoints.problem(config, None, tmp_path, "global_step15") == "is not there"


def test_a_byte_inside_is_found_by_reading_all(tmp_path: Path) -> None:
    form = Layout()
    file = make(tmp_path, 5, form, 0) / "mp_rank_00_model_states.pt"
    content = bytearray(file.read_bytes())
    content[80] ^= 1
    file.write_bytes(content)
    assert checkpoints.survey(tmp_path, form)[0].problem is None
    assert "damaged" in str(checkpoints.survey(tmp_path, form, deep=True)[0].problem)
    assert "mp_rank_00_model_states.pt is damaged" in str(saved_files.damaged(tmp_path / "global_step5"))


def test_a_run_goes_on_from_the_newest_checkpoint_whose_bytes_are_sound(tmp_path: Path) -> None:
    """Of one whose optimizer is damaged in the middle nothing else tells; those that are not gone on from stay unread."""
    torch = pytest.importorskip("torch")
    config, form = {"num_layers": 3, "train_iters": 20, "zero_optimization": {"stage": 1}}, Layout(zero=1)
    moments = {}
    for step in (5, 10, 15):
        make(tmp_path, step, form, 1)
        moments[step] = tmp_path / f"global_step{step}" / checkpoints.expected(form, 1)[0]
        torch.save({"exp_avg_sq": torch.full((1000,), float(step))}, moments[step])
    (tmp_path / "latest").write_text("global_step15")
    for step in (5, 15):
        content = bytearray(moments[step].read_bytes())
        content[content.index(torch.full((8,), float(step)).numpy().tobytes())] ^= 1
        moments[step].write_bytes(content)
        held = torch.load(moments[step], weights_only=True)["exp_avg_sq"]
        assert (held != step).sum() == 1  # without a word
    assert checkpoints.decide(tmp_path, config, 1).tag == "global_step15"
    choice = checkpoints.decide(tmp_path, config, 1, deep=True)
    assert choice.tag == "global_step10" and f"{moments[15].name} is damaged" in choice.why
    assert [one.tag for one in choice.there if one.problem] == ["global_step15"]
    assert checkpoints.decide(tmp_path, {**config, "train_iters": 15}, 1, deep=True).tag == "global_step15"


def test_no_sound_checkpoint_is_refused(tmp_path: Path) -> None:
    file = make(tmp_path, 5, Layout(), 0) / "mp_rank_00_model_states.pt"
    content = bytearray(file.read_bytes())
    content[80] ^= 1
    file.write_bytes(content)
    (tmp_path / "latest").write_text("global_step5")
    with pytest.raises(Refused, match=r"no whole checkpoint.*is damaged"):
        checkpoints.decide(tmp_path, {"num_layers": 0}, 1, deep=True)


def test_shards_are_counted_by_gpus_or_by_the_others(tmp_path: Path) -> None:
    form = Layout(zero=1)
    make(tmp_path, 5, form, 4)
    make(tmp_path, 10, form, 3)
    assert "lacks zero_pp_rank_3" in str(checkpoints.survey(tmp_path, form)[1].problem)
    two = checkpoints.survey(tmp_path, Layout(zero=1, data=2))
    assert "was made with 4 copies of the model, not 2" in str(two[0].problem)


def test_which_checkpoint_is_chosen(tmp_path: Path) -> None:
    form = Layout()
    for step in (5, 10, 15):
        make(tmp_path, step, form, 0)

    def choice(latest: str | None, poisoned: int | None = None) -> checkpoints.Choice:
        if latest is None:
            (tmp_path / "latest").unlink(missing_ok=True)
        else:
            (tmp_path / "latest").write_text(latest)
        return checkpoints.choose(tmp_path, checkpoints.survey(tmp_path, form), poisoned)

    assert choice(None).tag == "global_step15"
    assert choice("global_step10").tag == "global_step10"  # somebody went back: that stands
    assert choice("").tag == "global_step15"
    assert choice("global_step12").tag == "global_step10"
    assert choice("global_step15", poisoned=12).tag == "global_step10"
    (tmp_path / "global_step10" / "mp_rank_00_model_states.pt").write_bytes(b"PK")
    assert choice("global_step10").tag == "global_step5"
    with pytest.raises(Refused, match="no whole checkpoint"):
        choice("global_step15", poisoned=3)
    assert checkpoints.choose(tmp_path / "none", []).tag is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "a.yml"
    config.write_text("num_layers: 3\nmodel_parallel_size: 1\npipe_parallel_size: 0\n")
    save = tmp_path / "save"
    make(save, 5, Layout(), 0)
    (make(save, 10, Layout(), 0) / "mp_rank_00_model_states.pt").write_bytes(b"")
    (save / "latest").write_text("global_step10")
    assert cli.run(checkpoints_verb.main, [str(save), str(config), "--json"]) == 3
    taken = capsys.readouterr()
    told = json.loads(taken.out)
    assert told["goes_on_from"] == "global_step5" and told["mended"] is False
    assert "latest names global_step10 (global_step10 mp_rank_00_model_states.pt is empty)" in taken.err
    assert (save / "latest").read_text() == "global_step10"
    assert cli.run(checkpoints_verb.main, [str(save), str(config), "--mend"]) == 0
    assert "torn: mp_rank_00_model_states.pt is empty" in capsys.readouterr().out
    assert (save / "latest").read_text() == "global_step5"
    assert cli.run(checkpoints_verb.main, [str(save), str(config)]) == 0
    assert "latest names global_step5: a run goes on from it" in capsys.readouterr().out
    for torn in ("", "global_st", "global_step7", "\0\0\0", None):
        (save / "latest").unlink()
        if torn is not None:
            (save / "latest").write_text(torn)
        assert cli.run(checkpoints_verb.main, [str(save), str(config)]) == 3, torn
        taken = capsys.readouterr()
        assert "global_step5" in taken.err and "--mend" in taken.err and "good" in taken.out
        assert cli.run(checkpoints_verb.main, [str(save), str(config), "--mend"]) == 0
        assert (save / "latest").read_text() == "global_step5"
    assert cli.run(checkpoints_verb.main, [str(save)]) == 2
    assert cli.run(checkpoints_verb.main, [str(tmp_path / "nowhere")]) == 2
    (save / "global_step5" / "mp_rank_00_model_states.pt").unlink()
    assert cli.run(checkpoints_verb.main, [str(save), str(config)]) == 3
    taken = capsys.readouterr()
    assert (
        "lacks mp_rank_00" in taken.out and "global_step10       torn: " in taken.out
    )  # each, also where none is good
    assert "no whole checkpoint" in taken.err
    assert cli.run(checkpoints_verb.main, [str(save), str(config), "--json", "--mend"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["goes_on_from"] is None and told["latest"] == "global_step5" and not told["mended"]
    assert [one["good"] for one in told["checkpoints"]] == [False, False]


def test_newer_checkpoints_are_moved_and_never_deleted(tmp_path: Path) -> None:
    config = {"save": "save", "load": "save", "num_layers": 3, "keep_last_n_checkpoints": 2, "pipe_parallel_size": 0}
    save = tmp_path / "save"
    for step in (5, 10, 15):
        make(save, step, Layout(), 0)
    (save / "latest").write_text("global_step5")
    for _ in range(2):
        made = resume.choose(config, tmp_path)
        assert made.newer[-1:] == ["global_step15"]
        resume.prepare(made)
        make(save, 15, Layout(), 0)
    assert sorted(path.name for path in (save / "haigo" / "aside").iterdir()) == [
        "global_step10",
        "global_step15",
        "global_step15.2",
    ]


# -- silence, losses, restarts, signals


def patience(factor: float, seconds: float, pause: float) -> SuperviseOptions:
    return SuperviseOptions(hang_factor=factor, hang_seconds=seconds, hang_pause=pause)


def test_the_watchdog() -> None:
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    assert dog.hung(599) is None and dog.hung(601) is not None
    dog.step(Step(1, 100), 500.0)
    assert dog.limit() == 600  # one step tells no pace yet
    for number in range(2, 30):
        dog.step(Step(number, 100), 500.0 + 5 * number)
    assert dog.limit() == 50
    now = 500.0 + 5 * 29
    assert dog.hung(now + 49) is None and "steps came every 5.0 s" in str(dog.hung(now + 51))
    dog.other("saving", now)
    assert dog.hung(now + 599) is None
    dog.step(Step(30, 100), now + 590)
    dog.step(Step(31, 100), now + 595)
    assert dog.limit() == 50  # the pause did not count as pace
    dog.step(Step(100, 100), now + 600)
    assert dog.limit() == 600  # after the last step comes the last checkpoint


def test_a_slow_run_is_no_hang_for_a_new_watcher() -> None:
    dog = Watchdog(patience(10, 300, 600), now=0.0, log_interval=10)
    for number in range(10, 100, 10):
        dog.step(Step(number, 1000, step_ms=60_000.0), 0.1)  # an old log read at once
    assert dog.limit() == 6000
    assert Watchdog(patience(10, 300, 600), now=0.0, log_interval=100).limit() == 12_000


def losses(values: list[float], **rule: Any) -> list[Any]:
    guard = LossGuard(SuperviseOptions(**rule))
    return [alarm for at, loss in enumerate(values, 1) if (alarm := guard.see(Step(at, 1000, loss)))]


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_a_falling_loss_raise_no_alarm(seed: int) -> None:
    rng = random.Random(seed)
    values = [2 + 9 / math.sqrt(step) + rng.gauss(0, 0.05) for step in range(1, 600)]
    assert losses(values) == []
    one_bad_batch = [*values[:300], 9.0, *values[301:]]
    assert losses(one_bad_batch) == []
    jump = [*values[:300], *(loss + 1.5 for loss in values[300:])]
    (alarm,) = losses(jump, spike="stop")
    assert (alarm.kind, alarm.stop, alarm.step, alarm.healthy) == ("spike", True, 301, 300)
    assert losses(jump, spike="off") == []


def test_nan_is_told_once_with_the_last_healthy_step() -> None:
    (alarm,) = losses([3.0, 2.9, math.nan, math.nan, 2.8])
    assert (alarm.kind, alarm.stop, alarm.step, alarm.healthy) == ("nan", True, 3, 2)
    assert losses([3.0, math.inf], nan="off") == []
    guard = LossGuard(SuperviseOptions())
    assert guard.see(Step(10, 100, 0.0, skipped=10)) is None  # fp16 looks for its loss scale


def test_when_a_run_is_started_again() -> None:
    passing, unknown, lasting = (
        causes.Cause("", "", kind) for kind in (causes.TRANSIENT, causes.UNKNOWN, causes.LASTING)
    )
    budget = restarts.Budget(2, 10.0)
    assert [budget.after(unknown, True, False).wait_s for _ in range(2)] == [10.0, 20.0]
    assert not budget.after(unknown, True, False).again
    assert budget.after(unknown, True, True).again  # progress
    assert not restarts.Budget(3).after(unknown, False, False).again
    assert restarts.Budget(3).after(passing, False, False).again
    assert not restarts.Budget(3).after(lasting, True, True).again
    assert not restarts.Budget(0).after(passing, True, True).again
    many = restarts.Budget(99, 10.0)
    assert max(many.after(passing, True, False).wait_s for _ in range(50)) == restarts.LONGEST_WAIT_S


def test_the_next_save() -> None:
    plain = {"save": "x", "checkpoint_factor": 10, "train_iters": 35}
    assert [requeue.next_save(plain, at) for at in (0, 9, 10, 29, 30, 34, 35)] == [10, 10, 20, 30, 35, 35, None]
    log = {"save": "x", "checkpoint_factor": 2, "checkpoint_scale": "log", "train_iters": 100}
    assert [requeue.next_save(log, at) for at in (0, 1, 2, 3, 64, 65)] == [1, 2, 4, 4, 100, 100]
    assert requeue.next_save({**plain, "extra_save_iters": [12]}, 10) == 12
    assert requeue.next_save({"train_iters": 5}, 0) is None
    assert requeue.worth_waiting(20, 10, 1.0, 2.0, left_s=14.0, since_s=0.0)
    assert not requeue.worth_waiting(20, 10, 1.0, 3.0, left_s=14.0, since_s=0.0)
    assert not requeue.worth_waiting(20, None, None, 0.0, 1e9, 0.0)


@pytest.mark.parametrize("job", ["", "12;rm -rf x", "$(x)", "-1", "１２"])
def test_what_is_no_job_number_reaches_no_command(job: str) -> None:
    if job.isdigit():
        assert requeue.command({"SLURM_JOB_ID": job})[2] == job
        return
    with pytest.raises(HaigoError, match="no Slurm job"):
        requeue.command({"SLURM_JOB_ID": job})


def test_scontrol_that_says_no(tmp_path: Path) -> None:
    tool = tmp_path / "scontrol"
    tool.write_text("#!/bin/sh\necho 'slurm_requeue error: Requested operation is presently disabled' >&2\nexit 1\n")
    tool.chmod(0o755)
    environment = {"SLURM_JOB_ID": "7", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with pytest.raises(HaigoError, match="presently disabled"):
        requeue.requeue(environment)


# -- the record of the data


def config(world: World, **more: Any) -> dict[str, Any]:
    prefixes = [str(world.prefix(corpus)) for corpus in ("news", "code")]
    made = {"train_data_paths": prefixes, "train_data_weights": [0.75, 0.25], "seq_length": 128, "seed": 1234,
            "data_impl": "mmap"}  # fmt: skip
    return {**made, "train_iters": 20, "train_batch_size": 8, "save": "save", **more}


def test_what_is_read_again_is_what_gpt_neox_reads(shared_world: World) -> None:
    """The told numbers against the real order: samples of the old stream before the step and of the new one from it on."""
    was_config, now_config = config(shared_world), config(shared_world, train_data_weights=[0.6, 0.4])
    was = record.stream(was_config, ".", 8)
    now = record.stream(now_config, ".", 8)
    assert [one["epochs"] for one in was["corpora"]] == [one["epochs"] for one in now["corpora"]] == [1, 1]
    told = record.consequences(was, now, 10)
    old, new = data_order.source(was_config, 8).open(), data_order.source(now_config, 8).open()
    assert isinstance(old, data_order.Blend) and isinstance(new, data_order.Blend)
    before, after = [old.locate(at) for at in range(80)], {new.locate(at) for at in range(80, 160)}
    again = sum(one in after for one in before if one[0] == 0)
    from_code = [index for which, index in before if which == 1]
    never = min(index for which, index in after if which == 1) - max(from_code) - 1
    assert told == [
        f"news/train_text_document: about {again} samples are read a second time.",
        f"code/train_text_document: about {never} samples are skipped.",
    ]


def test_changed_tokens_and_another_order_are_found(world: World, tmp_path: Path) -> None:
    was = record.stream(config(world), ".", 8)
    record.note_start(tmp_path, was, 0, 1, ["x"])
    back = list(reversed(config(world)["train_data_paths"]))
    turned = record.stream(config(world, train_data_paths=back, train_data_weights=[0.25, 0.75]), ".", 8)
    with pytest.raises(Refused, match="another order"):
        record.check(tmp_path, turned, 5)
    assert record.check(tmp_path, turned, 0) == []  # nothing has been read yet
    write_dataset(world.prefix("news"), sentences(9, 500), world.root / "tokenizer" / "spm.model")
    moved = record.stream(config(world), ".", 8)
    with pytest.raises(Refused, match="tokens of news/train_text_document are others"):
        record.check(tmp_path, moved, 5)
    (tmp_path / record.NAME).write_text("[]")
    with pytest.raises(HaigoError, match="not a run's record"):
        record.check(tmp_path, was, 5)


def test_moved_data_are_the_same_data(shared_world: World, world: World, tmp_path: Path) -> None:
    record.note_start(tmp_path, record.stream(config(shared_world), ".", 8), 0, 1, ["x"])
    assert record.check(tmp_path, record.stream(config(world), ".", 8), 5) == []


# -- the line


def test_the_line_with_what_was_planned(capsys: pytest.CaptureFixture[str]) -> None:
    own = {**reader.load(shipped.find("models", "1-3B")), "peak_theoretical_tflops": 312.0}
    own |= {"train_micro_batch_size_per_gpu": 8, "gradient_accumulation_steps": 16, "train_batch_size": 512}
    own |= {"checkpoint_activations": True, "zero_optimization": {"stage": 1}, "pipe_parallel_size": 0}
    plan = status_display.planned(own, 4, 50_000)
    assert plan is not None and plan.mfu[0] < plan.mfu[1] < 0.6
    assert plan.tokens_per_s[0] == pytest.approx(4 * 312e12 * plan.mfu[0] / plan.flops_per_token)
    shown = status_display.Display("run", 2048, plan)
    one = neox_log.step(GPU_LINE.replace("412.345", "22.5"))
    assert one is not None
    shown.see(one)
    text = shown.text()
    reached = 22.5 * 2048 * plan.flops_per_token / plan.peak
    assert text.startswith("run: step 12,340/320,000, loss 2.3123, 46,080 tokens/s, 151.2 TFLOP/s/GPU, ")
    assert f"MFU {reached:.0%} (planned {plan.mfu[0]:.0%}-{plan.mfu[1]:.0%})" in text and text.endswith("left")
    shown.show()
    assert "step 12,340" in capsys.readouterr().err
    assert status_display.planned({**own, "peak_theoretical_tflops": 313.0}, 4, 50_000) is None
    assert status_display.planned(own, None, 50_000) is None


def test_cards_of_one_peak_are_told_apart_by_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [getattr(hardware.like(312, memory), "name", None) for memory in (40 << 30, 80 << 30, None)]
    assert names == ["a100-40gb", "a100-80gb", "a100-40gb"]
    assert hardware.like(989, 40 << 30) == hardware.cluster("h100-80gb") and hardware.like(313) is None
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for said, memory in (("81920\n81920", 80 << 30), ("No devices were found", None)):
        tool.write_text(f"#!/bin/sh\necho '{said}'\n")
        tool.chmod(0o755)
        assert gpus.card_bytes() == memory


def test_a_second_run_on_the_node_takes_another_port() -> None:
    busy = [Check("port", "fail", "port 29500 cannot be used here.", "end what listens there"), Check("disk", "ok", "")]
    found, port = settle_port(busy, {})
    assert port is not None and port != 29500 and [check.status for check in found] == ["ok", "ok"]
    assert str(port) in found[0].found and found[1] is busy[1]
    assert settle_port(busy, {"master_port": 29500}) == (busy, None)  # what the config names is not changed
    checks, port = settle_port(busy, {"master_port": 29500}, given=True)  # but that of a row of launch.runs
    assert port is not None and [check.status for check in checks] == ["ok", "ok"]
    free = [Check("port", "ok", "29500 is free")]
    assert settle_port(free, {}) == (free, None)


@pytest.mark.parametrize(("shown", "said"), DATA["a_cancelled_job_is_told_from_one_out_of_time"])
def test_a_cancelled_job_is_told_from_one_out_of_time(shown: str, said: bool) -> None:
    assert requeue.cancelled(shown) is said
