"""Intervals for means and paired differences over seeds and folds."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95

# Below this spread n values are one value measured n times.
_SAME = 1e-9


class Interval(NamedTuple):
  """A mean, with an interval where there can be one.

  Attributes:
    mean: NaN when there is no value.
    half_width: of the interval; None when there is none.
    n: number of values.
    reason: why there is no interval; empty when there is one.
  """

  mean: float
  half_width: float | None
  n: int
  reason: str = ''

  @property
  def low(self) -> float | None:
    return None if self.half_width is None else self.mean - self.half_width

  @property
  def high(self) -> float | None:
    return None if self.half_width is None else self.mean + self.half_width

  def scaled(self, factor: float) -> 'Interval':
    """The interval of factor * value; a negative factor mirrors it."""
    width = self.half_width
    return self._replace(
      mean=self.mean * factor,
      half_width=None if width is None else width * abs(factor),
    )

  @property
  def side(self) -> int:
    """+1 or -1 when the interval excludes 0 on that side, else 0."""
    if self.half_width is None or abs(self.mean) <= self.half_width:
      return 0
    return 1 if self.mean > 0 else -1


class Sampling(NamedTuple):
  """How the numbers of one experiment vary, which fixes their interval.

  Attributes:
    kind: `seeds`: one fixed split, seeds vary the training; `holdouts`: each
      seed draws its own holdout; `folds`: cross-validation, repeated by seeds.
    seeds: number of seeds.
    folds: number of folds, 1 without.
    overlap: size of the test part over that of the training part, when the
      training parts overlap; 0 for a fixed split.
  """

  kind: str
  seeds: int
  folds: int
  overlap: float

  @property
  def name(self) -> str:
    """The word for it in summary.csv."""
    return 't' if self.overlap == 0.0 else 'corrected resampled t'


def sampling(
  units: Sequence[tuple[int, int]], settings: Mapping[str, object]
) -> Sampling:
  """Reads off the design of an experiment.

  Args:
    units: the (seed, fold) that occur; fold is -1 without folds.
    settings: of the record; `split` says given, holdout or kfold, `folds` and
      `test_fraction` as in its options.
  """
  seeds = len({seed for seed, _ in units})
  folds = len({fold for _, fold in units})
  if folds > 1:
    planned = int(str(settings.get('folds', folds)))
    return Sampling('folds', seeds, folds, 1.0 / (max(planned, folds) - 1))
  if settings.get('split') == 'holdout':
    share = float(str(settings.get('test_fraction', 0.2)))
    return Sampling('holdouts', seeds, 1, share / (1.0 - share))
  return Sampling('seeds', seeds, 1, 0.0)


def t_interval(
  values: Sequence[float],
  *,
  overlap: float = 0.0,
  confidence: float = CONFIDENCE,
) -> Interval:
  """Mean and t interval of n values.

      mean +- t_{n-1} sqrt((1/n + overlap) s^2),   s^2 = sum (v - mean)^2/(n-1)

  With overlap = 0 this is Student's interval. Values from resampled splits
  share training rows and vary together, so that it is too narrow; with
  overlap = n_test / n_train it is the corrected resampled one.

  Args:
    values: one a seed and fold, finite.
    overlap: n_test / n_train of the resampled splits; 1/(k-1) for k folds.
    confidence: of the interval.

  Returns:
    The interval; without one when there is a single value, or when all values
    agree: then the seeds changed nothing, and zero width would claim what was
    not measured.

  References:
    Nadeau, Bengio, Inference for the generalization error, Machine Learning
    52, 2003, section 3. For folds repeated r times: Bouckaert, Frank,
    Evaluating the replicability of significance tests for comparing learning
    algorithms, PAKDD 2004, section 3.4.
  """
  v = np.asarray(values, np.float64)
  n = v.size
  if n == 0:
    return Interval(math.nan, None, 0, 'no value')
  mean = float(v.mean())
  if n == 1:
    return Interval(mean, None, 1, 'a single value')
  if float(np.ptp(v)) <= _SAME * max(1.0, abs(mean)):
    return Interval(mean, None, n, f'the same in all {n}')
  quantile = float(special.stdtrit(n - 1, 0.5 + confidence / 2.0))
  error = math.sqrt((1.0 / n + overlap) * float(v.var(ddof=1)))
  return Interval(mean, quantile * error, n)


def paired(
  a: Mapping[tuple[int, int], float],
  b: Mapping[tuple[int, int], float],
  *,
  overlap: float = 0.0,
  confidence: float = CONFIDENCE,
) -> Interval:
  """The t interval of a - b over the (seed, fold) that both have."""
  common = sorted(a.keys() & b.keys())
  differences = [a[unit] - b[unit] for unit in common]
  return t_interval(differences, overlap=overlap, confidence=confidence)


def indistinguishable(difference: Interval) -> bool:
  """Whether a paired difference may be zero.

  A difference without interval may be zero only when it is zero.
  """
  if difference.n == 0:
    return False
  if difference.half_width is None:
    return difference.n > 1 and abs(difference.mean) <= _SAME
  return difference.side == 0
