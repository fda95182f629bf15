"""`--skip-broken N`: rows that cannot be read are passed over up to N, counted and named; one more ends the command."""

import gzip
import json

import pytest
import zstandard

from haigo import cli, files
from haigo.formats import documents
from preprocess import clean, decontaminate, dedup, index, pairs, sample, scale

GOOD = "これは試験のために書いた文章です。番号は{}です。長さは四十文字を超えるように足してあります。"
BROKEN = {
    "null": '{"text": null}',
    "missing": '{"title": "題だけ"}',
    "number": '{"text": 3}',
    "cut": '{"text": "途中で切れ',
    "no object": '["a", "b"]',
    "not json": "ただの文",
    "not utf-8": b'{"text": "\xff\xfe"}',
    "deep": '{"text": ' + "[" * 100_000,
}


def write(path, broken, count=6):
    rows = [json.dumps({"id": str(n), "text": GOOD.format(n)}, ensure_ascii=False).encode() for n in range(count)]
    for place, row in enumerate(broken):
        rows.insert(2 + 2 * place, row if isinstance(row, bytes) else row.encode())
    data = b"\n".join(rows) + b"\n"
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def run_clean(folder, path, *words):
    return cli.run(clean.main, [str(path), "--corpus", "c", "--output-dir", str(folder / "out"), *words])


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_clean_counts_and_names_them(tmp_path, capsys, kind, name):
    path = write(tmp_path / name, [BROKEN[kind]])
    assert run_clean(tmp_path, path) == cli.BAD_INPUT
    assert "line 3" in capsys.readouterr().err and not (tmp_path / "out" / "clean.json").exists()
    assert run_clean(tmp_path, path, "--skip-broken", "1") == 0
    assert f"passed over: 1 broken rows\n      {path}" in capsys.readouterr().out
    report = files.read_json(tmp_path / "out" / "clean.json")
    assert report["documents_out"] == 6 and report["broken_rows"]["count"] == 1
    assert str(path) in report["broken_rows"]["rows"][0] and "line 3" in report["broken_rows"]["rows"][0]


def test_one_more_is_too_many(tmp_path, capsys):
    path = write(tmp_path / "x.jsonl", list(BROKEN.values()))
    assert run_clean(tmp_path, path, "--skip-broken", str(len(BROKEN) - 1)) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert f"more than {len(BROKEN) - 1} rows are broken; the last: {path}" in said and "--skip-broken" in said
    assert run_clean(tmp_path, path, "--skip-broken", str(len(BROKEN))) == 0
    assert files.read_json(tmp_path / "out" / "clean.json")["broken_rows"]["count"] == len(BROKEN)
    for wrong in ("-1", "x", "1.5"):
        assert run_clean(tmp_path, path, "--skip-broken", wrong) == cli.BAD_INPUT


def test_what_is_damaged_is_no_row(tmp_path):
    path = write(tmp_path / "x.jsonl.gz", [])
    path.write_bytes(path.read_bytes()[:-9])
    assert run_clean(tmp_path, path, "--skip-broken", "9") == cli.BAD_INPUT
    (tmp_path / "y.jsonl").write_text('[{"text": "a"}]', encoding="utf-8")
    assert run_clean(tmp_path, tmp_path / "y.jsonl", "--skip-broken", "9") == cli.BAD_INPUT


def test_parquet_and_text_files(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": [GOOD.format(1), None, GOOD.format(2)]}), tmp_path / "in" / "a.parquet")
    (tmp_path / "in" / "b.txt").write_bytes("très bien\n".encode("latin-1"))
    (tmp_path / "in" / "c.txt").write_text(GOOD.format(3), encoding="utf-8")
    assert run_clean(tmp_path, tmp_path / "in", "--skip-broken", "1") == cli.BAD_INPUT
    assert run_clean(tmp_path, tmp_path / "in", "--skip-broken", "2") == 0
    report = files.read_json(tmp_path / "out" / "clean.json")
    assert report["documents_out"] == 3 and report["broken_rows"]["count"] == 2
    assert "a.parquet (row 2)" in report["broken_rows"]["rows"][0] and "b.txt" in report["broken_rows"]["rows"][1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_index_names_lines_of_the_whole_file(tmp_path, model_dir, capsys, monkeypatch, workers):
    monkeypatch.setattr(index, "_LEAST_SPLIT", 300)  # several processes share the file
    path = write(tmp_path / "x.jsonl", [BROKEN["null"], BROKEN["cut"]], 20)
    words = [str(path), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o"), "--workers", workers]
    assert cli.run(index.main, words) == cli.BAD_INPUT
    assert cli.run(index.main, [*words, "--skip-broken", "1"]) == cli.BAD_INPUT
    assert not (tmp_path / "o_text_document.json").exists()
    assert cli.run(index.main, [*words, "--skip-broken", "2"]) == 0
    assert "passed over: 2 broken rows" in capsys.readouterr().out
    manifest = files.read_json(tmp_path / "o_text_document.json")
    assert manifest["documents"] == 20
    for line, row in zip((3, 5), manifest["broken_rows"]["rows"], strict=True):
        assert f"line {line})" in row
    # who allows none is not given the dataset that was made with some left out
    assert cli.run(index.main, words) == cli.BAD_INPUT


def test_pairs(tmp_path, model_dir, capsys):
    rows = ['{"prompt": "雨", "response": "山"}', '{"prompt": "雨", "response": null}', '{"messages": []}', "{"]
    (tmp_path / "x.jsonl").write_text("\n".join([rows[0], *rows]), encoding="utf-8")
    words = [str(tmp_path / "x.jsonl"), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(pairs.main, [*words, "--skip-broken", "2"]) == cli.BAD_INPUT
    assert cli.run(pairs.main, [*words, "--skip-broken", "3"]) == 0
    assert "passed over: 3 broken rows" in capsys.readouterr().out
    manifest = files.read_json(tmp_path / "o_text_document.json")
    assert manifest["examples"] == 2 and [row.count("line") for row in manifest["broken_rows"]["rows"]] == [1, 1, 2]


def test_scale_takes_the_options_of_clean(tmp_path, model_dir, capsys):
    path = write(tmp_path / "x.jsonl", [BROKEN["null"]])
    run = tmp_path / "run.yml"
    text = f"corpus: c\ninputs: [{path}]\noutput: {tmp_path / 'o'}\ntokenizer: {model_dir}\n"
    run.write_text(text, encoding="utf-8")
    assert cli.run(scale.main, [str(run)]) == cli.FAILED  # a bad file is named when the others are done
    said = capsys.readouterr().err
    assert (
        f"{path} (line 3)" in said
        and "'clean.skip_broken' N" in said
        and "the same command then does these alone" in said
    )
    run.write_text(text + "clean: {skip_brokn: 1}\n", encoding="utf-8")
    assert cli.run(scale.main, [str(run)]) == cli.BAD_INPUT
    assert "unknown key 'clean.skip_brokn'. Did you mean 'skip_broken'?" in capsys.readouterr().err
    run.write_text(text + "clean: {skip_broken: 1, normalise: kana}\n", encoding="utf-8")
    assert cli.run(scale.main, [str(run)]) == 0
    assert files.read_json(tmp_path / "o" / "clean" / "00000" / "clean.json")["broken_rows"]["count"] == 1


@pytest.mark.parametrize("verb", ["dedup", "decontaminate", "sample"])
def test_commands_that_read_cleaned_text(tmp_path, capsys, verb):
    path = write(tmp_path / "x.jsonl", [], 40)
    assert run_clean(tmp_path, path) == 0
    (shard,) = (tmp_path / "out" / "train").glob("*.zst")
    rows = zstandard.decompress(shard.read_bytes()).splitlines()
    rows.insert(2, b'{"id": "null", "text": null}')  # by hand
    shard.write_bytes(zstandard.compress(b"\n".join(rows) + b"\n"))
    (tmp_path / "asked.jsonl").write_text('{"text": "どこにもない文章をここに置いて探させる"}\n', encoding="utf-8")
    main, more = {
        "dedup": (dedup.main, []),
        "decontaminate": (decontaminate.main, ["--against", str(tmp_path / "asked.jsonl")]),
        "sample": (sample.main, ["--characters", "1e6"]),
    }[verb]
    words = [str(tmp_path / "out"), "--output-dir", str(tmp_path / "made"), *more]
    assert cli.run(main, words) == cli.BAD_INPUT
    assert f"{shard} (line 3)" in capsys.readouterr().err
    assert cli.run(main, [*words, "--skip-broken", "1"]) == 0
    assert "passed over: 1 broken rows" in capsys.readouterr().out
    assert files.read_json(tmp_path / "made" / f"{verb}.json")["broken_rows"]["count"] == 1
    left = list(documents.read(tmp_path / "made" / "c"))
    assert len(left) == len(rows) - 1 and all(one.text for one in left)
