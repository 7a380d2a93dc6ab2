"""Excess NLL of every head in every world."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.findings.findings import Figure, Findings
from experiments.studies.worlds import MATCHING, OPTIONS, kind_of
from mlc.data import synthetic
from mlc.report.answers import amount
from mlc.report.dot_panels import dot_panels
from mlc.report.records import Record
from mlc.report.statistics import (
  Interval,
  indistinguishable,
  paired,
  t_interval,
)

_COLUMNS = 4
# Head -> (seed, fold) -> nats more than the truth on the same test rows.
Excess = dict[str, dict[tuple[int, int], float]]


@functools.lru_cache(maxsize=16)
def _truth(dataset: str) -> np.ndarray | None:
  """log p(y | x) of all rows; None where it is not known."""
  known = dataset.startswith(synthetic.PREFIX)
  return synthetic.parse_and_make(dataset).log_joint if known else None


def excess_of(record: Record) -> dict[tuple[int, int], float]:
  """(seed, fold) -> NLL above that of the truth on the same test rows, nats."""
  arrays, truth = record.predictions, _truth(record.dataset)
  if truth is None or 'row' not in arrays:
    return {}
  found = {}
  nll = record.values('hamming', 'nll', 'test')
  codes = arrays['y'].astype(int) @ (1 << np.arange(arrays['y'].shape[-1]))
  for i, row in enumerate(arrays['row']):
    unit = int(arrays['seed'][i]), int(arrays['fold'][i])
    kept = row >= 0
    if unit in nll:
      of_truth = -truth[row[kept], codes[i][kept]].mean()
      found[unit] = nll[unit] - float(of_truth)
  return found


def _worlds(records: Sequence[Record]) -> dict[str, Excess]:
  """Kind of world -> head -> excess; what failed is left out."""
  worlds: dict[str, Excess] = {}
  for record in records:
    found = excess_of(record) if record.status == 'ok' else {}
    if found:
      worlds.setdefault(kind_of(record.dataset), {})[record.method] = found
  return worlds


def _overlap(records: Sequence[Record]) -> float:
  return max((r.sampling.overlap for r in records), default=0.0)


def _figures(records: Sequence[Record]) -> list[Figure]:
  worlds, overlap = _worlds(records), _overlap(records)
  if not worlds:
    return []
  panels = []
  for kind, heads in worlds.items():
    dots = {}
    for head, found in heads.items():
      mean = t_interval(list(found.values()), overlap=overlap)
      half = mean.half_width or 0.0
      name = 'matches the world' if MATCHING.get(kind) == head else 'other'
      dots[head] = {name: (mean.mean, mean.mean - half, mean.mean + half)}
    panels.append((kind.replace('_', ' '), dots))
  figure = dot_panels(
    [panels[i : i + _COLUMNS] for i in range(0, len(panels), _COLUMNS)],
    x='NLL above the truth, nats',
    families=dict.fromkeys(OPTIONS, 'head'),
  )
  caption = 'Excess NLL on test rows, nats: ' + '; '.join(
    f'{kind}: '
    + ', '.join(f'{h} {_mean(found):.3f}' for h, found in heads.items())
    for kind, heads in worlds.items()
  )
  return [('Excess NLL in each world', figure, f'{caption}.')]


def _mean(values: Mapping[Any, float]) -> float:
  return float(np.mean(list(values.values())))


def _conclusion(records: Sequence[Record]) -> list[str]:
  """Where the matching head is lowest, what it is off by, who beats it."""
  worlds, overlap = _worlds(records), _overlap(records)
  lowest, level, beaten, off = [], [], [], []
  for kind, heads in worlds.items():
    mine = heads.get(MATCHING.get(kind, ''))
    if mine is None:
      continue
    mean = t_interval(list(mine.values()), overlap=overlap)
    off.append(f'{kind} {_mean(mine):.3f}' + _around(mean))
    best = min(heads, key=lambda head: _mean(heads[head]))
    gap = paired(mine, heads[best], overlap=overlap)
    if best == MATCHING[kind]:
      lowest.append(kind)
    elif indistinguishable(gap):
      level.append(f'{kind} ({best})')
    else:
      beaten.append(f'in {kind} {best} by {amount(gap, "nats")}')
  if not off:
    return ['No world with a known truth was looked at.', *['No numbers.'] * 2]
  return [
    f'In {len(lowest)} of {len(off)} worlds the head that matches the world '
    f'has the lowest NLL: {", ".join(lowest) or "none"}; in {len(level)} a '
    'paired interval does not tell it from the head that has: '
    f'{", ".join(level) or "none"}.',
    f'Nats above the NLL of the truth, of the matching head: {", ".join(off)}.',
    f'Lower than the matching head is {"; ".join(beaten) or "no other"}.',
  ]


def _around(interval: Interval) -> str:
  width = interval.half_width
  return '' if width is None else f' \N{PLUS-MINUS SIGN} {width:.3f}'


FINDINGS = Findings(_figures, _conclusion)
