"""Counts of right and wrong decisions for each label, and what they give."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.metrics.metric import (
  LabelValues,
  Metric,
  Predictions,
  Undefined,
  check_undefined,
  given,
  known,
  label_mean,
  ratio,
  row_weight,
  substitute,
)


class Confusion(NamedTuple):
  """Weighted counts of (row, label) pairs, by label."""

  true_positive: Float[Array, ' labels']
  false_positive: Float[Array, ' labels']
  false_negative: Float[Array, ' labels']
  true_negative: Float[Array, ' labels']


def init_confusion(num_examples: int, num_labels: int) -> Confusion:
  """No pairs."""
  del num_examples
  return Confusion(*[jnp.zeros(num_labels)] * 4)


def update_confusion(sums: Confusion, p: Predictions) -> Confusion:
  """Adds the known labels of a batch."""
  weight = jnp.where(known(p), row_weight(p)[:, None], 0.0)

  def count(pairs):
    return jnp.sum(jnp.where(weight > 0, weight * pairs, 0.0), axis=0)

  y, d = p.y, given(p, 'decisions')
  return Confusion(
    sums.true_positive + count(y * d),
    sums.false_positive + count((1 - y) * d),
    sums.false_negative + count(y * (1 - d)),
    sums.true_negative + count((1 - y) * (1 - d)),
  )


# A measure of counts: what stands above and below its fraction.
Fraction = Callable[[Confusion], tuple[Array, Array]]


def _precision(c: Confusion) -> tuple[Array, Array]:
  return c.true_positive, c.true_positive + c.false_positive


def _recall(c: Confusion) -> tuple[Array, Array]:
  return c.true_positive, c.true_positive + c.false_negative


def _f1(c: Confusion) -> tuple[Array, Array]:
  both = 2 * c.true_positive
  return both, both + c.false_positive + c.false_negative


def _value(c: Confusion, fraction: Fraction) -> tuple[Array, Array]:
  """The measure and whether it is defined; where not, what is vacuous."""
  value, defined = ratio(*fraction(c))
  some = c.true_positive + c.false_positive + c.false_negative > 0
  return jnp.where(defined | some, value, 1.0), defined


def _wrong(c: Confusion) -> tuple[Array, Array]:
  wrong = c.false_positive + c.false_negative
  return wrong, wrong + c.true_positive + c.true_negative


def _pooled(
  name: str, fraction: Fraction, *, direction, undefined: Undefined
) -> Metric:
  """A measure of the counts of all labels together."""
  check_undefined(name, undefined)

  def value(sums: Confusion) -> tuple[Array, Array]:
    return _value(Confusion(*[jnp.sum(count) for count in sums]), fraction)

  def compute(sums: Confusion) -> Array:
    result, defined = value(sums)
    if undefined != 'vacuous':
      policy = substitute('nan' if undefined == 'skip' else undefined)
      result = jnp.where(defined, result, policy)
    # Without a single pair there is nothing to measure.
    nothing = jnp.sum(jnp.stack(sums)) == 0
    return jnp.where(nothing, jnp.nan, result)

  def count(sums: Confusion) -> Array:
    return 1 - value(sums)[1].astype(int)

  return Metric(
    name,
    'decisions',
    direction,
    undefined,
    init_confusion,
    update_confusion,
    compute,
    count,
  )


def _by_label(name: str, fraction: Fraction, undefined: Undefined) -> Metric:
  """The mean over labels of a measure of each label's counts."""

  def values(sums: Confusion) -> LabelValues:
    value, defined = _value(sums, fraction)
    return LabelValues(value, defined, jnp.sum(jnp.stack(sums), axis=0) > 0)

  return label_mean(
    name,
    init_confusion,
    update_confusion,
    values,
    needs='decisions',
    direction='higher',
    undefined=undefined,
  )


def hamming_loss() -> Metric:
  """The share of wrong decisions among all known (row, label) pairs.

      (fp + fn) / (tp + fp + fn + tn)

  Returns:
    The metric `hamming_loss`, lower is better. It is undefined only when no
    label is known.
  """
  return _pooled('hamming_loss', _wrong, direction='lower', undefined='skip')


def precision_micro(*, undefined: Undefined = 0) -> Metric:
  """Precision of all (row, label) pairs: sum tp / sum (tp + fp).

  Args:
    undefined: the value when no label is predicted for any row; `skip`: NaN.

  Returns:
    The metric `precision_micro`, higher is better.
  """
  return _pooled(
    'precision_micro', _precision, direction='higher', undefined=undefined
  )


def recall_micro(*, undefined: Undefined = 0) -> Metric:
  """Recall of all (row, label) pairs: sum tp / sum (tp + fn).

  Args:
    undefined: the value when no row has a label; `skip`: NaN.

  Returns:
    The metric `recall_micro`, higher is better.
  """
  return _pooled(
    'recall_micro', _recall, direction='higher', undefined=undefined
  )


def f1_micro(*, undefined: Undefined = 0) -> Metric:
  """F1 of all (row, label) pairs: 2 sum tp / sum (2 tp + fp + fn).

  Args:
    undefined: the value when no label is true or predicted; `skip`: NaN.

  Returns:
    The metric `f1_micro`, higher is better.
  """
  return _pooled('f1_micro', _f1, direction='higher', undefined=undefined)


def precision_macro(*, undefined: Undefined = 0) -> Metric:
  """Mean over labels of tp / (tp + fp).

  Args:
    undefined: what a label counts that is never predicted. Which labels these
      are depends on the method, so that with `skip` two methods are averaged
      over different labels.

  Returns:
    The metric `precision_macro`, higher is better.
  """
  return _by_label('precision_macro', _precision, undefined)


def recall_macro(*, undefined: Undefined = 0) -> Metric:
  """Mean over labels of tp / (tp + fn).

  Args:
    undefined: what a label counts that no row has.

  Returns:
    The metric `recall_macro`, higher is better.
  """
  return _by_label('recall_macro', _recall, undefined)


def f1_macro(*, undefined: Undefined = 0) -> Metric:
  """Mean over labels of 2 tp / (2 tp + fp + fn).

  The mean of F1, not the F1 of mean precision and mean recall.

  Args:
    undefined: what a label counts that no row has and that is never predicted.
      With 0 such a label lowers every method alike, whatever it predicts; with
      1 it rewards those that leave it alone.

  Returns:
    The metric `f1_macro`, higher is better.

  References:
    Opitz, Burst, Macro F1 and macro F1, arXiv 1911.03347, 2019: the two
    formulas differ by up to 0.5.
  """
  return _by_label('f1_macro', _f1, undefined)
