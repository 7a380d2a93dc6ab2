"""Label orders against counting in loops, in numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.heads import chain_order
from mlc.heads.classifier_chain import classifier_chain


def sample(seed, rows=60, labels=6):
  """Dependent labels, some unknown and rows of weight 0 that hold NaN."""
  rng = np.random.default_rng(seed)
  y = (rng.random((rows, labels)) < rng.uniform(0.2, 0.6, labels)).astype(float)
  for child, parent in ((2, 4), (0, 2), (5, 1)):
    copied = rng.random(rows) < 0.6
    y[copied, child] = y[copied, parent]
  where = rng.random((rows, labels)) < 0.9
  weight = rng.uniform(0.5, 2.0, rows)
  weight[::9] = 0.0
  y[~where] = 0.0
  y[::9] = np.nan
  return y.astype(np.float32), where, weight.astype(np.float32)


def information(y, where, weight, i, j):
  """I(y_i; y_j), a cell at a time."""
  rows = [
    b for b in range(len(y)) if weight[b] > 0 and where[b, i] and where[b, j]
  ]
  p = np.zeros((2, 2))
  for b in rows:
    p[int(y[b, i]), int(y[b, j])] += weight[b]
  p /= p.sum()
  return sum(
    p[a, c] * np.log(p[a, c] / (p[a].sum() * p[:, c].sum()))
    for a, c in itertools.product((0, 1), repeat=2)
    if p[a, c] > 0
  )


def greedy_order(of_pair):
  """Labels in the order of the definition."""
  labels = list(range(len(of_pair)))
  order = [max(labels, key=lambda i: of_pair[i].sum())]
  while len(order) < len(labels):
    left = [j for j in labels if j not in order]
    order.append(max(left, key=lambda j: max(of_pair[i, j] for i in order)))
  return order


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(3))
def test_information_and_its_order_are_those_of_loops(seed):
  y, where, weight = sample(seed)
  labels = y.shape[1]
  expected = np.zeros((labels, labels))
  for i, j in itertools.permutations(range(labels), 2):
    expected[i, j] = information(y, where, weight, i, j)
  arrays = [jnp.asarray(a) for a in (y, where, weight)]
  counted = chain_order._counted(*arrays)
  np.testing.assert_allclose(
    chain_order.pair_information(*counted), expected, atol=1e-5
  )
  call = jax.jit(
    lambda y, where, weight: chain_order.by_information(
      y, where=where, weight=weight
    )
  )
  rank = call(*arrays)
  np.testing.assert_array_equal(np.argsort(rank), greedy_order(expected))


@pytest.mark.slow
def test_every_label_stands_behind_its_parent_in_the_best_tree():
  """The star 3 - {0, 1, 2} and the arm 2 - 4 - 5, with ever weaker edges."""
  rng = np.random.default_rng(0)
  y = np.zeros((20_000, 6))
  y[:, 3] = rng.random(len(y)) < 0.5
  for child, parent, noise in (
    (0, 3, 0.05),
    (1, 3, 0.08),
    (2, 3, 0.11),
    (4, 2, 0.14),
    (5, 4, 0.17),
  ):
    y[:, child] = np.where(
      rng.random(len(y)) < noise, 1 - y[:, parent], y[:, parent]
    )
  rank = chain_order.by_information(jnp.asarray(y, jnp.float32))
  np.testing.assert_array_equal(np.argsort(rank), [3, 0, 1, 2, 4, 5])


def test_rare_labels_stand_last():
  y, where, weight = sample(0)
  share = [
    sum(weight[b] * y[b, j] for b in kept) / sum(weight[b] for b in kept)
    for j in range(y.shape[1])
    for kept in [[b for b in range(len(y)) if weight[b] > 0 and where[b, j]]]
  ]
  rank = chain_order.by_frequency(
    *map(jnp.asarray, (y,)),
    where=jnp.asarray(where),
    weight=jnp.asarray(weight),
  )
  np.testing.assert_array_equal(np.argsort(rank), np.argsort(-np.array(share)))


@pytest.mark.slow
def test_equal_labels_keep_the_order_of_the_data():
  y = jnp.tile(jnp.asarray([[0.0], [1.0]]), (1, 5))
  np.testing.assert_array_equal(chain_order.by_frequency(y), np.arange(5))
  np.testing.assert_array_equal(chain_order.by_information(y), np.arange(5))
  # Nothing is known of anything, and a single label.
  nothing = jnp.zeros((4, 3), bool)
  for order in (chain_order.by_frequency, chain_order.by_information):
    np.testing.assert_array_equal(order(y[:, :1]), [0])
    rank = order(jnp.zeros((4, 3)), where=nothing)
    np.testing.assert_array_equal(rank, np.arange(3))


@pytest.mark.slow
@pytest.mark.parametrize('order', ['frequency', 'mutual_information'])
def test_predictions_come_back_in_the_order_of_the_data(order):
  """A chain whose biases tell the labels apart, whatever its order."""
  y = jnp.asarray(sample(1)[0][1:9])
  h = jnp.zeros((len(y), 2))
  head = classifier_chain(6, order=order)
  params = jax.jit(head.init)(jax.random.key(0), h, y)
  rank = np.asarray(params['frozen']['rank'])
  assert (rank != np.arange(6)).any()
  params['bias'] = jnp.asarray([9.0, -9.0, 9.0, -9.0, -9.0, 9.0])
  expected = np.tile([1, 0, 1, 0, 0, 1], (len(y), 1))
  for decide in (head.greedy, head.mode):
    np.testing.assert_array_equal(decide(params, h), expected)
  np.testing.assert_allclose(head.marginals(params, h), expected, atol=1e-3)
  vector = distribution.label_vectors(6)[jnp.argmax(head.joint(params, h)[0])]
  np.testing.assert_array_equal(vector, expected[0])


def test_many_labels_are_ordered_in_one_pass():
  y = jnp.asarray(
    np.random.default_rng(0).random((50, 983)) < 0.02, jnp.float32
  )
  rank = jax.jit(chain_order.by_information)(y)
  np.testing.assert_array_equal(np.sort(rank), np.arange(983))
