"""Names that mean something in wikitext: namespaces, prefixes of other wikis, codes of countries in templates."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """The names in `text`, in which _ stands for a blank."""
    return [name.replace("_", " ") for name in text.split()]


# what embeds a file, or files the page in a category; as MediaWiki has them: any case, blanks and _ around the name
EMBEDDED = frozenset({"ファイル", "画像", "file", "image"})
CATEGORY = frozenset({"カテゴリ", "category"})
MEDIA = frozenset({"メディア", "media"})

# editions of Wikipedia; before a title these make a link to the same page in another language
LANGUAGES = frozenset(
    words(
        """
        aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar
        bat-smg bbc bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo
        ce ceb ch cho chr chy ckb co cr crh cs csb cu cv cy cz da dag de dga din diq dk dsb dtp dty dv dz ee el eml en
        eo epo es et eu ext fa fat ff fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got
        gpe gsw gu guc gur guw gv ha hak haw he hi hif ho hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io
        is it iu ja jam jbo jp jv ka kaa kab kaj kbd kbp kcg kg kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus
        kv kw ky la lad lb lbe lez lfn lg li lij lld lmo ln lo lrc lt ltg lv lzh mad mai map-bms mdf mg mh mhr mi min
        minnan mk ml mn mni mnw mo mos mr mrj ms mt mus mwl my myv mzn na nah nan nap nb nds nds-nl ne new ng nia nl
        nn no nov nqo nr nrm nso nup nv ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt
        pwn qu rki rm rmy rn ro roa-rup roa-tara rsk ru rue rup rw sa sah sat sc scn sco sd se sg sgs sh shi shn si
        simple sk skr sl sm smn sn so sq sr srn ss st stq su sv sw syl szl szy ta tay tcy tdd te tet tg th ti tig tk
        tl tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo vro wa war wo wuu xal xh xmf
        yi yo yue za zea zgh zh zh-cfr zh-classical zh-cn zh-min-nan zh-tw zh-yue zu
        """
    )
)
# other projects; unlike a language's these prefixes make a link in the text. Lower case only: titles begin with capitals
PROJECTS = frozenset(
    words(
        """
        w wikipedia wikt wiktionary b wikibooks q wikiquote s wikisource n wikinews v wikiversity voy wikivoyage d
        wikidata c commons m meta species wikispecies mw f foundation incubator phab phabricator oldwikisource mul
        translatewiki wmf doi rfc pmid bugzilla google imdb
        """
    )
)


def _table(rows: str) -> dict[str, str]:
    """Code -> name, from lines of `CODE[,CODE] NAME` parted by semicolons."""
    found = {}
    for row in rows.split(";"):
        codes, name = row.split()
        found.update(dict.fromkeys(codes.split(","), name))
    return found


# codes of ISO 3166, the IOC and FIFA, and the names that the Japanese templates of those names show
COUNTRIES = _table(
    "AFG アフガニスタン;ALB アルバニア;DZA,ALG アルジェリア;AND アンドラ;AGO,ANG アンゴラ;"
    "ATG,ANT アンティグア・バーブーダ;ARG アルゼンチン;ARM アルメニア;ABW,ARU アルバ;AUS オーストラリア;"
    "AUT オーストリア;AZE アゼルバイジャン;BHS,BAH バハマ;BHR,BRN バーレーン;BGD,BAN バングラデシュ;"
    "BRB,BAR バルバドス;BLR ベラルーシ;BEL ベルギー;BLZ,BIZ ベリーズ;BEN ベナン;BMU,BER バミューダ諸島;"
    "BTN,BHU ブータン;BOL ボリビア;BIH ボスニア・ヘルツェゴビナ;BWA,BOT ボツワナ;BRA ブラジル;BRU ブルネイ;"
    "BGR,BUL ブルガリア;BFA,BUR ブルキナファソ;BDI ブルンジ;KHM,CAM カンボジア;CMR カメルーン;CAN カナダ;"
    "CPV カーボベルデ;CYM,CAY ケイマン諸島;CAF,CTA 中央アフリカ共和国;TCD,CHA チャド;CHL,CHI チリ;CHN 中国;"
    "PRC 中華人民共和国;COL コロンビア;COM コモロ;COG,CGO コンゴ共和国;COD コンゴ民主共和国;COK クック諸島;"
    "CRI,CRC コスタリカ;CIV コートジボワール;HRV,CRO クロアチア;CUB キューバ;CYP キプロス;CZE チェコ;"
    "TCH チェコスロバキア;DNK,DEN デンマーク;DJI ジブチ;DMA ドミニカ国;DOM ドミニカ共和国;ECU エクアドル;"
    "EGY エジプト;SLV,ESA エルサルバドル;GNQ,GEQ 赤道ギニア;ERI エリトリア;EST エストニア;ETH エチオピア;"
    "SWZ エスワティニ;FRO フェロー諸島;FJI,FIJ フィジー;FIN フィンランド;FRA フランス;GAB ガボン;GMB,GAM ガンビア;"
    "GEO ジョージア;DEU,GER ドイツ;GDR,DDR 東ドイツ;FRG 西ドイツ;GHA ガーナ;GIB ジブラルタル;GRC,GRE ギリシャ;"
    "GRD,GRN グレナダ;GUM グアム;GTM,GUA グアテマラ;GIN,GUI ギニア;GNB,GBS ギニアビサウ;GUY ガイアナ;HTI,HAI ハイチ;"
    "HND,HON ホンジュラス;HKG 香港;HUN ハンガリー;ISL アイスランド;IND インド;IDN,INA インドネシア;IRN,IRI イラン;"
    "IRQ イラク;IRL アイルランド;ISR イスラエル;ITA イタリア;JAM ジャマイカ;JPN 日本;JOR ヨルダン;KAZ カザフスタン;"
    "KEN ケニア;KIR キリバス;PRK 北朝鮮;KOR 韓国;KOS コソボ;KWT,KUW クウェート;KGZ キルギス;LAO ラオス;"
    "LVA,LAT ラトビア;LBN,LIB レバノン;LSO,LES レソト;LBR リベリア;LBY,LBA リビア;LIE リヒテンシュタイン;"
    "LTU リトアニア;LUX ルクセンブルク;MAC マカオ;MKD 北マケドニア;MDG,MAD マダガスカル;MWI,MAW マラウイ;"
    "MYS,MAS マレーシア;MDV モルディブ;MLI マリ;MLT マルタ;MHL マーシャル諸島;MRT,MTN モーリタニア;"
    "MUS,MRI モーリシャス;MEX メキシコ;FSM ミクロネシア連邦;MDA モルドバ;MCO,MON モナコ;MNG,MGL モンゴル;"
    "MNE モンテネグロ;MAR モロッコ;MOZ モザンビーク;MMR,MYA ミャンマー;NAM ナミビア;NRU ナウル;NPL,NEP ネパール;"
    "NLD,NED,HOL オランダ;NCL ニューカレドニア;NZL ニュージーランド;NIC,NCA ニカラグア;NER,NIG ニジェール;"
    "NGA,NGR ナイジェリア;NIU ニウエ;NOR ノルウェー;OMN,OMA オマーン;PAK パキスタン;PLW パラオ;PSE,PLE パレスチナ;"
    "PAN パナマ;PNG パプアニューギニア;PRY,PAR パラグアイ;PER ペルー;PHL,PHI フィリピン;POL ポーランド;"
    "PRT,POR ポルトガル;PRI,PUR プエルトリコ;QAT カタール;ROU,ROM ルーマニア;RUS ロシア;RWA ルワンダ;"
    "KNA,SKN セントクリストファー・ネイビス;LCA セントルシア;VCT,VIN セントビンセント・グレナディーン;WSM,SAM サモア;"
    "SMR サンマリノ;STP サントメ・プリンシペ;SAU,KSA サウジアラビア;SEN セネガル;SRB セルビア;"
    "SCG セルビア・モンテネグロ;SYC,SEY セーシェル;SLE シエラレオネ;SGP,SIN シンガポール;SVK スロバキア;"
    "SVN,SLO スロベニア;SLB,SOL ソロモン諸島;SOM ソマリア;ZAF,RSA 南アフリカ共和国;SSD 南スーダン;ESP スペイン;"
    "LKA,SRI スリランカ;SDN,SUD スーダン;SUR スリナム;SWE スウェーデン;CHE,SUI スイス;SYR シリア;TWN 台湾;"
    "ROC 中華民国;TPE チャイニーズタイペイ;TJK タジキスタン;TZA,TAN タンザニア;THA タイ;TLS 東ティモール;"
    "TGO,TOG トーゴ;TON,TGA トンガ;TTO,TRI トリニダード・トバゴ;TUN チュニジア;TUR トルコ;TKM トルクメニスタン;"
    "TUV ツバル;UGA ウガンダ;UKR ウクライナ;ARE,UAE アラブ首長国連邦;GBR,UK イギリス;ENG イングランド;"
    "SCO スコットランド;WAL ウェールズ;NIR 北アイルランド;USA,US アメリカ合衆国;URY,URU ウルグアイ;"
    "UZB ウズベキスタン;VUT,VAN バヌアツ;VAT バチカン;VEN ベネズエラ;VNM,VIE ベトナム;YEM イエメン;ZMB,ZAM ザンビア;"
    "ZWE,ZIM ジンバブエ;SUN,URS,USSR ソビエト連邦;YUG ユーゴスラビア;EUR 欧州連合"
)
