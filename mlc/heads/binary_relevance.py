"""Binary relevance: one logistic regression a label."""

import jax
import jax.numpy as jnp

from mlc.base import Head
from mlc.heads.product import product


def binary_relevance(num_labels: int) -> Head:
  """Independent labels with linear logits.

      P(y_j = 1 | h) = sigmoid(w_j . h + b_j)

  It is optimal for Hamming loss whatever the dependence between labels, as
  long as the marginals are well modelled; the other heads are measured
  against it.

  Args:
    num_labels: L.

  Returns:
    A head; every capability is closed-form. Parameters: `kernel` [D, L] and
    `bias` [L].

  References:
    Dembczynski, Waegeman, Cheng, Hullermeier, On label dependence and loss
    minimization in multi-label classification, Machine Learning 88, 2012,
    section 4.1.
  """

  def init(key, h, y, *, where=None, weight=None):
    del y, where, weight
    kernel = jax.nn.initializers.lecun_normal()
    return {
      'kernel': kernel(key, (h.shape[-1], num_labels), h.dtype),
      'bias': jnp.zeros(num_labels, h.dtype),
    }

  def apply(params, h, *, key=None):
    del key
    logits = h @ params['kernel']
    return logits + params['bias'][None, :]

  return product('binary_relevance', num_labels, init, apply)
