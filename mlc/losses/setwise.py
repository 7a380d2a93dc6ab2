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


def soft_f1_macro(
  *, smoothing: float = 1.0, slope: float = 1.0, offset: float = 0.0
) -> Loss:
  """One minus the F1 by label of the probabilities of a whole batch.

      loss = 1 - mean_j (2 t_j + s) / (2 t_j + f_j + m_j + s)
      t_j = sum_b w_b p_bj y_bj,  f_j = sum_b w_b p_bj (1 - y_bj),
      m_j = sum_b w_b (1 - p_bj) y_bj,  p = sigmoid(slope (logit + offset))

  The F1 of a label is no mean over examples, and so has no value for one of
  them: every example of the batch has the value of the batch, and their mean
  is that value again. What is minimised depends on the batch size: with L-BFGS
  the batch is all training rows, and it is their macro F1 made smooth; in
  mini-batches a rare label is often on in no row, counts
  s / (s + sum_b p_bj) there, and is pushed down. The loss on validation rows
  is the mean over batches likewise.

  Args:
    smoothing: s > 0, in rows.
    slope: above 0; the steeper, the nearer to counting decisions, and the
      fewer the rows that have a gradient.
    offset: moves the threshold to -offset.

  Returns:
    A loss in [0, 1), over the labels known in some row of the batch; 0 when
    none is. It is not a proper score.

  Raises:
    ValueError: for a smoothing or slope that is not above 0.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Benedict, Koops, Odijk, de Rijke, sigmoidF1: a smooth F1 score surrogate
    loss for multilabel classification, TMLR 2022.
    Dembczynski, Jachnik, Kotlowski, Waegeman, Hullermeier, Optimizing the
    F-measure in multi-label classification, ICML 2013 (what is optimal).
  """
  for option, value in (('smoothing', smoothing), ('slope', slope)):
    if not value > 0.0:
      raise ValueError(
        f'soft_f1_macro got {option}={value}; it takes a number above 0.'
      )

  def values(logits, batch, state):
    del state
    p = jax.nn.sigmoid(slope * (logits + offset))
    rate = jnp.ones_like(p)
    if batch.weight is not None:
      rate *= batch.weight[:, None].astype(p.dtype)
    if batch.where is not None:
      rate *= batch.where.astype(p.dtype)
    true = jnp.sum(rate * p * batch.y, axis=0)
    both = jnp.sum(rate * (p + batch.y), axis=0)
    f1 = (2.0 * true + smoothing) / (both + smoothing)
    there = jnp.any(rate > 0, axis=0)
    labels = jnp.maximum(jnp.sum(there), 1)
    lost = jnp.sum(jnp.where(there, 1.0 - f1, 0.0)) / labels.astype(p.dtype)
    return jnp.broadcast_to(lost, logits.shape[:1])

  return of_logits('soft_f1_macro', values)


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
