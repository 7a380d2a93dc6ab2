"""Tests over blocks: methods compared on data sets.

A table is [blocks, methods], more is better, NaN for a method that failed on a
block. Null distributions are exact or drawn, never asymptotic where blocks are
few: the usual chi-square needs more data sets than a study has.
"""

import functools
import math
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats

ALPHA = 0.05
Test = Literal['wilcoxon-holm', 'range']

_DRAWS = 20_000
_LEAST_BLOCKS = 3
# Up to here all 2^n signs are gone through, with ties too.
_EXACT_BLOCKS = 13


class Pairwise(NamedTuple):
  """Pairs of methods.

  Attributes:
    p_values: [methods, methods], adjusted for the number of pairs.
    critical_difference: of average ranks; None where the test has none.
  """

  p_values: np.ndarray
  critical_difference: float | None


def needed(num_methods: int, test: Test, alpha: float = ALPHA) -> int:
  """The least number of blocks with which a test can reject at all.

  The smallest p-value of Wilcoxon's test is 2^(1-n), to be held against
  alpha / m of m pairs. One of k methods is always first and another always
  last with probability (k (k-1))^(1-n).
  """
  if test == 'wilcoxon-holm':
    pairs = num_methods * (num_methods - 1) / 2
    return 1 + math.ceil(math.log2(pairs / alpha) - 1e-9)
  outcomes = num_methods * (num_methods - 1)
  least = 1 + math.ceil(-math.log(alpha) / math.log(outcomes) - 1e-9)
  return max(least, _LEAST_BLOCKS)


def choose(num_blocks: int, num_methods: int) -> Test | None:
  """Wilcoxon-Holm where it can reject, else the range test, else None."""
  tests: tuple[Test, ...] = ('wilcoxon-holm', 'range')
  for test in tests:
    if num_blocks >= max(needed(num_methods, test), _LEAST_BLOCKS):
      return test
  return None


def ranks_of(table: np.ndarray) -> np.ndarray:
  """1 for the best of a block; equal ones share theirs; failed are last."""
  worst = np.where(np.isnan(table), -np.inf, table)
  return scipy.stats.rankdata(-worst, axis=1)


def friedman(ranks: np.ndarray, *, seed: int = 0) -> float:
  """p-value of the hypothesis that all methods are alike.

  The statistic is sum_j R_j^2 of the rank sums R_j, as Friedman's; its
  distribution is drawn by permuting the ranks within each block, so that it
  holds for few blocks and for ties.

  References:
    Friedman, The use of ranks to avoid the assumption of normality implicit in
    the analysis of variance, JASA 32, 1937. Demsar, Statistical comparisons of
    classifiers over multiple data sets, JMLR 7, 2006, section 3.2.2.
  """
  drawn = np.sum(_permuted_sums(ranks, seed) ** 2, axis=1)
  return _share(drawn, np.sum(ranks.sum(axis=0) ** 2))


def pairwise(table: np.ndarray, test: Test, *, seed: int = 0) -> Pairwise:
  """The p-values of all pairs by the test."""
  if test == 'wilcoxon-holm':
    return Pairwise(wilcoxon_holm(table), None)
  return range_test(ranks_of(table), seed=seed)


def wilcoxon_holm(table: np.ndarray) -> np.ndarray:
  """Signed-rank tests of all pairs, adjusted by Holm's procedure.

  A failure counts as a loss larger than any difference measured, the failure
  of both as no difference. Blocks without difference are left out of the pair.

  References:
    Wilcoxon, Individual comparisons by ranking methods, Biometrics 1, 1945.
    Benavoli, Corani, Mangili, Should we really use post-hoc tests based on
    mean-ranks?, JMLR 17, 2016.
  """
  filled = _filled(table)
  num_methods = table.shape[1]
  first, second = np.triu_indices(num_methods, 1)
  p = np.array(
    [
      _signed_rank(filled[:, a] - filled[:, b])
      for a, b in zip(first, second, strict=True)
    ]
  )
  out = np.ones((num_methods, num_methods))
  out[first, second] = out[second, first] = holm(p)
  return out


def holm(p: np.ndarray) -> np.ndarray:
  """p-values adjusted for their number.

      p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))

  References:
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6, 1979.
  """
  order = np.argsort(p, kind='stable')
  stepped = p[order] * np.arange(len(p), 0, -1)
  out = np.empty_like(p)
  out[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
  return out


def range_test(
  ranks: np.ndarray, *, alpha: float = ALPHA, seed: int = 0
) -> Pairwise:
  """Pairs of rank sums against the range of all of them.

  What Nemenyi's test approximates: a pair differs when its rank sums lie
  further apart than the largest and the smallest would by chance, drawn by
  permuting the ranks within each block.

  References:
    Nemenyi, Distribution-free multiple comparisons, PhD thesis, Princeton
    1963. Demsar, JMLR 7, 2006, section 3.2.2.
  """
  sums = ranks.sum(axis=0)
  drawn = np.ptp(_permuted_sums(ranks, seed), axis=1)
  apart = np.abs(sums[:, None] - sums[None, :])
  p = np.ones_like(apart)
  for distance in np.unique(apart[apart > 0]):
    p[apart == distance] = _share(drawn, distance)
  enough = [d for d in np.unique(drawn) if _share(drawn, d) <= alpha]
  return Pairwise(p, float(enough[0]) / len(ranks) if enough else None)


def _permuted_sums(ranks: np.ndarray, seed: int) -> np.ndarray:
  """[draws, methods] rank sums when no method differs from another."""
  return _drawn_sums(tuple(map(tuple, np.sort(ranks, axis=1))), seed)


# Two tests, the page and its files ask for the same draws.
@functools.lru_cache(maxsize=16)
def _drawn_sums(rows: tuple[tuple[float, ...], ...], seed: int) -> np.ndarray:
  rng = np.random.default_rng(seed)
  sums = np.zeros((_DRAWS, len(rows[0])))
  for row in rows:
    sums += rng.permuted(np.tile(row, (_DRAWS, 1)), axis=1)
  return sums


def _share(drawn: np.ndarray, value: float) -> float:
  """P(drawn >= value), the observation itself counted among the draws."""
  return float((1 + np.sum(drawn >= value)) / (1 + len(drawn)))


def _filled(table: np.ndarray) -> np.ndarray:
  """Failures replaced by what is worse than anything measured."""
  if not np.isnan(table).any():
    return table
  low, high = np.nanmin(table), np.nanmax(table)
  return np.where(np.isnan(table), low - 2.0 * (high - low) - 1.0, table)


def _signed_rank(difference: np.ndarray) -> float:
  """Two-sided p-value of Wilcoxon's test; 1 when nothing differs."""
  difference = difference[difference != 0.0]
  if difference.size == 0:
    return 1.0
  if difference.size > _EXACT_BLOCKS:
    return float(scipy.stats.wilcoxon(difference).pvalue)
  rank = scipy.stats.rankdata(np.abs(difference))
  n = len(rank)
  signs = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
  centre = rank.sum() / 2.0
  apart = np.abs(signs @ rank - centre)
  return float(np.mean(apart >= abs(rank[difference > 0].sum() - centre)))
