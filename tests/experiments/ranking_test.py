"""The study `ranking`: the best cut, and what is said of partial numbers."""

import dataclasses

import numpy as np
import pytest

from experiments.findings import FINDINGS
from experiments.findings.ranking import CUTS, best_cut
from experiments.studies.ranking import BASE, BY, OF_SETS, RANKED, RANKING
from mlc.report.records import Record, Row
from mlc.run_directory import RunDirectory

FOUND = FINDINGS['ranking']
LOSSES = (BASE, 'lsep', 'zlpr', 'focal')


def record(loss, level, *, path=None):
  """A run whose numbers grow with `level`."""
  rows = [
    Row(decoder, seed, -1, 'test', metric, level + 0.01 * seed, '', '')
    for decoder in CUTS
    for metric in (*RANKED, OF_SETS)
    for seed in range(3)
  ]
  return Record(
    study='ranking',
    run_id=f'toy-{loss}',
    dataset='toy',
    method='binary_relevance',
    loss=loss,
    settings={'split': 'given', 'decoders': list(CUTS)},
    rows=tuple(rows),
    path=path,
  )


def predictions():
  rng = np.random.default_rng(0)
  y = rng.random((2, 7, 4)) < 0.4
  y[:, 0] = False
  row = np.tile(np.arange(7), (2, 1))
  row[1, 5:] = -1
  marginals = rng.random(y.shape).astype(np.float32)
  return {'y': y, 'marginals': marginals, 'row': row}


def test_the_best_cut_by_trying_each():
  found = predictions()
  best = []
  for s, b in zip(*np.nonzero(found['row'] >= 0), strict=True):
    y, p = found['y'][s, b], found['marginals'][s, b]
    cuts = [p >= t for t in p] + [p > 1]
    f1 = [
      2 * (y & d).sum() / (y.sum() + d.sum()) if (y | d).any() else 1.0
      for d in cuts
    ]
    best.append(max(f1))
  assert best_cut(found) == pytest.approx(np.mean(best))
  assert np.isnan(best_cut({}))


@pytest.fixture
def path(tmp_path):
  with RunDirectory(tmp_path / 'run').open({}) as directory:
    directory.write_predictions(**predictions())
  return tmp_path / 'run'


def test_what_the_numbers_say(path):
  records = [
    record(loss, 0.3 + 0.1 * i, path=path) for i, loss in enumerate(LOSSES)
  ]
  best, lost, agree = FOUND.conclusion(records)
  # 0.6 to 0.62 against 0.3 to 0.32, the same in every seed.
  assert 'on toy focal is best with 61.0, +30.0 points over sigmoid' in best
  reach = 100 * best_cut(predictions())
  assert 'a threshold of 1/2 gives 31.0' in lost
  assert f'is {reach - 61:.1f} to {reach - 31:.1f} points' in lost
  assert 'on toy 1.00 at 1/2 and 1.00 at the fitted threshold' in agree
  ((_, figure, caption),) = FOUND.figures(records)
  assert len(figure.axes) == 2
  assert 'best cut of each row' in caption.lower()


def test_runs_that_failed_or_are_not_there_leave_three_sentences():
  whole = record(BASE, 0.5)
  partial = dataclasses.replace(
    record('lsep', 0.4),
    rows=tuple(r for r in whole.rows if r.metric != BY),
  )
  failed = dataclasses.replace(record('zlpr', 0.4), status='failed', rows=())
  for records in ([whole], [whole, partial, failed], [partial]):
    assert len(FOUND.conclusion(records)) == 3
    assert len(FOUND.figures(records)) == 1
  assert FOUND.conclusion([failed]) == []
  assert FOUND.figures([failed]) == []
  assert FOUND.conclusion([]) == []


def test_only_the_loss_differs_between_runs():
  for dataset in RANKING.datasets:
    made = RANKING.conditions(dataset, 'binary_relevance')
    assert len({dataclasses.replace(m, loss='').__repr__() for m in made}) == 1
    assert BASE in {m.loss for m in made}
