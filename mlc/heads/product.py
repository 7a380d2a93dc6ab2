"""Labels independent given h: all that follows from their logits alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution
from mlc.base import Head, Key, Params
from mlc.numerics import log_bernoulli


def product(
  name: str,
  num_labels: int,
  init: Callable[..., Params],
  apply: Callable[..., Array],
) -> Head:
  """A head whose labels are independent given h.

      p(y | h) = prod_j sigmoid(f_j(h))^y_j (1 - sigmoid(f_j(h)))^(1 - y_j)

  However the logits f are made (a linear map, attention among labels, a label
  graph), nothing but h carries dependence between the labels, and every
  question has a closed-form answer.

  Args:
    name: as in the results table.
    num_labels: L.
    init: (key, h, y, *, where=None, weight=None) -> params.
    apply: (params, h, *, key=None) -> logits f(h) [batch, labels].

  Returns:
    The head. `mode` resolves a probability of exactly one half to 0.
  """

  def logits(
    params: Params,
    h: Float[Array, 'batch *dim'],
    y: Float[Array, 'batch labels'] | None = None,
    *,
    key: Key | None = None,
  ) -> Float[Array, 'batch labels']:
    del y
    return apply(params, h, key=key)

  def log_prob(params, h, y, *, key=None):
    return jnp.sum(log_bernoulli(logits(params, h, key=key), y), axis=-1)

  def marginals(params, h, *, key=None):
    return jax.nn.sigmoid(logits(params, h, key=key))

  def sample(params, key, h, n):
    p = marginals(params, h)
    return jax.random.bernoulli(key, p[None], (n, *p.shape)).astype(p.dtype)

  def mode(params, h):
    f = logits(params, h)
    return (f > 0).astype(f.dtype)

  def conditional(params, h, y):
    del y
    return marginals(params, h)

  def partial(params, h, y, known):
    return jnp.where(known, y, marginals(params, h))

  def joint(params, h):
    f = logits(params, h)
    vectors = distribution.label_vectors(num_labels)
    on = f @ vectors.T
    return on - jnp.sum(jax.nn.softplus(f), axis=-1, keepdims=True)

  def cardinality_marginals(params, h):
    return distribution.product_cardinality_marginals(marginals(params, h))

  small = num_labels <= distribution.MAX_TABLE_LABELS
  return Head(
    name=name,
    num_labels=num_labels,
    exactness={
      'marginals': 'closed-form',
      'mode': 'closed-form',
      'conditional': 'closed-form',
      'partial': 'closed-form',
      'cardinality_marginals': 'closed-form',
      'joint': 'enumerated',
    },
    init=init,
    logits=logits,
    log_prob=log_prob,
    marginals=marginals,
    sample=sample,
    mode=mode,
    greedy=mode,
    conditional=conditional,
    joint=joint if small else None,
    cardinality_marginals=cardinality_marginals,
    partial=partial,
    independent=True,
  )
