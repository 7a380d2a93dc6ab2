"""How well the label set of each row is met."""

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

  def values(p: Predictions) -> tuple[Array, Array]:
    both, true, predicted = _sizes(p)
    return ratio(both, true + predicted - both)

  return row_mean(
    'jaccard_example',
    values,
    needs='decisions',
    direction='higher',
    undefined=undefined,
  )


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

  def values(p: Predictions) -> tuple[Array, Array]:
    both, true, predicted = _sizes(p)
    return ratio(2 * both, true + predicted)

  return row_mean(
    'f1_example',
    values,
    needs='decisions',
    direction='higher',
    undefined=undefined,
  )


def recall_example(*, undefined: Undefined = 1) -> Metric:
  """Mean over rows of the share of true labels that are predicted.

      |y and d| / |y|

  1 minus it is the false-negative rate that `fnr_control` controls.

  Args:
    undefined: what a row counts without a true label.

  Returns:
    The metric `recall_example`, higher is better.
  """

  def values(p: Predictions) -> tuple[Array, Array]:
    both, true, _ = _sizes(p)
    return ratio(both, true)

  return row_mean(
    'recall_example',
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
