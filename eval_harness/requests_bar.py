"""lm-eval's many bars (contexts, log-likelihoods, answers of every task) as one, counted in documents of all tasks.

Import it only where a model is about to run: it brings in lm-eval.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

from lm_eval.models import huggingface

from eval_harness.loading import quiet
from haigo.progress import Progress


class RequestsBar:
    """Progress over the documents of several tasks.

    Args:
        total: documents of all tasks.
    """

    def __init__(self, total: int) -> None:
        self.progress = Progress("lm-eval's tasks", total, "documents")
        self._before = 0.0

    def __enter__(self) -> RequestsBar:
        self.progress.__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        self.progress.__exit__(*how)

    @contextlib.contextmanager
    def task(self, name: str, documents: int) -> Iterator[None]:
        """Count one task, whose requests are answered within; what lm-eval prints meanwhile is held back."""

        def bar(iterable: Iterable[Any] | None = None, total: float | None = None, **_: Any) -> _Counted:
            size = total if total is not None else len(iterable) if hasattr(iterable, "__len__") else 0  # type: ignore[arg-type]
            return _Counted(self, iterable, size, documents, name)

        real = huggingface.tqdm
        huggingface.tqdm = bar
        try:
            with quiet(bars=False), contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            huggingface.tqdm = real
        self.at(documents, name)
        self._before += documents

    def at(self, documents: float, name: str) -> None:
        """Show that so many documents of the current task are done; it never goes back."""
        self.progress.done = max(self.progress.done, self._before + documents)
        self.progress.show(name)


class _Counted:
    """What lm-eval takes for a bar of tqdm's."""

    def __init__(
        self, bar: RequestsBar, iterable: Iterable[Any] | None, total: float, documents: int, name: str
    ) -> None:
        self.bar, self.iterable, self.total, self.documents, self.name = bar, iterable or (), total, documents, name
        self.done = 0.0

    def update(self, count: float = 1) -> None:
        self.done += count
        if self.total:
            self.bar.at(self.documents * min(1.0, self.done / self.total), self.name)

    def __iter__(self) -> Iterator[Any]:
        for each in self.iterable:
            yield each
            self.update()

    def close(self) -> None:
        """Nothing is left to do."""

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *how: Any) -> None:
        self.close()
