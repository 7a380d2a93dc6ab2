"""Curves of thresholds against scikit-learn, and what rules gained."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve

from mlc.report import threshold_curves
from mlc.report.records import Record, Row
from mlc.report.threshold_curves import Panel, curve_of, point
from mlc.report.threshold_gain import (
  ALL,
  GAIN,
  OVERFIT,
  measured_gains,
  rules_of,
  threshold_of,
)


@pytest.fixture
def rows():
  rng = np.random.default_rng(0)
  p = np.round(rng.random(40), 1).astype(np.float32)  # many ties
  return p, (rng.random(40) < p).astype(np.uint8)


def test_the_curve_is_that_of_scikit_learn(rows):
  p, y = rows
  curve = curve_of(p, y)
  precision, recall, _ = precision_recall_curve(y, p)
  # From no prediction on, where scikit-learn says 1.
  np.testing.assert_allclose(curve.recall, recall[::-1])
  np.testing.assert_allclose(curve.precision[1:], precision[::-1][1:])
  assert np.isnan(curve.precision[0])


def test_a_point_is_what_its_threshold_predicts(rows):
  p, y = rows
  curve = curve_of(p, y)
  for given in (-1.0, 0.0, 0.05, 0.3, 0.31, 0.74, 0.999):
    # As run directories hold them.
    threshold = np.float32(given)
    wanted = f1_score(y, p > threshold, zero_division=0)
    found = point(curve, float(threshold))['f1']
    assert found == pytest.approx(wanted), threshold
  assert point(curve, 1.0)['recall'] == 0.0


def test_a_figure_of_labels_with_and_without_intervals(rows):
  curve = curve_of(*rows)
  nan = float('nan')
  chosen = {'tuned_f1': (0.4, 0.2, 0.6), 'target_recall_0.8': (-1.0, nan, nan)}
  panels = [
    Panel('one', {'test': curve, 'validation': curve}, chosen),
    Panel('other', {'test': curve}, {'tuned_f1': (0.5, 0.5, 0.5)}),
  ]
  figure = threshold_curves.threshold_curves(panels)
  assert [axis.get_title() for axis in figure.axes[:2]] == ['one', 'other']
  named = {text.get_text() for text in figure.legends[0].get_texts()}
  assert {'test', 'validation', 'tuned f1', 'target recall 0.8'} == named


class Decided(Record):
  """A record that has its predictions already."""

  predictions = None


def test_gain_and_overfit_are_differences_of_f1(tmp_path):
  rng = np.random.default_rng(1)
  p = rng.random((2, 50, 3)).astype(np.float32)
  y = (rng.random(p.shape) < p).astype(np.uint8)
  threshold = np.full((2, 3), 0.2, np.float32)
  row = np.tile(np.arange(50), (2, 1))
  # Padding of the second fold, which must not count.
  row[1, -10:] = -1
  record = Decided(
    's',
    'r',
    'd',
    'm',
    rows=(
      Row('hamming', 0, -1, 'test', 'f1_macro', 0.0, '', ''),
      Row('tuned_f1', 0, -1, 'test', 'f1_macro', 0.0, '', ''),
    ),
  )
  arrays = {
    'y': y,
    'marginals': p,
    'row': row,
    'train_positives': np.array([[9, 5, 1]] * 2),
    'validation_row': row,
    'validation_y': y,
    'validation_marginals': 1 - p,
    'threshold_tuned_f1': threshold,
    'decision_hamming': p > 0.5,
    'decision_tuned_f1': p > threshold[:, None],
  }
  object.__setattr__(record, 'predictions', arrays)
  assert rules_of(record) == ['hamming', 'tuned_f1']
  assert (threshold_of(record, 'hamming', 0) == 0.5).all()
  found = measured_gains(record, 'tuned_f1')

  def f1(run, label, p, cut):
    kept = row[run] >= 0
    return 100 * f1_score(y[run, kept, label], p[run, kept, label] > cut)

  for group, labels in {'head': [0], 'tail': [2], ALL: [0, 1, 2]}.items():
    cases = [(run, label) for run in range(2) for label in labels]
    gain = np.mean([f1(*case, p, 0.2) - f1(*case, p, 0.5) for case in cases])
    lost = np.mean(
      [f1(*case, 1 - p, 0.2) - f1(*case, p, 0.2) for case in cases]
    )
    assert found[group, GAIN].mean == pytest.approx(gain)
    assert found[group, OVERFIT].mean == pytest.approx(lost)
