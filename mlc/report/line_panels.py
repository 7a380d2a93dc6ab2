"""Numbers against a knob, a line a method, with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# (knob, mean, low, high), sorted by the knob.
Points = Sequence[tuple[float, float, float, float]]

# Okabe and Ito, Color universal design, 2008: told apart by every eye; the
# markers tell them apart without colour.
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
_MARKERS = 'osD^vP'


def line_panels(
  panels: Sequence[tuple[str, Mapping[str, Points]]], *, x: str, y: str
) -> Figure:
  """Panels side by side that share the axis of the knob.

  Args:
    panels: (title, method -> points) of each.
    x: what the knob is.
    y: what is shown, with its unit.

  Returns:
    The figure; bars are intervals, methods a little apart to be seen.
  """
  figure = Figure(figsize=(2.7 * len(panels) + 0.4, 2.9), layout='constrained')
  axes = figure.subplots(1, len(panels), squeeze=False)[0]
  methods = list(dict.fromkeys(m for _, curves in panels for m in curves))
  for axis, (title, curves) in zip(axes, panels, strict=True):
    draw_lines(axis, curves, methods)
    axis.set_title(title, fontsize=9.0)
    axis.set_xlabel(x)
  axes[0].set_ylabel(y)
  figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc='outside lower center',
    ncols=min(4, len(methods)),
    frameon=False,
  )
  return figure


def draw_lines(
  axis: Axes, curves: Mapping[str, Points], methods: Sequence[str]
) -> None:
  """A line a method, in the colour and with the marker of its place.

  Args:
    axis: to draw on.
    curves: method -> points.
    methods: all that a figure shows, so that each looks the same everywhere.
  """
  for method, points in curves.items():
    i = methods.index(method)
    knob, mean, low, high = np.asarray(points, np.float64).T
    apart = 0.015 * (np.ptp(knob) or 1.0) * (i - (len(methods) - 1) / 2.0)
    axis.errorbar(
      knob + apart,
      mean,
      yerr=np.nan_to_num([mean - low, high - mean]),
      label=method.replace('_', ' '),
      color=colour(i),
      marker=_MARKERS[i % len(_MARKERS)],
      markersize=4.0,
      linewidth=1.3,
      capsize=2.0,
    )
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(axis='y', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)


def colour(i: int) -> str:
  """Of the method at place i."""
  return _COLOURS[i % len(_COLOURS)]
