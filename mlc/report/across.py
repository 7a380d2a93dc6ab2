"""Sections of the page that look across data sets: ranks, dependence, cost."""

from collections.abc import Sequence

from mlc.report import dependence, figures, html_tables, rank_plot
from mlc.report.answers import signed
from mlc.report.cost import Cost, costs
from mlc.report.html_tables import escape
from mlc.report.rank_plot import RankPlot
from mlc.report.ranks import Ranking
from mlc.report.records import Record
from mlc.report.statistics import Interval
from mlc.report.svg import for_page


def ranks(found: Sequence[Ranking]) -> str:
  """Critical-difference diagrams, or the sentence that says why not."""
  drawn = [r for r in found if not r.reason]
  refused: dict[str, list[str]] = {}
  for r in found:
    if r.reason:
      refused.setdefault(r.reason, []).append(r.metric.title)
  if not found or (not drawn and len(refused) == 1 and _alone(found)):
    return ''
  blocks = ''.join(
    f'<div class="panel"><h4>{escape(r.metric.title)}</h4>'
    f'{figures.panel(RankPlot(r))}'
    f'<p class="small muted">{escape(rank_plot.caption(r))}</p></div>'
    for r in drawn
  )
  sentences = ''.join(
    f'<p><b>No diagram of {escape(", ".join(titles))}:</b> {escape(why)}</p>'
    for why, titles in refused.items()
  )
  how = ''
  if drawn:
    how = (
      '<figcaption><p>Average rank over data sets, 1 the best; a data set '
      'counts once, whatever its seeds and folds, and each method has the '
      'decoder made for the metric. A bar joins neighbours no two of which '
      'the test tells apart; two methods without a common bar differ, or '
      'stand on either side of one that does. A run that failed, or diverged '
      'with every seed, ranks last on its data set; a data set with an '
      'unfinished run is left out.</p></figcaption>'
    )
  return (
    '<section id="ranks"><h2>Ranks over the data sets</h2><figure>'
    f'<div class="panels wide">{blocks}</div>{sentences}{how}</figure>'
    '</section>'
  )


def _alone(found: Sequence[Ranking]) -> bool:
  """A page about one or two methods has nothing to rank."""
  return all('three are needed' in r.reason for r in found)


def dependence_section(records: Sequence[Record], baseline: str) -> str:
  """Gain against strength of dependence, and the strengths in numbers."""
  measured = dependence.strengths(records, baseline)
  if not measured:
    return ''
  drawn = ''
  forms = dependence.forms(records, baseline)
  if forms:
    svg = forms['svg'].decode()
    text = dependence.caption(records, baseline)
    drawn = (
      f'<figure><div class="card paper wide">'
      f'{for_page(svg, "gain against dependence", themed=False)}</div>'
      f'<figcaption>{escape(text)}</figcaption></figure>'
    )
  head = _head(
    ('', 'data set'),
    ('n', 'residual correlation given x'),
    ('n', 'p that none depend'),
    ('n', 'pairs found dependent'),
    ('', 'clearest pair'),
    ('n', 'true I(y<sub>j</sub>; y<sub>k</sub> | x)'),
    ('n', 'I(y<sub>j</sub>; y<sub>k</sub>)'),
    ('n', 'best tree'),
    ('n', 'total correlation'),
  )
  rows = ''.join(_strength_row(s, i) for i, s in enumerate(measured, 1))
  table = html_tables.scrolling(
    f'<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>',
    'Dependence of the labels',
  )
  name = escape(baseline.replace('_', ' '))
  return (
    '<section id="dependence"><h2>Gain against dependence</h2>'
    f'{drawn}<h3>How dependent the labels are</h3>{table}'
    '<p class="legend">Given x: from the residuals of '
    f'{name} on test rows, its marginals recalibrated label by label; p after '
    'Bonferroni, pairs at a false discovery rate of 5 %, each z after Shah and '
    'Peters (2020). The last three columns do not condition on x: what the '
    'labels share through x counts in them. Information in nats, of pairs the '
    'mean; the best tree is a lower bound of the total correlation; a dash '
    'where label sets are too many to be counted, or the truth is not '
    f'known.</p>{_models(records, measured)}</section>'
  )


def _models(
  records: Sequence[Record], measured: Sequence[dependence.Strength]
) -> str:
  """What the trained models hold for true, beside the truth where known."""
  found = dependence.of_models(records)
  methods = list(dict.fromkeys(method for _, method in found))
  if not methods:
    return ''
  head = _head(
    ('', 'data set'), ('n', 'true'), *(('n', escape(m)) for m in methods)
  )
  rows = ''
  for s in measured:
    cells = [s.truth, *(found.get((s.dataset, m)) for m in methods)]
    text = ''.join(f'<td class="n">{_nats(value)}</td>' for value in cells)
    rows += f'<tr><th scope="row">{escape(s.dataset)}</th>{text}</tr>\n'
  table = html_tables.scrolling(
    f'<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>', 'In the models'
  )
  return (
    '<details><summary>Dependence given x in the trained models</summary>'
    f'{table}<p class="legend">Mean over pairs and test rows of '
    'I(y<sub>j</sub>; y<sub>k</sub> | x) in nats, by the model itself, over '
    'seeds and folds; a dash where the head has no exact pairs.</p></details>'
  )


def cost(records: Sequence[Record], baseline: str) -> str:
  """Parameters, search and time of each method, side by side."""
  found = costs(records, baseline)
  if len(found) < 2:
    return ''
  head = _head(
    ('', 'method'),
    ('n', 'data sets'),
    ('n', 'settings tried a seed'),
    ('n', 'runs trained'),
    ('n', 'parameters'),
    ('n', '&times; baseline'),
    ('n', 'training, s'),
    ('n', '&times; baseline'),
  )
  rows = ''.join(_cost_row(c) for c in found)
  table = html_tables.scrolling(
    f'<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>', 'Cost'
  )
  budgets = {c.settings for c in found}
  said = (
    'Every method had the same number of settings to choose from.'
    if len(budgets) == 1
    else '<b>The search budgets differ between methods.</b>'
  )
  return (
    f'<section id="cost"><h2>Parameters and search</h2>{table}'
    f'<p class="legend">{said} Parameters: least to most over data sets, and '
    'the median ratio to the baseline on the same data; encoder included. '
    'Training: sum over data sets without compilation; the ratio is over data '
    'sets that both finished. Run by run in <code>cost.csv</code>.</p>'
    '</section>'
  )


def _head(*columns: tuple[str, str]) -> str:
  return ''.join(
    f'<th scope="col"{" class=n" if kind else ""}>{text}</th>'
    for kind, text in columns
  )


def _strength_row(s: dependence.Strength, number: int) -> str:
  pair = '—'
  if s.strongest is not None:
    one, other, r = s.strongest
    pair = (
      f'{escape(one)}, {escape(other)} <span class="pair">{signed(r, 2)}</span>'
    )
  cells = (
    ('n', _interval(s.residual)),
    ('n', '&lt; 0.001' if s.p_value < 0.001 else f'{s.p_value:.3f}'),
    ('n', f'{100 * s.share:.0f} %'),
    ('', pair),
    *(('n', _nats(v)) for v in (s.truth, s.marginal, s.tree, s.total)),
  )
  text = ''.join(f'<td class="{kind}">{value}</td>' for kind, value in cells)
  return f'<tr><th scope="row">{number} {escape(s.dataset)}</th>{text}</tr>\n'


def _interval(of: Interval) -> str:
  if of.half_width is None:
    return f'{of.mean:.3f}'
  return f'{of.mean:.3f}<span class="pm">±{of.half_width:.3f}</span>'


def _nats(value: float | None) -> str:
  if value is None:
    return '—'
  # What is left of rounding is nothing.
  return f'{value:.3g}' if abs(value) >= 1e-6 else '0'


def _cost_row(c: Cost) -> str:
  cells = (
    f'{c.datasets}',
    _span(c.settings) if c.runs else '—',
    f'{c.runs:,}' if c.runs else '—',
    '—' if c.parameters is None else _span(c.parameters),
    _ratio(c.parameter_ratio),
    '—' if c.train_seconds is None else f'{c.train_seconds:,.1f}',
    _ratio(c.train_ratio),
  )
  text = ''.join(f'<td class="n">{value}</td>' for value in cells)
  return f'<tr><th scope="row">{escape(c.method)}</th>{text}</tr>\n'


def _span(ends: tuple[int, int]) -> str:
  low, high = ends
  return f'{low:,}' if low == high else f'{low:,} to {high:,}'


def _ratio(value: float | None) -> str:
  return '—' if value is None else f'{value:.3g}'
