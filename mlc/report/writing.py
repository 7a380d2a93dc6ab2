"""Everything that a study leaves for people, written beside its runs."""

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mlc.report import comparison, dependence, html, ranks, tables
from mlc.report import figures as drawing
from mlc.report.cost import cost_csv
from mlc.report.rank_plot import RankPlot
from mlc.report.records import Record, results_csv
from mlc.report.vocabulary import DEFAULT_METRICS
from mlc.run_directory import write_atomic


class Paths(NamedTuple):
  """The files of a report; `figures` are SVG and PDF."""

  results: pathlib.Path
  summary: pathlib.Path
  cost: pathlib.Path
  ranks: pathlib.Path
  page: pathlib.Path
  figures: tuple[pathlib.Path, ...]


def write_report(
  study_dir: str | os.PathLike,
  records: Sequence[Record],
  *,
  baseline: str = 'binary_relevance',
  metrics: Sequence[str] = DEFAULT_METRICS,
  figures_of_study: Sequence[tuple[str, Any, str]] = (),
  conclusion: Sequence[str] = (),
  command: str = '',
  question: str = '',
) -> Paths:
  """Writes the tables as CSV, the figures and report.html.

  Each file is replaced as a whole, so that a reader never finds half of one.

  Args:
    study_dir: `<workdir>/<study>`.
    records: as `reading.read` gives them.
    baseline: the method that gains are measured against.
    metrics: columns of the tables; the first three are what is answered.
    figures_of_study: (title, figure, caption): an SVG text, or a matplotlib
      Figure, which is saved as PDF too.
    conclusion: sentences of the study, which stand first.
    command: what a reader types to get this page again.
    question: headline of the page.

  Returns:
    Paths of what was written.

  Raises:
    ValueError: there are no records.
  """
  if not records:
    raise ValueError(
      f'no runs to report in {os.fspath(study_dir)}: the list of records is '
      'empty. Name at least one run of the manifest.'
    )
  directory = pathlib.Path(study_dir)
  drawn = _figures(records, baseline, metrics)
  extra = _of_study(drawn, figures_of_study)
  texts = {
    'results.csv': results_csv(records),
    'summary.csv': tables.summary_csv(records),
    'cost.csv': cost_csv(records),
    'ranks.csv': ranks.ranks_csv(ranks.rankings(records, metrics)),
    'report.html': html.page(
      records,
      question=question,
      baseline=baseline,
      metrics=metrics,
      figure_svgs=extra,
      conclusion=conclusion,
      command=command,
      files=_described(drawn),
    ),
  }
  (directory / 'figures').mkdir(parents=True, exist_ok=True)
  written = []
  for name, (_, forms) in drawn.items():
    for ending, content in forms.items():
      path = directory / 'figures' / f'{name}.{ending}'
      write_atomic(path, content)
      written.append(path)
  for name, text in texts.items():
    write_atomic(directory / name, text.encode())
  return Paths(
    results=directory / 'results.csv',
    summary=directory / 'summary.csv',
    cost=directory / 'cost.csv',
    ranks=directory / 'ranks.csv',
    page=directory / 'report.html',
    figures=tuple(written),
  )


Drawn = dict[str, tuple[str, Mapping[str, bytes]]]


def _figures(
  records: Sequence[Record], baseline: str, metrics: Sequence[str]
) -> Drawn:
  """File name without ending -> (what it shows, its forms)."""
  drawn: Drawn = {}
  gains = html.gains_of(records, baseline, metrics)
  plots = drawing.gain_plots(gains)
  if plots:
    columns = max(
      sum(plot.dataset == dataset for plot in plots)
      for dataset in {plot.dataset for plot in plots}
    )
    title = f'Gain over {baseline.replace("_", " ")}'
    drawn['gains'] = (title, drawing.sheet(plots, columns, title))
  curves = [
    plot
    for dataset in comparison.datasets(records)
    for plot in drawing.curve_plots(comparison.of_dataset(records, dataset))
  ]
  if curves:
    title = 'Learning curves'
    drawn['curves'] = (title, drawing.sheet(curves, 3, title))
  found = [r for r in ranks.rankings(records, metrics) if not r.reason]
  if found:
    title = 'Critical-difference diagrams'
    drawn['ranks'] = (title, drawing.sheet([*map(RankPlot, found)], 2, title))
  forms = dependence.forms(records, baseline)
  if forms:
    drawn['dependence'] = ('Gain against dependence', forms)
  return drawn


def _of_study(
  drawn: Drawn, figures: Sequence[tuple[str, Any, str]]
) -> list[tuple[str, str, str]]:
  """(title, SVG, caption) of the study's figures, added to those drawn."""
  extra: list[tuple[str, str, str]] = []
  for title, figure, caption in figures:
    svg = figure
    if not isinstance(figure, str):
      saved = drawing.saved(figure)
      drawn[f'study-{len(extra)}-{_slug(title)}'] = (title, saved)
      svg = saved['svg'].decode()
    extra.append((title, svg, caption))
  return extra


def _described(drawn: Drawn) -> dict[str, str]:
  """File beside the page -> what it holds."""
  files = {
    'results.csv': 'every number: one row a seed, fold, split, decoder, metric',
    'summary.csv': 'means and intervals, and which runs failed',
    'cost.csv': 'parameters, search and seconds of every run',
    'ranks.csv': 'average ranks over data sets, by metric',
  }
  for name, (title, forms) in drawn.items():
    for ending in forms:
      files[f'figures/{name}.{ending}'] = title
  return files


def _slug(text: str) -> str:
  """A name for a file."""
  return re.sub(r'[^A-Za-z0-9]+', '-', text).strip('-').lower()[:40] or 'figure'
