"""Headlines from a news corpus, sentence embeddings, and SentencePiece models of others."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import synthetic_jglue

from eval_harness import embed, headlines
from eval_harness.run import evaluate
from haigo import cli

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(scope="module")
def news(tmp_path_factory):
    rnd, rows = random.Random(3), []
    for number in range(30):
        where, what = rnd.choice(synthetic_jglue.PLACES), rnd.choice(synthetic_jglue.THINGS)
        title = f"{where}で{what}が{number}個見つかる"
        body = f"{rnd.choice(synthetic_jglue.TIMES)}{rnd.choice(synthetic_jglue.PEOPLE)}が見つけたという。" * 3
        rows.append({"id": number, "title": title, "text": f"{title}\n{body}\n"})
    path = tmp_path_factory.mktemp("news") / "news.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_headlines_from_a_corpus(news, tmp_path, loaded):
    for name in ("a", "b"):
        argv = [str(news), "--output_dir", str(tmp_path / name / "news_headline"), "--seed", "7"]
        assert cli.run(headlines.main, argv) == 0
    files = [tmp_path / name / "news_headline" / "test.jsonl" for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
    titles = {row["id"]: row["title"] for row in map(json.loads, news.read_text(encoding="utf-8").splitlines())}
    assert len(rows) == 30 and len({row["label"] for row in rows}) == 5
    for row in rows:
        assert row["headlines"][row["label"]] == titles[int(row["id"])] and len(set(row["headlines"])) == 5
        assert titles[int(row["id"])] not in row["article"]
        near = [number for number, title in titles.items() if title in row["headlines"]]
        assert max(abs(number - int(row["id"])) for number in near) <= 20
    found = evaluate("", "news_headline-1.0-0.3", None, 6, tmp_path / "a", model=loaded("spm"), bootstrap_iters=0)
    about = found["haigo"]["tasks"]["news_headline-1.0-0.3"]
    assert about["n"] == 6 and "no published rows" in about["not_comparable"][0]
    assert about["baseline"]["chance"] == pytest.approx(0.2)


def test_a_corpus_without_headlines_is_refused(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text('{"text": "短い"}\n', encoding="utf-8")
    assert cli.run(headlines.main, [str(tmp_path / "x.jsonl"), "--output_dir", str(tmp_path / "o")]) == 2
    assert "5 different ones are needed" in capsys.readouterr().err


def test_documents_that_give_no_question_are_counted(news, tmp_path, capsys):
    lines = news.read_text(encoding="utf-8")
    more = [{"text": "長い一行が続く" * 20 + "\n本文" * 30}, {"title": "短い記事", "text": "一行"}, {"text": ""}]
    path = tmp_path / "more.jsonl"
    path.write_text(lines + "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in more), encoding="utf-8")
    assert cli.run(headlines.main, [str(path), "--output_dir", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out
    assert "30 questions from 30 articles" in said
    assert "left out: 2 documents without a headline" in said and "left out: 1 documents without an article" in said


def test_a_file_has_no_splits(news, tmp_path, capsys):
    words = [str(news), "--output_dir", str(tmp_path / "o"), "--split", "valid"]
    assert cli.run(headlines.main, words) == 2 and "has no splits" in capsys.readouterr().err


def test_headlines_of_a_folder_whose_cleaning_did_not_finish(news, tmp_path, capsys):
    (tmp_path / "clean" / "test").mkdir(parents=True)
    (tmp_path / "clean" / "test" / "00000.jsonl").write_bytes(news.read_bytes())
    assert cli.run(headlines.main, [str(tmp_path / "clean"), "--output_dir", str(tmp_path / "o")]) == 2
    assert "clean.json" in capsys.readouterr().err


def test_embeddings_do_not_depend_on_their_batch(loaded, tmp_path):
    import torch

    model, texts = loaded("spm"), ["港の市場", "北の灯台で銅の鍵が見つかった。", "赤い糸"]
    vectors = embed.embed(model, texts)
    with torch.no_grad():
        states = model.model(torch.tensor([model.encode(texts[2])]), output_hidden_states=True).hidden_states[-1]
    alone = states[0].mean(0).numpy()
    assert vectors[2] == pytest.approx(alone / np.linalg.norm(alone), abs=1e-5)
    for name in ("v.npy", "v.parquet"):
        embed.write(tmp_path / name, texts, vectors)
    assert np.array_equal(np.load(tmp_path / "v.npy"), vectors)
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "v.parquet").to_pydict()
    assert table["text"] == texts and np.allclose(table["embedding"], vectors)


def test_empty_lines_have_no_embedding_and_are_told(tmp_path, capsys):
    (tmp_path / "lines").write_text("一\n\n二\n \n三\n", encoding="utf-8")
    assert embed.sentences(tmp_path / "lines") == ["一", "二", "三"]
    assert "2 empty lines of" in capsys.readouterr().err
    (tmp_path / "rows").write_text('{"text": "一"}\n\n{"text": "二"}\n', encoding="utf-8")
    assert embed.sentences(tmp_path / "rows") == ["一", "二"] and "1 empty lines of" in capsys.readouterr().err
    (tmp_path / "lines").write_text("一\n二\n", encoding="utf-8")
    assert embed.sentences(tmp_path / "lines") == ["一", "二"] and not capsys.readouterr().err


def test_spearman_on_jsts(loaded, tmp_path):
    pairs = [
        ("港の市場", "港の市場", 5.0),
        ("赤い糸", "青い工房", 1.0),
        ("木の舟", "木の舟と鍵", 4.0),
        ("蜂蜜", "旧駅舎", 0.0),
    ]
    rows = [{"sentence1": a, "sentence2": b, "label": label} for a, b, label in [*pairs, ("麦わら", "麦わら", 4.5)]]
    path = tmp_path / "jsts.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = embed.jsts(loaded("spm"), path)
    assert found["pairs"] == 5 and 0.5 < found["spearman"] <= 1.0  # equal sentences come out on top


def _foreign(folder, name, **special):
    """A model folder as rinna or Llama publish it: no piece of Haigo's, the classes' own special pieces."""
    import sentencepiece

    made, rnd = io.BytesIO(), random.Random(2)
    words = [*synthetic_jglue.PLACES, *synthetic_jglue.THINGS, *synthetic_jglue.PEOPLE]
    texts = ["".join(rnd.choices(words, k=4)) + " 終わり。" for _ in range(300)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=made, vocab_size=200, byte_fallback=False, hard_vocab_limit=False,
        bos_id=1, eos_id=2, unk_id=0, minloglevel=2, **special
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / name).write_bytes(made.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model"])
@pytest.mark.parametrize("prefix", [True, False])
def test_models_of_others_have_sentencepieces_ids(tmp_path, name, prefix):
    from haigo.formats.tokenizer.foreign_model import ForeignTokenizer

    special = {"user_defined_symbols": ["<NL>", "\n"], "remove_extra_whitespaces": False}
    processor = _foreign(tmp_path / "f", name, add_dummy_prefix=prefix, **special)
    made = ForeignTokenizer(tmp_path / "f")
    for text in ("港の市場", "赤い糸 \n### 応答:\n", "<NL>システム: ", "  空白", "嶬", ""):
        assert made.ids(text) == processor.encode(text)
    eos = processor.eos_id()
    assert made.eos_token_id == eos and made.ids("木の舟</s>") == [*processor.encode("木の舟"), eos]
    text = made.decode([*processor.encode("木の舟"), eos, len(made) + 7])
    assert text.replace(" ", "") == "木の舟</s>" and made.decode([eos], skip_special_tokens=True) == ""


@pytest.mark.parametrize(
    ("name", "config", "around"),
    [
        ("tokenizer.model", {}, [1]),
        ("tokenizer.model", {"add_bos_token": False}, []),
        ("tokenizer.model", {"add_bos_token": False, "add_eos_token": True}, [2]),
        ("spiece.model", {}, []),
    ],
)
def test_special_tokens_around_a_text_where_they_are_asked_for(tmp_path, name, config, around):
    """In lm-eval's own tasks: as transformers 4's Llama class, and no end token between a question and its answer."""
    from haigo.formats.tokenizer.foreign_model import ForeignTokenizer

    _foreign(tmp_path / "f", name)
    (tmp_path / "f" / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    made = ForeignTokenizer(tmp_path / "f")
    before, behind = [n for n in around if n == 1], [n for n in around if n == 2]
    assert made.encode("赤い糸") == [*before, *made.ids("赤い糸"), *behind]
    assert made.encode("赤い糸", add_special_tokens=False) == made.ids("赤い糸")


def test_a_text_that_spells_a_control_piece(tmp_path):
    """As transformers 4.46's slow classes: its id where nothing else stands between blanks, the unknown id otherwise."""
    from haigo.formats.tokenizer.foreign_model import ForeignTokenizer

    _foreign(tmp_path / "f", "spiece.model")
    made = ForeignTokenizer(tmp_path / "f")
    blank, unknown = made.sp_model.piece_to_id("\u2581"), made.sp_model.unk_id()
    assert made.ids("<s>") == [blank, 1] and made.ids("x<s>y") == [blank, unknown]


def test_added_tokens_have_their_ids(tmp_path):
    from haigo.formats.tokenizer.foreign_model import ForeignTokenizer

    processor = _foreign(tmp_path / "f", "tokenizer.model")
    config = {"added_tokens_decoder": {"900": {"content": "<|chat|>"}}, "eos_token": "<|chat|>"}
    (tmp_path / "f" / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    made = ForeignTokenizer(tmp_path / "f")
    assert made.eos_token_id == 900 and len(made) == 901
    assert made.ids("糸<|chat|>") == [*processor.encode("糸"), 900]


def test_a_model_with_such_a_tokenizer_is_scored(tmp_path, jglue):
    from eval_harness.model import load

    processor = _foreign(tmp_path / "m", "spiece.model")
    synthetic_jglue.tiny_model(tmp_path / "m", 256, 1024)
    model = load(f"pretrained={tmp_path / 'm'}", device="cpu", show_progress=False)
    assert model.tokenizer_kind == "sentencepiece" and model.encode("赤い糸") == processor.encode("赤い糸")
    found = evaluate("", "jnli-1.1-0.4", 1, 3, jglue, model=model, bootstrap_iters=0)
    assert found["haigo"]["tasks"]["jnli-1.1-0.4"]["n"] == 3


def test_a_file_that_is_no_sentencepiece_model_is_left_to_transformers(tmp_path):
    from haigo.formats.tokenizer.foreign_model import find

    shutil.copytree(GOLDEN / "bpe", tmp_path / "m")
    (tmp_path / "m" / "tokenizer.model").write_text("IQ== 0\n", encoding="utf-8")  # tiktoken's format
    assert find(tmp_path / "m") is None
