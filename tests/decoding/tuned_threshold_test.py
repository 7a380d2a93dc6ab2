"""Thresholds chosen for F1, against scikit-learn at every cut."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score

from mlc import decoding
from mlc.heads.product import product

# The parameters of this head are its marginals, as logits.
HEAD = product(
  'fixed', 6, lambda *_, **__: None, lambda params, h, *, key=None: params
)


def best_f1(p, y, weight):
  cuts = [-1.0, *np.unique(p)]
  return max(
    f1_score(y, p > cut, sample_weight=weight, zero_division=0) for cut in cuts
  )


@pytest.mark.parametrize('seed', range(5))
def test_no_threshold_has_a_larger_f1(seed):
  rng = np.random.default_rng(seed)
  n = 40
  logits = rng.integers(-4, 5, (n, 6)) / 2  # many ties
  y = (rng.random((n, 6)) < 0.3).astype(float)
  weight = rng.integers(0, 3, n).astype(float)
  where = rng.random((n, 6)) < 0.8
  y[:, 5] = 0
  y = y * where
  params = jnp.asarray(logits, jnp.float32)
  h = jnp.zeros((n, 1))
  decoder = decoding.tuned_threshold()
  state = decoder.fit(
    HEAD,
    params,
    h,
    jnp.asarray(y, jnp.float32),
    where=jnp.asarray(where),
    weight=jnp.asarray(weight, jnp.float32),
  )
  decisions = np.asarray(decoder.decide(HEAD, params, h, state))
  p = np.asarray(HEAD.marginals(params, h))
  for j in range(5):
    w = weight * where[:, j]
    ours = f1_score(y[:, j], decisions[:, j], sample_weight=w, zero_division=0)
    assert ours == pytest.approx(best_f1(p[:, j], y[:, j], w), abs=1e-9)
  assert state['threshold'][5] == 0.5


def test_a_row_that_does_not_count_changes_nothing():
  params = jnp.asarray([[2.0], [1.0], [-1.0]]).repeat(6, axis=1)
  y = jnp.asarray([[1.0], [0.0], [0.0]]).repeat(6, axis=1)
  h = jnp.zeros((3, 1))
  decoder = decoding.tuned_threshold()
  state = decoder.fit(HEAD, params, h, y)
  padded = decoder.fit(
    HEAD,
    jnp.concatenate([params, jnp.full((1, 6), 1.5)]),
    jnp.zeros((4, 1)),
    jnp.concatenate([y, jnp.ones((1, 6))]),
    weight=jnp.asarray([1.0, 1.0, 1.0, 0.0]),
  )
  np.testing.assert_array_equal(state['threshold'], padded['threshold'])
  p = np.asarray(HEAD.marginals(params, h))
  np.testing.assert_allclose(state['threshold'], (p[0] + p[1]) / 2, rtol=1e-6)
