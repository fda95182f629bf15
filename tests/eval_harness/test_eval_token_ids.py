"""Token ids of every kind of tokenizer.json: the file's own, as transformers 4.46 gave them (golden/token_ids.json), and the
scores that they lead to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import synthetic_jglue
import token_cases
import torch
from tokenizers import AddedToken, Tokenizer

from haigo import cli
from haigo.formats.tokenizer import open_hf

WANTED = json.loads(token_cases.GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", token_cases.KINDS)
def test_ids_and_texts_are_those_of_transformers_4_and_of_the_file(kind, tmp_path):
    place = token_cases.folder(kind, tmp_path / "t")
    made = open_hf(place)
    assert made.kind == "tokenizers"
    assert token_cases.answers(made.tokenizer, made.ids, token_cases.vocabulary(place)) == WANTED[kind]
    for text in token_cases.texts():
        assert made.tokenizer.encode(text, add_special_tokens=False) == made.ids(text)


def _reference(folder, rows):
    """Summed log-probabilities, by the file's ids and one pass a choice."""
    from transformers import AutoModelForCausalLM

    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast.no_truncation()
    fast.no_padding()
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    for token in config.get("added_tokens_decoder", {}).values():
        fast.add_special_tokens([AddedToken(token["content"], rstrip=token["rstrip"])])
    fast.encode_special_tokens = config.get("split_special_tokens", False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for row in rows:
        context = fast.encode(row["context"], add_special_tokens=False).ids
        scores = []
        for choice in row["choices"]:
            ids = fast.encode(choice["text"], add_special_tokens=False).ids
            with torch.no_grad():
                logs = model(torch.tensor([context + ids])).logits[0, -len(ids) - 1 : -1].log_softmax(-1)
            scores.append(float(logs.gather(1, torch.tensor(ids)[:, None]).sum()))
        found.append(scores)
    return found


@pytest.fixture(scope="module")
def odd_jglue(tmp_path_factory):
    """Questions whose text changes under NFKC, lower case and other cuts at blanks."""
    folder = synthetic_jglue.write(tmp_path_factory.mktemp("odd"))
    for path in folder.glob("jcommonsenseqa-*/*.json"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for number, row in enumerate(rows):
            row["question"] += token_cases.ODD[number % len(token_cases.ODD)].replace("\x00", "")
            row["choice0"], row["choice1"] = f"ＡＢＣ {number}㌔", f"Ｍark  ｶﾞ{number}"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", token_cases.KINDS)
def test_scores_are_those_of_the_files_ids(kind, tmp_path, odd_jglue):
    from eval_harness import run

    folder = token_cases.folder(kind, tmp_path / "m")
    synthetic_jglue.tiny_model(folder, token_cases.vocabulary(folder) + 3, 2048)
    words = ["--model_args", f"pretrained={folder}", "--tasks", "jcommonsenseqa-1.1-0.3", "--num_fewshot", "1"]
    words += ["--data_dir", str(odd_jglue), "--output_path", str(tmp_path / "out"), "--log_samples", "--device", "cpu"]
    run.main([*words, "--limit", "6"])
    lines = (tmp_path / "out/samples_jcommonsenseqa-1.1-0.3.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    ours = [[choice["loglikelihood"] for choice in row["choices"]] for row in rows]
    assert ours == [pytest.approx(each, abs=2e-3) for each in _reference(folder, rows)]
    about = json.loads((tmp_path / "out/result.json").read_bytes())["haigo"]["tokenizer"]
    assert about["read_by"] == "tokenizers" and about["files"][0]["file"] == "tokenizer.json"
    assert about["probes"] > 100 and about["class"] == token_cases.KINDS[kind][1]


@pytest.mark.parametrize("kind", token_cases.SLOW)
def test_classes_without_the_file_are_those_of_transformers_4(kind, tmp_path):
    place = token_cases.slow_folder(kind, tmp_path / "t")
    made = open_hf(place)
    assert made.kind == "transformers" and "4.46" in made.record["proof"] and not made.warnings
    assert token_cases.answers(made.tokenizer, made.ids, 200) == WANTED[kind]


def _config(place, **keys):
    path = place / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | keys), encoding="utf-8")


def _refused(place, capsys, tmp_path, *words):
    """Standard error of a refused `eval_harness.ask`."""
    from eval_harness import ask

    if not (place / "config.json").is_file():
        synthetic_jglue.tiny_model(place, 700, 256)
    question = ["--question", "港の市場？", "--choices", "赤い糸,銅の鍵", "--device", "cpu"]
    assert cli.run(ask.main, ["--model", str(place), *question]) == 3
    told = capsys.readouterr().err
    assert "Traceback" not in told and all(word in told for word in (str(place), "fix:", *words))


@pytest.mark.parametrize(
    "kind, keys",
    [
        ("nfkc_neox", {"add_prefix_space": True}),
        ("lower_gpt2", {"add_prefix_space": True}),
        ("bert_lower", {"do_lower_case": False}),
        ("bert_cased", {"tokenize_chinese_chars": False}),
        ("bert_cased", {"strip_accents": True}),
    ],
)
def test_settings_that_contradict_the_file_are_refused(kind, keys, tmp_path, capsys):
    place = token_cases.folder(kind, tmp_path / "t")
    _config(place, **keys)
    _refused(place, capsys, tmp_path, *keys, "tokenizer.json")


def test_settings_that_change_no_id_are_no_contradiction(tmp_path):
    place = token_cases.folder("meta_first", tmp_path / "t")
    before = open_hf(place).ids("港 の 市場")
    _config(place, add_prefix_space=True, legacy=True, do_lower_case=True)
    assert open_hf(place).ids("港 の 市場") == before


def test_added_tokens_that_contradict_the_file_are_refused(tmp_path, capsys):
    place = token_cases.folder("added_neox", tmp_path / "t")
    token = {"content": "<|mark|>", "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    number = str(Tokenizer.from_file(str(place / "tokenizer.json")).token_to_id("<|mark|>"))
    _config(place, added_tokens_decoder={number: token})
    _refused(place, capsys, tmp_path, "added_tokens_decoder")
    _config(place, added_tokens_decoder={"600": token | {"lstrip": True, "rstrip": True}})
    _refused(place, capsys, tmp_path, "<|mark|>", "600")


def test_a_vocabulary_of_an_unknown_class_is_refused(tmp_path, capsys):
    place = token_cases.slow_folder("slow_gpt2", tmp_path / "t")
    _config(place, tokenizer_class="GPTNeoXTokenizerFast")
    _refused(place, capsys, tmp_path, "GPTNeoXTokenizer", "tokenizer.json")


def test_a_sentencepiece_model_that_transformers_reads_otherwise_is_refused(tmp_path, capsys):
    place = tmp_path / "t"
    shutil.copytree(token_cases.HERE / "golden" / "llama_new", place)
    _config(place, tokenizer_class="GemmaTokenizer")
    _refused(place, capsys, tmp_path, "tokenizer.model")


def test_two_tokenizers_in_one_folder_are_refused(tmp_path, capsys):
    place = token_cases.folder("unigram_llama", tmp_path / "t")
    shutil.copy(token_cases.HERE / "golden" / "llama_new" / "tokenizer.model", place)
    _refused(place, capsys, tmp_path, "tokenizer.model and tokenizer.json are two tokenizers")


def test_dropout_of_the_file_makes_no_id_random(tmp_path):
    place = token_cases.folder("nfkc_neox", tmp_path / "t")
    content = json.loads((place / "tokenizer.json").read_bytes())
    content["model"]["dropout"] = 0.5
    (place / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    made = open_hf(place)
    assert token_cases.answers(made.tokenizer, made.ids, token_cases.vocabulary(place)) == WANTED["nfkc_neox"]


def test_tokens_of_the_older_files_count(tmp_path):
    place = token_cases.folder("byte_bpe", tmp_path / "t")
    size = token_cases.vocabulary(place)
    (place / "added_tokens.json").write_text(json.dumps({"<a>": size, "<b>": size + 1}), encoding="utf-8")
    special = {"eos_token": "<b>", "additional_special_tokens": ["<c>"]}
    (place / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    made = open_hf(place)
    assert made.ids("<a><b><c>") == [size, size + 1, size + 2] and made.tokenizer.eos_token_id == size + 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": 3}', '{"version": "1.0"}', "\udc83"])
def test_a_damaged_file_is_told(tmp_path, text, capsys):
    from eval_harness import ask

    place = synthetic_jglue.tiny_model(token_cases.folder("byte_bpe", tmp_path / "t"), 500, 256)
    (place / "tokenizer.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    question = ["--question", "港？", "--choices", "糸,鍵", "--device", "cpu"]
    assert cli.run(ask.main, ["--model", str(place), *question]) == 2
    told = capsys.readouterr().err
    assert "tokenizer.json" in told and "fix:" in told and "Traceback" not in told


@pytest.mark.parametrize(
    ("kept", "problem"),
    [
        ((), "has no tokenizer."),
        (("tokenizer_config.json",), "has no tokenizer: no vocabulary stands beside tokenizer_config.json"),
        (("vocab.json", "tokenizer_config.json"), "has no merges.txt"),
        (("merges.txt", "tokenizer_config.json"), "has no vocab.json"),
    ],
)
def test_a_tokenizer_without_its_vocabulary_is_refused(kept, problem, model_folder, tmp_path, jglue, capsys):
    """transformers builds GPT-2's class from nothing; every answer was empty then, and every score 0."""
    from eval_harness import run

    place = tmp_path / "m"
    shutil.copytree(model_folder("bpe"), place, ignore=shutil.ignore_patterns("*token*"))
    files = {"tokenizer_config.json": '{"tokenizer_class": "GPT2Tokenizer"}', "vocab.json": "{}", "merges.txt": ""}
    for name in kept:
        (place / name).write_text(files[name])
    words = ["--model_args", f"pretrained={place}", "--tasks", "jsquad-1.1-0.3", "--num_fewshot", "0", "--limit", "2"]
    assert cli.run(run.main, [*words, "--data_dir", str(jglue), "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert f"{place} {problem}" in told and "tokenizer=FOLDER" in told and "Traceback" not in told


def test_a_name_on_the_hub_has_the_same_ids(tmp_path):
    """Without the network, out of the hub's cache."""
    cache = tmp_path / "hub" / "models--some--model"
    place = token_cases.folder("nfkc_neox", cache / "snapshots" / ("a" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    code = (
        "import json; from haigo.formats.tokenizer import open_hf; m = open_hf('some/model'); "
        "print(json.dumps([m.kind, m.ids('㌔ＡＢＣ')]))"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    wanted = Tokenizer.from_file(str(place / "tokenizer.json")).encode("㌔ＡＢＣ", add_special_tokens=False).ids
    assert json.loads(done.stdout.splitlines()[-1]) == ["tokenizers", wanted]


def test_a_model_without_an_end_of_text_token(tmp_path, jglue, capsys):
    """Choices need none; an answer that ends there does."""
    from eval_harness import run

    place = synthetic_jglue.tiny_model(token_cases.folder("bert_cased", tmp_path / "t"), 300, 1024)
    words = ["--model_args", f"pretrained={place}", "--data_dir", str(jglue), "--limit", "2", "--num_fewshot", "0"]
    assert cli.run(run.main, [*words, "--tasks", "jnli-1.1-0.3", "--device", "cpu"]) == 0
    assert cli.run(run.main, [*words, "--tasks", "jsquad-1.1-0.3", "--device", "cpu"]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["nfkc_neox", "unigram_llama", "split_qwen2", "config_adds"])
def test_compared_tokenizers_have_the_files_ids(kind, tmp_path):
    from preprocess.tokenizer_compare import contender

    place = token_cases.folder(kind, tmp_path / "t")
    made, texts = contender(place), token_cases.texts()
    assert made.encode(texts) == [open_hf(place).ids(text) for text in texts]
    assert made.decode([[5, 6, 7]]) == [open_hf(place).tokenizer.decode([5, 6, 7])]


@pytest.mark.parametrize("kind", ["nfkc_neox", "bytes_llama", "gemma"])
def test_answers_are_decoded_as_the_file_says(kind, tmp_path, jglue):
    """Greedy generation by the file's ids and decoder, cut at the stop string."""
    from transformers import AutoModelForCausalLM

    from eval_harness import run

    place = token_cases.folder(kind, tmp_path / "m")
    synthetic_jglue.tiny_model(place, token_cases.vocabulary(place), 2048, scale=0.6)
    words = ["--model_args", f"pretrained={place}", "--tasks", "jsquad-1.1-0.3", "--num_fewshot", "0", "--limit", "3"]
    words += ["--data_dir", str(jglue), "--output_path", str(tmp_path / "out"), "--log_samples", "--device", "cpu"]
    assert cli.run(run.main, words) == 0
    lines = (tmp_path / "out/samples_jsquad-1.1-0.3.jsonl").read_text(encoding="utf-8").splitlines()
    fast = Tokenizer.from_file(str(place / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    stop = fast.encode("\n", add_special_tokens=False).ids[-1]
    for row in map(json.loads, lines):
        ids = fast.encode(row["context"], add_special_tokens=False).ids
        written: list[int] = []
        budget = max(len(fast.encode(one, add_special_tokens=False).ids) for one in row["target"])
        while len(written) < budget and stop not in written:
            with torch.no_grad():
                written.append(int(model(torch.tensor([ids + written])).logits[0, -1].argmax()))
        assert row["prediction"] == fast.decode(written, skip_special_tokens=False).split("\n")[0]
