"""Reliability curves, the parts of the Brier score, and before and after."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from mlc.report import calibration, reliability

ROWS, LABELS, SEEDS = 400, 3, 2


def predictions(rng):
  """Two seeds on the same test rows, a filled-up row, unknown labels."""
  row = np.tile(np.arange(ROWS), (SEEDS, 1))
  row[1, -1] = -1
  p = rng.random((SEEDS, ROWS, LABELS))
  y = (rng.random((SEEDS, ROWS, LABELS)) < p**2).astype(np.uint8)
  confidence = rng.random((SEEDS, ROWS))
  decision = np.where(rng.random(y.shape) < 0.2, 1 - y, y)
  return {
    'row': row,
    'y': y,
    'where': rng.random(y.shape) < 0.8,
    'marginals': p**2,
    'uncalibrated_marginals': p,
    'confidence_subset': confidence,
    'uncalibrated_confidence_subset': confidence**2,
    'decision_subset': decision,
  }


@pytest.fixture
def record(record_of):
  """A run calibrated by temperature, better by it in one measure of two."""
  values = {
    ('test', 'subset', 'ece_label'): [0.02, 0.03, 0.02, 0.03],
    ('test', 'subset', 'uncalibrated_ece_label'): [0.12, 0.14, 0.13, 0.13],
    ('test', 'subset', 'ece_set'): [0.2, 0.3, 0.25, 0.24],
    ('test', 'subset', 'uncalibrated_ece_set'): [0.25, 0.24, 0.2, 0.3],
  }
  made = record_of(
    'chain', values, settings={'split': 'given', 'calibration': 'temperature'}
  )
  made.__dict__['predictions'] = predictions(np.random.default_rng(0))
  return made


def test_the_curve_is_that_of_scikit_learn():
  rng = np.random.default_rng(1)
  p = rng.random(500)
  y = rng.random(500) < p
  found = reliability.curve(p, y, np.arange(500))
  share, mean = calibration_curve(y, p, n_bins=10)
  np.testing.assert_allclose(found.share, share)
  np.testing.assert_allclose(found.mean, mean)
  assert found.portion.sum() == pytest.approx(1.0)
  assert (found.low < found.share).all()
  assert (found.share < found.high).all()


def test_seeds_that_saw_the_same_rows_do_not_narrow_an_interval():
  rng = np.random.default_rng(1)
  p, case = rng.random(500), np.arange(500)
  y = rng.random(500) < p
  once = reliability.curve(p, y, case)
  twice = reliability.curve(np.tile(p, 2), np.tile(y, 2), np.tile(case, 2))
  for one, other in zip(once, twice, strict=True):
    np.testing.assert_allclose(one, other)


def test_a_share_of_few_rows_is_not_drawn():
  found = reliability.curve(np.full(9, 0.5), np.ones(9), np.arange(9))
  assert not len(found.share)


def test_the_brier_score_is_the_sum_of_its_parts():
  """Exactly, where all probabilities of a bin are the same."""
  rng = np.random.default_rng(2)
  p = rng.integers(0, 10, (300, LABELS)) / 10 + 0.05
  y = (rng.random(p.shape) < 0.7 * p).astype(int)
  known = rng.random(p.shape) < 0.8
  known[:, 2] = False
  found = reliability.Forecasts(p, y, known, np.arange(300), None, None)
  error, parts = reliability.by_label(found)
  expected = [
    brier_score_loss(y[known[:, j], j], p[known[:, j], j]) for j in range(2)
  ]
  assert parts.brier == pytest.approx(np.mean(expected))
  assert parts.brier == pytest.approx(
    parts.reliability - parts.resolution + parts.uncertainty
  )
  share, mean = calibration_curve(
    y[known[:, 0], 0], p[known[:, 0], 0], n_bins=10
  )
  size = np.bincount((10 * p[known[:, 0], 0]).astype(int), minlength=10)
  assert error[0] == pytest.approx(size @ np.abs(share - mean) / size.sum())
  assert np.isnan(error[2])


def test_the_figure_shows_before_and_after(record):
  title, figure, caption = reliability.reliability_figure([record], 'subset')
  assert title == 'Reliability'
  assert len(figure.axes) == 3
  (legend,) = figure.legends
  shown = [text.get_text() for text in legend.get_texts()]
  assert shown == ['chain, before', 'chain, temperature']
  arrays = record.predictions
  here = arrays['row'] >= 0
  right = (arrays['decision_subset'] == arrays['y']).all(axis=-1)[here].mean()
  sure = (arrays['confidence_subset'] ** 2)[here].mean()
  assert f'{100 * sure:.1f} % sure and {100 * right:.1f} % right' in caption
  # Cases of no row, and labels that are unknown, are not among the cases.
  made = reliability.forecasts(record, 'subset')
  assert made.p.shape == (SEEDS * ROWS - 1, LABELS)


def test_runs_that_kept_nothing_have_no_figure(record_of):
  assert reliability.reliability_figure([record_of('chain', {})]) is None


@pytest.mark.slow
def test_the_section_says_what_became_better_and_what_did_not(record):
  page = calibration.section([record])
  rows = [row for row in page.split('<tr>') if 'scope="row"' in row]
  assert len(rows) == 2
  better, unclear = rows
  assert '13.00' in better
  assert '2.50' in better
  assert 'n up' in better
  assert '10.50' in better
  assert '(subset)' in unclear
  assert 'n up' not in unclear
  assert 'n down' not in unclear
  assert '<svg' in page


def test_without_a_calibrated_run_there_is_no_section(record_of):
  assert calibration.section([record_of('chain', {})]) == ''
