import math

import numpy as np
import pytest
import scipy.stats

from mlc.report import statistics

T3 = 3.1824463052842638  # 97.5 % quantile of Student's t with 3 degrees


def test_t_interval_by_hand():
  found = statistics.t_interval([1.0, 2.0, 3.0, 4.0])
  variance = (2 * 1.5**2 + 2 * 0.5**2) / 3
  assert found.mean == 2.5
  assert found.n == 4
  assert found.half_width == pytest.approx(T3 * math.sqrt(variance / 4))
  assert found.low == pytest.approx(2.5 - T3 * math.sqrt(variance / 4))


def test_corrected_interval_by_hand():
  """k = 4 folds, one seed: variance s^2 (1/4 + n_test/n_train = 1/3)."""
  found = statistics.t_interval([1.0, 2.0, 3.0, 4.0], overlap=1 / 3)
  variance = 5 / 3
  expected = T3 * math.sqrt((1 / 4 + 1 / 3) * variance)
  assert found.half_width == pytest.approx(expected)


def test_interval_of_independent_values_is_that_of_scipy():
  values = np.random.default_rng(0).normal(size=9)
  found = statistics.t_interval(values.tolist())
  low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval()
  assert (found.low, found.high) == pytest.approx((low, high))


def test_interval_covers_as_often_as_it_says():
  rng = np.random.default_rng(1)
  samples = rng.normal(3.0, 2.0, size=(1000, 5)).tolist()
  found = [statistics.t_interval(values) for values in samples]
  share = np.mean([i.low <= 3.0 <= i.high for i in found])
  assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1000)


def test_correction_is_needed_and_holds_for_overlapping_folds():
  """Values that share a part of their variation, as training sets do.

  With correlation rho between any two values the mean has variance
  s^2 (1/n + rho/(1-rho)); Nadeau and Bengio take rho/(1-rho) as the overlap.
  """
  rng = np.random.default_rng(2)
  folds, overlap = 10, 1 / 9
  rho = overlap / (1 + overlap)
  shared = rng.normal(size=(2000, 1)) * math.sqrt(rho)
  values = shared + rng.normal(size=(2000, folds)) * math.sqrt(1 - rho)
  usual = [statistics.t_interval(v) for v in values.tolist()]
  right = [statistics.t_interval(v, overlap=overlap) for v in values.tolist()]
  missed = np.mean([abs(i.mean) > i.half_width for i in usual])
  held = np.mean([abs(i.mean) <= i.half_width for i in right])
  assert missed > 0.09
  assert abs(held - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


@pytest.mark.parametrize(
  ('values', 'n', 'reason'),
  [
    ([], 0, 'no value'),
    ([0.3], 1, 'a single value'),
    ([0.3, 0.3, 0.3], 3, 'the same in all 3'),
  ],
)
def test_no_interval_without_variation(values, n, reason):
  found = statistics.t_interval(values)
  assert (found.half_width, found.n, found.reason) == (None, n, reason)
  assert found.low is None
  assert found.high is None
  assert found.side == 0
  assert math.isnan(found.mean) == (n == 0)


def test_pairs_are_matched_by_seed_and_fold():
  a = {(0, 0): 1.0, (0, 1): 5.0, (1, 0): 2.0, (2, 0): 99.0}
  b = {(1, 0): 1.5, (0, 1): 4.0, (0, 0): 0.75, (3, 0): -99.0}
  found = statistics.paired(a, b)
  assert found == statistics.t_interval([0.25, 1.0, 0.5])


def test_pairs_see_what_unpaired_intervals_do_not():
  hard = np.array([0.1, 0.3, 0.5, 0.7])
  a = {(i, -1): v for i, v in enumerate(hard + np.array([2, 3, 2, 3]) / 100)}
  b = {(i, -1): v for i, v in enumerate(hard)}
  assert statistics.paired(a, b).side == 1
  apart = statistics.t_interval(list(a.values()))
  assert apart.low < np.mean(hard) < apart.high


@pytest.mark.parametrize(
  ('values', 'expected'),
  [
    ([0.1, 0.2, 0.15], False),
    ([0.1, -0.1, 0.05], True),
    ([0.0, 0.0], True),  # the same decisions in every seed
    ([0.1, 0.1], False),
    ([0.0], False),  # one seed decides nothing
    ([], False),
  ],
)
def test_indistinguishable(values, expected):
  found = statistics.t_interval(values)
  assert statistics.indistinguishable(found) is expected


def test_scaling_mirrors():
  found = statistics.t_interval([0.1, 0.2, 0.4])
  turned = found.scaled(-100.0)
  assert turned.low == pytest.approx(-100 * found.high)
  assert turned.high == pytest.approx(-100 * found.low)


def test_sampling_is_read_off_the_units_and_settings():
  seeds = [(s, -1) for s in range(5)]
  folds = [(s, f) for s in range(2) for f in range(10)]
  given = statistics.sampling(seeds, {'split': 'given'})
  assert given == ('seeds', 5, 1, 0.0)
  assert given.name == 't'
  settings = {'split': 'holdout', 'test_fraction': 0.2}
  holdout = statistics.sampling(seeds, settings)
  assert holdout == ('holdouts', 5, 1, pytest.approx(0.25))
  assert holdout.name == 'corrected resampled t'
  crossed = statistics.sampling(folds, {'split': 'kfold', 'folds': 10})
  assert crossed == ('folds', 2, 10, pytest.approx(1 / 9))
  # Folds that are missing, since they diverged, do not change the overlap.
  partial = statistics.sampling(folds[:7], {'split': 'kfold', 'folds': 10})
  assert partial.overlap == pytest.approx(1 / 9)
