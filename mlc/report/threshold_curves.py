"""Precision, recall and F1 of a label against its threshold, and what chose."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure

# Okabe and Ito, Color universal design, 2008: told apart by every eye; the
# markers tell them apart without colour.
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
_MARKERS = 'osD^vP*X<>dh'
# Beyond these a threshold stands at the edge.
_LOWEST, _HIGHEST = 1e-3, 0.99
_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99)


class Curve(NamedTuple):
  """A label at every threshold that can be told apart, falling.

  Attributes:
    threshold: half way between two neighbouring probabilities; the first is 1
      and predicts nothing.
    lowest: the lowest probability that is predicted, 1 for the first.
    precision: NaN where nothing is predicted.
    recall: NaN without a positive.
    f1: 0 where nothing is predicted.
  """

  threshold: Float[np.ndarray, ' cuts']
  lowest: Float[np.ndarray, ' cuts']
  precision: Float[np.ndarray, ' cuts']
  recall: Float[np.ndarray, ' cuts']
  f1: Float[np.ndarray, ' cuts']


class Panel(NamedTuple):
  """One label.

  Attributes:
    title: which, and how frequent it is.
    curves: on which rows -> curve; points lie on the first.
    chosen: rule -> (threshold, low, high); low and high are NaN where nothing
      is known of its stability.
  """

  title: str
  curves: Mapping[str, Curve]
  chosen: Mapping[str, tuple[float, float, float]]


def curve_of(
  p: Shaped[np.ndarray, ' rows'], y: Shaped[np.ndarray, ' rows']
) -> Curve:
  """The curve of a label from its probabilities and its truth, 0 or 1."""
  values, inverse = np.unique(-np.asarray(p, np.float64), return_inverse=True)
  above = -values
  below = np.append(above[1:], 0.0)
  predicted = np.cumsum(np.bincount(inverse, minlength=len(values)))
  hits = np.cumsum(np.bincount(inverse, np.asarray(y) > 0, len(values)))
  predicted, hits = (np.insert(a, 0, 0) for a in (predicted, hits))
  positives = hits[-1]
  with np.errstate(invalid='ignore'):
    precision, recall = hits / predicted, hits / positives
  return Curve(
    threshold=np.insert((above + below) / 2, 0, 1.0),
    lowest=np.insert(above, 0, 1.0),
    precision=precision,
    recall=recall,
    f1=2 * hits / np.maximum(predicted + positives, 1),
  )


def point(curve: Curve, threshold: float) -> dict[str, float]:
  """Precision, recall and F1 of p > threshold."""
  at = int(np.sum(curve.lowest[1:] > threshold))
  names = ('precision', 'recall', 'f1')
  return {name: float(getattr(curve, name)[at]) for name in names}


def threshold_curves(panels: Sequence[Panel]) -> Figure:
  """A column a label: precision against recall, F1 against the threshold.

  Args:
    panels: of the labels.

  Returns:
    The figure. The first curve is solid, others are dashed; horizontal bars
    below are intervals of the thresholds.
  """
  rules = list(dict.fromkeys(rule for panel in panels for rule in panel.chosen))
  figure = Figure(figsize=(3.3 * len(panels) + 0.4, 6.2), layout='constrained')
  axes = figure.subplots(2, len(panels), squeeze=False)
  for column, panel in zip(axes.T, panels, strict=True):
    _draw(column[0], column[1], panel, rules)
  axes[0][0].set_ylabel('precision')
  axes[1][0].set_ylabel('F1')
  handles, names = axes[0][0].get_legend_handles_labels()
  figure.legend(
    handles,
    [name.replace('_', ' ') for name in names],
    loc='outside lower center',
    ncols=5,
    frameon=False,
    fontsize=8.0,
  )
  return figure


def _draw(upper, lower, panel: Panel, rules: Sequence[str]) -> None:
  for style, (name, curve) in zip('-:', panel.curves.items(), strict=False):
    line = {'color': '#777777', 'linestyle': style, 'linewidth': 1.2}
    upper.plot(curve.recall, curve.precision, label=name, **line)
    lower.plot(_place(curve.threshold), curve.f1, **line)
  first = next(iter(panel.curves.values()))
  for rule, (threshold, low, high) in panel.chosen.items():
    i = rules.index(rule)
    mark = {
      'color': _COLOURS[i % len(_COLOURS)],
      'marker': _MARKERS[i % len(_MARKERS)],
      'markersize': 6.0,
      'markeredgecolor': 'white',
      'markeredgewidth': 0.5,
      'linestyle': '',
    }
    at = point(first, threshold)
    upper.plot(at['recall'], at['precision'], label=rule, **mark)
    lower.plot(_place(threshold), at['f1'], **mark)
    if np.isfinite(low + high):
      ends = _place(np.asarray([low, high]))
      lower.plot(ends, [at['f1']] * 2, color=mark['color'], linewidth=0.9)
  upper.set_title(panel.title, fontsize=9.0)
  upper.set_xlabel('recall')
  upper.set_xlim(-0.03, 1.03)
  upper.set_ylim(-0.03, 1.03)
  lower.set_xlabel('threshold')
  lower.set_xticks(_place(np.asarray(_TICKS)), [f'{t:g}' for t in _TICKS])
  lower.set_xlim(_place(_LOWEST) - 0.3, _place(_HIGHEST) + 0.3)
  lower.set_ylim(bottom=-0.02)
  for axis in (upper, lower):
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(color='#e4e4e4', linewidth=0.6)
    axis.set_axisbelow(True)


def _place(threshold):
  """Log odds: what is rare is not crowded at the left."""
  inside = np.clip(threshold, _LOWEST, _HIGHEST)
  return np.log(inside / (1.0 - inside))
