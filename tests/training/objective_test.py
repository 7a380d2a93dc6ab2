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


def test_a_group_has_a_penalty_of_its_own():
  params = {
    'kernel': jnp.full((2, 3), 2.0),
    'links': {'kernel': jnp.full((3, 3), 3.0), 'bias': jnp.full((2, 3), 9.0)},
    'inner': {'links': jnp.full((1, 4), 5.0)},
  }
  batch = Batch(jnp.ones((4, 1)), jnp.ones((4, 1)), weight=jnp.ones(4))
  own = {'links': jnp.asarray(7.0)}
  got = objective.ridge(params, jnp.asarray(0.5), batch, own)
  expected = (0.5 * 6 * 2.0**2 + 7.0 * (9 * 3.0**2 + 4 * 5.0**2)) / (2 * 4)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_lowest_group_above_a_leaf_counts():
  params = {'a': {'b': {'w': jnp.ones((2, 2))}, 'w': jnp.ones((2, 2))}}
  of = lambda group: objective.penalized(params, group, ('a', 'b'))
  assert of('b') == {'a': {'b': {'w': True}, 'w': False}}
  assert of('a') == {'a': {'b': {'w': False}, 'w': True}}
  assert of(None) == {'a': {'b': {'w': False}, 'w': False}}
