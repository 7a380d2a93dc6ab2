"""Thresholds that errors pay for."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlc.base import Decoder, Head
from mlc.decoding import cuts as cut
from mlc.decoding.cuts import Cuts
from mlc.decoding.marginals import by_threshold, of_marginals
from mlc.decoding.sample import Sample
from mlc.decoding.stability import with_intervals

Costs = tuple[float, ...]


class CostMatrix(NamedTuple):
  """What each outcome costs, each a number or one a label [L].

  A gain is a negative cost.
  """

  false_positive: Float[np.ndarray, ' labels']
  false_negative: Float[np.ndarray, ' labels']
  true_positive: Float[np.ndarray, ' labels']
  true_negative: Float[np.ndarray, ' labels']

  @property
  def threshold(self) -> Float[np.ndarray, ' labels']:
    """Where calling a row positive and calling it negative cost the same."""
    for_calling = self.false_positive - self.true_negative
    for_passing = self.false_negative - self.true_positive
    return for_calling / (for_calling + for_passing)


def cost(
  false_positive: Costs = (1.0,),
  *,
  false_negative: Costs = (1.0,),
  true_positive: Costs = (0.0,),
  true_negative: Costs = (0.0,),
) -> Decoder:
  """The decision of least expected cost, if the marginals are right.

      d_j = 1 iff P(y_j = 1 | h) > (fp - tn) / (fp - tn + fn - tp)

  Each cost is a number for all labels, or one a label in the order of the
  data, separated by commas.

  Args:
    false_positive: cost of predicting a label that is absent.
    false_negative: cost of missing a label that is there.
    true_positive: cost of predicting a label that is there.
    true_negative: cost of not predicting a label that is absent.

  Returns:
    The decoder, named `cost`. It needs `marginals`; nothing is fitted.

  Raises:
    ValueError: an error costs no more than being right, or (at a head) there
      are neither one cost nor as many as labels.

  References:
    Elkan, The foundations of cost-sensitive learning, IJCAI 2001, equation 2.
  """
  matrix = _matrix(
    'cost', false_positive, false_negative, true_positive, true_negative
  )
  threshold = matrix.threshold.astype(np.float32)
  return of_marginals(
    'cost',
    lambda p, state: p > jnp.asarray(threshold)[None, :],
    check=lambda head: _check_count('cost', matrix, head),
    gain=lambda p, state: p - jnp.asarray(threshold)[None, :],
  )


def tuned_cost(
  false_positive: Costs = (1.0,),
  *,
  false_negative: Costs = (1.0,),
  true_positive: Costs = (0.0,),
  true_negative: Costs = (0.0,),
  min_positives: int = 1,
  bootstrap: int = 0,
) -> Decoder:
  """Each label its own threshold, of least cost on the validation data.

      t_j = argmin_t  fp FP_j(t) + fn FN_j(t) + tp TP_j(t) + tn TN_j(t)

  Unlike `cost` it does not ask whether the marginals are right.

  Args:
    false_positive: as for `cost`.
    false_negative: as for `cost`.
    true_positive: as for `cost`.
    true_negative: as for `cost`.
    min_positives: a label with fewer positives in the validation data takes
      the threshold of `cost`.
    bootstrap: as for `tuned_f`.

  Returns:
    The decoder, named `tuned_cost`. It needs `marginals`; its state is
    {'threshold': [L], 'expected': [L]}, the latter true where it took the
    threshold of `cost`; see `tuned_f` for the bootstrap.

  Raises:
    ValueError: as for `cost`, or min_positives is below 1.
  """
  matrix = _matrix(
    'tuned_cost', false_positive, false_negative, true_positive, true_negative
  )
  if min_positives < 1:
    raise ValueError(
      f'tuned_cost: min_positives is {min_positives}, expected at least 1.'
    )

  def thresholds(sample: Sample) -> dict[str, Array]:
    own = cut.best_cut(sample.cuts, cost_value(sample.cuts, matrix))
    rare = sample.num_positives < min_positives
    expected = jnp.asarray(matrix.threshold, own.dtype)
    return {'threshold': jnp.where(rare, expected, own), 'expected': rare}

  return by_threshold(
    'tuned_cost',
    with_intervals('tuned_cost', thresholds, bootstrap),
    check=lambda head: _check_count('tuned_cost', matrix, head),
  )


def cost_value(cuts: Cuts, costs: CostMatrix) -> Float[Array, 'labels cuts']:
  """Minus what a cut costs, up to a constant of each label.

  Of the rows above it: those that are positive save fn - tp each, the others
  cost fp - tn.
  """
  saved, paid = (
    jnp.asarray(part, cuts.predicted.dtype)[:, None]
    for part in (
      costs.false_negative - costs.true_positive,
      costs.false_positive - costs.true_negative,
    )
  )
  false_positives = cuts.predicted - cuts.true_positives
  return saved * cuts.true_positives - paid * false_positives


def _matrix(name: str, *given: Sequence[float]) -> CostMatrix:
  costs = CostMatrix(*(np.asarray(part, np.float64).ravel() for part in given))
  counts = {len(part) for part in costs} - {1}
  if len(counts) > 1 or not all(map(len, costs)):
    said = ', '.join(
      f'{len(part)} of {what}'
      for what, part in zip(CostMatrix._fields, costs, strict=True)
    )
    raise ValueError(
      f'{name}: costs are {said}; give one for all labels, or one a label.'
    )
  right = np.isfinite(np.concatenate(costs)).all()
  right &= bool((costs.false_positive > costs.true_negative).all())
  right &= bool((costs.false_negative > costs.true_positive).all())
  if not right:
    said = ', '.join(
      f'{what}={",".join(f"{cost:g}" for cost in part)}'
      for what, part in zip(CostMatrix._fields, costs, strict=True)
    )
    raise ValueError(
      f'{name}: costs are {said}; expected a false positive to cost more than '
      'a true negative and a false negative more than a true positive: else '
      'one answer is always best, whatever the probability.'
    )
  return costs


def _check_count(name: str, costs: CostMatrix, head: Head) -> None:
  (count,) = {len(part) for part in costs} - {1} or {1}
  if count not in (1, head.num_labels):
    raise ValueError(
      f'{name}: there are {count} costs for {head.num_labels} labels; give one '
      'for all, or one a label in the order of the data.'
    )
