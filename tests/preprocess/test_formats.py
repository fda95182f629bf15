"""Files that are no prose are named, prose is never taken for one; encodings are judged by every byte; bombs are small."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest
import zstandard
from cleaned_files import cleaned
from shared_data import data_of

from haigo import cli
from haigo.formats.dataset.indexed import MMapReader
from haigo.formats.documents import containers
from preprocess import evaluation_items, index, tokenizer
from preprocess.sources import mediawiki, structured

DATA = data_of(__file__)

ROOT = Path(__file__).parent.parent.parent
SENTENCE = "これは試験のために書いた文章です。長さは四十文字を超えるように、もう一つ文を足してあります。"
ROW = json.dumps({"id": "a", "text": SENTENCE}, ensure_ascii=False)


STRUCTURED = DATA["structured"] | {
    "no declaration": "<records>\n" + "<record><speech>これは本文である。</speech></record>\n" * 30 + "</records>",
    "mecab": "東京\t名詞,固有名詞,地域,一般\nは\t助詞,係助詞,*,*\nEOS\n" * 5,
    "chasen": "東京\tトウキョウ\t東京\t名詞-固有名詞\t\t\nEOS\n" * 5,
    "cabocha": "* 0 1D 0/1 0.0\n東京\t名詞,固有名詞\nは\t助詞,係助詞\nEOS\n" * 5,
    "juman": '東京 とうきょう 東京 名詞 6 地名 4 * 0 * 0 "自動"\nは は は 助詞 9 副助詞 2 * 0 * 0 NIL\nEOS\n' * 5,
    "knp": "# S-ID:1\n* 1D <文頭>\n+ 1D <文頭>\n東京 とうきょう 東京 名詞 6 地名 4 * 0 * 0 NIL\nEOS\n" * 5,
    "csv without header": "".join(f"{n},2024-01-{n:02d},本文その{n},東京\n" for n in range(1, 9)),
    "tsv of pairs": "".join(f"これは{n}番の文です。\tThis is sentence {n}.\n" for n in range(5)),
    "taken apart by a tool": '<doc id="1" url="u" title="題">\n題\n\n' + "長い本文が続く。" * 300 + "\n</doc>\n" * 2,
    "longer than any head": '<doc id="1" url="u" title="題">\n題\n\n' + "長い本文が続く。" * 9000,
    "newspaper": "".join(
        f"<DOC>\n<NO>{n}</NO>\n<TEXT>\n{'長い本文が続く。' * 200}\n</TEXT>\n</DOC>\n" for n in range(3)
    ),
    "csv of one long row": 'id,text\n1,"' + "長い本文が続く。" * 9000 + '"\n',
}


@pytest.mark.parametrize("kind", STRUCTURED)
def test_structured_files_are_named(tmp_path, capsys, kind):
    (tmp_path / "x.txt").write_text(STRUCTURED[kind], encoding="utf-8")
    assert cleaned(tmp_path, tmp_path / "x.txt")[0] == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "x.txt" in said and ("--format txt" in said) == (kind != "pdf")  # bytes are no text
    code, found = cleaned(tmp_path, tmp_path / "x.txt", "--format", "txt", "--documents", "file", "--profile", "plain")
    assert code == 0 and len(found) == 1  # who asks for it gets it


@pytest.mark.parametrize("pack", ["gz", "zst", "xz", "bz2", "tar", "bom", "blanks", "utf-16", "crlf", "no ending"])
@pytest.mark.parametrize("kind", ["declared", "page", "csv", "tsv", "sql", "srt", "array", "warc"])
def test_whatever_they_are_packed_in(tmp_path, capsys, kind, pack):
    data = STRUCTURED[kind].encode()
    path = tmp_path / f"x.txt.{pack}"
    if pack == "tar":
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("a/x.txt")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    else:
        path = path if pack in ("gz", "zst", "xz", "bz2") else tmp_path / ("x" if pack == "no ending" else "x.txt")
        made = {
            "gz": gzip.compress,
            "zst": zstandard.ZstdCompressor().compress,
            "xz": lzma.compress,
            "bz2": bz2.compress,
            "bom": lambda raw: b"\xef\xbb\xbf" + raw,
            "blanks": lambda raw: b"\n\n" + raw,
            "utf-16": lambda raw: raw.decode().encode("utf-16"),
            "crlf": lambda raw: raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
            "no ending": lambda raw: raw,
        }[pack]
        path.write_bytes(made(data))
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT
    assert "--format txt" in capsys.readouterr().err


PROSE = DATA["prose"] | {
    "english": "Hello, world, said he, and went on, as ever.\nNothing, they replied, would come, of it, today.\n" * 3,
    "a comma in every line": "".join(f"Verse {n} of the song, sung once again\n" for n in "abcdefgh"),
    "readme": '<p align="center">\n<img src="a.png">\n</p>\n\n# Tool\n\n'
    + "It reads files and writes them back again." * 20,
    "sql in words": "SELECT は表を読む文である。INSERT INTO t VALUES (1) のように書けば行が加わる。\n" * 3,
    "tags in words": "<b>太字</b>は強い調子を表す。" + "本文が長く続いていく。" * 30 + "\n",
    "verse with one comma": "".join(f"{a}よ,{b}よ\n" for a, b in zip("山川雨雪春", "空海風霜秋", strict=True)),
}


@pytest.mark.parametrize("kind", PROSE)
def test_prose_is_prose(tmp_path, kind):
    (tmp_path / "x.txt").write_text(PROSE[kind], encoding="utf-8")
    code, found = cleaned(tmp_path, tmp_path / "x.txt", "--profile", "plain", "--documents", "file")
    assert code == 0 and found == [PROSE[kind].strip("\n")]


def test_no_document_of_the_real_corpora_is_taken_for_a_table(corpora):
    from preprocess import sources

    for path in sorted(corpora.rglob("*")):
        if path.is_file() and path.name != "README.md":
            for document in sources.read([path]):
                found = structured.what(document.text[: 1 << 16], len(document.text) < 1 << 16)
                assert found is None, (path, document.id, document.text[:200])


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl.txt", "x", "x.txt.gz"])
def test_json_lines_are_read_as_what_they_are(tmp_path, name):
    data = f"\ufeff{ROW}\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert cleaned(tmp_path, tmp_path / name) == (0, [SENTENCE])


def japanese(encoding):
    return (SENTENCE.replace("〜", "") + "\n").encode(encoding) * 3


ENCODED = {
    # a preface of more than any block in another script, and then what tells the encoding
    "ascii, then cp932": (b"plain preface line\n" * 20000 + japanese("cp932"), SENTENCE),
    "ascii, then euc_jp": (b"plain preface line\n" * 20000 + japanese("euc_jp"), SENTENCE),
    "ascii, then utf-8": (b"plain preface line\n" * 20000 + japanese("utf-8"), SENTENCE),
    "ascii, then iso2022_jp": (b"plain preface line\n" * 20000 + japanese("iso2022_jp"), SENTENCE),
    "utf-16 without its mark": (japanese("utf-16-le"), SENTENCE),
    "utf-16 without its mark, the other": (japanese("utf-16-be"), SENTENCE),
    "utf-16 english": (("An ordinary line of text.\n" * 9).encode("utf-16-le"), "An ordinary line"),
    "utf-32": (japanese("utf-32"), SENTENCE),
    "nec signs": (japanese("iso2022_jp") + b'\x1b$B-!-"-j\x1b(B\n', "①②㈱"),
    "half-width kana in seven bits": (japanese("iso2022_jp") + b"\x1b(I6@6E\x1b(B\n", "ｶﾀｶﾅ"),
    "nec signs of cp932": (japanese("cp932") + "①㈱髙﨑\n".encode("cp932"), "①㈱髙﨑"),
    "a word": ("東京\n".encode("cp932"), "東京"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_every_byte_of_a_file_has_a_say(tmp_path, model_dir, kind):
    data, wanted = ENCODED[kind]
    (tmp_path / "x.txt").write_bytes(data)
    for words in ((), ("--documents", "file")):
        code, found = cleaned(tmp_path, tmp_path / "x.txt", "--profile", "plain", *words)
        assert code == 0 and wanted in found[0] and "\ufffd" not in found[0]
    index.index([tmp_path / "x.txt"], model_dir, tmp_path / "o")
    model = tokenizer.load(model_dir)
    assert wanted in "".join(model.decode(ids) for ids in MMapReader(tmp_path / "o_text_document"))


CHINESE = "我们在学校里学习中文课本里的故事很有意思老师每天给我们讲一个\n" * 9
REFUSED = {
    "cp932, then euc_jp": (japanese("cp932") * 999 + japanese("euc_jp"), "cp932 up to byte"),
    "euc_jp, then cp932": (japanese("euc_jp") * 999 + japanese("cp932"), "euc_jp up to byte"),
    "utf-8 with a line of cp932": (japanese("utf-8") + japanese("cp932")[:-1] + japanese("utf-8"), "utf-8 up to byte"),
    "utf-16 cut": (japanese("utf-16")[:-1], "byte"),
    "mac roman": ("Déjà vu à la bibliothèque, où l'été est très beau.\n".encode("mac_roman") * 9, "byte"),
    "thai": ("ภาษาไทยเป็นภาษาที่สวยงาม\n".encode("tis_620") * 9, "byte 0"),
    "korean chat": ("ㅋㅋㅋㅋ 정말 재미있어요 ㅋㅋㅋ ㅎㅎㅎ\n".encode("euc_kr") * 9, "byte 0"),
    "utf-8, then cp932": (
        japanese("utf-8") * 999 + japanese("cp932"),
        f"utf-8 up to byte {len(japanese('utf-8')) * 999:,}",
    ),
    "cp932, then utf-8": (japanese("cp932") * 999 + japanese("utf-8"), "cp932 up to byte"),
    "latin-1": ("Ça va très bien, où est la bibliothèque? Déjà vu.\n".encode("latin-1") * 9, "byte 0"),
    "latin-1, late": (b"plain line\n" * 30000 + "très bien\n".encode("latin-1"), "byte 330,002"),
    "windows-1252": ("It\x92s a \x93quote\x94 of old.\n".encode("latin-1") * 3, "byte 2"),
    "gbk": (CHINESE.encode("gbk"), "byte 0"),
    "big5": ("我們在學校裡學習中文課本裡的故事很有意思\n".encode("big5") * 9, "byte 0"),
    "euc-kr": ("우리는 학교에서 한국어를 배웁니다 이야기가 재미있습니다\n".encode("euc_kr") * 9, "byte 0"),
    "cyrillic": ("Привет мир это обычный текст\n".encode("cp1251") * 9, "byte 0"),
    "koi8": ("Привет мир это обычный текст\n".encode("koi8_r") * 9, "byte 0"),
    "iso-2022-kr": ("우리는 학교에서\n".encode("iso2022_kr"), "byte"),
    "one bad byte": (japanese("utf-8") + b"\xff" + japanese("utf-8"), f"byte {len(japanese('utf-8')):,}"),
    "cut in a character": (japanese("utf-8")[:-3], "byte"),
    "surrogates": (japanese("utf-8") + b"\xed\xa0\x80\n", "byte"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_in_no_encoding_is_refused_with_its_place(tmp_path, capsys, model_dir, kind):
    data, said = REFUSED[kind]
    (tmp_path / "x.txt").write_bytes(data)
    for words in ((), ("--documents", "file")):
        assert cleaned(tmp_path, tmp_path / "x.txt", *words)[0] == cli.BAD_INPUT
        assert said in capsys.readouterr().err.lower()
    words = [str(tmp_path / "x.txt"), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(index.main, words) == cli.BAD_INPUT and said in capsys.readouterr().err.lower()


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "euc_jp", "iso2022_jp", "utf-16"])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_the_size_of_blocks_does_not_matter(encoding, block):
    from preprocess.sources import encodings

    text = (SENTENCE + "abc\n") * 4
    data = text.encode(encoding)
    parts = [data[at : at + block] for at in range(0, len(data), block)]
    assert encodings.judge(lambda: parts, "x") == encoding
    assert "".join(encodings.decoded(parts, "x", encoding)) == text
    bad = data + (b"\xff\xff" if encoding != "utf-16" else b"\x00\xdc") + "続き\n".encode(encoding)
    parts = [bad[at : at + block] for at in range(0, len(bad), block)]
    with pytest.raises(cli.HaigoError, match=rf"byte {len(data):,} \(0x(?:ff|00), line 5\)"):
        encodings.judge(lambda: parts, "x")


def frame(text=b"", **options):
    return zstandard.ZstdCompressor(**options).compress(text)


SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
LINE = f"{ROW}\n".encode()
ZSTD = {
    "skippable first": SKIPPED + frame(LINE),
    "skippable between": frame(LINE) + SKIPPED + b"\x5f\x2a\x4d\x18\x00\x00\x00\x00",
    "empty frames": frame() + frame(LINE) + frame(),
    "with checksum": frame(LINE, write_checksum=True) + frame(b"", write_checksum=True),
    "without size": frame(LINE, write_content_size=False),
    "in many blocks": zstandard.ZstdCompressor(level=1).compress(LINE + b'{"text": "' + b"x" * 900_000 + b'"}\n'),
    "streamed": b"",
}


@pytest.mark.parametrize("kind", ZSTD)
def test_every_legal_zstd_is_read(tmp_path, capsys, kind):
    data = ZSTD[kind]
    if kind == "streamed":
        made = zstandard.ZstdCompressor().compressobj()
        data = made.compress(LINE) + made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + made.flush()
    (tmp_path / "x.jsonl.zst").write_bytes(data)
    code, found = cleaned(tmp_path, tmp_path / "x.jsonl.zst")
    assert code == 0 and SENTENCE in found
    for cut in (len(data) - 1, len(data) // 2):
        (tmp_path / "y.jsonl.zst").write_bytes(data[:cut])
        code, found = cleaned(tmp_path, tmp_path / "y.jsonl.zst")
        # a cut at the end of a frame is no cut that anybody could see
        assert code == cli.BAD_INPUT or SENTENCE in found or "no document" in capsys.readouterr().err
    (tmp_path / "y.jsonl.zst").write_bytes(data + b"more")
    assert cleaned(tmp_path, tmp_path / "y.jsonl.zst")[0] == cli.BAD_INPUT


_MEASURED = """
import re, sys
from haigo import cli
from preprocess import clean, index
main = {"clean": clean.main, "index": index.main}[sys.argv[1]]
code = cli.run(main, sys.argv[2:])
print(code, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.parametrize(
    ("kind", "pack"),
    [
        ("jsonl", "gz"),
        ("jsonl", "zst"),
        ("jsonl", "xz"),
        ("jsonl", "bz2"),
        ("jsonl", "plain"),
        ("txt", "zst"),
        ("txt", "plain"),
    ],
)
def test_a_line_as_large_as_a_disk_is_named_in_little_memory(tmp_path, kind, pack):
    path = tmp_path / (f"x.{kind}" if pack == "plain" else f"x.{kind}.{pack}")
    parts = [b'{"text": "', *[b"a" * (1 << 20)] * 200, b'"}\n'] if kind == "jsonl" else [b"a" * (1 << 20)] * 200
    if pack == "zst":
        made = zstandard.ZstdCompressor().compressobj()
        path.write_bytes(b"".join(map(made.compress, parts)) + made.flush())
    elif pack == "plain":
        path.write_bytes(b"".join(parts))
    else:
        packing = {
            "gz": gzip.compress,
            "xz": partial(lzma.compress, preset=0),
            "bz2": partial(bz2.compress, compresslevel=1),
        }
        path.write_bytes(packing[pack](b"".join(parts)))
    words = ["clean", str(path), "--corpus", "c", "--output-dir", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", _MEASURED, *words], cwd=ROOT, capture_output=True, text=True)
    code, peak = map(int, done.stdout.split())
    assert code == cli.BAD_INPUT and f"{path} has a line of more than 64 MB (line 1)" in done.stderr
    assert peak < 300, f"{peak} MB"


PAGE = "<page><title>題</title><ns>0</ns><id>{}</id><revision><text>{}</text></revision></page>\n"


def test_a_dump_is_read_page_by_page_and_none_is_larger_than_any(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mediawiki, "_PAGE_BYTES", 200_000)
    (tmp_path / "x.xml").write_text(
        "<mediawiki>" + "".join(PAGE.format(n, SENTENCE * 300) for n in range(20)) + "</mediawiki>", encoding="utf-8"
    )
    assert cleaned(tmp_path, tmp_path / "x.xml")[0] == 0
    (tmp_path / "y.xml").write_text("<mediawiki>" + PAGE.format(1, "a" * 300_000) + "</mediawiki>", encoding="utf-8")
    (tmp_path / "z.xml").write_text(
        "<mediawiki>" + PAGE.format(1, "<b>" * 9000 + "</b>" * 9000) + "</mediawiki>", encoding="utf-8"
    )
    for name in ("y.xml", "z.xml"):
        assert cleaned(tmp_path, tmp_path / name)[0] == cli.BAD_INPUT
        assert f"{name} has a page" in capsys.readouterr().err


def test_an_overlong_line_is_passed_over_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "MOST_BYTES", 1000)
    (tmp_path / "x.jsonl").write_text(
        f'{ROW}\n{{"text": "{"x" * 5000}"}}\n{ROW.replace("これ", "それ")}\n', encoding="utf-8"
    )
    assert cleaned(tmp_path, tmp_path / "x.jsonl")[0] == cli.BAD_INPUT
    code, found = cleaned(tmp_path, tmp_path / "x.jsonl", "--skip-broken", "1")
    assert code == 0 and len(found) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "euc_jp", "utf-16"])
def test_evaluation_files_are_read_in_their_encoding(tmp_path, encoding):
    (tmp_path / "x.jsonl").write_bytes((json.dumps({"text": SENTENCE}, ensure_ascii=False) + "\n").encode(encoding))
    assert evaluation_items.read(tmp_path / "x.jsonl")[0].texts == (SENTENCE,)


@pytest.mark.parametrize(
    ("data", "said"), [(b'{"text": "\xff"}', "byte 10"), (b'{"text": ' + b"[" * 100_000, "line 1")]
)
def test_evaluation_files_that_cannot_be_read_are_named(tmp_path, data, said):
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(cli.HaigoError, match=rf"x\.jsonl.*{said}"):
        evaluation_items.read(tmp_path / "x.jsonl")
