"""Losses of one label at a time, summed over the known labels."""

import jax
import jax.numpy as jnp

from mlc.base import Loss
from mlc.losses.logits import of_labels
from mlc.numerics import log_bernoulli


def sigmoid_cross_entropy(*, label_smoothing: float = 0.0) -> Loss:
  """Cross-entropy of each known label under its logit, summed, in nats.

      loss_b = -sum_{j known} log sigmoid((2 y_bj - 1) logit_bj)

  Of a head with independent labels it is the likelihood of the known labels.
  The logits of softmax and label powerset are the log-odds of their marginals:
  there it scores the marginals and leaves the joint free. Those of a chain are
  teacher-forced: an unknown label stands as 0 before the labels it links to.

  Args:
    label_smoothing: s in [0, 1): a label counts as y (1 - s) + s / 2, so that
      no logit is worth driving to infinity.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a smoothing outside [0, 1).
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Lindsay, Composite likelihood methods, Contemporary Mathematics 80, 1988.
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the inception
    architecture for computer vision, CVPR 2016, section 7 (smoothing).
  """
  if not 0.0 <= label_smoothing < 1.0:
    raise ValueError(
      f'sigmoid_cross_entropy got label_smoothing={label_smoothing}; it takes '
      'a share in [0, 1).'
    )

  def values(logits, y):
    wrong = 0.5 * label_smoothing
    right = log_bernoulli(logits, y)
    if not wrong:
      return -right
    return -(1.0 - wrong) * right - wrong * log_bernoulli(logits, 1.0 - y)

  return of_labels('sigmoid_cross_entropy', values)


def focal(*, gamma: float = 2.0) -> Loss:
  """Cross-entropy in which a label that is right already counts for little.

      loss_b = -sum_j (1 - q_bj)^gamma log q_bj,  q_bj the probability of y_bj

  With gamma = 0 it is the cross-entropy. It is not a proper score: at its
  minimum the probabilities are pulled towards one half, so that a threshold
  other than 0.5 and a calibration are part of the bargain.

  Args:
    gamma: how fast what is right is forgotten, at least 0.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a negative gamma.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Lin, Goyal, Girshick, He, Dollar, Focal loss for dense object detection,
    ICCV 2017, equation 4 (without the balance alpha).
  """
  _check_gamma('focal', gamma=gamma)

  def values(logits, y):
    right, wrong = log_bernoulli(logits, y), log_bernoulli(logits, 1.0 - y)
    return -jnp.exp(gamma * wrong) * right

  return of_labels('focal', values)


def asymmetric(
  *,
  gamma_positive: float = 0.0,
  gamma_negative: float = 4.0,
  margin: float = 0.05,
) -> Loss:
  """Focal loss that forgets easy negatives faster, and the easiest at once.

      loss_b = -sum_j  y_bj (1 - p_bj)^g+ log p_bj
               + (1 - y_bj) m_bj^g- log(1 - m_bj),   m = max(p - margin, 0)

  The defaults are those of the paper (g+ = 0, g- = 4, margin 0.05); those of
  its published code are g+ = 1, g- = 4, margin 0.05. That code also sums over
  the examples of a batch where others take the mean, which is why its values
  look a hundred times too large; here the sum goes over labels and the mean
  over examples, as for every loss. With 0, 0, 0 it is the cross-entropy.

  Args:
    gamma_positive: g+, at least 0.
    gamma_negative: g-, at least 0.
    margin: a negative label of probability below it has neither loss nor
      gradient; in [0, 1).

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor, Asymmetric
    loss for multi-label classification, ICCV 2021, equations 4 to 7.
  """
  _check_gamma(
    'asymmetric', gamma_positive=gamma_positive, gamma_negative=gamma_negative
  )
  if not 0.0 <= margin < 1.0:
    raise ValueError(
      f'asymmetric got margin={margin}; it takes a probability in [0, 1).'
    )

  def values(logits, y):
    log_p, log_not_p = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    positive = jnp.exp(gamma_positive * log_not_p) * log_p
    log_m, log_not_m = log_p, log_not_p
    if margin:
      # Twice `where`: the branch not taken must not send NaN backwards.
      counts = jnp.exp(log_p) > margin
      m = jnp.where(counts, jnp.exp(log_p) - margin, 0.5)
      log_m = jnp.where(counts, jnp.log(m), 0.0)
      log_not_m = jnp.where(counts, jnp.log1p(-m), 0.0)
    negative = jnp.exp(gamma_negative * log_m) * log_not_m
    return -y * positive - (1.0 - y) * negative

  return of_labels('asymmetric', values)


def _check_gamma(name, **gammas):
  for option, value in gammas.items():
    if not value >= 0.0:
      raise ValueError(f'{name} got {option}={value}; it takes a number >= 0.')
