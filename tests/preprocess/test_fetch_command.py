"""The command: kill -9 at any moment, Ctrl-C, dry runs, sentences for mistakes; the state and the card below it."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from diet_server import Diet, made_up
from fetch_server import Answer, Server
from shared_data import data_of

from haigo import cli, files
from haigo.cli import HaigoError
from haigo.options import option
from preprocess import sources
from preprocess.fetch import __main__, card, replies, state
from preprocess.fetch.__main__ import main
from preprocess.fetch.source import Source, today
from preprocess.sources import Document

DATA = data_of(__file__)

ROOT = Path(__file__).parent.parent.parent


def command(server, folder, *more):
    words = ["kokkai", "--from", "2024-03-01", "--until", "2024-03-03", "--base-url", f"{server.url}/api"]
    words += ["--output-dir", str(folder), "--contact", "a@example.org", "--gap", "0.01", *more]
    return [sys.executable, "-m", "preprocess.fetch", *words]


def environment(tmp_path):
    return {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}


def held(folder):
    return {one.id: one.text for one in sources.read([folder])}


def test_kill_9_at_any_moment_loses_and_doubles_nothing(tmp_path):
    """Killed while the server answers some request, or a moment after: in the end all is there, and only pages whose
    answer was on its way were asked for again."""
    records = made_up(days=3, meetings=2, speeches=140)
    rng = random.Random(7)
    folder = tmp_path / "diet"
    with Server(Diet(records)) as server:
        kills = 0
        for _ in range(6):
            until = len(server.requests) + rng.randint(1, 3)
            process = subprocess.Popen(
                command(server, folder),
                cwd=ROOT,
                env=environment(tmp_path),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

            def strike(request, process=process, until=until):
                if request.number == until:
                    threading.Timer(rng.choice([0.0, 0.005, 0.02]), process.kill).start()

            server.on_request = strike
            said = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, said
            kills += 1
        server.on_request = None
        done = subprocess.run(
            command(server, folder, "--json"), cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert kills >= 3
    assert held(folder) == {one["speechID"]: one["speech"] for one in records if one["speechOrder"]}
    assert json.loads(done.stdout)["documents"] == len(held(folder))
    asked = [(one.query["from"], one.query["startRecord"]) for one in server.requests]
    assert len(set(asked)) == 9 and len(asked) - 9 <= kills
    assert len(list(sources.read([folder]))) == len(held(folder))
    assert not list(folder.rglob("*.tmp"))


def test_ctrl_c_ends_in_one_sentence(tmp_path):
    reached = threading.Event()

    def answer(request):
        reached.set()
        time.sleep(0.3)
        return Diet(made_up())(request)

    with Server(answer) as server:
        process = subprocess.Popen(
            command(server, tmp_path / "d"),
            cwd=ROOT,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert reached.wait(120)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == cli.INTERRUPTED
    assert err.splitlines()[-1].startswith("haigo: interrupted.") and "Traceback" not in err and not out


def run(capsys, *words):
    code = cli.run(main, list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(("words", "shown"), DATA["a_dry_run_asks_nobody_and_writes_nothing"])
def test_a_dry_run_asks_nobody_and_writes_nothing(capsys, tmp_path, monkeypatch, words, shown):
    monkeypatch.setattr("preprocess.fetch.client.Client.open", None)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, *words, "--dry-run")
    assert code == 0 and shown in out and "One at a time" in out
    code, out, _ = run(capsys, *words, "--dry-run", "--json")
    assert any(shown in line for line in json.loads(out)["requests"]) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", ["urls", "feeds"])
def test_a_remark_behind_an_address_is_none_of_it(capsys, tmp_path, source):
    (tmp_path / "list").write_text("# all\nhttps://example.org/a#part  # of mine\n", encoding="utf-8")
    code, out, _ = run(capsys, source, "--list", str(tmp_path / "list"), "--dry-run", "--json")
    (request,) = [line for line in json.loads(out)["requests"] if "GET" in line]
    assert code == 0 and request.startswith("GET https://example.org/a") and "mine" not in request
    assert "https://example.org/a " in request.replace("#part", "")


@pytest.mark.parametrize(("words", "said"), DATA["mistakes_are_told_in_a_sentence"])
def test_mistakes_are_told_in_a_sentence(capsys, monkeypatch, words, said):
    monkeypatch.delenv("HAIGO_CONTACT", raising=False)
    code, out, err = run(capsys, *words)
    assert code == cli.BAD_INPUT and said in err and not out
    assert "fix: " in err and "Traceback" not in err


def test_the_summary_names_what_was_left_out(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HAIGO_CONTACT", "https://example.org/me")
    with Server(Diet(made_up(days=1, speeches=5))) as server:
        words = command(server, tmp_path / "d")[3:]
        at = words.index("--contact")
        code, out, _ = run(capsys, *words[:at], *words[at + 2 :])
    assert code == 0 and "8 documents" in out and "attendance list: 2" in out and "DATA_CARD.md" in out
    text = (tmp_path / "d" / "DATA_CARD.md").read_text(encoding="utf-8")
    assert "国立国会図書館" in text and "| documents | 8 |" in text and "attendance list: 2" in text


@dataclasses.dataclass
class Hello(Source):
    """A greeting from a server: what a new source has to have, and no more."""

    name = "hello"
    gap_s = 1.0
    conditions = ("word",)

    base_url: str = option("of the server", positional=True, metavar="URL")
    word: str = option("what to say", "hello")

    def about(self, store):
        return card.About("Greetings", self.base_url, ("Nobody minds.",))

    def plan(self):
        yield f"GET {self.base_url}/{self.word}"

    def fetch(self, client, store):
        if not store.get("said"):
            reply = client.get(f"{self.base_url}/{self.word}", read=replies.ok)
            document = Document(self.word, reply.body.decode(), {})
            store.commit([self.sign(document, reply.url, "CC0", today(client).isoformat())], {"said": True})


def test_a_source_is_a_file_and_a_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(__main__, "SOURCES", {**__main__.SOURCES, "hello": Hello})
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Server(lambda request: Answer(f"{request.path} and good day.".encode())) as server:
        words = ["hello", server.url, "--word", "hi", "--contact", "a@example.org", "--output-dir", str(tmp_path / "h")]
        assert run(capsys, *words, "--dry-run")[1].startswith(f"GET {server.url}/hi")
        assert run(capsys, *words)[0] == run(capsys, *words)[0] == 0 and len(server.requests) == 1
        assert run(capsys, "hello", server.url, *words[4:])[0] == cli.REFUSED  # another word is another corpus
    assert held(tmp_path / "h") == {"hi": "/hi and good day."}
    assert "A greeting from a server" in run_help(capsys)


def run_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    return capsys.readouterr().out


def some(count, size=100, start=0):
    return [Document(f"d{n}", f"{n:06d}" + "あ" * size, {"licence": "CC0"}) for n in range(start, start + count)]


class TestState:
    def shards(self, folder):
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.zst"))}

    def fill(self, folder, batches, stop_at=None, monkeypatch=None):
        with state.opened(folder, {"source": "x"}, shard_bytes=5000) as store:
            for number, batch in enumerate(batches):
                if not store.get(f"batch {number}"):
                    store.commit(batch, {f"batch {number}": True})
            store.cut(everything=True)
            return store.shards()

    def test_shards_do_not_depend_on_where_it_was_broken_off(self, tmp_path, monkeypatch):
        batches = [some(7, start=7 * n) for n in range(20)]
        self.fill(tmp_path / "whole", batches)
        assert len(self.shards(tmp_path / "whole")) > 5
        real = state.Store._write

        class Killed(BaseException):
            pass

        # after a shard was written, before the state knows of it: the worst moment
        for kill in range(8):
            written = iter(range(kill + 1))

            def write(self, number, lines, written=written):
                row = real(self, number, lines)
                if next(written, None) is None:
                    raise Killed
                return row

            monkeypatch.setattr(state.Store, "_write", write)
            folder = tmp_path / f"k{kill}"
            with pytest.raises(Killed):
                self.fill(folder, batches)
            monkeypatch.setattr(state.Store, "_write", real)
            rows = self.fill(folder, batches)
            assert self.shards(folder) == self.shards(tmp_path / "whole")
            assert [row["sha256"] for row in rows] == [files.sha256_file(folder / row["name"]) for row in rows]

    def test_all_or_nothing(self, tmp_path):
        def breaking():
            yield from some(3)
            raise ValueError("in the middle")

        with state.opened(tmp_path, {"source": "x"}) as store:
            with pytest.raises(ValueError, match="middle"):
                store.commit(breaking(), {"a": 1})
            assert store.get("a") is None and store.documents == 0
            assert store.commit(some(3), {"a": 1}) == 3
        with state.opened(tmp_path, {"source": "x"}) as store:
            assert store.documents == 3 and store.get("a") == 1

    def test_the_last_shard_is_filled_up_by_later_runs(self, tmp_path):
        for number in range(4):
            with state.opened(tmp_path, {"source": "x"}, shard_bytes=5000) as store:
                store.commit(some(6, start=6 * number))
                store.cut(everything=True)
        assert len(self.shards(tmp_path)) == 2
        assert [one.id for one in sources.read([tmp_path])] == [f"d{n}" for n in range(24)]

    def test_ids_that_come_again(self, tmp_path):
        with state.opened(tmp_path, {"source": "x"}) as store:
            assert store.commit([*some(3), *some(2), Document("d1", "else", {})]) == 3
            assert {name: row["count"] for name, row in store.skipped().items()} == {
                "came again with another text, the first was kept": 1
            }

    def test_a_lost_shard_is_noticed(self, tmp_path):
        self.fill(tmp_path, [some(100)])
        (tmp_path / "00000.jsonl.zst").unlink()
        with pytest.raises(HaigoError, match=r"00000\.jsonl\.zst is gone"):
            self.fill(tmp_path, [some(100)])

    def test_a_damaged_state_is_told(self, tmp_path):
        self.fill(tmp_path, [some(3)])
        for path in (tmp_path / ".fetch").glob("*.sqlite*"):
            path.write_bytes(b"rubbish" * 1000)
        with pytest.raises(HaigoError, match="is damaged"):
            self.fill(tmp_path, [some(3)])

    def test_two_at_once(self, tmp_path):
        with state.opened(tmp_path, {"source": "x"}), pytest.raises(HaigoError, match="in use"):
            with state.opened(tmp_path, {"source": "x"}):
                pass

    def test_half_characters_are_replaced(self, tmp_path):
        with state.opened(tmp_path, {"source": "x"}) as store:
            store.left_out.note("odd", "\ud83d")
            store.commit([Document("a\udc00", "b\ud83dc", {"t\udc00": "\udfff", "n": 1})])
            store.cut(everything=True)
        (one,) = sources.read([tmp_path])
        assert (one.id, one.text, one.meta) == ("a\ufffd", "b\ufffdc", {"t\ufffd": "\ufffd", "n": 1})


def test_a_card_cannot_be_marked_up_by_its_sources(tmp_path):
    with state.opened(tmp_path, {"source": "x"}) as store:
        store.commit([Document("a", "text", {"licence": "<script>|`x`\n# y"})])
        store.cut(everything=True)
        runs = {"requests": 1, "repeats": {}, "first": "2026-11-01", "last": "2026-11-02"}
        about = card.About("T", "https://example.org", ("Terms.",))
        made = card.write(store, "n", about, {"source": "x"}, runs, True)
    assert made["licences"] == {"<script>|`x`\n# y": 1} == files.read_json(tmp_path / card.JSON)["licences"]
    text = (tmp_path / card.MARKDOWN).read_text()
    assert "<script>" not in text.replace("\\<script\\>", "") and "\n# y" not in text


def test_the_card_is_no_document(tmp_path):
    with state.opened(tmp_path, {"source": "x"}) as store:
        store.commit(some(2))
        store.cut(everything=True)
    (tmp_path / card.MARKDOWN).write_text("# x")
    (tmp_path / card.JSON).write_text("{}")
    assert [one.id for one in sources.read([tmp_path])] == ["d0", "d1"]
