"""The multi-class head at its edges; the rest is in contract_test.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from mlc.heads.softmax import softmax

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def at(scores):
  """The head with these scores whatever h is."""
  scores = jnp.asarray(scores, jnp.float32)
  params = {'kernel': jnp.zeros((2, len(scores))), 'bias': scores}
  return softmax(len(scores)), params, jnp.zeros((1, 2))


def test_log_prob_is_log_softmax_and_of_no_or_two_classes_minus_infinity():
  scores = np.array([0.3, -1.0, 2.0])
  head, params, h = at(scores)
  expected = scipy.special.log_softmax(scores)
  log_prob = quick_jit(head.log_prob)
  for j in range(3):
    y = jnp.eye(3)[j : j + 1]
    np.testing.assert_allclose(log_prob(params, h, y), expected[j], rtol=1e-6)
  for y in (jnp.zeros((1, 3)), jnp.asarray([[1.0, 1.0, 0.0]])):
    assert np.isneginf(log_prob(params, h, y))


def test_logits_are_log_odds_even_where_a_probability_rounds_to_one():
  scores = np.array([40.0, -3.0, 1.0, -30.0])
  head, params, h = at(scores)
  others = [
    scipy.special.logsumexp(np.delete(scores, j)) for j in range(len(scores))
  ]
  logits = quick_jit(head.logits)(params, h, None)
  np.testing.assert_allclose(logits[0], scores - others, rtol=1e-6)
  gradient = quick_jit(jax.grad(lambda p: head.logits(p, h)[0, 0]))(params)
  expected = -scipy.special.softmax(scores[1:])
  np.testing.assert_allclose(gradient['bias'][1:], expected, rtol=1e-5)


def test_many_classes_need_no_table():
  head, params, h = at(np.linspace(-1, 1, 100))
  assert head.joint is None
  assert head.mode(params, h)[0, 99] == 1
  np.testing.assert_allclose(
    head.cardinality_marginals(params, h)[0, :, 0],
    scipy.special.softmax(np.linspace(-1, 1, 100)),
    rtol=1e-5,
  )
