"""Texts on which two readings of a tokenizer are compared: what tokenizers get wrong when one of their parts is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

PLAIN = (
    "a",
    " ",
    "  leading and trailing  ",
    "日本語の文章を、正しく区切る。",
    "東京都に住む人々は、毎朝「おはよう」と言った。",
    "吾輩は猫である。名前はまだ無い。\n　どこで生れたか頓（とん）と見当がつかぬ。",
    "Hello world, it's John's pen - isn't it? YOU'LL see.",
    "ÀÉÎõü naïve café Straße ǅ İstanbul ŒUVRE",
    "cafe\u0301 が\u3099 は\u309a e\u0301\u0323 각 \u1112\u1161\u11ab",
    "㌔ ㍿ ㈱ ① Ⅳ ﾊﾝｶｸ ｶﾞｷﾞｸﾞ ＡＢＣ ａｂｃ １２３ ！？ ～ ﬁ ½ ²",
    "㍻三十一年、㌢と㍑。",
    "def f(x):\n    if x:\n\treturn  {\n\t    'a':   1,\n        }\n",
    "for (int i = 0; i < 10; ++i) { a[i] += b->c; } // TODO: x != y && !z",
    "\n\n\n",
    "\r\n\tmixed\r\n   indentation\t\t \t",
    "a\nb\n\nc\n\n\nd \n e\n \n",
    "\t\t\ttabs    four        eight",
    "全角　空白　　二つ\u3000",
    "no\u00a0break thin\u2009space zero\u200bwidth \ufeffmark soft\u00adhyphen line\u2028sep",
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇯🇵❤️☺",
    "𠮟る𩸽を食べる 髙﨑 葛󠄀城 𰻞 㐂 龘",
    "https://example.com/path?q=日本語&n=10#top user@example.co.jp",
    "0 1 12 123 1234 12345 3.14 1,000,000 −1e-8 2024年12月31日",
    "∑∫√ ≦ ± × → ■ ● ※ 〒 § ♪",
    "Русский العربية हिन्दी 한국어 ไทย",
    "▁lower one ▁ eighth  block",
    "Ġ Ċ ## ##ing @@ </w> <0x0A> <0x41>",
    "\x00\x01\x7f\x1b[0m",
    "ああああああああああ aaaaaaaaaaaaaaaa ........ ーーーー",
    "質問：首都は？\n選択肢：\n- 東京\n- 京都\n回答：",
    "### 指示:\n与えられた選択肢の中から、最適な答えを選んでください。\n\n### 応答:\n",
    "ユーザー: こんにちは<NL>システム: ",
)
"""Without special tokens of any tokenizer in particular."""
TRAPS = (
    "",
    " ",
    "\n\n\n",
    "def f(x):\n    if x:\n\treturn  {\n\t    'a':   1,\n        }\n",
    "\r\n\tmixed\r\n   indentation\t\t \t",
    "絵文字👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇯🇵①㍿ｱｲｳ が゛e\u0301",
    "𠮟る𩸽 \u200b\ufeff\u00a0\u3000全角\uff01",
    "<|endoftext|><|padding|><unk><0x41></s>",
    "0123456789 3.14 １２３ −1e-8 ∑∫√",
    "Русский العربية हिन्दी 한국어 ไทย",
)
"""A few texts that tokenizers often get wrong: blanks, indentation, emoji, spelled-out special pieces, other scripts."""
SPELLED = (
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<|endoftext|>",
    "<|padding|>",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[MASK]",
)
_MIXED = 64


def probes(special: Sequence[str] = ()) -> list[str]:
    """The texts, the special tokens of a tokenizer among blanks and words, and a fixed mixture of all.

    Args:
        special: special and added tokens as they are spelled; at most 40 are used.
    """
    spelled = list(dict.fromkeys([*special[:40], *SPELLED]))
    around = [form.format(token) for token in spelled for form in ("{0}", "前 {0} 後", "a{0}b", "  {0}  \n{0}")]
    rnd = random.Random(20240229)
    parts = [*PLAIN, *spelled, *(word for text in PLAIN for word in text.split(" ")), " ", "\n", "　"]
    mixed = ["".join(rnd.choice(parts) for _ in range(rnd.choice((2, 3, 4)))) for _ in range(_MIXED)]
    return ["", *PLAIN, *around, *mixed]
