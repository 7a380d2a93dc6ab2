"""Exact regret against the strength of the dependence, and its parts."""

import re
from collections.abc import Sequence

from experiments.findings.findings import Figure, Findings
from experiments.studies.regret import GREEDY, OPTIMAL
from mlc.report.line_panels import line_panels
from mlc.report.part_bars import part_bars
from mlc.report.records import Record
from mlc.report.vocabulary import REGRET_PARTS, measure

# Of scores, which are the same with every decoder.
RANKING = 'regret_ranking_loss'


def _figures(records: Sequence[Record]) -> list[Figure]:
  """Regret against strength, one figure a kind of world."""
  figures = []
  for kind in dict.fromkeys(_kind(r.dataset) for r in records):
    mine = [r for r in records if _kind(r.dataset) == kind and kind]
    if not mine:
      continue
    panels = [
      (
        f'{metric.removeprefix("regret_")} ({decoder} rule)',
        _curves(mine, metric, decoder),
      )
      for metric, decoder in OPTIMAL.items()
    ]
    figure = line_panels(
      panels, x='strength of conditional dependence', y='regret, points'
    )
    figures.append((f'Regret in {kind} worlds', figure, _caption(mine)))
    figures += _parts_figures(kind, mine)
  return figures


def _parts_figures(kind: str, records: Sequence[Record]) -> list[Figure]:
  """Where the regret comes from where the dependence is strongest."""
  strongest = max(_strength(record.dataset) for record in records)
  mine = [r for r in records if _strength(r.dataset) == strongest]
  panels = []
  for metric, decoder in {**OPTIMAL, RANKING: 'hamming'}.items():
    bars: dict[str, dict[str, float]] = {}
    for record in mine:
      asked = [decoder]
      if (record.method, metric) == GREEDY[:2]:
        asked.append(GREEDY[2])
      for name in asked:
        parts = _parts(record, name, metric)
        title = record.method + (f', {name}' if name != decoder else '')
        bars |= {title: parts} if parts else {}
    panels.append((measure(metric).title.removeprefix('regret in '), bars))
  if not any(bars for _, bars in panels):
    return []
  figure = part_bars(panels, y='regret, points')
  title = f'Where the regret comes from in {kind} worlds'
  return [(title, figure, _parts_caption(strongest, panels))]


def _parts(record: Record, decoder: str, metric: str) -> dict[str, float]:
  """part -> mean over seeds, in points; empty where there is none."""
  found = {
    part: record.interval(decoder, f'{metric}_{part}', 'test')
    for part in reversed(REGRET_PARTS)
  }
  if any(interval.n == 0 for interval in found.values()):
    return {}
  return {part: 100.0 * interval.mean for part, interval in found.items()}


def _parts_caption(
  strength: float, panels: Sequence[tuple[str, dict[str, dict[str, float]]]]
) -> str:
  """The additive table in words, a sentence a metric."""
  sentences = []
  for title, bars in panels:
    said = '; '.join(
      f'{name.replace("_", " ")} {sum(parts.values()):.2f} = '
      + ' + '.join(f'{value:.2f} {part}' for part, value in parts.items())
      for name, parts in bars.items()
    )
    sentences.append(f'{title}: {said}.')
  return (
    f'At strength {strength:g}, in points, a line marks the sum; each by the '
    'decoder that is optimal for it, ranking by marginals. '
    + ' '.join(sentences)
  )


def _curves(
  records: Sequence[Record], metric: str, decoder: str
) -> dict[str, list[tuple[float, float, float, float]]]:
  """method -> [(strength, mean, low, high)], in points."""
  curves: dict[str, list[tuple[float, float, float, float]]] = {}
  for record in records:
    found = record.interval(decoder, metric, 'test')
    if found.n:
      half = found.half_width or 0.0
      numbers = (found.mean, found.mean - half, found.mean + half)
      mean, low, high = (100.0 * number for number in numbers)
      point = (_strength(record.dataset), mean, low, high)
      curves.setdefault(record.method, []).append(point)
  return {method: sorted(points) for method, points in curves.items()}


def _caption(records: Sequence[Record]) -> str:
  """What the strongest dependence costs each method, in numbers."""
  sentences = []
  for metric, decoder in OPTIMAL.items():
    curves = _curves(records, metric, decoder)
    said = ', '.join(
      f'{method} {points[0][1]:.2f} to {points[-1][1]:.2f}'
      for method, points in curves.items()
    )
    sentences.append(
      f'{metric.removeprefix("regret_")}, weakest to strongest: {said}.'
    )
  return 'Regret in points of the loss. ' + ' '.join(sentences)


def _kind(dataset: str) -> str:
  found = re.match(r'synthetic:(\w+)', dataset)
  return found.group(1) if found else ''


def _strength(dataset: str) -> float:
  found = re.search(r'strength=([\d.]+)', dataset)
  return float(found.group(1)) if found else 0.0


FINDINGS = Findings(_figures)
