"""Files of a model and of a result whose values nothing has: told in a sentence, never by a traceback."""

from __future__ import annotations

import copy
import json
import shutil

import pytest

from eval_harness import ask, exclude, leaderboard, run, significance
from haigo import cli
from haigo.cli import HaigoError

DEEP = "[" * 100_000
NAME = "jcommonsenseqa-1.1-0.3"


@pytest.fixture(scope="module")
def result(model_folder, jglue, tmp_path_factory):
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("result")
    words = ["--model_args", f"pretrained={model_folder('bpe')}", "--tasks", f"{NAME},jsquad-1.1-0.3", "--limit", "3"]
    words += ["--num_fewshot", "0", "--data_dir", str(jglue), "--output_path", str(out), "--log_samples"]
    assert cli.run(run.main, [*words, "--device", "cpu"]) == 0
    return out


def _paths(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _paths(each, (*path, key))


def _put(value, path, new):
    if not path:
        return new
    whole = part = copy.deepcopy(value)
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = new
    return whole


def test_a_result_with_any_value_of_another_shape(result, tmp_path, capsys):
    good = json.loads((result / "result.json").read_text(encoding="utf-8"))
    path = tmp_path / "result.json"
    for place in _paths(good):
        for new in (None, "x", [[1]], {"a": {"b": 1}}, -1e300):
            path.write_text(json.dumps(_put(good, place, new)), encoding="utf-8")
            code = cli.run(leaderboard.main, [str(path)])
            told = capsys.readouterr().err
            assert code in (0, 2), (place, new, told)
            assert code == 0 or str(path) in told, (place, new, told)


@pytest.mark.parametrize(
    "line", ["", "3", "[1]", DEEP, '{"doc_id": 0, "id": 1, "acc": NaN}', '{"doc_id": 0, "acc": 1}', "\udcff"]
)
def test_damaged_samples(tmp_path, line):
    path = tmp_path / "samples_x.jsonl"
    path.write_bytes(b'{"doc_id": 0, "id": 0, "acc": 1}\n' + line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(HaigoError, match="line 2 is no sample"):
        significance.figures(path, "acc")


@pytest.mark.parametrize("text", [DEEP, "{" + DEEP])
def test_ids_nested_too_deeply(tmp_path, text):
    (tmp_path / "ids").write_text(text, encoding="utf-8")
    try:
        exclude.read(tmp_path / "ids")
    except HaigoError as error:
        assert "ids" in error.problem


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(("config.json", {key: value}) for key, value in [
            ("vocab_size", 10**12), ("vocab_size", "x"), ("hidden_size", 0), ("num_hidden_layers", 10**7),
            ("num_hidden_layers", -3), ("num_attention_heads", 0), ("max_position_embeddings", "a"), ("n_ctx", "x"),
            ("n_ctx", [5]), ("n_ctx", True), ("model_type", 5), ("hidden_act", "nope"), ("quantization_config", {"a": 1}),
        ]),
        *(("tokenizer_config.json", {key: value}) for key, value in [
            ("eos_token", 5), ("eos_token", {"x": 1}), ("added_tokens_decoder", {"x": {"content": "a"}}),
            ("added_tokens_decoder", []), ("padding_side", "up"), ("add_bos_token", "x"), ("extra_special_tokens", {"a": 5}),
        ]),
        *((name, text) for name in ("config.json", "tokenizer_config.json", "generation_config.json") for text in (DEEP, "[]")),
    ],
)  # fmt: skip
def test_a_model_with_values_that_nothing_has(model_folder, tmp_path, capsys, name, change):
    place = tmp_path / "m"
    shutil.copytree(model_folder("bpe"), place)
    path = place / name
    text = json.dumps(json.loads(path.read_bytes()) | change) if isinstance(change, dict) else change
    path.write_text(text, encoding="utf-8")
    words = ["--model", str(place), "--question", "港？", "--choices", "糸,鍵", "--device", "cpu"]
    code = cli.run(ask.main, words)
    told = capsys.readouterr().err
    assert code in (2, 3) or name != "config.json", told
    assert code in (0, 2, 3) and (code == 0 or (str(place) in told and "fix:" in told)), told
