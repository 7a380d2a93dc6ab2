"""Rows made up between rows that share a rare label."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from mlc.data.imbalance import minority
from mlc.data.resampling.resampler import Matrix, Resampled, Resampler, Rows

# Distances of a block: 32 MiB in float64.
_BLOCK_NUMBERS = 2**22
_LABELS = ('ranking', 'union', 'intersection')


def mlsmote(
  *,
  neighbours: int = 5,
  labels: Literal['ranking', 'union', 'intersection'] = 'ranking',
  scaled: bool = False,
) -> Resampler:
  """Makes up a row beside every row of every minority label.

      x' = x_i + u (x_r - x_i),    u uniform in [0, 1)

  For each label with IRLbl above the mean, each of its rows i is joined with
  one of its nearest neighbours among the rows of that label, r, chosen at
  random; x' lies on the segment between the two. (One u a row: the pseudo-code
  of the paper draws one a feature, which leaves the segment for the box around
  it.) Its labels follow from those of row i and all these neighbours. Rows that
  were made are neither joined nor neighbours.

  Sparse rows are joined as sparse ones: a made row holds the entries of both,
  so that the rows on the device get up to twice as long. Values of 0 and 1
  (tokens, nominal features) become shares.

  Args:
    neighbours: k, of each row; fewer where the label has no more. A label with
      a single row gets none.
    labels: a made row has those of more than half of the k + 1 rows (ranking,
      the paper's choice), of any (union) or of all (intersection). Where
      every row has one label all three are SMOTE.
    scaled: whether distances are between features divided by their standard
      deviation over the training rows, for features of different units.

  Returns:
    A resampler. A label of a made row is known when no unknown label of the
    k + 1 rows could change it.

  Raises:
    ValueError: for fewer than one neighbour, or unknown `labels`.

  References:
    Charte, Rivera, del Jesus, Herrera, MLSMOTE: approaching imbalanced
    multilabel learning through synthetic instance generation, Knowledge-Based
    Systems 89, 2015, algorithms 1 and 2.
    Chawla, Bowyer, Hall, Kegelmeyer, SMOTE: synthetic minority over-sampling
    technique, Journal of Artificial Intelligence Research 16, 2002.
  """
  if neighbours < 1:
    raise ValueError(
      f'resampling mlsmote got neighbours={neighbours}; give at least 1.'
    )
  if labels not in _LABELS:
    raise ValueError(
      f'resampling mlsmote got labels={labels!r}; choose one of '
      f'{", ".join(_LABELS)}.'
    )

  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    count = len(rows.y)
    positives = rows.y.sum(axis=0, dtype=np.int64)
    metric = _scaled(rows.x) if scaled else rows.x
    made, sources = [], []
    # Bags of different sizes: each label has distances of its own.
    for label in np.flatnonzero(minority(positives) & (positives > 1)):
      bag = np.flatnonzero(rows.y[:, label])
      near = bag[_nearest(metric[bag], min(neighbours, len(bag) - 1))]
      chosen = rng.integers(near.shape[1], size=len(bag))
      other = near[np.arange(len(bag)), chosen]
      x = _between(rows.x, bag, other, rng.random(len(bag)))
      made.append((x, *_voted(rows, np.column_stack([bag, near]), labels)))
      sources.append(bag)
    if not made:
      return Resampled(np.arange(count))
    source = np.concatenate(sources)
    index = np.arange(count + len(source))
    return Resampled(index, _joined(made), source)

  return Resampler('mlsmote', resample)


def _nearest(x: Matrix, k: int) -> Int[np.ndarray, 'rows k']:
  """The k nearest others of each row, by Euclidean distance."""
  x = x.astype(np.float64)
  squares = np.asarray((x * x).sum(axis=1)).reshape(-1)
  block = max(1, _BLOCK_NUMBERS // len(squares))
  found = []
  for first in range(0, len(squares), block):
    own = np.arange(first, min(first + block, len(squares)))
    product: Any = x[own] @ x.T
    if scipy.sparse.issparse(product):
      product = product.toarray()
    # |a - b|^2 but for |a|^2, which orders nothing.
    distance = squares[None, :] - 2.0 * product
    distance[np.arange(len(own)), own] = np.inf
    found.append(np.argpartition(distance, k - 1, axis=1)[:, :k])
  return np.concatenate(found)


def _scaled(x: Matrix) -> Matrix:
  """Features in units of their standard deviation; constant ones as 0."""
  x = x.astype(np.float64)
  square = np.asarray((x * x).mean(axis=0)).reshape(-1)
  mean = np.asarray(x.mean(axis=0)).reshape(-1)
  variance = np.maximum(square - mean**2, 0.0)
  varies = variance > 1e-12 * square
  scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
  if scipy.sparse.issparse(x):
    return scipy.sparse.csr_array(x @ scipy.sparse.diags_array(scale))
  return x * scale


def _between(
  x: Matrix,
  one: Int[np.ndarray, ' made'],
  other: Int[np.ndarray, ' made'],
  u: Float[np.ndarray, ' made'],
) -> Any:
  """Points on the segments from one row to another."""
  if scipy.sparse.issparse(x):
    near = scipy.sparse.diags_array(1.0 - u) @ x[one]
    far = scipy.sparse.diags_array(u) @ x[other]
    return scipy.sparse.csr_array(near + far).astype(np.float32)
  start = x[one].astype(np.float64)
  return (start + u[:, None] * (x[other] - start)).astype(np.float32)


def _voted(
  rows: Rows, group: Int[np.ndarray, 'made voters'], labels: str
) -> tuple[Any, Any]:
  """Labels that enough rows of a group have, and which of them are known."""
  voters = group.shape[1]
  needed = {'ranking': voters // 2 + 1, 'union': 1, 'intersection': voters}
  ayes = rows.y[group].sum(axis=1, dtype=np.int64)
  y = ayes >= needed[labels]
  if rows.where is None:
    return y.astype(np.uint8), None
  silent = (~rows.where[group]).sum(axis=1)
  return y.astype(np.uint8), y | (ayes + silent < needed[labels])


def _joined(made: Sequence[tuple[Any, Any, Any]]) -> Rows:
  """The rows of all labels as one."""
  xs, ys, known = zip(*made, strict=True)
  x: Any
  if scipy.sparse.issparse(xs[0]):
    x = scipy.sparse.csr_array(scipy.sparse.vstack(xs, format='csr'))
  else:
    x = np.concatenate(xs)
  where = None if known[0] is None else np.concatenate(known)
  return Rows(x, np.concatenate(ys), where)
