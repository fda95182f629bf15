"""Model folders with every kind of tokenizer.json, made by the `tokenizers` library, and texts that tell readings apart.

Run by an interpreter with transformers 4.46, this file writes what its AutoTokenizer gives to golden/token_ids.json.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "token_ids.json"
END = "<|endoftext|>"
DIGITS = r"\p{N}{1,3}| ?\p{L}+|[^\s\p{L}\p{N}]+|\s+"
LINES = [
    "港の市場で銅の鍵を売っています。", "北の灯台は1924年に建てられた。", "赤い糸 古い地図 ガラス玉",
    "the old map of the harbour", "問題を読んで、答えを選んでください。", "Hello world! It's a pen.",
    "def name(x):\n    return x + 1\n", "㌔ＡＢＣ ｶﾞ ﬁ ①", "Straße naïve café", "123 4567 3.14",
    "ユーザー: 質問\nシステム: 答え", "10キロを歩くABC",
]  # fmt: skip
ODD = [
    "", " ", "  ", "\n", "\n\n", "\t", "　", "a", "港の市場", " 港", "港 ", "㌔ＡＢＣ ｶﾞ", "ﾊﾝｶｸ①Ⅳ",
    "ＡＢＣ　１２３", "caf\u00e9 cafe\u0301", "が\u3099ぎ", "ÀÉÎ İstanbul STRASSE", "👩‍👩‍👧‍👦🏳️‍🌈👍🏽", "𠮟る𩸽 髙﨑",
    "https://example.com/p?q=日本語&n=10", "1234567890 3.14 ２０２４年", "def f(x):\n\tif x:\n        return  {'a': 1}\n",
    "It's ,  we 'll n't . a ?", "\r\n x \u00a0 y \u200b z \ufeff", "<s>", "</s>", "<unk>", "<pad>", "[UNK]",
    "[CLS] x [SEP]", END, f"前{END}後", f"a {END} b", "<|mark|>", "前  <|mark|>  後", "x<|word|>y", "x <|word|> y",
    "Ｍark MARK mark", "<extra>", "a<extra>b <extra> c", "▁", "▁ ▁a", "##ing", "Ġa", "<0x41>", "\x00\x7f",
]  # fmt: skip


def _bytes() -> dict[int, str]:
    """GPT-2's letters of bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return {b: chr(b if b in plain else 256 + sum(c not in plain for c in range(b))) for b in range(256)}


def _merges(words: list[list[str]], count: int) -> list[tuple[str, str]]:
    """Byte-pair merges of words, the most frequent first; ties by spelling."""
    found: list[tuple[str, str]] = []
    for _ in range(count):
        pairs = Counter((a, b) for word in words for a, b in itertools.pairwise(word))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        found.append(best)
        for word in words:
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = ["".join(best)]
                place += 1
    return found


def _vocabulary(special: list[str], pieces: list[str], merges: list[tuple[str, str]]) -> dict[str, int]:
    names = dict.fromkeys([*special, *pieces, *("".join(pair) for pair in merges)])
    return {name: number for number, name in enumerate(names)}


def byte_bpe(special: tuple[str, ...] = (END,), **more: object) -> Tokenizer:
    """BPE over bytes."""
    letters = _bytes()
    words = [
        "".join(letters[b] for b in word.encode()) for line in LINES for word in line.replace(" ", "\n ").split("\n")
    ]
    merges = _merges([list(word) for word in words], 150)
    made = Tokenizer(models.BPE(_vocabulary(list(special), list(letters.values()), merges), merges, **more))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(special))
    return made


def letter_bpe(special: tuple[str, ...] = ("<unk>", "<s>", "</s>")) -> Tokenizer:
    """BPE over characters with byte fallback and `▁`, as Llama's."""
    words = [word for line in LINES for word in line.replace(" ", "\n▁").split("\n")]
    merges = _merges([list("▁" + word.lstrip("▁")) for word in words], 120)
    letters = sorted({letter for word in words for letter in word} | {"▁"})
    names = _vocabulary([*special, *(f"<0x{b:02X}>" for b in range(256))], letters, merges)
    made = Tokenizer(models.BPE(names, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(list(special))
    return made


def unigram(special: tuple[str, ...] = ("<unk>", "<s>", "</s>"), fallback: bool = False) -> Tokenizer:
    """A unigram model whose scores are counts of substrings."""
    words = ["▁" + word for line in LINES for word in line.split()]
    counts = Counter(
        word[a:b] for word in words for a in range(len(word)) for b in range(a + 1, min(len(word), a + 4) + 1)
    )
    letters = {piece for piece in counts if len(piece) == 1} | {"▁", "A", "B", "C"}
    kept = sorted(letters | set(sorted(counts, key=lambda p: (-counts[p] * len(p), p))[:300]))
    spelled = [f"<0x{b:02X}>" for b in range(256)] if fallback else []
    rows = [(name, 0.0) for name in [*special, *spelled]]
    rows += [(piece, -9.0 + len(piece) * 0.9 + 0.001 * (number % 97)) for number, piece in enumerate(kept)]
    made = Tokenizer(models.Unigram(rows, unk_id=0, byte_fallback=fallback))
    made.decoder = decoders.Metaspace()
    made.add_special_tokens(list(special))
    return made


def word_piece(lower: bool = False) -> Tokenizer:
    """BERT's."""
    letters = sorted({letter for line in LINES for letter in line if not letter.isspace()} | set("abcdeilnorstu"))
    words = sorted({word for line in LINES for word in line.lower().split() if word.isascii() and word.isalpha()})
    names = dict.fromkeys(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), *words]
    )
    made = Tokenizer(models.WordPiece({name: n for n, name in enumerate(names)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=None)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


def _changed(made: Tokenizer, **parts: object) -> Tokenizer:
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def _added(made: Tokenizer) -> Tokenizer:
    made.add_special_tokens([AddedToken("<|mark|>", lstrip=True, rstrip=True)])
    made.add_tokens(
        [AddedToken("<|word|>", single_word=True), AddedToken("mark", normalized=True), AddedToken(" a pen")]
    )
    return made


def _cut(made: Tokenizer) -> Tokenizer:
    made.enable_truncation(5)
    made.enable_padding(length=12, pad_id=0, pad_token=END)
    return made


def _metaspace(scheme: str) -> Tokenizer:
    made = letter_bpe()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=scheme != "never")
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return made


def _word_level() -> Tokenizer:
    words = dict.fromkeys(["[UNK]", "</s>", *(w for line in LINES for w in pre_split(line)), "答え", "選択肢"])
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.Whitespace()])
    made.add_special_tokens(["[UNK]", "</s>"])
    return made


def pre_split(line: str) -> list[str]:
    """Words of a line as the word-level kind cuts it."""
    cutter = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.Whitespace()])
    return [word for word, _ in cutter.pre_tokenize_str(line)]


ACCENTS = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
SPLIT = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(DIGITS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
)
SINGLE = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
OLD_LLAMA = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
GEMMA = {
    "normalizer": normalizers.Replace(" ", "▁"),
    "pre_tokenizer": pre_tokenizers.Split(" ", "merged_with_previous"),
    "decoder": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
}
BOS = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 1), ("</s>", 2)])
_GPT = {"eos_token": END}
_ALL = {"eos_token": END, "bos_token": END, "unk_token": END, "pad_token": END}
_LLAMA = {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
_MORE = {
    "content": "<extra>",
    "lstrip": False,
    "rstrip": True,
    "normalized": False,
    "single_word": False,
    "special": True,
}

KINDS = {
    "byte_bpe": (byte_bpe, "PreTrainedTokenizerFast", _GPT),
    "nfkc_neox": (lambda: _changed(byte_bpe(), normalizer=normalizers.NFKC()), "GPTNeoXTokenizerFast", _GPT),
    "lower_gpt2": (lambda: _changed(byte_bpe(), normalizer=ACCENTS), "GPT2TokenizerFast", _GPT),
    "split_qwen2": (lambda: _changed(byte_bpe(), pre_tokenizer=SPLIT), "Qwen2Tokenizer", _GPT),
    "nfd_qwen2": (lambda: _changed(byte_bpe(), normalizer=normalizers.NFD()), "Qwen2TokenizerFast", _GPT),
    "digits_llama": (lambda: _changed(byte_bpe(), pre_tokenizer=SINGLE), "LlamaTokenizerFast", _ALL),
    "digits_bloom": (lambda: _changed(byte_bpe(), pre_tokenizer=SPLIT), "BloomTokenizerFast", _ALL),
    "unigram_llama": (lambda: _changed(unigram(), pre_tokenizer=pre_tokenizers.Metaspace()), "LlamaTokenizerFast", _LLAMA),
    "unigram_bytes": (
        lambda: _changed(unigram(fallback=True), normalizer=normalizers.NFKC(), pre_tokenizer=pre_tokenizers.Metaspace()),
        "T5TokenizerFast", {**_LLAMA, "pad_token": "</s>", "extra_ids": 0},
    ),
    "unigram_plain": (
        lambda: _changed(unigram(fallback=True), normalizer=normalizers.Replace(" ", "▁")), "PreTrainedTokenizerFast", _LLAMA,
    ),
    "bytes_llama": (lambda: _changed(letter_bpe(), normalizer=OLD_LLAMA), "LlamaTokenizerFast", _LLAMA),
    "meta_never": (lambda: _metaspace("never"), "LlamaTokenizerFast", _LLAMA),
    "meta_first": (lambda: _metaspace("first"), "LlamaTokenizer", _LLAMA),
    "meta_always": (lambda: _metaspace("always"), "PreTrainedTokenizerFast", _LLAMA),
    "gemma": (
        lambda: _changed(letter_bpe(("<pad>", "<eos>", "<bos>", "<unk>")), **GEMMA), "GemmaTokenizerFast",
        {"eos_token": "<eos>"},
    ),
    "bert_plain": (word_piece, "PreTrainedTokenizerFast", {"eos_token": "[SEP]", "unk_token": "[UNK]"}),
    "bert_cased": (word_piece, "BertTokenizerFast", {"do_lower_case": False}),
    "bert_lower": (lambda: word_piece(True), "BertTokenizerFast", {"eos_token": "[SEP]"}),
    "word_level": (_word_level, "PreTrainedTokenizerFast", {"eos_token": "</s>", "unk_token": "[UNK]"}),
    "added_neox": (lambda: _added(_changed(byte_bpe(), normalizer=normalizers.NFKC())), "GPTNeoXTokenizerFast", _GPT),
    "cut_and_padded": (lambda: _cut(byte_bpe()), "GPTNeoXTokenizerFast", _GPT),
    "template_llama": (
        lambda: _changed(unigram(), pre_tokenizer=pre_tokenizers.Metaspace(), post_processor=BOS), "LlamaTokenizerFast", _LLAMA,
    ),
    "config_adds": (byte_bpe, "PreTrainedTokenizerFast", {**_GPT, "pad_token": "<pad>", "added_tokens_decoder": {407: _MORE}}),
    "split_special": (byte_bpe, "GPTNeoXTokenizerFast", {**_GPT, "split_special_tokens": True}),
    "cleaned_up": (byte_bpe, "GPT2TokenizerFast", {**_GPT, "clean_up_tokenization_spaces": True}),
}  # fmt: skip


_SLOW_BERT = {"eos_token": "[SEP]"}
SLOW = {
    "slow_gpt2": (byte_bpe, "GPT2Tokenizer", _ALL),
    "slow_qwen2": (byte_bpe, "Qwen2Tokenizer", _ALL),
    "slow_codegen": (byte_bpe, "CodeGenTokenizerFast", _ALL),
    "slow_roberta": (byte_bpe, "RobertaTokenizer", _ALL),
    "slow_bert": (word_piece, "BertTokenizer", _SLOW_BERT),
    "slow_bert_cased": (word_piece, "BertTokenizerFast", {**_SLOW_BERT, "do_lower_case": False}),
}
"""Without a tokenizer.json: vocab.json and merges.txt, or vocab.txt."""


def slow_folder(kind: str, place: Path) -> Path:
    """The files of a kind of SLOW, in `place`."""
    make, name, config = SLOW[kind]
    content = json.loads(make().to_str())["model"]
    place.mkdir(parents=True, exist_ok=True)
    names = sorted(content["vocab"], key=content["vocab"].get)
    if content["type"] == "BPE":
        (place / "vocab.json").write_text(json.dumps(content["vocab"]), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in content["merges"])]
        (place / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        (place / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **config}), encoding="utf-8")
    return place


def folder(kind: str, place: Path) -> Path:
    """The tokenizer's files of a kind, in `place`."""
    make, name, config = KINDS[kind]
    made = make()
    place.mkdir(parents=True, exist_ok=True)
    if "added_tokens_decoder" in config:
        size = made.get_vocab_size()
        config = {
            **config,
            "added_tokens_decoder": {str(size): token for token in config["added_tokens_decoder"].values()},
        }
    made.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **config}), encoding="utf-8")
    return place


def vocabulary(place: Path) -> int:
    """How many tokens the file of a folder has; 200 where there is none."""
    if not (place / "tokenizer.json").is_file():
        return 200
    return int(Tokenizer.from_file(str(place / "tokenizer.json")).get_vocab_size())


def texts() -> list[str]:
    """Odd texts, lines, and a fixed mixture of both."""
    rnd, parts = random.Random(3), [*LINES, *ODD, *(word for line in LINES for word in line.split())]
    return [*ODD, *LINES, *("".join(rnd.choice(parts) for _ in range(rnd.choice([2, 3, 5]))) for _ in range(250))]


def sequences(size: int) -> list[list[int]]:
    """Ids as a model may write them."""
    rnd = random.Random(5)
    return [[rnd.randrange(rnd.choice([5, size])) for _ in range(rnd.choice([1, 2, 3, 8]))] for _ in range(250)]


def digest(value: object) -> str:
    """Of anything that JSON holds."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answers(tokenizer: object, encode: object, size: int) -> dict[str, str]:
    """Digests of ids, and of the texts of ids below `size`."""
    written = sequences(size)
    return {
        "ids": digest([encode(text) for text in texts()]),  # type: ignore[operator]
        "texts": digest([tokenizer.decode(ids) for ids in written]),  # type: ignore[attr-defined]
        "plain": digest([tokenizer.decode(ids, skip_special_tokens=True) for ids in written]),  # type: ignore[attr-defined]
    }


if __name__ == "__main__":
    from transformers import AutoTokenizer

    found = {}
    for kind in [*KINDS, *SLOW]:
        with tempfile.TemporaryDirectory() as temporary:
            place = (folder if kind in KINDS else slow_folder)(kind, Path(temporary) / "t")
            fast, size = AutoTokenizer.from_pretrained(place), vocabulary(place)
            found[kind] = answers(fast, lambda text, t=fast: t.encode(text, add_special_tokens=False), size)
            print(kind, type(fast).__name__, len(fast), file=sys.stderr)
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
