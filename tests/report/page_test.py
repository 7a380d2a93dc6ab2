import csv
import dataclasses
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from mlc.report import answers, comparison
from mlc.report import html as pages
from mlc.report.reading import read
from mlc.report.writing import write_report

METRICS = (
  'subset_accuracy',
  'hamming_loss',
  'f1_example',
  'f1_macro',
  'map',
  'nll',
)
BASE = 'binary_relevance'
VOID = {'meta', 'br', 'wbr'}


class Reader(HTMLParser):
  """Checks that tags close, collects text and what would be fetched."""

  def __init__(self):
    super().__init__()
    self.open, self.texts, self.fetched, self.ids = [], [], [], []

  def handle_starttag(self, tag, attrs):
    given = dict(attrs)
    if tag not in VOID:
      self.open.append(tag)
    self.fetched += [given[k] for k in ('src', 'data', 'srcset') if k in given]
    self.fetched += [tag] if tag in ('script', 'link', 'iframe', 'img') else []
    self.ids += [given['id']] if 'id' in given else []

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in VOID:
      self.handle_endtag(tag)

  def handle_endtag(self, tag):
    assert self.open, f'</{tag}> closes nothing'
    assert self.open.pop() == tag

  def handle_data(self, data):
    if 'style' not in self.open:
      self.texts.append(data)


def _read(page):
  reader = Reader()
  reader.feed(page)
  reader.close()
  assert not reader.open
  return reader


def _text(page):
  return ''.join(_read(page).texts)


@pytest.fixture(scope='module')
def page(records):
  return pages.page(records, metrics=METRICS, command='python launch.py')


@pytest.mark.slow
def test_the_page_stands_alone_and_is_well_formed(page):
  reader = _read(page)
  assert reader.fetched == []
  assert not re.search(r'@import|url\((?!#)|<script|\son\w+=', page)
  addresses = set(re.findall(r'https?://[^"\s<]*', page))
  assert addresses <= {
    'http://www.w3.org/2000/svg',
    'http://www.w3.org/1999/xlink',
  }
  assert 'prefers-color-scheme: dark' in page
  assert 'name="viewport"' in page


@pytest.mark.slow
def test_identifiers_are_unique_and_links_lead_somewhere(page):
  ids = _read(page).ids
  sections = [i for i in ids if not re.match(r'f[0-9a-f]{8}-', i)]
  assert len(sections) == len(set(sections))
  for target in re.findall(r'<a href="#([^"]*)"', page):
    assert target in sections


@pytest.mark.slow
def test_the_answer_comes_first_then_gains_then_tables(page):
  places = [
    page.index(mark)
    for mark in ('id="answer"', 'id="gains"', 'id="set-0"', 'id="notes"')
  ]
  assert places == sorted(places)


@pytest.mark.slow
def test_the_answers_are_on_the_page(records, page):
  text = _text(page)
  for answer in answers.answers(records, BASE, METRICS):
    for clause in answer.clauses:
      assert ''.join(piece.text for piece in clause) in text


def test_every_cell_of_the_tables_is_on_the_page(records, page):
  text = _text(page)
  for dataset in ('yeast', 'movies'):
    table = comparison.result_table(records, dataset, METRICS)
    for line in table.lines:
      for metric, cell in zip(table.measures, line.cells, strict=False):
        if cell.interval.half_width is not None:
          places = 2 if metric.name == 'nll' else 1
          width = f'±{cell.interval.half_width:.{places}f}'
          assert f'{cell.interval.mean:.{places}f}{width}' in text


def test_a_changed_row_changes_the_page(records):
  before = _text(pages.page(records[:2], metrics=METRICS))
  rows = tuple(
    r._replace(value=0.4321) if r.metric == 'f1_example' else r
    for r in records[0].rows
  )
  changed = dataclasses.replace(records[0], rows=rows)
  after = _text(pages.page((changed, records[1]), metrics=METRICS))
  assert '43.2' in after
  assert '43.2' not in before


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(records, page):
  again = pages.page(records, metrics=METRICS, command='python launch.py')
  assert again == page


def test_failures_divergence_and_undefined_numbers_are_said(page):
  text = _text(page)
  assert '13 of 14 runs finished' in text
  assert '1187 label sets do not fit in a table of <64 MiB>' in text
  assert 'Raise --model.num_label_sets' in text
  assert 'seed 3 diverged: 4 of 5 in the means' in text
  assert '6 of 30 trained runs diverged' in text
  assert 'labels 3 and 7 occur in no test row' in text
  assert '1 of 5 seeds and folds' in text


def test_conventions_and_coverage_are_said(page):
  text = re.sub(r'\s+', ' ', _text(page))
  for part in (
    'f1_example counts an empty prediction for an empty truth as 1',
    't interval over 5 seeds on one fixed test part',
    'Nadeau and Bengio 2003) over 5 seeds',
    'variance is multiplied by 1 + n \N{MULTIPLICATION SIGN} 0.25',
    '~ estimated: computed from samples',
    '† searched',
    'python launch.py',
  ):
    assert part in text


def test_folds_are_corrected_and_said_to_be(write_run, tmp_path):
  ids = [
    write_run(tmp_path, 'yeast', m, seeds=2, folds=(0, 1, 2, 3))
    for m in (BASE, 'label_powerset')
  ]
  text = _text(pages.page(read(tmp_path, ids), metrics=METRICS))
  assert '2 seeds \N{MULTIPLICATION SIGN} 4 folds' in text
  assert 'over 4 folds \N{MULTIPLICATION SIGN} 2 seeds' in text
  assert '1 + n \N{MULTIPLICATION SIGN} 0.333' in text


@pytest.mark.slow
def test_an_unequal_search_is_said(records):
  yeast = [r for r in records if r.dataset == 'yeast']
  fewer = dataclasses.replace(
    yeast[1], candidates=tuple(c for c in yeast[1].candidates if c.l2 == 0.0)
  )
  text = _text(pages.page((yeast[0], fewer), metrics=METRICS))
  assert 'The search was not the same for every method' in text
  same = _text(pages.page(yeast[:1] + yeast[2:], metrics=METRICS))
  assert 'Every method had the same grid' in same


def test_a_penalty_of_links_is_part_of_the_search(write_run, tmp_path):
  def linked(results):
    for run in results['runs']:
      run['link_l2'] = 0.5

  ids = [
    write_run(tmp_path, 'yeast', BASE),
    write_run(tmp_path, 'yeast', 'classifier_chain', change=linked),
  ]
  text = _text(pages.page(read(tmp_path, ids), metrics=METRICS))
  assert 'The search was not the same for every method' in text
  assert text.count('l2 of links 0.5') == 1
  assert text.count('links 0.5') == 2


def test_different_data_under_one_name_are_said(records):
  yeast = [r for r in records if r.dataset == 'yeast']
  other = dataclasses.replace(
    yeast[1], settings={**yeast[1].settings, 'content_hash': 'other'}
  )
  text = _text(pages.page((yeast[0], other), metrics=METRICS))
  assert 'different data under this name' in text


@pytest.mark.slow
def test_whatever_stands_in_a_record_is_escaped(records):
  evil = '<script>alert("x")</script><img src=x onerror=y>&'
  first = records[0]
  rows = tuple(
    r._replace(decoder=r.decoder + evil, exactness=evil, reason=evil)
    for r in first.rows
  )
  bad = dataclasses.replace(
    first,
    study=evil,
    dataset='yeast',
    method=BASE,
    encoder=evil,
    rows=rows,
    notes=(evil,),
    profile={evil: evil, 'n': 3},
    settings={'split': 'given', evil: evil},
  )
  failed = dataclasses.replace(
    first,
    run_id=evil,
    method=evil,
    dataset=evil,
    rows=(),
    status='failed',
    error=evil,
    hint=evil,
  )
  page = pages.page(
    (bad, failed, *records[1:5]),
    metrics=METRICS,
    question=evil,
    command=evil,
    files={evil: evil},
  )
  reader = _read(page)
  assert reader.fetched == []
  assert evil in _text(page)
  assert '<script' not in page


def test_a_study_with_nothing_but_failures_has_a_page(records):
  failed = [r for r in records if r.status == 'failed']
  text = _text(pages.page(failed))
  assert '0 of 1 run finished' in text
  assert 'binary relevance was not run' in text


def test_one_seed_and_one_method_has_a_page(record_of):
  record = record_of('softmax', {('test', 'subset', 'accuracy'): [0.9]})
  text = _text(pages.page([record]))
  assert 'binary relevance was not run' in text
  assert 'A single seed: there is no interval.' in text


@pytest.mark.slow
def test_everything_is_written_and_nothing_else(records, tmp_path):
  figure = Figure()
  figure.text(0.5, 0.5, 'of the study')
  paths = write_report(
    tmp_path,
    records,
    metrics=METRICS,
    figures_of_study=[('Regret by dependence', figure, 'A caption.')],
    command='python launch.py --study=dependence',
    question='Did it help?',
  )
  written = sorted(
    str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()
  )
  assert written == sorted(
    str(p.relative_to(tmp_path)) for p in (*paths[:-1], *paths.figures)
  )
  assert {
    'figures/gains.pdf',
    'figures/study-0-regret-by-dependence.pdf',
  } < set(written)
  page = paths.page.read_text('utf-8')
  for linked in re.findall(r'<a href="([^#"]*)"', page):
    assert (tmp_path / linked).exists()
  assert 'of the study' in _text(page)
  assert 'A caption.' in _text(page)
  with open(paths.results, newline='') as file:
    count = sum(1 for _ in csv.reader(file)) - 1
  assert count == sum(len(r.rows) for r in records)


@pytest.mark.slow
def test_writing_twice_gives_the_same_bytes(records, tmp_path):
  records = records[:2]
  first = write_report(tmp_path, records, metrics=METRICS)
  files = (first.results, first.summary, first.page, *first.figures)
  before = {path: path.read_bytes() for path in files}
  write_report(tmp_path, records, metrics=METRICS)
  assert {path: path.read_bytes() for path in files} == before


def test_no_records_is_an_error_that_says_what_to_do(tmp_path):
  with pytest.raises(ValueError, match='Name at least one run'):
    write_report(tmp_path, [])
