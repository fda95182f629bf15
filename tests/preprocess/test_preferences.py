"""`preprocess.pairs --preference`: the shapes people have, the datasets that GPT-NeoX reads, its own bytes where it works."""

import json
import subprocess

import numpy as np
import pytest
from shared_data import data_of
from test_pairs import write

from haigo import cli, files
from haigo.cli import HaigoError
from haigo.formats.dataset import manifest
from haigo.formats.dataset.ids import MASKED
from haigo.formats.dataset.indexed import MMapReader
from haigo.formats.documents import Broken
from preprocess import pairs, preference_rows, preferences, tokenizer
from preprocess.pair_options import PairOptions

DATA = data_of(__file__)
TEMPLATE = 'system: "S{content}\\n"\nuser: "U{content}\\n"\nassistant: "A{content}"\nafter: "|"\n'
ROWS = [
    {"prompt": "国会とは?\n", "chosen": "会議である。", "rejected": "山である。"},
    {"prompt": "京都の雨は", "chosen": "山に多い。", "rejected": "東京に多い。日本の国会。"},
]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Options that every row of the tables is read with."""
    path = tmp_path_factory.mktemp("template") / "t.yml"
    path.write_text(TEMPLATE)
    return {"seq_length": 64, "template": str(path)}


@pytest.mark.parametrize("case", DATA["shapes"], ids=str)
def test_shapes(case, words, tmp_path):
    kind, row, prompts, answers, reward = (*case, 1)[:5]
    options = PairOptions(preference=kind, **words)
    (found,) = preference_rows.read([write(tmp_path / "x.jsonl", [row])], options, Broken(), {})
    assert (found.prompts, found.texts, found.reward) == (prompts, answers, reward)
    assert all(one.parts[-1].ends and not one.parts[0].learned for one in found.answers)


@pytest.mark.parametrize("case", DATA["wrong"], ids=str)
def test_what_is_no_preference_is_named(case, words, tmp_path, model_dir):
    kind, row, said = case
    path = write(tmp_path / "x.jsonl", [row])
    with pytest.raises(HaigoError) as caught:
        pairs.build([path], model_dir, tmp_path / "o", preference=kind, **words)
    assert said in caught.value.problem and "(line 1)" in caught.value.problem and caught.value.fix
    assert not list(tmp_path.glob("o_*"))
    good = {"prompt": "山は?", "chosen": "雨", "rejected": "国会"}
    built = pairs.build([write(path, [row, good])], model_dir, tmp_path / "o", preference=kind, skip_broken=1, **words)
    assert built["broken_rows"]["count"] == 1 and built["examples"] == (2 if kind == "kto" else 1)


def rows_of(prefix, *keys):
    readers = [MMapReader(f"{prefix}_{key}_document") for key in keys]
    return [[np.asarray(each).tolist() for each in row] for row in zip(*readers, strict=True)]


def test_datasets_of_pairs(model_dir, tmp_path):
    model, path = tokenizer.load(model_dir), write(tmp_path / "x.jsonl", ROWS)
    built = pairs.build([path], model_dir, tmp_path / "d", preference="dpo", seq_length=64)
    assert (built["examples"], built["documents"], built["preference"], built["dtype"]) == (2, 2, "dpo", "int32")
    pairs.build([path], model_dir, tmp_path / "r", preference="rm", seq_length=64)
    for name, more in (("d", 0), ("r", 1)):
        for row, arrays in zip(ROWS, rows_of(tmp_path / name, *preferences.SIDE_KEYS), strict=True):
            given = model.encode(row["prompt"])
            for side, tokens, labels in (("chosen", *arrays[:2]), ("rejected", *arrays[2:])):
                learned = [*model.encode(row[side]), model.eod_id]
                assert tokens == given + learned + [model.eod_id] * more
                if name == "d":
                    assert labels == [MASKED] * len(given) + learned
                else:  # the reward is read at the first of two end pieces
                    assert labels == [MASKED] * (len(tokens) - 1) + [model.eod_id]


def test_rewards_have_a_mean_of_one(model_dir, tmp_path, capsys):
    """GPT-NeoX takes their mean over all positions of a sample for the sign, so they outweigh the padding."""
    path = write(tmp_path / "x.jsonl", ROWS)
    pairs.build([path], model_dir, tmp_path / "k", preference="kto", seq_length=64)
    rows = rows_of(tmp_path / "k", *preferences.KEYS["kto"])
    assert [np.sign(reward).tolist() for _, _, reward in rows] == [[1], [-1], [1], [-1]]
    for tokens, labels, (reward,) in rows:
        sample = np.zeros(64)
        sample[: len(tokens)] = reward
        assert len(labels) == len(tokens) and abs(sample.mean()) == pytest.approx(1)
    facts = manifest.read(tmp_path / "k_messages_reward_document")
    assert (facts["dtype"], facts["kind"], facts["wanted"], facts["unwanted"]) == ("float32", "rewards", 2, 2)
    one = write(tmp_path / "one.jsonl", [{"prompt": "山は?", "completion": "雨", "label": True}])
    words = [str(one), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "k"), "--preference", "kto"]
    assert cli.run(pairs.main, [*words, "--seq-length", "64"]) == 0
    taken = capsys.readouterr()
    assert "every answer is wanted" in taken.err and "1 answers (1 wanted, 0 not) for kto" in taken.out


def test_what_has_nothing_to_compare_is_counted(model_dir, tmp_path, capsys):
    turns = [{"role": "user", "content": "山は?"}, {"role": "assistant", "content": "雨"}]
    rows = [
        *ROWS,
        {**ROWS[0], "rejected": ROWS[0]["chosen"]},
        {**ROWS[0], "chosen": " "},
        {**ROWS[0], "rejected": "東京。" * 60},
        {"chosen": turns, "rejected": [{"role": "user", "content": "川は?"}, *turns[1:]]},
    ]
    path = write(tmp_path / "x.jsonl", rows)
    words = [str(path), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "d")]
    assert cli.run(pairs.main, [*words, "--preference", "dpo", "--seq-length", "64"]) == 0
    said = capsys.readouterr().out
    for part in ("2 pairs for dpo", "1 whose answers are the same", "1 with an empty answer", "1 longer than --seq-length",
                 "1 whose answers are to different prompts", '"pos_train_data_paths"', "--recipe dpo"):  # fmt: skip
        assert part in said
    left = write(tmp_path / "y.jsonl", rows[2:])
    before = {each: each.read_bytes() for each in tmp_path.glob("d_*")}
    assert cli.run(pairs.main, [str(left), *words[1:], "--preference", "dpo", "--seq-length", "64"]) == 2
    assert "there is no preference left" in capsys.readouterr().err
    assert before == {each: each.read_bytes() for each in tmp_path.glob("d_*")}  # what was there stays
    assert cli.run(pairs.main, [*words, "--preference", "dpo", "--seq-length", "64"]) == 0
    assert before == {each: each.read_bytes() for each in tmp_path.glob("d_*")}  # same input, same bytes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"preference": "dpo"}, "needs to know how long a sample is"),
        ({"preference": "dpo", "seq_length": 64, "pack": True}, "--pack has no effect with --preference dpo"),
        ({"preference": "rm", "seq_length": 64, "reward_key": "x"}, "--reward-key has no effect with --preference rm"),
        ({"chosen_key": "better"}, "--chosen-key is for preferences"),
        ({"preference": "ppo", "seq_length": 64}, "--preference is 'ppo'"),
    ],
)
def test_options_that_do_not_go_together(words, said):
    with pytest.raises(HaigoError, match=said):
        PairOptions(**words)


def test_other_keys(model_dir, tmp_path):
    path = write(tmp_path / "x.jsonl", [{"q": "山は?", "good": "雨", "bad": "国会", "ok": 1}])
    keys = {"prompt_key": "q", "chosen_key": "good", "rejected_key": "bad", "seq_length": 64}
    assert pairs.build([path], model_dir, tmp_path / "o", preference="rm", **keys)["examples"] == 1
    keys = {"prompt_key": "q", "response_key": "good", "reward_key": "ok", "seq_length": 64}
    assert pairs.build([path], model_dir, tmp_path / "k", preference="kto", **keys)["wanted"] == 1


def chats_of_both():
    """Lines of chosen and rejected chats, and of judged ones."""
    rows = []
    for number, row in enumerate(ROWS * 5):
        asked = [{"role": "system", "content": "短く"}] * (number % 3 == 0) + [
            {"role": "user", "content": row["prompt"]}
        ]
        rows.append({key: [*asked, {"role": "assistant", "content": row[key]}] for key in ("chosen", "rejected")})
    return rows, [{"messages": row["chosen"], "reward": (-1) ** number} for number, row in enumerate(rows)]


def test_the_bytes_are_those_that_gpt_neox_wrote(model_dir, tmp_path, words):
    """sha256 of what its preprocess_data_with_chat_template.py wrote of the same lines (the test below, at ea7aefd)."""
    rows, judged = chats_of_both()
    for kind, golden in DATA["golden"].items():
        path = write(tmp_path / f"{kind}.jsonl", judged if kind == "kto" else rows)
        pairs.build([path], model_dir, tmp_path / kind, preference=kind, **words)
        assert {name: files.sha256_file(tmp_path / f"{kind}_{name}")[:16] for name in golden} == golden


@pytest.mark.neox
def test_the_bytes_are_gpt_neox_s_own(model_dir, tmp_path, neox, words):
    """Its preprocess_data_with_chat_template.py, given a chat template without the last end piece, which it adds itself."""
    from haigo.formats.tokenizer import adapter

    model, theirs = tokenizer.load(model_dir), tmp_path / "tokenizer"
    theirs.mkdir()
    adapter.write_hf_files(model.processor, theirs)
    config = json.loads((theirs / "tokenizer_config.json").read_text())
    config["chat_template"] = (
        "{% for m in messages %}{{ {'system': 'S', 'user': 'U', 'assistant': 'A'}[m['role']] + m['content'] }}"
        "{% if m['role'] != 'assistant' %}{{ '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'A' }}{% endif %}"
    )
    (theirs / "tokenizer_config.json").write_text(json.dumps(config))
    rows, judged = chats_of_both()
    made = {"dpo": (rows, ["chosen", "rejected"], ["--only-last"]), "rm": (rows, ["chosen", "rejected"], ["--for-rm"])}
    made["kto"] = (judged, ["messages"], ["--only-last", "--reward-key", "reward"])
    for kind, (lines, keys, flags) in made.items():
        path = write(tmp_path / f"{kind}.jsonl", lines)
        pairs.build([path], model_dir, tmp_path / f"ours_{kind}", preference=kind, **words)
        argv = [str(neox.python), "tools/datasets/preprocess_data_with_chat_template.py", "--input", str(path), *flags]
        argv += ["--output-prefix", str(tmp_path / f"theirs_{kind}"), "--tokenizer-path", str(theirs), "--jsonl-keys"]
        done = subprocess.run([*argv, *keys], cwd=neox.root, env=neox.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        for key in [name for side in keys for name in (side, f"{side}_label")]:
            for ending in ("bin", "idx"):
                one, two = (tmp_path / f"{who}_{kind}_{key}_document.{ending}" for who in ("ours", "theirs"))
                assert one.read_bytes() == two.read_bytes()
                name = f"{key}_document.{ending}"
                assert files.sha256_file(two).startswith(DATA["golden"][kind][name])
    signs = [np.sign(reward).tolist() for (reward,) in rows_of(tmp_path / "ours_kto", "messages_reward")]
    assert signs == [reward for (reward,) in rows_of(tmp_path / "theirs_kto", "messages_reward")]
