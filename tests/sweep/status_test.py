import json
import os
import pathlib

import pytest

from mlc import run_directory
from mlc.run_directory import RunDirectory
from mlc.sweep import rows, table

CONFIGS = {
  state: {
    'dataset': 'yeast',
    'method': state,
    'train': {'epochs': 50, 'lr': 0.1},
  }
  for state in ('absent', 'partial', 'running', 'failed', 'done')
}
IDS = {state: run_directory.run_id(c) for state, c in CONFIGS.items()}


@pytest.fixture
def study(tmp_path) -> pathlib.Path:
  runs = {state: RunDirectory(tmp_path / name) for state, name in IDS.items()}
  with runs['partial'].open(CONFIGS['partial']) as run:
    run.append_metrics({'epoch': 1}, {'epoch': 7})
  with (
    pytest.raises(OSError, match='gone'),
    runs['failed'].open(CONFIGS['failed']),
  ):
    raise OSError('the data set\nis gone')
  with runs['done'].open(CONFIGS['done']) as run:
    run.append_metrics({'epoch': 30, 'epochs': 40})
    run.write_results(
      {'seconds': {'compile': 1.0, 'train': 2.0, 'evaluate': 4.0}}
    )
    run.mark_done()
  return tmp_path


def test_a_row_a_run(study):
  running = RunDirectory(study / IDS['running'])
  with running.open(CONFIGS['running']):
    found = {row.method: row for row in rows(study, IDS.values())}
  assert {method: row.state for method, row in found.items()} == {
    state: state for state in IDS
  }
  assert {row.dataset for row in found.values()} == {'yeast'}
  assert (found['partial'].epoch, found['partial'].total) == (7, 50)
  assert (found['done'].epoch, found['done'].total) == (30, 40)
  assert found['done'].seconds == 1.0 + 2.0 + 4.0
  assert found['done'].message == ''
  assert found['failed'].message == 'OSError: the data set\nis gone'
  assert 0 <= found['running'].seconds < 60
  assert str(os.getpid()) in found['running'].message
  assert found['absent'] == (
    IDS['absent'],
    'yeast',
    'absent',
    'absent',
    None,
    None,
    None,
    'never started',
  )


def test_asking_writes_nothing(study):
  stamps = lambda: {p: p.stat().st_mtime_ns for p in study.rglob('*')}
  before = stamps()
  rows(study, IDS.values())
  assert stamps() == before


def test_one_that_finishes_early_counts_what_metrics_say(study):
  run = RunDirectory(study / IDS['done'])
  with run.open(CONFIGS['done']):
    run.write_results({'seconds': {'total': 9.5}})
    run.mark_done()
  (row,) = rows(study, [IDS['done']])
  assert row.seconds == 9.5


@pytest.mark.parametrize('content', ['', '[]', '{"dataset": '])
def test_damaged_files_make_a_row_too(study, content):
  run = RunDirectory(study / IDS['partial'])
  run.config_path.write_text(content)
  run.metrics_path.write_text(content + '\n')
  (row,) = rows(study, [IDS['partial']])
  assert (row.dataset, row.method, row.state) == ('yeast', 'partial', 'partial')
  assert row.epoch is None


def test_results_without_seconds(study):
  run = RunDirectory(study / IDS['done'])
  with run.open(CONFIGS['done']):
    run.write_results({'rows': []})
    run.mark_done()
  (row,) = rows(study, [IDS['done']])
  assert (row.state, row.seconds) == ('done', None)


def test_the_table_has_a_line_a_run_and_a_count(study):
  lines = table(rows(study, IDS.values())).splitlines()
  assert len(lines) == 1 + len(IDS) + 1
  assert lines[0].split() == ['run', 'state', 'epoch', 'time']
  by_run = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
  assert by_run[IDS['partial']] == ['partial', '7/50', 'not', 'finished']
  assert by_run[IDS['done']] == ['done', '30/40', '7', 's']
  assert by_run[IDS['failed']][-4:] == ['data', 'set', 'is', 'gone']
  assert lines[-1].startswith('5 runs: ')
  assert '2 absent, 1 partial' in lines[-1]
  assert json.dumps(lines[-1]).isascii()
  assert table([]).endswith('0 runs: ')
