"""Calibrators: probabilities mended on validation rows, before any decision."""

from mlc.calibration.isotonic import isotonic
from mlc.calibration.nothing import none
from mlc.calibration.scaling import platt, vector
from mlc.calibration.temperature import temperature

__all__ = ['isotonic', 'none', 'platt', 'temperature', 'vector']
