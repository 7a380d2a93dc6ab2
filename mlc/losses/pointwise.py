"""Losses of one label at a time, summed over the known labels."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mlc.base import Loss
from mlc.losses.label_counts import Counts, Unknown, balanced
from mlc.losses.logits import of_labels
from mlc.numerics import log_bernoulli

ClassWeight = Literal['none', 'balanced', 'positive']


def sigmoid_cross_entropy(
  *,
  label_smoothing: float = 0.0,
  class_weight: ClassWeight = 'none',
  positive_weight: float = 1.0,
  unknown: Unknown = 'masked',
) -> Loss:
  """Cross-entropy of each known label under its logit, summed, in nats.

      loss_b = -sum_{j known} w_j(1) t_bj log sigmoid(logit_bj)
                              + w_j(0) (1 - t_bj) log sigmoid(-logit_bj)

  with t = y, and both weights 1 unless asked for otherwise: of a head with
  independent labels it is the likelihood of the known labels then. The logits
  of softmax and label powerset are the log-odds of their marginals: there it
  scores the marginals and leaves the joint free. Those of a chain are
  teacher-forced: an unknown label stands as 0 before the labels it links to.

  A positive label that weighs w times a negative one moves the optimal logit up
  by log w and nothing else: where a threshold is tuned, the gain is the
  threshold's.

  Args:
    label_smoothing: s in [0, 1): a label counts as t = y (1 - s) + s / 2, so
      that no logit is worth driving to infinity.
    class_weight: of each label, by its frequency among the training rows.
      balanced: w(1) = N / (2 n1), w(0) = N / (2 n0), as scikit-learn has it,
      so that on and off weigh the same and every label weighs N; positive:
      w(1) = n0 / n1, w(0) = 1, so that rare labels weigh as frequent ones do.
    positive_weight: by which all w(1) are multiplied.
    unknown: what becomes of labels that are unknown: masked, or negative, or
      weak_negative with weight 1 / (L - 1).

  Returns:
    A loss; of an example without any known label it is 0 (masked).

  Raises:
    ValueError: for a smoothing outside [0, 1) or a weight that is not above 0.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Lindsay, Composite likelihood methods, Contemporary Mathematics 80, 1988.
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the inception
    architecture for computer vision, CVPR 2016, section 7 (smoothing).
    King, Zeng, Logistic regression in rare events data, Political Analysis 9,
    2001 (weights).
    Cole, Mac Aodha, Lorieul, Perona, Morris, Jojic, Multi-label learning from
    single positive labels, CVPR 2021 (unknown labels).
  """
  check_smoothing('sigmoid_cross_entropy', label_smoothing)
  if not positive_weight > 0.0:
    raise ValueError(
      f'sigmoid_cross_entropy got positive_weight={positive_weight}; it takes '
      'a number above 0.'
    )
  weighted = class_weight != 'none' or positive_weight != 1.0
  wrong = 0.5 * label_smoothing

  def values(logits, y, counts):
    right = -log_bernoulli(logits, y)
    flipped = -log_bernoulli(logits, 1.0 - y) if wrong else 0.0
    if weighted:
      on = off = jnp.ones(1)
      if class_weight != 'none':
        on, off = _on_and_off(class_weight, counts)
      on *= positive_weight
      right *= of_truth(on, off, y)
      flipped *= of_truth(on, off, 1.0 - y)
    return (1.0 - wrong) * right + wrong * flipped if wrong else right

  return of_labels(
    'sigmoid_cross_entropy',
    values,
    counted=class_weight != 'none',
    unknown=unknown,
  )


def focal(*, gamma: float = 2.0, unknown: Unknown = 'masked') -> Loss:
  """Cross-entropy in which a label that is right already counts for little.

      loss_b = -sum_j (1 - q_bj)^gamma log q_bj,  q_bj the probability of y_bj

  With gamma = 0 it is the cross-entropy. It is not a proper score: at its
  minimum the probabilities are pulled towards one half, so that a threshold
  other than 0.5 and a calibration are part of the bargain. Of softmax it takes
  one class against the rest: `softmax_focal` is that of the classes.

  Args:
    gamma: how fast what is right is forgotten, at least 0.
    unknown: what becomes of labels that are unknown: masked, or negative, or
      weak_negative with weight 1 / (L - 1).

  Returns:
    A loss; of an example without any known label it is 0 (masked).

  Raises:
    ValueError: for a negative gamma.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Lin, Goyal, Girshick, He, Dollar, Focal loss for dense object detection,
    ICCV 2017, equation 4 (without the balance alpha).
  """
  check_gamma('focal', gamma=gamma)

  def values(logits, y, counts):
    del counts
    return focal_values(logits, y, gamma)

  return of_labels('focal', values, unknown=unknown)


def asymmetric(
  *,
  gamma_positive: float = 0.0,
  gamma_negative: float = 4.0,
  margin: float = 0.05,
  reduction: Literal['sum', 'mean'] = 'sum',
  unknown: Unknown = 'masked',
) -> Loss:
  """Focal loss that forgets easy negatives faster, and the easiest at once.

      loss_b = -sum_j  y_bj (1 - p_bj)^g+ log p_bj
               + (1 - y_bj) m_bj^g- log(1 - m_bj),   m = max(p - margin, 0)

  The defaults are those of the paper (g+ = 0, g- = 4, margin 0.05); those of
  its published code are g+ = 1, g- = 4, margin 0.05. With 0, 0, 0 it is the
  cross-entropy.

  Sum or mean: the published code sums over labels and over the examples of a
  batch, other losses take the mean of both. A batch of 128 rows of 80 labels
  with 3 on, all probabilities one half, is worth 508 summed, 3.97 as here
  (labels summed, examples averaged) and 0.0496 as a mean of both: a learning
  rate found for one is 128 or 10,240 times too large or too small for another
  under SGD. Under Adam, which divides by the size of gradients, the factor
  cancels unless gradients are clipped. Under L-BFGS the penalty weighs against
  the loss, and a mean over 80 labels is penalised as if l2 were 80 times
  larger.

  Args:
    gamma_positive: g+, at least 0.
    gamma_negative: g-, at least 0.
    margin: a negative label of probability below it has neither loss nor
      gradient; in [0, 1).
    reduction: sum over the labels of an example, or mean over those that count.
    unknown: what becomes of labels that are unknown: masked, or negative, or
      weak_negative with weight 1 / (L - 1).

  Returns:
    A loss; of an example without any known label it is 0 (masked).

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor, Asymmetric
    loss for multi-label classification, ICCV 2021, equations 4 to 7.
  """
  check_gamma(
    'asymmetric', gamma_positive=gamma_positive, gamma_negative=gamma_negative
  )
  if not 0.0 <= margin < 1.0:
    raise ValueError(
      f'asymmetric got margin={margin}; it takes a probability in [0, 1).'
    )

  def values(logits, y, counts):
    del counts
    log_p, log_not_p = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    positive = jnp.exp(gamma_positive * log_not_p) * log_p
    log_m, log_not_m = log_p, log_not_p
    if margin:
      # Twice `where`: the branch not taken must not send NaN backwards.
      beyond = jnp.exp(log_p) > margin
      m = jnp.where(beyond, jnp.exp(log_p) - margin, 0.5)
      log_m = jnp.where(beyond, jnp.log(m), 0.0)
      log_not_m = jnp.where(beyond, jnp.log1p(-m), 0.0)
    negative = jnp.exp(gamma_negative * log_m) * log_not_m
    return -y * positive - (1.0 - y) * negative

  return of_labels(
    'asymmetric', values, unknown=unknown, mean=reduction == 'mean'
  )


def focal_values(logits: Array, y: Array, gamma: float) -> Array:
  """(1 - q)^gamma times the cross-entropy -log q of each label."""
  right = log_bernoulli(logits, y)
  if gamma == 0.0:
    return -right
  return -jnp.exp(gamma * log_bernoulli(logits, 1.0 - y)) * right


def of_truth(on: Array, off: Array, y: Array) -> Array:
  """The weight of each label [B,L]: `on` [L] where it is on, or else `off`."""
  return (on[None, :] * y + off[None, :] * (1.0 - y)).astype(y.dtype)


def check_gamma(name: str, **gammas: float) -> None:
  """Refuses a negative focus."""
  for option, value in gammas.items():
    if not value >= 0.0:
      raise ValueError(f'{name} got {option}={value}; it takes a number >= 0.')


def check_smoothing(name: str, label_smoothing: float) -> None:
  """Refuses a smoothing that is no share below 1."""
  if not 0.0 <= label_smoothing < 1.0:
    raise ValueError(
      f'{name} got label_smoothing={label_smoothing}; it takes a share in '
      '[0, 1).'
    )


def _on_and_off(
  class_weight: ClassWeight, counts: Counts
) -> tuple[Array, Array]:
  """The weights [L] of a label that is on, and of one that is off."""
  if class_weight == 'balanced':
    weights = balanced(counts.both)
    return weights[:, 0], weights[:, 1]
  both = (counts.on > 0) & (counts.off > 0)
  ratio = counts.off / jnp.where(both, counts.on, 1.0)
  return jnp.where(both, ratio, 1.0), jnp.ones_like(ratio)
