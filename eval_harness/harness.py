"""`harness.sh`, the leaderboard's companion of `result.json`: the command that gives the result again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.metrics import BOOTSTRAP_ITERS
from eval_harness.options import Limit, RunOptions

# what changes prompts and answers without being an option, as in jp-stable
_ENVIRONMENT = ("DYNAMIC_MAX_LENGTH", "SYSTEM_PROMPT")


def script(result: Mapping[str, Any], options: RunOptions, theirs: Sequence[tuple[str, int | None, Limit]] = ()) -> str:
    """The shell script. It asks for the data folder in DATA_DIR and writes beside itself.

    Args:
        result: what result.json holds.
        theirs: lm-eval's own tasks of the run: name, shots (None: the task's own) and limit.
    """
    config, ours = result["config"], result["haigo"]["tasks"]
    names = [*ours, *(name for name, _, _ in theirs)]
    shots = [*(each["num_fewshot"] for each in ours.values()), *(number for _, number, _ in theirs)]
    limits = [*(each["limit"] for each in ours.values()), *(limit for _, _, limit in theirs)]
    hub = any("source" in file for each in ours.values() for file in each["files"])
    folder = '"${DATA_DIR:-.}"' + " --hub" * hub if hub or not ours else '"${DATA_DIR:?the folder with the data}"'
    words = ["--trust_remote_code"] if result["haigo"]["model"].get("trust_remote_code") else []
    if options.apply_chat_template is not None:
        named = options.apply_chat_template
        words.append("--apply_chat_template" + (f" {shlex.quote(named)}" if named else ""))
    words += [
        f"--data_dir {folder}",
        f"--data_version {options.data_version}",
        f"--fewshot_pool {options.fewshot_pool}",
    ]
    words.append(f"--seed {result['haigo']['seed']}")
    if options.model != "vllm":
        words.append(f"--device {shlex.quote(config['device'])}")
    if any(limit is not None for limit in limits):
        words.append("--limit " + ",".join("all" if limit is None else str(limit) for limit in limits))
    if config["bootstrap_iters"] != BOOTSTRAP_ITERS:
        words.append(f"--bootstrap_iters {config['bootstrap_iters']}")
    for option, path in (("--include_path", options.include_path), ("--exclude", options.exclude)):
        if path is not None:
            words.append(f"{option} {shlex.quote(path)}")
    lines = [f"export {name}={shlex.quote(os.environ[name])}" for name in _ENVIRONMENT if name in os.environ]
    lines += [
        f"MODEL_ARGS={_quoted(config['model_args'])}",
        f"TASK={_quoted(','.join(names))}",
        f"NUM_FEWSHOT={_quoted(','.join('own' if number is None else str(number) for number in shots))}",
        f"python -m eval_harness.run --model {'vllm' if options.model == 'vllm' else 'hf'} "
        '--model_args "$MODEL_ARGS" --tasks "$TASK" --num_fewshot "$NUM_FEWSHOT" \\',
        *(f"    {word} \\" for word in words),
        '    --log_samples --output_path "$(dirname "$0")"',
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """In double quotes, as in the leaderboard's scripts; in single ones where the shell would read something into it."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'
