"""A user's whole folder in a minute: raw text, evaluation files and configs, and one runnable command for nearly every verb.

What tests of all verbs share: files of the user's survive (test_sentinels), damaged files are named (test_fuzz_verbs).
"""

import importlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

import yaml

from haigo import cli

ELSEWHERE = {
    # these need a GPT-NeoX, real or pretended: tests/launch
    "launch.deepy", "launch.runs", "launch.convert", "launch.stretch", "launch.checkpoints",
    "launch.pipeline.reference",  # prints
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One verb. `{out}` in the words is the output; `again` are words added at the second call."""

    verb: str
    words: str
    out: str = ""
    again: str = ""
    code: int = cli.OK


STEPS = [
    Step("preprocess.fetch", "mediawiki-dump --file raw/wiki.xml --output-dir {out} --corpus wiki", "fetched"),
    Step("preprocess.clean", "raw/news --corpus news --min-chars 1 --split 0.6,0.2,0.2 --output-dir {out}", "clean/news",
         "--seed 5"),
    Step("preprocess.clean", "raw/talk.jsonl --corpus talk --min-chars 1 --split 0.6,0.2,0.2 --output-dir {out}",
         "clean/talk", "--seed 5"),
    Step("preprocess.dedup", "clean/news clean/talk --output-dir {out}", "dedup", "--method exact"),
    Step("preprocess.decontaminate", "dedup/news dedup/talk --against raw/qa.jsonl --output-dir {out}", "final",
         "--remove paragraph"),
    Step("preprocess.partition", "final/news final/talk --topics 2 --least 1 --output-dir {out}", "parts", "--topics 3"),
    Step("preprocess.quality", "--good final/news --ordinary final/talk --output-dir {out}", "quality", "--seed 5"),
    Step("preprocess.score", "final/news final/talk --quality quality --output-dir {out}", "scored", "--perplexity quality"),
    Step("preprocess.sample", "final/news final/talk --characters 4000 --output-dir {out}", "sample", "--seed 5"),
    Step("preprocess.tokenizer", "final/news final/talk --vocab-size 420 --output-dir {out}", "tok", "--seed 5"),
    Step("preprocess.index", "final/news/train --tokenizer tok --output-prefix {out}/train", "data/news",
         "--no-append-eod"),
    Step("preprocess.index", "final/news/valid --tokenizer tok --output-prefix {out}/valid", "data/news"),
    Step("preprocess.index", "final/talk/train --tokenizer tok --output-prefix {out}/train", "data/talk"),
    Step("preprocess.index", "final/talk/valid --tokenizer tok --output-prefix {out}/valid", "data/talk"),
    Step("preprocess.pairs", "raw/chat.jsonl --tokenizer tok --output-prefix {out}/chat", "data/chat",
         "--seq-length 64 --pack"),
    Step("preprocess.inspect", "data/news/train_text_document --verify"),
    Step("preprocess.scale", "scale.yml", "scaled"),
    Step("mixer.design", "--corpora news,talk --runs 8 --output {out}/ratios.csv", "design", "--seed 5"),
    Step("launch.proxies", "--ratios design/ratios.csv --catalogue corpora.yml --config proxy.yml --tokens 640 --workers 1"
         " --output-dir {out}", "proxies", "--seed 5"),
    Step("launch.screen", "--ratios design/ratios.csv --catalogue corpora.yml --tokens 640 --output-dir {out}", "screen",
         "--seed 5"),
    Step("mixer.search", "--ratios design/ratios.csv --metrics proxies/metrics.csv --objective news_bpb --force --bootstrap 5"
         " --output {out}/mixture.yml", "search", "--seed 5"),
    Step("mixer.report", "search/mixture.yml"),
    Step("mixer.blend", "blend.sh --output-dir {out} --mixture search/mixture.yml --output {out}/new.sh", "blend", "--json"),
    Step("mixer.budget", "--hours 40 --rates proxies/metrics.csv --corpora news,talk --output {out}/plan.yml --write-rates"
         " {out}/rates.csv", "budget", "--held-out 5"),
    Step("neox_configs.keys", "--from checkout --output {out}/keys.csv", "keys", "-o {out}/keys.csv"),
    Step("launch.plan", "--model 1-3B --cluster a100-40gb --nodes 1 --tokens 20e9"),
    Step("launch.configs", "--model 1-3B --cluster a100-40gb --nodes 1 --tokens 1e6 --seq-length 256"
         " --mixture search/mixture.yml --catalogue corpora.yml --output {out}/1-3B.yml", "configs", "--seed 5"),
    Step("launch.preflight", "tiny.yml --gpus 1"),
    Step("launch.samples", "tiny.yml --first 3"),
    Step("launch.local", "tiny.yml --output-dir {out}", "model", "--overwrite --seed 5"),
    Step("launch.hostfile", "{out}/hostfile --from node[01-02] --gpus-per-node 4", "hosts", "--exclude node02"),
    Step("launch.deepspeed_env", "{out}/.deepspeed_env --names HOME", "environment", "--names PATH"),
    Step("launch.pbs", "configs/1-3B.yml --nodes 1 --gpus-per-node 4 --time 1:00:00 --output {out}/job.pbs", "pbs job",
         "--job-name b"),
    Step("launch.slurm", "configs/1-3B.yml --nodes 1 --gpus-per-node 4 --time 1:00:00 --output {out}/job.sbatch", "job",
         "--time 2:00:00"),
    Step("eval_harness.run", "--model_args pretrained=model/model,dtype=float32 --tasks jcommonsenseqa-1.1-0.3 --num_fewshot"
         " 0 --fewshot_pool test --data_dir raw/jglue --log_samples --output_path {out}", "scores", "--seed 5"),
    Step("eval_harness.leaderboard", "scores/result.json --html {out}/page.html", "page", "--all"),
    Step("eval_harness.headlines", "raw/headlines.jsonl --output_dir {out}", "headlines", "--seed 5"),
    Step("eval_harness.cloze", "raw/cloze.jsonl --output_dir {out}", "cloze", "--seed 5"),
    Step("eval_harness.ask", "--model model/model --question 首都は？ --choices 東京,京都 --answer 東京"),
    Step("eval_harness.embed", "raw/lines.txt --model model/model --output {out}/vectors.npy", "vectors", "--layer 0"),
    Step("launch.pipeline", "run.yml", "run", "--set search.bootstrap=6"),
    Step("launch.report", "run"),
    Step("eval_harness.curve", "scores/result.json --tokens 640 --output-dir {out}", "curve", "--against scores"
         " --against-tokens 640"),
]  # fmt: skip


def chars(rng, low, high):
    return "".join(
        rng.choice("あいうえおかきくけこさしすせそたちつてと日本国会議新聞記事東西南北")
        for _ in range(rng.randint(low, high))
    )


def document(rng):
    return "".join(f"{chars(rng, 8, 30)}。" for _ in range(rng.randint(3, 12)))


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def build(root):
    """The user's own folder at `root`: raw text, evaluation files, configs."""
    rng = random.Random(3)
    for part in range(2):
        jsonl(
            root / "raw" / "news" / f"{part}.jsonl", [{"id": f"{part}-{n}", "text": document(rng)} for n in range(60)]
        )
    jsonl(root / "raw" / "talk.jsonl", [{"id": str(n), "text": document(rng)} for n in range(120)])
    jsonl(root / "raw" / "qa.jsonl", [{"id": n, "text": document(rng)} for n in range(3)])
    jsonl(root / "raw" / "chat.jsonl", [{"prompt": chars(rng, 5, 9), "response": chars(rng, 5, 9)} for _ in range(40)])
    jsonl(root / "raw" / "headlines.jsonl",
          [{"id": str(n), "text": document(rng) * 3, "meta": {"title": chars(rng, 8, 12)}} for n in range(30)])  # fmt: skip
    own, people, places = random.Random(4), ("佐藤", "鈴木", "高橋", "田中"), ("青森県", "岩手県", "宮城県", "秋田県")
    told = [
        f"{chars(own, 20, 30)}は{people[n % 4]}一郎氏が{places[n // 4 % 4]}から"
        f"{n % 9 + 1}月{n % 7 + 1}日にやってきたのだという。"
        for n in range(60)
    ]
    jsonl(root / "raw" / "cloze.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(told)])
    (root / "raw" / "lines.txt").write_text("".join(f"{chars(rng, 5, 9)}\n" for _ in range(4)), encoding="utf-8")
    pages = "".join(
        f"<page><title>頁{n}</title><ns>0</ns><id>{n}</id><revision><id>{n}</id><model>wikitext</model>"
        f"<format>text/x-wiki</format><text>{document(rng)}</text></revision></page>"
        for n in range(5)
    )
    (root / "raw" / "wiki.xml").write_text(
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="ja">{pages}</mediawiki>',
        encoding="utf-8",
    )
    (root / "blend.sh").write_text("DATA_PATH=(\n  300 data/news_text_document\n  100 data/talk_text_document\n)\n")
    arguments = root / "checkout" / "megatron" / "neox_arguments"
    arguments.mkdir(parents=True)
    (arguments / "neox_args.py").write_text("class NeoXArgsModel:\n    num_layers: int = None\n    lr: float = 0.1\n")
    asked = [{"q_id": n, "question": chars(rng, 5, 9), "label": n % 5, **{f"choice{k}": chars(rng, 2, 4) for k in range(5)}}
             for n in range(6)]  # fmt: skip
    jsonl(root / "raw" / "jglue" / "jcommonsenseqa-valid-v1.1.json", asked)
    jsonl(root / "raw" / "jglue" / "jcommonsenseqa-train-v1.1.json", asked)
    (root / "corpora.yml").write_text(yaml.safe_dump({
        "tokenizer": "tok",
        "corpora": {name: {split: f"data/{name}/{kind}_text_document"
                           for split, kind in (("train", "train"), ("valid", "valid"), ("test", "valid"))}
                    for name in ("news", "talk")}}))  # fmt: skip
    prefixes = {kind: [f"data/{name}/{split}_text_document" for name in ("news", "talk")]
                for kind, split in (("train", "train"), ("valid", "valid"), ("test", "valid"))}  # fmt: skip
    config = {
        "num_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "seq_length": 16, "max_position_embeddings": 16,
        "norm": "layernorm", "pos_emb": "rotary", "no_weight_tying": True, "make_vocab_size_divisible_by": 64,
        "init_method": "small_init", "output_layer_init_method": "wang_init", "min_lr": 0.0004, "lr_decay_style": "cosine",
        "optimizer": {"type": "Adam", "params": {"lr": 0.004, "betas": [0.9, 0.95], "eps": 1.0e-8}}, "warmup": 0.1,
        "train_micro_batch_size_per_gpu": 4, "train_iters": 4, "lr_decay_iters": 4, "data_impl": "mmap", "precision": "fp32",
        "tokenizer_type": "SPMTokenizer", "vocab_file": "tok/spm.model", "seed": 1234, "eval_iters": 0,
        **{f"{kind}_data_paths": paths for kind, paths in prefixes.items()},
        **{f"{kind}_data_weights": [0.5, 0.5] for kind in prefixes},
    }  # fmt: skip
    (root / "tiny.yml").write_text(yaml.safe_dump(config))
    (root / "proxy.yml").write_text(yaml.safe_dump({key: each for key, each in config.items() if "_data_" not in key}))
    (root / "scale.yml").write_text(yaml.safe_dump(
        {"corpus": "news", "inputs": ["raw/news"], "output": "scaled", "tokenizer": "tok", "clean": {"min_chars": 1},
         "tasks": 2}))  # fmt: skip
    (root / "run.yml").write_text(yaml.safe_dump({
        "output": "run",
        "corpora": {"news": {"files": "raw/news/*.jsonl", "min_chars": 1}, "talk": {"files": "raw/talk.jsonl", "min_chars": 1}},
        "split": [0.4, 0.3, 0.3], "tokenizer": {"vocab_size": 420, "chars_per_corpus": 60000},
        "objective": {"metrics": {"news_bpb": 1.0}},
        "proxies": {"model": "0-1M", "runs": 8, "held_out": 2, "tokens": 16000, "eval_tokens": 500},
        "search": {"bootstrap": 5, "force": True, "max_epochs": 400},
        "train": {"model": "0-1M", "tokens": 16000, "evaluations": 1, "eval_tokens": 500, "test_tokens": 500,
                  "compare": ["token_share"]},
        "configs": {"models": ["1-3B"], "tokens": 1000000},
    }))  # fmt: skip


def call(step, out, more=""):
    words = [word.replace("{out}", out) for word in f"{step.words} {more}".split()]
    return cli.run(importlib.import_module(module(step.verb)).main, words)


def module(verb):
    folder = (Path(__file__).parent.parent / Path(*verb.split("."))).is_dir()
    return f"{verb}.__main__" if folder else verb
