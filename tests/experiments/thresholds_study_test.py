"""Study thresholds: what is said of rules whose gains are known."""

import numpy as np
import pytest

from experiments.findings import FINDINGS
from mlc.report.records import Record

FOUND = FINDINGS['thresholds']
LABELS, ROWS, SEEDS = 6, 60, 3


def record(dataset='d', *, without=()):
  """Truths that a threshold of 0.3 tells exactly, and 0.5 does not."""
  rng = np.random.default_rng(0)
  arrays = {
    'label_names': np.array([f'y{j}' for j in range(LABELS)]),
    'seed': np.arange(SEEDS),
    'fold': np.full(SEEDS, -1),
    'train_positives': np.tile(10 * np.arange(1, LABELS + 1), (SEEDS, 1)),
  }
  for before in ('', 'validation_'):
    p = rng.random((SEEDS, ROWS, LABELS))
    arrays[f'{before}marginals'] = p
    arrays[f'{before}y'] = (p > 0.3).astype(np.uint8)
    arrays[f'{before}row'] = np.tile(np.arange(ROWS), (SEEDS, 1))
  p = arrays['marginals']
  arrays |= {
    'decision_hamming': (p > 0.5).astype(np.uint8),
    'decision_tuned_f1': (p > 0.3).astype(np.uint8),
    'threshold_tuned_f1': np.full((SEEDS, LABELS), 0.3),
    'threshold_low_tuned_f1': np.full((SEEDS, LABELS), 0.2),
    'threshold_high_tuned_f1': np.full((SEEDS, LABELS), 0.6),
    # A promise for all labels but one, that every row keeps.
    'decision_target_precision_0.9': (p > 0.3).astype(np.uint8),
    'threshold_target_precision_0.9': np.full((SEEDS, LABELS), 0.3),
    'never_target_precision_0.9': np.tile(np.arange(LABELS) == 2, (SEEDS, 1)),
  }
  made = Record(
    'thresholds',
    'run',
    dataset,
    'binary_relevance',
    settings={'split': 'holdout', 'decoders': ['hamming', 'tuned_f']},
  )
  made.__dict__['predictions'] = {
    key: value for key, value in arrays.items() if key not in without
  }
  return made


def f1(y, d):
  """Mean over seeds and labels, in points."""
  hits = (y * d).sum(1)
  return 100 * (2 * hits / (y.sum(1) + d.sum(1))).mean()


def test_the_sentences_say_what_was_gained_and_kept():
  made = record()
  arrays = made.predictions
  y = arrays['y']
  gain = 100.0 - f1(y, arrays['decision_hamming'])
  gained, overfit, stable = FOUND.conclusion([made])
  assert gained.startswith('Over the threshold 0.5 macro F1 gains most on d')
  assert f'by tuned_f1 (+{gain:.1f} points' in gained
  # All of the gain is there on new rows too.
  assert 'on d by 0.0 points of F1 at most, with tuned_f1' in overfit
  p, y = (arrays[f'validation_{key}'] for key in ('marginals', 'y'))
  of_half = f1(y, p > 0.5) - 100.0 + gain
  assert overfit.endswith(f'has \N{MINUS SIGN}{abs(of_half):.1f}.')
  assert of_half < 0
  assert 'span a median of 0.40 on the head and 0.40 on the tail' in stable
  assert (
    f'a precision of 0.9 can be promised for {SEEDS * (LABELS - 1)} of '
    f'{SEEDS * LABELS} labels and seeds, 0 of which fall below it' in stable
  )


def test_a_broken_promise_is_counted():
  made = record()
  wrong = made.predictions['decision_target_precision_0.9']
  wrong[1, :, 4] = 1
  # Of the label that nothing was promised for it does not count.
  wrong[1, :, 2] = 1
  assert ', 1 of which fall below it' in FOUND.conclusion([made])[2]


def test_two_figures_a_data_set():
  figures = FOUND.figures([record(), record('e')])
  titles = [title for title, _, _ in figures]
  assert titles == [
    'What each rule chose on d',
    'Gain and overfit of each rule on d',
    'What each rule chose on e',
    'Gain and overfit of each rule on e',
  ]
  base = f1(record().predictions['y'], record().predictions['decision_hamming'])
  assert f'a macro F1 of {base:.1f} on test rows' in figures[1][2]


@pytest.mark.parametrize(
  'made',
  [
    Record('thresholds', 'f', 'd', 'm', status='failed'),
    record(without=('decision_hamming',)),
  ],
)
def test_what_was_not_decided_at_one_half_is_left_out(made):
  assert FOUND.conclusion([made]) == []
  assert FOUND.figures([made]) == []
