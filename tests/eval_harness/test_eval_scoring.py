"""Log-likelihoods, generations and figures against what jp-stable's own harness gave for the same files and models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from eval_harness import tasks
from eval_harness.run import evaluate

GOLDEN = Path(__file__).with_name("golden")

ALL = [
    (kind, name)
    for kind in ("bpe", "spm", "spm_prefix")
    for name in tasks.names()
    if name.split("-")[0] in ("jcommonsenseqa", "jnli", "jsquad")
]


CUT = {f"{task}-0.3" for task in ("jcommonsenseqa-1.1", "jnli-1.1", "jnli-1.3", "jsquad-1.1", "jsquad-1.2")}
CUT |= {"jcommonsenseqa-1.1-0.6", "jnli-1.3-0.6"}


def score(model, jglue, names, folder=None, **options):
    return evaluate("", names, None, None, jglue, folder, model=model, bootstrap_iters=0, **options)


def samples(folder, name):
    return [json.loads(line) for line in (folder / f"samples_{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def against_golden(kind, name, loaded, jglue, folder):
    if name.startswith("jsquad"):
        pytest.importorskip("fugashi", reason="needs haigo[ja]")
    wanted = json.loads((GOLDEN / f"scores_{kind}.json").read_text(encoding="utf-8"))[name]
    found = score(loaded(kind), jglue, [name], folder)
    rows = samples(folder, name)
    if "generations" in wanted:
        assert [row["prediction"] for row in rows] == wanted["generations"]
    else:
        scores = [choice["loglikelihood"] for row in rows for choice in row["choices"]]
        assert scores == pytest.approx(wanted["loglikelihoods"], abs=1e-4)
    figures = found["results"][name]
    for metric, value in wanted["results"].items():
        assert figures[metric] == pytest.approx(value, abs=1e-9), metric
    return found


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_scores_are_those_of_jp_stable(kind, name, loaded, jglue, tmp_path):
    found = against_golden(kind, name, loaded, jglue, tmp_path)
    # the model with the byte-level tokenizer is short, so that contexts lose their beginning
    assert (found["haigo"]["contexts_truncated"] == 16) == (kind == "bpe" and name in CUT)


def test_sharing_the_context_changes_nothing(model_folder, loaded, jglue, tmp_path):
    from eval_harness.model import load

    name = "jcommonsenseqa-1.1-0.5"
    shared = loaded("spm")
    score(shared, jglue, [name], tmp_path / "shared")
    assert shared.share_context is True  # the trial found that it holds for GPT-NeoX
    apart = load(f"pretrained={model_folder('spm')}", device="cpu", share_context=False, show_progress=False)
    score(apart, jglue, [name], tmp_path / "apart")
    for one, other in zip(samples(tmp_path / "shared", name), samples(tmp_path / "apart", name), strict=True):
        assert one["context"] == other["context"]
        for a, b in zip(one["choices"], other["choices"], strict=True):
            assert a["loglikelihood"] == pytest.approx(b["loglikelihood"], abs=1e-4)


def test_a_model_that_cannot_share_is_found_out(loaded, jglue, monkeypatch):
    from eval_harness import packed

    model = loaded("bpe")
    questions = [packed.Question(context=(5, 6, 7, 8), choices=((9, 10, 11), (12, 13)))]
    assert packed.trial(model.model, questions, model._plain).holds
    right = packed.score
    monkeypatch.setattr(packed, "score", lambda m, q: [[(x + 0.01, g) for x, g in each] for each in right(m, q)])
    assert not packed.trial(model.model, questions, model._plain).holds


def test_a_beginning_that_all_contexts_share_goes_through_the_model_once(loaded, monkeypatch):
    from eval_harness import packed

    model = loaded("bpe")
    begin = [7 + at % 90 for at in range(40)]
    asked = [
        (("", ""), [*begin, *range(10 + at, 12 + at + at % 3)], [20 + at, 30][: 1 + choice])
        for at in range(9)
        for choice in range(2)
    ]
    widths = []
    right = packed.score
    monkeypatch.setattr(packed, "score", lambda *given: widths.append(len(given)) or right(*given))
    monkeypatch.setattr(model, "share_context", True)
    found = model._loglikelihood_tokens(asked)
    assert widths[:4] == [3, 2, 3, 2] and set(widths[4:]) == {3}  # two questions are tried with it and without
    monkeypatch.setattr(model, "share_context", False)
    apart = model._loglikelihood_tokens(asked)
    assert [score for score, _ in found] == pytest.approx([score for score, _ in apart], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in apart]
    questions = [packed.Question(tuple(context), (tuple(choice),)) for _, context, choice in asked]
    different = [packed.Question((50 + at, *each.context), each.choices) for at, each in enumerate(questions)]
    assert packed.prefix(model.model, questions).length == len(begin)
    assert packed.prefix(model.model, different) is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_below_float32_contexts_are_shared_within_a_tolerance_that_is_recorded(
    dtype, model_folder, jglue, tmp_path, monkeypatch
):
    from eval_harness import packed
    from eval_harness.model import load

    name, words = "jcommonsenseqa-1.1-0.5", f"pretrained={model_folder('spm')},dtype={dtype}"
    found = {}
    for share in (None, False):
        model = load(words, device="cpu", share_context=share, show_progress=False)
        found[share] = score(model, jglue, [name], tmp_path / str(share))["haigo"]
    trial, unit = found[None]["contexts_shared_trial"], 2 * torch.finfo(getattr(torch, dtype)).eps
    assert found[None]["contexts_shared"] is True and trial["questions"] == 8
    assert 0 <= trial["difference"] <= trial["tolerance"] < 10
    assert (found[False]["contexts_shared"], found[False]["contexts_shared_trial"]) == (False, None)
    for one, other in zip(samples(tmp_path / "None", name), samples(tmp_path / "False", name), strict=True):
        for a, b in zip(one["choices"], other["choices"], strict=True):
            assert a["loglikelihood"] == pytest.approx(b["loglikelihood"], rel=2 * unit, abs=1e-3)
    right = packed.score
    monkeypatch.setattr(packed, "score", lambda m, q: [[(x * (1 + 2 * unit), g) for x, g in e] for e in right(m, q)])
    model = load(words, device="cpu", show_progress=False)
    assert score(model, jglue, [name], tmp_path / "far")["haigo"]["contexts_shared"] is False


def test_batch_size_does_not_change_scores(model_folder, loaded, jglue, tmp_path):
    from eval_harness.model import load

    name = "jnli-1.1-0.2"
    one = load(f"pretrained={model_folder('bpe')}", batch_size=1, device="cpu", show_progress=False)
    for number, model in enumerate((one, loaded("bpe"))):
        score(model, jglue, [name], tmp_path / str(number))
    rows = [[c["loglikelihood"] for s in samples(tmp_path / n, name) for c in s["choices"]] for n in ("0", "1")]
    assert rows[0] == pytest.approx(rows[1], abs=1e-4)


def test_an_empty_context_is_the_end_of_text_token(loaded):
    from lm_eval.api.instance import Instance

    model = loaded("spm")
    asked = [Instance(request_type="loglikelihood", doc={}, arguments=("", "灯台守"), idx=0)]
    (answer,) = model.loglikelihood(asked)
    (wanted,) = model._loglikelihood_tokens([(("", ""), [model.tokenizer.eos_token_id], model.encode("灯台守"))])
    assert answer == wanted


def test_sentencepiece_ids_are_used(loaded):
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(GOLDEN / "spm_prefix" / "spm.model"))
    model = loaded("spm_prefix")
    assert model.tokenizer_kind == "sentencepiece"
    for text in ("含意", "港の市場\n\n### 応答:\n", "<NL>", " 終わり "):
        assert model.encode(text) == processor.encode(text)


def test_ids_beyond_the_tokenizer_have_no_text(loaded, monkeypatch):
    import torch

    model = loaded("spm")
    beyond = len(model.tokenizer) + 3
    monkeypatch.setattr(model.model, "generate", lambda p, **_: torch.cat([p, torch.tensor([[beyond, 40, beyond]])], 1))
    text, _ = model._generate("港", ("\n",), 3)
    assert text == model.tokenizer.decode([40])


def test_result_says_how_it_was_made(loaded, jglue, tmp_path):
    names = ["jcommonsenseqa-1.1-0.3", "jnli-1.1-0.3"]
    found = evaluate("", ",".join(names), [3, 2], [4, 6], jglue, tmp_path, model=loaded("spm"), bootstrap_iters=1000)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == found
    assert list(found)[:3] == ["results", "versions", "config"]
    assert found["versions"] == dict.fromkeys(names, 1.1)
    assert found["config"]["num_fewshot"] == [3, 2] and found["config"]["limit"] == [4, 6]
    about = found["haigo"]["tasks"]["jnli-1.1-0.3"]
    assert about["n"] == 6 and about["n_available"] == 16 and about["data"] == "custom"
    assert sum(about["predictions"].values()) == 6
    assert about["baseline"]["chance"] == pytest.approx(1 / 3)
    assert [file["split"] for file in about["files"]] == ["valid", "train"]
    reasons = " ".join(about["not_comparable"])
    assert "not JGLUE's" in reasons and "2 shots" in reasons and "--limit" in reasons
    assert found["results"]["jnli-1.1-0.3"]["mcc_stderr"] >= 0
    assert {"lm_eval", "torch", "transformers"} <= set(found["haigo"]["software"])
    assert len(samples(tmp_path, "jnli-1.1-0.3")) == 6


def test_real_data_is_named(loaded, shared_jglue):
    found = evaluate(
        "", "jcommonsenseqa-1.1-0.3", 3, 3, shared_jglue, model=loaded("spm"), fewshot_pool="test", bootstrap_iters=0
    )
    about = found["haigo"]["tasks"]["jcommonsenseqa-1.1-0.3"]
    assert about["data"] == "JGLUE v1.1" and about["fewshot_pool"] == "test"
    assert any("test file" in reason for reason in about["not_comparable"])


def test_two_runs_write_the_same_samples(loaded, jglue, tmp_path):
    name = "jcommonsenseqa-1.1-0.4"
    for number in ("a", "b"):
        score(loaded("spm"), jglue, [name], tmp_path / number)
    one, other = ((tmp_path / n / f"samples_{name}.jsonl").read_bytes() for n in ("a", "b"))
    assert one == other


def test_equal_contexts_are_answered_once_with_the_first_length(loaded):
    from lm_eval.api.instance import Instance

    asked = [("港の", 3), ("北の", 6), ("港の", 9)]
    requests = [
        Instance(request_type="generate_until", doc={}, arguments=(c, {"until": ["\0"], "max_gen_toks": n}), idx=0)
        for c, n in asked
    ]
    model = loaded("spm")
    answers = model.generate_until(requests)
    assert answers[2] == answers[0] == model._generate("港の", ("\0",), 3)[0]
    assert answers[1] == model._generate("北の", ("\0",), 6)[0] != model._generate("北の", ("\0",), 3)[0]
    assert model.generate_until(requests[2:]) == [model._generate("港の", ("\0",), 9)[0]] != answers[2:]


def test_no_room_for_an_answer_is_an_empty_answer(loaded):
    assert loaded("spm")._generate("港の", ("\n",), 0) == ("", False)
