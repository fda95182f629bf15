"""The table of keys follows the edition of GPT-NeoX at hand: what that knows is never refused, what it lacks is named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from haigo import cli
from haigo.cli import HaigoError
from neox_configs import checkout_keys, keys, neox_args, reader
from neox_configs.keys import KEYS
from neox_configs.keys import main as keys_main

OWN = Path(keys.__file__).with_name("keys.csv")
CLASSES = '''
from dataclasses import dataclass
@dataclass
class NeoXArgsModel(Template):
    """Of the model."""
    num_layers: int = None
    """how many"""
    norm: Literal["layernorm", "warmnorm"] = "warmnorm"
    big: int = 2 * 1024**2
    both: Union[int, List[int], Literal["all"]] = None
    maybe: Optional[float] = None
    newer: "dict | None" = field(default_factory=dict)
    strange: tuple = (1, 2)
    big: float = int(5e8)
    _seen = None
@dataclass
class NeoXArgsOther(Template):
    """Others."""
    seed: int = 4321
'''
ORDER = "BASE_CLASSES = [NeoXArgsOther, NeoXArgsModel]\nclass NeoXArgs(*BASE_CLASSES):\n    pass\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of another edition: keys of our own making."""
    folder = tmp_path / "neox" / checkout_keys.FOLDER
    folder.mkdir(parents=True)
    (folder / "neox_args.py").write_text(CLASSES)
    (folder / "arguments.py").write_text(ORDER)
    monkeypatch.delenv("GPT_NEOX_DIR", raising=False)
    monkeypatch.delenv("GPT_NEOX_KEYS", raising=False)
    return tmp_path / "neox"


def test_read_without_running_it(checkout: Path) -> None:
    assert [tuple(row) for row in checkout_keys.read(checkout)] == [
        ("seed", "other", "int", 4321),
        ("num_layers", "model", "int", None),
        ("norm", "model", "one of layernorm warmnorm", "warmnorm"),
        ("big", "model", "float", 500_000_000),
        ("both", "model", "int|list|str", None),
        ("maybe", "model", "float", None),
        ("newer", "model", "dict", {}),
        ("strange", "model", "unchecked", (1, 2)),
    ]


@pytest.mark.parametrize("by", ["GPT_NEOX_DIR", "GPT_NEOX_KEYS"])
def test_the_edition_at_hand_counts(
    checkout: Path, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"norm": "warmnorm", "newer": {"a": 1}, "strange": 3, "seed": 7}
    with pytest.raises(HaigoError, match="'newer'"):
        reader.check_keys(config)
    assert reader.type_problems({"norm": "warmnorm"})
    table = tmp_path / "keys.csv"
    assert cli.run(keys_main, ["--from", str(checkout), "-o", str(table)]) == 0
    said = capsys.readouterr().out
    assert "new: newer (dict, default {})" in said and "lacks: hidden_size" in said
    assert 'norm: default is "warmnorm", not "layernorm"' in said and f"{table}: 8 keys" in said
    monkeypatch.setenv(by, str(checkout if by == "GPT_NEOX_DIR" else table))
    reader.check_keys(config)
    assert reader.type_problems(config) == []
    assert reader.type_problems({"maybe": "x"}) == ["maybe: 'x' is of type str, and must be float."]
    assert reader.value({}, "seed") == 4321 and reader.value({}, "hidden_size") is None
    # the order of its command lines, and only what it knows on them
    got = {name: key.default for name, key in KEYS.items()} | config
    assert list(neox_args.megatron_config(got)) == ["seed", "newer", "strange"]
    with pytest.raises(HaigoError, match=r"GPT-NeoX of .* does not know: 'hidden_size'"):
        reader.check_keys({"hidden_size": 8})


@pytest.mark.parametrize(
    "content", ["", "key,group\na,b\n", "key,group,kind,default,range,why,engine,engine_why\na,b,int,{,,,,\n"]
)
def test_a_damaged_table_is_named(
    checkout: Path, tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "keys.csv"
    monkeypatch.setenv("GPT_NEOX_KEYS", str(table))
    for _ in range(2):
        with pytest.raises(HaigoError, match=r"keys\.csv"):
            reader.check_keys({"seed": 1})
        table.write_text(content)
        keys._edition.cache_clear()


def test_no_checkout_of_gpt_neox(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(keys_main, ["--from", str(tmp_path / "nowhere")]) == cli.BAD_INPUT
    assert "has no classes of arguments" in capsys.readouterr().err
    (checkout / checkout_keys.FOLDER / "neox_args.py").write_text("class NeoXArgs(:\n")
    assert cli.run(keys_main, ["--from", str(checkout)]) == cli.BAD_INPUT
    assert "cannot be read" in capsys.readouterr().err


def test_what_was_taken_out_has_its_successor(checkout: Path) -> None:
    for name, gone in keys.GONE.items():
        assert name not in keys.SHIPPED and (gone.successor or gone.why)
        assert not gone.successor or gone.successor.split(".")[0] in keys.SHIPPED, name
        said = reader.did_you_mean(name)
        assert gone.until in said and f"'{gone.successor}'" in said if gone.successor else gone.why in said
    assert reader.did_you_mean("gas") == " It was taken out on 2024-02-05. Did you mean 'gradient_accumulation_steps'?"
    assert "lr times decay_lr_to. Did you mean 'min_lr'?" in reader.did_you_mean("decay_lr_to")


@pytest.mark.neox
def test_the_shipped_table_is_the_checkouts_own(tmp_path: Path) -> None:
    if not os.environ.get("GPT_NEOX_DIR"):
        pytest.skip("GPT_NEOX_DIR is not set")
    assert keys.table(keys.merged(checkout_keys.read(os.environ["GPT_NEOX_DIR"]))) == OWN.read_text(encoding="utf-8")


@pytest.mark.neox
def test_every_edition_of_its_history(tmp_path: Path) -> None:
    """GPT_NEOX_GIT: a clone (or its git directory) with all of GPT-NeoX's history, its branches and pull requests."""
    if not os.environ.get("GPT_NEOX_GIT"):
        pytest.skip("GPT_NEOX_GIT is not set (a clone of GPT-NeoX)")

    def git(*words: str) -> list[str]:
        argv = ["git", "-C", os.environ["GPT_NEOX_GIT"], *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    seen: dict[str, set[str]] = {}

    def known(commit: str) -> set[str]:
        listed = [line.split() for line in git("ls-tree", commit, f"{checkout_keys.FOLDER}/") if line.endswith(".py")]
        digest = " ".join(line[2] for line in listed)
        if digest not in seen:
            texts = ["\n".join(git("show", f"{commit}:{line[3]}")) for line in listed]
            try:
                seen[digest] = {row.name for row in checkout_keys.parse(texts)}
            except SyntaxError:  # two commits were broken
                seen[digest] = set()
        return seen[digest]

    main = git("log", "--format=%h", "main", "--", str(checkout_keys.FOLDER))
    ever = set().union(*map(known, main))
    assert len(main) > 200 and len([one for one in seen.values() if not one]) <= 6
    assert ever - known("main") == {name for name, gone in keys.GONE.items() if gone.until}
    for name, gone in keys.GONE.items():  # the commit took it out, or (of side lines) was the last that had it
        if gone.until:
            assert name not in known(gone.commit) or gone.until < "2021-08"
            assert name in known(gone.commit) or name in known(f"{gone.commit}^")
    # what others have yet to merge can be read too, and what they add is known then
    heads = git("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/pull", "refs/tags")
    newer = set().union(*map(known, heads)) - ever
    assert len(heads) > 100 and len(newer) > 50
