"""Every loss as a ranking, and as sets cut from the same scores."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from experiments.findings.findings import Figure, Findings
from experiments.studies.ranking import BASE, BY, OF_SETS, RANKED
from mlc.report import comparison
from mlc.report.answers import signed
from mlc.report.records import Record, labels
from mlc.report.score_grid import Panel, score_grid
from mlc.report.statistics import Interval
from mlc.report.tables import number
from mlc.report.vocabulary import measure

# Decoder -> what it is called in the figure.
CUTS = {
  'hamming': 'at 1/2',
  'pooled_f1': 'one fitted threshold',
  'tuned_f1': 'one a label, fitted',
  'mcut': 'widest gap',
}
ORACLE = 'best cut of each row'


def _figures(records: Sequence[Record]) -> list[Figure]:
  """Every loss as a ranking, and as sets cut from the same scores."""
  panels = [
    _panel(name, _lines(records, name)) for name in comparison.datasets(records)
  ]
  panels = [panel for panel in panels if panel.values]
  if not panels:
    return []
  of_sets = measure(OF_SETS)
  figure = score_grid(panels, x=f'{of_sets.title}, points')
  caption = (
    'Left: measures of the ranking of the labels, means over seeds in points; '
    'the darker, the better in its column, the best bold. Right: '
    f'{of_sets.title} of sets that are cut from the same scores. '
    f'{ORACLE.capitalize()} of the test part is what the ranking would allow; '
    'the way to it is what the threshold loses.'
  )
  return [('Losses as rankings, and what cuts make of them', figure, caption)]


def _panel(dataset: str, lines: Mapping[str, Record]) -> Panel:
  measures = {name: measure(name) for name in RANKED}
  values, cuts = {}, {}
  for line, record in lines.items():
    means = {name: _mean(record, name) for name in RANKED}
    values[line] = {measures[name].title: mean for name, mean in means.items()}
    cuts[line] = {
      title: _mean(record, OF_SETS, decoder) for decoder, title in CUTS.items()
    }
    cuts[line][ORACLE] = 100.0 * best_cut(record.predictions)
  better = {m.title: int(m.sign) for m in measures.values()}
  return Panel(dataset, values, better, cuts)


def _lines(records: Sequence[Record], dataset: str) -> dict[str, Record]:
  """Name -> run that is done: binary relevance goes by its loss."""
  names = labels(records)
  found = {}
  for record in comparison.of_dataset(records, dataset):
    if record.status == 'ok':
      name = names[record.run_id]
      told = re.fullmatch(r'binary_relevance \(loss=(.*)\)', name)
      found[(told.group(1) if told else name).replace('_', ' ')] = record
  return found


def _mean(record: Record, metric: str, decoder: str = '') -> float:
  """In the unit shown; of scores the same with every decoder."""
  decoder = decoder or next(iter(record.decoders), '')
  found = record.interval(decoder, metric, 'test')
  return found.mean * measure(metric).scale


def best_cut(predictions: Mapping[str, np.ndarray]) -> float:
  """Mean F1 by example if every test row were cut where it is best for it.

      mean_b max_k 2 |{true labels among the first k}| / (k + |y_b|)

  over k = 0 .. L, an empty set for an empty truth counting 1.

  Args:
    predictions: `marginals`, `y` and `row` as in predictions.npz.

  Returns:
    A share; NaN without predictions, or where labels are unknown.
  """
  if 'marginals' not in predictions or 'where' in predictions:
    return float('nan')
  kept = predictions['row'] >= 0
  y = predictions['y'][kept].astype(float)
  order = np.argsort(-predictions['marginals'][kept], axis=1, kind='stable')
  hits = np.cumsum(np.take_along_axis(y, order, axis=1), axis=1)
  hits = np.pad(hits, ((0, 0), (1, 0)))
  sizes = np.arange(hits.shape[1])[None, :] + y.sum(axis=1, keepdims=True)
  f1 = np.where(sizes > 0, 2.0 * hits / np.maximum(sizes, 1.0), 1.0)
  return float(f1.max(axis=1).mean())


def _conclusion(records: Sequence[Record]) -> list[str]:
  """Three sentences: the rankings, the cuts, and whether they agree."""
  sets = {
    name: lines
    for name in comparison.datasets(records)
    if (lines := _lines(records, name))
  }
  if not sets:
    return []
  title, of_sets = measure(BY).title, measure(OF_SETS).title
  best = [_best(*item) for item in sets.items()]
  lost = [_lost(*item) for item in sets.items()]
  agree = [_agreement(*item) for item in sets.items()]
  return [
    f'As a ranking, by {title}: ' + '; '.join(best) + '.',
    f'As sets, by {of_sets}: ' + '; '.join(lost) + '.',
    f'Ordered by {of_sets} instead of {title}, the losses keep their order as '
    "far as Kendall's tau says (1: all of it, 0: nothing): "
    + '; '.join(agree)
    + '.',
  ]


def _best(dataset: str, lines: Mapping[str, Record]) -> str:
  """Which loss ranks best, and by how much beside cross-entropy."""
  means = _finite({line: _mean(r, BY) for line, r in lines.items()})
  if not means:
    return f'on {dataset} nothing was measured'
  line = max(means, key=means.__getitem__)
  text = f'on {dataset} {line} is best with {means[line]:.1f}'
  base = BASE.replace('_', ' ')
  if base not in means or line == base:
    worst = min(means, key=means.__getitem__)
    return f'{text}, {worst} last with {means[worst]:.1f}'
  gain = _gain(lines[line], lines[base])
  return f'{text}, {signed(gain.mean, 1)} points over {base}{_within(gain)}'


def _lost(dataset: str, lines: Mapping[str, Record]) -> str:
  """What is left of the rankings at each threshold."""
  values = {
    decoder: _finite({n: _mean(r, OF_SETS, decoder) for n, r in lines.items()})
    for decoder in ('hamming', 'pooled_f1')
  }
  reach = _finite(
    {line: 100.0 * best_cut(r.predictions) for line, r in lines.items()}
  )
  half, fitted = values['hamming'], values['pooled_f1']
  if not (half and fitted and reach):
    return f'on {dataset} cuts were not measured'
  worst, best = (f(half, key=half.__getitem__) for f in (min, max))
  lost = [reach[n] - fitted[n] for n in fitted if n in reach]
  return (
    f'on {dataset} a threshold of 1/2 gives {half[worst]:.1f} ({worst}) to '
    f'{half[best]:.1f} ({best}), one that is fitted {min(fitted.values()):.1f} '
    f'to {max(fitted.values()):.1f}, and what the best cut of each row would '
    f'have had beyond that is {min(lost):.1f} to {max(lost):.1f} points'
  )


def _agreement(dataset: str, lines: Mapping[str, Record]) -> str:
  """Whether a loss that ranks well also decides well."""
  taus = [
    _tau(
      {line: _mean(r, BY) for line, r in lines.items()},
      {line: _mean(r, OF_SETS, decoder) for line, r in lines.items()},
    )
    for decoder in ('hamming', 'pooled_f1')
  ]
  if any(np.isnan(tau) for tau in taus):
    return f'on {dataset} too few losses were measured'
  half, fitted = (number(tau, 2) for tau in taus)
  return f'on {dataset} {half} at 1/2 and {fitted} at the fitted threshold'


def _tau(one: Mapping[str, float], other: Mapping[str, float]) -> float:
  """Kendall's tau-b over the losses that have both numbers."""
  both = [n for n in one if np.isfinite([one[n], other[n]]).all()]
  if len(both) < 3:
    return float('nan')
  a, b = ([side[n] for n in both] for side in (one, other))
  return float(scipy.stats.kendalltau(a, b).statistic)


def _gain(record: Record, base: Record) -> Interval:
  mine, its = ((r, next(iter(r.decoders))) for r in (record, base))
  return comparison.difference(mine, its, measure(BY), 'test')


def _within(interval: Interval) -> str:
  if interval.half_width is None:
    return ''
  ends = (
    interval.mean - interval.half_width,
    interval.mean + interval.half_width,
  )
  return ' [{}, {}]'.format(*(number(end, 1) for end in ends))


def _finite(values: Mapping[str, float]) -> dict[str, float]:
  return {name: value for name, value in values.items() if np.isfinite(value)}


FINDINGS = Findings(_figures, _conclusion)
