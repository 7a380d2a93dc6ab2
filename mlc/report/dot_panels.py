"""Numbers of many contenders as dots in rows, panels on a grid."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Kind -> (mean, low, high).
Dots = Mapping[str, tuple[float, float, float]]

# Okabe and Ito, Color universal design, 2008.
_COLOURS = ('#444444', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00')


def dot_panels(
  grid: Sequence[Sequence[tuple[str, Mapping[str, Dots]]]],
  *,
  x: str,
  families: Mapping[str, str],
) -> Figure:
  """Panels on a grid, a row of dots a contender.

  Args:
    grid: rows of panels: (title, contender -> kind -> numbers). Panels of a row
      share their contenders.
    x: what is shown, with its unit.
    families: contender -> what it belongs to, a colour each.

  Returns:
    The figure. The first kind is a filled dot, others are rings; bars are
    intervals, and the lines mark the first contender of the row.
  """
  tallest = [max(len(dots) for _, dots in row) for row in grid]
  width = 2.35 * max(map(len, grid)) + 1.9
  figure = Figure(
    figsize=(width, sum(0.21 * count + 0.55 for count in tallest) + 0.7),
    layout='constrained',
  )
  axes = figure.subplots(
    len(grid), max(map(len, grid)), squeeze=False, height_ratios=tallest
  )
  every = [of for row in grid for _, dots in row for of in dots.values()]
  kinds = list(dict.fromkeys(kind for of in every for kind in of))
  colours = {
    family: _COLOURS[i % len(_COLOURS)]
    for i, family in enumerate(dict.fromkeys(families.values()))
  }
  for line, row in zip(axes, grid, strict=True):
    names = list(dict.fromkeys(name for _, dots in row for name in dots))
    for axis, (title, dots) in zip(line, row, strict=False):
      _draw(axis, dots, names, kinds, {n: colours[families[n]] for n in names})
      axis.set_title(title, fontsize=9.0)
    for axis in line[1:]:
      axis.set_yticklabels([])
    for axis in line[len(row) :]:
      axis.set_axis_off()
  for axis in axes[-1]:
    axis.set_xlabel(x)
  _legend(figure, colours, kinds)
  return figure


def _draw(axis, dots, names, kinds, colours) -> None:
  for place, kind in enumerate(kinds):
    apart = 0.17 * (2 * place - len(kinds) + 1)
    found = [
      (i, name) for i, name in enumerate(names) if kind in dots.get(name, {})
    ]
    for i, name in found:
      mean, low, high = dots[name][kind]
      axis.errorbar(
        mean,
        i + apart,
        xerr=np.nan_to_num([[mean - low], [high - mean]]),
        marker='o',
        markersize=4.5,
        color=colours[name],
        markerfacecolor=colours[name] if place == 0 else 'white',
        linewidth=1.0,
      )
      if i == 0:
        axis.axvline(
          mean,
          color=colours[name],
          linestyle='-' if place == 0 else '--',
          linewidth=0.7,
          zorder=0,
        )
  axis.set_yticks(range(len(names)), [n.replace('_', ' ') for n in names])
  axis.set_ylim(len(names) - 0.5, -0.5)
  axis.tick_params(labelsize=7.5, length=2.0)
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(axis='x', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)


def _legend(figure: Figure, colours, kinds) -> None:
  shown = [
    Line2D([], [], marker='o', linestyle='', color=colour, label=family)
    for family, colour in colours.items()
  ]
  shown += [
    Line2D(
      [],
      [],
      marker='o',
      linestyle='-' if place == 0 else '--',
      color='#444444',
      markerfacecolor='#444444' if place == 0 else 'white',
      label=kind,
    )
    for place, kind in enumerate(kinds)
  ]
  figure.legend(
    handles=shown, loc='outside lower center', ncols=4, frameon=False
  )
