"""What study error_propagation makes of what its run directories tell."""

import json
import pathlib

import numpy as np
import pytest

from experiments import explain
from experiments.findings import FINDINGS, error_propagation
from experiments.findings.error_propagation import by_distance
from mlc.report.records import Record, Row
from mlc.run_directory import RunDirectoryError

FOUND = FINDINGS['error_propagation']
LABELS, SEEDS = 5, 3


def test_harm_is_averaged_over_pairs_that_stand_so_far_apart():
  rng = np.random.default_rng(0)
  harm = rng.normal(size=(2, 3, LABELS, LABELS))
  rank = np.argsort(rng.random((2, 3, LABELS)), axis=-1)
  found = by_distance(harm, rank)
  for run in range(2):
    for distance in range(1, LABELS):
      pairs = [
        harm[run, m, i, j]
        for m in range(3)
        for i in range(LABELS)
        for j in range(LABELS)
        if rank[run, m, j] - rank[run, m, i] == distance
      ]
      np.testing.assert_allclose(found[run, distance - 1], np.mean(pairs))


def told(rng, *, members=1, ordered=True):
  """What an `Explained` holds, as JSON."""
  accuracy = lambda: rng.random((SEEDS, members, LABELS)).tolist()
  found = {
    'positions': {'teacher_forced': accuracy(), 'free_running': accuracy()},
    'searches': {
      name: {'subset_accuracy': rng.random(SEEDS).tolist()}
      for name in ('beam_10', 'beam_2', 'greedy', 'mode')
    },
  }
  if ordered:
    harm = rng.random((SEEDS, members, LABELS, LABELS))
    found['flips'] = {'harm': harm.tolist()}
  if members > 1:
    found['orders'] = {'subset_accuracy': rng.random((SEEDS, members)).tolist()}
  ranks = np.argsort(rng.random((SEEDS, members, LABELS)), axis=-1)
  return {
    'units': [{'seed': s, 'fold': -1} for s in range(SEEDS)],
    'rank': ranks.tolist() if ordered else None,
    'found': found,
  }


def record(method, rng, **options):
  decoder = 'subset' if method == 'ensemble_of_chains' else 'greedy'
  rows = tuple(
    Row(decoder, s, -1, 'test', 'subset_accuracy', rng.random(), '', '')
    for s in range(SEEDS)
  )
  name = '-'.join([method, *options.values()])
  return Record(
    'error_propagation',
    name,
    'a set',
    method,
    rows=rows,
    settings={f'model.{k}': v for k, v in options.items()},
    path=pathlib.Path(name),
  )


@pytest.fixture
def records(monkeypatch):
  rng = np.random.default_rng(0)
  answers = {
    'binary_relevance': told(rng, ordered=False),
    'classifier_chain': told(rng),
    'classifier_chain-frequency': told(rng),
    'recurrent_chain': told(rng),
    'ensemble_of_chains': told(rng, members=4),
  }

  def remembered(directory, about):
    assert about == error_propagation.ABOUT
    if directory.path.name not in answers:
      raise RunDirectoryError('no parameters')
    return answers[directory.path.name]

  monkeypatch.setattr(error_propagation, 'remembered', remembered)
  return [
    record('binary_relevance', rng),
    record('classifier_chain', rng),
    record('classifier_chain', rng, order='frequency'),
    record('recurrent_chain', rng),
    record('ensemble_of_chains', rng),
  ]


def test_three_sentences_and_one_figure_from_the_numbers(records):
  said = FOUND.conclusion(records)
  assert len(said) == 3
  assert 'of the chain' in said[0] and 'beam of 2' in said[1]
  assert 'rare labels last' in said[2] and 'of 4 random orders' in said[2]
  assert 'nan' not in ' '.join(said)
  ((_, figure, caption),) = FOUND.figures(records)
  assert len(figure.axes) == 4
  lost = figure.axes[0].get_legend_handles_labels()[1]
  assert lost == [
    'chain',
    'chain, rare last',
    'recurrent chain',
    'ensemble of chains',
  ]
  # Numbers of the control, which is not told apart by an order.
  assert 'loses: ' in caption and 'not measured' not in caption
  chain, control = (
    records[i].values('greedy', 'subset_accuracy', 'test') for i in (1, 0)
  )
  gain = 100 * np.mean([chain[u] - control[u] for u in chain])
  drawn = [
    line.get_xdata()[0]
    for line in figure.axes[3].lines
    if len(line.get_xdata()) == 1
  ]
  assert any(np.isclose(drawn, gain))


def test_what_is_missing_is_left_out(records):
  lost = record('recurrent_chain', np.random.default_rng(1), order='random')
  failed = Record('error_propagation', 'f', 'a set', 'x', status='failed')
  for some in ([records[1], lost, failed], [records[0]], [lost], [failed], []):
    assert len(FOUND.conclusion(some)) == 3
    figures = FOUND.figures(some)
    assert len(figures) == (
      1 if some and some[0].path and some[0] is not lost else 0
    )


@pytest.mark.slow
def test_a_run_is_asked_once(finished, monkeypatch):
  about = ('positions', 'searches')
  first = explain.remembered(finished, about, rows=20)
  written = finished.path / 'explain' / 'asked.json'
  assert {*first['found']} == {'positions', 'searches'}

  def refuse(*args, **kwargs):
    raise AssertionError('asked again')

  monkeypatch.setattr(explain, 'explain', refuse)
  assert explain.remembered(finished, about, rows=20) == first
  for rows, text in ((21, None), (20, '{"asked": '), (20, '[]')):
    if text is not None:
      written.write_text(text)
    with pytest.raises(AssertionError, match='asked again'):
      explain.remembered(finished, about, rows=rows)
  written.unlink()
  # As written by another training.
  written.write_text(json.dumps({'asked': {'about': []}, 'told': {}}))
  with pytest.raises(AssertionError, match='asked again'):
    explain.remembered(finished, about, rows=20)
  written.unlink()
