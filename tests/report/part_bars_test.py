"""Bars stand on each other, hang below zero, and are marked at their sum."""

import numpy as np

from mlc.report.part_bars import part_bars


def test_parts_are_stacked_and_their_sum_is_marked():
  bars = {
    'one': {'model': 2.0, 'threshold': 1.0, 'decoding': -0.5},
    'two': {'model': 1.0, 'threshold': -2.0, 'decoding': 0.25},
  }
  figure = part_bars([('loss', bars)], y='points')
  (axis,) = figure.axes
  spans = {
    (round(patch.get_x() + patch.get_width() / 2), patch.get_height()): (
      patch.get_y()
    )
    for patch in axis.patches
  }
  assert spans[0, 2.0] == 0.0
  assert spans[0, 1.0] == 2.0
  assert spans[0, -0.5] == 0.0
  assert spans[1, -2.0] == 0.0
  assert spans[1, 0.25] == 1.0
  marked = [line[0][1] for line in axis.collections[0].get_segments()]
  np.testing.assert_allclose(marked, [2.5, -0.75])
  assert axis.get_title() == 'loss'
