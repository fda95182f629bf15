"""preprocess.tokenizer_adopt: a tokenizer that is there already is taken in and measured, not changed."""

import io
import json

import pytest
import sentencepiece

from haigo.cli import HaigoError
from preprocess import clean, tokenizer, tokenizer_adopt


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"id": str(i), "text": f"第{i}回の会議は、ｶﾀｶﾅ　で始まりました。" * 12} for i in range(40)]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    clean.clean_corpus("a", [folder / "a.jsonl"], folder / "clean", split_shares=(0.8, 0.1, 0.1))
    return folder / "clean"


def model(folder, **options):
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["会議は始まりました。", "第一回の会議", "カタカナで"] * 20),
        model_writer=made,
        vocab_size=300,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    path = folder / "their.model"
    path.write_bytes(made.getvalue())
    return path


def test_taken_in_unchanged_and_measured(corpus, tmp_path):
    given = model(tmp_path, control_symbols=["<|endoftext|>"])  # nmt_nfkc: changes half-width kana
    meta = tokenizer_adopt.adopt(given, tmp_path / "tok", {"a": corpus})
    assert (tmp_path / "tok" / "spm.model").read_bytes() == given.read_bytes()
    assert meta["corpora"]["a"]["documents"] == 40 and meta["corpora"]["a"]["lossless"] == 0
    assert tokenizer.load(tmp_path / "tok").sha256 == meta["sha256"]


def test_refused_without_an_end_of_document_piece(corpus, tmp_path):
    with pytest.raises(HaigoError, match=r"has no piece <\|endoftext\|>"):
        tokenizer_adopt.adopt(model(tmp_path), tmp_path / "tok", {"a": corpus})
