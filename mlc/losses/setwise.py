"""Overlap of predicted and true label set, with probabilities for decisions."""

import jax
import jax.numpy as jnp

from mlc.base import Loss
from mlc.losses.logits import of_logits
from mlc.numerics import masked_sum


def soft_f1(*, smoothing: float = 1.0) -> Loss:
  """One minus the F1 by example of the probabilities themselves.

      loss_b = 1 - (2 t + s) / (2 t + f + m + s)
      t = sum_j p_j y_j,  f = sum_j p_j (1 - y_j),  m = sum_j (1 - p_j) y_j

  Args:
    smoothing: s > 0, so that a row without any label teaches too: it is
      worth 1 when nothing is predicted, and less with every false label.

  Returns:
    A loss in [0, 1), over the known labels. It is not a proper score.

  Raises:
    ValueError: for a smoothing that is not above 0.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Milletari, Navab, Ahmadi, V-Net: fully convolutional neural networks for
    volumetric medical image segmentation, 3DV 2016, section 3 (squares left
    out).
  """
  return _overlap('soft_f1', 0.5, smoothing)


def soft_jaccard(*, smoothing: float = 1.0) -> Loss:
  """One minus the Jaccard index by example of the probabilities themselves.

      loss_b = 1 - (t + s) / (t + f + m + s), with t, f, m as for `soft_f1`

  Args:
    smoothing: s > 0, as for `soft_f1`.

  Returns:
    A loss in [0, 1), over the known labels. It is not a proper score.

  Raises:
    ValueError: for a smoothing that is not above 0.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Rahman, Wang, Optimizing intersection-over-union in deep neural networks
    for image segmentation, ISVC 2016.
  """
  return _overlap('soft_jaccard', 1.0, smoothing)


def _overlap(name: str, error_weight: float, smoothing: float) -> Loss:
  """The Tversky index with one weight for both kinds of error."""
  if not smoothing > 0.0:
    raise ValueError(
      f'{name} got smoothing={smoothing}; it takes a number above 0.'
    )
  # Of t + w (f + m): F1 with its own smoothing 2 t + f + m + s is w = 1/2.
  smoothing = smoothing * error_weight

  def values(logits, batch, state):
    del state
    p = jax.nn.sigmoid(logits)
    true = masked_sum(p * batch.y, batch.where)
    errors = masked_sum(jnp.abs(p - batch.y), batch.where)
    above = true + smoothing
    return 1.0 - above / (above + error_weight * errors)

  return of_logits(name, values)
