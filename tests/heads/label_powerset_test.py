"""Label sets counted by NumPy, and the mixture as sums over vectors."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.heads.label_powerset import label_powerset

DIM = 3
quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def rows(n, num_labels, p=0.3, seed=0):
  rng = np.random.default_rng(seed)
  h = rng.normal(size=(n, DIM)).astype(np.float32)
  y = (rng.random((n, num_labels)) < p).astype(np.float32)
  return jnp.asarray(h), jnp.asarray(y)


def fitted(head, h, y, seed=1, **kwargs):
  params = quick_jit(head.init)(jax.random.key(0), h, y, **kwargs)
  noise = np.random.default_rng(seed).normal(size=params['kernel'].shape)
  return {**params, 'kernel': jnp.asarray(2 * noise, jnp.float32)}


def tabulate(head, params, h):
  def table(params, h):
    return distribution.tabulate(head.log_prob, params, h, head.num_labels)

  return quick_jit(table)(params, h)


@pytest.mark.slow
@pytest.mark.parametrize('num_labels', [4, 70])
def test_the_table_holds_the_distinct_sets_of_the_counted_rows(num_labels):
  h, y = rows(40, num_labels, p=0.05)
  weight = jnp.asarray(np.arange(40) % 5 != 0, jnp.float32)
  where = np.ones(y.shape, bool)
  where[1:9, 2] = False
  head = label_powerset(num_labels, 40)
  params = fitted(head, h, y, where=jnp.asarray(where), weight=weight)
  counted = (np.arange(40) % 5 != 0) & where.all(1)
  sets, count = np.unique(np.asarray(y)[counted], axis=0, return_counts=True)
  frozen = jax.device_get(params['frozen'])
  assert frozen['seen'].sum() == len(sets)
  found = np.unique(frozen['table'][frozen['seen']], axis=0)
  np.testing.assert_array_equal(found, sets)
  n = counted.sum()
  expected = ((count == 1).sum() + 0.5) / (n + 1)
  np.testing.assert_allclose(frozen['unseen'], expected, rtol=1e-6)
  known = where & (np.arange(40) % 5 != 0)[:, None]
  on = (np.asarray(y) * known).sum(0)
  np.testing.assert_allclose(
    frozen['frequency'], (on + 0.5) / (known.sum(0) + 1), rtol=1e-6
  )


@pytest.mark.slow
def test_runs_have_tables_of_their_own():
  h, y = zip(*(rows(20, 4, seed=s) for s in (1, 2)), strict=True)
  keys = jax.random.split(jax.random.key(0), 2)
  head = label_powerset(4, 16)
  params = quick_jit(jax.vmap(head.init))(keys, jnp.stack(h), jnp.stack(y))
  seen = params['frozen']['seen'].sum(1)
  assert list(seen) == [len(np.unique(part, axis=0)) for part in y]


def test_it_is_the_mixture_of_a_softmax_and_independent_labels():
  h, y = rows(12, 4)
  head = label_powerset(4, 12)
  params = fitted(head, h, y)
  frozen = jax.device_get(params['frozen'])
  e, t = frozen['unseen'], frozen['frequency']
  score = np.exp(np.asarray(h @ params['kernel'])) * frozen['seen']
  q = score / score.sum(1, keepdims=True)
  expected = []
  for v in np.asarray(distribution.label_vectors(4)):
    of_sets = q @ (frozen['table'] == v).all(1)
    expected.append((1 - e) * of_sets + e * np.where(v, t, 1 - t).prod())
  np.testing.assert_allclose(
    np.exp(tabulate(head, params, h)).T, expected, rtol=1e-4
  )


@pytest.mark.slow
def test_an_unseen_set_is_finite_by_default_and_impossible_on_demand():
  h, y = rows(10, 5)
  seen = set(map(tuple, np.asarray(y)))
  vectors = distribution.label_vectors(5)
  new = np.array([tuple(v) not in seen for v in np.asarray(vectors)])
  for unseen in ('good_turing', 'impossible'):
    head = label_powerset(5, 10, unseen=unseen)
    params = fitted(head, h, y)
    table = np.asarray(tabulate(head, params, h))
    np.testing.assert_allclose(np.exp(table).sum(1), 1.0, atol=1e-5)
    assert np.isfinite(table[:, ~new]).all()
    assert (np.isneginf if unseen == 'impossible' else np.isfinite)(
      table[:, new]
    ).all()
  # 'impossible' goes on: what follows is all about it.
  joint = quick_jit(head.joint)(params, h)
  np.testing.assert_allclose(np.exp(joint), np.exp(table), atol=1e-6)
  codes = distribution.code(quick_jit(head.mode)(params, h))
  np.testing.assert_array_equal(codes, table.argmax(1))
  _, other = rows(10, 5, p=0.5, seed=9)
  np.testing.assert_allclose(
    quick_jit(head.conditional)(params, h, other),
    distribution.table_conditional(jnp.asarray(table), other),
    atol=1e-5,
  )

  def loss(kernel):
    return -head.log_prob({**params, 'kernel': kernel}, h, other).sum()

  assert np.isfinite(quick_jit(jax.grad(loss))(params['kernel'])).all()


@pytest.mark.slow
def test_the_mode_may_be_a_set_that_training_never_showed():
  # Every label in 3 of 5 rows and never all three: 111 is the usual vector.
  y = jnp.asarray(
    [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], jnp.float32
  )
  h = jnp.zeros((5, DIM))
  head = label_powerset(3, 5)
  params = quick_jit(head.init)(jax.random.key(0), h, y)
  params['frozen']['unseen'] = jnp.asarray(0.9)
  table = tabulate(head, params, h)
  mode = quick_jit(head.mode)(params, h)
  np.testing.assert_array_equal(mode, distribution.table_mode(table))
  np.testing.assert_array_equal(mode, np.ones((5, 3)))


@pytest.mark.slow
def test_many_labels_by_the_same_formulas():
  h, y = rows(6, 20, p=0.2)
  head = label_powerset(20, 9)
  params = fitted(head, h, y)
  _, other = rows(6, 20, p=0.2, seed=3)
  # Half of the rows stand near a seen set, where the softmax has a say.
  other = jnp.where((jnp.arange(6) % 2 == 0)[:, None], y.at[:, 0].set(1), other)
  flip = distribution.conditional_from_log_prob(head.log_prob)
  np.testing.assert_allclose(
    quick_jit(head.conditional)(params, h, other),
    quick_jit(flip)(params, h, other),
    atol=1e-5,
  )
  by_size = quick_jit(head.cardinality_marginals)(params, h)
  np.testing.assert_allclose(
    by_size.sum(-1), quick_jit(head.marginals)(params, h), atol=1e-5
  )


@pytest.mark.parametrize(('sets', 'unseen'), [(0, 'good_turing'), (3, 'never')])
def test_options_that_make_no_sense_are_refused(sets, unseen):
  with pytest.raises(ValueError, match='label_powerset got'):
    inspect.unwrap(label_powerset)(4, sets, unseen=unseen)
