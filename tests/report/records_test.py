import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest

from mlc.report import records as module
from mlc.report.records import read
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


def test_a_diverged_seed_is_named_and_left_out(records):
  chain = _by_method(records, 'yeast')['classifier_chain']
  assert chain.diverged == ((3, -1),)
  values = chain.values('subset', 'subset_accuracy', 'test')
  assert set(values) == {(s, -1) for s in (0, 1, 2, 4)}


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
  listed = module._read_curves(
    [
      {'epoch': 0, 'train_loss': [3.0, None], 'validation_loss': [4.0, 5.0]},
      {'epoch': 1, 'train_loss': [2.0, 1.0], 'validation_loss': [3.0, 4.0]},
      {'event': 'resumed'},
    ]
  )
  single = module._read_curves(
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


def test_results_csv_has_the_columns_and_exact_numbers(records):
  rows = list(csv.DictReader(io.StringIO(module.results_csv(records))))
  assert ','.join(rows[0]) == (
    'study,dataset,method,encoder,head,loss,decoder,seed,fold,split,metric,'
    'value'
  )
  written = [row for r in records for row in r.rows]
  assert len(rows) == len(written)
  lost = 0
  for row, expected in zip(rows, written, strict=True):
    value = float(row['value'])
    if math.isnan(value):
      lost += 1
    else:
      assert value == expected.value  # every bit
  undefined = sum(not math.isfinite(row.value) for row in written)
  assert lost == undefined > 0


def test_what_a_diverged_seed_gave_is_not_a_number_anywhere(record_of):
  lost = module.Candidate(1, -1, 0.1, 0.0, 3, 1.0, True, True)
  kept = lost._replace(seed=0, diverged=False)
  record = record_of(
    'm', {('test', 'd', 'map'): [0.5, 0.9]}, candidates=(kept, lost)
  )
  rows = list(csv.DictReader(io.StringIO(module.results_csv([record]))))
  assert [row['value'] for row in rows] == ['0.5', 'nan']


def test_names_tell_apart_what_differs(record_of):
  values = {('test', 'd', 'map'): [0.5]}
  plain = record_of('chain', values, settings={'standardize': True, 'l': 1})
  other = record_of('chain', values, settings={'standardize': False, 'l': 1})
  alone = record_of('a_long_name', values)
  runs = [
    module.dataclasses.replace(r, run_id=str(i))
    for i, r in enumerate([plain, other, alone])
  ]
  assert module.labels(runs) == {
    '0': 'chain (standardize=True)',
    '1': 'chain (standardize=False)',
    '2': 'a_long_name',
  }


def test_a_run_that_failed_is_told_apart_by_what_it_was_to_be(record_of):
  """Its head is not known, nor how its split came out."""
  done = [
    dataclasses.replace(
      record_of('m', {}, settings={'split': 'given', 'seeds': 3}),
      run_id=loss,
      loss=loss,
      head='m',
    )
    for loss in ('a', 'b')
  ]
  failed = dataclasses.replace(
    done[0],
    run_id='c',
    loss='c',
    head='',
    status='failed',
    settings={'split': 'auto', 'seeds': 3},
  )
  names = {'a': 'm (loss=a)', 'b': 'm (loss=b)'}
  assert module.labels([*done, failed]) == {**names, 'c': 'm (loss=c)'}
  nothing = dataclasses.replace(failed, settings={}, loss='')
  assert module.labels([*done, nothing]) == {**names, 'c': 'm (c)'}


def test_an_option_that_is_not_stated_has_its_default(record_of):
  values = {('test', 'd', 'map'): [0.5]}
  stated = [{}, {'model.order': 'random'}, {'model.order': 'frequency'}]
  runs = [
    dataclasses.replace(
      record_of('chain', values, settings={'epochs': 5, **options}),
      run_id=str(i),
    )
    for i, options in enumerate(stated)
  ]
  assert module.labels(runs) == {
    '0': 'chain (model.order=default)',
    '1': 'chain (model.order=random)',
    '2': 'chain (model.order=frequency)',
  }


def test_two_runs_that_agree_in_all_they_say_are_told_apart_by_id(record_of):
  values = {('test', 'd', 'map'): [0.5]}
  runs = [
    module.dataclasses.replace(record_of('m', values), run_id=name)
    for name in ('a', 'b')
  ]
  assert module.labels(runs) == {'a': 'm (a)', 'b': 'm (b)'}


def test_decoders_stand_in_the_order_of_the_settings(record_of):
  values = {('test', d, 'map'): [0.5] for d in ('f_beta', 'hamming', 'late')}
  settings = {'decoders': ['hamming', 'subset', 'f_beta']}
  record = record_of('m', values, settings=settings)
  assert record.decoders == ('hamming', 'f_beta', 'late')
