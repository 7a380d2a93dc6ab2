"""Bars whose parts add up, some of which may be negative."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

# Okabe and Ito, Color universal design, 2008.
_COLOURS = ('#0072b2', '#56b4e9', '#e69f00', '#d55e00')
_HATCHES = ('', '////', '....', 'xxxx')


def part_bars(
  panels: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], *, y: str
) -> Figure:
  """Panels side by side, a bar a contender, a colour and hatch a part.

  Args:
    panels: (title, contender -> part -> value) of each.
    y: what is shown, with its unit.

  Returns:
    The figure. Parts above 0 stand on each other, those below hang down, and a
    line marks their sum.
  """
  figure = Figure(figsize=(2.3 * len(panels) + 0.4, 3.4), layout='constrained')
  axes = figure.subplots(1, len(panels), squeeze=False)[0]
  parts = list(
    dict.fromkeys(p for _, bars in panels for bar in bars.values() for p in bar)
  )
  for axis, (title, bars) in zip(axes, panels, strict=True):
    above, below = [0.0] * len(bars), [0.0] * len(bars)
    for part in parts:
      i = parts.index(part) % len(_COLOURS)
      values = [bar.get(part, 0.0) for bar in bars.values()]
      starts = [
        high if value > 0 else low
        for value, high, low in zip(values, above, below, strict=True)
      ]
      axis.bar(
        range(len(bars)),
        values,
        bottom=starts,
        width=0.62,
        color=_COLOURS[i],
        hatch=_HATCHES[i],
        edgecolor='white',
        linewidth=0.0,
        label=part,
      )
      above = [a + max(v, 0.0) for a, v in zip(above, values, strict=True)]
      below = [b + min(v, 0.0) for b, v in zip(below, values, strict=True)]
    sums = [sum(bar.values()) for bar in bars.values()]
    places = range(len(bars))
    left, right = [p - 0.4 for p in places], [p + 0.4 for p in places]
    axis.hlines(sums, left, right, color='black', linewidth=1.3)
    axis.axhline(0.0, color='#888888', linewidth=0.6)
    axis.set_xticks(
      list(places),
      [name.replace('_', ' ') for name in bars],
      rotation=90,
      fontsize=7.5,
    )
    axis.set_title(title, fontsize=9.0)
    axis.spines[['top', 'right']].set_visible(False)
  axes[0].set_ylabel(y)
  figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc='outside lower center',
    ncols=len(parts) or 1,
    frameon=False,
  )
  return figure
