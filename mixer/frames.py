"""DataFrames in and out: runs are joined by the index, corpora and metrics by their names, never by where they stand.

Arrays have no names and are taken as they stand.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from haigo.cli import HaigoError, nearest
from mixer.arrays import Array, as_matrix


def columns(table: Any) -> list[str] | None:
    """The columns of a DataFrame, or the name of a Series; None of anything else."""
    if hasattr(table, "columns"):
        return [str(name) for name in table.columns]
    return [str(table.name)] if hasattr(table, "index") and hasattr(table, "name") and table.name is not None else None


def index(table: Any) -> Any:
    """The index of a DataFrame or Series; None of anything else."""
    return getattr(table, "index", None) if hasattr(table, "iloc") else None


def by_name(table: Any, names: Sequence[str] | None, what: str) -> Any:
    """A DataFrame with its columns in the order of `names`; anything else as it is.

    Raises:
        HaigoError: it has other columns; the first is named.
    """
    have = columns(table)
    if names is None or have is None or not hasattr(table, "columns") or have == list(names):
        return table
    lacking = [name for name in names if name not in have]
    strange = [name for name in have if name not in names]
    if lacking or strange:
        problem = (
            f"the {what} have no column '{lacking[0]}'" if lacking else f"the {what} have the column '{strange[0]}'"
        )
        near = nearest(lacking[0], have) if lacking else nearest(strange[0], names)
        raise HaigoError(
            f"{problem}.{near}", f"name the columns {', '.join(list(names)[:8])}{' ...' * (len(names) > 8)}"
        )
    if len(have) != len(set(have)):
        twice = next(name for name in have if have.count(name) > 1)
        raise HaigoError(f"the {what} have the column '{twice}' twice.", "keep one of them")
    return table.set_axis(have, axis=1)[list(names)]


def by_run(table: Any, rows: Any, what: str) -> Any:
    """A DataFrame or Series with its rows in the order of the index `rows`; anything else as it is.

    Raises:
        HaigoError: a run is there twice, or in one of the two tables only.
    """
    own = index(table)
    if rows is None or own is None or own.equals(rows):
        return table
    for labels in (own, rows):
        if not labels.is_unique:
            raise HaigoError(
                f"the run '{labels[labels.duplicated()][0]}' stands twice in the index.", "keep one row a run"
            )
    apart = [*rows.difference(own, sort=False)[:3], *own.difference(rows, sort=False)[:3]]
    if apart:
        shown = ", ".join(map(str, apart))
        raise HaigoError(f"{what} and weights are of different runs: {shown} ...", "give both tables the same index")
    return table.loc[rows]


def pair(weights: Any, losses: Any, corpora: Sequence[str] | None = None, metrics: Sequence[str] | None = None) -> Any:
    """Weights and losses with their rows joined by index and their columns in the order of the names."""
    losses = by_run(by_name(losses, metrics, "losses"), index(weights), "losses")
    return by_name(weights, corpora, "weights"), losses


class Estimator:
    """scikit-learn's habits for a predictor: `get_params`, `set_params`, `clone`, `score`, tables in and out.

    A class on top of it stores the arguments of its `__init__` under their own names; its `fit` and `predict` go
    through `taken`, `asked` and `shaped`.
    """

    _estimator_type = "regressor"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that a copy is made with."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def set_params(self, **params: Any) -> Self:
        """Change some of those.

        Raises:
            HaigoError: there is no such argument.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise HaigoError(
                    f"{type(self).__name__} has no parameter '{name}'.{nearest(name, known)}", ", ".join(known)
                )
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True, multi_output=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(positive_only=True),
        )

    def taken(self, weights: Any, losses: Any) -> tuple[Array, Array]:
        """What `fit` was given, as arrays (n, corpora) and (n, targets); names are kept for `predict`."""
        weights, losses = pair(weights, losses)
        self.flat_ = np.ndim(losses) == 1
        self.columns_, self.targets_ = columns(weights), columns(losses)
        if self.columns_ is not None:
            self.feature_names_in_ = np.array(self.columns_, dtype=object)
        w = as_matrix(weights, "weights")
        self.n_features_in_ = w.shape[1]
        return w, as_matrix(losses, "losses")

    def asked(self, weights: Any) -> Array:
        """The mixtures that `predict` was given, (n, corpora), in the order of those that were fitted."""
        made = as_matrix(by_name(weights, self.columns_, "weights"), "weights")
        if made.shape[1] != self.n_features_in_:
            raise HaigoError(
                f"{made.shape[1]} weights a mixture, and the fit had {self.n_features_in_} corpora.",
                "give one a corpus",
            )
        return made

    def shaped(self, made: Array, like: Any) -> Any:
        """Predictions (n, targets) as `fit` was given losses; a table with the index of `like` where that is one."""
        if index(like) is None:
            return made[:, 0] if self.flat_ else made
        import pandas as pd

        if self.flat_:
            return pd.Series(made[:, 0], index=like.index, name=self.targets_[0] if self.targets_ else None)
        return pd.DataFrame(made, index=like.index, columns=self.targets_)

    def score(self, weights: Any, losses: Any, sample_weight: Any = None) -> float:
        """R2 of the predictions, mean over the targets, as scikit-learn's regressors have it."""
        from sklearn.metrics import r2_score

        weights, losses = pair(weights, losses, self.columns_, self.targets_)
        truth = as_matrix(losses, "losses")
        guess = as_matrix(np.asarray(self.predict(weights)), "predictions")  # type: ignore[attr-defined]
        return float(r2_score(truth, guess, sample_weight=sample_weight))
