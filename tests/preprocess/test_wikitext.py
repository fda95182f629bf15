"""Wikitext to text: what stays, what goes, and pages made to stall a parser."""

import time

import pytest
from shared_data import data_of

from preprocess.rules import wikitext

DATA = data_of(__file__)


@pytest.mark.parametrize(("raw", "clean"), DATA["what_stays"])
def test_what_stays(raw, clean):
    assert wikitext.strip(raw).strip("\n") == clean.strip("\n")


def test_plain_text_is_left_alone():
    text = "見出し\n\n本文は、（注）「引用」『書名』である。a=b; x:y"
    assert wikitext.strip(text) == text


HOSTILE = ["{{" * 20000, "[[" * 20000, "{{a|" * 8000 + "}}" * 8000, "[[a|" * 5000 + "]]" * 5000, "<ref>" * 20000]
HOSTILE += ["{|\n" * 20000, "（" * 50000, "=" * 50000 + "\n", "[http://" * 20000, "{" * 50000, "<!--" * 20000]
HOSTILE += ["<nowiki>" * 5000, "[" * 50000 + "]" * 50000, ("=" * 6 + " " * 2000) * 20, "<gallery>" * 4000, "'" * 50000]
HOSTILE += [
    "（、" * 20000,
    "、 " * 30000,
    "&#" * 30000,
    "<a " * 30000,
    "[[ファイル:[a]" * 5000,
    " 。" * 30000,
    "{{a\n|" * 5000,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: text[:8].strip())
def test_hostile_pages_end_soon(hostile):
    start = time.process_time()
    wikitext.strip(hostile)
    assert time.process_time() - start < 5


def test_wikitext_is_recognised():
    assert wikitext.looks_like("'''A'''は[[b]]の[[c]]と[[d]]。\n== 歴史 ==\n{{main|x}}")
    assert not wikitext.looks_like("#include <vector>\nstd::vector<int> v = {{1, 2}}; a[[0]]")
