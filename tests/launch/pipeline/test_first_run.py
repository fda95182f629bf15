"""launch.pipeline --init: a run file for files as people have them comes to an answer, and what cannot is said at once."""

import json

import pytest

from haigo.cli import HaigoError
from launch.pipeline import first_run, inputs, runfile
from launch.pipeline.__main__ import main
from preprocess import clean
from preprocess.options import CleanOptions

MANY = [f"{number}日目は{'雨だったので家で本を読んで過ごした。' * 3}" for number in range(1200)]
PARAGRAPHS = MANY[:60]
TALK = [f"「{number}か」" for number in range(600)]
HEAD = "題\n著者\n\n" + "-" * 55 + "\n【テキスト中に現れる記号について】\n\n《》：ルビ\n" + "-" * 55 + "\n\n"


def init(folder, monkeypatch, **texts):
    monkeypatch.chdir(folder)
    for name, text in texts.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    words = [f"{name.split('__')[0]}={name.replace('__', '.')}" for name in texts]
    assert main(["--init", "my.yml", *words, "other=other.jsonl"]) == 0
    return runfile.read("my.yml")


@pytest.fixture
def folder(tmp_path):
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in MANY]
    (tmp_path / "other.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "way", "format"),
    [
        ("a__txt", "\n\n".join(PARAGRAPHS), "paragraphs", "auto"),
        ("a__txt", "\r\n\r\n".join(PARAGRAPHS).encode("cp932"), "paragraphs", "auto"),
        ("a__txt", "\n\n\n".join(PARAGRAPHS), "auto", "auto"),
        ("a__txt", "\n".join(PARAGRAPHS), "lines", "auto"),
        (
            "a__txt",
            "\n".join(line for pair in zip(MANY, TALK, strict=False) for line in pair),
            "pieces",
            "auto",
        ),
        ("a__txt", "\n".join(text.rstrip("。") for text in MANY), "pieces", "auto"),
        ("a__md", "\n\n".join(f"## {text[:4]}\n\n{text}" for text in MANY[:700]), "pieces", "txt"),
        ("a__txt", HEAD + "\n".join(MANY[:600]) + "\n\n底本：「題」\n", "pieces", "auto"),
    ],
)
def test_a_text_file_is_parted_so_that_some_can_be_held_out(folder, monkeypatch, capsys, name, text, way, format):
    run = init(folder, monkeypatch, **{name: text})
    corpus = run.corpora["a"]
    assert (corpus.txt_documents, corpus.format) == (way, format)
    assert corpus.markup == ("aozora" if "底本" in str(text) else "auto")
    options = corpus.shared(CleanOptions, normalise=None, split_shares=run.split, seed=run.data_seed)
    report = clean.clean_corpus("a", corpus.files, folder / "clean", options)
    assert report["documents_out"] >= 30 and report["characters_out"] > 0.95 * report["characters_in"] - len(HEAD)
    said = capsys.readouterr()
    assert f"  a: {report['documents_in']:,} documents, {report['characters_in']:,} characters" in said.out
    assert "haigo:" not in said.err


def test_little_text_gets_what_it_has_tokens_for(folder, monkeypatch):
    run = init(folder, monkeypatch, a__txt="\n\n".join(PARAGRAPHS))
    assert run.split == first_run.SPLIT and run.configs.models == [] and run.corpora["other"].txt_documents == "auto"
    size = sum(len(text.encode()) for text in PARAGRAPHS + MANY)
    assert size // 5 < run.train.tokens == run.proxies.tokens <= size // 4
    many = first_run.Found(documents=10_000, characters=9_000_000, size=27_000_000)
    plenty = first_run.sizes({"a": many, "b": many})
    assert plenty == first_run.sizes({}) and plenty["train"]["tokens"] == 800_000


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a__txt", "", "corpus 'a' has too little text to hold some out and measure on it (documents: 0)"),
        ("a__txt", "こんにちは。", "corpus 'a' has too little text to hold some out and measure on it (documents: 1)"),
        ("a__pdf", b"%PDF-1.4\n\xff\xfe\x00", "a.pdf is a PDF, not plain text"),
        ("a__docx", b"PK\x03\x04" + bytes(30), "a.docx is a zip archive (docx, xlsx and epub are such)"),
        ("a__csv", "id,text\n1,あ\n2,い\n", "pandas.read_csv('FILE').to_json('FILE.jsonl'"),
        ("a__jsonl", '{"body": "あ"}\n', "name the key that holds the text with 'corpora.a.text_key'"),
    ],
)
def test_what_will_not_do_is_said_and_the_run_file_written_all_the_same(
    folder, monkeypatch, capsys, name, text, sentence
):
    init(folder, monkeypatch, **{name: text})
    said = capsys.readouterr()
    assert sentence in said.err and "mend what is said above" in said.out
    assert ("as it stands" in said.err) == (name == "a__csv")


def test_names_with_blanks_and_japanese(folder, monkeypatch, capsys):
    (folder / "私の 文書").mkdir()
    (folder / "私の 文書" / "日記 その一.txt").write_text("\n\n".join(PARAGRAPHS), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert main(["--init", "私の 実行.yml", "私の 文書/日記 その一.txt", "other.jsonl"]) == 0
    run = runfile.read("私の 実行.yml")
    assert list(run.corpora) == ["corpus1", "other"] and run.corpora["corpus1"].txt_documents == "paragraphs"
    said = capsys.readouterr().out
    assert "corpus1 (私の 文書/日記 その一.txt): 60 documents" in said
    assert "python -m launch.pipeline '私の 実行.yml'" in said
    with pytest.raises(HaigoError, match=r"'日記' cannot be a corpus name"):
        main(["--init", "x.yml", "日記=other.jsonl"])


def test_files_that_are_still_to_come_are_not_asked_for(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["--init", "my.yml", "later=later/*.jsonl", "other=other.jsonl"]) == 0
    assert "later" not in capsys.readouterr().out and len(runfile.read("my.yml").corpora) == 2


def test_the_new_key_makes_no_finished_stage_another_one(folder, monkeypatch):
    run = init(folder, monkeypatch, a__txt="\n\n".join(PARAGRAPHS))
    assert "txt_documents" not in inputs.cleaning(run, run.corpora["other"])
    assert inputs.cleaning(run, run.corpora["a"])["txt_documents"] == "paragraphs"
