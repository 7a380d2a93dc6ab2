"""Figures and sentences of the studies of losses, from made-up records."""

import dataclasses

import numpy as np
import pytest

from experiments.findings import FINDINGS
from experiments.findings.softmax_vs_sigmoid import refusal
from mlc.report.records import Record, Row

LOSSES, SOFTMAX = FINDINGS['losses'], FINDINGS['softmax_vs_sigmoid']
ONE_LABEL, TWO_LABELS = 'digits', 'yeast'


def record(dataset, method, loss, values, **settings):
  """decoder -> metric -> value, with a little noise by seed and loss."""
  noise = 1e-4 * (len(loss) + len(settings))
  rows = tuple(
    Row(decoder, seed, -1, 'test', metric, value + noise * seed, '', '')
    for decoder, of_metric in values.items()
    for metric, value in of_metric.items()
    for seed in range(3)
  )
  return Record(
    study='s',
    run_id=f'{dataset}-{method}-{loss}-{len(settings)}',
    dataset=dataset,
    method=method,
    loss=loss,
    settings={'decoders': list(values), **settings},
    rows=rows,
  )


def of_loss(loss, fixed, tuned, ranking, **settings):
  shared = {'map': ranking, 'lrap': ranking, 'ece_label': 0.1 - ranking / 10}
  values = {
    'hamming': {'f1_macro': fixed, 'hamming_loss': 0.2, **shared},
    'tuned_f1': {'f1_macro': tuned, 'hamming_loss': 0.3, **shared},
  }
  return record(TWO_LABELS, 'binary_relevance', loss, values, **settings)


def test_what_a_threshold_gains_is_told_from_what_a_loss_gains():
  records = [
    of_loss('sigmoid_cross_entropy', 0.3, 0.5, 0.5),
    of_loss(
      'sigmoid_cross_entropy',
      0.45,
      0.5,
      0.45,
      **{'loss.class_weight': 'balanced'},
    ),
    of_loss('focal', 0.32, 0.54, 0.55),
    # Its 0.5 means nothing, however well it seems to do by it.
    of_loss('lsep', 0.9, 0.4, 0.5),
    dataclasses.replace(of_loss('ldam', 0.9, 0.9, 0.9), status='failed'),
  ]
  at_half, tuned, ranking = LOSSES.conclusion(records)
  assert 'sigmoid_cross_entropy, balanced (+15.0' in at_half
  assert '1 of 3 losses gain clearly, where 2 of 2 did at 0.5' in tuned
  assert 'balanced is left with +0.0' in tuned
  assert 'largest: that of focal (+3.8 points' in tuned
  assert 'that of focal (+4.8 points' in ranking
  ((title, figure, caption),) = LOSSES.figures(records)
  assert title.endswith('on yeast')
  assert 'macro F1 30.2 threshold 0.5, 50.2 thresholds tuned' in caption
  names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
  assert names == [
    'sigmoid cross entropy',
    'sigmoid cross entropy, balanced',
    'focal',
    'lsep',
  ]


@pytest.mark.parametrize('study', [LOSSES, SOFTMAX])
def test_without_numbers_there_is_nothing_to_say(study):
  alone = of_loss('sigmoid_cross_entropy', 0.3, 0.5, 0.5)
  failed = dataclasses.replace(alone, status='failed', rows=())
  for records in ([], [failed], [alone]):
    assert study.figures(records) == []
    assert study.conclusion(records) == []


def with_predictions(dataset, method, y, p):
  values = {'hamming': {'ece_label': 0.1}, 'tuned_f1': {'f1_macro': 0.4}}
  made = record(dataset, method, '', values)
  mode = (
    (p > 0.5)
    if method == 'binary_relevance'
    else np.eye(p.shape[-1])[p.argmax(-1)]
  )
  vars(made)['predictions'] = {
    'y': y[None],
    'row': np.arange(len(y))[None],
    'marginals': p[None],
    'decision_hamming': (p > 0.5)[None].astype(np.uint8),
    'decision_subset': mode[None].astype(np.uint8),
  }
  return made


@pytest.fixture(scope='module')
def mismatched():
  """Three labels: two on in every row, or one class a row."""
  both = np.tile([[1, 1, 0]], (40, 1))
  one = np.eye(3)[np.arange(40) % 2]
  torn = np.tile([[0.6, 0.7, 0.1]], (40, 1))
  sure = np.clip(one, 0.02, 0.96)
  return [
    with_predictions(
      TWO_LABELS, 'softmax', both, np.tile([[0.45, 0.45, 0.1]], (40, 1))
    ),
    with_predictions(TWO_LABELS, 'binary_relevance', both, torn),
    with_predictions(ONE_LABEL, 'softmax', one, sure),
    with_predictions(ONE_LABEL, 'binary_relevance', one, torn),
  ]


def test_lost_confidence_and_contradictions_are_counted(mismatched):
  many, one, guards = SOFTMAX.conclusion(mismatched)
  assert 'gives a true label 0.45 on average, sigmoid 0.65' in many
  assert 'predicts 0.0 labels a row against 2.0 (true: 2.0)' in many
  assert 'none on 100 %' in many
  assert 'no class on 0.0 % of the rows and several on 100.0 %' in one
  assert '0.0 % are right where softmax has 100.0 %' in one
  assert 'likeliest class is right on 50 %' in one
  assert 'softmax on yeast and binary_relevance on digits' in guards


def test_the_words_of_the_refusal_stand_below_the_figure(mismatched):
  figures = SOFTMAX.figures(mismatched)
  assert [title.split(',')[0] for title, *_ in figures] == [
    'Softmax on yeast',
    'Sigmoid on digits',
  ]
  for (_, figure, caption), method, word in zip(
    figures,
    ('softmax', 'binary_relevance'),
    ('always predicts exactly one', 'would also predict none or several'),
    strict=True,
  ):
    dataset = TWO_LABELS if method == 'softmax' else ONE_LABEL
    said = refusal(dataset, method)
    assert word in said
    assert said in caption
    assert len(figure.axes) == 3


def test_what_suits_is_not_refused():
  assert refusal(ONE_LABEL, 'softmax') == ''
  assert refusal('no such data set', 'softmax') == ''


def test_only_one_half_of_a_pair_is_no_pair(mismatched):
  assert SOFTMAX.figures(mismatched[:1]) == []
  (many, one, _) = SOFTMAX.conclusion(mismatched[:2])
  assert many.startswith('On yeast softmax')
  assert one == 'No set with one label a row was run.'
