"""Metrics: jitted, masked, streaming; policies for undefined cases stated."""

from mlc.metrics.conventions import (
  CONVENTIONS,
  direction,
  multiclass,
  multilabel,
)
from mlc.metrics.metric import (
  Direction,
  Measured,
  Metric,
  Predictions,
  Undefined,
  compute,
  evaluate,
  given,
  init,
  measure,
  num_undefined,
  per_label,
  update,
)
from mlc.metrics.propensity import propensities

__all__ = [
  'CONVENTIONS',
  'Direction',
  'Measured',
  'Metric',
  'Predictions',
  'Undefined',
  'compute',
  'direction',
  'evaluate',
  'given',
  'init',
  'measure',
  'multiclass',
  'multilabel',
  'num_undefined',
  'per_label',
  'propensities',
  'update',
]
