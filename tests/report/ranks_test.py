import dataclasses
import itertools
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.stats

from mlc.report import block_tests, figures, html, rank_plot, ranks
from mlc.report.rank_plot import RankPlot
from mlc.report.vocabulary import measure
from mlc.report.writing import write_report

METRIC = 'f1_example'
NAMES = ('a', 'b', 'c', 'd')


@pytest.fixture
def study(record_of):
  """Makes records from [data sets, methods] means, two seeds each."""

  def make(table, decoder='f_beta', metric=METRIC):
    return [
      record_of(
        NAMES[j],
        {
          ('test', 'hamming', metric): [0.0, 0.0],
          ('test', decoder, metric): [value - 0.01, value + 0.01],
        },
        dataset=f'set-{i}',
      )
      for i, row in enumerate(table)
      for j, value in enumerate(row)
    ]

  return make


def _table(blocks, methods=4):
  rng = np.random.default_rng(0)
  return rng.random((blocks, methods)) * 0.05 + np.linspace(0.6, 0.5, methods)


def test_ranks_are_of_means_with_the_metrics_own_decoder(study):
  table = _table(6)
  found = ranks.ranking(study(table), measure(METRIC))
  expected = scipy.stats.rankdata(-table, axis=1).mean(axis=0)
  assert dict(zip(found.methods, found.ranks, strict=True)) == pytest.approx(
    dict(zip(NAMES, expected, strict=True))
  )
  assert list(found.ranks) == sorted(found.ranks)
  assert found.datasets == tuple(f'set-{i}' for i in range(6))


def test_of_a_loss_the_lowest_is_first(study):
  records = study(_table(4), 'hamming', 'hamming_loss')
  found = ranks.ranking(records, measure('hamming_loss'))
  assert found.methods[0] == 'd'


def test_groups_join_what_wilcoxon_and_holm_do_not_tell_apart(study):
  table = _table(10, 3)
  table[:, 1] = table[:, 0] + np.tile([0.01, -0.011], 5) * np.arange(1, 11)
  table[:, 2] = 0.2 + table[:, 2] / 10
  found = ranks.ranking(study(table), measure(METRIC))
  assert found.test == 'wilcoxon-holm'
  assert found.critical_difference is None
  raw = {
    pair: scipy.stats.wilcoxon(table[:, pair[0]], table[:, pair[1]]).pvalue
    for pair in itertools.combinations(range(3), 2)
  }
  assert raw[0, 1] > 0.05
  assert max(raw[0, 2], raw[1, 2]) < 0.05 / 3
  assert found.groups == ((0, 1),)
  assert found.methods[2] == 'c'


def test_few_data_sets_are_compared_by_all_their_ranks_at_once(study):
  table = np.tile([0.9, 0.8, 0.7, 0.6], (5, 1))
  found = ranks.ranking(study(table), measure(METRIC))
  assert found.test == 'range'
  assert found.friedman < 0.001
  ranked = block_tests.ranks_of(table)
  expected = block_tests.range_test(ranked)
  assert found.critical_difference == expected.critical_difference
  assert 1 < found.critical_difference <= 3
  apart = {(a, b) for a, b in itertools.combinations(range(4), 2)}
  joined = {
    pair
    for pair in apart
    if any(a <= pair[0] and pair[1] <= b for a, b in found.groups)
  }
  assert joined == {p for p in apart if expected.p_values[p] > 0.05}


def test_too_few_are_refused_with_the_number_that_would_do(study):
  found = ranks.ranking(study(_table(2)), measure(METRIC))
  assert found.methods == ()
  assert '2 data sets cannot tell 4 methods apart' in found.reason
  assert '3 are the least' in found.reason
  assert '8 for Wilcoxon-Holm' in found.reason  # 2^-7 <= 0.05 / 6
  found = ranks.ranking(study(_table(9, 2)), measure(METRIC))
  assert 'three are needed' in found.reason


def test_without_a_difference_among_all_one_bar_joins_all(study):
  rng = np.random.default_rng(1)
  found = ranks.ranking(study(rng.random((6, 4))), measure(METRIC))
  assert found.friedman > 0.05
  assert found.groups == ((0, 3),)
  assert 'no difference among all' in rank_plot.caption(found)


def test_a_failed_run_ranks_last_and_is_named(study):
  records = study(_table(6))
  records[0] = dataclasses.replace(records[0], status='failed', rows=())
  found = ranks.ranking(records, measure(METRIC))
  whole = ranks.ranking(study(_table(6)), measure(METRIC))
  assert found.failed == (('set-0', 'a'),)
  before, after = (
    dict(zip(r.methods, r.ranks, strict=True)) for r in (whole, found)
  )
  first = scipy.stats.rankdata(-_table(6)[0])[0]
  assert after['a'] - before['a'] == pytest.approx((4 - first) / 6)
  assert 'a on set-0' in rank_plot.caption(found)


def test_an_unfinished_run_leaves_its_data_set_out(study):
  records = study(_table(6))
  records[5] = dataclasses.replace(records[5], status='unfinished', rows=())
  found = ranks.ranking(records, measure(METRIC))
  assert found.datasets == tuple(f'set-{i}' for i in (0, 2, 3, 4, 5))
  assert any('set-1' in text for text in found.left_out)


def test_a_method_without_the_metric_or_not_run_is_left_out(study):
  records = study(_table(6))
  there = [r for r in records if r.run_id != 'set-2-d-0000000000']
  found = ranks.ranking(there, measure(METRIC))
  assert set(found.methods) == {'a', 'b', 'c'}
  assert 'd: run on 5 of 6 data sets' in found.left_out
  records[3] = dataclasses.replace(records[3], rows=())
  found = ranks.ranking(records, measure(METRIC))
  assert 'd: finished without this metric' in found.left_out


@pytest.mark.parametrize(
  ('alike', 'expected'),
  [
    (np.eye(4), ()),
    (np.ones((4, 4)), ((0, 3),)),
    # 0-1 and 1-2 are alike, 0-2 are not; 3 stands alone.
    (
      [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]],
      ((0, 1), (1, 2)),
    ),
    # 0-2 are alike across 1, which differs from 2: no bar over it.
    (
      [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 1, 1]],
      ((0, 1), (2, 3)),
    ),
  ],
)
def test_groups_are_the_longest_stretches_alike(alike, expected):
  assert ranks.groups(np.asarray(alike, bool)) == expected


def test_bars_with_a_method_in_common_do_not_touch():
  assert rank_plot.tiers(((0, 2), (1, 3), (3, 4))) == [
    [(0, 2), (3, 4)],
    [(1, 3)],
  ]
  assert rank_plot.tiers(((0, 1), (1, 2))) == [[(0, 1)], [(1, 2)]]


def test_the_diagram_names_every_method_with_its_rank(study):
  found = ranks.ranking(study(_table(6)), measure(METRIC))
  svg = figures.panel(RankPlot(found))
  texts = ''.join(ElementTree.fromstring(svg).itertext())
  for name, rank in zip(found.methods, found.ranks, strict=True):
    assert name in texts
    assert f'{rank:.2f}' in texts
  assert f'critical difference {found.critical_difference:.2f}' in texts
  forms = figures.sheet([RankPlot(found)], 2, 'Ranks')
  assert forms['pdf'].startswith(b'%PDF')


@pytest.mark.slow
def test_the_page_shows_diagrams_or_says_why_not(study, tmp_path):
  page = write_report(tmp_path, study(_table(6)), baseline='a').page
  text = page.read_text()
  assert 'Ranks over the data sets' in text
  assert 'ranks last on its data set' in text
  assert (tmp_path / 'figures' / 'ranks.pdf').exists()
  rows = (tmp_path / 'ranks.csv').read_text().splitlines()
  assert rows[0] == 'metric,method,average_rank,data_sets,test'
  assert len(rows) == 5
  text = html.page(study(_table(2)), baseline='a')
  assert '2 data sets cannot tell 4 methods apart' in text
  assert 'ranks last' not in text
  text = html.page(study(_table(6, 2)), baseline='a')
  assert 'Ranks over the data sets' not in text
