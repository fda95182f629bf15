"""Every format, container and encoding gives the same documents; every damage ends in a sentence that names the place."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import tarfile

import pytest
import zstandard

from haigo.cli import HaigoError
from haigo.formats.documents.document import content_id
from preprocess import sources
from preprocess.sources.encodings import detect

ROWS = [
    {"id": "a", "text": "一つ目の文書。\n二行目", "title": "題"},
    {"id": 7, "text": "second\u2028line"},
    {"text": "三つ目"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
PACK = {
    "jsonl": lambda raw: raw,
    "jsonl.gz": gzip.compress,
    "jsonl.zst": zstandard.ZstdCompressor().compress,
    "jsonl.xz": lzma.compress,
    "jsonl.bz2": bz2.compress,
    "json": lambda raw: raw,
}


def texts(*paths, **options):
    return [document.text for document in sources.read(paths, **options)]


@pytest.mark.parametrize("kind", PACK)
def test_jsonl_in_every_container(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    path.write_bytes(PACK[kind](LINES))
    found = list(sources.read([path]))
    assert [document.text for document in found] == [row["text"] for row in ROWS]
    assert [document.id for document in found[:2]] == ["a", "7"] and found[0].meta == {"title": "題"}
    assert found[2].id == content_id("三つ目")


def test_the_packing_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(gzip.compress(zstandard.ZstdCompressor().compress(LINES)))
    assert len(texts(tmp_path / "x.jsonl")) == 3


def test_several_zstd_frames_are_one_file(tmp_path):
    frame = zstandard.ZstdCompressor().compress
    (tmp_path / "x.jsonl.zst").write_bytes(frame(LINES) + frame(LINES) + frame(b""))
    assert len(texts(tmp_path / "x.jsonl.zst")) == 6


@pytest.mark.parametrize("kind", ["jsonl.gz", "jsonl.zst", "jsonl.xz", "jsonl.bz2"])
@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_a_cut_file_is_never_a_short_one(tmp_path, kind, keep):
    raw = PACK[kind](os.urandom(40000).hex().join(['{"text": "', '"}\n']).encode() * 2)
    (tmp_path / f"x.{kind}").write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(HaigoError, match=rf"x\.{kind}.* is cut short or damaged"):
        texts(tmp_path / f"x.{kind}")


def test_parquet_alone_packed_and_without_the_key(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"path": ["p/1", "p/2"], "body": ["甲", "乙"]}), tmp_path / "x.parquet")
    found = list(sources.read([tmp_path / "x.parquet"], text_key="body"))
    assert [(document.id, document.text) for document in found] == [("p/1", "甲"), ("p/2", "乙")]
    (tmp_path / "y.parquet.gz").write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    assert texts(tmp_path / "y.parquet.gz", text_key="body") == ["甲", "乙"]
    with pytest.raises(HaigoError, match=r"no column 'bod'; it has path, body. Did you mean 'body'\?"):
        texts(tmp_path / "x.parquet", text_key="bod")
    (tmp_path / "z.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-9])
    with pytest.raises(HaigoError, match="not a readable parquet file"):
        texts(tmp_path / "z.parquet")


JAPANESE = "吾輩はねこである。名前はまだ無い。ＡＢＣ、一二三〜「テスト」カタカナ・ひらがな。\n" * 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "euc_jp", "iso2022_jp", "utf-16"])
def test_encodings_are_detected(tmp_path, encoding):
    text = JAPANESE.replace("〜", "～") if encoding == "cp932" else JAPANESE
    (tmp_path / "x.txt").write_bytes(text.encode(encoding))
    assert texts(tmp_path / "x.txt") == [text.rstrip("\n")]
    assert texts(tmp_path / "x.txt", format="files") == [text]
    assert detect(text.encode(encoding)) == encoding


def test_a_short_shift_jis_file_and_a_broken_one(tmp_path):
    assert detect("雨".encode("cp932")) == "cp932"
    (tmp_path / "x.txt").write_bytes(JAPANESE.replace("〜", "").encode("cp932") + b"\x81")
    for documents in ("file", "blank-lines"):
        with pytest.raises(HaigoError, match=r"x\.txt is cp932 up to byte 237 \(0x81, line 4\), and something else"):
            texts(tmp_path / "x.txt", txt_documents=documents)
    (tmp_path / "y.txt").write_bytes("一行目\n二行目".encode("cp932"))
    with pytest.raises(HaigoError, match=r"y\.txt is not utf-8 \(line 1\)"):
        texts(tmp_path / "y.txt", encoding="utf-8", txt_documents="file")
    with pytest.raises(HaigoError, match=r"y\.txt is not utf-8 \(near line 1\)"):
        texts(tmp_path / "y.txt", encoding="utf-8")
    with pytest.raises(HaigoError, match="no encoding called 'sjs'"):
        texts(tmp_path / "y.txt", encoding="sjs")


def test_txt_documents(tmp_path):
    (tmp_path / "x.txt").write_text("\n\n甲\n\n甲の続き\n\n\n乙\n \n\t\n丙\n\n\n\n", encoding="utf-8")
    assert texts(tmp_path / "x.txt") == ["甲\n\n甲の続き", "乙", "丙"]
    assert len(texts(tmp_path / "x.txt", txt_documents="file")) == 1
    (tmp_path / "a.txt").write_text("題《だい》\n著者\n\n\n\n本文\n\n\n底本：「x」\n入力：甲", encoding="utf-8")
    assert len(texts(tmp_path / "a.txt")) == 1  # Aozora's blank lines do not part documents


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_parts_a_text_file(tmp_path, encoding, end):
    lines = ["一日は晴れた。", "それから歩いた。", "", "二日は雨だった。", " ", "", "三日は休んだ。", "", "", ""]
    (tmp_path / "x.txt").write_bytes(end.join(lines).encode(encoding))
    parted = {
        "auto": ["一日は晴れた。\nそれから歩いた。\n\n二日は雨だった。", "三日は休んだ。"],
        "blank-lines": ["一日は晴れた。\nそれから歩いた。\n\n二日は雨だった。", "三日は休んだ。"],
        "paragraphs": ["一日は晴れた。\nそれから歩いた。", "二日は雨だった。", "三日は休んだ。"],
        "lines": ["一日は晴れた。", "それから歩いた。", "二日は雨だった。", "三日は休んだ。"],
        "pieces": ["一日は晴れた。\nそれから歩いた。\n\n二日は雨だった。\n\n\n三日は休んだ。"],
    }
    assert {way: texts(tmp_path / "x.txt", txt_documents=way) for way in parted} == parted


def test_pieces_end_after_sentences_and_at_the_latest_after_twice_their_size(tmp_path):
    wrapped = ["字" * 99] * 10 + ["字" * 99 + "。"]  # no sentence ends before the last line
    (tmp_path / "x.txt").write_text("\n".join([*wrapped, *["文" * 99 + "。"] * 12, "終わり"]), encoding="utf-8")
    pieces = texts(tmp_path / "x.txt", txt_documents="pieces")
    assert [len(piece.split("\n")) for piece in pieces] == [10, 5, 5, 4]
    assert "\n".join(pieces) == (tmp_path / "x.txt").read_text(encoding="utf-8")
    (tmp_path / "y.txt").write_text("\n\n".join(["題", *["字" * 260] * 4]), encoding="utf-8")
    assert [len(piece) for piece in texts(tmp_path / "y.txt", txt_documents="pieces")] == [525, 522]


def test_a_folder_of_files_and_patterns(tmp_path):
    for name in ("p/page_10.py", "p/page_2.py", "p/.hidden.py", "p/q/deep.py", "p/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n", encoding="utf-8")
    found = list(sources.read([tmp_path / "p"], format="files", patterns=["*.py"]))
    assert [document.id for document in found] == ["page_2.py", "page_10.py", "q/deep.py"]
    assert len(texts(tmp_path / "p", exclude=["q", "page_1*"])) == 2
    by_glob = list(sources.read([str(tmp_path / "p/**/*.py")], format="files"))
    assert {document.id for document in by_glob} == {document.id for document in found}
    for wrong, message in (("nothing/*.py", "no file matches"), ("gone", "gone does not exist")):
        with pytest.raises(HaigoError, match=message):
            texts(tmp_path / wrong)
    with pytest.raises(HaigoError, match="holds no file that matches"):
        texts(tmp_path / "p", patterns=["*.rs"])


def test_tar_members_are_documents_and_stay_in_memory(tmp_path, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, body in (("../../outside.txt", "逃げる文書"), ("a/in.txt", "中\n\n\nの文書"), ("a/r.jsonl.gz", None)):
            raw = gzip.compress(LINES) if body is None else body.encode("cp932")
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
        link = tarfile.TarInfo("a/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.tar.xz").write_bytes(packed.getvalue())
    monkeypatch.chdir(tmp_path / "in")
    assert texts("x.tar.xz")[:2] == ["逃げる文書", "中\n\n\nの文書"] and len(texts("x.tar.xz")) == 5
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "x.tar.xz"]
    (tmp_path / "in" / "x.tar.xz").write_bytes(packed.getvalue()[:-30])
    with pytest.raises(HaigoError, match="cut short or damaged"):
        texts("x.tar.xz")


WIKI = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">
<siteinfo><sitename>x</sitename></siteinfo>
<page><title>山</title><ns>0</ns><id>3</id><revision><id>9</id>
<text xml:space="preserve">'''山'''は[[高い]]。</text></revision></page>
<page><title>転送</title><ns>0</ns><id>4</id><redirect title="山"/><revision><text>#REDIRECT [[山]]</text></revision></page>
<page><title>旧転送</title><ns>0</ns><id>5</id><revision><text>＃転送 [[山]]</text></revision></page>
<page><title>ノート:山</title><ns>1</ns><id>6</id><revision><text>話</text></revision></page>
<page><title>空</title><ns>0</ns><id>7</id><revision><text/></revision></page>
</mediawiki>
"""


def test_mediawiki(tmp_path):
    (tmp_path / "w.xml.bz2").write_bytes(bz2.compress(WIKI.encode()))
    (found,) = sources.read([tmp_path / "w.xml.bz2"])
    assert (found.id, found.text, found.meta["title"]) == ("3", "'''山'''は[[高い]]。", "山")
    (tmp_path / "cut.xml").write_text(WIKI[:420], encoding="utf-8")
    with pytest.raises(HaigoError, match=r"cut\.xml is not well-formed XML \(line 6\)"):
        texts(tmp_path / "cut.xml")
    (tmp_path / "rss.xml").write_text("<rss></rss>", encoding="utf-8")
    with pytest.raises(HaigoError, match="XML of another kind"):
        texts(tmp_path / "rss.xml", format="mediawiki")


def speech(meeting, order, text="○議長　質問です。"):
    return {"speechID": f"{meeting}_{order:03d}", "issueID": meeting, "speechOrder": order, "speech": text, "date": "d"}


def test_diet_minutes(tmp_path):
    records = [speech("M1", order) for order in range(3)], [speech("M1", 3), speech("M2", 0), speech("M2", 1)]
    for number, page in enumerate(records):
        reply = {"numberOfRecords": 6, "numberOfReturn": 3, "nextRecordPosition": None, "speechRecord": page}
        (tmp_path / f"p{number}.json").write_text(json.dumps(reply), encoding="utf-8")
    found = list(sources.read([tmp_path]))
    assert [document.id for document in found] == ["M1_001", "M1_002", "M1_003", "M2_001"]
    assert len(list(sources.read([tmp_path], attendance=True))) == 6
    meetings = list(sources.read([tmp_path], join="meeting"))
    assert [(one.id, one.meta["speeches"]) for one in meetings] == [("M1", 3), ("M2", 1)]
    assert meetings[0].text.count("○議長") == 3
    nested = {"numberOfRecords": 1, "meetingRecord": [{"nameOfHouse": "衆議院", "speechRecord": [speech("M3", 1)]}]}
    (tmp_path / "m.json.gz").write_bytes(gzip.compress(json.dumps(nested).encode()))
    (one,) = sources.read([tmp_path / "m.json.gz"])
    assert one.meta["nameOfHouse"] == "衆議院"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"message": "(19011) 検索条件", "details": []}', "error reply of the API: .19011"),
        ("<xml/>", "is not JSON .line 1."),
        ('{"a": 1}', "not a reply of the Diet minutes API"),
        ('{"speechRecord": [{"speech": null}]}', "a record without speechID or speech"),
    ],
)
def test_replies_that_are_not_minutes(tmp_path, body, message):
    (tmp_path / "p.json").write_text(body, encoding="utf-8")
    with pytest.raises(HaigoError, match=message):
        texts(tmp_path / "p.json", format="kokkai")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "x"', r"x\.jsonl has a broken JSON line \(line 4\): [^:]*, column 13\.\n"),
        ("[1]", r"not a JSON object \(line 4\)"),
        ('{"txt": "a", "title": "b"}', r"\(line 4\) has no key 'text'; it has 'txt', 'title'. Did you mean 'txt'\?"),
        ('{"text": null}', r"\(line 4\) has no text under 'text' but NoneType"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_bytes(LINES + line.encode() + b"\n" + LINES)
    with pytest.raises(HaigoError, match=message):
        texts(tmp_path / "x.jsonl")


def test_lone_surrogates_get_as_far_as_cleaning(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(rb'{"text": "a\ud83db"}' + b"\n\n" + rb'{"text": "\ud83d\ude00"}')
    assert texts(tmp_path / "x.jsonl") == ["a\ud83db", "😀"]


def test_a_file_of_no_known_kind(tmp_path):
    (tmp_path / "x.dat").write_bytes(bytes(range(256)))
    with pytest.raises(HaigoError, match=r"x\.dat is not text of a known kind"):
        texts(tmp_path / "x.dat")
    with pytest.raises(HaigoError, match=r"--format is 'jsnl'. Did you mean 'jsonl'\?"):
        texts(tmp_path / "x.dat", format="jsnl")


@pytest.mark.parametrize("name", ["x.txt", "x.py", "x.jsonl", "x.jsonl.gz"])
def test_no_binary_passes_for_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x7fELF" + hashlib.shake_256(b"haigo").digest(4000))
    with pytest.raises(HaigoError, match=r"is not text in any known encoding|it is not UTF-8 text"):
        texts(tmp_path / name)


def test_a_few_control_characters_do_not_make_a_text_binary(tmp_path):
    (tmp_path / "x.txt").write_bytes("一\x0c二\x00".encode())
    assert texts(tmp_path / "x.txt") == ["一\x0c二\x00"]
