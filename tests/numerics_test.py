"""Small numerical pieces against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from mlc import numerics
from mlc.base import SparseRows


def test_log1mexp_is_accurate_at_both_ends():
  x = -np.logspace(-6, 1.9, 60)
  found = numerics.log1mexp(jnp.asarray(x, jnp.float32))
  exact = np.float32(x).astype(np.float64)
  # Neither formula is good everywhere, not even in float64.
  expected = np.where(
    exact > -0.1, np.log(-np.expm1(exact)), np.log1p(-np.exp(exact))
  )
  np.testing.assert_allclose(found, expected, rtol=2e-6)
  assert np.isneginf(numerics.log1mexp(jnp.zeros(())))
  assert numerics.log1mexp(jnp.asarray(-jnp.inf)) == 0


def test_log1mexp_has_a_finite_gradient():
  x = np.asarray([-1e-5, -0.5, -0.6931472, -3.0, -80.0, -200.0])
  found = jax.vmap(jax.grad(numerics.log1mexp))(jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(found, -1 / np.expm1(-x), rtol=1e-4, atol=1e-30)


def test_log_bernoulli_where_a_sigmoid_rounds():
  z = np.array([-80.0, -30.0, -1.0, 0.0, 1.0, 30.0, 80.0])
  logits = jnp.asarray(z, jnp.float32)
  on = numerics.log_bernoulli(logits, jnp.ones(7))
  off = numerics.log_bernoulli(logits, jnp.zeros(7))
  np.testing.assert_allclose(on, -np.logaddexp(0, -z), rtol=1e-6)
  np.testing.assert_allclose(off, -np.logaddexp(0, z), rtol=1e-6)


@pytest.mark.parametrize('axis', [-1, 0, None])
def test_masked_sum_skips_what_is_unknown_even_nan(axis):
  values = np.arange(6.0).reshape(2, 3)
  where = np.array([[True, False, True], [False, True, True]])
  expected = (values * where).sum(axis)
  values[~where] = np.nan
  found = numerics.masked_sum(jnp.asarray(values), jnp.asarray(where), axis)
  np.testing.assert_allclose(found, expected)
  whole = numerics.masked_sum(jnp.ones((2, 3)), None, axis)
  np.testing.assert_allclose(whole, np.ones((2, 3)).sum(axis))


def test_weighted_mean():
  values = jnp.asarray([1.0, 5.0, jnp.nan])
  weight = jnp.asarray([1.0, 3.0, 0.0])
  assert numerics.weighted_mean(values, weight) == pytest.approx(16 / 4)
  assert numerics.weighted_mean(values[:2], None) == pytest.approx(3.0)
  assert numerics.weighted_mean(values, jnp.zeros(3)) == 0
  gradient = jax.grad(numerics.weighted_mean)(values, weight)
  np.testing.assert_allclose(gradient, [1 / 4, 3 / 4, 0])


def test_dropout_keeps_the_mean_and_needs_a_key():
  x = jnp.full((200, 500), 2.0)
  assert numerics.dropout(None, x, 0.3) is x
  assert numerics.dropout(jax.random.key(0), x, 0.0) is x
  dropped = np.asarray(numerics.dropout(jax.random.key(0), x, 0.3))
  np.testing.assert_allclose(np.unique(dropped), [0.0, 2.0 / 0.7], rtol=1e-6)
  # 100,000 draws: the standard error of the share is 0.0015.
  assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.006)


@pytest.fixture
def sparse():
  """A matrix, and its rows padded to the longest; one row is empty."""
  rng = np.random.default_rng(0)
  matrix = rng.normal(size=(5, 7)) * (rng.random((5, 7)) < 0.3)
  matrix[2] = 0.0
  matrix = scipy.sparse.csr_array(matrix)
  length = np.diff(matrix.indptr)
  indices = np.zeros((5, length.max()), np.int32)
  values = np.zeros((5, length.max()), np.float32)
  for i in range(5):
    row = slice(matrix.indptr[i], matrix.indptr[i + 1])
    indices[i, : length[i]] = matrix.indices[row]
    values[i, : length[i]] = matrix.data[row]
  rows = SparseRows(jnp.asarray(indices), jnp.asarray(values), 7)
  return matrix.toarray(), rows


@pytest.mark.slow
def test_sparse_rows_are_the_matrix(sparse):
  dense, rows = sparse
  np.testing.assert_allclose(numerics.to_dense(rows), dense, rtol=1e-6)
  w = np.random.default_rng(1).normal(size=(7, 3))
  product = jax.jit(numerics.matmul)(rows, jnp.asarray(w, jnp.float32))
  np.testing.assert_allclose(product, dense @ w, rtol=1e-5, atol=1e-6)
  assert numerics.num_features(rows) == 7
  taken = numerics.take_rows(rows, jnp.asarray([3, 3, 0]))
  np.testing.assert_allclose(
    numerics.to_dense(taken), dense[[3, 3, 0]], rtol=1e-6
  )


def test_an_entry_given_twice_is_added():
  rows = SparseRows(jnp.asarray([[1, 1]]), jnp.asarray([[2.0, 3.0]]), 3)
  np.testing.assert_array_equal(numerics.to_dense(rows), [[0, 5, 0]])
  np.testing.assert_array_equal(numerics.matmul(rows, jnp.eye(3)), [[0, 5, 0]])


def test_dense_rows_pass_through():
  x = jnp.arange(6.0).reshape(2, 3)
  assert numerics.to_dense(x) is x
  assert numerics.num_features(x) == 3
  np.testing.assert_array_equal(numerics.matmul(x, jnp.eye(3)), x)


def test_frozen_leaves_part_and_come_back():
  params = {
    'encoder': {'w': jnp.ones(2), 'frozen': {'mean': jnp.zeros(2)}},
    'head': {
      'frozen': [jnp.arange(3), {'deep': jnp.ones(1)}],
      'b': jnp.ones(1),
    },
  }
  trained, frozen = numerics.split_frozen(params)
  assert len(jax.tree.leaves(trained)) == 2
  assert len(jax.tree.leaves(frozen)) == 3
  assert trained['head']['frozen'][0] is None
  assert frozen['encoder']['w'] is None
  together = numerics.merge_frozen(trained, frozen)
  assert jax.tree.structure(together) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, together, params)


def test_integers_that_are_frozen_do_not_disturb_the_gradient():
  params = {'w': jnp.asarray([1.0, 2.0]), 'frozen': jnp.asarray([1, 0])}
  trained, frozen = numerics.split_frozen(params)

  def loss(trained):
    merged = numerics.merge_frozen(trained, frozen)
    return merged['w'][merged['frozen'][0]] ** 2

  gradient = jax.jit(jax.grad(loss))(trained)
  np.testing.assert_array_equal(gradient['w'], [0.0, 4.0])
  assert gradient['frozen'] is None


def test_transitive_closure_against_walks_of_every_length():
  rng = np.random.default_rng(0)
  for density in (0.05, 0.15, 0.4):
    edges = rng.random((12, 12)) < density
    walks = [edges.astype(int)]
    for _ in range(11):
      walks.append(np.minimum(walks[-1] @ edges, 1))
    expected = np.any(walks, axis=0)
    np.testing.assert_array_equal(numerics.transitive_closure(edges), expected)
  path = np.eye(100, k=1, dtype=bool)
  expected = np.triu(np.ones((100, 100), bool), 1)
  np.testing.assert_array_equal(numerics.transitive_closure(path), expected)


@pytest.mark.parametrize('block', [1, 5, 37, 100])
def test_blocks_do_not_change_a_function_of_rows(block):
  rows = {
    'dense': jnp.arange(37.0 * 2).reshape(37, 2),
    'sparse': SparseRows(
      jnp.zeros((37, 1), jnp.int32), jnp.arange(37.0)[:, None], 3
    ),
  }
  sizes = []

  def function(part):
    sizes.append(len(part['dense']))
    return part['dense'].sum(axis=-1), part['sparse'].values[:, 0]

  one, other = numerics.in_blocks(function, rows, block)
  np.testing.assert_array_equal(one, rows['dense'].sum(axis=-1))
  np.testing.assert_array_equal(other, jnp.arange(37.0))
  assert set(sizes) == {min(block, 37)}
