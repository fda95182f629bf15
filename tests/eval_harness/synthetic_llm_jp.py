"""Small files as llm-jp-eval 1.3.0's preprocess_dataset.py writes them, the same bytes on every machine."""

from __future__ import annotations

import json
import random
from pathlib import Path

from synthetic_jglue import PEOPLE, PLACES, THINGS, TIMES

from eval_harness.tasks.base import card

LABELS = {
    "jamp": ["entailment", "contradiction", "neutral"],
    "janli": ["entailment", "non-entailment"],
    "jnli": ["entailment", "contradiction", "neutral"],
    "jsem": ["yes", "no", "unknown", "undef"],
    "jsick": ["entailment", "contradiction", "neutral"],
}
LONG = ("wiki_reading", "wiki_ner", "wiki_dependency", "wiki_pas", "wiki_coreference")


def _sample(name: str, rnd: random.Random) -> dict[str, str]:
    who, where, what, when = (rnd.choice(words) for words in (PEOPLE, PLACES, THINGS, TIMES))
    text = f"{when}{who}が{where}で{what}を買った"
    if name in LABELS:
        return {
            "input": f"前提：{text}。\n仮説：{who}は{rnd.choice(PLACES)}にいた。",
            "output": rnd.choice(LABELS[name]),
        }
    if name in ("jemhopqa", "niilc"):
        return {
            "input": f"質問：{where}で{what}を買ったのは誰ですか？",
            "output": rnd.choice([who, "YES", f"{who},{what}"]),
        }
    if name == "jsquad":
        return {"input": f"文章：{text} [SEP] {text}。\n質問：誰が買いましたか?", "output": who}
    if name == "jcommonsenseqa":
        return {
            "input": f"質問：{text}のは?\n選択肢：0.{who},1.{where},2.{what},3.{when},4.空",
            "output": rnd.choice("01234"),
        }
    if name in ("jmmlu", "mmluen"):
        return {
            "input": f"質問：{what} {{}} とは\n選択肢：A.{who},B.{where},C.{when},D.Ｄ",
            "output": rnd.choice("ABCD"),
        }
    if name == "mawps":
        return {
            "input": f"問題：{what}が{rnd.randrange(9)}個。半分にすると?",
            "output": rnd.choice(["2", "３.5", "12"]),
        }
    if name == "jsts":
        return {"input": f"文1：{text}。\n文2：{who}が買った。", "output": str(round(5 * rnd.random(), 1))}
    lines = "\n".join(
        f"{word} {rnd.choice(['positive', 'negative'])}" for word in (who, what, who)[: rnd.choice([1, 3])]
    )
    return {"input": f"{'文章：' * (name == 'chabsa')}{text}、 café ②。", "output": lines}


def write(folder: Path, seed: int = 20240301) -> Path:
    """`evaluation/SPLIT/TASK.json` of every task; shots hold no braces, with which llm-jp-eval stops."""
    rnd = random.Random(seed)
    for name, row in card("llm_jp_eval").items():
        for split, count in (("train", 6), ("dev", 1 if name in LONG else 5), ("test", 3)):
            samples = [_sample(name, rnd) for _ in range(count)]
            if split == "train":
                samples = [{key: text.replace(" {}", "") for key, text in each.items()} for each in samples]
            content = {
                "instruction": row["instruction"],
                "output_length": row["length"],
                "metrics": row["metrics"],
                "few_shots": [],
                "samples": samples,
            }
            path = folder / "evaluation" / split / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, ensure_ascii=False, indent=4), encoding="utf-8")
    return folder


def answers(seed: int = 7) -> list[dict]:
    """Pairs of answers and right answers, with the metrics that they are compared by."""
    rnd = random.Random(seed)
    pieces = [
        "東京",
        "Tokyo",
        "é",
        " ",
        "。",
        ",",
        "１２",
        "3.5",
        "\n",
        "\n\n",
        "A_b",
        "大阪 positive",
        "㍿",
        "ﾊﾞ",
        "-",
        "x" * 9,
    ]
    found = []
    for number in range(60):
        texts = ["".join(rnd.choices(pieces, k=rnd.randrange(0, 9))) for _ in range(8)]
        numbers = number % 3 == 0
        if numbers:
            right = [str(rnd.choice([0, 1.5, 3, 4.2, "４.0"])) for _ in range(8)]
        else:
            right = [
                text if rnd.random() < 0.3 else "".join(rnd.choices(pieces, k=rnd.randrange(1, 6))) for text in texts
            ]
        metrics = ["pearson", "spearman"] if numbers else ["exact_match", "char_f1", "set_f1"]
        if numbers:
            texts = [rnd.choice(["3", "約 4.2 です", "1.2.3", "なし", "５", text]) for text in texts]
        found.append({"answers": texts, "right": right, "metrics": metrics})
    return found
