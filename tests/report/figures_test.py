import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from mlc.report import figures, html
from mlc.report.records import Candidate, Curve
from mlc.report.svg import COLOURS, for_page

METRICS = ('subset_accuracy', 'f1_example', 'hamming_loss')


@pytest.fixture(scope='module')
def plots(records):
  return figures.gain_plots(html.gains_of(records, 'binary_relevance', METRICS))


def test_a_metric_has_one_scale_that_holds_every_gain(plots):
  assert len(plots) == 6  # two data sets have a baseline
  for name in METRICS:
    mine = [plot for plot in plots if plot.metric.name == name]
    assert len({plot.limits for plot in mine}) == 1
    low, high = mine[0].limits
    assert low < 0 < high
    for gain in (g for plot in mine for g in plot.gains):
      width = gain.interval.half_width or 0.0
      assert low < gain.interval.mean - width
      assert gain.interval.mean + width < high
      assert gain.naive is None or low < gain.naive.mean < high


def test_a_panel_is_svg_with_text_words_and_theme(plots):
  svg = figures.panel(plots[0])
  root = ElementTree.fromstring(svg)
  texts = ''.join(root.itertext())
  assert 'classifier_chain' in texts
  gain = plots[0].gains[0].interval.mean
  assert f'{gain:+.1f}' in texts
  assert 'classifier_chain' in root.get('aria-label')
  for name, colour in COLOURS.items():
    bare = re.findall(f'(?<!, ){colour}', svg)
    assert not bare, name
  assert 'var(--good' in svg


@pytest.mark.slow
def test_figures_are_the_same_every_time(plots):
  assert figures.panel(plots[0]) == figures.panel(plots[0])
  two = plots[:2]
  assert figures.sheet(two, 2, 't') == figures.sheet(two, 2, 't')


def test_a_sheet_is_svg_and_pdf(plots):
  forms = figures.sheet(plots, 3, 'Gains')
  assert forms['pdf'].startswith(b'%PDF')
  text = ''.join(ElementTree.fromstring(forms['svg']).itertext())
  assert 'yeast: subset accuracy' in text
  assert 'movies: Hamming loss' in text


def test_drawing_leaves_no_global_state(plots):
  before = dict(rcParams)
  figures.panel(plots[0])
  assert dict(rcParams) == before


def test_dollars_and_tags_in_a_name_stay_text(plots):
  gain = plots[0].gains[0]._replace(label='$x_1$ <b> & "c"')
  svg = figures.panel(plots[0]._replace(gains=(gain,)))
  root = ElementTree.fromstring(svg)
  assert '$x_1$' in ''.join(root.itertext())
  assert root.get('aria-label').startswith('$x_1$ <b> & "c"')


def test_long_names_are_broken_not_cut():
  name = 'ensemble_of_chains_with_random_label_orders_' + 'x' * 30
  lines = figures._wrapped(name).split('\n')
  assert ''.join(lines) == name
  assert max(map(len, lines)) <= 19


def test_curves_show_kept_and_diverged_runs_on_one_scale(records):
  yeast = [r for r in records if r.dataset == 'yeast']
  plots = {p.label: p for p in figures.curve_plots(yeast)}
  assert len(plots) == 5
  assert len({p.limits for p in plots.values()}) == 1
  chain = [candidate for candidate, _ in plots['classifier_chain'].curves]
  assert sum(c.diverged for c in chain) == 6  # all settings of seed 3
  assert all(c.selected or c.diverged for c in chain)
  assert 'best on validation' in plots['binary_relevance'].text


def test_a_late_explosion_does_not_flatten_the_curves():
  loss = np.linspace(2.0, 1.0, 400)
  loss[0], loss[399] = 1e6, 1e9
  low, high = figures._loss_limits([Curve(np.arange(400), loss, loss)])
  assert low < 1.0
  assert high < 3.0


def test_a_run_without_validation_or_without_numbers_is_drawn():
  nothing = np.full(5, np.nan)
  some = np.linspace(2, 1, 5)
  candidate = Candidate(0, -1, 0.1, 0.0, 3, np.nan, False, True)
  for train in (some, nothing):
    curve = Curve(np.arange(5), train, nothing)
    limits = figures._loss_limits([curve])
    svg = figures.panel(
      figures.CurvePlot('d', 'm', ((candidate, curve),), limits)
    )
    ElementTree.fromstring(svg)


@pytest.mark.slow
def test_figures_of_a_study_are_kept_as_on_paper():
  figure = Figure()
  figure.text(0.5, 0.5, 'here', color=COLOURS['good'])
  forms = figures.saved(figure)
  svg = for_page(forms['svg'].decode(), 'words', themed=False)
  assert COLOURS['good'] in svg
  assert 'var(' not in svg
  assert '<?xml' not in svg
  assert 'metadata' not in svg


def test_identifiers_of_two_figures_differ(plots):
  ids = [
    set(re.findall(r'\bid="([^"]*)"', figures.panel(plot)))
    for plot in plots[:2]
  ]
  assert ids[0]
  assert not ids[0] & ids[1]
  svg = figures.panel(plots[0])
  for target in re.findall(r'url\(#([^)]*)\)', svg):
    assert target in ids[0]


@pytest.mark.parametrize(
  'svg',
  [
    'not a figure',
    '<svg viewBox="0 0 1 1"><script>alert(1)</script></svg>',
    '<svg viewBox="0 0 1 1" onload="alert(1)"></svg>',
    '<svg viewBox="0 0 1 1"><a href="javascript:x"/></svg>',
  ],
)
def test_what_is_no_figure_or_holds_a_script_is_refused(svg):
  with pytest.raises(ValueError, match='without scripts'):
    for_page(svg)
