"""Labels that are kinds of others: bool [L, L], entry [child, parent]."""

import numpy as np
from jaxtyping import Bool, Int, UInt8

from mlc.numerics import transitive_closure


def on_cycles(
  hierarchy: Bool[np.ndarray, 'labels labels'],
) -> Int[np.ndarray, ' cyclic']:
  """The labels that are their own ancestors; none in a hierarchy proper."""
  return np.flatnonzero(np.diag(transitive_closure(hierarchy)))


def count_orphans(
  y: UInt8[np.ndarray, 'rows labels'],
  where: Bool[np.ndarray, 'rows labels'] | None,
  hierarchy: Bool[np.ndarray, 'labels labels'],
) -> int:
  """The rows in which a label is on and a parent of it off, both known."""
  off = y == 0
  if where is not None:
    off &= where
  orphans = np.zeros(len(y), bool)
  # Edge after edge: no [N, edges] array.
  for child, parent in np.argwhere(hierarchy):
    orphans |= (y[:, child] == 1) & off[:, parent]
  return int(orphans.sum())
