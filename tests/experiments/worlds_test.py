"""What study worlds makes of NLLs in worlds whose truth is known."""

import numpy as np
import pytest

from experiments.findings import FINDINGS, worlds
from experiments.studies.study import replace
from experiments.studies.worlds import WORLDS
from mlc.data import synthetic
from mlc.report.records import Record, Row

FOUND = FINDINGS['worlds']
NAME = 'synthetic:exclusive,labels=3,examples=60'


def record(method, above, dataset=NAME):
  """A run of two seeds whose NLL is so much above that of the truth."""
  data = synthetic.parse_and_make(dataset)
  index = np.array([[3, 5, 8, -1], [1, 2, 9, 11]])
  rows = []
  for seed, (kept, more) in enumerate(zip(index, above, strict=True)):
    # One row after another, from the joint as it stands in the data set.
    nll = np.mean(
      [
        -data.log_joint[i, sum(int(data.y[i, j]) << j for j in range(3))]
        for i in kept
        if i >= 0
      ]
    )
    rows.append(
      Row('hamming', seed, -1, 'test', 'nll', float(nll + more), '', '')
    )
  made = Record('worlds', method, dataset, method, rows=tuple(rows))
  made.__dict__['predictions'] = {
    'row': index,
    'y': data.y[index],
    'seed': np.arange(2),
    'fold': np.full(2, -1),
  }
  return made


def test_excess_is_what_is_above_the_truth_on_the_same_rows():
  found = worlds.excess_of(record('ising', (0.25, 0.5)))
  assert found == {
    (0, -1): pytest.approx(0.25, abs=1e-6),
    (1, -1): pytest.approx(0.5, abs=1e-6),
  }


def test_three_sentences_say_who_is_lowest():
  ours, other = (
    record('ising', (0.1, 0.12)),
    record('label_powerset', (0.2, 0.3)),
  )
  said = FOUND.conclusion([ours, other])
  assert len(said) == 3
  assert said[0].startswith('In 1 of 1 worlds') and 'exclusive' in said[0]
  assert 'exclusive 0.110' in said[1] and 'no other' in said[2]
  better = record('label_powerset', (0.05, 0.0701))
  said = FOUND.conclusion([ours, better])
  assert said[0].startswith('In 0 of 1 worlds')
  assert 'in exclusive label_powerset by +0.05' in said[2]
  near = record('label_powerset', (0.05, 0.15))
  said = FOUND.conclusion([ours, near])
  assert said[0].startswith('In 0 of 1 worlds')
  assert 'in 1 a paired' in said[0] and 'exclusive (label_powerset)' in said[0]
  assert 'no other' in said[2]
  ((_, figure, caption),) = FOUND.figures([ours, better])
  assert 'ising 0.110, label_powerset 0.060' in caption
  assert figure.axes[0].get_title() == 'exclusive'


def test_without_a_truth_there_is_nothing_to_say():
  real = Record('worlds', 'r', 'yeast', 'ising')
  real.__dict__['predictions'] = {'row': np.zeros((1, 1), int)}
  for some in ([real], []):
    assert len(FOUND.conclusion(some)) == 3
    assert FOUND.figures(some) == []


def test_a_hierarchical_head_is_asked_for_in_hierarchies_only():
  plan = WORLDS.conditions
  (made,) = plan('synthetic:hierarchy,labels=6', 'hierarchical')
  assert replace(made).options == {'model.kind': 'conditional'}
  assert plan('synthetic:chain,labels=6', 'hierarchical') == []
