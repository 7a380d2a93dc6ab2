"""What is kept of a calibrated run: the head before, and what was fitted."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from mlc import evaluation, metrics
from mlc.base import Params


def uncalibrated(
  kinds: Mapping[str, metrics.Metric],
  before: evaluation.Decided,
  measure: Callable[..., metrics.Measured],
) -> dict[str, dict[str, jax.Array]]:
  """Decoder -> `uncalibrated_METRIC` -> number of each run."""
  asked = {n: m for n, m in kinds.items() if n in evaluation.PROBABILISTIC}
  return {
    decoder: {
      f'{evaluation.UNCALIBRATED}{name}': value
      for name, value in of.values.items()
    }
    for decoder, of in evaluation.measured(asked, before, measure).items()
  }


def arrays_of_calibration(
  before: evaluation.Decided, params: Params
) -> dict[str, np.ndarray]:
  """By the names that predictions.npz has for them.

  `uncalibrated_marginals` and `uncalibrated_confidence_<decoder>` are those of
  the head before, `calibration_<name>` what the calibrator has fitted.
  """
  prefix = evaluation.UNCALIBRATED
  return {
    f'{prefix}marginals': np.asarray(before.seen.scores),
    **{
      f'{prefix}confidence_{name}': np.asarray(value)
      for name, value in before.confidence.items()
    },
    **{
      f'calibration_{name}': np.asarray(value)
      for name, value in params['head']['calibration'].items()
    },
  }
