"""Megatron-LM's blends in shell scripts: what is read is what bash reads, and what keeps its weight keeps its bytes."""

from __future__ import annotations

import json
import math
import random
import subprocess
from pathlib import Path

import pytest
from shared_data import data_of

from haigo import cli
from haigo.cli import HaigoError
from haigo.formats import blend, mixture, tables
from mixer.blend import main

DATA = data_of(__file__)
SCRIPTS = DATA["scripts"]


def by_bash(script: str) -> list[tuple[float, str]]:
    """(weight, prefix) of every dataset, as bash itself makes them."""
    shown = subprocess.run(
        ["bash", "-c", f'{script}\nprintf "%s\\n" ${{TRAIN_DATA_PATH[@]:-$DATA_PATH}}'],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip
    words = [word for word in shown if word != "--data-path"]
    return [(float(weight), prefix) for weight, prefix in zip(words[::2], words[1::2], strict=True)]


def entries(one: blend.Blend) -> list[tuple[float, str]]:
    found = sorted((each for list_ in one.corpora.values() for each in list_), key=lambda each: each.words)
    return [(each.weight, each.prefix) for each in found if each.weight > 0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_bash_makes_of_it(name: str) -> None:
    script = SCRIPTS[name]["text"]
    one = blend.parse(script)
    wanted = SCRIPTS[name]["corpora"]
    assert {corpus: (len(list_), one.tokens()[corpus]) for corpus, list_ in one.corpora.items()} == {
        corpus: (count, float(tokens)) for corpus, (count, tokens) in wanted.items()
    }
    assert math.isclose(sum(one.weights().values()), 1)
    if SCRIPTS[name].get("runs", True):
        assert entries(one) == [(pytest.approx(weight), prefix) for weight, prefix in by_bash(script)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_other_weights_change_nothing_else(name: str) -> None:
    script = SCRIPTS[name]["text"]
    one = blend.parse(script)
    assert blend.rewritten(one, one.weights()) == script
    draw = random.Random(name)
    for _ in range(5):
        given = {corpus: draw.random() + 0.05 for corpus in one.corpora}
        chosen = {corpus: value / sum(given.values()) for corpus, value in given.items()}
        again = blend.parse(blend.rewritten(one, chosen))
        assert again.weights() == pytest.approx(chosen, rel=1e-6)
        assert again.total == pytest.approx(one.total, rel=1e-6)
        assert [each.prefix for list_ in again.corpora.values() for each in list_] == [
            each.prefix for list_ in one.corpora.values() for each in list_
        ]
        back = blend.rewritten(again, one.weights())
        assert blend.parse(back).weights() == pytest.approx(one.weights(), rel=1e-6)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_corpus_that_is_left_out_is_gone_for_bash_too(name: str) -> None:
    one = blend.parse(SCRIPTS[name]["text"])
    first, *others = one.corpora
    if not others:
        return
    rest = {corpus: weight for corpus, weight in one.weights().items() if corpus != first}
    chosen = {first: 0.0, **{corpus: weight / sum(rest.values()) for corpus, weight in rest.items()}}
    written = blend.rewritten(one, chosen)
    gone = {each.prefix for each in one.corpora[first]}
    assert not gone & {prefix for _, prefix in entries(blend.parse(written))}
    if SCRIPTS[name].get("runs", True):
        assert entries(blend.parse(written)) == [(pytest.approx(w), prefix) for w, prefix in by_bash(written)]


def test_a_script_is_a_supply_and_a_mixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train_data.sh"
    script.write_bytes(SCRIPTS["repeats"]["text"].replace("\n", "\r\n").encode())
    assert cli.run(main, [str(script), "--output-dir", str(tmp_path / "blend")]) == 0
    assert "1,000 tokens" in capsys.readouterr().out
    from_files = mixture.read(tmp_path / "blend" / "mixture.yml")["weights"]
    assert from_files == pytest.approx(mixture.read(script)["weights"])
    assert tables.read_supply(tmp_path / "blend" / "supply.csv") == tables.read_supply(script)
    new = tmp_path / "new.sh"
    words = [str(script), "--mixture", str(tmp_path / "blend" / "mixture.yml"), "--output", str(new)]
    assert cli.run(main, words) == 0 and new.read_bytes() == script.read_bytes()
    capsys.readouterr()
    assert cli.run(main, [str(script), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["corpora"]["books"]["tokens"] == 1000 and shown["tokens_are_weights"] is False
    assert cli.run(main, [*words[:-1], str(script)]) == 3  # never over what it reads
    assert script.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(("text", "said"), DATA["refused"])
def test_what_is_no_blend_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    script = tmp_path / "odd.sh"
    script.write_text(text)
    assert cli.run(main, [str(script)]) == 2
    heard = capsys.readouterr().err
    assert said in heard and "odd.sh" in heard and "fix:" in heard


def test_words_that_do_not_belong_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "d.sh"
    script.write_text(SCRIPTS["array"]["text"])
    assert cli.run(main, [str(script), "--mixture", str(script)]) == 2
    (tmp_path / "m.yml").write_text("weights: {news: 0.5, wiki: 0.5}\n")
    assert cli.run(main, [str(script), "--mixture", str(tmp_path / "m.yml"), "--output", str(tmp_path / "n.sh")]) == 2
    assert "'news'" in capsys.readouterr().err and not (tmp_path / "n.sh").exists()


def test_shares_are_no_supply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "shares.sh"
    script.write_text(SCRIPTS["command"]["text"])
    assert cli.run(main, [str(script), "--output-dir", str(tmp_path / "blend")]) == 0
    assert "no supply.csv" in capsys.readouterr().out and not (tmp_path / "blend" / "supply.csv").exists()
    assert mixture.read(tmp_path / "blend" / "mixture.yml")["weights"] == pytest.approx({"ja": 0.7, "en": 0.3})
    with pytest.raises(HaigoError, match="nothing of tokens"):
        tables.read_supply(script)
    assert cli.run(main, [str(script), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corpora"]["ja"]["tokens"] is None
