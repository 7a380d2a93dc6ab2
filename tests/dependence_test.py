import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from sklearn.metrics import mutual_info_score

from mlc import dependence, distribution, numerics
from mlc.data import synthetic


def _joint(seed, num_labels=4):
  rng = np.random.default_rng(seed)
  return rng.dirichlet(np.full(2**num_labels, 0.4))


def _vectors(num_labels):
  codes = np.arange(2**num_labels)
  return (codes[:, None] >> np.arange(num_labels)) & 1


def _information(joint, j, k):
  """I(y_j; y_k) by summing out, one state after another."""
  table = np.zeros((2, 2))
  for p, y in zip(joint, _vectors(len(joint).bit_length() - 1), strict=True):
    table[y[j], y[k]] += p
  of_j, of_k = table.sum(axis=1), table.sum(axis=0)
  return sum(
    table[a, b] * math.log(table[a, b] / (of_j[a] * of_k[b]))
    for a, b in itertools.product((0, 1), repeat=2)
    if table[a, b] > 0
  )


def _total_correlation(joint):
  return synthetic.total_correlation(np.log(joint)[None])[0]


def _of_table(joint):
  """Pairs of tables, as a model's are measured."""
  log_joint = jnp.log(jnp.asarray(joint, jnp.float32))
  both = np.asarray(distribution.table_pairs(log_joint), np.float64)
  p = np.diagonal(both, axis1=-2, axis2=-1)[..., :, None]
  return numerics.pair_information(both, np.broadcast_to(p, both.shape))


def test_information_of_pairs_by_enumeration():
  joints = np.stack([_joint(seed) for seed in range(5)])
  found = _of_table(joints)
  for i, j, k in itertools.product(range(5), range(4), range(4)):
    if j != k:
      expected = _information(joints[i], j, k)
      assert found[i, j, k] == pytest.approx(expected, abs=1e-6)


def test_information_of_equal_opposite_and_independent_labels():
  p = 0.3
  h = -p * math.log(p) - (1 - p) * math.log(1 - p)
  margins = np.array([[p, p], [1 - p, 1 - p]])
  for both, expected in ((0.0, h), (p * (1 - p), 0.0)):
    table = np.array([[p, both], [both, 1 - p]])
    found = numerics.pair_information(table, margins)
    assert found[0, 1] == pytest.approx(expected, abs=1e-12)
    assert found[1, 0] == pytest.approx(found[0, 1], abs=1e-12)
  equal = numerics.pair_information(np.full((2, 2), p), np.full((2, 2), p))
  np.testing.assert_allclose(equal, h)


def test_information_of_a_sample_is_scikit_learns():
  rng = np.random.default_rng(0)
  y = (rng.random((200, 4)) < 0.4).astype(float)
  y[:, 1] = np.maximum(y[:, 0], y[:, 1])
  pairs = dependence.count_pairs(y)
  found = numerics.pair_information(pairs.both, pairs.p)
  for j, k in itertools.combinations(range(4), 2):
    expected = mutual_info_score(y[:, j], y[:, k])
    assert found[j, k] == pytest.approx(expected)


def test_pairs_count_rows_where_both_labels_are_known():
  y = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
  known = np.array([[1, 1], [1, 1], [1, 1], [0, 1]], bool)
  pairs = dependence.count_pairs(y, known)
  assert pairs.n[0, 1] == 3
  assert pairs.both[0, 1] == pytest.approx(1 / 3)
  assert pairs.p[0, 1] == pytest.approx(2 / 3)
  assert pairs.p[1, 0] == pytest.approx(2 / 3)
  assert pairs.p[1, 1] == pytest.approx(2 / 4)


def test_the_tree_is_the_best_of_all_trees():
  rng = np.random.default_rng(3)
  information = rng.random((5, 5))
  information += information.T
  edges = list(itertools.combinations(range(5), 2))

  def connected(tree):
    reached = {0}
    for _ in range(5):
      reached |= {b for a, b in tree if a in reached}
      reached |= {a for a, b in tree if b in reached}
    return len(reached) == 5

  best = max(
    sum(information[edge] for edge in tree)
    for tree in itertools.combinations(edges, 4)
    if connected(tree)
  )
  assert dependence.tree_information(information) == pytest.approx(best)


def test_a_tree_bounds_total_correlation_and_reaches_that_of_a_chain():
  for seed in range(5):
    joint = _joint(seed)
    whole = _total_correlation(joint)
    tree = dependence.tree_information(_of_table(joint))
    assert tree <= whole + 1e-6
  chain = np.array(
    [
      np.prod(
        [0.5] + [0.9 if a == b else 0.1 for a, b in itertools.pairwise(y)]
      )
      for y in _vectors(4)
    ]
  )
  whole = _total_correlation(chain)
  h = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
  assert whole == pytest.approx(3 * (math.log(2) - h))
  tree = dependence.tree_information(_of_table(chain))
  assert tree == pytest.approx(whole, abs=1e-6)


def test_the_baseline_brings_total_correlation_nearer_from_below():
  rng = np.random.default_rng(0)
  joint = _joint(1, num_labels=7)
  true = _total_correlation(joint)
  y = _vectors(7)[rng.choice(len(joint), 300, p=joint)].astype(float)
  found = dependence.of_sample(y)
  assert found.total_correlation == found.plug_in - found.by_chance
  assert found.total_correlation < true < found.plug_in
  assert true - found.total_correlation < 0.7 * (found.plug_in - true)
  assert found.tree_information < found.total_correlation


def test_independent_labels_have_none():
  rng = np.random.default_rng(0)
  y = (rng.random((400, 8)) < 0.3).astype(float)
  found = dependence.of_sample(y)
  assert found.plug_in > 0.1
  assert found.total_correlation < 0.25 * found.plug_in
  assert found.information == pytest.approx(0.0, abs=5e-4)


def test_what_cannot_be_estimated_is_none():
  rng = np.random.default_rng(0)
  y = (rng.random((60, 40)) < 0.5).astype(float)
  many = dependence.of_sample(y)
  assert many.total_correlation is None and many.by_chance is None
  assert many.information is not None
  known = np.ones(y.shape, bool)
  known[0, 0] = False
  y[0, 0] = 0.0
  assert dependence.of_sample(y, known).plug_in is None
  alone = dependence.of_sample(y[:, :1])
  assert alone.information is None
  assert alone.tree_information == 0.0
  assert dependence.of_sample(np.zeros((5, 3))).information is None


def test_residuals_by_loops():
  rng = np.random.default_rng(0)
  p = rng.uniform(0.1, 0.9, (50, 3))
  y = (rng.random((50, 3)) < p).astype(float)
  known = rng.random((50, 3)) < 0.9
  y *= known
  found = dependence.residuals(y, p, known)
  for j, k in itertools.permutations(range(3), 2):
    rows = np.flatnonzero(known[:, j] & known[:, k])
    e_j, e_k = (y - p)[rows, j], (y - p)[rows, k]
    product = e_j * e_k
    v_j, v_k = (p[rows, i] * (1 - p[rows, i]) for i in (j, k))
    variance = max((product**2).sum(), (v_j * v_k).sum())
    z = product.sum() / math.sqrt(variance)
    size = math.sqrt((e_j**2).sum() * (e_k**2).sum())
    r = product.sum() / size
    error = math.sqrt(len(rows)) * product.std() / size
    assert found.z[j, k] == pytest.approx(z)
    assert found.correlation[j, k] == pytest.approx(r)
    assert found.error[j, k] == pytest.approx(error)
  assert not found.counted.diagonal().any()


def test_independence_given_x_is_not_rejected_too_often():
  """Strong dependence through x, none given x; z is standard normal."""
  data = synthetic.make(
    'independent', labels=11, examples=3000, shared=0.9, signal=2.0
  )
  p = np.exp(data.log_joint.astype(float)) @ _vectors(11)
  found = dependence.residuals(data.y.astype(float), p)
  z = found.z[np.triu_indices(11, 1)]
  assert scipy.stats.kstest(z, 'norm').pvalue > 0.01
  told = dependence.strength(found)
  assert told.p_value > 0.05
  assert told.dependent_share == 0.0
  assert told.correlation < 0.01
  marginal = dependence.of_sample(data.y.astype(float))
  assert marginal.information > 0.02


def test_rare_labels_are_not_called_dependent():
  """About one row has any two of them."""
  rng = np.random.default_rng(0)
  y = (rng.random((2000, 150)) < 0.02).astype(float)
  p = dependence.recalibrated(y, np.full(y.shape, 0.03))
  told = dependence.strength(dependence.residuals(y, p))
  assert told.pairs == 150 * 149 / 2
  assert told.p_value > 0.05
  assert told.dependent_share < 0.001
  assert told.correlation < 0.01
  marginal = dependence.of_sample(y)
  # A fifth of what the plug-in has by chance, 1/(2n).
  assert marginal.information < 0.2 * 0.5 / 2000
  assert marginal.tree_information == 0.0


@pytest.mark.parametrize('kind', ['chain', 'ising'])
def test_residuals_find_the_true_covariance(kind):
  data = synthetic.make(kind, labels=5, examples=20000, strength=1.5)
  joint = np.exp(data.log_joint.astype(float))
  vectors = _vectors(5)
  p = joint @ vectors
  found = dependence.residuals(data.y.astype(float), p)
  for j, k in itertools.combinations(range(5), 2):
    both = joint @ (vectors[:, j] * vectors[:, k])
    covariance = np.mean(both - p[:, j] * p[:, k])
    variance = np.mean(p * (1 - p), axis=0)
    expected = covariance / math.sqrt(variance[j] * variance[k])
    assert abs(found.correlation[j, k] - expected) < 4.5 * found.error[j, k]
  told = dependence.strength(found)
  assert told.p_value < 1e-6
  assert told.information == pytest.approx(0.5 * told.correlation**2)


def test_the_square_of_the_correlation_is_unbiased():
  """Over repeated samples of a known covariance."""
  rng = np.random.default_rng(0)
  joint = np.array([0.35, 0.15, 0.2, 0.3])  # 00, 10, 01, 11
  vectors = _vectors(2)
  p = joint @ vectors
  covariance = joint[3] - p[0] * p[1]
  expected = covariance**2 / np.prod(p * (1 - p))
  squares = []
  for _ in range(400):
    y = vectors[rng.choice(4, 60, p=joint)].astype(float)
    found = dependence.residuals(y, np.tile(p, (60, 1)))
    squares.append(found.correlation[0, 1] ** 2 - found.error[0, 1] ** 2)
  error = np.std(squares) / math.sqrt(len(squares))
  # The plug-in is 1/60 too large, 4 times this tolerance.
  assert abs(np.mean(squares) - expected) < 3 * error
  assert 3 * error < 1 / 60


def _timid(labels=6, rows=3000):
  """Labels independent given x, and probabilities all too near one half."""
  rng = np.random.default_rng(0)
  f = rng.normal(-1.0, 1.0, (rows, labels)) + rng.normal(0, 2, (rows, 1))
  p, timid = (1 / (1 + np.exp(-g)) for g in (f, 0.4 * f))
  return (rng.random(f.shape) < p).astype(float), p, timid


def test_timid_probabilities_do_not_pass_for_dependence():
  y, p, timid = _timid()
  naive = dependence.strength(dependence.residuals(y, timid))
  assert naive.p_value < 1e-6
  mended = dependence.recalibrated(y, timid)
  told = dependence.strength(dependence.residuals(y, mended))
  assert told.p_value > 0.05
  np.testing.assert_allclose(mended, p, atol=0.1)


def test_recalibration_is_the_penalised_maximum():
  y, _, timid = _timid(labels=2, rows=200)
  known = np.random.default_rng(1).random(y.shape) < 0.8
  y *= known
  found = dependence.recalibrated(y, timid, known)
  f = np.log(timid / (1 - timid))
  for j in range(2):

    def cost(ab, j=j):
      q = 1 / (1 + np.exp(-ab[0] * f[:, j] - ab[1]))
      likely = y[:, j] * np.log(q) + (1 - y[:, j]) * np.log(1 - q)
      return -likely[known[:, j]].sum() + ((ab[0] - 1) ** 2 + ab[1] ** 2) / 2

    best = scipy.optimize.minimize(cost, [1.0, 0.0], tol=1e-9).x
    expected = 1 / (1 + np.exp(-best[0] * f[:, j] - best[1]))
    np.testing.assert_allclose(found[:, j], expected, atol=1e-5)


def test_recalibration_of_certain_and_constant_labels_stays_finite():
  y = np.zeros((30, 3))
  y[:5, 0] = 1.0
  p = np.stack([y[:, 0], np.zeros(30), np.full(30, 0.5)], axis=1)
  found = dependence.recalibrated(y, p)
  assert ((found >= 0) & (found <= 1)).all()
  assert dependence.strength(dependence.residuals(y, found)) is not None


def test_constant_labels_are_not_counted():
  y = np.zeros((20, 3))
  y[::2, 0] = 1.0
  told = dependence.strength(dependence.residuals(y, np.zeros((20, 3)) + 0.0))
  assert told is None
  empty = dependence.residuals(y[:, :1], np.full((20, 1), 0.5))
  assert dependence.strength(empty) is None


def test_the_strongest_pairs_are_named():
  rng = np.random.default_rng(0)
  y = (rng.random((300, 4)) < 0.5).astype(float)
  y[:, 3] = 1.0 - y[:, 1]
  found = dependence.residuals(y + 0.0, np.full(y.shape, 0.5) + 1e-3)
  (first, second) = dependence.strongest(found, 'abcd', 2)
  assert first['labels'] == ['b', 'd']
  assert first['correlation'] == pytest.approx(-1.0, abs=1e-3)
  assert abs(second['z']) < abs(first['z'])


def test_mean_over_pairs():
  values = np.arange(9.0).reshape(3, 3)
  assert dependence.mean_over_pairs(values) == (1 + 2 + 5) / 3
  counted = np.ones((3, 3), bool)
  counted[0, 1] = False
  assert dependence.mean_over_pairs(values, counted) == (2 + 5) / 2
  assert dependence.mean_over_pairs(values[:1, :1]) is None
