"""Rows in which frequent and rare labels coincide, taken apart."""

import numpy as np

from mlc.data.imbalance import imbalance_ratios, minority, scumble
from mlc.data.resampling.resampler import Resampled, Resampler, Rows


def remedial() -> Resampler:
  """Splits rows that have frequent and rare labels into one row of each.

  A row whose SCUMBLE is above the mean becomes two of the same features: one
  keeps its minority labels (IRLbl above the mean), the other its remaining
  labels; what a row does not keep counts as absent there. The number of
  positives of every label stays; each gains negatives. (The paper also splits
  a row all of whose labels are on one side, which leaves a row without labels:
  such a row stays whole here. The mean SCUMBLE is over rows that have a label.)

  Returns:
    A resampler. A label that is unknown in a row is unknown in both.

  References:
    Charte, Rivera, del Jesus, Herrera, Resampling multilabel datasets by
    decoupling highly imbalanced labels, HAIS 2015, algorithm 1; Dealing with
    difficult minority labels in imbalanced multilabel data sets,
    Neurocomputing 326, 2019, section 3.
  """

  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    del rng  # Nothing is left to chance.
    y = rows.y
    positives = y.sum(axis=0, dtype=np.int64)
    rare = minority(positives)
    coincidence = scumble(y, imbalance_ratios(positives))
    labelled = y.any(axis=1)
    mean = coincidence[labelled].mean() if labelled.any() else 0.0
    both = y[:, rare].any(axis=1) & y[:, ~rare].any(axis=1)
    split = both & (coincidence > mean)
    if not split.any():
      return Resampled(np.arange(len(y)))
    source = np.tile(np.flatnonzero(split), 2)
    keeps = np.repeat([rare, ~rare], split.sum(), axis=0)
    made = Rows(
      rows.x[source],
      y[source] * keeps.astype(y.dtype),
      None if rows.where is None else rows.where[source],
    )
    index = np.append(np.flatnonzero(~split), len(y) + np.arange(len(source)))
    return Resampled(index, made, source)

  return Resampler('remedial', resample)
