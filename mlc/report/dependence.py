"""Gain over the baseline against the strength of conditional dependence.

Strength is a fact of the data set, measured on the baseline's own residuals:
`dependence` of its results.json. The gain has the same decoder on both sides,
the one made for the metric, so that it is not the decoder's.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlc.report import comparison, figures
from mlc.report.answers import signed
from mlc.report.ranks import agreement
from mlc.report.records import Record, labels
from mlc.report.statistics import Interval, t_interval
from mlc.report.svg import COLOURS
from mlc.report.vocabulary import Measure, measure

METRICS = ('subset_accuracy', 'f1_example', 'hamming_loss')
LEAST_DATASETS = 3
# Okabe and Ito, Color universal design, 2008: told apart by every eye; beyond
# eight methods the markers tell.
_COLOURS = (
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#8c6d1f',
  '#555555',
)
_MARKERS = 'osD^vPX*'


class Strength(NamedTuple):
  """How strongly the labels of a data set depend on each other.

  Attributes:
    dataset: its name.
    residual: correlation of the residuals of the baseline, root mean square
      over pairs, over seeds and folds.
    p_value: that some pair depends, the median over seeds and folds.
    share: of the pairs found dependent, mean over seeds and folds.
    truth: mean conditional mutual information of a known p(y | x), nats.
    marginal: mean mutual information of pairs without x, nats.
    tree: information of the best tree of labels without x, nats.
    total: total correlation without x, nats, corrected for chance.
    strongest: (label, label, correlation) of the clearest pair.
  """

  dataset: str
  residual: Interval
  p_value: float
  share: float
  truth: float | None
  marginal: float | None
  tree: float | None
  total: float | None
  strongest: tuple[str, str, float] | None


class Point(NamedTuple):
  """A method on a data set; `gain` in the unit shown, positive is better."""

  dataset: str
  method: str
  gain: Interval


def strengths(records: Sequence[Record], baseline: str) -> tuple[Strength, ...]:
  """Of every data set whose baseline was measured, the weakest first."""
  found = []
  for dataset in comparison.datasets(records):
    for record in comparison.of_dataset(records, dataset):
      if record.method == baseline and record.status == 'ok':
        one = _strength(record)
        if one is not None:
          found.append(one)
          break
  return tuple(sorted(found, key=lambda s: s.residual.mean))


def of_models(records: Sequence[Record]) -> dict[tuple[str, str], float]:
  """(data set, method) -> mean I(y_j; y_k | x) in the trained models, nats.

  Only heads whose pairs are exact have one.
  """
  names = labels(records)
  found = {}
  for record in records:
    runs = record.dependence.get('runs') or ()
    numbers = [run['model'] for run in runs if run.get('model') is not None]
    if record.status == 'ok' and numbers:
      key = record.dataset, names[record.run_id]
      found[key] = float(np.mean(numbers))
  return found


def points(
  records: Sequence[Record], metric: Measure, baseline: str
) -> tuple[Point, ...]:
  """The gain of every method over the baseline, the same decoder for both."""
  names = labels(records)
  found = []
  for record in records:
    base = comparison.baseline_of(record, records, baseline)
    if record.method == baseline or base is None or metric.better is None:
      continue
    decoder = comparison.own_decoder(base, metric)
    if decoder is None:
      continue
    pair = (record, decoder), (base, decoder)
    gain = comparison.difference(*pair, metric, 'test')
    if gain.n:
      found.append(Point(record.dataset, names[record.run_id], gain))
  return tuple(found)


def forms(records: Sequence[Record], baseline: str) -> Mapping[str, bytes]:
  """The figure as {'svg': ..., 'pdf': ...}; empty where there is none."""
  made = figures.made(lambda: figure(records, baseline))
  return {} if made is None else figures.saved(made)


def figure(records: Sequence[Record], baseline: str) -> Figure | None:
  """A panel a metric; None with fewer than three measured data sets."""
  measured = strengths(records, baseline)
  metrics = [
    measure(m) for m in METRICS if points(records, measure(m), baseline)
  ]
  if len(measured) < LEAST_DATASETS or not metrics:
    return None
  panels = {m.name: points(records, m, baseline) for m in metrics}
  methods = list(dict.fromkeys(p.method for ps in panels.values() for p in ps))
  rows = math.ceil(len(methods) / 4)
  drawn = Figure(
    figsize=(2.95 * len(metrics) + 0.3, 3.35 + 0.2 * rows),
    layout='constrained',
    facecolor='white',
  )
  axes = drawn.subplots(1, len(metrics), squeeze=False)[0]
  for axis, metric in zip(axes, metrics, strict=True):
    _draw(axis, metric, panels[metric.name], measured, methods)
  axes[0].set_ylabel(
    f'gain over {baseline.replace("_", " ")}, points', color=COLOURS['muted']
  )
  handles = [axes[0].plot([], [], **look(i))[0] for i in range(len(methods))]
  drawn.legend(
    handles,
    [method.replace('_', ' ') for method in methods],
    loc='outside lower center',
    ncols=min(4, len(methods)),
    frameon=False,
    fontsize=8.0,
    labelcolor=COLOURS['ink'],
  )
  return drawn


def caption(records: Sequence[Record], baseline: str) -> str:
  """What the picture shows, in numbers."""
  measured = strengths(records, baseline)
  order = {s.dataset: s.residual.mean for s in measured}
  said = []
  for name in METRICS:
    metric = measure(name)
    gains: dict[str, list[float]] = {}
    for point in points(records, metric, baseline):
      if point.dataset in order:
        gains.setdefault(point.dataset, []).append(point.gain.mean)
    medians = {d: float(np.median(g)) for d, g in gains.items()}
    rho = agreement([order[d] for d in medians], list(medians.values()))
    if rho is not None:
      said.append(f'{metric.title} {signed(rho, 2)}')
  numbered = '; '.join(f'{i} {s.dataset}' for i, s in enumerate(measured, 1))
  trend = (
    f'Rank correlation over the {len(measured)} data sets between strength '
    f'and the median gain of the methods: {", ".join(said)}. '
    if said
    else ''
  )
  return (
    'Each point is a method on a data set; the same decoder on both sides, the '
    'one made for the metric. Bars are 95 % intervals over seeds and folds, '
    'those to the sides of the strength where it varies; a hollow point has no '
    'interval. Across: correlation of the residuals y - p(x) of '
    f'{baseline.replace("_", " ")} on test rows, root mean square over pairs '
    'of labels, less what chance gives. It is conditional dependence as far as '
    'the marginals p(x) are right: what the encoder misses in two labels alike '
    f'counts too. {trend}Data sets by strength: {numbered}.'
  )


def _strength(record: Record) -> Strength | None:
  given: Mapping[str, Any] = record.dependence
  runs = [
    run
    for run in given.get('runs') or ()
    if run.get('residual')
    and (int(run['seed']), int(run['fold'])) not in record.diverged
  ]
  if not runs:
    return None
  of_labels = given.get('labels') or {}
  clearest = next(iter(runs[0].get('strongest') or ()), None)
  residual = [run['residual'] for run in runs]
  return Strength(
    dataset=record.dataset,
    residual=t_interval(
      [float(r['correlation']) for r in residual],
      overlap=record.sampling.overlap,
    ),
    p_value=float(np.median([r['p_value'] for r in residual])),
    share=float(np.mean([r['dependent_share'] for r in residual])),
    truth=(given.get('truth') or {}).get('information'),
    marginal=of_labels.get('information'),
    tree=of_labels.get('tree_information'),
    total=of_labels.get('total_correlation'),
    strongest=None
    if clearest is None
    else (*clearest['labels'], float(clearest['correlation'])),
  )


def look(i: int) -> dict[str, Any]:
  """Colour and marker of the i-th method, 64 different ones."""
  return {
    'color': _COLOURS[i % 8],
    'marker': _MARKERS[(i + i // 8) % 8],
    'linestyle': 'none',
    'markersize': 5.0,
  }


def _draw(
  axes: Axes,
  metric: Measure,
  found: Sequence[Point],
  measured: Sequence[Strength],
  methods: Sequence[str],
) -> None:
  place = {s.dataset: s.residual for s in measured}
  widest = max(s.residual.mean for s in measured)
  least = min(s.residual.mean for s in measured)
  span = max(widest - least, 1e-3)
  axes.axhline(0.0, color=COLOURS['ink'], linewidth=0.9, zorder=1)
  for point in found:
    if point.dataset not in place:
      continue
    i = methods.index(point.method)
    x, style = place[point.dataset], look(i)
    # Methods stand side by side, within a thirtieth of the axis.
    apart = (i - (len(methods) - 1) / 2.0) / max(len(methods), 1)
    axes.errorbar(
      x.mean + 0.035 * span * apart,
      point.gain.mean,
      xerr=x.half_width if i == 0 else None,
      yerr=point.gain.half_width,
      markerfacecolor=style['color'] if point.gain.half_width else 'white',
      elinewidth=1.0,
      capsize=0.0,
      alpha=0.9,
      zorder=3,
      **style,
    )
  _number(axes, [s.residual.mean for s in measured], span)
  axes.set_title(metric.title, fontsize=9.5, color=COLOURS['ink'], pad=16.0)
  axes.set_xlabel(
    'residual correlation of labels given x',
    color=COLOURS['muted'],
    fontsize=8.5,
  )
  axes.spines[['top', 'right', 'left', 'bottom']].set_color(COLOURS['line'])
  axes.spines[['top', 'right']].set_visible(False)
  axes.tick_params(length=0, colors=COLOURS['muted'], labelsize=8.5)
  axes.xaxis.set_major_locator(MaxNLocator(5))
  axes.grid(axis='y', color=COLOURS['line'], linewidth=0.6)
  axes.set_axisbelow(True)


def _number(axes: Axes, places: Sequence[float], span: float) -> None:
  """The number of each data set above the panel, pushed apart."""
  shown: list[float] = []
  for place in places:
    shown.append(max(place, shown[-1] + 0.055 * span) if shown else place)
  for i, (place, at) in enumerate(zip(places, shown, strict=True), 1):
    axes.annotate(
      str(i),
      xy=(place, 1.0),
      xycoords=('data', 'axes fraction'),
      xytext=(at, 1.035),
      textcoords=('data', 'axes fraction'),
      ha='center',
      fontsize=7.5,
      color=COLOURS['muted'],
      annotation_clip=False,
    )
    axes.axvline(place, color=COLOURS['line'], linewidth=0.7, zorder=0)
