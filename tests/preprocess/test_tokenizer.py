"""Training is repeatable, nothing is lost, special pieces cannot be spelled, and the adapter gives sentencepiece's ids."""

import json
import random

import hand_model
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo import cli, files
from haigo.cli import HaigoError, Refused
from haigo.formats import documents
from haigo.formats.tokenizer.probes import PLAIN, TRAPS
from preprocess import clean, sample_shards, tokenizer, tokenizer_folder, tokenizer_train, training_text
from preprocess.options import MeasureOptions
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
    assert {path.name for path in folder.iterdir()} == {*names, files.JOURNAL, files.LOCK} and tokenizer.meta(
        folder
    ) == meta
    model = tokenizer.load(folder)
    assert (meta["vocab_size"], meta["eod_id"], meta["pad_id"]) == (model.vocab_size, model.eod_id, model.pad_id)
    assert meta["eod_piece"] == "<|endoftext|>" and meta["sha256"] == model.sha256
    # Megatron takes eos_id, GPT-NeoX the piece: they must agree
    assert model.processor.eos_id() == model.eod_id == model.processor.piece_to_id("<|endoftext|>") != 0
    assert model.processor.bos_id() == -1 and model.processor.unk_id() == 0
    for row in meta["corpora"].values():
        assert row["lossless"] == row["documents"] > 0 and row["characters_per_token"] > 1.2
        assert row["training"]["characters"] <= 8000
    assert set(meta["tokenizer_json"]) == {"one", "two", "probes"} == set(meta["adapter"])


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
    (array,) = model.encode_arrays([text])
    assert array.dtype == "int32" and array.tolist() == ids
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


@pytest.fixture(scope="module")
def views(trained, tmp_path_factory):
    """Name -> what other programs make of a text: the library itself, transformers, and Haigo where spm.model is missing."""
    import shutil

    import tokenizers
    from transformers import AutoTokenizer

    place = tmp_path_factory.mktemp("others")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(trained[0] / name, place / name)
    raw, theirs = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json")), AutoTokenizer.from_pretrained(place)
    return {
        "tokenizers": lambda text: raw.encode(text).ids,
        "transformers": lambda text: theirs(text)["input_ids"],
        "haigo": tokenizer.open_hf(place).ids,
    }


SPELLED = ("<|endoftext|>", "<|padding|>", "<unk>", "<0x41>", "<0xE3>")


def test_a_spelled_special_piece_is_text_to_other_programs_too(trained, views):
    """Also where a character of it has no piece: in this model `<`, `|` and `>` have none."""
    model = tokenizer.load(trained[0])
    assert all(model.processor.piece_to_id(sign) == model.processor.unk_id() for sign in "<|>")
    forms = ("{0}", "前{0}後", "a {0}\n{0}{0}", "<{0}|", "国会{0}0x")
    for text in [*(form.format(one) for one in SPELLED for form in forms), *TRAPS, *PLAIN]:
        ids = model.encode(text)
        for name, encode in views.items():
            assert encode(text) == ids, (name, text)


@settings(max_examples=80, deadline=None)
@given(
    text=st.text("<|>x0123Aendoftpuk国会 \n", max_size=60) | st.lists(st.sampled_from(SPELLED), max_size=5).map("".join)
)
def test_no_text_spells_a_special_piece_to_other_programs(trained, views, text):
    model = tokenizer.load(trained[0])
    special = {model.eod_id, model.pad_id, 0}
    for name, encode in views.items():
        ids = encode(text)
        assert not special & set(ids) and model.decode(ids) == text, name
        assert len(ids) == len(model.encode(text)), (
            name
        )  # equally likely cuts have as many pieces here, if in another order


def test_documents_that_tokenizer_json_cuts_otherwise_are_told(cleaned, tmp_path, capsys, monkeypatch):
    from haigo.formats.tokenizer import adapter

    real = adapter.fast_tokenizer

    def other(processor):
        fast = real(processor)
        fast.normalizer = None  # blanks stay blanks, which have no piece
        return fast

    given = {"one": cleaned / "one"}
    tokenizer_train.train(given, tmp_path / "a", vocab_size=420, chars_per_corpus=8000)
    assert "tokenizer.json" not in capsys.readouterr().err
    monkeypatch.setattr(adapter, "fast_tokenizer", other)
    meta = tokenizer_train.train(given, tmp_path / "b", vocab_size=420, chars_per_corpus=8000)
    told, count = capsys.readouterr().err, sum(row["different"] for row in meta["tokenizer_json"].values())
    assert count and f"tokenizer.json cuts {count:,} of" in told and "spm.model" in told
    words = [str(given["one"]), "--vocab-size", "420", "--chars-per-corpus", "8000", "--exact-json"]
    assert cli.run(tokenizer.main, [*words, "--output-dir", str(tmp_path / "c")]) == 0
    assert "It is left out (--exact-json)" in capsys.readouterr().err
    saved = tokenizer.hf_adapter(tmp_path / "c").save_pretrained(tmp_path / "d")
    assert not (tmp_path / "c" / "tokenizer.json").exists() and not [p for p in saved if p.endswith("tokenizer.json")]


def test_bpe_has_the_same_contract_and_a_tokenizer_json_without_a_difference(cleaned, tmp_path):
    meta = tokenizer_train.train({"one": cleaned / "one"}, tmp_path, vocab_size=420, model_type="bpe")
    rows = meta["tokenizer_json"].values()
    assert (tmp_path / "tokenizer.json").exists() and not sum(row["different"] for row in rows)
    fast = tokenizer.open_hf(tmp_path).tokenizer.__class__  # spm.model still comes first
    assert fast.__name__ == "HaigoTokenizer"
    assert meta["corpora"]["one"]["lossless"] == meta["corpora"]["one"]["documents"]


def test_long_lines_are_cut_and_not_dropped():
    text = "あ" * 1500 + "。" + "い" * 4000 + "\n短い行\n\n"
    lines = list(sample_shards.training_lines([Document("x", text)]))
    assert "".join(lines) == text.replace("\n", "") and max(map(len, lines)) <= 2000 and lines[0].endswith("。")


def test_one_long_document_does_not_take_the_budget(tmp_path, cleaned):
    long = [Document("long", "長い文書。" * 20000)] + [Document(str(n), "短い文書。" * 20) for n in range(400)]
    drawn = training_text.draw(long, 30000, 1)
    assert 28000 < sum(len(one.text) for one in drawn) <= 30000 and len(drawn) > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 270}, r"a tokenizer of 270 pieces is too small for this text: .* alone take \d+\.\n"),
        ({"vocab_size": 420, "model_type": "bpee"}, "--model-type is 'bpee'"),
        ({"vocab_size": 420, "chars_per_corpus": 1}, None),
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


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_blanks_come_back_where_the_training_text_has_none(tmp_path, capsys, model_type):
    rng = random.Random(1)
    lines = ["".join(f"{rng.choice(WORDS)}{rng.choice('はがをにの')}" for _ in range(40)) + "。" for _ in range(200)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    clean.clean_corpus("a", [tmp_path / "a.jsonl"], tmp_path / "a")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "a b  c d e f。" * 20}) + "\n", encoding="utf-8")
    clean.clean_corpus("b", [tmp_path / "b.jsonl"], tmp_path / "b")
    words = [str(tmp_path / "a"), "--unseen", str(tmp_path / "b"), "--output-dir", str(tmp_path / "tok")]
    code = cli.run(tokenizer.main, [*words, "--vocab-size", "350", "--model-type", model_type])
    assert code == cli.OK, capsys.readouterr().err
    made = tokenizer.load(tmp_path / "tok")
    assert made.decode(made.encode("東京 a  b")) == "東京 a  b"


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


@pytest.mark.parametrize("adopted", [False, True])
def test_two_runs_in_one_folder_take_turns(cleaned, trained, tmp_path, capsys, adopted):
    """One's meta.json would stand beside the other's model."""
    how = ["--adopt", str(trained[0])] if adopted else ["--vocab-size", "420", "--chars-per-corpus", "5000"]
    words = [str(cleaned / "one"), *how, "--output-dir", str(tmp_path / "tok")]
    with files.owner(tmp_path / "tok"):
        assert cli.run(tokenizer.main, words) == cli.BAD_INPUT
    assert "in use by another process" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "tok").iterdir()} == {files.LOCK}
    assert cli.run(tokenizer.main, words) == cli.OK


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


def test_a_sample_is_trained_on_and_a_finished_model_is_not_trained_again(cleaned, tmp_path, monkeypatch):
    from preprocess import sample

    corpora = {"one": cleaned / "one", "two": cleaned / "two"}
    drawn = sample.sample(corpora, tmp_path / "s", characters=12_000)
    options = {"vocab_size": 420, "sample": tmp_path / "s"}
    meta = tokenizer_train.train(corpora, tmp_path / "t", **options)
    used = {name: row["training"] for name, row in meta["corpora"].items()}
    assert {n: r["characters"] for n, r in used.items()} == {n: r["characters"] for n, r in drawn["corpora"].items()}
    # trained on the lines of the sample and on nothing else
    lines = [line for name in corpora for one in documents.read(tmp_path / "s" / name) for line in one.text.split("\n")]
    model = tokenizer_train.train_model(lines, tokenizer_train.trainer_options(420), 1234)
    assert (tmp_path / "t" / "spm.model").read_bytes() == model

    def no_training(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(tokenizer_train, "train_model", no_training)
    assert tokenizer_train.train(corpora, tmp_path / "t", **options) == meta
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # stopped in the checks
        patch.setattr(tokenizer_folder, "check", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        tokenizer_train.train(corpora, tmp_path / "t", **options)
    assert tokenizer_train.train(corpora, tmp_path / "t", **options) == meta
    with pytest.raises(AssertionError, match="trained again"):
        tokenizer_train.train(corpora, tmp_path / "t", **(options | {"vocab_size": 430}))


def test_unseen_corpora_are_checked_and_not_trained_on(cleaned, trained, tmp_path):
    one = {"one": cleaned / "one"}
    plain = tokenizer_train.train(one, tmp_path / "a", vocab_size=420, chars_per_corpus=8000)
    meta = tokenizer_train.train(
        one, tmp_path / "b", vocab_size=420, chars_per_corpus=8000, unseen={"two": cleaned / "two"}, check_chars=3000
    )
    assert meta["sha256"] == plain["sha256"] and set(plain["corpora"]) == {"one"}
    row = meta["corpora"]["two"]
    assert row["unseen"] and row["lossless"] == row["documents"] > 0 and "training" not in row
    assert 0 < row["characters"] <= 3000 < plain["corpora"]["one"]["characters"]
    with pytest.raises(HaigoError, match="both trained on and called unseen"):
        tokenizer_train.train(one, tmp_path / "c", vocab_size=420, unseen=one)


def test_what_will_not_fit_is_refused(cleaned, tmp_path, monkeypatch, capsys):
    from haigo import cli, memory

    monkeypatch.setattr(memory, "available", lambda: 60_000_000)
    words = [str(cleaned / "one"), "--vocab-size", "420", "--chars-per-corpus", "5000", "--output-dir", str(tmp_path)]
    assert cli.run(tokenizer.main, words) == cli.REFUSED and not (tmp_path / "meta.json").exists()
    said = capsys.readouterr().err
    assert "this machine has 0.1 GB to give" in said and "--force" in said and "GB of memory and" in said
    assert cli.run(tokenizer.main, [*words, "--force"]) == 0
    assert "GB of memory and" in capsys.readouterr().err  # told before it starts


def test_the_cost_grows_with_the_text():
    from preprocess import tokenizer_cost

    for kind in ("unigram", "bpe"):
        costs = [tokenizer_cost.estimate(size, kind) for size in (10**6, 10**7, 3 * 10**8)]
        assert costs[0].memory < costs[1].memory < costs[2].memory and 5e9 < costs[2].memory < 60e9
        assert all(low < high for low, high in (cost.seconds for cost in costs))
    # measured with 50,000 pieces: 3 M characters of mixed text, and 10 M of Japanese (unigram; CPU seconds, MB)
    for size, seconds, megabytes in ((3 * 10**6, 18.4, 136), (10**7, 309, 497)):
        cost = tokenizer_cost.estimate(size)
        assert cost.seconds[0] <= seconds <= cost.seconds[1] and megabytes <= cost.memory / 1e6 <= 2 * megabytes


def test_memory_is_found_out():
    from haigo import memory

    assert 1 << 24 < memory.available() < 1 << 50


def test_a_wrong_adapter_would_be_refused(trained, cleaned, tmp_path, monkeypatch):
    from haigo.formats.tokenizer import adapter

    monkeypatch.setattr(adapter.HaigoTokenizer, "_convert_token_to_id", lambda self, token: 5)
    with pytest.raises(Refused, match="adapter gives other ids than sentencepiece"):
        made = tokenizer_folder.Made((trained[0] / "spm.model").read_bytes(), {})
        tokenizer_folder.write(made, tmp_path, {}, MeasureOptions())


def test_probes_are_lossless(trained):
    model, adapter = tokenizer.load(trained[0]), _adapter(trained[0])
    assert len(TRAPS) >= 10
    for text in TRAPS:
        assert model.decode(model.encode(text)) == text and adapter.encode(text) == model.encode(text)


@pytest.fixture(scope="module")
def others(trained, tmp_path_factory):
    """Tokenizers of other kinds: SentencePiece with its default normalisation, byte-level BPE, word pieces."""
    import sentencepiece
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("others")
    lines = list(sentences(200))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "nfkc"), vocab_size=150, hard_vocab_limit=False,
        minloglevel=2,
    )  # fmt: skip
    byte = tokenizers.Tokenizer(models.BPE())
    byte.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte.decoder = tokenizers.decoders.ByteLevel()
    byte.train_from_iterator(
        lines,
        trainers.BpeTrainer(vocab_size=400, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    (folder / "byte").mkdir()
    byte.save(str(folder / "byte" / "tokenizer.json"))
    (folder / "bert").mkdir()
    (folder / "bert" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "国", "会"]))
    (folder / "bert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    return folder


def test_other_tokenizers_are_measured_beside(others, trained, cleaned, capsys):
    from preprocess import tokenizer_compare

    given = [trained[0], others / "nfkc.model", others / "byte", others / "byte" / "tokenizer.json", others / "bert"]
    made = tokenizer_compare.compare(given, {"one": cleaned / "one"}, seed=1)
    rows = {name: row["corpora"]["one"] for name, row in made["tokenizers"].items()}
    text = [one.text for one in tokenizer_compare.held_out(cleaned / "one")]
    assert made["text"]["one"] == {"documents": len(text), "characters": sum(map(len, text))}
    ours, nfkc, byte, same, bert = rows.values()
    model = tokenizer.load(trained[0])
    assert ours["tokens"] == sum(len(model.encode(one)) for one in text) and ours["lossless"] == len(text)
    assert ours["characters_per_token"] == round(made["text"]["one"]["characters"] / ours["tokens"], 4)
    assert nfkc["lossless"] == 0  # newlines become blanks
    assert byte == same and byte["lossless"] == len(text) and byte["unknown"] == 0
    assert bert["unknown"] > 0 and bert["lossless"] == 0
    shown = tokenizer_compare.table(made)
    assert f"{ours['characters_per_token']:.3f} (100)" in shown and f"{nfkc['characters_per_token']:.3f} (0)" in shown
    words = [str(cleaned / "one"), "--adopt", str(trained[0]), "--output-dir", str(others / "adopted")]
    assert tokenizer.main([*words, "--compare", str(others / "nfkc.model")]) == 0
    assert "nfkc.model (" in capsys.readouterr().out
    assert set(tokenizer.meta(others / "adopted")["compared"]["tokenizers"]) == {
        "adopted (this one)",
        str(others / "nfkc.model"),
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "does not exist"),
        ("empty", "has no tokenizer"),
        ("broken.json", "is not a tokenizer.json"),
        ("broken.model", "is not a SentencePiece model"),
    ],
)
def test_other_tokenizers_that_are_none(tmp_path, cleaned, name, message):
    (tmp_path / "empty").mkdir()
    for broken in ("broken.json", "broken.model"):
        (tmp_path / broken).write_text("{", encoding="utf-8")
    with pytest.raises(HaigoError, match=message):  # before anything is trained
        tokenizer_train.train({"one": cleaned / "one"}, tmp_path / "t", vocab_size=420, compare=[tmp_path / name])
    assert not (tmp_path / "t").exists()


def test_other_sizes_are_trained_and_only_compared(tmp_path, cleaned):
    corpora = {"one": cleaned / "one"}
    alone = tokenizer_train.train(corpora, tmp_path / "alone", vocab_size=420)
    made = tokenizer_train.train(corpora, tmp_path / "both", vocab_size=420, compare_sizes=[380, 460])
    assert made["sha256"] == alone["sha256"] and "compared" not in alone
    rows = made["compared"]["tokenizers"]
    assert list(rows) == ["both (this one)", "380 pieces", "460 pieces"]
    held = [each["corpora"]["one"]["bytes_per_token"] for each in rows.values()]
    assert held[1] < held[0] < held[2]
    with pytest.raises(HaigoError, match="too small for this text") as caught:
        tokenizer_train.train(corpora, tmp_path / "both", vocab_size=420, compare_sizes=[300])
    assert "--compare-sizes" in caught.value.fix
