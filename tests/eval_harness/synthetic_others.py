"""Small files in the published formats of the leaderboard's other data sets, the same bytes on every machine.

Some contexts are too long for the golden models, so that shots are drawn again and articles are cut.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

from synthetic_jglue import PEOPLE, PLACES, THINGS, TIMES


def _reviews(rnd: random.Random, count: int) -> list[dict]:
    rows = []
    for number in range(count):
        good = rnd.random() < 0.7
        mood = rnd.choice(["気に入りました", "長く使えます"] if good else ["すぐ壊れました", "返品したいです"])
        text = f"{rnd.choice(PLACES)}で買った{rnd.choice(THINGS)}。{mood}。"
        rows.append({"review_id": f"R{number}", "sentence": text, "label": "positive" if good else "negative"})
    return rows


def _quiz(rnd: random.Random, count: int, key: str) -> list[dict]:
    rows = []
    for number in range(count):
        who, what = rnd.choice(PEOPLE), rnd.choice(THINGS)
        ctxs = []
        for part in range(12):
            here = rnd.random() < (0.3 if part < 5 else 0.1)
            body = f"{rnd.choice(PLACES)}では{rnd.choice(TIMES)}{who if here else rnd.choice(TIMES)}が話題になる。"
            ctxs.append(
                {
                    "id": f"{number}-{part}",
                    "title": rnd.choice(PLACES),
                    "text": body * rnd.choice([1, 1, 2]),
                    "score": f"{rnd.random():.4f}",
                    "has_answer": here,
                }
            )
        ask = f"{what}を最初に作ったのは誰でしょう?"
        rows.append({"qid": f"{key}-{number:04}", "question": ask, "answers": [who, who.split("の")[1]], "ctxs": ctxs})
    return rows


def _articles(rnd: random.Random, count: int) -> list[dict]:
    rows = []
    for number in range(count):
        where, what = rnd.choice(PLACES), rnd.choice(THINGS)
        length = rnd.choice([2, 4, 30])
        body = "。".join(f"{rnd.choice(TIMES)}{rnd.choice(PEOPLE)}が{where}で{what}を見つけた" for _ in range(length))
        if number % 5 == 4:
            body = body.replace("。", "、")  # one long sentence
        rows.append(
            {
                "id": f"x{number}",
                "url": "-",
                "title": where,
                "summary": f"{where}で{what}が見つかった。",
                "text": body + "。",
            }
        )
    return rows


def _sums(rnd: random.Random, count: int) -> list[tuple[str, str, str]]:
    rows = []
    for _ in range(count):
        a, b = rnd.randrange(2, 90), rnd.randrange(2, 40)
        who, what = rnd.choice(PEOPLE), rnd.choice(THINGS)
        question = f"{who}は{what}を{a}個持っています。{rnd.choice(TIMES)}さらに{b}個もらいました。全部で何個ですか？"
        steps = f"{who}は最初{a}個持っていました。{b}個もらうと{a}+{b}={a + b}個です。答えは{a + b}です。"
        rows.append((question, steps, f"{(a + b) * rnd.choice([1, 100]):,}"))
    return rows


def write(folder: Path) -> Path:
    """Write every split of MARC-ja, JAQKET v2, XLSum-ja, XWinograd-ja and MGSM."""
    rnd = random.Random(20231122)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "marc_ja-v1.1").mkdir(exist_ok=True)
    for split, count in (("train", 30), ("valid", 12)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _reviews(rnd, count)]
        (folder / "marc_ja-v1.1" / f"{split}-v1.0.json").write_text("".join(lines), encoding="utf-8")
    for name, count in (("train", 16), ("dev", 12)):
        text = json.dumps(_quiz(rnd, count, name), ensure_ascii=False)
        (folder / f"{name}_jaqket_59.350.json").write_text(text, encoding="utf-8")
    (folder / "xlsum_ja" / "data").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 10), ("validation", 4), ("test", 10)):
        with open(folder / "xlsum_ja" / "data" / f"{split}.csv", "w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, ["id", "url", "title", "summary", "text"])
            writer.writeheader()
            writer.writerows(_articles(rnd, count))
    pairs = []
    for _ in range(14):
        who, what, where = rnd.choice(PEOPLE), rnd.choice(THINGS), rnd.choice(PLACES)
        text = f"{what}が{where}に入らなかったのは、{{}}が大きすぎたからだ。"
        pairs.append(
            {"sentence1": text.format(what), "sentence2": text.format(where) + " ", "answer": rnd.choice("12")}
        )
        pairs[-1]["sentence1"] = rnd.choice(["", who + "いわく、"]) + pairs[-1]["sentence1"]
    pairs.append({"sentence1": "同じ文。", "sentence2": "同じ文。", "answer": "1"})
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in pairs]
    (folder / "xwinograd-ja.json").write_text("".join(lines), encoding="utf-8")
    (folder / "mgsm").mkdir(exist_ok=True)
    shots = {
        str(n): {"q": f"問題：{q}", "a": f"ステップごとの答え：{a}"}
        for n, (q, a, _) in enumerate(_sums(rnd, 8), start=1)
    }
    source = f'"""Exemplars."""\n\nMGSM_EXEMPLARS = {json.dumps({"en": {}, "ja": shots}, indent=4)}\n'
    (folder / "mgsm" / "exemplars.py").write_text(source, encoding="utf-8")
    tests = "".join(f"{q}\t{number}\n" for q, _, number in _sums(rnd, 10))
    (folder / "mgsm" / "mgsm_ja.tsv").write_text(tests, encoding="utf-8")
    return folder
