import itertools
import json
import math

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from sklearn.metrics import matthews_corrcoef, mutual_info_score

from mlc.data import bundled
from mlc.data.dataset import Dataset
from mlc.data.profile import profile


def _dataset(y, **changes):
  y = np.asarray(y)
  x = changes.pop('x', np.ones((len(y), 2)))
  names = tuple(f'l{j}' for j in range(y.shape[1]))
  return Dataset('toy', x, y, names, **changes)


def _random(n=300, num_labels=5):
  rng = np.random.default_rng(0)
  y = rng.random((n, num_labels)) < np.linspace(0.1, 0.6, num_labels)
  y[:, 1] |= y[:, 0]
  return y.astype(int)


def test_counts_by_hand():
  y = [[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]
  x = scipy.sparse.csr_array(np.diag([1.0, 2, 0, 3])[:, :5])
  result = profile(_dataset(y, x=x))
  ratio = [1.0, 3.0]  # 3 / 3 and 3 / 1; the third label has no positive
  first_row = 1.0 - math.sqrt(1.0 * 3.0) / 2.0
  expected = {
    'n': 4,
    'd': 4,
    'L': 3,
    'sparse': True,
    'feature_density': 3 / 16,
    'cardinality': 4 / 4,
    'density': 4 / 12,
    'distinct_label_sets': 3,
    'most_frequent_share': 2 / 4,
    'unlabelled': 1,
    'unknown': 0.0,
    'constant_labels': ['l2'],
    'mean_imbalance_ratio': np.mean(ratio),
    'max_imbalance_ratio': 3.0,
    'scumble': first_row / 3,  # the others have one label each: 0
    'total_correlation': None,
    'conditional_total_correlation': None,
  }
  for key, value in expected.items():
    assert result[key] == (
      pytest.approx(value) if isinstance(value, float) else value
    ), key


def test_pairs_are_those_of_scikit_learn():
  y = _random()
  shares, phis = [], []
  for j, k in itertools.combinations(range(y.shape[1]), 2):
    entropies = [mutual_info_score(y[:, i], y[:, i]) for i in (j, k)]
    shares.append(mutual_info_score(y[:, j], y[:, k]) / min(entropies))
    phis.append(abs(matthews_corrcoef(y[:, j], y[:, k])))
  result = profile(_dataset(y))
  assert result['dependence_strength'] == pytest.approx(np.mean(shares))
  assert result['mean_absolute_phi'] == pytest.approx(np.mean(phis))


def test_pairs_use_the_rows_where_both_are_known():
  y = _random(num_labels=2)
  where = np.random.default_rng(1).random(y.shape) < 0.7
  both = where.all(axis=1)
  some = profile(_dataset(y, where=where))
  full = profile(_dataset(y[both]))
  # The minimum of the entropies is over the same rows, too.
  for key in ('dependence_strength', 'mean_absolute_phi'):
    assert some[key] == pytest.approx(full[key])
  assert some['unknown'] == pytest.approx(1.0 - where.mean())
  assert some['total_correlation'] is None


def test_equal_labels_depend_wholly_and_a_constant_one_not_at_all():
  y = np.repeat([[0, 0, 1], [1, 1, 1]], 50, axis=0)
  result = profile(_dataset(y))
  assert result['dependence_strength'] == pytest.approx(1.0)
  assert result['mean_absolute_phi'] == pytest.approx(1.0)
  assert result['constant_labels'] == ['l2']


def test_total_correlation_is_near_the_truth_of_a_known_distribution():
  p = np.array([0.4, 0.1, 0.05, 0.1, 0.05, 0.05, 0.05, 0.2])
  vectors = (np.arange(8)[:, None] >> np.arange(3)) & 1
  marginals = p @ vectors
  truth = scipy.stats.entropy(
    np.stack([marginals, 1 - marginals])
  ).sum() - scipy.stats.entropy(p)
  errors = []
  for seed in range(200):
    codes = np.random.default_rng(seed).choice(8, 120, p=p)
    result = profile(_dataset(vectors[codes]))
    errors.append(result['total_correlation'] - truth)
  # Without the correction the mean error is (7 - 3) / 240 = 0.017.
  standard_error = np.std(errors) / math.sqrt(len(errors))
  assert abs(np.mean(errors)) < 3.0 * standard_error
  assert standard_error < 0.005


def test_the_true_conditional_dependence_is_told_where_it_is_known():
  y = np.random.default_rng(0).integers(2, size=(2500, 2))
  equal = np.log(np.array([0.5, 1e-30, 1e-30, 0.5]))
  independent = np.log(np.full(4, 0.25))
  log_joint = np.stack([equal] * 1000 + [independent] * 1500)
  data = _dataset(y, log_joint=log_joint)
  key = 'conditional_total_correlation'
  assert profile(data)[key] == pytest.approx(0.4 * math.log(2.0), abs=1e-6)
  some = profile(data, np.arange(500, 1500))
  assert some[key] == pytest.approx(0.5 * math.log(2.0), abs=1e-6)


def test_some_rows_are_described_as_a_set_of_their_own():
  y = _random()
  index = np.arange(7, 250, 3)
  x = np.random.default_rng(2).normal(size=(300, 2))
  some = profile(_dataset(y, x=x), index)
  assert some == profile(_dataset(y[index], x=x[index]))


@pytest.mark.parametrize(
  'y', [[[1]], [[0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]], [[1, 0], [0, 1]]]
)
def test_degenerate_sets_are_json_without_nan(y):
  result = profile(_dataset(y))
  assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_yeast_has_its_published_imbalance():
  # MeanIR and SCUMBLE of Charte et al., Neurocomputing 2015 and 2019.
  result = profile(bundled.yeast())
  assert result['mean_imbalance_ratio'] == pytest.approx(7.197, abs=5e-4)
  assert result['scumble'] == pytest.approx(0.104, abs=5e-4)
