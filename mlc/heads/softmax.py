"""Multi-class: exactly one label holds."""

import jax
import jax.numpy as jnp

from mlc import distribution
from mlc.base import Head


def softmax(num_labels: int) -> Head:
  """One-hot label vectors with linear logits f = W h + b.

      p(e_j | h) = exp(f_j) / sum_i exp(f_i),    p(y | h) = 0 for any other y

  The head of multi-class data: no label at all, or two at once, is impossible
  (log_prob -inf).

  Args:
    num_labels: L, the number of classes.

  Returns:
    A head; every capability is closed-form. Parameters: `kernel` [D, L] and
    `bias` [L]. `logits` are the log-odds of the marginals, so that a pointwise
    loss trains one class against the rest; `mode` resolves ties to the lowest
    class.

  References:
    Bridle, Probabilistic interpretation of feedforward classification network
    outputs, Neurocomputing, 1990.
  """

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    kernel = jax.nn.initializers.lecun_normal()
    return {
      'kernel': kernel(key, (h.shape[-1], num_labels), h.dtype),
      'bias': jnp.zeros(num_labels, h.dtype),
    }

  small = num_labels <= distribution.MAX_TABLE_LABELS
  return Head(
    name='softmax',
    num_labels=num_labels,
    exactness={
      'marginals': 'closed-form',
      'mode': 'closed-form',
      'conditional': 'closed-form',
      'cardinality_marginals': 'closed-form',
      'joint': 'enumerated',
    },
    init=init,
    logits=_logits,
    log_prob=_log_prob,
    marginals=_marginals,
    sample=_sample,
    mode=_mode,
    conditional=_conditional,
    joint=_joint if small else None,
    cardinality_marginals=_cardinality_marginals,
    one_hot=True,
  )


def _scores(params, h):
  return h @ params['kernel'] + params['bias'][None, :]


def _logits(params, h, y=None, *, key=None):
  """f_j - log sum_{i != j} exp(f_i): the log-odds of P(y_j = 1 | h)."""
  del y, key
  f = _scores(params, h)
  # Without j = before j and after j: a difference would cancel as p_j nears 1.
  nothing = jnp.full_like(f[:, :1], -jnp.inf)
  before = jax.lax.cumlogsumexp(f, axis=1)
  after = jax.lax.cumlogsumexp(f, axis=1, reverse=True)
  before = jnp.concatenate([nothing, before[:, :-1]], axis=1)
  after = jnp.concatenate([after[:, 1:], nothing], axis=1)
  return f - jnp.logaddexp(before, after)


def _log_prob(params, h, y, *, key=None):
  del key
  log_p = jax.nn.log_softmax(_scores(params, h))
  one_hot = jnp.sum(y, axis=-1) == 1
  return jnp.where(one_hot, jnp.sum(y * log_p, axis=-1), -jnp.inf)


def _marginals(params, h, *, key=None):
  del key
  return jax.nn.softmax(_scores(params, h))


def _sample(params, key, h, n):
  f = _scores(params, h)
  classes = jax.random.categorical(key, f, shape=(n, f.shape[0]))
  return jax.nn.one_hot(classes, f.shape[1], dtype=f.dtype)


def _mode(params, h):
  f = _scores(params, h)
  return jax.nn.one_hot(jnp.argmax(f, axis=-1), f.shape[1], dtype=f.dtype)


def _conditional(params, h, y):
  """The other labels decide; 0.5 where they rule out both values."""
  del params, h
  others = jnp.sum(y, axis=-1, keepdims=True) - y
  return jnp.where(others == 0, 1.0, jnp.where(others == 1, 0.0, 0.5))


def _joint(params, h):
  log_p = jax.nn.log_softmax(_scores(params, h))
  num_labels = log_p.shape[1]
  table = jnp.full((len(log_p), 2**num_labels), -jnp.inf, log_p.dtype)
  return table.at[:, 2 ** jnp.arange(num_labels)].set(log_p)


def _cardinality_marginals(params, h):
  p = _marginals(params, h)
  return p[:, :, None] * (jnp.arange(p.shape[1]) == 0)[None, None, :]
