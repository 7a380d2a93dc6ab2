"""The unit against that of Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.heads import gru


@pytest.mark.slow
def test_a_step_is_that_of_flax():
  width, rng = 3, np.random.default_rng(0)
  state, x = (
    jnp.asarray(rng.normal(size=(4, width)), jnp.float32) for _ in range(2)
  )
  params = gru.init(jax.random.key(0), state, width, 2, (4,))
  params = {**params, 'embedding': x}
  params['gru'] = jax.tree.map(
    lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params['gru']
  )
  found = gru.step(params, state, gru.push(params))
  weights = params['gru']
  theirs = {'hn': {'bias': weights['state_bias']}}
  for i, gate in enumerate('rzn'):
    part = slice(i * width, (i + 1) * width)
    theirs[f'i{gate}'] = {
      'kernel': weights['input'][:, part],
      'bias': weights['bias'][part],
    }
    theirs.setdefault(f'h{gate}', {})['kernel'] = weights['state'][:, part]
  expected, _ = nn.GRUCell(width).apply({'params': theirs}, state, x)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
