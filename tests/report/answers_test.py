import dataclasses

import pytest

from mlc.report import answers
from mlc.report.records import Candidate

BASE = 'binary_relevance'
METRICS = ('subset_accuracy', 'f1_example')
DECODERS = ('hamming', 'subset', 'f_beta')


def _grid(count):
  return tuple(
    Candidate(seed, -1, rate, 0.0, 1, 1.0, False, rate == 0.1)
    for seed in range(3)
    for rate in (0.1, 0.2)[:count]
  )


def _values(means, spread=(0.0, 0.002, 0.004)):
  """The same mean on validation and test: {(decoder, metric): mean}."""
  return {
    (split, decoder, metric): [mean + s for s in spread]
    for (decoder, metric), mean in means.items()
    for split in ('validation', 'test')
  }


@pytest.fixture
def two(record_of):
  """A chain that gains 4 points in subset accuracy and nothing in F1."""
  base = _values(
    {
      ('hamming', 'subset_accuracy'): 0.15,
      ('subset', 'subset_accuracy'): 0.16,
      ('f_beta', 'subset_accuracy'): 0.12,
      ('hamming', 'f1_example'): 0.60,
      ('subset', 'f1_example'): 0.60,
      ('f_beta', 'f1_example'): 0.65,
    }
  )
  chain = _values(
    {
      ('hamming', 'subset_accuracy'): 0.17,
      ('subset', 'subset_accuracy'): 0.20,
      ('f_beta', 'subset_accuracy'): 0.14,
      ('hamming', 'f1_example'): 0.61,
      ('subset', 'f1_example'): 0.62,
      ('f_beta', 'f1_example'): 0.651,
    },
    spread=(0.001, 0.0, 0.005),
  )
  return (
    record_of(BASE, base, candidates=_grid(2)),
    record_of('classifier_chain', chain, candidates=_grid(2)),
  )


def test_the_sentence(two):
  (answer,) = answers.answers(two, BASE, METRICS)
  # Differences of 4 points + (0.1, -0.2, 0.1): mean 4.0, s = 0.1732,
  # half-width 4.3027 s / sqrt(3) = 0.430.
  assert answer.text == (
    'On toy, classifier_chain beats tuned binary relevance in subset accuracy '
    'by +4.0 points [3.6, 4.4] (both with the subset decoder); F1 by example: '
    'no clear difference once both use the f_beta decoder (classifier_chain '
    '+0.1 points [\N{MINUS SIGN}0.3, 0.5]).'
  )
  assert answer.verdicts == {
    'subset_accuracy': 'better',
    'f1_example': 'unclear',
  }
  assert 'chosen on validation' in answer.chosen


def test_tuned_is_said_only_of_a_baseline_that_was(two):
  plain = dataclasses.replace(two[0], candidates=_grid(1))
  (answer,) = answers.answers((plain, two[1]), BASE, METRICS)
  assert 'beats binary relevance' in answer.text
  assert 'tuned' not in answer.text


def test_a_loss_is_called_worse(two):
  rows = tuple(
    row._replace(value=row.value - 0.1)
    if row.metric == 'subset_accuracy'
    else row
    for row in two[1].rows
  )
  worse = dataclasses.replace(two[1], rows=rows)
  (answer,) = answers.answers((two[0], worse), BASE, METRICS)
  assert answer.text.startswith(
    'On toy, classifier_chain is worse than tuned binary relevance in subset '
    'accuracy, \N{MINUS SIGN}6.0 points [\N{MINUS SIGN}6.4, \N{MINUS SIGN}5.6]'
  )


def test_a_lower_loss_is_a_gain(record_of):
  base = record_of(
    BASE, _values({('hamming', 'hamming_loss'): 0.20}), candidates=_grid(2)
  )
  mine = record_of(
    'a', _values({('hamming', 'hamming_loss'): 0.19}, (0.001, 0.0, 0.005))
  )
  (answer,) = answers.answers((base, mine), BASE, ('hamming_loss',))
  assert 'beats tuned binary relevance in Hamming loss by +1.0' in answer.text


def test_the_method_is_chosen_on_validation_not_on_test(two, record_of):
  means = {(d, m): 0.1 for d in DECODERS for m in METRICS}
  values = _values(means, spread=(0.001, 0.0, 0.005))
  for key in values:
    if key[0] == 'test':
      values[key] = [0.9, 0.95, 0.99]
  lucky = record_of('lucky', values)
  (answer,) = answers.answers((*two, lucky), BASE, METRICS)
  assert 'lucky' not in answer.text


def test_one_seed_does_not_speak_for_several(two, record_of):
  means = {(d, m): 0.99 for d in DECODERS for m in METRICS}
  single = record_of('single', _values(means, spread=(0.0,)))
  (answer,) = answers.answers((*two, single), BASE, METRICS)
  assert 'single' not in answer.text


def test_a_single_seed_decides_nothing(record_of):
  pair = [
    record_of(m, _values({('subset', 'subset_accuracy'): v}, (0.0,)))
    for m, v in ((BASE, 0.1), ('a', 0.2))
  ]
  (answer,) = answers.answers(pair, BASE, METRICS)
  assert answer.verdicts == {'subset_accuracy': 'undecided'}
  assert answer.text == (
    'On toy, against binary relevance in subset accuracy: a +10.0 points '
    '(both with the subset decoder), without interval (a single value).'
  )


def test_without_validation_rows_the_picking_is_owned_up_to(two):
  bare = [
    dataclasses.replace(
      r, rows=tuple(row for row in r.rows if row.split == 'test')
    )
    for r in two
  ]
  (answer,) = answers.answers(bare, BASE, METRICS)
  assert 'nothing is picked' in answer.chosen
  third = dataclasses.replace(bare[1], method='other', run_id='other')
  (answer,) = answers.answers([*bare, third], BASE, METRICS)
  assert 'optimistic' in answer.chosen


@pytest.mark.parametrize(
  ('status', 'said'),
  [('failed', 'binary relevance failed'), ('unfinished', 'has not finished')],
)
def test_a_baseline_without_results(two, status, said):
  base = dataclasses.replace(two[0], status=status, rows=())
  (answer,) = answers.answers((base, two[1]), BASE, METRICS)
  assert said in answer.text
  assert answer.verdicts == {}


def test_no_baseline_names_the_best_that_there_is(records):
  answer = answers.answers(records, BASE, METRICS)[2]
  assert 'binary relevance was not run' in answer.text
  assert 'Highest in subset accuracy: label_powerset (subset)' in answer.text


def test_over_all_data_sets(two):
  other = [dataclasses.replace(r, dataset='second') for r in two]
  third = [dataclasses.replace(r, dataset='third') for r in two]
  found = answers.answers((*two, *other), BASE, METRICS)
  assert answers.overall(found, BASE) == (
    'Against binary relevance: subset accuracy better on toy and second; F1 by '
    'example no clear difference on toy and second.'
  )
  found = answers.answers((*two, *other, *third), BASE, METRICS)
  assert 'better on all 3 data sets' in answers.overall(found, BASE)


@pytest.mark.parametrize(
  ('mean', 'width', 'text'),
  [
    (4.06, 0.94, '+4.1 points [3.1, 5.0]'),
    (-0.04, 1.0, '0.0 points [\N{MINUS SIGN}1.0, 1.0]'),
    (1.0, 0.04, '+1.00 points [0.96, 1.04]'),
    # Which side of zero a bound lies on is never rounded away.
    (1.0, 0.98, '+1.00 points [0.02, 1.98]'),
    (2.0, None, '+2.0 points'),
  ],
)
def test_amounts(mean, width, text):
  interval = answers.Interval(mean, width, 3)
  assert answers.amount(interval, 'points') == text
