"""Losses of classes of which exactly one holds: for softmax.

Classes that are unknown take no part: the others are a softmax of their own.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.base import Loss
from mlc.losses.imbalance import check_beta, check_margin
from mlc.losses.label_counts import Counts, balanced, effective, margins
from mlc.losses.logits import log_sum_exp, of_classes
from mlc.losses.pointwise import check_gamma, check_smoothing


def softmax_cross_entropy(
  *,
  label_smoothing: float = 0.0,
  class_weight: Literal['none', 'balanced'] = 'none',
) -> Loss:
  """Cross-entropy of the true class among the known ones, in nats.

      loss_b = -sum_c w_c t_bc log p_bc,    t = (1 - s) y + s |y| / C

  p is the softmax over the C known classes, and |y| = 1 in multi-class data:
  without smoothing and weights it is the likelihood. On rows with several
  labels (--allow_mismatch) each is a target, the usual mistake: their
  probabilities have to share one sum. A row without any teaches nothing.

  Args:
    label_smoothing: s in [0, 1), spread evenly over the classes.
    class_weight: of each class, by its frequency among the training rows;
      balanced is N / (C n_c), as scikit-learn has it.

  Returns:
    A loss; of an example whose class is unknown it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head of other than one-hot
      vectors.

  References:
    Bridle, Probabilistic interpretation of feedforward classification network
    outputs, Neurocomputing, 1990.
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the inception
    architecture for computer vision, CVPR 2016, section 7 (smoothing).
  """
  check_smoothing('softmax_cross_entropy', label_smoothing)
  weighted = class_weight == 'balanced'

  def values(scores, on, known, counts):
    y = on.astype(scores.dtype)
    target = (1.0 - label_smoothing) * y
    if label_smoothing:
      classes = jnp.maximum(jnp.sum(known, axis=-1, keepdims=True), 1)
      spread = label_smoothing * jnp.sum(y, axis=-1, keepdims=True) / classes
      target += jnp.where(known, spread, 0.0).astype(target.dtype)
    if weighted:
      target *= balanced(counts.on)[None, :].astype(target.dtype)
    return _cross_entropy(scores, target, known)

  return of_classes('softmax_cross_entropy', values, counted=weighted)


def softmax_focal(*, gamma: float = 2.0) -> Loss:
  """Cross-entropy of the true class, less if it is probable already.

      loss_b = -(1 - p_bc)^gamma log p_bc,    c the class of example b

  With gamma = 0 it is the cross-entropy. It is not a proper score.

  Args:
    gamma: how fast what is right is forgotten, at least 0.

  Returns:
    A loss; of an example whose class is unknown it is 0.

  Raises:
    ValueError: for a negative gamma.
    MissingCapabilityError: when applied to a head of other than one-hot
      vectors.

  References:
    Lin, Goyal, Girshick, He, Dollar, Focal loss for dense object detection,
    ICCV 2017, equation 4 (without the balance alpha).
  """
  check_gamma('softmax_focal', gamma=gamma)

  def values(scores, on, known, counts):
    del counts
    target = on.astype(scores.dtype)
    loss = _cross_entropy(scores, target, known)
    return _focus(scores, on, known, gamma) * loss

  return of_classes('softmax_focal', values)


def softmax_class_balanced(*, beta: float = 0.999, gamma: float = 0.0) -> Loss:
  """Weights by the effective number of rows of the true class.

      loss_b = -w_c (1 - p_bc)^gamma log p_bc,
      w_c ~ (1 - beta) / (1 - beta^{n_c}),  with mean 1 over the classes

  n_c is the number of training rows of class c. beta = 0 weighs nothing, beta
  near 1 by inverse frequency.

  Args:
    beta: in [0, 1); of n rows about 1 / (1 - beta) count, the paper tries 0.9
      to 0.9999.
    gamma: focus, as of `softmax_focal`.

  Returns:
    A loss; of an example whose class is unknown it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head of other than one-hot
      vectors.

  References:
    Cui, Jia, Lin, Song, Belongie, Class-balanced loss based on effective number
    of samples, CVPR 2019, section 4.
  """
  check_beta('softmax_class_balanced', beta)
  check_gamma('softmax_class_balanced', gamma=gamma)

  def values(scores, on, known, counts: Counts):
    weight = effective(counts.on, beta)[None, :].astype(scores.dtype)
    loss = _cross_entropy(scores, weight * on, known)
    return _focus(scores, on, known, gamma) * loss

  return of_classes('softmax_class_balanced', values, counted=True)


def softmax_ldam(*, max_margin: float = 0.5, scale: float = 1.0) -> Loss:
  """Cross-entropy that asks the true class for a margin, the larger the rarer.

      loss_b = -log softmax(s (f_b - m_c e_c))_c,
      m_c = max_margin (min_i n_i / n_c)^(1/4)

  f are the scores of the classes and c the true one. With max_margin = 0 and
  s = 1 it is the cross-entropy. See `ldam` on the scale, 30 in the paper, whose
  scores are cosines.

  Args:
    max_margin: of the rarest class, at least 0.
    scale: s, above 0.

  Returns:
    A loss; of an example whose class is unknown it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head of other than one-hot
      vectors.

  References:
    Cao, Wei, Gaidon, Arechiga, Ma, Learning imbalanced datasets with
    label-distribution-aware margin loss, NeurIPS 2019, section 3.
  """
  check_margin('softmax_ldam', max_margin, scale)

  def values(scores, on, known, counts: Counts):
    y = on.astype(scores.dtype)
    m = margins(counts.on, max_margin)[None, :].astype(scores.dtype)
    return _cross_entropy(scale * (scores - m * y), y, known)

  return of_classes('softmax_ldam', values, counted=True)


def softmax_logit_adjusted(*, tau: float = 1.0) -> Loss:
  """Cross-entropy of scores to which the log prior of each class is added.

      loss_b = -log softmax(f_b + tau log pi)_c,    pi_c = n_c / N

  n_c counts the training rows of class c; 0 counts as 1. What is predicted is
  the softmax of f alone: with tau = 1 that of a world in which all classes are
  equally frequent, whose mode minimises the balanced error. With tau = 0 it is
  the cross-entropy. A free bias can be the prior anyway: the minimum is that of
  the cross-entropy with tau log pi subtracted afterwards, and the two differ
  only in where training starts and stops. Probabilities are those of the
  balanced world by design: judge calibration and likelihood accordingly.

  Args:
    tau: how much of the prior is taken out, at least 0.

  Returns:
    A loss; of an example whose class is unknown it is 0.

  Raises:
    ValueError: for a negative tau.
    MissingCapabilityError: when applied to a head of other than one-hot
      vectors.

  References:
    Menon, Jayasumana, Rawat, Jain, Veit, Kumar, Long-tail learning via logit
    adjustment, ICLR 2021, equation 10.
  """
  check_gamma('softmax_logit_adjusted', tau=tau)

  def values(scores, on, known, counts: Counts):
    # The total cancels in the softmax.
    prior = tau * jnp.log(jnp.maximum(counts.on, 1.0))
    adjusted = scores + prior[None, :].astype(scores.dtype)
    return _cross_entropy(adjusted, on.astype(scores.dtype), known)

  return of_classes('softmax_logit_adjusted', values, counted=True)


def _cross_entropy(
  scores: Float[Array, 'batch classes'],
  target: Float[Array, 'batch classes'],
  known: Bool[Array, 'batch classes'],
) -> Float[Array, ' batch']:
  """-sum_c t_c log softmax(scores)_c over the known classes."""
  log_p = scores - log_sum_exp(scores, known)[:, None]
  return -jnp.sum(jnp.where(known, target * log_p, 0.0), axis=-1)


def _focus(
  scores: Float[Array, 'batch classes'],
  on: Bool[Array, 'batch classes'],
  known: Bool[Array, 'batch classes'],
  gamma: float,
) -> Float[Array, ' batch']:
  """(1 - p of the true class)^gamma, from the sum over the other classes."""
  if gamma == 0.0:
    return jnp.ones(len(scores), scores.dtype)
  others = log_sum_exp(scores, known & ~on) - log_sum_exp(scores, known)
  return jnp.exp(gamma * jnp.minimum(others, 0.0))
