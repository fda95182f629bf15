"""Names, and YAML that means something else, are told at every door by one rule, before anything is trained."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_data import data_of, needed

from haigo import cli, figures, naming, yamlfile
from haigo.cli import HaigoError
from launch import proxies, runs, screen
from launch.local import __main__ as local
from launch.neox import hostfile
from launch.pipeline.__main__ import main as pipeline_main
from mixer import design, search
from neox_configs import catalogue

DATA = data_of(__file__)

BROKEN = [
    "a,b", "a=b", "a$b", "q$\\frac$", "a/b", "../a", "a\\b", "a\nb", "a\tb", "a\x07b", "a\x1b[31m", ".a", "-a", "a b ", "a*",
    "a\"b",
    "a'b", "a\u200bb", "a\u202eb", "a\ud83db", "", " ", "x" * 200,
]  # fmt: skip
RESERVED = ["run", "size", "tokens", "seed", "seconds", "chosen"]
FINE = ["news", "ja_news", "web-2024", "jawiki.v2", "Wiki", "日本語", "ニュース", "0", "p003"]

RUN = """
output: {out}
corpora:
  news: {{files: ["{news}"], group: ja}}
  wiki: {{files: ["{wiki}"], group: ja}}
tokenizer: {{vocab_size: 1700}}
objective: {{metrics: {{news_bpb: 1.0}}}}
proxies: {{model: 0-1M, runs: 8, held_out: 2, tokens: 16000}}
train: {{model: 0-1M, tokens: 16000}}
configs: {{models: [1-3B]}}
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`launch.pipeline RUN.yml --dry-run` on a run file with changed lines: (exit code, stderr). Nothing may be made."""
    for name in ("news", "wiki"):
        text = "".join(json.dumps({"text": f"{name} {number}"}) + "\n" for number in range(40))
        (tmp_path / f"{name}.jsonl").write_text(text)

    def call(*changes: tuple[str, str], words: tuple[str, ...] = ()) -> tuple[int, str]:
        text = RUN.format(out=tmp_path / "out", news=tmp_path / "news.jsonl", wiki=tmp_path / "wiki.jsonl")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "my.yml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        code = cli.run(pipeline_main, [str(path), "--dry-run", *words])
        assert not (tmp_path / "out").exists()
        return code, capsys.readouterr().err

    return call


def quoted(name: str) -> str:
    return json.dumps(name)


@pytest.mark.parametrize("name", [*BROKEN, *RESERVED])
def test_the_run_file_refuses_them(run: Callable[..., tuple[int, str]], tmp_path: Path, name: str) -> None:
    pairs = f"pairs: {{{quoted(name)}: {quoted(str(tmp_path / 'news.jsonl'))}}}\nobjective:"
    doors = [(("  wiki: ", f"  {quoted(name)}: "),), (("objective:", pairs),)]
    if name.strip() and name not in RESERVED:
        doors.append((("group: ja", f"group: {quoted(name)}"),))
        doors.append((("configs:", f"search: {{groups: {{{quoted(name)}: [0.1, 0.9]}}}}\nconfigs:"),))
    for changes in doors:
        code, err = run(*changes)
        assert code == 2 and "my.yml" in err and "fix:" in err, (changes, err)
    word = f"corpora={{news: {{files: x}}, {quoted(name)}: {{files: x}}}}"
    code, err = run(words=("--set", word))
    assert code == 2 and "fix:" in err


def test_good_names_are_taken(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert run()[0] == 0
    for name in FINE:
        pairs = f"pairs: {{{quoted(name + 'qa')}: {quoted(str(tmp_path / 'news.jsonl'))}}}\nobjective:"
        assert run(("objective:", pairs), ("group: ja", f"group: {quoted(name)}"))[0] == 0, name


def test_names_that_differ_in_case_only(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    for changes in (
        (("  wiki: ", "  News: "),),
        (("objective:", f"pairs: {{NEWS: {quoted(str(tmp_path / 'news.jsonl'))}}}\nobjective:"),),
        (("wiki.jsonl\"], group: ja", "wiki.jsonl\"], group: JA"),),
    ):  # fmt: skip
        code, err = run(*changes)
        assert code == 2 and "upper and lower case" in err


@pytest.mark.parametrize(("change", "line", "said"), DATA["yaml_that_means_something_else"])
def test_yaml_that_means_something_else(run: Callable[..., tuple[int, str]], change, line: int, said: str) -> None:
    code, err = run(change)
    assert code == 2 and f"(line {line})" in err and said in err and "my.yml" in err


@pytest.mark.parametrize(("change", "said"), DATA["values_of_another_type_are_named_with_their_key"])
def test_values_of_another_type_are_named_with_their_key(
    run: Callable[..., tuple[int, str]], change, said: str
) -> None:
    code, err = run(change)
    assert code == 2 and said in err and "my.yml" in err


@pytest.mark.parametrize("word", ["seed=0777", "seed=1:30", "title=2024-01-01", "corpora.no={1: 2}", "seed=&a [*a]"])
def test_so_does_set(run: Callable[..., tuple[int, str]], word: str) -> None:
    code, err = run(words=("--set", word))
    assert code == 2 and "--set" in err and "fix:" in err


@pytest.mark.parametrize(("file", "said"), [("norway.yml", "`no`"), ("mathtext.yml", "`$`")])
def test_the_run_files_that_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str, said: str
) -> None:
    source = needed(f"cases/files/{file}")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    assert cli.run(pipeline_main, [str(source), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert said in err and file in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [*BROKEN, *RESERVED])
def test_the_catalogue_refuses_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = tmp_path / "corpora.yml"
    path.write_text(f"tokenizer: t\ncorpora: {{news: {{train: x}}, {quoted(name)}: {{train: y}}}}\n")
    (tmp_path / "ratios.csv").write_text("run,news\na,1\n")
    for command in (proxies.main, screen.main):
        words = [
            "--ratios",
            str(tmp_path / "ratios.csv"),
            "--catalogue",
            str(path),
            "--output-dir",
            str(tmp_path / "out"),
        ]
        words += ["--tokens", "1000", *(["--config", "0-1M"] if command is proxies.main else [])]
        assert cli.run(command, words) == 2
        err = capsys.readouterr().err
        assert "corpora.yml" in err and "fix:" in err and not (tmp_path / "out").exists()


def test_the_catalogue_reads_good_names_and_no_twins(tmp_path: Path) -> None:
    made = catalogue.write(tmp_path / "corpora.yml", "t", {name: {"train": "x"} for name in FINE})
    assert list(made.corpora) == FINE
    (tmp_path / "corpora.yml").write_text("tokenizer: t\ncorpora: {news: {train: x}, News: {train: y}}\n")
    with pytest.raises(HaigoError, match="upper and lower case"):
        catalogue.read(tmp_path / "corpora.yml")


@pytest.mark.parametrize(
    "name", [name for name in BROKEN if name.strip() and "\n" not in name and "\ud83d" not in name]
)
def test_design_and_supply_refuse_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    out = tmp_path / "ratios.csv"
    cell = '"' + name.replace('"', '""') + '"'
    supply = tmp_path / "supply.csv"
    supply.write_text(f"corpus,tokens,group\n{cell},1e6,ja\nnews,1e6,ja\n")
    assert cli.run(design.main, ["--supply", str(supply), "--runs", "4", "--output", str(out)]) == 2
    if "," not in name and name == name.strip():
        assert cli.run(design.main, [f"--corpora=news,{name}", "--runs", "4", "--output", str(out)]) == 2
        assert "fix:" in capsys.readouterr().err and not out.exists()


def test_design_refuses_columns_that_are_read_as_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ("news,tokens", "news,seed", "news,News", "news,group"):
        assert cli.run(design.main, ["--corpora", words, "--runs", "4", "--output", str(tmp_path / "r.csv")]) == 2
        assert "--corpora" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names",
    [
        ("train_the_pile_arxiv", "train_the_pile_pile_cc"),
        ("dclm:science", "stack-edu/Python"),
        ("Web text (2024)", "b"),
    ],
)
def test_search_reads_the_names_of_others(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [(f"r{number}", 0.1 + 0.05 * number) for number in range(16)]
    ratios, metrics = tmp_path / "ratios.csv", tmp_path / "metrics.csv"
    ratios.write_text(f"index,{names[0]},{names[1]}\n" + "".join(f"{run},{w:g},{1 - w:.2f}\n" for run, w in rows))
    losses = "".join(f"{run},{3 - w + w * w:.4f},{2 + w:.4f}\n" for run, w in rows)
    metrics.write_text('index,eval/arc:bpb,"arc/acc,none"\n' + losses)
    words = ["--ratios", str(ratios), "--metrics", str(metrics), "--objective", "eval/arc:bpb", "--bootstrap", "5"]
    assert cli.run(search.main, [*words, "--force", "--output", str(tmp_path / "m.yml")]) == 0
    assert list(yamlfile.read(tmp_path / "m.yml")["weights"]) == list(names)


@pytest.mark.parametrize("name", ["a,b", "a=b", "q$\\frac$", "-a", ".a", "a\x07b"])
def test_search_refuses_columns_that_break(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    ratios, metrics = tmp_path / "ratios.csv", tmp_path / "metrics.csv"
    ratios.write_text(f'run,news,"{name}"\n' + "".join(f"r{n},{n / 16},{1 - n / 16}\n" for n in range(16)))
    metrics.write_text("run,news_bpb\n" + "".join(f"r{n},{3 - n / 16}\n" for n in range(16)))
    words = ["--ratios", str(ratios), "--metrics", str(metrics), "--objective", "news_bpb"]
    assert cli.run(search.main, [*words, "--output", str(tmp_path / "m.yml")]) == 2
    err = capsys.readouterr().err
    assert "ratios.csv" in err and "cannot be a corpus's name" in err and not (tmp_path / "m.yml").exists()


@pytest.mark.parametrize("run_name", ["../x", "-x", ".x", "a b", "a,b", "a$b", "a\x07"])
def test_runs_of_a_table_of_proxies(tmp_path: Path, capsys: pytest.CaptureFixture[str], run_name: str) -> None:
    (tmp_path / "corpora.yml").write_text(
        "tokenizer: t\ncorpora: {news: {train: x, valid: x}, wiki: {train: y, valid: y}}\n"
    )
    words = ["--ratios", str(tmp_path / "r.csv"), "--catalogue", str(tmp_path / "corpora.yml"), "--config", "0-1M"]
    words += ["--output-dir", str(tmp_path / "out"), "--tokens", "16000"]
    (tmp_path / "r.csv").write_text(f'run,news,wiki\n"{run_name}",0.5,0.5\n')
    assert cli.run(proxies.main, words) == 2
    assert "r.csv" in (err := capsys.readouterr().err) and "cannot be a run's name" in err
    (tmp_path / "r.csv").write_text("run,news,wiki\np1,0.5,0.5\nP1,0.4,0.6\n")
    assert cli.run(proxies.main, words) == 2
    assert "upper and lower case" in capsys.readouterr().err
    (tmp_path / "r.csv").write_text("run,news,wiki\np1,0.5,0.5\n")
    for pairs in ("a,b=x", "q$\\frac$=x", "size=x", "News=x"):
        assert cli.run(proxies.main, [*words, "--pairs", pairs]) == 2
        assert "fix:" in capsys.readouterr().err and not (tmp_path / "out").exists()
    (tmp_path / "x.yml").write_text("train_iters: 1\n")
    assert (
        cli.run(local.main, [str(tmp_path / "x.yml"), "--output-dir", str(tmp_path / "out"), "--pairs", "a$b=x"]) == 2
    )
    assert "--pairs" in capsys.readouterr().err


CELLS = DATA["cells"]


@pytest.mark.parametrize(("rows", "said"), CELLS)
def test_tables_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str, said: str) -> None:
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text("train_iters: 1\n")
    (tmp_path / "table.yml").write_text(f"runs:\n{rows}\n")
    assert cli.run(runs.main, [str(tmp_path / "table.yml"), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert said in err and "table.yml" in err and "fix:" in err


@pytest.mark.parametrize(
    "content", [b"name,config\n\xff,a.yml\n", b"name,name\na,b\n", b'name,config\n"' + b"a" * 200_000 + b'",a.yml\n']
)
def test_csv_tables_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    assert cli.run(runs.main, [str(tmp_path / "table.csv"), "--dry-run"]) == 2
    assert "table.csv" in (err := capsys.readouterr().err) and "fix:" in err and len(err) < 500


def test_any_name_can_be_drawn() -> None:
    """A mixture.yml of another's may hold what no door lets in: no figure may end a report that took days."""
    name = "q$\\frac$"
    drawn = figures.weights({name: 0.4, "b": 0.6}, {}, {name: 0.5, "b": 0.5})
    assert "frac" in figures.svg(drawn)
    assert "frac" in figures.svg(figures.fit({name: {"measured": [1.0, 2.0], "predicted": [1.0, 2.0]}}))


def test_a_raw_file_of_two_corpora_is_told(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    news, wiki = tmp_path / "news.jsonl", tmp_path / "wiki.jsonl"
    assert "both read" not in run()[1]
    # patterns that overlap
    code, err = run((quoted(str(wiki)), f"{quoted(str(wiki))}, {quoted(str(tmp_path / 'ne*.jsonl'))}"))
    assert code == 0 and "'news' and 'wiki' both read news.jsonl" in err
    # one corpus that reads a file twice
    code, err = run((quoted(str(wiki)), f"{quoted(str(wiki))}, {quoted(str(tmp_path / 'w*.jsonl'))}"))
    assert code == 0 and "'wiki' reads wiki.jsonl twice" in err
    for make in (os.symlink, os.link, shutil.copyfile):
        wiki.unlink()
        make(news, wiki)
        code, err = run()
        assert code == 0 and "both read" in err, make
    # a folder that holds it
    (tmp_path / "folder").mkdir()
    shutil.copyfile(news, tmp_path / "folder" / "deep.jsonl")
    wiki.unlink()
    wiki.write_text('{"text": "another"}\n')
    code, err = run((quoted(str(wiki)), quoted(str(tmp_path / "folder"))))
    assert code == 0 and "both read deep.jsonl" in err
    # empty files are no text
    news.write_text("")
    wiki.write_text("")
    assert "both read" not in run()[1]


def test_one_owner_of_names() -> None:
    """A rule of its own for names would be one more that the others do not know."""
    assert naming.check("jawiki.v2", "corpus", "x") == "jawiki.v2"
    for name in BROKEN:
        assert naming.problem(name) or len(name) > naming.LONGEST, name
    assert all(not naming.problem(name) for name in FINE)
    assert hostfile.nodelist.NAME.fullmatch("node-1")  # hosts have the rule of the DNS
