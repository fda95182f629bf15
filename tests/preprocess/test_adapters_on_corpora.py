"""Ids of every SentencePiece adapter against sentencepiece itself, on all text of the real corpora, document by document.

The models are trained here, each as its makers describe theirs: rinna's first (dummy prefix, nmt_nfkc) and later kind (no
prefix, own line-end pieces), llm-jp's (identity, byte fallback), Llama's (BPE, byte fallback) and Haigo's own.
"""

from __future__ import annotations

import io
import itertools
import json
import re

import pytest
from shared_data import data_of

from haigo.formats import tokenizer
from haigo.formats.tokenizer import adapter as adapters
from haigo.formats.tokenizer import foreign_model
from preprocess import sources

DATA = data_of(__file__)

pytestmark = [pytest.mark.corpora, pytest.mark.slow]
NAMES = ("wiki_ja", "english", "diet", "news", "literature", "techdoc", "code")
KINDS = DATA["kinds"]


@pytest.fixture(scope="module")
def texts(corpora):
    found = [document.text for name in NAMES for document in sources.read([corpora / name])]
    assert len(found) > 14_000 and sum(map(len, found)) > 15_000_000
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_sentencepieces_own_on_every_document(kind, texts, tmp_path):
    import sentencepiece

    name, options = KINDS[kind]
    made = io.BytesIO()
    lines = (line for text in texts[::40] for line in text.split("\n")[:40] if line)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=itertools.islice(lines, 8000), model_writer=made, vocab_size=3000,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options
    )  # fmt: skip
    (tmp_path / name).write_bytes(made.getvalue())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 0}), encoding="utf-8")
    plain = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    if kind == "haigo":
        adapter, marks = adapters.HaigoTokenizer(vocab_file=str(tmp_path / name)), None
        encode = tokenizer.load(tmp_path).encode
    else:
        adapter = foreign_model.ForeignTokenizer(tmp_path)
        encode, marks = adapter.ids, re.compile("(" + "|".join(map(re.escape, adapter.special_ids)) + ")")
    spelled = 0
    for number, text in enumerate(texts):
        wanted = plain.encode(text)
        if marks and marks.search(
            text
        ):  # a text that spells a special token: that becomes the token, as in the classes
            spelled += 1
            wanted = []
            for part in filter(None, marks.split(text)):
                wanted += [adapter.special_ids[part]] if marks.fullmatch(part) else plain.encode(part)
        assert encode(text) == wanted, f"document {number}"
        if number % 20 == 0:  # the same through transformers' own ways, which are slow
            assert adapter.encode(text, add_special_tokens=False) == wanted
            assert adapter.convert_tokens_to_ids(adapter.tokenize(text)) == wanted
    assert spelled < len(texts) / 20
