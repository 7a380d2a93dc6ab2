"""Losses of single labels that weigh them by how rare they are."""

import jax
import jax.numpy as jnp

from mlc.base import Loss
from mlc.losses.label_counts import Counts, effective, margins
from mlc.losses.logits import of_labels
from mlc.losses.pointwise import check_gamma, focal_values, of_truth
from mlc.numerics import log_bernoulli


def class_balanced(*, beta: float = 0.999, gamma: float = 0.0) -> Loss:
  """Weights by the effective number of rows in which a label is on, and off.

      loss_b = sum_j w_j(y_bj) (1 - q_bj)^gamma (-log q_bj)
      w_j(c) = 2 e_j(c) / (e_j(0) + e_j(1)),
      e_j(c) = (1 - beta) / (1 - beta^{n_j(c)})

  q_bj is the probability of y_bj and n_j(c) the number of training rows in
  which label j is c. The paper has one problem of C classes; L labels are L
  problems of two. beta = 0 weighs nothing and is the (focal) cross-entropy;
  beta near 1 weighs by inverse frequency.

  Args:
    beta: in [0, 1); of n rows about 1 / (1 - beta) count, the paper tries 0.9
      to 0.9999.
    gamma: focus, as of `focal`; the paper tries 0, 0.5, 1 and 2.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Cui, Jia, Lin, Song, Belongie, Class-balanced loss based on effective number
    of samples, CVPR 2019, section 4.
  """
  check_beta('class_balanced', beta)
  check_gamma('class_balanced', gamma=gamma)

  def values(logits, y, counts: Counts):
    weights = effective(counts.both, beta)
    weight = of_truth(weights[:, 0], weights[:, 1], y)
    return weight * focal_values(logits, y, gamma)

  return of_labels('class_balanced', values, counted=True)


def distribution_balanced(
  *,
  alpha: float = 0.1,
  beta: float = 10.0,
  mu: float = 0.3,
  negative_scale: float = 5.0,
  kappa: float = 0.05,
  gamma: float = 0.0,
) -> Loss:
  """Weights for labels that come together, and negatives soon let be.

      loss_b = sum_j r_bj f_bj (y_bj softplus(-z_bj)
                                + (1 - y_bj) softplus(lambda z_bj) / lambda)
      r_bj = alpha + sigmoid(beta (P_j / sum_{i: y_bi = 1} P_i - mu)),
      P_j = 1 / n_j
      z_bj = logit_bj - kappa log(N / n_j - 1)

  Were rows drawn so that labels are equally frequent, row b would be drawn for
  each of its labels; r takes back that a label is then seen more often than
  planned, and of a row without any label it is alpha + 1, its limit. lambda
  makes the gradient of a negative label vanish soon below z = 0. f = 1, or with
  gamma the focus (1 - q)^gamma. With lambda = 1, kappa = 0 and beta = 0 it is
  alpha + 0.5 times the cross-entropy.

  The defaults are the paper's for VOC; for COCO mu is 0.2 and lambda 2. Its
  code adds the focus gamma = 2 and doubles the loss. What is predicted is the
  logit and not z: where the bias is free, all that is left of kappa is that
  the logits of a label end kappa log(N / n - 1) higher.

  Args:
    alpha: least weight, above 0.
    beta: steepness of the weight, at least 0.
    mu: share at which the weight is alpha + 0.5.
    negative_scale: lambda, above 0.
    kappa: part of the class bias that is taken off, at least 0.
    gamma: focus, as of `focal`.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Wu, Huang, Liu, Wang, Lin, Distribution-balanced loss for multi-label
    classification in long-tailed datasets, ECCV 2020, section 3.
  """
  name = 'distribution_balanced'
  check_gamma(name, gamma=gamma, kappa=kappa, beta=beta)
  for option, value in (('alpha', alpha), ('negative_scale', negative_scale)):
    if not value > 0.0:
      raise ValueError(
        f'{name} got {option}={value}; it takes a number above 0.'
      )

  def values(logits, y, counts: Counts):
    on, off = jnp.maximum(counts.on, 1.0), jnp.maximum(counts.off, 1.0)
    planned = (1.0 / on)[None, :].astype(logits.dtype)
    drawn = jnp.sum(y * planned, axis=-1, keepdims=True)
    share = planned / jnp.where(drawn > 0, drawn, 1.0)
    weight = alpha + jnp.where(
      drawn > 0, jax.nn.sigmoid(beta * (share - mu)), 1.0
    )
    shift = kappa * jnp.log(off / on)
    z = logits - shift[None, :].astype(logits.dtype)
    z = jnp.where(y > 0, z, negative_scale * z)
    scale = jnp.where(y > 0, 1.0, 1.0 / negative_scale).astype(logits.dtype)
    return weight * scale * focal_values(z, y, gamma)

  return of_labels(name, values, counted=True)


def ldam(*, max_margin: float = 0.5, scale: float = 1.0) -> Loss:
  """Cross-entropy that asks for a margin, the larger the rarer.

      loss_b = -sum_j log sigmoid(s (y~_bj logit_bj - m_j(y_bj))),
      y~ = 2 y - 1,    m_j(c) = max_margin (min n / n_j(c))^(1/4)

  n_j(c) is the number of training rows in which label j is c, and min n the
  smallest of them. The paper has one problem of C classes; L labels are L
  problems of two. With max_margin = 0 and s = 1 it is the cross-entropy.

  Its scores are cosines times s = 30, so that weights cannot grow to make up
  for a margin; logits here are not bounded and s = 1 keeps them in nats, so
  that it is a penalty of the weights that makes a margin matter. The change of
  the schedule that goes with it in the paper (DRW) is not part of the loss.

  Args:
    max_margin: of the rarest value of a label, at least 0.
    scale: s, above 0.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a value out of its range.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Cao, Wei, Gaidon, Arechiga, Ma, Learning imbalanced datasets with
    label-distribution-aware margin loss, NeurIPS 2019, section 3.
  """
  check_margin('ldam', max_margin, scale)

  def values(logits, y, counts: Counts):
    m = margins(counts.both, max_margin)
    asked = of_truth(m[:, 0], -m[:, 1], y)
    return -log_bernoulli(scale * (logits - asked), y)

  return of_labels('ldam', values, counted=True)


def logit_adjusted(*, tau: float = 1.0) -> Loss:
  """Cross-entropy of logits to which the prior log-odds are added.

      loss_b = -sum_j log sigmoid((2 y_bj - 1) (logit_bj + tau r_j)),
      r_j = log(n1_j / n0_j)

  n1_j and n0_j count the training rows in which label j is on and off; 0 counts
  as 1. The paper's loss for each label as a problem of two classes. With
  tau = 0 it is the cross-entropy.

  What it does: with tau = 1 the logit is that of a world in which label j is on
  in half of the rows, and to decide it at 0.5 is to decide the plain
  probability at the prior n1 / N, which minimises the balanced error. What it
  does not: logit + constant is what a free bias can be anyway. The minimum is
  that of the cross-entropy with another bias, so that rankings within a label,
  and decisions by a tuned threshold, stay as they are but for where training
  starts and stops. Probabilities are too high by design: judge calibration and
  likelihood accordingly.

  Args:
    tau: how much of the prior is taken out, at least 0.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    ValueError: for a negative tau.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Menon, Jayasumana, Rawat, Jain, Veit, Kumar, Long-tail learning via logit
    adjustment, ICLR 2021, equation 10.
  """
  check_gamma('logit_adjusted', tau=tau)

  def values(logits, y, counts: Counts):
    on, off = jnp.maximum(counts.on, 1.0), jnp.maximum(counts.off, 1.0)
    prior = tau * (jnp.log(on) - jnp.log(off))
    return -log_bernoulli(logits + prior[None, :].astype(logits.dtype), y)

  return of_labels('logit_adjusted', values, counted=True)


def check_beta(name: str, beta: float) -> None:
  """Refuses a share that is not below 1."""
  if not 0.0 <= beta < 1.0:
    raise ValueError(f'{name} got beta={beta}; it takes a number in [0, 1).')


def check_margin(name: str, max_margin: float, scale: float) -> None:
  """Refuses a negative margin and a scale that is not above 0."""
  if not max_margin >= 0.0:
    raise ValueError(
      f'{name} got max_margin={max_margin}; it takes a number >= 0.'
    )
  if not scale > 0.0:
    raise ValueError(f'{name} got scale={scale}; it takes a number above 0.')
