import json
import math

import numpy as np
import pytest

from mlc.report.reading import _read_curves, read
from mlc.run_directory import RunDirectory


def _by_method(records, dataset):
  return {r.method: r for r in records if r.dataset == dataset}


@pytest.mark.slow
def test_every_run_is_a_record_in_order(records, run_ids):
  assert [r.run_id for r in records] == run_ids
  assert [r.status for r in records].count('failed') == 1


def test_a_failed_run_says_what_and_what_to_do(records):
  failed = _by_method(records, 'movies')['label_powerset']
  assert failed.status == 'failed'
  assert 'ValueError: 1187 label sets' in failed.error
  assert failed.hint.startswith('Raise --model.num_label_sets')
  assert failed.rows == ()


def test_rows_are_those_of_results_json(study_dir, run_ids, records):
  given = json.loads((study_dir / run_ids[1] / 'results.json').read_text())
  read = records[1]
  assert len(read.rows) == len(given['rows'])
  for row, expected in zip(read.rows, given['rows'], strict=True):
    value = expected['value']
    place = (row.decoder, row.seed, row.split, row.metric)
    assert place == tuple(
      expected[key] for key in ('decoder', 'seed', 'split', 'metric')
    )
    assert math.isnan(row.value) if value is None else row.value == value


def test_a_seed_counts_when_one_of_its_settings_survived(tmp_path, write_run):
  def lose_others(results):
    for run in results['runs']:
      run['diverged'] = not run['selected']

  run_id = write_run(tmp_path, 'yeast', 'binary_relevance', change=lose_others)
  (record,) = read(tmp_path, [run_id])
  assert sum(c.diverged for c in record.candidates) == 25
  assert record.diverged == ()


def test_missing_and_partial_runs_are_records(tmp_path, write_run):
  run_id = write_run(tmp_path, 'yeast', 'binary_relevance')
  (tmp_path / run_id / 'DONE').unlink()
  partial, absent = read(
    tmp_path, [run_id, 'emotions-label_powerset-0123456789']
  )
  assert (partial.status, partial.dataset) == ('unfinished', 'yeast')
  assert (absent.status, absent.method) == ('unfinished', 'label_powerset')
  assert absent.dataset == 'emotions'
  assert 'same command' in absent.hint


def test_results_that_done_does_not_vouch_for_are_not_read(tmp_path, write_run):
  run_id = write_run(tmp_path, 'yeast', 'binary_relevance')
  path = tmp_path / run_id / 'results.json'
  path.write_text(path.read_text().replace('0.1', '0.9', 1))
  (record,) = read(tmp_path, [run_id])
  assert record.status == 'unfinished'
  assert record.rows == ()


def test_results_without_rows_are_a_failure_that_names_the_key(
  tmp_path, write_run
):
  def forget(results):
    del results['rows']

  run_id = write_run(tmp_path, 'yeast', 'binary_relevance', change=forget)
  (record,) = read(tmp_path, [run_id])
  assert record.status == 'failed'
  assert "'rows'" in record.error


def test_curves_by_run_or_all_runs_in_one_line():
  listed = _read_curves(
    [
      {'epoch': 0, 'train_loss': [3.0, None], 'validation_loss': [4.0, 5.0]},
      {'epoch': 1, 'train_loss': [2.0, 1.0], 'validation_loss': [3.0, 4.0]},
      {'event': 'resumed'},
    ]
  )
  single = _read_curves(
    [
      {'epoch': e, 'run': r, 'train_loss': t, 'validation_loss': v}
      for e, r, t, v in (
        (0, 0, 3.0, 4.0),
        (0, 1, None, 5.0),
        (1, 0, 2.0, 3.0),
        (1, 1, 1.0, 4.0),
      )
    ]
  )
  for curves in (listed, single):
    np.testing.assert_array_equal(curves[1].train, [np.nan, 1.0])
    np.testing.assert_array_equal(curves[0].validation, [4.0, 3.0])
    np.testing.assert_array_equal(curves[0].epochs, [0, 1])


@pytest.mark.parametrize(
  ('rows', 'split'),
  [
    ([[4, 5, 6], [4, 5, 6]], 'given'),
    ([[4, 5, 6], [1, 5, 6]], 'holdout'),
  ],
)
def test_an_open_split_is_read_off_the_test_rows(tmp_path, rows, split):
  path = tmp_path / 'toy-m-0123456789'
  with RunDirectory(path).open({'dataset': 'toy', 'method': 'm'}) as directory:
    directory.write_predictions(row=np.array(rows))
    directory.write_results(
      {
        'study': 's',
        'dataset': 'toy',
        'method': 'm',
        'settings': {'split': 'auto', 'test_fraction': 0.5},
        'rows': [],
        'runs': [{'seed': 0, 'fold': -1}, {'seed': 1, 'fold': -1}],
      }
    )
    directory.mark_done()
  (record,) = read(tmp_path, [path.name])
  assert record.settings['split'] == split
  assert record.sampling.overlap == (0.0 if split == 'given' else 1.0)
