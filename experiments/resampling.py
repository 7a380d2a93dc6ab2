"""Resampling in an experiment: what its runs train on, and what is said."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.config import Experiment
from experiments.flags import RESAMPLING, options_for
from mlc.base import Batch, Head, lookup
from mlc.data import resampling
from mlc.data.arrays import to_device
from mlc.data.dataset import Dataset
from mlc.data.resampling import Training
from mlc.data.splits import Split
from mlc.methods import METHODS, RESAMPLERS


def resample(
  experiment: Experiment, dataset: Dataset, splits: Sequence[Split]
) -> Training:
  """What the runs of each split train on.

  Raises:
    ValueError: for an unknown name, or rows that the resampler cannot work
      with.
  """
  name = experiment.data.resampling
  factory = lookup(name, RESAMPLERS, 'resampling')
  resampler = factory(**options_for(factory, RESAMPLING, experiment.options))
  return resampling.resample(dataset, splits, resampler)


def check_made(
  experiment: Experiment, head: Head, dataset: Dataset, training: Training
) -> None:
  """Refuses made rows that have probability 0 whatever the parameters.

  With unknown labels nothing is said: the loss has to refuse those.

  Raises:
    ValueError: some row that was made is one that a likelihood cannot fit.
  """
  loss = experiment.loss or lookup(experiment.method, METHODS, 'method').loss
  made = training.dataset.y[dataset.num_examples :]
  likelihood = loss in ('nll', 'own') and dataset.where is None
  if not likelihood or head.support is None or not len(made):
    return
  impossible = int((~head.support(made.astype(np.float32))).sum())
  if impossible:
    raise ValueError(
      f'resampling {experiment.data.resampling} made {impossible} of '
      f'{len(made)} rows to which head {head.name} gives probability 0 '
      'whatever its parameters (labels without their parents, or siblings that '
      'exclude each other). Choose one that makes no rows, such as '
      '--resampling=ml_ros, or --loss=sigmoid_cross_entropy.'
    )


def on_device(training: Training) -> Batch:
  """The data set with the rows that were made."""
  return to_device(training.dataset, row=training.row)


def of_splits(
  experiment: Experiment, splits: Sequence[Split], training: Training
) -> dict[str, Any]:
  """What results.json says of resampling: nothing where there is none."""
  if experiment.data.resampling == 'none':
    return {}
  return {
    'resampling': [
      {'seed': split.seed, 'fold': split.fold, 'before': before, 'after': after}
      for split, before, after in zip(
        splits, training.before, training.after, strict=True
      )
    ]
  }


def summary(experiment: Experiment, training: Training) -> list[str]:
  """A sentence on what resampling did; none where there is none."""
  name = experiment.data.resampling
  if name == 'none':
    return []
  before, after = _means(training.before), _means(training.after)
  over = f', means over {len(training.rows)} splits' * (len(training.rows) > 1)
  said = [
    f'{what} {_said(before[key], form)} to {_said(after[key], form)}'
    for key, what, form in (
      ('rows', 'training rows', ',.0f'),
      ('mean_imbalance_ratio', 'mean imbalance ratio', '.2f'),
      ('max_imbalance_ratio', 'largest', '.2f'),
      ('scumble', 'SCUMBLE', '.3f'),
    )
  ]
  if training.shares is not None:
    draws = _said(after['rows'], ',.0f')
    said[0] = f'{draws} draws with replacement an epoch, in expectation'
  elif before == after:
    over += '; nothing was rare enough for it to change'
  return [f'resampling {name}: {", ".join(said)}{over}']


def _means(statistics: Sequence[Any]) -> dict[str, float | None]:
  """Means over the splits; None where a number is not defined."""
  names = ('rows', 'mean_imbalance_ratio', 'max_imbalance_ratio', 'scumble')
  found: dict[str, float | None] = {}
  for name in names:
    values = [one[name] for one in statistics if one[name] is not None]
    found[name] = float(np.mean(values)) if values else None
  return found


def _said(value: float | None, form: str) -> str:
  return 'undefined' if value is None else format(value, form)
