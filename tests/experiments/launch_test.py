"""A study: its plan, its state, its failures and its files."""

import collections
import csv
import json
import pathlib
import re
import subprocess
import sys

import pytest

from experiments.config import Experiment
from experiments.findings import FINDINGS
from experiments.studies import STUDIES
from mlc.methods import METHODS
from mlc.report.records import RESULTS_COLUMNS
from mlc.run_directory import RunDirectory

SYNTHETIC = 'synthetic:chain,labels=3,examples=120,features=3'


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


class TestPlan:
  def test_dry_run_names_every_run_and_writes_nothing(self, command, tmp_path):
    outcome = command(
      'launch.py',
      '--dry_run',
      '--study=classic',
      f'--datasets=yeast,{SYNTHETIC}',
      '--seeds=2',
      f'--workdir={tmp_path / "runs"}',
    )
    assert outcome.code == 0
    assert outcome.err == ''
    assert len(re.findall(r'^\[absent\] ', outcome.out, re.M)) == 4
    assert outcome.out.count('--seeds=2') == 4
    assert outcome.out.count(SYNTHETIC) == 2
    assert '4 configurations, 4 to run' in outcome.out
    assert not (tmp_path / 'runs').exists()

  def test_the_planned_command_makes_the_planned_run(self, command, tmp_path):
    plan = command(
      'launch.py',
      '--dry_run',
      '--study=classic',
      f'--datasets={SYNTHETIC}',
      '--methods=classifier_chain',
      '--model.order=random',
      f'--workdir={tmp_path}',
    )
    (path,) = re.findall(r'^\[absent\] (.+)$', plan.out, re.M)
    (line,) = re.findall(r'-m experiments\.train (.+)$', plan.out, re.M)
    assert '--model.order=random' in line
    again = command(
      'launch.py',
      '--dry_run',
      '--study=classic',
      '--methods=classifier_chain',
      f'--datasets={SYNTHETIC}',
      '--model.order=random',
      f'--workdir={tmp_path}',
      '--save_interval_secs=1',
    )
    assert path in again.out

  def test_findings_are_of_studies(self):
    assert set(FINDINGS) <= set(STUDIES)

  def test_a_typo_does_not_wait_for_what_draws(self):
    code = (
      'import sys; from experiments import sweep;'
      "print({'matplotlib', 'scipy.stats'} & set(sys.modules))"
    )
    found = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    assert found.stdout == 'set()\n'

  @pytest.mark.parametrize('study', STUDIES)
  def test_every_study_can_be_laid_out(self, command, study, tmp_path):
    outcome = command(
      'launch.py', '--dry_run', f'--study={study}', f'--workdir={tmp_path}'
    )
    assert outcome.code == 0
    runs = re.findall(r'^\[absent\] (.+)$', outcome.out, re.M)
    made = STUDIES[study]
    planned = [
      made.conditions(dataset, method)
      for dataset in made.datasets
      for method in made.methods
    ]
    each = [[p] if isinstance(p, Experiment) else [*p] for p in planned]
    assert len(runs) == sum(map(len, each))
    assert len(set(runs)) == len(runs)

  def test_all_methods_are_those_that_labels_suffice_for(
    self, command, tmp_path
  ):
    outcome = command(
      'launch.py',
      '--dry_run',
      '--methods=all',
      '--datasets=yeast',
      f'--workdir={tmp_path}',
    )
    assert outcome.code == 0
    runs = re.findall(r' --method=(\w+) ', outcome.out)
    assert {*METHODS} - {*runs} <= {'softmax', 'hierarchical'}
    assert {'binary_relevance', 'label_powerset'} <= {*runs}
    assert 'softmax' not in runs
    assert len(set(runs)) == len(runs)

  def test_status_writes_nothing(self, command, tmp_path):
    outcome = command(
      'launch.py',
      '--status',
      '--study=classic',
      f'--workdir={tmp_path / "runs"}',
    )
    assert outcome.code == 0
    assert outcome.out.count('absent') >= 2
    assert not (tmp_path / 'runs').exists()

  def test_an_option_that_no_run_has_is_refused(self, command, tmp_path):
    outcome = command(
      'launch.py',
      '--study=classic',
      '--encoder.width=3',
      f'--workdir={tmp_path / "runs"}',
    )
    assert outcome.code == 2
    assert 'encoder.width' in outcome.err

  def test_the_same_run_twice_is_refused(self, command, tmp_path):
    outcome = command(
      'launch.py',
      '--study=classic',
      '--datasets=yeast,yeast',
      f'--workdir={tmp_path / "runs"}',
    )
    assert outcome.code == 1
    assert 'twice' in outcome.err
    assert not (tmp_path / 'runs').exists()


@pytest.fixture(scope='class')
def study(tmp_path_factory):
  """Where a study with two failing runs is, made once by the first test."""
  return tmp_path_factory.mktemp('study')


@pytest.mark.slow
class TestFailures:
  """A data set with a fault, a decoder that a method cannot serve, one good."""

  LINE = (
    '--study=classic',
    f'--datasets={SYNTHETIC},broken',
    '--methods=binary_relevance,label_powerset',
    '--decoders=hamming,greedy',
    '--max_iterations=40',
  )

  @pytest.fixture
  def line(self, study, write_arff, sample):
    x, y = sample
    y = y.tolist()
    y[3][1] = '2'
    data_dir = write_arff('broken', x.tolist(), y)
    return [*self.LINE, f'--workdir={study}', f'--data_dir={data_dir}']

  def test_the_others_are_run_and_the_exit_code_is_1(
    self, command, line, study
  ):
    outcome = command('launch.py', *line)
    assert outcome.code == 1
    assert 'Traceback' not in outcome.out + outcome.err
    assert '3 of 4 runs failed; the same command tries them again.' in (
      outcome.err
    )
    # Each says why, in a line, and where more is.
    assert 'broken.arff:12' in outcome.out
    assert 'greedy' in outcome.out
    assert outcome.out.count('log: ') == 3
    # They stand in the table.
    states = collections.Counter(re.findall(r'\b(failed)\b', outcome.out))
    assert states['failed'] >= 3
    done = [path.parent.name for path in (study / 'classic').glob('*/DONE')]
    assert len(done) == 1
    assert done[0].startswith('synthetic_chain')

  def test_results_csv_has_the_columns_of_the_issue(self, study):
    rows = read_csv(study / 'classic' / 'results.csv')
    columns = (
      'study,dataset,method,encoder,head,loss,decoder,seed,fold,split,metric,'
      'value'
    )
    assert ','.join(RESULTS_COLUMNS) == columns
    assert list(rows[0]) == columns.split(',')
    (path,) = (study / 'classic').glob('*/DONE')
    written = RunDirectory(path.parent).read_results()['rows']
    assert len(rows) == len(written)
    for row, known in zip(rows, written, strict=True):
      assert row['study'] == 'classic'
      assert row['dataset'] == SYNTHETIC
      assert row['method'] == row['head'] == 'binary_relevance'
      for key in ('decoder', 'split', 'metric'):
        assert row[key] == known[key]
      assert (int(row['seed']), int(row['fold'])) == (
        known['seed'],
        known['fold'],
      )
      value = float(row['value']) if row['value'] else None
      assert value == known['value']

  def test_summary_csv_has_a_row_for_what_failed(self, study):
    rows = read_csv(study / 'classic' / 'summary.csv')
    assert list(rows[0])[9:13] == ['mean', 'ci_low', 'ci_high', 'n']
    failed = [row for row in rows if row['status'] == 'failed']
    assert sorted((row['dataset'], row['method']) for row in failed) == sorted(
      [
        (SYNTHETIC, 'label_powerset'),
        ('broken', 'binary_relevance'),
        ('broken', 'label_powerset'),
      ]
    )
    assert all(row['mean'] == '' for row in failed)
    ok = [row for row in rows if row['status'] == 'ok']
    assert {row['method'] for row in ok} == {'binary_relevance'}
    assert {row['n'] for row in ok} == {'1'}

  def test_the_page_shows_what_failed(self, study):
    page = (study / 'classic' / 'report.html').read_text()
    assert 'broken.arff:12' in page
    assert re.search(r'failed', page)

  def test_status_tells_them_apart(self, command, line):
    outcome = command('launch.py', '--status', *line)
    assert outcome.code == 0
    assert '1 done' in outcome.out.splitlines()[-1]

  def test_the_manifest_is_frozen_and_a_done_run_is_not_touched(
    self, command, line, study
  ):
    manifest = json.loads((study / 'classic' / 'manifest.json').read_text())
    assert len(manifest['runs']) == 4
    (path,) = (study / 'classic').glob('*/DONE')
    before = {p: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    line = [x for x in line if not x.startswith(('--datasets', '--methods'))]
    outcome = command(
      'launch.py',
      *line,
      f'--datasets={SYNTHETIC}',
      '--methods=binary_relevance',
    )
    assert outcome.code == 0
    assert 'All 1 runs are done; nothing to train.' in outcome.out
    assert {p: p.stat().st_mtime_ns for p in path.parent.iterdir()} == before
    kept = list((study / 'classic').glob('manifest-*.json'))
    assert [json.loads(p.read_text()) for p in kept] == [manifest]
