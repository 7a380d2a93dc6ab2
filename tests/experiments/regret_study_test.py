"""Study regret: curves and parts from whatever has finished."""

import pytest

from experiments.findings import FINDINGS
from experiments.studies.regret import OPTIMAL, REGRET
from mlc.report.records import Record, Row
from mlc.report.vocabulary import REGRET_PARTS

FOUND = FINDINGS['regret']
PARTS = dict(zip(REGRET_PARTS, (0.01, 0.002, 0.003, 0.02), strict=True))


def record(method, strength, level, *, parts=False, kind='chain'):
  """Three seeds whose regret is `level` on average, by every decoder."""
  decoders = (*OPTIMAL.values(), *(['greedy'] if 'chain' in method else []))
  numbers = {metric: level for metric in OPTIMAL}
  if parts:
    numbers |= {f'{m}_{part}': v for m in OPTIMAL for part, v in PARTS.items()}
  rows = tuple(
    Row(decoder, seed, -1, 'test', metric, value + 0.001 * (seed - 1), '', '')
    for decoder in decoders
    for metric, value in numbers.items()
    for seed in range(3)
  )
  name = f'synthetic:{kind},strength={strength},labels=8'
  return Record('regret', f'{method}{strength}', name, method, rows=rows)


RECORDS = [
  record('classifier_chain', 4, 0.02),
  record('binary_relevance', 4, sum(PARTS.values()), parts=True),
  record('binary_relevance', 0, 0.001),
]


def test_a_curve_a_method_by_the_decoder_that_is_optimal():
  (title, figure, caption), *_ = FOUND.figures(RECORDS)
  assert title == 'Regret in chain worlds'
  titles = [axis.get_title() for axis in figure.axes]
  assert titles == [
    f'{metric.removeprefix("regret_")} ({decoder} rule)'
    for metric, decoder in OPTIMAL.items()
  ]
  for sentence in caption.split('. ')[1:]:
    assert 'binary_relevance 0.10 to 3.50' in sentence
    assert 'classifier_chain 2.00 to 2.00' in sentence


def test_parts_are_those_of_the_strongest_and_add_up():
  _, (title, figure, caption) = FOUND.figures(RECORDS)
  assert title == 'Where the regret comes from in chain worlds'
  assert 'At strength 4' in caption
  assert (
    'binary relevance 3.50 = 2.00 model + 0.30 threshold + 0.20 calibration + '
    '1.00 decoding' in caption
  )
  # Whose regret was not taken apart has no bar.
  assert 'classifier chain' not in caption
  assert len(figure.axes) == len(OPTIMAL) + 1


@pytest.mark.parametrize(
  'some',
  [
    [],
    [Record('regret', 'f', 'synthetic:chain,strength=1', 'm', status='failed')],
    [record('binary_relevance', 1, 0.1, kind='ising')],
  ],
)
def test_figures_from_whatever_there_is(some):
  done = [r for r in some if r.status == 'ok']
  figures = FOUND.figures(some)
  assert len(figures) == (1 if some else 0)
  if done:
    assert figures[0][0] == 'Regret in ising worlds'


def test_the_chain_is_searched_greedily_too():
  made = REGRET.conditions(REGRET.datasets[0], 'classifier_chain')
  assert 'greedy' in made.decoders
  other = REGRET.conditions(REGRET.datasets[0], 'binary_relevance')
  assert set(OPTIMAL.values()) == set(other.decoders)
