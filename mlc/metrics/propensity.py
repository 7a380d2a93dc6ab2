"""The top of a ranking in which rare labels count for more than frequent ones.

Rare labels are the likelier to be missing from the truth, and the likelier to
be worth telling. A true label j counts 1 / p_j, p_j being its propensity: the
probability that it was recorded, as far as its frequency tells.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from mlc.metrics.at_k import check_k, discounts
from mlc.metrics.metric import (
  Metric,
  Predictions,
  given,
  known,
  nan_where_any_nan,
  row_weight,
)
from mlc.metrics.ranking import row_ranked


def propensities(
  counts: Num[np.ndarray, '*runs labels'],
  num_examples: int,
  *,
  a: float = 0.55,
  b: float = 1.5,
) -> Float[np.ndarray, '*runs labels']:
  """The probability that a true label is recorded, from its frequency.

      p_j = 1 / (1 + C (N_j + B)^-A),  C = (log N - 1) (B + 1)^A

  Args:
    counts: N_j, the number of training rows that have label j.
    num_examples: N, the number of training rows; with fewer than e of them
      C is 0.
    a: A; 0.55 where nobody has fitted it, 0.5 on Wikipedia, 0.6 on Amazon.
    b: B; 1.5, 0.4 and 2.6 for the same.

  Returns:
    p_j, in (0, 1].

  Raises:
    ValueError: there is no training row.

  References:
    Jain, Prabhu, Varma, Extreme multi-label loss functions for recommendation,
    tagging, ranking & other missing label applications, KDD 2016, section 4.
  """
  if num_examples < 1:
    raise ValueError(
      f'propensities: num_examples is {num_examples}, expected at least 1: '
      'they are read off the training rows.'
    )
  scale = max(np.log(num_examples) - 1.0, 0.0) * (b + 1.0) ** a
  return 1.0 / (1.0 + scale * (np.asarray(counts, np.float64) + b) ** -a)


class Gains(NamedTuple):
  """Sums over rows.

  Attributes:
    gained: discounted gains of the k labels of highest score.
    possible: the same of the best ranking of each row.
    num_undefined: number of rows without a true label.
  """

  gained: Float[Array, '']
  possible: Float[Array, '']
  num_undefined: Float[Array, '']


def ps_precision_at_k(k: int) -> Metric:
  """Propensity-scored precision of the k labels of highest score.

      sum_b sum_{r <= k} y_(r) / p_(r)  /  the same for the best rankings

  A ratio of sums, which the paper calls normalised: 1 is what a ranking
  reaches that puts the true labels first, the rarest before the others.

  Args:
    k: at least 1.

  Returns:
    The metric `ps_precision_at_<k>`, higher is better. A row without a true
    label adds nothing to either sum: it is left out, and counted.

  References:
    Jain, Prabhu, Varma, KDD 2016, section 3 and table 2.
  """
  return _normalised(f'ps_precision_at_{k}', k, np.ones)


def ps_ndcg_at_k(k: int) -> Metric:
  """Propensity-scored nDCG of the k labels of highest score.

      sum_b sum_{r <= k} y_(r) / (p_(r) log2(r + 1))  /  that of the best

  As `ps_precision_at_k`, with the places discounted. The constant by which the
  paper divides both sums cancels; pyxclib divides each row by that of its own
  min(k, |y|) places first, which weighs rows of few labels more.

  Args:
    k: at least 1; at 1 it is `ps_precision_at_1`.

  Returns:
    The metric `ps_ndcg_at_<k>`, higher is better. A row without a true label
    adds nothing to either sum: it is left out, and counted.

  References:
    Jain, Prabhu, Varma, KDD 2016, section 3 and table 2.
  """
  return _normalised(f'ps_ndcg_at_{k}', k, discounts)


def _normalised(
  name: str, k: int, discount_of: Callable[[int], np.ndarray]
) -> Metric:
  """Discounted gains of the first k places by those of the best ranking."""
  check_k(name, k)

  def init(num_examples: int, num_labels: int) -> Gains:
    del num_examples, num_labels
    return Gains(*[jnp.zeros(())] * 3)

  def update(sums: Gains, p: Predictions) -> Gains:
    scores, where = given(p, 'scores'), known(p)
    worth = jnp.where(where, p.y / given(p, 'propensities')[None, :], 0.0)
    places = min(k, worth.shape[-1])
    discount = jnp.asarray(discount_of(places), worth.dtype)
    gain = row_ranked(p).gain
    assert gain is not None
    gained = nan_where_any_nan(gain[:, :places] @ discount, scores, where)
    possible = jax.lax.top_k(worth, places)[0] @ discount
    counted = row_weight(p) * jnp.any(where, axis=-1)
    counts, some = counted > 0, possible > 0

    def total(values):
      return jnp.sum(jnp.where(counts, counted * values, 0.0))

    return Gains(
      sums.gained + total(gained),
      sums.possible + total(possible),
      sums.num_undefined + jnp.sum(counts & ~some),
    )

  def compute(sums: Gains) -> Array:
    return sums.gained / sums.possible

  return Metric(
    name,
    'propensities',
    'higher',
    'skip',
    init,
    update,
    compute,
    lambda sums: sums.num_undefined,
  )
