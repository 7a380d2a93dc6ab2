import csv
import dataclasses
import io
import math

from mlc.report.records import Candidate, labels, results_csv


def _by_method(records, dataset):
  return {r.method: r for r in records if r.dataset == dataset}


def test_a_diverged_seed_is_named_and_left_out(records):
  chain = _by_method(records, 'yeast')['classifier_chain']
  assert chain.diverged == ((3, -1),)
  values = chain.values('subset', 'subset_accuracy', 'test')
  assert set(values) == {(s, -1) for s in (0, 1, 2, 4)}


def test_results_csv_has_the_columns_and_exact_numbers(records):
  rows = list(csv.DictReader(io.StringIO(results_csv(records))))
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
  lost = Candidate(1, -1, 0.1, 0.0, 3, 1.0, True, True)
  kept = lost._replace(seed=0, diverged=False)
  record = record_of(
    'm', {('test', 'd', 'map'): [0.5, 0.9]}, candidates=(kept, lost)
  )
  rows = list(csv.DictReader(io.StringIO(results_csv([record]))))
  assert [row['value'] for row in rows] == ['0.5', 'nan']


def test_names_tell_apart_what_differs(record_of):
  values = {('test', 'd', 'map'): [0.5]}
  plain = record_of('chain', values, settings={'standardize': 'true', 'l': 1})
  other = record_of('chain', values, settings={'standardize': 'false', 'l': 1})
  alone = record_of('a_long_name', values)
  runs = [
    dataclasses.replace(r, run_id=str(i))
    for i, r in enumerate([plain, other, alone])
  ]
  assert labels(runs) == {
    '0': 'chain (standardize=true)',
    '1': 'chain (standardize=false)',
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
  assert labels([*done, failed]) == {**names, 'c': 'm (loss=c)'}
  nothing = dataclasses.replace(failed, settings={}, loss='')
  assert labels([*done, nothing]) == {**names, 'c': 'm (c)'}


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
  assert labels(runs) == {
    '0': 'chain (model.order=default)',
    '1': 'chain (model.order=random)',
    '2': 'chain (model.order=frequency)',
  }


def test_two_runs_that_agree_in_all_they_say_are_told_apart_by_id(record_of):
  values = {('test', 'd', 'map'): [0.5]}
  runs = [
    dataclasses.replace(record_of('m', values), run_id=name)
    for name in ('a', 'b')
  ]
  assert labels(runs) == {'a': 'm (a)', 'b': 'm (b)'}


def test_decoders_stand_in_the_order_of_the_settings(record_of):
  values = {('test', d, 'map'): [0.5] for d in ('f_beta', 'hamming', 'late')}
  settings = {'decoders': ['hamming', 'subset', 'f_beta']}
  record = record_of('m', values, settings=settings)
  assert record.decoders == ('hamming', 'f_beta', 'late')
