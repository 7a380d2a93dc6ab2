"""Labels from frequent to rare, and how well each of them is predicted."""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

GROUPS = ('head', 'middle', 'tail')


def by_frequency(
  positives: Shaped[np.ndarray, ' labels'],
) -> dict[str, Int[np.ndarray, ' group']]:
  """The labels in thirds, from those of most positives to those of fewest.

  Args:
    positives: training rows that have each label.

  Returns:
    head, middle and tail: labels of each, none of them empty (one label alone
    is the head).
  """
  thirds = np.array_split(np.argsort(-positives, kind='stable'), len(GROUPS))
  return {
    name: third
    for name, third in zip(GROUPS, thirds, strict=True)
    if len(third)
  }


def label_f1(
  y: Shaped[np.ndarray, 'rows labels'],
  decision: Shaped[np.ndarray, 'rows labels'],
  where: Bool[np.ndarray, 'rows labels'] | None = None,
) -> Float[np.ndarray, ' labels']:
  """F1 of each label over some rows.

      F1_j = 2 tp_j / (2 tp_j + fp_j + fn_j)

  Args:
    y: the truth, 0 or 1.
    decision: what was decided, 0 or 1.
    where: where the truth is known; None for everywhere.

  Returns:
    [L], NaN for a label that has no positive among the rows: there is nothing
    to find, and any F1 would speak of the rows only.
  """
  known = np.ones(y.shape, bool) if where is None else where
  y, decision = (y > 0) & known, (decision > 0) & known
  there = y.sum(axis=0)
  total = np.maximum(there + decision.sum(axis=0), 1)
  return np.where(there > 0, 2.0 * (y & decision).sum(axis=0) / total, np.nan)
