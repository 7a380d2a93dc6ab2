"""What each rule that chooses thresholds gained, and how much of it is left.

Reads `predictions.npz` of a run that was decided by several rules.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from mlc.decoding.cost import CostMatrix
from mlc.report.label_frequency import by_frequency, label_f1
from mlc.report.records import Record
from mlc.report.statistics import Interval, t_interval

# The rule that all others are held against: the threshold 0.5.
BASELINE = 'hamming'
GAIN, OVERFIT = 'gain over 0.5 on test', 'validation minus test'
ALL = 'all'

# Of decoder `cost`, where the run was not given others.
_COSTS = {
  'false_positive': (1.0,),
  'false_negative': (1.0,),
  'true_positive': (0.0,),
  'true_negative': (0.0,),
}

# (group of labels or ALL, GAIN or OVERFIT) -> mean over seeds, in points.
Measured = Mapping[tuple[str, str], Interval]


def rules_of(record: Record) -> list[str]:
  """The names of the decoders, 0.5 first, others as they were asked for."""
  names = [
    key.removeprefix('decision_')
    for key in record.predictions
    if key.startswith('decision_')
  ]
  asked = list(record.settings.get('decoders') or ())

  def place(name: str) -> int:
    # `tuned_f` is called tuned_f1 where it decided.
    of = [i for i, option in enumerate(asked) if name.startswith(option)]
    return of[0] if of else len(asked)

  others = [name for name in names if name != BASELINE]
  return [BASELINE, *sorted(others, key=place)]


def threshold_of(
  record: Record, rule: str, run: int
) -> Float[np.ndarray, ' labels'] | None:
  """Of each label; None of a rule that is no threshold."""
  arrays = record.predictions
  if f'threshold_{rule}' in arrays:
    return arrays[f'threshold_{rule}'][run]
  num_labels = arrays['y'].shape[-1]
  if rule == BASELINE:
    return np.full(num_labels, 0.5)
  if rule == 'cost':
    costs = CostMatrix(
      *(
        np.asarray(record.settings.get(f'decoder.{outcome}', default), float)
        for outcome, default in _COSTS.items()
      )
    )
    return np.broadcast_to(costs.threshold, (num_labels,))
  return None


def rows_of(record: Record, part: str, run: int) -> dict[str, np.ndarray]:
  """Truth and marginals of the test or validation rows of a run."""
  arrays = record.predictions
  before = '' if part == 'test' else 'validation_'
  if f'{before}marginals' not in arrays:
    return {}
  there = arrays[f'{before}row'][run] >= 0
  return {
    'y': arrays[f'{before}y'][run][there],
    'p': arrays[f'{before}marginals'][run][there],
    'there': there,
  }


def f1_of(
  record: Record, rule: str, part: str, run: int
) -> Float[np.ndarray, ' labels']:
  """F1 of each label, NaN where it is not known."""
  arrays, rows = record.predictions, rows_of(record, part, run)
  unknown = np.full(arrays['y'].shape[-1], math.nan)
  if part == 'test':
    there = rows['there']
    where = arrays['where'][run][there] if 'where' in arrays else None
    return label_f1(rows['y'], arrays[f'decision_{rule}'][run][there], where)
  threshold = threshold_of(record, rule, run)
  # Which labels of the validation rows are known is not kept.
  if not rows or threshold is None or 'where' in arrays:
    return unknown
  return label_f1(rows['y'], rows['p'] > threshold[None, :])


def groups_of(record: Record, run: int) -> dict[str, Int[np.ndarray, ' group']]:
  """The labels of a run by how many training rows have them."""
  arrays = record.predictions
  positives = arrays.get('train_positives')
  if positives is None:
    positives = arrays['y'].sum(axis=1)
  return by_frequency(positives[run])


def mean_points(values: np.ndarray) -> float:
  """Of the labels that have one, in points."""
  there = values[np.isfinite(values)]
  return 100.0 * float(there.mean()) if len(there) else math.nan


def measured_gains(record: Record, rule: str) -> Measured:
  """(group or all labels, gain or overfit) -> mean over runs, in points."""
  found: dict[tuple[str, str], list[float]] = {}
  for run in range(len(record.predictions['y'])):
    test, base, validation = (
      f1_of(record, of, part, run)
      for of, part in (
        (rule, 'test'),
        (BASELINE, 'test'),
        (rule, 'validation'),
      )
    )
    groups = groups_of(record, run)
    for group, labels in {**groups, ALL: np.arange(len(test))}.items():
      for what, difference in (
        (GAIN, test - base),
        (OVERFIT, validation - test),
      ):
        value = mean_points(difference[labels])
        found.setdefault((group, what), []).append(value)
  return {
    key: t_interval(
      [value for value in values if math.isfinite(value)],
      overlap=record.sampling.overlap,
    )
    for key, values in found.items()
  }
