"""What explain says of finished runs, and how it writes it."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import explanation, train
from experiments.explain import ask, explain
from mlc.base import Batch
from mlc.heads.classifier_chain import classifier_chain
from mlc.heads.ensemble import ensemble


@pytest.fixture(scope='module')
def chains(tiny, tmp_path_factory):
  """A finished run of two seeds of a chain."""
  made = tiny(
    'classifier_chain',
    decoders=('subset', 'greedy'),
    optimizer='lbfgs',
    l2s=(0.1,),
  )
  return train.run(made, workdir=str(tmp_path_factory.mktemp('chains')))


@pytest.mark.slow
def test_a_chain_is_explained(chains, command, contents):
  before = contents(chains.path)
  done = command('explain.py', f'--run={chains.path}')
  assert (done.code, done.err) == (0, '')
  for said in ('teacher-forced', 'beam_10', 'the mode is enumerated', 'direct'):
    assert said in done.out
  after = contents(chains.path)
  written = {name: after[name] for name in after if name not in before}
  assert before == {name: after[name] for name in before}
  assert {name.removeprefix('explain/') for name in written} == {
    'propagation.json',
    'positions.csv',
    'labels.csv',
    'searches.csv',
    'propagation.svg',
    'propagation.pdf',
  }
  told = json.loads(written['explain/propagation.json'])
  assert [unit['seed'] for unit in told['units']] == [0, 1]
  # The same numbers as those of the decoders.
  for search, decoder in (('mode', 'subset'), ('greedy', 'greedy')):
    expected = [
      row['value']
      for row in chains.read_results()['rows']
      if (row['split'], row['metric'], row['decoder'])
      == ('test', 'subset_accuracy', decoder)
    ]
    found = told['found']['searches'][search]['subset_accuracy']
    np.testing.assert_allclose(found, expected, atol=1e-6)
  read = lambda name: list(
    csv.DictReader(written[f'explain/{name}.csv'].decode().splitlines())
  )
  positions, labels, searches = map(read, ('positions', 'labels', 'searches'))
  assert len(positions) == 2 * 4 and len(labels) == 4 * 4
  assert [row['search'] for row in searches][:5] == [
    'greedy',
    'beam_2',
    'beam_5',
    'beam_10',
    'mode',
  ]
  # What stands first in the chain hears nothing, and so loses nothing.
  for row in positions:
    if row['position'] == '1':
      assert row['teacher_forced'] == row['free_running']


def test_a_head_without_order_tells_its_conditionals(finished):
  told = explain(finished, rows=20)
  assert told.rank is None
  assert set(told.found) == {'positions', 'searches', 'direct', 'total'}
  assert any('no label order' in note for note in told.notes)
  np.testing.assert_allclose(told.found['direct'].size, 0.0, atol=1e-6)
  assert set(explanation.tables(told)) == {'labels.csv', 'searches.csv'}
  assert explanation.figure_of(told) is not None


@pytest.mark.slow
def test_an_ensemble_is_asked_member_by_member():
  head = ensemble(classifier_chain(3, order='random'), 2)
  h, y = jnp.ones((5, 2)), jnp.ones((5, 3))
  params = jax.jit(head.init)(jax.random.key(0), h, y)
  notes = []
  found = jax.jit(lambda params: ask(head, params, h, Batch(h, y), notes))(
    params
  )
  assert set(found) >= {'positions', 'flips', 'orders', 'direct'}
  assert found['positions'].free_running.shape == (2, 3)
  assert found['flips'].change.shape == (2, 3, 3)
  told = explanation.Explained(
    units=[{'seed': 0, 'fold': -1}],
    names=('a', 'b', 'c'),
    rank=np.asarray(params['frozen']['rank'])[None],
    found=jax.tree.map(lambda leaf: np.asarray(leaf)[None], found),
    exactness={},
    notes=notes,
  )
  rows = explanation.tables(told)['positions.csv'].splitlines()[1:]
  assert [row.split(',')[2:4] for row in rows] == [
    [m, label] for m in '01' for label in 'abc'
  ]
  # Members have orders of their own: nothing is drawn along one of them.
  assert explanation.figure_of(told) is not None


def test_undefined_numbers_are_null():
  told = explanation.Explained(
    [], ['a'], None, {'x': np.array([np.nan])}, {}, []
  )
  assert explanation.as_json(told)['found'] == {'x': [None]}


@pytest.mark.parametrize(
  ('arguments', 'says'),
  [
    ((), 'name a finished run'),
    (('--run=nowhere',), 'nowhere is no run directory'),
    (('--run={run}', '--rows=0'), 'rows is 0'),
  ],
)
def test_what_cannot_be_explained_is_refused(
  arguments, says, finished, command, check_error
):
  arguments = [a.format(run=finished.path) for a in arguments]
  done = command('explain.py', *arguments)
  check_error(done, 'explain.py', [says])
