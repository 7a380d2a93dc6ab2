"""A head asked once for its table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.tabulated import tabulated

ROWS, FEATURES, LABELS = 37, 3, 5


def drawn():
  generator = np.random.default_rng(0)
  x = generator.normal(size=(ROWS, FEATURES))
  y = generator.random((ROWS, LABELS)) < 0.4
  return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize('make', [classifier_chain, binary_relevance])
def test_a_table_asked_once_answers_as_the_head_does(make):
  head = make(LABELS)
  x, y = drawn()
  params = head.init(jax.random.key(1), x, y)
  # Links begin at 0, with which labels would be independent.
  noise = lambda leaf: jax.random.normal(jax.random.key(2), leaf.shape)
  params = {k: v if k == 'frozen' else noise(v) for k, v in params.items()}
  asked, of_block = tabulated(head)
  assert (asked is head) == (make is binary_relevance)

  def answers(head, params, x, y):
    exact = [head.mode(params, x), head.greedy(params, x)]
    exact += [head.log_prob(params, x, y), head.conditional(params, x, y)]
    names = ('marginals', 'cardinality_marginals')
    return exact, [getattr(head, name)(params, x) for name in names]

  @jax.jit
  def asked_answers(params, x, y):
    return answers(asked, of_block(params, x), x, y)

  exact, close = jax.jit(functools.partial(answers, head))(params, x, y)
  asked_exact, asked_close = asked_answers(params, x, y)
  for one, other in zip(exact, asked_exact, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6)
  for one, other in zip(close, asked_close, strict=True):
    np.testing.assert_allclose(one, other, atol=2e-6)
