"""Propensities by their formula, and what is normalised by the best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import metrics
from mlc.metrics import propensity


def test_propensities_by_hand():
  """N = 1,000: C = (log 1000 - 1) 2.5^0.55 = 9.7789."""
  p = propensity.propensities(np.array([0, 10, 1000]), 1000)
  scale = (np.log(1000) - 1) * 2.5**0.55
  assert scale == pytest.approx(9.7789, abs=1e-4)
  expected = 1 / (1 + scale * np.exp(-0.55 * np.log([1.5, 11.5, 1001.5])))
  np.testing.assert_allclose(p, expected, rtol=1e-12)
  # As in the paper, a label of every row is nearly always recorded.
  assert p[0] < 0.12
  assert p[2] > 0.8
  assert (propensity.propensities(np.arange(3), 2) == 1).all()
  with pytest.raises(ValueError, match='num_examples is 0'):
    propensity.propensities(np.ones(3), 0)


def test_a_ratio_of_sums_and_not_a_mean_of_ratios():
  """By hand: weights, an empty row and an unknown label, over two batches."""
  y = jnp.asarray([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
  scores = jnp.asarray([[0.9, 0.1, 0.5], [0.3, 0.9, 0.2], [0.1, 0.2, 0.3]])
  where = jnp.ones((3, 3), bool).at[1, 1].set(False)
  p = metrics.Predictions(
    y,
    scores=scores,
    where=where,
    weight=jnp.asarray([1.0, 2.0, 1.0]),
    propensities=jnp.asarray([0.5, 0.1, 0.25]),
  )
  table = {
    'p': propensity.ps_precision_at_k(2),
    'n': propensity.ps_ndcg_at_k(2),
  }

  @jax.jit
  def measure(p):
    return metrics.measure(table, p)

  values, undefined = measure(p)
  second = 1 / np.log2(3)
  # Worth 2, 10 and 4; the first row has 2 of 2 + 10, the second 4 of 4.
  assert values['p'] == pytest.approx((2 + 2 * 4) / (12 + 2 * 4))
  gained, possible = 2 + 2 * 4 * second, 10 + 2 * second + 2 * 4
  assert values['n'] == pytest.approx(gained / possible)
  assert undefined == {'p': 1, 'n': 1}


def test_without_propensities_it_says_so():
  y = jnp.ones((1, 2))
  table = {'p': propensity.ps_precision_at_k(1)}
  with pytest.raises(ValueError, match=r'needs Predictions\.propensities'):
    metrics.evaluate(table, metrics.Predictions(y, scores=y))
