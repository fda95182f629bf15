"""`--track`: TensorBoard's own reader finds the curve of log.jsonl, also that of a run which was stopped on the way."""

import sys
import types

import pytest

from haigo import cli
from haigo.cli import HaigoError
from launch.engine import log, tracker
from launch.engine.train import train
from launch.local import __main__ as local


def curves(folder):
    """Figure -> (step, value) of each point, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_shows_the_log_of_a_run_that_was_stopped_and_gone_on_with(world, tmp_path):
    def stop(tick):
        if tick.step == 12:
            raise KeyboardInterrupt

    how = {"tokenizer": world.tokenizer, "export": False, "track": tracker.parse(f"tensorboard:{tmp_path / 'board'}")}
    folder, config = tmp_path / "run", world.config(checkpoint_factor=10)
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, checkpoint_every_s=1e9, progress=stop, **how)
    result = train(config, folder, **how)
    shown = curves(tmp_path / "board" / "run")
    entries = log.read(folder / "log.jsonl")
    for name in ("loss", "lr"):
        assert shown[name] == [(each["step"], pytest.approx(each[name])) for each in entries if name in each]
    assert shown["plain_bpb"] == [(20, pytest.approx(result["metrics"]["plain_bpb"]))]


def test_numbers_do_not_depend_on_a_tracker(world, tmp_path):
    how = {"tokenizer": world.tokenizer, "export": False}
    without = train(world.config(), tmp_path / "a", **how)
    tracked = tracker.parse(f"tensorboard:{tmp_path / 'board'}")
    assert train(world.config(), tmp_path / "a", track=tracked, **how) == without  # finished: not trained again
    assert train(world.config(), tmp_path / "b", track=tracked, **how)["metrics"] == without["metrics"]


@pytest.mark.parametrize("given", ["board", "tensorboard:", "tensorbord:x", "wandb"])
def test_a_tracker_that_is_none_is_refused_with_those_there_are(given, capsys):
    assert cli.run(local.main, ["x.yml", "--output-dir", "out", "--track", given]) == 2
    assert "tensorboard:FOLDER" in capsys.readouterr().err


def test_what_is_not_installed_and_what_cannot_be_reached_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.run(local.main, ["x.yml", "--output-dir", "out", "--track", "wandb:mine"]) == 2
    assert "pip install wandb" in capsys.readouterr().err

    def init(**how):
        raise RuntimeError("no API key configured")

    absent = types.SimpleNamespace(init=init, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", absent)
    with (
        pytest.raises(HaigoError, match=r"wandb:mine cannot be used: no API key"),
        tracker.following(tracker.Tracker("wandb", "mine"), tmp_path, 0),
    ):
        pass


def test_wandb_gets_one_run_whatever_starts_it_again(tmp_path, monkeypatch):
    """Its own interface, played: name, id and steps are what it is called with."""
    calls = []

    def init(**how):
        calls.append(how)
        return types.SimpleNamespace(log=lambda figures, step: calls.append((step, figures)), finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Settings=dict))
    for done in (0, 5):
        with tracker.following(tracker.Tracker("wandb", "mine"), tmp_path / "p001", done) as track:
            track({"step": done + 1, "tokens": 7, "loss": 2.0})
            track({"step": done + 2, "tokens": 14, "final": True, "news_bpb": 1.5})
    first, *logged = calls[:3]
    assert first["project"] == "mine" and first["name"] == "p001" and first["id"] == calls[3]["id"]
    assert logged == [(1, {"tokens": 7.0, "loss": 2.0}), (2, {"tokens": 14.0, "news_bpb": 1.5})]
