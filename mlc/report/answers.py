"""The answer of a study in sentences, made from its numbers.

For each data set and metric one method is compared with the baseline, both
with the decoder that serves the metric best. Method and decoders are chosen on
validation rows, so that the test rows choose nothing and the interval of the
difference means what it says.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from mlc.report import comparison
from mlc.report.comparison import Gain
from mlc.report.records import Record
from mlc.report.statistics import Interval
from mlc.report.vocabulary import Measure, measure

Verdict = Literal['better', 'worse', 'unclear', 'undecided']


class Piece(NamedTuple):
  """A part of a sentence.

  `kind` is `text`, `name` (of a method or data set), or, for a number,
  `better`, `worse` or `number`.
  """

  kind: str
  text: str


class Answer(NamedTuple):
  """What a study says about one data set.

  Attributes:
    dataset: its name.
    verdicts: metric name -> verdict.
    clauses: the parts of the sentence, one a metric.
    chosen: how the methods and decoders in it were chosen, as a sentence;
      empty without a comparison.
  """

  dataset: str
  verdicts: dict[str, Verdict]
  clauses: tuple[tuple[Piece, ...], ...]
  chosen: str = ''

  @property
  def text(self) -> str:
    said = (''.join(piece.text for piece in c) for c in self.clauses)
    return '; '.join(said) + '.'


def headline_metrics(
  records: Sequence[Record],
  dataset: str,
  metrics: Sequence[str],
  count: int = 3,
) -> tuple[Measure, ...]:
  """What a data set is answered for: the first of its metrics."""
  mine = comparison.of_dataset(records, dataset)
  found = [measure(m) for m in comparison.available(mine, metrics)]
  return tuple([m for m in found if m.better][:count])


def answers(
  records: Sequence[Record], baseline: str, metrics: Sequence[str]
) -> tuple[Answer, ...]:
  """One answer a data set, in the order of the records."""
  return tuple(
    _answer(records, dataset, baseline, metrics)
    for dataset in comparison.datasets(records)
  )


def overall(found: Sequence[Answer], baseline: str) -> str:
  """One sentence over the data sets; empty without a comparison."""
  clauses = []
  metrics = list(dict.fromkeys(m for answer in found for m in answer.verdicts))
  for name in metrics:
    sides: dict[str, list[str]] = {}
    for answer in found:
      if name in answer.verdicts:
        sides.setdefault(answer.verdicts[name], []).append(answer.dataset)
    count = sum(map(len, sides.values()))
    said = [
      f'{word} on {_listed(sides[key], count)}'
      for key, word in _OVERALL
      if key in sides
    ]
    clauses.append(f'{measure(name).title} {", ".join(said)}')
  if not clauses:
    return ''
  return f'Against {baseline.replace("_", " ")}: {"; ".join(clauses)}.'


_OVERALL = (
  ('better', 'better'),
  ('unclear', 'no clear difference'),
  ('worse', 'worse'),
  ('undecided', 'without interval'),
)


def baseline_title(record: Record | None, baseline: str) -> str:
  """`tuned` only where a search on validation chose its hyperparameters."""
  name = baseline.replace('_', ' ')
  if record is None or len(record.candidates) <= len(record.units):
    return name
  return f'tuned {name}'


def signed(value: float, decimals: int = 1) -> str:
  """With a sign, a true minus, and no negative zero."""
  text = f'{value:+.{decimals}f}'
  if float(text) == 0.0:
    text = f'{0.0:.{decimals}f}'
  return text.replace('-', '\N{MINUS SIGN}')


def amount(interval: Interval, unit: str) -> str:
  """A gain with its interval: +4.1 points [3.2, 5.0]."""
  places = _places(interval)
  words = f'{signed(interval.mean, places)} {unit}'.strip()
  if interval.half_width is None:
    return words
  low, high = (
    signed(v, places).removeprefix('+')
    for v in (
      interval.mean - interval.half_width,
      interval.mean + interval.half_width,
    )
  )
  return f'{words} [{low}, {high}]'


def _places(interval: Interval) -> int:
  """Decimals: one, more where the interval or a bound is below a tenth."""
  width = interval.half_width
  if not width:
    return 1
  # A bound that rounds to 0 would hide on which side of 0 it lies.
  nearest = min(abs(interval.mean - width), abs(interval.mean + width))
  size = min(width, max(2.0 * nearest, 0.01))
  return 1 if size >= 0.1 else min(3, -math.floor(math.log10(size)))


def _answer(
  records: Sequence[Record],
  dataset: str,
  baseline: str,
  metrics: Sequence[str],
) -> Answer:
  mine = comparison.of_dataset(records, dataset)
  chosen: list[Gain] = []
  for metric in headline_metrics(records, dataset, metrics):
    best = _contender(records, dataset, metric, baseline)
    if best is not None:
      chosen.append(best)
  if not chosen:
    alone = _no_answer(mine, dataset, baseline, metrics)
    return Answer(dataset, {}, (alone,))
  base = next(r for r in mine if r.method == baseline and r.status == 'ok')
  title = baseline_title(base, baseline)
  order: tuple[Verdict, ...] = ('better', 'worse', 'unclear', 'undecided')
  verdicts = {g.metric.name: _verdict(g.interval) for g in chosen}
  ordered = sorted(chosen, key=lambda g: order.index(verdicts[g.metric.name]))
  clauses = [
    _clause(found, verdicts[found.metric.name], '' if i else title)
    for i, found in enumerate(ordered)
  ]
  clauses[0] = [*_on(dataset), *clauses[0]]
  return Answer(
    dataset, verdicts, tuple(map(tuple, clauses)), _how(mine, chosen)
  )


def _on(dataset: str) -> list[Piece]:
  return [Piece('text', 'On '), Piece('name', dataset), Piece('text', ', ')]


def _contender(
  records: Sequence[Record], dataset: str, metric: Measure, baseline: str
) -> Gain | None:
  """The method that stands for modelling dependence: best on validation."""
  judged: list[tuple[bool, float, Gain]] = []
  for record in comparison.of_dataset(records, dataset):
    found = None
    if record.method != baseline:
      found = comparison.gain(record, records, metric, baseline)
    if found is None:
      continue
    choice = comparison.choose_decoder(record, metric)
    decoder = choice[0] if choice else ''
    on_validation = bool(record.values(decoder, metric.name, 'validation'))
    split = 'validation' if on_validation else 'test'
    score = comparison.score(record, decoder, metric, split)
    judged.append((on_validation, score, found))
  # A single seed must not speak for the others by a lucky number.
  several = [entry for entry in judged if entry[2].interval.n > 1]
  judged = several or judged
  if not judged:
    return None
  fair = all(on_validation for on_validation, _, _ in judged)
  best = max(judged, key=lambda entry: entry[1])[2]
  if not fair and len(judged) > 1:
    return best._replace(chosen_on='test')
  return best


def _verdict(interval: Interval) -> Verdict:
  if interval.half_width is None:
    same = interval.n > 1 and interval.mean == 0.0
    return 'unclear' if same else 'undecided'
  if interval.side == 0:
    return 'unclear'
  return 'better' if interval.side > 0 else 'worse'


def _clause(found: Gain, verdict: Verdict, title: str) -> list[Piece]:
  """One metric; `title` names the baseline and is given once a sentence."""
  number = amount(found.interval, found.metric.unit)
  metric = found.metric.title
  name = Piece('name', found.label)
  if verdict in ('better', 'worse'):
    link = {
      'better': f' beats {title} in {metric} by ',
      'worse': f' is worse than {title} in {metric}, ',
    }[verdict]
    start = [name, Piece('text', link)]
    if not title:
      start = [Piece('text', f'{metric}: '), name]
      start += [Piece('text', f' is {verdict}, ')]
    return [*start, Piece(verdict, number), Piece('text', _decoders(found))]
  if verdict == 'undecided':
    start = [Piece('text', f'{metric}: ')]
    if title:
      start = [Piece('text', f'against {title} in {metric}: ')]
    why = f', without interval ({found.interval.reason})'
    end = Piece('text', _decoders(found) + why)
    return [*start, name, Piece('text', ' '), Piece('number', number), end]
  word = f'{metric}: no clear difference'
  if title:
    word = f'no clear difference from {title} in {metric}'
  return [
    Piece('text', word),
    Piece('text', _once(found) + ' ('),
    name,
    Piece('text', ' '),
    Piece('number', number),
    Piece('text', ')'),
  ]


def _decoders(found: Gain) -> str:
  if not found.decoder:
    return ''
  if found.decoder == found.base_decoder:
    return f' (both with the {found.decoder} decoder)'
  return f' ({found.decoder} decoder against {found.base_decoder})'


def _once(found: Gain) -> str:
  """Says `once` where a decoder that only one side had made the gain."""
  if not found.decoder:
    return ''
  once = found.naive is not None and found.naive.side > 0
  word = ' once' if once else ' when'
  if found.decoder == found.base_decoder:
    return f'{word} both use the {found.decoder} decoder'
  return f'{word} each has its best decoder'


def _how(mine: Sequence[Record], chosen: Sequence[Gain]) -> str:
  how = {found.chosen_on for found in chosen}
  if 'test' in how:
    return (
      'Without validation rows for all, method or decoder were picked on the '
      'test part: the gain is optimistic.'
    )
  several = len({r.method for r in mine}) > 2
  validated = any(split == 'validation' for r in mine for split, *_ in r.cells)
  if not validated:
    return 'Each metric with the decoder made for it; nothing is picked.'
  what = 'Method and decoders' if several else 'Decoders'
  return f'{what} are chosen on validation rows; the test part chooses nothing.'


def _no_answer(
  mine: Sequence[Record],
  dataset: str,
  baseline: str,
  metrics: Sequence[str],
) -> tuple[Piece, ...]:
  """Why there is no comparison, and what the numbers say alone."""
  runs = [r for r in mine if r.method == baseline]
  title = baseline.replace('_', ' ')
  if not runs:
    why = f'no comparison: {title} was not run'
  elif all(r.status != 'ok' for r in runs):
    word = 'failed' if runs[0].status == 'failed' else 'has not finished'
    why = f'no comparison: {title} {word}'
  elif len(mine) == len(runs):
    why = f'no comparison: only {title} was run'
  else:
    why = f'no comparison: no other method has a number beside {title}'
  start = [*_on(dataset), Piece('text', why)]
  for metric in headline_metrics(mine, dataset, metrics, 1):
    table = comparison.result_table(mine, dataset, (metric.name,))
    best = [line for line in table.lines if line.cells and line.cells[0].best]
    if best:
      value = best[0].cells[0].interval
      width = value.half_width
      around = '' if width is None else f' ± {width:.1f}'
      decoder = '' if metric.needs != 'decisions' else f' ({best[0].decoder})'
      start += [
        Piece('text', f'. Highest in {metric.title}: ')
        if metric.better == 'higher'
        else Piece('text', f'. Lowest in {metric.title}: '),
        Piece('name', best[0].label),
        Piece('text', f'{decoder} with {value.mean:.1f}{around}'),
      ]
  return tuple(start)


def _listed(names: Sequence[str], count: int) -> str:
  """a, b and c; `all 5 data sets` when they are all; a number when many."""
  if len(names) == count and count > 2:
    return f'all {count} data sets'
  if len(names) > 3:
    return f'{len(names)} of the {count} data sets'
  if len(names) == 1:
    return names[0]
  return f'{", ".join(names[:-1])} and {names[-1]}'
