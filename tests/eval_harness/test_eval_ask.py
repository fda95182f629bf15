"""The single question as a visitor types it: how choices are parted and marked, Japanese words, dtype and tokenizer, a chat."""

from __future__ import annotations

import io
import json
import shutil
import sys

import pytest
from shared_data import data_of

from eval_harness import ask
from haigo import cli

DATA = data_of(__file__)
JINJA = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def said(capsys, *words, code=0):
    assert cli.run(ask.main, [*words, "--device", "cpu"]) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return told.err if code else told.out


@pytest.mark.parametrize(("line", "choices", "right"), DATA["parted"])
def test_how_choices_are_parted_and_marked(line, choices, right):
    assert ask.marked(line) == (choices, right)


def test_a_star_stands_before_the_right_answer_and_no_other(model_folder, capsys):
    question = ["--model", str(model_folder("spm")), "--question", "首都は？", "--choices"]
    plain = said(capsys, *question, "東京、京都,大阪")
    assert "*" not in plain and plain.count(": -") == 3 and "(right)" not in plain and "(wrong)" not in plain
    for words in (
        ["東京、*京都,大阪"],
        ["東京 京都　大阪", "--answer", "京都"],
        ["東京,＊京都，大阪", "--answer", "京都"],
    ):
        starred = said(capsys, *question, *words).splitlines()
        assert [line[:4] for line in starred[2:5]] == ["  東京", "* 京都", "  大阪"]
        assert [line[2:] for line in starred[2:5]] == [line[2:] for line in plain.splitlines()[2:5]]
        assert starred[-1].endswith(("(right)", "(wrong)"))


def test_japanese_words_and_full_width_figures(model_folder, capsys):
    question = ["--model", str(model_folder("spm")), "--question", "首都は？", "--choices", "東京、*京都、大阪"]
    english, japanese = (said(capsys, *question, *more).splitlines() for more in ([], ["--lang", "ja"]))
    assert japanese[:2] == ["質問: 首都は？", "選択肢:"]
    assert [line[0] for line in japanese[2:5]] == [" ", "*", " "]
    wide = str.maketrans("０１２３４５６７８９．－", "0123456789.-")
    for one, two in zip(english[2:5], japanese[2:5], strict=True):
        choice, figure = two[1:].split(": ")
        assert not any(each in figure for each in "0123456789.-") and f"{choice}: {figure.translate(wide)}" == one[2:]
    answer = english[-1].removeprefix("Answer: ").replace(" (right)", "（正解）").replace(" (wrong)", "（不正解）")
    assert japanese[-1] == f"AI回答: {answer}"


def test_questions_are_typed_in_japanese(model_folder, monkeypatch, capsys):
    typed = io.StringIO("首都は？\n東京、*京都\n山は？\n富士山　浅間山\n\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    told = said(capsys, "--model", str(model_folder("spm")), "--lang", "ja")
    assert told.count("AI回答: ") == 2 and told.count("質問（空行で終わり）: ") == 3 and told.count("*京都: －") == 1


def test_dtype_and_tokenizer_are_options(model_folder, tmp_path, capsys):
    question = ["--question", "首都は？", "--choices", "東京,京都"]
    place = tmp_path / "bare"
    shutil.copytree(model_folder("spm"), place)
    whole = said(capsys, "--model", str(place), *question)
    assert said(capsys, "--model", str(place), *question, "--dtype", "bfloat16") != whole
    assert "--dtype" not in whole and "dtype=none" in said(
        capsys, "--model", str(place), *question, "--dtype", "none", code=2
    )
    (tmp_path / "tokenizer").mkdir()
    for path in [each for each in place.iterdir() if each.name.startswith(("spm", "tokenizer", "special"))]:
        path.rename(tmp_path / "tokenizer" / path.name)
    assert "has no tokenizer" in said(capsys, "--model", str(place), *question, code=2)
    assert said(capsys, "--model", str(place), *question, "--tokenizer", str(tmp_path / "tokenizer")) == whole


@pytest.fixture
def finetuned(model_folder, tmp_path):
    """A copy of a model that may be given a chat template."""
    shutil.copytree(model_folder("bpe"), tmp_path / "m")
    return tmp_path / "m"


def _greedy(folder, text, most):
    """What transformers makes of the rendered text."""
    import torch
    from transformers import AutoModelForCausalLM

    from haigo.formats.tokenizer import open_hf

    opened = open_hf(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([opened.ids(text)])
    end = opened.tokenizer.eos_token_id
    found = model.generate(ids, max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=end)
    return opened.tokenizer.decode(found[0, ids.shape[1] :].tolist(), skip_special_tokens=True).strip()


def test_a_free_question_in_the_models_own_chat_template(finetuned, tmp_path, capsys):
    words = ["--model", str(finetuned), "--question", "首都は？", "--chat", "--max_new_tokens", "12"]
    assert "has no chat template" in said(capsys, *words, code=2)
    wanted = _greedy(finetuned, "<|user|>首都は？\n<|assistant|>", 12)
    (finetuned / "chat_template.jinja").write_text(JINJA, encoding="utf-8")
    assert said(capsys, *words) == f"Question: 首都は？\nAnswer: {wanted}\n"
    assert said(capsys, *words, "--lang", "ja") == f"質問: 首都は？\nAI回答: {wanted}\n"
    (finetuned / "chat_template.jinja").rename(tmp_path / "t.jinja")
    assert f"Answer: {wanted}" in said(capsys, *words, "--template", str(tmp_path / "t.jinja"))
    config = json.loads((finetuned / "tokenizer_config.json").read_text(encoding="utf-8"))
    for given in (JINJA, [{"name": "tools", "template": "x"}, {"name": "default", "template": JINJA}]):
        (finetuned / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": given}))
        assert f"Answer: {wanted}" in said(capsys, *words)


def test_a_free_question_in_the_template_of_the_finetuning(finetuned, tmp_path, capsys):
    words = ["--model", str(finetuned), "--question", "首都は？", "--chat", "--max_new_tokens", "8", "--template"]
    for name, text, asked in (
        ("turns.yml", "user: 'Q: {content}\n'\nassistant: 'A: {content}'\n", "Q: 首都は？ A: "),
        ("pairs.yml", "pair: '問：{content}答：'\n", "問：首都は？答："),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        wanted = _greedy(finetuned, asked, 8)
        assert f"Answer: {wanted}" in said(capsys, *words, str(tmp_path / name))


def test_typed_questions_are_answered_freely(finetuned, monkeypatch, capsys):
    (finetuned / "chat_template.jinja").write_text(JINJA, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("首都は？\n山は？\n\n"))
    told = said(capsys, "--model", str(finetuned), "--chat", "--max_new_tokens", "4")
    assert told.count("Answer: ") == 2 and told.count("Question: ") == 2


@pytest.mark.parametrize(("more", "problem"), DATA["chat_refuses"])
def test_what_a_chat_refuses(finetuned, capsys, more, problem):
    (finetuned / "chat_template.jinja").write_text("{{ raise_exception('no user here') }}", encoding="utf-8")
    told = said(capsys, "--model", str(finetuned), "--question", "q", *more, code=2)
    assert problem in told and "fix:" in told
