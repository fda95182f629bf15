"""Nothing that Haigo did not make is replaced or removed; what it made is, whoever wrote it and however it was killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from haigo import cli, files, ownership
from haigo.cli import HaigoError, Refused
from launch import hostfile
from mixer import design

ROOT = Path(__file__).parent.parent.parent


def tree(folder):
    """Every file below a folder with its bytes (links with what they lead to), without Haigo's own notes."""
    return {
        str(path.relative_to(folder)): os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and path.name not in (".haigo", ".haigo.lock")
    }


def test_a_file_of_somebody_else_is_not_replaced_and_ours_is(tmp_path):
    (tmp_path / "theirs.yml").write_text("mine")
    with pytest.raises(Refused, match=r"theirs.yml exists, and Haigo did not make it"):
        files.write_text(tmp_path / "theirs.yml", "x")
    files.write_text(tmp_path / "ours.yml", "one")
    files.write_text(tmp_path / "ours.yml", "two")
    assert tree(tmp_path) == {"theirs.yml": b"mine", "ours.yml": b"two"}
    assert files.made(tmp_path / "ours.yml") and not files.made(tmp_path / "theirs.yml")
    files.remove(tmp_path / "ours.yml")
    (tmp_path / "ours.yml").write_text("now mine")  # the name is free again
    with pytest.raises(Refused):
        files.write_text(tmp_path / "ours.yml", "x")


def test_a_link_of_somebody_else_and_what_it_leads_to_stay(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a.txt").write_text("a")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").symlink_to("../precious/a.txt")
    (out / "dangling").symlink_to("../nowhere")
    (out / "folder").symlink_to("../precious")
    for name in ("a.txt", "dangling"):
        with pytest.raises(Refused):
            files.write_text(out / name, "x")
        with pytest.raises(Refused):
            files.append(out / name)
    files.write_text(out / "ours", "x")
    before = tree(tmp_path)
    assert {path.name for path in files.remove_tree(out)} == {"a.txt", "dangling", "folder"}
    del before["out/ours"]
    assert tree(tmp_path) == before
    assert files.remove_tree(out / "folder") == [out / "folder"]


def test_a_planted_scratch_folder_or_journal_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in (files.SCRATCH, files.JOURNAL, files.LOCK):
        out = tmp_path / f"out{name}"
        out.mkdir()
        (out / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Refused, match="move it away"), files.owner(out):
            files.write_text(out / "a", "x")
        (out / name).unlink()
        (out / name).write_text("my notes")
        with pytest.raises((Refused, FileExistsError)), files.owner(out):
            files.write_text(out / "a", "x")
        assert (out / name).read_text() == "my notes"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_remove_tree_takes_ours_and_leaves_the_rest(tmp_path):
    root = tmp_path / "run"
    files.write_text(root / "a" / "ours", "x")
    files.write_text(root / "b" / "deep" / "ours", "x")
    with files.owner(root / "b"):
        pass
    (root / "b" / "theirs").write_text("y")
    assert files.remove_tree(root) == [root / "b" / "theirs"]
    assert tree(tmp_path) == {"run/b/theirs": b"y"} and not (root / "a").exists() and not (root / "b" / "deep").exists()
    assert files.remove_tree(tmp_path / "nothing") == []
    (root / "b" / "theirs").unlink()
    files.remove_tree(root)
    assert not root.exists()


def test_remove_tree_of_a_folder_in_use_is_refused(tmp_path):
    files.write_text(tmp_path / "in" / "ours", "x")
    code = "import sys; from haigo import files\nwith files.owner(sys.argv[1]):\n    print('held', flush=True); input()"
    argv = [sys.executable, "-c", code, str(tmp_path / "in")]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(HaigoError, match="in use"):
            files.remove_tree(tmp_path)
        assert (tmp_path / "in" / "ours").exists()
        other.communicate("\n")
    files.remove_tree(tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_a_folder_that_goes_with_its_lock_has_one_owner_at_a_time(tmp_path):
    """Who opened the lock before it went must not hold it beside who made the next one."""
    code = (
        "import os, sys; from haigo import cli, files\n"
        "work, held, done = f'{sys.argv[1]}/work', f'{sys.argv[1]}/held', 0\n"
        "while done < 60:\n"
        "    try:\n"
        "        with files.owner(work):\n"
        "            os.mkdir(held)\n"
        "            files.write_text(f'{work}/x', 'x')\n"
        "            os.rmdir(held)\n"
        "            files.remove_tree(work)\n"
        "        done += 1\n"
        "    except cli.HaigoError as error:\n"
        "        assert 'in use' in error.problem, error\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [one.communicate()[1] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said


def test_a_planted_journal_reaches_nothing_outside_its_folder(tmp_path):
    for folder in ("out/new", "out/old", "else"):
        (tmp_path / folder).mkdir(parents=True)
    names = ["..", ".", "", "../victim", "../../else/victim", str(tmp_path / "else" / "victim"), "sub/victim", "a\0b", [1],
             {}, 3, None, ".haigo.lock"]  # fmt: skip
    for place in ("out", "else", "out/new/sub"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "victim").write_text("mine")
    files.write_text(tmp_path / "out" / "new" / "ours", "x")
    for place in ("out/new", "out/old"):
        files.claim(tmp_path / place)
        with open(tmp_path / place / files.JOURNAL, "a", encoding="utf-8") as journal:
            journal.write("".join(f"\n+{json.dumps(name)}\n" for name in names) + "\n+" + "[" * 5000 + "\n+\xff\n+")
    before = tree(tmp_path)
    files.move(tmp_path / "out" / "new", tmp_path / "out" / "old")
    rest = {name: each for name, each in before.items() if "ours" not in name}
    assert tree(tmp_path) == {**rest, "out/old/ours": b"x"}
    files.remove_tree(tmp_path / "out")
    assert tree(tmp_path) == rest


def test_processes_that_write_one_folder_lose_neither_names_nor_work(tmp_path):
    """Journals begun by several at once, scratch folders that come and go, and one that tidies up all the while."""
    code = (
        "import sys; from haigo import files\n"
        "for number in range(60):\n"
        "    files.write_text(f'{sys.argv[1]}/{number % 12}/{sys.argv[2]}-{number}', 'x')\n"
        "    files.remove_leftovers(sys.argv[1])\n"
    )
    calls = [[sys.executable, "-c", code, str(tmp_path), str(number)] for number in range(4)]
    running = [subprocess.Popen(call, cwd=ROOT, stderr=subprocess.PIPE, text=True) for call in calls]
    for one in running:
        said = one.communicate()[1]
        assert one.returncode == 0, said
    made = [path for path in tmp_path.rglob("*-*") if path.is_file()]
    assert len(made) == 240 and all(map(files.made, made))


def test_a_folder_given_back_while_others_write_there_keeps_their_names(tmp_path):
    """One process empties a folder over and over, as index does with its parts, and others begin work in it."""
    code = (
        "import sys; from haigo import files\n"
        "for number in range(150):\n"
        "    if sys.argv[2] == 'empties':\n"
        "        files.remove_tree(sys.argv[1])\n"
        "    else:\n"
        "        files.write_text(f'{sys.argv[1]}/{sys.argv[2]}-{number}', 'x')\n"
    )
    calls = [[sys.executable, "-c", code, str(tmp_path / "parts"), each] for each in ("a", "b", "empties", "empties")]
    running = [subprocess.Popen(call, cwd=ROOT, stderr=subprocess.PIPE, text=True) for call in calls]
    said = [one.communicate()[1] for one in running]
    assert [one.returncode for one in running[:2]] == [0, 0], said
    assert all(map(files.made, (tmp_path / "parts").glob("*-*")))
    assert files.remove_tree(tmp_path / "parts") == []


def test_a_name_is_on_disk_before_its_file_is(tmp_path, monkeypatch):
    """A full disk may take half of a line without an error: the file is then not put in place, for nobody would know it."""
    files.write_text(tmp_path / "first", "x")
    real = ownership.open_notes

    class Full:
        def __init__(self, handle):
            self.handle, self.name, self.fileno = handle, handle.name, handle.fileno

        def write(self, line):
            return self.handle.write(line[:5])

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.handle.close()

    monkeypatch.setattr(
        ownership,
        "open_notes",
        lambda path, flags: Full(real(path, flags)) if flags & os.O_APPEND else real(path, flags),
    )
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(tmp_path / "second", "x")
    assert caught.value.filename == str(tmp_path / files.JOURNAL)
    monkeypatch.undo()
    assert not (tmp_path / "second").exists()
    files.write_text(tmp_path / "second", "x")
    assert files.made(tmp_path / "second") and files.made(tmp_path / "first")


def test_a_journal_that_was_written_anew_is_read_anew(tmp_path):
    files.write_text(tmp_path / "one", "x")
    old = (tmp_path / files.JOURNAL).read_bytes()
    assert files.made(tmp_path / "one")
    (tmp_path / files.JOURNAL).write_bytes(old.replace(b"one", b"eno") + b'\n+"two"\n\n+"three"\n')  # the same inode
    assert not files.made(tmp_path / "one") and files.made(tmp_path / "two") and files.made(tmp_path / "three")


def test_what_another_program_wrote_to_scratch_is_moved_and_is_ours(tmp_path):
    files.write_text(tmp_path / "model" / "old.bin", "old")
    files.write_text(tmp_path / "model" / "weights.bin", "old")
    (tmp_path / "model" / "notes.txt").write_text("theirs")
    with files.scratch(tmp_path) as place:
        (place / "made" / "sub").mkdir(parents=True)
        (place / "made" / "weights.bin").write_text("new")
        (place / "made" / "sub" / "x").write_text("new")
        files.move(place / "made", tmp_path / "model")
    assert tree(tmp_path / "model") == {
        "notes.txt": b"theirs", "old.bin": b"old", "sub/x": b"new", "weights.bin": b"new"}  # fmt: skip
    with files.scratch(tmp_path) as place:
        (place / "notes.txt").write_text("new")
        (place / "b.txt").write_text("new")
        with pytest.raises(Refused, match=r"notes.txt"):
            files.move(place, tmp_path / "model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "theirs" and not (tmp_path / "model" / "b.txt").exists()
    files.remove_tree(tmp_path / "model")
    assert tree(tmp_path) == {"model/notes.txt": b"theirs"}
    assert not (tmp_path / files.SCRATCH).exists()


def test_leftovers_of_a_killed_process_go_and_a_users_own_temporary_files_stay(tmp_path):
    (tmp_path / ".mine.tmp").write_text("x")
    (tmp_path / files.SCRATCH).mkdir()
    (tmp_path / files.SCRATCH / "notes").write_text("x")
    code = (
        "import os, signal, sys; from haigo import files\n"
        "with files.atomic(sys.argv[1]) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for name in ("a", "deep/b"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], cwd=ROOT, check=False)
    assert len(tree(tmp_path)) == 4
    files.remove_leftovers(tmp_path)
    assert tree(tmp_path) == {".mine.tmp": b"x", f"{files.SCRATCH}/notes": b"x"}


def test_the_next_writer_takes_away_what_a_killed_one_left_and_nothing_of_one_alive(tmp_path, capsys):
    code = (
        "import os, signal, sys; from haigo import files\n"
        "with files.atomic(sys.argv[1]) as t:\n"
        "    t.write_text('half'); print('begun', flush=True); input(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "hosts")]
    words = [str(tmp_path / "hosts"), "--from", "node[01-02]", "--gpus-per-node", "4"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
        assert cli.run(hostfile.main, words) == cli.OK
        assert [path.read_text() for path in (tmp_path / files.SCRATCH).rglob("hosts")] == ["half"]  # of one alive
        writer.communicate("\n")
    assert (tmp_path / files.SCRATCH).exists()
    assert cli.run(hostfile.main, words) == cli.OK
    assert not (tmp_path / files.SCRATCH).exists()


@pytest.mark.parametrize("way", ["plain", "relative", "link", "dots"])
def test_outputs_that_would_harm_an_input_are_refused(tmp_path, way, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_text("{}")
    (tmp_path / "other").symlink_to("data")
    (tmp_path / "hard.jsonl").hardlink_to(data / "a.jsonl")
    spell = {"plain": tmp_path / "data", "relative": Path("data"), "link": tmp_path / "other",
             "dots": tmp_path / "data" / "train" / ".."}[way]  # fmt: skip
    for output, inputs, recursive, said in (
        (spell, [data], [], "holds the input"),
        (spell / "train", [data], [], "is the input"),
        (spell / "train" / "a.jsonl", [data / "a.jsonl"], [], "is the input"),
        (tmp_path / "hard.jsonl", [spell / "train" / "a.jsonl"], [], "is the input"),
        (spell / "train" / "out", [], [data], "lies inside"),
        (spell / "train" / "a.jsonl", [], [], "Haigo did not make it"),
    ):
        with pytest.raises(Refused, match=said) as caught:
            files.check_output(output, inputs, recursive)
        assert str(output) in caught.value.problem
    files.check_output(tmp_path / "data2", [data], [data])
    files.check_output(spell / "new", [data], [data])


def test_a_record_of_the_wrong_shape_is_named(tmp_path):
    like = {"inputs": str, "outputs": {str: int}, "rows": [(str, None)], "seconds": float}
    good = {"inputs": "x", "outputs": {"a": 1}, "rows": ["a", None], "seconds": 1}
    files.write_json(tmp_path / "a.json", good)
    assert files.read_record(tmp_path / "a.json", like) == good
    for bad, said in (
        ([], "it is no object"),
        ({**good, "inputs": None}, "'inputs' is no str"),
        ({**good, "outputs": {"a": True}}, "'outputs.a' is no int"),
        ({**good, "rows": ["a", 1]}, "'rows.1' is no str"),
        ({"inputs": "x"}, "'outputs' is missing"),
    ):
        files.write_json(tmp_path / "a.json", bad)
        with pytest.raises(HaigoError, match=f"a.json is damaged: {said}"):
            files.read_record(tmp_path / "a.json", like)
    for text in ("[" * 100_000, '{"a": ' * 100_000, "1" * 5000, '"\\ud800', "\0", "NaN}", ""):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(HaigoError, match=r"b.json is not valid JSON"):
            files.read_json(tmp_path / "b.json")


def test_what_nobody_foresaw_is_one_sentence_with_the_file_and_exit_70(tmp_path, capsys):
    (tmp_path / "odd.json").write_text("{}")

    def main(argv):
        return files.read_json(tmp_path / "odd.json")["key"]

    assert cli.run(main, []) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 2 and "internal error" in said and "KeyError" in said and "Traceback" not in said
    with pytest.raises(KeyError):
        cli.run(main, ["--debug"])

    def shape(argv):
        from haigo import yamlfile

        return yamlfile.read(tmp_path / "odd.json") + len(files.sha256_file(tmp_path / "odd.json", "too many"))

    assert cli.run(shape, []) == 70


def test_a_write_protected_file_stays(tmp_path, capsys):
    """Who takes the right to write from a file wants it kept; renaming something over it needs none."""
    words = ["--corpora", "news,talk", "--runs", "8", "--output", str(tmp_path / "ratios.csv")]
    assert cli.run(design.main, words) == cli.OK
    before = (tmp_path / "ratios.csv").read_bytes()
    (tmp_path / "ratios.csv").chmod(0o444)
    assert cli.run(design.main, [*words, "--seed", "5"]) == cli.REFUSED
    assert (tmp_path / "ratios.csv").read_bytes() == before and "is write-protected" in capsys.readouterr().err
    (tmp_path / "ratios.csv").chmod(0o644)
    assert cli.run(design.main, [*words, "--seed", "5"]) == cli.OK
