"""A small data set in JGLUE's formats and a tiny model, both the same bytes on every machine.

The text is written here (an invented island), so nothing of JGLUE is copied. The golden files were made from these very
files with jp-stable's own harness.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

PLACES = ["港の市場", "北の灯台", "霧ヶ丘", "石橋通り", "青い工房", "旧駅舎", "水車小屋", "第3図書館"]
THINGS = ["干し魚", "木の舟", "銅の鍵", "蜂蜜", "羅針盤", "紙の帽子", "赤い糸", "ガラス玉", "古い地図", "麦わら"]
PEOPLE = ["船大工のタキ", "郵便係のモリ", "薬師のヨネ", "灯台守のハル", "絵描きのソラ"]
TIMES = ["朝早く", "昼すぎ", "日暮れに", "雨の日に", "祭りの前に"]


def _jcommonsenseqa(rnd: random.Random, count: int, first: int) -> list[dict]:
    rows = []
    for number in range(count):
        choices = rnd.sample(THINGS, 5)
        ask = rnd.choice(["が探しているものは？", "が持ち帰ったのは何？", "に似合うものはどれですか"])
        row = {
            "q_id": first + number,
            "question": f"{rnd.choice(TIMES)}{rnd.choice(PLACES)}で{rnd.choice(PEOPLE)}{ask}",
        }
        rows.append(row | {f"choice{i}": c for i, c in enumerate(choices)} | {"label": rnd.randrange(5)})
    return rows


def _jnli(rnd: random.Random, count: int) -> list[dict]:
    rows = []
    for number in range(count):
        who, where, what = rnd.choice(PEOPLE), rnd.choice(PLACES), rnd.choice(THINGS)
        label = rnd.choices(["entailment", "contradiction", "neutral"], [2, 3, 5])[0]
        other = {"entailment": f"{where}に人がいます。", "contradiction": f"{where}には誰もいません。"}
        rows.append(
            {
                "sentence_pair_id": str(number),
                "yjcaptions_id": f"{number}-1-2",
                "sentence1": f"{rnd.choice(TIMES)}{who}が{where}で{what}を売っています。",
                "sentence2": other.get(label, f"{who}は{rnd.choice(THINGS)}が好きです。"),
                "label": label,
            }
        )
    return rows


def _jsquad(rnd: random.Random, articles: int, key: str) -> dict:
    data = []
    for number in range(articles):
        title, paragraphs = rnd.choice(PLACES), []
        for part in range(2):
            who, what, when = rnd.choice(PEOPLE), rnd.choice(THINGS), rnd.choice(TIMES)
            year = rnd.randrange(1200, 1900)
            passage = f"{title}は{year}年に{who}が建てた。{when}は{what}が並び、★よく売れたという。 "
            context = f"{title} [SEP] {passage}"
            qas = []
            for turn, (question, answers) in enumerate(
                [
                    (f"{title}を建てたのは誰か。", [who, who.split("の")[1], who]),
                    (f"{title}が建ったのは何年？", [f"{year}年", f"{year}"]),
                ]
            ):
                qas.append(
                    {
                        "question": question,
                        "id": f"{key}{number}p{part}q{turn}",
                        "answers": [{"text": a, "answer_start": context.find(a)} for a in answers],
                        "is_impossible": False,
                    }
                )
            paragraphs.append({"qas": qas, "context": context})
        data.append({"title": title, "paragraphs": paragraphs})
    return {"version": "1.1", "data": data}


def write(folder: Path, flat: bool = False) -> Path:
    """Write train, valid and test files of the three tasks, in the official layout or with flat names."""
    rnd = random.Random(20231121)
    parts: dict[tuple[str, str], list[dict] | dict] = {
        ("jcommonsenseqa", "train"): _jcommonsenseqa(rnd, 40, 0),
        ("jcommonsenseqa", "valid"): _jcommonsenseqa(rnd, 16, 40),
        ("jnli", "train"): _jnli(rnd, 40),
        ("jnli", "valid"): _jnli(rnd, 16),
        ("jsquad", "train"): _jsquad(rnd, 8, "t"),
        ("jsquad", "valid"): _jsquad(rnd, 4, "v"),
        ("jcommonsenseqa", "test"): _jcommonsenseqa(rnd, 12, 56),
        ("jnli", "test"): _jnli(rnd, 12),
        ("jsquad", "test"): _jsquad(rnd, 3, "s"),
    }
    for (name, split), rows in parts.items():
        version = "v1.3" if split == "test" else "v1.1"
        path = folder / (f"{name}-{split}-{version}.json" if flat else f"{name}-{version}/{split}-{version}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [rows] if isinstance(rows, dict) else rows
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in lines), encoding="utf-8")
    return folder


def texts(folder: Path) -> list[str]:
    """Every string of the train files, for training tokenizers."""
    found = []
    for path in sorted(folder.rglob("train*.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            found += _strings(json.loads(line))
    return found


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []


def tiny_model(folder: Path, vocabulary: int, max_length: int = 512, seed: int = 5, scale: float = 0.25) -> Path:
    """A GPT-NeoX model of about 0.1M numbers whose weights come from numpy's frozen generator, not from torch's."""
    import numpy as np
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=max_length,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    rnd = np.random.RandomState(seed)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            values = rnd.standard_normal(tuple(weight.shape)) * scale
            weight.copy_(torch.tensor(values, dtype=torch.float32) + (1.0 if weight.dim() == 1 else 0.0))
    model.save_pretrained(folder)
    return folder
