"""What thresholds lose, and which losses rank well.

    python launch.py --study=ranking
    python launch.py --study=ranking --datasets=emotions,scene --data_dir=DIR

One network and one budget; only the loss differs: of one label at a time
(cross-entropy, focal, asymmetric), of pairs (pairwise logistic, LSEP, ZLPR), of
lists (ListNet, approximate nDCG); and calibrated_ranking, which votes on pairs.
All are measured as rankings, which no threshold touches. From the same scores
sets are cut: at 1/2, at one threshold for all labels or one a label, fitted on
validation rows, at the widest gap of a row; and, as what the ranking would
allow, at the best place of each test row, which nobody can know.

18 runs, about 30 seconds of a core each: four to five minutes on two cores.
Expect losses to differ little as rankings (nDCG@3 of 72 to 75 on yeast, of 64
to 65 on movies, where pairwise logistic leads cross-entropy by 0.8 points and
approximate nDCG trails with 61) and a lot at a threshold of 1/2 (F1 by example
of 60 to 65 on yeast, of 36 to 46 on movies). One fitted threshold brings most
of that back (63 to 65, 46 to 50), and the best cut of each row would have 14 to
16 points more on yeast, 22 to 26 on movies.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from experiments.config import Experiment
from experiments.studies.study import Figure, Study, experiment
from mlc.report import comparison
from mlc.report.answers import signed
from mlc.report.records import Record, labels
from mlc.report.score_grid import Panel, score_grid
from mlc.report.statistics import Interval
from mlc.report.tables import number
from mlc.report.vocabulary import measure

BASE = 'sigmoid_cross_entropy'
RANKING_LOSSES = (
  BASE,
  'focal',
  'asymmetric',
  'pairwise_logistic',
  'lsep',
  'zlpr',
  'listnet',
  'approx_ndcg',
)
RANKED = (
  'map',
  'map_at_3',
  'ndcg_at_3',
  'precision_at_3',
  'recall_at_3',
  'reciprocal_rank',
  'ranking_loss',
)
# The metric by which losses are put in order, and that of sets.
BY, OF_SETS = 'ndcg_at_3', 'f1_example'
# Decoder -> what it is called in the figure.
CUTS = {
  'hamming': 'at 1/2',
  'pooled_f1': 'one fitted threshold',
  'tuned_f1': 'one a label, fitted',
  'mcut': 'widest gap',
}
ORACLE = 'best cut of each row'


def _conditions(dataset: str, method: str) -> list[Experiment]:
  common: dict[str, Any] = {
    'decoders': ('hamming', 'pooled_f', 'tuned_f', 'mcut'),
    'encoder': 'mlp',
    'regrets': False,
    'seeds': 3,
  }
  if dataset == 'movies':
    conditions: dict[str, Any] = {
      'options': {'encoder.width': 64},
      # Dividing by its deviation would make each rare token a large number.
      'standardize': False,
      'learning_rates': (3e-3, 1e-2),
      'l2s': (0.1, 1.0),
      'epochs': 4,
      'batch_size': 256,
    }
  else:
    conditions = {
      'learning_rates': (1e-3, 1e-2),
      'l2s': (0.1, 1.0),
      'epochs': 30,
      'batch_size': 64,
      'patience': 8,
    }
  losses = RANKING_LOSSES if method == 'binary_relevance' else ('',)
  return [
    experiment(dataset, method, loss=loss, **common, **conditions)
    for loss in losses
  ]


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


RANKING = Study(
  question='What do thresholds lose, and which losses rank well?',
  datasets=('yeast', 'movies'),
  methods=('binary_relevance', 'calibrated_ranking'),
  conditions=_conditions,
  metrics=(*RANKED, OF_SETS, 'f1_macro'),
  figures=_figures,
  conclusion=_conclusion,
)
