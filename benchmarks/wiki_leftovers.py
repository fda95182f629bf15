"""What is left of markup in cleaned Wikipedia, Wikinews and Aozora texts: Haigo, mwparserfromhell, wikiextractor.

    python benchmarks/wiki_leftovers.py [--articles 400] [--show KIND]

The same raw texts (HAIGO_CORPORA) through each: wikitext of a dump, articles of Wikinews, books of Aozora Bunko. Counted, for
1,000 articles, are places that a reader would see as remains: brackets of links and templates, tags, tables, parameters, empty
parentheses, names of files and categories, lists of sources, notes of transcribers. `text` is what is left, in characters by
ours. The peers know no Wikinews lists and no Aozora markup: theirs is what they leave of it. A peer that is not installed (pip
install mwparserfromhell wikiextractor) is left out, and said; wikiextractor is called as its command does, templates dropped.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from _measure import in_turn, load, parser
from _texts import add_corpora

os.environ["HAIGO_QUIET"] = "1"
Clean = Callable[[str, str], str]
WIKI = {
    "link brackets": r"\[\[|\]\]",
    "template braces": r"\{\{|\}\}",
    "tables": r"\{\||\|\}|^\|[-+]|^!.*(?:\|\||!!)|\|\|",
    "tags": r"</?(?:ref|br|div|span|small|table|t[rdh]|center|gallery|math|nowiki|su[pb]|references|font|code|timeline)\b",
    "entities": r"&(?:nbsp|amp|lt|gt|quot|#\d+|ndash|mdash|thinsp);",
    "bold and italics": r"''+",
    "headings": r"^=+[^=\n]+=+\s*$",
    "list marks": r"^[*#:;]+",
    "parameters": r"\b(?:colspan|rowspan|style|align|width|bgcolor|class|valign)\s*=|^\s*\|\s*[\w\s]+=",
    "files, categories": r"(?:^|\[)(?:ファイル|画像|File|Image|Category|カテゴリ):|\b(?:thumb|サムネイル)\|?",
    "outer links": r"\[https?://",
    "empty parentheses": r"[（(][\s、,，;；：:]*[)）](?!\s*内)|[（(][、,;；：]",
    "magic words": r"__[A-Z]+__|\{\{\{|DEFAULTSORT|#REDIRECT",
}
NEWS = WIKI | {
    "lists of sources": r"^(?:情報源|出典|関連記事|関連ニュース|外部リンク)\s*$",
    "lines of sources": r"^[^。\n]{1,40}、(?:19|20)\d\d年(?:\d{1,2}月\d{1,2}日)?。\s*$",
}
AOZORA = {
    "notes": r"［＃|※［",
    "ruby": r"《[^》\n]*》|｜",
    "accents": r"〔[^〕\n]*[a-zA-Z][`'^:~&,/_@|][^〕\n]*〕",
    "header": r"【テキスト中に現れる記号について】|^-{20,}",
    "colophon": r"^(?:底本(?:の親本)?：|入力：|校正：|初出：)|青空文庫作成ファイル",
}


def ours(profile: str) -> Clean:
    """By the command's own cleaning, nothing dropped."""
    from preprocess import rules
    from preprocess.account import Account
    from preprocess.rules import domains
    from preprocess.sources import Document

    def clean(text: str, title: str) -> str:
        account = Account()
        meta = {"title": title} | ({"markup": "wikitext"} if profile == "encyclopaedia" else {})
        document = Document("x", text, meta)
        kind = "wikitext" if profile == "encyclopaedia" else rules.markup_of(document)
        done = rules.apply(document, rules.MARKUPS[kind], account)
        return rules.run(done.text, domains.table()[profile].steps, account)

    return clean


def mwparserfromhell() -> Clean:
    """Its own way to plain text."""
    import mwparserfromhell as peer

    return lambda text, title: str(peer.parse(text).strip_code())


def wikiextractor() -> Clean:
    """As its command does for each page."""
    from wikiextractor.extract import Extractor

    def clean(text: str, title: str) -> str:
        made: Any = Extractor("1", "1", "https://ja.wikipedia.org/wiki", title, text.split("\n"))
        found = made.clean_text(text, mark_headers=False, expand_templates=False, html_safe=False)
        return "\n".join(found) if isinstance(found, list) else str(found)

    return clean


def count(texts: list[str], kinds: dict[str, str]) -> Counter[str]:
    """Remains by kind."""
    patterns = {name: re.compile(pattern, re.MULTILINE) for name, pattern in kinds.items()}
    return Counter({name: sum(len(each.findall(text)) for text in texts) for name, each in patterns.items()})


def run(clean: Clean, rows: list[tuple[str, str]]) -> list[str]:
    """Each text cleaned; one that a peer cannot clean is empty and said."""
    made = []
    for title, text in rows:
        try:
            made.append(clean(text, title))
        except Exception as error:  # each has errors of its own
            print(f"{title}: {type(error).__name__} {error}"[:150], file=sys.stderr)
            made.append("")
    return made


def main() -> int:
    """Print a table for each corpus."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--articles", type=int, default=400, help="of each corpus")
    words.add_argument("--show", metavar="KIND", help="print ours with some of what surrounds it")
    words.add_argument("--repeats", type=int, default=1)
    given = words.parse_args()
    from preprocess import sources

    corpora = {
        "wikitext": ("wiki_ja/jawiki-country-pages-articles.xml.bz2", "encyclopaedia", WIKI),
        "wikinews": ("news/wikinews-ja.jsonl.gz", "news", NEWS),
        "aozora": ("literature/aozora-sjis.tar.xz", "literature", AOZORA),
    }
    for name, (path, profile, kinds) in corpora.items():
        if not (given.corpora / path).exists():
            print(f"{name}: {given.corpora / path} is not here, left out (--corpora)")
            continue
        rows = []
        for document in sources.read([given.corpora / path]):
            rows.append((str(document.meta.get("title", "")), document.text))
            if len(rows) == given.articles:
                break
        contenders: dict[str, Clean] = {"haigo": ours(profile)}
        for make in (mwparserfromhell, wikiextractor):
            try:
                contenders[make.__name__] = make()
            except ImportError as error:
                print(f"{make.__name__} is left out: {error}")
        spent, made = in_turn({each: partial(run, clean, rows) for each, clean in contenders.items()}, given.repeats)
        size = sum(len(text.encode()) for _, text in rows) / 1e6
        own = sum(map(len, made["haigo"]))
        print(f"\n{name}: {len(rows)} articles, {size:.1f} MB; remains per 1,000 articles; {load()}")
        found = {each: count(texts, kinds) for each, texts in made.items()}
        print(f"{'':20}" + "".join(f"{each:>18}" for each in made))
        for kind in kinds:
            print(f"{kind:20}" + "".join(f"{1000 * row[kind] / len(rows):18,.0f}" for row in found.values()))
        print(f"{'all':20}" + "".join(f"{1000 * row.total() / len(rows):18,.0f}" for row in found.values()))
        print(f"{'text':20}" + "".join(f"{sum(map(len, texts)) / max(1, own):18.2f}" for texts in made.values()))
        rates = (size / statistics.median(spent[each]) for each in made)
        print(f"{'MB/CPU-s':20}" + "".join(f"{rate:18.2f}" for rate in rates))
        if given.show in kinds:
            for text in made["haigo"]:
                for hit in re.finditer(kinds[given.show], text, re.MULTILINE):
                    print(repr(text[max(0, hit.start() - 40) : hit.end() + 40]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
