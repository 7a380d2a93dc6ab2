"""Contradictions by method, and what each way of keeping rules gains."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from experiments.findings.findings import Figure, Findings
from experiments.studies.conflicts import BASELINE, WAYS
from mlc.report.answers import signed
from mlc.report.comparison import datasets, difference, of_dataset
from mlc.report.dot_panels import dot_panels
from mlc.report.records import Record
from mlc.report.statistics import Interval
from mlc.report.vocabulary import measure

# Metric -> the decoder that is made for it.
_MADE_FOR = {'subset_accuracy': 'subset', 'hamming_loss': 'hamming'}


class Contender(NamedTuple):
  """A run with a way of keeping rules; '' for none."""

  record: Record
  way: str

  @property
  def title(self) -> str:
    name = self.record.method.replace('_', ' ')
    return f'{name}, {self.way}' if self.way else name

  def decoder(self, base: str) -> str:
    return f'{base}_{self.way}' if self.way else base


def _contenders(records: Iterable[Record]) -> list[Contender]:
  return [Contender(r, way) for r in records for way in ('', *WAYS)]


def _gain(mine: Contender, its: Contender, metric: str) -> Interval:
  """By how much a metric is better, paired over seeds, in points."""
  decoder = _MADE_FOR[metric]
  return difference(
    (mine.record, mine.decoder(decoder)),
    (its.record, its.decoder(decoder)),
    measure(metric),
    'test',
  )


def _breaking(mine: Contender, decoder: str) -> Interval:
  """The test rows that break a rule, in points."""
  found = mine.record.interval(mine.decoder(decoder), 'inconsistency', 'test')
  return found.scaled(100.0)


def _dot(interval: Interval) -> tuple[float, float, float] | None:
  if not interval.n or not math.isfinite(interval.mean):
    return None
  half = interval.half_width or 0.0
  return interval.mean, interval.mean - half, interval.mean + half


def _figures(records: Sequence[Record]) -> list[Figure]:
  """Contradictions, and what it gains and costs to have none."""
  grid, families = [], {}
  for dataset in datasets(records):
    mine = _contenders(of_dataset(records, dataset))
    base = _baseline(mine)
    broken: dict[str, dict[str, Any]] = {}
    gained: dict[str, dict[str, dict[str, Any]]] = {m: {} for m in _MADE_FOR}
    for one in mine:
      families[one.title] = one.record.method.replace('_', ' ')
      broken[one.title] = _kept(
        (decoder, _breaking(one, decoder)) for decoder in ('subset', 'hamming')
      )
      for metric, decoder in _MADE_FOR.items():
        gained[metric][one.title] = _kept(
          [(decoder, _gain(one, base, metric))] if base else []
        )
    name = dataset.split(',')[0]
    panels = [(f'{name}\nrows breaking a rule', broken)]
    panels += [
      (f'{name}\ngain, {measure(metric).title}', of)
      for metric, of in gained.items()
    ]
    if any(dots for _, of in panels for dots in of.values()):
      grid.append(panels)
  if not grid:
    return []
  figure = dot_panels(grid, x='points', families=families)
  return [('Contradictions and what it costs to have none', figure, _CAPTION)]


_CAPTION = (
  'Left: the share of the test predictions that break a rule, with the decoder '
  'for subset accuracy and with that for Hamming loss. Middle and right: the '
  'gain over binary relevance without rules, paired over seeds, each metric '
  'with the decoder made for it; right of the line is better. Where rules are '
  'mined they are empirical: see the notes of each run for how many test rows '
  'break one in truth.'
)


def _kept(
  pairs: Iterable[tuple[str, Interval]],
) -> dict[str, tuple[float, float, float]]:
  found = ((kind, _dot(interval)) for kind, interval in pairs)
  return {kind: dot for kind, dot in found if dot is not None}


def _baseline(mine: Sequence[Contender]) -> Contender | None:
  return next(
    (c for c in mine if c.record.method == BASELINE and not c.way), None
  )


# Three sentences.


def _conclusion(records: Sequence[Record]) -> list[str]:
  every = [
    (dataset, _contenders(of_dataset(records, dataset)))
    for dataset in datasets(records)
  ]
  return [
    _how_many(every),
    _what_each_way_gains(every),
    _who_needs_rules(every),
  ]


def _how_many(every) -> str:
  said = []
  methods = dict.fromkeys(c.record.method for _, mine in every for c in mine)
  for method in methods:
    shares = {
      dataset: _breaking(one, 'hamming').mean
      for dataset, mine in every
      for one in mine
      if one.record.method == method and not one.way
    }
    shares = {k: v for k, v in shares.items() if math.isfinite(v)}
    if shares:
      most = max(shares, key=lambda k: shares[k])
      low, high = min(shares.values()), max(shares.values())
      said.append(
        f'{low:.1f} to {high:.1f} % of those of {method.replace("_", " ")} '
        f'(most on {most.split(",")[0]})'
      )
  if not said:
    return 'No run says how many predictions break a rule.'
  left = [
    _breaking(one, decoder).mean
    for _, mine in every
    for one in mine
    for decoder in ('subset', 'hamming')
    if one.way and _breaking(one, decoder).n
  ]
  rest = 'with repair, decode or condition none does'
  if not left:
    rest = 'no run says how many do with them'
  elif max(left) > 0:
    rest = f'with them up to {max(left):.1f} % still do'
  return (
    'Without rules, of the Hamming decisions '
    f'{", ".join(said)} break a rule; {rest}.'
  )


def _what_each_way_gains(every) -> str:
  said = []
  for metric in _MADE_FOR:
    parts = []
    for way in WAYS:
      gains = [
        _gain(one, plain, metric).mean
        for _, mine in every
        for one, plain in _pairs(mine, lambda c, way=way: c.way == way)
      ]
      gains = [gain for gain in gains if math.isfinite(gain)]
      if gains:
        mean = sum(gains) / len(gains)
        parts.append(
          f'{way} {signed(mean, 2)} ({signed(min(gains), 2)} to '
          f'{signed(max(gains), 2)})'
        )
    if parts:
      said.append(f'{measure(metric).title}: {", ".join(parts)}')
  if not said:
    return 'What the rules gain could not be measured.'
  return (
    'Against the same parameters without rules the mean gain in points, over '
    f'methods and data sets, is in {"; in ".join(said)}.'
  )


def _pairs(
  mine: Sequence[Contender], wanted: Callable[[Contender], bool]
) -> list[tuple[Contender, Contender]]:
  """(contender, the same run without rules)."""
  plain = {c.record.run_id: c for c in mine if not c.way}
  return [(c, plain[c.record.run_id]) for c in mine if wanted(c)]


def _who_needs_rules(every) -> str:
  """Whether rules give independent labels what a joint has learnt."""
  said, metric = [], 'subset_accuracy'
  for dataset, mine in every:
    base = _baseline(mine)
    ruled = [c for c in mine if c.record.method == BASELINE and c.way]
    joint = [c for c in mine if c.record.method != BASELINE and not c.way]
    gains = [
      [_gain(one, base, metric).mean for one in some] if base else []
      for some in (ruled, joint)
    ]
    kept = [[g for g in some if math.isfinite(g)] for some in gains]
    if all(kept):
      said.append(
        f'{signed(max(kept[0]))} against {signed(max(kept[1]))} on '
        f'{dataset.split(",")[0]}'
      )
  if not said:
    return 'Rules could not be compared with models of the joint distribution.'
  return (
    'In points of subset accuracy over binary relevance without rules, the '
    'best way gives binary relevance, against what the better of the joint '
    f'models has without any rule: {"; ".join(said)}.'
  )


FINDINGS = Findings(_figures, _conclusion)
