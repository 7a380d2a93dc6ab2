import csv
import dataclasses
import io
import math
import re

import numpy as np
import pytest
import scipy.stats

from mlc.report import comparison, html, tables
from mlc.report.reading import read
from mlc.report.records import results_csv
from mlc.report.tables import print_report

METRICS = (
  'subset_accuracy',
  'hamming_loss',
  'f1_example',
  'f1_macro',
  'map',
  'nll',
)


def _printed(records, **options):
  out = io.StringIO()
  print_report(records, file=out, **options)
  return out.getvalue()


def test_summary_is_what_results_csv_gives(records):
  """Means and intervals again, by scipy, from the other file."""
  values = {}
  for row in csv.DictReader(io.StringIO(results_csv(records))):
    keys = ('dataset', 'method', 'decoder', 'split', 'metric')
    value = float(row['value'])
    if not math.isnan(value):
      values.setdefault(tuple(row[k] for k in keys), []).append(value)
  checked = 0
  rows = list(csv.DictReader(io.StringIO(tables.summary_csv(records))))
  for row in rows:
    key = tuple(
      row[k] for k in ('dataset', 'method', 'decoder', 'split', 'metric')
    )
    if not row['mean']:
      assert key not in values
      continue
    v = values[key]
    assert int(row['n']) == len(v)
    assert float(row['mean']) == pytest.approx(np.mean(v), rel=1e-12)
    if row['ci_low']:
      factor = 1.0
      if row['interval'] == 'corrected resampled t':
        factor = math.sqrt(1 + len(v) * 0.25)
        assert row['dataset'] == 'movies'
      half = factor * scipy.stats.t.ppf(0.975, len(v) - 1) * scipy.stats.sem(v)
      assert float(row['ci_low']) == pytest.approx(np.mean(v) - half)
      assert float(row['ci_high']) == pytest.approx(np.mean(v) + half)
      checked += 1
  assert checked > 500
  assert ','.join(list(rows[0])[:13]) == (
    'study,dataset,method,encoder,head,loss,decoder,split,metric,mean,ci_low,'
    'ci_high,n'
  )


def test_summary_has_a_row_for_what_failed_and_says_what_diverged(records):
  rows = list(csv.DictReader(io.StringIO(tables.summary_csv(records))))
  (failed,) = [row for row in rows if row['status'] == 'failed']
  assert (failed['dataset'], failed['method']) == ('movies', 'label_powerset')
  assert failed['mean'] == failed['n'] == failed['decoder'] == ''
  diverged = {row['method'] for row in rows if row['status'] == 'diverged'}
  assert diverged == {'classifier_chain'}


def test_a_run_all_of_whose_seeds_diverged_is_no_gap(write_run, tmp_path):
  def lose(results):
    results['rows'] = []
    for run in results['runs']:
      run.update(diverged=True, selected=False)

  run_id = write_run(tmp_path, 'yeast', 'label_powerset', change=lose)
  records = read(tmp_path, [run_id])
  (row,) = csv.DictReader(io.StringIO(tables.summary_csv(records)))
  assert row['status'] == 'diverged'
  assert re.search(r'label_powerset +diverged', _printed(records))


@pytest.fixture(scope='module')
def printed(records):
  return _printed(records, metrics=METRICS)


def test_the_terminal_table_fits_and_is_plain(printed):
  text = printed
  assert max(map(len, text.splitlines())) <= 100
  assert not re.search(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]', text)


@pytest.mark.parametrize('width', [60, 80, 100])
def test_columns_without_room_are_named(records, width):
  text = _printed(records[:2], metrics=METRICS, width=width)
  assert max(map(len, text.splitlines())) <= width
  assert ('Not shown' in text) == (width < 100)
  assert '…' not in text


def test_numbers_marks_failures_and_answers_are_printed(records, printed):
  text = printed
  table = comparison.result_table(records, 'yeast', METRICS)
  (best,) = [line for line in table.lines if line.cells[0].best]
  cell = best.cells[0]
  assert best.label == 'label_powerset'
  shown = f'*{cell.interval.mean:.1f}±{cell.interval.half_width:.1f}'
  assert re.search(r'subset +' + re.escape(shown), text)
  assert re.search(r'label_powerset +failed', text)
  assert '1187 label sets' in text
  assert 'seed 3 diverged: 4 of 5 in the means' in text
  assert '~ computed from samples' in text
  assert 'On yeast, label_powerset beats tuned binary relevance' in text


def test_what_is_undefined_is_counted_beside_the_number(record_of):
  values = {('test', 'd', name): [0.5, 0.6, 0.4] for name in ('map', 'lrap')}
  counts = {'map': (1, 3, 2), 'lrap': (0, 0, 0)}
  record = record_of(
    'm',
    {**values, ('test', 'd', 'nll'): [1.0]},
    settings={'split': 'given', 'metric_convention': 'mulan'},
  )
  rows = (
    row._replace(undefined=counts[row.metric][row.seed])
    if row.metric in counts
    else row
    for row in record.rows
  )
  records = [dataclasses.replace(record, rows=tuple(rows))]
  said = 'counted by convention mulan: mAP 1 to 3 labels.'
  assert said in ' '.join(_printed(records).split())
  page = html.page(records)
  assert 'mAP 1 to 3 labels' in page
  assert 'undefined for 1 to 3 labels' in page
  assert 'as MULAN 1.5' in page
  summary = csv.DictReader(io.StringIO(tables.summary_csv(records)))
  assert {row['metric']: row['undefined'] for row in summary} == {
    'map': '2',
    'lrap': '0',
    'nll': '',
  }


def test_an_ascii_output_gets_ascii(records):
  raw = io.BytesIO()
  out = io.TextIOWrapper(raw, encoding='ascii')
  print_report(records[:5], metrics=METRICS, file=out)
  out.flush()
  text = raw.getvalue().decode('ascii')
  assert '+-' in text
  assert '?' not in text
  assert '...' not in text
  assert max(map(len, text.splitlines())) <= 100


def test_names_cannot_steer_the_terminal(record_of):
  values = {('test', 'd', 'map'): [0.5, 0.6]}
  text = _printed([record_of('[red]a\x1b[31m', values)])
  assert '\x1b' not in text
  assert '[red]a?[31m' in text


@pytest.mark.parametrize(
  ('mean', 'width', 'places', 'exactness', 'text'),
  [
    (21.46, 0.44, 1, 'closed-form', '21.5±0.4'),
    (21.46, 0.44, 1, 'estimated', '21.5±0.4~'),
    (21.46, 0.44, 2, 'searched', '21.46±0.44†'),
    (21.46, None, 1, 'enumerated', '21.5'),
    (-0.2, 0.1, 1, '', '\N{MINUS SIGN}0.2±0.1'),
    (math.nan, None, 1, 'estimated', '—'),
    (1.0, 0.1, 1, 'guessed', '1.0±0.1[guessed]'),
  ],
)
def test_cells(mean, width, places, exactness, text):
  interval = tables.comparison.Interval(mean, width, 3)
  cell = comparison.Cell(interval, exactness)
  assert tables.cell_text(cell, places) == text


def test_narrow_intervals_get_more_decimals():
  def cell(mean, width):
    return comparison.Cell(comparison.Interval(mean, width, 5))

  points, nats = (tables.Measure('', '', None, s) for s in (100.0, 1.0))
  assert tables.decimals(points, [cell(20.0, 0.5)]) == 1
  assert tables.decimals(points, [cell(20.0, 0.05)]) == 2
  assert tables.decimals(nats, [cell(8.1, 0.05)]) == 2
  assert tables.decimals(nats, [cell(0.1, 0.05)]) == 3
