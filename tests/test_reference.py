"""The reference is what the options say, in English and in Japanese: docs/commands.md, docs/runfile.md and their twins."""

import re
from pathlib import Path

import pytest

from haigo import reference
from haigo.cli import HaigoError
from launch.pipeline import reference as runfile_reference

ROOT = Path(__file__).parent.parent
PAGES = {
    "commands": ("haigo.reference", reference.page),
    "runfile": ("launch.pipeline.reference", runfile_reference.page),
}
# what a sentence says in any language: code, flags, names of files and modules, {fields}, words in capitals, numbers
LITERAL = re.compile(
    r"`[^`]+`|(?<![\w-])--[a-z][\w-]*|\b[A-Za-z][\w*-]*[._/][\w*./{}-]*\w|\{\w+\}|\b[A-Z]{2,}\b|\d[\d.,]*\d|\d"
)
PROSE = {"e.g", "Prompt/response"}


@pytest.fixture(scope="module")
def japanese():
    """What says the sentences, and page -> its text, after all pages were made."""
    say = reference.Japanese()
    return say, {name: page(say) for name, (_, page) in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_options_say(name):
    module, page = PAGES[name]
    shown = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert shown == page(), f"python -m {module} > docs/{name}.md"


@pytest.mark.parametrize("name", PAGES)
def test_the_japanese_page_is_what_the_options_say(name, japanese):
    shown = (ROOT / "docs" / f"{name}.ja.md").read_text(encoding="utf-8")
    assert shown == japanese[1][name], f"python -m {PAGES[name][0]} --lang ja > docs/{name}.ja.md"


def test_every_sentence_has_its_japanese(japanese):
    assert len(japanese[0].asked) > 500
    assert japanese[0].missing() == [], "write their Japanese to docs/japanese.yml"


def test_no_sentence_is_left_over(japanese):
    say, _ = japanese
    assert [each for each in say.known if each not in say.asked] == [], "nothing says these: docs/japanese.yml"


def lost(english, japanese):
    """What has to stand in both and does not stand in the Japanese."""
    return [word for word in LITERAL.findall(english) if word not in PROSE and word.strip("`") not in japanese]


def test_code_names_and_numbers_stand_in_the_japanese_too(japanese):
    links = {each for each in japanese[0].known if "](" in each}
    told = {each: lost(each, said) for each, said in japanese[0].known.items() if each not in links}
    assert {each: words for each, words in told.items() if words} == {}, "docs/japanese.yml"


@pytest.mark.parametrize(
    ("english", "words"),
    [
        ("as --eval-tokens, of 2 test sets", ["--eval-tokens", "2"]),
        ("see `run.yml`, docs/mixer.md or GPT_NEOX_DIR", ["`run.yml`", "docs/mixer.md", "GPT_NEOX_DIR"]),
        ("write CSV; {content} is 1,000", ["CSV", "{content}", "1,000"]),
    ],
)
def test_what_is_lost_is_seen(english, words):
    assert lost(english, "何も残っていない") == words and lost(english, english) == []


def test_every_command_is_there_once():
    names = [name for name, _, _ in reference.verbs()]
    assert len(names) == len(set(names)) and {"mixer.search", "launch.deepy", "preprocess.clean"} <= set(names)


def test_groups_of_options_stand_below_their_names():
    deepy = reference.page().partition("## `launch.deepy`")[2].partition("\n## ")[0]
    alone, supervised, own = deepy.split("| | |\n")
    assert "`CONF_FILE`" in alone and "`--max-restarts" in supervised and "`--dry-run`" in own


@pytest.mark.parametrize("name", PAGES)
def test_the_command_prints_the_page(name, japanese, capsys):
    main = {"commands": reference.main, "runfile": runfile_reference.main}[name]
    assert main(["--lang", "ja"]) == 0 and capsys.readouterr().out == japanese[1][name]


def test_a_sentence_without_japanese_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "JAPANESE", tmp_path / "japanese.yml")
    (tmp_path / "japanese.yml").write_text('"Commands": "コマンド"\n', encoding="utf-8")
    with pytest.raises(HaigoError, match="print the report as JSON") as caught:
        reference.main(["--lang", "ja"])
    assert "japanese.yml has no Japanese of" in caught.value.problem
