"""A figure of how errors propagate between labels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlc.report.svg import COLOURS

# Names stand at the axes of a matrix of so many labels.
_NAMED = 30
_SIDE = 3.1  # inches


class Matrix(NamedTuple):
  """Label i to label j in row i, column j.

  Attributes:
    title: what it shows.
    values: [L, L]; the diagonal is not drawn.
    signed: whether values have a sign, which then is a colour.
  """

  title: str
  values: np.ndarray
  signed: bool


def propagation_figure(
  names: Sequence[str],
  lines: Mapping[str, np.ndarray],
  matrices: Sequence[Matrix],
  bars: Mapping[str, float],
) -> Figure:
  """Accuracy along the chain, label to label, and what searches find.

  Args:
    names: of the labels, in the order in which they are drawn.
    lines: name -> accuracy at each position of the chain, [curves, L]: the
      mean is drawn, and the range behind it; empty for no such panel.
    matrices: in the order of `names`.
    bars: search -> share of decisions equal to those of the mode; may be empty.

  Returns:
    A figure with a panel for each of these.
  """
  panels: list[Any] = [*matrices]
  if lines:
    panels.insert(0, lines)
  if bars:
    panels.append(bars)
  width = (_SIDE + 0.6) * len(panels)
  figure = Figure(figsize=(width, _SIDE + 0.7), layout='constrained')
  axes = figure.subplots(1, len(panels), squeeze=False)[0]
  for axis, panel in zip(axes, panels, strict=True):
    if panel is lines:
      _draw_lines(axis, lines, names)
    elif panel is bars:
      _draw_bars(axis, bars)
    else:
      _draw_matrix(figure, axis, panel, names)
  return figure


def _draw_lines(
  axis: Axes, lines: Mapping[str, np.ndarray], names: Sequence[str]
) -> None:
  for (name, values), colour, dash in zip(
    lines.items(), (COLOURS['muted'], COLOURS['good']), ('--', '-'), strict=True
  ):
    x = np.arange(1, values.shape[1] + 1)
    axis.plot(
      x,
      values.mean(axis=0),
      dash,
      marker='o',
      markersize=3.0,
      linewidth=1.3,
      color=colour,
      label=name,
    )
    if len(values) > 1:
      low, high = values.min(axis=0), values.max(axis=0)
      axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
  axis.set_title('Accuracy along the chain', fontsize=9.0, loc='left')
  axis.set_xlabel('position in the chain', fontsize=8.5)
  if len(names) <= _NAMED:
    axis.set_xticks(range(1, len(names) + 1))
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(axis='y', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)
  axis.tick_params(labelsize=7.5)
  axis.legend(frameon=False, fontsize=8.0)


def _draw_matrix(
  figure: Figure, axis: Axes, matrix: Matrix, names: Sequence[str]
) -> None:
  shown = np.where(np.eye(len(names), dtype=bool), np.nan, matrix.values)
  top = float(np.nanmax(np.abs(shown), initial=0.0)) or 1.0
  image = axis.imshow(
    shown,
    cmap='PuOr_r' if matrix.signed else 'Blues',
    vmin=-top if matrix.signed else 0.0,
    vmax=top,
    interpolation='nearest',
  )
  axis.set_facecolor('#eeeeee')
  axis.set_title(matrix.title, fontsize=9.0, loc='left')
  axis.set_xlabel('seen in label', fontsize=8.5)
  axis.set_ylabel('forced label', fontsize=8.5)
  if len(names) <= _NAMED:
    short = [_short(name) for name in names]
    axis.set_xticks(range(len(names)), short, rotation=90)
    axis.set_yticks(range(len(names)), short)
  axis.tick_params(labelsize=6.5, length=0)
  bar = figure.colorbar(image, ax=axis, shrink=0.8)
  bar.outline.set_visible(False)
  bar.ax.tick_params(labelsize=7.0, length=2)


def _draw_bars(axis: Axes, bars: Mapping[str, float]) -> None:
  names = list(bars)
  axis.barh(range(len(bars)), list(bars.values()), color=COLOURS['good'])
  for i, name in enumerate(names):
    inside = bars[name] > 0.25
    axis.text(
      0.02 if inside else bars[name] + 0.02,
      i,
      f'{bars[name]:.1%}',
      va='center',
      color='white' if inside else COLOURS['ink'],
      fontsize=8.0,
    )
  axis.set_yticks(range(len(bars)), [n.replace('_', ' ') for n in names])
  axis.invert_yaxis()
  axis.set_xlim(0.0, 1.0)
  axis.set_title('Decisions equal to the mode', fontsize=9.0, loc='left')
  axis.set_xlabel('share of rows', fontsize=8.5)
  axis.spines[['top', 'right']].set_visible(False)
  axis.tick_params(labelsize=8.0)


def _short(name: str, width: int = 14) -> str:
  return name if len(name) <= width else f'{name[: width - 1]}…'
