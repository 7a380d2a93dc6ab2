"""The critical-difference diagram: average ranks, groups joined by bars."""

import math
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlc.report.ranks import Ranking
from mlc.report.svg import COLOURS

_ROW = 0.2  # inches a name
_TIER = 0.1  # inches a bar
_LABEL = 0.074  # inches a character
_SPAN = 2.4  # inches of the axis at least
_STEP = 0.17  # inches a rank at least


class RankPlot(NamedTuple):
  """Methods on an axis of average ranks, the best on the left.

  A bar joins methods no two of which the test tells apart; above the axis
  stands the critical difference where the test has one.

  References:
    Demsar, Statistical comparisons of classifiers over multiple data sets,
    JMLR 7, 2006, section 3.2.4.
  """

  ranking: Ranking

  @property
  def size(self) -> tuple[float, float]:
    """Width and height in inches."""
    return 2 * self._side + self._span, self._above + self._below + 0.05

  @property
  def title(self) -> str:
    return self.ranking.metric.title

  @property
  def text(self) -> str:
    """What the plot shows, in words."""
    pairs = zip(self.ranking.methods, self.ranking.ranks, strict=True)
    said = ', '.join(f'{name} {rank:.2f}' for name, rank in pairs)
    joined = '; '.join(
      f'{self.ranking.methods[a]} to {self.ranking.methods[b]}'
      for a, b in self.ranking.groups
    )
    return f'average ranks: {said}; not told apart: {joined or "none"}'

  @property
  def _side(self) -> float:
    return 0.55 + _LABEL * max(map(len, self.ranking.methods))

  @property
  def _span(self) -> float:
    return max(_SPAN, _STEP * len(self.ranking.methods))

  @property
  def _above(self) -> float:
    return 0.62 if self.ranking.critical_difference is not None else 0.34

  @property
  def _below(self) -> float:
    rows = math.ceil(len(self.ranking.methods) / 2)
    return self._bars + _ROW * rows

  @property
  def _bars(self) -> float:
    return 0.14 + _TIER * max(1, len(tiers(self.ranking.groups)))

  def draw(self, figure: Figure, x: float, y: float) -> None:
    """Draws with the lower left corner at (x, y) inches."""
    width, height = figure.get_size_inches()
    wide, high = self.size
    axes = figure.add_axes((x / width, y / height, wide / width, high / height))
    axes.set(xlim=(0.0, wide), ylim=(-self._below - 0.05, self._above))
    axes.set_axis_off()
    self._draw_axis(axes)
    self._draw_names(axes)
    for tier, groups in enumerate(tiers(self.ranking.groups)):
      for first, last in groups:
        ends = self.ranking.ranks[first], self.ranking.ranks[last]
        self._bar(axes, ends, -0.14 - _TIER * tier)

  def _at(self, rank: float | int) -> float:
    """Inches from the left edge."""
    steps = max(len(self.ranking.methods) - 1, 1)
    return self._side + self._span * (rank - 1.0) / steps

  def _bar(self, axes: Axes, ends: tuple[float, float], y: float) -> None:
    left, right = self._at(ends[0]) - 0.04, self._at(ends[1]) + 0.04
    axes.plot(
      [left, right],
      [y, y],
      color=COLOURS['good'],
      linewidth=3.4,
      solid_capstyle='round',
      zorder=4,
    )

  def _draw_axis(self, axes: Axes) -> None:
    count = len(self.ranking.methods)
    ink: Any = {'color': COLOURS['ink'], 'linewidth': 1.0}
    axes.plot([self._at(1), self._at(count)], [0, 0], **ink)
    step = math.ceil(count / 10)
    for rank in range(1, count + 1):
      named = (rank - 1) % step == 0
      axes.plot([self._at(rank)] * 2, [0, 0.07 if named else 0.04], **ink)
      if named:
        axes.text(
          self._at(rank), 0.1, str(rank), ha='center', color=COLOURS['ink']
        )
    critical = self.ranking.critical_difference
    if critical is None:
      return
    # More than the axis holds: no two methods could differ by so much.
    ends = self._at(1), self._at(min(1 + critical, count))
    axes.plot(ends, [0.42, 0.42], color=COLOURS['muted'], linewidth=1.4)
    for end in ends:
      axes.plot([end] * 2, [0.39, 0.45], color=COLOURS['muted'], linewidth=1.4)
    axes.text(
      ends[1] + 0.08,
      0.42,
      f'critical difference {critical:.2f}',
      va='center',
      fontsize=8.0,
      color=COLOURS['muted'],
    )

  def _draw_names(self, axes: Axes) -> None:
    """Elbows from the axis to the names, the better half on the left."""
    count = len(self.ranking.methods)
    half = math.ceil(count / 2)
    pairs = zip(self.ranking.methods, self.ranking.ranks, strict=True)
    for i, (name, rank) in enumerate(pairs):
      left = i < half
      row = i if left else count - 1 - i
      at = self._at(rank)
      y = -self._bars - _ROW * (row + 0.5)
      end = self._side - 0.12 if left else self._side + self._span + 0.12
      # A rank on the wrong side of its name's column still reaches it.
      axes.plot(
        [at, at, end],
        [0.0, y, y],
        color=COLOURS['muted'],
        linewidth=0.8,
        zorder=2,
      )
      axes.plot([at], [0.0], 'o', color=COLOURS['ink'], markersize=3.2)
      axes.text(
        end + (-0.06 if left else 0.06),
        y,
        f'{name}  {rank:.2f}' if left else f'{rank:.2f}  {name}',
        ha='right' if left else 'left',
        va='center',
        color=COLOURS['ink'],
      )


def tiers(
  groups: tuple[tuple[int, int], ...],
) -> list[list[tuple[int, int]]]:
  """Groups on levels, so that bars with a method in common do not touch."""
  levels: list[list[tuple[int, int]]] = []
  for group in sorted(groups):
    for level in levels:
      if level[-1][1] < group[0]:
        level.append(group)
        break
    else:
      levels.append([group])
  return levels


def caption(ranking: Ranking) -> str:
  """How the picture came about, in numbers."""
  pairs = len(ranking.methods) * (len(ranking.methods) - 1) // 2
  test = {
    'wilcoxon-holm': f'Wilcoxon signed-rank tests of the {pairs} pairs with '
    'the correction of Holm',
    'range': 'the range test of rank sums (Nemenyi, its distribution drawn '
    'by permuting ranks within data sets), since Wilcoxon-Holm on '
    f'{pairs} pairs could not reject with so few data sets',
  }[ranking.test]
  p = f'p {_p(ranking.friedman)}'
  if ranking.friedman > 0.05:
    told = (
      f'Friedman: no difference among all of them ({p}), so that '
      'no pair is looked at and one bar joins all.'
    )
  else:
    told = f'Friedman: {p}. Pairs by {test}, at 5 %.'
  failed = ''
  if ranking.failed:
    listed = ', '.join(f'{method} on {data}' for data, method in ranking.failed)
    failed = f' A run that failed or diverged ranks last there: {listed}.'
  left_out = ''
  if ranking.left_out:
    left_out = f' Left out: {"; ".join(ranking.left_out)}.'
  knobs = ''
  if sum(name.startswith('synthetic:') for name in ranking.datasets) > 1:
    knobs = (
      ' Synthetic worlds that differ in a knob are no sample of problems: the '
      'test says what holds over these knobs.'
    )
  return (
    f'{ranking.metric.title}, {len(ranking.datasets)} data sets, '
    f'{len(ranking.methods)} methods. {told}{failed}{left_out}{knobs}'
  )


def _p(value: float) -> str:
  return '< 0.001' if value < 0.001 else f'= {value:.3f}'
