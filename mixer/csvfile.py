"""A CSV file as text cells, with everything that can be wrong with it told in one sentence."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError


def read(path: str | os.PathLike[str]) -> Any:
    """A DataFrame of strings, empty cells as "", column names stripped.

    Raises:
        HaigoError: missing, a folder, not a CSV table, or a column given twice.
    """
    import pandas as pd

    if not Path(path).is_file():
        missing = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
        raise HaigoError(f"{path} {missing}.", "check the path")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise HaigoError(f"{path} is not a CSV table: {reason}.", "save it as UTF-8 CSV with one header line") from None
    table.columns = [str(column).strip() for column in table.columns]
    twice = [
        column for column in table.columns if re.fullmatch(r".+\.\d+", column) and column.rsplit(".", 1)[0] in table
    ]
    if twice:
        raise HaigoError(f"{path} has the column '{twice[0].rsplit('.', 1)[0]}' twice.", "keep one of them")
    return table
