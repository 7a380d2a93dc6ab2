"""What is lost along chains, and what searches and orders get back."""

import logging
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import edge
from experiments.explain import remembered
from experiments.explanation import in_order
from experiments.findings.findings import Figure, Findings
from experiments.studies.error_propagation import CONDITIONS, CONTROL, ENSEMBLE
from mlc.report.answers import amount
from mlc.report.chain_errors import ChainErrors, chain_errors_figure
from mlc.report.line_panels import Points
from mlc.report.records import Record, labels
from mlc.report.statistics import Interval, t_interval
from mlc.run_directory import RunDirectory

_log = logging.getLogger(__name__)
NATURAL, RARE_LAST = 'chain', 'chain, rare last'
OWN_DRAWS, RECURRENT_NAME = 'recurrent, own draws', 'recurrent chain'
ABOUT = ('positions', 'flips', 'orders', 'searches')
# Seed and fold -> a number, or a row of numbers, in points.
ByUnit = Mapping[tuple[int, int], Any]


class Travel(NamedTuple):
  """What was found in one run directory, by seed and fold, in points.

  What the head cannot tell is empty.

  Attributes:
    record: the run directory.
    forced: accuracy of a label that hears the true labels, mean over labels.
    free: of one that hears decisions.
    lost: the difference at each position of the chain [L].
    harm: how much less often a label is right so far behind a wrong decision,
      [L-1].
    searches: search -> subset accuracy; greedy first, `mode` last.
    singles: subset accuracy of each order of an ensemble [members].
  """

  record: Record
  forced: ByUnit = types.MappingProxyType({})
  free: ByUnit = types.MappingProxyType({})
  lost: ByUnit = types.MappingProxyType({})
  harm: ByUnit = types.MappingProxyType({})
  searches: Mapping[str, ByUnit] = types.MappingProxyType({})
  singles: ByUnit = types.MappingProxyType({})

  def interval(self, values: Mapping[Any, Any]) -> Interval:
    """Of one number for each seed and fold."""
    return t_interval(
      [float(v) for v in values.values()], overlap=self.record.sampling.overlap
    )

  def curve(self, values: ByUnit) -> Points:
    """(1-based place, mean, low, high) of rows of numbers."""
    rows = np.asarray(list(values.values()))
    places = [dict(enumerate(column)) for column in rows.T]
    return [
      (float(place + 1), *_bounds(self.interval(column)))
      for place, column in enumerate(places)
    ]


def _travels(records: Sequence[Record]) -> dict[str, dict[str, Travel]]:
  """Data set -> condition -> what was found; what cannot be asked is left out.

  Nothing is computed again for a run that has been asked before.
  """
  found: dict[str, dict[str, Travel]] = {}
  names = labels(records)
  for record in records:
    if record.status != 'ok' or record.path is None:
      continue
    try:
      told = remembered(RunDirectory(record.path), ABOUT)
    except edge.MENDABLE as error:
      _log.warning('%s is not looked at: %s', record.path, error)
      continue
    name = _condition(record) or names[record.run_id]
    found.setdefault(record.dataset, {})[name] = _travel(record, told)
  return found


def _condition(record: Record) -> str:
  """The name of the condition under which a run was made; '' if of none."""
  known = CONDITIONS.get(record.method, {record.method: {}})
  stated = {k: v for k, v in record.settings.items() if k.startswith('model.')}
  return next((name for name, of in known.items() if of == stated), '')


def _travel(record: Record, told: Mapping[str, Any]) -> Travel:
  """Reads the JSON of an `Explained`."""
  units = [(unit['seed'], unit['fold']) for unit in told['units']]
  found = told['found']

  def by_unit(values: Any) -> ByUnit:
    return dict(zip(units, 100.0 * np.asarray(values, np.float64), strict=True))

  rank = None if told['rank'] is None else np.asarray(told['rank'])
  travel = Travel(
    record,
    searches={
      name: by_unit(measured['subset_accuracy'])
      for name, measured in in_order(found.get('searches', {}))
    },
  )
  if 'positions' in found:
    at = {k: np.asarray(v, np.float64) for k, v in found['positions'].items()}
    travel = travel._replace(
      forced=by_unit(np.nanmean(at['teacher_forced'], axis=(1, 2))),
      free=by_unit(np.nanmean(at['free_running'], axis=(1, 2))),
    )
    if rank is not None:
      lost = at['teacher_forced'] - at['free_running']
      lost = np.take_along_axis(lost, np.argsort(rank, axis=-1), axis=-1)
      travel = travel._replace(lost=by_unit(np.nanmean(lost, axis=1)))
  if 'flips' in found and rank is not None:
    harm = by_unit(by_distance(found['flips']['harm'], rank))
    travel = travel._replace(harm=harm)
  if 'orders' in found:
    singles = by_unit(found['orders']['subset_accuracy'])
    travel = travel._replace(singles=singles)
  return travel


def by_distance(harm: Any, rank: np.ndarray) -> np.ndarray:
  """Mean harm over the pairs of labels that stand so far from each other.

  Args:
    harm: [runs, members, L, L], from the forced label to the other.
    rank: position of each label, [runs, members, L].

  Returns:
    [runs, L-1], at distances 1 to L-1, forwards.
  """
  order = np.argsort(rank, axis=-1)
  placed = np.asarray(harm, np.float64)
  placed = np.take_along_axis(placed, order[..., :, None], axis=-2)
  placed = np.take_along_axis(placed, order[..., None, :], axis=-1)
  distances = range(1, placed.shape[-1])
  return np.stack(
    [
      np.nanmean(np.diagonal(placed, offset=d, axis1=-2, axis2=-1), axis=(1, 2))
      for d in distances
    ],
    axis=-1,
  )


def _less(a: ByUnit, b: ByUnit) -> ByUnit:
  """a - b of the seeds and folds that both have."""
  return {unit: a[unit] - b[unit] for unit in a if unit in b}


def _bounds(interval: Interval) -> tuple[float, float, float]:
  half = interval.half_width or 0.0
  return interval.mean, interval.mean - half, interval.mean + half


def _subset(travel: Travel) -> ByUnit:
  """Subset accuracy by greedy decisions; of an ensemble by its mode."""
  decoder = 'subset' if travel.record.method == ENSEMBLE else 'greedy'
  found = travel.record.values(decoder, 'subset_accuracy', 'test')
  return {unit: 100.0 * value for unit, value in found.items()}


def _figures(records: Sequence[Record]) -> list[Figure]:
  """One figure, a row of panels a data set."""
  sets = _travels(records)
  if not sets:
    return []
  figure = chain_errors_figure([_drawn(*one) for one in sets.items()])
  return [('How errors travel along chains', figure, _caption(sets))]


def _drawn(dataset: str, travels: Mapping[str, Travel]) -> ChainErrors:
  control = travels.get(CONTROL)
  base = _subset(control) if control else {}
  ordered = {k: t for k, t in travels.items() if t.lost}
  searched = {k: t for k, t in ordered.items() if t.searches}
  searches = list(next((t.searches for t in searched.values()), ()))
  gains = {
    name: travel.interval(_less(_subset(travel), base))
    for name, travel in travels.items()
    if travel is not control
  }
  return ChainErrors(
    title=dataset,
    lost={k: t.curve(t.lost) for k, t in ordered.items()},
    harm={k: t.curve(t.harm) for k, t in ordered.items() if t.harm},
    found={
      k: [
        (float(place), *_bounds(t.interval(values)))
        for place, values in enumerate(t.searches.values())
      ]
      for k, t in searched.items()
    },
    searches=searches,
    gains={k: _bounds(i) for k, i in gains.items() if i.n},
    singles={
      k: np.concatenate(list(_less(t.singles, base).values()))
      for k, t in travels.items()
      if t.singles and base
    },
  )


def _caption(sets: Mapping[str, Mapping[str, Travel]]) -> str:
  """What the panels show, and that the control is one."""
  unmoved = [
    travel.interval(_less(travel.forced, travel.free)).mean
    for travels in sets.values()
    if (travel := travels.get(CONTROL)) and travel.free
  ]
  said = ', '.join(f'{value:.2f}' for value in unmoved) or 'not measured'
  return (
    'From left to right: accuracy of the labels given the true labels before '
    'them minus that given decisions; by how much less often a label is right '
    'if the decision so many places before it is forced to be wrong instead '
    'of right; subset accuracy of greedy search, of beams and of the mode; '
    'gain of each in subset accuracy over binary relevance on the same rows '
    '(an ensemble by its mode, and a dot for each of its orders, greedy). '
    f'Binary relevance, in which nothing can travel, loses: {said}.'
  )


def _conclusion(records: Sequence[Record]) -> list[str]:
  """What is lost on the way, what search gets back, what the order decides."""
  sets = _travels(records)
  return [
    _sentence('Errors travel', sets, _lost),
    _sentence('What search is to blame for', sets, _by_search),
    _sentence('What the order decides', sets, _by_order),
  ]


def _sentence(
  start: str,
  sets: Mapping[str, Mapping[str, Travel]],
  say: Callable[[Mapping[str, Travel]], str],
) -> str:
  said = [
    f'on {dataset} {clause}'
    for dataset, travels in sets.items()
    if (clause := say(travels))
  ]
  return f'{start}: {"; ".join(said) or "there are no numbers"}.'


def _lost(travels: Mapping[str, Travel]) -> str:
  chain, control = travels.get(NATURAL), travels.get(CONTROL)
  if chain is None or not chain.free:
    return ''
  parts = []
  if control is not None and control.free:
    gains = [
      amount(chain.interval(_less(of, control.free)), 'points')
      for of in (chain.forced, chain.free)
    ]
    parts.append(
      'labels of the chain that hear the true labels are right '
      f'{gains[0]} more often than those of binary relevance, and hearing its '
      f'own decisions {gains[1]}'
    )
  if chain.harm:
    near, far = (_at_distance(chain, d) for d in (1, 4))
    parts.append(
      f'one wrong decision makes the next label wrong {near} more often'
      + (f' and the fourth behind it {far}' if far else '')
    )
  return ', '.join(parts)


def _at_distance(travel: Travel, distance: int) -> str:
  values = {
    unit: row[distance - 1]
    for unit, row in travel.harm.items()
    if len(row) >= distance
  }
  return amount(travel.interval(values), 'points') if values else ''


def _by_search(travels: Mapping[str, Travel]) -> str:
  parts = []
  for name in (NATURAL, RECURRENT_NAME):
    travel = travels.get(name)
    if travel is None or 'mode' not in travel.searches:
      continue
    found = travel.searches
    best = amount(
      travel.interval(_less(found['mode'], found['greedy'])), 'points'
    )
    said = f'the mode of the {name} beats its greedy decision by {best}'
    if 'beam_2' in found:
      narrow = travel.interval(_less(found['beam_2'], found['greedy']))
      said += f' (a beam of 2 by {narrow.mean:+.1f})'
    parts.append(said)
  return ', '.join(parts)


def _by_order(travels: Mapping[str, Travel]) -> str:
  parts = []
  for name, than, what in (
    (RARE_LAST, NATURAL, 'rare labels last instead of the natural order'),
    (OWN_DRAWS, RECURRENT_NAME, 'training on own draws'),
  ):
    if name in travels and than in travels:
      gain = _less(_subset(travels[name]), _subset(travels[than]))
      if gain:
        said = amount(travels[name].interval(gain), 'points')
        parts.append(f'{what} gains {said} of subset accuracy')
  ensemble = travels.get(ENSEMBLE)
  if ensemble is not None and ensemble.singles:
    spread = ensemble.interval(
      {unit: np.ptp(row) for unit, row in ensemble.singles.items()}
    )
    averages = {unit: np.mean(row) for unit, row in ensemble.singles.items()}
    ahead = ensemble.interval(_less(_subset(ensemble), averages))
    parts.append(
      f'the best and the worst of {len(next(iter(ensemble.singles.values())))} '
      f'random orders lie {spread.mean:.1f} points apart, and their ensemble '
      f'gains {amount(ahead, "points")} over the average order'
    )
  return ', '.join(parts)


FINDINGS = Findings(_figures, _conclusion)
