"""A room's error names its option; who wrote a run file hears the key."""

import pickle
from functools import partial
from pathlib import Path

import pytest
from shared_data import data_of

from haigo.cli import HaigoError, Refused
from launch.pipeline import actions, runfile
from launch.pipeline.stage import Run, Stage

DATA = data_of(__file__)


def complain(kind, problem, fix, option):
    raise kind(problem, fix, option=option)


@pytest.mark.parametrize(("stage", "option", "said", "heard"), DATA["options_become_keys"])
def test_options_become_keys(tmp_path, stage, option, said, heard):
    made = Stage(name=stage, inputs=[], action=partial(complain, Refused, said, said, option))
    with pytest.raises(Refused) as caught:
        Run(tmp_path).do(made)
    assert heard in caught.value.problem and heard in caught.value.fix
    assert pickle.loads(pickle.dumps(caught.value)).problem == caught.value.problem


def test_other_errors_pass(tmp_path):
    with pytest.raises(OSError, match="--tokens"):
        Run(tmp_path).do(Stage(name="search", inputs=[], action=partial(complain_of_the_system, "--tokens")))


def complain_of_the_system(text):
    raise OSError(1, text)


@pytest.mark.parametrize(
    ("changes", "line", "heard"),
    [
        ({"text_key": "body"}, '{"text": "a"}', "'corpora.news.text_key'"),
        ({"min_chars": 10**6}, '{"text": "一つの文である。"}', "'corpora.news.min_chars'"),
        ({}, '{"text": "a"', "'corpora.news.skip_broken'"),
    ],
)
def test_the_rooms_say_which_option(tmp_path, changes, line, heard):
    """Real errors of cleaning, through the stage that they end."""
    (tmp_path / "a.jsonl").write_text(f"{line}\n" * 3, encoding="utf-8")
    corpus = runfile.Corpus(files=[str(tmp_path / "a.jsonl")], **changes)
    run = runfile.RunFile(output="o", corpora={"news": corpus}, objective=runfile.Objective(metrics={"news_bpb": 1.0}))
    action = partial(actions.clean, Path(tmp_path / "run"), run, "news", corpus.files)
    with pytest.raises(HaigoError) as caught:
        Run(tmp_path / "run").do(Stage(name="corpora/news", inputs=[], action=action))
    assert heard in caught.value.problem + caught.value.fix
    assert not {"--text-key", "--min-chars", "--profile", "--skip-broken"} & set(caught.value.fix.split())
