"""Training rows cloned, left out, made up or drawn, so that rare labels count.

A resampler sees the training rows of one split and nothing else.
"""

from mlc.data.resampling.decoupling import remedial
from mlc.data.resampling.interpolation import mlsmote
from mlc.data.resampling.label_first import class_aware, square_root
from mlc.data.resampling.label_sets import lp_ros, lp_rus
from mlc.data.resampling.label_turns import ml_ros, ml_rus
from mlc.data.resampling.resampler import (
  Resampled,
  Resampler,
  Rows,
  Training,
  none,
  resample,
)

__all__ = [
  'Resampled',
  'Resampler',
  'Rows',
  'Training',
  'class_aware',
  'lp_ros',
  'lp_rus',
  'ml_ros',
  'ml_rus',
  'mlsmote',
  'none',
  'remedial',
  'resample',
  'square_root',
]
