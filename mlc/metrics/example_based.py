"""How well the label set of each row is met."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.metrics.metric import (
  Metric,
  Predictions,
  Undefined,
  given,
  known,
  ratio,
  row_mean,
)


def subset_accuracy() -> Metric:
  """The share of rows of which every known label is decided right.

      mean_b [d_b = y_b]

  Returns:
    The metric `subset_accuracy`, higher is better. It is never undefined.
  """
  return _exact_match('subset_accuracy')


def accuracy() -> Metric:
  """The share of rows whose class is decided right: `subset_accuracy`.

  A decision for no class, or for several, is wrong.

  Returns:
    The metric `accuracy`, higher is better. It is never undefined.
  """
  return _exact_match('accuracy')


def jaccard_example(*, undefined: Undefined = 1) -> Metric:
  """Mean over rows of the overlap of true and predicted labels.

      |y and d| / |y or d|

  Args:
    undefined: what a row counts without a true and without a predicted label.

  Returns:
    The metric `jaccard_example`, higher is better.
  """

  def fraction(both: Array, true: Array, predicted: Array):
    return both, true + predicted - both

  return _row_metric('jaccard_example', fraction, undefined)


def precision_example(*, undefined: Undefined = 1) -> Metric:
  """Mean over rows of the share of the predicted labels that are true.

      |y and d| / |d|

  Args:
    undefined: what a row counts without a predicted label; `vacuous`: 1 if it
      has no true label either, 0 if it has.

  Returns:
    The metric `precision_example`, higher is better.
  """

  def fraction(both: Array, true: Array, predicted: Array):
    return both, predicted

  return _row_metric('precision_example', fraction, undefined)


def recall_example(*, undefined: Undefined = 1) -> Metric:
  """Mean over rows of the share of the true labels that are predicted.

      |y and d| / |y|

  1 minus it is the false-negative rate that `fnr_control` controls.

  Args:
    undefined: what a row counts without a true label; `vacuous`: 1 if it has
      no predicted label either, 0 if it has.

  Returns:
    The metric `recall_example`, higher is better.
  """

  def fraction(both: Array, true: Array, predicted: Array):
    return both, true

  return _row_metric('recall_example', fraction, undefined)


def f1_example(*, undefined: Undefined = 1) -> Metric:
  """Mean over rows of the F1 of true and predicted labels.

      2 |y and d| / (|y| + |d|)

  An empty prediction for an empty truth counts 1, unless `undefined` says
  otherwise.

  Args:
    undefined: what a row counts without a true and without a predicted label.

  Returns:
    The metric `f1_example`, higher is better.
  """

  def fraction(both: Array, true: Array, predicted: Array):
    return 2 * both, true + predicted

  return _row_metric('f1_example', fraction, undefined)


def _row_metric(
  name: str, fraction: Callable[..., tuple[Array, Array]], undefined: Undefined
) -> Metric:
  """The mean over rows of a fraction of |y and d|, |y| and |d|."""

  def values(p: Predictions) -> tuple[Array, Array]:
    both, true, predicted = _sizes(p)
    value, defined = ratio(*fraction(both, true, predicted))
    return jnp.where(true + predicted > 0, value, 1.0), defined

  return row_mean(
    name,
    values,
    needs='decisions',
    direction='higher',
    undefined=undefined,
  )


def _exact_match(name: str) -> Metric:
  def values(p: Predictions) -> tuple[Array, Bool[Array, ' batch']]:
    wrong = jnp.any((p.y != given(p, 'decisions')) & known(p), axis=-1)
    return 1.0 - wrong.astype(p.y.dtype), jnp.ones_like(wrong)

  return row_mean(
    name, values, needs='decisions', direction='higher', undefined='skip'
  )


def _sizes(p: Predictions) -> tuple[Float[Array, ' batch'], ...]:
  """|y and d|, |y|, |d| over the known labels of each row."""
  where = known(p)
  y = jnp.where(where, p.y, 0.0)
  d = jnp.where(where, given(p, 'decisions'), 0.0)
  return jnp.sum(y * d, axis=-1), jnp.sum(y, axis=-1), jnp.sum(d, axis=-1)
