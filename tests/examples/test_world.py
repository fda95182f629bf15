"""The generator of the sample corpora: same bytes, valid formats, and questions that only the texts' facts answer."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from examples.world import build as world_build
from examples.world.encyclopedia import plain
from examples.world.facts import WORDS, World
from examples.world.grammar import Writer
from examples.world.minutes import kanji_number
from examples.world.python_text import corpora, split
from examples.world.questions import RUN, normalised
from examples.world.relations import RELATIONS
from haigo import files
from haigo.cli import HaigoError
from haigo.files import sha256_file

ROOT = Path(__file__).parents[2]
_NS = "{http://www.mediawiki.org/xml/export-0.10/}"


def digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".haigo"))
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def rows(path: Path) -> list[dict]:
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    else:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "sample"
    world_build.build(folder, seed=7, size=0.05)
    return folder


@pytest.fixture(scope="module")
def texts(sample: Path) -> dict[str, list[str]]:
    """Every Japanese text as a reader would meet it."""
    root = ElementTree.fromstring(bz2.decompress((sample / "encyclopedia/pages-articles.xml.bz2").read_bytes()))
    articles = [plain(page.findtext(f"{_NS}revision/{_NS}text") or "") for page in root.iter(f"{_NS}page")]
    news = [f"{row['title']}\n{row['text']}" for row in rows(sample / "news/news.jsonl.gz")]
    speeches = [
        record["speech"]
        for path in sorted((sample / "minutes").glob("*.json.gz"))
        for record in json.loads(gzip.decompress(path.read_bytes()))["speechRecord"]
    ]
    with tarfile.open(sample / "stories/aozora-sjis.tar.xz") as archive:
        tales = [archive.extractfile(member).read().decode("cp932") for member in archive]  # type: ignore[union-attr]
    return {"encyclopedia": articles, "news": news, "minutes": speeches, "stories": tales}


def questions(sample: Path) -> dict[str, list[dict]]:
    task = sample / "qa/jcommonsenseqa-v1.1"
    return {name: rows(task / f"{name}-v1.1.json") for name in ("train", "valid")}


def pairs(sample: Path) -> dict[str, list[dict]]:
    return {name: rows(sample / f"qa/pairs_{name}.jsonl") for name in ("dev", "test")}


def asked(sample: Path) -> list[str]:
    found = [row["question"] for group in questions(sample).values() for row in group]
    found += [re.fullmatch("質問：(.*)\n回答：", row["context"]).group(1) for g in pairs(sample).values() for row in g]  # type: ignore[union-attr]
    return found


def test_same_seed_same_bytes_in_another_process_and_locale(sample: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "4321", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    command = [
        sys.executable,
        "-m",
        "examples.world",
        "--output-dir",
        str(tmp_path / "again"),
        "--seed",
        "7",
        "--size",
        "0.05",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "again") == digests(sample)


def test_another_seed_is_another_country() -> None:
    names = [{entity.name for entity in World(seed, 0.3).of["person"]} for seed in (7, 8)]
    assert len(names[0] & names[1]) < len(names[0]) / 2


def test_rebuilding_in_place_leaves_no_page_of_a_longer_run(sample: Path, tmp_path: Path) -> None:
    files.write_text(tmp_path / "minutes/speech_start99901.json.gz", "old")
    world_build.build(tmp_path, seed=7, size=0.05)
    assert digests(tmp_path) == digests(sample)


def test_the_dump_is_a_dump(sample: Path) -> None:
    root = ElementTree.fromstring(bz2.decompress((sample / "encyclopedia/pages-articles.xml.bz2").read_bytes()))
    pages = list(root.iter(f"{_NS}page"))
    titles = [page.findtext(f"{_NS}title") for page in pages]
    assert len(titles) == len(set(titles))
    everything = "\n".join(page.findtext(f"{_NS}revision/{_NS}text") or "" for page in pages)
    for markup in ("[[Category:", "{{基礎情報", "'''", "<ref>", "#転送", '{| class="wikitable"', "== "):
        assert markup in everything, markup
    assert re.search(r"\[\[[^\]|:]+\|[^\]|]+\]\]", everything)  # a link shown under another name
    assert {page.findtext(f"{_NS}ns") for page in pages} == {"0", "1"}


def test_news_has_dates_repeats_and_reports_too_short_to_keep(sample: Path) -> None:
    reports = rows(sample / "news/news.jsonl.gz")
    assert [row["id"] for row in reports] == list(range(1, len(reports) + 1))
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", row["date"]) for row in reports)
    counts = Counter(row["text"] for row in reports)
    assert any(count > 1 and len(text) > 100 for text, count in counts.items())
    assert any(len(row["text"]) < 15 for row in reports)


def test_minutes_have_the_form_of_the_api(sample: Path) -> None:
    pages = [json.loads(gzip.decompress(path.read_bytes())) for path in sorted((sample / "minutes").glob("*.json.gz"))]
    assert [page["startRecord"] for page in pages] == [1 + 100 * at for at in range(len(pages))]
    assert [page["nextRecordPosition"] for page in pages] == [101 + 100 * at for at in range(len(pages) - 1)] + [None]
    records = [record for page in pages for record in page["speechRecord"]]
    assert len(records) == pages[0]["numberOfRecords"]
    assert len({record["speechID"] for record in records}) == len(records)
    for record in records:
        assert record["speech"].startswith("○") == (record["speechOrder"] > 0)
        assert record["speaker"] == "会議録情報" or f"{record['speaker']}君" in record["speech"]


def test_stories_are_aozora_files(sample: Path, texts: dict[str, list[str]]) -> None:
    with tarfile.open(sample / "stories/aozora-sjis.tar.xz") as archive:
        assert all(member.mtime == 0 and member.uid == 0 for member in archive)
        first = archive.extractfile(archive.getmembers()[0]).read()  # type: ignore[union-attr]
    assert b"\r\n" in first
    with pytest.raises(UnicodeDecodeError):
        first.decode("utf-8")
    for tale in texts["stories"]:
        assert tale.count("-" * 55) == 2 and "《" in tale and "底本：" in tale


def test_code_parses_and_english_is_not_in_it(sample: Path) -> None:
    code, english = rows(sample / "code/code.jsonl.zst"), rows(sample / "english/english.jsonl.zst")
    assert code and english
    for row in code:
        compile(row["text"], row["path"], "exec", dont_inherit=True)
    whole = "\n".join(row["text"] for row in code)
    bodies = [row["text"] for row in english]
    assert sum(body in whole for body in bodies) == 0
    assert json.loads((sample / "world.json").read_text(encoding="utf-8"))["python"] == sys.version.split()[0]


def test_split_moves_long_docstrings_only() -> None:
    source = 'def f():\n    """One.\n\n    More "text".\n    """\n    return 1\n\ndef g():\n    """Short."""\n'
    code, found = split(source)
    assert code == 'def f():\n    """One."""\n    return 1\n\ndef g():\n    """Short."""\n'
    assert found == [("f", 'One.\n\nMore "text".')]


def test_a_library_without_sources_is_named(tmp_path: Path) -> None:
    with pytest.raises(HaigoError, match="holds no Python sources"):
        corpora(1000, 1000, tmp_path)


def test_no_run_of_a_question_stands_in_a_corpus(sample: Path, texts: dict[str, list[str]]) -> None:
    whole = "\n".join(normalised(text) for group in texts.values() for text in group)
    for question in asked(sample):
        clean = normalised(question)
        assert not [at for at in range(max(1, len(clean) - RUN + 1)) if clean[at : at + RUN] in whole], question


def test_no_question_or_fact_is_in_two_sets(sample: Path) -> None:
    found = asked(sample)
    assert len(found) == len(set(found)) > 100
    sets = world_build.Questions(World(7, 0.05), 7, []).sets
    facts = [fact for group in sets.values() for fact in group]
    assert len(facts) == len(set(facts))


def test_questions_have_five_choices_and_balanced_labels(sample: Path) -> None:
    for group in questions(sample).values():
        for row in group:
            assert list(row) == ["q_id", "question", *(f"choice{at}" for at in range(5)), "label"]
            assert len({row[f"choice{at}"] for at in range(5)}) == 5
    labels = Counter(row["label"] for row in questions(sample)["valid"])
    assert set(labels) == set(range(5)) and max(labels.values()) - min(labels.values()) <= 2


def test_wrong_answers_are_of_the_same_kind(sample: Path) -> None:
    world = World(7, 0.05)
    kinds: dict[str, set[str]] = {}
    for name, values in [(kind, [e.name for e in group]) for kind, group in world.of.items()] + list(WORDS.items()):
        for value in values:
            kinds.setdefault(value, set()).add(name)
    for group in questions(sample).values():
        for row in group:
            assert set.intersection(*(kinds[row[f"choice{at}"]] for at in range(5))), row


def test_the_encyclopaedia_answers_every_question(sample: Path, texts: dict[str, list[str]]) -> None:
    sentences = [part for text in texts["encyclopedia"] for part in re.split("[。\n]", text)]
    facts = json.loads((sample / "world.json").read_text(encoding="utf-8"))["facts"]
    by_answer: dict[str, list[list[str]]] = {}
    for fact in facts:
        by_answer.setdefault(fact[2], []).append(fact)
    found = [(row["question"], row[f"choice{row['label']}"]) for group in questions(sample).values() for row in group]
    found += [(row["context"], row["target"]) for group in pairs(sample).values() for row in group]
    for question, answer in found:
        subjects = [fact[0] for fact in by_answer[answer] if fact[0] in question]
        assert subjects, question
        stated = [part for part in sentences if answer in part and any(subject in part for subject in subjects)]
        assert stated, (question, answer)


def test_capitals_lie_in_their_prefecture_and_every_value_exists() -> None:
    world = World(11, 1.0)
    for prefecture in world.of["prefecture"]:
        assert world.by_name[prefecture.values["capital"]].values["prefecture"] == prefecture.name
    for fact in world.facts:
        kind = RELATIONS[fact.relation].values
        if kind in world.of:
            assert world.by_name[fact.value].kind == kind
        elif kind in WORDS:
            assert fact.value in WORDS[kind]
    assert len(world.facts) > 1500 and len(world.by_name) > 500


def test_full_size_has_its_questions_and_shares() -> None:
    free = world_build.Questions(World(7, 1.0), 7, [])
    assert len(free.sets["train"]) >= 60 and len(free.sets["valid"]) >= 300
    assert sum(world_build.CHARACTERS[name] for name in ("code", "english")) > sum(
        world_build.CHARACTERS[name] for name in ("encyclopedia", "news")
    )


@pytest.mark.parametrize("size", ["0", "-1", "9"])
def test_sizes_out_of_range_are_refused_in_a_sentence(size: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.world", "--output-dir", str(tmp_path), "--size", size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "out of range" in done.stderr and "Traceback" not in done.stderr


def test_every_phrase_has_closed_brackets_and_known_slots(sample: Path) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        Writer("x", {}).fill("[a|b", {})
    text = (sample / "world.json").read_text(encoding="utf-8")
    assert json.loads(text)["synthetic"] is True


def test_no_slot_or_bracket_is_left_in_the_texts(texts: dict[str, list[str]]) -> None:
    for name in ("news", "minutes", "stories"):
        for text in texts[name]:
            assert not re.search(r"[{}\[\]|／]", text), (name, text)
            assert "。。" not in text and "、。" not in text, (name, text)


def test_a_bank_deals_every_phrase_before_it_repeats_one() -> None:
    writer = Writer("seed", {"bank": ["a", "b", "c", "d"]})
    assert sorted(writer.draw("bank") for _ in range(4)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("number", "written"), [(1, "一"), (10, "十"), (12, "十二"), (20, "二十"), (31, "三十一")])
def test_kanji_numbers(number: int, written: str) -> None:
    assert kanji_number(number) == written
