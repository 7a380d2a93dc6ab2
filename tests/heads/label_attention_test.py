"""What attention among labels claims, and what it does not."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlc.heads.binary_relevance import binary_relevance
from mlc.heads.label_attention import label_attention
from mlc.heads.self_attention import attend

quick_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def made(num_labels=4, disturb=True, **options):
  options = {'width': 8, 'heads': 2, **options}
  head = label_attention(num_labels, **options)
  rng = np.random.default_rng(0)
  h = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
  params = quick_jit(head.init)(
    jax.random.key(0), h, jnp.zeros((3, num_labels))
  )
  if disturb:
    params = jax.tree.map(
      lambda p: p + rng.normal(size=p.shape).astype(np.float32), params
    )
  return head, params, h


@pytest.mark.slow
def test_it_starts_as_binary_relevance():
  head, params, h = made(disturb=False)
  expected = binary_relevance(4).marginals(params['linear'], h)
  np.testing.assert_allclose(head.marginals(params, h), expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('depth', [0, 1, 2])
def test_labels_read_each_other_through_the_blocks_only(depth):
  head, params, h = made(depth=depth)

  def logits(embedding):
    return head.logits({**params, 'embedding': embedding}, h)[0]

  jacobian = quick_jit(jax.jacobian(logits))(params['embedding'])
  reads = (jnp.abs(jacobian).max(-1) > 1e-6).astype(int)
  expected = np.eye(4) if depth == 0 else np.ones((4, 4))
  np.testing.assert_array_equal(reads, expected)


@pytest.mark.slow
def test_the_true_labels_never_reach_a_logit():
  head, params, h = made()
  a, b = (head.logits(params, h, jnp.full((3, 4), v)) for v in (0.0, 1.0))
  np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_dropout_needs_a_key():
  head, params, h = made(dropout=0.5)
  logits = quick_jit(head.logits)
  calm = logits(params, h)
  np.testing.assert_array_equal(calm, logits(params, h))
  one, two = (logits(params, h, key=jax.random.key(s)) for s in (0, 1))
  assert (one != calm).any() and (one != two).any()
  np.testing.assert_array_equal(one, logits(params, h, key=jax.random.key(0)))


@pytest.mark.slow
def test_rows_with_many_tokens_are_looked_at_in_turn():
  """Values and gradients of attention that holds all its weights."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(3, 2, 300, 2, 3)).astype(np.float32)

  def both(attention):
    def total(inputs):
      found = attention(*inputs)
      return jnp.sum(found**2), found

    return quick_jit(jax.grad(total, has_aux=True))(inputs)

  found, expected = both(attend), both(nn.dot_product_attention)
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=3e-6)


@pytest.mark.parametrize(
  'options',
  [{'width': 6, 'heads': 4}, {'depth': -1}, {'heads': 0}, {'dropout': 1.0}],
)
def test_options_that_make_no_sense_are_refused(options):
  with pytest.raises(ValueError, match=f'{next(iter(options))}='):
    label_attention(4, **options)
