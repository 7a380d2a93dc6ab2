"""Random cloning and deleting of rows, the labels taking turns."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from mlc.data.imbalance import imbalance_ratios, mean_ratio, minority
from mlc.data.resampling.resampler import (
  Resampled,
  Resampler,
  Rows,
  check_size,
)

# Picks that are looked at together: [picks, L] counts stand in memory.
_PICKS = 1024


def ml_ros(*, size: float = 0.25) -> Resampler:
  """Clones random rows that have a minority label.

  The labels with IRLbl above its mean take turns: each clones a random one of
  its rows and leaves the round once its IRLbl is no longer above that mean,
  which stays as it was at first. It ends when `size` of the rows have been
  added or no label is left. A clone brings all its labels, the frequent ones
  too.

  Args:
    size: share of the training rows to add, the paper's P: 0.1 to 0.25 there.

  Returns:
    A resampler. Of unknown labels nothing is counted; a label without a
    positive has no row to clone.

  Raises:
    ValueError: for a size that is not above 0.

  References:
    Charte, Rivera, del Jesus, Herrera, Addressing imbalance in multilabel
    classification: measures and random resampling algorithms, Neurocomputing
    163, 2015, section 4 (ML-ROS).
  """
  check_size('ml_ros', size, np.inf)

  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    count = len(rows.y)
    kept = np.zeros(count, bool)
    picks = _in_turns(
      rows.y, round(size * count), rng, removing=False, kept=kept
    )
    return Resampled(np.append(np.arange(count), picks))

  return Resampler('ml_ros', resample)


def ml_rus(*, size: float = 0.25, spare_rare: bool = True) -> Resampler:
  """Leaves out random rows that have a majority label.

  The mirror of ml_ros: the labels with IRLbl below its mean take turns, each
  leaves out a random one of its rows and leaves the round once its IRLbl
  reaches that mean. The validation and test rows stay; what is left out is not
  trained on in this run. Rows without any label are never left out.

  Args:
    size: share of the training rows to leave out, at most.
    spare_rare: keep every row that has a minority label (IRLbl above the mean)
      besides, as the authors' package does; without it, as in the pseudo-code
      of some others, rare labels lose rows too and their mean IRLbl may even
      rise (on movies from 20.8 to 25.1).

  Returns:
    A resampler. Of unknown labels nothing is counted.

  Raises:
    ValueError: for a size outside (0, 1).

  References:
    Charte, Rivera, del Jesus, Herrera, Addressing imbalance in multilabel
    classification: measures and random resampling algorithms, Neurocomputing
    163, 2015, section 4 (ML-RUS).
    Rivera, Davila, Elizondo, del Jesus, Charte, mldr.resampling: efficient
    reference implementations of multilabel resampling algorithms,
    Neurocomputing 559, 2023.
  """
  check_size('ml_rus', size, 1.0)

  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    count = len(rows.y)
    most = min(round(size * count), count - 1)
    rare = minority(rows.y.sum(axis=0, dtype=np.int64))
    kept = np.asarray(rows.y[:, rare].any(axis=1) & spare_rare)
    picks = _in_turns(rows.y, most, rng, removing=True, kept=kept)
    return Resampled(np.setdiff1d(np.arange(count), picks))

  return Resampler('ml_rus', resample)


class Bags(NamedTuple):
  """The rows of each label, one label after another.

  Attributes:
    rows: all of them.
    label: the label that each of these stands for.
    size: rows of a label.
    start: where those of a label begin.
  """

  rows: Int[np.ndarray, ' positives']
  label: Int[np.ndarray, ' positives']
  size: Int[np.ndarray, ' labels']
  start: Int[np.ndarray, ' labels']


def _remaining(
  label: Int[np.ndarray, ' positives'],
  rows: Int[np.ndarray, ' positives'],
  there: Bool[np.ndarray, ' rows'],
  num_labels: int,
) -> Bags:
  label, rows = label[there[rows]], rows[there[rows]]
  size = np.bincount(label, minlength=num_labels)
  return Bags(rows, label, size, np.cumsum(size) - size)


def _in_turns(
  y: UInt8[np.ndarray, 'rows labels'],
  count: int,
  rng: np.random.Generator,
  *,
  removing: bool,
  kept: Bool[np.ndarray, ' rows'],
) -> Int[np.ndarray, ' picks']:
  """Rows picked label by label in turns, until there are `count`.

  What happens at one pick decides the next ones only when a label leaves, or
  when a row comes up that is gone already. So many picks are made ahead, those
  up to the first such event count, and the rest are made anew.
  """
  positives = y.sum(axis=0, dtype=np.int64)
  mean = mean_ratio(positives)
  queue = np.flatnonzero(minority(positives))
  if removing:
    frequent = imbalance_ratios(positives) < mean
    queue = np.flatnonzero(frequent & (positives > 0))
  there, picks = ~kept, np.empty(0, np.int64)
  label, rows = np.nonzero(y.T)
  bags = _remaining(label, rows, there, y.shape[1])
  queue = queue[bags.size[queue] > 0]
  while len(picks) < count and len(queue):
    label = np.resize(queue, min(count - len(picks), _PICKS))
    place = (rng.random(len(label)) * bags.size[label]).astype(np.int64)
    pick = bags.rows[bags.start[label] + place]
    change = np.cumsum(y[pick], axis=0, dtype=np.int64)
    after = positives - change if removing else positives + change
    own = after[np.arange(len(label)), label]
    ratio = after.max(axis=1) / np.maximum(own, 1)
    leaves = (ratio >= mean) | (own <= 0) if removing else ratio <= mean
    taken = int(np.argmax(leaves)) + 1 if leaves.any() else len(label)
    if removing:
      taken = min(taken, _first_repeated(pick))
    # The label after the last one that had its turn is next.
    queue = np.roll(queue, -taken)
    if leaves[taken - 1]:
      queue = queue[:-1]
    picks, positives = np.append(picks, pick[:taken]), after[taken - 1]
    if removing:
      there[picks] = False
      bags = _remaining(bags.label, bags.rows, there, y.shape[1])
      queue = queue[bags.size[queue] > 0]
  return picks


def _first_repeated(pick: Int[np.ndarray, ' picks']) -> int:
  """Position of the first value that was there before; else their number."""
  first = np.zeros(len(pick), bool)
  first[np.unique(pick, return_index=True)[1]] = True
  return len(pick) if first.all() else int(np.argmin(first))
