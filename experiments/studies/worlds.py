"""Does the head that matches its world fit it best?

    python launch.py --study=worlds

Synthetic worlds of 6 labels, each built on another kind of dependence, and
heads that are linear in the features. The true log p(y | x) is known, so that
beside the NLL stands how much of it is the head's fault: the excess over the
NLL of the truth on the same test rows.

Which head matches which world, and how well, follows from their formulas. In
the family, given enough rows: binary relevance in `independent`, the chain in
`logistic_chain`, `hierarchical` (its joint) in `hierarchy`, and in `exclusive`
`ising`, where labels that exclude each other repel without bound. Nearly in it:
the chain in `chain` and `tree`, where the log odds of y_j given x and the label
before it are not linear in x; `ising` in `ising`, whose field is solved for
given marginals; two components of `bernoulli_mixture` in `mixture`, whose
experts are not logistic-linear.

With three seeds the matching head is lowest in five of the eight worlds, by
0.002 to 0.004 nats below the next, and in `chain`, `ising` and `mixture` within
0.007 nats of another that an interval does not tell from it. What a wrong head
costs is larger: independent labels 0.13 to 0.85 nats in every dependent world.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.config import Experiment
from experiments.studies.study import Figure, Study, experiment
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

# World -> the head that is built like it.
MATCHING: Mapping[str, str] = {
  'independent': 'binary_relevance',
  'chain': 'classifier_chain',
  'logistic_chain': 'classifier_chain',
  'tree': 'classifier_chain',
  'ising': 'ising',
  'mixture': 'bernoulli_mixture',
  'hierarchy': 'hierarchical',
  'exclusive': 'ising',
}
# Heads to compare, with what they need to be told.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
  'binary_relevance': {},
  'classifier_chain': {},
  'ising': {},
  'bernoulli_mixture': {'model.components': 2},
  'label_powerset': {},
  'hierarchical': {'model.kind': 'conditional'},
}
_COLUMNS = 4

# Head -> (seed, fold) -> nats more than the truth on the same test rows.
Excess = dict[str, dict[tuple[int, int], float]]


def _conditions(dataset: str, method: str) -> list[Experiment]:
  if method == 'hierarchical' and _kind(dataset) != 'hierarchy':
    return []
  return [
    experiment(
      dataset,
      method,
      loss='nll',
      decoders=('hamming',),
      options=OPTIONS.get(method, {}),
      seeds=3,
      optimizer='lbfgs',
      l2s=(0.3, 3.0, 30.0),
      regrets=False,
      stratify=False,
    )
  ]


def _kind(dataset: str) -> str:
  found = re.match(r'synthetic:(\w+)', dataset)
  return found.group(1) if found else ''


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
      worlds.setdefault(_kind(record.dataset), {})[record.method] = found
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


WORLDS = Study(
  question='Does the head that matches its world fit it best?',
  datasets=tuple(
    f'synthetic:{kind},labels=6,examples=6000' for kind in MATCHING
  ),
  methods=tuple(OPTIONS),
  conditions=_conditions,
  metrics=('nll', 'subset_accuracy', 'hamming_loss'),
  figures=_figures,
  conclusion=_conclusion,
)
