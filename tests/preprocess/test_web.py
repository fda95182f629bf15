"""Pages and web archives: what is read of them, what is counted, and what a damaged one leaves."""

import gzip
import json

import pytest
from cleaned_files import cleaned, cleaned_documents, with_report
from shared_data import needed
from web_pages import TEXT, essay, packed, page, record, response

from haigo import cli
from haigo.cli import HaigoError
from preprocess.options import CleanOptions
from preprocess.sources import url_lists

HTML = page().encode()


def archive(folder, *records, name="a.warc.gz"):
    path = folder / name
    path.write_bytes(packed(*records) if name.endswith(".gz") else b"".join(records))
    return path


def test_a_page_is_its_text_alone(tmp_path):
    (tmp_path / "a.html").write_text(page(), encoding="utf-8")
    found, _ = with_report(tmp_path, tmp_path / "a.html")
    (one,) = found
    assert one.text == f"題の話\n{TEXT}" and one.id == "a.html"
    assert one.meta == {"title": "題", "origin": "a.html", "licence": "not stated"}


def test_a_page_is_known_by_the_address_that_it_names(tmp_path):
    link = '<link rel="canonical" href="https://example.jp/a?b=1&amp;c=2">'
    (tmp_path / "a.htm").write_text(page().replace("<head>", f"<head>{link}"), encoding="utf-8")
    found, _ = with_report(tmp_path, tmp_path / "a.htm")
    assert found[0].id == found[0].meta["url"] == "https://example.jp/a?b=1&c=2"


def test_short_pieces_inside_sentences_stay(tmp_path):
    body = "これは<b>太</b>い字で、<a href='/x'>目</a>に付く。<ruby>港<rp>（</rp><rt>みなと</rt><rp>）</rp></ruby>の話である。"
    table = "<table><tr><th>甲</th><td>一番の倉庫</td></tr></table>"
    (tmp_path / "a.html").write_text(page(f"{body}</p>{table}<p>終わり。"), encoding="utf-8")
    _, texts = cleaned(tmp_path, tmp_path / "a.html")
    assert "これは太い字で、目に付く。港の話である。" in texts[0] and "甲" in texts[0] and "一番の倉庫" in texts[0]


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp", "iso2022_jp", "utf-16"])
@pytest.mark.parametrize("said", ["header", "meta", "nowhere", "wrong header", "wrong both"])
def test_the_charset_of_a_page(tmp_path, codec, said):
    name = {"cp932": "Shift_JIS", "euc_jp": "EUC-JP", "iso2022_jp": "ISO-2022-JP"}.get(codec, codec)
    wrong = "EUC-JP" if codec == "cp932" else "Shift_JIS"
    meta = {"meta": name, "wrong header": name, "wrong both": wrong}.get(said, "")
    header = {"header": name, "wrong header": wrong, "wrong both": wrong}.get(said, "")
    body = page(charset=meta).encode(codec)
    kind = f"text/html; charset={header}" if header else "text/html"
    path = archive(tmp_path, response("http://example.jp/", body, kind))
    assert cleaned(tmp_path, path) == (0, [f"題の話\n{TEXT}"])


def test_records_and_what_is_known_of_them(tmp_path):
    path = archive(
        tmp_path,
        record("warcinfo", "", b"software: x\r\n", "application/warc-fields"),
        record("request", "http://example.jp/1", b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request"),
        response("http://example.jp/1", HTML),
        response(
            "http://example.jp/2", gzip.compress(page("二つ目の" + TEXT).encode()), headers="Content-Encoding: gzip\r\n"
        ),
        record("conversion", "http://example.jp/3", ("三つ目の" + TEXT).encode(), date="2023-12-31"),
    )
    found, report = with_report(tmp_path, path)
    assert [one.id for one in found] == [f"http://example.jp/{n}" for n in (1, 2, 3)]
    assert found[0].meta == {
        "url": "http://example.jp/1", "fetched": "2024-05-01", "title": "題", "origin": "a.warc.gz", "licence": "not stated",
    }  # fmt: skip
    assert found[2].meta["fetched"] == "2023-12-31" and found[2].text == "三つ目の" + TEXT
    assert report["format"] == "auto" and "passed_over" not in report


def test_what_is_no_page_is_counted(tmp_path):
    big = b"<html>" + b"a" * (17 << 20)
    path = archive(
        tmp_path,
        response("http://example.jp/1", HTML),
        response("http://example.jp/i", b"\x89PNG", "image/png"),
        response("http://example.jp/p", b"%PDF-", "application/pdf"),
        response("http://example.jp/n", HTML, status="404 Not Found"),
        response("http://example.jp/e", b"<html><body><script>x</script></body></html>"),
        response("http://example.jp/big", big),
        response("http://example.jp/bomb", gzip.compress(b"\0" * (40 << 20)), headers="Content-Encoding: gzip\r\n"),
        response("http://example.jp/q", b"\0\1\2", "application/octet-stream"),
        response("dns:example.jp", b"x", "text/dns"),
        record("revisit", "http://example.jp/r", b"HTTP/1.1 200 OK\r\n\r\n", "application/http; msgtype=response"),
        response("http://example.jp/2", page("また" + TEXT).encode()),
    )
    found, report = with_report(tmp_path, path)
    assert [one.id[-1] for one in found] == ["1", "2"]
    assert report["passed_over"] == {
        "record of images": 1,
        "record that is no HTML (application/pdf)": 1,
        "reply with status 404": 1,
        "page without text": 1,
        "page of more than 16 MB": 2,
        "record of a kind that is not said, and no HTML": 1,
        "record without an address of the web": 1,
        "record of a page that had not changed (revisit)": 1,
    }


def test_a_body_sent_in_parts(tmp_path):
    half = len(HTML) // 2
    parts = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (HTML[:half], HTML[half:], b""))
    only_says = response("http://example.jp/2", page("別の" + TEXT).encode(), headers="Transfer-Encoding: chunked\r\n")
    path = archive(tmp_path, response("http://example.jp/", parts, headers="Transfer-Encoding: chunked\r\n"), only_says)
    assert cleaned(tmp_path, path) == (0, [f"題の話\n{TEXT}", f"題の話\n別の{TEXT}"])


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
@pytest.mark.parametrize("left", [0.98, 0.9, 0.76])
def test_a_last_record_that_is_cut_is_named_and_the_rest_is_read(tmp_path, capsys, name, left):
    texts = [f"{n}番目の{TEXT}" for n in range(4)]
    path = archive(tmp_path, *(response(f"http://e.jp/{n}", page(t).encode()) for n, t in enumerate(texts)), name=name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * left)])
    found, report = with_report(tmp_path, path)
    assert [one.text for one in found] == [f"題の話\n{text}" for text in texts[:3]]
    assert report["passed_over"] == {"record cut short at the end of its file": 1}
    said = capsys.readouterr().err
    assert name in said and "cut short" in said and "http://e.jp/" in said


def test_what_is_no_archive_is_named(tmp_path, capsys):
    (tmp_path / "a.warc").write_bytes(response("http://example.jp/", HTML) + b"no record at all\r\n" * 50)
    assert cleaned(tmp_path, tmp_path / "a.warc")[0] == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "a.warc" in said and "http://example.jp/" in said


def test_lists_of_addresses(tmp_path):
    urls = [
        "http://www.good.jp/a",
        "http://bad.jp/x",
        "http://sub.bad.jp/y",
        "http://good.jp/tag/z",
        "http://notbad.jp/q",
    ]
    path = archive(tmp_path, *(response(url, page(url[-1] + TEXT).encode()) for url in urls))
    (tmp_path / "drop.txt").write_text("# 迷惑\nbad.jp\ngood.jp/tag/  # 一覧\n", encoding="utf-8")
    (tmp_path / "keep.txt").write_text("https://good.jp\n*.jp/q\n", encoding="utf-8")
    drop, keep = ["--drop-urls", str(tmp_path / "drop.txt")], ["--keep-urls", str(tmp_path / "keep.txt")]
    found, report = with_report(tmp_path, path, *drop)
    assert [one.id for one in found] == [urls[0], urls[4]]
    assert report["passed_over"] == {"address on a list to drop": 3}
    found, report = with_report(tmp_path, path, *drop, *keep)
    assert [one.id for one in found] == [urls[0], urls[4]]
    assert report["options"]["drop_urls"] and report["passed_over"] == {"address on a list to drop": 3}
    found, _ = with_report(tmp_path, path, *keep)
    assert [one.id for one in found] == [urls[0], urls[3], urls[4]]


def test_lists_are_of_rows_with_an_address_too(tmp_path):
    rows = [{"text": f"{n}{TEXT}", "url": f"https://{n}.jp/"} for n in "ab"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "drop.txt").write_text("a.jp\n", encoding="utf-8")
    found, report = with_report(tmp_path, tmp_path / "a.jsonl", "--drop-urls", str(tmp_path / "drop.txt"))
    assert [one.id for one in found] == ["https://b.jp/"] and report["passed_over"] == {"address on a list to drop": 1}


@pytest.mark.parametrize("content", ["", "# nichts\n", "a b.jp\n", None])
def test_a_list_that_lists_nothing_is_named(tmp_path, capsys, content):
    path = archive(tmp_path, response("http://example.jp/", HTML))
    if content is not None:
        (tmp_path / "drop.txt").write_text(content)
    assert cleaned(tmp_path, path, "--drop-urls", str(tmp_path / "drop.txt"))[0] == cli.BAD_INPUT
    assert "drop.txt" in capsys.readouterr().err


@pytest.mark.parametrize("entry", ["*.example.jp", "*.Example.jp/*", "a.example.jp:443", "www.Example.jp/", "*tag/x"])
def test_how_an_address_on_a_list_may_be_written(tmp_path, entry):
    (tmp_path / "list").write_text(entry + "\n")
    lists = url_lists.UrlLists(drop=[str(tmp_path / "list")])
    assert lists.unwanted("https://A.example.jp:8080/tag/x") and not lists.unwanted("https://other.jp/example.jp")


def test_an_address_that_is_none_is_not_taken(tmp_path):
    link = '<link rel="canonical" href="http://[here]/x">'
    (tmp_path / "a.html").write_text(page().replace("<head>", f"<head>{link}"), encoding="utf-8")
    found, _ = with_report(tmp_path, tmp_path / "a.html", "--site-pages", "2")
    assert found[0].id == "a.html" and "url" not in found[0].meta


@pytest.mark.parametrize("words", [("--encoding", "utf-9"), ("--languages", "jp")])
def test_names_that_there_are_not(tmp_path, capsys, words):
    (tmp_path / "a.html").write_text(page(), encoding="utf-8")
    assert cleaned(tmp_path, tmp_path / "a.html", *words)[0] == cli.BAD_INPUT
    assert words[1] in capsys.readouterr().err


def test_a_page_of_many_comments_takes_no_time(tmp_path):
    comments = b"<!-- a -->" * 300
    path = archive(
        tmp_path,
        response("http://e.jp/1", comments + b"<p>x</p>", "application/octet-stream"),
        response("http://e.jp/2", comments[:1000] + HTML, "application/octet-stream"),
    )
    found, _ = with_report(tmp_path, path)
    assert [one.id for one in found] == ["http://e.jp/2"]


def test_pages_of_a_folder(tmp_path):
    (tmp_path / "site" / "b").mkdir(parents=True)
    (tmp_path / "site" / "a.html").write_text(page("一。" + TEXT), encoding="cp932")
    (tmp_path / "site" / "b" / "c.html.gz").write_bytes(gzip.compress(page("二。" + TEXT).encode()))
    code, found = cleaned_documents(tmp_path, tmp_path / "site")
    assert code == 0 and [one.id for one in found] == ["a.html", "b/c.html.gz"]


@pytest.mark.parametrize("name", ["page.html", "cc.warc.wet"])
def test_saved_ones_are_read(tmp_path, name):
    code, texts = cleaned(tmp_path, needed("cases/formats") / name)
    wanted = "本文の段落である。これは漢字を含む。" if name == "page.html" else "最初のページの本文である。ここは残る。"
    assert code == 0 and wanted in texts[0] and "メニュー" not in texts[0]


FOOT = "この町の案内を続けて二十年、編集は三人の手で行っている"


def site(folder, host="town.jp", pages=6, **more):
    """Pages with text of their own, a line that all have, and a phrase that two have."""
    records = []
    for number in range(pages):
        own = essay(f"{host} {number}")
        said = "</p><p>どうぞよろしく。" if number < 2 else ""
        body = page(f"{own}{said}</p><p>{FOOT}", title=f"第{number}回")
        records.append(response(f"http://{host}/{number}", body.encode()))
    return archive(folder, *records, **more)


def test_lines_that_a_site_repeats_go(tmp_path):
    found, report = with_report(tmp_path, site(tmp_path), "--profile", "web")
    assert len(found) == 6 and not any(FOOT in one.text for one in found)
    assert sum("どうぞよろしく。" in one.text for one in found) == 2
    assert report["rules"]["site_lines"]["documents"] == 6
    assert report["options"]["site_pages"] == 3
    found, report = with_report(tmp_path, site(tmp_path), "--profile", "web", "--site-pages", "0")
    assert all(FOOT in one.text for one in found) and "site_lines" not in report["rules"]


def test_what_other_sites_say_too_is_not_counted_together(tmp_path):
    (tmp_path / "raw").mkdir()
    for number in range(4):
        site(tmp_path / "raw", f"t{number}.jp", 2, name=f"{number}.warc.gz")
    found, report = with_report(tmp_path, tmp_path / "raw", "--profile", "web")
    assert len(found) == 8 and all(FOOT in one.text for one in found) and "site_lines" not in report["rules"]


def test_a_line_of_few_pages_of_a_large_site_stays(tmp_path):
    found, _ = with_report(tmp_path, site(tmp_path, pages=16), "--profile", "web", "--site-pages", "2")
    assert sum("どうぞよろしく。" in one.text for one in found) == 2 and not any(FOOT in one.text for one in found)


def test_the_number_of_workers_changes_nothing(tmp_path, monkeypatch):
    from preprocess import site_lines

    shards = {}
    for name, workers, held in (("a", "1", 4_000_000), ("b", "2", 4_000_000), ("c", "1", 10)):
        monkeypatch.setattr(site_lines, "_HELD", held)
        (tmp_path / name).mkdir()
        assert (
            cleaned(tmp_path / name, site(tmp_path / name, pages=9), "--profile", "web", "--workers", workers)[0] == 0
        )
        shards[name] = (tmp_path / name / "out" / "train" / "00000.jsonl.zst").read_bytes()
        assert sorted(path.name for path in (tmp_path / name / "out").iterdir() if path.name[0] != ".") == [
            "clean.json", "test", "train", "valid",
        ]  # fmt: skip
    assert shards["a"] == shards["b"] == shards["c"]


def test_documents_without_an_address_are_as_before(tmp_path):
    rows = [{"text": f"{n}番の{TEXT}\n{FOOT}", "id": str(n)} for n in range(5)] + [
        {"text": TEXT * 3 + FOOT, "url": "http://a.jp/"}
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found, report = with_report(tmp_path, tmp_path / "a.jsonl", "--site-pages", "2")
    assert len(found) == 6 and "site_lines" not in report["rules"]


def test_other_languages_go(tmp_path):
    english = (
        "The harbour keeps its old ledgers in a dry room behind the office, and nobody has read them for years. " * 3
    )
    path = archive(
        tmp_path,
        response("http://e.jp/1", page(english, title="Ledgers").encode()),
        response("http://e.jp/2", page(TEXT * 2).encode()),
    )
    found, report = with_report(tmp_path, path, "--languages", "ja")
    assert [one.id for one in found] == ["http://e.jp/2"] and report["rules"]["language_en"]["documents"] == 1
    assert len(with_report(tmp_path, path, "--languages", "ja,en")[0]) == 2


def test_one_page_of_a_site_is_refused():
    with pytest.raises(HaigoError, match="every line stands on 1 page") as raised:
        CleanOptions(site_pages=1)
    assert "2 or more, or 0" in raised.value.fix
