"""Whether probabilities mean what they say."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.metrics.metric import (
  LabelValues,
  Metric,
  Needs,
  Predictions,
  given,
  known,
  label_mean,
  ratio,
  row_mean,
  row_weight,
)


def nll() -> Metric:
  """Mean negative log-likelihood of the label vector, in nats.

      mean_b -log p(y_b | h_b)

  A proper score of the whole joint. One row of probability 0 makes it
  infinite, and it is reported so. A row with an unknown label has no joint
  probability: it is left out and counted as undefined.

  Returns:
    The metric `nll`, lower is better.
  """

  def values(p: Predictions) -> tuple[Array, Array]:
    return -given(p, 'log_prob'), jnp.all(known(p), axis=-1)

  return row_mean(
    'nll', values, needs='log_prob', direction='lower', undefined='skip'
  )


class Bins(NamedTuple):
  """Sums over rows, by label and bin of the probability.

  Attributes:
    excess: weighted sum of probability minus outcome, [L,bins].
    weight: weight of the rows, [L].
  """

  excess: Float[Array, 'labels bins']
  weight: Float[Array, ' labels']


def _init_bins(bins: int):
  def init(num_examples: int, num_labels: int) -> Bins:
    del num_examples
    return Bins(jnp.zeros((num_labels, bins)), jnp.zeros(num_labels))

  return init


def _add_to_bins(
  sums: Bins,
  probability: Float[Array, 'batch labels'],
  outcome: Float[Array, 'batch labels'],
  weight: Float[Array, 'batch labels'],
) -> Bins:
  """Bins are (0, 1/n], (1/n, 2/n] ...; the first holds 0 as well."""
  bins = sums.excess.shape[-1]
  index = jnp.clip(jnp.ceil(probability * bins) - 1, 0, bins - 1)
  excess = jnp.where(weight > 0, weight * (probability - outcome), 0.0)
  # NaN is in no bin: keep it in sight.
  index = jnp.where(jnp.isnan(index), 0, index)
  inside = index[:, :, None] == jnp.arange(bins)[None, None, :]
  return Bins(
    sums.excess + jnp.sum(jnp.where(inside, excess[:, :, None], 0.0), axis=0),
    sums.weight + jnp.sum(weight, axis=0),
  )


def _calibration_error(sums: Bins) -> LabelValues:
  """sum_bins |sum (p - y)| / n, the same as by the means of each bin."""
  present = sums.weight > 0
  weight = jnp.where(present, sums.weight, 1.0)
  error = jnp.sum(jnp.abs(sums.excess), axis=-1) / weight
  return LabelValues(error, present, present)


def ece_label(*, bins: int = 15) -> Metric:
  """Mean over labels of the expected calibration error of the marginals.

      ECE_j = sum_bins n_bin / n |mean of P(y_j = 1 | h) - share of y_j = 1|

  over bins of equal width of the marginal of label j.

  Args:
    bins: how many; the value depends on it.

  Returns:
    The metric `ece_label`, lower is better, 0 to 1; `per_label` gives that of
    each label. It is undefined for no label that is known for a row.

  Raises:
    ValueError: bins is below 1.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, equation 3.
  """
  _check_bins('ece_label', bins)

  def update(sums: Bins, p: Predictions) -> Bins:
    weight = jnp.where(known(p), row_weight(p)[:, None], 0.0)
    return _add_to_bins(sums, given(p, 'scores'), p.y, weight)

  return label_mean(
    'ece_label',
    _init_bins(bins),
    update,
    _calibration_error,
    needs='scores',
    direction='lower',
    undefined='skip',
  )


def ece(*, bins: int = 15) -> Metric:
  """Expected calibration error of the most probable class.

      sum_bins n_bin / n |mean confidence - accuracy|

  over bins of equal width of the confidence, the largest class probability.
  Of classes that share it each is as good as the other: the expectation.

  Args:
    bins: how many; the value depends on it.

  Returns:
    The metric `ece`, lower is better, 0 to 1.

  Raises:
    ValueError: bins is below 1.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, equation 3.
  """
  _check_bins('ece', bins)

  def update(sums: Bins, p: Predictions) -> Bins:
    where = known(p)
    scores = jnp.where(where, given(p, 'scores'), -jnp.inf)
    confidence = jnp.max(scores, axis=-1, keepdims=True)
    first = (scores == confidence) & where
    right = jnp.sum(jnp.where(first, p.y, 0.0), axis=-1, keepdims=True)
    right = right / jnp.maximum(jnp.sum(first, axis=-1, keepdims=True), 1)
    weight = jnp.where(jnp.any(where, axis=-1), row_weight(p), 0.0)
    return _add_to_bins(sums, confidence, right, weight[:, None])

  return _of_one('ece', bins, update, needs='scores')


def ece_set(*, bins: int = 15) -> Metric:
  """Expected calibration error of the decided label set as a whole.

      sum_bins n_bin / n |mean of p(d | h) - share of d = y|

  over bins of equal width of the joint probability of the decision d. Of the
  joint mode it is the calibration error of the joint; of another decision, of
  that decision's probability. A row with an unknown label is left out.

  Args:
    bins: how many; the value depends on it.

  Returns:
    The metric `ece_set`, lower is better, 0 to 1.

  Raises:
    ValueError: bins is below 1.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, equation 3, with label vectors for classes.
  """
  _check_bins('ece_set', bins)

  def update(sums: Bins, p: Predictions) -> Bins:
    right = jnp.all(p.y == given(p, 'decisions'), axis=-1, keepdims=True)
    right = right.astype(p.y.dtype)
    weight = jnp.where(jnp.all(known(p), axis=-1), row_weight(p), 0.0)
    confidence = given(p, 'confidence')[:, None]
    return _add_to_bins(sums, confidence, right, weight[:, None])

  return _of_one('ece_set', bins, update, needs='confidence')


def _of_one(name: str, bins: int, update, *, needs: Needs) -> Metric:
  """The calibration error of one probability a row."""
  init = _init_bins(bins)
  metric = label_mean(
    name,
    lambda num_examples, num_labels: init(num_examples, 1),
    update,
    _calibration_error,
    needs=needs,
    direction='lower',
    undefined='skip',
  )
  return metric._replace(per_label=None)


def brier_label() -> Metric:
  """Mean over labels of the squared distance of marginal and outcome.

      mean_b (P(y_bj = 1 | h_b) - y_bj)^2

  A proper score of the marginals.

  Returns:
    The metric `brier_label`, lower is better, 0 to 1; `per_label` gives that of
    each label. A label that is known for no row is left out.

  References:
    Brier, Verification of forecasts expressed in terms of probability, Monthly
    Weather Review 78, 1950 (there the sum over both outcomes: twice this).
  """

  def init(num_examples: int, num_labels: int) -> tuple[Array, Array]:
    del num_examples
    return jnp.zeros(num_labels), jnp.zeros(num_labels)

  def update(sums: tuple[Array, Array], p: Predictions) -> tuple[Array, Array]:
    weight = jnp.where(known(p), row_weight(p)[:, None], 0.0)
    squared = weight * (given(p, 'scores') - p.y) ** 2
    squared = jnp.where(weight > 0, squared, 0.0)
    return sums[0] + jnp.sum(squared, 0), sums[1] + jnp.sum(weight, 0)

  def values(sums: tuple[Array, Array]) -> LabelValues:
    value, present = ratio(*sums)
    return LabelValues(value, present, present)

  return label_mean(
    'brier_label',
    init,
    update,
    values,
    needs='scores',
    direction='lower',
    undefined='skip',
  )


def _check_bins(name: str, bins: int) -> None:
  if bins < 1:
    raise ValueError(f'metric {name}: bins is {bins}, expected at least 1.')
