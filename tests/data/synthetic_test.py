import itertools

import numpy as np
import pytest
from scipy.special import expit, logit

from mlc import distribution
from mlc.data import joints, worlds
from mlc.data.dataset import DatasetError
from mlc.data.synthetic import KINDS, make, parse_and_make, total_correlation

DEPENDENT = ('chain', 'ising', 'logistic_chain', 'tree', 'mixture')


def _affine_residual(x, z):
  """How far z is from an affine function of x, at most."""
  design = np.c_[x, np.ones(len(x))].astype(np.float64)
  w = np.linalg.lstsq(design, z, rcond=None)[0]
  return np.abs(design @ w - z).max()


def _marginals(log_joint):
  return np.exp(log_joint.astype(np.float64)) @ _vectors(log_joint)


def _vectors(log_joint):
  num_labels = log_joint.shape[1].bit_length() - 1
  # Written out, not taken from the code under test: label j is bit j.
  rows = itertools.product([0.0, 1.0], repeat=num_labels)
  return np.array([row[::-1] for row in rows])


@pytest.mark.parametrize('kind', KINDS)
def test_the_joint_sums_to_one(kind):
  data = make(kind, labels=5, examples=200)
  total = np.exp(data.log_joint.astype(np.float64)).sum(axis=1)
  np.testing.assert_allclose(total, 1.0, atol=1e-6)
  assert data.log_joint.shape == (200, 32)
  assert data.x.shape == (200, 10)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_label_vectors_occur_as_often_as_the_joint_says(kind):
  data = make(kind, labels=4, examples=20000, seed=3)
  p = np.exp(data.log_joint.astype(np.float64))
  code = data.y.astype(int) @ (2 ** np.arange(4))

  def worst(code):
    seen = code[:, None] == np.arange(16)
    # Over all rows, and over the rows on each side of x_1 = 0.
    sides = [data.x[:, 0] > -np.inf, data.x[:, 0] > 0, data.x[:, 0] <= 0]
    possible = p.max(axis=0) > 0
    z = [
      (seen - p)[rows].sum(0)[possible]
      / np.sqrt((p * (1 - p))[rows].sum(0)[possible])
      for rows in sides
    ]
    return np.abs(z).max()

  # 48 nearly normal numbers: beyond 4.5 once in 3,000 seeds.
  assert worst(code) < 4.5
  assert (p[np.arange(20000), code] > 0).all()
  # The same test notices labels of other rows.
  assert worst(np.roll(code, 1)) > 4.5


@pytest.mark.parametrize(
  'kind', ['independent', 'chain', 'ising', 'tree', 'mixture']
)
@pytest.mark.parametrize('strength', [0.0, 1.0, 6.0])
def test_marginals_are_logistic_linear_whatever_the_strength(kind, strength):
  if kind == 'independent':
    strength = 0.0
  data = make(kind, strength=strength, examples=500)
  z = logit(_marginals(data.log_joint))
  assert _affine_residual(data.x, z) < 1e-4
  other = make('chain', strength=3.0, examples=500)
  np.testing.assert_array_equal(data.x, other.x)
  np.testing.assert_allclose(z, logit(_marginals(other.log_joint)), atol=1e-4)


def test_marginals_of_the_logistic_chain_are_not_logistic_linear():
  data = make('logistic_chain', strength=6.0, examples=500)
  assert _affine_residual(data.x, logit(_marginals(data.log_joint))) > 0.5


def test_logistic_chain_is_what_its_formula_says():
  data = make('logistic_chain', labels=5, strength=3.0, examples=400)
  log_joint = data.log_joint.astype(np.float64)
  joint = np.exp(log_joint)
  for j in range(1, 5):
    # P(y_j | y_<j): a table over the bits up to j, the later ones summed out.
    table = joint.reshape(400, -1, 2 ** (j + 1)).sum(axis=1)
    table = table.reshape(400, 2, 2, -1)  # y_j, y_{j-1}, the labels before
    z = np.log(table[:, 1] / table[:, 0])
    np.testing.assert_allclose(z[:, 1] - z[:, 0], 3.0, atol=1e-4)
    assert _affine_residual(data.x, z.reshape(400, -1)) < 1e-3


def test_neighbours_in_the_chain_have_the_stated_odds_ratio():
  data = make('chain', labels=5, strength=2.5, examples=100)
  table = data.log_joint.astype(np.float64).reshape(100, 2, 2, 2, 2, 2)
  for j, k in itertools.combinations(range(5), 2):
    # Axis 5 - j holds label j. Given all others, so of any two labels.
    pair = np.moveaxis(table, (5 - j, 5 - k), (1, 2))
    odds = pair[:, 1, 1] - pair[:, 1, 0] - pair[:, 0, 1] + pair[:, 0, 0]
    expected = 2.5 if k == j + 1 else 0.0
    np.testing.assert_allclose(odds, expected, atol=1e-4)
  # With the others summed out, labels 1 and 3 depend on each other too, and
  # labels 1 and 2 have the odds ratio still.
  pair = np.exp(table).sum(axis=(1, 3, 5))
  odds = pair[:, 1, 1] * pair[:, 0, 0] / (pair[:, 1, 0] * pair[:, 0, 1])
  assert np.abs(np.log(odds)).min() > 0.01
  pair = np.exp(table).sum(axis=(1, 2, 5))
  odds = pair[:, 1, 1] * pair[:, 0, 0] / (pair[:, 1, 0] * pair[:, 0, 1])
  np.testing.assert_allclose(np.log(odds), 2.5, atol=1e-4)


def test_ising_has_only_pairwise_interactions_that_do_not_depend_on_x():
  data = make('ising', labels=5, strength=2.0, examples=100)
  log_joint = data.log_joint.astype(np.float64)
  y = _vectors(data.log_joint)
  pairs = list(itertools.combinations(range(5), 2))
  design = np.c_[np.ones(32), y, *(y[:, j] * y[:, k] for j, k in pairs)]
  theta = np.linalg.lstsq(design, log_joint.T, rcond=None)[0]
  np.testing.assert_allclose(design @ theta, log_joint.T, atol=1e-4)
  couplings = theta[6:]
  np.testing.assert_allclose(
    couplings, couplings[:, :1] + 0 * theta[6:], atol=1e-4
  )
  assert np.abs(couplings[:, 0]).min() > 1e-3
  assert 0.3 < np.sqrt(np.mean(couplings**2)) / (2.0 * np.sqrt(2 / 4)) < 3.0


def test_a_path_of_ising_couplings_is_the_chain():
  rng = np.random.default_rng(0)
  logits = 3.0 * rng.normal(size=(50, 6))
  path = 4.0 * np.eye(6, k=1)
  solved = joints.ising(logits, path)
  closed = worlds.chain(rng, 6, 4.0).log_joint(logits)
  np.testing.assert_allclose(solved, closed, atol=1e-6)


def test_solved_marginals_are_the_given_ones():
  rng = np.random.default_rng(0)
  logits = 3.0 * rng.normal(size=(80, 5))
  interaction = 4.0 * rng.normal(size=32)
  joint = np.exp(joints.match_marginals(logits, interaction))
  y = np.asarray(distribution.label_vectors(5))
  np.testing.assert_allclose(joint.sum(axis=1), 1.0, atol=1e-12)
  np.testing.assert_allclose(joint @ y, expit(logits), atol=1e-9)


@pytest.mark.parametrize('kind', DEPENDENT)
def test_strength_zero_factorises_and_dependence_grows_with_strength(kind):
  strengths = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
  worlds = [make(kind, examples=300, strength=s).log_joint for s in strengths]
  each = np.stack([total_correlation(table) for table in worlds])
  assert np.abs(each[0]).max() < 1e-6
  if kind == 'logistic_chain':  # its marginals move too: on average only
    each = each.mean(axis=1, keepdims=True)
  assert (np.diff(each, axis=0) > 1e-9).all()
  assert each[-1].mean() > 0.5


def test_total_correlation_equals_a_kullback_leibler_divergence():
  rng = np.random.default_rng(0)
  joint = rng.dirichlet(np.ones(8), size=20)
  y = _vectors(joint)
  p = joint @ y
  product = np.prod(np.where(y[None] == 1, p[:, None], 1 - p[:, None]), axis=2)
  expected = np.sum(joint * np.log(joint / product), axis=1)
  ours = total_correlation(np.log(joint))
  np.testing.assert_allclose(ours, expected, atol=1e-12)
  sure = np.full((1, 8), -np.inf)
  sure[0, 5] = 0.0
  np.testing.assert_array_equal(total_correlation(sure), [0.0])


def test_shared_weights_make_labels_dependent_without_x():
  apart = make('independent', examples=20000, signal=3.0)
  shared = make('independent', examples=20000, signal=3.0, shared=0.9)
  assert total_correlation(shared.log_joint).max() < 1e-6
  phi = np.corrcoef(shared.y.T) - np.eye(6)
  assert phi[np.triu_indices(6, 1)].min() > 0.3
  assert np.abs(np.corrcoef(apart.y.T) - np.eye(6)).mean() < phi.mean() / 2


@pytest.mark.parametrize('kind', KINDS)
def test_the_seed_decides_and_more_examples_extend_the_sample(kind):
  data = make(kind, examples=300, labels=4, seed=5)
  assert (
    data.content_hash == make(kind, examples=300, labels=4, seed=5).content_hash
  )
  assert (
    data.content_hash != make(kind, examples=300, labels=4, seed=6).content_hash
  )
  longer = make(kind, examples=700, labels=4, seed=5)
  np.testing.assert_array_equal(longer.x[:300], data.x)
  np.testing.assert_array_equal(longer.y[:300], data.y)


def test_blocks_of_rows_change_nothing(monkeypatch):
  whole = make('ising', examples=100, labels=4)
  monkeypatch.setattr('mlc.data.synthetic._BLOCK', 16 * 7)
  parts = make('ising', examples=100, labels=4)
  np.testing.assert_allclose(parts.log_joint, whole.log_joint, atol=1e-6)
  np.testing.assert_array_equal(parts.y, whole.y)


def test_one_label_and_fourteen():
  assert make('chain', labels=1, examples=5).log_joint.shape == (5, 2)
  assert make('ising', labels=1, examples=5).log_joint.shape == (5, 2)
  wide = make('chain', labels=14, examples=20)
  assert wide.log_joint.shape == (20, 2**14)


def test_a_spec_says_what_make_says():
  spec = 'synthetic:chain,strength=3,labels=8,examples=50,shared=0.5'
  data = parse_and_make(spec)
  same = make('chain', strength=3.0, labels=8, examples=50, shared=0.5)
  assert data.content_hash == same.content_hash
  assert (
    data.name == 'synthetic:chain,labels=8,examples=50,strength=3,shared=0.5'
  )
  assert parse_and_make(data.name).content_hash == data.content_hash
  assert parse_and_make('synthetic:ising').name == 'synthetic:ising'
  assert parse_and_make('independent,strength=0').name == (
    'synthetic:independent'
  )


@pytest.mark.parametrize(
  ('spec', 'parts'),
  [
    ('synthetic:chian', ("'chian'", "Did you mean 'chain'", 'ising')),
    ('synthetic:', ("unknown kind of synthetic data ''", 'chain')),
    ('synthetic:chain,strenght=2', ("'strenght'", "mean 'strength'")),
    ('synthetic:chain,strength', ("'strength' is no option", 'labels=8')),
    ('synthetic:chain,strength=big', ("strength='big'", 'a number')),
    ('synthetic:chain,labels=2.5', ("labels='2.5'", 'a whole number')),
    ('synthetic:ising,labels=15', ('labels=15', 'at most 14', 'kind tree')),
    ('synthetic:tree,labels=10001', ('labels=10001', 'at most 10000')),
    ('synthetic:tree,noise=0.6', ('noise=0.6', 'at most 0.5')),
    ('synthetic:tree,imbalance=-1', ('imbalance=-1', 'at least 0')),
    (
      'synthetic:tree,labels=10000,examples=100000',
      ('1000000000 numbers', 'fewer examples or labels or features'),
    ),
    ('synthetic:chain,labels=0', ('labels=0', 'at least 1')),
    ('synthetic:chain,strength=nan', ('strength=nan', 'at least 0')),
    ('synthetic:chain,strength=-1', ('strength=-1', 'at least 0')),
    ('synthetic:chain,shared=2', ('shared=2', 'at most 1')),
    ('synthetic:chain,seed=1,seed=2', ("'seed' is given twice",)),
    ('synthetic:independent,strength=2', ('strength=2', 'chain or ising')),
    (
      'synthetic:chain,labels=14,examples=10000',
      ('10000 examples and 14 labels', 'fewer'),
    ),
  ],
)
def test_a_bad_spec_is_one_clear_error(spec, parts):
  with pytest.raises(DatasetError) as error:
    parse_and_make(spec)
  for part in parts:
    assert part in str(error.value)
