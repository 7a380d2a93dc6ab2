"""Which classes are left, what trains them, and where the rest goes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.base import Batch
from mlc.heads.label_powerset import label_powerset
from mlc.heads.pruned_sets import pruned_sets

DIM = 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
# Classes with their counts; the last three sets are seen once or twice.
SETS = {
  (0, 0, 0, 0): 3,
  (1, 0, 0, 0): 5,
  (0, 1, 0, 0): 4,
  (1, 1, 0, 0): 3,
  (0, 1, 1, 0): 4,
  (1, 1, 1, 0): 2,
  (1, 1, 1, 1): 1,
  (0, 0, 0, 1): 1,
}
Y = np.repeat(
  np.array(list(SETS), np.float32), np.array(list(SETS.values())), axis=0
)


@functools.cache
def fitted(prune, subsets, unseen='good_turing'):
  head = pruned_sets(4, 10, prune=prune, subsets=subsets, unseen=unseen)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(len(Y), DIM)), jnp.float32)
  params = quick_jit(head.init)(jax.random.key(0), h, jnp.asarray(Y))
  kernel = jnp.asarray(rng.normal(size=params['kernel'].shape), jnp.float32)
  return head, {**params, 'kernel': kernel}, h


def log_q_of(params, h):
  """{set: log q [B]} by NumPy."""
  frozen = jax.device_get(params['frozen'])
  score = np.exp(np.asarray(h @ params['kernel'], np.float64)) * frozen['seen']
  q = score / score.sum(1, keepdims=True)
  return {
    tuple(map(int, s)): np.log(q[:, k])
    for k, s in enumerate(frozen['table'])
    if frozen['seen'][k]
  }


def test_classes_are_the_sets_seen_more_often():
  _, params, h = fitted(2, 2)
  assert {*log_q_of(params, h)} == {s for s, n in SETS.items() if n > 2}
  n = sum(SETS.values())
  new = (2 + 0.5) / (n + 1)
  np.testing.assert_allclose(
    params['frozen']['unseen'], new + (1 - new) * 4 / n, rtol=1e-6
  )


def test_the_sets_seen_most_often_stay():
  _, params, h = fitted(100, 2)
  assert {*log_q_of(params, h)} == {(1, 0, 0, 0)}


def test_without_pruning_it_is_label_powerset():
  head, params, h = fitted(0, 2)
  plain = label_powerset(4, 10)
  y = jnp.asarray(Y)
  expected = quick_jit(plain.init)(jax.random.key(0), h, y)
  jax.tree.map(
    np.testing.assert_array_equal, params['frozen'], expected['frozen']
  )
  log_q, batch = log_q_of(params, h), Batch(h, y)
  np.testing.assert_allclose(
    quick_jit(head.objective)(params, h, batch),
    [-log_q[tuple(map(int, row))][b] for b, row in enumerate(Y)],
    rtol=1e-5,
  )


@pytest.mark.parametrize('subsets', [0, 1, 2, 20])
def test_a_rare_set_trains_its_largest_and_then_most_frequent_parts(subsets):
  head, params, h = fitted(2, subsets)
  log_q = log_q_of(params, h)
  ranked = [(0, 1, 1, 0), (1, 1, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0)]
  parts = {
    (0, 1, 0, 0): [(0, 1, 0, 0)],
    (1, 1, 1, 0): ranked[:subsets],
    (1, 1, 1, 1): ranked[:subsets],
    (0, 0, 0, 1): [],
    # Training never showed this one.
    (0, 1, 0, 1): [(0, 1, 0, 0)][:subsets],
  }
  rows = jnp.asarray(list(parts), jnp.float32)
  h = h[: len(rows)]
  expected = [
    -sum(log_q[part][b] for part in of_row)
    for b, of_row in enumerate(parts.values())
  ]
  batch = Batch(h, rows, where=jnp.ones(rows.shape, bool).at[0, 3].set(False))
  expected[0] = 0.0
  found = quick_jit(head.objective)(params, h, batch)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('unseen', ['good_turing', 'impossible'])
@pytest.mark.slow
def test_what_is_lost_to_the_softmax_keeps_a_probability(unseen):
  head, params, h = fitted(2, 2, unseen)

  def ask(params, h, y, known):
    table = distribution.tabulate(head.log_prob, params, h, 4)
    partial = head.partial(params, h, y, known)
    return table, partial, distribution.table_partial(table, y, known)

  y = jnp.asarray([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]], jnp.float32)
  known = jnp.asarray([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
  table, found, expected = quick_jit(ask)(params, h[:3], y, known)
  rare = table[:, distribution.code(y)]
  np.testing.assert_allclose(np.exp(table).sum(1), 1.0, atol=1e-5)
  assert np.isneginf(rare).all() == (unseen == 'impossible')
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_rare_row_moves_the_softmax_by_its_parts_alone():
  """The gradient of likelihood on such a row is 0, that of the parts is not."""
  head, params, h = fitted(2, 2)
  batch = Batch(h[:1], jnp.ones((1, 4)))

  def loss(kernel, objective):
    of = {**params, 'kernel': kernel}
    if objective:
      return head.objective(of, batch.x, batch).sum()
    return head.log_prob(of, batch.x, batch.y).sum()

  gradient = quick_jit(jax.grad(loss), static_argnums=1)
  assert (gradient(params['kernel'], False) == 0).all()
  assert (jnp.abs(gradient(params['kernel'], True)) > 1e-3).any()


@pytest.mark.slow
def test_many_labels_and_sets():
  rng = np.random.default_rng(1)
  h = jnp.asarray(rng.normal(size=(64, DIM)), jnp.float32)
  y = jnp.asarray(rng.random((64, 983)) < 0.002, jnp.float32)
  head = pruned_sets(983, 64)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  loss = quick_jit(head.objective)(params, h, Batch(h, y))
  assert np.isfinite(loss).all()


def test_options_that_make_no_sense_are_refused():
  with pytest.raises(ValueError, match='subsets=-1'):
    pruned_sets(3, 5, subsets=-1)
  with pytest.raises(ValueError, match='prune=-1'):
    pruned_sets(3, 5, prune=-1)
