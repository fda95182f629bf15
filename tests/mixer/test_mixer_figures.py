"""Figures of a recommendation: the same bytes every time, drawn again by `mixer.report`, and those in docs/ are of today.

PYTHONPATH=. python tests/mixer/test_mixer_figures.py      (draws docs/figures anew)
"""

from __future__ import annotations

import re
import tempfile
from functools import partial
from pathlib import Path

import pytest
from mixer_worlds import World, world

from haigo import cli, figures, yamlfile
from mixer import report, search

DOCS = Path(__file__).parents[2] / "docs" / "figures"
SHOWN = ("weights", "trade-off", "ceilings")
ALL = ["ceilings", "fit", "skill", "trade-off", "transfer", "weights"]


def words(table: World) -> list[str]:
    share = zip(table.corpora, (40, 12, 8, 20, 10, 10), strict=True)
    (table.folder / "supply.csv").write_text("corpus,tokens\n" + "".join(f"{c},{n}e9\n" for c, n in share))
    limits = ["--supply", str(table.folder / "supply.csv"), "--target-tokens", "80e9"]
    return [
        *table.write(),
        *limits,
        *table.words,
        "--ceiling",
        "wiki_bpb=+1%",
        "--ceiling",
        "code_bpb=+3%",
        "--held-out",
        "p00",
    ]


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".svg", ".png")}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    out, here = folder / "mixture.yml", folder / "drawn"
    given = [*words(world(folder)), "--output", str(out), "--figures", str(here)]
    assert cli.run(search.main, given) == 0
    return given, out, here


def test_all_figures_are_drawn_and_again_the_same(made, capsys):
    given, out, here = made
    first, mixture = drawn(here), out.read_bytes()
    assert list(first) == [f"{name}.{kind}" for name in ALL for kind in ("png", "svg")]
    assert all(len(content) > 2000 for content in first.values())
    assert cli.run(search.main, given) == 0
    assert drawn(here) == first and out.read_bytes() == mixture
    for path in here.iterdir():
        if path.suffix in (".svg", ".png"):
            path.unlink()
    assert cli.run(report.main, [str(out), "--figures", str(here)]) == 0
    assert drawn(here) == first and "trade-off.svg" in capsys.readouterr().out


def test_a_report_draws_what_the_mixture_says(made, tmp_path):
    _, out, here = made
    assert cli.run(report.main, [str(out), "--figures", str(tmp_path / "new")]) == 0
    now = drawn(tmp_path / "new")
    assert [name for name in now if name.endswith("svg")] == ["skill.svg", "transfer.svg", "weights.svg"]
    assert now["weights.svg"] == drawn(here)["weights.svg"]
    assert cli.run(report.main, [str(out), "--json", "--figures", str(tmp_path / "json")]) == 0
    assert drawn(tmp_path / "json") == now
    text = now["weights.svg"].decode()
    assert all(f">{corpus}<" in text for corpus in yamlfile.read(out)["weights"])


def test_a_file_of_the_users_is_not_drawn_over(made, tmp_path, capsys):
    _, out, _ = made
    (tmp_path / "weights.png").write_bytes(b"mine")
    assert cli.run(report.main, [str(out), "--figures", str(tmp_path)]) == 3
    assert (tmp_path / "weights.png").read_bytes() == b"mine" and "weights.png" in capsys.readouterr().err


def test_hundreds_of_corpora_and_japanese_names_are_drawn(tmp_path):
    weights = {f"話題{number}": (number + 1) / 20100 for number in range(200)}
    path = figures.write(tmp_path, "weights", partial(figures.weights, weights, {}, {}))[0]
    text = path.read_text(encoding="utf-8")
    assert ">話題199<" in text and ">話題0<" not in text and "the 60 heaviest of 200 corpora" in text


def test_labels_are_japanese_where_that_is_asked_for(made, tmp_path):
    _, out, here = made
    assert cli.run(report.main, [str(out), "--figures", str(tmp_path), "--lang", "ja"]) == 0
    text = (tmp_path / "weights.svg").read_text(encoding="utf-8")
    assert ">選んだ配合<" in text and ">トークン比<" in text and ">chosen<" not in text
    assert (tmp_path / "weights.csv").read_bytes() == (here / "weights.csv").read_bytes()


@pytest.mark.parametrize("font", [True, False])
def test_a_png_is_english_where_no_font_has_japanese(tmp_path, monkeypatch, capsys, font):
    from matplotlib import font_manager

    fonts = ["DejaVu Sans", *(["Noto Sans CJK JP"] if font else [])]
    monkeypatch.setattr(font_manager, "get_font_names", lambda: fonts)
    figures.has_japanese.cache_clear()
    said = []

    def draw(say):
        said.append(say("chosen"))
        return figures.weights({"a": 0.4, "b": 0.6}, {}, {}, say)

    for _ in range(2):
        figures.write(tmp_path, "weights", draw, language="ja")
    figures.has_japanese.cache_clear()
    assert said == ["選んだ配合"] * 2 if font else said == ["選んだ配合", "chosen"] * 2
    assert ">選んだ配合<" in (tmp_path / "weights.svg").read_text(encoding="utf-8")
    assert capsys.readouterr().err.count("fonts-noto-cjk") == (0 if font else 1)


def numbers(text: str) -> list[float]:
    return [float(each) for each in re.findall(r"-?\d+\.?\d*", re.sub(r"#\w+|id=\"[^\"]*\"|url\([^)]*\)", "", text))]


@pytest.mark.parametrize("name", SHOWN)
def test_the_figures_of_the_docs_are_those_that_are_drawn_today(made, name):
    kept, now = ((folder / f"{name}.svg").read_text(encoding="utf-8") for folder in (DOCS, made[2]))
    label = re.compile(r"<text[^>]*>([^<]*)</text>")
    assert label.findall(kept) == label.findall(now), (
        "draw them anew: PYTHONPATH=. python tests/mixer/test_mixer_figures.py"
    )
    before, after = numbers(kept), numbers(now)
    assert len(before) == len(after)  # another machine rounds otherwise, and no one sees half a point
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) < 0.5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        assert cli.run(search.main, [*words(world(Path(folder))), "--figures", f"{folder}/drawn"]) == 0
        DOCS.mkdir(exist_ok=True)
        for each in SHOWN:
            (DOCS / f"{each}.svg").write_bytes((Path(folder) / "drawn" / f"{each}.svg").read_bytes())
