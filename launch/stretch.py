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
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, files, flags, yamlfile
from haigo.cli import Failed, HaigoError
from haigo.options import Options, count, option
from haigo.pickles import refusal
from launch.neox import saved_files
from launch.neox.checkout import interpreter
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
            if damage := saved_files.torn(path, deep=True):  # written anew, it would get a CRC that is right
                raise Failed(f"{path} could not be rewritten: it {damage}.", "copy it again from where it was written")
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


@dataclass(frozen=True, kw_only=True)
class StretchOptions(Options):
    """What `launch.stretch` copies."""

    checkpoint: str = option("save folder, or one of its global_stepN folders", positional=True)
    seq_length: int = count("tokens a sample may have")
    output_dir: str = option("save folder of the copy")


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.stretch", __doc__, StretchOptions, argv)
    made = stretch(options.checkpoint, options.seq_length, options.output_dir, interpreter())
    before = reader.value(config_recipes.base(options.checkpoint).config, "max_position_embeddings")
    print(
        f"{made}: {before:,} -> {options.seq_length:,} positions; go on with: python -m launch.configs --recipe long-context"
    )
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
