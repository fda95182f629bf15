"""Whether what torch.save wrote is whole: by its end, which a killed write lacks, or by every byte.

torch writes a CRC with every tensor and, as it is built, never compares it: with `torch.load` a flipped bit becomes a weight,
or a moment of the optimizer, without a word.
"""

from __future__ import annotations

import os
import zipfile
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from haigo.progress import Progress

_READERS, _SHOW_S = 8, 5.0
_LEGACY = b"\x80"  # torch.save without zip: nothing at its end tells whether it is whole


def torn(path: str | os.PathLike[str], deep: bool = False) -> str | None:
    """What is wrong with a file written by torch.save, in words after its name; None when nothing is."""
    try:
        if os.path.getsize(path) == 0:
            return "is empty"
        with open(path, "rb") as handle:
            if handle.read(1) == _LEGACY:
                return None
        with zipfile.ZipFile(path) as archive:
            if not archive.infolist():
                return "is empty"
            bad = archive.testzip() if deep else None
            return f"is damaged ({bad})" if bad else None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError):
        return "is cut short"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def damaged(path: str | os.PathLike[str]) -> str | None:
    """Read every byte of a checkpoint, several files at a time; what is wrong with it, in words after its name, or None."""
    weights = sorted(Path(path).glob("*.pt"))
    sizes = {file: os.path.getsize(file) for file in weights}
    with (
        Progress(f"reading {Path(path).name}", sum(sizes.values()), "bytes", after=1.0) as progress,
        ThreadPoolExecutor(_READERS) as readers,
    ):
        left = {readers.submit(torn, file, deep=True): file for file in weights}
        while left:
            progress.show(f"{len(left)} files left")
            for done in wait(left, _SHOW_S, FIRST_COMPLETED).done:
                file = left.pop(done)
                progress.update(sizes[file])
                if trouble := done.result():
                    readers.shutdown(cancel_futures=True)
                    return f"{file.name} {trouble}"
    return None


def unreadable(path: str | os.PathLike[str]) -> str | None:
    """Why no layout could load a checkpoint, in words after its name: no weights, or a torn file; None otherwise."""
    weights = sorted(Path(path).glob("*.pt"))
    if not any("model_states" in file.name for file in weights):
        return "holds no weights"
    return next((f"holds {file.name}, which {trouble}" for file in weights if (trouble := torn(file))), None)
