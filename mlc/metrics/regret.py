"""What a decision costs when the true distribution is known.

Exact, from the table log p(y) of all 2^L label vectors: no sample of labels is
drawn. Regret is the distance to the best that any decision could expect.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution
from mlc.metrics.metric import Direction


class Criterion(NamedTuple):
  """A metric whose expectation and optimum are known.

  Attributes:
    name: of the metric.
    direction: whether a higher or a lower value is better.
    expected: (log_joint [..., 2^L], decisions [..., L]) -> [...], the expected
      value of the metric for a row.
    bayes: (log_joint) -> [..., L], a decision of best expected value.
  """

  name: str
  direction: Direction
  expected: Callable[[Array, Array], Array]
  bayes: Callable[[Array], Array]


class Regret(NamedTuple):
  """For each row.

  Attributes:
    expected: the expected value of the metric for the decision.
    optimal: the best expected value that a decision can have.
    regret: the distance between the two, at least 0.
  """

  expected: Float[Array, '*batch']
  optimal: Float[Array, '*batch']
  regret: Float[Array, '*batch']


def regret(
  criterion: Criterion,
  log_joint: Float[Array, '*batch vectors'],
  decisions: Float[Array, '*batch labels'],
) -> Regret:
  """How far decisions are from the Bayes decision under the true joint.

  Args:
    criterion: the metric.
    log_joint: the true log p(y), in the order of `distribution.label_vectors`.
    decisions: 0.0 or 1.0.

  Returns:
    Expected and optimal value in the unit of the metric, and regret >= 0: a
    difference below 0 can only be rounding and is cut.

  Raises:
    ValueError: the table is not one of as many labels as are decided.
  """
  num_labels = decisions.shape[-1]
  if log_joint.shape[-1] != 2**num_labels:
    raise ValueError(
      f'regret: decisions on {num_labels} labels go with tables of '
      f'{2**num_labels} label vectors, not {log_joint.shape[-1]}.'
    )
  expected = criterion.expected(log_joint, decisions)
  optimal = criterion.expected(log_joint, criterion.bayes(log_joint))
  sign = 1.0 if criterion.direction == 'higher' else -1.0
  return Regret(
    expected, optimal, jnp.maximum(sign * (optimal - expected), 0.0)
  )


def criteria() -> dict[str, Criterion]:
  """Hamming loss, subset accuracy and F1 by example, by name."""
  made = hamming_loss(), subset_accuracy(), f_example()
  return {criterion.name: criterion for criterion in made}


def hamming_loss() -> Criterion:
  """mean_j P(y_j != d_j); best: every label on whose marginal exceeds 0.5."""

  def expected(log_joint: Array, decisions: Array) -> Array:
    p = distribution.table_marginals(log_joint)
    return jnp.mean(jnp.where(decisions > 0, 1.0 - p, p), axis=-1)

  def bayes(log_joint: Array) -> Array:
    p = distribution.table_marginals(log_joint)
    return (p > 0.5).astype(p.dtype)

  return Criterion('hamming_loss', 'lower', expected, bayes)


def subset_accuracy() -> Criterion:
  """P(y = d); best: the mode."""

  def expected(log_joint: Array, decisions: Array) -> Array:
    codes = distribution.code(decisions)[..., None]
    return jnp.exp(jnp.take_along_axis(log_joint, codes, axis=-1)[..., 0])

  return Criterion(
    'subset_accuracy', 'higher', expected, distribution.table_mode
  )


def f_example(beta: float = 1.0) -> Criterion:
  """sum_y p(y) F(y, d), F(0, 0) = 1; best: the GFM algorithm.

      F(y, d) = (1 + b^2) |y and d| / (b^2 |y| + |d|)

  Args:
    beta: b, the weight of recall beside precision.

  Returns:
    The criterion, named `f<beta>_example`.
  """

  def expected(log_joint: Array, decisions: Array) -> Array:
    vectors = distribution.label_vectors(decisions.shape[-1])
    both = decisions @ vectors.T
    true = jnp.expand_dims(jnp.sum(vectors, axis=-1), range(both.ndim - 1))
    decided = jnp.sum(decisions, axis=-1, keepdims=True)
    below = beta**2 * true + decided
    value = (1.0 + beta**2) * both / jnp.where(below > 0, below, 1.0)
    value = jnp.where(below > 0, value, 1.0)
    return jnp.sum(jnp.exp(log_joint) * value, axis=-1)

  def bayes(log_joint: Array) -> Array:
    marginals = distribution.table_cardinality_marginals(log_joint)
    p_empty = jnp.exp(log_joint[..., 0])
    return distribution.expected_f_decision(marginals, p_empty, beta)[0]

  return Criterion(f'f{beta:g}_example', 'higher', expected, bayes)


def nll(
  log_joint: Float[Array, '*batch vectors'],
  model_log_joint: Float[Array, '*batch vectors'],
) -> Regret:
  """What a model of the joint costs in nats.

      expected - sum_y p(y) log q(y),  optimal - sum_y p(y) log p(y)

  Args:
    log_joint: the true log p(y).
    model_log_joint: log q(y) of the model.

  Returns:
    Cross entropy, entropy, and their difference: the Kullback-Leibler
    divergence of the model from the truth, infinite where the model rules out
    what may happen.
  """
  p = jnp.exp(log_joint)

  def cross(log_q: Array) -> Array:
    # 0 log 0 = 0.
    return jnp.sum(jnp.where(p > 0, -p * log_q, 0.0), axis=-1)

  expected, optimal = cross(model_log_joint), cross(log_joint)
  return Regret(expected, optimal, jnp.maximum(expected - optimal, 0.0))
