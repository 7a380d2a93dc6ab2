"""What a resampler is, and what it makes of the training rows of each split."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import (
  Any,
  NamedTuple,
  Protocol,
  TypeAlias,
  runtime_checkable,
)

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, UInt8

from mlc.data.dataset import Dataset, DatasetError
from mlc.data.imbalance import statistics

# Keeps these random numbers apart from those that split the rows.
_STREAM = 0x5A3D

Matrix: TypeAlias = np.ndarray | scipy.sparse.csr_array


class Rows(NamedTuple):
  """Examples: of a resampler, the training rows of one split.

  Attributes:
    x: features, dense or CSR.
    y: labels, 0 or 1; 0 where unknown.
    where: True where the label is known; None when all are.
  """

  x: Matrix
  y: UInt8[np.ndarray, 'rows labels']
  where: Bool[np.ndarray, 'rows labels'] | None = None


class Resampled(NamedTuple):
  """What a run trains on in place of its training rows.

  Attributes:
    rows: positions among the rows that were given, any number of times each;
      from their number n on, position - n in `made`.
    made: rows that were not there before; None when there are none.
    source: for each of these the given row that it was made from.
    share: how often each of `rows` is drawn in an epoch, in proportion;
      None for exactly once.
  """

  rows: Int[np.ndarray, ' chosen']
  made: Rows | None = None
  source: Int[np.ndarray, ' made'] | None = None
  share: Float[np.ndarray, ' chosen'] | None = None


class Resampler(NamedTuple):
  """A way to make training rows of training rows.

  Attributes:
    name: as in the results table.
    resample: (rows, random generator) -> Resampled. All randomness is the
      generator's.
  """

  name: str
  resample: Callable[[Rows, np.random.Generator], Resampled]


@runtime_checkable
class Split(Protocol):
  """The training rows of one seed and fold."""

  @property
  def train(self) -> np.ndarray: ...
  @property
  def seed(self) -> int: ...
  @property
  def fold(self) -> int: ...


class Training(NamedTuple):
  """What the runs of every split train on.

  Attributes:
    dataset: the data set, made rows of all splits after its own, which keep
      their places: a row of the validation or test part is where it was.
    row: the row of the data set that each of its rows stands for; of a made
      row the one that it was made from.
    rows: for each split its training rows in `dataset`.
    shares: for each split how often each of them is drawn, in proportion; None
      when each is seen once an epoch.
    before, after: for each split the statistics of imbalance of its training
      rows; after resampling they are expectations where rows are drawn.
  """

  dataset: Dataset
  row: Int[np.ndarray, ' rows']
  rows: Sequence[Int[np.ndarray, ' train']]
  shares: Sequence[Float[np.ndarray, ' train']] | None
  before: Sequence[Mapping[str, Any]]
  after: Sequence[Mapping[str, Any]]


def none() -> Resampler:
  """Each training row once an epoch.

  Returns:
    The resampler that leaves everything as it is.
  """
  return Resampler('none', lambda rows, rng: Resampled(np.arange(len(rows.y))))


def resample(
  dataset: Dataset, splits: Sequence[Split], resampler: Resampler
) -> Training:
  """Resamples the training rows of each split, as a function of its seed.

  Args:
    dataset: the data set.
    splits: one for each seed and fold; only their training rows are read.
    resampler: what is done to each.

  Returns:
    A `Training`; with the resampler `none` it holds the data set as it is.

  Raises:
    DatasetError: rows that the resampler cannot work with.
  """
  counts = dataset.num_examples
  made: list[Rows] = []
  sources, indices, shares, before, after = [], [], [], [], []
  for split in splits:
    train = np.asarray(split.train)
    rng = np.random.default_rng([split.seed, split.fold + 1, _STREAM])
    rows = rows_of(dataset, train)
    found = resampler.resample(rows, rng)
    index, y = train, rows.y
    if found.made is not None and found.source is not None:
      index = np.append(train, counts + np.arange(len(found.made.y)))
      y = np.concatenate([rows.y, found.made.y])
      counts += len(found.made.y)
      made.append(found.made)
      sources.append(train[found.source])
    indices.append(index[found.rows].astype(np.int32))
    share = found.share
    if share is not None:
      shares.append(share)
      share = share * (len(share) / share.sum())
    before.append(statistics(rows.y))
    after.append(statistics(y[found.rows], share))
  return Training(
    dataset=_extended(dataset, made),
    row=np.concatenate([np.arange(dataset.num_examples), *sources]),
    rows=indices,
    shares=shares or None,
    before=before,
    after=after,
  )


def rows_of(dataset: Dataset, index: Int[np.ndarray, ' rows']) -> Rows:
  """Some rows of a data set."""
  where = None if dataset.where is None else dataset.where[index]
  return Rows(dataset.x[index], dataset.y[index], where)


def refuse_unknown(name: str, rows: Rows, why: str) -> None:
  """Refuses rows with unknown labels.

  Raises:
    DatasetError: some label is not known.
  """
  if rows.where is not None:
    raise DatasetError(
      f'resampling {name}: {np.sum(~rows.where)} labels of the training rows '
      f'are unknown, and {why}. Choose --resampling=ml_ros, mlsmote, remedial '
      'or class_aware, which work with the labels that are known.'
    )


def check_size(name: str, size: float, most: float) -> None:
  """Refuses a share of the rows that cannot be cloned or left out."""
  if not 0.0 < size < most:
    raise ValueError(
      f'resampling {name} got size={size}; it takes a share of the training '
      f'rows above 0 and below {most:g}.'
    )


def _extended(dataset: Dataset, made: Sequence[Rows]) -> Dataset:
  """The data set with made rows after its own."""
  if not made:
    return dataset
  y = np.concatenate([dataset.y, *(rows.y for rows in made)])
  where = None
  if dataset.where is not None:
    known = [np.ones(rows.y.shape, bool) for rows in made]
    known = [
      all_known if rows.where is None else rows.where
      for rows, all_known in zip(made, known, strict=True)
    ]
    where = np.concatenate([dataset.where, *known])
  parts = [dataset.x, *(rows.x for rows in made)]
  x: Any
  if scipy.sparse.issparse(dataset.x):
    x = scipy.sparse.csr_array(scipy.sparse.vstack(parts, format='csr'))
  else:
    x = np.concatenate(parts)
  # What is true of the data set's own rows alone is left behind.
  return dataclasses.replace(
    dataset, x=x, y=y, where=where, split=None, log_joint=None, notes=()
  )
