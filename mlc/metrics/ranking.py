"""How well scores order the labels of a row.

Equal scores are one block in the ranking: no metric depends on the order in
which the labels stand, unless it is asked to break ties. All need one sort of
the scores.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
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

# What is done with labels of equal score: they share their places, or that
# which comes last in the data set goes first.
Ties = Literal['shared', 'last']


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
    num_true: weight of all true items; no sort is needed to know it.
    num_all: weight of all items.
    gain: what the items of equal score are worth on average; None where no
      gain was given.
  """

  true: Float[Array, '*batch items']
  all: Float[Array, '*batch items']
  true_end: Float[Array, '*batch items']
  all_end: Float[Array, '*batch items']
  true_before: Float[Array, '*batch items']
  all_before: Float[Array, '*batch items']
  num_true: Float[Array, '*batch']
  num_all: Float[Array, '*batch']
  gain: Float[Array, '*batch items'] | None = None


@jax.jit
def ranked(
  scores: Float[Array, '*batch items'],
  y: Float[Array, '*batch items'],
  weight: Float[Array, '*batch items'],
  gain: Float[Array, '*batch items'] | None = None,
) -> Ranked:
  """Sorts by falling score and counts from the top.

  Jitted, so that the metrics that share a sort trace it once; the compiler
  then merges them into one.

  Args:
    scores: any real numbers.
    y: 0.0 or 1.0.
    weight: of each item; one of weight 0 does not count.
    gain: what each item is worth, if that is to be counted too.

  Returns:
    The counts. Items of equal score stay in the order in which they came.
  """
  limits = jnp.finfo(scores.dtype)
  rising = -jnp.clip(scores, limits.min, limits.max)
  rising = jnp.where(weight > 0, rising, jnp.inf)
  counted = [y, jnp.ones_like(y)] + ([] if gain is None else [gain])
  counted = [jnp.where(weight > 0, weight * part, 0.0) for part in counted]
  num_true, num_all = (jnp.sum(part, axis=-1) for part in counted[:2])
  rising, *counted = jax.lax.sort(
    (rising, *counted), dimension=-1, num_keys=1, is_stable=True
  )
  differs = rising[..., 1:] != rising[..., :-1]
  edge = jnp.ones_like(differs, shape=(*differs.shape[:-1], 1))
  first = jnp.concatenate([edge, differs], axis=-1)[None]
  last = jnp.concatenate([differs, edge], axis=-1)[None]
  # Together, so that they are compiled once.
  each = jnp.stack(counted)
  axis = rising.ndim
  sums = jnp.cumsum(each, axis=axis)
  end = jax.lax.cummin(jnp.where(last, sums, jnp.inf), axis=axis, reverse=True)
  above = jnp.concatenate(
    [jnp.zeros_like(sums[..., :1]), sums[..., :-1]], axis=axis
  )
  before = jax.lax.cummax(jnp.where(first, above, 0.0), axis=axis)
  mean = None
  if gain is not None:
    mean, _ = ratio(end[2] - before[2], end[1] - before[1])
  return Ranked(
    true=each[0],
    all=each[1],
    true_end=end[0],
    all_end=end[1],
    true_before=before[0],
    all_before=before[1],
    num_true=num_true,
    num_all=num_all,
    gain=mean,
  )


def broken(r: Ranked) -> Ranked:
  """The ranking with ties broken: of equal scores the first in it wins.

  Of items of equal score each is a block of its own; gains are left out.
  """
  true, every = (jnp.cumsum(part, axis=-1) for part in (r.true, r.all))
  return r._replace(
    true_end=true,
    all_end=every,
    true_before=true - r.true,
    all_before=every - r.all,
    gain=None,
  )


def average_precision(
  r: Ranked,
) -> tuple[Float[Array, '*batch'], Float[Array, '*batch']]:
  """sum over true items of the precision down to their score, and their sum."""
  precision, _ = ratio(r.true_end, r.all_end)
  return jnp.sum(r.true * precision, axis=-1), r.num_true


def hit_rate(r: Ranked) -> Float[Array, '*batch items']:
  """The share of true items among those that may take each place."""
  return ratio(r.true_end - r.true_before, r.all_end - r.all_before)[0]


# Rows: labels ordered by score.


def row_ranked(p: Predictions) -> Ranked:
  """The labels of each row by falling score, unknown ones last.

  Of labels of equal score the last in the data set comes first. A true label
  gains 1 / propensity, where propensities are given.
  """
  scores = given(p, 'scores')
  gain = None
  if p.propensities is not None:
    gain = (p.y / p.propensities[None, :])[:, ::-1]
  weight = known(p).astype(scores.dtype)
  return ranked(scores[:, ::-1], p.y[:, ::-1], weight[:, ::-1], gain)


def row_ranking_metric(name, values, *, direction, undefined, ties='shared'):
  """The mean over rows of (Ranked) -> value [B], whether it is defined [B]."""
  if ties not in ('shared', 'last'):
    raise ValueError(
      f"metric {name}: ties is {ties!r}, expected 'shared' or 'last'."
    )

  def checked(p: Predictions) -> tuple[Array, Array]:
    r = row_ranked(p)
    value, defined = values(broken(r) if ties == 'last' else r)
    return nan_where_any_nan(value, given(p, 'scores'), known(p)), defined

  return row_mean(
    name, checked, needs='scores', direction=direction, undefined=undefined
  )


def lrap(*, undefined: Undefined = 1, ties: Ties = 'shared') -> Metric:
  """Label ranking average precision.

      mean over true j of |{true i: s_i >= s_j}| / |{i: s_i >= s_j}|

  Args:
    undefined: what a row without a true label counts; scikit-learn: 1.
    ties: whether labels of equal score are met together, as in scikit-learn,
      or the last of them first, as in MULAN.

  Returns:
    The metric `lrap`, higher is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 4.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    return ratio(*average_precision(r))

  return row_ranking_metric(
    'lrap', values, direction='higher', undefined=undefined, ties=ties
  )


def coverage_error(
  *,
  undefined: Undefined = 0,
  ties: Ties = 'shared',
  first: Literal[0, 1] = 1,
) -> Metric:
  """How far down the ranking the last true label stands.

      max over true j of |{i: s_i >= s_j}| - 1 + first

  Args:
    undefined: what a row without a true label counts; scikit-learn and MULAN:
      0.
    ties: see `lrap`.
    first: the number of the first place; scikit-learn: 1, MULAN: 0.

  Returns:
    The metric `coverage_error` in labels, lower is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 4.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    depth = jnp.max(jnp.where(r.true > 0, r.all_end, 0.0), axis=-1)
    return depth - 1.0 + first, r.num_true > 0

  return row_ranking_metric(
    'coverage_error',
    values,
    direction='lower',
    undefined=undefined,
    ties=ties,
  )


def ranking_loss(*, undefined: Undefined = 0, ties: Ties = 'shared') -> Metric:
  """The share of (true, false) label pairs that are not ordered right.

      |{(j, i): y_j = 1, y_i = 0, s_j <= s_i}| / (|y| (L - |y|))

  A pair of equal scores is wrong, as in scikit-learn, unless ties are broken.

  Args:
    undefined: what a row counts all of whose labels are true, or all false;
      scikit-learn and MULAN: 0.
    ties: see `lrap`.

  Returns:
    The metric `ranking_loss`, lower is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 3.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    wrong = jnp.sum(r.true * (r.all_end - r.true_end), axis=-1)
    return ratio(wrong, r.num_true * (r.num_all - r.num_true))

  return row_ranking_metric(
    'ranking_loss', values, direction='lower', undefined=undefined, ties=ties
  )


def one_error(*, undefined: Undefined = 1, ties: Ties = 'shared') -> Metric:
  """The share of rows whose label of highest score is not true.

  Of k labels that share the highest score it counts the share that is false:
  the expectation over a random choice. One minus `precision_at_1`.

  Args:
    undefined: what a row without a true label counts; to the letter, and in
      MULAN, 1.
    ties: see `lrap`.

  Returns:
    The metric `one_error`, lower is better.

  References:
    Schapire, Singer, BoosTexter, Machine Learning 39, 2000, section 4.
  """

  def values(r: Ranked) -> tuple[Array, Array]:
    return 1.0 - hit_rate(r)[..., 0], r.num_true > 0

  return row_ranking_metric(
    'one_error', values, direction='lower', undefined=undefined, ties=ties
  )
