"""Each world against its definition, written out vector by vector."""

import itertools

import numpy as np
import pytest
from scipy.special import expit

from mlc.data import joints
from mlc.data.synthetic import make, total_correlation
from mlc.data.worlds import KINDS

LABELS, ROWS = 6, 40
# Row c holds label j in bit j of c.
VECTORS = np.array(
  [row[::-1] for row in itertools.product([0, 1], repeat=LABELS)]
)


def _world(kind, strength=2.0, seed=0, num_labels=LABELS):
  """A world and its table for some logits."""
  world = KINDS[kind](np.random.default_rng(seed), num_labels, strength)
  logits = 1.5 * np.random.default_rng(1).normal(size=(ROWS, num_labels))
  return world, logits, np.exp(world.log_joint(logits))


def _margin(joint, *labels):
  """The table of some labels, [rows, 2, 2, ...]."""
  table = joint.reshape(len(joint), *[2] * LABELS)
  axes = [LABELS - j for j in labels]
  others = tuple({*range(1, LABELS + 1)} - {*axes})
  kept = sorted(axes)
  summed = table.sum(axis=others)
  order = [0, *(1 + kept.index(axis) for axis in axes)]
  return summed.transpose(order)


def _log_odds_ratio(pair):
  log = np.log(pair)
  return log[:, 1, 1] + log[:, 0, 0] - log[:, 1, 0] - log[:, 0, 1]


def test_tree_is_the_product_over_its_edges():
  """p(y) = prod_edges p(y_i, y_j) / prod_j p(y_j)^(degree - 1)."""
  rng = np.random.default_rng(5)
  before = [-1, *(int(rng.integers(j)) for j in range(1, LABELS))]
  assert before != list(range(-1, LABELS - 1))  # it is no chain
  _, _, joint = _world('tree', seed=5)
  edges = [(i, j) for j, i in enumerate(before) if i >= 0]
  expected = np.ones_like(joint)
  for i, j in edges:
    expected *= _margin(joint, i, j)[:, VECTORS[:, i], VECTORS[:, j]]
    np.testing.assert_allclose(_log_odds_ratio(_margin(joint, i, j)), 2.0)
  for j in range(LABELS):
    degree = sum(j in edge for edge in edges)
    expected /= _margin(joint, j)[:, VECTORS[:, j]] ** (degree - 1)
  np.testing.assert_allclose(joint, expected, rtol=1e-9)


def test_mixture_has_two_components_of_independent_labels():
  """A table of two label groups has rank 2 whichever they are."""
  _, _, joint = _world('mixture')
  one, two = joint.reshape(ROWS, 8, 8), joint.reshape(ROWS, 4, 4, 4)
  for matrix in (one, two.transpose(0, 2, 1, 3).reshape(ROWS, 4, 16)):
    size = np.linalg.svd(matrix, compute_uv=False)
    assert (size[:, 2:] < 1e-12 * size[:, :1]).all()
    assert (size[:, 1] > 1e-6).all()


def test_mixture_links_labels_of_both_signs():
  _, _, joint = _world('mixture', seed=2)
  pairs = itertools.combinations(range(LABELS), 2)
  odds = np.array([_log_odds_ratio(_margin(joint, *pair)) for pair in pairs])
  np.testing.assert_array_equal(np.sign(odds), np.sign(odds[:, :1]) + 0 * odds)
  assert odds.min() < -0.05
  assert odds.max() > 0.05


@pytest.mark.parametrize('strength', [0.0, 3.0])
def test_hierarchy_has_no_child_without_its_parent(strength):
  world, logits, joint = _world('hierarchy', strength)
  # By hand: 1 and 2 are roots, 3 and 4 below 1, 5 and 6 below 2.
  edges = {(2, 0), (3, 0), (4, 1), (5, 1)}
  assert {tuple(edge) for edge in np.argwhere(world.hierarchy)} == edges
  orphans = np.any([VECTORS[:, c] > VECTORS[:, p] for c, p in edges], axis=0)
  assert (joint[:, orphans] == 0).all()
  assert (joint[:, ~orphans] > 0).all()
  p = expit(logits)
  p[:, 2:4] *= p[:, :1]
  p[:, 4:] *= p[:, 1:2]
  np.testing.assert_allclose(joint @ VECTORS, p, rtol=1e-9)
  # Where their parent is on, siblings have the stated odds ratio.
  three = _margin(joint, 0, 2, 3)
  np.testing.assert_allclose(_log_odds_ratio(three[:, 1]), strength, atol=1e-9)
  if strength == 0.0:
    q = expit(logits)[:, None, :]
    below = np.stack([np.ones(64), np.ones(64), *VECTORS.T[[0, 0, 1, 1]]], 1)
    each = np.where(VECTORS[None] == 1, q, 1.0 - q)
    product = np.prod(np.where(below[None] == 1, each, 1.0), axis=2)
    np.testing.assert_allclose(joint, product * ~orphans, atol=1e-12)


@pytest.mark.parametrize('strength', [0.0, 3.0])
def test_exclusive_has_no_two_labels_of_a_group(strength):
  _, logits, joint = _world('exclusive', strength)
  groups = VECTORS.reshape(-1, 2, 3).sum(axis=2)
  violating = (groups > 1).any(axis=1)
  assert (joint[:, violating] == 0).all()
  assert (joint[:, ~violating] > 0).all()
  weight = np.exp(logits).reshape(ROWS, 2, 3)
  p = weight / (1.0 + weight.sum(axis=2, keepdims=True))
  np.testing.assert_allclose(joint @ VECTORS, p.reshape(ROWS, 6), rtol=1e-9)
  some = np.zeros((ROWS, 2, 2))
  for c, (a, b) in enumerate(np.minimum(groups, 1)):
    some[:, a, b] += joint[:, c]
  np.testing.assert_allclose(_log_odds_ratio(some), strength, atol=1e-9)


def test_a_last_group_may_be_smaller():
  world, logits, joint = _world('exclusive', num_labels=5)
  vectors = VECTORS[:32, :5]
  allowed = (vectors[:, :3].sum(1) <= 1) & (vectors[:, 3:].sum(1) <= 1)
  assert ((joint > 0) == allowed[None]).all()
  np.testing.assert_allclose(joint.sum(axis=1), 1.0)
  y = world.draw(logits, np.random.default_rng(0).random((ROWS, 6)))
  assert y.shape == (ROWS, 5)


@pytest.mark.slow
@pytest.mark.parametrize('kind', [k for k in KINDS if k != 'ising'])
@pytest.mark.parametrize('num_labels', [4, 5])
def test_draws_without_the_table_follow_it(kind, num_labels):
  world = KINDS[kind](np.random.default_rng(3), num_labels, 2.0)
  logits = np.random.default_rng(4).normal(size=(1, num_labels))
  p = np.exp(world.log_joint(logits))[0]
  n = 100_000
  uniform = np.random.default_rng(6).random((n, num_labels + 1))
  y = world.draw(np.repeat(logits, n, axis=0), uniform)
  count = np.bincount(y @ 2 ** np.arange(num_labels), minlength=2**num_labels)
  assert (count[p == 0] == 0).all()
  p, count = p[p > 0], count[p > 0]
  # 32 nearly normal numbers: beyond 4.5 once in 4,000 seeds.
  assert np.abs((count - n * p) / np.sqrt(n * p * (1 - p))).max() < 4.5


@pytest.mark.parametrize('kind', KINDS)
def test_noise_by_brute_force(kind):
  clean = make(kind, labels=4, examples=30, strength=None)
  noisy = make(kind, labels=4, examples=30, noise=0.1)
  vectors = VECTORS[:16, :4]
  distance = np.abs(vectors[:, None] - vectors[None]).sum(axis=2)
  flip = 0.1**distance * 0.9 ** (4 - distance)
  expected = np.exp(clean.log_joint.astype(np.float64)) @ flip
  np.testing.assert_allclose(np.exp(noisy.log_joint), expected, atol=1e-6)
  np.testing.assert_array_equal(noisy.x, clean.x)
  assert noisy.name.endswith('noise=0.1')


def test_half_noise_leaves_nothing():
  data = make('tree', labels=4, examples=30, noise=0.5)
  np.testing.assert_allclose(data.log_joint, np.log(1 / 16), rtol=1e-5)


def test_imbalance_spreads_the_base_rates_and_leaves_x():
  spread = [
    make('tree', labels=14, examples=300, imbalance=b) for b in (0.0, 3.0)
  ]
  np.testing.assert_array_equal(spread[0].x, spread[1].x)
  low, high = (np.std(data.y.mean(axis=0)) for data in spread)
  assert low < 0.08
  assert high > 0.2
  # The weights are the same too: logits differ by constants.
  vectors = np.asarray(joints.vectors(14))
  p = [np.exp(d.log_joint.astype(np.float64)) @ vectors for d in spread]
  shift = np.log(p[1] / (1 - p[1])) - np.log(p[0] / (1 - p[0]))
  np.testing.assert_allclose(shift, shift[:1] + 0 * shift, atol=1e-3)


@pytest.mark.parametrize('kind', ['hierarchy', 'exclusive'])
def test_dependence_grows_from_what_the_structure_forbids(kind):
  """At strength 0 the structure is all; the rest comes on top."""
  strengths = (0.0, 1.0, 2.0, 4.0, 8.0)
  each = np.stack(
    [
      total_correlation(make(kind, examples=200, strength=s).log_joint)
      for s in strengths
    ]
  )
  assert each[0].min() > 0.01
  assert (np.diff(each, axis=0) > 0).all()
  assert make(kind).log_joint.shape == (3000, 64)
  assert make(kind).name == f'synthetic:{kind}'


@pytest.mark.parametrize('kind', [k for k in KINDS if k != 'ising'])
def test_many_labels_are_drawn_without_a_joint(kind):
  data = make(kind, labels=300, examples=400, noise=0.0)
  assert data.log_joint is None
  assert data.y.shape == (400, 300)
  longer = make(kind, labels=300, examples=500)
  np.testing.assert_array_equal(longer.y[:400], data.y)
  if kind == 'hierarchy':
    assert data.hierarchy.sum() == 298
    assert not any('without its parent' in note for note in data.notes)
  if kind == 'exclusive':
    assert data.y.reshape(400, 100, 3).sum(axis=2).max() == 1


def test_noise_on_many_labels_flips_its_share():
  clean = make('hierarchy', labels=300, examples=500)
  noisy = make('hierarchy', labels=300, examples=500, noise=0.05)
  # 150,000 flips: 0.05 give or take 0.0006.
  assert np.mean(clean.y != noisy.y) == pytest.approx(0.05, abs=0.003)
  assert any('without its parent' in note for note in noisy.notes)


def test_blocks_of_rows_change_no_draw(monkeypatch):
  whole = make('mixture', labels=20, examples=100, noise=0.1)
  monkeypatch.setattr('mlc.data.synthetic._BLOCK', 80 * 7)
  parts = make('mixture', labels=20, examples=100, noise=0.1)
  np.testing.assert_array_equal(parts.y, whole.y)


@pytest.mark.parametrize('kind', KINDS)
def test_one_label(kind):
  data = make(kind, labels=1, examples=50)
  np.testing.assert_allclose(np.exp(data.log_joint).sum(axis=1), 1.0, rtol=1e-6)
  assert data.hierarchy is None
