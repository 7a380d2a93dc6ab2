import itertools
import math

import numpy as np
import pytest
import scipy.stats

from mlc.report import block_tests

# Ranks of C4.5 with and without two parameters tuned (-m, -cf, both) on 14 data
# sets: Demsar, JMLR 7, 2006, table 6.
DEMSAR = np.array(
  [
    [4, 3, 2, 1],
    [1, 2, 3, 4],
    [4, 1, 2, 3],
    [4, 1, 3, 2],
    [4, 2, 3, 1],
    [1, 2.5, 4, 2.5],
    [3, 2, 4, 1],
    [2.5, 2.5, 4, 1],
    [4, 3, 2, 1],
    [2.5, 2.5, 2.5, 2.5],
    [4, 2.5, 1, 2.5],
    [3, 2, 4, 1],
    [4, 1, 2, 3],
    [3, 1, 4, 2],
  ]
)


def test_the_example_of_demsar():
  """Average ranks, Friedman 9.28 with p = 0.026, critical difference 1.25."""
  np.testing.assert_allclose(
    DEMSAR.mean(axis=0), [3.143, 2.0, 2.893, 1.964], atol=5e-4
  )
  np.testing.assert_array_equal(block_tests.ranks_of(-DEMSAR), DEMSAR)
  # Printed without correction for ties, which lowers p a little.
  assert block_tests.friedman(DEMSAR) == pytest.approx(0.02, abs=0.008)
  studentized = scipy.stats.studentized_range.ppf(0.95, 4, np.inf)
  nemenyi = studentized / math.sqrt(2) * math.sqrt(4 * 5 / (6 * 14))
  assert nemenyi == pytest.approx(1.25, abs=0.005)
  found = block_tests.range_test(DEMSAR)
  assert found.critical_difference == pytest.approx(nemenyi, abs=0.08)


def test_friedman_as_scipys_where_blocks_are_many():
  rng = np.random.default_rng(0)
  table = rng.normal(size=(60, 5)) + np.array([0.3, 0.1, 0, 0, 0])
  expected = scipy.stats.friedmanchisquare(*table.T).pvalue
  found = block_tests.friedman(block_tests.ranks_of(table))
  assert found == pytest.approx(expected, abs=0.01)


def test_friedman_by_enumeration_where_they_are_few():
  """All 6^3 outcomes of three methods on three data sets."""
  orders = np.array(list(itertools.permutations([1.0, 2.0, 3.0])))
  every = np.array(
    [np.sum(sum(rows) ** 2) for rows in itertools.product(orders, repeat=3)]
  )
  ranks = np.array([[1, 2, 3], [1, 3, 2], [1, 2, 3]], float)
  expected = np.mean(every >= np.sum(ranks.sum(axis=0) ** 2))
  error = math.sqrt(expected * (1 - expected) / 20_000)
  assert abs(block_tests.friedman(ranks) - expected) < 4 * error


def test_the_range_test_by_enumeration():
  orders = np.array(list(itertools.permutations([1.0, 2.0, 3.0])))
  every = np.array(
    [np.ptp(sum(rows)) for rows in itertools.product(orders, repeat=4)]
  )
  ranks = np.array([[1, 2, 3], [1, 3, 2], [1, 2, 3], [1, 2, 3]], float)
  found = block_tests.range_test(ranks)
  sums = ranks.sum(axis=0)
  for a, b in itertools.combinations(range(3), 2):
    expected = np.mean(every >= abs(sums[a] - sums[b]))
    error = math.sqrt(expected * (1 - expected) / 20_000) + 1 / 20_000
    assert abs(found.p_values[a, b] - expected) < 4 * error
  least = min(d for d in range(9) if np.mean(every >= d) <= 0.05)
  assert found.critical_difference == least / 4


@pytest.mark.parametrize('blocks', [8, 13, 20])
def test_wilcoxon_as_scipys(blocks):
  rng = np.random.default_rng(blocks)
  table = rng.normal(size=(blocks, 4)) + np.array([1.0, 0.5, 0.0, 0.0])
  pairs = list(itertools.combinations(range(4), 2))
  raw = [
    scipy.stats.wilcoxon(table[:, a], table[:, b]).pvalue for a, b in pairs
  ]
  found = block_tests.wilcoxon_holm(table)
  for (a, b), expected in zip(
    pairs, block_tests.holm(np.array(raw)), strict=True
  ):
    assert found[a, b] == found[b, a] == pytest.approx(expected)


def test_wilcoxon_with_ties_goes_through_all_signs():
  difference = np.array([1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 0.0])
  table = np.stack([difference, np.zeros(7)], axis=1)
  kept = difference[difference != 0]
  rank = scipy.stats.rankdata(np.abs(kept))
  every = [
    abs(sum(s * r for s, r in zip(signs, rank, strict=True)))
    for signs in itertools.product([-1, 1], repeat=6)
  ]
  seen = abs(np.sum(np.sign(kept) * rank))
  expected = np.mean(np.array(every) >= seen)
  assert block_tests.wilcoxon_holm(table)[0, 1] == pytest.approx(expected)


def test_equal_methods_do_not_differ():
  table = np.ones((8, 3))
  assert (block_tests.wilcoxon_holm(table) == 1).all()
  ranks = block_tests.ranks_of(table)
  assert (ranks == 2).all()
  assert block_tests.friedman(ranks) == 1.0
  found = block_tests.range_test(ranks)
  assert (found.p_values == 1).all()


def test_holm_by_hand():
  p = np.array([0.04, 0.01, 0.03, 0.9])
  np.testing.assert_allclose(
    block_tests.holm(p), [3 * 0.03, 4 * 0.01, 3 * 0.03, 0.9]
  )
  np.testing.assert_allclose(block_tests.holm(np.array([0.6, 0.7])), [1.0, 1.0])


def test_a_failure_is_last_and_worse_than_any_difference():
  table = np.array([[0.9, 0.1, np.nan], [0.5, np.nan, np.nan]])
  np.testing.assert_array_equal(
    block_tests.ranks_of(table), [[1, 2, 3], [1, 2.5, 2.5]]
  )
  rng = np.random.default_rng(0)
  good = np.column_stack([rng.random(8), rng.random(8), np.full(8, np.nan)])
  p = block_tests.wilcoxon_holm(good)
  assert p[0, 2] == p[1, 2] == pytest.approx(3 * 2 / 2**8)


@pytest.mark.parametrize(
  ('methods', 'wilcoxon', 'ranges'), [(3, 7, 3), (5, 9, 3), (20, 13, 3)]
)
def test_the_least_number_of_data_sets_can_reject_and_one_less_cannot(
  methods, wilcoxon, ranges
):
  assert block_tests.needed(methods, 'wilcoxon-holm') == wilcoxon
  assert block_tests.needed(methods, 'range') == ranges
  best = np.tile(np.arange(methods, 0.0, -1), (wilcoxon, 1))
  best += np.arange(wilcoxon)[:, None] * np.arange(methods) / 1e3
  pairs = methods * (methods - 1) / 2
  assert 2 * pairs / 2**wilcoxon <= 0.05 < 2 * pairs / 2 ** (wilcoxon - 1)
  if methods == 3:
    assert block_tests.wilcoxon_holm(best).min() <= 0.05
    assert block_tests.wilcoxon_holm(best[1:]).min() > 0.05
  same = block_tests.ranks_of(best[:ranges])
  assert block_tests.friedman(same) <= 0.05
  assert block_tests.range_test(same).p_values.min() <= 0.05


def test_the_test_is_chosen_by_the_number_of_data_sets():
  assert block_tests.choose(9, 5) == 'wilcoxon-holm'
  assert block_tests.choose(8, 5) == 'range'
  assert block_tests.choose(3, 5) == 'range'
  assert block_tests.choose(2, 5) is None
