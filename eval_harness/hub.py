"""Data files from the Hugging Face hub (`--hub`), for the data sets whose repository there holds plain files.

A file is taken as it is published, byte for byte; a repository's loading script is never run. It lies in the hub's own
cache, so a second run needs no network. HF_ENDPOINT names a mirror, HF_TOKEN a login, HF_HUB_OFFLINE=1 keeps to the cache.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from eval_harness.origins import Origin
from haigo.cli import HaigoError

ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A file in the hub's cache."""

    path: Path
    source: str
    """Its address with the commit."""
    official: bool
    """Whether it came from the hub itself, and not from a mirror."""


def has(origin: Origin, split: str) -> bool:
    """Whether the hub holds a plain file of that split."""
    return bool(origin.hub and split in origin.hub[1])


def fetch(origin: Origin, split: str) -> Fetched:
    """Bring the file of a split into the hub's cache, if it is not there.

    Raises:
        HaigoError: no network, no such file, or no leave to read it.
    """
    assert origin.hub is not None
    repository, names = origin.hub
    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        path = Path(hf_hub_download(repository, names[split], repo_type="dataset", endpoint=endpoint))
    except LocalEntryNotFoundError:
        problem, fix = "the hub does not answer and the file is not in its cache", "see that the network is there"
    except HfHubHTTPError as error:
        problem, fix = str(error).strip().splitlines()[0], "see HF_ENDPOINT and HF_TOKEN"
    except Exception as error:  # the library hands on its transport's errors, whichever that is
        problem, fix = (str(error).strip().splitlines() or [type(error).__name__])[0], "see that the network is there"
    else:
        # .../snapshots/COMMIT/NAME
        commit = path.parts[-1 - len(Path(names[split]).parts)]
        address = f"{endpoint}/datasets/{repository}/resolve/{commit}/{names[split]}"
        return Fetched(path=path, source=address, official=endpoint == ENDPOINT)
    raise HaigoError(
        f"{names[split]} could not be fetched from {endpoint}/datasets/{repository}: {problem.rstrip('.')}.",
        f"{fix}, or put the file into --data_dir",
    )
