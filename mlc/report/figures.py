"""Figures: gains over the baseline, and learning curves.

A plot is a description; it is drawn alone for a page, where panels wrap to the
width of the screen, and together with others on a sheet, saved as SVG and PDF.
In the SVG of a page colours are CSS variables, which have dark values too, and
text stays text.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlc.report.answers import signed
from mlc.report.comparison import Gain
from mlc.report.records import Candidate, Curve, Record, labels
from mlc.report.svg import COLOURS, for_page
from mlc.report.vocabulary import Measure

_SETTINGS: Any = {
  'text.parse_math': False,
  'font.family': 'sans-serif',
  'font.size': 9.0,
  'svg.fonttype': 'none',
  'svg.hashsalt': 'mlc',
  'pdf.fonttype': 42,
}
_HEADING = 0.5  # inches above a plot on a sheet
_RUNS_SHOWN = 10
_POINTS_SHOWN = 120


CURVE_CAPTION = (
  'A line a seed: validation loss solid, training loss dashed; the dot is the '
  'epoch that was kept. Orange and &times;: diverged. Runs that were kept or '
  f'diverged are drawn, at most {_RUNS_SHOWN} a method; the first epochs may '
  'lie above the picture. '
)


class GainPlot(NamedTuple):
  """Gains of methods over the baseline, on one metric of one data set.

  A dot with its interval: both sides have the decoder that serves the metric
  best. A ring: the baseline has its default decoder.
  """

  dataset: str
  metric: Measure
  gains: tuple[Gain, ...]
  limits: tuple[float, float]

  @property
  def size(self) -> tuple[float, float]:
    """Width and height in inches."""
    return 3.75, 0.15 * sum(self._lines) + 0.44

  @property
  def title(self) -> str:
    return self.metric.title

  @property
  def text(self) -> str:
    """What the plot shows, in words."""
    return '; '.join(f'{g.label} {g.interval.mean:+.1f}' for g in self.gains)

  @property
  def _names(self) -> list[str]:
    return [_wrapped(gain.label) for gain in self.gains]

  @property
  def _lines(self) -> list[int]:
    return [max(2, name.count('\n') + 1) for name in self._names]

  def draw(self, figure: Figure, x: float, y: float) -> None:
    """Draws with the lower left corner at (x, y) inches."""
    width, height = self.size
    widest = max(len(part) for n in self._names for part in n.split('\n'))
    left = 0.10 + 0.072 * widest
    axes = _axes(
      figure, (x + left, y + 0.38, width - left - 0.5, height - 0.42)
    )
    ends = np.cumsum(self._lines)
    places = ends - np.array(self._lines) / 2.0
    for place, gain in zip(places, self.gains, strict=True):
      _draw_gain(axes, float(place), gain)
    axes.set(xlim=self.limits, ylim=(float(ends[-1]), 0.0))
    axes.set_yticks(places, self._names)
    axes.tick_params(axis='y', length=0, labelcolor=COLOURS['ink'])
    axes.axvline(0.0, color=COLOURS['ink'], linewidth=0.9, zorder=1)
    axes.grid(axis='x', color=COLOURS['line'], linewidth=0.6, zorder=0)
    unit = f'gain, {self.metric.unit}' if self.metric.unit else 'gain'
    _x_label(axes, f'{unit} (right is better)')


class CurvePlot(NamedTuple):
  """Training and validation loss of the kept runs of one method."""

  dataset: str
  label: str
  curves: tuple[tuple[Candidate, Curve], ...]
  limits: tuple[float, float]

  @property
  def size(self) -> tuple[float, float]:
    """Width and height in inches."""
    return 2.35, 1.65

  @property
  def title(self) -> str:
    return self.label

  @property
  def text(self) -> str:
    """What the plot shows, in words."""
    best = [c.validation_loss for c, _ in self.curves]
    best = [loss for loss in best if math.isfinite(loss)]
    text = f'loss by epoch of {len(self.curves)} runs of {self.label}'
    if best:
      text += f', best on validation {min(best):.3g} to {max(best):.3g}'
    return text

  def draw(self, figure: Figure, x: float, y: float) -> None:
    """Draws with the lower left corner at (x, y) inches."""
    width, height = self.size
    axes = _axes(figure, (x + 0.38, y + 0.36, width - 0.44, height - 0.42))
    for candidate, curve in self.curves:
      _draw_curve(axes, candidate, curve)
    axes.set_ylim(*self.limits)
    axes.grid(axis='y', color=COLOURS['line'], linewidth=0.6, zorder=0)
    _x_label(axes, 'epoch')


def gain_plots(
  found: Sequence[tuple[str, Measure, tuple[Gain, ...]]],
) -> tuple[GainPlot, ...]:
  """Plots of (data set, metric, gains); a metric has one scale everywhere."""
  plots = []
  for dataset, metric, gains in found:
    alike = [g for _, m, some in found if m.name == metric.name for g in some]
    if gains:
      plots.append(GainPlot(dataset, metric, gains, _gain_limits(alike)))
  return tuple(plots)


def curve_plots(records: Sequence[Record]) -> tuple[CurvePlot, ...]:
  """The kept and the diverged runs of each method of a data set.

  Where all have the same loss they have the same scale.
  """
  names = labels(records)
  drawn = {record.run_id: _drawn(record) for record in records}
  alike = len({r.loss for r in records if drawn[r.run_id]}) == 1
  every = [curve for pairs in drawn.values() for _, curve in pairs]
  plots = []
  for record in records:
    pairs = drawn[record.run_id]
    if pairs:
      limits = _loss_limits(every if alike else [curve for _, curve in pairs])
      name = names[record.run_id]
      plots.append(CurvePlot(record.dataset, name, pairs, limits))
  return tuple(plots)


@runtime_checkable
class Plot(Protocol):
  """What can be drawn alone or on a sheet; one of a data set names it."""

  @property
  def size(self) -> tuple[float, float]: ...

  @property
  def title(self) -> str: ...

  @property
  def text(self) -> str: ...

  def draw(self, figure: Figure, x: float, y: float) -> None: ...


def panel(plot: Plot) -> str:
  """One plot as SVG for a page, see `for_page`."""
  with style.context(['default', _SETTINGS]):
    figure = Figure(figsize=plot.size, facecolor='none')
    plot.draw(figure, 0.0, 0.0)
    return for_page(_svg(figure), plot.text)


def sheet(
  plots: Sequence[Plot], columns: int, title: str
) -> Mapping[str, bytes]:
  """Plots in rows on one white sheet: {'svg': ..., 'pdf': ...}."""
  rows = [plots[i : i + columns] for i in range(0, len(plots), columns)]
  heights = [max(plot.size[1] for plot in row) + _HEADING for row in rows]
  width = columns * max(plot.size[0] for plot in plots)
  total = sum(heights) + 0.4
  with style.context(['default', _SETTINGS]):
    figure = Figure(figsize=(width, total), facecolor='white')
    figure.text(
      0.1 / width, 1 - 0.1 / total, title, va='top', fontweight='bold'
    )
    top = total - 0.4
    for row, height in zip(rows, heights, strict=True):
      for i, plot in enumerate(row):
        x = i * width / columns
        plot.draw(figure, x, top - _HEADING - plot.size[1])
        name = getattr(plot, 'dataset', '')
        name = f'{name}: {plot.title}' if name else plot.title
        figure.text((x + 0.1) / width, (top - 0.1) / total, name, va='top')
      top -= height
    return saved(figure)


def made(make: Callable[[], Figure | None]) -> Figure | None:
  """A figure made in the style in which it is saved."""
  with style.context(['default', _SETTINGS]):
    return make()


def saved(figure: Figure) -> dict[str, bytes]:
  """A figure as {'svg': ..., 'pdf': ...}, the same bytes every time."""
  with style.context(['default', _SETTINGS]):
    pdf = io.BytesIO()
    figure.savefig(pdf, format='pdf', metadata={'CreationDate': None})
    return {'svg': _svg(figure).encode(), 'pdf': pdf.getvalue()}


def _svg(figure: Figure) -> str:
  text = io.StringIO()
  figure.savefig(
    text,
    format='svg',
    facecolor=figure.get_facecolor(),
    metadata={'Date': None, 'Creator': None},
  )
  return text.getvalue()


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
  """Plain axes in a box (x, y, width, height) in inches."""
  width, height = figure.get_size_inches()
  x, y, w, h = box
  axes = figure.add_axes((x / width, y / height, w / width, h / height))
  axes.set_facecolor('none')
  for side in ('top', 'left', 'right'):
    axes.spines[side].set_visible(False)
  axes.spines['bottom'].set_color(COLOURS['line'])
  axes.tick_params(length=0, colors=COLOURS['muted'], labelsize=8.5)
  axes.set_axisbelow(True)
  return axes


def _x_label(axes: Axes, text: str) -> None:
  axes.set_xlabel(text, color=COLOURS['muted'], fontsize=8.0, labelpad=2)


def _draw_gain(axes: Axes, place: float, gain: Gain) -> None:
  mean, width = gain.interval.mean, gain.interval.half_width
  colour = COLOURS[{1: 'good', 0: 'muted', -1: 'bad'}[gain.interval.side]]
  if gain.naive is not None:
    axes.plot(
      [gain.naive.mean],
      [place],
      'o',
      markersize=5,
      markerfacecolor='none',
      markeredgecolor=COLOURS['muted'],
      markeredgewidth=0.9,
      zorder=2,
    )
  if width is not None:
    axes.plot(
      [mean - width, mean + width],
      [place, place],
      color=colour,
      linewidth=2.2,
      solid_capstyle='round',
      zorder=3,
    )
  marker = 'o' if width is not None else 'x'
  axes.plot([mean], [place], marker, color=colour, markersize=5.5, zorder=4)
  axes.annotate(
    signed(mean),
    (1.0, place),
    xycoords=('axes fraction', 'data'),
    xytext=(5, 0),
    textcoords='offset points',
    va='center',
    color=colour,
    fontweight='bold' if gain.interval.side else 'normal',
  )


def _gain_limits(gains: Sequence[Gain]) -> tuple[float, float]:
  """Limits that hold every gain; a fraction of a point must not fill them."""
  ends = [0.0]
  for gain in gains:
    width = gain.interval.half_width or 0.0
    ends += [gain.interval.mean - width, gain.interval.mean + width]
    ends += [gain.naive.mean] if gain.naive is not None else []
  least = 0.01 * gains[0].metric.scale if gains else 1.0
  low, high = min(*ends, -least), max(*ends, least)
  margin = 0.06 * (high - low)
  return low - margin, high + margin


def _drawn(record: Record) -> tuple[tuple[Candidate, Curve], ...]:
  """The runs of a record that are shown, kept ones first."""
  pairs = [
    (candidate, record.curves[i])
    for i, candidate in enumerate(record.candidates)
    if i in record.curves and (candidate.selected or candidate.diverged)
  ]
  pairs.sort(key=lambda pair: not pair[0].selected)
  return tuple(pairs[:_RUNS_SHOWN])


def _draw_curve(axes: Axes, candidate: Candidate, curve: Curve) -> None:
  step = max(1, len(curve.epochs) // _POINTS_SHOWN)
  colour = COLOURS['bad'] if candidate.diverged else COLOURS['good']
  axes.plot(
    curve.epochs[::step],
    curve.train[::step],
    color=COLOURS['muted'],
    linewidth=0.8,
    linestyle=(0, (3, 2)),
    zorder=2,
  )
  axes.plot(
    curve.epochs[::step],
    curve.validation[::step],
    color=colour,
    linewidth=1.1,
    zorder=3,
  )
  held = (
    curve.validation if np.isfinite(curve.validation).any() else curve.train
  )
  finite = np.flatnonzero(np.isfinite(held))
  if finite.size == 0:
    return
  if candidate.diverged:
    last = finite[-1]
    axes.plot(curve.epochs[last], held[last], 'x', color=colour, zorder=4)
  elif candidate.best_epoch is not None:
    best = np.argmin(np.abs(curve.epochs - candidate.best_epoch))
    axes.plot(
      curve.epochs[best], held[best], 'o', color=colour, markersize=4, zorder=4
    )


def _loss_limits(curves: Sequence[Curve]) -> tuple[float, float]:
  """Limits that show the end well: the first epoch may lie above them."""
  losses = np.concatenate(
    [part[1:] if part.size > 2 else part for c in curves for part in c[1:]]
  )
  losses = losses[np.isfinite(losses)]
  if losses.size == 0:
    return 0.0, 1.0
  low, high = float(losses.min()), float(np.percentile(losses, 99))
  margin = 0.08 * (high - low) or 0.1 * max(abs(high), 1e-3)
  return low - margin, high + margin


def _wrapped(name: str, width: int = 19) -> str:
  """A long name in lines, broken behind `_`, `,` and blanks."""
  parts = re.findall(r'[^_, ]*[_, ]?', name)
  lines = ['']
  for part in (
    p[i : i + width] for p in parts for i in range(0, len(p), width)
  ):
    if len(lines[-1]) + len(part) > width and lines[-1]:
      lines.append('')
    lines[-1] += part
  return '\n'.join(line.strip() for line in lines)
