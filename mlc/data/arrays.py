"""A whole data set as arrays on the device."""

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Int

from mlc.base import Batch, SparseRows
from mlc.data.dataset import Dataset, DatasetError

# Features, labels and what is known, before any copy that training makes.
MEMORY_BUDGET = 2 * 2**30


def to_device(
  dataset: Dataset,
  *,
  row: Int[np.ndarray, ' rows'] | None = None,
  memory_budget: int = MEMORY_BUDGET,
) -> Batch:
  """All rows as one batch, float32.

  Sparse rows are padded to the longest one with entries of value 0 in column
  0, so that one row with many entries makes all rows as long.

  Args:
    dataset: the data set.
    row: the example that each row stands for; None where every row is one.
    memory_budget: most bytes that the arrays may take.

  Returns:
    The batch; `weight` is None, `where` as in the data set, `row` as
    given or counted.

  Raises:
    DatasetError: more bytes than the budget.
  """
  x = dataset.x
  entries, sparse = x.shape[1], False
  if isinstance(x, scipy.sparse.csr_array):
    sparse = True
    # A matrix of zeros keeps one entry a row: no axis is empty.
    entries = max(int(np.diff(x.indptr).max()), 1)
  flags = 0 if dataset.where is None else dataset.num_labels
  a_row = entries * (8 if sparse else 4) + dataset.num_labels * 4 + flags
  total = dataset.num_examples * a_row
  if total > memory_budget:
    kind = (
      f'sparse features, padded to the longest row of {entries} entries'
      if sparse
      else f'{entries} dense features'
    )
    raise DatasetError(
      f'data set {dataset.name!r} takes {total / 2**30:.3g} GiB on the device '
      f'({dataset.num_examples} rows, {kind}, {dataset.num_labels} labels); '
      f'the budget is {memory_budget / 2**30:.3g} GiB. Use fewer rows or '
      'features'
      + (', cut the longest rows,' if sparse else '')
      + ' or raise memory_budget.'
    )
  return Batch(
    x=_padded(x, entries) if sparse else jnp.asarray(x, jnp.float32),
    y=jnp.asarray(dataset.y, jnp.float32),
    where=None if dataset.where is None else jnp.asarray(dataset.where),
    row=jnp.arange(dataset.num_examples)
    if row is None
    else jnp.asarray(row, jnp.int32),
  )


def _padded(x: scipy.sparse.csr_array, entries: int) -> SparseRows:
  length = np.diff(x.indptr)
  filled = np.arange(entries)[None, :] < length[:, None]
  indices = np.zeros(filled.shape, np.int32)
  values = np.zeros(filled.shape, np.float32)
  # In row-major order the filled places are the entries of the CSR.
  indices[filled] = x.indices
  values[filled] = x.data
  return SparseRows(jnp.asarray(indices), jnp.asarray(values), x.shape[1])
