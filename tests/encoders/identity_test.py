import jax
import jax.numpy as jnp
import numpy as np

from mlc.base import SparseRows
from mlc.encoders.identity import identity


def test_h_is_x_and_there_is_nothing_to_train():
  encoder = identity()
  x = jax.random.normal(jax.random.key(0), (5, 3))
  params = encoder.init(jax.random.key(1), x)
  assert encoder.name == 'identity'
  assert not jax.tree.leaves(params)
  np.testing.assert_array_equal(encoder.apply(params, x), x)


def test_sparse_rows_become_dense():
  x = SparseRows(
    indices=jnp.array([[3, 1], [2, 0], [0, 0]]),
    values=jnp.array([[5.0, 7.0], [9.0, 0.0], [0.0, 0.0]]),
    num_features=4,
  )
  expected = [[0, 7, 0, 5], [0, 0, 9, 0], [0, 0, 0, 0]]
  h = identity().apply({}, x, key=jax.random.key(0))
  np.testing.assert_array_equal(h, np.array(expected, np.float32))
