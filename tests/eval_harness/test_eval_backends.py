"""--model vllm, and --model hf spread by accelerate: the numbers and answers of one model by itself, on all tasks."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import standin_vllm
import synthetic_jglue
import synthetic_others

from eval_harness import run
from haigo import cli, files

GOLDEN = Path(__file__).with_name("golden")
VOCABULARY = {"bpe": 500, "spm": 600}
TASKS = {
    "jcommonsenseqa-1.1-0.3": 3,
    "jnli-1.1-0.3": 3,
    "marc_ja-1.1-0.3": 3,
    "jsquad-1.1-0.3": 2,
    "jaqket_v2-0.1-0.3": 1,
    "xlsum_ja-1.0-0.3": 1,
    "xwinograd_ja-1.0-0.0": 0,
    "mgsm-1.0-0.3": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return synthetic_others.write(synthetic_jglue.write(tmp_path_factory.mktemp("all")))


@pytest.fixture(scope="module", params=["bpe", "spm"])
def folder(request, tmp_path_factory):
    """A model that all contexts fit in."""
    place = tmp_path_factory.mktemp("long") / "model"
    shutil.copytree(GOLDEN / request.param, place)
    return synthetic_jglue.tiny_model(place, VOCABULARY[request.param], 4096)


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    """The stand-in, as the package vllm of this interpreter; lm-eval can read its own module of it once only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(standin_vllm.write(tmp_path_factory.mktemp("site"))))
        importlib.invalidate_caches()
        import vllm

        yield vllm
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        del sys.modules[name]


@pytest.fixture
def vllm(standin):
    standin.LOADED.clear()
    standin.ASKED.clear()
    return standin


def scored(out, data, words, *more, tasks=TASKS, code=0):
    argv = ["--model_args", words if isinstance(words, str) else json.dumps(words), "--output_path", str(out)]
    argv += ["--tasks", ",".join(tasks), "--num_fewshot", ",".join(map(str, tasks.values())), "--data_dir", str(data)]
    assert cli.run(run.main, [*argv, "--limit", "4", "--bootstrap_iters", "0", "--log_samples", *more]) == code
    return files.read_json(out / "result.json") if not code else {}


def rows(out, task):
    return [json.loads(line) for line in (out / f"samples_{task}.jsonl").read_text(encoding="utf-8").splitlines()]


def same(one, other, tasks=TASKS):
    """The same contexts, answers and figures; log-likelihoods as near as float32 is."""
    told_apart = set()
    for task in tasks:
        for a, b in zip(rows(one, task), rows(other, task), strict=True):
            assert a["context"] == b["context"] and a["prediction"] == b["prediction"], task
            for first, second in zip(a.get("choices", []), b.get("choices", []), strict=True):
                assert first["loglikelihood"] == pytest.approx(second["loglikelihood"], abs=1e-3)
            told_apart.add(str(a["prediction"]))
    assert len(told_apart) > 4  # the answers are not all one
    wanted, found = (files.read_json(each / "result.json")["results"] for each in (one, other))
    assert {t: pytest.approx(f, abs=1e-6) for t, f in wanted.items()} == found


def test_vllm_that_can_not_run_is_named(model_folder, data, tmp_path, capsys):
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is installed")
    words = f"pretrained={model_folder('bpe')}"
    scored(tmp_path / "out", data, words, "--model", "vllm", code=2)
    said = capsys.readouterr().err
    assert "needs the package vllm, which is not installed" in said and "parallelize=True" in said
    assert not (tmp_path / "out").exists()


def test_vllm_gives_the_engines_numbers_and_answers(folder, data, vllm, tmp_path, capsys):
    own = scored(tmp_path / "own", data, f"pretrained={folder}", "--device", "cpu")
    found = scored(tmp_path / "vllm", data, f"pretrained={folder},gpu_memory_utilization=0.8,tensor_parallel_size=2",
                   "--model", "vllm")  # fmt: skip
    same(tmp_path / "own", tmp_path / "vllm")
    assert own["haigo"]["model"]["backend"] == "hf" and own["config"]["model"] == "hf-causal"
    assert found["config"]["model"] == "vllm" and found["haigo"]["model"]["vllm"] == "0.8.0"
    length = own["haigo"]["model"]["max_length"]
    (loaded,) = vllm.LOADED
    assert (loaded["model"], loaded["max_model_len"], loaded["dtype"]) == (str(folder), length, "float32")
    assert (loaded["tensor_parallel_size"], loaded["gpu_memory_utilization"]) == (2, 0.8)
    assert found["haigo"]["model"]["arguments"]["gpu_memory_utilization"] == 0.8
    generated = [params for _, params in vllm.ASKED if params.stop_token_ids]
    assert generated and all(params.ignore_eos and len(params.stop_token_ids) == 1 for params in generated)
    assert all("vLLM" in each["not_comparable"][-1] for each in found["haigo"]["tasks"].values())
    script = (tmp_path / "vllm" / "harness.sh").read_text(encoding="utf-8")
    assert "--model vllm" in script and "--device" not in script


def test_a_model_spread_by_accelerate_answers_the_same(model_folder, data, tmp_path):
    """One layer on disk, the rest in memory: accelerate's hooks bring weights and move what is computed."""
    from transformers import AutoModelForCausalLM

    folder = model_folder("bpe")
    model = AutoModelForCausalLM.from_pretrained(folder)
    inner = model.base_model_prefix
    names = [name for name, _ in model.named_children() if name != inner]
    names += [f"{inner}.{name}" for name, _ in model.base_model.named_children() if name != "layers"]
    where = {**dict.fromkeys(names, "cpu"), f"{inner}.layers.0": "cpu", f"{inner}.layers.1": "disk"}
    scored(tmp_path / "own", data, f"pretrained={folder}", "--device", "cpu")
    words = {
        "pretrained": str(folder),
        "parallelize": True,
        "device_map": where,
        "offload_folder": str(tmp_path / "off"),
    }
    found = scored(tmp_path / "spread", data, words, "--device", "cpu")
    same(tmp_path / "own", tmp_path / "spread")
    assert found["haigo"]["model"]["modules_on"] == {"cpu": len(where) - 1, "disk": 1}


@pytest.mark.parametrize(
    ("more", "words", "reason"),
    [
        (["--device", "cuda"], "", "set CUDA_VISIBLE_DEVICES"),
        ([], ",nonsense=1", "nonsense"),
        ([], ",max_length=100000", "vLLM can not load"),
    ],
)
def test_bad_words_for_vllm_are_named(more, words, reason, model_folder, data, vllm, tmp_path, capsys):
    scored(tmp_path / "out", data, f"pretrained={model_folder('bpe')}{words}", "--model", "vllm", *more, code=2)
    said = capsys.readouterr().err
    assert reason in said and "Traceback" not in said


def test_lm_evals_own_tasks_are_not_vllms(model_folder, data, vllm, tmp_path, capsys):
    words = f"pretrained={model_folder('bpe')}"
    scored(tmp_path / "out", data, words, "--model", "vllm", tasks={"arc_easy": 0}, code=2)
    assert "arc_easy is lm-eval's own" in capsys.readouterr().err
