"""Documents that break careless scorers, in the published formats: pictures, half-width and full-width signs, line ends of
every kind, the special tokens' own spellings, empty and equal answers, texts far longer than the models."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

from synthetic_jglue import PEOPLE, PLACES, THINGS, TIMES

ODD = [
    "😀の旗",
    "ｶﾞﾗｽ玉",
    "Ｔシャツ（赤）",
    "　全角　空白　",
    " half width ",
    "銅の鍵\n二行目",
    "1,234.5円",
    "改行\r\n付き",
    "</s>",
    "<NL>終わり<NL>",
    "<|endoftext|>",
    "[SEP]印",
    "㍻十年①",
    "が",  # か and a combining mark
    "👨\u200d👩\u200d👧の家",
    "行\u2028区切り",
    "a  b   c",
    "〜～—―-",
    "嶬𠮷龘",
    "タブ\t入り",
    "🇯🇵",
    '“引用”と"印"',
    "▁下線",
    "::：：",
]
_PAIRS = list(zip(PLACES, THINGS, strict=False))
LONG = "".join(
    f"{time}{who}が{where}で{what}を売っている。" for time in TIMES for who in PEOPLE for where, what in _PAIRS
)


def _words(rnd: random.Random, count: int = 3) -> str:
    return "".join(rnd.choice([*ODD, *THINGS, *PLACES]) for _ in range(count))


def _lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _choice_rows(rnd: random.Random, count: int, first: int) -> list[dict]:
    rows = []
    for number in range(count):
        choices = [_words(rnd, rnd.choice([1, 1, 2])) for _ in range(5)]
        if number % 4 == 1:
            choices[3] = choices[1]  # a tie
        if number % 5 == 2:
            choices[2] = LONG[:60]
        question = _words(rnd, 4) + (LONG[: rnd.choice([200, 900])] if number % 6 == 3 else "")
        row = {"q_id": first + number, "question": question, "label": rnd.randrange(5)}
        rows.append(row | {f"choice{place}": choice for place, choice in enumerate(choices)})
    return rows


def _pairs(rnd: random.Random, count: int) -> list[dict]:
    labels = ["entailment", "contradiction", "neutral"]
    return [
        {
            "sentence_pair_id": str(number),
            "sentence1": _words(rnd, 4) + (LONG[:600] if number % 7 == 3 else ""),
            "sentence2": "" if number % 9 == 4 else _words(rnd, 2),
            "label": rnd.choices(labels, [1, 2, 6])[0],
        }
        for number in range(count)
    ]


def _squad(rnd: random.Random, count: int, key: str) -> dict:
    articles = []
    for number in range(count):
        title = _words(rnd, 1)
        passage = f" {_words(rnd, 5)}" + (LONG[: rnd.choice([150, 800])] if number % 3 == 1 else "") + "　"
        answers = [
            [_words(rnd, 1), "", "😀"],
            ["銅の鍵", "どうのかぎ", "銅 の 鍵"],
            ["①番", "1番"],
            ["２０個", "20個"],
            [_words(rnd, 2)],
        ][number % 5]
        asked = {
            "question": _words(rnd, 2) + "？",
            "id": f"{key}{number}",
            "answers": [{"text": text, "answer_start": 0} for text in answers],
            "is_impossible": False,
        }
        marks = ["{0} [SEP] {1}", "{0} [SEP] 甲 [SEP]{1}", "{1}"][number % 3]
        articles.append({"title": title, "paragraphs": [{"context": marks.format(title, passage), "qas": [asked]}]})
    return {"version": "1.1", "data": articles}


def _quiz(rnd: random.Random, count: int, key: str) -> list[dict]:
    rows = []
    for number in range(count):
        passages = [
            {
                "id": f"{number}-{part}",
                "title": _words(rnd, 1),
                "text": _words(rnd, 3) + LONG[: rnd.choice([0, 0, 30])],
                "score": "1.5",
                "has_answer": part == number % 6,
            }
            for part in range(rnd.choice([2, 5, 11]))
        ]
        answers = [["銅の鍵", "どうのかぎ"], [_words(rnd, 1)], ["５人", "5人", "五人"]][number % 3]
        rows.append({"qid": f"{key}{number}", "question": _words(rnd, 2), "answers": answers, "ctxs": passages})
    return rows


def _articles(rnd: random.Random, count: int) -> list[dict]:
    rows = []
    for number in range(count):
        text = [
            _words(rnd, 6) + "。" + _words(rnd, 3),
            LONG[:900],
            LONG[:900].replace("。", "、"),
            "。。" + LONG[:500],
        ][number % 4]
        rows.append({"id": f"x{number}", "title": _words(rnd, 1), "summary": _words(rnd, 2), "text": text})
    return rows


def write(folder: Path, seed: int = 20231123) -> Path:
    """Write every split of the eight data sets."""
    rnd = random.Random(seed)
    for split, count in (("train", 40), ("valid", 14)):
        _lines(
            folder / "jcommonsenseqa-v1.1" / f"{split}-v1.1.json", _choice_rows(rnd, count, 100 * (split == "valid"))
        )
        _lines(folder / "jnli-v1.1" / f"{split}-v1.1.json", _pairs(rnd, count))
        reviews = [
            {"sentence": row["sentence1"], "label": rnd.choice(["positive", "negative"])} for row in _pairs(rnd, count)
        ]
        _lines(folder / "marc_ja-v1.1" / f"{split}-v1.0.json", reviews)
        path = folder / "jsquad-v1.1" / f"{split}-v1.1.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_squad(rnd, count, split), ensure_ascii=False), encoding="utf-8")
    for name, count in (("train", 15), ("dev", 12)):
        text = json.dumps(_quiz(rnd, count, name), ensure_ascii=False)
        (folder / f"{name}_jaqket_59.350.json").write_text(text, encoding="utf-8")
    (folder / "xlsum_ja" / "data").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 9), ("validation", 3), ("test", 9)):
        with open(folder / "xlsum_ja" / "data" / f"{split}.csv", "w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, ["id", "title", "summary", "text"])
            writer.writeheader()
            writer.writerows(_articles(rnd, count))
    pairs = [{"sentence1": _words(rnd, 3), "sentence2": _words(rnd, 3), "answer": rnd.choice("12")} for _ in range(10)]
    pairs += [{"sentence1": "銅の鍵", "sentence2": "銅の鍵", "answer": "2"}]
    _lines(folder / "xwinograd-ja.json", pairs)
    (folder / "mgsm").mkdir(exist_ok=True)
    shots = {
        str(n): {"q": f"問題：{_words(rnd, 2)}{n}個？", "a": f"ステップごとの答え：{n}個です。答えは{n}です。"}
        for n in range(1, 9)
    }
    source = f"MGSM_EXEMPLARS = {json.dumps({'ja': shots}, ensure_ascii=False, indent=4)}\n"
    (folder / "mgsm" / "exemplars.py").write_text(source, encoding="utf-8")
    asked = [_words(rnd, 2).replace("\t", " ").replace("\n", " ").replace("\r", " ").replace('"', "") for _ in range(8)]
    tests = "".join(f"{text}{'問題：' if n == 3 else ''}\t{n * 1000:,}\n" for n, text in enumerate(asked))
    (folder / "mgsm" / "mgsm_ja.tsv").write_text(tests, encoding="utf-8")
    return folder
