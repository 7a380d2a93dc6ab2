"""One label of L holds: all that follows from the scores of the classes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mlc import distribution
from mlc.base import Head, Params


def categorical(
  name: str,
  num_labels: int,
  init: Callable[..., Params],
  scores: Callable[..., Array],
) -> Head:
  """A head over one-hot label vectors.

      p(e_j | h) = exp(f_j(h)) / sum_i exp(f_i(h)),  p(y | h) = 0 for other y

  Args:
    name: as in the results table.
    num_labels: L, the number of classes.
    init: (key, h, y, *, where=None, weight=None) -> params.
    scores: (params, h, *, key=None) -> f(h) [batch, labels].

  Returns:
    The head; every capability is closed-form. `logits` are the log-odds of the
    marginals, so that a pointwise loss trains one class against the rest;
    `mode` resolves ties to the lowest class.
  """

  def log_classes(params, h, key=None):
    return jax.nn.log_softmax(scores(params, h, key=key))

  def logits(params, h, y=None, *, key=None):
    del y
    return _log_odds(scores(params, h, key=key))

  def log_prob(params, h, y, *, key=None):
    log_p = log_classes(params, h, key)
    one_hot = jnp.sum(y, axis=-1) == 1
    return jnp.where(one_hot, jnp.sum(y * log_p, axis=-1), -jnp.inf)

  def marginals(params, h, *, key=None):
    return jax.nn.softmax(scores(params, h, key=key))

  def sample(params, key, h, n):
    f = scores(params, h)
    classes = distribution.draws(f, key, n)
    return jax.nn.one_hot(classes, num_labels, dtype=f.dtype)

  def mode(params, h):
    f = scores(params, h)
    return jax.nn.one_hot(jnp.argmax(f, axis=-1), num_labels, dtype=f.dtype)

  def joint(params, h):
    log_p = log_classes(params, h)
    table = jnp.full((len(log_p), 2**num_labels), -jnp.inf, log_p.dtype)
    return table.at[:, 2 ** jnp.arange(num_labels)].set(log_p)

  def cardinality_marginals(params, h):
    p = marginals(params, h)
    return p[:, :, None] * (jnp.arange(num_labels) == 0)[None, None, :]

  small = num_labels <= distribution.MAX_TABLE_LABELS
  return Head(
    name=name,
    num_labels=num_labels,
    exactness={
      'marginals': 'closed-form',
      'mode': 'closed-form',
      'conditional': 'closed-form',
      'cardinality_marginals': 'closed-form',
      'joint': 'enumerated',
    },
    init=init,
    logits=logits,
    log_prob=log_prob,
    marginals=marginals,
    sample=sample,
    mode=mode,
    conditional=_conditional,
    joint=joint if small else None,
    cardinality_marginals=cardinality_marginals,
    one_hot=True,
  )


def _log_odds(f):
  """f_j - log sum_{i != j} exp(f_i): the log-odds of P(y_j = 1 | h)."""
  # Without j = before j and after j: a difference would cancel as p_j nears 1.
  nothing = jnp.full_like(f[:, :1], -jnp.inf)
  before = jax.lax.cumlogsumexp(f, axis=1)
  after = jax.lax.cumlogsumexp(f, axis=1, reverse=True)
  before = jnp.concatenate([nothing, before[:, :-1]], axis=1)
  after = jnp.concatenate([after[:, 1:], nothing], axis=1)
  return f - jnp.logaddexp(before, after)


def _conditional(params, h, y):
  """The other labels decide; 0.5 where they rule out both values."""
  del params, h
  others = jnp.sum(y, axis=-1, keepdims=True) - y
  return jnp.where(others == 0, 1.0, jnp.where(others == 1, 0.0, 0.5))
