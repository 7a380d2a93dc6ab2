"""Losses that order the labels of an example: those on before those off."""

import jax
import jax.numpy as jnp

from mlc.base import Loss
from mlc.losses.logits import log_sum_exp, of_sets


def pairwise_logistic() -> Loss:
  """The share of label pairs in the wrong order, made smooth.

      loss_b = mean_{u on, v off} log(1 + exp(logit_v - logit_u))

  Of labels independent given h it is a surrogate of the ranking loss. Logits
  are only compared with each other: a threshold of 0.5 means nothing for them.

  Returns:
    A loss; 0 for an example whose known labels are all on or all off. Time and
    memory are those of the L^2 pairs.

  Raises:
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Burges et al., Learning to rank using gradient descent, ICML 2005.
    Zhang, Zhou, Multilabel neural networks with applications to functional
    genomics and text categorization, TKDE 18, 2006 (with exp).
  """

  def values(logits, on, off):
    pair = on[..., :, None] & off[..., None, :]
    wrong = jax.nn.softplus(logits[..., None, :] - logits[..., :, None])
    total = jnp.sum(jnp.where(pair, wrong, 0.0), axis=(-2, -1))
    count = jnp.sum(on, axis=-1) * jnp.sum(off, axis=-1)
    return total / jnp.maximum(count, 1)

  return of_sets('pairwise_logistic', values)


def lsep() -> Loss:
  """Log-sum-exp pairwise: one soft maximum over all pairs.

      loss_b = log(1 + sum_{u on, v off} exp(logit_v - logit_u))

  The sum over pairs is a product of two sums, so the cost is L and not L^2.

  Returns:
    A loss; 0 for an example whose known labels are all on or all off.

  Raises:
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Li, Song, Luo, Improving pairwise ranking for multi-label image
    classification, CVPR 2017.
  """

  def values(logits, on, off):
    both = jnp.any(on, axis=-1) & jnp.any(off, axis=-1)
    gap = log_sum_exp(logits, off) + log_sum_exp(-logits, on)
    return jnp.where(both, jax.nn.softplus(jnp.where(both, gap, 0.0)), 0.0)

  return of_sets('lsep', values)


def zlpr() -> Loss:
  """Zero-bounded log-sum-exp pairwise ranking: zero is the calibrated label.

      loss_b = log(1 + sum_{u on} exp(-logit_u))
               + log(1 + sum_{v off} exp(logit_v))

  Labels that are on are pushed above zero and the others below, the worst of
  each first. Unlike `lsep` it has a threshold (logit 0, probability 0.5), and
  rows with no or all labels teach it something.

  Returns:
    A loss; of an example without any known label it is 0.

  Raises:
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Su et al., ZLPR: a novel loss for multi-label classification, arXiv
    2208.02955, 2022.
  """

  def values(logits, on, off):
    return jax.nn.softplus(log_sum_exp(-logits, on)) + jax.nn.softplus(
      log_sum_exp(logits, off)
    )

  return of_sets('zlpr', values)
