"""What a decision, or a ranking, costs when the true distribution is known.

Exact, from the table log p(y) of all 2^L label vectors: no sample of labels is
drawn. Regret is the distance to the best that anybody could expect.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc import distribution, expected_f, expected_jaccard
from mlc.metrics.metric import Direction

# The k of precision_at_k.
PLACES = (1, 3)


class Criterion(NamedTuple):
  """A metric whose expectation and optimum are known.

  Attributes:
    name: of the metric.
    takes: what it judges: label vectors, or scores that order the labels.
    direction: whether a higher or a lower value is better.
    expected: (log_joint [..., 2^L], decisions or scores [..., L]) -> [...], the
      expected value of the metric for a row.
    bayes: (log_joint) -> [..., L], decisions or scores of best expected value.
  """

  name: str
  takes: Literal['decisions', 'scores']
  direction: Direction
  expected: Callable[[Array, Array], Array]
  bayes: Callable[[Array], Array]


class Regret(NamedTuple):
  """For each row.

  Attributes:
    expected: the expected value of the metric for the decision or the scores.
    optimal: the best expected value that any can have.
    regret: the distance between the two, at least 0.
  """

  expected: Float[Array, '*batch']
  optimal: Float[Array, '*batch']
  regret: Float[Array, '*batch']


def regret(
  criterion: Criterion,
  log_joint: Float[Array, '*batch vectors'],
  answers: Float[Array, '*batch labels'],
) -> Regret:
  """How far answers are from the Bayes answer under the true joint.

  Args:
    criterion: the metric.
    log_joint: the true log p(y), in the order of `distribution.label_vectors`.
    answers: what the criterion takes: decisions, 0.0 or 1.0, or scores.

  Returns:
    Expected and optimal value in the unit of the metric, and regret >= 0: a
    difference below 0 can only be rounding and is cut.

  Raises:
    ValueError: the table is not one of as many labels as are decided.
  """
  num_labels = answers.shape[-1]
  if log_joint.shape[-1] != 2**num_labels:
    raise ValueError(
      f'regret: {criterion.takes} on {num_labels} labels go with tables of '
      f'{2**num_labels} label vectors, not {log_joint.shape[-1]}.'
    )
  expected = criterion.expected(log_joint, answers)
  optimal = criterion.expected(log_joint, criterion.bayes(log_joint))
  sign = 1.0 if criterion.direction == 'higher' else -1.0
  return Regret(
    expected, optimal, jnp.maximum(sign * (optimal - expected), 0.0)
  )


def criteria() -> dict[str, Criterion]:
  """Of decisions Hamming, subset, F1 and Jaccard, of scores the others."""
  made = (
    hamming_loss(),
    subset_accuracy(),
    f_example(),
    jaccard_example(),
    ranking_loss(),
    *(precision_at_k(k) for k in PLACES),
  )
  return {criterion.name: criterion for criterion in made}


def hamming_loss() -> Criterion:
  """mean_j P(y_j != d_j); best: every label on whose marginal exceeds 0.5."""

  def expected(log_joint: Array, decisions: Array) -> Array:
    p = distribution.table_marginals(log_joint)
    return jnp.mean(jnp.where(decisions > 0, 1.0 - p, p), axis=-1)

  def bayes(log_joint: Array) -> Array:
    p = distribution.table_marginals(log_joint)
    return (p > 0.5).astype(p.dtype)

  return Criterion('hamming_loss', 'decisions', 'lower', expected, bayes)


def subset_accuracy() -> Criterion:
  """P(y = d); best: the mode."""

  def expected(log_joint: Array, decisions: Array) -> Array:
    codes = distribution.code(decisions)[..., None]
    return jnp.exp(jnp.take_along_axis(log_joint, codes, axis=-1)[..., 0])

  return Criterion(
    'subset_accuracy',
    'decisions',
    'higher',
    expected,
    distribution.table_mode,
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
    both, true, decided = _sizes(decisions)
    below = beta**2 * true + decided
    value = (1.0 + beta**2) * both / jnp.where(below > 0, below, 1.0)
    value = jnp.where(below > 0, value, 1.0)
    return jnp.sum(jnp.exp(log_joint) * value, axis=-1)

  def bayes(log_joint: Array) -> Array:
    marginals = distribution.table_cardinality_marginals(log_joint)
    p_empty = jnp.exp(log_joint[..., 0])
    return expected_f.decision(marginals, p_empty, beta)[0]

  name = f'f{beta:g}_example'
  return Criterion(name, 'decisions', 'higher', expected, bayes)


def jaccard_example() -> Criterion:
  """sum_y p(y) |y and d| / |y or d|, 0 / 0 = 1; best: all decisions tried.

  Up to `expected_jaccard.MAX_LABELS` labels.
  """

  def expected(log_joint: Array, decisions: Array) -> Array:
    both, true, decided = _sizes(decisions)
    value = expected_jaccard.jaccard(both, true + decided - both)
    return jnp.sum(jnp.exp(log_joint) * value, axis=-1)

  return Criterion(
    'jaccard_example',
    'decisions',
    'higher',
    expected,
    expected_jaccard.table_decision,
  )


def ranking_loss() -> Criterion:
  """The expected share of (true, false) label pairs not ordered right.

      sum_ji W_ji [s_j <= s_i],  W_ji = sum_y p(y) y_j (1 - y_i) / (|y| (L-|y|))

  A row all of whose labels are true, or all false, counts 0. To put j above i
  instead of below saves W_ji - W_ij = c_j - c_i with

      c_j = sum_y p(y) y_j / (|y| (L - |y|)),

  so that no order is better than that by falling c. Equal scores are wrong
  either way round: of equal c the label with the lowest index stands higher.
  Without the division by |y| (L - |y|) c would be the marginals, which are
  optimal for the number of wrong pairs; for their share only where that is a
  constant, up to 3 labels if no row is empty or full.

  Returns:
    The criterion, of scores; the best ones are the places L-1 .. 0.

  References:
    Dembczynski, Kotlowski, Hullermeier, Consistent multilabel ranking through
    univariate losses, ICML 2012 (there a tie counts one half).
  """

  def weighed(log_joint: Array) -> tuple[Array, Array]:
    """p(y) / (|y| (L - |y|)), and all y."""
    vectors = distribution.label_vectors(distribution.num_labels_of(log_joint))
    true = jnp.sum(vectors, axis=-1)
    pairs = true * (vectors.shape[-1] - true)
    share = jnp.where(pairs > 0, 1.0 / jnp.where(pairs > 0, pairs, 1.0), 0.0)
    share = jnp.expand_dims(share, range(log_joint.ndim - 1))
    return jnp.exp(log_joint) * share, vectors

  def expected(log_joint: Array, scores: Array) -> Array:
    p, vectors = weighed(log_joint)
    pairs = vectors[:, :, None] * (1.0 - vectors[:, None, :])
    weight = jnp.tensordot(p, pairs, axes=1)
    wrong = scores[..., :, None] <= scores[..., None, :]
    return jnp.sum(jnp.where(wrong, weight, 0.0), axis=(-1, -2))

  def bayes(log_joint: Array) -> Array:
    p, vectors = weighed(log_joint)
    order = jnp.argsort(-(p @ vectors), axis=-1)
    place = jnp.argsort(order, axis=-1)
    return (vectors.shape[-1] - 1 - place).astype(p.dtype)

  return Criterion('ranking_loss', 'scores', 'lower', expected, bayes)


def precision_at_k(k: int) -> Criterion:
  """sum of P(y_j = 1) over the k labels of highest score, by their number.

      sum_j P(y_j = 1) P(j among the k) / min(k, L)

  It is linear in the marginals whatever the dependence, so that no order is
  better than that by falling marginals. Of labels of equal score each is as
  likely to be among the k, as in the metric.

  Args:
    k: at least 1.

  Returns:
    The criterion, of scores, named `precision_at_<k>`; the best are the
    marginals.
  """

  def expected(log_joint: Array, scores: Array) -> Array:
    p = distribution.table_marginals(log_joint)
    mine, other = scores[..., :, None], scores[..., None, :]
    above = jnp.sum(other > mine, axis=-1)
    equal = jnp.sum(other == mine, axis=-1)
    chosen = jnp.clip((k - above) / equal, 0.0, 1.0)
    return jnp.sum(p * chosen, axis=-1) / min(k, p.shape[-1])

  return Criterion(
    f'precision_at_{k}',
    'scores',
    'higher',
    expected,
    distribution.table_marginals,
  )


def _sizes(decisions: Array) -> tuple[Array, Array, Array]:
  """|y and d| [..., 2^L], |y| [..., 2^L] and |d| [..., 1] for all y."""
  vectors = distribution.label_vectors(decisions.shape[-1])
  both = decisions @ vectors.T
  true = jnp.expand_dims(jnp.sum(vectors, axis=-1), range(both.ndim - 1))
  return both, true, jnp.sum(decisions, axis=-1, keepdims=True)


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
