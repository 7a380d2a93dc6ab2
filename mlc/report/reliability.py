"""Whether probabilities mean what they say: a figure, and before and after.

The figure reads `predictions.npz`; the table of calibrated runs reads rows.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from matplotlib.figure import Figure

from mlc.report.records import Record, labels

BINS = 10
_SHOWN = 6
# Of a bin, below which a share is no more than an anecdote.
_FEWEST = 10
_Z = 1.96
# Okabe and Ito, Color universal design, 2008.
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
_MARKERS = 'osD^vP'


class Forecasts(NamedTuple):
  """Probabilities of one contender and what came true, all seeds together.

  Attributes:
    p: of each label, [cases, labels].
    y: 0 or 1.
    known: whether the label is known.
    row: the test row of each case; seeds may share it.
    confidence: p(d | h) of the decision [cases]; None without a joint.
    right: whether the decision is the label vector.
  """

  p: Float[np.ndarray, 'cases labels']
  y: Shaped[np.ndarray, 'cases labels']
  known: Bool[np.ndarray, 'cases labels']
  row: Int[np.ndarray, ' cases']
  confidence: Float[np.ndarray, ' cases'] | None
  right: Bool[np.ndarray, ' cases'] | None


class Curve(NamedTuple):
  """Of each bin that holds enough: mean probability and share that came true.

  Attributes:
    mean: of the probabilities.
    share: of what came true, with its Wilson interval of 95 %.
    low: its lower end.
    high: its upper end.
    portion: of all cases.
  """

  mean: Float[np.ndarray, ' bins']
  share: Float[np.ndarray, ' bins']
  low: Float[np.ndarray, ' bins']
  high: Float[np.ndarray, ' bins']
  portion: Float[np.ndarray, ' bins']


class Brier(NamedTuple):
  """Murphy's parts of the Brier score, by bins of the probability.

  brier = reliability - resolution + uncertainty + what varies inside bins
  """

  brier: float
  reliability: float
  resolution: float
  uncertainty: float


def forecasts(
  record: Record, decoder: str = '', *, before: bool = False
) -> Forecasts | None:
  """What a run said of its test rows; None where it kept nothing.

  Args:
    record: the run.
    decoder: whose decisions are looked at as wholes; empty for the first.
    before: of a calibrated run, what was said before.
  """
  arrays = record.predictions
  prefix = 'uncalibrated_' if before else ''
  if f'{prefix}marginals' not in arrays:
    return None
  here = arrays['row'] >= 0
  y = arrays['y'][here]
  where = arrays.get('where')
  known = np.ones(y.shape, bool) if where is None else where[here]
  decoder = decoder or next(iter(record.decoders), '')
  confidence = right = None
  if f'{prefix}confidence_{decoder}' in arrays:
    confidence = arrays[f'{prefix}confidence_{decoder}'][here]
    right = (arrays[f'decision_{decoder}'][here] == y).all(axis=-1)
  p = arrays[f'{prefix}marginals'][here]
  return Forecasts(p, y, known, arrays['row'][here], confidence, right)


def contenders(
  records: Sequence[Record], decoder: str = ''
) -> dict[str, Forecasts]:
  """Name in the tables -> forecasts; of a calibrated run also those before."""
  found = {}
  names = labels(records)
  for record in records:
    for before in (True, False):
      made = forecasts(record, decoder, before=before)
      if made is not None:
        name = names[record.run_id].replace('_', ' ')
        mended = record.settings.get('calibration')
        when = f', {"before" if before else mended}' if mended else ''
        found[name + when] = made
  return found


def curve(
  p: Float[np.ndarray, ' cases'],
  true: Shaped[np.ndarray, ' cases'],
  case: Int[np.ndarray, ' cases'],
  bins: int = BINS,
) -> Curve:
  """The reliability curve over bins of equal width.

  Args:
    p: probabilities.
    true: what came true.
    case: a number for each test case. Seeds that saw the same case tell of it
      once: the intervals are those of as many cases as there are.
    bins: how many.
  """
  place = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
  count = np.bincount(place, minlength=bins)
  distinct = np.array(
    [len(np.unique(case[place == b])) for b in range(bins)], float
  )
  kept = distinct >= _FEWEST
  count_kept = np.maximum(count, 1)
  mean = np.bincount(place, p, minlength=bins) / count_kept
  share = np.bincount(place, true, minlength=bins) / count_kept
  n = np.maximum(distinct, 1.0)
  middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
  half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
  half = half / (1 + _Z**2 / n)
  portion = count / max(len(p), 1)
  every = (mean, share, middle - half, middle + half, portion)
  return Curve(*(part[kept] for part in every))


def by_label(
  found: Forecasts, bins: int = BINS
) -> tuple[Float[np.ndarray, ' labels'], Brier]:
  """The calibration error of each label, and the mean Brier score's parts.

  Args:
    found: the forecasts.
    bins: of equal width.

  Returns:
    [labels], NaN for one that is never known; and the parts, means over labels.

  References:
    Murphy, A new vector partition of the probability score, Journal of applied
    meteorology 12, 1973.
  """
  shape = (found.p.shape[1], bins)
  place = np.clip(np.ceil(found.p * bins).astype(int) - 1, 0, bins - 1)
  place = place + bins * np.arange(shape[0])[None, :]

  def sums(values):
    kept = np.where(found.known, values, 0.0).ravel()
    return np.bincount(place.ravel(), kept, shape[0] * bins).reshape(shape)

  n, said, came = sums(1.0), sums(found.p), sums(found.y)
  squared = sums((found.p - found.y) ** 2)
  total = n.sum(axis=1)
  seen = total > 0
  n, said, came, squared = (part[seen] for part in (n, said, came, squared))
  size = np.maximum(n, 1.0)
  weight = n / total[seen, None]
  rate = came.sum(axis=1) / total[seen]
  error = np.full(shape[0], np.nan)
  gap = (said - came) / size
  error[seen] = (weight * np.abs(gap)).sum(axis=1)
  resolution = (weight * (came / size - rate[:, None]) ** 2).sum(axis=1)
  parts = Brier(
    brier=float((squared.sum(axis=1) / total[seen]).mean()),
    reliability=float((weight * gap**2).sum(axis=1).mean()),
    resolution=float(resolution.mean()),
    uncertainty=float((rate * (1.0 - rate)).mean()),
  )
  return error, parts


def reliability_figure(
  records: Sequence[Record], decoder: str = '', *, title: str = 'Reliability'
) -> tuple[str, Figure, str] | None:
  """Reliability of labels, of label sets, and of each label, side by side.

  Args:
    records: of one data set; the first six contenders are drawn, and those
      before calibration are contenders of their own.
    decoder: whose label sets; empty for the first of each run.
    title: of the figure.

  Returns:
    (title, figure, caption with the numbers) as studies take them; None where
    no run has kept predictions.
  """
  found = contenders(records, decoder)
  shown = dict(list(found.items())[:_SHOWN])
  if not shown:
    return None
  wholes = {k: f for k, f in shown.items() if f.confidence is not None}
  panels = 3 if wholes else 2
  figure = Figure(figsize=(2.7 * panels + 0.4, 3.4), layout='constrained')
  axes = figure.subplots(1, panels, squeeze=False)[0]
  for i, of in enumerate(shown.values()):
    cases = of.row[:, None] * of.p.shape[1] + np.arange(of.p.shape[1])[None, :]
    known = of.known
    _draw(axes[0], i, curve(of.p[known], of.y[known], cases[known]))
    error = np.sort(100.0 * by_label(of)[0])[::-1]
    error = error[np.isfinite(error)]
    axes[-1].plot(np.arange(1, len(error) + 1), error, **_style(i))
    if of.confidence is not None and of.right is not None:
      _draw(axes[1], i, curve(of.confidence, of.right, of.row))
  _frame(axes[0], 'each label', 'probability', 'share that came true')
  if wholes:
    _frame(
      axes[1], 'the label set as a whole', 'p(decision | x)', 'share right'
    )
  axes[-1].set_title('calibration error by label', fontsize=9.0)
  axes[-1].set(xlabel='labels, worst first', ylabel='ECE, points')
  axes[-1].set_ylim(bottom=0.0)
  for axis in axes:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(color='#dddddd', linewidth=0.6)
    axis.set_axisbelow(True)
  handles = [axes[-1].lines[i] for i in range(len(shown))]
  figure.legend(
    handles, [*shown], loc='outside lower center', ncols=2, frameon=False
  )
  return title, figure, _caption(shown, len(found))


def _caption(shown: Mapping[str, Forecasts], every: int) -> str:
  said = []
  for name, of in shown.items():
    error, parts = by_label(of)
    text = (
      f'{name}: ECE by label {100 * np.nanmean(error):.1f} points; Brier '
      f'{parts.brier:.4f} of reliability {parts.reliability:.4f} less '
      f'resolution {parts.resolution:.4f} plus uncertainty '
      f'{parts.uncertainty:.4f}'
    )
    if of.confidence is not None and of.right is not None:
      text += (
        f'; label sets {100 * of.confidence.mean():.1f} % sure and '
        f'{100 * of.right.mean():.1f} % right'
      )
    said.append(text + '.')
  left = f' The first {_SHOWN} of {every} are drawn.' if every > _SHOWN else ''
  return (
    f'Test rows, all seeds and folds pooled, in {BINS} bins. On the diagonal '
    'probabilities mean what they say; above it they are too low. A dot is '
    'larger the more cases its bin holds, and none stands for fewer than '
    f'{_FEWEST} rows; bars are Wilson intervals of 95 %, each row and label '
    'counted once, as if the labels of a row were independent.'
    f'{left} {" ".join(said)}'
  )


def _style(i: int) -> dict:
  return {
    'color': _COLOURS[i % len(_COLOURS)],
    'marker': _MARKERS[i % len(_MARKERS)],
    'markersize': 3.5,
    'linewidth': 1.2,
  }


def _draw(axis, i: int, of: Curve) -> None:
  style = _style(i)
  below, above = of.share - of.low, of.high - of.share
  axis.errorbar(
    of.mean,
    of.share,
    yerr=[np.maximum(below, 0.0), np.maximum(above, 0.0)],
    color=style['color'],
    linewidth=1.2,
    elinewidth=0.8,
  )
  axis.scatter(
    of.mean,
    of.share,
    s=8.0 + 90.0 * of.portion,
    color=style['color'],
    marker=style['marker'],
    zorder=3,
  )


def _frame(axis, title: str, x: str, y: str) -> None:
  axis.plot([0, 1], [0, 1], color='#888888', linewidth=0.8, linestyle='--')
  axis.set_title(title, fontsize=9.0)
  axis.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1))
