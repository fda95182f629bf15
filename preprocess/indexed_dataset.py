"""The former name of `haigo.formats.dataset.indexed`, for programs that import it."""

from haigo.formats.dataset.indexed import (
    MMapReader,
    MMapWriter,
    bin_path,
    idx_path,
    merge,
    put_sample_orders_aside,
    take_over,
    token_dtype,
)

__all__ = [
    "MMapReader",
    "MMapWriter",
    "bin_path",
    "idx_path",
    "merge",
    "put_sample_orders_aside",
    "take_over",
    "token_dtype",
]
