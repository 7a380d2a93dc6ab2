"""Study conflicts: three sentences and a figure from whatever has finished."""

import dataclasses

import pytest

from experiments.findings import FINDINGS
from experiments.studies.conflicts import CONFLICTS, WAYS
from mlc.report.records import Record, Row

FOUND = FINDINGS['conflicts']
# Decoder suffix -> (subset accuracy, Hamming loss, rows breaking a rule).
NUMBERS = {
  'binary_relevance': {
    '': (0.20, 0.20, 0.30),
    'repair': (0.24, 0.19, 0.0),
    'decode': (0.25, 0.19, 0.0),
    'condition': (0.26, 0.21, 0.0),
  },
  'classifier_chain': {'': (0.27, 0.20, 0.10), 'repair': (0.27, 0.20, 0.0)},
}


def record(method, dataset='yeast', **changes):
  rows = []
  for way, (accuracy, loss, broken) in NUMBERS[method].items():
    for base in ('hamming', 'subset'):
      decoder = f'{base}_{way}' if way else base
      for seed in range(3):
        # The same noise with and without rules: pairs do not see it.
        numbers = {
          'subset_accuracy': accuracy + 0.01 * seed,
          'hamming_loss': loss + 0.01 * seed,
          'inconsistency': broken,
        }
        rows += [
          Row(decoder, seed, -1, 'test', name, value, 'enumerated', '')
          for name, value in numbers.items()
        ]
  made = Record('conflicts', f'{dataset}-{method}', dataset, method)
  return dataclasses.replace(made, rows=tuple(rows), **changes)


FAILED = Record(
  'conflicts', 'x', 'movies', 'label_powerset', status='failed', error='no'
)


def test_the_sentences_say_the_numbers():
  sentences = FOUND.conclusion([*map(record, NUMBERS), FAILED])
  assert len(sentences) == 3
  many, gains, needs = sentences
  assert '30.0 to 30.0 % of those of binary relevance (most on yeast)' in many
  assert '10.0 to 10.0 % of those of classifier chain' in many
  assert many.endswith('with repair, decode or condition none does.')
  # The mean over binary relevance (+4) and the chain (0).
  assert 'subset accuracy: repair +2.00 (0.00 to +4.00)' in gains
  assert 'decode +5.00 (+5.00 to +5.00)' in gains
  assert 'Hamming loss: repair +0.50 (0.00 to +1.00)' in gains
  assert 'condition \N{MINUS SIGN}1.00' in gains
  assert '+6.0 against +7.0 on yeast' in needs


@pytest.mark.parametrize(
  'records',
  [[], [FAILED], [record('classifier_chain')], [record('binary_relevance')]],
  ids=['none', 'failed', 'no_baseline', 'baseline'],
)
def test_what_is_missing_is_no_failure(records):
  sentences = FOUND.conclusion(records)
  assert len(sentences) == 3
  assert all(text.endswith('.') and 'nan' not in text for text in sentences)
  figures = FOUND.figures(records)
  assert len(figures) == any(r.rows for r in records)


def test_every_method_keeps_rules_in_every_way():
  for dataset in CONFLICTS.datasets:
    for method in CONFLICTS.methods:
      made = CONFLICTS.conditions(dataset, method)
      assert made.constrain.constraints == WAYS
      assert made.constrain.rules
  assert CONFLICTS.conditions('scene', 'label_powerset').constrain.rules == (
    'mined'
  )


def test_the_rules_of_the_exclusive_world_are_true():
  from mlc import rules
  from mlc.data import sources

  (name,) = (n for n in CONFLICTS.datasets if 'exclusive' in n)
  dataset = sources.load(name)
  given = CONFLICTS.conditions(name, 'binary_relevance').constrain.rules
  text = given.removeprefix('text:').replace(';', '\n')
  stated = rules.parse(text, dataset.label_names)
  arrays = rules.compiled(stated, dataset.num_labels)
  assert len(stated) == 3
  assert not rules.violations(arrays, dataset.y.astype('float32')).any()
