"""The section of the page on runs that were calibrated: before and after."""

from collections.abc import Sequence

from mlc.report import comparison, html_tables, statistics
from mlc.report.answers import signed
from mlc.report.figures import made, saved
from mlc.report.html_tables import escape
from mlc.report.records import Record, labels
from mlc.report.reliability import reliability_figure
from mlc.report.svg import for_page
from mlc.report.vocabulary import Measure, measure

METRICS = ('nll', 'ece_label', 'brier_label', 'ece', 'ece_set')
BEFORE = 'uncalibrated_'


def calibrated(records: Sequence[Record]) -> tuple[Record, ...]:
  """The finished runs whose probabilities were mended."""
  return tuple(
    record
    for record in records
    if record.status == 'ok' and record.settings.get('calibration')
  )


def section(records: Sequence[Record]) -> str:
  """Before and after in numbers and a picture; nothing without such runs."""
  found = calibrated(records)
  if not found:
    return ''
  names = labels(records)
  rows = ''.join(
    _row(record, names[record.run_id], decoder, measure(metric))
    for record in found
    for metric in METRICS
    for decoder in _decoders(record, metric)
  )
  head = (
    '<th scope="col">run</th><th scope="col">calibration</th>'
    '<th scope="col">measure</th>'
    + ''.join(
      f'<th scope="col" class="n">{text}</th>'
      for text in ('before', 'after', 'change')
    )
  )
  table = html_tables.scrolling(
    f'<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>', 'Calibration'
  )
  return (
    '<section id="calibration"><h2>Calibration, before and after</h2>'
    f'{table}<p class="legend">Test rows; the decisions are the same before '
    'and after, so that only the probabilities differ. Less is better; the '
    'change is the mean of paired differences and its 95 % interval, coloured '
    'where that excludes zero. Calibration was fitted on the validation rows, '
    'on which decoders are fitted too and the epoch was chosen. A measure of '
    'the joint is missing where calibrated marginals have none.</p>'
    f'{"".join(_figure(records, name) for name in _datasets(found))}</section>'
  )


def _datasets(found: Sequence[Record]) -> tuple[str, ...]:
  return tuple(comparison.datasets(found))


def _decoders(record: Record, metric: str) -> tuple[str, ...]:
  """All that have the metric; one where it is the same for all."""
  having = [
    d for d in record.decoders if record.values(d, BEFORE + metric, 'test')
  ]
  if measure(metric).needs != 'decisions':
    return tuple(having[:1])
  return tuple(having)


def _row(record: Record, name: str, decoder: str, metric: Measure) -> str:
  after = record.values(decoder, metric.name, 'test')
  before = record.values(decoder, BEFORE + metric.name, 'test')
  both = [unit for unit in before if unit in after]
  if not both:
    return ''
  scale, overlap = metric.scale, record.sampling.overlap
  first, second, change = (
    statistics.t_interval([scale * v for v in values], overlap=overlap)
    for values in (
      [before[unit] for unit in both],
      [after[unit] for unit in both],
      [after[unit] - before[unit] for unit in both],
    )
  )
  half = change.half_width
  tone = 'n'
  if half is not None and abs(change.mean) > half:
    tone = 'n up' if change.mean < 0 else 'n down'
  width = '' if half is None else f'<span class="pm">±{half:.2f}</span>'
  what = metric.title + (f' ({decoder})' if metric.needs == 'decisions' else '')
  return (
    f'<tr><th scope="row">{escape(record.dataset)}, {escape(name)}</th>'
    f'<td>{escape(record.settings["calibration"])}</td>'
    f'<td>{escape(what)}</td><td class="n">{first.mean:.2f}</td>'
    f'<td class="n">{second.mean:.2f}</td>'
    f'<td class="{tone}">{signed(change.mean, 2)}{width}</td></tr>\n'
  )


def _figure(records: Sequence[Record], dataset: str) -> str:
  """The reliability of the calibrated runs of a data set."""
  mine = calibrated(comparison.of_dataset(records, dataset))
  drawn = None

  def make():
    nonlocal drawn
    drawn = reliability_figure(mine, title=dataset)
    return None if drawn is None else drawn[1]

  figure = made(make)
  if figure is None or drawn is None:
    return ''
  svg = for_page(saved(figure)['svg'].decode(), drawn[0], themed=False)
  return (
    f'<h3>Reliability on {escape(dataset)}</h3><figure>'
    f'<div class="card paper wide">{svg}</div>'
    f'<figcaption>{escape(drawn[2])}</figcaption></figure>'
  )
