"""Gaps in news: what is cut out, what stands beside it, and what the scores of small models are made of."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from eval_harness import cloze, fillers, headlines
from eval_harness.run import evaluate
from eval_harness.tasks import make
from haigo import cli
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document
from preprocess import evaluation_items

PREFECTURES = ("青森県", "岩手県", "宮城県", "秋田県", "山形県", "福島県", "茨城県", "栃木県", "群馬県", "埼玉県")
SURNAMES = ("佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤")


def story(rnd):
    """An article with one person, one place and one date."""
    opening = f"港の市場では朝から{rnd.randint(0, 10**6)}箱の魚の話で持ちきりだった。"
    who, where = rnd.choice(SURNAMES) + rnd.choice(["一郎", "花子", "次郎"]), rnd.choice(PREFECTURES)
    return (
        f"{opening}{who}氏は{where}から歩いてきたのだということだった。"
        f"古い灯台の鍵は{rnd.randint(1, 9)}月{rnd.randint(1, 9)}日に見つかったということだった。"
    )


@pytest.fixture(scope="module")
def news(tmp_path_factory):
    rnd = random.Random(5)
    path = tmp_path_factory.mktemp("news") / "news.jsonl"
    rows = [{"id": f"n{number}", "text": story(rnd), "title": "市場"} for number in range(120)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def build(news, out, *more):
    return cli.run(cloze.main, [str(news), "--output_dir", str(out), *more])


def test_questions_are_fair_and_the_same_bytes(news, tmp_path):
    texts = {row["id"]: row["text"] for row in read(news)}
    assert build(news, tmp_path / "a", "--seed", "7") == build(news, tmp_path / "b", "--seed", "7") == 0
    assert build(news, tmp_path / "c", "--seed", "8") == 0
    for kind in fillers.KINDS:
        place = tmp_path / "a" / f"{kind}.jsonl"
        assert place.read_bytes() == (tmp_path / "b" / place.name).read_bytes()
        assert place.read_bytes() != (tmp_path / "c" / place.name).read_bytes()
        rows = read(place)
        assert len(rows) >= 60 and len({row["id"] for row in rows}) == len(rows)
        right = Counter(row["choices"][row["label"]] for row in rows)
        every = Counter(choice for row in rows for choice in row["choices"])
        assert all(count * cloze.CHOICES <= every[choice] + cloze.CHOICES for choice, count in right.items())
        assert {row["label"] for row in rows} == set(range(cloze.CHOICES))
        for row in rows:
            text, right = texts[row["id"]], row["choices"][row["label"]]
            assert f"{row['context']}{right}" in text and right not in row["context"]
            assert len(set(row["choices"])) == cloze.CHOICES and len({len(each) for each in row["choices"]}) == 1
            wrong = [each for each in row["choices"] if each != right]
            assert not any(each in text for each in wrong)
            assert all(any(each in other for other in texts.values()) for each in wrong)


def test_the_order_of_documents_changes_nothing(news, tmp_path):
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(reversed(news.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")
    assert build(news, tmp_path / "a") == build(turned, tmp_path / "b") == 0
    assert (tmp_path / "a" / "who.jsonl").read_bytes() == (tmp_path / "b" / "who.jsonl").read_bytes()


def test_items_and_kinds_bound_what_is_written(news, tmp_path, capsys):
    assert build(news, tmp_path / "o", "--items", "25", "--kinds", "when,when") == 0
    assert [path.name for path in (tmp_path / "o").glob("*.jsonl")] == ["when.jsonl"]
    assert len(read(tmp_path / "o" / "when.jsonl")) == 25
    assert "25 questions from 120 documents" in capsys.readouterr().out


def test_a_corpus_with_too_few_gaps_is_refused_and_writes_nothing(news, tmp_path, capsys):
    small = tmp_path / "small.jsonl"
    small.write_text("".join(news.read_text(encoding="utf-8").splitlines(keepends=True)[:15]), encoding="utf-8")
    assert build(small, tmp_path / "o") == 2
    said = capsys.readouterr().err
    assert str(small) in said and "20 are needed" in said and "--kinds" in said and not list(tmp_path.glob("o/*.jsonl"))
    assert (
        build(news, tmp_path / "o", "--kinds", "why") == 2 and "choose from who, where, when" in capsys.readouterr().err
    )
    assert build(news, tmp_path / "o", "--kinds", ",") == 2 and "names none" in capsys.readouterr().err
    assert build(news, tmp_path / "o", "--items", "5") == 2 and "items" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sentence", "kind", "found"),
    [
        ("党首の安倍晋三首相は", "who", ["安倍晋三"]),
        ("ロシアのプーチン大統領とエジプト・ムバラク大統領は", "who", ["プーチン"]),
        ("ロシア大統領や関係容疑者、福島県知事の話", "who", []),
        ("山本と監督が", "who", []),
        ("アトランタのオノ・ヨーコさんと気象庁", "who", ["オノ・ヨーコ", "気象庁"]),
        ("「アテネ」は東京都千代田区と富山県高岡市で", "where", ["東京都", "富山県", "高岡市"]),
        ("中国地方とイタリア料理と大阪府警", "where", []),
        ("英国と台湾", "where", ["英国", "台湾"]),
        ("2005年4月7日と平成19年、3ヶ月と2005年度", "when", ["2005年4月7日", "平成19年"]),
        ("12月22日は水曜日で、2006年11月の1990年代", "when", ["12月22日", "2006年11月", "水曜日"]),
        ("１２月２２日以降、3日間", "when", []),
        ("2011年間と10月期", "when", []),
    ],
)
def test_fillers(sentence, kind, found):
    assert [each.text for each in fillers.find(sentence) if each.kind == kind] == found


def test_lists_of_sources_are_not_cut():
    opening = "港の市場では朝から魚の話で持ちきりだった。\n"
    text = f"{opening}読売新聞、2011年4月8日。\n『安倍晋三首相が2005年に来たのだということだった』。\n"
    assert list(cloze.gaps(text, 200)) == []
    told = "港の市場では朝から魚の話で持ちきりだった。その後の2011年にすべてが終わったということだった。"
    assert [filler.text for _, filler in cloze.gaps(told, 200)] == ["2011年"]
    # what was said before, and what can not be seen
    assert list(cloze.gaps("2011年の市場では朝から魚の話だった。" + told, 200)) == []
    assert [context for context, _ in cloze.gaps("2011年の市場では朝から魚の話だった。" * 3 + told, 40)] == [
        "港の市場では朝から魚の話で持ちきりだった。その後の"
    ]


def test_texts_that_no_tokenizer_reads_and_ids_that_come_twice(news, tmp_path):
    """A scorer refuses half a surrogate pair, and two documents with one id."""
    rows = [
        row | {"id": "x"} | ({"text": "\ud800" + row["text"]} if number % 3 else {})
        for number, row in enumerate(read(news))
    ]
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 2), encoding="utf-8")
    assert build(path, tmp_path / "o", "--kinds", "when") == 0
    made = read(tmp_path / "o" / "when.jsonl")
    assert len({row["id"] for row in made}) == len(made) >= 20
    assert all(row["context"].startswith("港") for row in made)
    assert cli.run(headlines.main, [str(path), "--output_dir", str(tmp_path / "h")]) == 2  # one title for all


def test_two_names_of_a_place_are_never_beside_each_other():
    rnd, texts = random.Random(1), []
    for number in range(200):
        where = rnd.choice(["米国", "英国", "中国", "韓国", "台湾", "タイ"])
        texts.append(
            f"港の市場では朝から{number}箱の魚の話で持ちきりだった。その後は{where}へすべてが運ばれたということだった。"
        )
    found = [Document(str(number), text + "アメリカの船。") for number, text in enumerate(texts)]
    rows = cloze.build(found, ["where"], 500, 1, 200)["where"]
    # アメリカ is named in every document
    assert len(rows) > 50 and not any("米国" in row["choices"][: row["label"]] for row in rows)
    assert not any("米国" in row["choices"][row["label"] + 1 :] for row in rows)


def test_a_split_of_a_cleaned_corpus(news, tmp_path, capsys):
    folder = tmp_path / "clean"
    lines = [f"{line}\n".encode() for line in news.read_text(encoding="utf-8").splitlines()]
    documents.write_shard(folder / "test" / "00000.jsonl.zst", lines)
    assert build(folder, tmp_path / "o") == 2 and "clean.json" in capsys.readouterr().err
    (folder / "clean.json").write_text(json.dumps({"corpus": "news"}), encoding="utf-8")
    assert build(folder, tmp_path / "o") == 0 and build(news, tmp_path / "p") == 0
    assert (tmp_path / "o" / "where.jsonl").read_bytes() == (tmp_path / "p" / "where.jsonl").read_bytes()
    assert build(folder, tmp_path / "q", "--split", "valid") == 2 and "valid split" in capsys.readouterr().err


def test_tasks_are_scored_and_items_have_their_noise(news, tmp_path, loaded):
    assert build(news, tmp_path / "news_cloze", "--items", "30") == 0
    made = evaluate("", "news_cloze_*", None, 12, tmp_path, tmp_path / "s", model=loaded("spm"), bootstrap_iters=0)
    names = [f"news_cloze_{kind}-1.0-0.1" for kind in fillers.KINDS]
    assert list(made["results"]) == names
    for name in names:
        about = made["haigo"]["tasks"][name]
        assert (
            about["n"] == 12
            and about["baseline"]["chance"] == 0.25
            and "no published rows" in about["not_comparable"][0]
        )
        assert all(figure["item_noise"] > figure["stderr"] > 0 for figure in about["likelihoods"].values())
        rules = make(name)
        doc = rules.read(tmp_path / "news_cloze" / f"{rules.kind}.jsonl")[0]
        assert rules.context(doc, []) == doc["context"]
    with pytest.raises(HaigoError, match="no shots"):
        evaluate("", names[0], 2, 12, tmp_path, model=loaded("spm"))


@pytest.mark.parametrize(
    "change",
    [{"label": 4}, {"label": -1}, {"choices": ["a"]}, {"choices": ["a", "a", "b", "c"]}, {"choices": [1, 2]}, {"kind": "when"},
     {"context": ""}, {"choices": ["a", ""], "label": 0}],
)  # fmt: skip
def test_a_changed_file_is_refused_with_its_line(news, tmp_path, change):
    assert build(news, tmp_path, "--kinds", "who") == 0
    rows = read(tmp_path / "who.jsonl")
    rows[2] |= change
    path = tmp_path / "who.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(HaigoError, match="line 3") as caught:
        make("news_cloze_who-1.0-0.1").read(path)
    assert "eval_harness.cloze" in caught.value.fix


def test_decontamination_reads_the_questions(news, tmp_path):
    assert build(news, tmp_path) == 0
    for kind in fillers.KINDS:
        rows, items = read(tmp_path / f"{kind}.jsonl"), evaluation_items.read(tmp_path / f"{kind}.jsonl")
        assert [(item.task, item.id) for item in items] == [(f"news_cloze_{kind}", row["id"]) for row in rows]
        assert [item.texts for item in items] == [(row["context"] + row["choices"][row["label"]],) for row in rows]
