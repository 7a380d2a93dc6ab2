"""Rows of features that stand in two parts of a data set."""

import hashlib
from collections.abc import Iterator

import numpy as np
import scipy.sparse
from jaxtyping import Int


def count_repeated(
  x: np.ndarray | scipy.sparse.csr_array,
  train: Int[np.ndarray, ' train'],
  test: Int[np.ndarray, ' test'],
) -> int:
  """How many of the test rows have the features of a training row."""
  seen = set(_row_bytes(x, train))
  return sum(row in seen for row in _row_bytes(x, test))


def _row_bytes(
  x: np.ndarray | scipy.sparse.csr_array, index: np.ndarray
) -> Iterator[bytes]:
  """The rows as bytes: equal rows, and only they, are equal.

  A digest takes the place of a row of more than 64 bytes.
  """
  rows: Iterator[bytes]
  if isinstance(x, scipy.sparse.csr_array):
    columns, values, ends = x.indices, x.data, x.indptr
    rows = (
      columns[ends[i] : ends[i + 1]].tobytes()
      + values[ends[i] : ends[i + 1]].tobytes()
      for i in index
    )
  else:
    # Adding zero turns -0.0, which equals 0.0, into it.
    rows = ((x[i] + np.float32(0)).tobytes() for i in index)
  for row in rows:
    is_long = len(row) > 64
    yield hashlib.blake2b(row, digest_size=16).digest() if is_long else row
