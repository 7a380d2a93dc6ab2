"""Random cloning and deleting of rows by their whole label sets."""

import numpy as np
from jaxtyping import Int

from mlc.data.resampling.resampler import (
  Resampled,
  Resampler,
  Rows,
  check_size,
  refuse_unknown,
)

_WHY = 'a label set with an unknown label is unknown'


def lp_ros(*, size: float = 0.25) -> Resampler:
  """Clones random rows whose label set is rarer than the mean.

  Each label set that has fewer rows than the mean set is given as many clones
  as every other, at most up to that mean; what a set cannot take is shared out
  among the others.

  Args:
    size: share of the training rows to add, at most.

  Returns:
    A resampler.

  Raises:
    ValueError: for a size that is not above 0.
    DatasetError: when it meets unknown labels.

  References:
    Charte, Rivera, del Jesus, Herrera, A first approach to deal with imbalance
    in multi-label datasets, HAIS 2013, section 3 (LP-ROS).
  """
  check_size('lp_ros', size, np.inf)

  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    refuse_unknown('lp_ros', rows, _WHY)
    of_row, sizes = _label_sets(rows)
    room = np.floor(np.maximum(np.mean(sizes) - sizes, 0)).astype(np.int64)
    clones = _evenly(room, round(size * len(of_row)))
    bag = np.repeat(np.arange(len(sizes)), clones)
    place = (rng.random(len(bag)) * sizes[bag]).astype(np.int64)
    start = np.cumsum(sizes) - sizes
    picks = np.argsort(of_row, kind='stable')[start[bag] + place]
    return Resampled(np.append(np.arange(len(of_row)), picks))

  return Resampler('lp_ros', resample)


def lp_rus(*, size: float = 0.25) -> Resampler:
  """Leaves out random rows whose label set is more frequent than the mean.

  Each label set that has more rows than the mean set loses as many as every
  other, at most down to that mean; what a set cannot lose the others lose.

  Args:
    size: share of the training rows to leave out, at most.

  Returns:
    A resampler.

  Raises:
    ValueError: for a size outside (0, 1).
    DatasetError: when it meets unknown labels.

  References:
    Charte, Rivera, del Jesus, Herrera, A first approach to deal with imbalance
    in multi-label datasets, HAIS 2013, section 3 (LP-RUS).
  """
  check_size('lp_rus', size, 1.0)

  def resample(rows: Rows, rng: np.random.Generator) -> Resampled:
    refuse_unknown('lp_rus', rows, _WHY)
    of_row, sizes = _label_sets(rows)
    room = np.floor(np.maximum(sizes - np.mean(sizes), 0)).astype(np.int64)
    losses = _evenly(room, round(size * len(of_row)))
    # The rows of each set in a random order, of which the first are left out.
    order = np.lexsort((rng.random(len(of_row)), of_row))
    bag = of_row[order]
    rank = np.arange(len(bag)) - (np.cumsum(sizes) - sizes)[bag]
    return Resampled(np.sort(order[rank >= losses[bag]]))

  return Resampler('lp_rus', resample)


def _label_sets(
  rows: Rows,
) -> tuple[Int[np.ndarray, ' rows'], Int[np.ndarray, ' sets']]:
  """The label set of each row, by number, and how many rows each set has."""
  packed = np.packbits(rows.y.astype(bool), axis=1)
  _, of_row, sizes = np.unique(
    packed, axis=0, return_inverse=True, return_counts=True
  )
  return of_row.reshape(-1), sizes


def _evenly(
  room: Int[np.ndarray, ' sets'], total: int
) -> Int[np.ndarray, ' sets']:
  """Whole shares of a total, as equal as the room of each allows.

  min(room, level) with the level at which they add up to the total. The rest,
  less than one for each, goes to those with the most room.
  """
  if room.sum() <= total:
    return room
  # How much is given at each level: the rooms that reach it, added up.
  reaching = np.cumsum(np.bincount(room)[::-1])[::-1][1:]
  level = int(np.searchsorted(np.cumsum(reaching), total, side='right'))
  shares = np.minimum(room, level)
  most_first = np.argsort(-room, kind='stable')
  shares[most_first[: total - shares.sum()]] += 1
  return shares
