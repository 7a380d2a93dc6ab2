"""A head made of a table gives the table back, whatever it is asked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc import distribution
from mlc.heads.enumerated import enumerated

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def made(num_labels=3):
  """A head whose parameters are the table itself; h picks its row."""

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    return jax.nn.log_softmax(jax.random.normal(key, (4, 2**num_labels)))

  return enumerated('table', num_labels, init, lambda params, h: params)


@pytest.mark.slow
def test_log_prob_and_conditional_and_partial():
  head = made()
  h = jnp.zeros((4, 1))
  y = distribution.label_vectors(3)[jnp.asarray([0, 3, 5, 6])]
  table = head.init(jax.random.key(0), h, y)
  p = np.exp(np.asarray(table, np.float64))

  @quick_jit
  def ask(table):
    known = jnp.asarray(np.tri(4, 3, -1, dtype=bool))
    return (
      head.log_prob(table, h, y),
      head.conditional(table, h, y),
      head.partial(table, h, y, known),
    )

  log_prob, conditional, partial = ask(table)
  codes = np.array([0, 3, 5, 6])
  np.testing.assert_allclose(np.exp(log_prob), p[range(4), codes], rtol=1e-5)
  for j in range(3):
    on, off = p[range(4), codes | 1 << j], p[range(4), codes & ~(1 << j)]
    np.testing.assert_allclose(conditional[:, j], on / (on + off), rtol=1e-5)
  # Row 2 knows labels 0 and 1: its code is 5, so they are 1 and 0.
  expected = p[2, 5] / (p[2, 1] + p[2, 5])
  np.testing.assert_allclose(partial[2], [1.0, 0.0, expected], rtol=1e-5)
  # Of row 0 nothing is known, of row 3 everything.
  np.testing.assert_allclose(partial[0], head.marginals(table, h)[0], rtol=1e-5)
  np.testing.assert_array_equal(partial[3], y[3])


def test_every_word_is_enumerated_and_nothing_else_is_given():
  head = made()
  assert {*head.exactness.values()} == {'enumerated'}
  for name in head.exactness:
    assert getattr(head, name) is not None
  for name in ('logits', 'greedy', 'objective', 'member'):
    assert getattr(head, name) is None


def test_too_many_labels_are_refused_with_the_limit():
  limit = distribution.MAX_TABLE_LABELS
  assert made(limit).num_labels == limit
  with pytest.raises(ValueError, match=f'{limit} labels; it got {limit + 1}'):
    made(limit + 1)
