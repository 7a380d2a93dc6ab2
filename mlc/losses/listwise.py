"""Losses of the order of all labels of an example, by rax."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import rax

from mlc.base import Loss
from mlc.losses.logits import of_sets


def listnet() -> Loss:
  """Cross-entropy between the labels that are on and a softmax over all.

      loss_b = -1 / |y_b| sum_{j on} log softmax(logits_b)_j

  Logits are only compared with each other: a threshold of 0.5 means nothing
  for them. It is minimal where the softmax is E[y_j / |y|]: a label that comes
  alone ranks before one that comes in company.

  Returns:
    A loss over the known labels; 0 for an example of which none is on.

  Raises:
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Cao, Qin, Liu, Tsai, Li, Learning to rank: from pairwise approach to
    listwise approach, ICML 2007 (top one, with labels in place of their
    exponentials).
    Jagerman et al., Rax: composable learning-to-rank using JAX, KDD 2022.
  """

  def values(logits, on, off):
    y = on.astype(logits.dtype)
    target = y / jnp.maximum(jnp.sum(y, axis=-1, keepdims=True), 1.0)
    return rax.softmax_loss(logits, target, where=on | off, reduce_fn=None)

  return of_sets('listnet', values)


def approx_ndcg(*, temperature: float = 1.0) -> Loss:
  """One minus the NDCG of ranks that are made smooth.

      loss_b = 1 - DCG(rank~) / max DCG,  DCG(r) = sum_{j on} 1 / log2(1 + r_j)
      rank~_j = 1 + sum_{i != j} sigmoid((logit_i - logit_j) / temperature)

  Logits are only compared with each other: a threshold of 0.5 means nothing
  for them. Time and memory are those of the L^2 pairs.

  Args:
    temperature: above 0; towards 0 it is the metric, whose gradient is 0.

  Returns:
    A loss in [0, 1] over the known labels; 0 for an example of which none is
    on.

  Raises:
    ValueError: for a temperature that is not above 0.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Qin, Liu, Li, A general approximation framework for direct optimization of
    information retrieval measures, Information Retrieval 13, 2010.
    Bruch, Zoghi, Bendersky, Najork, Revisiting approximate metric optimization
    in the age of deep neural networks, SIGIR 2019.
  """
  return _approximate('approx_ndcg', rax.ndcg_metric, temperature)


def approx_mrr(*, temperature: float = 1.0) -> Loss:
  """One minus the reciprocal rank of the first label that is on, made smooth.

      loss_b = 1 - max_{j on} 1 / rank~_j,   rank~ as for `approx_ndcg`

  Only one label of an example is pushed up at a time. Time and memory are those
  of the L^2 pairs.

  Args:
    temperature: above 0; towards 0 it is the metric, whose gradient is 0.

  Returns:
    A loss in [0, 1] over the known labels; 0 for an example of which none is
    on.

  Raises:
    ValueError: for a temperature that is not above 0.
    MissingCapabilityError: when applied to a head without `logits`.

  References:
    Qin, Liu, Li, A general approximation framework for direct optimization of
    information retrieval measures, Information Retrieval 13, 2010.
  """
  return _approximate('approx_mrr', rax.mrr_metric, temperature)


def _approximate(
  name: str, metric: Callable[..., jax.Array], temperature: float
) -> Loss:
  """One minus a metric of rax with its ranks made smooth."""
  if not temperature > 0.0:
    raise ValueError(
      f'{name} got temperature={temperature}; it takes a number above 0.'
    )
  # By hand what rax.approx_t12n does: that asks jax for `jax.util`, which is
  # gone.
  ranks = functools.partial(
    rax.utils.approx_ranks, step_fn=lambda x: jax.nn.sigmoid(x / temperature)
  )

  def values(logits, on, off):
    found = metric(
      logits,
      on.astype(logits.dtype),
      where=on | off,
      rank_fn=ranks,
      reduce_fn=None,
    )
    return jnp.where(jnp.any(on, axis=-1), 1.0 - found, 0.0)

  return of_sets(name, values)
