import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.base import SparseRows
from mlc.encoders.mlp import mlp


def _sparse(seed=0, rows=9, columns=20, entries=4):
  rng = np.random.default_rng(seed)
  order = rng.permuted(np.tile(np.arange(columns), (rows, 1)), axis=1)
  values = rng.normal(size=(rows, entries)).astype(np.float32)
  indices = order[:, :entries].copy()
  values[:, -1], indices[:, -1] = 0.0, 0  # padding
  x = SparseRows(jnp.asarray(indices), jnp.asarray(values), columns)
  dense = np.zeros((rows, columns), np.float32)
  np.add.at(dense, (np.arange(rows)[:, None], indices), values)
  return x, jnp.asarray(dense)


@pytest.mark.slow
def test_equals_the_formula_written_in_numpy():
  encoder = mlp(width=7, depth=3)
  x = jax.random.normal(jax.random.key(0), (5, 4))
  params = encoder.init(jax.random.key(1), x)
  bias = jax.random.normal(jax.random.key(2), (7,))
  params = {k: {**layer, 'bias': bias} for k, layer in params.items()}
  h = np.asarray(x, np.float64)
  for k in range(3):
    kernel = np.asarray(params[f'layer_{k}']['kernel'], np.float64)
    h = np.maximum(h @ kernel + np.asarray(bias, np.float64), 0.0)
  np.testing.assert_allclose(encoder.apply(params, x), h, rtol=1e-4, atol=1e-5)
  assert encoder.name == 'mlp'


@pytest.mark.slow
@pytest.mark.parametrize('depth', [1, 2])
def test_sparse_rows_give_the_output_and_gradients_of_dense_ones(depth):
  encoder = mlp(width=6, depth=depth)
  x, dense = _sparse()
  params = encoder.init(jax.random.key(0), x)
  target = jax.random.normal(jax.random.key(1), (x.values.shape[0], 6))

  def loss(params, x):
    return jnp.sum((encoder.apply(params, x) - target) ** 2)

  shapes = jax.tree.map(jnp.shape, params)
  assert shapes == jax.tree.map(
    jnp.shape, encoder.init(jax.random.key(0), dense)
  )
  ours, grad = jax.value_and_grad(loss)(params, x)
  theirs, dense_grad = jax.value_and_grad(loss)(params, dense)
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    grad,
    dense_grad,
  )
  assert float(jnp.abs(grad['layer_0']['kernel']).max()) > 0.1


@pytest.mark.slow
def test_no_key_means_no_dropout_and_a_key_drops_the_stated_share():
  encoder = mlp(width=200, depth=1, dropout=0.3)
  x = jax.random.normal(jax.random.key(0), (100, 10))
  params = encoder.init(jax.random.key(1), x)
  h = encoder.apply(params, x)
  np.testing.assert_array_equal(h, mlp(width=200).apply(params, x))
  dropped = encoder.apply(params, x, key=jax.random.key(2))
  active = h > 0
  kept = (dropped > 0) & active
  n = int(active.sum())
  # Five standard deviations of a binomial.
  bound = 5 * np.sqrt(0.3 * 0.7 / n)
  assert abs(float(kept.sum()) / n - 0.7) < bound
  np.testing.assert_allclose(dropped[kept], h[kept] / 0.7, rtol=1e-6)


def test_layers_drop_different_units():
  x = jnp.ones((1, 64))
  encoder = mlp(width=64, depth=2, dropout=0.5)
  eye = {'kernel': jnp.eye(64), 'bias': jnp.zeros(64)}
  params = {'layer_0': eye, 'layer_1': eye}
  h = encoder.apply(params, x, key=jax.random.key(0))
  # With one mask for both layers half of the units would live, not a quarter.
  assert 4 <= int((h > 0).sum()) <= 28


@pytest.mark.slow
def test_jit_vmap_over_runs_equals_one_run_at_a_time():
  encoder = mlp(width=5, depth=2)
  x, _ = _sparse()
  keys = jax.random.split(jax.random.key(0), 3)
  params = jax.vmap(lambda key: encoder.init(key, x))(keys)
  together = jax.jit(jax.vmap(encoder.apply, (0, None)))(params, x)
  for run in range(3):
    one = encoder.init(keys[run], x)
    np.testing.assert_allclose(
      together[run], encoder.apply(one, x), rtol=1e-5, atol=1e-6
    )


def test_units_keep_the_scale_of_their_input():
  x = jax.random.normal(jax.random.key(0), (500, 300))
  encoder = mlp(width=300, depth=4)
  h = encoder.apply(encoder.init(jax.random.key(1), x), x)
  assert 0.5 < float(jnp.mean(h**2)) < 2.0


@pytest.mark.parametrize(
  'options', [{'width': 0}, {'depth': 0}, {'dropout': 1.0}, {'dropout': -0.1}]
)
def test_options_out_of_range_are_refused(options):
  name, value = next(iter(options.items()))
  with pytest.raises(ValueError, match=f'{name}={value}'):
    mlp(**options)
