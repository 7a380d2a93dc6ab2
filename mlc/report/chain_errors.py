"""How errors travel along chains: four panels a data set."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlc.report.line_panels import Points, colour, draw_lines

_WIDTH, _HEIGHT = 13.0, 3.1  # inches, of a row of panels


class ChainErrors(NamedTuple):
  """What is drawn of one data set, in points of 100.

  Attributes:
    title: name of the data set.
    lost: contender -> (position, accuracy lost to the decisions before it).
    harm: contender -> (distance, how much less often right so far behind a
      wrong decision).
    found: contender -> (place in `searches`, subset accuracy).
    searches: names, from the narrowest to the widest.
    gains: contender -> (mean, low, high) of what it is better than the
      baseline in subset accuracy.
    singles: contender -> the same of each single order of an ensemble.
  """

  title: str
  lost: Mapping[str, Points]
  harm: Mapping[str, Points]
  found: Mapping[str, Points]
  searches: Sequence[str]
  gains: Mapping[str, tuple[float, float, float]]
  singles: Mapping[str, Sequence[float]]


def chain_errors_figure(sets: Sequence[ChainErrors]) -> Figure:
  """A row of four panels for each data set; a panel without numbers is empty.

  Args:
    sets: at least one.

  Returns:
    The figure; bars are intervals over seeds.
  """
  figure = Figure(
    figsize=(_WIDTH, _HEIGHT * len(sets) + 0.4), layout='constrained'
  )
  rows = figure.subplots(len(sets), 4, squeeze=False)
  names = list(
    dict.fromkeys(
      name
      for one in sets
      for curves in (one.lost, one.harm, one.found, one.gains)
      for name in curves
    )
  )
  handles: dict[str, Any] = {}
  for axes, one in zip(rows, sets, strict=True):
    _draw(list(axes), one, names)
    for axis in axes:
      for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
        handles.setdefault(label, handle)
  figure.legend(
    handles=list(handles.values()),
    loc='outside lower center',
    ncols=4,
    frameon=False,
  )
  return figure


def _draw(axes: Sequence[Axes], one: ChainErrors, names: Sequence[str]) -> None:
  panels = (
    (one.lost, 'Accuracy lost to earlier errors', 'position in the chain'),
    (one.harm, 'Cost of one wrong decision', 'labels behind it'),
    (one.found, 'Subset accuracy by search', ''),
  )
  for axis, (curves, title, x) in zip(axes[:3], panels, strict=True):
    draw_lines(axis, curves, names)
    axis.set_title(title, fontsize=9.0, loc='left')
    axis.set_xlabel(x, fontsize=8.5)
  for axis in axes[:2]:
    # Where labels that hear nothing stand.
    axis.axhline(0.0, color='#888888', linewidth=0.8)
  axes[0].set_ylabel(f'{one.title}\npoints', fontsize=8.5)
  places = np.arange(len(one.searches))
  axes[2].set_xticks(places, [name.replace('_', ' ') for name in one.searches])
  _draw_gains(axes[3], one, names)
  for axis in axes:
    axis.tick_params(labelsize=7.5)


def _draw_gains(axis: Axes, one: ChainErrors, names: Sequence[str]) -> None:
  """A line a contender, and behind an ensemble a dot for each of its orders."""
  for place, (name, (mean, low, high)) in enumerate(one.gains.items()):
    singles = one.singles.get(name, ())
    # Dots side by side, so that equal ones are seen as several.
    spread = np.linspace(-0.28, 0.28, len(singles))
    axis.plot(singles, place + spread, '.', color='#888888', markersize=3.0)
    axis.errorbar(
      mean,
      place,
      xerr=np.nan_to_num([[mean - low], [high - mean]]),
      color=colour(names.index(name)),
      marker='o',
      markersize=4.5,
      capsize=2.0,
    )
  axis.axvline(0.0, color='#888888', linewidth=0.8)
  axis.set_yticks(
    range(len(one.gains)), [name.replace('_', ' ') for name in one.gains]
  )
  axis.invert_yaxis()
  axis.set_title('Gain over binary relevance', fontsize=9.0, loc='left')
  axis.set_xlabel('subset accuracy, points', fontsize=8.5)
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(axis='x', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)
