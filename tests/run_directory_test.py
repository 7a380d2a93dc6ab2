import errno
import fcntl
import getpass
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from mlc import run_directory
from mlc.run_directory import (
  ConfigChangedError,
  HeldError,
  RunDirectory,
  RunDirectoryError,
  StorageError,
  environment,
  files,
)

CONFIG = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}


@pytest.fixture
def run(tmp_path) -> RunDirectory:
  return RunDirectory(tmp_path / 'study' / run_directory.run_id(CONFIG))


def snapshot(path: pathlib.Path) -> dict:
  return {
    str(file.relative_to(path)): (file.read_bytes(), file.stat().st_mtime_ns)
    for file in path.rglob('*')
    if file.is_file()
  }


def finish(run: RunDirectory) -> None:
  with run.open(CONFIG, flags='--method=chain\n'):
    run.append_metrics({'epoch': 1}, {'epoch': 2})
    run.write_predictions(y=np.eye(3))
    run.write_results({'rows': [1.5]})
    run.mark_done()


def python(code: str, *argv: object, **kwargs) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(code), *map(str, argv)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **kwargs,
  )


HOLD = """
  import sys, time
  from mlc.run_directory import RunDirectory, directory
  directory.environment = dict
  config = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}
  with RunDirectory(sys.argv[1]).open(config):
    print('held', flush=True)
    time.sleep(60)
"""


# Names and configs.


def test_run_id_is_a_function_of_the_config_alone():
  shuffled = {'train': {'epochs': 3}, 'method': 'chain', 'dataset': 'yeast'}
  assert run_directory.run_id(shuffled) == run_directory.run_id(CONFIG)
  other = {**CONFIG, 'train': {'epochs': 4}}
  assert run_directory.run_id(other) != run_directory.run_id(CONFIG)
  head, middle, tail = run_directory.run_id(CONFIG).split('-')
  assert (head, middle, len(tail)) == ('yeast', 'chain', 10)


def test_run_id_of_a_path_has_its_last_part_and_no_odd_characters():
  config = {'dataset': 'arff:/some where/my-set.arff', 'method': 'a b/../c*'}
  name = run_directory.run_id(config)
  assert name.startswith('my_set.arff-c-')
  assert set(name) <= set('abcdefghijklmnopqrstuvwxyz0123456789._-')
  assert run_directory.run_id({'dataset': '..', 'method': '/'}).startswith(
    'unnamed-unnamed-'
  )


@pytest.mark.parametrize(
  ('value', 'where'),
  [
    ({'a': {'b': float('nan')}}, r'config\.a\.b is nan'),
    ({'a': [1, float('inf')]}, r'config\.a\[1\] is inf'),
    ({'a': {1: 2}}, 'has the key 1'),
    ({'a': np.float32(1)}, 'is a float32'),
    ({'a': np.zeros(2)}, 'is a ndarray'),
  ],
)
def test_what_json_would_change_unsaid_is_refused(value, where):
  with pytest.raises(ValueError, match=where):
    run_directory.canonical_json(value)


def test_diff_names_nested_keys():
  old = {'a': 1, 'train': {'lr': 0.1, 'epochs': 3}, 'gone': []}
  new = {'a': 1, 'train': {'lr': 0.2, 'epochs': 3}, 'new': {'x': 'y'}}
  assert run_directory.config_diff(old, new) == [
    'gone: [] -> (absent)',
    'new.x: (absent) -> "y"',
    'train.lr: 0.1 -> 0.2',
  ]
  assert run_directory.config_diff(old, old) == []
  assert run_directory.config_diff({'a': 1}, {'a': 1.0}) == ['a: 1 -> 1.0']


# A run from its start to DONE.


def test_states_of_a_run(run):
  assert run.status() == ('absent', 'never started')
  with run.open(CONFIG):
    assert run.status().state == 'running'
    assert f'process {os.getpid()} on {socket.gethostname()}' in (
      run.status().reason
    )
  assert run.status() == ('partial', 'not finished')
  assert not run.is_done
  finish(run)
  assert run.status() == ('done', 'DONE')
  assert run.is_done


def test_files_come_back(run):
  finish(run)
  assert run.read_config() == CONFIG
  assert run.flags_path.read_text() == '--method=chain\n'
  assert run.read_metrics() == [{'epoch': 1}, {'epoch': 2}]
  assert run.last_metrics() == {'epoch': 2}
  assert run.read_results() == {'rows': [1.5]}
  np.testing.assert_array_equal(run.read_predictions()['y'], np.eye(3))


def test_opening_a_done_run_leaves_it_done(run):
  finish(run)
  before = snapshot(run.path)
  with run.open(CONFIG):
    pass
  after = snapshot(run.path)
  del before['lock'], after['lock']
  assert after == before
  assert run.is_done


def test_done_needs_results(run):
  with run.open(CONFIG):
    with pytest.raises(RunDirectoryError, match=r'results\.json'):
      run.mark_done()
    assert not run.done_path.exists()


@pytest.mark.parametrize('name', ['results.json', 'predictions.npz'])
@pytest.mark.parametrize('damage', ['remove', 'shorten'])
def test_done_with_results_missing_is_not_done(run, name, damage, caplog):
  finish(run)
  path = run.path / name
  if damage == 'remove':
    path.unlink()
  else:
    path.write_bytes(path.read_bytes()[:-1])
  assert run.status().state == 'partial'
  assert name in run.status().reason
  with run.open(CONFIG):
    assert not run.done_path.exists()
  assert name in caplog.text
  finish(run)
  assert run.is_done


def test_one_changed_byte_of_the_results_is_noticed(run):
  finish(run)
  content = run.results_path.read_bytes()
  run.results_path.write_bytes(content.replace(b'1.5', b'2.5'))
  assert run.status().state == 'partial'


@pytest.mark.parametrize(
  'content', [b'', b'{}', b'[]', b'{"files": {}}', b'{"files": {"x": 1}}']
)
def test_a_damaged_done_is_not_done(run, content):
  finish(run)
  run.done_path.write_bytes(content)
  assert run.status().state == 'partial'


def test_a_failure_is_noted_and_forgotten_on_retry(run):
  error = ValueError('the label is gone')
  error.hint = 'bring it back'
  with pytest.raises(ValueError), run.open(CONFIG):
    raise error
  assert run.status() == ('failed', 'ValueError: the label is gone')
  failure = run.read_failure()
  assert failure['hint'] == 'bring it back'
  assert failure['traceback'][-1].startswith('run_directory_test.py:')
  with run.open(CONFIG):
    assert not run.failed_path.exists()
  assert run.status().state == 'partial'


def test_an_interruption_is_not_a_failure(run):
  with pytest.raises(KeyboardInterrupt), run.open(CONFIG):
    raise KeyboardInterrupt
  assert run.status().state == 'partial'


# Refusals write nothing.


def test_a_changed_config_is_refused_with_a_diff(run):
  with run.open(CONFIG):
    run.append_metrics({'epoch': 1})
  before = snapshot(run.path)
  changed = {**CONFIG, 'train': {'epochs': 5}}
  with (
    pytest.raises(ConfigChangedError, match=r'train\.epochs: 3 -> 5') as error,
    run.open(changed),
  ):
    pass
  assert str(run.path) in str(error.value)
  assert snapshot(run.path) == before


def test_a_damaged_config_is_refused(run):
  with run.open(CONFIG):
    pass
  run.config_path.write_text('{"dataset": ')
  before = snapshot(run.path)
  with (
    pytest.raises(ConfigChangedError, match=r'config\.json is damaged'),
    run.open(CONFIG),
  ):
    pass
  assert snapshot(run.path) == before


def test_a_second_process_is_refused_and_a_killed_one_is_not(run):
  other = python(HOLD, run.path)
  try:
    assert other.stdout.readline() == 'held\n'
    before = snapshot(run.path)
    began = time.monotonic()
    with pytest.raises(HeldError) as error, run.open(CONFIG):
      pass
    assert time.monotonic() - began < 1
    assert f'process {other.pid} on {socket.gethostname()}' in str(error.value)
    assert run.status().state == 'running'
    assert snapshot(run.path) == before
    assert not run.failed_path.exists()
  finally:
    other.kill()
    other.communicate()
  # The lock file still names the dead process, but nobody holds it.
  assert str(other.pid) in run.lock_path.read_text()
  assert run.status().state == 'partial'
  finish(run)


@pytest.mark.slow
def test_of_processes_that_start_at_once_one_wins(run, tmp_path):
  code = """
    import os, sys, time
    from mlc.run_directory import HeldError, RunDirectory, directory
    directory.environment = dict
    config = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}
    open(sys.argv[2] + '/' + str(os.getpid()), 'w').close()
    while not os.path.exists(sys.argv[2] + '/go'):
      time.sleep(0.001)
    try:
      with RunDirectory(sys.argv[1]).open(config):
        time.sleep(1)
        print('won')
    except HeldError:
      print('refused')
  """
  gate = tmp_path / 'gate'
  gate.mkdir()
  others = [python(code, run.path, gate) for _ in range(5)]
  deadline = time.monotonic() + 30
  while len(list(gate.iterdir())) < 5 and time.monotonic() < deadline:
    time.sleep(0.01)
  (gate / 'go').touch()
  said = sorted(other.communicate()[0].strip() for other in others)
  assert said == ['refused'] * 4 + ['won']
  assert run.status().state == 'partial'


def test_asking_for_the_status_does_not_refuse_a_starter(run):
  with run.open(CONFIG):
    pass
  # What `status` does for an instant, for longer than that.
  asking = os.open(run.lock_path, os.O_RDONLY)
  fcntl.flock(asking, fcntl.LOCK_SH | fcntl.LOCK_NB)
  answer = threading.Timer(0.1, os.close, [asking])
  answer.start()
  with run.open(CONFIG):
    assert not answer.is_alive()


def test_a_directory_replaced_while_starting_is_not_shared(run, monkeypatch):
  with run.open(CONFIG):
    pass
  flock = fcntl.flock

  def replace_first(descriptor, operation):
    monkeypatch.setattr(fcntl, 'flock', flock)
    shutil.rmtree(run.path)
    run.path.mkdir()
    flock(descriptor, operation)

  monkeypatch.setattr(fcntl, 'flock', replace_first)
  with run.open(CONFIG):
    assert run.status().state == 'running'


def test_a_file_system_without_locks_is_named(run, monkeypatch):
  def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', flock)
  with pytest.raises(RunDirectoryError, match='NFS') as error, run.open(CONFIG):
    pass
  assert '--workdir' in str(error.value)
  assert not run.config_path.exists()
  assert run.status().state == 'absent'


def test_a_holder_whose_directory_is_gone_cannot_write(run):
  with pytest.raises(StorageError, match='No such file'), run.open(CONFIG):
    run.path.rename(run.path.with_name('moved'))
    run.write_results({})
  assert not run.path.exists()


# Full disks and torn files.


def full(*_):
  raise OSError(errno.ENOSPC, 'No space left on device')


def test_a_full_disk_leaves_the_old_file(run, monkeypatch):
  finish(run)
  before = snapshot(run.path)
  with pytest.raises(StorageError) as error, monkeypatch.context() as patch:
    patch.setattr(os, 'fsync', full)
    files.write_atomic(run.results_path, b'new')
  assert 'No space left on device' in str(error.value)
  assert str(run.results_path) in str(error.value)
  assert snapshot(run.path) == before


def test_a_full_disk_fails_the_run_and_space_mends_it(run):
  with (
    pytest.raises(StorageError),
    pytest.MonkeyPatch.context() as patch,
    run.open(CONFIG),
  ):
    run.append_metrics({'epoch': 1})
    patch.setattr(os, 'fsync', full)
    run.write_results({})
  finish(run)
  assert run.is_done


def test_a_write_that_stops_halfway_leaves_no_half_line(run, monkeypatch):
  with run.open(CONFIG):
    run.append_metrics({'epoch': 1})
    write = os.write

    def half(descriptor, data):
      if len(data) < 3:
        full()
      return write(descriptor, data[: len(data) // 2])

    with pytest.raises(StorageError) as error, monkeypatch.context() as patch:
      patch.setattr(os, 'write', half)
      run.append_metrics({'epoch': 2})
    assert 'metrics.jsonl' in str(error.value)
    assert run.metrics_path.read_text() == '{"epoch": 1}\n'


def test_a_torn_line_is_read_over_and_dropped(run):
  with run.open(CONFIG):
    run.append_metrics({'epoch': 1})
  with open(run.metrics_path, 'a') as file:
    file.write('{"epoch": 2, "train')
  assert run.read_metrics() == [{'epoch': 1}]
  assert run.last_metrics() == {'epoch': 1}
  with run.open(CONFIG):
    run.append_metrics({'epoch': 2})
  assert run.read_metrics() == [{'epoch': 1}, {'epoch': 2}]


def test_the_last_line_of_a_long_file(run):
  with run.open(CONFIG):
    run.append_metrics(*({'epoch': i, 'x': 'y' * 99} for i in range(2000)))
  assert run.last_metrics() == {'epoch': 1999, 'x': 'y' * 99}


def test_truncated_metrics(run):
  with run.open(CONFIG):
    run.truncate_metrics(1)
    run.append_metrics(
      *({'epoch': i, 'run': r} for i in (1, 2) for r in (0, 1))
    )
    run.truncate_metrics(1)
    assert run.read_metrics() == [{'epoch': 1, 'run': r} for r in (0, 1)]
    run.truncate_metrics(0)
    assert run.metrics_path.read_bytes() == b''


# One script lives through a whole run and is killed at its n-th operation on
# the file system, for every n; the same command then has to finish the run.
KILLED = """
  import os, signal, sys
  from mlc.run_directory import RunDirectory, directory
  directory.environment = lambda: {'jax': '1'}
  config = {'dataset': 'yeast', 'method': 'chain', 'train': {'epochs': 3}}
  EVENTS = ('open', 'os.', 'fcntl.', 'shutil.')

  def live(path):
    run = RunDirectory(path)
    if run.is_done:
      return
    with run.open(config, flags='--x'):
      run.truncate_metrics(0)
      for epoch in (1, 2):
        run.append_metrics({'epoch': epoch})
      run.write_predictions(y=[1, 2])
      run.write_results({'rows': [1]})
      run.mark_done()

  def killed_at(n, path):
    count = 0
    def operation(torn=None):
      nonlocal count
      count += 1
      if count == n:
        if torn is not None:
          write(torn[0], torn[1][: len(torn[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write, fsync = os.write, os.fsync
    os.write = lambda fd, data: (operation((fd, data)), write(fd, data))[1]
    os.fsync = lambda fd: (operation(), fsync(fd))[1]
    sys.addaudithook(
      lambda event, _: operation() if event.startswith(EVENTS) else None
    )
    live(path)

  n = survived = 0
  while not survived:
    n += 1
    path = f'{sys.argv[1]}/{n}'
    child = os.fork()
    if child == 0:
      killed_at(n, path)
      os._exit(0)
    survived = os.waitpid(child, 0)[1] == 0
    run = RunDirectory(path)
    state = run.status().state
    assert state in ('absent', 'partial', 'done'), (n, state)
    if state == 'done':
      assert run.read_results() == {'rows': [1]}, n
    for leftover in (run.config_path, run.results_path):
      assert not leftover.exists() or b'}' in leftover.read_bytes(), n
    live(path)
    assert run.is_done, (n, run.status())
    assert run.read_config() == config
    assert run.metrics_path.read_text() == '{"epoch": 1}\\n{"epoch": 2}\\n', n
    assert run.read_predictions()['y'].tolist() == [1, 2]
    assert run.flags_path.read_text() == '--x'
    assert not [p for p in os.listdir(path) if p.startswith('.')], n
  print(n)
"""


@pytest.mark.slow
def test_killed_between_any_two_operations(tmp_path):
  child = python(KILLED, tmp_path)
  out, err = child.communicate(timeout=60)
  assert child.returncode == 0, err
  assert int(out) > 40


# What is written.


def test_numbers_that_json_lacks_are_null(run):
  with run.open(CONFIG):
    run.append_metrics(
      {
        'loss': np.array([1.0, np.nan], np.float32),
        'best': float('inf'),
        'on': np.bool_(True),
      }
    )
    run.write_results({'value': (np.float32(0.5), float('-inf'))})
  assert run.read_metrics() == [{'loss': [1.0, None], 'best': None, 'on': True}]
  assert run.read_results() == {'value': [0.5, None]}


def test_predictions_hold_no_objects(run):
  with run.open(CONFIG), pytest.raises(ValueError, match='object array'):
    run.write_predictions(y=np.array([{}]))


def test_the_environment_names_no_user_and_no_place(run):
  with run.open(CONFIG):
    pass
  text = run.env_path.read_text()
  seen = json.loads(text)
  assert seen['device_count'] >= 1
  assert seen['versions']['jax'] != 'absent'
  assert socket.gethostname() not in text
  assert '/' not in text
  assert f'"{getpass.getuser()}"' not in text


def test_a_changed_environment_is_said(run, caplog, monkeypatch):
  with run.open(CONFIG):
    pass
  assert not caplog.text
  other = {**environment(), 'device_count': 9}
  monkeypatch.setattr(run_directory.directory, 'environment', lambda: other)
  with run.open(CONFIG):
    pass
  assert 'device_count: ' in caplog.text
  assert json.loads(run.env_path.read_text()) == other


def test_reading_a_run_directory_does_not_import_jax(tmp_path):
  code = """
    import sys
    from mlc import sweep
    sweep.rows(sys.argv[1], ['a-b-c'])
    print('jax' in sys.modules, 'orbax' in sys.modules)
  """
  assert python(code, tmp_path).communicate()[0] == 'False False\n'


def test_a_signal_leaves_the_run_partial(run):
  other = python(HOLD, run.path)
  assert other.stdout.readline() == 'held\n'
  other.send_signal(signal.SIGTERM)
  other.communicate()
  assert run.status().state == 'partial'
