"""Files of Aozora Bunko through the command, and ordinary texts that only speak of such files."""

import json
import random

import pytest
from cleaned_files import with_report
from shared_data import needed

from haigo import cli
from haigo.formats import documents
from preprocess import clean
from preprocess.rules import domains

LINE = "-" * 55
SIGNS = f"{LINE}\n【テキスト中に現れる記号について】\n\n《》：ルビ\n（例）手帖《てちょう》\n{LINE}\n"
COLOPHON = "\n\n底本：「配合全集」配合書房\n　　　1910（明治43）年1月\n入力：甲\n校正：乙\n青空文庫作成ファイル：\n"
_RNG = random.Random(7)
STORY = "".join(
    "　" + "".join(_RNG.choices("山川朝古小歩見のにをがはでて人町静雲畑家夕水", k=40)) + "。\n" for _ in range(9)
)


@pytest.fixture
def cleaned(tmp_path):
    """Bytes of a file -> the text left of it and the report, by the command."""

    def run(data, *more, name="a.txt"):
        (tmp_path / name).write_bytes(data)
        found, report = with_report(tmp_path, tmp_path / name, *more)
        return "\n\n\n".join(one.text for one in found), report

    return run


def test_signs_that_the_text_means_are_no_marks_of_the_format(cleaned):
    text = (
        "　彼は※［＃始め二重山括弧、1-1-52］革命の書※［＃終わり二重山括弧、1-1-53］を読《よ》んだ。\n"
        "　罫は※［＃縦線、1-1-35］で、｜明かり《ライト》を引く。\n"
        "　式は※［＃始めきっこう（亀甲）括弧、1-1-44］a'b※［＃終わりきっこう（亀甲）括弧、1-1-45］と〔cafe'〕。\n"
        "　角は※［＃始め角括弧、1-1-46］＃5※［＃終わり角括弧、1-1-47］、井げた※［＃井げた、1-1-84］、"
        "U※［＃二重山括弧、U+300A、1-2］。\n"
        "　※［＃始め二重山括弧］無番※［＃終わり二重山括弧］。\n"
        "　※［＃米印、1-2-8］印［＃「※［＃米印、1-2-8］」に傍点］、※［＃「※」は底本では「＊」］。\n"
        "　甲※［＃二の字点、1-2-22］と《《強調》》と「［＃「※［＃「口＋皇」、第4水準2-4-20］」に傍点］噫」。\n"
    )
    clean_text = (
        "　彼は《革命の書》を読んだ。\n　罫は｜で、明かりを引く。\n　式は〔a'b〕とcafé。\n　角は［＃5］、井げた＃、U《。\n"
        "　《無番》。\n　※印、※。\n　甲〻と《《強調》》と「噫」。\n"
    )
    data = f"題\n著者\n\n{SIGNS}\n{text}{STORY}{COLOPHON}".replace("\n", "\r\n").encode("cp932")
    text, report = cleaned(data)
    assert text == clean_text + STORY.rstrip("\n") and report["profiles"] == {"aozora": 1}


@pytest.mark.parametrize("encoding", ["cp932", "utf-8"])
def test_iteration_marks_stay_as_they_are(cleaned, encoding):
    body = "　いろ／＼の物、ます／＼、どう／″＼と鳴る。値は￥５、〜と～、－。\n".replace("〜", "～")
    data = f"題\n著者\n\n{SIGNS}\n{body}{STORY}{COLOPHON}".encode(encoding)
    assert cleaned(data)[0] == body + STORY.rstrip("\n")


ORDINARY = {
    "a line 底本：": "書評\n\nこの本を読んだ。\n底本：「全集」配合書房\nこの底本について書く。《注》も残る。\n" + STORY,
    "a note": "書き方\n\n注記は［＃「雨」に傍点］と書く。《ルビ》も｜で始める。\n" + STORY,
    "both": "書き方の説明である。これは長い文章である。\n\n注記は［＃改ページ］。\n底本：「x」\n入力：甲\nと書く。\n"
    + STORY,
    "the name of the block": "説明である。\n【テキスト中に現れる記号について】という節がある。《ルビ》の話。\n" + STORY,
    "the block quoted": f"青空文庫の書き方を説明する。まず次の節がある。\n\n{SIGNS}\n《ルビ》と書く。\n{STORY}",
    "a quoted colophon": f"青空文庫の奥付を説明する。それは次の形をしている。\n\n{STORY}{COLOPHON[1:]}",
}


@pytest.mark.parametrize(
    "profile", ["auto", *(name for name, one in domains.table().items() if one.markup is None and name != "english")]
)
def test_a_text_that_only_speaks_of_the_format_is_left_alone(cleaned, tmp_path, profile):
    rows = [{"id": name, "text": text.strip("\n")} for name, text in ORDINARY.items()]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    out = tmp_path / "out"
    if profile == "web":  # which takes out lines that are repeated: only the markup is looked at here
        _, report = cleaned(data, "--profile", profile, name="a.jsonl")
        assert set(report["profiles"]) == {"plain"} and not any(name.startswith("aozora") for name in report["rules"])
        return
    _, report = cleaned(data, "--profile", profile, name="a.jsonl")
    assert {one.id: one.text for one in documents.read(out)} == {row["id"]: row["text"] for row in rows}
    assert report["profiles"] == {"plain": len(rows)}


def test_a_short_work_without_signs_is_told_and_counted_and_it_can_be_switched_off(cleaned, capsys):
    whole = f"題\n著者\n\n{STORY}{COLOPHON}"
    text, report = cleaned(whole.encode("cp932"), "--profile", "news")
    assert text == STORY.rstrip("\n") and report["profiles"] == {"aozora": 1}
    assert report["rules"]["aozora_colophon"]["documents"] == 1 and "read as: aozora 1" in capsys.readouterr().out
    text, report = cleaned(whole.encode("cp932"), "--profile", "news", "--markup", "plain")
    assert "底本：" in text and text.startswith("題") and report["profiles"] == {"plain": 1}
    assert report["options"]["markup"] == "plain"


def test_two_markups_are_one_too_many(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(STORY, encoding="utf-8")
    argv = [str(tmp_path / "a.txt"), "--corpus", "c", "--dry-run", "--profile", "wikitext", "--markup", "plain"]
    assert cli.run(clean.main, argv) == 2
    assert "give one of the two" in capsys.readouterr().err


def test_only_the_colophon_at_the_end_is_cut(cleaned):
    body = f"　序。\n底本：「甲」という本について書いた頁が前にある。\n{STORY}{STORY}"
    text, _ = cleaned(f"題\n著者\n\n{SIGNS}\n{body}{COLOPHON}".encode("cp932"))
    assert text == body.rstrip("\n")
    body = f"{STORY}底本：という語で始まる文で終わる話である。\n　その後の文もある。\n"
    assert cleaned(f"題\n著者\n\n{SIGNS}\n{body}{COLOPHON}".encode("cp932"))[0] == body.rstrip("\n")
    two = COLOPHON.replace("入力", "底本の親本：「乙全集」乙書房\n※二つを見比べた。\n入力", 1)
    two = two.replace("底本の", "底本：「丙」丙書房\n※第三章はこれによる。\n底本の")
    assert cleaned(f"題\n著者\n\n{SIGNS}\n{STORY}{two}".encode("cp932"))[0] == STORY.rstrip("\n")


@pytest.mark.parametrize("name", ["kunoji", "gaiji_signs"])
def test_cases_of_a_development_machine(cleaned, name):
    text, _ = cleaned(needed(f"cases/aozora/{name}.sjis.txt").read_bytes())
    wanted = {
        "kunoji": ["いろ／＼の物、ます／＼、どう／″＼と鳴る。", "fiancéeとcafé", "※明かりを点けた。"],
        "gaiji_signs": ["彼は《革命の書》を読んだ。", "表の罫は｜で引く。", "〔a'b〕である。"],
    }
    assert [one for one in wanted[name] if one not in text] == [] and "底本" not in text


def test_documents_of_an_ordinary_file_stay_parted(cleaned):
    data = "一つ目。注記は［＃改ページ］と《るび》である。\n\n\n二つ目。\n底本：「x」である。\n".encode()
    assert cleaned(data)[1]["documents_in"] == 2
    whole = f"題\n著者\n\n\n{STORY}\n\n\n{STORY[40:]}{COLOPHON}"
    assert cleaned(whole.encode("cp932"))[1]["documents_in"] == 1
