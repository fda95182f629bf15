"""What used to be let in, or torn, in silence: source files in pieces, encodings of seven bits, text read in the wrong one."""

import json
import quopri

import pytest
from cleaned_files import cleaned

from haigo import cli
from haigo.formats import documents
from preprocess import index

JA = "これは日本語の文章である。東京は日本の首都で、人口は約千四百万人である。\n吾輩は猫である。名前はまだ無い。\n" * 5
ZH = "这是一个中文文本。北京是中国的首都，人口约两千万。\n" * 5
FR = "Où êtes-vous allés hier? L'élève était très fatigué.\n" * 5
SOURCE = "int one(void) {\n  return 1;\n}\n\n\nint two(void) {\n  return 2;\n}\n"


@pytest.mark.parametrize("ending", ["c", "js", "java", "rs", "go", "sh", "sql", "php", "tex", "yml", "h", "py"])
def test_a_source_file_is_one_document(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text(SOURCE)
    assert cleaned(tmp_path, path) == (0, [SOURCE.strip() if ending in ("c", "js", "java", "rs", "go", "sh", "sql", "php",
                                           "h", "py") else SOURCE.strip().replace("\n\n\n", "\n\n")])  # fmt: skip


def test_a_dump_called_sql_is_still_named(tmp_path, capsys):
    path = tmp_path / "a.sql"
    path.write_text("INSERT INTO t VALUES (1,'これは文章');\nINSERT INTO t VALUES (2,'これも文章');\n")
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and "SQL dump" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('<http://x.org/{n}> <http://x.org/label> "東京{n}"@ja .', "RDF (N-Triples)"),
        ("東京{n}\tB-LOC\n都\tI-LOC\nで\tO\n", "words with labels (BIO)"),
        ("東京{n} 名詞 B-LOC\nで 助詞 O\n", "words with labels (BIO)"),
        ('# 第{n}部\n<http://x.org/{n}> <http://x.org/label> "東京{n}"@ja .', "RDF (N-Triples)"),
        ("# sent_id = {n}\n東京 U-LOC\nで O\n", "words with labels (BIO)"),
        (
            "# text = 東京{n}で\n1\t東京\t東京\tPROPN\t_\t_\t0\troot\t_\t_\n2\tで\tで\tADP\t_\t_\t1\tcase\t_\t_\n",
            "parsed sentences (CoNLL-U)",
        ),
        (
            '@prefix x{n}: <http://x.org/{n}/> .\nx{n}:a x{n}:label "東京" ;\n  x{n}:comment "首都である。" .',
            "RDF (Turtle)",
        ),
    ],
)
def test_annotations_called_txt_are_named(tmp_path, capsys, line, said):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(line.format(n=n) for n in range(30)) + "\n", encoding="utf-8")
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and said in capsys.readouterr().err
    prose = "\n".join("血液型は O\n試験の結果は B-プラスであった。" for n in range(9)) + "\n"
    path.write_text(prose, encoding="utf-8")
    assert cleaned(tmp_path, path) == (0, [prose.strip()])


SETTINGS = {
    "YAML": [
        "name: test\non:\n  push:\n    branches: [main]\nsteps:\n- run: |\n    Anything goes here, as text.\n  id: one\n",
        "---\n題名: 天気\n本文: 今日は天気がよい\n札:\n  - 天気\n  - 散歩\n",
        "# of a dataset\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n",
    ],
    "INI, TOML": ["[main]\n# a remark\nkey = value\nother.key = 1\n\n[two]\nx=y\n"],
    "base64 or uuencode": [
        "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END CERTIFICATE-----\n",
        "begin 644 a.bin\nM86)C86)C86)C\n`\nend\n",
    ],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SETTINGS.items() for text in texts])
def test_settings_called_txt_are_named(tmp_path, capsys, kind, text):
    path = tmp_path / "a.txt"
    path.write_text(text * 3 if kind == "INI, TOML" else text, encoding="utf-8")
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and kind in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "太郎：行こう。\n花子: うん、行こう。\n太郎:\n  待って。\n",
        "Alice: Hello.\nBob: Hello.\nAlice: Where to?\n",
        "材料:\n- 卵\n- 牛乳\n作り方:\n- 混ぜる\n- 焼く\n",
        "Agenda:\n- opening\n- budget: 10 minutes\nPlace: the hall, as ever.\nWe shall be on time.\n",
        "---\ntitle: front matter\ndate: yesterday\n---\nA page of text begins here.\n",
        "[1]\nこれは注である。\nx = 1 とおく。\n[2]\n",
        "begin again, and once more\n-----BEGIN of the story-----\n",
    ],
)
def test_prose_that_looks_like_settings_stays(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    assert cleaned(tmp_path, path, "--min-chars", "1") == (0, [text.strip()])


SEVEN = {
    "HZ": ZH.encode("hz"),
    "UTF-7": FR.encode("utf-7"),
    "UTF-7 ": JA.encode("utf-7"),
    "ISO-2022-JP without": JA.encode("iso2022_jp").replace(b"\x1b", b""),
}
MISREAD = [("utf-8", "cp932"), ("utf-8", "latin-1"), ("utf-8", "cp1252"), ("cp932", "latin-1"), ("euc_jp", "latin-1"),
           ("euc_jp", "cp932"), ("utf-8", "euc_jp")]  # fmt: skip
ESCAPED = {
    "references": "".join(f"&#{ord(char)};" for char in JA),
    "escapes": JA.encode("unicode_escape").decode(),
    "quoted-printable": quopri.encodestring(JA.encode()).decode(),
    "base64": "\n".join(["44GT44KM44Gv5pel5pys6Kqe44Gu5paH56ug44Gn44GC44KL44CC5p2x5Lqs44Gv"] * 9),
}


@pytest.mark.parametrize("kind", SEVEN)
def test_seven_bits_are_named(tmp_path, capsys, kind):
    path = tmp_path / "a.txt"
    path.write_bytes(SEVEN[kind])
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and kind.strip() in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["if (a+bcd- e) { x +Abcd; y+=1 } ~{x} $B + $C(B)\n" * 9, "call +12345678 or +81312345678, +MEIw\n" * 9],
)
def test_ascii_is_ascii(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text)
    assert cleaned(tmp_path, path) == (0, [text.strip()])


@pytest.mark.parametrize(("was", "read"), MISREAD)
def test_text_read_in_the_wrong_encoding(tmp_path, capsys, was, read):
    """A file of it is named; of JSON lines a domain's profile drops it."""
    wrong = JA.encode(was).decode(read, "ignore")
    path = tmp_path / "a.txt"
    path.write_text(wrong, newline="")
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and "wrong encoding" in capsys.readouterr().err
    rows = tmp_path / "b.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in (wrong, JA)))
    assert cleaned(tmp_path, rows, "--profile", "literature") == (0, [JA.strip()])


@pytest.mark.parametrize(
    "text", ["繧繝縁の畳である。", "東京･大阪､奈良､京都｡", "ﾃﾚﾋﾞ､ﾗｼﾞｵ､ｼﾝﾌﾞﾝ ﾅﾄﾞ", "É «déjà» – Größe, não, ¥5,000"]
)
def test_text_in_rare_signs_stays(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(f"{text}\n" + JA)
    assert cleaned(tmp_path, path)[1] == [f"{text}\n{JA.strip()}"]


@pytest.mark.parametrize("kind", ESCAPED)
def test_text_in_escapes_is_named(tmp_path, capsys, kind):
    path = tmp_path / "a.txt"
    path.write_text(ESCAPED[kind])
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and kind in capsys.readouterr().err


CONTROLS = {
    "don\x92t \x93go\x94 5\x966": "don’t “go” 5–6",
    "one\x1ftwo\x1ethree\x01four": "one two three four",
    "\x1b[1;31mred\x1b[0m and\x07 \x1b]0;title\x07plain": "red and plain",
    "ab\x00c\x7fd": "abcd",
}


@pytest.mark.parametrize("text", CONTROLS)
def test_controls_that_stand_for_something(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": text}))
    assert cleaned(tmp_path, path) == (0, [CONTROLS[text]])


@pytest.mark.parametrize(
    "end", ['"We will never forget this day, and we will rebuild."', "山田太郎『春の海』\n鈴木花子『夏の山』"]
)
def test_an_article_may_end_with_what_was_said(tmp_path, end):
    path = tmp_path / "a.jsonl"
    text = f"{JA.strip()[:60]}町長は会見でこう語った。山の上で花が咲き、人々は朝まで歌った。\n{end}"
    path.write_text(json.dumps({"text": text}))
    assert cleaned(tmp_path, path, "--profile", "news") == (0, [text])


TABLES = {
    "label,text": [f"{row % 2},これは文章の{row}番目である。" for row in range(9)],
    "text,label": [f'"これは、文章の{row}番目である。",{row % 2}' for row in range(9)],
    "label\ttext": [f"{row % 2}\tThis is a film, the {row}th I saw." for row in range(9)],
    "id,two lines": [f'{row},"一行目である。\n\n二行目、である。"' for row in range(9)],
}
NO_TABLES = {
    "prices": [f"{row},000円の品物である。" for row in range(1, 10)],
    "verses": [f"{row}, and the {row}th thing came to pass" for row in range(9)],
    "dialogue": ["山田,君は来るか。", "鈴木,行くとも。"] * 4,
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_without_a_header_is_named(tmp_path, capsys, kind):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(TABLES[kind]))
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT and "a table of" in capsys.readouterr().err


@pytest.mark.parametrize("kind", NO_TABLES)
def test_prose_with_commas_is_none(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(NO_TABLES[kind]))
    assert cleaned(tmp_path, path) == (0, ["\n".join(NO_TABLES[kind])])


def test_a_text_that_is_parted_is_told(tmp_path, capsys):
    """A book in chapters is torn, and spread over the splits, where blank lines are taken for the ends of documents."""
    (tmp_path / "books").mkdir()
    for name in "ab":
        (tmp_path / "books" / f"{name}.txt").write_text(
            "\n\n\n".join(f"{name} 第{count}章\n{JA}" for count in range(5))
        )
    (tmp_path / "books" / "c.txt").write_text(JA)
    _, found = cleaned(tmp_path, tmp_path / "books")
    assert len(found) == 11 and documents.report(tmp_path / "out")["parted"] == {"files": 2, "documents": 10}
    assert "2 text files into 10 documents (--documents file" in capsys.readouterr().out
    _, found = cleaned(tmp_path, tmp_path / "books", "--documents", "file")
    assert len(found) == 3 and "parted" not in documents.report(tmp_path / "out")


def test_what_the_tokenizer_loses_is_told(tmp_path, model_dir, capsys):
    import sentencepiece

    lines = [
        ["これは日本語の文章である。", "def f(x): return x", "東京は日本の首都である。", "Hello"][at % 4]
        for at in range(99)
    ]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "m"), vocab_size=60, hard_vocab_limit=False,
        user_defined_symbols=["<|endoftext|>"], minloglevel=2,
    )  # fmt: skip
    rows = [{"text": "def f(x):\n    return x"}, {"text": "これは日本語の文章である。"}, {"text": "a\u2581b"}]
    path = tmp_path / "x.jsonl"
    for tokenizer, given, count in ((tmp_path / "m.model", rows, 2), (model_dir, rows, 1), (model_dir, rows[:2], 0)):
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        words = [str(path), "--tokenizer", str(tokenizer), "--output-prefix", str(tmp_path / "o")]
        assert cli.run(index.main, words) == 0
        said = capsys.readouterr().err
        assert f"gives {count} documents back changed" in said if count else "changed" not in said


PROGRAM = """'''Tables of a test.'''
A = [[1, 2], [3, 4]]
B = [[A[0], "x"], [A[1], "y"]]
C = [["a", "b"], ["c"]]
T = "{{name}} {{other}} {{%s}}" % B
'''
==========
'''
if A[[0]] and x[[i, j]] and y[[k]]: print(f"{{A}} {{B}}")
"""


def test_a_program_is_no_wikitext(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": PROGRAM}))
    assert cleaned(tmp_path, path) == (0, [PROGRAM.strip()])


def test_a_short_page_is(tmp_path):
    path = tmp_path / "a.jsonl"
    page = (
        "'''山田'''（[[1950年]][[1月1日]] - ）は[[日本]]の画家。\n\n{{stub}}\n{{DEFAULTSORT:やまた}}\n[[Category:画家]]"
    )
    path.write_text(json.dumps({"text": page}))
    assert cleaned(tmp_path, path) == (0, ["山田（1950年1月1日 -）は日本の画家。"])
