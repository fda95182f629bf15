"""Ports of this machine, for `master_port`."""

from __future__ import annotations

import socket


def free() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def trouble(port: int) -> str | None:
    """Why nothing could listen on a port; None where it is free."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except (OSError, OverflowError) as error:
            return str(getattr(error, "strerror", None) or error)
    return None
