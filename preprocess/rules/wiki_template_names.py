"""Which templates of the Japanese and English Wikipedia print what: names alone, see `wiki_templates`."""

from __future__ import annotations

import re

from .wiki_names import words

# name -> which positional argument belongs to the sentence; -1 is the last one. Blanks in names are written _
PLACES = {
    name: place
    for place, names in (
        (
            1,
            """
            仮リンク 日本語版にない記事リンク ill2 illm リンク仮 nowrap nobr nobreak 改行禁止 small smaller small2
            smallsub big bigger larger large ruby ルビ ルビ文字 振り仮名 ふりがな rubyja unicode ipa 補助漢字フォント
            jis2004フォント cp932フォント jis90フォント fontカナ拡張 underline 下線 下線付き u bold b strong em i
            italic strike del 取り消し線 打ち消し線 傍点 圏点 visible_anchor vanchor abbr abbrlink tooltip 略語 quote
            quotation cquote blockquote 引用 行内引用 quotebox quote_box poemquote mono code tt kbd samp var mvar math
            tmath nobold noitalic nobold2 normal lower longitem center block_indent indent hebrew arabic nastaliq
            polytonic greek iast pie script/hebrew ハングル 簡体字 繁体字 ピン音 拼音 red blue green gray grey orange
            purple 赤 青 緑 chem2 ce sic ママ by by2 byk mlby mlbys baseball_year fy year overline sc smallcaps smcaps
            allcaps caps mark strikethrough flagathlete flagiocathlete flagiocmedalist flagmedalist url 要出典範囲
            ruby-ja 強調 太字 斜体 等幅 monospace オーバーライン 上線 囲み 囲み文字 囲み線 ipaフォント hover_title
            delimitnum num nts ntsh2 number nowraplinks plainlist flatlist 縦書き pdflink not_a_typo proper_name
            """,
        ),
        (
            2,
            "twitter facebook legend legend2 legend0 凡例 color fontsize resize rtl-lang langr lang rtl sort "
            "h:title htitle align css wikt-lang llang font-size langx",
        ),
        (3, "colors"),
        (
            -1,
            "transl translit transliteration 翻字 font_color fontcolor script font weight フォント w columns-list columns 段組 "
            "拡張漢字 背景色 bgcolor background_color 文字色 読み上げ",
        ),
    )
    for name in words(names)
}  # fmt: skip

NOTHING = frozenset(
    words(
        """
        要出典 要検証 要追加記述 要高次出典 要非一次出典 信頼性要検証 信頼できない出典 いつ 誰 誰2 どこ どれ 何 なぜ
        どのように 要説明 疑問点 疑問点2 独自研究 独自研究? 要ページ番号 要文献特定詳細情報 要曖昧さ回避 要校閲 要推敲
        要更新 要出典明記 要典拠 要参照 要修正 中立的観点 中立的でない 大言壮語 出典無効 出典無効2 リンク切れ 脚注
        誰によって どの 具体例 非中立的 言葉を濁さない 翻訳中途 訳語疑問点 正確性 観点 要校正 精度 特筆性 年代明記
        数値検証 追加出典 要約 誇大 曖昧 検証不能 画像提供依頼 citation_needed cn fact dead_link deadlink clarify when
        who which where why how by_whom dubious page_needed vague weasel-inline according_to_whom better_source
        unreliable_source? failed_verification full_citation_needed original_research_inline pov-inline update_after
        update_inline dn disambiguation_needed verify_source verification_needed specify webarchive wayback cbignore r
        ref refn refnest efn efn2 efn-ua efn-la note note_label ref_label cref cnote sfn sfnp sfnm rp 注 注釈
        脚注リスト reflist notelist 脚注ヘルプ sfnref harvid citation citeref isbn isbn2 isbn13 issn doi ncid naid
        jstor oclc asin pmid pmc arxiv bibcode 全国書誌番号 国立国会図書館 flagicon flag_icon flagdeco flagicon2
        flagicon_image 国旗アイコン 旗 仮旗 ogg 音声 試聴 listen sound anchor anchors アンカー 0 00 000 hs hid
        display_none ntsh shy wbr zwsp zwj zwnj clear clr - clear_left clear_right 改行 br crlf main main2 main_list
        see see_also seealso further details otheruses otheruses2 otheruseslist about for 混同 redirect redirect2
        hatnote distinguish 暫定記事名 記事名の制約 小文字 dl 半保護 保護 pp-semi pp toc tocright toclimit 目次 nobots
        未査読 国際化 更新 現在進行 最近の出来事 normdaten authority_control commons commonscat commons_category
        sisterlinks wikisource wikiquote wikinews wiktionary ウィキポータルリンク n fn fnb commonscat-inline
        commons-inline 画像募集中 節スタブ 書きかけ good_article
        featured_article 秀逸な記事 良質な記事 デフォルトソート defaultsort nowrap_begin nowrap_end dagger
        double-dagger 参照方法 出典の明記 複数の問題 単一の出典 一次資料 wp_nopic multicol col-begin col-2 col-end
        div_col div_col_end en_icon 先代次代 参考文献 external_media refbegin refend spoken_wikipedia interlang enlink
        """
    )
)
# 要出典範囲 and its kin print the range that they are given; so do all names that end so
RANGE_END = "範囲"
NOTHING_LIKE = re.compile(
    r"cite .*|cite[a-z]+|harvcol.*|.*stub|.*スタブ|.*-foot|pp-.*|infobox.*|基礎情報.*|navbox.*|sidebar.*|"
    r"(?:[a-z]{2,3}|yue|simple) icon|ipa(?:c|soundbox)?-audio|defaultsort:.*|デフォルトソート:.*|displaytitle:.*|表示名:.*|"
    r"#tag:.*|toc.*|otheruses.*|main.*|see also.*|commons.*|file:.*|ファイル:.*|要.*出典|flagicon.*|"
    r"駅番号.*|.*route sign.*|.*(?:の画像提供依頼|アイコン)",
    re.DOTALL,
)
LANGUAGE_TEMPLATE = re.compile(r"lang-[a-z-]+|ipac?-[a-z]{2,4}|ipa-all|pron-[a-z]{2,3}|zh-?[a-z]{0,4}")
SIGNS = {
    "=": "=", "pi": "π", "minus": "−", "plus": "+", "±": "±", "pm": "±", "plusminus": "±", "times": "×", "ndash": "–",
    "–": "–", "mdash": "—", "—": "—", "spaced ndash": " – ", "snd": " – ", "spd": " – ", "nbsp": " ", "space": " ",
    "spaces": " ", "·": "・", "•": "・", "middot": "・", "dot": "・", "bull": "・", "wdot": "・", "'": "'", "(": "(",
    ")": ")", "bracket left": "[", "!(": "[", ")!": "]", "sharp": "♯", "flat": "♭", "natural": "♮", "infin": "∞",
    "degree": "°", "deg": "°", "half": "½", "ellipsis": "…", "slash": "/", "ダッシュ": "――",
}  # fmt: skip
SHIPS = frozenset(words("hms uss ss rms usns ms mv hmas hmcs hmnzs sms ins jds js mt ms ps sv usat usav gts hnoms"))
COUNTRY_FIRST = frozenset(
    words(
        """
        flag flagu flagcountry flaglink flag_link noflag country flagioc flagioc2 flagiocteam flagcountryoc flagpost
        国旗 国旗と国名 旗と国名 fb fbw fb-rt fb-r fb-big fbu-r bb bbw bk bkw ih ihw vb vbw hb hbw ru rut rub sb fh
        nft cr crw
        """
    )
)
COUNTRY_SECOND = frozenset({"fbu", "fbwu", "fboly", "bku", "rus"})
CURRENCIES = {
    "円": ("", "円"), "jpy": ("", "円"), "yen": ("", "円"), "¥": ("", "円"), "usd": ("US$", ""), "us$": ("US$", ""),
    "$": ("$", ""), "米ドル": ("", "米ドル"), "ドル": ("", "ドル"), "ユーロ": ("", "ユーロ"), "eur": ("€", ""),
    "euro": ("€", ""), "€": ("€", ""), "gbp": ("£", ""), "£": ("£", ""), "pound": ("£", ""), "ポンド": ("", "ポンド"),
    "cny": ("", "元"), "rmb": ("", "元"), "元": ("", "元"), "krw": ("", "ウォン"), "ウォン": ("", "ウォン"),
    "twd": ("NT$", ""), "nt$": ("NT$", ""), "hk$": ("HK$", ""), "hkd": ("HK$", ""), "aud": ("A$", ""),
    "a$": ("A$", ""), "cad": ("C$", ""), "c$": ("C$", ""), "inr": ("₹", ""), "rub": ("", "ルーブル"), "℃": ("", "℃"),
    "°c": ("", "°C"), "℉": ("", "℉"), "°f": ("", "°F"), "度": ("", "度"), "パーセント": ("", "%"),
}  # fmt: skip
