import csv
import io
import math

import numpy as np
import pytest
import scipy.stats

from mlc.report import comparison
from mlc.report.records import results_csv
from mlc.report.vocabulary import measure

BASE = 'binary_relevance'
SYNTHETIC = 'synthetic:chain,labels=6,examples=4000,dependence=2.5'


def _numbers(records, dataset, split='test'):
  """results.csv -> {(method, decoder, metric): {seed: value}}."""
  found = {}
  for row in csv.DictReader(io.StringIO(results_csv(records))):
    if (row['dataset'], row['split']) == (dataset, split):
      value = float(row['value'])
      key = (row['method'], row['decoder'], row['metric'])
      if not math.isnan(value):
        found.setdefault(key, {})[int(row['seed'])] = value
  return found


def test_cells_are_the_means_of_results_csv(records):
  numbers = _numbers(records, 'yeast')
  table = comparison.result_table(records, 'yeast', ['f1_example', 'nll'])
  checked = 0
  for line in table.lines:
    for metric, cell in zip(table.measures, line.cells, strict=True):
      values = list(numbers[line.label, line.decoder, metric.name].values())
      low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval()
      assert cell.interval.mean == pytest.approx(metric.scale * np.mean(values))
      assert cell.interval.low == pytest.approx(metric.scale * low)
      assert cell.interval.high == pytest.approx(metric.scale * high)
      checked += 1
  assert checked == 30


@pytest.mark.parametrize('metric', ['subset_accuracy', 'hamming_loss'])
def test_best_and_tied_as_scipy_finds_them(records, metric):
  sign = -1 if metric == 'hamming_loss' else 1
  numbers = {
    key[:2]: values
    for key, values in _numbers(records, 'yeast').items()
    if key[2] == metric
  }
  full = {k: v for k, v in numbers.items() if len(v) == 5}
  best = max(full, key=lambda k: sign * np.mean(list(full[k].values())))
  table = comparison.result_table(records, 'yeast', [metric])
  for line in table.lines:
    key, (cell,) = (line.label, line.decoder), line.cells
    assert cell.best == (key == best)
    if key != best:
      seeds = sorted(numbers[key].keys() & numbers[best].keys())
      pair = ([numbers[k][s] for s in seeds] for k in (best, key))
      low, high = scipy.stats.ttest_rel(*pair).confidence_interval()
      assert cell.tied == (low <= 0.0 <= high)


def test_a_lucky_remainder_of_seeds_is_not_best(record_of):
  whole = record_of('a', {('test', 'd', 'map'): [0.5, 0.6, 0.7]})
  part = record_of('b', {('test', 'd', 'map'): [0.9, math.nan, 0.9]})
  table = comparison.result_table([whole, part], 'toy', ['map'])
  best = {line.label: line.cells[0].best for line in table.lines}
  assert best == {'a': True, 'b': False}
  assert table.lines[1].cells[0].undefined == 1


def test_equal_means_are_both_best_and_one_seed_ties_with_nothing(record_of):
  same = {('test', 'd', 'map'): [0.5, 0.6]}
  table = comparison.result_table(
    [record_of('a', same), record_of('b', same)], 'toy', ['map']
  )
  assert [line.cells[0].best for line in table.lines] == [True, True]
  single = [
    record_of(m, {('test', 'd', 'map'): [v]})
    for m, v in (('a', 1.0), ('b', 0.0))
  ]
  table = comparison.result_table(single, 'toy', ['map'])
  assert [line.cells[0].tied for line in table.lines] == [False, False]


def test_a_score_stands_once_a_method_and_a_decision_always(records):
  table = comparison.result_table(records, 'yeast', ['f1_example', 'map'])
  for line in table.lines:
    decision, score = line.cells
    assert not decision.repeated
    assert score.repeated == (line.decoder != 'hamming')


def test_a_score_that_differs_by_decoder_is_not_hidden(record_of):
  record = record_of(
    'a', {('test', 'd', 'map'): [0.5, 0.6], ('test', 'e', 'map'): [0.5, 0.7]}
  )
  assert not comparison.shared(record, measure('map'), 'test')


def test_an_undefined_number_carries_its_reason(records):
  table = comparison.result_table(records, 'yeast', ['f1_macro'])
  cells = [
    line.cells[0] for line in table.lines if line.label == 'label_powerset'
  ]
  assert len(cells) == 3
  for cell in cells:
    assert math.isnan(cell.interval.mean)
    assert 'labels 3 and 7' in cell.reason
    assert not cell.best


def test_failed_runs_are_lines(records):
  table = comparison.result_table(records, 'movies', ['map'])
  (failed,) = [line for line in table.lines if not line.cells]
  assert failed.record.status == 'failed'


def test_a_gain_is_paired_signed_and_in_points(records):
  numbers = _numbers(records, 'yeast')
  for name, sign in (('subset_accuracy', 1), ('hamming_loss', -1)):
    found = {
      g.label: g
      for g in comparison.gains(records, 'yeast', measure(name), BASE)
    }
    assert len(found) == 4
    gain = found['label_powerset']
    mine = numbers['label_powerset', gain.decoder, name]
    base = numbers[BASE, gain.base_decoder, name]
    pair = [[v[s] for s in range(5)] for v in (mine, base)]
    low, high = scipy.stats.ttest_rel(*pair).confidence_interval()
    ends = sorted([100 * sign * low, 100 * sign * high])
    assert gain.interval.low == pytest.approx(ends[0])
    assert gain.interval.high == pytest.approx(ends[1])


def test_the_decoder_is_chosen_on_validation_and_not_on_test(record_of):
  record = record_of(
    'a',
    {
      ('validation', 'd', 'f1_example'): [0.6, 0.7],
      ('validation', 'e', 'f1_example'): [0.5, 0.6],
      ('test', 'd', 'f1_example'): [0.1, 0.2],
      ('test', 'e', 'f1_example'): [0.8, 0.9],
    },
  )
  chosen = comparison.choose_decoder(record, measure('f1_example'))
  assert chosen == ('d', 'validation')


def test_equal_rules_go_by_the_one_made_for_the_metric(record_of):
  values = {
    (split, d, 'subset_accuracy'): [0.5, 0.6]
    for d in ('hamming', 'subset')
    for split in ('validation', 'test')
  }
  chosen = comparison.choose_decoder(
    record_of('a', values), measure('subset_accuracy')
  )
  assert chosen == ('subset', 'validation')


def test_a_loss_chooses_the_lower_value(record_of):
  record = record_of(
    'a',
    {
      ('validation', 'd', 'hamming_loss'): [0.6],
      ('validation', 'e', 'hamming_loss'): [0.5],
      ('test', 'd', 'hamming_loss'): [0.6],
      ('test', 'e', 'hamming_loss'): [0.5],
    },
  )
  assert comparison.choose_decoder(record, measure('hamming_loss'))[0] == 'e'


def test_without_validation_the_decoder_is_the_one_made_for_the_metric(
  record_of,
):
  values = {
    ('test', d, 'f1_example'): [v]
    for d, v in (('hamming', 0.9), ('f_beta', 0.1))
  }
  chosen = comparison.choose_decoder(
    record_of('a', values), measure('f1_example')
  )
  assert chosen == ('f_beta', 'design')
  other = {('test', d, 'f1_example'): [v] for d, v in (('x', 0.1), ('y', 0.9))}
  chosen = comparison.choose_decoder(
    record_of('a', other), measure('f1_example')
  )
  assert chosen == ('y', 'test')


def test_a_regret_is_a_loss_in_points_of_its_metric():
  regret = measure('regret_f1_example')
  assert regret.title == 'regret in F1 by example'
  assert (regret.better, regret.scale, regret.sign) == ('lower', 100.0, -1.0)


def test_a_regret_without_validation_takes_the_decoder_made_for_it(record_of):
  values = {
    ('test', d, 'regret_f1_example'): [v]
    for d, v in (('hamming', 0.0), ('f_beta', 0.1))
  }
  chosen = comparison.choose_decoder(
    record_of('a', values), measure('regret_f1_example')
  )
  assert chosen == ('f_beta', 'design')


def test_the_baseline_is_the_one_under_the_same_conditions(record_of):
  value = {('test', 'd', 'map'): [0.5, 0.6]}
  plain = record_of(BASE, value, settings={'split': 'given', 'scaled': False})
  scaled = record_of(BASE, value, settings={'split': 'given', 'scaled': True})
  mine = record_of('a', value, settings={'split': 'given', 'scaled': True})
  found = comparison.baseline_of(mine, [plain, scaled, mine], BASE)
  assert found is scaled


def test_no_baseline_no_gain(records):
  assert comparison.gains(records, SYNTHETIC, measure('map'), BASE) == ()


def test_the_interval_of_a_gain_is_corrected_for_overlap(record_of):
  settings = {'split': 'holdout', 'test_fraction': 0.2}
  base = record_of(
    BASE, {('test', 'd', 'map'): [0.1, 0.2, 0.3]}, settings=settings
  )
  mine = record_of(
    'a', {('test', 'd', 'map'): [0.3, 0.3, 0.5]}, settings=settings
  )
  (gain,) = comparison.gains([base, mine], 'toy', measure('map'), BASE)
  spread = np.std([20.0, 10.0, 20.0], ddof=1)
  quantile = scipy.stats.t.ppf(0.975, 2)
  expected = quantile * spread * math.sqrt(1 / 3 + 0.2 / 0.8)
  assert gain.interval.half_width == pytest.approx(expected)


def test_a_metric_of_unknown_direction_has_no_best_and_no_gain(record_of):
  records = [
    record_of(m, {('test', 'd', 'novelty'): [v, v + 1]})
    for m, v in ((BASE, 1.0), ('a', 2.0))
  ]
  table = comparison.result_table(records, 'toy', ['novelty'])
  assert not any(line.cells[0].best for line in table.lines)
  assert comparison.gains(records, 'toy', measure('novelty'), BASE) == ()
