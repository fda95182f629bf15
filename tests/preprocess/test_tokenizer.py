"""Training is repeatable, nothing is lost, special pieces cannot be spelled, and the adapter gives sentencepiece's ids."""

import json
import random

import hand_model
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo.cli import HaigoError, Refused
from preprocess import clean, documents, tokenizer, tokenizer_folder, tokenizer_train
from preprocess.sources import Document

WORDS = [
    "国会",
    "会議",
    "質問",
    "京都",
    "東京",
    "山",
    "川",
    "雨",
    "雪",
    "歩く",
    "見る",
    "聞く",
    "静かな",
    "人々",
    "歴史",
    "する",
]


def sentences(count, seed=0):
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(f"{rng.choice(WORDS)}{rng.choice('はがをにの')}" for _ in range(12)) + "。"
        yield f"def {rng.choice('abc')}{rng.randrange(99)}(x):"
        yield "    return x + 1  # the rain in the hills"


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cleaned")
    for number, name in enumerate(("one", "two")):
        lines = list(sentences(240, number))
        rows = ["\n".join(lines[at : at + 9]) for at in range(0, len(lines), 9)]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
        clean.clean_corpus(name, [path], folder / name)
    return folder


@pytest.fixture(scope="module")
def trained(cleaned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    corpora = {"one": cleaned / "one", "two": cleaned / "two"}
    return folder, tokenizer_train.train(corpora, folder, vocab_size=420, chars_per_corpus=8000)


def test_the_folder_holds_what_the_rooms_need(trained):
    folder, meta = trained
    names = {"spm.model", "meta.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert {path.name for path in folder.iterdir()} == names and tokenizer.meta(folder) == meta
    model = tokenizer.load(folder)
    assert (meta["vocab_size"], meta["eod_id"], meta["pad_id"]) == (model.vocab_size, model.eod_id, model.pad_id)
    assert meta["eod_piece"] == "<|endoftext|>" and meta["sha256"] == model.sha256
    # Megatron takes eos_id, GPT-NeoX the piece: they must agree
    assert model.processor.eos_id() == model.eod_id == model.processor.piece_to_id("<|endoftext|>") != 0
    assert model.processor.bos_id() == -1 and model.processor.unk_id() == 0
    for row in meta["corpora"].values():
        assert row["lossless"] == row["documents"] > 0 and row["characters_per_token"] > 1.2
        assert row["training"]["characters"] <= 8000
    assert set(meta["tokenizer_json"]) == {"one", "two"}


def test_the_same_seed_gives_the_same_model(trained, cleaned, tmp_path):
    corpora = {"one": cleaned / "one", "two": cleaned / "two"}
    again = tokenizer_train.train(corpora, tmp_path / "a", vocab_size=420, chars_per_corpus=8000)
    assert again == trained[1]
    other = tokenizer_train.train(corpora, tmp_path / "b", vocab_size=420, chars_per_corpus=8000, seed=5)
    assert other["sha256"] != again["sha256"]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=80) | st.text(
    " \n\t　def国会0123①𠮟<|endoftext|>", max_size=80
)


@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_every_text_comes_back(trained, text):
    model = tokenizer.load(trained[0])
    ids = model.encode(text)
    assert model.decode(ids) == text and model.encode_batch([text, "x"])[0] == ids
    assert not {model.eod_id, model.pad_id, 0} & set(ids)  # no text spells a special piece


@settings(max_examples=80, deadline=None)
@given(text=TEXT)
def test_the_adapter_gives_sentencepieces_ids(trained, text):
    adapter, model = _adapter(trained[0]), tokenizer.load(trained[0])
    ids = model.encode(text)
    assert adapter.encode(text) == ids and adapter(text)["input_ids"] == ids
    assert adapter.encode(text, add_special_tokens=False) == ids
    assert adapter.decode(ids) == text and adapter.decode(ids, skip_special_tokens=True) == text


_adapters = {}


def _adapter(folder):
    return _adapters.setdefault(folder, tokenizer.hf_adapter(folder))


def test_the_adapter_behaves_like_a_transformers_tokenizer(trained, tmp_path):
    adapter, model = _adapter(trained[0]), tokenizer.load(trained[0])
    assert (adapter.eos_token_id, adapter.pad_token_id) == (model.eod_id, model.pad_id)
    assert len(adapter) == adapter.vocab_size == model.vocab_size
    batch = adapter(["国会", "国会 の 歴史"], padding=True, return_tensors="pt")
    assert (
        batch["input_ids"].shape == batch["attention_mask"].shape
        and batch["attention_mask"].sum() < batch["input_ids"].numel() + 1
    )
    eod = [model.eod_id]
    assert adapter.decode(model.encode("雨") + eod) == "雨<|endoftext|>"
    assert adapter.decode(model.encode("雨") + eod, skip_special_tokens=True) == "雨"
    saved = adapter.save_pretrained(tmp_path / "copy")
    assert len(saved) == 5 and tokenizer.load(tmp_path / "copy").sha256 == model.sha256
    assert adapter.save_pretrained(trained[0])  # onto itself: nothing is lost
    assert tokenizer.load(trained[0]).sha256 == model.sha256


def test_tokenizer_json_serves_other_programs(trained):
    from transformers import AutoTokenizer

    theirs, model = AutoTokenizer.from_pretrained(trained[0]), tokenizer.load(trained[0])
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (model.eod_id, model.pad_id, model.vocab_size)
    for text in [*sentences(20, 9), "  行\n\n\tend", "𠮟る①", "", " "]:
        ids = model.encode(text)
        assert theirs.decode(ids) == text
        assert theirs.encode(text) == ids, text


def test_bpe_has_no_tokenizer_json_but_the_same_contract(cleaned, tmp_path):
    meta = tokenizer_train.train({"one": cleaned / "one"}, tmp_path, vocab_size=420, model_type="bpe")
    assert meta["tokenizer_json"] is None and not (tmp_path / "tokenizer.json").exists()
    assert meta["corpora"]["one"]["lossless"] == meta["corpora"]["one"]["documents"]


def test_long_lines_are_cut_and_not_dropped():
    text = "あ" * 1500 + "。" + "い" * 4000 + "\n短い行\n\n"
    lines = list(tokenizer_train.training_lines([Document("x", text)]))
    assert "".join(lines) == text.replace("\n", "") and max(map(len, lines)) <= 2000 and lines[0].endswith("。")


def test_one_long_document_does_not_take_the_budget(tmp_path, cleaned):
    long = [Document("long", "長い文書。" * 20000)] + [Document(str(n), "短い文書。" * 20) for n in range(400)]
    drawn = documents.draw(tokenizer_train._excerpts(long, 30000, 1), 30000, 1)
    assert 28000 < sum(len(one.text) for one in drawn) <= 30000 and len(drawn) > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 270}, r"a tokenizer of 270 pieces is too small for this text: .* alone take \d+\.\n"),
        ({"vocab_size": 420, "model_type": "bpee"}, "no model type 'bpee'"),
        ({"vocab_size": 420, "chars_per_corpus": {"one": 0}}, None),
    ],
)
def test_options_that_cannot_work(cleaned, tmp_path, options, message):
    if message is None:  # one document is drawn even then
        assert tokenizer_train.train({"one": cleaned / "one"}, tmp_path, **options)["vocab_size"] <= 420
        return
    with pytest.raises(HaigoError, match=message):
        tokenizer_train.train({"one": cleaned / "one"}, tmp_path, **options)
    assert not (tmp_path / "meta.json").exists()


def test_a_corpus_that_would_not_come_back_is_refused(tmp_path, trained):
    writer = documents.ShardWriter(tmp_path / "train")
    writer.add(Document("bar", "棒▁グラフ"))
    writer.flush()
    (tmp_path / "clean.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Refused, match=r"changes 1 of 1 documents of 'x' \(bar\)"):
        tokenizer_folder.check(tokenizer.load(trained[0]), tmp_path, "x")


def test_the_hand_made_model_is_sound(model_dir):
    model = tokenizer.load(model_dir / "spm.model")
    assert (model.eod_id, model.pad_id) == (1, 2)
    for text in hand_model.TEXTS:
        assert model.decode(model.encode(text)) == text


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (hand_model.model(eod=None), r"has no piece <\|endoftext\|>"),
        (b"", "is not a SentencePiece model"),
        (b"\x0a\x05garbage", "is not a SentencePiece model"),
        (hand_model.model()[:500], "is not a SentencePiece model|has no piece"),
    ],
)
def test_models_that_are_refused(tmp_path, blob, message):
    (tmp_path / "spm.model").write_bytes(blob)
    with pytest.raises(HaigoError, match=message):
        tokenizer.load(tmp_path)
    with pytest.raises(HaigoError, match="does not exist"):
        tokenizer.load(tmp_path / "gone")


def test_the_command(cleaned, tmp_path, capsys):
    words = [str(cleaned / "one"), "--vocab-size", "420", "--chars-per-corpus", "5000", "--output-dir", str(tmp_path)]
    assert tokenizer.main(words) == 0
    assert "characters a token" in capsys.readouterr().out
    with pytest.raises(HaigoError, match="both the corpus 'one'"):
        tokenizer.main([str(cleaned / "one"), *words])
    with pytest.raises(HaigoError, match="holds no cleaned corpus"):
        tokenizer.main([str(tmp_path), *words[1:]])


def test_ids_beyond_the_model_have_no_text(model_dir):
    adapter = _adapter(model_dir)
    ids = adapter.encode("配合", add_special_tokens=False)
    beyond = [adapter.vocab_size, adapter.vocab_size + 100]  # a model's padded vocabulary
    for skip in (False, True):
        whole = adapter.decode(ids, skip_special_tokens=skip)
        assert adapter.decode([*ids[:1], *beyond, *ids[1:]], skip_special_tokens=skip) == whole
    assert adapter.convert_ids_to_tokens(beyond) == ["", ""]


def test_a_model_of_others_loads_when_no_eod_is_asked_for(tmp_path):
    import io

    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(60)), model_writer=made, vocab_size=120, hard_vocab_limit=False, minloglevel=2
    )
    path = tmp_path / "spiece.model"
    path.write_bytes(made.getvalue())
    with pytest.raises(HaigoError, match="has no piece"):
        tokenizer.load(path)
    assert tokenizer.load(path, require_eod=False).encode("霧")
