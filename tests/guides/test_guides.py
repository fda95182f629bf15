"""Every command of every guide is run, in the order in which it stands, by one reader who starts with an empty folder.

A guide may go on where others ended (`AFTER`), and a reader may have things that no command here can make (`guide_things`:
what a server sends, what GPUs trained, benchmark files that have to be fetched by hand). What is not run as it
stands is listed here, in `EXCEPTIONS`, and counted. Japanese guides have the same commands, line for line.
"""

import os
import re
import shutil
from pathlib import Path

import guide_shell
import guide_things
import pytest
from guide_shell import Line

from haigo import files

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted(path.name[6:-3] for path in DOCS.glob("guide-*.md") if ".ja." not in path.name)
AFTER = {
    "tokenizer": "text",
    "quality": "text",
    "a100": "tokenizer",
    "phases": "tokenizer",
    "neox-cpu": "tokenizer",
    "small-models": "tokenizer",
    "mixture": "tokenizer",
    "eval": "a100",
    "swarms": "mixture",
    "finetune": "tokenizer",
    "scale": "tokenizer",
    "supervise": "a100",
    "cluster": "a100",
}  # whose folder a guide goes on in
READY = ["README", "text", "tokenizer", "quality", "corpora", "a100", "phases", "neox-cpu", "small-models", "mixture"]
READY += ["scale", "supervise", "cluster", "finetune", "eval", "swarms"]

# (the line, what is run instead, why); None: nothing is
QUEUE = "of a cluster: inside a pretended job, or without handing in"
GPUS, INSTALLS, CPU = (
    "trains on GPUs: the same command with --dry-run",
    "installs or downloads",
    "a GPT-NeoX of the reader's own",
)
VLLM = "vLLM answers on GPUs: the same by transformers (test_eval_backends.py plays vLLM)"
SWARM = "a GPT-NeoX run a row on GPUs (test_swarm_cluster.py plays GPT-NeoX)"
EXCEPTIONS: list[tuple[str, str | None, str]] = [
    (r"^git clone|^\S*pip install|^python3\S* -m venv|^\S+=\S+ \S*pip install|^hf download", None, INSTALLS),
    (r"^export .*GPT_NEOX_DIR=|^export PYTHONPATH=", None, CPU),
    (r"^python -m launch.stretch", None, CPU),  # by its interpreter; the same function by ours: guide_things
    (r"^(python -m eval_harness.run) --model vllm (--model_args pretrained=[^,]*,dtype=[^,]*)\S*", r"\1 \2", VLLM),
    (r"^python -m launch.proxies .*--engine neox", None, SWARM),
    (r"^python -m launch.runs", "python -m launch.runs --dry-run", GPUS),
    (r"^(python -m launch.deepy .*--every-node)$", r"NNODES=2 NODE_RANK=0 \1 --nproc-per-node 4 --dry-run", GPUS),
    (r"^(python -m launch.hostfile .*--from slurm)$", r"SLURM_JOB_NODELIST=node[01-02] SLURM_GPUS_ON_NODE=4 \1", QUEUE),
    (r"^(python -m launch.hostfile .*--from pbs.*)$", r"PBS_NODEFILE=nodes.txt \1", QUEUE),
    (r"^(python -m launch.(?:slurm|pbs) .*) --submit$", r"\1", QUEUE),
    (r"^(python -m preprocess.scale .*) --executor slurm$", r"\1", QUEUE),
    (r"^(python -m launch.preflight .*) --here$", r"\1", QUEUE),
    (r"^python -m launch.deepy (?!.*--dry-run)", "python -m launch.deepy --dry-run ", GPUS),
]
COUNTED = {GPUS: 11, INSTALLS: 12, CPU: 5, QUEUE: 6, VLLM: 1, SWARM: 2}


def page_of(name, language=""):
    return ROOT / f"{name}{language}.md" if name == "README" else DOCS / f"guide-{name}{language}.md"


def instead(text):
    for pattern, other, _why in EXCEPTIONS:
        if re.search(pattern, text):
            return None if other is None else re.sub(pattern, other, text)
    return text


@pytest.fixture(scope="session")
def walked(tmp_path_factory):
    """Walk a guide, and before it those that it goes on from; the folder that is left, each guide once."""
    done = {}

    def walk(name):
        if name in done:
            return done[name]
        folder = tmp_path_factory.mktemp(name) / "here"
        if name in AFTER:
            shutil.copytree(walk(AFTER[name]), folder, symlinks=True)
        else:
            folder.mkdir()
        page = page_of(name)
        shell = guide_shell.Shell(folder, instead)
        before = dict(os.environ)
        try:
            os.environ |= {"HOME": str(folder.parent), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            with guide_things.given(name, folder):
                for line in guide_shell.unrolled(guide_shell.lines(page)):
                    guide_things.meanwhile(name, line.text, folder)
                    shell.type(line, page.name)
        finally:
            os.environ.clear()
            os.environ.update(before)
        for seconds, text in sorted(shell.ran.seconds, reverse=True)[:5]:
            print(f"{seconds:6.1f} CPU-s {text[:110]}")
        print(f"{sum(each for each, _ in shell.ran.seconds):6.1f} CPU-s in all, {name}")
        done[name] = folder
        return folder

    return walk


@pytest.mark.parametrize("name", READY)
def test_every_command_runs_in_the_order_in_which_it_stands(walked, name):
    walked(name)


def test_the_text_of_readme_is_deduplicated_and_indexed_whole(walked):
    folder = walked("README")
    report = files.read_json(folder / "final" / "news" / "clean.json")
    assert report["rules"]["duplicate"]["documents"] > 0
    made = files.read_json(folder / "data" / "news" / "train_text_document.json")
    assert made["documents"] == report["splits"]["train"]["documents"] > 0


def test_every_guide_is_walked():
    assert {*READY} - {"README"} == {*GUIDES}


@pytest.mark.parametrize("name", READY)
def test_no_command_stands_where_it_is_not_run(name):
    """Whole commands stand in fences marked `sh` or `console`; sentences and other fences name verbs only."""
    text = page_of(name).read_text(encoding="utf-8")
    if name == "README":  # how to begin with one's own corpora: tests/launch/pipeline
        text = re.sub(r"^```\npython -m launch.pipeline .*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```(?:sh|console)\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"(?<!^exec )python -m \S+ [^`\n]*", outside, re.MULTILINE)


@pytest.mark.parametrize("name", READY)
def test_the_japanese_guide_has_the_same_commands(name):
    both = [guide_shell.lines(page_of(name, end)) for end in ("", ".ja")]
    english, japanese = ([(line.text, line.body, line.answer) for line in each] for each in both)
    assert english and english == japanese


def test_what_is_not_run_is_counted():
    found = {}
    for name in READY:
        for line in guide_shell.unrolled(guide_shell.lines(page_of(name))):
            for pattern, _other, why in EXCEPTIONS:
                if re.search(pattern, line.text):
                    found[why] = found.get(why, 0) + 1
                    break
    assert found == COUNTED


def test_a_command_that_fails_is_found(tmp_path):
    shell = guide_shell.Shell(tmp_path, lambda text: text)
    with pytest.raises(AssertionError, match=r"(?s)page.md:3: .*ended with 2"):
        shell.type(Line("python -m preprocess.clean nowhere --corpus x --output-dir y", 3), "page.md")
    with pytest.raises(AssertionError, match="ended with 0"):  # the guide says that it is refused
        shell.type(Line("python -m launch.plan --model 1-3B --cluster a100-40gb --nodes 1", 3, "haigo: no"), "page.md")


def test_lines_are_read_as_a_reader_types_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\n# said\ncat > a.yml <<'END'\nx: 1\nEND\nfor a in 1 2; do\n  for b in x y; do\n    echo $a$b \\\n"
        "      z   # why\n  done\ndone\n```\n```yaml\nno: line\n```\n```console\n$ echo one\none\n$ echo two\n```\n"
    )
    found = list(guide_shell.unrolled(guide_shell.lines(page)))
    assert [line.text for line in found] == ["cat > a.yml <<'END'", "echo 1x z", "echo 1y z", "echo 2x z", "echo 2y z",
                                             "echo one", "echo two"]  # fmt: skip
    assert found[0].body == "x: 1\n" and found[5].answer == "one" and found[5].number == 17
    shell = guide_shell.Shell(tmp_path, lambda text: text)
    for line in found:
        shell.type(line, "page.md")
    assert (tmp_path / "a.yml").read_text() == "x: 1\n" and shell.ran.commands == 7
