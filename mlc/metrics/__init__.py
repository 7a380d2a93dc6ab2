"""Metrics: jitted, masked, streaming; policies for undefined cases stated."""

from mlc.metrics.conventions import (
  CONVENTIONS,
  direction,
  multiclass,
  multilabel,
)
from mlc.metrics.metric import (
  Direction,
  Metric,
  Predictions,
  Undefined,
  compute,
  evaluate,
  init,
  num_undefined,
  per_label,
  update,
)

__all__ = [
  'CONVENTIONS',
  'Direction',
  'Metric',
  'Predictions',
  'Undefined',
  'compute',
  'direction',
  'evaluate',
  'init',
  'multiclass',
  'multilabel',
  'num_undefined',
  'per_label',
  'update',
]
