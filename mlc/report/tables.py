"""Tables in the terminal, and summary.csv."""

import csv
import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mlc.report import comparison
from mlc.report.answers import answers, overall
from mlc.report.comparison import Cell, Table
from mlc.report.records import Record, labels
from mlc.report.vocabulary import DEFAULT_METRICS, MEANINGS, Measure, mark

SUMMARY_COLUMNS = (
  'study',
  'dataset',
  'method',
  'encoder',
  'head',
  'loss',
  'decoder',
  'split',
  'metric',
  'mean',
  'ci_low',
  'ci_high',
  'n',
  'inference',
  'status',
  'interval',
  'undefined',
)
WIDTH = 100
_NAME = 22

# For an output that cannot show the character.
_ASCII = {
  '±': '+-',
  '†': '^',
  '—': '-',
  '≈': '=',
  '↑': '^',
  '↓': 'v',
  '\N{MINUS SIGN}': '-',
  '…': '...',
  '\N{NO-BREAK SPACE}': ' ',
}


def summary_csv(records: Sequence[Record]) -> str:
  """summary.csv: one row a method, decoder, split and metric.

  Values are as in results.csv, not scaled. A number that does not exist is
  empty. `n` counts the seeds and folds in the mean, `inference` is the word
  for how the decision or score was obtained, `status` is `diverged` where a
  seed is missing from the mean because it diverged, and a run that failed or
  has not finished is one row that says so. `undefined` is the number of rows or
  labels for which the metric is undefined, a mean over seeds and folds.
  """
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(SUMMARY_COLUMNS)
  names = labels(records)
  for r in records:
    kept = (r.study, r.dataset, names[r.run_id], r.encoder, r.head, r.loss)
    if not r.rows:
      writer.writerow((*kept, *[''] * 8, r.outcome, '', ''))
    for (split, metric, decoder), rows in r.cells.items():
      found = r.interval(decoder, metric, split)
      numbers = [_exact(v) for v in (found.mean, found.low, found.high)]
      inference = ' / '.join(dict.fromkeys(x.exactness for x in rows))
      place = (decoder, split, metric, *numbers, found.n, inference)
      interval = r.sampling.name if numbers[1] else ''
      counts = [x.undefined for x in rows if x.undefined is not None]
      undefined = f'{sum(counts) / len(counts):g}' if counts else ''
      writer.writerow((*kept, *place, r.outcome, interval, undefined))
  return text.getvalue()


def decimals(metric: Measure, cells: Sequence[Cell]) -> int:
  """Decimals of a column: enough for half of its intervals to be seen."""
  found = [c.interval for c in cells if math.isfinite(c.interval.mean)]
  widths = sorted(i.half_width for i in found if i.half_width)
  if metric.scale != 100.0:
    size = max((abs(i.mean) for i in found), default=1.0)
    return 3 if size < 1.0 else 2
  return 2 if widths and widths[len(widths) // 2] < 0.1 else 1


def number(value: float, places: int) -> str:
  """A number as shown, with a true minus."""
  return f'{value:.{places}f}'.replace('-', '\N{MINUS SIGN}')


def cell_text(cell: Cell, places: int) -> str:
  """`*21.5±0.4~`: whether it is best, mean, half-width, exactness."""
  if cell.repeated:
    return '"'
  if not math.isfinite(cell.interval.mean):
    return '—'
  text = '*' if cell.best else '≈' if cell.tied else ''
  text += number(cell.interval.mean, places)
  if cell.interval.half_width is not None:
    text += f'±{number(cell.interval.half_width, places)}'
  return text + marks(cell)


def marks(cell: Cell) -> str:
  """What stands behind a number: its exactness, and ° for a part of n."""
  if cell.repeated or not math.isfinite(cell.interval.mean):
    return ''
  exactness = ''.join(mark(word) for word in cell.exactness.split(' / '))
  return exactness + ('°' if cell.undefined else '')


def trouble(record: Record) -> str:
  """What is wrong with a run, in a few words; empty when nothing is."""
  if record.status != 'ok':
    error = record.error.strip().rstrip('.')
    return f'{record.status}: {error}. {record.hint}'.strip()
  if not record.diverged:
    return ''
  units = record.units
  lost = ', '.join(
    f'seed {seed}' if fold < 0 else f'seed {seed} fold {fold}'
    for seed, fold in record.diverged[:3]
  )
  more = ', …' if len(record.diverged) > 3 else ''
  kept = len(units) - len(record.diverged)
  return f'{lost}{more} diverged: {kept} of {len(units)} in the means'


def print_report(
  records: Sequence[Record],
  *,
  baseline: str = 'binary_relevance',
  metrics: Sequence[str] = DEFAULT_METRICS,
  conclusion: Sequence[str] = (),
  file: Any = None,
  width: int | None = None,
) -> None:
  """Prints one table a data set, what its marks mean, and the answers.

  Args:
    records: as `reading.read` gives them.
    baseline: the method that gains are measured against.
    metrics: columns, as many as fit.
    conclusion: sentences of the study, which stand before the answers.
    file: a text file; stdout when None. Colours and bold only on a terminal;
      characters that its encoding lacks are replaced.
    width: in columns; that of the terminal, at most 100, when None.
  """
  console = Console(
    file=file, highlight=False, markup=False, emoji=False, soft_wrap=False
  )
  own = console.width if console.is_terminal else WIDTH
  console.width = width or min(own, WIDTH)
  for dataset in comparison.datasets(records):
    _print_table(console, comparison.result_table(records, dataset, metrics))
  for line in _legend(records):
    _say(console, line, 'dim')
  console.print()
  for sentence in conclusion:
    _say(console, sentence, 'bold')
  found = answers(records, baseline, metrics)
  if conclusion:
    found = tuple(answer for answer in found if answer.verdicts)
  if len(found) > 1 and (total := overall(found, baseline)):
    _say(console, total, 'bold')
  for answer in found:
    _say(console, answer.text)


def _print_table(console: Console, table: Table) -> None:
  columns = [
    _column(
      console, metric, [line.cells[i] for line in table.lines if line.cells]
    )
    for i, metric in enumerate(table.measures)
  ]
  longest = max(len(line.label) for line in table.lines)
  decoders = max(
    len(line.decoder if line.cells else line.record.outcome)
    for line in table.lines
  )
  name, decoder = min(longest, _NAME), max(min(decoders, _NAME), len('decoder'))
  room = console.width - name - decoder - 2
  shown = 0
  while shown < len(columns) and room > columns[shown][0]:
    room -= columns[shown][0] + 1
    shown += 1
  out = RichTable(
    title=_plain(console, table.dataset),
    title_justify='left',
    title_style='bold',
    box=rich.box.SIMPLE_HEAD,
    show_edge=False,
    pad_edge=False,
    padding=0,
  )
  out.add_column('method', overflow='fold', width=name)
  out.add_column('decoder', overflow='fold', width=decoder)
  for width, header, _ in columns[:shown]:
    out.add_column(_plain(console, header), justify='right', width=width)
  _add_lines(console, out, table, [texts for *_, texts in columns[:shown]])
  console.print(out)
  for note in _notes(table, shown):
    _say(console, note, 'yellow')
  console.print()


def _column(
  console: Console, metric: Measure, cells: Sequence[Cell]
) -> tuple[int, str, list[str]]:
  """Width, header and texts of a column."""
  places = decimals(metric, cells)
  # Marks hang to the right of the numbers, which stay aligned.
  hang = max((len(marks(cell)) for cell in cells), default=0)
  texts = [
    cell_text(cell, places) + ' ' * (hang - len(marks(cell))) for cell in cells
  ]
  texts = [_plain(console, text) for text in texts]
  widest = max([len(text) for text in texts] + [8])
  title = f'{metric.title}\N{NO-BREAK SPACE}{metric.arrow}'.strip()
  title = title if console.encoding.startswith('utf') else metric.title
  header = textwrap.wrap(title, widest, break_long_words=False)
  widest = max([widest] + [len(part) for part in header])
  return widest, '\n'.join(header), texts


def _add_lines(
  console: Console,
  out: RichTable,
  table: Table,
  columns: Sequence[Sequence[str]],
) -> None:
  """The rows; a method is named once, and a run without numbers says so."""
  measured = 0
  previous = None
  for line in table.lines:
    name = '' if line.record is previous else line.label
    previous = line.record
    if not line.cells:
      status = Text(line.record.outcome, 'red')
      out.add_row(name, status, *[_plain(console, '—') for _ in columns])
      continue
    cells = []
    for column in columns:
      text = column[measured]
      tied = _plain(console, '≈')
      style = {'*': 'bold green', tied: 'green'}.get(text[:1], '')
      cells.append(Text(text, style, no_wrap=True))
    out.add_row(_plain(console, name), _plain(console, line.decoder), *cells)
    measured += 1


def _notes(table: Table, shown: int) -> list[str]:
  """What stands below a table."""
  notes = []
  for line in table.lines:
    text = trouble(line.record)
    if text:
      notes.append(f'{line.label}: {text}')
  reasons = {
    f'{line.label}, {metric.title}: {cell.reason}'
    for line in table.lines
    for metric, cell in zip(table.measures, line.cells, strict=False)
    if cell.reason and not math.isfinite(cell.interval.mean)
  }
  notes += [f'— {reason}' for reason in sorted(reasons)]
  if vacant := comparison.vacancies(table):
    names = comparison.conventions([line.record for line in table.lines])
    notes.append(
      f'Undefined, and counted by convention {", ".join(names)}: '
      f'{"; ".join(vacant)}.'
    )
  hidden = [metric.name for metric in table.measures[shown:]]
  if hidden:
    notes.append(f'Not shown for want of room: {", ".join(hidden)}.')
  return list(dict.fromkeys(notes))


def _legend(records: Sequence[Record]) -> list[str]:
  words = {
    word
    for r in records
    for row in r.rows
    for word in [row.exactness]
    if mark(word)
  }
  said = [f'{mark(word)} {MEANINGS.get(word, word)}' for word in sorted(words)]
  return [
    'Mean ± half-width of the 95 % interval over seeds and folds, in points '
    'of 100 where the metric is a share.',
    '* best of those measured on every seed   ≈ not distinguishable from it '
    'by a paired interval   " the same for every decoder',
    *(['   '.join(said)] if said else []),
  ]


def _say(console: Console, text: str, style: str = '') -> None:
  console.print(Text(_plain(console, text), style))


def _plain(console: Console, text: str) -> str:
  """The text in characters that the output can show, and none that steer it."""
  text = re.sub(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]', '?', text)
  try:
    text.encode(console.encoding)
  except UnicodeEncodeError:
    for character, substitute in _ASCII.items():
      text = text.replace(character, substitute)
    text = text.encode(console.encoding, 'replace').decode(console.encoding)
  return text


def _exact(value: float | None) -> str:
  """The shortest text that reads back as the number; empty for none."""
  return '' if value is None or math.isnan(value) else repr(float(value))
