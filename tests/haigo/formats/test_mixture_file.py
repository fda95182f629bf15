"""mixture.yml has one reader and one tolerance: every command that takes one says the same of a bad one."""

from __future__ import annotations

import numpy as np
import pytest
from shared_data import data_of

from haigo import cli
from haigo.formats import mixture
from mixer import report, search
from preprocess.sample import sample

DATA = data_of(__file__)

BAD = DATA["bad"] | {
    f"weights: {{news: 1{'0' * 400}, wiki: 0.5}}": "the weight of 'news' is 1000",
}


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(0)
    w = rng.dirichlet([1, 1], 12)
    ratios, metrics = ["run,news,wiki"], ["run,news_bpb"]
    for i, (a, b) in enumerate(w):
        ratios.append(f"p{i},{a!r},{b!r}".replace("np.float64(", "").replace(")", ""))
        metrics.append(f"p{i},{2 + (0.05 + a) ** -0.2 + 0.01 * rng.normal()}")
    (tmp_path / "ratios.csv").write_text("\n".join(ratios) + "\n", encoding="utf-8")
    (tmp_path / "metrics.csv").write_text("\n".join(metrics) + "\n", encoding="utf-8")
    return ["--ratios", str(tmp_path / "ratios.csv"), "--metrics", str(tmp_path / "metrics.csv")]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_mixture_is_one_sentence_for_every_reader(tmp_path, tables, capsys, text):
    path = tmp_path / "mixture.yml"
    path.write_text(text, encoding="utf-8")
    said = []
    for main, words in (
        (report.main, [str(path)]),
        (search.main, [*tables, "--objective", "news_bpb", "--prior", str(path)]),
        (lambda argv: len(sample({}, tmp_path / "s", characters=9, mixture=argv[0])), [str(path)]),
    ):
        assert cli.run(main, words) == cli.BAD_INPUT
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err and shown.out == ""
        said.append(shown.err)
    assert len(set(said)) == 1
    assert str(path) in said[0] and BAD[text] in said[0] and "\n  fix: " in said[0]


def test_corpora_that_are_missing_or_unknown_are_named(tmp_path, tables, capsys):
    path = tmp_path / "mixture.yml"
    for text, words in (
        ("news: 1", "no weight for wiki"),
        ("{news: 0.5, wikk: 0.5}", "'wikk', which is not known. Did you mean 'wiki'?"),
    ):
        path.write_text(text, encoding="utf-8")
        assert cli.run(search.main, [*tables, "--objective", "news_bpb", "--prior", str(path)]) == cli.BAD_INPUT
        assert words in capsys.readouterr().err


def test_weights_written_with_three_digits_are_scaled(tmp_path, capsys):
    path = tmp_path / "mixture.yml"
    path.write_text("weights: {a: 0.333, b: 0.333, c: 0.333}", encoding="utf-8")
    assert cli.run(report.main, [str(path), "--json"]) == 0
    assert mixture.read(path)["weights"] == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
