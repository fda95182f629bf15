"""What a run's watchers did, a JSON line each (`events.jsonl` in the run's folder)."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

from haigo import files, redact


def note(folder: Path, what: str, **facts: Any) -> None:
    """Add a line.

    Args:
        folder: the run's own.
        what: started, ended, hung, mended, ...
        facts: JSON values; secrets in them are written as ***.
    """
    line = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "what": what,
        **redact.value("", facts),
    }
    with contextlib.suppress(OSError):  # a full disk must not end the watch
        with files.append(folder / "events.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
