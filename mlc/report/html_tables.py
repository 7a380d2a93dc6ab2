"""Tables of the page: results, gains, the data, the search."""

import html
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlc.report import comparison, tables
from mlc.report.answers import signed
from mlc.report.comparison import Cell, Line, Table
from mlc.report.records import Record, labels
from mlc.report.statistics import Interval
from mlc.report.vocabulary import MEANINGS, Measure, mark, vacancy

# What a profile says, in the order in which a reader asks.
_PROFILE = {
  'n': 'examples',
  'd': 'features',
  'L': 'labels',
  'cardinality': 'labels an example',
  'density': 'label density',
  'distinct_label_sets': 'distinct label sets',
  'most_frequent_share': 'share of the most frequent set',
  'unlabelled': 'rows without a label',
  'unknown': 'share of labels unknown',
  'mean_imbalance_ratio': 'mean imbalance ratio',
  'max_imbalance_ratio': 'greatest imbalance ratio',
  'dependence_strength': 'dependence strength, 0 to 1',
  'mean_absolute_phi': 'mean |correlation| of labels',
  'total_correlation': 'total correlation, nats',
  'conditional_total_correlation': 'conditional total correlation, nats',
}
_SHARES = ('density', 'feature_density', 'most_frequent_share', 'unknown')
_FIRST = 8  # shown; the others on demand


def escape(text: object) -> str:
  """Text as HTML, with places to break a long name."""
  return html.escape(str(text)).replace('_', '_<wbr>').replace(',', ',<wbr>')


def result_table(table: Table, caption: str) -> str:
  """Methods and decoders by metrics, with its marks and their legend."""
  places = [
    tables.decimals(m, [li.cells[i] for li in table.lines if li.cells])
    for i, m in enumerate(table.measures)
  ]
  head = ''.join(
    f'<th scope="col" class="n">{escape(m.title)} '
    f'<span title="{m.better or "unknown"} is better">{m.arrow}</span></th>'
    for m in table.measures
  )
  bodies = []
  most = max((len(line.record.units) for line in table.lines), default=0)
  for group in _groups(table.lines):
    rows = ''
    for i, line in enumerate(group):
      start = _method(line, len(group), most) if i == 0 else ''
      cells = _no_cells(line, table) if not line.cells else ''
      for column, cell in enumerate(line.cells):
        cells += _result(
          table.measures[column], cell, places[column], len(group), line
        )
      rows += f'<tr>{start}{cells}</tr>\n'
    bodies.append(f'<tbody>{rows}</tbody>')
  return scrolling(
    f'<thead><tr><th scope="col">method</th><th scope="col">decoder</th>'
    f'{head}</tr></thead>{"".join(bodies)}',
    caption,
  ) + _legend(table)


def gain_table(
  table: Table, records: Sequence[Record], baseline: str, caption: str
) -> str:
  """Gains over the baseline with the same decoder on both sides."""
  known = [m for m in table.measures if m.better]
  head = ''.join(
    f'<th scope="col" class="n">{escape(m.title)}</th>' for m in known
  )
  bodies = []
  for group in _groups(table.lines):
    base = comparison.baseline_of(group[0].record, records, baseline)
    if base is None or group[0].record.method == baseline:
      continue
    kept = [li for li in group if li.decoder in base.decoders]
    rows = ''
    for i, line in enumerate(kept):
      cells = f'<td class="d">{escape(line.decoder)}</td>'
      for metric in known:
        pair = ((line.record, line.decoder), (base, line.decoder))
        found = comparison.difference(*pair, metric, table.split)
        repeated = i > 0 and comparison.shared(line.record, metric, table.split)
        cells += '' if repeated else _gain(found, metric, len(kept), line)
      start = _method(line, len(kept)) if i == 0 else ''
      rows += f'<tr>{start}{cells}</tr>\n'
    bodies.append(f'<tbody>{rows}</tbody>' if rows else '')
  if not any(bodies):
    return ''
  return scrolling(
    f'<thead><tr><th scope="col">method</th><th scope="col">decoder</th>'
    f'{head}</tr></thead>{"".join(bodies)}',
    caption,
  )


def profile(of: Mapping[str, Any]) -> str:
  """The numbers that describe a data set."""
  known = [key for key in _PROFILE if of.get(key) is not None]
  other = [key for key in of if key not in _PROFILE and of[key] is not None]
  if not known + other:
    return ''

  def tiles(keys: Sequence[str]) -> str:
    return ''.join(
      f'<div><dt>{escape(_PROFILE.get(key, key.replace("_", " ")))}</dt>'
      f'<dd>{escape(_said(of[key], key in _SHARES))}</dd></div>'
      for key in keys
    )

  more = known[_FIRST:] + other
  rest = (
    f'<details><summary>More about the data</summary>'
    f'<dl class="profile">{tiles(more)}</dl></details>'
    if more
    else ''
  )
  return f'<dl class="profile">{tiles(known[:_FIRST])}</dl>{rest}'


def search_table(records: Sequence[Record], caption: str) -> str:
  """What was tried for each method, what was chosen, and what it cost."""
  names = labels(records)
  head = ''.join(
    f'<th scope="col"{side}>{text}</th>'
    for side, text in (
      ('', 'method'),
      (' class="n"', 'settings tried'),
      ('', 'learning rate kept'),
      ('', 'l2 kept'),
      (' class="n"', 'best epoch, median'),
      (' class="n"', 'parameters'),
      (' class="n"', 'compile,&nbsp;s'),
      (' class="n"', 'train,&nbsp;s'),
      (' class="n"', 'evaluate,&nbsp;s'),
    )
  )
  rows = ''.join(
    _search_row(r, names[r.run_id]) for r in records if r.status == 'ok'
  )
  if not rows:
    return ''
  inside = f'<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>'
  return scrolling(inside, caption)


def _search_row(record: Record, name: str) -> str:
  kept = [c for c in record.candidates if c.selected and not c.diverged]
  tried = len(record.candidates) / max(1, len(record.units))
  epochs = [c.best_epoch for c in kept if c.best_epoch is not None]
  count = '—' if record.parameters is None else f'{record.parameters:,}'
  seconds = [record.seconds.get(k) for k in ('compile', 'train', 'evaluate')]
  cells = [
    ('n', f'{tried:.0f}' if record.candidates else '—'),
    ('', _chosen(record, 'learning_rate')),
    ('', _chosen(record, 'l2') + _chosen_for_links(record)),
    ('n', f'{statistics.median(epochs):g}' if epochs else '—'),
    ('n', count),
    *(('n', '—' if s is None else f'{s:.1f}') for s in seconds),
  ]
  text = ''.join(f'<td class="{kind}">{value}</td>' for kind, value in cells)
  return f'<tr><th scope="row">{escape(name)}</th>{text}</tr>\n'


def _chosen_for_links(record: Record) -> str:
  if all(c.link_l2 is None for c in record.candidates):
    return ''
  return f'; links {_chosen(record, "link_l2")}'


def _chosen(record: Record, field: str) -> str:
  """What was kept and how often, and whether the grid ended there."""
  grid = sorted({getattr(c, field) for c in record.candidates} - {None})
  kept = [
    getattr(c, field)
    for c in record.candidates
    if c.selected and not c.diverged and getattr(c, field) is not None
  ]
  if not kept:
    return '—'
  if len(grid) == 1:
    return f'{grid[0]:g}'
  counts = Counter(kept).most_common()
  said = ', '.join(
    f'<span class="pair">{value:g} '
    f'<span class="pm">({count}&times;)</span></span>'
    for value, count in counts
  )
  # 0 ends the grid of penalties by nature, not by choice.
  edge = counts[0][0] in (grid[0], grid[-1]) and counts[0][0] != 0.0
  if edge and len(grid) > 2:
    said += ' <span class="tag">mostly at the edge of the grid</span>'
  return said


def _groups(lines: Sequence[Line]) -> list[list[Line]]:
  groups: list[list[Line]] = []
  for line in lines:
    if groups and groups[-1][0].record is line.record:
      groups[-1].append(line)
    else:
      groups.append([line])
  return groups


def _method(line: Line, rows: int, most: int = 0) -> str:
  """The cell that names a method, and what is amiss with its run."""
  record, text = line.record, ''
  if record.status == 'ok':
    text = tables.trouble(record)
    if not text and len(record.units) < most:
      text = f'{len(record.units)} of {most} seeds and folds'
  tag = f'<span class="tag warn">{escape(text)}</span>' if text else ''
  span = f' rowspan="{rows}"' if rows > 1 else ''
  return f'<th scope="row"{span}>{escape(line.label)}{tag}</th>'


def _no_cells(line: Line, table: Table) -> str:
  columns = len(table.measures) + 1
  text = escape(tables.trouble(line.record))
  return f'<td class="failed" colspan="{columns}">{text}</td>'


def _result(
  metric: Measure, cell: Cell, places: int, rows: int, line: Line
) -> str:
  decoder = ''
  if line.cells[0] is cell:
    decoder = f'<td class="d">{escape(line.decoder)}</td>'
  if cell.repeated:
    return decoder
  spans = rows > 1 and comparison.shared(line.record, metric, 'test')
  span = f' rowspan="{rows}"' if spans else ''
  kinds = ['n']
  kinds += [k for k in ('best', 'tied') if getattr(cell, k)]
  kinds += ['shared'] if spans else []
  if not math.isfinite(cell.interval.mean):
    body = f'<span title="{html.escape(cell.reason)}">—</span>'
  else:
    body = tables.number(cell.interval.mean, places)
    body = f'<b>{body}</b>' if cell.best else body
    if cell.tied:
      body = f'<span class="sign">≈</span>{body}'
    if cell.interval.half_width is not None:
      width = tables.number(cell.interval.half_width, places)
      body += f'<span class="pm">±{width}</span>'
  body += _marks(cell)
  about = _about(cell.interval)
  if undefined := vacancy(metric, cell.vacant):
    about += f'; undefined for {undefined}'
  about = html.escape(about)
  attributes = f'class="{" ".join(kinds)}"{span} title="{about}"'
  return f'{decoder}<td {attributes}>{body}</td>'


def _marks(cell: Cell) -> str:
  text = tables.marks(cell)
  return f'<span class="m">{html.escape(text)}</span>'


def _about(interval: Interval) -> str:
  if not math.isfinite(interval.mean):
    return ''
  if interval.half_width is None:
    return f'n = {interval.n}; no interval: {interval.reason}'
  low, high = (
    interval.mean - interval.half_width,
    interval.mean + interval.half_width,
  )
  return f'[{low:.4g}, {high:.4g}], n = {interval.n}'


def _gain(found: Interval, metric: Measure, rows: int, line: Line) -> str:
  spans = rows > 1 and comparison.shared(line.record, metric, 'test')
  span = f' rowspan="{rows}"' if spans else ''
  if found.n == 0:
    return f'<td class="n"{span}>—</td>'
  side = {1: ' up', 0: '', -1: ' down'}[found.side]
  side += ' shared' if spans else ''
  body = signed(found.mean, 1 if metric.scale == 100.0 else 2)
  if found.half_width is not None:
    width = tables.number(found.half_width, 1 if metric.scale == 100.0 else 2)
    body += f'<span class="pm">±{width}</span>'
  about = html.escape(_about(found))
  return f'<td class="n{side}"{span} title="{about}">{body}</td>'


def _legend(table: Table) -> str:
  cells = [cell for line in table.lines for cell in line.cells]
  parts = []
  if any(cell.best for cell in cells):
    parts.append('<b>bold</b> best of those measured on every seed')
  if any(cell.tied for cell in cells):
    parts.append('≈ not distinguishable from the best (paired interval)')
  words = {w for cell in cells for w in cell.exactness.split(' / ')}
  for word in sorted(words, key=lambda w: (mark(w), w)):
    if mark(word):
      said = MEANINGS.get(word, word)
      parts.append(f'{escape(mark(word))} {escape(word)}: {escape(said)}')
  exact = [w for w in sorted(words) if w in MEANINGS and not mark(w)]
  if exact and len(exact) < len(words):
    parts.append('no mark: exact (closed form or enumerated)')
  if any(
    cell.undefined and math.isfinite(cell.interval.mean) for cell in cells
  ):
    parts.append('° mean over the seeds and folds where it is defined')
  if vacant := comparison.vacancies(table):
    names = comparison.conventions([line.record for line in table.lines])
    parts.append(
      'undefined, and counted by <a href="#conventions">convention '
      f'{escape(", ".join(names))}</a>: {escape("; ".join(vacant))}'
    )
  reasons: dict[str, list[str]] = {}
  for line in table.lines:
    for metric, cell in zip(table.measures, line.cells, strict=False):
      if cell.reason and not math.isfinite(cell.interval.mean):
        where = f'{line.label}, {metric.title}'
        reasons.setdefault(cell.reason, []).append(where)
  for reason, places in reasons.items():
    unique = '; '.join(dict.fromkeys(places))
    parts.append(f'— {escape(unique)}: {escape(reason)}')
  return (
    '<p class="legend">' + ''.join(f'<span>{p}</span> ' for p in parts) + '</p>'
  )


def scrolling(inside: str, caption: str) -> str:
  """A table that scrolls by itself where the screen is narrow."""
  label = html.escape(caption)
  return (
    f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">'
    f'<table>{inside}</table></div>'
  )


def _said(value: Any, share: bool = False) -> str:
  """A value of a profile in a few characters."""
  if isinstance(value, bool):
    return 'yes' if value else 'no'
  if isinstance(value, int):
    return f'{value:,}'
  if isinstance(value, float):
    if share:
      return f'{100 * value:.3g} %'
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'
  if isinstance(value, list | tuple):
    more = f' and {len(value) - 3} more' if len(value) > 3 else ''
    return (', '.join(map(str, value[:3])) or 'none') + more
  return str(value)
