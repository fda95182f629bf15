"""The chat template of a finetuned model's folder: transformers' ids for a chat are those that preprocess.pairs wrote."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neox_world import LOSSLESS, sentences, train_tokenizer
from shared_data import data_of
from transformers import AutoTokenizer

from haigo import yamlfile
from haigo.cli import Refused
from haigo.formats import tokenizer
from haigo.formats.chat import Template
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import MMapReader
from haigo.formats.tokenizer import chats, hf_adapter
from launch.neox.conversion import template as templates
from preprocess import pairs

DATA = data_of(__file__)
CHATS = [
    [("user", "kasa neko"), ("assistant", "kasa tea")],
    [
        ("system", "be short"),
        ("user", "what?\nhow?"),
        ("assistant", "kasa\n two "),
        ("user", "and"),
        ("assistant", "A: no"),
    ],
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with long pieces, one of which is a blank with a word behind it; a line break is its own piece."""
    folder, rng = tmp_path_factory.mktemp("tokenizer"), random.Random(3)
    names = ["kasa", "neko", "moon", "tea", "two", "and", "what", "how", "be", "short"]
    turns = [
        "ユーザー: {}\nアシスタント: {}".format(*(" ".join(rng.choices(names, k=4)) for _ in "ab")) for _ in range(300)
    ]
    more = {"user_defined_symbols": ["\n"], "split_by_whitespace": False, "character_coverage": 1.0}
    train_tokenizer(folder, [*turns, *sentences(1, 200)], size=420, **LOSSLESS, **more)
    assert "\u2581ka" in tokenizer.load(folder).processor.encode(": kasa", out_type=str)
    return folder


def exported(place: Path, folder: Path) -> Path:
    folder.mkdir()
    hf_adapter(place).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", DATA["templates"])
def test_the_ids_are_those_that_were_trained_on(name: str, place: Path, tmp_path: Path) -> None:
    words = DATA["templates"][name]
    yamlfile.write(tmp_path / "t.yml", words)
    template = Template.read(tmp_path / "t.yml")
    talks = [chat for chat in CHATS if not template.of_pairs or len(chat) == 2]
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": role, "content": said} for role, said in chat]} for chat in talks
    ]
    if template.of_pairs:
        rows = [{"prompt": chat[0][1], "response": chat[1][1]} for chat in talks]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs.build([tmp_path / "x.jsonl"], place, tmp_path / "o", template=str(tmp_path / "t.yml"))
    folder = exported(place, tmp_path / "model")
    model = tokenizer.load(place)
    assert chats.write(folder, template, model)
    read, again = AutoTokenizer.from_pretrained(folder), tokenizer.chat_template(folder)
    assert again == chats.jinja(template)
    for chat, trained in zip(talks, MMapReader(tmp_path / "o_text_document"), strict=True):
        messages = [{"role": role, "content": said} for role, said in chat]
        assert read.apply_chat_template(messages, return_dict=False) == np.asarray(trained).tolist()
        asked = read.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
        answer = [*model.encode(messages[-1]["content"]), model.eod_id]
        if not template.assistant.split("{content}")[1] or template.of_pairs:
            assert asked + answer == np.asarray(trained).tolist()
    for text in sentences(9, 20):  # other texts are cut as before
        assert read(text, add_special_tokens=False)["input_ids"] == model.encode(text)
    noted = templates.of({"train_data_paths": [str(tmp_path / "o_text_document")]}, None)
    assert noted is not None and not noted.named and chats.jinja(noted.template) == chats.jinja(template)


def test_what_a_template_does_not_know_is_said_when_it_is_rendered(place: Path, tmp_path: Path) -> None:
    folder = exported(place, tmp_path / "model")
    chats.write(folder, Template(), tokenizer.load(place))
    read = AutoTokenizer.from_pretrained(folder)
    with pytest.raises(Exception, match="use system, user and assistant, not tool"):
        read.apply_chat_template([{"role": "tool", "content": "x"}])


def test_a_template_that_cannot_be_proved_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A piece reaches from one turn into the next, which training never saw."""
    bad = Template(system="{content} ", user="ka: {content}\n")
    folder = exported(place, tmp_path / "model")
    before = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    with pytest.raises(Refused, match="gives other ids") as caught:
        templates.Words(bad, True).write(folder, tokenizer.load(place))
    assert "line break" in caught.value.fix
    assert before == {each.name: each.read_bytes() for each in folder.iterdir() if each.name in before}
    templates.Words(bad, False).write(
        folder, tokenizer.load(place)
    )  # the data's own: the model is written all the same
    assert "no chat template is written" in capsys.readouterr().err
    assert before == {each.name: each.read_bytes() for each in folder.iterdir() if each.name in before}


def test_which_template_is_the_runs(place: Path, tmp_path: Path) -> None:
    def made(name: str, row: dict[str, Any], **options: Any) -> str:
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        pairs.build([tmp_path / f"{name}.jsonl"], place, tmp_path / name, **options)
        return f"{tmp_path / name}_text_document"

    turns = {"messages": [{"role": "user", "content": "kasa"}, {"role": "assistant", "content": "neko"}]}
    yamlfile.write(tmp_path / "t.yml", {"user": "U{content}\n", "pair": "Q{content}\n"})
    chat, other = made("chat", turns), made("other", turns, template=str(tmp_path / "t.yml"))
    plain = made("plain", {"prompt": "kasa", "response": "neko"})
    asked = made("asked", {"prompt": "kasa", "response": "neko"}, template=str(tmp_path / "t.yml"))
    assert manifest.read(chat)["chats"] == 1 and manifest.read(plain)["template"] is None

    def of(*paths: str) -> Template | None:
        found = templates.of({"train_data_paths": list(paths)}, None)
        return None if found is None else found.template

    assert of(chat) == Template() and of(other) == Template(user="U{content}\n")
    assert of(chat, other) is None and of(plain) is None and of() is None and of(str(tmp_path / "gone")) is None
    assert of(asked) == Template(pair="Q{content}\n")
    named = templates.of({"train_data_paths": [chat]}, str(tmp_path / "t.yml"))
    assert named is not None and named.named and named.template.user == "U{content}\n"
