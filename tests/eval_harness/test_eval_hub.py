"""Data files from a server that answers as the Hugging Face hub does, each call in a process of its own: the hub's library
reads its environment once."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import synthetic_others

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLACES = {  # address on the hub -> file that synthetic_others writes
    "kumapo/JAQKET": {f"{name}_jaqket_59.350.json": f"{name}_jaqket_59.350.json" for name in ("train", "dev")},
    "mkshing/xlsum_ja": {f"data/{n}.csv": f"xlsum_ja/data/{n}.csv" for n in ("train", "test")},
    "polm-stability/xwinograd-ja": {"test/xwinograd-ja.json": "xwinograd-ja.json"},
}
CODE = """
import json, sys
from pathlib import Path
from eval_harness import datasets
from eval_harness.sources import read_sources
from haigo import cli

def main(argv):
    names = argv[1:]
    found = read_sources(names, [None] * len(names), [None] * len(names), Path(argv[0]), "train", "v1.1", True)
    print(json.dumps([[s.scored.record(), len(s.docs), len(s.pool_docs),
                       datasets.label([s.scored], "v1.1", s.rules.dataset, len(s.docs))] for s in found]))

sys.exit(cli.run(main, sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return synthetic_others.write(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def hub(files):
    """(address, list of the addresses that were asked for)."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            asked.append(f"{self.command} {self.path}")
            for repository, places in PLACES.items():
                head = f"/datasets/{repository}/resolve/"
                if self.path.startswith(head):
                    name = self.path.removeprefix(head).split("/", 1)[1]
                    if name in places:
                        content = (files / places[name]).read_bytes()
                        self.send_response(200)
                        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
                        self.send_header("X-Repo-Commit", COMMIT)
                        self.send_header("Content-Length", str(len(content)))
                        self.end_headers()
                        if self.command == "GET":
                            self.wfile.write(content)
                        return
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def ask(home, endpoint, folder, *names, **more):
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"} | more
    words = [sys.executable, "-c", CODE, str(folder), *names]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


NAMES = ("jaqket_v2-0.1-0.2", "xlsum_ja", "xwinograd_ja")


def test_plain_files_come_from_the_hub_and_stay(hub, files, tmp_path):
    endpoint, asked = hub
    said = ask(tmp_path / "home", endpoint, tmp_path, *NAMES)
    assert said.returncode == 0, said.stderr
    for (record, count, pool, label), name in zip(json.loads(said.stdout), NAMES, strict=True):
        assert count and (pool or name == "xwinograd_ja") and label == "custom"  # a mirror vouches for nothing
        assert record["source"].startswith(endpoint) and COMMIT in record["source"]
        (place,) = [p for p in files.rglob(record["file"]) if p.is_file()]
        assert record["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()
    assert sum(line.startswith("GET /datasets/") for line in asked) == 5
    asked.clear()
    again = ask(tmp_path / "home", endpoint, tmp_path, *NAMES, HF_HUB_OFFLINE="1")
    assert again.stdout == said.stdout and not asked  # from the cache


def test_files_of_the_folder_come_first(hub, files, tmp_path):
    endpoint, asked = hub
    said = ask(tmp_path / "home", endpoint, files, "xlsum_ja")
    assert said.returncode == 0 and not asked and "source" not in said.stdout


def test_what_cannot_be_fetched_is_told_in_two_lines(hub, tmp_path):
    endpoint, _ = hub
    for address, more in ((f"{endpoint}/nothing", {}), (endpoint, {"HF_HUB_OFFLINE": "1"})):
        said = ask(tmp_path / "home", address, tmp_path, "xwinograd_ja", **more)
        assert said.returncode == 2 and "Traceback" not in said.stderr
        assert "test/xwinograd-ja.json could not be fetched from" in said.stderr and "--data_dir" in said.stderr
    said = ask(tmp_path / "home", endpoint, tmp_path, "mgsm")  # its copy on the hub has a loading script
    assert said.returncode == 2 and "google-research/url-nlp" in said.stderr


def test_the_hub_itself_vouches_for_its_files(files, tmp_path, monkeypatch):
    from eval_harness import datasets, hub, result, tasks

    place = files / "xwinograd-ja.json"
    fetched = hub.Fetched(path=place, source=f"{hub.ENDPOINT}/datasets/x/resolve/{COMMIT}/y", official=True)
    monkeypatch.setattr(hub, "fetch", lambda dataset, split: fetched)
    file = datasets.find(tmp_path, "xwinograd_ja", "test", "v1.1", from_hub=True)
    kind = datasets.label([file], "v1.1", "xwinograd_ja", 15)
    assert kind == "XWinograd (Japanese)"
    made = tasks.make("xwinograd_ja")
    assert result.reservations(made, data=kind, pool="none", shots=0, limit=None, seed=42, dtype="float32") == []
