"""Multi-class: exactly one label holds."""

import jax
import jax.numpy as jnp

from mlc.base import Head
from mlc.heads.categorical import categorical


def softmax(num_labels: int) -> Head:
  """One-hot label vectors with linear logits f = W h + b.

      p(e_j | h) = exp(f_j) / sum_i exp(f_i),    p(y | h) = 0 for any other y

  The head of multi-class data: no label at all, or two at once, is impossible
  (log_prob -inf).

  Args:
    num_labels: L, the number of classes.

  Returns:
    A head; see `categorical`. Parameters: `kernel` [D, L] and `bias` [L].

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

  def scores(params, h, *, key=None):
    del key
    return h @ params['kernel'] + params['bias'][None, :]

  return categorical('softmax', num_labels, init, scores)
