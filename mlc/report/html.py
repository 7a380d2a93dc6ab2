"""The page: one file that needs nothing else, first the answer."""

import html
from collections.abc import Mapping, Sequence

from mlc.report import (
  across,
  answers,
  calibration,
  comparison,
  explanations,
  figures,
  html_tables,
  ranks,
)
from mlc.report.answers import Answer
from mlc.report.comparison import Gain
from mlc.report.html_tables import escape
from mlc.report.records import Record
from mlc.report.style import CSS
from mlc.report.svg import for_page
from mlc.report.vocabulary import DEFAULT_METRICS, Measure

QUESTION = 'Does modelling label dependence help?'
Gains = Sequence[tuple[str, Measure, tuple[Gain, ...]]]


def page(
  records: Sequence[Record],
  *,
  question: str = '',
  baseline: str = 'binary_relevance',
  metrics: Sequence[str] = DEFAULT_METRICS,
  figure_svgs: Sequence[tuple[str, str, str]] = (),
  conclusion: Sequence[str] = (),
  command: str = '',
  files: Mapping[str, str] | None = None,
) -> str:
  """The whole page.

  The same records give the same bytes.

  Args:
    records: as `reading.read` gives them.
    question: the headline.
    baseline: the method that gains are measured against.
    metrics: columns of the tables.
    figure_svgs: (title, svg, caption) of the study's own figures, which stand
      before what every study has.
    conclusion: sentences of the study, which stand first.
    command: what a reader types to get this page again.
    files: name of a file beside the page -> what it holds.

  Returns:
    HTML that fetches nothing and runs no script.
  """
  names = comparison.datasets(records)
  found = answers.answers(records, baseline, metrics)
  if conclusion:
    found = tuple(answer for answer in found if answer.verdicts)
  gains = _gains(gains_of(records, baseline, metrics), baseline)
  own = ''.join(_extra(*figure) for figure in figure_svgs)
  several = {
    'figures': f'<div id="figures">{own}</div>' if own else '',
    'gains': gains,
    'dependence': across.dependence_section(records, baseline),
    'ranks': across.ranks(ranks.rankings(records, metrics)),
    'calibration': calibration.section(records),
    'cost': across.cost(records, baseline),
  }
  parts = [
    _header(records, question or QUESTION, found, baseline, conclusion),
    _menu(names, [name for name, section in several.items() if section], found),
    '</header><main>',
    _answers(found) if found else '',
    *several.values(),
    *(
      _dataset(records, name, f'set-{i}', baseline, metrics)
      for i, name in enumerate(names)
    ),
    explanations.troubles(records),
    explanations.conventions(records, baseline),
    explanations.reproduce(command, files or {}),
    '</main>',
  ]
  title = records[0].study if records else 'report'
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{html.escape(title)}: {html.escape(question or QUESTION)}</title>'
    f'<style>{CSS}</style></head>\n<body>\n'
    + '\n'.join(part for part in parts if part)
    + '\n<footer>Every number on this page is computed from the rows of '
    'results.csv.</footer></body></html>\n'
  )


def gains_of(
  records: Sequence[Record], baseline: str, metrics: Sequence[str]
) -> Gains:
  """(data set, metric, gains) of the headline metrics."""
  return [
    (name, metric, comparison.gains(records, name, metric, baseline))
    for name in comparison.datasets(records)
    for metric in answers.headline_metrics(records, name, metrics)
  ]


def _header(
  records: Sequence[Record],
  question: str,
  found: Sequence[Answer],
  baseline: str,
  conclusion: Sequence[str],
) -> str:
  sets = comparison.datasets(records)
  methods = {record.method for record in records}
  decoders = {decoder for record in records for decoder in record.decoders}
  seeds = {seed for record in records for seed, _ in record.units}
  folds = max((r.sampling.folds for r in records if r.units), default=1)
  done = sum(record.status == 'ok' for record in records)
  facts = [
    _count(len(sets), 'data set'),
    _count(len(methods), 'method'),
    _count(len(decoders), 'decoder'),
    _count(len(seeds), 'seed')
    + (f' &times; {folds} folds' if folds > 1 else ''),
  ]
  items = ''.join(f'<li>{fact}</li>' for fact in facts)
  if done == len(records):
    items += f'<li>all {_count(done, "run")} finished</li>'
  else:
    items += (
      f'<li class="warn">{done} of {_count(len(records), "run")} finished, '
      '<a href="#notes">see why</a></li>'
    )
  lost = sum(bool(record.diverged) for record in records)
  if lost:
    verb = 'has' if lost == 1 else 'have'
    items += (
      f'<li class="warn">{_count(lost, "run")} {verb} diverged seeds</li>'
    )
  total = answers.overall(found, baseline)
  said = [*conclusion, *([total] if len(found) > 1 else [])]
  lede = ''.join(f'<p class="lede">{escape(text)}</p>' for text in said)
  study = records[0].study if records else ''
  return (
    f'<header><p class="study">study <b>{escape(study)}</b></p>'
    f'<h1>{escape(question)}</h1>{lede}'
    f'<ul class="facts">{items}</ul>'
  )


def _menu(
  names: Sequence[str], sections: Sequence[str], found: Sequence[Answer]
) -> str:
  links = [('#answer', 'Answer')] if found else []
  links += [(f'#{section}', section.capitalize()) for section in sections]
  links += [(f'#set-{i}', name) for i, name in enumerate(names)]
  links += [('#notes', 'Notes'), ('#conventions', 'How to read')]
  menu = ''.join(f'<a href="{to}">{escape(text)}</a>' for to, text in links)
  return f'<nav>{menu}</nav>'


def _answers(found: Sequence[Answer]) -> str:
  items = []
  chosen = {answer.chosen for answer in found if answer.chosen}
  for answer in found:
    verdicts = set(answer.verdicts.values())
    tone = 'unclear' if verdicts else 'none'
    tone = next((v for v in ('better', 'worse') if v in verdicts), tone)
    texts = [''.join(map(_piece, clause)) for clause in answer.clauses]
    rest = ''.join(f'<li>{text}.</li>' for text in texts[1:])
    rest = f'<ul class="clauses">{rest}</ul>' if rest else ''
    how = ''
    if len(chosen) > 1 and answer.chosen:
      how = f'<p class="how">{escape(answer.chosen)}</p>'
    items.append(f'<li class="is-{tone}"><p>{texts[0]}.</p>{rest}{how}</li>')
  common = escape(chosen.pop()) if len(chosen) == 1 else ''
  return (
    '<section id="answer"><h2>The answer, data set by data set</h2>'
    f'<ul class="answers">{"".join(items)}</ul><p class="how">{common} A gain '
    'is positive where the method is better, also for a loss; in brackets its '
    '95 % interval.</p></section>'
  )


def _piece(piece: answers.Piece) -> str:
  if piece.kind == 'text':
    return escape(piece.text)
  # A number stays on one line, a name may be broken.
  text = escape(piece.text) if piece.kind == 'name' else html.escape(piece.text)
  return f'<span class="{piece.kind}">{text}</span>'


def _gains(found: Gains, baseline: str) -> str:
  plots = figures.gain_plots(found)
  if not plots:
    return ''
  name = baseline.replace('_', ' ')
  blocks = ''
  for dataset in dict.fromkeys(plot.dataset for plot in plots):
    panels = ''.join(
      _panel(plot.title, figures.panel(plot))
      for plot in plots
      if plot.dataset == dataset
    )
    blocks += f'<p class="set-title">{escape(dataset)}</p>'
    blocks += f'<div class="panels">{panels}</div>'
  return (
    f'<section id="gains"><h2>Gain over {escape(name)}</h2><figure>{blocks}'
    '<figcaption><p>● with bar: gain and its 95 % interval, '
    'both sides with the decoder that serves the metric best, chosen on '
    'validation rows where there are any. '
    f'○ the same method against {escape(name)} left with its '
    'default decoder. The way from ○ to ● is what the decoder is worth, '
    'not the dependence.</p><p>Right of the line is better, also for a loss. '
    'Blue and bold: the interval lies above zero; orange and bold: below; '
    'grey: it holds zero; &times;: no interval. A metric has the same scale on '
    'every data set.</p></figcaption></figure></section>'
  )


def _panel(title: str, svg: str) -> str:
  return f'<div class="panel"><h4>{escape(title)}</h4>{svg}</div>'


def _extra(title: str, svg: str, caption: str) -> str:
  return (
    f'<section><h2>{escape(title)}</h2><figure><div class="card paper">'
    f'{for_page(svg, title, themed=False)}</div>'
    f'<figcaption>{escape(caption)}</figcaption></figure></section>'
  )


def _dataset(
  records: Sequence[Record],
  dataset: str,
  anchor: str,
  baseline: str,
  metrics: Sequence[str],
) -> str:
  mine = comparison.of_dataset(records, dataset)
  table = comparison.result_table(records, dataset, metrics)
  about = next((r.profile for r in mine if r.profile), {})
  parts = [
    f'<section id="{anchor}"><h2>{escape(dataset)}</h2>',
    html_tables.profile(about),
  ]
  if table.measures or table.lines:
    parts += [
      '<h3>Results on the test part</h3>'
      f'<p class="small muted">{_unit(mine)}</p>',
      html_tables.result_table(table, f'Results on {dataset}'),
    ]
  name = baseline.replace('_', ' ')
  same = html_tables.gain_table(table, records, baseline, f'Gains on {dataset}')
  if same:
    parts.append(
      f'<details><summary>Gains over {escape(name)}, the same decoder on both '
      f'sides</summary>{same}<p class="legend">In points; positive is better, '
      'also for a loss. Coloured where the paired interval excludes zero.</p>'
      '</details>'
    )
  parts += [_all_metrics(records, dataset, table), _curves(mine)]
  search = html_tables.search_table(mine, f'Search on {dataset}')
  if search:
    parts.append(
      f'<h3>Search and cost</h3>{search}'
      f'<p class="legend">{explanations.conditions(mine)}</p>'
    )
  return ''.join(parts) + explanations.settings(mine) + '</section>'


def _all_metrics(
  records: Sequence[Record], dataset: str, shown: comparison.Table
) -> str:
  mine = comparison.of_dataset(records, dataset)
  every = list(dict.fromkeys(row.metric for r in mine for row in r.rows))
  if len(every) <= len(shown.measures):
    return ''
  table = comparison.result_table(records, dataset, every)
  inside = html_tables.result_table(table, f'All metrics on {dataset}')
  return (
    f'<details><summary>All {len(every)} metrics</summary>{inside}</details>'
  )


def _curves(mine: Sequence[Record]) -> str:
  plots = figures.curve_plots(mine)
  panels = ''.join(_panel(plot.title, figures.panel(plot)) for plot in plots)
  if not panels:
    return ''
  scale = 'The scale is the same in all.'
  if len({plot.limits for plot in plots}) > 1:
    scale = 'Losses differ, so each picture has its own scale.'
  return (
    f'<h3>Learning curves</h3><figure><div class="panels narrow">{panels}</div>'
    f'<figcaption>{figures.CURVE_CAPTION}{scale}</figcaption></figure>'
  )


def _unit(mine: Sequence[Record]) -> str:
  """What the numbers of a data set are means of, and what intervals cover."""
  texts = explanations.intervals(mine)
  return (
    'Mean ± half-width of the 95 % interval, in points of 100 where the metric '
    f'is a share. {" ".join(texts)}'
  )


def _count(number: int, noun: str) -> str:
  return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
