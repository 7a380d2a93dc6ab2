"""Numbers in a table that is coloured, and beside each line what cuts keep."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe and Ito, Color universal design, 2008: told apart by every eye; the
# markers tell them apart without colour.
_COLOURS = ('#d55e00', '#0072b2', '#009e73', '#cc79a7', '#e69f00')
_MARKERS = 'Xos^D'


class Panel(NamedTuple):
  """What stands in one line of the figure.

  Attributes:
    title: of the panel.
    values: contender -> column -> value; NaN or nothing where there is none.
    better: column -> +1 where a higher value is better, -1 where a lower.
    cuts: contender -> name of a cut -> value.
  """

  title: str
  values: Mapping[str, Mapping[str, float]]
  better: Mapping[str, int]
  cuts: Mapping[str, Mapping[str, float]]


def score_grid(panels: Sequence[Panel], *, x: str) -> Figure:
  """Panels below each other: a table on the left, cuts on the right.

  Args:
    panels: of each data set.
    x: what the cuts are measured in, with its unit.

  Returns:
    The figure. The darker a cell, the better it is in its column, which runs
    from the worst to the best; the best is bold.
  """
  heights = [0.32 * len(panel.values) + 0.55 for panel in panels]
  figure = Figure(figsize=(9.6, sum(heights) + 0.9), layout='constrained')
  axes = figure.subplots(
    len(panels),
    2,
    squeeze=False,
    gridspec_kw={'width_ratios': [1.9, 1.0], 'height_ratios': heights},
  )
  names = list(
    dict.fromkeys(cut for p in panels for c in p.cuts.values() for cut in c)
  )
  for (left, right), panel in zip(axes, panels, strict=True):
    _table(left, panel)
    _cuts(right, panel, names)
  axes[-1][1].set_xlabel(x, fontsize=8.5)
  marks = [
    Line2D(
      [], [], linestyle='', color=_COLOURS[i], marker=_MARKERS[i], label=name
    )
    for i, name in enumerate(names)
  ]
  figure.legend(
    handles=marks,
    loc='outside lower right',
    ncols=len(names) or 1,
    frameon=False,
    fontsize=8.5,
  )
  return figure


def _table(axis, panel: Panel) -> None:
  columns = list(panel.better)
  values = np.array(
    [
      [line.get(column, np.nan) for column in columns]
      for line in panel.values.values()
    ]
  ).reshape(len(panel.values), len(columns))
  signed = values * np.array([panel.better[column] for column in columns])
  shade = _shades(signed)
  axis.imshow(
    np.ma.masked_invalid(shade), cmap='Blues', vmin=0, vmax=1.6, aspect='auto'
  )
  for (i, j), value in np.ndenumerate(values):
    finite = np.isfinite(value)
    axis.text(
      j,
      i,
      f'{value:.1f}' if finite else '—',
      ha='center',
      va='center',
      fontsize=8.0,
      fontweight='bold' if finite and shade[i, j] == 1 else 'normal',
    )
  axis.set_title(panel.title, fontsize=9.5, loc='left')
  arrows = [
    column + (' ↑' if panel.better[column] > 0 else ' ↓') for column in columns
  ]
  axis.set_xticks(range(len(columns)), arrows, fontsize=8.0)
  axis.set_yticks(range(len(values)), list(panel.values), fontsize=8.5)
  axis.tick_params(length=0)
  axis.spines[:].set_visible(False)


def _shades(signed: np.ndarray) -> np.ndarray:
  """Each column from 0, its worst, to 1, its best."""
  if not signed.size:
    return signed
  filled = np.where(np.isfinite(signed), signed, np.nan)
  worst = np.min(np.where(np.isnan(filled), np.inf, filled), axis=0)
  best = np.max(np.where(np.isnan(filled), -np.inf, filled), axis=0)
  span = np.where(best > worst, best - worst, 1.0)
  return np.where(best > worst, (filled - worst) / span, filled * 0.0 + 1.0)


def _cuts(axis, panel: Panel, names: Sequence[str]) -> None:
  lines = list(panel.values)
  for i, line in enumerate(lines):
    found = panel.cuts.get(line, {})
    some = [value for value in found.values() if np.isfinite(value)]
    if some:
      axis.hlines(i, min(some), max(some), color='#bbbbbb', linewidth=1.6)
    for k, name in enumerate(names):
      axis.plot(
        found.get(name, np.nan),
        i,
        linestyle='',
        color=_COLOURS[k % len(_COLOURS)],
        marker=_MARKERS[k % len(_MARKERS)],
        markersize=6.0,
      )
  axis.set_ylim(len(lines) - 0.5, -0.5)
  axis.set_yticks(range(len(lines)), [''] * len(lines))
  axis.tick_params(axis='y', length=0)
  axis.tick_params(axis='x', labelsize=8.0)
  axis.spines[['top', 'right', 'left']].set_visible(False)
  axis.grid(axis='x', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)
