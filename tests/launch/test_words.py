"""launch.pipeline.words: a room's sentence about its flags reaches the writer of a run file in the run file's words."""

import pickle
from functools import partial

import pytest

from haigo.cli import HaigoError, Refused
from launch.pipeline import words


def complain(kind, problem, fix):
    raise kind(problem, fix)


@pytest.mark.parametrize(
    ("stage", "said", "heard"),
    [
        ("corpora/news", "with --text-key", "with 'corpora.news.text_key'"),
        ("corpora/news", "lower --min-chars or choose another --profile", "lower 'corpora.news.min_chars' or choose"),
        ("corpora/news", "another --split", "another 'split'"),
        ("tokenizer", "choose another --vocab-size (byte", "choose another 'tokenizer.vocab_size' (byte"),
        ("proxies", "--tokens 10 is less", "'proxies.tokens' 10 is less"),
        ("models/chosen", "--tokens 10 is less", "'train.tokens' 10 is less"),
        ("search", "--objective news_bpb", "'objective.metrics' news_bpb"),
        ("search", "or `--force`", "or 'search.force'"),
        ("configs", "give --nodes and --tokens", "give 'configs.nodes' and 'configs.tokens'"),
        ("scores/chosen", "--fewshot_pool test", "'scores.fewshot_pool' test"),
        ("search", "--maximise acc", "--maximise acc"),  # a run file has no such key
        ("search", "a -- b --- c", "a -- b --- c"),
    ],
)
def test_flags_become_keys(stage, said, heard):
    with pytest.raises(Refused) as caught:
        words.within(stage, partial(complain, Refused, said, said))
    assert heard in caught.value.problem and heard in caught.value.fix


def test_other_results_and_errors_pass():
    assert words.within("search", lambda: 5) == 5
    with pytest.raises(OSError, match="--tokens"):
        words.within("search", partial(complain, OSError, 1, "--tokens"))
    assert pickle.loads(pickle.dumps(words.translated(HaigoError("--kl", ""), "search"))).problem == "'search.kl'"
