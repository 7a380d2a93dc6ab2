"""The study `imbalance` reads what it says off the predictions of its runs."""

import numpy as np
import pytest

from experiments.config import config_of
from experiments.findings import FINDINGS
from experiments.findings.imbalance import FAMILY, condition_of, found_in
from experiments.flags import resolved
from experiments.studies.imbalance import IMBALANCE
from mlc.methods import LOSSES, RESAMPLERS
from mlc.report.records import Record, Row

FOUND = FINDINGS['imbalance']
LABELS, ROWS, SEEDS = 6, 40, 3


def flip(y, rng, share):
  return np.where(rng.random(y.shape) < share, 1 - y, y).astype(np.uint8)


def record(settings, errors, *, decoders=('hamming', 'tuned_f1'), dataset='d'):
  """A run whose decisions are wrong at the given share of places."""
  rng = np.random.default_rng(0)
  share = np.linspace(0.6, 0.15, LABELS)
  y = (rng.random((SEEDS, ROWS, LABELS)) < share).astype(np.uint8)
  row = np.tile(np.arange(ROWS), (SEEDS, 1))
  row[1, -3:] = -1
  rows = [
    Row(decoder, seed, -1, 'validation', 'f1_macro', 1.0 - errors, '', '')
    for decoder in decoders
    for seed in range(SEEDS)
  ]
  made = Record(
    'imbalance',
    'run',
    dataset,
    'binary_relevance',
    settings={**settings, 'split': 'holdout'},
    rows=tuple(rows),
  )
  made.__dict__['predictions'] = {
    'seed': np.arange(SEEDS),
    'fold': np.full(SEEDS, -1),
    'row': row,
    'y': y,
    'train_positives': np.tile(100 * share, (SEEDS, 1)),
    **{
      f'decision_{name}': flip(y, rng, errors / (1 + i))
      for i, name in enumerate(decoders)
    },
  }
  return made


PLAIN = {'loss': 'nll'}
RECORDS = [
  record(PLAIN, 0.3),
  record({'loss': 'focal'}, 0.25),
  record({'loss': 'asymmetric'}, 0.1),
  record({**PLAIN, 'resampling': 'mlsmote'}, 0.2),
]


def test_every_condition_is_known_and_is_one_of_its_own():
  made = [
    resolved(e) for e in IMBALANCE.conditions('yeast', 'binary_relevance')
  ]
  names = []
  for experiment in made:
    assert experiment.loss in LOSSES
    assert experiment.data.resampling in RESAMPLERS
    config = config_of(experiment)
    names.append(condition_of(Record('s', 'r', 'd', 'm', settings=config)))
  assert names == list(FAMILY)
  other = {'loss': 'focal', 'resampling': 'ml_ros'}
  assert condition_of(Record('s', 'r', 'd', 'm', settings=other)) == ''


def test_numbers_are_means_over_the_labels_of_a_third():
  (arrays,) = [RECORDS[1].predictions]
  found = found_in(RECORDS[1])
  assert found.unseen == 0
  for i in range(SEEDS):
    here = arrays['row'][i] >= 0
    y, d = arrays['y'][i][here], arrays['decision_hamming'][i][here]
    of_label = 200.0 * (y & d).sum(axis=0) / (y.sum(axis=0) + d.sum(axis=0))
    for group, third in zip(
      ('head', 'middle', 'tail'), of_label.reshape(3, 2), strict=True
    ):
      value = found.f1['hamming'][group][i, -1]
      assert value == pytest.approx(third.mean())


def test_a_gain_is_paired_by_seed():
  plain, better = found_in(RECORDS[0]), found_in(RECORDS[2])
  gain = better.gain('hamming', plain, 'hamming', 'tail')
  one, other = better.f1['hamming']['tail'], plain.f1['hamming']['tail']
  differences = [one[unit] - other[unit] for unit in one]
  assert gain.n == SEEDS
  assert gain.mean == pytest.approx(np.mean(differences))
  # Corrected for the overlap of holdouts.
  spread = np.std(differences, ddof=1) * np.sqrt(1 / SEEDS + 0.2 / 0.8)
  assert gain.half_width == pytest.approx(4.302653 * spread, rel=1e-6)


def test_three_sentences_name_the_choice_of_validation():
  sentences = FOUND.conclusion(RECORDS)
  assert len(sentences) == 3
  plain, chosen = found_in(RECORDS[0]), found_in(RECORDS[2])
  gain = chosen.gain('hamming', plain, 'hamming', 'tail').mean
  assert f'+{gain:.1f}' in sentences[0]
  assert 'by re-weighting (asymmetric)' in sentences[0]
  assert 'by resampling (mlsmote)' in sentences[0]
  assert 'by fitted thresholds' in sentences[0]
  assert 'logit' not in sentences[0]
  assert all(sentence.endswith('.') for sentence in sentences)
  ((title, figure, caption),) = FOUND.figures(RECORDS)
  assert len(figure.axes) == 3
  assert 'd: thirds of 6 labels' in caption
  assert title


def test_what_is_missing_is_left_out():
  failed = Record('s', 'r', 'd', 'binary_relevance', status='failed')
  only_fixed = record(PLAIN, 0.3, decoders=('hamming',), dataset='e')
  lone = record({'loss': 'focal'}, 0.2, dataset='without plain')
  records = [failed, only_fixed, lone]
  assert FOUND.conclusion([]) == FOUND.conclusion([failed, lone]) == []
  assert FOUND.figures([failed, lone]) == []
  sentences = FOUND.conclusion(records)
  assert len(sentences) == 3
  assert 'nothing was measured' in sentences[1]
  ((_, figure, _),) = FOUND.figures([*RECORDS, *records])
  assert len(figure.axes) == 6
