import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from sklearn.preprocessing import StandardScaler

from mlc.base import SparseRows
from mlc.encoders.identity import identity
from mlc.encoders.mlp import mlp
from mlc.encoders.standardized import standardized
from mlc.numerics import split_frozen, to_dense


def _dense(rows=60, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(rows, 6)) * [1, 100, 0.01, 1, 1, 1] + [0, 5, 3, 0, 0, 0]
  x[:, 3] = 0.1  # constant, and not a sum of powers of two
  x[:, 4] = 0.0
  x[:, 5] = 2000 + rng.integers(0, 3, rows)  # a year
  return x.astype(np.float32)


def _sparse(rows=60, columns=8, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(rows, columns)) + 2
  x *= rng.random(size=x.shape) < 0.3
  x[:, 0] = 0.0  # never stored
  x[:, 1] = 0.7  # stored in every row, constant
  x[:, 2] = 100 + rng.random(rows)  # stored in every row, small spread
  x[:, 3] = rng.random(rows) < 0.1
  x = x.astype(np.float32)
  entries = columns + 2
  indices = np.zeros((rows, entries), np.int32)
  values = np.zeros((rows, entries), np.float32)
  for i, row in enumerate(x):
    stored = np.flatnonzero(row)
    indices[i, : len(stored)] = stored
    values[i, : len(stored)] = row[stored]
  return x, SparseRows(jnp.asarray(indices), jnp.asarray(values), columns)


def _fit_apply(x, weight=None, new=None):
  encoder = standardized(identity())
  params = encoder.init(jax.random.key(0), x, weight=weight)
  return encoder.apply(params, x if new is None else new)


def test_dense_rows_equal_sklearn():
  x, new = _dense(), _dense(seed=1)
  scaler = StandardScaler().fit(x.astype(np.float64))
  expected = scaler.transform(new.astype(np.float64))
  ours = _fit_apply(jnp.asarray(x), new=jnp.asarray(new))
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_dense_rows_in_x64_equal_sklearn_to_1e_9():
  x = _dense().astype(np.float64)
  with jax.enable_x64(True):
    ours = np.asarray(_fit_apply(jnp.asarray(x)))
  assert ours.dtype == np.float64
  expected = StandardScaler().fit_transform(x)
  np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_constant_features_become_zero_and_nothing_blows_up():
  x = _dense()
  ours = _fit_apply(jnp.asarray(x))
  np.testing.assert_array_equal(ours[:, 3:5], np.zeros((60, 2)))
  other = x + 1.0
  ours = _fit_apply(jnp.asarray(x), new=jnp.asarray(other))
  np.testing.assert_allclose(ours[:, 3:5], np.ones((60, 2)), rtol=1e-6)


@pytest.mark.slow
def test_sparse_rows_are_divided_by_the_standard_deviation_of_sklearn():
  x, rows = _sparse()
  scaler = StandardScaler(with_mean=False)
  expected = scaler.fit_transform(scipy.sparse.csr_array(x.astype(np.float64)))
  ours = _fit_apply(rows)
  np.testing.assert_allclose(ours, expected.toarray(), rtol=1e-4, atol=1e-5)
  assert np.std(np.asarray(ours)[:, 2]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_sparse_and_dense_rows_have_the_same_scale():
  x, rows = _sparse()
  init = standardized(identity()).init
  sparse = init(jax.random.key(0), rows)['frozen']
  dense = init(jax.random.key(0), jnp.asarray(x))['frozen']
  assert set(sparse) == {'scale'}
  np.testing.assert_allclose(sparse['scale'], dense['scale'], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('sparse', [False, True])
def test_rows_of_weight_zero_are_padding(sparse):
  x = _sparse()[1] if sparse else jnp.asarray(_dense())
  weight = jnp.arange(60) < 40
  part = jax.tree.map(lambda leaf: leaf[:40], x)
  encoder = standardized(identity())
  padded = encoder.init(jax.random.key(0), x, weight=weight.astype('float32'))
  alone = encoder.init(jax.random.key(0), part)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    padded,
    alone,
  )


@pytest.mark.slow
@pytest.mark.parametrize('sparse', [False, True])
def test_weight_two_means_the_row_twice(sparse):
  x = _sparse()[1] if sparse else jnp.asarray(_dense())
  weight = jnp.where(jnp.arange(60) < 20, 2.0, 1.0)
  twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:20]]), x)
  encoder = standardized(identity())
  ours = encoder.init(jax.random.key(0), x, weight=weight)
  theirs = encoder.init(jax.random.key(0), twice)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    ours,
    theirs,
  )


def test_nan_in_a_row_of_weight_zero_does_no_harm():
  x = jnp.asarray(_dense()).at[-1].set(jnp.nan)
  weight = jnp.ones(60).at[-1].set(0.0)
  params = standardized(identity()).init(jax.random.key(0), x, weight=weight)
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))


@pytest.mark.slow
def test_name_inner_parameters_and_frozen_leaves():
  encoder = standardized(mlp(width=3))
  assert encoder.name == 'mlp'
  x, rows = _sparse()
  params = encoder.init(jax.random.key(0), rows)
  trained, frozen = split_frozen(params)
  assert len(jax.tree.leaves(trained)) == 2
  assert len(jax.tree.leaves(frozen)) == 1
  inner = mlp(width=3).apply(params['encoder'], _fit_apply(rows))
  np.testing.assert_allclose(
    encoder.apply(params, rows), inner, rtol=1e-4, atol=1e-5
  )
  np.testing.assert_array_equal(to_dense(rows), x)


def test_init_and_apply_run_jitted_over_folds():
  x = jnp.asarray(_dense())
  weight = jnp.stack([jnp.ones(60), (jnp.arange(60) % 2).astype('float32')])
  encoder = standardized(identity())

  @jax.jit
  def fit(weight):
    params = encoder.init(jax.random.key(0), x, weight=weight)
    return encoder.apply(params, x)

  together = jax.vmap(fit)(weight)
  odd = StandardScaler().fit(_dense()[1::2].astype(np.float64))
  np.testing.assert_allclose(
    together[1], odd.transform(_dense()), rtol=1e-4, atol=2e-4
  )
