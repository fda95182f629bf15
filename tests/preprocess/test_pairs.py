"""Pairs and chats for finetuning: masks checked by decoding, examples whole, and samples as GPT-NeoX itself cuts them."""

import gzip
import json
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import data_of

from haigo import cli, files
from haigo.cli import HaigoError, Refused
from haigo.formats.dataset.indexed import MMapReader
from preprocess import examples, index, inspect, pairs, tokenizer
from preprocess.pair_options import PairOptions

DATA = data_of(__file__)

PAIRS = [
    {"prompt": "国会とは?\n", "response": "会議である。"},
    {"prompt": "京都の雨は", "response": "山に多い。\n    return a"},
    {"prompt": "def f(a):\n", "response": "    return a + 1\n"},
    {"prompt": "", "response": "東京から京都まで"},
]
CHAT = {
    "messages": [
        {"role": "system", "content": "質問に答えて。"},
        {"role": "user", "content": "山は?"},
        {"role": "assistant", "content": "雨である。"},
        {"role": "user", "content": "では、東京は?"},
        {"role": "assistant", "content": "日本の国会。"},
        {"role": "user", "content": "まだある?"},
    ]
}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(prefix):
    text, label = MMapReader(f"{prefix}_text_document"), MMapReader(f"{prefix}_text_label_document")
    assert str(label.dtype) == "int32" and text.sizes.tolist() == label.sizes.tolist()
    assert text.doc_idx.tolist() == label.doc_idx.tolist() == list(range(len(text) + 1))
    return [(np.asarray(a).tolist(), np.asarray(b).tolist()) for a, b in zip(text, label, strict=True)]


def spans(model, tokens, labels):
    """Runs of given and learned tokens as (learned, text, ends with the end piece)."""
    found = []
    for token, label in zip(tokens, labels, strict=True):
        assert label in (pairs.MASKED, token)
        learned = label != pairs.MASKED
        if not found or found[-1][0] != learned:
            found.append((learned, []))
        found[-1][1].append(token)
    return [(learned, model.decode(ids), ids[-1] == model.eod_id) for learned, ids in found]


def test_pairs(model_dir, tmp_path):
    made = pairs.build([write(tmp_path / "x.jsonl", PAIRS)], model_dir, tmp_path / "o")
    model, rows = tokenizer.load(model_dir), read(tmp_path / "o")
    assert len(rows) == 4 == made["examples"] == made["masks_checked_by_decoding"]
    for row, (tokens, labels) in list(zip(PAIRS, rows, strict=True))[:3]:
        assert spans(model, tokens, labels) == [(False, row["prompt"], False), (True, row["response"], True)]
    tokens, labels = rows[3]  # nothing comes before the first token: it cannot be learned
    assert labels[0] == pairs.MASKED and labels[1:] == tokens[1:] and model.decode(tokens) == PAIRS[3]["response"]
    assert made["learned_tokens"] == sum(label != pairs.MASKED for _, labels in rows for label in labels)
    for name in ("text", "text_label"):
        assert inspect.verify(tmp_path / f"o_{name}_document") == []


def test_what_a_killed_run_had_in_the_making_goes(model_dir, tmp_path):
    source = write(tmp_path / "x.jsonl", PAIRS)
    left = tmp_path / "out" / files.SCRATCH / "0123456789abcdef" / "o_text_document.bin"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a hundred gigabytes")
    words = [str(source), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "out" / "o")]
    assert cli.run(pairs.main, words) == cli.OK
    assert not (tmp_path / "out" / files.SCRATCH).exists()


def test_two_runs_with_one_prefix_take_turns(model_dir, tmp_path, capsys):
    """One's labels would stand beside the other's tokens."""
    source = write(tmp_path / "x.jsonl", PAIRS)
    words = [str(source), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "out" / "o")]
    with files.owner(index.parts_folder(tmp_path / "out" / "o_text_document")):
        assert cli.run(pairs.main, words) == cli.BAD_INPUT
        assert "in use by another process" in capsys.readouterr().err
        assert cli.run(pairs.main, [*words[:-1], str(tmp_path / "out" / "another")]) == cli.OK
    assert cli.run(pairs.main, words) == cli.OK
    assert not list((tmp_path / "out").glob(".*parts")) and len(list((tmp_path / "out").glob("o_*"))) == 6


def test_chats(model_dir, tmp_path):
    pairs.build([write(tmp_path / "x.jsonl", [CHAT])], model_dir, tmp_path / "o")
    model = tokenizer.load(model_dir)
    ((tokens, labels),) = read(tmp_path / "o")
    assert spans(model, tokens, labels) == [
        (False, "質問に答えて。\n\nユーザー: 山は?\nアシスタント: ", False),
        (True, "雨である。", True),
        (False, "\nユーザー: では、東京は?\nアシスタント: ", False),
        (True, "日本の国会。", True),
    ]
    pairs.build([tmp_path / "x.jsonl"], model_dir, tmp_path / "p", only_last=True)
    ((tokens, labels),) = read(tmp_path / "p")
    assert [text for learned, text, _ in spans(model, tokens, labels) if learned] == ["日本の国会。"]


def test_a_template(model_dir, tmp_path):
    path = tmp_path / "t.yml"
    path.write_text("user: '<<{content}>>'\nassistant: 'A:{content}|'\npair: 'Q:{content}\n\n'\n", encoding="utf-8")
    rows = [{"conversations": [{"from": "human", "value": "山"}, {"from": "gpt", "value": "雨"}]}, PAIRS[1]]
    pairs.build([write(tmp_path / "x.jsonl", rows)], model_dir, tmp_path / "o", template=str(path))
    model = tokenizer.load(model_dir)
    assert [spans(model, *row) for row in read(tmp_path / "o")] == [
        [(False, "<<山>>A:", False), (True, "雨|", True)],
        [(False, "Q:京都の雨は\n", False), (True, PAIRS[1]["response"], True)],
    ]


@pytest.mark.parametrize(("row", "given", "learned"), DATA["known_keys"])
def test_known_keys(tmp_path, row, given, learned):
    (example,) = examples.read([write(tmp_path / "x.jsonl", [row])])
    assert [(part.text, part.learned) for part in example.parts] == [(given, False), (learned, True)]
    qa = PairOptions(form="pairs", prompt_key="q", response_key="a")
    (example,) = examples.read([write(tmp_path / "y.jsonl", [{"q": "1", "a": "2"}])], qa)
    assert [part.text for part in example.parts] == ["1", "2"]


def test_a_context_is_never_lost_in_silence(model_dir, tmp_path, capsys):
    rows = [{"question": "山", "answer": "雨", "context": "川"}, {"question": "山", "answer": "雨"}]
    words = [
        str(write(tmp_path / "x.jsonl", rows)),
        "--tokenizer",
        str(model_dir),
        "--output-prefix",
        str(tmp_path / "o"),
    ]
    assert cli.run(pairs.main, words) == 0
    assert "1 examples have a text under 'context' that is left out; --context-key context" in capsys.readouterr().err
    assert cli.run(pairs.main, [*words, "--context-key", "context"]) == 0 and "left out" not in capsys.readouterr().err
    model = tokenizer.load(model_dir)
    assert [model.decode(tokens) for tokens, _ in read(tmp_path / "o")] == ["山\n川雨", "山雨"]
    assert cli.run(pairs.main, [*words, "--context-key", "contxt"]) == cli.BAD_INPUT
    assert "no line has the key 'contxt'" in capsys.readouterr().err
    rows = [{"instruction": "山", "output": "雨", "input": "川"}]
    named = PairOptions(prompt_key="instruction", response_key="output")
    (example,) = examples.read([write(tmp_path / "y.jsonl", rows)], named)
    assert example.parts[0].text == "山\n川"  # named or recognised: the same


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "山", "output": "雨", "history": [["川", "雪"]]},
        {"instruction": "山", "output": "雨", "system": "川"},
        {"system": "川", "conversations": [{"from": "human", "value": "山"}, {"from": "gpt", "value": "雨"}]},
    ],
)
def test_what_belongs_to_an_example_and_is_not_read_is_told(model_dir, tmp_path, capsys, row):
    path = write(tmp_path / "x.jsonl", [row])
    assert cli.run(pairs.main, [str(path), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().err
    assert f"1 examples have a text under '{'history' if 'history' in row else 'system'}' that is left out" in said


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"prompt": "山", "response": "雨", "messages": [{"role": "user", "content": "川"}, {"role": "assistant",
         "content": "雪"}]}, "response"),
        ({"prompt": "山", "response": "雨", "completion": "雪"}, "completion"),
        ({"messages": [{"role": "user", "content": "川"}, {"role": "assistant", "content": "雪"}],
          "conversations": [{"from": "human", "value": "山"}, {"from": "gpt", "value": "雨"}]}, "conversations"),
    ],
)  # fmt: skip
def test_a_line_with_two_answers_says_which_is_left_out(model_dir, tmp_path, capsys, row, key):
    path = write(tmp_path / "x.jsonl", [row])
    assert cli.run(pairs.main, [str(path), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]) == 0
    assert f"1 examples have a text under '{key}' that is left out; --format" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "no", "yes"), [("weight", 0, 1), ("train", False, True), ("loss", False, None)])
def test_a_turn_of_no_weight_is_given_and_not_learned(model_dir, tmp_path, capsys, key, no, yes):
    turns = [{"role": "user", "content": "山"}, {"role": "assistant", "content": "雨", key: no}]
    turns += [{"role": "user", "content": "川"}, {"role": "assistant", "content": "雪", key: yes}]
    path = write(tmp_path / "x.jsonl", [{"messages": turns}])
    words = [str(path), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(pairs.main, words) == 0
    ((tokens, labels),) = read(tmp_path / "o")
    found = spans(tokenizer.load(model_dir), tokens, labels)
    assert [learned for learned, *_ in found] == [False, True] and found[1][1] == "雪" and "雨" in found[0][1]
    turns[1][key] = 0.5
    write(path, [{"messages": turns}])
    assert cli.run(pairs.main, words) == cli.BAD_INPUT and f"turn 2 has 0.5 for '{key}'" in capsys.readouterr().err


def test_a_line_that_answers_twice_is_broken(model_dir, tmp_path, capsys):
    (tmp_path / "p.jsonl").write_text(
        '{"instruction": "問", "output": "一つ目", "output": "二つ目"}\n', encoding="utf-8"
    )
    words = [str(tmp_path / "p.jsonl"), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(pairs.main, words) == cli.BAD_INPUT
    assert "has the key 'output' twice (line 1)" in capsys.readouterr().err


def test_a_late_line_that_is_no_example_leaves_the_dataset_there(model_dir, tmp_path):
    pairs.build([write(tmp_path / "x.jsonl", PAIRS)], model_dir, tmp_path / "o")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("o_*")}
    assert len(before) == 6
    rows = [*PAIRS[:1] * 600, {"prompt": "a"}]
    with pytest.raises(HaigoError, match="line 601"):
        pairs.build([write(tmp_path / "x.jsonl", rows)], model_dir, tmp_path / "o")
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("o_*")}


def test_what_teaches_nothing_is_left_out_and_counted(model_dir, tmp_path, capsys):
    rows = [*PAIRS, {"prompt": "山", "response": ""}, {"prompt": "雨" * 300, "response": "a"}]
    rows.append({"messages": [{"role": "user", "content": "a"}]})
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    words = [str(tmp_path / "x.jsonl.gz"), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert pairs.main([*words, "--seq-length", "100"]) == 0
    said = capsys.readouterr().out
    assert "4 examples in 4 documents" in said and "left out: 2 without an answer, 1 too long" in said
    assert '"pack_impl": "pack_until_overflow"' in said and f'"{tmp_path}/o_text_label_document"' in said
    # GPT-NeoX stumbles over wholly masked documents at the end of its list
    assert all(any(label != pairs.MASKED for label in labels) for _, labels in read(tmp_path / "o"))


def many(count, seed=0):
    rng = np.random.default_rng(seed)
    text = "日本の山は雨である質問。"
    for number in range(count):
        prompt = "".join(rng.choice(list(text), rng.integers(1, 30)))
        yield {"prompt": f"{number}{prompt}", "response": "".join(rng.choice(list(text), rng.integers(1, 60)))}


def test_packed_rows_hold_whole_examples(model_dir, tmp_path):
    source = write(tmp_path / "x.jsonl", list(many(300)))
    made = pairs.build([source], model_dir, tmp_path / "o", seq_length=128, pack=True)
    pairs.build([source], model_dir, tmp_path / "plain", seq_length=128)
    model, rows = tokenizer.load(model_dir), read(tmp_path / "o")
    assert {len(tokens) for tokens, _ in rows} == {128} and made["documents"] == len(rows)
    assert made["padding_tokens"] == sum(tokens.count(model.pad_id) for tokens, _ in rows)
    assert made["padding_tokens"] < 0.12 * made["tokens"]  # examples of up to 90 tokens in rows of 128
    found = []
    for tokens, labels in rows:
        assert labels[0] == pairs.MASKED  # what GPT-NeoX takes as the next row's first token is never learned
        start = 0
        for at, token in enumerate(tokens):
            if token == model.eod_id:
                found.append((tuple(tokens[start : at + 1]), tuple(labels[start : at + 1])))
                start = at + 1
        assert set(tokens[start:]) <= {model.pad_id} and set(labels[start:]) <= {pairs.MASKED}
    assert sorted(found) == sorted((tuple(a), tuple(b)) for a, b in read(tmp_path / "plain"))
    again = pairs.build([source], model_dir, tmp_path / "again", seq_length=128, pack=True)
    assert again["bin_sha256"] == made["bin_sha256"]
    other = pairs.build([source], model_dir, tmp_path / "other", seq_length=128, pack=True, seed=5)
    assert other["bin_sha256"] != made["bin_sha256"] and other["tokens"] == made["tokens"]


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=30),
    answer=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), min_size=1, max_size=30),
)
def test_any_text(model_dir, tmp_path_factory, prompt, answer):
    folder = tmp_path_factory.mktemp("any")
    pairs.build([write(folder / "x.jsonl", [{"prompt": prompt, "response": answer}])], model_dir, folder / "o")
    ((tokens, labels),) = read(folder / "o")
    model = tokenizer.load(model_dir)
    assert model.decode(tokens) == prompt + answer
    if prompt:
        assert model.decode([label for label in labels if label != pairs.MASKED]) == answer


@pytest.mark.parametrize(("line", "message"), DATA["lines_that_are_no_examples"])
def test_lines_that_are_no_examples(model_dir, tmp_path, line, message):
    (tmp_path / "x.jsonl").write_text(json.dumps(PAIRS[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(HaigoError, match=message):
        pairs.build([tmp_path / "x.jsonl"], model_dir, tmp_path / "o")
    assert not list(tmp_path.glob("o_*"))


def test_half_a_surrogate_pair_is_a_broken_line(model_dir, tmp_path, capsys):
    source = tmp_path / "x.jsonl"
    source.write_text(json.dumps(PAIRS[0]) + "\n" + r'{"prompt": "a", "response": "\ud800"}' + "\n", encoding="utf-8")
    words = [str(source), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(pairs.main, words) == cli.BAD_INPUT
    assert "x.jsonl (line 2) holds half a surrogate pair" in capsys.readouterr().err
    assert cli.run(pairs.main, [*words, "--skip-broken", "1"]) == cli.OK
    assert "passed over: 1 broken rows" in capsys.readouterr().out
    source.write_text("", encoding="utf-8")
    assert cli.run(pairs.main, words) == cli.BAD_INPUT
    assert "x.jsonl: there is no example left" in capsys.readouterr().err


def test_what_cannot_be_done(model_dir, tmp_path, capsys):
    source = write(tmp_path / "x.jsonl", [{"prompt": "▁", "response": "a"}])
    with pytest.raises(Refused, match=r"x\.jsonl \(line 1\): what the tokenizer gives back is not the text"):
        pairs.build([source], model_dir, tmp_path / "o")
    with pytest.raises(HaigoError, match="no example left"):
        pairs.build([write(tmp_path / "y.jsonl", [{"prompt": "a", "response": ""}])], model_dir, tmp_path / "o")
    assert not list(tmp_path.glob("o_*"))
    pairs.build([write(tmp_path / "z.jsonl", [{"prompt": "a", "response": "b"}])], model_dir, tmp_path / "o")
    made = {path: path.read_bytes() for path in tmp_path.glob("o_*")}
    for pack in (False, True):
        with pytest.raises(HaigoError, match="no example left"):
            pairs.build([tmp_path / "z.jsonl"], model_dir, tmp_path / "o", seq_length=1, pack=pack)
    assert len(made) == 6 and made == {path: path.read_bytes() for path in tmp_path.glob("o_*")}
    words = [str(source), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(pairs.main, [*words, "--pack"]) == cli.BAD_INPUT and "--seq-length" in capsys.readouterr().err
    for body, message in (("usr: '{content}'", "there is no 'usr'. Did you mean 'user'"), ("user: x", "does not hold")):
        (tmp_path / "t.yml").write_text(body, encoding="utf-8")
        with pytest.raises(HaigoError, match=message):
            examples.Template.read(tmp_path / "t.yml")


_SAMPLES = """
import json, sys, types
sys.path.insert(0, ".")
import numpy as np
from megatron.data import gpt2_dataset as g
from megatron.data.indexed_dataset import MMapIndexedDataset
prefix, length = sys.argv[1], int(sys.argv[2])
text = MMapIndexedDataset(prefix + "_text_document", skip_warmup=True)
label = MMapIndexedDataset(prefix + "_text_label_document", skip_warmup=True)
rng = np.random.RandomState(7)
epochs = 3
documents = np.arange(len(text))
data = g.GPT2Dataset.__new__(g.GPT2Dataset)
data.indexed_dataset, data.label_dataset, data.reward_dataset, data.ref_dataset = text, label, None, None
data.seq_length = length
data.doc_idx = g._build_doc_idx(documents, epochs, rng)
data.sample_idx = g._build_sample_idx(text.sizes, data.doc_idx, length, epochs, int(text.sizes.sum()))
data.shuffle_idx = g._build_shuffle_idx(data.sample_idx.shape[0] - 1, rng)
data.shuffle_idx_len, data.sample_idx_len = data.shuffle_idx.shape[0] - 1, data.sample_idx.shape[0] - 1
made = [data[n] for n in range(len(data))]
print(json.dumps([[one["text"].tolist(), one["label"].tolist()] for one in made]))
"""


@pytest.mark.neox
def test_gpt_neox_cuts_no_packed_example(model_dir, tmp_path, neox):
    """GPT-NeoX's own dataset class with its default packing: every sample is one row of ours."""
    pairs.build([write(tmp_path / "x.jsonl", list(many(60)))], model_dir, tmp_path / "o", seq_length=96, pack=True)
    words = [str(neox.python), "-c", _SAMPLES, str(tmp_path / "o"), "96"]
    done = subprocess.run(words, cwd=neox.root, env=neox.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    samples, rows = json.loads(done.stdout.splitlines()[-1]), read(tmp_path / "o")
    assert len(samples) == 3 * len(rows) - 2
    learned = 0
    for tokens, labels in samples:
        assert len(tokens) == 97 and (tokens[:96], labels[:96]) in rows
        assert labels[96] == pairs.MASKED  # the first token of the next row: predicted by no one
        learned += sum(label >= 0 for label in labels[1:])  # as GPT-NeoX's get_batch counts them
    assert learned > 0
