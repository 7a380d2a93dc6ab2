"""Figures: gains over the baseline, and learning curves.

A plot is a description; it is drawn alone for a page, where panels wrap to the
width of the screen, and together with others on a sheet, saved as SVG and PDF.
In the SVG of a page colours are CSS variables, which have dark values too, and
text stays text.
"""

import io
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlc.report.comparison import Gain
from mlc.report.records import Candidate, Curve, Record
from mlc.report.vocabulary import Measure

# Name of the CSS variable -> colour on paper. Blue and orange stay apart for
# every common kind of colour blindness.
COLOURS: Mapping[str, str] = {
  'ink': '#1f2431',
  'muted': '#667086',
  'line': '#d5d9e1',
  'good': '#0b6bb9',
  'bad': '#b8500c',
}
_SETTINGS: Any = {
  'text.parse_math': False,
  'font.family': 'sans-serif',
  'font.size': 8.5,
  'svg.fonttype': 'none',
  'svg.hashsalt': 'mlc',
  'pdf.fonttype': 42,
}
_INCH = 96.0  # CSS pixels
_RUNS_SHOWN = 10
_POINTS_SHOWN = 120


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
    return 3.75, 0.145 * sum(self._lines) + 0.42

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
    left = 0.10 + 0.069 * widest
    axes = _axes(
      figure, (x + left, y + 0.36, width - left - 0.46, height - 0.4)
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

  label: str
  curves: tuple[tuple[Candidate, Curve], ...]

  @property
  def size(self) -> tuple[float, float]:
    """Width and height in inches."""
    return 2.7, 1.75

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
    axes.set_ylim(*_loss_limits([curve for _, curve in self.curves]))
    axes.grid(axis='y', color=COLOURS['line'], linewidth=0.6, zorder=0)
    _x_label(axes, 'epoch')


Plot = GainPlot | CurvePlot


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


def curve_plot(record: Record, label: str) -> CurvePlot | None:
  """The kept runs, and those that diverged; None without curves."""
  drawn = [
    (candidate, record.curves[i])
    for i, candidate in enumerate(record.candidates)
    if i in record.curves and (candidate.selected or candidate.diverged)
  ]
  drawn.sort(key=lambda pair: not pair[0].selected)
  return CurvePlot(label, tuple(drawn[:_RUNS_SHOWN])) if drawn else None


def panel(plot: Plot) -> str:
  """One plot as SVG for a page, see `for_page`."""
  with style.context(['default', _SETTINGS]):
    figure = Figure(figsize=plot.size)
    plot.draw(figure, 0.0, 0.0)
    return for_page(_svg(figure), plot.text)


def sheet(
  plots: Sequence[Plot], columns: int, title: str
) -> Mapping[str, bytes]:
  """Plots in rows on one white sheet: {'svg': ..., 'pdf': ...}."""
  rows = [plots[i : i + columns] for i in range(0, len(plots), columns)]
  heights = [max(plot.size[1] for plot in row) + 0.34 for row in rows]
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
        plot.draw(figure, x, top - 0.34 - plot.size[1])
        name = getattr(plot, 'dataset', '')
        name = f'{name}: {plot.title}' if name else plot.title
        figure.text((x + 0.1) / width, (top - 0.1) / total, name, va='top')
      top -= height
    pdf = io.BytesIO()
    figure.savefig(pdf, format='pdf', metadata={'CreationDate': None})
    return {'svg': _svg(figure).encode(), 'pdf': pdf.getvalue()}


def for_page(svg: str, text: str = '') -> str:
  """An SVG made fit to stand in a page.

  The prolog and metadata go, identifiers get a prefix of their own, so that
  two figures do not share them, the fixed size becomes a greatest width, and
  the colours of `COLOURS` become CSS variables.

  Args:
    svg: of matplotlib or another source that is trusted.
    text: what it shows, for those who cannot see it.

  Raises:
    ValueError: it is no SVG, or holds a script.
  """
  body = re.search(r'<svg\b.*</svg>', svg, re.DOTALL)
  if not body or re.search(r'<script|\son\w+\s*=|javascript:', svg, re.I):
    raise ValueError(
      'a figure of a report must be an <svg> element without scripts, given: '
      f'{svg[:60]!r}. Save it with matplotlib as SVG.'
    )
  out = re.sub(r'<metadata>.*?</metadata>', '', body.group(), flags=re.DOTALL)
  prefix = f'f{zlib.crc32(out.encode()):08x}-'
  out = re.sub(r'\bid="', f'id="{prefix}', out)
  out = re.sub(r'url\(#', f'url(#{prefix}', out)
  out = re.sub(r'href="#', f'href="#{prefix}', out)
  out = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", 'system-ui, sans-serif', out)
  for name, colour in COLOURS.items():
    out = out.replace(colour, f'var(--{name}, {colour})')
  return re.sub(
    r'<svg\b[^>]*>', lambda m: _opening(m.group(), text), out, count=1
  )


def _opening(tag: str, text: str) -> str:
  """The <svg ...> tag with a greatest width in place of a size."""
  box = re.search(r'viewBox="([^"]*)"', tag)
  if not box:
    return tag
  width = float(box.group(1).split()[2]) * _INCH / 72.0
  label = text.replace('&', '&amp;').replace('"', '&quot;').replace('<', '&lt;')
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" '
    f'xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()} role="img" '
    f'aria-label="{label}" style="width:100%;max-width:{width:.0f}px">'
  )


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
  axes.tick_params(length=0, colors=COLOURS['muted'], labelsize=8)
  axes.set_axisbelow(True)
  return axes


def _x_label(axes: Axes, text: str) -> None:
  axes.set_xlabel(text, color=COLOURS['muted'], fontsize=7.5, labelpad=2)


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
    f'{mean:+.1f}'.replace('-', '\N{MINUS SIGN}'),
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
