"""What each of the two says of sets that suit the other."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from numpy.typing import ArrayLike

from experiments.experiment import check_match
from experiments.findings.findings import Figure, Findings
from experiments.studies.softmax_vs_sigmoid import SIGMOID, SOFTMAX
from mlc.data import sources
from mlc.data.dataset import DatasetError
from mlc.methods import build_head
from mlc.report.answers import amount
from mlc.report.comparison import datasets, difference, of_dataset
from mlc.report.records import Record
from mlc.report.vocabulary import measure

_TITLES = {SOFTMAX: 'softmax', SIGMOID: 'sigmoid'}
_COLOURS = {SOFTMAX: '#d55e00', SIGMOID: '#0072b2', '': '#999999'}
# Of the reliability, and of the sums of probabilities.
_BINS = 10


class Seen(NamedTuple):
  """The test rows of a run, of all seeds and folds.

  Attributes:
    y: labels [rows, labels].
    p: probabilities.
    half: decisions at the threshold 0.5.
    mode: the likeliest label vectors.
  """

  y: np.ndarray
  p: np.ndarray
  half: np.ndarray
  mode: np.ndarray


# (data set, method -> run, method -> its rows).
Pair = tuple[str, Mapping[str, Record], Mapping[str, Seen]]


def _seen(record: Record) -> Seen | None:
  arrays = record.predictions
  wanted = ('y', 'marginals', 'decision_hamming', 'decision_subset', 'row')
  if any(name not in arrays for name in wanted):
    return None
  there = arrays['row'] >= 0
  return Seen(*(arrays[name][there] for name in wanted[:-1]))


def _pairs(records: Sequence[Record]) -> list[Pair]:
  """The data sets of which both runs are there."""
  pairs: list[Pair] = []
  for dataset in datasets(records):
    runs = {
      r.method: r for r in of_dataset(records, dataset) if r.status == 'ok'
    }
    seen = {m: _seen(runs[m]) for m in (SOFTMAX, SIGMOID) if m in runs}
    rows = {method: part for method, part in seen.items() if part is not None}
    if len(rows) == 2:
      pairs.append((dataset, runs, rows))
  return pairs


def _is_multiclass(seen: Seen) -> bool:
  return bool((seen.y.sum(axis=1) == 1).all())


def refusal(dataset: str, method: str) -> str:
  """What is said to who takes a method for a set that it does not suit.

  Returns:
    The words, or nothing for a set that cannot be found by its name alone.
  """
  try:
    data = sources.load(dataset)
    head = build_head(method, {'num_labels': data.num_labels}, {})
    check_match(head, data, allow_mismatch=False)
  except DatasetError:
    return ''
  except ValueError as error:
    return str(error)
  return ''


def _figures(records: Sequence[Record]) -> list[Figure]:
  figures = []
  for dataset, _, seen in _pairs(records):
    one = _is_multiclass(seen[SIGMOID])
    figure = MatplotlibFigure(figsize=(9.2, 3.1), layout='constrained')
    axes = figure.subplots(1, 3)
    _sizes(axes[0], seen)
    _reliability(axes[1], seen)
    (_sums if one else _confidence)(axes[2], seen)
    for axis in axes:
      axis.spines[['top', 'right']].set_visible(False)
      axis.tick_params(labelsize=7.5)
      axis.legend(frameon=False, fontsize=7.5)
    wrong = SIGMOID if one else SOFTMAX
    title = (
      f'{_TITLES[wrong].capitalize()} on {dataset}, which it does not suit'
    )
    figures.append((title, figure, _caption(dataset, wrong)))
  return figures


def _caption(dataset: str, wrong: str) -> str:
  words = refusal(dataset, wrong)
  said = f' Without --allow_mismatch the bench says: “{words}”' if words else ''
  return (
    'Test rows of all seeds. Left: how many labels are predicted at once. '
    'Middle: of what is given a probability, how much is so; dots of fewer '
    'than 20 cases are left out. Right: '
    + (
      'the probabilities of the classes, added up (2: or more); exactly one '
      'class holds.'
      if wrong == SIGMOID
      else 'the probability of a true label, by how many are true in the row; '
      'below the dashed line softmax has to stay on average.'
    )
    + said
  )


def _sizes(axis: Axes, seen: Mapping[str, Seen]) -> None:
  """The share of rows by the number of labels: true, and predicted."""
  one = _is_multiclass(seen[SIGMOID])
  bars = [('true', '', seen[SIGMOID].y)]
  for method, rows in seen.items():
    bars.append((f'{_TITLES[method]} at 0.5', method, rows.half))
  most = 2 if one else min(8, max(int(b[2].sum(axis=1).max()) for b in bars))
  width = 0.8 / len(bars)
  for i, (title, method, labels) in enumerate(bars):
    count = np.minimum(labels.sum(axis=1).astype(int), most)
    share = 100.0 * np.bincount(count, minlength=most + 1) / max(len(count), 1)
    places = np.arange(most + 1) + (i - (len(bars) - 1) / 2.0) * width
    axis.bar(places, share, width, label=title, color=_COLOURS[method])
  names = [str(k) for k in range(most)] + [f'{most}+']
  axis.set_xticks(range(most + 1), names)
  # Room for the legend.
  axis.set_ylim(0.0, 1.4 * axis.get_ylim()[1])
  axis.set_xlabel('labels in a row')
  axis.set_ylabel('rows, %')


def _reliability(axis: Axes, seen: Mapping[str, Seen]) -> None:
  axis.plot([0, 1], [0, 1], color='#888888', linewidth=0.8)
  for method, rows in seen.items():
    p, y = rows.p.ravel(), rows.y.ravel()
    of = np.minimum((p * _BINS).astype(int), _BINS - 1)
    count = np.bincount(of, minlength=_BINS)
    there = count >= 20
    mean_p, mean_y = (
      np.bincount(of, v, _BINS)[there] / count[there] for v in (p, y)
    )
    _line(axis, method, mean_p, mean_y)
  axis.set_xlabel('probability')
  axis.set_ylabel('share of labels that are on')


def _line(axis: Axes, method: str, x: ArrayLike, y: ArrayLike) -> None:
  axis.plot(
    x,
    y,
    marker='o' if method == SOFTMAX else 's',
    markersize=4.0,
    color=_COLOURS[method],
    label=_TITLES[method],
  )


def _confidence(axis: Axes, seen: Mapping[str, Seen]) -> None:
  """Mean probability of a true label by the number of true labels."""
  for method, rows in seen.items():
    size = rows.y.sum(axis=1)
    there = [k for k in np.unique(size) if k > 0 and (size == k).sum() >= 20]
    mean = [rows.p[size == k][rows.y[size == k] > 0].mean() for k in there]
    _line(axis, method, there, mean)
    if method == SOFTMAX and there:
      k = np.linspace(there[0], there[-1], 100)
      axis.plot(k, 1.0 / k, color='#888888', linestyle='--', label='1 / k')
  axis.set_ylim(0.0, 1.0)
  axis.set_xlabel('true labels in the row, k')
  axis.set_ylabel('mean probability of a true label')


def _sums(axis: Axes, seen: Mapping[str, Seen]) -> None:
  """How the sum of a row's probabilities is distributed."""
  edges = np.linspace(0.0, 2.0, 2 * _BINS + 1).tolist()
  for method, rows in seen.items():
    total = np.clip(rows.p.sum(axis=1), 0.0, 1.999)
    # Sums of one, but for rounding, belong into one bar.
    total = np.where(np.abs(total - 1.0) < 1e-4, 1.0, total)
    axis.hist(
      total,
      edges,
      weights=np.full(len(total), 100.0 / max(len(total), 1)),
      histtype='step' if method == SOFTMAX else 'stepfilled',
      color=_COLOURS[method],
      alpha=1.0 if method == SOFTMAX else 0.7,
      label=_TITLES[method],
    )
  # Powers of ten would be set as mathematics, which pages do not parse.
  axis.set_yscale('log')
  axis.yaxis.set_major_formatter('{x:g}')
  axis.yaxis.set_minor_formatter('')
  axis.set_xlabel("sum of a row's probabilities")
  axis.set_ylabel('rows, %')


def _conclusion(records: Sequence[Record]) -> list[str]:
  """Softmax where labels are many; sigmoid where one holds; what is refused."""
  pairs = _pairs(records)
  many = [pair for pair in pairs if not _is_multiclass(pair[2][SIGMOID])]
  one = [pair for pair in pairs if _is_multiclass(pair[2][SIGMOID])]
  if not pairs:
    return []
  refused = [f'softmax on {dataset}' for dataset, *_ in many]
  refused += [f'binary_relevance on {dataset}' for dataset, *_ in one]
  return [
    _sentence(many, _of_many) or 'No set with several labels a row was run.',
    _sentence(one, _of_one) or 'No set with one label a row was run.',
    'Neither happens unasked: without --allow_mismatch the bench refuses '
    f'{" and ".join(refused)} and names the method that suits.',
  ]


def _sentence(pairs: Sequence[Pair], clause: Callable[..., str]) -> str:
  clauses = [f'On {dataset} {clause(*rest)}' for dataset, *rest in pairs]
  return '; '.join(
    [*clauses[:1], *(c[0].lower() + c[1:] for c in clauses[1:])]
  ) + ('.' if clauses else '')


def _of_many(runs: Mapping[str, Record], seen: Mapping[str, Seen]) -> str:
  confidence = {m: rows.p[rows.y > 0].mean() for m, rows in seen.items()}
  size = {m: rows.half.sum(axis=1).mean() for m, rows in seen.items()}
  empty = 100.0 * (seen[SOFTMAX].half.sum(axis=1) == 0).mean()
  calibration = measure('ece_label')
  error = {
    m: runs[m].interval('hamming', 'ece_label', 'test').scaled(100.0).mean
    for m in (SOFTMAX, SIGMOID)
  }
  f1 = difference(
    (runs[SOFTMAX], 'tuned_f1'),
    (runs[SIGMOID], 'tuned_f1'),
    measure('f1_macro'),
    'test',
  )
  return (
    f'softmax gives a true label {confidence[SOFTMAX]:.2f} on average, sigmoid '
    f'{confidence[SIGMOID]:.2f}: at 0.5 it predicts {size[SOFTMAX]:.1f} labels '
    f'a row against {size[SIGMOID]:.1f} (true: '
    f'{seen[SIGMOID].y.sum(axis=1).mean():.1f}) and none on {empty:.0f} % of '
    f'the rows, its {calibration.title} is {error[SOFTMAX]:.1f} points against '
    f'{error[SIGMOID]:.1f}, and with tuned thresholds its macro F1 differs by '
    f'{amount(f1, "points")}'
  )


def _of_one(runs: Mapping[str, Record], seen: Mapping[str, Seen]) -> str:
  rows = seen[SIGMOID]
  size = rows.half.sum(axis=1)
  none, several = 100.0 * (size == 0).mean(), 100.0 * (size > 1).mean()
  torn = size != 1
  likeliest = rows.p.argmax(axis=1) == rows.y.argmax(axis=1)
  saved = 100.0 * likeliest[torn].mean() if torn.any() else float('nan')
  softmax = 100.0 * (seen[SOFTMAX].mode == seen[SOFTMAX].y).all(axis=1).mean()
  exact = 100.0 * (rows.half == rows.y).all(axis=1).mean()
  words = (
    f'sigmoid at 0.5 predicts no class on {none:.1f} % of the rows and several '
    f'on {several:.1f} %, so that {exact:.1f} % are right where softmax has '
    f'{softmax:.1f} %'
  )
  if torn.any():
    words += (
      f'; the likeliest class is right on {saved:.0f} % of those rows, and '
      f'deciding for it everywhere on {100.0 * likeliest.mean():.1f} %'
    )
  return words


FINDINGS = Findings(_figures, _conclusion)
