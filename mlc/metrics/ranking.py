"""How well scores order the labels of a row.

Equal scores are one block in the ranking: no metric here depends on the order
in which the labels stand. All need one sort of the scores.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlc.metrics.metric import (
  Metric,
  Predictions,
  Undefined,
  given,
  known,
  nan_where_any_nan,
  ratio,
  row_mean,
)


class Ranked(NamedTuple):
  """Items of the last axis by falling score, in weighted counts.

  Items that do not count stand last and weigh 0.

  Attributes:
    true: weight of the item if it is true, else 0.
    all: weight of the item.
    true_end: weight of the true items down to the last of equal score.
    all_end: weight of the items down to the last of equal score.
    true_before: weight of the true items above the first of equal score.
    all_before: weight of the items above the first of equal score.
  """

  true: Float[Array, '*batch items']
  all: Float[Array, '*batch items']
  true_end: Float[Array, '*batch items']
  all_end: Float[Array, '*batch items']
  true_before: Float[Array, '*batch items']
  all_before: Float[Array, '*batch items']


@jax.jit
def ranked(
  scores: Float[Array, '*batch items'],
  y: Float[Array, '*batch items'],
  weight: Float[Array, '*batch items'],
) -> Ranked:
  """Sorts by falling score and counts from the top.

  Jitted, so that the metrics that share a sort trace it once; the compiler
  then merges them into one.

  Args:
    scores: any real numbers.
    y: 0.0 or 1.0.
    weight: of each item; one of weight 0 does not count.

  Returns:
    The counts.
  """
  limits = jnp.finfo(scores.dtype)
  rising = -jnp.clip(scores, limits.min, limits.max)
  rising = jnp.where(weight > 0, rising, jnp.inf)
  true = jnp.where(weight > 0, weight * y, 0.0)
  rising, true, weight = jax.lax.sort(
    (rising, true, weight), dimension=-1, num_keys=1
  )
  differs = rising[..., 1:] != rising[..., :-1]
  edge = jnp.ones_like(differs, shape=(*differs.shape[:-1], 1))
  first = jnp.concatenate([edge, differs], axis=-1)
  last = jnp.concatenate([differs, edge], axis=-1)
  axis = rising.ndim - 1

  def at_end(count):
    count = jnp.where(last, count, jnp.inf)
    return jax.lax.cummin(count, axis=axis, reverse=True)

  def before(count):
    zero = jnp.zeros_like(count[..., :1])
    above = jnp.concatenate([zero, count[..., :-1]], axis=-1)
    return jax.lax.cummax(jnp.where(first, above, 0.0), axis=axis)

  trues, alls = jnp.cumsum(true, axis=-1), jnp.cumsum(weight, axis=-1)
  return Ranked(
    true, weight, at_end(trues), at_end(alls), before(trues), before(alls)
  )


def average_precision(
  r: Ranked,
) -> tuple[Float[Array, '*batch'], Float[Array, '*batch']]:
  """sum over true items of the precision down to their score, and their sum."""
  precision, _ = ratio(r.true_end, r.all_end)
  return jnp.sum(r.true * precision, axis=-1), jnp.sum(r.true, axis=-1)


# Rows: labels ordered by score.


def _row_ranked(p: Predictions) -> Ranked:
  scores = given(p, 'scores')
  return ranked(scores, p.y, known(p).astype(scores.dtype))


def _ranking_metric(name, values, *, direction, undefined) -> Metric:
  def checked(p: Predictions) -> tuple[Array, Array]:
    value, defined = values(_row_ranked(p))
    return nan_where_any_nan(value, given(p, 'scores'), known(p)), defined

  return row_mean(
    name, checked, needs='scores', direction=direction, undefined=undefined
  )


def lrap(*, undefined: Undefined = 1) -> Metric:
  """Label ranking average precision.

      mean over true j of |{true i: s_i >= s_j}| / |{i: s_i >= s_j}|

  Args:
    undefined: what a row without a true label counts; scikit-learn: 1.

  Returns:
    The metric `lrap`, higher is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 4.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    return ratio(*average_precision(r))

  return _ranking_metric(
    'lrap', values, direction='higher', undefined=undefined
  )


def coverage_error(*, undefined: Undefined = 0) -> Metric:
  """How far down the ranking the last true label stands, counted from 1.

      max over true j of |{i: s_i >= s_j}|

  As in scikit-learn; MULAN counts from 0, which is one less for every row with
  a true label.

  Args:
    undefined: what a row without a true label counts; scikit-learn: 0.

  Returns:
    The metric `coverage_error` in labels, lower is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 4.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    depth = jnp.max(jnp.where(r.true > 0, r.all_end, 0.0), axis=-1)
    return depth, depth > 0

  return _ranking_metric(
    'coverage_error', values, direction='lower', undefined=undefined
  )


def ranking_loss(*, undefined: Undefined = 0) -> Metric:
  """The share of (true, false) label pairs that are not ordered right.

      |{(j, i): y_j = 1, y_i = 0, s_j <= s_i}| / (|y| (L - |y|))

  A pair of equal scores is wrong, as in scikit-learn.

  Args:
    undefined: what a row counts all of whose labels are true, or all false;
      scikit-learn: 0.

  Returns:
    The metric `ranking_loss`, lower is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 3.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    true = jnp.sum(r.true, axis=-1)
    false = jnp.sum(r.all, axis=-1) - true
    wrong = jnp.sum(r.true * (r.all_end - r.true_end), axis=-1)
    return ratio(wrong, true * false)

  return _ranking_metric(
    'ranking_loss', values, direction='lower', undefined=undefined
  )


def one_error(*, undefined: Undefined = 1) -> Metric:
  """The share of rows whose label of highest score is not true.

  Of k labels that share the highest score it counts the share that is false:
  the expectation over a random choice. One minus `precision_at_1`.

  Args:
    undefined: what a row without a true label counts; to the letter, 1.

  Returns:
    The metric `one_error`, lower is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 4.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    return 1.0 - _gain(r)[..., 0], jnp.sum(r.true, axis=-1) > 0

  return _ranking_metric(
    'one_error', values, direction='lower', undefined=undefined
  )


def precision_at_k(k: int, *, undefined: Undefined = 0) -> Metric:
  """The share of true labels among the k of highest score.

  Where a tie is cut at k, the expectation over its orders. A row with fewer
  than k known labels is measured on all of them.

  Args:
    k: at least 1.
    undefined: what a row without a true label counts; to the letter, 0.

  Returns:
    The metric `precision_at_<k>`, higher is better.
  """
  _check_k('precision_at_k', k)

  def values(r: Ranked) -> tuple[Array, Array]:
    hits = jnp.sum(_gain(r)[..., :k], axis=-1)
    places = jnp.minimum(jnp.sum(r.all, axis=-1), k)
    return ratio(hits, places)[0], jnp.sum(r.true, axis=-1) > 0

  return _ranking_metric(
    f'precision_at_{k}', values, direction='higher', undefined=undefined
  )


def ndcg_at_k(k: int, *, undefined: Undefined = 0) -> Metric:
  """Normalised discounted cumulative gain of the k labels of highest score.

      sum_{r <= k} y_(r) / log2(r + 1) / sum_{r <= min(k, |y|)} 1 / log2(r + 1)

  Tied labels share their places: the expectation over their orders.

  Args:
    k: at least 1.
    undefined: what a row without a true label counts; scikit-learn: 0.

  Returns:
    The metric `ndcg_at_<k>`, higher is better.

  References:
    Jarvelin, Kekalainen, Cumulated gain-based evaluation of IR techniques,
    TOIS 20, 2002. Ties: McSherry, Najork, ECIR 2008, section 2.3.
  """
  _check_k('ndcg_at_k', k)

  def values(r: Ranked) -> tuple[Array, Array]:
    places = min(k, r.true.shape[-1])
    discounts = 1.0 / np.log2(np.arange(places) + 2.0)
    sums = np.concatenate([[0.0], np.cumsum(discounts)])
    discount = jnp.asarray(discounts, r.true.dtype)
    ideal = jnp.asarray(sums, r.true.dtype)
    true = jnp.sum(r.true, axis=-1)
    best = ideal[jnp.minimum(true, places).astype(int)]
    return ratio(_gain(r)[..., :places] @ discount, best)

  return _ranking_metric(
    f'ndcg_at_{k}', values, direction='higher', undefined=undefined
  )


def expected_hits(p: Predictions, k: int) -> Float[Array, ' batch']:
  """Expected number of true labels among the k of highest score."""
  hits = jnp.sum(_gain(_row_ranked(p))[..., :k], axis=-1)
  return nan_where_any_nan(hits, given(p, 'scores'), known(p))


def _gain(r: Ranked) -> Float[Array, '*batch items']:
  """The share of true labels among those that may take each place."""
  return ratio(r.true_end - r.true_before, r.all_end - r.all_before)[0]


def _check_k(name: str, k: int) -> None:
  if k < 1:
    raise ValueError(f'metric {name}: k is {k}, expected at least 1.')
