"""What a metric is: sums over batches, and one policy for what is undefined.

Three rules hold for every metric.

1. A label that is unknown for a row is treated as if it were not a label of
   that row, and a row of weight 0 as if it were not there.
2. Where a metric is undefined for a row or a label (0 / 0), `undefined` says
   what it counts: 0, 1, nothing (`skip`), or so that there is no value at all
   (`nan`). `vacuous`, of decisions only: 1 where nothing is true and nothing
   predicted, 0 elsewhere. How many there were is reported.
3. When nothing is left to average, or a score is NaN, the value is NaN.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.numerics import masked_sum

Undefined = Literal['skip', 'nan', 'vacuous', 0, 1]
Direction = Literal['higher', 'lower']
# Those that need propensities need scores as well.
Needs = Literal['decisions', 'scores', 'log_prob', 'confidence', 'propensities']


class Predictions(NamedTuple):
  """Truth beside what was predicted, for a batch of rows.

  Attributes:
    y: labels, 0.0 or 1.0, [B,L]; 0 where unknown.
    decisions: the decoder's label vectors, 0.0 or 1.0, [B,L].
    scores: marginal probabilities, [B,L].
    log_prob: log p(y | h) in nats, [B].
    confidence: p(d | h) of the decision d, [B].
    where: True where the label is known, [B,L]; None when every label is.
    weight: weight of each row, 0 for padding, [B]; None when all are 1.
    propensities: of each label, the probability that it is recorded where it
      is true, the same for all rows, [L].
  """

  y: Float[Array, 'batch labels']
  decisions: Float[Array, 'batch labels'] | None = None
  scores: Float[Array, 'batch labels'] | None = None
  log_prob: Float[Array, ' batch'] | None = None
  confidence: Float[Array, ' batch'] | None = None
  where: Bool[Array, 'batch labels'] | None = None
  weight: Float[Array, ' batch'] | None = None
  propensities: Float[Array, ' labels'] | None = None


class Measured(NamedTuple):
  """What metrics found, by name.

  Attributes:
    values: the numbers.
    undefined: for how many rows or labels each metric was undefined.
  """

  values: dict[str, Array]
  undefined: dict[str, Array]


class Metric(NamedTuple):
  """A number made of sums that batches add to.

  Attributes:
    name: as in the results table.
    needs: the field of Predictions that it reads beside the truth.
    direction: whether a higher or a lower value is better.
    undefined: what a row or label for which it is undefined counts.
    init: (num_examples, num_labels) -> sums; of the number of rows only the
      metrics over whole rankings make use.
    update: (sums, Predictions) -> sums.
    compute: (sums) -> scalar.
    num_undefined: (sums) -> number of rows or labels for which it was
      undefined.
    per_label: (sums) -> [L], NaN where undefined; None for metrics that are
      not means over labels.
  """

  name: str
  needs: Needs
  direction: Direction
  undefined: Undefined
  init: Callable[[int, int], Any]
  update: Callable[[Any, Predictions], Any]
  compute: Callable[[Any], Array]
  num_undefined: Callable[[Any], Array]
  per_label: Callable[[Any], Array] | None = None


Metrics = Mapping[str, Metric]


def init(metrics: Metrics, num_examples: int, num_labels: int) -> dict:
  """Sums of all metrics over no rows.

  Args:
    metrics: by name.
    num_examples: the number of rows to come, at most.
    num_labels: L.

  Returns:
    The sums of each metric, by name.
  """
  return {n: m.init(num_examples, num_labels) for n, m in metrics.items()}


def update(metrics: Metrics, sums: dict, predictions: Predictions) -> dict:
  """Adds a batch.

  Args:
    metrics: by name.
    sums: what `init` or `update` returned.
    predictions: the batch.

  Returns:
    The new sums.

  Raises:
    ValueError: a field of the predictions that a metric needs is None.
  """
  for metric in metrics.values():
    given(predictions, metric.needs, metric.name)
  return {n: m.update(sums[n], predictions) for n, m in metrics.items()}


def compute(metrics: Metrics, sums: dict) -> dict[str, Array]:
  """The value of each metric, by name."""
  return {n: m.compute(sums[n]) for n, m in metrics.items()}


def num_undefined(metrics: Metrics, sums: dict) -> dict[str, Array]:
  """For how many rows or labels each metric was undefined, by name."""
  return {n: m.num_undefined(sums[n]) for n, m in metrics.items()}


def per_label(metrics: Metrics, sums: dict) -> dict[str, Array]:
  """The vectors [L] of which the label-based metrics are means, by name."""
  return {n: m.per_label(sums[n]) for n, m in metrics.items() if m.per_label}


def measure(metrics: Metrics, predictions: Predictions) -> Measured:
  """The value of each metric on rows that are all at hand.

  Args:
    metrics: by name.
    predictions: all rows.

  Returns:
    Two scalars for each metric, by name: its value, and the number of rows or
    labels for which it was undefined.

  Raises:
    ValueError: a field of the predictions that a metric needs is None.
  """
  sums = update(metrics, init(metrics, *predictions.y.shape), predictions)
  return Measured(compute(metrics, sums), num_undefined(metrics, sums))


def evaluate(metrics: Metrics, predictions: Predictions) -> dict[str, Array]:
  """The values that `measure` gives, alone."""
  return measure(metrics, predictions).values


# Rows of a batch.


def given(p: Predictions, field: Needs, name: str = 'this metric') -> Array:
  """Returns `p.<field>`, or says which metric lacks what."""
  value = getattr(p, field)
  if value is None:
    raise ValueError(
      f'{name} needs Predictions.{field}, which is None: give {field}, or '
      'leave the metric out.'
    )
  return value


def known(p: Predictions) -> Bool[Array, 'batch labels']:
  """True where a label is known."""
  return jnp.ones(p.y.shape, bool) if p.where is None else p.where


def row_weight(p: Predictions) -> Float[Array, ' batch']:
  """The weight of each row."""
  return jnp.ones(p.y.shape[0], p.y.dtype) if p.weight is None else p.weight


class RowSums(NamedTuple):
  """What a mean over rows is made of."""

  total: Float[Array, '']
  weight: Float[Array, '']
  undefined_weight: Float[Array, '']
  num_undefined: Float[Array, '']


def row_mean(
  name: str,
  values: Callable[[Predictions], tuple[Array, Array]],
  *,
  needs: Needs,
  direction: Direction,
  undefined: Undefined,
) -> Metric:
  """The weighted mean over rows of a value a row.

  Args:
    name: as in the results table.
    values: (Predictions) -> value [B], whether it is defined [B]. Where it is
      not, `vacuous` takes the value as it is.
    needs: the field of Predictions that `values` reads.
    direction: whether a higher or a lower value is better.
    undefined: what a row counts where the value is undefined.

  Returns:
    The metric. Rows without any known label are left out in any case.
  """
  check_undefined(name, undefined, needs)

  def init(num_examples: int, num_labels: int) -> RowSums:
    del num_examples, num_labels
    return RowSums(*[jnp.zeros(())] * 4)

  def update(sums: RowSums, p: Predictions) -> RowSums:
    value, defined = values(p)
    weight = jnp.where(jnp.any(known(p), axis=-1), row_weight(p), 0.0)
    counted = weight > 0
    without = counted & ~defined
    kept = counted if undefined == 'vacuous' else counted & defined
    return RowSums(
      sums.total + masked_sum(weight * value, kept),
      sums.weight + masked_sum(weight, kept),
      sums.undefined_weight + masked_sum(weight, without),
      sums.num_undefined + jnp.sum(without),
    )

  def compute(sums: RowSums) -> Array:
    if undefined in ('skip', 'vacuous'):
      return sums.total / sums.weight
    others = substitute(undefined) * sums.undefined_weight
    others = jnp.where(sums.undefined_weight > 0, others, 0.0)
    return (sums.total + others) / (sums.weight + sums.undefined_weight)

  def count(sums: RowSums) -> Array:
    return sums.num_undefined

  return Metric(name, needs, direction, undefined, init, update, compute, count)


# Labels.


class LabelValues(NamedTuple):
  """A value a label.

  Attributes:
    value: [L]; where it is not defined, what `vacuous` counts.
    defined: whether the value is defined, [L].
    present: whether the label is known for any row, [L]; otherwise it is left
      out in any case.
  """

  value: Float[Array, ' labels']
  defined: Bool[Array, ' labels']
  present: Bool[Array, ' labels']


def label_mean(
  name: str,
  init: Callable[[int, int], Any],
  update: Callable[[Any, Predictions], Any],
  values: Callable[[Any], LabelValues],
  *,
  needs: Needs,
  direction: Direction,
  undefined: Undefined,
) -> Metric:
  """The mean over labels of a value a label, all labels alike.

  Args:
    name: as in the results table.
    init: (num_examples, num_labels) -> sums.
    update: (sums, Predictions) -> sums.
    values: (sums) -> LabelValues.
    needs: the field of Predictions that `update` reads.
    direction: whether a higher or a lower value is better.
    undefined: what a label counts where the value is undefined.

  Returns:
    The metric, with `per_label`.
  """
  check_undefined(name, undefined, needs)

  def compute(sums) -> Array:
    value, defined, present = values(sums)
    counted = defined & present if undefined == 'skip' else present
    if undefined not in ('skip', 'vacuous'):
      value = jnp.where(defined, value, substitute(undefined))
    return masked_sum(value, counted) / jnp.sum(counted)

  def count(sums) -> Array:
    of = values(sums)
    return jnp.sum(of.present & ~of.defined)

  def vector(sums) -> Array:
    of = values(sums)
    return jnp.where(of.defined & of.present, of.value, jnp.nan)

  return Metric(
    name, needs, direction, undefined, init, update, compute, count, vector
  )


def ratio(
  above: Float[Array, '*dims'], below: Float[Array, '*dims']
) -> tuple[Float[Array, '*dims'], Bool[Array, '*dims']]:
  """above / below and whether it is defined; 0 where it is not."""
  defined = below > 0
  return above / jnp.where(defined, below, 1.0), defined


def substitute(undefined: Undefined) -> float:
  """The number of a policy that has one."""
  return jnp.nan if undefined == 'nan' else float(undefined)


def check_undefined(
  name: str, undefined: object, needs: Needs = 'decisions'
) -> None:
  """Raises ValueError for a policy that does not exist, or not for scores."""
  policies = ['skip', 'nan', 0, 1]
  if needs == 'decisions':
    policies.insert(2, 'vacuous')
  if undefined not in policies:
    *some, last = map(repr, policies)
    raise ValueError(
      f'metric {name}: undefined is {undefined!r}, expected '
      f'{", ".join(some)} or {last}.'
    )


def nan_where_any_nan(
  value: Float[Array, '*batch'],
  scores: Float[Array, '*batch labels'],
  counted: Bool[Array, '*batch labels'],
) -> Float[Array, '*batch']:
  """NaN for a row with a NaN score that counts, else its value.

  Sorting puts NaN somewhere and the ranking would look like any other.
  """
  broken = jnp.any(jnp.isnan(scores) & counted, axis=-1)
  return jnp.where(broken, jnp.nan, value)
