"""Pages of a dump through the commands: what templates, tables, links and raw tags must leave, and what is counted."""

import html
import json
import time

import pytest
from cleaned_files import with_report
from shared_data import data_of, needed

from haigo import cli
from preprocess import rules, sources
from preprocess.fetch.__main__ import main
from preprocess.rules import wikitext

DATA = data_of(__file__)


def page(number, text, extra="", escaped=True):
    body = html.escape(text) if escaped else text
    return (
        f"<page><title>題{number}</title><ns>0</ns><id>{number}</id><revision><id>{number}</id>{extra}"
        f'<text xml:space="preserve">{body}</text></revision></page>'
    )


def dump(path, *pages):
    head = '<mediawiki xml:lang="ja"><siteinfo><sitename>W</sitename><base>https://ja.wikipedia.org/wiki/x</base></siteinfo>'
    path.write_text(head + "".join(pages) + "</mediawiki>", encoding="utf-8")
    return path


@pytest.fixture
def cleaned(tmp_path):
    """A dump -> id -> text, and the report, by the command."""

    def run(path, *more):
        found, report = with_report(tmp_path, path, *more)
        return {one.id: one.text for one in found}, report

    return run


def fetched(path, tmp_path):
    argv = ["mediawiki-dump", "--file", str(path), "--output-dir", str(tmp_path / "f"), "--workers", "1"]
    assert cli.run(main, [*argv, "--contact", "a@example.org"]) == 0
    card = json.loads((tmp_path / "f" / "DATA_CARD.json").read_text(encoding="utf-8"))
    return {one.id: one.text for one in sources.read([tmp_path / "f"])}, card


LINKS = DATA["links"]


def test_only_the_prefix_of_a_target_is_a_namespace(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"あ{raw}い。") for at, raw in enumerate(LINKS, 1)))
    wanted = {str(at): f"あ{text}い。" for at, text in enumerate(LINKS.values(), 1)}
    assert fetched(path, tmp_path)[0] == wanted
    found, report = cleaned(path)
    assert set(found.values()) == set(wanted.values()) and "wikitext_holes" not in report["rules"]


VALUES = DATA["values"]


def test_values_of_known_templates_stay_in_their_sentence(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"それは約{raw}とされる。") for at, raw in enumerate(VALUES, 1)))
    wanted = {str(at): f"それは約{text}とされる。" for at, text in enumerate(VALUES.values(), 1)}
    assert {one: text for one, text in fetched(path, tmp_path)[0].items() if text != wanted[one]} == {}
    assert "wikitext_holes" not in cleaned(path)[1]["rules"]


HOLES = DATA["holes"]


def test_an_unknown_template_takes_its_sentence_and_is_counted(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"{raw}\n\n頁{at}。") for at, raw in enumerate(HOLES, 1)))
    wanted = {str(at): f"{text}\n\n頁{at}。" for at, (text, _) in enumerate(HOLES.values(), 1)}
    lost = sum(count for _, count in HOLES.values())
    found, card = fetched(path, tmp_path)
    shown = {one: rules.blanks(text) for one, text in found.items()}
    assert {one: text for one, text in shown.items() if text.strip() != wanted[one]} == {}
    reason = next(reason for reason in card["skipped"] if "template" in reason)
    assert card["skipped"][reason]["count"] == lost
    texts, report = cleaned(path, "--workers", "2")
    assert {one: text.strip() for one, text in texts.items()} == wanted
    row = report["rules"]["wikitext_holes"]
    assert sum(row["names"].values()) == lost and row["documents"] >= lost
    assert row["names"]["年数"] == 1 and row["names"]["math"] == 1 and row["names"]["謎の値"] == 9
    assert any("{{謎の値}}" in sample for sample in row["samples"])


TABLES = DATA["tables"]


def test_no_row_of_a_table_is_left_and_cells_stay_apart(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(at, f"{raw}\n頁{at}。") for at, raw in enumerate(TABLES, 1)))
    wanted = {str(at): f"{text}\n頁{at}。" for at, text in enumerate(TABLES.values(), 1)}
    found = {one: text.replace("\n\n", "\n") for one, text in cleaned(path)[0].items()}
    assert {one: text for one, text in found.items() if text != wanted[one]} == {}


def test_what_removal_leaves_is_mended_and_the_pages_own_signs_stay(cleaned, tmp_path):
    raw = "甲{{cite web|x}}、{{cite web|y}}、乙。<ref>z</ref>。丙（{{audio|a.ogg}}）、丁（{{0}}、英: X）。"
    raw += "戊（<!-- 注 -->）。<!-- 注 -->。"
    own = "鉤括弧「」と（）、main()関数、a[]も。そうか。。。（・_・）読点（、）と中黒（・）とコロン(:)と空白（　）。"
    path = dump(tmp_path / "d.xml", page(1, raw), page(2, own))
    found, _ = cleaned(path)
    assert found == {"1": "甲、乙。丙、丁（英: X）。戊。", "2": own}


def test_a_page_knows_its_title(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", page(7, "'''{{PAGENAME}}'''は頁である。"))
    assert cleaned(path)[0] == fetched(path, tmp_path)[0] == {"7": "題7は頁である。"}


def test_raw_tags_in_a_text_are_its_markup(cleaned, tmp_path):
    raw = "一段目。<br />二段目。<ref name='a'>出典<b>太</b></ref>三段目。四"
    path = dump(tmp_path / "d.xml", page(1, raw, escaped=False), page(2, "次の頁。"))
    assert cleaned(path)[0] == {"1": "一段目。\n二段目。三段目。四", "2": "次の頁。"}


def test_pages_of_other_models_are_no_documents(cleaned, tmp_path):
    others = [
        page(at, f"本文ではない{at}。", f"<model>{model}</model>")
        for at, model in enumerate(("css", "javascript", "json", "Scribunto", "wikibase-item", "sanitized-css"), 10)
    ]
    slot = "<content><role>mediainfo</role><model>json</model><text>{}</text></content></revision>"
    main = page(1, "本文である。", "<model>wikitext</model><format>text/x-wiki</format>").replace("</revision>", slot)
    path = dump(tmp_path / "d.xml", main, page(2, "様式。", "<format>text/css</format>"), *others)
    texts, report = cleaned(path)
    assert texts == {"1": "本文である。"} and report["passed_over"] == {"page that is no wikitext": 7}
    found, card = fetched(path, tmp_path)
    assert list(found) == ["1"] and card["skipped"]["page that is no wikitext"]["count"] == 7


CASES = DATA["cases"]


@pytest.mark.parametrize("name", CASES)
def test_cases_of_a_development_machine(cleaned, tmp_path, name):
    path = needed(f"cases/wikitext/{name}.xml")
    kept, gone = CASES[name]
    for found in (cleaned(path)[0], fetched(path, tmp_path)[0]):
        text = "\n".join(found.values())
        assert [one for one in kept if one not in text] == [] and [one for one in gone if one in text] == []


HOSTILE = ["\n" * 100_000 + "<td>", " " * 100_000 + "<tr", "<tr>\n \n<td>\n" * 20_000, "-{" * 30_000, "<math>" * 20_000]
HOSTILE += ["<ruby>" * 20_000, "<ruby>x<rt>" * 20_000, "x{{a}}" * 30_000, "（{{a}}" * 20_000, "|\n" * 50_000]
HOSTILE += ["[[" + "|" * 100_000 + "]]", "{{a|[[" + "|" * 100_000 + "]]}}", "{{a}} " * 50_000 + "x", "、、" * 50_000]
HOSTILE += [
    "{{convert|" + "1|" * 50_000 + "}}",
    "!" * 50_000 + "\n" + "! " * 50_000,
    "<a>" * 30_000 + "{{a}}x",
    "「」" * 50_000,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: text[:10].strip())
def test_hostile_pages_end_soon(hostile):
    start = time.process_time()
    wikitext.strip(hostile)
    assert time.process_time() - start < 5


ENGLISH = DATA["english"]


def test_english_sentences_are_whole_or_gone(cleaned, tmp_path):
    path = dump(tmp_path / "d.xml", *(page(number, text) for number, text in enumerate(ENGLISH)))
    assert list(cleaned(path)[0].values()) == list(ENGLISH.values())
