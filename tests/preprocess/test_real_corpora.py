"""The real corpora of a development machine: everything is read, cleaned and given back by a tokenizer."""

import re

import pytest

from haigo.formats import documents
from preprocess import clean, sources, tokenizer, tokenizer_train

pytestmark = pytest.mark.corpora
# what the corpora's own description counts: documents (the attendance lists of the minutes are passed over)
COUNTS = {
    "wiki_ja": 206 + 3294 - 1, "english": 1904, "news": 3670, "literature": 142, "techdoc": 2361, "code": 598,
    "diet/speech_pages": 2400 - 161, "diet/minutes-2025.jsonl.gz": 79,
}  # fmt: skip
LEFT_OVER = {
    "wiki_ja": r"\{\{|\}\}|\[\[|\]\]|'''|^==|<ref|\{\||\|\}|\[\[(?:ファイル|File|Category):",
    "literature": r"《|》|｜|［＃|^底本：",
    "diet": r"\r|^　",
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_document_is_read(corpora, name):
    found = list(sources.read([corpora / name]))
    assert len(found) == COUNTS[name]
    assert not sum("\ufffd" in document.text for document in found)


@pytest.mark.parametrize("name", LEFT_OVER)
def test_no_markup_is_left(corpora, tmp_path, name):
    report = clean.clean_corpus(name, [corpora / name], tmp_path)
    assert report["documents_out"] > 0.85 * report["documents_in"]
    pattern = re.compile(LEFT_OVER[name], re.MULTILINE)
    wrong = [
        one.id for split in documents.SPLITS for one in documents.read(tmp_path, split) if pattern.search(one.text)
    ]
    assert not wrong


def test_one_tokenizer_gives_every_corpus_back(corpora, tmp_path):
    names = ["wiki_ja", "english", "diet", "news", "literature", "techdoc", "code"]
    for name in names:
        clean.clean_corpus(name, [corpora / name], tmp_path / name, max_chars=300_000)
    meta = tokenizer_train.train(
        {name: tmp_path / name for name in names}, tmp_path / "t", vocab_size=6000, chars_per_corpus=60000
    )
    for row in meta["corpora"].values():
        assert row["lossless"] == row["documents"]
    adapter, model = tokenizer.hf_adapter(tmp_path / "t"), tokenizer.load(tmp_path / "t")
    for name in names:
        for one in documents.read(tmp_path / name, "valid"):
            assert adapter.encode(one.text) == model.encode(one.text)
