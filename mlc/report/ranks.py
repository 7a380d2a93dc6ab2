"""Methods ranked over data sets, and which of them can be told apart.

Data sets are the blocks: seeds and folds are averaged within one, since they
say nothing about another data set. Each method has the decoder made for the
metric.
"""

import csv
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from mlc.report import block_tests, comparison
from mlc.report.block_tests import ALPHA, Test
from mlc.report.records import Record, labels
from mlc.report.vocabulary import Measure, measure

RANK_COLUMNS = ('metric', 'method', 'average_rank', 'data_sets', 'test')

# Of three data sets one order in six agrees by chance.
_LEAST_FOR_TREND = 5


class Ranking(NamedTuple):
  """The methods on one metric over data sets.

  Attributes:
    metric: how it is shown.
    methods: names, best average rank first.
    ranks: average rank of each, 1 the best, ties shared.
    datasets: the blocks.
    friedman: p-value for "all methods are alike".
    test: which pairwise test made the groups.
    p_values: of pairs in the order of `methods`, adjusted for their number.
    critical_difference: in ranks; None where the test knows none.
    groups: (first, last) positions that no pair within tells apart.
    failed: (data set, method) that failed and rank last.
    left_out: what is not ranked, and why.
    reason: why nothing is drawn; empty when there is a ranking.
  """

  metric: Measure
  methods: tuple[str, ...] = ()
  ranks: tuple[float, ...] = ()
  datasets: tuple[str, ...] = ()
  friedman: float = math.nan
  test: Test = 'wilcoxon-holm'
  p_values: np.ndarray = np.ones((0, 0))
  critical_difference: float | None = None
  groups: tuple[tuple[int, int], ...] = ()
  failed: tuple[tuple[str, str], ...] = ()
  left_out: tuple[str, ...] = ()
  reason: str = ''


class Scores(NamedTuple):
  """What is ranked: [data sets, methods], more is better, NaN for failed."""

  table: np.ndarray
  datasets: tuple[str, ...]
  methods: tuple[str, ...]
  left_out: tuple[str, ...]


def rankings(
  records: Sequence[Record], metrics: Sequence[str], count: int = 6
) -> tuple[Ranking, ...]:
  """One ranking for each of the first metrics whose direction is known."""
  found = [measure(m) for m in comparison.available(records, metrics)]
  wanted = [m for m in found if m.better][:count]
  return tuple(ranking(records, metric) for metric in wanted)


def ranking(records: Sequence[Record], metric: Measure) -> Ranking:
  """Ranks the methods on a metric, or says why that would claim too much.

  Wilcoxon's signed-rank test with Holm's correction where the data sets are
  enough for it ever to reject; else the test of the range of rank sums, which
  compares all methods at once; else nothing.
  """
  seen = scores(records, metric)
  k, n = len(seen.methods), len(seen.datasets)
  if k < 3:
    return Ranking(
      metric,
      left_out=seen.left_out,
      reason='of methods that have run on every data set three are needed; '
      f'there {"is" if k == 1 else "are"} {k}.',
    )
  test = block_tests.choose(n, k)
  if test is None:
    least = block_tests.needed(k, 'range')
    full = block_tests.needed(k, 'wilcoxon-holm')
    return Ranking(
      metric,
      left_out=seen.left_out,
      reason=f'{n} data sets cannot tell {k} methods apart, whatever the '
      f'numbers: {least} are the least with which a test can reject (on all '
      f'ranks at once), and {full} for Wilcoxon-Holm on pairs.',
    )
  ranks = block_tests.ranks_of(seen.table)
  mean = ranks.mean(axis=0)
  order = np.argsort(mean, kind='stable')
  friedman = block_tests.friedman(ranks)
  pairs = block_tests.pairwise(seen.table, test)
  p = pairs.p_values[np.ix_(order, order)]
  # Without a difference among all, none is looked for in pairs.
  alike = p > ALPHA if friedman <= ALPHA else np.ones((k, k), bool)
  return Ranking(
    metric=metric,
    methods=tuple(seen.methods[i] for i in order),
    ranks=tuple(float(mean[i]) for i in order),
    datasets=seen.datasets,
    friedman=friedman,
    test=test,
    p_values=p,
    critical_difference=pairs.critical_difference,
    groups=groups(alike),
    failed=tuple(
      (seen.datasets[i], seen.methods[j])
      for i, j in np.argwhere(np.isnan(seen.table))
    ),
    left_out=seen.left_out,
  )


def scores(records: Sequence[Record], metric: Measure) -> Scores:
  """The mean of every method on every data set, signed: more is better.

  A failed run is NaN. A data set with an unfinished run, or without a number
  from anyone, is left out; so is a method that was not run on all the others,
  or finished without this metric.
  """
  names = labels(records)
  runs = {(r.dataset, names[r.run_id]): r for r in records}
  left_out = []
  blocks = []
  for dataset in comparison.datasets(records):
    mine = comparison.of_dataset(records, dataset)
    if any(r.status == 'unfinished' for r in mine):
      left_out.append(f'{dataset}: not all of its runs have finished')
    elif all(_mean(r, metric) is None for r in mine):
      left_out.append(f'{dataset}: no run has this metric')
    else:
      blocks.append(dataset)
  methods = []
  for name in dict.fromkeys(name for _, name in runs):
    there = [runs[d, name] for d in blocks if (d, name) in runs]
    if len(there) < len(blocks):
      left_out.append(f'{name}: run on {len(there)} of {len(blocks)} data sets')
    elif any(r.status == 'ok' and not _has(r, metric) for r in there):
      left_out.append(f'{name}: finished without this metric')
    elif blocks:
      methods.append(name)
  table = np.array(
    [[_mean(runs[d, m], metric) for m in methods] for d in blocks], np.float64
  ).reshape(len(blocks), len(methods))
  return Scores(table, tuple(blocks), tuple(methods), tuple(left_out))


def groups(alike: np.ndarray) -> tuple[tuple[int, int], ...]:
  """Longest stretches of neighbours in rank no two of which differ."""
  found: list[tuple[int, int]] = []
  for first in range(len(alike)):
    last = first
    while (
      last + 1 < len(alike) and alike[first : last + 2, first : last + 2].all()
    ):
      last += 1
    if last > first and (not found or last > found[-1][1]):
      found.append((first, last))
  return tuple(found)


def ranks_csv(found: Sequence[Ranking]) -> str:
  """ranks.csv: one row a metric and method."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(RANK_COLUMNS)
  for r in found:
    for method, rank in zip(r.methods, r.ranks, strict=True):
      row = (r.metric.name, method, repr(rank), len(r.datasets), r.test)
      writer.writerow(row)
  return text.getvalue()


def _has(record: Record, metric: Measure) -> bool:
  """Whether the run measured it, be it on diverged seeds only."""
  return any(
    split == 'test' and name == metric.name for split, name, _ in record.cells
  )


def _mean(record: Record, metric: Measure) -> float | None:
  """The signed mean over seeds and folds; None where there is none."""
  decoder = comparison.own_decoder(record, metric)
  if record.status != 'ok' or decoder is None:
    return None
  return comparison.score(record, decoder, metric, 'test')


def agreement(x: Sequence[float], y: Sequence[float]) -> float | None:
  """Spearman's rank correlation; None of few, or where a side is constant."""
  if len(x) < _LEAST_FOR_TREND or np.ptp(x) == 0 or np.ptp(y) == 0:
    return None
  return float(scipy.stats.spearmanr(x, y).statistic)
