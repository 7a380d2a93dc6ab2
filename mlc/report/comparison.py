"""Cells, best ones and gains over a baseline: what tables and figures show.

Every interval here is in the unit shown (points of a share), and every gain is
signed so that positive is better, also for a loss.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mlc.report.records import Record, labels
from mlc.report.statistics import Interval, indistinguishable, paired
from mlc.report.vocabulary import (
  DEFAULT_METRICS,
  Measure,
  measure,
  vacancy,
)

# Which decoder optimises a metric: used where no validation rows can choose.
_DESIGNED = {
  'accuracy': 'subset',
  'subset_accuracy': 'subset',
  'hamming_loss': 'hamming',
  'hamming_accuracy': 'hamming',
  'f1_example': 'f_beta',
  'jaccard_example': 'jaccard',
}


class Cell(NamedTuple):
  """One number of a table.

  Attributes:
    interval: in the unit shown; mean NaN where nothing is defined.
    exactness: the words of its rows, joined when they differ.
    undefined: number of seeds and folds without a defined value.
    reason: why, where the mean is NaN or some values are undefined.
    best: the best mean of the column, among those over the most seeds.
    tied: not best, and not distinguishable from the best by a paired interval.
    repeated: the same for every decoder of the method, and shown above.
    vacant: for how many rows or labels of the data the metric is undefined, in
      each seed and fold where that was counted.
  """

  interval: Interval
  exactness: str = ''
  undefined: int = 0
  reason: str = ''
  best: bool = False
  tied: bool = False
  repeated: bool = False
  vacant: tuple[int, ...] = ()


class Line(NamedTuple):
  """One row of a table: a method with a decoder; none when it has no rows."""

  record: Record
  label: str
  decoder: str
  cells: tuple[Cell, ...]


class Table(NamedTuple):
  """Methods and decoders by metrics, of one data set and split."""

  dataset: str
  split: str
  measures: tuple[Measure, ...]
  lines: tuple[Line, ...]


class Gain(NamedTuple):
  """A method against the baseline on one metric.

  Attributes:
    label: of the method.
    metric: how it is shown.
    decoder: of the method.
    base_decoder: of the baseline.
    interval: both with the decoder that serves the metric best.
    naive: against the baseline with its default decoder; None when that is
      the one it has.
    chosen_on: `validation`, `design` (the decoder made for the metric) or
      `test`, where nothing else could choose.
  """

  label: str
  metric: Measure
  decoder: str
  base_decoder: str
  interval: Interval
  naive: Interval | None
  chosen_on: str


def datasets(records: Sequence[Record]) -> tuple[str, ...]:
  """In the order of the records."""
  return tuple(dict.fromkeys(record.dataset for record in records))


def of_dataset(records: Sequence[Record], dataset: str) -> tuple[Record, ...]:
  return tuple(record for record in records if record.dataset == dataset)


def available(
  records: Sequence[Record], wanted: Sequence[str], split: str = 'test'
) -> tuple[str, ...]:
  """Those of the wanted metrics that some row has; else the known, else any."""
  present = {
    metric for r in records for (where, metric, _) in r.cells if where == split
  }
  for choice in (wanted, DEFAULT_METRICS, sorted(present)):
    found = tuple(name for name in choice if name in present)
    if found:
      return found
  return ()


def result_table(
  records: Sequence[Record],
  dataset: str,
  metrics: Sequence[str],
  split: str = 'test',
) -> Table:
  """Mean and interval of every method and decoder, the best marked.

  A score (average precision, log-likelihood) does not depend on the decoder:
  it stands in the first line of its method, and `repeated` in the others.
  """
  mine = of_dataset(records, dataset)
  names = labels(records)
  measures = tuple(measure(m) for m in available(mine, metrics, split))
  lines = []
  for record in mine:
    decoders = record.decoders if record.status == 'ok' else ()
    if not decoders:
      lines.append(Line(record, names[record.run_id], '', ()))
    for decoder in decoders:
      cells = tuple(_cell(record, decoder, m, split) for m in measures)
      lines.append(Line(record, names[record.run_id], decoder, cells))
  for column, metric in enumerate(measures):
    lines = _marked(lines, column, metric, split)
  return Table(dataset, split, measures, tuple(lines))


def vacancies(table: Table) -> tuple[str, ...]:
  """For how many rows or labels each metric is undefined: `mAP 1 to 3 labels`.

  Over all lines, seeds and folds; metrics that never are come not at all.
  """
  cells = [line.cells for line in table.lines if line.cells]
  found = []
  for i, metric in enumerate(table.measures):
    text = vacancy(metric, (n for some in cells for n in some[i].vacant))
    found += [f'{metric.title} {text}'] if text else []
  return tuple(found)


def conventions(records: Sequence[Record]) -> tuple[str, ...]:
  """What is counted where a metric is undefined, by name."""
  said = (str(r.settings.get('metric_convention', 'mlc')) for r in records)
  return tuple(dict.fromkeys(said))


def shared(record: Record, metric: Measure, split: str) -> bool:
  """Whether the metric has the same values with every decoder."""
  if metric.needs == 'decisions':
    return False
  all_values = [record.values(d, metric.name, split) for d in record.decoders]
  return all(not v or v == all_values[0] for v in all_values)


def baseline_of(
  record: Record, records: Sequence[Record], baseline: str
) -> Record | None:
  """The baseline run on the same data set whose settings are nearest."""

  def agreement(other: Record) -> int:
    facts = {'encoder': other.encoder, 'loss': other.loss, **other.settings}
    mine = {'encoder': record.encoder, 'loss': record.loss, **record.settings}
    return sum(mine.get(key) == value for key, value in facts.items())

  possible = [
    r
    for r in of_dataset(records, record.dataset)
    if r.method == baseline and r.status == 'ok'
  ]
  return max(possible, key=agreement, default=None)


def difference(
  a: tuple[Record, str], b: tuple[Record, str], metric: Measure, split: str
) -> Interval:
  """The gain of (record, decoder) a over b, paired, in the unit shown."""
  interval = paired(
    a[0].values(a[1], metric.name, split),
    b[0].values(b[1], metric.name, split),
    overlap=max(a[0].sampling.overlap, b[0].sampling.overlap),
  )
  return interval.scaled(metric.sign * metric.scale)


def choose_decoder(record: Record, metric: Measure) -> tuple[str, str] | None:
  """The decoder for a metric, and what chose it: see `Gain.chosen_on`."""
  having = [d for d in record.decoders if record.values(d, metric.name, 'test')]
  if not having:
    return None
  if shared(record, metric, 'test'):
    return having[0], 'design'
  designed = _DESIGNED.get(metric.name.removeprefix('regret_'))
  judged = [d for d in having if record.values(d, metric.name, 'validation')]
  split = 'validation' if judged else 'test'
  if not judged and designed in having:
    return str(designed), 'design'

  def merit(decoder: str) -> tuple[float, bool]:
    # Independent labels have the same decision by several rules.
    return score(record, decoder, metric, split), decoder == designed

  return max(judged or having, key=merit), split


def own_decoder(record: Record, metric: Measure) -> str | None:
  """The decoder made for a metric, or else the one that validation chooses."""
  designed = _DESIGNED.get(metric.name.removeprefix('regret_'))
  if designed and record.values(designed, metric.name, 'test'):
    return designed
  choice = choose_decoder(record, metric)
  return choice[0] if choice else None


def score(record: Record, decoder: str, metric: Measure, split: str) -> float:
  """The mean, signed so that more is better."""
  values = record.values(decoder, metric.name, split).values()
  return metric.sign * math.fsum(values) / len(values) if values else -math.inf


def gain(
  record: Record, records: Sequence[Record], metric: Measure, baseline: str
) -> Gain | None:
  """The gain of a method over the baseline; None when one has no number."""
  base = baseline_of(record, records, baseline)
  if base is None or metric.better is None:
    return None
  mine, its = choose_decoder(record, metric), choose_decoder(base, metric)
  if mine is None or its is None:
    return None
  fair = difference((record, mine[0]), (base, its[0]), metric, 'test')
  if fair.n == 0:
    return None
  default = 'hamming' if 'hamming' in base.decoders else base.decoders[0]
  naive = None
  if default != its[0] and not shared(base, metric, 'test'):
    naive = difference((record, mine[0]), (base, default), metric, 'test')
  no_decoder = shared(record, metric, 'test') and shared(base, metric, 'test')
  used = ('', '') if no_decoder else (mine[0], its[0])
  order = ('test', 'validation', 'design')
  chosen_on = min(mine[1], its[1], key=order.index)
  name = labels(records)[record.run_id]
  return Gain(name, metric, *used, fair, naive, chosen_on)


def gains(
  records: Sequence[Record], dataset: str, metric: Measure, baseline: str
) -> tuple[Gain, ...]:
  """The gain of every other method on a data set."""
  others = [r for r in of_dataset(records, dataset) if r.method != baseline]
  found = (gain(r, records, metric, baseline) for r in others)
  return tuple(g for g in found if g is not None)


def _cell(record: Record, decoder: str, metric: Measure, split: str) -> Cell:
  rows = record.cells.get((split, metric.name, decoder), ())
  if not rows:
    return Cell(Interval(math.nan, None, 0), reason='not measured by this run')
  kept = [r for r in rows if (r.seed, r.fold) not in record.diverged]
  lost = [r for r in kept if not math.isfinite(r.value)]
  why = '; '.join(dict.fromkeys(r.reason for r in lost if r.reason))
  if lost and not why:
    why = 'undefined on these rows under the convention of the metric'
  if not kept:
    why = 'every seed diverged'
  interval = record.interval(decoder, metric.name, split)
  return Cell(
    interval.scaled(metric.scale),
    ' / '.join(dict.fromkeys(r.exactness for r in rows if r.exactness)),
    len(lost),
    why,
    repeated=decoder != record.decoders[0] and shared(record, metric, split),
    vacant=tuple(r.undefined for r in kept if r.undefined is not None),
  )


def _marked(
  lines: Sequence[Line], column: int, metric: Measure, split: str
) -> list[Line]:
  """The lines with `best` and `tied` set in one column."""
  running = [
    line
    for line in lines
    if line.cells
    and math.isfinite(line.cells[column].interval.mean)
    and not line.cells[column].repeated
  ]
  if metric.better is None or len(running) < 2:
    return list(lines)
  # A mean over fewer seeds, some lost or undefined, is not held against the
  # others' means; it can tie, by the pairs that it has.
  most = max(line.cells[column].interval.n for line in running)
  full = [line for line in running if line.cells[column].interval.n == most]
  means = [metric.sign * line.cells[column].interval.mean for line in full]
  best = full[means.index(max(means))]

  def mark(line: Line) -> Line:
    if not any(line is other for other in running):
      return line
    cell = line.cells[column]
    if any(line is other for other in full) and (
      cell.interval.mean == best.cells[column].interval.mean
    ):
      cell = cell._replace(best=True)
    else:
      pair = ((best.record, best.decoder), (line.record, line.decoder))
      tied = indistinguishable(difference(*pair, metric, split))
      cell = cell._replace(tied=tied)
    cells = (*line.cells[:column], cell, *line.cells[column + 1 :])
    return line._replace(cells=cells)

  return [mark(line) for line in lines]
