"""haigo.options and haigo.flags: one declaration gives the command line, a file's keys, the reference and a call's words."""

import dataclasses
import pickle
from pathlib import Path

import pytest
from shared_data import data_of

from haigo import flags, options
from haigo.cli import HaigoError, Refused
from haigo.options import Options, again, count, few, option, seed

DATA = data_of(__file__)


def limit(text):
    name, _, ends = text.partition("=")
    return name, [float(end) for end in ends.split(":")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Everything(Options):
    inputs: list[str] = option("files", positional=True, metavar="FILE")
    text_key: str = option("the field of the text", "text", flags=("--text-key", "--field"))
    size: float | None = option("how large", None, above=0, most=10)
    tokens: int = count("tokens", 1000)
    kind: str = option("which", "auto", among=("auto", "plain"))
    soft: bool = option("not so hard", True, flags=("--hard",))
    quick: bool = option("quicker", False)
    kept: bool = option("kept, or not", True, both=True)
    part: tuple[int, int] | None = option("N:OF", None, parse=lambda text: tuple(map(int, text.split(":"))))
    skip: int | None = option("how many", None, nargs=None, const=3)
    names: list[str] = option("several", [])
    keys: list[str] = option("several after one flag", [], nargs="+")
    pairs: dict[str, str] = option("NAME=FILE", {})
    weights: dict[str, float] = option("NAME=WEIGHT", {}, least=0, most=1)
    limits: dict[str, list[float]] = option("NAME=LOW:HIGH", {}, parse=limit, most=1)
    shots: list[int | None] = option(
        "numbers in one word", [], listed=lambda text: [int(word) for word in text.split(",")]
    )
    sides: list[str] = option("names in one word", [], among=("left", "right"), listed=lambda text: text.split(","))
    earlier: list[tuple[str, str]] = option("two words each", [])
    folder: Path | None = option("a folder", None)
    seed: int = seed()
    inner: str = option("not on the command line", "x", hidden=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section(Options):
    tokens: int = again(Everything, "tokens", default=5, most=100)
    workers: int | None = few("processes", None)


def parsed(*words: str) -> Everything:
    return flags.parse("room.verb", "What it does.", Everything, list(words))


SPELLED = [
    (["a"], {}),
    (["a", "b", "--text-key", "body"], {"inputs": ["a", "b"], "text_key": "body"}),
    (["a", "--text_key", "body"], {"text_key": "body"}),
    (["a", "--field", "body"], {"text_key": "body"}),
    (["a", "--tokens", "5e4"], {"tokens": 50_000}),
    (["a", "--tokens", "50_000"], {"tokens": 50_000}),
    (["a", "--size", "0.5"], {"size": 0.5}),
    (["a", "--hard"], {"soft": False}),
    (["a", "--quick"], {"quick": True}),
    (["a", "--no-kept"], {"kept": False}),
    (["a", "--kept"], {}),
    (["a", "--part", "2:4"], {"part": (2, 4)}),
    (["a", "--skip"], {"skip": 3}),
    (["a", "--skip", "7"], {"skip": 7}),
    (["a", "--names", "x", "--names", "y z"], {"names": ["x", "y z"]}),
    (["a", "--keys", "x", "y"], {"keys": ["x", "y"]}),
    (["a", "--pairs", "n=f=g", "--pairs", "m=h"], {"pairs": {"n": "f=g", "m": "h"}}),
    (["a", "--weights", "n=0.25"], {"weights": {"n": 0.25}}),
    (["a", "--limits", "n=0.25:1"], {"limits": {"n": [0.25, 1.0]}}),
    (["a", "--shots", "3,2"], {"shots": [3, 2]}),
    (["a", "--sides", "left,right"], {"sides": ["left", "right"]}),
    (["a", "--earlier", "r", "m", "--earlier", "r2", "m2"], {"earlier": [("r", "m"), ("r2", "m2")]}),
    (["a", "--folder", "x/y"], {"folder": Path("x/y")}),
    (["a", "--seed", "2147483647"], {"seed": 2_147_483_647}),
]


@pytest.mark.parametrize(("words", "values"), SPELLED)
def test_words_become_values_and_words_again(words, values):
    made = parsed(*words)
    assert made == Everything(**{"inputs": ["a"], **values})
    assert parsed(*flags.argv(made)) == made


@pytest.mark.parametrize(("words", "problem"), DATA["what_is_wrong_is_named"])
def test_what_is_wrong_is_named(words, problem):
    with pytest.raises(HaigoError) as caught:
        parsed(*words)
    assert problem in str(caught.value)


def test_limits_hold_for_whoever_makes_the_object():
    with pytest.raises(HaigoError, match="--tokens is 0") as caught:
        Everything(inputs=["a"], tokens=0)
    assert caught.value.options == ("tokens",)
    with pytest.raises(HaigoError, match="--kind is 'plane'"):
        Everything(inputs=["a"], kind="plane")
    assert Everything(inputs=["a"]).replaced(seed=3).seed == 3


def test_an_option_of_another_class_keeps_its_sentence():
    assert Section().tokens == 5
    assert [each.metadata["doc"] for each in dataclasses.fields(Section)] == ["tokens", "processes"]
    with pytest.raises(HaigoError, match="at least 1 and at most 100"):
        Section(tokens=101)


def test_flags_are_shown_as_their_program_writes_them():
    class Lower(Section):
        underscored = True

    field = dataclasses.fields(Everything)[1]
    assert flags.spellings(field) == ["--text-key", "--text_key", "--field"]
    assert flags.spellings(field, Lower.underscored) == ["--text_key", "--text-key", "--field"]


def test_keys_of_a_file():
    assert options.build(Section, {"tokens": 7}, "run.yml", "train") == Section(tokens=7)
    for raw, problem in [
        ({"token": 7}, "run.yml: unknown key 'train.token'. Did you mean 'tokens'?"),
        ({"tokens": 0}, "run.yml: 'train.tokens' is 0."),
        ({"tokens": "many"}, "run.yml: 'train.tokens' is 'many', which is not a whole number."),
        ([], "run.yml: 'train' must hold keys"),
    ]:
        with pytest.raises(HaigoError) as caught:
            options.build(Section, raw, "run.yml", "train")
        assert problem in caught.value.problem
    assert options.table(Section, "train.")[2] == "| `train.tokens` | whole number | `5` | tokens |"


def test_an_error_says_the_option_as_its_reader_knows_it():
    error = Refused("--text-key 'x' is in no row, nor with --text-key-too.", "give `--text_key`", option="text_key")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    told = error.spelled({"text_key": "corpora.news.text_key"}.get)
    assert type(told) is Refused and told.fix == "give 'corpora.news.text_key'"
    assert told.problem == "'corpora.news.text_key' 'x' is in no row, nor with --text-key-too."
    assert error.spelled(lambda name: None).problem == error.problem


def test_what_two_classes_share():
    section = Section(tokens=7, workers=2)
    made = section.shared(Everything, inputs=["a"], kind="plain")
    assert made == Everything(inputs=["a"], kind="plain", tokens=7)  # workers are of the section alone
    assert made.shared(Section) == Section(tokens=7)
