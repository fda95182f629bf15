"""--apply_chat_template: tasks put to a finetuned model in the words that it was taught, and marked as such."""

from __future__ import annotations

import json
import shutil

import pytest
import test_eval_stock
import torch

from eval_harness import leaderboard, run
from eval_harness.result import CHAT
from haigo import cli, files
from haigo.formats.tokenizer import open_hf

JINJA = (
    "{% for m in messages %}{{ eos_token }}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
YAML = 'user: "Q: {content}\\n"\nassistant: "A: {content}"\n'
TASK, SQUAD = "jcommonsenseqa-1.1-0.3", "jsquad-1.1-0.3"


@pytest.fixture(params=["bpe", "spm"])
def finetuned(request, model_folder, tmp_path):
    """A model with a chat template, its tokens by tokenizer.json or by sentencepiece."""
    shutil.copytree(model_folder(request.param), tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text(JINJA, encoding="utf-8")
    return tmp_path / "m"


def scored(folder, jglue, out, *more, tasks=TASK, code=0):
    argv = [
        "--model_args",
        f"pretrained={folder}",
        "--tasks",
        tasks,
        "--data_dir",
        str(jglue),
        "--output_path",
        str(out),
    ]
    argv += ["--num_fewshot", "1", "--limit", "4", "--device", "cpu", "--log_samples", *more]
    assert cli.run(run.main, argv) == code
    return files.read_json(out / "result.json") if not code else {}


def samples(out, task=TASK):
    return [json.loads(line) for line in (out / f"samples_{task}.jsonl").read_text(encoding="utf-8").splitlines()]


def ids_of(folder, *parts):
    """The ids of texts, and of the end token where None stands, each by itself."""
    ids = open_hf(folder).ids
    end = open_hf(folder).tokenizer.eos_token_id
    return [number for part in parts for number in ([end] if part is None else ids(part))]


def loglikelihood(folder, context, choice):
    """By transformers alone."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([[*context, *choice]])).logits[0].log_softmax(-1)
    return sum(float(logits[len(context) + at - 1, token]) for at, token in enumerate(choice))


def test_choices_follow_the_rendered_chat_with_its_special_tokens(finetuned, jglue, tmp_path):
    plain = scored(finetuned, jglue, tmp_path / "base")
    found = scored(finetuned, jglue, tmp_path / "chat", "--apply_chat_template")
    base, chat = samples(tmp_path / "base"), samples(tmp_path / "chat")
    end = open_hf(finetuned).tokenizer.eos_token
    for one, two in zip(base, chat, strict=True):
        assert two["context"] == f"{end}user: {one['context']}\nassistant: "
        context = ids_of(finetuned, None, f"user: {one['context']}\nassistant: ")
        for choice in two["choices"]:
            wanted = loglikelihood(finetuned, context, ids_of(finetuned, choice["text"]))
            assert choice["loglikelihood"] == pytest.approx(wanted, abs=1e-3)
    assert found["results"].keys() == plain["results"].keys() and "chat_template" not in plain["haigo"]


def test_the_result_says_so_and_no_row_of_a_base_model_compares(finetuned, jglue, tmp_path, capsys):
    found = scored(finetuned, jglue, tmp_path / "chat", "--apply_chat_template")
    assert f"not comparable with published rows: {CHAT}" in capsys.readouterr().out
    record = found["haigo"]["chat_template"]
    assert record["source"] == str(finetuned) and len(record["sha256"]) == 64
    assert found["haigo"]["tasks"][TASK]["not_comparable"][0] == CHAT
    script = (tmp_path / "chat" / "harness.sh").read_text(encoding="utf-8")
    assert "    --apply_chat_template \\\n" in script
    assert cli.run(leaderboard.main, [str(tmp_path / "chat" / "result.json")]) == 0
    assert CHAT in capsys.readouterr().out


def test_an_answer_ends_where_the_model_ends_it(finetuned, jglue, tmp_path):
    from transformers import AutoModelForCausalLM

    scored(finetuned, jglue, tmp_path / "base", tasks=SQUAD)
    base, tokenizer = samples(tmp_path / "base", SQUAD), open_hf(finetuned).tokenizer
    model = AutoModelForCausalLM.from_pretrained(finetuned, dtype=torch.float32)
    context = ids_of(finetuned, None, f"user: {base[0]['context']}\nassistant: ")
    ids = torch.tensor([context])
    written = model.generate(ids, max_new_tokens=9, do_sample=False)[0, len(context) :].tolist()
    end = next((token for token in reversed(written) if token not in written[:1]), written[0])
    (finetuned / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}), encoding="utf-8")
    found = scored(finetuned, jglue, tmp_path / "chat", "--apply_chat_template", tasks=SQUAD)
    wanted = tokenizer.decode(written[: written.index(end)]).split("\n")[0]
    assert samples(tmp_path / "chat", SQUAD)[0]["prediction"] == wanted
    assert found["haigo"]["tasks"][SQUAD]["not_comparable"][0] == CHAT
    scored(
        finetuned, jglue, tmp_path / "again", tasks=SQUAD
    )  # by the leaderboard's rules the stop string alone ends it
    assert samples(tmp_path / "again", SQUAD) == base


def test_the_template_of_the_finetuning(finetuned, jglue, tmp_path):
    (tmp_path / "t.yml").write_text(YAML, encoding="utf-8")
    scored(finetuned, jglue, tmp_path / "base")
    found = scored(finetuned, jglue, tmp_path / "chat", "--apply_chat_template", str(tmp_path / "t.yml"))
    one, two = samples(tmp_path / "base")[0], samples(tmp_path / "chat")[0]
    context = ids_of(finetuned, f"Q: {one['context']}\n", "A: ")
    wanted = loglikelihood(finetuned, context, ids_of(finetuned, two["choices"][0]["text"]))
    assert two["choices"][0]["loglikelihood"] == pytest.approx(wanted, abs=1e-3)
    assert found["haigo"]["chat_template"]["source"] == str(tmp_path / "t.yml")


def test_what_is_shown_is_what_is_scored(finetuned, jglue, tmp_path, capsys):
    scored(finetuned, jglue, tmp_path / "chat", "--apply_chat_template", "--explain")
    told = capsys.readouterr().out
    assert "user: " in told and "assistant: \n--- end of context ---" in told and "by the chat template" in told


def test_answers_of_another_template_are_not_taken(finetuned, jglue, tmp_path, capsys):
    out = tmp_path / "o"
    given = {"num_fewshot": 1, "limit": 4, "data_dir": jglue, "output_path": out, "device": "cpu", "keep_answers": True}
    run.evaluate(finetuned, TASK, apply_chat_template="", **given)
    capsys.readouterr()
    run.evaluate(finetuned, TASK, apply_chat_template="", **given)
    assert "goes on after" in capsys.readouterr().err
    run.evaluate(finetuned, TASK, **given)
    assert "goes on after" not in capsys.readouterr().err


def test_lm_evals_own_tasks_are_asked_by_it_too(finetuned, tmp_path, capsys):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    test_eval_stock.task(tmp_path / "tasks", "harbour")
    (tmp_path / "t.yml").write_text(YAML, encoding="utf-8")
    argv = [
        "--model_args",
        f"pretrained={finetuned},dtype=float32",
        "--tasks",
        "harbour",
        "--device",
        "cpu",
        "--num_fewshot",
        "0",
    ]
    argv += ["--include_path", str(tmp_path / "tasks"), "--output_path", str(tmp_path / "o"), "--apply_chat_template"]
    assert cli.run(run.main, argv) == 0
    found = files.read_json(tmp_path / "o" / "result.json")
    assert found["lm_eval"]["chat_template"]["source"] == str(finetuned)
    capsys.readouterr()
    assert cli.run(leaderboard.main, [str(tmp_path / "o" / "result.json")]) == 0
    assert CHAT in capsys.readouterr().out
    assert cli.run(run.main, [*argv, str(tmp_path / "t.yml")]) == cli.BAD_INPUT
    assert "take Jinja templates alone" in capsys.readouterr().err
    if (finetuned / "tokenizer.json").is_file() and not (finetuned / "spm.model").is_file():
        theirs = HFLM(pretrained=str(finetuned), device="cpu", dtype="float32")
        outcome = simple_evaluate(
            model=theirs, tasks=["harbour"], task_manager=TaskManager(include_path=str(tmp_path / "tasks")),
            apply_chat_template=True, num_fewshot=0, bootstrap_iters=0,
        )  # fmt: skip
        assert outcome["results"]["harbour"]["acc,none"] == found["lm_eval"]["results"]["harbour"]["acc,none"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [([], "has no chat template"), (["nowhere.jinja"], "--apply_chat_template nowhere.jinja is no file")],
)
def test_a_template_that_is_not_there_is_named_before_the_model_is_read(
    model_folder, jglue, tmp_path, capsys, more, problem
):
    shutil.copytree(model_folder("bpe"), tmp_path / "m")
    next((tmp_path / "m").glob("*.safetensors")).write_bytes(b"")
    scored(tmp_path / "m", jglue, tmp_path / "o", "--apply_chat_template", *more, code=2)
    said = capsys.readouterr().err
    assert problem in said and "--apply_chat_template" in said and "Traceback" not in said


def test_a_loaded_model_is_not_asked_plainly_after_a_chat(finetuned, jglue):
    from eval_harness.model import load as load_model

    lm = load_model(f"pretrained={finetuned}", device="cpu", show_progress=False)
    given = {"num_fewshot": 1, "limit": 2, "data_dir": jglue, "model": lm}
    run.evaluate(finetuned, TASK, apply_chat_template="", **given)
    with pytest.raises(cli.HaigoError, match="asked through a chat template before"):
        run.evaluate(finetuned, TASK, **given)
