"""A copy of a GPT-NeoX checkpoint that may be loaded with longer samples.

    python -m launch.stretch checkpoints/1-3B --seq-length 8192 --output-dir checkpoints/1-3B-8k

GPT-NeoX compares `max_position_embeddings` of config and checkpoint and refuses another, although rotary positions have no
weights. The copy holds the weights as they are, the new number, and no optimizer: `launch.configs --recipe long-context` starts
from it. Files of layers are copied, those that hold the number written anew by the interpreter of GPT-NeoX's environment
(GPT_NEOX_PYTHON). What they name beyond tensors and plain data is refused, not run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from haigo import cli, files, yamlfile
from haigo.cli import Failed, HaigoError
from haigo.pickles import refusal
from launch.deepy import interpreter
from launch.neox.conversion import pickles
from launch.plan import recipes as config_recipes
from neox_configs import reader


def stretch(source: str | Path, length: int, output: str | Path, python: Path) -> Path:
    """Write the copy; it appears whole or not at all.

    Args:
        source: save folder or global_stepN folder.
        length: tokens a sample may have.
        output: a save folder that is not there yet.
        python: the interpreter of GPT-NeoX's environment.

    Returns:
        The new save folder.

    Raises:
        HaigoError: no checkpoint, a length that is no longer, or a folder that exists. Failed: a file could not be rewritten.
        Refused: a file names what no checkpoint needs; nothing of it was run.
    """
    start = config_recipes.base(source)
    config_recipes.stretched(start, length)  # says what cannot be stretched
    place = Path(output)
    files.check_output(place, [source], [source])
    if place.exists():
        raise HaigoError(f"{place} exists already.", "give another --output-dir")
    tag = f"global_step{start.step}"
    old = start.folder / tag
    models = sorted(old.glob("mp_rank_*_model_states.pt"))
    if not models:
        raise HaigoError(f"{old} has no mp_rank_*_model_states.pt.", "name a whole checkpoint of GPT-NeoX")
    size = sum(path.stat().st_size for path in old.glob("*model*states.pt"))
    place.parent.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(place.parent, below=False)
    files.require_space(place.parent, size, "a copy of the checkpoint")
    with files.scratch(place.parent) as partial:
        new = partial / tag
        new.mkdir(parents=True)
        for path in sorted(old.glob("layer_*-model*states.pt")):
            files.copy(path, new / path.name)  # no second name: a training that saves over it would change the source
        for path in models:
            done = subprocess.run(
                [str(python), pickles.__file__, str(path), str(new / path.name), str(length)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode != 0:
                why = (done.stderr.strip().splitlines() or ["no word"])[-1]
                raise refusal(path, RuntimeError(why)) or Failed(
                    f"{path} could not be rewritten: {why[:200]}", "see whether the file is whole"
                )
        config = {**start.config, "max_position_embeddings": length}
        (new / "configs").mkdir()
        yamlfile.write(new / "configs" / "stretched.yml", config, f"{start.folder}, step {start.step}, stretched")
        files.write_text(partial / "latest", tag)
        files.move(partial, place)
    return place


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.stretch", __doc__)
    parser.add_argument("checkpoint", help="save folder, or one of its global_stepN folders")
    parser.add_argument("--seq-length", "--seq_length", type=cli.count, required=True, help="tokens a sample may have")
    parser.add_argument("--output-dir", "--output_dir", required=True, help="save folder of the copy")
    args = parser.parse_args(argv)
    made = stretch(args.checkpoint, args.seq_length, args.output_dir, interpreter())
    before = reader.value(config_recipes.base(args.checkpoint).config, "max_position_embeddings")
    print(
        f"{made}: {before:,} -> {args.seq_length:,} positions; go on with: python -m launch.configs --recipe long-context"
    )
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
