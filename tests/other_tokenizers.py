"""Small tokenizers of the kinds that other projects publish, trained here on made-up text, as folders and as their own ids."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece

LINES = [
    "第一回の会議は、午前十時に東京で始まりました。",
    "ｶﾀｶﾅと　ＡＢＣが まざった文章です。",
    "港の市場で銅の鍵を売っています。①㍿",
    "def f(x):\n    return x + 1\n",
    "the old map of the harbour, it's 1924",
    "北の灯台は1924年に建てられた。",
    "質問：首都は？\n回答：東京",
    "  先頭の空白  と\t水平タブ",
]
ODD = [
    "がｶﾞ ＡＢＣ１２３ ①", "\n\n", " ", "   a", "前</s>後", "<s>", "𠮟る👍🏽 e\u0301", "a  b   c", "#include <x>\n\t{\n",
    "日本語とEnglishの混在。", "[INST] x [/INST]",
]  # fmt: skip
"""Texts that tell readings apart; none spells `<|endoftext|>`."""
NO_PREFIX = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen and Llama 3 cut a text before they join bytes."""
_SENTENCEPIECE: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "rinna": (
        "spiece.model", "</s>", {"normalization_rule_name": "nmt_nfkc"},
        {"tokenizer_class": "T5Tokenizer", "extra_ids": 0},
    ),
    "rinna-3.6b": (
        "spiece.model", "</s>", {**NO_PREFIX, "byte_fallback": True, "user_defined_symbols": ["<NL>", "\n"]},
        {"tokenizer_class": "T5Tokenizer", "extra_ids": 0},
    ),
    "llm-jp": (
        "tokenizer.model", "<EOD|LLM-jp>",
        {**NO_PREFIX, "add_dummy_prefix": True, "byte_fallback": True, "control_symbols": ["<EOD|LLM-jp>", "<PAD|LLM-jp>"]},
        {"tokenizer_class": "LlamaTokenizer"},
    ),
    "llama": (
        "tokenizer.model", "</s>", {**NO_PREFIX, "add_dummy_prefix": True, "byte_fallback": True, "model_type": "bpe"},
        {"tokenizer_class": "LlamaTokenizer", "legacy": False},
    ),
}  # fmt: skip
"""Kind -> file, end of a document, options of sentencepiece, tokenizer_config.json."""
_JSON = ("gpt2", "qwen", "llama3", "unigram")
KINDS = (*_SENTENCEPIECE, *_JSON)
ENDS = {kind: row[1] for kind, row in _SENTENCEPIECE.items()} | {
    "gpt2": "<|endoftext|>",
    "qwen": "<|endoftext|>",
    "llama3": "<|end_of_text|>",
    "unigram": "</s>",
}


@dataclass(frozen=True)
class Other:
    """A tokenizer of somebody else."""

    kind: str
    folder: Path
    file: Path
    end: str
    """The piece that ends a document."""
    ids: Callable[[str], list[int]]
    """By the library that its makers used, nothing added."""
    end_id: int
    size: int

    @property
    def neox_type(self) -> str:
        return "HFTokenizer" if self.file.suffix == ".json" else "SPMTokenizer"


def make(kind: str, folder: Path) -> Other:
    """Train a tokenizer of a kind and write its folder."""
    folder.mkdir(parents=True)
    if kind in _SENTENCEPIECE:
        name, end, options, config = _SENTENCEPIECE[kind]
        blob = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(part for line in LINES * 20 for part in line.split("\n") if part), model_writer=blob,
            vocab_size=520, hard_vocab_limit=False, character_coverage=1.0, minloglevel=2, **options
        )  # fmt: skip
        (folder / name).write_bytes(blob.getvalue())
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": end}), encoding="utf-8")
        own = sentencepiece.SentencePieceProcessor(model_proto=blob.getvalue())
        return Other(kind, folder, folder / name, end, own.encode, own.piece_to_id(end), own.get_piece_size())
    return _json(kind, folder)


def _json(kind: str, folder: Path) -> Other:
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    made = (_unigram if kind == "unigram" else _byte_level)(kind)
    end = ENDS[kind]
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "model_max_length": 131072}
    config["chat_template"] = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}" + end + "{% endfor %}"
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))
    return Other(
        kind, folder, folder / "tokenizer.json", end, lambda text: list(theirs.encode(text, add_special_tokens=False)),
        made.token_to_id(end), made.get_vocab_size(),
    )  # fmt: skip


def _byte_level(kind: str) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = {
        "gpt2": ["<|endoftext|>"],
        "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
    }[kind]
    made = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind != "gpt2":
        parts = [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
        made.pre_tokenizer = pre_tokenizers.Sequence(parts)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(LINES * 4, trainer)
    made.add_special_tokens(special)  # behind the pieces, as there
    if kind == "llama3":
        begin = [("<|begin_of_text|>", made.token_to_id("<|begin_of_text|>"))]
        adds = processors.TemplateProcessing("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|> $B", begin)
        made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), adds])
    return made


def _unigram(kind: str) -> Any:
    """As llm-jp's: special pieces first, bytes, a blank before the text, `<s>` put before it when asked for."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    blob = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(part for line in LINES * 20 for part in line.split("\n") if part), model_writer=blob,
        vocab_size=520, hard_vocab_limit=False, byte_fallback=True, character_coverage=1.0, minloglevel=2, **NO_PREFIX
    )  # fmt: skip
    own = sentencepiece.SentencePieceProcessor(model_proto=blob.getvalue())
    rows = [(own.id_to_piece(number), own.get_score(number)) for number in range(own.get_piece_size())]
    made = Tokenizer(models.Unigram(rows, unk_id=own.unk_id(), byte_fallback=True))
    made.normalizer = normalizers.Sequence([])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(back)
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return made
