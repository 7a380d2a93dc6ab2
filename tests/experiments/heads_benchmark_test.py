"""The suite that times every head as labels grow in number."""

import json
import math

import numpy as np
import pytest

from experiments import benchmark
from experiments.contestants import heads
from experiments.contestants.task import Sizes

SIZES = Sizes(rows=40, features=5, batch_size=16)


@pytest.fixture(autouse=True)
def once(monkeypatch):
  monkeypatch.setattr(heads, '_LEAST_SECONDS', 0.0)


def test_growth_is_an_exponent():
  cubic = {str(n): 1e-6 * n**3 for n in (14, 100, 1000)}
  assert heads.growth(cubic) == pytest.approx(3.0)
  # Overheads of few labels do not count, nor does what was refused.
  assert heads.growth({**cubic, '14': 1.0}) == pytest.approx(3.0)
  assert heads.growth({'14': 1.0, '100': 1.0}) == 0.0
  assert heads.growth({'14': 1.0}) is None


def test_labels_are_few_and_obey_their_hierarchy():
  drawn = heads.draw_labels(SIZES, 120, one_hot=False)
  child, parent = np.nonzero(drawn.hierarchy)
  assert len(child) == 110
  assert (drawn.y[:, child] <= drawn.y[:, parent]).all()
  assert 2 < drawn.y.sum(axis=1).mean() < 12
  assert (heads.draw_labels(SIZES, 120, one_hot=True).y.sum(axis=1) == 1).all()


@pytest.mark.slow
def test_heads_are_timed_and_refusals_are_shown(monkeypatch, capsys):
  def measure(sizes, repeats):
    return heads.measure_heads(
      sizes,
      repeats,
      methods=('softmax', 'binary_relevance', 'classifier_chain'),
      label_counts=(4, 24),
    )

  def refuse(method, num_labels, *rest):
    if num_labels == 24 and method == 'softmax':
      raise ValueError('too many')
    return real(method, num_labels, *rest)

  real = heads._measure
  monkeypatch.setattr(heads, '_measure', refuse)
  monkeypatch.setattr(benchmark, 'measure_heads', measure)
  rows = benchmark.run(['heads'], SIZES, 1)['heads']
  json.dumps(rows)
  printed = capsys.readouterr().out
  assert 'softmax, L=24: too many' in printed
  assert [set(row['step']) for row in rows] == [{'4'}, {'4', '24'}, {'4', '24'}]
  for row in rows[1:]:
    assert row['name'] in printed
    for what in ('step', 'decide'):
      assert all(seconds > 0 for seconds in row[what].values())
      assert math.isfinite(row[f'{what}_growth'])


@pytest.mark.slow
def test_what_needs_too_much_memory_is_not_tried(monkeypatch):
  monkeypatch.setattr(heads, '_MOST_BYTES', 0)
  (row,) = heads.measure_heads(
    SIZES, 1, methods=('binary_relevance',), label_counts=(4,)
  )
  assert row['step'] == row['decide'] == {}
  assert 'GiB' in row['refused']['4']
