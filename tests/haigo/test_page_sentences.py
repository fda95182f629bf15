"""Every sentence of a page is said in Japanese too, and the table of sentences holds none that no page says."""

import re
from pathlib import Path

import pytest

from haigo import page

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(
    each for room in ("haigo", "mixer", "launch", "eval_harness") for each in (ROOT / room).rglob("*.html")
)
SCRIPTS = sorted(each for room in ("haigo", "mixer", "launch") for each in (ROOT / room).rglob("*.js"))
ROOMS = ("haigo", "mixer", "launch", "eval_harness")
MODULES = sorted(each for room in ROOMS for each in (ROOT / room).rglob("page/*.py"))
MODULES.append(ROOT / "haigo" / "figures.py")
HEAD = re.compile(r"""\b(?:t|say)\(\s*"((?:[^"\\]|\\.)*)"(?:\s*"((?:[^"\\]|\\.)*)")?""")


def said():
    found = {}
    for path in [*TEMPLATES, *SCRIPTS, *MODULES]:
        for one, more in HEAD.findall(path.read_text(encoding="utf-8")):
            found.setdefault(one + more, path.name)
    return found


def test_every_sentence_has_its_japanese():
    assert TEMPLATES and SCRIPTS and len(said()) > 40
    assert {sentence: where for sentence, where in said().items() if sentence not in page.sentences()} == {}


def test_no_sentence_is_left_over():
    paths = [*TEMPLATES, *SCRIPTS, *MODULES, *(ROOT / "mixer").glob("*.py"), *(ROOT / "eval_harness").glob("*.py")]
    paths += (ROOT / "launch" / "proxies").glob("*.py")
    everything = "".join(path.read_text(encoding="utf-8") for path in paths)
    flat = re.sub(r'"\s*\n\s*"', "", everything)
    assert [sentence for sentence in page.sentences() if f'"{sentence}"' not in flat] == []


def test_what_stands_in_braces_is_the_same_in_both_languages():
    for english, japanese in page.sentences().items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", japanese)), english


@pytest.mark.parametrize("value", ["</script><script>", "<!--", "\u2028", "&lt;", "\x1b[31m"])
def test_data_of_a_page_cannot_end_its_element(value):
    made = page.environment("en").from_string('{{ data("x", value) }}').render(value={value: [value]})
    inside = made.removeprefix('<script type="application/json" id="x">').removesuffix("</script>")
    assert not set(inside) & set("<>&\u2028\x1b")
