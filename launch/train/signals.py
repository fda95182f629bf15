"""Signals that a run is stopped by, handed to a function for as long as it lasts."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handled(take: Callable[[int, object], None], *more: signal.Signals) -> Iterator[None]:
    """Call `take(number, frame)` on SIGINT, SIGTERM, SIGHUP (unless nohup has it ignored) and `more`.

    Outside the main thread nothing is changed: signals reach the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = [signal.SIGINT, signal.SIGTERM, *more]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        kinds.append(signal.SIGHUP)
    before = {kind: signal.signal(kind, take) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
