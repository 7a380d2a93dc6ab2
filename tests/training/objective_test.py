"""The objective and what it leaves free."""

import jax
import jax.numpy as jnp
import numpy as np

from mlc.base import Batch
from mlc.training import objective


def test_penalty_is_that_of_all_but_biases_gains_and_vectors():
  params = {
    'head': {'kernel': jnp.full((2, 3), 2.0), 'bias': jnp.full(3, 5.0)},
    'encoder': {'norm': {'scale': jnp.ones((4, 2))}, 'vector': jnp.ones(7)},
    'stacked': {'bias': jnp.ones((4, 3)), 'links': jnp.full((3, 3), 1.0)},
    'nothing': None,
  }
  weight = jnp.asarray([1.0, 1.0, 2.0])
  batch = Batch(jnp.ones((3, 1)), jnp.ones((3, 1)), weight=weight)
  got = objective.ridge(params, jnp.asarray(0.5), batch)
  np.testing.assert_allclose(got, 0.5 / (2 * 4) * (6 * 2.0**2 + 9), rtol=1e-6)


def test_mean_loss_is_weighted_and_blind_to_padding():
  batch = Batch(
    jnp.asarray([[1.0], [2.0], [jnp.nan]]),
    jnp.zeros((3, 1)),
    weight=jnp.asarray([1.0, 3.0, 0.0]),
  )
  loss = lambda params, batch, *, key: params * batch.x[:, 0]
  value = objective.mean_loss(loss, jnp.asarray(2.0), batch)
  assert value == 2.0 * (1.0 + 3.0 * 2.0) / 4.0
  assert jax.eval_shape(lambda: value).dtype == jnp.float32
