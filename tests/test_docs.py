"""What README and docs say is true: commands parse, links lead somewhere, quoted plans are what the planner prints.

Commands are not run but parsed by their own parsers, whole lines with all options and values; only `launch.plan`, which
needs nothing and takes no time, is run and its output compared.
"""

import argparse
import importlib
import importlib.util
import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from haigo import cli
from haigo.cli import HaigoError

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "README.ja.md", "CONTRIBUTING.md")),
    *(page for page in DOCS if not page.name.startswith("migration.")),  # names what is no more
]
PAIRS = [
    ("README.md", "README.ja.md"),
    *((f"docs/{page.name.replace('.ja', '')}", f"docs/{page.name}") for page in DOCS if page.name.endswith(".ja.md")),
]
ROOMS = ("haigo", "neox_configs", "preprocess", "mixer", "eval_harness", "launch", "examples")
PLANNED: set[str] = set()  # named in the guides as not there yet
FOREIGN = {"--extra-index-url", "--data-path"}  # pip's, Megatron-LM's

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?<![\w./])python -m ([\w.]+)([^\n]*)")
_CELL_END = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def ids(path):
    return path.name


def text_of(path):
    return path.read_text(encoding="utf-8")


def fences(text):
    return _FENCE.findall(text)


def spans(text):
    return _SPAN.findall(_FENCE.sub("", text))


def code_lines(text):
    """Lines of fenced blocks, joined where a backslash ends them, then what stands in backticks."""
    joined = [line for block in fences(text) for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return joined + spans(text)


def commands(text):
    """(module, words) of every `python -m room.verb ...`; placeholders in capitals count as words, a loop's `$n` as 1."""
    found = []
    for line in code_lines(text):
        for module, rest in _COMMAND.findall(line.split("  #")[0]):
            if module.split(".")[0] in ROOMS:
                found.append((module, shlex.split(re.sub(r"\$\w+", "1", rest.partition(" > ")[0]))))
    return found


class Parsed(Exception):
    """Raised in place of everything that a command does after it has read its words."""

    def __init__(self, parser, namespace, rest):
        super().__init__()
        self.parser, self.namespace, self.rest = parser, namespace, rest


@cache
def entry(module):
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    loaded = importlib.import_module(f"{module}.__main__" if spec.submodule_search_locations else module)
    assert hasattr(loaded, "main"), f"{module} is no command"
    return loaded.main


@pytest.fixture
def parse(monkeypatch):
    """Give a command its words; the parsed result, or the error that its parser makes of them."""
    original = argparse.ArgumentParser.parse_known_args

    def stop(self, args=None, namespace=None):
        raise Parsed(self, *original(self, args, namespace))

    def call(module, words):
        monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
        try:
            entry(module)(words)
        except Parsed as done:
            return done
        finally:
            monkeypatch.undo()
        raise AssertionError(f"{module} read no words")

    return call


@pytest.fixture(scope="module")
def all_options():
    """Every option that any command knows."""
    known = set()

    def stop(self, args=None, namespace=None):
        raise Parsed(self, None, [])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
        for room in ROOMS:
            for path in (ROOT / room).rglob("*.py"):
                if "cli.run(main)" not in text_of(path) or path.parts[-2:] == ("haigo", "cli.py"):
                    continue
                parts = path.relative_to(ROOT).with_suffix("").parts
                with pytest.raises(Parsed) as done:
                    entry(".".join(parts[:-1] if parts[-1] == "__main__" else parts))([])
                for action in done.value.parser._actions:
                    known |= set(action.option_strings)
                    if isinstance(action, argparse._SubParsersAction):
                        known |= {
                            flag
                            for verb in action.choices.values()
                            for one in verb._actions
                            for flag in one.option_strings
                        }
    assert {"--catalogue", "--ratios", "--tasks"} <= known
    return known


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_is_one_that_its_parser_takes(page, parse):
    wrong = []
    for module, words in commands(text_of(page)):
        if not words or words == ["--help"] or "..." in words:
            entry(module)  # named, not shown whole
            continue
        try:
            done = parse(module, words)
        except HaigoError as error:
            wrong.append(f"python -m {module} {shlex.join(words)}: {error.problem}")
            continue
        if done.rest:
            wrong.append(f"python -m {module}: {done.rest[0]} is not known to it")
    assert not wrong, "\n".join(wrong)


def test_the_guides_show_commands():
    """The test above would be content with pages in which it finds none."""
    shown = {module for page in PAGES for module, words in commands(text_of(page)) if words}
    rooms = {module.split(".")[0] for module in shown}
    assert {"preprocess", "mixer", "launch", "eval_harness"} <= rooms and len(shown) >= 14


def test_a_wrong_option_would_be_found(parse):
    assert parse("launch.plan", ["--model", "7B", "--cluster", "a100-40gb", "--nodez", "2"]).rest == ["--nodez", "2"]
    with pytest.raises(HaigoError):
        parse("mixer.design", ["--runs", "many", "--output", "x"])


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_options_named_in_sentences_exist(page, all_options):
    named = set()
    for span in spans(text_of(page)):
        if "python -m" not in span and "make " not in span:
            named |= set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span))
    assert not named - all_options - FOREIGN


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_modules_named_exist(page):
    """`launch.plan` and such; what the guides call planned must not be there, or the guides are out of date."""
    for span in spans(text_of(page)):
        match = re.match(rf"({'|'.join(ROOMS)})((?:\.[a-z_]+)+)(?![\w/.])", span)
        if match is None:
            continue
        name = match[0]
        if name in PLANNED:
            assert importlib.util.find_spec(name) is None, f"{page.name} says that {name} is not there yet"
            continue
        parts = name.split(".")
        here = any((ROOT / Path(*parts)).with_suffix(end).exists() for end in (".py", ""))
        if not here:  # a function or class of a module, or of the file `haigo/files.py`
            owner = importlib.import_module(".".join(parts[:-1]))
            assert hasattr(owner, parts[-1]), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page):
    missing = []
    for target in _LINK.findall(_FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        if not (page.parent / target.split("#")[0]).exists():
            missing.append(target)
    assert not missing


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=ids)
def test_rows_of_a_table_have_as_many_cells_as_its_head(page):
    """As GitHub counts them: a `|` parts cells in code too, unless a backslash stands before it."""
    for table in re.findall(r"(?:^\|.*\n)+", _FENCE.sub("", text_of(page)), re.MULTILINE):
        head, *rows = table.splitlines()
        assert not [row for row in rows if len(_CELL_END.findall(row)) != len(_CELL_END.findall(head))], head


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_named_exist(page):
    """Paths that begin with one of our folders, wherever they stand in code, and files of the root by their ending."""
    folders = "|".join([*ROOMS, "docs", "tests", "benchmarks"])
    missing = []
    for line in code_lines(text_of(page)):
        for word in re.split(r"[\s=,'\"]+", line):
            ours = re.fullmatch(rf"(?:{folders})/[\w./-]*", word)
            root = re.fullmatch(r"[\w.-]+\.(?:cfg|toml|md)", word)
            if ours and not (ROOT / word).exists():
                missing.append(word)
            if root and not (ROOT / word).exists() and not (page.parent / word).exists():
                missing.append(word)
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets_exist(page):
    known = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {word for line in code_lines(text_of(page)) for word in re.findall(r"(?:^|&& )make ([a-z-]+)", line)}
    assert named <= known


@pytest.mark.parametrize(("english", "japanese"), PAIRS)
def test_both_languages_show_the_same(english, japanese):
    one, other = text_of(ROOT / english), text_of(ROOT / japanese)

    def blocks(text):
        return [re.sub(r"[ ]+#.*", "", block) for block in fences(text)]

    assert blocks(one) == blocks(other)
    assert commands(one) == commands(other)
    assert re.findall(r"@@\w+@@", one) == re.findall(r"@@\w+@@", other)
    assert len(re.findall(r"^#+ ", one, re.MULTILINE)) == len(re.findall(r"^#+ ", other, re.MULTILINE))
    assert len(re.findall(r"^\|", one, re.MULTILINE)) == len(re.findall(r"^\|", other, re.MULTILINE))


# not what is counted otherwise in Japanese: 1.41 billion, 0.9M
_FIGURE = re.compile(r"(?<![\w.])(\d*\.\d+)(?![\d.]|\w*\.\w| ?(?:[MBk]\b|[mb]illion|e\d))")


@pytest.mark.parametrize(("english", "japanese"), PAIRS)
def test_figures_stand_in_the_japanese_too(english, japanese):
    def figures(page):
        text = re.sub(r"\]\([^)]*\)", "]", text_of(ROOT / page))
        return Counter("0" * each.startswith(".") + each for each in _FIGURE.findall(text))

    assert figures(english) - figures(japanese) == Counter()


def quoted_plans():
    found = {}
    for page in PAGES:
        for block in fences(text_of(page)):
            command, _, answer = block.partition("\n")
            if command.startswith("$ python -m launch.plan "):
                found[command[2:], answer.strip()] = page.name
    return list(found)


def test_plans_are_quoted():
    assert len(quoted_plans()) >= 2


@pytest.mark.parametrize(("command", "answer"), quoted_plans())
def test_quoted_plans_are_what_the_planner_says(command, answer, capsys):
    cli.run(entry("launch.plan"), shlex.split(command)[3:])
    said = capsys.readouterr()
    shown = "\n".join(line.rstrip() for line in (said.out + said.err).strip().splitlines())
    assert shown == answer, f"{command}: quote the new answer in the guides"


def test_the_guide_explains_every_exit_code():
    from launch.train import causes

    rows = re.findall(r"^\| ([\d, ]+) \|", text_of(ROOT / "docs" / "guide-a100.md"), re.MULTILINE)
    told = {int(code) for row in rows for code in row.split(",")}
    assert told == {cli.OK, cli.BAD_INPUT, cli.REFUSED, cli.FAILED, *causes.codes()}


def test_architecture_names_every_folder():
    told = set(re.findall(r"^\| `(\w+)/` \|", text_of(ROOT / "docs" / "architecture.md"), re.MULTILINE))
    assert not {name for name in told if not (ROOT / name).is_dir()}
    inside = set(re.findall(r"`launch/(\w+)/`", text_of(ROOT / "docs" / "architecture.md")))
    assert inside == {path.parent.name for path in (ROOT / "launch").glob("*/__init__.py")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages | {"tests", "benchmarks"} <= told


def test_the_index_names_every_page():
    index = text_of(ROOT / "docs" / "README.md")
    assert not [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md" and page.name not in index
    ]


@pytest.mark.parametrize("shelf", ["models", "proxies", "recipes"])
def test_shipped_neox_configs_are_sound(shelf):
    from neox_configs import reader, shipped

    names = shipped.names(shelf)
    assert names
    for name in names:
        path = shipped.find(shelf, name)
        config = reader.load(path)
        reader.check_keys(config, name=str(path))
        assert not reader.type_problems(config), path
        assert not list(reader.float_traps(path)), path


def test_shipped_clusters_are_sound():
    from neox_configs import hardware, reader, shipped

    names = shipped.names("clusters")
    assert "a100-40gb" in names
    for name in names:
        place = hardware.cluster(name)
        assert place.name == name and place.memory_gb > 0
        reader.check_keys(place.neox, name=name)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yml")), ids=ids)
def test_shipped_run_files_are_sound(path, monkeypatch):
    from launch.pipeline import runfile
    from neox_configs import hardware, shipped

    monkeypatch.setenv("HAIGO_CORPORA", "corpora")
    run = runfile.read(path)
    for model in (run.proxies.model, run.train.model, *run.configs.models):
        shipped.find_model(model)
    hardware.cluster(run.configs.cluster)
    known = {*run.pairs, *run.corpora}
    assert all(metric.removesuffix("_bpb") in known for metric in run.objective.metrics)
