"""How well scores order the rows of a label.

A ranking needs all rows at once, hence a buffer instead of sums. Equal scores
are one block in it.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlc.metrics.metric import (
  LabelValues,
  Metric,
  Predictions,
  Undefined,
  given,
  known,
  label_mean,
  nan_where_any_nan,
  ratio,
  row_weight,
)
from mlc.metrics.ranking import Ranked, average_precision, broken, ranked


class Buffer(NamedTuple):
  """All rows so far.

  Attributes:
    scores: [N,L].
    code: 1 true, 0 false, -1 unknown or not yet there, [N,L].
    weight: [N].
    num_rows: how many rows have been written; beyond N the value is NaN.
  """

  scores: Float[Array, 'rows labels']
  code: Int[Array, 'rows labels']
  weight: Float[Array, ' rows']
  num_rows: Int[Array, '']


def init_buffer(num_examples: int, num_labels: int) -> Buffer:
  """Room for `num_examples` rows."""
  shape = num_examples, num_labels
  return Buffer(
    jnp.zeros(shape),
    jnp.full(shape, -1, jnp.int8),
    jnp.zeros(num_examples),
    jnp.int32(0),
  )


def update_buffer(sums: Buffer, p: Predictions) -> Buffer:
  """Writes a batch behind the rows that are there.

  Raises:
    ValueError: the batch alone has more rows than the buffer.
  """
  room, rows = sums.weight.shape[0], p.y.shape[0]
  if rows > room:
    raise ValueError(
      f'a batch of {rows} rows for metrics with room for {room}: give `init` '
      'the number of all rows to come.'
    )
  code = jnp.where(known(p), p.y, -1.0).astype(jnp.int8)
  start = sums.num_rows

  def write(old, new):
    at = (start,) + (jnp.int32(0),) * (old.ndim - 1)
    return jax.lax.dynamic_update_slice(old, new.astype(old.dtype), at)

  return Buffer(
    write(sums.scores, given(p, 'scores')),
    write(sums.code, code),
    write(sums.weight, row_weight(p)),
    start + rows,
  )


def _label_ranking_metric(name, value_of, undefined) -> Metric:
  """The mean over labels of a value of the label's ranking of rows."""

  def values(sums: Buffer) -> LabelValues:
    code, scores = sums.code.T, sums.scores.T
    weight = jnp.where(code >= 0, sums.weight[None, :], 0.0)
    value, defined = value_of(
      ranked(scores, (code == 1).astype(scores.dtype), weight)
    )
    value = nan_where_any_nan(value, scores, weight > 0)
    overfull = sums.num_rows > sums.weight.shape[0]
    value = jnp.where(overfull, jnp.nan, value)
    return LabelValues(value, defined, jnp.any(weight > 0, axis=-1))

  return label_mean(
    name,
    init_buffer,
    update_buffer,
    values,
    needs='scores',
    direction='higher',
    undefined=undefined,
  )


def mean_average_precision(
  *, undefined: Undefined = 0, ties: Literal['shared', 'first'] = 'shared'
) -> Metric:
  """Mean over labels of the average precision of the label's ranking of rows.

      AP_j = sum over true rows b of |{true a: s_a >= s_b}| / |{a: s_a >= s_b}|
             / number of true rows

  The step function under the precision-recall curve, without interpolation.

  Args:
    undefined: what a label counts that no row has; scikit-learn: 0.
    ties: whether rows of equal score are met together, as in scikit-learn, or
      the first of them first, as in MULAN.

  Returns:
    The metric `map`, higher is better; `per_label` gives the AP of each label.
    It holds all scores: 5 bytes a (row, label) pair.

  Raises:
    ValueError: the rule for ties is unknown.
  """
  if ties not in ('shared', 'first'):
    raise ValueError(
      f"metric map: ties is {ties!r}, expected 'shared' or 'first'."
    )

  def value(r: Ranked) -> tuple[Array, Array]:
    return ratio(*average_precision(broken(r) if ties == 'first' else r))

  return _label_ranking_metric('map', value, undefined)


def auc_macro(*, undefined: Undefined = 'skip') -> Metric:
  """Mean over labels of the area under the ROC curve.

      AUC_j = P(s_a > s_b) + P(s_a = s_b) / 2,  a true row, b a false row

  Args:
    undefined: what a label counts that all rows have, or none.

  Returns:
    The metric `auc_macro`, higher is better; `per_label` gives the AUC of each
    label. It holds all scores: 5 bytes a (row, label) pair.

  References:
    Hanley, McNeil, The meaning and use of the area under a receiver operating
    characteristic (ROC) curve, Radiology 143, 1982.
  """

  def value(r: Ranked) -> tuple[Array, Array]:
    pairs = r.num_true * (r.num_all - r.num_true)
    # False rows above a true one, those of equal score by half.
    at_or_above = r.all_end - r.true_end
    above = r.all_before - r.true_before
    wrong = jnp.sum(r.true * 0.5 * (at_or_above + above), axis=-1)
    share, defined = ratio(wrong, pairs)
    return 1.0 - share, defined

  return _label_ranking_metric('auc_macro', value, undefined)
