"""SentencePiece models of others against transformers 4.46's slow T5 and Llama classes (golden/tokenizers.json)."""

from __future__ import annotations

import json

import foreign_cases
import pytest
import synthetic_jglue
from synthetic_hard import ODD

from haigo.cli import HaigoError
from haigo.formats.tokenizer import foreign

WANTED = json.loads((foreign_cases.GOLDEN / "tokenizers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", foreign_cases.CASES, ids=lambda case: "-".join(map(str, case)))
def test_ids_pieces_and_texts_are_those_of_transformers_4(case, tmp_path):
    made = foreign(foreign_cases.folder(*case, tmp_path / "t"))
    assert foreign_cases.answers(made, made.ids, case[2], ODD) == WANTED["-".join(map(str, case))]


def test_the_cases_differ():
    assert len({each["ids"] for each in WANTED.values()}) == len(WANTED)


def test_other_classes_are_left_to_transformers(tmp_path):
    place = foreign_cases.folder("llama_new", True, 0, tmp_path / "t")
    config = json.loads((place / "tokenizer_config.json").read_bytes()) | {"tokenizer_class": "GemmaTokenizer"}
    (place / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert foreign(place) is None


def test_ids_that_the_model_does_not_embed(tmp_path):
    from eval_harness.model import load

    place = foreign_cases.folder("llama_new", True, 1, tmp_path / "t")
    synthetic_jglue.tiny_model(place, 700, 640)
    model = load(f"pretrained={place}", device="cpu", show_progress=False)  # added tokens need no row ...
    assert model.encode("銅の鍵")
    with pytest.raises(HaigoError, match="the model embeds 700"):  # ... until a text has them
        model.encode("銅<|mark|>鍵")


def test_half_a_surrogate_pair_is_told(loaded):
    with pytest.raises(HaigoError, match="not valid Unicode"):
        loaded("bpe").encode("半分\ud83d")
