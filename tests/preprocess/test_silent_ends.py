"""Packed files whose damage other readers take for their end; encodings that pass for another without an error."""

import base64
import bz2
import gzip
import io
import json
import lzma
import random
import tarfile

import pytest
import zstandard
from cleaned_files import cleaned

from haigo import cli

SENTENCE = "これは試験のために書いた文章です。長さは四十文字を超えるように、もう一つ文を足してあります。"


def line(number):
    return (json.dumps({"text": f"{number}{SENTENCE}"}, ensure_ascii=False) + "\n").encode()


def tar(numbers):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for number in numbers:
            member = tarfile.TarInfo(f"{number}.jsonl")
            member.size = len(line(number))
            archive.addfile(member, io.BytesIO(line(number)))
    return made.getvalue()


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


FOUR = tar(range(4))
LATER = len(bz2.compress(line(0)))
DAMAGED = {
    "a later bz2 stream": flipped(bz2.compress(line(0)) + bz2.compress(line(1)), LATER + 1),
    "bz2, then something else": bz2.compress(line(0)) + b"junk" + bz2.compress(line(1)),
    "bz2 cut": bz2.compress(line(0) * 99)[:-5],
    "a later xz stream": flipped(lzma.compress(line(0)) + lzma.compress(line(1)), len(lzma.compress(line(0))) + 1),
    "xz, then something else": lzma.compress(line(0)) + b"junkjunk",
    "xz cut": lzma.compress(line(0) * 99)[:-5],
    "gz, then something else": gzip.compress(line(0)) + b"junk" + gzip.compress(line(1)),
    "a tar cut between members": FOUR[:2048],
    "a tar cut in a header": FOUR[:2148],
    "a tar without its end": FOUR[:4096],
    "a broken header in a tar": flipped(FOUR, 2058),
    "a broken header in a packed tar": zstandard.compress(flipped(FOUR, 2058)),
    "two tars in one file": FOUR + tar([7]),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_other_readers_take_for_the_end_is_named(tmp_path, capsys, kind):
    (tmp_path / "x").write_bytes(DAMAGED[kind])
    assert cleaned(tmp_path, tmp_path / "x")[0] == cli.BAD_INPUT
    assert "is cut short or damaged" in capsys.readouterr().err


WHOLE = {
    "bz2 streams": bz2.compress(line(0)) + bz2.compress(b"") + bz2.compress(line(1)),
    "bz2 and zeros": bz2.compress(line(0) + line(1)) + b"\0" * 100_000,
    "xz streams with padding": lzma.compress(line(0)) + b"\0" * 8 + lzma.compress(line(1)),
    "gz twice": gzip.compress(gzip.compress(line(0) + line(1))),
    "all at once": lzma.compress(zstandard.compress(gzip.compress(bz2.compress(line(0) + line(1))))),
    "tar": tar([0, 1]),
    "tar with one block at its end": tar([0, 1])[:2560],
    "tar in gz twice": gzip.compress(gzip.compress(tar([0, 1]))),
    "long": bz2.compress(line(0)) + bz2.compress(line(1) * 9999),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_every_layer_and_stream_is_read(tmp_path, kind):
    (tmp_path / "x").write_bytes(WHOLE[kind])
    code, found = cleaned(tmp_path, tmp_path / "x")
    assert code == 0 and sorted({text[0] for text in found}) == ["0", "1"]


# 髙 and 﨑 as Windows (rows of NEC) and as Linux and MySQL (rows of IBM) write them in EUC-JP
WINDOWS = {"髙": b"\xfc\xe2", "﨑": b"\xf9\xf5", "①": b"\xad\xa1", "㈱": b"\xad\xea"}
UNIX = WINDOWS | {"髙": b"\x8f\xf4\xfb", "﨑": b"\x8f\xf4\xbd"}
NAMES = "髙橋と山﨑、①㈱"


def test_the_signs_of_windows_in_euc_jp_are_not_taken_for_those_of_2004(tmp_path):
    for number, signs in enumerate((WINDOWS, UNIX)):
        data = b"".join(signs.get(char) or char.encode("euc_jp") for char in f"{NAMES}。{SENTENCE}\n")
        for preface in (b"", b"plain\n" * 50_000):
            path = tmp_path / f"{number}.txt"
            path.write_bytes(preface + data * 3)
            for words in ((), ("--documents", "file"), ("--encoding", "cp51932"), ("--encoding", "eucJP-ms")):
                code, found = cleaned(tmp_path, path, *words)
                assert code == 0 and NAMES in found[0]
    (tmp_path / "2004.txt").write_bytes(f"俱楽部の♤。{SENTENCE}".encode("euc_jis_2004"))
    assert "俱楽部の♤。" in cleaned(tmp_path, tmp_path / "2004.txt")[1][0]


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"])
def test_wide_text_without_its_mark_is_read(tmp_path, encoding):
    (tmp_path / "x.txt").write_bytes(f"{SENTENCE}\n".encode(encoding) * 3)
    assert SENTENCE in cleaned(tmp_path, tmp_path / "x.txt")[1][0]


def test_utf_7_is_named_and_what_only_looks_like_it_is_text(tmp_path, capsys):
    path = tmp_path / "x.txt"
    path.write_bytes(f"{SENTENCE}\n".encode("utf-7") * 3)
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT
    assert "UTF-7" in capsys.readouterr().err
    assert SENTENCE in cleaned(tmp_path, path, "--encoding", "utf-7")[1][0]
    noise = base64.encodebytes(random.Random(1).randbytes(60_000)).decode()
    for text in ("C++ and a+b, +MDEabcde is a key.\n" * 9, f"A file:\n{noise}"):
        path.write_text(text)
        assert cleaned(tmp_path, path)[0] == 0


def test_a_line_with_two_texts_is_broken(tmp_path, capsys):
    twice = f'{{"text": "一{SENTENCE}", "text": "二{SENTENCE}"}}\n'.encode()
    within = f'{{"text": "三{SENTENCE}", "a": {{"text": 1, "b": "\\"text\\""}}}}\n'.encode()
    path = tmp_path / "x.jsonl"
    path.write_bytes(line(0) + twice + within)
    assert cleaned(tmp_path, path)[0] == cli.BAD_INPUT
    assert "has the key 'text' twice (line 2)" in capsys.readouterr().err
    code, found = cleaned(tmp_path, path, "--skip-broken", "1")
    assert code == 0 and [text[0] for text in found] == ["0", "三"]


def test_blanks_that_part_words_and_numbers_make_documents_differ(tmp_path):
    texts = ["A 1 2 円", "A 12 円", "the rapist", "therapist", "古池や 蛙", "x = a b", "x = ab"]
    same = ["A\n1  2円", "古池や\u3000\n蛙", "x=a b"]
    rows = [json.dumps({"text": text}) + "\n" for text in [*texts, *same]]
    (tmp_path / "x.jsonl").write_text("".join(rows))
    assert cleaned(tmp_path, tmp_path / "x.jsonl", "--min-chars", "1") == (0, texts)


def test_breaks_of_pages_and_other_programs_join_no_words(tmp_path):
    text = f"one\x0ctwo\x0bthree\x85four\n\x0cfive {SENTENCE}"
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": text}) + "\n")
    assert cleaned(tmp_path, tmp_path / "x.jsonl") == (0, [f"one\ntwo\nthree\nfour\nfive {SENTENCE}"])
