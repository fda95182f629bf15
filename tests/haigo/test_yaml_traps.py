"""YAML that does not mean what it looks like is told with its file, line and fix; what can be read is read."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import data_of

from haigo import yamlfile
from haigo.cli import HaigoError

DATA = data_of(__file__)

TENFOLD = ",".join(["*a{}"] * 10)
LAUGHS = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{n}: &a{n} [{TENFOLD.format(*[n - 1] * 10)}]\n" for n in range(1, 12)
)
MERGED_LAUGHS = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{TENFOLD.format(*[n - 1] * 10)}]}}\n" for n in range(1, 12)
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))

TRAPS = [
    # keys that are not text
    ("x: 1\nno: 2", 2, "`no`", '"no"'),
    ("on: 1", 1, "`on`", '"on"'),
    ("y: {Yes: 1}", 1, "`Yes`", '"Yes"'),
    ("x:\n- true: 1", 2, "`true`", '"true"'),
    ("1: 2", 1, "`1`", '"1"'),
    ("1.5: 2", 1, "`1.5`", '"1.5"'),
    ("1e5: 2", 1, "`1e5`", '"1e5"'),
    ("~: 2", 1, "`~`", '"~"'),
    ("null: 2", 1, "`null`", '"null"'),
    ("2024-01-01: 2", 1, "`2024-01-01`", "quotes"),
    ("[a, b]: 2", 1, "a list or a map", "key: value"),
    ("? {a: b}\n: 2", 1, "a list or a map", "key: value"),
    # values that are read as something else
    ("seed: 0777", 1, "511", "without the 0"),
    ("seed: -017", 1, "-15", "without the 0"),
    ("seed: 007", 1, "base 8", '"007"'),
    ("max: 1:30", 1, "90", '"1:30"'),
    ("max: [1, 12:30:45]", 1, "45045", '"12:30:45"'),
    ("max: 1:30.5", 1, "90.5", '"1:30.5"'),
    ("title: 2024-01-01", 1, "a date", '"2024-01-01"'),
    ("title: 2024-01-01 10:00:00", 1, "a date", "quotes"),
    ("lr: 1e999", 1, "larger than any number", "mend"),
    ("seed: " + "1" * 5000, 1, "cannot be read as a number", "mend"),
    ("seed: !!int x", 1, "cannot be read as a number", "mend"),
    ("seed: !!bool maybe", 1, "cannot be read", "mend"),
    ("seed: !!binary YWJj", 1, "tag", "take it out"),
    ("seed: !!set {a, b}", 1, "tag", "take it out"),
    ("seed: !!python/object:os.system x", 1, "tag", "take it out"),
    ('title: "a\\0b"', 1, "character", "take it out"),
    ('title: "\\ud83d"', 1, "character", "take it out"),
    # forms
    ("a:\n\tb: 1", 2, "cannot start any token", "not tabs"),
    ("a: 1\n---\nb: 2", 2, "another document", "one document"),
    ("a: 1\na: 2", 2, "given twice", "mend"),
    ("a: &a [*a]", 1, "inside what it names", "write it out"),
    ("a: &a {b: {c: *a}}", 1, "inside what it names", "write it out"),
    (LAUGHS, 1, "stand for more than", "write them out"),
    (MERGED_LAUGHS, 1, "stand for more than", "write them out"),
    (CHAIN, None, "levels deep", "flatter"),
    ("a:\n " + "[" * 300 + "]" * 300, 2, "levels deep", "flatter"),
    ("{a: " * 5000, 1, "levels deep", "flatter"),
    ("- " * 5000, 1, "levels deep", "flatter"),
]


@pytest.mark.parametrize(("text", "line", "problem", "fix"), TRAPS, ids=lambda value: str(value)[:30])
def test_traps_are_named_with_line_and_fix(text: str, line: int | None, problem: str, fix: str) -> None:
    began = time.monotonic()
    with pytest.raises(HaigoError) as error:
        yamlfile.loads(text, "run.yml")
    assert time.monotonic() - began < 10
    assert error.value.problem.startswith("run.yml") and problem in error.value.problem and fix in error.value.fix
    assert f"(line {line})" in error.value.problem if line else "(line " in error.value.problem
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(("text", "value"), DATA["what_can_be_read_is_read"])
def test_what_can_be_read_is_read(text: str, value: object) -> None:
    assert yamlfile.loads(text, "x")["a"] == value


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=8), st.one_of(
    st.text(max_size=12), st.sampled_from(["no", "1e-4", "0777", "1:30", "2024-01-01", "=", "<<", "~", ".inf", "1_0", "08"]),
    st.floats(allow_nan=False), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=4), max_size=3),
), max_size=4))  # fmt: skip
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    texts = [*value, *(each for each in value.values() if isinstance(each, str))]
    texts += [word for each in value.values() if isinstance(each, list) for word in each]
    if any("\0" in text for text in texts):
        return
    assert yamlfile.loads(yamlfile.dumps(value), "x") == value
    assert yaml.safe_load(yamlfile.dumps(value)) == value
    assert yamlfile.loads(yamlfile.inline(value), "x") == value


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab0178:-_.,[]{}&*!<>~\"'\n\t #|?%@=e+"), max_size=30))
def test_any_text_is_read_or_named(text: str) -> None:
    try:
        yamlfile.loads(text, "x")
    except HaigoError as error:
        assert error.problem.startswith("x") and error.fix
