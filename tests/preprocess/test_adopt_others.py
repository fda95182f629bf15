"""preprocess.tokenizer --adopt: tokenizers of other projects by the piece that ends a document, with their makers' ids."""

import json
import random
import re
import subprocess

import other_tokenizers
import pytest
from other_tokenizers import ENDS, KINDS, LINES, ODD

from haigo import cli, files
from haigo.formats.dataset.indexed import MMapReader
from haigo.formats.tokenizer import adopted, export, load, open_hf
from haigo.formats.tokenizer.probes import PLAIN
from preprocess import clean, index, inspect, pairs, tokenizer


def texts():
    rng = random.Random(3)
    made = ["".join(rng.choices([*LINES, *ODD, *PLAIN], k=rng.randrange(1, 9))) for _ in range(60)]
    return [*ODD, *LINES, *PLAIN, *made]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"id": str(i), "text": f"第{i}回の会議は、ｶﾀｶﾅ　で始まりました。" * 6} for i in range(20)]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    clean.clean_corpus("a", [folder / "a.jsonl"], folder / "clean", split_shares=(0.8, 0.1, 0.1))
    return folder / "clean"


@pytest.fixture(scope="module", params=KINDS)
def taken(request, corpus, tmp_path_factory):
    """A tokenizer of another project, and the folder that was made of it."""
    place = tmp_path_factory.mktemp(request.param)
    other = other_tokenizers.make(request.param, place / "theirs")
    argv = [str(corpus), "--adopt", str(other.folder), "--eod-piece", other.end, "--output-dir", str(place / "tok")]
    assert cli.run(tokenizer.main, argv) == 0
    return other, place / "tok"


def jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def test_every_text_has_the_ids_of_its_makers(taken):
    other, folder = taken
    model = load(folder)
    assert (model.eod_id, model.vocab_size, model.neox_type) == (other.end_id, other.size, other.neox_type)
    spoken = other.kind == "unigram"  # its end piece is read out of text under one name only
    every = [text for text in texts() if not (spoken and other.end in text)]
    assert [model.encode(text) for text in every] == [other.ids(text) for text in every]
    assert model.encode_batch(every) == [model.encode(text) for text in every]
    assert [array.tolist() for array in model.encode_arrays(every)] == [model.encode(text) for text in every]
    assert model.decode([*model.encode("会議"), model.eod_id]) == "会議"
    meta = files.read_json(folder / "meta.json")
    assert meta["kind"] == model.kind and meta["options"]["eod_piece"] == other.end
    assert meta["options"]["adopted_sha256"] == files.sha256_file(other.file)
    assert meta["corpora"]["a"]["documents"] == 20 and meta["corpora"]["a"]["characters_per_token"] > 0.3
    lossless = meta["corpora"]["a"]["lossless"]
    assert lossless == (0 if other.kind == "rinna" else 20)


def test_transformers_own_classes_gave_the_same_ids(taken):
    """Of a SentencePiece folder: those of 4.46's slow classes (`open_hf`), where a text spells no special token."""
    other, folder = taken
    model, theirs = load(folder), open_hf(other.folder)
    assert theirs.kind == model.kind
    special = [*theirs.tokenizer.all_special_tokens, "<s>", "</s>", "<unk>", "<|endoftext|>"]
    every = [text for text in texts() if not any(token in text for token in special)]
    if other.kind == "llama":  # `legacy: false` writes a blank for each sign of a blank, before the model sees the text
        every = [text for text in every if "\u2581" not in text]
    assert [model.encode(text) for text in every] == [theirs.ids(text) for text in every] and len(every) > 50


def test_an_indexed_dataset_is_the_makers_ids_and_the_end(taken, tmp_path, capsys):
    other, folder = taken
    every = [text for text in texts() if other.end not in text]
    source = jsonl(tmp_path / "x.jsonl", [{"text": text} for text in every])
    assert cli.run(index.main, [str(source), "--tokenizer", str(folder), "--output-prefix", str(tmp_path / "o")]) == 0
    reader = MMapReader(tmp_path / "o_text_document")
    assert [list(ids) for ids in reader] == [[*other.ids(text), other.end_id] for text in every]
    capsys.readouterr()
    argv = [str(tmp_path / "o_text_document"), "--verify", "--sample", "2", "--tokenizer", str(folder)]
    assert cli.run(inspect.main, argv) == 0
    assert "'ends_with_eod'" not in capsys.readouterr().err


def test_pairs_mask_by_the_makers_ids(taken, tmp_path, capsys):
    other, folder = taken
    source = jsonl(tmp_path / "p.jsonl", [{"prompt": "首都は？", "response": "東京"}] * 3)
    argv = [str(source), "--tokenizer", str(folder), "--output-prefix", str(tmp_path / "p")]
    assert cli.run(pairs.main, argv) == 0
    said = capsys.readouterr().err
    model = load(folder)
    wanted = [*other.ids("首都は？"), *other.ids("東京"), other.end_id]
    assert list(MMapReader(tmp_path / "p_text_document")[0]) == wanted
    labels = list(MMapReader(tmp_path / "p_text_label_document")[0])
    kept = len(other.ids("東京")) + 1
    assert labels == [-100] * (len(wanted) - kept) + wanted[-kept:]
    assert ("masks are not checked" in said) == (not model.exact and model.decode(wanted) != "首都は？東京")


def test_the_folder_beside_a_model_is_read_the_same_by_everyone(taken, tmp_path):
    from transformers import AutoTokenizer

    other, folder = taken
    model = load(folder)
    export(model, tmp_path, 4096)
    theirs, opened = AutoTokenizer.from_pretrained(tmp_path), open_hf(tmp_path)
    assert theirs.model_max_length == 4096 and theirs.eos_token_id == other.end_id == opened.tokenizer.eos_token_id
    assert opened.warnings == () and load(tmp_path).sha256 == model.sha256
    for text in texts():
        assert opened.ids(text) == model.encode(text)
        # nfkc of several marks on one letter, and control pieces whose letters this small model lacks
        if other.kind != "rinna" or not re.search("e\u0301|<s>|</s>|<unk>", text):
            assert theirs.encode(text, add_special_tokens=False) == model.encode(text), text
            assert theirs.encode(text) == model.encode(text), "nothing is added"


def test_a_folder_of_ours_can_be_taken_in_again(taken, corpus, tmp_path):
    _, folder = taken
    argv = [str(corpus), "--adopt", str(folder), "--output-dir", str(tmp_path / "again")]
    assert cli.run(tokenizer.main, argv) == 0
    assert load(tmp_path / "again").sha256 == load(folder).sha256
    templates = [place / "chat_template.jinja" for place in (folder, tmp_path / "again")]
    assert templates[0].is_file() == templates[1].is_file() == (load(folder).neox_type == "HFTokenizer")
    before = {path: path.read_bytes() for path in (tmp_path / "again").glob("[!.]*")}
    assert cli.run(tokenizer.main, argv) == 0  # the same command gives the same bytes
    assert before == {path: path.read_bytes() for path in (tmp_path / "again").glob("[!.]*")} and len(before) > 3


@pytest.mark.neox
@pytest.mark.slow
def test_gpt_neox_itself_writes_the_same_bytes(taken, neox, tmp_path):
    other, folder = taken
    every = [text for text in texts() if text.strip()]
    source = jsonl(tmp_path / "x.jsonl", [{"text": text} for text in every])
    model = load(folder)
    argv = [str(neox.python), "tools/datasets/preprocess_data.py", "--input", str(source), "--append-eod"]
    argv += [
        "--tokenizer-type",
        model.neox_type,
        "--vocab-file",
        str(model.path),
        "--output-prefix",
        str(tmp_path / "n"),
    ]
    done = subprocess.run(argv, cwd=neox.root, env=neox.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    index.index([source], folder, tmp_path / "o")
    for ending in ("bin", "idx"):
        ours, theirs = (tmp_path / f"{name}_text_document.{ending}" for name in "on")
        assert ours.read_bytes() == theirs.read_bytes(), other.kind
    assert [int(ids[-1]) for ids in MMapReader(tmp_path / "n_text_document")] == [other.end_id] * len(every)


def test_a_lossy_one_is_taken_and_said(corpus, tmp_path, capsys):
    other = other_tokenizers.make("rinna", tmp_path / "theirs")
    argv = [str(corpus), "--adopt", str(other.file), "--eod-piece", "</s>", "--output-dir", str(tmp_path / "tok")]
    assert cli.run(tokenizer.main, argv) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "does not give" in line]
    assert len(told) == 1 and "20 of 20 documents back as they were" in told[0]


def test_documents_that_spell_the_end_are_counted(corpus, tmp_path, capsys):
    other = other_tokenizers.make("qwen", tmp_path / "theirs")
    argv = [str(corpus), "--adopt", str(other.folder), "--output-dir", str(tmp_path / "tok")]
    assert cli.run(tokenizer.main, argv) == 0
    capsys.readouterr()
    source = jsonl(tmp_path / "x.jsonl", [{"text": "a<|endoftext|>b"}, {"text": "c"}, {"text": "<|im_end|>"}])
    assert (
        cli.run(index.main, [str(source), "--tokenizer", str(tmp_path / "tok"), "--output-prefix", str(tmp_path / "o")])
        == 0
    )
    assert "1 documents spell <|endoftext|>" in capsys.readouterr().err
    assert list(MMapReader(tmp_path / "o_text_document")[0]) == [*other.ids("a<|endoftext|>b"), other.end_id]


def test_a_chat_template_goes_with_it_under_the_end_s_new_name(tmp_path, corpus):
    other = other_tokenizers.make("llama3", tmp_path / "theirs")
    argv = [str(corpus), "--adopt", str(other.folder), "--eod-piece", other.end, "--output-dir", str(tmp_path / "tok")]
    assert cli.run(tokenizer.main, argv) == 0
    found = (tmp_path / "tok" / "chat_template.jinja").read_text(encoding="utf-8")
    assert "<|endoftext|>" in found and other.end not in found


def test_the_other_end_gets_the_other_name(tmp_path):
    other = other_tokenizers.make("qwen", tmp_path / "theirs")
    made = adopted.adopt(other.folder, "<|im_end|>")
    (tmp_path / "tokenizer.json").write_bytes(made.content)
    model = load(tmp_path / "tokenizer.json")
    assert model.piece(model.eod_id) == "<|endoftext|>" and model.piece(other.end_id) == "<|im_end|>"
    assert model.eod_id == other.ids("<|im_end|>")[0] and model.encode("会議 x") == other.ids("会議 x")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_taken_in_says_how_it_can_be(kind, corpus, tmp_path, capsys):
    other = other_tokenizers.make(kind, tmp_path / "theirs")
    source = jsonl(tmp_path / "x.jsonl", [{"text": "会議"}])
    for place in (other.folder, other.file):
        argv = [str(source), "--tokenizer", str(place), "--output-prefix", str(tmp_path / "o")]
        if kind in ("gpt2", "qwen") and place == other.file:  # nothing to take in: GPT-NeoX reads the file as it is
            assert cli.run(index.main, argv) == 0
            assert list(MMapReader(tmp_path / "o_text_document")[0]) == [*other.ids("会議"), other.end_id]
            continue
        assert cli.run(index.main, argv) in (cli.BAD_INPUT, cli.REFUSED)
        said = capsys.readouterr().err
        assert "--adopt" in said and "--eod-piece" in said and "Traceback" not in said
    if ENDS[kind] != "<|endoftext|>":
        argv = [str(corpus), "--adopt", str(other.folder), "--output-dir", str(tmp_path / "tok")]
        assert cli.run(tokenizer.main, argv) == cli.REFUSED
        said = capsys.readouterr().err
        assert "which of its pieces ends a document" in said and ENDS[kind] in said and "--eod-piece" in said
        assert not (tmp_path / "tok").exists()


def other_json(change):
    def harm(folder):
        content = json.loads((folder / "tokenizer.json").read_bytes())
        change(content)
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    return harm


def gap(content):
    content["model"]["vocab"]["zz"] = 9000


BAD = {
    "no such piece": ("llama", "<|eot|>", None, cli.BAD_INPUT, "has no piece '<|eot|>'.", "It has </s>."),
    "an ordinary piece": ("llama", "会", None, cli.REFUSED, "'会' is an ordinary piece", "</s>"),
    "of a tokenizer.json": ("qwen", "</s>", None, cli.BAD_INPUT, "has no piece '</s>'.", "<|im_end|>"),
    "ordinary in one": ("qwen", "a", None, cli.REFUSED, "'a' is an ordinary piece", "<|endoftext|>"),
    "gaps": ("gpt2", None, other_json(gap), cli.REFUSED, "the id 9,000", "no gaps"),
    "half a file": (
        "gpt2", None, lambda folder: (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes()[:900]),
        cli.BAD_INPUT, "is not a tokenizer.json", "",
    ),
    "half a model": (
        "rinna", "</s>", lambda folder: (folder / "spiece.model").write_bytes((folder / "spiece.model").read_bytes()[:99]),
        cli.BAD_INPUT, "", "",
    ),
    "an unknown normaliser": (
        "gpt2", None, other_json(lambda content: content.update(normalizer={"type": "Tidy"})),
        cli.BAD_INPUT, "its normalizer is of the kind 'Tidy'", "",
    ),
    "word pieces": (
        "gpt2", None,
        other_json(
            lambda content: content.update(
                model={
                    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1},
                },
                added_tokens=[],
            )
        ),
        cli.REFUSED, "is a WordPiece tokenizer", "BPE, Unigram",
    ),
    "nothing": (
        "gpt2", None, lambda folder: [path.unlink() for path in folder.iterdir()], cli.BAD_INPUT, "has no tokenizer", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_in_a_sentence(case, corpus, tmp_path, capsys):
    kind, end, harm, code, says, more = BAD[case]
    other = other_tokenizers.make(kind, tmp_path / "theirs")
    if harm is not None:
        harm(other.folder)
    argv = [str(corpus), "--adopt", str(other.folder), "--output-dir", str(tmp_path / "tok")]
    assert cli.run(tokenizer.main, argv + (["--eod-piece", end] if end else [])) == code
    said = capsys.readouterr().err
    assert says in said and more in said and "fix: " in said and "Traceback" not in said
    assert not (tmp_path / "tok").exists()


def test_the_end_piece_alone_is_refused(corpus, tmp_path, capsys):
    assert cli.run(tokenizer.main, [str(corpus), "--eod-piece", "</s>", "--output-dir", str(tmp_path / "tok")]) == 2
    assert "--eod-piece says nothing without --adopt" in capsys.readouterr().err


def test_a_changed_file_of_the_folder_is_refused(corpus, tmp_path, capsys):
    other = other_tokenizers.make("gpt2", tmp_path / "theirs")
    argv = [str(corpus), "--adopt", str(other.folder), "--output-dir", str(tmp_path / "tok")]
    assert cli.run(tokenizer.main, argv) == 0
    path = tmp_path / "tok" / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"isolated"', '"isolated" '), encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    source = jsonl(tmp_path / "x.jsonl", [{"text": "会議"}])
    argv = [str(source), "--tokenizer", str(tmp_path / "tok"), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(index.main, argv) == cli.REFUSED
    assert "tokenizer.json was changed since the tokenizer was made" in capsys.readouterr().err


def test_comparing_takes_the_folder(corpus, tmp_path):
    other = other_tokenizers.make("gpt2", tmp_path / "theirs")
    argv = [
        str(corpus),
        "--adopt",
        str(other.folder),
        "--output-dir",
        str(tmp_path / "tok"),
        "--compare",
        str(other.folder),
    ]
    assert cli.run(tokenizer.main, argv) == 0
    compared = files.read_json(tmp_path / "tok" / "meta.json")["compared"]["tokenizers"]
    assert len({row["corpora"]["a"]["tokens"] for row in compared.values()}) == 1 and len(compared) == 2
