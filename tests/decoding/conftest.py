"""A head whose parameters are the table log p(y) of each row."""

import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.base import Head


@pytest.fixture(scope='session')
def table_head():
  """(num_labels, without=()) -> Head, lacking the capabilities `without`."""

  def make(num_labels, without=()):
    def log_prob(params, h, y, *, key=None):
      codes = distribution.code(y)[:, None]
      return jnp.take_along_axis(params, codes, axis=-1)[:, 0]

    head = Head(
      name='table',
      num_labels=num_labels,
      exactness={
        'marginals': 'enumerated',
        'mode': 'enumerated',
        'joint': 'closed-form',
        'cardinality_marginals': 'enumerated',
      },
      init=lambda key, h, y, **_: jnp.zeros((h.shape[0], 2**num_labels)),
      log_prob=log_prob,
      marginals=lambda params, h, *, key=None: distribution.table_marginals(
        params
      ),
      sample=lambda params, key, h, n: distribution.table_sample(
        params, key, n
      ),
      mode=lambda params, h: distribution.table_mode(params),
      joint=lambda params, h: params,
      cardinality_marginals=(
        lambda params, h: distribution.table_cardinality_marginals(params)
      ),
    )
    return head._replace(**dict.fromkeys(without))

  return make


@pytest.fixture(scope='session')
def random_tables():
  """(seed, batch, num_labels) -> log p(y) [batch, 2^L], flat to peaked.

  Every fourth row is uniform (all is tied), and every fourth has impossible
  label vectors.
  """

  def make(seed, batch, num_labels):
    rng = np.random.default_rng(seed)
    row = np.arange(batch) % 4
    scale = np.choose(row, [0.0, 1.0, 4.0, 2.0])[:, None]
    logits = scale * rng.normal(size=(batch, 2**num_labels))
    impossible = rng.random(logits.shape) < 0.4
    impossible[:, -1] = False
    logits = np.where(impossible & (row == 3)[:, None], -np.inf, logits)
    total = np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    return jnp.asarray(logits - total, jnp.float32)

  return make
