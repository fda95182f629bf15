"""The leaderboard's other tasks against what jp-stable's own harness gave for the same files and models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import synthetic_others
from shared_data import data_of

from eval_harness import engine, metrics, result, tasks
from eval_harness.run import evaluate, read_sources
from eval_harness.tasks import mgsm, xlsum_ja
from haigo.cli import HaigoError

DATA = data_of(__file__)

GOLDEN = Path(__file__).with_name("golden")

WANTED = json.loads((GOLDEN / "others.json").read_text(encoding="utf-8"))
# the contexts of all are compared; what costs generation time is scored for some
SCORED = [
    (kind, name)
    for kind in WANTED
    for name in WANTED[kind]
    if name.split("-")[0] not in ("mgsm", "jaqket_v2") or (kind, name[-3:]) in (("bpe", "0.2"), ("spm", "0.0"))
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return synthetic_others.write(tmp_path_factory.mktemp("others"))


def digest(texts):
    return hashlib.sha256("\x1e".join(texts).encode()).hexdigest()


def prepared(folder, model, name, shots, limit=None):
    (source,) = read_sources([name], [shots], [limit], folder, "train", "v1.1")
    return engine.prepare(source, model=model)


def test_every_other_task_is_there():
    others = {name for name in tasks.names() if name.split("-")[0] in ("marc_ja", "jaqket_v2", "xlsum_ja", "mgsm")}
    assert others | {"xwinograd_ja-1.0-0.0"} == set(WANTED["bpe"])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in WANTED for name in WANTED[kind]])
def test_contexts_are_those_of_jp_stable(kind, name, loaded, files):
    wanted = WANTED[kind][name]
    made = prepared(files, loaded(kind), name, wanted["shots"], wanted["limit"])
    assert digest(made.contexts) == wanted["contexts_sha256"]


@pytest.mark.parametrize(("kind", "name"), SCORED)
def test_scores_are_those_of_jp_stable(kind, name, loaded, files, tmp_path):
    wanted, model = WANTED[kind][name], loaded(kind)
    if name.startswith("jaqket"):
        pytest.importorskip("fugashi", reason="needs haigo[ja]")
    found = evaluate("", [name], wanted["shots"], wanted["limit"], files, tmp_path, model=model, bootstrap_iters=0)
    rows = [json.loads(x) for x in (tmp_path / f"samples_{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    if "generations" in wanted:
        assert [row["prediction"] for row in rows] == wanted["generations"]
    else:
        scores = [choice["loglikelihood"] for row in rows for choice in row["choices"]]
        assert scores == pytest.approx(wanted["loglikelihoods"], abs=1e-4)
    for metric, value in wanted["results"].items():
        assert found["results"][name][metric] == pytest.approx(value, abs=1e-9), metric


def test_fewer_shots_are_drawn_where_the_context_is_too_long(loaded, files):
    short = prepared(
        files, loaded("bpe"), "mgsm-1.0-0.0", 5, 4
    )  # the model takes 512 tokens, 256 of them for the answer
    assert short.fewer_shots == 4 and short.contexts[0].count("問題：") < 6
    long = prepared(files, loaded("spm"), "mgsm-1.0-0.0", 1, 4)
    assert long.fewer_shots == 0 and all(context.count("問題：") == 2 for context in long.contexts)


def test_articles_are_cut_at_a_sentence_to_equal_shares():
    encode, decode = (lambda text: [ord(letter) for letter in text]), (lambda ids: "".join(map(chr, ids)))
    text = "説明\n\n記:あああ。いいい。ううう\n要:甲\n\n記:えええ。おおお\n要:"
    assert xlsum_ja.shorten(text, "記:", "要:", "\n", 999, encode, decode) == text
    short = xlsum_ja.shorten(text, "記:", "要:", "\n", 20, encode, decode)
    assert short == "説明\n\n記:あああ。いいい。\n要:甲\n\n記:えええ。おおお\n要:"
    one = xlsum_ja.shorten("記:" + "あ" * 30 + "\n要:", "記:", "要:", "\n", 10, encode, decode)
    assert one == "記:" + "あ" * 8 + "\n要:"


@pytest.mark.parametrize(("text", "number"), DATA["the_last_number_is_the_answer"])
def test_the_last_number_is_the_answer(text, number):
    assert mgsm.last_number(text) == number


def test_numbers_of_any_length_are_written(tmp_path):
    row = {"number": mgsm.last_number("9" * 40), "prediction": "九" * 3}
    assert json.loads(result.write_samples(tmp_path, "mgsm", [row]).read_text(encoding="utf-8")) == row
    assert row["number"] == int(float("9" * 40)) and mgsm.last_number("9" * 400) is None


def test_rouge_is_that_of_rouge_score():
    scoring = pytest.importorskip("rouge_score.scoring")
    from rouge_score import rouge_scorer

    class Letters:
        def tokenize(self, text):
            return list(text)

    import numpy as np

    pairs = [
        ("霧の港で銅の鍵が見つかった", "港で鍵が見つかった"),
        ("赤い糸", "赤い糸"),
        ("", "舟"),
        ("古い地図を売る", "地図"),
    ]
    scorer, total = rouge_scorer.RougeScorer(["rouge2"], tokenizer=Letters()), scoring.BootstrapAggregator()
    for answer, gold in pairs:
        one = scorer.score(gold, answer)
        assert metrics.rouge2(answer, gold) == pytest.approx(one["rouge2"].fmeasure)
        total.add_scores(one)
    np.random.seed(1234)
    wanted = total.aggregate()["rouge2"].mid.fmeasure
    assert metrics.bootstrap_middle([metrics.rouge2(a, g) for a, g in pairs]) == pytest.approx(wanted, abs=1e-12)


def test_a_tie_of_two_sentences_is_wrong():
    rules, doc = tasks.make("xwinograd_ja"), {"choices": ["甲", "乙"], "gold": 0}
    assert rules.judge(doc, [(-1.0, False), (-1.0, False)])["acc"] == 0.0
    assert rules.judge(doc, [(-1.0, True), (-1.0, False)])["acc"] == 1.0


def test_missing_files_say_where_to_get_them(files, tmp_path):
    for name, words in [
        ("mgsm", "google-research/url-nlp"),
        ("xlsum_ja", "CC BY-NC-SA"),
        ("marc_ja-1.1-0.3", "may not be passed on"),
        ("jaqket_v2-0.1-0.2", "kumapo/JAQKET"),
        ("xwinograd_ja", "polm-stability/xwinograd-ja"),
    ]:
        with pytest.raises(HaigoError) as caught:
            read_sources([name], [0], [None], tmp_path, "train", "v1.1")
        assert words in caught.value.fix and "does not exist" in caught.value.problem
    with pytest.raises(HaigoError, match="takes no shots"):
        read_sources(["xwinograd_ja"], [2], [None], files, "train", "v1.1")


def test_questions_without_the_answer_in_their_passages_are_left_out(files):
    path = files / "dev_jaqket_59.350.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    kept = [row["qid"] for row in whole if any(passage["has_answer"] for passage in row["ctxs"][:5])]
    assert 0 < len(kept) < len(whole)
    for version, shown in (("0.1", 10), ("0.2", 5)):
        docs = tasks.make(f"jaqket_v2-{version}-0.2").read(path)
        assert [doc["id"] for doc in docs] == kept and {len(doc["passages"]) for doc in docs} == {shown}


@pytest.mark.parametrize(("questions", "shown"), [(1164, 5), (1163, 10)])
def test_published_questions_show_the_five_passages_that_their_rows_saw(tmp_path, questions, shown):
    passages = [{"title": f"t{n}", "text": f"p{n}", "has_answer": n == 0} for n in range(20)]
    rows = [{"qid": str(n), "question": "q", "answers": ["a"], "ctxs": passages} for n in range(questions)]
    path = tmp_path / "dev_jaqket_59.350.json"
    path.write_text(json.dumps([*rows, {**rows[0], "ctxs": passages[1:]}]), encoding="utf-8")
    docs = tasks.make("jaqket_v2-0.1-0.2").read(path)
    assert len(docs) == questions and {len(doc["passages"]) for doc in docs} == {shown}
    assert all(len(doc["passages"]) == 5 for doc in tasks.make("jaqket_v2-0.2-0.2").read(path))
