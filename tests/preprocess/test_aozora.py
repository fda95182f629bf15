"""Aozora Bunko's format; the sample is written for this test."""

import time

import pytest
from shared_data import data_of

from preprocess import rules
from preprocess.account import Account
from preprocess.rules import aozora

DATA = data_of(__file__)

LINE = "-" * 55
SAMPLE = f"""山の手帖
配合太郎

{LINE}
【テキスト中に現れる記号について】

《》：ルビ
（例）手帖《てちょう》

［＃］：入力者注　主に外字の説明や、傍点の位置の指定
{LINE}

［＃５字下げ］一［＃「一」は中見出し］

　｜青い山《あおいやま》の手帖《てちょう》を、人※［＃「てへん＋毟」、第4水準2-78-12］《むし》る。
［＃改ページ］
　〔cafe'〕で雨※［＃「さんずい＋散」、288-10］を待つ。［＃「待つ」に傍点］


底本：「配合太郎全集」配合書房
　　　1910（明治43）年
入力：誰か
"""
CLEAN = "一\n\n　青い山の手帖を、人毮る。\n　caféで雨〓を待つ。\n"


def test_a_whole_work():
    assert aozora.strip(SAMPLE) == CLEAN
    assert aozora.heading(SAMPLE) == {"title": "山の手帖", "author": "配合太郎"}
    assert aozora.looks_like(SAMPLE) and not aozora.looks_like("普通の文章。底本という言葉。")


def test_a_work_without_the_block_of_signs():
    text = "題\n著者\n\n　本文。\n\n底本：「x」\n"
    assert aozora.strip(text) == "　本文。\n"


def test_text_that_only_looks_like_a_header_stays():
    text = "短い行\n次の行\n\n本文だけで、奥付はない。"
    assert aozora.header(text) == text


@pytest.mark.parametrize(("raw", "clean"), DATA["characters_outside_shift_jis"])
def test_characters_outside_shift_jis(raw, clean):
    assert aozora.notes(aozora.gaiji(raw)) == clean


@pytest.mark.parametrize(("raw", "clean"), DATA["accents"])
def test_accents(raw, clean):
    assert aozora.accents(raw) == clean


def test_brackets_without_a_reading_stay():
    assert aozora.ruby("a｜b") == "a｜b"
    assert aozora.ruby("《" + "長" * 200 + "》") == "《" + "長" * 200 + "》"


@pytest.mark.parametrize(
    "hostile", ["※［＃" * 20000, "※［＃" + "、1-1-1" * 20000, "\n" * 50000, "　" * 50000, "《" * 50000]
)
def test_hostile_texts_end_soon(hostile):
    start = time.process_time()
    aozora.strip(hostile)
    rules.blanks(hostile + "x")
    assert time.process_time() - start < 5


def test_notes_of_whoever_typed_it_go():
    notes = f"{LINE}\n●入力者注\n※１　手帖＝帳面。\n{LINE}\n"
    with_notes = SAMPLE.replace("\n\n底本：", f"\n{notes}\n底本：")
    assert with_notes != SAMPLE and rules.run(with_notes, aozora.STEPS, Account()) == rules.run(
        SAMPLE, aozora.STEPS, Account()
    )
