"""Evaluation items in corpora: every planted one is found, nothing else goes, and the scorer reads the ids."""

import json
import random

import pytest
from corpora_folders import texts, write

from haigo.cli import HaigoError
from preprocess import decontaminate, evaluation_items, ngrams
from preprocess.evaluation_items import Item

LETTERS = [chr(code) for code in range(0x4E00, 0x4F00)] + list("のにはをがとでもからしていたこと")


def invented(rng, size):
    return "".join(rng.choices(LETTERS, k=size))


def jglue(folder, rng, count=40):
    """Synthetic files in JGLUE's forms and flat names; returns what to plant: (task, id, text that gives it away)."""
    folder.mkdir(exist_ok=True)
    plant = []
    rows = []
    for number in range(count):
        size = 5 if number % 4 == 0 else 30
        row = {"q_id": 8939 + number, "question": invented(rng, size) + "？", "label": 0}
        row |= {f"choice{each}": invented(rng, rng.randint(2, 6)) for each in range(5)}
        rows.append(row)
        whole = row["question"] + "\n" + "\n".join(f"{each}. {row[f'choice{each}']}" for each in range(5))
        plant.append(("jcommonsenseqa", str(row["q_id"]), whole if size == 5 else f"問「{row['question']}」"))
    lines(folder / "jcommonsenseqa-valid-v1.1.json", rows)
    rows = [pair(number, invented(rng, 24) + "。", invented(rng, 12)) for number in range(count)]
    lines(folder / "jnli-valid-v1.1.json", rows)
    plant += [("jnli", row["sentence_pair_id"], row["sentence1"]) for row in rows]
    articles = []
    for number in range(count):
        context = invented(rng, rng.randint(90, 300))
        asked = [
            {"id": f"a{number}q{each}", "question": invented(rng, 12), "answers": [{"text": context[:3]}]}
            for each in (0, 1)
        ]
        articles.append({"title": "題", "paragraphs": [{"context": f"題 [SEP] {context}", "qas": asked}]})
        at = rng.randrange(0, len(context) - 50 + 1)
        plant += [("jsquad", f"a{number}q{each}", context[at : at + 50]) for each in (0, 1)]
    (folder / "jsquad-valid-v1.1.json").write_text(json.dumps({"data": articles}, ensure_ascii=False), encoding="utf-8")
    return plant


def pair(number, one, other):
    """A row of JNLI."""
    return {"sentence_pair_id": str(number), "sentence1": one, "sentence2": other, "label": "neutral"}


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def world(tmp_path, seed=1, documents=400):
    """A corpus with every item planted in a document of its own, among others without any."""
    rng = random.Random(seed)
    plant = jglue(tmp_path / "jglue", rng)
    rows = [
        (f"clean{number}", "\n".join(invented(rng, rng.randint(40, 200)) for _ in range(6)))
        for number in range(documents)
    ]
    for number, (_, _, text) in enumerate(plant):
        paragraphs = [invented(rng, rng.randint(20, 200)) for _ in range(5)]
        at = rng.randrange(5)
        paragraphs[at] = invented(rng, rng.randrange(30)) + text + invented(rng, rng.randrange(30))
        rows.append((f"dirty{number}", "\n".join(paragraphs)))
    rng.shuffle(rows)
    return write(tmp_path / "c", "c", {"train": rows}), plant


def named(path):
    return {(row["task"], row["id"]) for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_every_planted_item_is_found_and_nothing_else(tmp_path):
    folder, plant = world(tmp_path)
    report = decontaminate.decontaminate([folder], [tmp_path / "jglue"], tmp_path / "out")
    left = texts(tmp_path / "out/c")["train"]
    assert len(left) == 400 and all(own.startswith("clean") for own in left)  # recall 1, no false removal
    wanted = {(task, own) for task, own, _ in plant}
    assert named(tmp_path / "out" / "contaminated.jsonl") == wanted
    assert {task: row["found_in_training"] for task, row in report["tasks"].items()} == {
        "jcommonsenseqa": 40, "jnli": 40, "jsquad": 80,
    }  # fmt: skip
    assert report["corpora"]["c"]["tasks"] == {"jcommonsenseqa": 40, "jnli": 40, "jsquad": 80}
    assert {each["task"] for each in report["samples"]} == {"jcommonsenseqa", "jnli", "jsquad"}


def test_spelling_of_width_blanks_and_punctuation_hides_nothing(tmp_path):
    text = "これは、評価用の文です。Ａ１２３と書いてある、四十文字ほどの長さの短い文。"
    lines(tmp_path / "own.jsonl", [{"id": 7, "text": text}])
    disguised = "これは評価用の文です　\nA123 と書いてある\n四十文字ほどの（長さ）の短い文"
    folder = write(tmp_path / "c", "c", {"train": [("a", "前置き。" + disguised + "続き"), ("b", disguised[:-1])]})
    report = decontaminate.decontaminate([folder], [tmp_path / "own.jsonl"], tmp_path / "out")
    assert set(texts(tmp_path / "out/c")["train"]) == {"b"} and report["tasks"]["own"]["found"] == 1


def test_49_characters_of_a_paragraph_are_too_few_and_50_enough(tmp_path):
    rng = random.Random(2)
    long = invented(rng, 333)
    lines(tmp_path / "own.jsonl", [{"id": 1, "text": long}])
    rows = [
        (f"{size}-{at}", "外" * 9 + long[at : at + size] + "側" * 9)
        for size in (49, 50)
        for at in range(333 - size + 1)
    ]
    folder = write(tmp_path / "c", "c", {"train": rows})
    decontaminate.decontaminate([folder], [tmp_path / "own.jsonl"], tmp_path / "out")
    assert set(texts(tmp_path / "out/c")["train"]) == {own for own, _ in rows if own.startswith("49")}


def test_a_match_never_spans_two_documents():
    text = invented(random.Random(3), 30)
    index = ngrams.ItemIndex([Item("t", "1", "f", (text,), ())])
    assert index.search([text[:15], text[15:]]) == [[], []]
    found = index.search(["前" + text, text + "後", text * 2])
    assert [[(hit.start, hit.end) for hit in hits] for hits in found] == [[(1, 31)], [(0, 30)], [(0, 30), (30, 60)]]


def test_paragraphs_can_go_alone_or_nothing_at_all(tmp_path):
    folder, plant = world(tmp_path, documents=30)
    before = texts(folder)["train"]
    report = decontaminate.decontaminate([folder], [tmp_path / "jglue"], tmp_path / "p", remove="paragraph")
    left = texts(tmp_path / "p/c")["train"]
    assert set(left) == set(before) and report["corpora"]["c"]["contaminated"]["train"] == len(plant)
    for number, (_, _, text) in enumerate(plant):
        own = f"dirty{number}"
        # the lines from the first to the last that the planted text lies in, and no other
        start = before[own].index(text)
        at, last = (before[own][:place].count("\n") for place in (start, start + len(text)))
        given = before[own].split("\n")
        assert left[own].split("\n") == given[:at] + given[last + 1 :]
    assert decontaminate.decontaminate([tmp_path / "p/c"], [tmp_path / "jglue"], None)["tasks"]["jsquad"]["found"] == 0
    decontaminate.decontaminate([folder], [tmp_path / "jglue"], tmp_path / "n", remove="none")
    assert texts(tmp_path / "n/c")["train"] == before
    assert named(tmp_path / "n" / "contaminated.jsonl") == {(task, own) for task, own, _ in plant}


def test_items_that_only_held_out_documents_hold_are_not_for_the_scorer(tmp_path):
    text = "この評価用の文は二十文字よりも長い文である。"
    lines(tmp_path / "own.jsonl", [{"id": "x", "text": text}])
    folder = write(tmp_path / "c", "c", {"train": [("a", "べつの文書")], "valid": [("b", text)]})
    report = decontaminate.decontaminate([folder], [tmp_path / "own.jsonl"], tmp_path / "out")
    assert (tmp_path / "out" / "contaminated.jsonl").read_text() == ""
    assert report["tasks"]["own"] == {"items": 1, "searched": 1, "found": 1, "found_in_training": 0}
    assert not texts(tmp_path / "out/c")["valid"]


def test_the_scorer_reads_the_ids(tmp_path):
    from eval_harness import exclude, tasks

    folder, plant = world(tmp_path, documents=5)
    decontaminate.decontaminate([folder], [tmp_path / "jglue"], tmp_path / "out")
    ids = exclude.read(tmp_path / "out" / "contaminated.jsonl")
    for task in ("jcommonsenseqa-1.1-0.3", "jnli-1.1-0.3", "jsquad-1.1-0.3"):
        rules = tasks.make(task)
        assert exclude.of_task(ids, rules) == {own for of, own, _ in plant if of == rules.dataset}
        docs = rules.read(tmp_path / "jglue" / f"{rules.dataset}-valid-v1.1.json")
        assert {str(doc["id"]) for doc in docs} == exclude.of_task(ids, rules)


def test_ids_that_two_files_share_are_those_of_the_scored_one(tmp_path):
    rng = random.Random(4)
    rows = {
        name: [pair(number, invented(rng, 30), invented(rng, 30)) for number in range(3)] for name in ("valid", "test")
    }
    for name, of in rows.items():
        (tmp_path / f"jnli-{name}").mkdir()
        lines(tmp_path / f"jnli-{name}" / f"{name}-v1.1.json", of)
    train = [("a", rows["valid"][0]["sentence1"]), ("b", rows["test"][1]["sentence2"])]
    folder = write(tmp_path / "c", "c", {"train": train})
    decontaminate.decontaminate([folder], [tmp_path / "jnli-valid", tmp_path / "jnli-test"], tmp_path / "out")
    assert named(tmp_path / "out" / "contaminated.jsonl") == {("jnli", "0")}
    assert named(tmp_path / "out" / "contaminated" / "test-v1.1.jsonl") == {("jnli", "1")}


def test_files_of_one_name_are_told_apart(tmp_path):
    for task in ("jnli", "jsts"):
        (tmp_path / task).mkdir()
        lines(tmp_path / task / "valid-v1.1.json", [{"id": 1, "text": f"{task}" * 20}])
    paths = evaluation_items.find([tmp_path / "jnli", tmp_path / "jsts"])
    assert evaluation_items.labels(paths) == ["jnli-valid-v1.1.json", "jsts-valid-v1.1.json"]


def test_any_number_of_workers_gives_the_same(tmp_path):
    folder, _ = world(tmp_path)
    other = write(tmp_path / "d", "d", {"train": [("z", "べつの文書である。" * 9)]})
    made = {}
    for workers in (1, 2):
        out = tmp_path / f"o{workers}"
        report = decontaminate.decontaminate([folder, other], [tmp_path / "jglue"], out, workers=workers)
        made[workers] = report, {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("[!.]*") if p.is_file()}
    assert made[1] == made[2]


def test_bad_input_is_one_sentence(tmp_path):
    folder = write(tmp_path / "c", "c", {"train": [("a", "文書" * 30)]})
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text"\n', encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    lines(tmp_path / "keys.jsonl", [{"question": "問"}])
    for against, options, message in (
        ("none.jsonl", {}, "does not exist"),
        ("broken.jsonl", {}, "broken.jsonl line 2 is not valid JSON"),
        ("empty.jsonl", {}, "holds no evaluation item"),
        ("keys.jsonl", {}, "line 1 has no text under 'text'; it has question"),
        ("keys.jsonl", {"keys": ["question"], "remove": "all"}, "--remove is 'all'"),
        ("keys.jsonl", {"keys": ["question"], "short": 60}, "--short 60 is above --long 50"),
    ):
        with pytest.raises(HaigoError, match=message):
            decontaminate.decontaminate([folder], [tmp_path / against], tmp_path / "out", **options)
    assert not (tmp_path / "out" / "decontaminate.json").exists()


def test_the_command_prints_and_a_dry_run_writes_nothing(tmp_path, capsys):
    folder, _ = world(tmp_path, documents=5)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert decontaminate.main([str(folder), "--against", str(tmp_path / "jglue"), "--dry-run"]) == 0
    assert "jsquad: 80 of 80 items found" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_rows_of_xwinograd_are_told_from_similarity_pairs(tmp_path):
    pair = {"sentence1": "犬が猫を追ったのは、犬が速いからだ。", "sentence2": "犬が猫を追ったのは、猫が速いからだ。"}
    winograd, similar = tmp_path / "xwinograd.jsonl", tmp_path / "jsts.jsonl"
    winograd.write_text(json.dumps(pair | {"answer": "1"}) + "\n" + json.dumps(pair | {"answer": 2, "id": 7}) + "\n")
    similar.write_text(json.dumps(pair | {"label": 3.2, "sentence_pair_id": "9"}) + "\n")
    told = [(item.task, item.id) for path in (winograd, similar) for item in evaluation_items.read(path, [])]
    assert told == [("xwinograd_ja", "0"), ("xwinograd_ja", "7"), ("jsts", "9")]
